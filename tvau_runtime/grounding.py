"""What heat maps and a track show, in the nine regions of an image: the evidence of an answer; and places in words.

Knows no model and no dialogue.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import cv2
import numpy as np

from .types import Evidence, TrackPoint, Window

__all__ = [
    "PLACES",
    "Place",
    "box_place",
    "contradicts",
    "evidence_of",
    "named_places",
    "warm_way",
    "way_of",
    "way_words",
]

PLACES = (("top left", "top", "top right"), ("left", "center", "right"), ("bottom left", "bottom", "bottom right"))
"""The words for each region, by row and column."""
WARM = 0.5
"""What is at least this part of the largest heat belongs to the target around it."""

Place = tuple[int, int]
"""(row, column) of a region, each 0..2."""

_MIDDLE = r"middle|cent(?:er|re)"
_NAMED = re.compile(
    rf"\bthe\s+(?:(?P<down>top|upper|bottom|lower|{_MIDDLE})(?:[\s-]+(?P<right>left|right|{_MIDDLE}))?|(?P<side>left|right))\b",
    re.IGNORECASE,
)
_THIRD = {"top": 0, "upper": 0, "left": 0, "bottom": 2, "lower": 2, "right": 2}
"""All other words are for the one in the middle."""


def named_places(text: str) -> list[Place]:
    """The regions that a text names, in order: "from the upper left to the center" gives (0, 0) and (1, 1).

    Only behind "the", so that whoever "left the room" is not taken for a place.
    """
    words = (match.groupdict() for match in _NAMED.finditer(text.lower()))
    return [(_third(found["down"]), _third(found["right"] or found["side"])) for found in words]


def _third(word: str | None) -> int:
    return _THIRD.get(word or "", 1)


def box_place(box: Sequence[float] | np.ndarray, frame_size: tuple[int, int]) -> Place:
    """The region of a box's middle; box: (x_min, y_min, x_max, y_max) in pixels of a frame of (height, width)."""
    middle = (box[1] + box[3]) / 2 / frame_size[0], (box[0] + box[2]) / 2 / frame_size[1]
    row, column = (min(2, max(0, int(part * 3))) for part in middle)
    return row, column


def evidence_of(
    window: Window, track: Sequence[TrackPoint], *, anomaly: bool, yes_probability: float, probability: float
) -> Evidence:
    """All that a window shows, and the track of the event that it is about (empty: it is about none).

    anomaly, yes_probability, probability: what the model makes of it; see `Evidence`.
    """
    peak = window.peak
    box = peak.heatmap.box(peak.frame_size)
    warm = [step.stamps_ns for step in window.steps if step.heatmap.score >= WARM * window.score]
    place, first, last = (
        PLACES[row][column] for row, column in (box_place(box, peak.frame_size), *way_of(window, track))
    )
    return Evidence(
        anomaly=anomaly,
        yes_probability=yes_probability,
        probability=probability,
        score=window.score,
        box=box,
        place=place,
        from_place=first,
        to_place=last,
        peak_ns=peak.stamps_ns[1],
        start_ns=track[0].stamp_ns if track else warm[0][0],
        end_ns=track[-1].stamp_ns if track else warm[-1][1],
        window_start_ns=window.start_ns,
        window_end_ns=window.end_ns,
    )


def way_of(window: Window, track: Sequence[TrackPoint]) -> tuple[Place, Place]:
    """From where to where the target went: by the track, or where there is none by the window's heat maps."""
    if track:
        size = window.peak.frame_size
        return box_place(track[0].box, size), box_place(track[-1].box, size)
    return warm_way([step.heatmap.values for step in window.steps])


def warm_way(heatmaps: Sequence[np.ndarray] | np.ndarray) -> tuple[Place, Place]:
    """Where the target is in the first and in the last of some heat maps [gh, gw]: the region of its warm patches' middle.

    The target is the patch with the largest heat and all that is connected with it and at least `WARM` times as warm; each
    patch counts by its heat.
    """
    return _warm_place(heatmaps[0]), _warm_place(heatmaps[-1])


def _warm_place(heat: np.ndarray) -> Place:
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


def contradicts(text: str, way: tuple[Place, Place]) -> bool:
    """Whether what a text says of a movement begins or ends elsewhere; one that names no place says nothing wrong."""
    places = named_places(text)
    return bool(places) and (places[0], places[-1]) != way
