"""Step 5, in words: verified timelines as descriptions, and as dialogues about windows of a clip, in the paper's order
of questions.

Questions, phrasings and the words for places are those of the synthetic world and of the runtime, so that what is learned here is
asked there. Knows no model and no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tvau_runtime.grounding import PLACES, box_place, way_words
from tvau_training.world import Turn
from tvau_training.world.dialogue import NOTHING, QUESTIONS

from .observations import Timeline

__all__ = ["Scene", "anomaly_turns", "describe", "narration_turns", "way"]

EXTRA_QUESTIONS = {
    "time": ("When does it happen?", "At what time does it happen?", "From when to when is it abnormal?"),
    "way": ("How does {} move?", "Where does {} go?", "What way does {} take?"),
}
"""Asked beside those of the world: temporal anchors, and the way of one target among others."""
NARRATED = 3
"""So many targets are named in a description of the scene, the largest first."""


@dataclass(frozen=True)
class Scene:
    """A window of a clip: what dialogues are about. size: (height, width) of the frames in pixels. start_s, end_s: from
    the clip's first frame. targets: timelines seen in it. anomalies: those that are abnormal in it, the most important
    first, with the times from and to when. abnormal: what the data set's labels say of it; None where they say
    nothing."""

    size: tuple[int, int]
    start_s: float
    end_s: float
    environment: str
    abnormal: bool | None
    targets: Sequence[Timeline] = field(repr=False)
    anomalies: Mapping[int, tuple[float, float]] = field(repr=False)


def describe(timeline: Timeline, start_s: float, end_s: float) -> str:
    """Who it is and what it does in that time: "a person with a red top walking on the walkway"."""
    longest = max(timeline.states, key=lambda s: (min(s.end_s, end_s) - max(s.start_s, start_s), -s.start_s))
    return f"{_noun(timeline)} {longest.action}"


def _noun(timeline: Timeline) -> str:
    category, looks = timeline.category, timeline.appearance
    # "red" stands before its noun, "a red top" behind it.
    return (
        f"{_article(looks)} {looks} {category}" if " " not in looks else f"{_article(category)} {category} with {looks}"
    )


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def way(timeline: Timeline, size: tuple[int, int], start_s: float, end_s: float) -> str:
    """Its way through the picture in that time: "from the left to the top, then to the right", by its turning points."""
    seen = [(i, each) for i, each in enumerate(timeline.observations) if start_s - 1e-6 <= each.time_s <= end_s + 1e-6]
    places = [box_place(seen[0][1].box, size)]
    places += [box_place((*timeline.path[i], *timeline.path[i]), size) for i, _ in seen[1:-1] if i in timeline.turns]
    last = box_place(seen[-1][1].box, size)
    turns = [place for place, before in zip(places[1:], places) if place not in (before, last)]
    if not turns:
        return way_words(places[0], last)
    words = way_words(places[0], turns[0])
    for row, column in [*turns[1:], last]:
        words += f", then to the {PLACES[row][column]}"
    return words


def _pick(rng: np.random.Generator | None, field: str) -> str:
    options = {**QUESTIONS, **EXTRA_QUESTIONS}[field]
    return options[0] if rng is None else options[rng.integers(len(options))]


def anomaly_turns(scene: Scene, rng: np.random.Generator | None = None) -> list[Turn]:
    """Is there an anomaly, what is it, how does it move, when, where is this: in this order. What is not known is not asked.

    rng: picks among phrasings; None takes the usual questions. Answers do not depend on it.
    """
    answers: dict[str, str] = {}
    if scene.abnormal is not None:
        answers["anomaly"] = "Yes." if scene.abnormal else "No."
        if not scene.abnormal:
            answers |= {"target": NOTHING, "trajectory": NOTHING}
    who = {timeline.id: timeline for timeline in scene.targets}
    if scene.abnormal and scene.anomalies:
        number, (start_s, end_s) = next(iter(scene.anomalies.items()))
        answers["target"] = describe(who[number], start_s, end_s)
        answers["trajectory"] = way(who[number], scene.size, start_s, end_s)
        answers["time"] = f"from {start_s - scene.start_s:.1f} to {end_s - scene.start_s:.1f} seconds"
    if scene.environment:
        answers["environment"] = scene.environment
    return [Turn(_pick(rng, field), answer, field) for field, answer in answers.items()]


def narration_turns(scene: Scene, rng: np.random.Generator | None = None) -> list[Turn]:
    """What is to be seen at the window's end, how one of the targets moves, and where this is, without a word about what is
    abnormal: the first half of the curriculum of stage 2."""
    # Seen in the last quarter counts as seen at the end: a model may miss any single frame.
    late = scene.end_s - (scene.end_s - scene.start_s) / 4
    there = [
        (each, box)
        for each in scene.targets
        if (box := each.box_at(min(scene.end_s, each.end_s))) and each.end_s >= late
    ]
    there.sort(key=lambda pair: -pair[0].size)
    named = [f"{describe(t, late, scene.end_s)} at the {_place(box, scene.size)}" for t, box in there[:NARRATED]]
    turns = [Turn(_pick(rng, "scene"), ", ".join(named) or "an empty scene", "scene")]
    nouns = [_noun(each) for each in scene.targets]
    single = [each for each, noun in zip(scene.targets, nouns) if nouns.count(noun) == 1]
    if single:
        one = single[0 if rng is None else int(rng.integers(len(single)))]
        if any(scene.start_s <= o.time_s <= scene.end_s for o in one.observations):
            question = _pick(rng, "way").format("the" + _noun(one)[_noun(one).index(" ") :])
            turns.append(Turn(question, way(one, scene.size, scene.start_s, scene.end_s), "way"))
    if scene.environment:
        turns.append(Turn(_pick(rng, "environment"), scene.environment, "environment"))
    return turns


def _place(box: Sequence[float], size: tuple[int, int]) -> str:
    row, column = box_place(box, size)
    return PLACES[row][column]
