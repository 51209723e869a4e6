"""What flows through tvau: frames in; heat maps, windows, events and answers out.

Plain frozen records with array shapes and units; knows nothing about models, ROS or files. Stamps are integer nanoseconds
since an epoch of the camera's choosing, as ROS has them. Boxes are `(x_min, y_min, x_max, y_max)` in pixels of the camera's
own frame, x to the right, y down, the maximum exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from .errors import FrameError
from .prompts import Prompts

__all__ = [
    "AnomalyEvent",
    "Answer",
    "Box",
    "Contradiction",
    "Evidence",
    "Frame",
    "Heatmap",
    "Phase",
    "Step",
    "TrackPoint",
    "Window",
]

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera image.

    rgb: uint8 [H, W, 3], stamp_ns: when it was taken, frame_id: the optical frame it was taken in (ROS `frame_id`). lost_ns: the
    stamp of the camera's frame before it, where that was dropped because the model is too slow; None where it was not.
    Raises `FrameError` for another shape or type, and for an image without pixels.
    """

    rgb: np.ndarray
    stamp_ns: int
    camera: str = "camera"
    frame_id: str = ""
    lost_ns: int | None = None

    def __post_init__(self) -> None:
        shape = getattr(self.rgb, "shape", None)
        if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or self.rgb.dtype != np.uint8:
            kind = getattr(self.rgb, "dtype", type(self.rgb).__name__)
            raise FrameError(f"a frame must be uint8 [H, W, 3] with pixels, got {kind} {shape}")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.rgb.shape[0], self.rgb.shape[1]


@dataclass(frozen=True, eq=False)
class Heatmap:
    """The anomaly heat map of one temporal patch (eq. 8): float32 [gh, gw], 0..1, never normalised per frame."""

    values: np.ndarray

    @property
    def score(self) -> float:
        """The largest value, 0..1."""
        return float(self.values.max())

    def box(self, frame_size: tuple[int, int]) -> Box:
        """The patch with the largest value, in pixels of a frame of `(height, width)`."""
        row, column = np.unravel_index(int(self.values.argmax()), self.values.shape)
        sy, sx = frame_size[0] / self.values.shape[0], frame_size[1] / self.values.shape[1]
        return (float(column * sx), float(row * sy), float((column + 1) * sx), float((row + 1) * sy))


@dataclass(frozen=True, eq=False)
class Step:
    """All that the model made of one temporal patch (two sampled frames), encoded once. It holds no image.

    visual_tokens: float32 [P/4, D], the merged tokens for the language model.
    class_maps: float32 [2, gh, gw], H_c (eq. 6): normal, abnormal, before the softmax.
    """

    index: int
    """Counts the camera's steps from 0; a gap in time restarts the window but not this count."""
    stamps_ns: tuple[int, int]
    frame_size: tuple[int, int]
    """(height, width) of the camera's frames, in pixels."""
    frame_id: str
    visual_tokens: np.ndarray
    class_maps: np.ndarray
    heatmap: Heatmap
    prompts: Prompts | None = None
    """What counted as normal and abnormal; None where nobody said."""


@dataclass(frozen=True, eq=False)
class Window:
    """A clip window: `clip_length` sampled frames, that is T' = clip_length / 2 consecutive steps of one camera, all under the
    same prompts."""

    camera: str
    steps: tuple[Step, ...]

    @property
    def start_ns(self) -> int:
        return self.steps[0].stamps_ns[0]

    @property
    def end_ns(self) -> int:
        return self.steps[-1].stamps_ns[1]

    @property
    def prompts(self) -> Prompts | None:
        """What counted as normal and abnormal in it."""
        return self.steps[0].prompts

    @property
    def peak(self) -> Step:
        """The step with the hottest heat map."""
        return max(self.steps, key=lambda step: step.heatmap.score)

    @property
    def score(self) -> float:
        """The largest heat-map value in the window, 0..1."""
        return self.peak.heatmap.score


class Phase(IntEnum):
    """Where in its life an event is. The values are those of `tvau_msgs/AnomalyEvent`."""

    START = 0
    UPDATE = 1
    END = 2


@dataclass(frozen=True)
class TrackPoint:
    """Where an event's target was at one time."""

    stamp_ns: int
    box: Box
    score: float

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) in pixels."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


@dataclass(frozen=True)
class AnomalyEvent:
    """One abnormal target from its first warm heat map to its last.

    Scores are 0..1; `box` is where the target is now (at END: where it was last); `track` is where it was at each step.
    `label` and `description` are the language model's, empty until it has spoken.
    """

    id: str
    camera: str
    frame_id: str
    phase: Phase
    start_ns: int
    end_ns: int
    """The last warm stamp so far; final at END."""
    peak_ns: int
    score: float
    peak_score: float
    box: Box
    peak_box: Box
    track: tuple[TrackPoint, ...] = field(repr=False)
    label: str = ""
    description: str = ""

    @property
    def duration_s(self) -> float:
        return (self.end_ns - self.start_ns) * 1e-9


@dataclass(frozen=True)
class Contradiction:
    """Something that an answer says and its evidence does not show.

    kind: `anomaly` (whether there is one), `place` (where something is) or `movement` (from where to where).
    """

    kind: str
    said: str
    """In the answer's own words."""
    shown: str
    """What the evidence shows instead."""
    mended: bool = False
    """Whether the answer was said anew, so that it no longer holds this."""


@dataclass(frozen=True)
class Evidence:
    """What an answer rests on: a clip window, and for one about an event that event's track.

    Places are those of the nine regions of an image: "top left", "center", "bottom" … (`grounding.PLACES`).
    """

    anomaly: bool
    """The model's own yes or no to whether the window holds an anomaly."""
    yes_probability: float
    """How sure it is of a yes, 0..1, calibrated."""
    probability: float
    """How likely the heat maps alone make an anomaly in the window, 0..1: the mean of their peaks, calibrated."""
    score: float
    """The heat maps' largest value in the window, of the event's target where it is about one, 0..1, as it is."""
    box: Box
    """Where that is, in pixels."""
    place: str
    """The region that its middle is in."""
    places: tuple[str, ...]
    """The regions that the target was in, in order, each change once: it came from the first and went to the last."""
    peak_ns: int
    start_ns: int
    """When the target was first warm: in the event's track, else in the window,"""
    end_ns: int
    """and when last."""
    window_start_ns: int
    window_end_ns: int
    contradictions: tuple[Contradiction, ...] = ()
    """What the answer said against all this."""
    prompts: Prompts | None = None
    """What counted as normal and as abnormal in the window."""

    @property
    def from_place(self) -> str:
        """Where the target was first."""
        return self.places[0]

    @property
    def to_place(self) -> str:
        """Where it was last."""
        return self.places[-1]


@dataclass(frozen=True)
class Answer:
    """What the model says, with the evidence it rests on."""

    question: str
    text: str
    session: str
    camera: str
    evidence: Evidence
    event_id: str = ""
