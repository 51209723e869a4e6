"""Warm regions of one heat map, as boxes in pixels of the camera's frame. Knows neither time nor events."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .errors import FrameError
from .types import Box

__all__ = ["Region", "find_regions"]

UPSAMPLING = 5
"""Boxes are this many times finer than patches. Odd, so that every patch's own value stays on the finer map."""
REACH = 0.5
"""A region reaches as far as it is at least this part of the threshold warm, so that a lone patch at the threshold has a box
of its own size. Bounded by the threshold itself, it would be a dot that hardly overlaps the target.
"""


@dataclass(frozen=True)
class Region:
    """A connected warm region. box: its bounds in frame pixels, score: the largest heat within, 0..1."""

    box: Box
    score: float


def find_regions(
    heatmap: np.ndarray, frame_size: tuple[int, int], threshold: float, min_area: float = 0.0
) -> list[Region]:
    """The 8-connected regions of a heat map [gh, gw] that peak at `threshold` or more, the hottest first.

    The map is up-sampled (bilinear) first; a region is all that is at least `REACH` times the threshold warm around its
    peak, so that peaks with such warmth between them are one region. frame_size: (height, width) in pixels; min_area:
    fraction of the image below which a region is left out. A score is the heat map's own value, and so is what is compared
    with the threshold. What is exactly 0 is never warm, even at threshold 0. Raises `FrameError` for a map that is not
    two-dimensional.
    """
    if heatmap.ndim != 2 or 0 in heatmap.shape:
        raise FrameError(f"a heat map must be [gh, gw] with values, got {list(heatmap.shape)}")
    rows, columns = heatmap.shape
    heatmap = heatmap.astype(np.float32, copy=False)
    if not (heatmap.max() >= threshold and heatmap.max() > 0):
        return []
    height, width = rows * UPSAMPLING, columns * UPSAMPLING
    fine = cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_LINEAR)
    centres = slice(UPSAMPLING // 2, None, UPSAMPLING)
    fine[centres, centres] = heatmap  # what it is but for rounding
    warm = ((fine >= REACH * threshold) & (fine > 0)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(warm, connectivity=8)
    # The largest heat of a bilinear region is at a patch's centre.
    scores = np.zeros(count, np.float32)
    np.maximum.at(scores, labels[centres, centres].astype(np.intp), heatmap)
    sy, sx = frame_size[0] / height, frame_size[1] / width
    found = []
    for label in range(1, count):  # 0 is what is not warm
        x, y, w, h, area = (int(v) for v in stats[label])
        if scores[label] >= threshold and area >= min_area * height * width:
            box = (x * sx, y * sy, (x + w) * sx, (y + h) * sy)
            found.append(Region(box=box, score=float(scores[label])))
    return sorted(found, key=lambda region: -region.score)
