"""What can be asked about a clip, and the true answers, in a small vocabulary.

Everything is read off the labels: who is visible, which colour, doing what, where. Knows nothing about models or tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from tvau_runtime.chat import QUESTION_ANOMALY, QUESTION_ENVIRONMENT, QUESTION_TARGET, QUESTION_TRAJECTORY
from tvau_runtime.grounding import PLACES, box_place, way_words

from .actors.people import BAGS, TROUSER_COLORS
from .palette import COLORS
from .types import COLORED, Actor, Clip, Turn
from .words import NOUNS, REASONS, imagined_attributes, imagined_deed, imagined_environment

__all__ = [
    "NOTHING",
    "PLACES",
    "RIDES",
    "actor_looks",
    "actor_words",
    "anomaly_dialogue",
    "corpus",
    "describe",
    "doing_of",
    "ground_words",
    "imagined_dialogue",
    "normal_dialogue",
    "place_of",
]

NOTHING = "nothing abnormal"
RIDES = ("bicycle", "scooter", "skateboard", "wheelchair")
"""Kinds that come with their rider."""
_VEHICLES = ("car", "van", "truck", "forklift")
_TIMES = ("beginning", "middle", "end")
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

QUESTIONS = {
    "anomaly": (
        QUESTION_ANOMALY,
        "Does anything abnormal happen?",
        "Is something unusual going on?",
        "Do you see anything abnormal?",
    ),
    "target": (
        QUESTION_TARGET,
        "What is abnormal?",
        "Describe the abnormal target.",
        "Who or what behaves abnormally?",
    ),
    "trajectory": (
        QUESTION_TRAJECTORY,
        "Where does it move?",
        "How does it move through the image?",
        "From where to where does it go?",
    ),
    "when": ("When does it happen?", "At which time of the video is it?", "From when to when?"),
    "why": ("Why is it abnormal?", "What is wrong with it?", "Why should somebody look at it?"),
    "environment": (QUESTION_ENVIRONMENT, "What does the place look like?", "Where is this?"),
    "scene": ("Describe the scene.", "What do you see?", "Who and what is there?"),
    "place": ("What is at the {}?", "What do you see at the {}?", "Who or what is at the {}?"),
    "people": ("How many people are there?", "Count the people."),
    "vehicles": ("How many vehicles are there?", "Count the vehicles."),
    "color": ("What color is the {} at the {}?", "Which color has the {} at the {}?"),
    "action": ("What does the {} at the {} do?", "What is the {} at the {} doing?"),
    "clothes": ("What does the person at the {} wear?", "What is the person at the {} wearing?"),
    "who": ("Who or what is {}?", "Which one is {}?"),
    "way": ("How does the one move that is {}?", "From where to where does the one go that is {}?"),
}
"""Per field of a turn, the usual question first."""

_ASKED_ABOUT = 3
"""So many of those who are there are asked about one by one."""
_ASKED_AT_ONCE = 6
"""So many questions about an imagined scene."""
_GREY = 0.1
"""So many of the imagined pictures have no colours."""
_LEAST_AREA = 0.0025
"""What shows less of itself than this part of the image is not spoken of."""


def place_of(box: np.ndarray, size: tuple[int, int]) -> str:
    """Which ninth of an image of (height, width) the box's middle is in."""
    row, column = box_place(box, size)
    return PLACES[row][column]


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _noun(kind: str, color: str, attributes: Mapping[str, str]) -> str:
    if kind in RIDES or kind == "person":
        seat = " in a wheelchair" if kind == "wheelchair" else ""
        worn = _clothes(color, attributes)
        return f"a person{' with ' if worn else ''}{worn}{seat}"
    return {"fire": "a fire", "smoke": "smoke"}.get(kind) or _article(f"{color} {kind}".strip())


def _clothes(color: str, attributes: Mapping[str, str]) -> str:
    """In words; "" where neither colours nor a bag are to be seen."""
    worn = [f"{_article(color)} top"] if color else []
    if "trousers" in attributes:
        worn.append(f"{attributes['trousers']} trousers")
    worn += [_article(attributes["bag"])] if "bag" in attributes else []
    return " and ".join(filter(None, (", ".join(worn[:-1]), *worn[-1:])))


def describe(actor: Actor, action: str | None = None) -> str:
    """The actor and what it does, as in "a person with a red top walking on the walkway". action: None for `actor.action`."""
    return _phrase(actor.kind, actor.color, actor.action if action is None else action, actor.attributes)


def _phrase(kind: str, color: str, action: str, attributes: Mapping[str, str]) -> str:
    return f"{_noun(kind, color, attributes)} {doing_of(kind, action)}"


def doing_of(kind: str, action: str) -> str:
    """An action in words: who rides is said to ride something."""
    return action.replace("riding", f"riding a {kind}") if kind in RIDES else action


def actor_words(actor: Actor, frame: int = -1) -> str:
    """The words that one look at the actor in this frame should bring to mind: colour, kind, action, ground."""
    deed = (w for w in actor.doing(frame).split() if w not in ("on", "the"))
    return " ".join([*filter(None, [actor.color]), actor.kind, *deed])


def actor_looks(actor: Actor) -> tuple[int, int, int]:
    """Which of COLORS, TROUSER_COLORS and BAGS (behind it: none) it has; -1 where there is no telling."""
    bags = (*BAGS, "")
    color = COLORS.index(actor.color) if actor.color in COLORS else -1
    if actor.kind != "person" and actor.kind not in RIDES:
        return color, -1, -1
    worn = actor.attributes.get("trousers")
    return color, TROUSER_COLORS.index(worn) if worn else -1, bags.index(actor.attributes.get("bag", ""))


def ground_words(clip: Clip) -> tuple[str, str, str]:
    """The words that one look at the bare ground should bring to mind, for each value of `Clip.ground`: what lies there and in
    which light."""
    return clip.grounds


def _pick(rng: np.random.Generator | None, field: str) -> str:
    options = QUESTIONS[field]
    return options[0] if rng is None else options[rng.integers(len(options))]


def anomaly_dialogue(clip: Clip, rng: np.random.Generator | None = None) -> list[Turn]:
    """Is there an anomaly, what is it, how does it move, when and why, where is this: in this order.

    With several anomalies, the one that shows most of itself is spoken of. rng: picks among phrasings; None takes the usual
    questions. Answers do not depend on it.
    """
    odd = [actor for actor in clip.actors if actor.abnormal_frames.any()]
    answers = _nothing(clip.environment)
    if odd:
        actor = max(odd, key=lambda a: int(a.areas[a.abnormal_frames].sum()))
        answers.update(anomaly="Yes.", target=describe(actor), trajectory=_trajectory(actor, clip))
        answers.update(when=_time_words(actor.abnormal_frames), why=REASONS[actor.anomaly])
    return [Turn(_pick(rng, field), answer, field) for field, answer in answers.items()]


def _nothing(environment: str) -> dict[str, str]:
    """The answers where nothing is abnormal, in their order."""
    return {
        "anomaly": "No.",
        **dict.fromkeys(("target", "trajectory", "when", "why"), NOTHING),
        "environment": environment,
    }


def _time_words(abnormal: np.ndarray) -> str:
    """From which third of a clip to which, abnormal: bool [T]."""
    when = np.flatnonzero(abnormal) if abnormal.any() else np.array([0])
    first, last = (_TIMES[int(3 * t / len(abnormal))] for t in (when[0], when[-1]))
    return f"at the {first}" if first == last else f"from the {first} to the {last}"


def _trajectory(actor: Actor, clip: Clip) -> str:
    return _way(actor, np.flatnonzero(actor.abnormal_frames), clip)


def _way(actor: Actor, when: np.ndarray, clip: Clip) -> str:
    """From where it is in the first of these frames to where it is in the last."""
    return way_words(*(box_place(actor.boxes[t], clip.objects.shape[1:]) for t in (when[0], when[-1])))


def _visible(clip: Clip) -> list[Actor]:
    """Who is clearly visible in the last frame, largest first."""
    least = _LEAST_AREA * clip.objects[0].size
    return sorted((a for a in clip.actors if a.areas[-1] >= least), key=lambda a: -int(a.areas[-1]))


def normal_dialogue(clip: Clip, rng: np.random.Generator) -> list[Turn]:
    """Turns about what is to be seen at the clip's end, without a word about what is abnormal: the scene, a place, counts, the
    environment, of some who are there colour, clothes and action, who does this or that, and how it moves, in random
    order.

    For the backbone's pre-training give it clips without anomaly; of others it tells what is there just the same.
    """
    size = clip.objects.shape[1:]
    actors = _visible(clip)
    places = [place_of(actor.boxes[-1], size) for actor in actors]
    ends = [actor.doing() for actor in actors]
    scene = (
        ", ".join(f"{describe(a, end)} at the {p}" for a, end, p in zip(actors[:3], ends, places)) or "an empty scene"
    )
    people = sum(actor.kind == "person" or actor.kind in RIDES for actor in actors)
    vehicles = sum(actor.kind in _VEHICLES for actor in actors)
    turns = [
        Turn(_pick(rng, "scene"), scene, "scene"),
        Turn(_pick(rng, "people"), _NUMBERS[min(people, 9)], "people"),
        Turn(_pick(rng, "vehicles"), _NUMBERS[min(vehicles, 9)], "vehicles"),
        Turn(_pick(rng, "environment"), clip.environment, "environment"),
    ]
    flat = [place for row in PLACES for place in row]
    asked = places[rng.integers(len(places))] if places and rng.random() < 0.8 else flat[rng.integers(9)]
    there = [describe(a, end) for a, end, p in zip(actors, ends, places) if p == asked][:2]
    turns.append(Turn(_pick(rng, "place").format(asked), " and ".join(there) or "nothing", "place"))
    nouns = ["person" if a.kind in RIDES else a.kind for a in actors]
    unique = [i for i in range(len(actors)) if list(zip(nouns, places)).count((nouns[i], places[i])) == 1]
    for i in rng.permutation(unique)[:_ASKED_ABOUT]:
        actor, about = actors[i], (nouns[i], places[i])
        if actor.color:
            turns.append(Turn(_pick(rng, "color").format(*about), actor.color, "color"))
        turns.append(Turn(_pick(rng, "action").format(*about), doing_of(actor.kind, ends[i]), "action"))
        if nouns[i] == "person" and actor.color:
            worn = _clothes(actor.color, actor.attributes)
            turns.append(Turn(_pick(rng, "clothes").format(places[i]), worn, "clothes"))
    deeds = [doing_of(actor.kind, end) for actor, end in zip(actors, ends)]
    alone = [i for i, deed in enumerate(deeds) if deeds.count(deed) == 1]
    for i in rng.permutation(alone)[:_ASKED_ABOUT]:
        noun = _noun(actors[i].kind, actors[i].color, actors[i].attributes)
        turns.append(Turn(_pick(rng, "who").format(deeds[i]), f"{noun} at the {places[i]}", "who"))
        way = _way(actors[i], np.flatnonzero(actors[i].areas), clip)
        turns.append(Turn(_pick(rng, "way").format(deeds[i]), way, "way"))
    return [turns[i] for i in rng.permutation(len(turns))]


def imagined_dialogue(rng: np.random.Generator) -> list[Turn]:
    """A dialogue that fits together but belongs to no clip, as one reads about such things: what words there are and how answers
    follow from each other. Nothing in it tells which deeds are abnormal.

    Either the questions about an anomaly, or some about a scene in random order.
    """
    flat = [place for row in PLACES for place in row]

    def one(options: tuple[str, ...] | list[str]) -> str:
        return options[rng.integers(len(options))]

    grey = rng.random() < _GREY

    def looks() -> tuple[str, Mapping[str, str]]:
        """Of somebody or something."""
        color, attributes = one(COLORS), imagined_attributes(rng)
        return ("", {n: word for n, word in attributes.items() if n not in COLORED}) if grey else (color, attributes)

    def someone() -> str:
        kind, action = imagined_deed(rng)
        color, attributes = looks()
        return _phrase(kind, color, action, attributes)

    def several(most: int) -> list[str]:
        return [someone() for _ in range(rng.integers(1, most + 1))]

    environment = imagined_environment(rng)
    noun, place, start, stop = one(NOUNS), one(flat), rng.integers(9), rng.integers(9)
    way = way_words(divmod(int(start), 3), divmod(int(stop), 3))
    if rng.random() < 0.5:
        answers = _nothing(environment)
        if rng.random() < 0.5:
            answers.update(anomaly="Yes.", target=someone(), trajectory=way)
            answers.update(when=_time_words(rng.random(6) < 0.4), why=one(tuple(REASONS.values())))
        return [Turn(_pick(rng, field), answer, field) for field, answer in answers.items()]
    kind, action = imagined_deed(rng)
    answers = {
        "scene": ", ".join(f"{who} at the {one(flat)}" for who in several(3)),
        "people": one(_NUMBERS),
        "vehicles": one(_NUMBERS),
        "environment": environment,
        "place": one(["nothing", " and ".join(several(2))]),
        "color": one(COLORS),
        "action": doing_of(kind, action),
        "clothes": _clothes(one(COLORS), imagined_attributes(rng)),
        "who": f"{_noun(kind, *looks())} at the {one(flat)}",
        "way": way,
    }
    about = {
        "color": (noun, place),
        "action": (noun, place),
        **dict.fromkeys(("who", "way"), (doing_of(kind, action),)),
    }
    turns = [
        Turn(_pick(rng, field).format(*about.get(field, (place,))), said, field)
        for field, said in answers.items()
        if not (grey and field in ("color", "clothes"))
    ]
    return [turns[i] for i in rng.permutation(len(turns))[:_ASKED_AT_ONCE]]


def corpus(count: int, seed: int = 0) -> Iterator[str]:
    """`count` texts of imagined dialogues that hold every word of every dialogue, for a tokenizer; each is a question and an
    answer on two lines."""
    rng = np.random.default_rng([99, seed])
    turns = (turn for _ in itertools.count() for turn in imagined_dialogue(rng))
    for turn in itertools.islice(turns, count):
        yield f"{turn.question}\n{turn.answer}"
