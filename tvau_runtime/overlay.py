"""Heat maps and events drawn over frames, and the trajectory image that accumulates them over time (the paper's Fig.
5).

A heat map is never normalised per frame: the same value has the same colour and strength in every frame, and where it
is 0 the pixel stays as it was. All images are uint8 [H, W, 3] in RGB. Knows nothing about models, streams or files.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from .errors import FrameError
from .refinement import upsample
from .types import AnomalyEvent, Box, Heatmap

__all__ = [
    "BOX_COLOR",
    "TrajectoryImage",
    "blend_heatmap",
    "draw_events",
    "draw_status",
    "overlay",
    "shrink",
    "thumbnail",
]

BOX_COLOR = (230, 30, 40)
"""RGB of predicted boxes: red, as in the paper's Fig. 5."""
MAX_ALPHA = 0.7
"""How much of the pixel the colour replaces where the heat is 1; in between it grows in proportion."""
FONT = cv2.FONT_HERSHEY_SIMPLEX
MIN_MOVE_IOU = 0.35
"""A target is pasted into the trajectory anew once its box overlaps (IoU) the last pasted one by less than this."""
MAX_TARGETS, MAX_PASTED, MAX_WAY = 32, 64, 1024
"""What a trajectory image remembers at most: targets, boxes over all of them, points of one way; the oldest go
first.
"""

_TURBO = cv2.applyColorMap(np.arange(256, dtype=np.uint8).reshape(256, 1), cv2.COLORMAP_TURBO)
_COLORS = np.ascontiguousarray(_TURBO[..., ::-1])
"""RGB of every heat from 0 to 255, uint8 [256, 1, 3]."""


def blend_heatmap(rgb: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A heat map float32 [gh, gw], 0..1, over a frame uint8 [H, W, 3], as a new frame.

    Values out of range are clipped; what is not a number counts as cold.
    """
    height, width = rgb.shape[:2]
    clean = np.clip(np.nan_to_num(values.astype(np.float32), nan=0.0), 0.0, 1.0)
    heat = upsample(clean, (height, width))
    color = cv2.applyColorMap(cv2.convertScaleAbs(heat, alpha=255), _COLORS)
    alpha = heat * np.float32(MAX_ALPHA)
    return cv2.blendLinear(np.ascontiguousarray(rgb), color, 1 - alpha, alpha)


def draw_events(rgb: np.ndarray, events: Iterable[AnomalyEvent]) -> np.ndarray:
    """Every event's box with its id, score and label, as a new frame."""
    return _draw(rgb, events, "")


def draw_status(rgb: np.ndarray, text: str) -> np.ndarray:
    """A line of text in the upper left corner, as a new frame."""
    return _draw(rgb, (), text)


def overlay(
    rgb: np.ndarray, heatmap: Heatmap | None, events: Iterable[AnomalyEvent] = (), status: str = ""
) -> np.ndarray:
    """The frame with heat map, event boxes and a status line, as a new frame. Without a heat map its pixels stay as
    they are.
    """
    return _draw(rgb if heatmap is None else blend_heatmap(rgb, heatmap.values), events, status)


def _draw(rgb: np.ndarray, events: Iterable[AnomalyEvent], status: str) -> np.ndarray:
    """Boxes, then their labels beside one another, each where no text lies yet: above its box, below it or in it."""
    canvas, events = rgb.copy(), list(events)
    for event in events:
        _draw_box(canvas, event.box)
    texts = [_Text.of(canvas, status, 0, 0, (20, 20, 24))] if status else []
    for event in events:
        label = f"{event.id}  {event.score:.2f}  {event.label}".rstrip()
        x, top, _, bottom = event.box
        high = _Text.of(canvas, label, 0, 0).height
        places = [_Text.of(canvas, label, x, y) for y in (top - high, bottom, top, bottom - high)]
        texts.append(next((text for text in places if not any(map(text.covers, texts))), places[0]))
    for text in texts:
        text.draw(canvas)
    return canvas


def thumbnail(rgb: np.ndarray, heatmap: Heatmap, box: Box, max_width: int) -> np.ndarray:
    """A small picture of one event: heat map and box (pixels of the frame) over the frame, without text."""
    small = shrink(rgb, max_width)
    sx, sy = small.shape[1] / rgb.shape[1], small.shape[0] / rgb.shape[0]
    canvas = blend_heatmap(small, heatmap.values)
    _draw_box(canvas, (box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy))
    return canvas


def shrink(rgb: np.ndarray, max_width: int) -> np.ndarray:
    """The image, made smaller in proportion when it is wider than `max_width` pixels."""
    height, width = rgb.shape[:2]
    if width <= max_width:
        return rgb
    return cv2.resize(rgb, (max_width, max(1, round(height * max_width / width))), interpolation=cv2.INTER_AREA)


@dataclass
class _Target:
    """What a trajectory image knows of one target, in its own pixels."""

    pasted: Box | None = None
    way: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MAX_WAY))


class TrajectoryImage:
    """A target's way through the picture, accumulated over time as in the paper's Fig. 5, in constant memory.

    The row of boxes stacks the target's cut-outs and red boxes on the first frame, with an arrow along its way; the
    row of heat overlays the largest heat that each place has had. Images are kept at `max_width` pixels at most.
    """

    def __init__(self, max_width: int = 640) -> None:
        self._max_width = max_width
        self._background = self._canvas = self._heat = np.empty((0, 0), np.uint8)  # until the first frame
        self._targets: dict[str, _Target] = {}
        self._pasted: deque[Box] = deque(maxlen=MAX_PASTED)

    def add(self, rgb: np.ndarray, heatmap: Heatmap, boxes: dict[str, Box], *, within_boxes: bool = False) -> None:
        """One more moment: a frame, its heat map, and the boxes in it (pixels of this frame) by target.

        within_boxes: heat outside of the boxes is left out, so that the image shows these targets alone. A frame of
        another size than the first is brought to that size.
        """
        small = shrink(rgb, self._max_width)
        if self.empty:
            self._background, self._canvas = small, small.copy()
        height, width = self._canvas.shape[:2]
        if small.shape != self._canvas.shape:
            small = cv2.resize(small, (width, height), interpolation=cv2.INTER_AREA)
        sx, sy = width / rgb.shape[1], height / rgb.shape[0]
        scaled = {name: (b[0] * sx, b[1] * sy, b[2] * sx, b[3] * sy) for name, b in boxes.items()}
        heat = _masked(heatmap.values, (height, width), scaled.values()) if within_boxes else heatmap.values
        self._heat = np.maximum(self._heat, heat) if self._heat.shape == heat.shape else heat.astype(np.float32)
        for name, box in scaled.items():
            self._follow(name, box, small)

    def _follow(self, name: str, box: Box, image: np.ndarray) -> None:
        target = self._targets.setdefault(name, _Target())
        target.way.append(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
        if target.pasted is None or _iou(target.pasted, box) < MIN_MOVE_IOU:
            x0, y0, x1, y1 = _whole(box, image.shape[:2])
            self._canvas[y0:y1, x0:x1] = image[y0:y1, x0:x1]
            target.pasted = box
            self._pasted.append(box)
        if len(self._targets) > MAX_TARGETS:
            del self._targets[next(iter(self._targets))]

    @property
    def empty(self) -> bool:
        return self._canvas.size == 0

    def boxes_row(self) -> np.ndarray:
        """Cut-outs, boxes and arrows on the first frame. Only after the first `add`."""
        self._check()
        canvas = self._canvas.copy()
        for box in self._pasted:
            _draw_box(canvas, box)
        for target in self._targets.values():
            _draw_way(canvas, target.way)
        return canvas

    def heat_row(self) -> np.ndarray:
        """The largest heat so far over the first frame. Only after the first `add`."""
        self._check()
        return blend_heatmap(self._background, self._heat)

    def _check(self) -> None:
        if self.empty:
            raise FrameError("a trajectory image needs at least one frame: call add() first")

    def image(self) -> np.ndarray:
        """Both rows, boxes above heat, with a white line between. Only after the first `add`."""
        boxes, heat = self.boxes_row(), self.heat_row()
        line = np.full((4, boxes.shape[1], 3), 255, np.uint8)
        return np.concatenate([boxes, line, heat])


def _masked(values: np.ndarray, frame_size: tuple[int, int], boxes: Iterable[Box]) -> np.ndarray:
    """The heat map with every patch set to 0 whose centre no box holds."""
    rows = (np.arange(values.shape[0]) + 0.5) * frame_size[0] / values.shape[0]
    columns = (np.arange(values.shape[1]) + 0.5) * frame_size[1] / values.shape[1]
    keep = np.zeros(values.shape, bool)
    for x0, y0, x1, y1 in boxes:
        keep |= ((rows >= y0) & (rows < y1))[:, None] & ((columns >= x0) & (columns < x1))[None, :]
    return np.where(keep, values, 0.0).astype(np.float32)


def _iou(a: Box, b: Box) -> float:
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(across, 0.0) * max(down, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def _whole(box: Box, frame_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A box in whole pixels within the frame."""
    height, width = frame_size
    x0, y0, x1, y1 = (round(v) for v in box)
    return (min(max(x0, 0), width), min(max(y0, 0), height), min(max(x1, 0), width), min(max(y1, 0), height))


def _pen(canvas: np.ndarray) -> int:
    """Line width in pixels that suits the image."""
    return max(1, round(min(canvas.shape[:2]) / 160))


def _draw_box(canvas: np.ndarray, box: Box) -> None:
    x0, y0, x1, y1 = _whole(box, canvas.shape[:2])
    cv2.rectangle(canvas, (x0, y0), (max(x1 - 1, x0), max(y1 - 1, y0)), BOX_COLOR, _pen(canvas))


def _draw_way(canvas: np.ndarray, way: Iterable[tuple[float, float]]) -> None:
    """The way as a line on white, so that it shows on any ground, with an arrow head at its end."""
    points = np.array(list(way), np.float32).round().astype(np.int32)
    pen = _pen(canvas)
    for color, width in (((255, 255, 255), pen + 2), (BOX_COLOR, pen)):
        cv2.polylines(canvas, [points.reshape(-1, 1, 2)], False, color, width, cv2.LINE_AA)
    start, end = _last_leg(points, 8 * pen)
    if start is not None:
        cv2.arrowedLine(canvas, start, end, BOX_COLOR, pen + 1, cv2.LINE_AA, tipLength=0.6)


def _last_leg(points: np.ndarray, length: int) -> tuple[tuple[int, int] | None, tuple[int, int]]:
    """From the last point that lies at least `length` pixels before the end, to the end; from None where all lie
    nearer.
    """
    end = points[-1]
    far = np.flatnonzero(np.hypot(*(points - end).T) >= length)
    tip = (int(end[0]), int(end[1]))
    if not len(far):
        return None, tip
    offset = (points[far[-1]] - end).astype(np.float64)
    offset *= 2 * length / np.hypot(*offset)
    return (int(end[0] + offset[0]), int(end[1] + offset[1])), tip


@dataclass(frozen=True)
class _Text:
    """White text on a filled plate, in pixels. x, y: the plate's upper left corner; right, down: from there to the letters."""

    words: str
    x: int
    y: int
    width: int
    height: int
    right: int
    down: int
    scale: float
    color: tuple[int, int, int]

    @classmethod
    def of(cls, canvas: np.ndarray, words: str, x: float, y: float, color: tuple[int, int, int] = BOX_COLOR) -> _Text:
        """In a size that suits the image, moved to stay within it."""
        height, width = canvas.shape[:2]
        scale = max(0.35, min(height, width) / 900)
        (tw, th), base = cv2.getTextSize(words, FONT, scale, _thickness(scale))
        pad = max(2, th // 3)
        w, h = tw + 2 * pad, th + base + pad
        x, y = min(max(x, 0), max(width - w, 0)), min(max(y, 0), max(height - h, 0))
        return cls(words, int(x), int(y), w, h, pad, pad // 2 + th, scale, color)

    def covers(self, other: _Text) -> bool:
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        return across > 0 and min(self.y + self.height, other.y + other.height) > max(self.y, other.y)

    def draw(self, canvas: np.ndarray) -> None:
        cv2.rectangle(canvas, (self.x, self.y), (self.x + self.width, self.y + self.height), self.color, cv2.FILLED)
        at = (self.x + self.right, self.y + self.down)
        cv2.putText(canvas, self.words, at, FONT, self.scale, (255, 255, 255), _thickness(self.scale), cv2.LINE_AA)


def _thickness(scale: float) -> int:
    return max(1, round(scale * 1.6))
