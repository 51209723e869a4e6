"""What prompts can name, and in which words. Knows no model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .kinds import KINDS
from .words import LIFE, THE_GROUNDS

__all__ = ["THINGS", "Thing"]


@dataclass(frozen=True)
class Thing:
    """words: phrasings, the usual one first. unseen: one that no training uses. deeds: (kind, action) of the actors for which the
    words are true. broad: comprises several others. kept: from training, as kinds that are to be new are."""

    words: tuple[str, ...]
    unseen: str
    deeds: frozenset[tuple[str, str]]
    broad: bool = False
    kept: bool = False


def _thing(
    nouns: Iterable[str],
    doings: Iterable[str],
    unseen: str,
    deeds: Iterable[tuple[str, str]],
    *,
    broad: bool = False,
    kept: bool = False,
) -> Thing:
    """Whose words are all nouns with all doings."""
    doings = tuple(doings)
    words = tuple(f"{noun} {doing}".strip() for noun in nouns for doing in doings)
    return Thing(words, unseen, frozenset(deeds), broad, kept)


_PERSONS = ("person", "a person", "somebody", "the pedestrian")
_CARS = ("car", "a car", "vehicle", "the vehicle")
_CYCLISTS = ("person riding a bicycle", "a person on a bicycle", "bicycle", "cyclist")
_FOR_VEHICLES = ("road", "lane", "cycle path")
_WAY = f"(?:{'|'.join(_FOR_VEHICLES)})"
_WALK = f"(?:{'|'.join(ground for ground in THE_GROUNDS if ground not in _FOR_VEHICLES)})"
_PAIRS = ("people", "two people", "persons")
_VEHICLES = ("car", "van", "truck", "forklift")
_ITEMS = ("bottle", "box", "suitcase")
_BAGS = ("bag", "suitcase", "box")


def _of(kinds: str | tuple[str, ...], action: str) -> set[tuple[str, str]]:
    """The deeds of these kinds whose action is this regular expression."""
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    return {(kind, deed) for kind, deed in LIFE if kind in kinds and re.fullmatch(action, deed)}


def _rider(ride: str) -> tuple[str, ...]:
    return f"person riding a {ride}", f"a person on a {ride}", ride


_KNOWN = (
    _thing(_PERSONS, ["running", "who is running"], "someone who runs", _of("person", "running")),
    _thing(_PERSONS, ["lying on the ground", "lying there"], "someone lying down", _of("person", "lying on the ground")),
    _thing(_PERSONS, ["jumping", "who is jumping"], "someone who jumps", _of("person", "jumping")),
    _thing(_PERSONS, ["staggering", "who is staggering"], "someone who staggers", _of("person", "staggering")),
    _thing(_PAIRS, ["fighting", "who are fighting"], "a fight", _of("person", "fighting")),
    _thing(_CYCLISTS, ["on the walkway"], "someone riding on the walkway", _of("bicycle", f"riding on the {_WALK}")),
    _thing(
        _CARS, ["driving on the walkway", "on the walkway"], "cars on the walkway", _of(_VEHICLES, f"driving on the {_WALK}")
    ),
    _thing(
        _PERSONS, ["walking on the road", "on the road"], "someone walking over the road", _of("person", f"walking on the {_WAY}")
    ),
    _thing(_CARS, ["driving the wrong way"], "vehicles that go the wrong way", _of(_VEHICLES, "driving the wrong way .*")),
    _thing(_PERSONS, ["in a closed area", "where nobody may be"], "someone in a closed part", _of("person", "walking in the .*")),
    _thing(("bag", "a bag", "suitcase"), ["left behind"], "something left behind", _of(_BAGS, "left behind")),
    _thing(("smoke",), ["", "rising"], "there is smoke", _of("smoke", ".*")),
    _thing(("item", "bottle"), ["toppled over on the line", "toppled over"], "items toppled over", _of(_ITEMS, "toppled.*")),
    _thing(_PERSONS, ["walking", "walking on the walkway"], "someone who walks", _of("person", f"walking on the {_WALK}")),
    _thing(_PERSONS, ["standing", "standing there"], "someone who stands there", _of("person", "standing on .*")),
    _thing(_PAIRS, ["talking", "talking there"], "some who talk", _of("person", "talking on .*")),
    _thing(_PERSONS, ["sitting", "sitting there"], "someone who sits", _of("person", "sitting")),
    _thing(
        _PERSONS, ["pushing a cart", "with a cart"], "someone with a cart",
        _of("person", "pushing a cart") | _of("cart", "being pushed .*"),
    ),
    _thing(
        _PERSONS, ["walking a dog", "with a dog"], "someone with a dog",
        _of("person", "walking a dog") | _of("dog", f"walking on the {_WALK}"),
    ),
    _thing(
        _PERSONS, ["carrying a box", "with a box"], "someone with a box",
        _of("person", "carrying a box|putting down a box") | _of("box", "being carried"),
    ),
    _thing(_CYCLISTS, ["on its way", "on the road"], "someone riding on the road", _of("bicycle", f"riding on the {_WAY}")),
    _thing(_rider("scooter"), ["on its way", "on the road"], "a scooter on the road", _of("scooter", f"riding on the {_WAY}")),
    _thing(_PERSONS, ["in a wheelchair"], "someone in a wheelchair", _of("wheelchair", ".*")),
    _thing(_CARS, ["driving on the road", "driving"], "cars on the road", _of(("car", "van"), f"driving on the {_WAY}")),
    _thing(("truck", "a truck"), ["driving on the road", "driving"], "a truck goes by", _of("truck", f"driving on the {_WAY}")),
    _thing(("forklift", "a forklift"), ["driving", ""], "there is a forklift", _of("forklift", f"driving on the {_WAY}")),
    _thing(_CARS, ["parked", "standing there"], "cars that stand there", _of(("car", "van"), "parked")),
    _thing(("items", "bottle"), ["moving on the line", "on the line"], "what moves on the line", _of(_ITEMS, "moving .*")),
    _thing(("bag", "suitcase"), ["beside its owner"], "a bag beside someone", _of(_BAGS, "standing beside its owner")),
    _thing(("box", "a box"), ["standing there", "on the ground"], "there is a box", _of("box", "standing on .*")),
    _thing(_PERSONS, [""], "people", _of("person", ".*"), broad=True),
    _thing(_CARS, [""], "cars and vans", _of(("car", "van"), ".*"), broad=True),
    _thing(_CYCLISTS, [""], "someone riding a bicycle", _of("bicycle", ".*"), broad=True),
)  # fmt: skip

_NEW = {
    "person falling down": _of("person", "falling down"),
    "person dancing": _of("person", "dancing"),
    "person riding a scooter on the walkway": _of("scooter", f"riding on the {_WALK}"),
    "car stopping suddenly": _of(_VEHICLES, "stopping suddenly .*"),
    "cart rolling away": _of("cart", "rolling away .*"),
    "person crawling": _of("person", "crawling"),
    "person riding a skateboard on the walkway": _of("skateboard", f"riding on the {_WALK}"),
    "person stealing a bag": _of("person", "stealing a bag") | _of("bag", "being stolen"),
    "person pushing somebody over": _of("person", "(being pushed|pushing somebody) over"),
    "person throwing something": _of("person", "throwing something") | _of(("bottle", "ball", "bag"), "flying .*"),
    "fire": _of("fire", ".*"),
    "car crash": _of(("car", "van"), "crashing .*"),
    "dog on the road": _of("dog", f"walking on the {_WAY}"),
    "item fallen off the line": _of(_ITEMS, "fallen .*"),
    "person taking away a thing": _of("person", "taking away a thing") | _of(("painting", "bottle", "box"), "being taken away"),
}  # fmt: skip

THINGS: tuple[Thing, ...] = (
    *_KNOWN,
    *(
        _thing((name,), [""], f"there is {name}", deeds, kept=KINDS[name].split != "train")
        for name, deeds in _NEW.items()
    ),
)
"""Those with a prompt among the model's own first; the kinds of anomaly of validation and test last."""
