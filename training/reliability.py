"""Draws reliability diagrams: what was said against what was true, as it was and as it is calibrated. Knows no model."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tvau_runtime.errors import ConfigError

from .metrics import Bin

__all__ = ["draw_reliability"]

SIDE, MARGIN, TOP = 420, 64, 56
"""Of one diagram's square, and what is left around and above it, in pixels."""
BEFORE, AFTER, INK, FAINT = (60, 120, 220), (170, 90, 20), (40, 40, 40), (215, 215, 215)
"""Colours (B, G, R)."""


def draw_reliability(path: Path, panels: list[tuple[str, list[Bin], list[Bin]]]) -> None:
    """Writes one diagram per panel, side by side; a panel is its title, and the bins before and after calibration.

    A circle's area is the number of clips. Raises `ConfigError` where the picture cannot be written.
    """
    step = SIDE + MARGIN
    image = np.full((SIDE + TOP + MARGIN, MARGIN + step * len(panels), 3), 255, np.uint8)
    for number, (title, before, after) in enumerate(panels):
        _draw(image, (MARGIN + number * step, TOP), title, before, after)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.haveImageWriter(str(path)) or not cv2.imwrite(str(path), image):
        raise ConfigError(f"{path} cannot be written as a picture")


def _draw(image: np.ndarray, corner: tuple[int, int], title: str, before: list[Bin], after: list[Bin]) -> None:
    left, top = corner

    def at(said: float, true: float) -> tuple[int, int]:
        return round(left + said * SIDE), round(top + (1 - true) * SIDE)

    for part in np.linspace(0, 1, 11):
        cv2.line(image, at(part, 0), at(part, 1), FAINT, 1)
        cv2.line(image, at(0, part), at(1, part), FAINT, 1)
        if round(part * 10) % 2 == 0:
            x, y = at(part, 0)
            _write(image, f"{part:.1f}", (x - 12, y + 18))
            x, y = at(0, part)
            _write(image, f"{part:.1f}", (x - 34, y + 5))
    cv2.rectangle(image, at(0, 1), at(1, 0), INK, 1)
    cv2.line(image, at(0, 0), at(1, 1), INK, 1, cv2.LINE_AA)
    for bins, color, filled in ((before, BEFORE, 2), (after, AFTER, cv2.FILLED)):
        clips = sum(each.clips for each in bins)
        points = [at(each.said, each.true) for each in bins]
        cv2.polylines(image, [np.array(points, np.int32)], False, color, 2, cv2.LINE_AA)
        for each, point in zip(bins, points, strict=True):
            cv2.circle(image, point, round(3 + 16 * (each.clips / clips) ** 0.5), color, filled, cv2.LINE_AA)
    _write(image, title, (left, top - 32), 0.5)
    _write(image, "before", (left, top - 12), color=BEFORE)
    _write(image, "after calibration", (left + 60, top - 12), color=AFTER)
    _write(image, "probability said; up: part that holds an anomaly", (left, top + SIDE + 40))


def _write(image: np.ndarray, text: str, at: tuple[int, int], size: float = 0.42, color: tuple = INK) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)
