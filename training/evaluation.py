"""A pipeline's figures on the clips of a data set: micro and macro AUC, RBDC and TBDC, and the text files they rest on.

Per clip, once it is watched, OUT holds, in the field's formats, for its own evaluators too:

    scores/CLIP.txt        frame_id,nearest,latest
    detections/CLIP.txt    frame_id,x_min,y_min,x_max,y_max,score
    tracks/CLIP.txt        track_id,frame_id,x_min,y_min,x_max,y_max

Frames count from 0, boxes are in pixels with inclusive maxima. All figures are read off these files, so that a run that was
stopped goes on with the next clip. Knows no layout of data sets.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import correlate1d, gaussian_filter1d
from tqdm import tqdm

from tvau_runtime.errors import ConfigError
from tvau_runtime.pipeline import Pipeline
from tvau_runtime.types import Step

from .data import Clip
from .data.files import read_rows
from .data.folder import read_regions
from .data.writers import staged
from .metrics import detection_scores, frame_scores, heatmap_boxes

__all__ = ["LEVELS", "SMOOTHING_S", "evaluate_clips"]

LEVELS = (0.1,)
"""Boxes bound what is at least so warm. One low level: of several, each box of a false alarm within another counts anew (40
clips of the world's validation split: RBDC 0.715 at 0.1, 0.625 at 0.1, 0.3, 0.5, 0.7 and 0.9 together)."""
SMOOTHING_S = 0.5
"""Standard deviation of the Gaussian over time, for the two smoothed columns; not tuned for any data set."""


@dataclass(frozen=True, eq=False)
class _Watched:
    """What is known of a clip after it was watched, of the n frames that could be read and have a label.

    frames: int [n], numbers. labels: bool [n]. nearest, latest: float [n], the heat map's peak in the pair of frames nearest in
    time, and in the latest pair that was complete by then (0 before the first). boxes, regions: as in the text files; regions is
    None where the data set has no masks of the clip. fps: of the clip.
    """

    frames: np.ndarray
    labels: np.ndarray
    nearest: np.ndarray
    latest: np.ndarray
    boxes: np.ndarray
    regions: np.ndarray | None
    fps: float


def evaluate_clips(
    pipeline: Pipeline, clips: Sequence[Clip], out: Path, facts: dict[str, Any], tracks: Path | None = None
) -> dict[str, Any]:
    """Watches what was not yet watched, and writes and returns `OUT/metrics.json`: figures 0..1, None where there is nothing to
    tell apart.

    facts: of the run, kept with the figures; OUT must not hold a run with others. tracks: a folder of published text files of
    regions that take the place of those made from the masks. Raises `ConfigError` and what reading raises.
    """
    _settle(out, facts)
    watched: list[_Watched] = []
    left_out: list[str] = []
    for clip in tqdm(clips, desc="clips", unit="clip", dynamic_ncols=True):
        if clip.truth is None:
            left_out.append(f"{clip.name}: no labels")
            continue
        if not (out / "scores" / f"{clip.name}.txt").is_file():
            _watch(pipeline, clip, out)
        watched.append(_gather(clip, out, tracks, left_out))
    if not watched:
        raise ConfigError("none of the clips has labels; there is nothing to evaluate")
    figures = {**facts, **_figures(watched), "left_out": left_out}
    with staged(out / "metrics.json") as draft:
        draft.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def _settle(out: Path, facts: dict[str, Any]) -> None:
    path = out / "settings.json"
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
        if known != facts:
            raise ConfigError(f"{path} says {known}, not {facts}; give another --out")
    with staged(path) as draft:
        draft.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _watch(pipeline: Pipeline, clip: Clip, out: Path) -> None:
    """Runs the clip through the pipeline, as a camera's frames would, and writes its text files."""
    steps: list[Step] = []
    seen: list[tuple[int, int]] = []
    camera = "clip"  # one for all: what a camera leaves behind would add up
    for each in clip.read(masks=False):
        seen.append((each.index, each.frame.stamp_ns))
        updates = pipeline.push(replace(each.frame, camera=camera))
        steps += [update.step for update in updates if update.step is not None]
    pipeline.reset(camera)
    peaks = np.array([step.heatmap.score for step in steps])
    begin, end = (np.array([step.stamps_ns[i] for step in steps]) for i in (0, 1))
    boxes = [heatmap_boxes(step.heatmap.values, LEVELS, clip.size) for step in steps]
    scores, detections = [], []
    for index, stamp in seen:
        pair = int(np.argmin(np.maximum(begin - stamp, 0) + np.maximum(stamp - end, 0))) if steps else -1
        past = int(np.searchsorted(end, stamp, "right")) - 1
        nearest, latest = (float(peaks[i]) if i >= 0 else 0.0 for i in (pair, past))
        scores.append((index, nearest, latest))
        if pair >= 0:
            detections += [(index, *box) for box in boxes[pair]]
    _save(out / "detections" / f"{clip.name}.txt", detections)
    regions = clip.regions()
    if regions is not None:
        _save(out / "tracks" / f"{clip.name}.txt", regions)
    _save(out / "scores" / f"{clip.name}.txt", scores)  # last: with it, the clip is done


def _save(path: Path, rows: Sequence[Sequence[float]] | np.ndarray) -> None:
    with staged(path) as draft:
        draft.write_text("".join(",".join(f"{value:.9g}" for value in row) + "\n" for row in rows), encoding="utf-8")


def _gather(clip: Clip, out: Path, tracks: Path | None, left_out: list[str]) -> _Watched:
    """Reads a clip's files, and notes what does not fit together."""
    scores = read_rows(out / "scores" / f"{clip.name}.txt", 3)
    frames = scores[:, 0].astype(int)
    labels = clip.labels
    scored = frames < len(labels)
    if not scored.all() or scored.sum() < len(labels):
        left_out.append(
            f"{clip.name}: {np.count_nonzero(~scored)} frames without a label, "
            f"{len(labels) - np.count_nonzero(scored)} labels without a frame"
        )
    frames = frames[scored]
    boxes = read_rows(out / "detections" / f"{clip.name}.txt", 6)
    mine = out / "tracks" / f"{clip.name}.txt"
    if tracks is not None:
        mine = tracks / f"{clip.name}.txt"
        if not mine.is_file() and labels.any():
            raise ConfigError(f"{mine} is missing, and {clip.name} is abnormal")
    elif not mine.is_file():
        left_out.append(f"{clip.name}: no masks, not counted in RBDC and TBDC")
    regions = read_regions(mine) if mine.is_file() else np.zeros((0, 6)) if tracks is not None else None
    return _Watched(
        frames,
        labels[frames],
        scores[scored, 1],
        scores[scored, 2],
        boxes[np.isin(boxes[:, 0], frames)],
        None if regions is None else regions[np.isin(regions[:, 1], frames)],
        clip.fps,
    )


def _figures(watched: list[_Watched]) -> dict[str, Any]:
    labels = [each.labels for each in watched]
    plain = frame_scores(labels, [each.nearest for each in watched])
    causal = frame_scores(labels, [_causal(each.latest, each.fps) for each in watched])
    smoothed = frame_scores(labels, [_smoothed(each.nearest, each.fps) for each in watched])
    shown = [(each, each.regions) for each in watched if each.regions is not None]
    frames = sum(len(each.frames) for each, _ in shown)
    boxes = (
        detection_scores([regions for _, regions in shown], [each.boxes for each, _ in shown], frames)
        if frames
        else None
    )
    return {
        "clips": len(watched),
        "abnormal_clips": sum(bool(each.any()) for each in labels),
        "frames": sum(map(len, labels)),
        "abnormal_frames": int(sum(each.sum() for each in labels)),
        "regions": sum(len(regions) for _, regions in shown),
        "micro_auc": _known(plain.micro),
        "macro_auc": _known(plain.macro),
        "rbdc": _known(boxes.rbdc) if boxes else None,
        "tbdc": _known(boxes.tbdc) if boxes else None,
        "causal_micro_auc": _known(causal.micro),
        "causal_macro_auc": _known(causal.macro),
        "smoothed_micro_auc": _known(smoothed.micro),
        "smoothed_macro_auc": _known(smoothed.macro),
        "smoothing_s": SMOOTHING_S,
        "levels": list(LEVELS),
    }


def _causal(scores: np.ndarray, fps: float) -> np.ndarray:
    """Smoothed by half a Gaussian that looks back alone."""
    sigma = SMOOTHING_S * fps
    past = np.arange(4 * math.ceil(sigma) + 1)[::-1]
    weights = np.exp(-0.5 * (past / sigma) ** 2)
    kernel = np.concatenate([weights, np.zeros(len(past) - 1)])
    return np.clip(correlate1d(scores, kernel / kernel.sum(), mode="nearest"), 0, 1) if len(scores) else scores


def _smoothed(scores: np.ndarray, fps: float) -> np.ndarray:
    """As most papers do: a Gaussian over time that looks ahead, then each video stretched to 0..1."""
    if not len(scores):
        return scores
    smooth = gaussian_filter1d(scores, SMOOTHING_S * fps, mode="nearest")
    reach = smooth.max() - smooth.min()
    return (smooth - smooth.min()) / reach if reach > 0 else np.zeros_like(smooth)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
