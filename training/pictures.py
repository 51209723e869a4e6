"""Pictures of a pipeline's figures on a data set: the ROC curve, scores over time, and the clips that went worst.

roc.png       of all frames together, for each way to smooth that is in the table
scores.png    each clip's score over time, what is abnormal shaded, the worst first
worst.jpg     of the worst clips the frame that is furthest off: true regions green, boxes that were found red
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from tvau_runtime.errors import ConfigError

from .data import Clip

__all__ = ["Watched", "draw_pictures", "grid"]

SIDE, MARGIN = 420, 48
"""Of the ROC curve's square, and what is left around it, in pixels."""
PANEL = (96, 320)
"""(height, width) of a clip's scores, in pixels."""
COLUMNS, MOST_CLIPS, WORST = 4, 60, 12
INK, FAINT, LINE, SHADE = (40, 40, 40), (215, 215, 215), (170, 90, 20), (200, 200, 250)
TRUE, FOUND = (60, 200, 60), (40, 40, 240)
"""Colours (B, G, R)."""


@dataclass(frozen=True, eq=False)
class Watched:
    """What is known of a clip after it was watched, of the n frames that could be read and have a label.

    frames: int [n], numbers. labels: bool [n]. nearest, latest: float [n], the heat map's peak in the pair of frames nearest in
    time, and in the latest pair that was complete by then (0 before the first). boxes, regions: as in the text files; regions is
    None where the data set has no masks of the clip. fps: of the clip.
    """

    clip: Clip = field(repr=False)
    frames: np.ndarray
    labels: np.ndarray
    nearest: np.ndarray
    latest: np.ndarray
    boxes: np.ndarray
    regions: np.ndarray | None
    fps: float

    @property
    def wrong(self) -> float:
        """How far scores are from labels, 0..1: the mean over normal frames and that over abnormal ones, whichever is worse."""
        off = np.abs(self.labels - self.nearest)
        return max(
            (float(off[self.labels == odd].mean()) for odd in (True, False) if (self.labels == odd).any()), default=0.0
        )


def draw_pictures(out: Path, watched: Sequence[Watched]) -> None:
    """Writes all three into a folder. Raises `ConfigError` where they cannot be written, and what reading raises."""
    order = sorted((each for each in watched if len(each.frames)), key=lambda each: -each.wrong)
    if not order:
        return
    truth = np.concatenate([each.labels for each in order])
    if truth.any() and not truth.all():
        scores = {name: np.concatenate([getattr(each, name) for each in order]) for name in ("nearest", "latest")}
        _write_image(out / "roc.png", _roc(truth, scores))
    _write_image(out / "scores.png", grid([_panel(each) for each in order[:MOST_CLIPS]], COLUMNS))
    tiles = [tile for each in order[:WORST] if (tile := _worst(each)) is not None]
    if tiles:
        _write_image(out / "worst.jpg", grid(tiles, COLUMNS))


def grid(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Pictures uint8 [h, w, 3] of one width side by side, row by row, on one picture; at least one."""
    height, width = max(tile.shape[0] for tile in tiles), tiles[0].shape[1]
    columns = min(columns, len(tiles))
    sheet = np.full((math.ceil(len(tiles) / columns) * height, columns * width, 3), 32, np.uint8)
    for number, tile in enumerate(tiles):
        y, x = number // columns * height, number % columns * width
        sheet[y : y + tile.shape[0], x : x + width] = tile
    return sheet


def _roc(truth: np.ndarray, scores: dict[str, np.ndarray]) -> np.ndarray:
    image = np.full((SIDE + 2 * MARGIN, SIDE + 2 * MARGIN, 3), 255, np.uint8)

    def at(false: float, true: float) -> tuple[int, int]:
        return round(MARGIN + false * SIDE), round(MARGIN + (1 - true) * SIDE)

    for part in np.linspace(0, 1, 6):
        cv2.line(image, at(part, 0), at(part, 1), FAINT, 1)
        cv2.line(image, at(0, part), at(1, part), FAINT, 1)
        (x, y), (_, height) = at(part, 0), at(0, part)
        _text(image, f"{part:.1f}", (x - 12, y + 18))
        _text(image, f"{part:.1f}", (12, height + 5))
    cv2.line(image, at(0, 0), at(1, 1), INK, 1, cv2.LINE_AA)
    for number, ((name, values), color) in enumerate(zip(scores.items(), (LINE, FOUND))):
        false, true, _ = roc_curve(truth, values)
        points = np.array([at(*point) for point in zip(false, true, strict=True)], np.int32)
        cv2.polylines(image, [points], False, color, 2, cv2.LINE_AA)
        _text(
            image, f"{name} pair: AUC {roc_auc_score(truth, values):.3f}", (MARGIN + 170, SIDE - 8 + 22 * number), color
        )
    _text(image, "part of normal frames; up: part of abnormal frames, above a score", (MARGIN, SIDE + 2 * MARGIN - 10))
    return image


def _panel(each: Watched) -> np.ndarray:
    height, width = PANEL
    image = np.full((height, width, 3), 255, np.uint8)
    x = 4 + (each.frames - each.frames[0]) * (width - 9) / max(each.frames[-1] - each.frames[0], 1)
    for odd in x[each.labels]:
        cv2.line(image, (round(odd), 20), (round(odd), height - 4), SHADE, max(1, round(width / len(x))))
    cv2.rectangle(image, (3, 20), (width - 4, height - 4), FAINT, 1)
    y = height - 5 - each.nearest * (height - 26)
    cv2.polylines(image, [np.stack([x, y], axis=1).round().astype(np.int32)], False, LINE, 1, cv2.LINE_AA)
    _text(image, each.clip.name, (5, 14))
    return image


def _worst(each: Watched) -> np.ndarray | None:
    """The frame that is furthest off, [h, w, 3], as wide as a panel."""
    at = int(np.abs(each.labels - each.nearest).argmax())
    number, width = int(each.frames[at]), PANEL[1]
    read = next(iter(each.clip.read([number], masks=False)), None)
    if read is None:
        return None
    height, scale = read.frame.size[0], width / read.frame.size[1]
    image = cv2.resize(cv2.cvtColor(read.frame.rgb, cv2.COLOR_RGB2BGR), (width, round(height * scale)))
    regions = np.zeros((0, 6)) if each.regions is None else each.regions[each.regions[:, 1] == number, 2:]
    found = each.boxes[each.boxes[:, 0] == number, 1:5]
    for boxes, color in ((regions, TRUE), (found, FOUND)):
        for box in boxes[:, :4]:
            x0, y0, x1, y1 = (round(float(value) * scale) for value in box)
            cv2.rectangle(image, (x0, y0), (x1, y1), color, 1)
    truth = "abnormal" if each.labels[at] else "normal"
    cv2.rectangle(image, (0, 0), (width, 34), (32, 32, 32), cv2.FILLED)
    _text(image, each.clip.name, (6, 14), (255, 255, 255))
    _text(image, f"frame {number}: {truth}, score {each.nearest[at]:.2f}", (6, 29), (255, 255, 255))
    return image


def _text(image: np.ndarray, text: str, at: tuple[int, int], color: tuple = INK) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, color, 1, cv2.LINE_AA)


def _write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise ConfigError(f"{path} cannot be written")
