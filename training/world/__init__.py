"""A small synthetic surveillance world: clips of a road and a walkway, with exact labels and dialogues about them.

    clip = make_clip(7, anomaly=True)
    clip.frames, clip.anomaly_masks, clip.actors, clip.dialogue

A clip is fully determined by its arguments, and cheap enough to be made while training. Knows nothing about models.
"""

from .dialogue import (
    PLACES,
    actor_words,
    anomaly_dialogue,
    corpus,
    ground_words,
    imagined_dialogue,
    normal_dialogue,
    place_of,
)
from .render import make_clip, make_some_clip
from .types import BODY, SPLITS, Actor, Clip, Spell, Turn
from .versions import FRAME_SIZES, WORLDS, anomalies, every_kind, kinds, normalities, trained_on

__all__ = [
    "BODY",
    "FRAME_SIZES",
    "PLACES",
    "SPLITS",
    "WORLDS",
    "Actor",
    "Clip",
    "Spell",
    "Turn",
    "actor_words",
    "anomalies",
    "anomaly_dialogue",
    "corpus",
    "every_kind",
    "ground_words",
    "imagined_dialogue",
    "kinds",
    "make_clip",
    "make_some_clip",
    "normal_dialogue",
    "normalities",
    "place_of",
    "trained_on",
]
