"""RBDC and TBDC: how many abnormal regions and tracks are found by scored boxes, against false boxes (Street Scene protocol).

Boxes are (x_min, y_min, x_max, y_max) in pixels with **inclusive** maxima here, as in the protocol's text files; each array's
columns are those of a line there. Knows no videos and no models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from sklearn.metrics import auc

from ..errors import ConfigError

__all__ = ["DetectionScores", "detection_scores", "heatmap_boxes"]

MIN_IOU = 0.1
"""β: a box finds a region that it overlaps by at least this."""
MIN_FOUND = 0.1
"""α: a track is found once this part of its regions is."""


@dataclass(frozen=True)
class DetectionScores:
    """Areas up to one false box per frame, 0..1; not a number where there is nothing to find.

    fpr, rbdr, tbdr: float64 [k], false boxes per frame and the parts of regions and of tracks found, from (0, 0) on, one
    point for each distinct score.
    """

    rbdc: float
    tbdc: float
    fpr: np.ndarray = field(repr=False)
    rbdr: np.ndarray = field(repr=False)
    tbdr: np.ndarray = field(repr=False)


def detection_scores(truth: Sequence[np.ndarray], predictions: Sequence[np.ndarray], frames: int) -> DetectionScores:
    """Both figures over all videos.

    truth: per video float [n, 6], `track_id, frame_id, x_min, y_min, x_max, y_max`. predictions: per video float [m, 6],
    `frame_id, x_min, y_min, x_max, y_max, score`. frames: in all videos together. Either may be empty, as [0, 6].

    A box finds every region of its frame with an IoU of at least 0.1; one that overlaps none so far is a false positive, one
    that finds only what better boxes have found counts for nothing. Boxes of equal score enter at once, so that their order
    in the input does not matter. Raises `ConfigError` for arrays of another shape or with values that are not finite.
    """
    if len(truth) != len(predictions):
        raise ConfigError(f"truth and predictions of the same videos, got {len(truth)} and {len(predictions)}")
    if frames < 1:
        raise ConfigError(f"frames must be at least 1, got {frames}")
    regions, tracks, false = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)]
    scores = [np.zeros(0)]
    for number, (mine, said) in enumerate(zip(truth, predictions, strict=True)):
        mine, said = _checked(mine, f"truth of video {number}"), _checked(said, f"predictions of video {number}")
        entry, matched = _match(mine, said)
        regions.append(entry)
        tracks.append(np.array([_track_entry(entry[mine[:, 0] == track]) for track in np.unique(mine[:, 0])]))
        false.append(said[~matched, 5])
        scores.append(said[:, 5])
    thresholds = np.unique(np.concatenate(scores))[::-1]
    fpr = _reached(np.concatenate(false), thresholds) / frames
    found = [np.concatenate(each) for each in (regions, tracks)]
    if not len(found[0]):
        nothing = np.full(len(fpr), np.nan)
        return DetectionScores(float("nan"), float("nan"), fpr, nothing, nothing)
    rbdr, tbdr = (_reached(each, thresholds) / len(each) for each in found)
    return DetectionScores(_area(fpr, rbdr), _area(fpr, tbdr), fpr, rbdr, tbdr)


def heatmap_boxes(values: np.ndarray, levels: Sequence[float], frame_size: tuple[int, int]) -> np.ndarray:
    """A heat map float [h, w] as scored boxes float64 [n, 5]: `x_min, y_min, x_max, y_max, score`.

    They bound the 8-connected components that are at least each level warm, in pixels of a frame of (height, width), with
    the map's largest value inside the box as score. What several levels bound alike comes once. Raises `ConfigError` for a
    map that is not two-dimensional.
    """
    if values.ndim != 2 or 0 in values.shape:
        raise ConfigError(f"a heat map must be [h, w] with values, got {list(values.shape)}")
    sy, sx = frame_size[0] / values.shape[0], frame_size[1] / values.shape[1]
    boxes = []
    for level in levels:
        _, _, stats, _ = cv2.connectedComponentsWithStats((values >= level).astype(np.uint8), connectivity=8)
        for x, y, w, h, _ in stats[1:]:  # 0 is what is not warm
            score = values[y : y + h, x : x + w].max()
            boxes.append((x * sx, y * sy, (x + w) * sx - 1, (y + h) * sy - 1, score))
    return np.unique(np.array(boxes, np.float64).reshape(-1, 5), axis=0)


def _match(regions: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each region, the best score of a box that finds it, -inf for none; for each box, whether it finds any."""
    regions_order = np.argsort(regions[:, 1], kind="stable")
    sorted_frames = regions[regions_order, 1]
    first, end = (np.searchsorted(sorted_frames, boxes[:, 0], side) for side in ("left", "right"))
    # All pairs of a box and a region of its frame.
    box = np.repeat(np.arange(len(boxes)), end - first)
    within = np.arange(len(box)) - np.repeat(np.cumsum(end - first) - (end - first), end - first)
    region = regions_order[np.repeat(first, end - first) + within]
    hit = _iou(regions[region, 2:6], boxes[box, 1:5]) >= MIN_IOU
    entry, matched = np.full(len(regions), -np.inf), np.zeros(len(boxes), bool)
    np.maximum.at(entry, region[hit], boxes[box[hit], 5])
    matched[box[hit]] = True
    return entry, matched


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes float [n, 4], row by row, maxima inclusive."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    shared = np.clip(high - low + 1, 0, None).prod(axis=1)
    areas = (a[:, 2:] - a[:, :2] + 1).prod(axis=1) + (b[:, 2:] - b[:, :2] + 1).prod(axis=1)
    return shared / (areas - shared)


def _track_entry(entry: np.ndarray) -> float:
    """The score at which enough of a track's regions are found."""
    parts = np.arange(1, len(entry) + 1) / len(entry)
    return np.sort(entry)[::-1][np.count_nonzero(parts < MIN_FOUND)]


def _reached(entry: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many of `entry` are at least each threshold, float64 [1 + k], with the 0 of an infinite one before."""
    counts = len(entry) - np.searchsorted(np.sort(entry), thresholds, "left")
    return np.concatenate([[0.0], counts])


def _area(fpr: np.ndarray, rate: np.ndarray) -> float:
    """By trapezoids up to one false positive per frame; flat from the last point before it."""
    inside = fpr <= 1
    return float(auc(np.append(fpr[inside], 1.0), np.append(rate[inside], rate[inside][-1])))


def _checked(rows: np.ndarray, name: str) -> np.ndarray:
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or rows.shape[1] != 6:
        raise ConfigError(f"{name} must be [n, 6], got {list(rows.shape)}")
    if not np.isfinite(rows).all():
        raise ConfigError(f"{name} must be finite")
    return rows
