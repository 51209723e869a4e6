"""RBDC and TBDC beside those of the community's reference evaluator, on random cases without equal scores.

The evaluator is `evaluation/compute_tbdc_rbdc.py` of github.com/lilygeorgescu/AED. Its licence (CC BY-NC-ND 4.0) forbids shipping
it: fetch it yourself, and name its folder with --reference. It is run as it is; its plots go nowhere. Both sides read the same
text files, ours as `tvau evaluate` does. Knows no model.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
from common import Skipped
from tqdm import tqdm

from tvau_runtime.errors import ConfigError, TvauError
from tvau_runtime.metrics import PREDICTION, TRACK, detection_scores, read_boxes

__all__ = ["Case", "make_case", "write_case"]

EXAMPLES = """\
examples:
  git clone https://github.com/lilygeorgescu/AED ../AED
  python benchmarks/metrics_reference.py --reference ../AED/evaluation
"""
SCRIPT = "compute_tbdc_rbdc.py"
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Case:
    """Ground truth and predictions by video, as `detection_scores` takes them; frames: of all videos together."""

    tracks: dict[str, np.ndarray]
    boxes: dict[str, np.ndarray]
    frames: int


def make_case(seed: int) -> Case:
    """A random case: up to four videos with tracks that move and cross, detectors from nearly blind to nearly perfect, few false
    boxes to several per frame. No two scores are equal, and no file has fewer than two lines, which the reference cannot read.
    """
    rng = np.random.default_rng(seed)
    recall, jitter, false_rate = rng.uniform(0.05, 1.0), rng.uniform(0.0, 1.2), rng.uniform(0.05, 3.0)
    whole = rng.random() < 0.5  # pixels as whole numbers
    tracks, boxes, frames = {}, {}, 0
    for video in range(rng.integers(1, 5)):
        length = int(rng.integers(5, 90))
        frames += length
        true = [row for track in range(rng.integers(1, 6)) for row in _track(rng, track, length)]
        found = [
            (row[1], *(np.array(row[2:]) + rng.normal(0, jitter * np.ptp(row[2::2]), 4)))
            for row in true
            for _ in range(rng.poisson(recall))
        ]
        for _ in range(2 + rng.poisson(false_rate * length)):
            x, y, w, h = rng.uniform((0, 0, 5, 5), (300, 200, 80, 80))
            found.append((int(rng.integers(length)), x, y, x + w, y + h))
        true, said = np.array(true, np.float64), np.array(found, np.float64)
        said[:, 1:] = np.concatenate([np.minimum(said[:, 1:3], said[:, 3:]), np.maximum(said[:, 1:3], said[:, 3:])], 1)
        if whole:
            true, said = np.round(true), np.round(said)
        tracks[f"{video:02d}"], boxes[f"{video:02d}"] = true, said
    scores = rng.permutation(sum(map(len, boxes.values()))) + rng.uniform(0.1, 0.9)
    parts = np.split(scores / (len(scores) + 1), np.cumsum([len(said) for said in boxes.values()])[:-1])
    boxes = {name: np.column_stack([said, part]) for (name, said), part in zip(boxes.items(), parts, strict=True)}
    return Case(tracks, boxes, frames)


def write_case(case: Case, folder: Path) -> tuple[Path, Path]:
    """Writes a case as the community's text files; returns the folders of tracks and of predictions."""
    places = folder / "tracks", folder / "boxes"
    for place, files in zip(places, (case.tracks, case.boxes), strict=True):
        place.mkdir(parents=True)
        for name, rows in files.items():
            np.savetxt(place / f"{name}.txt", rows, fmt="%.17g", delimiter=",")
    return places


def ours(tracks: Path, boxes: Path, frames: int) -> dict[str, float]:
    """RBDC and TBDC by our metrics, of text files."""
    names = sorted(path.name for path in tracks.iterdir())
    found = detection_scores(
        [read_boxes(tracks / name, TRACK) for name in names],
        [read_boxes(boxes / name, PREDICTION) for name in names],
        frames,
    )
    return {"rbdc": found.rbdc, "tbdc": found.tbdc}


def load_reference(folder: Path) -> Callable[[Path, Path, int], dict[str, float]]:
    """The reference evaluator as a function. Raises `Skipped` where it is not there."""
    path = folder / SCRIPT
    if not path.is_file():
        raise Skipped(f"there is no {SCRIPT} in {folder}; see --help for where it is from")
    package, plots = ModuleType("matplotlib"), ModuleType("matplotlib.pyplot")
    package.__dict__["pyplot"] = plots
    plots.__dict__.update(dict.fromkeys(("plot", "xlabel", "ylabel", "show"), lambda *_: None))
    spec = importlib.util.spec_from_file_location("reference_evaluator", path)
    assert spec and spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    arguments = [SCRIPT, "--tracks-path=.", "--anomalies-path=.", "--num-frames=1"]  # it reads them when it is imported
    with (
        mock.patch.dict(sys.modules, {each.__name__: each for each in (package, plots)}),
        mock.patch.object(sys, "argv", arguments),
    ):
        spec.loader.exec_module(module)

    def run(tracks: Path, boxes: Path, frames: int) -> dict[str, float]:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            module.compute_metrics(str(tracks), str(boxes), frames)
        return {name: float(value) for name, value in re.findall(r"^([rt]bdc) = (\S+)$", said.getvalue(), re.MULTILINE)}

    return run


def _track(rng: np.random.Generator, number: int, length: int) -> Sequence[tuple[float, ...]]:
    """Lines of a track that moves straight on, with gaps; at least two."""
    seen = np.sort(rng.choice(length, int(rng.integers(2, length + 1)), replace=False))
    x, y, w, h = rng.uniform((0, 0, 8, 8), (250, 150, 90, 70))
    dx, dy = rng.normal(0, 2, 2)
    return [(number, int(t), x + dx * t, y + dy * t, x + dx * t + w, y + dy * t + h) for t in seen]


def main() -> int:
    """Runs the command line; returns the exit code: 1 where a case differs by more than the tolerance."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--reference", type=Path, metavar="DIR", help=f"folder with {SCRIPT}; without it nothing is compared"
    )
    parser.add_argument("--cases", type=int, default=200, help="how many random cases (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the first case (default: 0)")
    parser.add_argument("--json", type=Path, help="also write the figures of every case there")
    options = parser.parse_args()
    try:
        if options.cases < 1:
            raise ConfigError(f"--cases must be at least 1, got {options.cases}")
        if options.reference is None:
            raise Skipped("not compared: --reference was not given; see --help for where the evaluator is from")
        reference, rows = load_reference(options.reference), []
        for seed in tqdm(range(options.seed, options.seed + options.cases), desc="cases", unit="case", disable=None):
            case = make_case(seed)
            with tempfile.TemporaryDirectory() as folder:
                tracks, boxes = write_case(case, Path(folder))
                theirs, mine = reference(tracks, boxes, case.frames), ours(tracks, boxes, case.frames)
            rows.append({"seed": seed, "boxes": sum(map(len, case.boxes.values())), "ours": mine, "reference": theirs})
    except Skipped as reason:
        print(reason)
        return 0
    except TvauError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    worst = {}
    for name in ("rbdc", "tbdc"):
        values = [row["ours"][name] for row in rows]
        worst[name] = max(abs(row["ours"][name] - row["reference"][name]) for row in rows)
        print(
            f"{name.upper()}: {min(values):.3f} to {max(values):.3f}, at most {worst[name]:.1e} from the reference, "
            f"in {len(rows)} cases"
        )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"worst": worst, "cases": rows}, indent=2) + "\n", encoding="utf-8")
    return 0 if max(worst.values()) <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
