"""Whether an answer says what its evidence shows: yes or no, where the target is, and how it moves.

    anomaly    "yes" while the heat maps make an anomaly unlikely; "no" or "nothing abnormal" while they make it likely
    place      the target is said to be where it never was
    movement   it is said to come from, to go to, or to move where its track does not

Only answers about the target are judged, as the question's words tell: of whatever else is to be seen, the heat maps know
nothing. Of a whole way, both ends must be named as they are ("the left" is the middle one of three regions); elsewhere a side
holds for all regions along it. What names no place says nothing wrong. Where neither heat maps nor language model find an
anomaly, the hottest patch is no target, and neither place nor way is judged. Understands English, and knows no model and no
dialogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .grounding import PLACES, Place, way_words
from .types import Contradiction, Evidence

__all__ = ["SURE", "Finding", "find_contradictions", "is_contradicted"]

SURE = 0.6
"""A no contradicts heat maps that make an anomaly at least this likely, a yes those that make none at least this likely; either
way they must be surer than the language model itself."""


@dataclass(frozen=True)
class Finding:
    """One contradiction, and how the answer may begin instead."""

    contradiction: Contradiction
    opening: str
    """Words that do not say this; empty where it is only known how the answer must not begin: as it does."""


@dataclass(frozen=True)
class _Named:
    """A place in a text, from `start` on. row, column: 0..2; None where the words leave it open, as "left" does the row."""

    row: int | None
    column: int | None
    words: str
    start: int

    @property
    def exact(self) -> Place:
        return 1 if self.row is None else self.row, 1 if self.column is None else self.column

    def holds(self, place: Place) -> bool:
        return self.row in (None, place[0]) and self.column in (None, place[1])


_AT: dict[str, Place] = {name: (r, c) for r, names in enumerate(PLACES) for c, name in enumerate(names)}

_MIDDLE = r"middle|cent(?:er|re)"
_OF_THE_IMAGE = r"(?:the\s+|this\s+|an?\s+)?(?:image|frame|picture|video|scene|view|screen|camera)\b"
_OF_ANOTHER = r"(?:lane|hand|arm|leg|shoulder|knee|shoe|ear|eye)s?|foot|feet"
_PLACE = re.compile(
    rf"\bthe\s+(?:(?P<down>top|upper|bottom|lower|{_MIDDLE})(?:[\s-]+(?P<right>left|right|{_MIDDLE})|(?![\s-]+(?:left|right|{_MIDDLE})\b))"
    rf"|(?P<side>left|right))\b(?!\s+(?:(?:side\s+|part\s+|end\s+)?of\s+(?!{_OF_THE_IMAGE})|is\b|are\b|{_OF_ANOTHER}\b))",
    re.IGNORECASE,
)
"""Only behind "the", so that whoever "left the room" is not taken for a place; nor "the middle of the road", "the right of the
car", "the right shoulder" and "the top is white", which are none of the image's; and never half of "the bottom right"."""
_THIRDS = {"top": 0, "upper": 0, "left": 0, "bottom": 2, "lower": 2, "right": 2}
"""All other words are for the one in the middle."""

_TARGET = re.compile(r"\b(its?|he|she|they|target|anomal\w*|abnormal\w*|unusual\w*|suspicious\w*)\b", re.IGNORECASE)
_WHETHER = re.compile(
    r"^(is|are|was|were|do|does|did|has|have|can)\b.*\b(any|anything|something|somebody|anyone|someone|there)\b.*"
    r"\b(anomal\w*|abnormal\w*|unusual\w*|suspicious\w*)",
    re.IGNORECASE,
)
_NOTHING = re.compile(
    r"\b((nothing|nobody|no one|no|not any|without any)\s+(\w+\s+)?(anomal\w*|abnormal\w*|unusual\w*|suspicious\w*)"
    r"|everything (is|looks|seems|appears) normal)",
    re.IGNORECASE,
)
_YES_OR_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)

_ORIGIN = re.compile(
    r"\bwhere\b.*\b(from|come|came|start\w*|beg[ia]n\w*|enter\w*|appeared|did\b.*\bappear|first)\b", re.IGNORECASE
)
_END = re.compile(r"\bwhere\b.*\b(go|goes|went|gone|end\w*|stop\w*|leave\w*|last|now)\b", re.IGNORECASE)
_WAY = re.compile(
    r"\b(trajector\w*|movements?|path|route|from where to where|(how|where) (does|do|did|is|was) (\w+ ){1,3}mov\w*)\b",
    re.IGNORECASE,
)
_GOES = re.compile(
    r"\b(mov\w*|go|goes|going|went|gone|head(?:s|ed|ing)|walk\w*|runs?|running|ran|rid(?:e|es|ing)|rode|driv\w*|drove|turn\w*)\b",
    re.IGNORECASE,
)
_AT_A_TIME = re.compile(
    r"\b(from|com(?:e|es|ing)|came|enter\w*|leav\w*|appear\w*|end\w*|start\w*|beg[ia]n\w*|stop\w*|now|first|last)\b",
    re.IGNORECASE,
)
"""Of somewhere along the way, not of anywhere on it."""
_BESIDE = rf"(?![\s-]*(?:left|right|{_MIDDLE}|of)\b)"
"""Not "to the top left", which is a place, nor "to the left of the car"."""
_DIRECTIONS = [
    (axis, sign, re.compile(rf"\b(?:{words}|(?:to|towards?) the {side}\b{_BESIDE})", re.IGNORECASE))
    for axis, sign, words, side in (
        (1, -1, r"leftwards?\b|from right to left\b", "left"),
        (1, 1, r"rightwards?\b|from left to right\b", "right"),
        (0, -1, r"upwards?\b|from bottom to top\b", "top"),
        (0, 1, r"downwards?\b|from top to bottom\b", "bottom"),
    )
]
"""Axis of a place (0 down, 1 to the right), the sign of moving so, and the words for it."""
_STILL = re.compile(r"\b(stays?|remains?|stationary|motionless|does not move|stands? still)\b", re.IGNORECASE)


def is_contradicted(anomaly: bool, evidence: Evidence) -> bool:
    """Whether heat maps contradict a yes (True) or a no: they are sure, and surer than the language model."""
    if anomaly:
        against, own = 1 - evidence.probability, evidence.yes_probability
    else:
        against, own = evidence.probability, 1 - evidence.yes_probability
    return against >= SURE and against > own


def find_contradictions(question: str, text: str, evidence: Evidence) -> list[Finding]:
    """What the answer `text` to a question says against its evidence; at most one of each kind, in the order of the kinds."""
    if not _TARGET.search(question):
        return []
    checks = (_anomaly, _place, _movement)
    return [finding for check in checks if (finding := next(check(question, text, evidence), None)) is not None]


def _anomaly(question: str, text: str, evidence: Evidence) -> Iterator[Finding]:
    shown = f"p(anomaly) = {evidence.probability:.2f}"
    begins, denial = _YES_OR_NO.match(text), _NOTHING.search(text)
    if begins and _WHETHER.search(question):
        yes = begins[1].lower() == "yes"
        # Nothing at some place is well said while there is something elsewhere.
        if (yes or not _places(question)) and is_contradicted(yes, evidence):
            yield Finding(Contradiction("anomaly", begins[1], shown), "No" if yes else "Yes")
    elif denial and is_contradicted(False, evidence):
        opening = ""
        if _WAY.search(question):
            opening = way_words(*_ends(evidence))
        elif _ORIGIN.search(question):
            opening = f"from the {evidence.from_place}"
        yield Finding(Contradiction("anomaly", denial[0], shown), opening)


def _place(question: str, text: str, evidence: Evidence) -> Iterator[Finding]:
    if _nothing(evidence) or _WAY.search(question) or _ORIGIN.search(question) or _END.search(question):
        return  # of the movement, at most
    was_at = {_AT[name] for name in (evidence.place, *evidence.places)}
    shown = ", ".join(dict.fromkeys((evidence.place, *evidence.places)))
    begins = _YES_OR_NO.match(text)
    asked = _places(question)
    if asked and begins and (_GOES.search(question) or _AT_A_TIME.search(question)):
        return
    if asked and begins:
        yes = begins[1].lower() == "yes"
        if yes != any(place.holds(at) for place in asked for at in was_at):
            yield Finding(Contradiction("place", f"{begins[1]}: {asked[0].words}", shown), "No" if yes else "Yes")
    elif not asked:
        for place in _places(text):
            if not any(place.holds(at) for at in was_at) and not _moves(text):
                opening = f"{text[: place.start]}the {evidence.place}"
                yield Finding(Contradiction("place", place.words, shown), opening)


def _movement(question: str, text: str, evidence: Evidence) -> Iterator[Finding]:
    first, last = _ends(evidence)
    way, places = way_words(first, last), _places(text)
    moved = (last[0] - first[0], last[1] - first[1])
    if _nothing(evidence):
        return
    if (begins := _YES_OR_NO.match(text)) and _GOES.search(question):
        yes = begins[1].lower() == "yes"
        for axis, sign, words in _DIRECTIONS:
            if (said := words.search(question)) and moved[axis] and yes != (moved[axis] * sign > 0):
                yield Finding(Contradiction("movement", f"{begins[1]}: {said[0]}", way), "No" if yes else "Yes")
    if _places(question):
        return
    if _WAY.search(question) and places and (len(places) > 1 or not _moves(text)):
        if (places[0].exact, places[-1].exact) != (first, last):
            yield Finding(Contradiction("movement", _between(text, places), way), way)
    elif not _WAY.search(question) and places and (_ORIGIN.search(question) or _END.search(question)):
        at = first if _ORIGIN.search(question) else last
        place = places[0] if _ORIGIN.search(question) else places[-1]
        if not place.holds(at):
            shown = PLACES[at[0]][at[1]]
            yield Finding(Contradiction("movement", place.words, shown), f"{text[: place.start]}the {shown}")
    else:
        for axis, sign, words in _DIRECTIONS:
            if (said := words.search(text)) and moved != (0, 0) and moved[axis] * sign <= 0:
                yield Finding(Contradiction("movement", said[0], way), way)
        if (said := _STILL.search(text)) and moved != (0, 0):
            yield Finding(Contradiction("movement", said[0], way), way)


def _nothing(evidence: Evidence) -> bool:
    """Whether heat maps and language model agree that there is nothing abnormal."""
    return evidence.probability < 0.5 and not evidence.anomaly


def _ends(evidence: Evidence) -> tuple[Place, Place]:
    return _AT[evidence.from_place], _AT[evidence.to_place]


def _moves(text: str) -> bool:
    return any(words.search(text) for _, _, words in _DIRECTIONS)


def _between(text: str, places: list[_Named]) -> str:
    """The words of a text from its first place to its last."""
    return text[places[0].start : places[-1].start + len(places[-1].words)]


def _places(text: str) -> list[_Named]:
    """The regions that a text names, in order: "from the upper left to the center" gives (0, 0) and (1, 1)."""
    found = []
    for match in _PLACE.finditer(text):
        down, right = match["down"], match["right"] or match["side"]
        row, column = (None if word is None else _THIRDS.get(word.lower(), 1) for word in (down, right))
        if column is None and row == 1:
            column = 1  # "the center" alone
        found.append(_Named(row, column, match[0], match.start()))
    return found
