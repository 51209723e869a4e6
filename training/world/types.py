"""What the synthetic world hands out: clips, the actors in them, and turns of a dialogue about them.

Plain frozen records. Knows nothing about how they are drawn or worded.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["ANOMALIES", "NORMALITIES", "Actor", "Clip", "Turn"]

ANOMALIES = (
    "person running",
    "person lying on the ground",
    "car driving on the walkway",
    "person riding a bicycle on the walkway",
    "person walking on the road",
)
"""The kinds of anomaly, as word prompts."""

NORMALITIES = (
    "person walking on the walkway",
    "person standing on the walkway",
    "car driving on the road",
    "car parked on the road",
    "person riding a bicycle on the road",
    "box on the ground",
    "empty road",
)
"""What normal life is made of, as word prompts."""


@dataclass(frozen=True)
class Turn:
    """One question and its answer. field says what is asked for: anomaly, target, trajectory, environment, scene, ..."""

    question: str
    answer: str
    field: str


@dataclass(frozen=True, eq=False)
class Actor:
    """One thing that appears in a clip.

    id: 1 and up, the value of its pixels in `Clip.objects`. kind: person, car, van, bicycle (with its rider) or box.
    color: of a person's or rider's top, otherwise of the thing itself. action: what it does and where, in words; of an
    anomalous actor, what it does while it is abnormal. anomaly: the kind of anomaly, "" for a normal actor.
    boxes: float32 [T, 4], (x_min, y_min, x_max, y_max) of the visible part in pixels, maximum exclusive, nan where nothing of
    it is visible. areas: int64 [T], visible pixels. abnormal_frames: bool [T], whether it is being abnormal then.
    """

    id: int
    kind: str
    color: str
    action: str
    anomaly: str
    boxes: np.ndarray = field(repr=False)
    areas: np.ndarray = field(repr=False)
    abnormal_frames: np.ndarray = field(repr=False)

    @property
    def anomalous(self) -> bool:
        """Whether it does something abnormal at any time of the clip."""
        return bool(self.anomaly)


@dataclass(frozen=True, eq=False)
class Clip:
    """A rendered clip with exact labels.

    frames: uint8 [T, H, W, 3], RGB. objects: uint8 [T, H, W], the id of the actor that a pixel shows, 0 for the background.
    actors: all that are visible in at least one frame. environment: the scene in words.
    ground: uint8 [H, W], what lies there, behind whoever stands in front: 0 neither, 1 road, 2 walkway.
    dialogue: the questions of an operator, in their usual order, with the true answers.
    """

    frames: np.ndarray = field(repr=False)
    objects: np.ndarray = field(repr=False)
    actors: tuple[Actor, ...]
    rate_hz: float
    seed: int
    split: str
    environment: str
    ground: np.ndarray = field(repr=False)
    dialogue: tuple[Turn, ...] = field(default=(), repr=False)

    @property
    def anomalous(self) -> bool:
        """Whether anything abnormal is visible."""
        return any(actor.anomalous for actor in self.actors)

    @property
    def anomaly_masks(self) -> np.ndarray:
        """bool [T, H, W]: the pixels of actors while they are abnormal."""
        table = np.zeros((len(self.frames), 256), bool)
        for actor in self.actors:
            table[:, actor.id] = actor.abnormal_frames
        return np.stack([table[t][ids] for t, ids in enumerate(self.objects)])
