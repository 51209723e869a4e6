"""Measures a checkpoint on clips that training never saw: where the heat map glows, and what the answers say.

Runs the same pipeline that a camera runs. Every figure stands beside what chance or a constant answer would get. Every
dialogue is held twice, as the model speaks by itself and with contradictions of its evidence said anew, so that it shows what
that is good for. The clips come from the world's own split, whose seeds and places no training uses; with --data, from a data
set on disk, and the figures are those of its table.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from tvau_runtime.artifact import Artifact
from tvau_runtime.backends import find_model
from tvau_runtime.chat import QUESTION_ANOMALY, QUESTION_TARGET, QUESTION_TRAJECTORY
from tvau_runtime.config import DialogueConfig, EngineConfig, PipelineConfig
from tvau_runtime.errors import ConfigError, TvauError
from tvau_runtime.manifest import Manifest
from tvau_runtime.pipeline import Pipeline, open_pipeline
from tvau_runtime.types import Answer, Frame
from tvau_training.data import DATA_SETS, open_data
from tvau_training.evaluation import evaluate_clips
from tvau_training.world import SPLITS, Clip, make_clip, place_of
from tvau_training.world.dialogue import NOTHING

EXAMPLES = """\
examples:
  python training/evaluate.py                                   the embedded model on 200 test clips
  python training/evaluate.py --model runs/tiny/checkpoint --clips 100 --json out/metrics.json
  python training/evaluate.py --unchecked                       the model's own words, whatever its evidence shows
  python training/evaluate.py --data auto /data/UBnormal --split validation --out out/ubnormal
                                                                micro and macro AUC, RBDC and TBDC of a data set (docs/DATA.md)
"""


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
    target: list[tuple[str, str]] = field(default_factory=list)
    trajectory: list[tuple[str, str]] = field(default_factory=list)
    """Per abnormal clip: the true answer and the model's."""
    shown: list[tuple[str, str]] = field(default_factory=list)
    """Per abnormal clip: in which ninth of the image the abnormal target is, and where the box of the answer lies."""
    guarded: dict[str, list[tuple[bool, bool, bool]]] = field(default_factory=lambda: defaultdict(list))
    """Per question and kind of contradiction, for each answer with one: whether it was right, whether it is right as said anew,
    and whether it still contradicts."""


def measure(pipeline: Pipeline, clips: int, split: str, seed: int, unchecked: bool = False) -> dict:
    """All figures, 0..1, over `clips` clips of which about half hold an anomaly. unchecked: of the model's own words."""
    found = Evidence()
    geometry = pipeline.geometry
    for number in tqdm(range(clips), desc="clips", unit="clip", dynamic_ncols=True):
        clip = make_clip(
            seed + number,
            size=(240, 320),
            length=geometry.clip_length,
            rate_hz=geometry.process_rate_hz,
            anomaly=number % 2 == 0,
            split=split,
        )
        _watch(pipeline, clip, f"clip{number}", found)
        own, mended = (_ask(pipeline, f"clip{number}", handling) for handling in ("flag", "regenerate"))
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
    if clip.anomalous:
        found.target.append((truth["target"], answers["target"].text.rstrip(".")))
        found.trajectory.append((truth["trajectory"], answers["trajectory"].text.rstrip(".")))
        found.shown.append(_shown(clip, first))


def _compare(clip: Clip, own: dict[str, Answer], mended: dict[str, Answer], found: Evidence) -> None:
    truth = {turn.field: turn.answer for turn in clip.dialogue}
    truth["origin"] = f"from the {_origin(truth['trajectory'])}" if clip.anomalous else NOTHING
    views = {"anomaly": lambda text: text[:1].lower(), "target": _kind, "trajectory": str, "origin": _first_place}
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
        "what_accuracy": _right(found.target, _kind),
        "what_chance": _most_frequent(found.target, _kind),
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


def _kind(target: str) -> str:
    """What it is and does, without colour: "a person with a red top running" -> "person running"."""
    found = re.fullmatch(r"an? (?:person with an? \w+ top|\w+ (\w+)) (.+)", target)
    return f"{found[1] or 'person'} {found[2]}" if found else target


def _origin(trajectory: str) -> str:
    """Where it was first: the place after "from the" or "stays at the"."""
    place = trajectory.split(" to the ")[0]
    return place.removeprefix("from the ").removeprefix("it stays at the ")


def _right(pairs: list[tuple[str, str]], view) -> float:
    return float(np.mean([view(truth) == view(said) for truth, said in pairs]))


def _most_frequent(pairs: list[tuple[str, str]], view) -> float:
    """What always giving the most frequent true answer would get."""
    return Counter(view(truth) for truth, _ in pairs).most_common(1)[0][1] / len(pairs)


def measure_data(pipeline: Pipeline, options: argparse.Namespace) -> dict:
    """The figures of a data set's table."""
    data = open_data(*options.data)
    for problem in data.problems:
        print(f"evaluate: {problem}", file=sys.stderr)
    clips = data.split(options.split)[: options.clips]
    facts = {"data": data.name, "split": options.split, "model": options.model, "model_id": _model_id(options.model)}
    out = options.out or Path("out", "evaluate", f"{data.name}-{options.split}")
    figures = evaluate_clips(pipeline, clips, out, facts, options.tracks)
    print(f"{out / 'metrics.json'} and the text files beside it hold:")
    return figures


def _model_id(model: str) -> str:
    """Of the model's record, which holds the SHA-256 of its files: another one after every training."""
    directory = find_model(model)
    record = next(path for name in (Manifest.FILE, Artifact.FILE) if (path := directory / name).is_file())
    return hashlib.sha256(record.read_bytes()).hexdigest()[:16]


def _check(options: argparse.Namespace) -> None:
    """Raises `ConfigError` for options that do not go together."""
    if options.clips is not None and options.clips < (1 if options.data else 4):
        raise ConfigError(f"--clips must be at least {1 if options.data else 4}, got {options.clips}")
    if options.data and (options.unchecked or options.seed):
        raise ConfigError("--seed and --unchecked are about clips of the world, not of a data set")
    if not options.data and (options.out or options.tracks):
        raise ConfigError("--out and --tracks go with --data; use --json FILE for figures of the world")
    if options.data and options.split == "demo":
        raise ConfigError("a data set has no split 'demo'; it may have validation and test")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        default="tvau-tiny",
        help="checkpoint: embedded name or directory (default: tvau-tiny)",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default: auto)")
    parser.add_argument("--clips", type=int, help="how many clips (default: 200 of the world, all of a data set)")
    parser.add_argument(
        "--split",
        default="test",
        choices=[s for s in SPLITS if s != "train"],
        help="default: test",
    )
    parser.add_argument("--json", type=Path, help="also write the figures there")
    world = parser.add_argument_group("clips of the synthetic world (the default)")
    world.add_argument("--seed", type=int, default=0, help="first clip's seed (default: 0)")
    world.add_argument(
        "--unchecked",
        action="store_true",
        help="figures of what the model says by itself, contradictions of its evidence included",
    )
    disk = parser.add_argument_group("clips of a data set on disk")
    disk.add_argument(
        "--data",
        nargs=2,
        metavar=("NAME", "DIR"),
        help=f"{', '.join(DATA_SETS)} or auto, and its folder; figures are per frame, region and track",
    )
    disk.add_argument(
        "--out",
        type=Path,
        help="folder of metrics.json and of the text files of scores, detections and tracks; a stopped run goes on there "
        "(default: out/evaluate/NAME-SPLIT)",
    )
    disk.add_argument(
        "--tracks",
        type=Path,
        metavar="DIR",
        help="published text files of regions (CLIP.txt), instead of those from the masks",
    )
    options = parser.parse_args(arguments)
    try:
        _check(options)
        config = PipelineConfig(
            engine=EngineConfig(model=options.model, device=options.device),
            dialogue=DialogueConfig(max_sessions=1),
        )
        with open_pipeline(config) as pipeline:
            if options.data:
                figures = measure_data(pipeline, options)
            else:
                figures = measure(pipeline, options.clips or 200, options.split, options.seed, options.unchecked)
    except TvauError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = (
            "the clips that are done are kept, and the same command goes on" if options.data else "nothing was written"
        )
        print(f"stopped; {kept}", file=sys.stderr)
        return 130
    for name, value in figures.items():
        if not isinstance(value, dict):
            print(f"{name:<26} {value:.3f}" if isinstance(value, float) else f"{name:<26} {value}")
    for name, counts in figures.get("contradictions", {}).items():
        print(f"contradicts: {name:<26} " + "  ".join(f"{what} {count}" for what, count in counts.items()))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        world = {"split": options.split, "seed": options.seed, "unchecked": options.unchecked}
        facts = {"model": options.model, **({} if options.data else world), **figures}
        options.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
