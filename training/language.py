"""How good answers are, in the field's figures: BLEU-4 of targets and trajectories, accuracy of yes and no. Knows no model.

The definitions are the paper's (section 4.1): BP * exp(1/4 sum log p_n) over a whole corpus, against the best-matching reference
of a video; bAcc = (TPR + TNR) / 2.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sacrebleu.metrics.bleu import BLEU

from .talks import Talk
from .world import BAGS, COLORS

__all__ = ["ASKED", "FIGURES", "Heard", "bleu4", "constant_answers", "kind_of", "language_figures", "truths"]

FIGURES = ("bleu4_target", "bleu4_trajectory", "yes_no_acc", "yes_no_bacc")
ASKED = ("anomaly", "target", "trajectory")
"""The fields of a dialogue that are measured."""
_BAG = rf"an? (?:{'|'.join(BAGS)})"
_WORN = rf"(?:an? \w+ top(?:(?:,| and) \w+ trousers)?(?: and {_BAG})?|{_BAG})"
_TARGET = re.compile(
    rf"an? (?:person(?: with {_WORN})?( in a wheelchair)?|(?:(?:{'|'.join(COLORS)}) )?(?!person\b)(\w+)) (.+)"
)


@dataclass(frozen=True)
class Heard:
    """A dialogue as it was held. anomalous: the truth, and yes: what was said of it. truth, answers: by field (`ASKED`); a field
    that is in only one of them is not measured."""

    clip: str
    anomalous: bool
    yes: bool
    truth: dict[str, str]
    answers: dict[str, str]


def truths(talk: Talk) -> dict[str, str]:
    """The true answers of a dialogue that are measured, by field."""
    return {turn.field: turn.answer for turn in talk.turns if turn.field in ASKED}


def language_figures(heard: Sequence[Heard]) -> dict[str, float | None]:
    """All of `FIGURES`, 0..1, None where nothing was asked; targets and trajectories are of abnormal dialogues alone."""
    found: dict[str, float | None] = {}
    for field in ("target", "trajectory"):
        references: dict[str, list[str]] = defaultdict(list)
        mine = [each for each in heard if each.anomalous and field in each.truth and field in each.answers]
        for each in mine:
            references[each.clip].append(each.truth[field])
        found[f"bleu4_{field}"] = bleu4([(each.answers[field], references[each.clip]) for each in mine])
    right = [each.yes == each.anomalous for each in heard]
    kinds = [[ok for ok, each in zip(right, heard) if each.anomalous == odd] for odd in (True, False)]
    found["yes_no_acc"] = sum(right) / len(right) if right else None
    found["yes_no_bacc"] = sum(sum(each) / len(each) for each in kinds) / 2 if all(kinds) else None
    return found


def bleu4(pairs: Sequence[tuple[str, Sequence[str]]]) -> float | None:
    """Corpus BLEU-4, 0..1, of what was said against the best-matching of its references each; None for nothing.

    Not smoothed: without a single common 4-gram it is 0. Case and a full stop at the end count for nothing.
    """
    if not pairs:
        return None
    one = BLEU(lowercase=True, effective_order=True)
    said, best = [], []
    for text, references in pairs:
        text, options = _plain(text), dict.fromkeys(map(_plain, references))
        said.append(text)
        best.append(max(options, key=lambda each: one.sentence_score(text, [each]).score))
    score = BLEU(lowercase=True, smooth_method="none", force=True).corpus_score(said, [best]).score
    return min(float(score) / 100, 1.0)  # rounding may leave a little more


def _plain(text: str) -> str:
    return text.strip().rstrip(".")


def kind_of(target: str) -> str:
    """What it is and does, without colour and dress: "a person with a red top and a handbag running" -> "person running"."""
    found = _TARGET.fullmatch(target)
    return f"{found[2] or 'person'}{found[1] or ''} {found[3]}" if found else target


def constant_answers(talks: Iterable[Talk]) -> dict[str, str]:
    """What to answer always, by field: the most frequent answer; of targets, of those of the most frequent kind (`kind_of`)."""
    every: dict[str, Any] = defaultdict(list)
    for talk in talks:
        for field, answer in truths(talk).items():
            if field == "anomaly" or talk.anomalous:
                every[field].append(_plain(answer))
    answers = {field: _most(each) for field, each in every.items()}
    if "target" in every:
        kind = _most(map(kind_of, every["target"]))
        answers["target"] = _most(each for each in every["target"] if kind_of(each) == kind)
    return answers


def _most(values: Iterable[str]) -> str:
    return Counter(values).most_common(1)[0][0]
