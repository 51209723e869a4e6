"""Prompts drawn at random to train the AHD to follow them, in the words that the world has for what it holds.

A clip's things are told apart by what they are and do (their deeds). Some phrasings and templates are kept from training, to
measure with. Knows no model.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np

from tvau_runtime.prompts import DEFAULT_PHRASE, DEFAULT_SENTENCE, Prompts

from .world import NORMALITIES, Actor, anomalies
from .world.things import THINGS, Thing
from .world.words import LIFE

__all__ = ["UNSEEN_PHRASE", "UNSEEN_SENTENCE", "Naming", "naming"]

PHRASES = (DEFAULT_PHRASE, "video of {}", "a camera sees {}", "")
SENTENCES = (DEFAULT_SENTENCE, "In this clip there is {}", "The camera shows {} in the scene", "")
UNSEEN_PHRASE = "footage with {}"
UNSEEN_SENTENCE = "What happens in this video is {}"
"""Templates that no training uses."""


class Naming:
    """What can be named in the world. deeds: (kind, action) of actors; number 1 and up, 0 is whatever has no name. own: the
    prompts that a model has of its own."""

    def __init__(self, own: Prompts | None = None) -> None:
        """own: None for those of normal life and of what the train split holds."""
        self.deeds, self.things = LIFE, THINGS
        self.own = own or Prompts(NORMALITIES, anomalies("train"))
        self._numbers = {deed: number for number, deed in enumerate(self.deeds, 1)}
        self._of = {thing: frozenset(self._numbers[deed] for deed in thing.deeds) for thing in self.things}
        self._known = [thing for thing in self.things if not thing.kept]
        self._narrow = [thing for thing in self._known if not thing.broad]
        self.narrow = [thing for thing in self.things if not thing.broad]
        """Of those that training keeps from what is abnormal too."""
        self.kind_of = np.zeros(len(self.deeds) + 1, np.int64)
        """Which of the narrow things, counted from 1, a deed belongs to, by its number; 0 for none."""
        for kind, thing in reversed(list(enumerate(self.narrow, 1))):
            self.kind_of[sorted(self._of[thing])] = kind
        self._odd = [thing for thing in self._known if thing.words[0] in self.own.abnormal]
        self.abnormal = self.numbers(self._odd)
        """Deeds that the model itself calls abnormal."""

    def number(self, actor: Actor, frame: int = -1) -> int:
        """Of what an actor is and does in a frame, 0 where it has no name; who is abnormal at times does what is abnormal."""
        return self._numbers.get((actor.kind, actor.action if actor.anomalous else actor.doing(frame)), 0)

    def numbers(self, things: Iterable[Thing]) -> frozenset[int]:
        """Of all deeds of some things."""
        return frozenset().union(*(self._of[thing] for thing in things))

    def draw(self, rng: np.random.Generator, there: Iterable[int]) -> tuple[Prompts, np.ndarray]:
        """Prompts that name something, and what is abnormal by them: bool [len(deeds) + 1], by a deed's number.

        there: the deeds that can be seen; they are named more often than others. What is named abnormal is so even where it is
        among the model's own normal prompts; what is named in neither list is not.
        """
        seen = set(there)
        visible = {thing for thing in self._known if self._of[thing] & seen}
        templates = _templates(rng)

        def some(pool: Iterable[Thing], barred: frozenset[int] = frozenset()) -> list[Thing]:
            free = [thing for thing in pool if not self._of[thing] & barred]
            near = [thing for thing in free if thing in visible]
            picked: list[Thing] = []
            for _ in range(rng.choice((1, 2, 3), p=(0.6, 0.25, 0.15))):
                choice = near if near and rng.random() < 0.8 else free
                thing = choice[rng.integers(len(choice))]
                if thing not in picked:
                    picked.append(thing)
            return picked

        words = functools.partial(_words, rng)
        normal, abnormal = self.own.normal, self.own.abnormal
        what = rng.random()
        if what >= 0.45 and self._odd:  # what is named is taken out of the model's own list
            named = some(self._odd if rng.random() < 0.8 else self._narrow)
            hot = self.abnormal - self.numbers(named)
            gone = {thing.words[0] for thing in self.things if self._of[thing] <= self.numbers(named)}
            if rest := tuple(word for word in abnormal if word not in gone):
                normal = tuple(dict.fromkeys(normal + words(named))) if what < 0.7 else words(named)
                return Prompts(normal, rest, *templates), self._mask(hot)
        named = some(self._known)  # abnormal is what is named, and nothing else
        hot = self.numbers(named)
        abnormal = words(named)
        rest = tuple(word for word in normal if word not in abnormal)
        normal = rest if rest and what >= 0.2 else words(some(self._known, hot))
        return Prompts(normal, abnormal, *templates), self._mask(hot)

    def _mask(self, hot: frozenset[int]) -> np.ndarray:
        """bool [len(deeds) + 1]: whether a number is one of these."""
        return np.isin(np.arange(len(self.deeds) + 1), sorted(hot))


def _templates(rng: np.random.Generator) -> tuple[str, str]:
    """A phrase and a sentence; half of the time the usual ones."""
    if rng.random() < 0.5:
        return DEFAULT_PHRASE, DEFAULT_SENTENCE
    return PHRASES[rng.integers(len(PHRASES))], SENTENCES[rng.integers(len(SENTENCES))]


def _words(rng: np.random.Generator, things: Iterable[Thing]) -> tuple[str, ...]:
    """One phrasing of each."""
    return tuple(thing.words[rng.integers(len(thing.words))] for thing in things)


@functools.cache
def naming() -> Naming:
    """The one that numbers are of."""
    return Naming()
