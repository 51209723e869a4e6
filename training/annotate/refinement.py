"""Step 3: what is abnormal, looked at again with everything else blurred, and which timelines it is.

The data set's masks say where something is abnormal; the annotator says what it is. A timeline that both passes see on
the mask is an anomaly timeline of high confidence. Knows no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from tvau_runtime.errors import FrameError
from tvau_runtime.types import Box

from .observations import Observation, Timeline, iou
from .timelines import assign

__all__ = ["Anomaly", "Mask", "blur_background", "find_anomalies", "fuse"]

BLUR = 0.02
"""Standard deviation of the blur, in diagonals of the frame: at 640 x 480, 16 pixels, what is left are colours."""
MARGIN = 0.015
"""The sharp region reaches this far beyond the mask, in diagonals, and fades out over half of that: masks are tight, and a target
is known by what it stands on."""
SAME_BOX = 0.4
"""IoU from which boxes of the two passes are of the same target."""
COVERED, FILLED = 0.5, 0.15
"""A box is on the mask where it holds this part of the abnormal region that it touches most, and where that part is this much of
the box, so that no box of half the street counts."""


class Mask:
    """An abnormal mask bool [H, W], kept as bits: a clip has many."""

    def __init__(self, mask: np.ndarray) -> None:
        if mask.ndim != 2 or mask.dtype != bool:
            raise FrameError(f"a mask must be bool [H, W], got {mask.dtype} {list(mask.shape)}")
        self.shape = mask.shape
        self._bits = np.packbits(mask)

    def array(self) -> np.ndarray:
        """bool [H, W]"""
        height, width = self.shape
        return np.unpackbits(self._bits, count=height * width).reshape(height, width).astype(bool)

    def on(self, box: Box) -> float:
        """Share of the region that the box touches most that lies in the box, 0..1; 0 for a box that is not on the mask."""
        mask = self.array()
        x0, y0, x1, y1 = (round(v) for v in box)
        part = mask[max(y0, 0) : y1, max(x0, 0) : x1]
        if not part.any():
            return 0.0
        _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        inside = np.bincount(labels[max(y0, 0) : y1, max(x0, 0) : x1][part])
        region = int(inside.argmax())
        covered = float(inside[region] / (labels == region).sum())
        return covered if covered >= COVERED and part.sum() >= FILLED * part.size else 0.0


@dataclass(frozen=True)
class Anomaly:
    """A timeline that is abnormal for some time. frames: numbers of its observations on the mask; cover: the mean share of the
    abnormal region that its boxes hold there; confirmed: share of those frames in which the refined pass saw it too."""

    timeline: int
    frames: tuple[int, ...] = field(repr=False)
    cover: float
    confirmed: float


def blur_background(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A frame uint8 [H, W, 3] with everything outside of a mask bool [H, W] and a small margin blurred (Gaussian)."""
    if mask.shape != rgb.shape[:2]:
        raise FrameError(f"a mask must be of the frame's size {rgb.shape[:2]}, got {mask.shape}")
    diagonal = float(np.hypot(*rgb.shape[:2]))
    reach = max(1, round(MARGIN * diagonal))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    sharp = cv2.dilate(mask.astype(np.float32), kernel)
    sharp = cv2.GaussianBlur(sharp, (0, 0), max(reach / 4, 0.5))
    blurred = cv2.GaussianBlur(rgb, (0, 0), BLUR * diagonal)
    return cv2.blendLinear(np.ascontiguousarray(rgb), blurred, sharp, 1 - sharp)


def fuse(
    plain: Iterable[Observation], refined: Iterable[Observation], masks: Mapping[int, Mask]
) -> tuple[list[Observation], Counter[str]]:
    """The observations of both passes as one: what both saw has the refined box and the claims of both.

    Counts what the refined pass "confirmed", "added" (no box of the first pass is there), and what it saw outside of the masks,
    which is left out.
    """
    frames: dict[int, tuple[list[Observation], list[Observation]]] = {}
    for number, each in ((i, each) for i, some in enumerate((plain, refined)) for each in some):
        frames.setdefault(each.frame, ([], []))[number].append(each)
    fused: list[Observation] = []
    counts: Counter[str] = Counter()
    for frame, (first, second) in sorted(frames.items()):
        mask = masks.get(frame)
        there = [each for each in second if mask is not None and mask.on(each.box) > 0]
        counts["outside the mask"] += len(second) - len(there)
        costs = np.array([[1 - iou(a.box, b.box) for b in there] for a in first]).reshape(len(first), len(there))
        partner = {row: there[column] for row, column in assign(costs, 1 - SAME_BOX)}
        for row, each in enumerate(first):
            other = partner.get(row)
            both = each if other is None else Observation(frame, each.time_s, other.box, each.claims + other.claims)
            fused.append(both)
        new = [each for each in there if each not in partner.values()]
        fused += new
        counts["confirmed"] += len(partner)
        counts["added"] += len(new)
    return fused, counts


def find_anomalies(timelines: Sequence[Timeline], masks: Mapping[int, Mask]) -> list[Anomaly]:
    """The timelines that are on the masks in at least two frames, best first: by how many frames, then by cover."""
    found = []
    for timeline in timelines:
        on = {o.frame: (masks[o.frame].on(o.box), o) for o in timeline.observations if o.frame in masks}
        on = {frame: (cover, o) for frame, (cover, o) in on.items() if cover > 0}
        if len(on) >= 2:
            seen_again = sum(any(claim.refined for claim in o.claims) for _, o in on.values())
            cover = sum(cover for cover, _ in on.values()) / len(on)
            found.append(Anomaly(timeline.id, tuple(on), cover, seen_again / len(on)))
    return sorted(found, key=lambda anomaly: (-len(anomaly.frames), -anomaly.cover, anomaly.timeline))
