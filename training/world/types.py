"""What the synthetic world hands out: clips, the actors in them, and turns of a dialogue about them.

Plain frozen records. Knows nothing about how they are drawn or worded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

__all__ = ["BODY", "COLORED", "SPLITS", "UNTRAINED", "Actor", "Clip", "Spell", "Turn"]

SPLITS = ("train", "validation", "test", "familiar", "seen", "home")
"""A seed gives another clip in each. Families of places and kinds of anomaly are disjoint between train, validation and test;
`seen` holds the kinds of train in the places of test. `home` is a small part of train, five families and seven kinds, for small
models; `familiar` shows the same again, with other clips to measure on."""
UNTRAINED = tuple(split for split in SPLITS if split not in ("train", "home"))
"""Those that no training shows, to measure on."""

BODY = ("head", "pelvis", "hand_l", "hand_r", "knee_l", "knee_r", "ankle_l", "ankle_r")
"""Joints whose places come with an actor."""
COLORED = ("top", "trousers", "hair", "umbrella")
"""Attributes that are colours: there is no telling them from a picture without colours."""


@dataclass(frozen=True)
class Turn:
    """One question and its answer. field says what is asked for: anomaly, target, trajectory, environment, scene, ..."""

    question: str
    answer: str
    field: str


@dataclass(frozen=True)
class Spell:
    """What an actor does from frame `first` to frame `last`, both inclusive."""

    action: str
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Actor:
    """One thing that appears in a clip.

    id: 1 and up, the value of its pixels in `Clip.objects`. kind: person, car, box and the like; a bicycle, scooter,
    skateboard or wheelchair comes with its rider. color: of a person's or rider's top, otherwise of the thing itself; "" for
    smoke and where the picture has no colours. action: what it does and where, in words; of an anomalous actor, what it does
    while it is abnormal. anomaly: the kind of anomaly, "" for a normal actor. boxes: float32 [T, 4], (x_min, y_min, x_max,
    y_max) of the visible part in pixels, maximum exclusive, nan where nothing of it is visible. areas: int64 [T], visible
    pixels. abnormal_frames: bool [T], whether it is being abnormal then. attributes: further words, as of trousers, hair and
    bag, where it has them. spells: what it does one after the other, over the whole clip. track: float32 [T, 2], the ground
    point it stands on in pixels, hidden or not. turns: frames in which it clearly changes its way. joints: float32 [T,
    len(BODY), 2], where a person's or rider's are, in pixels, hidden or not; [T, 0, 2] of others. stature: float32 [T], how
    tall one would stand there, in pixels.
    """

    id: int
    kind: str
    color: str
    action: str
    anomaly: str
    boxes: np.ndarray = field(repr=False)
    areas: np.ndarray = field(repr=False)
    abnormal_frames: np.ndarray = field(repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)
    spells: tuple[Spell, ...] = field(default=(), repr=False)
    track: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32), repr=False)
    turns: tuple[int, ...] = field(default=(), repr=False)
    joints: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 2), np.float32), repr=False)
    stature: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32), repr=False)

    @property
    def anomalous(self) -> bool:
        """Whether it does something abnormal at any time of the clip."""
        return bool(self.anomaly)

    def doing(self, frame: int = -1) -> str:
        """What it does in a frame, negative ones counted from the end."""
        frame %= len(self.areas)
        return next((spell.action for spell in self.spells if spell.first <= frame <= spell.last), self.action)


@dataclass(frozen=True, eq=False)
class Clip:
    """A rendered clip with exact labels.

    frames: uint8 [T, H, W, 3], RGB. objects: uint8 [T, H, W], the id of the actor that a pixel shows, 0 for the background.
    actors: all that are visible in at least one frame. environment: the scene in words. ground: uint8 [H, W], what lies
    there, behind whoever stands in front: 0 neither, 1 road, 2 walkway or floor that people may walk on. dialogue: the
    questions of an operator, in their usual order, with the true answers. family: the kind of place. grounds: words for what
    lies there, for each value of `ground`, in which light.
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
    family: str = ""
    grounds: tuple[str, str, str] = ("", "road", "walkway")

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
