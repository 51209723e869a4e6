"""What heat maps and a track show, in the nine regions of an image: the evidence of an answer.

Knows no model and no dialogue.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import cv2
import numpy as np

from .calibration import Calibration
from .types import Evidence, TrackPoint, Window

__all__ = ["PLACES", "Place", "box_place", "evidence_of", "score_logit", "warm_place", "way_of", "way_words"]

PLACES = (("top left", "top", "top right"), ("left", "center", "right"), ("bottom left", "bottom", "bottom right"))
"""The words for each region, by row and column."""
WARM = 0.5
"""What is at least this part of the largest heat belongs to the target around it, or to the time that it is there."""

Place = tuple[int, int]
"""(row, column) of a region, each 0..2."""


def evidence_of(
    window: Window, yes_logit: float, calibration: Calibration, track: Sequence[TrackPoint] = ()
) -> Evidence:
    """All that a window shows.

    yes_logit: of the model's own yes to whether it holds an anomaly. track: of the event that it is about, oldest first;
    empty where it is about none. Of its points within the window the hottest gives score, box and peak.
    """
    peak = window.peak
    box, peak_ns, score = peak.heatmap.box(peak.frame_size), peak.stamps_ns[1], window.score
    own = [point for point in track if window.start_ns <= point.stamp_ns <= window.end_ns]
    if own:  # another target may be hotter
        hottest = max(own, key=lambda point: point.score)
        box, peak_ns, score = hottest.box, hottest.stamp_ns, hottest.score
    row, column = box_place(box, peak.frame_size)
    warm = [step.stamps_ns for step in window.steps if step.heatmap.score >= WARM * window.score]
    sure = calibration.yes.probability(yes_logit)
    return Evidence(
        anomaly=sure >= 0.5,
        yes_probability=sure,
        probability=calibration.score.probability(score_logit(window)),
        score=score,
        box=box,
        place=PLACES[row][column],
        places=tuple(PLACES[row][column] for (row, column), _ in itertools.groupby(way_of(window, track))),
        peak_ns=peak_ns,
        start_ns=track[0].stamp_ns if track else warm[0][0],
        end_ns=track[-1].stamp_ns if track else warm[-1][1],
        window_start_ns=window.start_ns,
        window_end_ns=window.end_ns,
        prompts=window.prompts,
    )


def score_logit(window: Window) -> float:
    """What p(anomaly) of a window is fitted to: the mean over its heat maps of the logit of their peak (eq. 7), from H_c, as of a
    peak near 1 there is more to it than a float32 tells. What is abnormal mostly stays so for a window's time, and a false
    peak does not."""
    return float(np.mean([(step.class_maps[1] - step.class_maps[0]).max() for step in window.steps]))


def way_of(window: Window, track: Sequence[TrackPoint] = ()) -> list[Place]:
    """Where the target was at each time: by its track, or where there is none in each of the window's heat maps."""
    if track:
        return [box_place(point.box, window.peak.frame_size) for point in track]
    return [warm_place(step.heatmap.values) for step in window.steps]


def box_place(box: Sequence[float] | np.ndarray, frame_size: tuple[int, int]) -> Place:
    """The region of a box's middle; box: (x_min, y_min, x_max, y_max) in pixels of a frame of (height, width)."""
    middle = (box[1] + box[3]) / 2 / frame_size[0], (box[0] + box[2]) / 2 / frame_size[1]
    row, column = (min(2, max(0, int(part * 3))) for part in middle)
    return row, column


def warm_place(heat: np.ndarray) -> Place:
    """Where the target is in a heat map [gh, gw]: the region of its warm patches' middle.

    The target is the patch with the largest heat and all that is connected with it and at least `WARM` times as warm; each
    patch counts by its heat.
    """
    peak = np.unravel_index(int(heat.argmax()), heat.shape)
    _, labels = cv2.connectedComponents((heat >= WARM * heat[peak]).astype(np.uint8), connectivity=8)
    patches = np.argwhere(labels == labels[peak])
    weights = heat[tuple(patches.T)].astype(np.float64) + 1e-9  # a map of zeros has a middle too
    middle = ((patches + 0.5) * weights[:, None]).sum(axis=0) / weights.sum() / heat.shape
    row, column = np.minimum(middle * 3, 2).astype(int)
    return int(row), int(column)


def way_words(first: Place, last: Place) -> str:
    """A way from one region to another: "from the left to the top right", or "it stays at the left"."""
    start, stop = (PLACES[row][column] for row, column in (first, last))
    return f"it stays at the {start}" if first == last else f"from the {start} to the {stop}"
