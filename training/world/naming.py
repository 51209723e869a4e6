"""What prompts can name in a world, and in which words. Knows no model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["CARS", "CYCLISTS", "PERSONS", "Thing", "thing"]

PERSONS = ("person", "a person", "somebody", "the pedestrian")
CARS = ("car", "a car", "vehicle", "the vehicle")
CYCLISTS = ("person riding a bicycle", "a person on a bicycle", "bicycle", "cyclist")


@dataclass(frozen=True)
class Thing:
    """words: phrasings, the usual one first. unseen: one that no training uses. deeds: (kind, action) of the actors for which the
    words are true. broad: comprises several others. kept: from training, as kinds that are to be new are."""

    words: tuple[str, ...]
    unseen: str
    deeds: frozenset[tuple[str, str]]
    broad: bool = False
    kept: bool = False


def thing(
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
