"""A pipeline's figures on clips of the synthetic world as they are drawn: where heat maps glow, and what the answers say.

Every figure stands beside what chance or a constant answer would get. Every dialogue is held twice, as the model speaks by
itself and with contradictions of its evidence said anew, so that it shows what that is good for. Knows no files.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from tvau_runtime.backends.base import ModelSpec
from tvau_runtime.chat import QUESTION_ANOMALY, QUESTION_TARGET, QUESTION_TRAJECTORY
from tvau_runtime.pipeline import Pipeline
from tvau_runtime.stream import Geometry
from tvau_runtime.types import Answer, Frame

from .language import ASKED, Heard, kind_of, language_figures
from .world import FRAME_SIZE, Clip, make_some_clip, place_of
from .world.dialogue import NOTHING

__all__ = ["Evidence", "drawn_clips", "measure"]


@dataclass
class Evidence:
    """What is gathered over all clips."""

    heat: list[np.ndarray] = field(default_factory=list)
    """Heat-map values of every patch, 0..1."""
    truth: list[np.ndarray] = field(default_factory=list)
    """bool, whether at least a quarter of that patch is abnormal"""
    step_scores: list[float] = field(default_factory=list)
    step_labels: list[bool] = field(default_factory=list)
    pointed: list[bool] = field(default_factory=list)
    """Per abnormal step: whether the hottest patch touches the abnormal object."""
    covered: list[float] = field(default_factory=list)
    """Per abnormal step: the share of patches that touch it, which a blind guess would hit."""
    yes: list[tuple[bool, bool, bool]] = field(default_factory=list)
    """Per clip: truth, the model's own yes or no, what the answer's text says."""
    heard: list[Heard] = field(default_factory=list)
    target: list[tuple[str, str]] = field(default_factory=list)
    trajectory: list[tuple[str, str]] = field(default_factory=list)
    """Per abnormal clip: the true answer and the model's."""
    shown: list[tuple[str, str]] = field(default_factory=list)
    """Per abnormal clip: in which ninth of the image the abnormal target is, and where the box of the answer lies."""
    guarded: dict[str, list[tuple[bool, bool, bool]]] = field(default_factory=lambda: defaultdict(list))
    """Per question and kind of contradiction, for each answer with one: whether it was right, whether it is right as said anew,
    and whether it still contradicts."""


def drawn_clips(shape: Geometry | ModelSpec, count: int, split: str, seed: int) -> Iterator[Clip]:
    """What a model is measured on, with a progress bar: clips of one window of this shape from seed `seed` on, every other one
    with an anomaly, at the size that the world is usually drawn at."""
    for number in tqdm(range(count), desc=split, unit="clip", dynamic_ncols=True):
        yield make_some_clip(
            seed + number,
            size=FRAME_SIZE,
            length=shape.clip_length,
            rate_hz=shape.process_rate_hz,
            anomaly=number % 2 == 0,
            split=split,
        )


def measure(pipeline: Pipeline, clips: int, split: str, seed: int, unchecked: bool = False) -> dict:
    """All figures, 0..1, over `clips` clips of which about half hold an anomaly. unchecked: of the model's own words."""
    found = Evidence()
    camera = "clip"  # one for all: what a camera leaves behind would add up
    for clip in drawn_clips(pipeline.geometry, clips, split, seed):
        _watch(pipeline, clip, camera, found)
        own, mended = (_ask(pipeline, camera, handling) for handling in ("flag", "regenerate"))
        pipeline.reset(camera)
        _note(clip, own if unchecked else mended, found)
        _compare(clip, own, mended, found)
    return _summary(found)


def _watch(pipeline: Pipeline, clip: Clip, camera: str, found: Evidence) -> None:
    masks, steps = clip.anomaly_masks.astype(np.float32), []
    for index, image in enumerate(clip.frames):
        frame = Frame(image, round(index / clip.rate_hz * 1e9), camera)
        steps += [update.step for update in pipeline.push(frame) if update.step is not None]
    for number, step in enumerate(steps):
        values = step.heatmap.values
        seen = np.maximum(masks[2 * number], masks[2 * number + 1])
        share = cv2.resize(seen, values.shape[::-1], interpolation=cv2.INTER_AREA)
        found.heat.append(values.ravel())
        found.truth.append(share.ravel() >= 0.25)
        found.step_scores.append(float(values.max()))
        found.step_labels.append(bool(seen.any()))
        if seen.any():
            found.pointed.append(bool(share.ravel()[values.argmax()] > 0))
            found.covered.append(float((share > 0).mean()))


QUESTIONS = {
    "anomaly": QUESTION_ANOMALY,
    "target": QUESTION_TARGET,
    "trajectory": QUESTION_TRAJECTORY,
    "origin": "Where did it come from?",
}
"""By the field of the clip's dialogue that holds the truth. Training never asks the last, with which a trajectory begins."""


def _ask(pipeline: Pipeline, camera: str, handling: str) -> dict[str, Answer]:
    """The answers of one dialogue, by the names of `QUESTIONS`."""
    pipeline.configure(dialogue=dataclasses.replace(pipeline.config.dialogue, contradictions=handling))
    answers: dict[str, Answer] = {}
    session = ""
    for name, question in QUESTIONS.items():
        answers[name] = pipeline.ask(question, session=session, camera=camera)
        session = answers[name].session
    return answers


def _note(clip: Clip, answers: dict[str, Answer], found: Evidence) -> None:
    truth = {turn.field: turn.answer for turn in clip.dialogue}
    first = answers["anomaly"]
    found.yes.append((clip.anomalous, first.evidence.anomaly, first.text.lower().startswith("yes")))
    asked = {name: answers[name].text for name in ASKED}
    found.heard.append(Heard(f"clip{clip.seed}", clip.anomalous, first.evidence.anomaly, truth, asked))
    if clip.anomalous:
        found.target.append((truth["target"], answers["target"].text.rstrip(".")))
        found.trajectory.append((truth["trajectory"], answers["trajectory"].text.rstrip(".")))
        found.shown.append(_shown(clip, first))


def _compare(clip: Clip, own: dict[str, Answer], mended: dict[str, Answer], found: Evidence) -> None:
    truth = {turn.field: turn.answer for turn in clip.dialogue}
    truth["origin"] = f"from the {_origin(truth['trajectory'])}" if clip.anomalous else NOTHING
    views = {"anomaly": lambda text: text[:1].lower(), "target": kind_of, "trajectory": str, "origin": _first_place}
    for name, view in views.items():
        was, is_ = (view(answers[name].text.rstrip(".")) == view(truth[name].rstrip(".")) for answers in (own, mended))
        left = {each.kind for each in mended[name].evidence.contradictions if not each.mended}
        for each in own[name].evidence.contradictions:
            found.guarded[f"{name}, {each.kind}"].append((was, is_, each.kind in left))


def _first_place(text: str) -> str:
    """The first of the nine places that a text names, or the text."""
    named = re.search(r"\bthe ((?:top|bottom)(?: left| right)?|left|right|center)\b", text)
    return named[1] if named else text


def _shown(clip: Clip, answer: Answer) -> tuple[str, str]:
    """The place of the abnormal target nearest to the moment that the answer names, and the place of the answer's box."""
    size = clip.frames.shape[1:3]
    peak = answer.evidence.peak_ns * 1e-9 * clip.rate_hz
    seen = [(abs(t - peak), actor, t) for actor in clip.actors for t in np.flatnonzero(actor.abnormal_frames)]
    _, actor, t = min(seen, key=lambda entry: entry[0])
    return place_of(actor.boxes[t], size), place_of(np.array(answer.evidence.box), size)


def _summary(found: Evidence) -> dict:
    truth, said, text = (np.array(column) for column in zip(*found.yes, strict=True))
    heat, patches = np.concatenate(found.heat), np.concatenate(found.truth)
    return {
        "clips": len(found.yes),
        "patch_auroc": _auroc(patches, heat),
        "step_auroc": _auroc(np.array(found.step_labels), np.array(found.step_scores)),
        "pointing_accuracy": float(np.mean(found.pointed)),
        "pointing_chance": float(np.mean(found.covered)),
        "yes_no_accuracy": float((truth == said).mean()),
        "yes_no_balanced_accuracy": float((said[truth].mean() + (~said[~truth]).mean()) / 2),
        "yes_no_chance": float(max(truth.mean(), 1 - truth.mean())),
        "yes_no_text_agrees": float((said == text).mean()),
        **language_figures(found.heard),
        "what_accuracy": _right(found.target, kind_of),
        "what_chance": _most_frequent(found.target, kind_of),
        "target_exact": _right(found.target, str),
        "where_shown_accuracy": _right(found.shown, str),
        "where_shown_chance": _most_frequent(found.shown, str),
        "where_from_accuracy": _right(found.trajectory, _origin),
        "where_from_chance": _most_frequent(found.trajectory, _origin),
        "trajectory_exact": _right(found.trajectory, str),
        "trajectory_chance": _most_frequent(found.trajectory, str),
        "contradictions": {
            name: dict(zip(("found", "right_before", "right_after", "left"), (len(each), *map(sum, zip(*each)))))
            for name, each in sorted(found.guarded.items())
        },
    }


def _auroc(truth: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve; not a number where all are of one kind, as they may be in a handful of clips."""
    return float(roc_auc_score(truth, scores)) if truth.any() and not truth.all() else float("nan")


def _origin(trajectory: str) -> str:
    """Where it was first: the place after "from the" or "stays at the"."""
    place = trajectory.split(" to the ")[0]
    return place.removeprefix("from the ").removeprefix("it stays at the ")


def _right(pairs: list[tuple[str, str]], view) -> float:
    return float(np.mean([view(truth) == view(said) for truth, said in pairs]))


def _most_frequent(pairs: list[tuple[str, str]], view) -> float:
    """What always giving the most frequent true answer would get."""
    return Counter(view(truth) for truth, _ in pairs).most_common(1)[0][1] / len(pairs)
