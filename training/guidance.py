"""What prompts can name in the synthetic world, in which words, and prompts drawn at random to train the AHD to follow them.

A clip's things are told apart by what they are and do (`DEEDS`). Some phrasings and templates are kept from training, to measure
with. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tvau_runtime.prompts import DEFAULT_PHRASE, DEFAULT_SENTENCE, Prompts

from .world import Actor, anomalies, normalities

__all__ = ["DEEDS", "DEFAULT", "THINGS", "UNSEEN_PHRASE", "UNSEEN_SENTENCE", "WORLD", "Thing", "deed_of", "draw"]

WORLD = "street"
"""The version of the world whose things they are."""
DEEDS = (
    ("person", "walking on the walkway"),
    ("person", "standing on the walkway"),
    ("car", "driving on the road"),
    ("van", "driving on the road"),
    ("car", "parked on the road"),
    ("van", "parked on the road"),
    ("bicycle", "riding on the road"),
    ("box", "standing on the walkway"),
    ("person", "running"),
    ("person", "lying on the ground"),
    ("car", "driving on the walkway"),
    ("van", "driving on the walkway"),
    ("bicycle", "riding on the walkway"),
    ("person", "walking on the road"),
)
"""Kind and action of an actor. Number 1 and up; 0 is whatever has no name."""
_ABNORMAL = frozenset(range(9, 15))
DEFAULT = Prompts(normalities(WORLD), anomalies(WORLD))
"""The prompts that a model of this world has of its own."""

PHRASES = (DEFAULT_PHRASE, "video of {}", "a camera sees {}", "")
SENTENCES = (DEFAULT_SENTENCE, "In this clip there is {}", "The camera shows {} in the scene", "")
UNSEEN_PHRASE = "footage with {}"
UNSEEN_SENTENCE = "What happens in this video is {}"
"""Templates that no training uses."""


@dataclass(frozen=True)
class Thing:
    """Something that a prompt can name. words: phrasings, the usual one first. unseen: one that no training uses. deeds: their
    numbers, for which the words are true."""

    words: tuple[str, ...]
    unseen: str
    deeds: frozenset[int]


def _thing(nouns: Iterable[str], doings: Iterable[str], unseen: str, *deeds: int) -> Thing:
    doings = tuple(doings)
    return Thing(tuple(f"{noun} {doing}".strip() for noun in nouns for doing in doings), unseen, frozenset(deeds))


_PERSON = ("person", "a person", "somebody", "the pedestrian")
_CAR = ("car", "a car", "vehicle", "the vehicle")
_CYCLIST = ("person riding a bicycle", "a person on a bicycle", "bicycle", "cyclist")
THINGS = (
    _thing(_PERSON, ["running", "who is running"], "someone running on the walkway", 9),
    _thing(_PERSON, ["lying on the ground", "who is lying there"], "someone lying down", 10),
    _thing(_CAR, ["driving on the walkway", "on the walkway"], "cars and vans on the walkway", 11, 12),
    _thing(_CYCLIST, ["on the walkway"], "someone riding on the walkway", 13),
    _thing(_PERSON, ["walking on the road", "on the road"], "someone walking over the road", 14),
    _thing(_PERSON, ["walking on the walkway", "walking there"], "someone walking on a walkway", 1),
    _thing(_PERSON, ["standing on the walkway", "standing"], "someone standing there", 2),
    _thing(_CAR, ["driving on the road", "driving"], "cars and vans driving on the road", 3, 4),
    _thing(_CAR, ["parked on the road", "parked"], "cars and vans parked there", 5, 6),
    _thing(_CYCLIST, ["on the road"], "someone riding on the road", 7),
    _thing(("box", "a box"), ["on the ground", "standing on the walkway", ""], "there is a box", 8),
    _thing(_PERSON, ["walking"], "people walking", 1, 14),
    _thing(_CYCLIST, [""], "someone riding a bicycle", 7, 13),
    _thing(("van", "a van"), ["", "in the scene"], "what is a van", 4, 6, 12),
    _thing(_CAR, [""], "cars and vans", 3, 4, 5, 6, 11, 12),
    _thing(_PERSON, [""], "people", 1, 2, 9, 10, 14),
)
"""Those with a prompt among the model's own first, then what comprises several of them."""
_OWN, _NARROW = THINGS[:5], THINGS[:13]
"""What the model itself calls abnormal, and all that means one thing only."""


def deed_of(actor: Actor) -> int:
    """The number of what an actor is and does, 0 where it has none."""
    deed = (actor.kind, actor.action)
    return DEEDS.index(deed) + 1 if deed in DEEDS else 0


def draw(rng: np.random.Generator, there: Iterable[int]) -> tuple[Prompts, np.ndarray]:
    """Prompts that name something, and what is abnormal by them: bool [len(DEEDS) + 1], by a deed's number.

    there: the deeds that can be seen; they are named more often than others. What is named abnormal is so even where it is
    among the model's own normal prompts; what is named in neither list is not.
    """
    seen = set(there)
    visible = [thing for thing in THINGS if thing.deeds & seen]
    usual = rng.random() < 0.5
    phrase = DEFAULT_PHRASE if usual else PHRASES[rng.integers(len(PHRASES))]
    sentence = DEFAULT_SENTENCE if usual else SENTENCES[rng.integers(len(SENTENCES))]

    def some(pool: Iterable[Thing], barred: frozenset[int] = frozenset()) -> list[Thing]:
        free = [thing for thing in pool if not thing.deeds & barred]
        near = [thing for thing in free if thing in visible]
        picked: list[Thing] = []
        for _ in range(rng.choice((1, 2, 3), p=(0.6, 0.25, 0.15))):
            choice = near if near and rng.random() < 0.6 else free
            thing = choice[rng.integers(len(choice))]
            if thing not in picked:
                picked.append(thing)
        return picked

    def words(things: list[Thing]) -> tuple[str, ...]:
        return tuple(thing.words[rng.integers(len(thing.words))] for thing in things)

    normal, abnormal = DEFAULT.normal, DEFAULT.abnormal
    what = rng.random()
    if what < 0.55:  # abnormal is what is named, and nothing else
        named = some(THINGS)
        hot = _deeds(named)
        abnormal = words(named)
        if what < 0.25:
            normal = words(some(THINGS, hot))
    else:  # what is named is taken out of the model's own list
        named = some(_OWN if rng.random() < 0.7 else _NARROW)
        hot = _ABNORMAL - _deeds(named)
        normal = words(named)
        if what < 0.78:
            gone = {thing.words[0] for thing in THINGS if thing.deeds <= _deeds(named)}
            abnormal, normal = tuple(w for w in abnormal if w not in gone), DEFAULT.normal + normal
    return Prompts(normal, abnormal, phrase, sentence), np.isin(np.arange(len(DEEDS) + 1), sorted(hot))


def _deeds(things: Iterable[Thing]) -> frozenset[int]:
    return frozenset().union(*(thing.deeds for thing in things))
