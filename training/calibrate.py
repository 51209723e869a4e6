"""Fits a checkpoint's calibration, so that its probabilities mean something, and measures it on clips that the fit never saw.

Two things are fitted, each a temperature, and a bias where that pays, on clips of the synthetic world: the mean of a window's
heat-map peaks to the probability of an anomaly in it, and the language model's own yes to the same. Half of the clips hold an
anomaly: where they are rarer, so are they in truth among windows of a given probability. Heat maps and weights stay as
they are; the fit stands in tvau.json, and in the manifest of the checkpoint's own exported graphs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score

from tvau_runtime.artifact import Artifact
from tvau_runtime.backends import find_model
from tvau_runtime.calibration import Calibration, Scale
from tvau_runtime.chat import QUESTION_ANOMALY
from tvau_runtime.config import DialogueConfig, EngineConfig, PipelineConfig
from tvau_runtime.errors import ConfigError, ModelError, TvauError
from tvau_runtime.grounding import score_logit
from tvau_runtime.manifest import EXPORT, Manifest
from tvau_runtime.pipeline import Pipeline, open_pipeline
from tvau_runtime.types import Frame
from tvau_training.drawn import drawn_clips
from tvau_training.metrics import calibration_error, reliability_bins
from tvau_training.reliability import draw_reliability
from tvau_training.world import UNTRAINED

__all__ = ["Logits", "fit", "gather", "main", "save"]

FOLDS = 5
EXAMPLES = """\
examples:
  python training/calibrate.py                                  the embedded model, in place
  python training/calibrate.py --model runs/tiny/checkpoint --clips 600 --diagram out/reliability.png
  python training/calibrate.py --dry-run --json out/calibration.json
"""
TITLES = {"score": "heat maps: p(anomaly in window)", "yes": "language model: p(yes)"}


@dataclasses.dataclass(frozen=True)
class Logits:
    """Of N clips, float [N]: what the model says of each, uncalibrated; and bool [N], whether it holds an anomaly."""

    score: np.ndarray
    yes: np.ndarray
    truth: np.ndarray


def gather(pipeline: Pipeline, clips: int, split: str, seed: int) -> Logits:
    """One window each of `clips` clips, every second with an anomaly, through the same pipeline as a camera's frames.

    The calibration that the pipeline was opened with is set aside.
    """
    backend = pipeline.backend
    backend.spec = dataclasses.replace(backend.spec, calibration=Calibration())
    score, yes, truth = [], [], []
    camera = "clip"  # one for all: what a camera leaves behind would add up
    for clip in drawn_clips(pipeline.geometry, clips, split, seed):
        for index, image in enumerate(clip.frames):
            pipeline.push(Frame(image, round(index / clip.rate_hz * 1e9), camera))
        sure = pipeline.ask(QUESTION_ANOMALY, camera=camera).evidence.yes_probability
        sure = min(max(sure, 1e-15), 1 - 1e-15)
        score.append(score_logit(pipeline.window(camera)))
        yes.append(math.log(sure / (1 - sure)))
        truth.append(clip.anomalous)
        pipeline.reset(camera)
    return Logits(np.array(score), np.array(yes), np.array(truth))


def fit(logits: np.ndarray, truth: np.ndarray) -> Scale:
    """The scale of least cross-entropy: a temperature, and a bias where it clearly lowers the cross-entropy of clips left out.

    logits: float [N], truth: bool [N]. Raises `ConfigError` for too few clips of a kind, and `ModelError` where there is
    nothing to scale: higher logits do not go with more anomalies.
    """
    if min(truth.sum(), (~truth).sum()) < FOLDS:
        raise ConfigError(f"a fit needs at least {FOLDS} clips with and {FOLDS} without an anomaly")

    with_bias, without = (
        cross_val_score(_line(bias), logits[:, None], truth, cv=FOLDS, scoring="neg_log_loss") for bias in (True, False)
    )
    gain = with_bias - without
    bias = float(gain.mean()) > float(gain.std(ddof=1)) / FOLDS**0.5  # by more than its standard error
    line = _line(bias).fit(logits[:, None], truth)
    slope = float(line.coef_[0, 0])
    if slope <= 0:
        raise ModelError("higher scores do not go with more anomalies in these clips; the model has to learn first")
    return Scale(temperature=1 / slope, bias=float(line.intercept_[0]) if bias else 0.0)


def _line(bias: bool) -> LogisticRegression:
    return LogisticRegression(C=1e6, fit_intercept=bias)


def save(directory: Path, calibration: Calibration) -> list[Path]:
    """Writes it into a model directory's manifests; which. All else in them stays."""
    kinds = ((directory, Manifest), (directory, Artifact), (directory / EXPORT, Artifact))
    there = [(folder, kind) for folder, kind in kinds if (folder / kind.FILE).is_file()]
    records = [(folder, kind.read(folder)) for folder, kind in there]  # all are good, or none is written
    for folder, record in records:
        dataclasses.replace(record, calibration=calibration).save(folder)
    return [folder / record.FILE for folder, record in records]


def _figures(logits: np.ndarray, truth: np.ndarray, scale: Scale) -> dict[str, float]:
    said = _probabilities(logits, scale)
    return {
        "calibration_error": calibration_error(truth, said),
        "cross_entropy": float(log_loss(truth, said, labels=[False, True])),
        "brier": float(np.mean((said - truth) ** 2)),
        "accuracy": float(np.mean((said >= 0.5) == truth)),
    }


def _probabilities(logits: np.ndarray, scale: Scale) -> np.ndarray:
    return np.array([scale.probability(logit) for logit in logits])


def _report(name: str, scale: Scale, found: dict[str, Logits]) -> dict:
    """Prints and returns the figures of one scale, before and after, on each split."""
    print(f"\n{TITLES[name]}: temperature {scale.temperature:.3f}, bias {scale.bias:.3f}")
    report: dict = {"temperature": scale.temperature, "bias": scale.bias}
    for split, logits in found.items():
        before, after = (_figures(getattr(logits, name), logits.truth, each) for each in (Scale(), scale))
        report[split] = {"before": before, "after": after}
        for figure, value in before.items():
            print(f"  {split:<10} {figure:<18} {value:.4f} -> {after[figure]:.4f}")
    return report


def _run(options: argparse.Namespace) -> int:
    directory = find_model(options.model)
    if options.diagram and not cv2.haveImageWriter(str(options.diagram)):
        raise ConfigError(f"--diagram {options.diagram}: no kind of picture has such a name; call it .png")
    config = PipelineConfig(
        engine=EngineConfig(model=options.model, device=options.device),
        dialogue=DialogueConfig(max_new_tokens=1, contradictions="ignore", max_sessions=1),
    )
    with open_pipeline(config) as pipeline:
        found = {"fitted": gather(pipeline, options.clips, options.split, options.seed)}
        scales = {name: fit(getattr(found["fitted"], name), found["fitted"].truth) for name in TITLES}
        if options.test_clips:
            found["test"] = gather(pipeline, options.test_clips, options.split, options.test_seed)
    report = {name: _report(name, scale, found) for name, scale in scales.items()}
    if options.dry_run:
        print("\nnothing was written into the model")
    else:
        print("\nwritten: " + ", ".join(str(path) for path in save(directory, Calibration(**scales))))
    if options.diagram:
        shown = list(found.values())[-1]
        draw_reliability(options.diagram, [_panel(name, shown, scale) for name, scale in scales.items()])
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        facts = {"model": options.model, "split": options.split, "clips": options.clips, "seed": options.seed}
        facts |= {"test_clips": options.test_clips, "test_seed": options.test_seed, **report}
        options.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return 0


def _panel(name: str, logits: Logits, scale: Scale) -> tuple:
    before, after = (_probabilities(getattr(logits, name), each) for each in (Scale(), scale))
    errors = " -> ".join(f"{calibration_error(logits.truth, said):.3f}" for said in (before, after))
    title = f"{TITLES[name]}, error {errors}"
    return title, reliability_bins(logits.truth, before), reliability_bins(logits.truth, after)


def _count(least: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return int(text)

    return count


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default="tvau-tiny", help="checkpoint or export: embedded name or directory (default: tvau-tiny)"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default: auto)")
    parser.add_argument("--clips", type=_count(4 * FOLDS), default=600, help="clips that are fitted to (default: 600)")
    parser.add_argument(
        "--seed", type=_count(0), default=1_000_000, help="seed of the first of them (default: 1000000)"
    )
    parser.add_argument(
        "--test-clips", type=_count(0), default=200, help="other clips that are measured on, 0: none (default: 200)"
    )
    parser.add_argument(
        "--test-seed", type=_count(0), default=500_000, help="seed of the first of them (default: 500000)"
    )
    parser.add_argument(
        "--split", default="familiar", choices=UNTRAINED,
        help="of the synthetic world; familiar: what tvau-tiny was trained on, in clips that it never saw (default: familiar)",
    )  # fmt: skip
    parser.add_argument("--diagram", type=Path, metavar="PNG", help="also draw a reliability diagram")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--dry-run", action="store_true", help="leave the model as it is")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except (OSError, TvauError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
