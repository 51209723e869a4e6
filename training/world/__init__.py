"""A synthetic world of surveillance: clips of many places with exact labels, and dialogues about them.

    clip = make_clip(7, anomaly=True)
    clip.frames, clip.anomaly_masks, clip.actors, clip.dialogue

A clip is fully determined by its arguments, and cheap enough to be made while training. Knows nothing about models.
"""

from .actors.people import BAGS, TROUSER_COLORS
from .dialogue import (
    PLACES,
    actor_looks,
    actor_words,
    anomaly_dialogue,
    corpus,
    ground_words,
    imagined_dialogue,
    normal_dialogue,
    place_of,
)
from .kinds import anomalies, every_kind
from .life.normal import NORMALITIES
from .palette import COLORS
from .render import FRAME_SIZE, make_clip, make_some_clip
from .types import BODY, SPLITS, UNTRAINED, Actor, Clip, Spell, Turn

__all__ = [
    "BAGS",
    "BODY",
    "COLORS",
    "FRAME_SIZE",
    "NORMALITIES",
    "PLACES",
    "SPLITS",
    "TROUSER_COLORS",
    "UNTRAINED",
    "Actor",
    "Clip",
    "Spell",
    "Turn",
    "actor_looks",
    "actor_words",
    "anomalies",
    "anomaly_dialogue",
    "corpus",
    "every_kind",
    "ground_words",
    "imagined_dialogue",
    "make_clip",
    "make_some_clip",
    "normal_dialogue",
    "place_of",
]
