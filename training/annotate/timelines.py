"""Step 2: who is who over time, by place and appearance, and what each one's way and deeds are.

An observation goes on with the timeline that lies nearest to it in place and description, all of a frame decided together by an
assignment solver; a target may be unseen for a while. Assumes a camera that stands still. Knows no model and no masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from .observations import ALIKE, Claim, Observation, State, Timeline, center, consensus, likeness

__all__ = ["Linking", "assign", "link", "summarize"]

LEAST_TURN = math.radians(45)
"""A smaller change of direction is no turning point."""
STANDING = 0.25
"""What it costs to be found where one was last rather than where one's movement leads."""
STATE_REACH = 2
"""What a target does at an observation is what most claims of it and of so many before and after it say."""
LEAST_STATE = 3
"""A state of fewer observations than this is taken for a slip."""


@dataclass(frozen=True)
class Linking:
    """How observations become timelines.

    max_gap_s: a target may be unseen for so long. speed: how fast one may be that was seen once, in its own sizes per
    second; known_speed: how far one may be from where its movement takes it, or from where it was last, as well. slack:
    what a box may be off, in sizes. appearance, shape: what it costs to look entirely different, and to have a box of
    other sides; limit: more than this cost is somebody else. A distance of all that is possible costs 1.
    """

    max_gap_s: float = 2.0
    speed: float = 4.0
    known_speed: float = 1.5
    slack: float = 0.35
    appearance: float = 0.6
    shape: float = 0.4
    limit: float = 1.2


@dataclass(eq=False)
class _Open:
    """A timeline that may go on."""

    observations: list[Observation]
    velocity: tuple[float, float] | None = None
    words: dict[tuple[str, str], float] = field(default_factory=dict)

    def add(self, observation: Observation) -> None:
        self.observations.append(observation)
        for claim in observation.claims:
            key = claim.category, claim.appearance
            self.words[key] = self.words.get(key, 0.0) + claim.confidence
        seen = self.observations[-4:]
        span = seen[-1].time_s - seen[0].time_s
        if span > 0:
            (x0, y0), (x1, y1) = center(seen[0].box), center(seen[-1].box)
            self.velocity = (x1 - x0) / span, (y1 - y0) / span


def assign(costs: np.ndarray, limit: float) -> list[tuple[int, int]]:
    """Pairs (row, column), one to one, of a matrix of costs [n, m] (inf: impossible), such that the sum of limit - cost over the
    pairs is as large as can be; no pair costs `limit` or more. Rows and columns may stay alone."""
    if 0 in costs.shape:
        return []
    rows, columns = linear_sum_assignment(np.minimum(costs, limit))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if costs[r, c] < limit]


def link(observations: Iterable[Observation], linking: Linking | None = None) -> list[Timeline]:
    """Timelines of a clip's observations, by their start; ids count from 1. Observations may come in any order."""
    linking = linking or Linking()
    every: list[_Open] = []
    live: list[_Open] = []
    for _, group in groupby(sorted(observations, key=lambda o: (o.frame, o.box)), key=lambda o: o.frame):
        seen = list(group)
        live = [track for track in live if seen[0].time_s - track.observations[-1].time_s <= linking.max_gap_s]
        costs = np.array([[_cost(track, each, linking) for each in seen] for track in live]).reshape(
            len(live), len(seen)
        )
        pairs = assign(costs, linking.limit)
        for row, column in pairs:
            live[row].add(seen[column])
        taken = {column for _, column in pairs}
        for column, each in enumerate(seen):
            if column not in taken:
                fresh = _Open([])
                fresh.add(each)
                live.append(fresh)
                every.append(fresh)
    return [summarize(number, track.observations) for number, track in enumerate(every, start=1)]


def _cost(track: _Open, seen: Observation, linking: Linking) -> float:
    """Of going on with this observation: distance, 0..1, and difference in words and shape; inf out of reach."""
    last = track.observations[-1]
    passed = seen.time_s - last.time_s
    size = (_diagonal(last) + _diagonal(seen)) / 2
    x, y = center(seen.box)
    x0, y0 = center(last.box)
    slack = linking.slack * size
    distance = math.hypot(x - x0, y - y0) / (slack + linking.speed * size * passed)
    if track.velocity is not None:
        vx, vy = track.velocity
        off = math.hypot(x - x0 - vx * passed, y - y0 - vy * passed)
        reach = slack + linking.known_speed * size * passed
        distance = min(off, math.hypot(x - x0, y - y0) + STANDING * reach) / reach
    if distance > 1:
        return math.inf
    total = sum(track.words.values()) or 1.0
    alike = 0.0
    for claim in seen.claims:
        for (category, appearance), weight in track.words.items():
            same = (likeness(claim.category, category) + likeness(claim.appearance, appearance)) / 2
            alike += same * weight / total / len(seen.claims)
    widths, heights = ([box[2 + i] - box[i] for box in (last.box, seen.box)] for i in (0, 1))
    shape = min(widths) / max(widths) * min(heights) / max(heights)
    return distance + linking.appearance * (1 - alike) + linking.shape * (1 - shape)


def _diagonal(seen: Observation) -> float:
    return math.hypot(seen.box[2] - seen.box[0], seen.box[3] - seen.box[1])


def summarize(
    number: int, observations: Sequence[Observation], believed: Callable[[Observation, Claim], bool] | None = None
) -> Timeline:
    """A timeline of at least one observation, with all that is read off them. believed: which claims count for what the target
    does; all by default."""
    ordered = tuple(sorted(observations, key=lambda each: each.frame))
    claims = [claim for each in ordered for claim in each.claims]
    category, same_kind = consensus(claims, lambda claim: claim.category)
    alike = [claim for claim in claims if likeness(claim.category, category) >= ALIKE]
    appearance, same_look = consensus(alike, lambda claim: claim.appearance)
    times = np.array([each.time_s for each in ordered])
    # A box is cut where the target leaves the picture or stands behind something: its usual large size is the true one.
    size = float(np.quantile([_diagonal(each) for each in ordered], 0.75))
    path = _smooth(np.array([center(each.box) for each in ordered]), times)
    speeds = np.zeros(len(ordered))
    if len(ordered) > 1:
        speeds = np.hypot(*np.gradient(path, times, axis=0).T) / size
    return Timeline(
        id=number,
        observations=ordered,
        category=category,
        appearance=appearance,
        agreement=same_kind * same_look,
        states=_states(ordered, believed or (lambda _observation, _claim: True)),
        size=size,
        path=path,
        speeds=speeds,
        turns=_turns(path, size),
    )


def _smooth(points: np.ndarray, times: np.ndarray, reach_s: float = 0.4) -> np.ndarray:
    """Points [n, 2], each replaced by what a line through those around it, the nearer the heavier, has at its time:
    boxes jitter."""
    smooth = np.empty_like(points)
    for place, time in enumerate(times):
        offset = times - time
        weights = np.exp(-0.5 * (offset / reach_s) ** 2)
        total, mean = weights.sum(), (weights * offset).sum() / weights.sum()
        spread = (weights * (offset - mean) ** 2).sum()
        middle = weights @ points / total
        slope = weights * (offset - mean) @ points / spread if spread > 1e-9 else 0.0
        smooth[place] = middle - mean * slope
    return smooth


def _turns(path: np.ndarray, size: float) -> tuple[int, ...]:
    """Which points of a way [n, 2] are its turning points: corners of the way simplified (Douglas-Peucker), both of
    whose legs are longer than half the target."""
    if len(path) < 3:
        return ()
    corners = cv2.approxPolyDP(path.astype(np.float32)[:, None], 0.25 * size, False)[:, 0]
    places = [int(np.hypot(*(path - corner).T).argmin()) for corner in corners]
    legs = np.diff(path[places], axis=0)
    found = []
    for place, before, after in zip(places[1:-1], legs, legs[1:]):
        angle = abs(math.remainder(math.atan2(*after[::-1]) - math.atan2(*before[::-1]), 2 * math.pi))
        if angle >= LEAST_TURN and min(np.hypot(*before), np.hypot(*after)) > 0.5 * size:
            found.append(place)
    return tuple(found)


def _states(ordered: Sequence[Observation], believed: Callable[[Observation, Claim], bool]) -> tuple[State, ...]:
    """What the target does, from observation to observation, slips left out; empty where no claim is believed."""
    told = [[claim for claim in each.claims if believed(each, claim)] for each in ordered]
    said: list[str] = []
    for place in range(len(ordered)):
        near = [c for each in told[max(0, place - STATE_REACH) : place + STATE_REACH + 1] for c in each]
        near = near or [c for each in told for c in each]
        if not near:
            return ()
        said.append(consensus(near, lambda claim: claim.action)[0])
    runs: list[list[int]] = []  # numbers of observations
    for place in range(len(ordered)):
        if runs and likeness(said[place], said[runs[-1][0]]) >= ALIKE:
            runs[-1].append(place)
        else:
            runs.append([place])
    while len(runs) > 1 and min(map(len, runs)) < LEAST_STATE:
        short = min(range(len(runs)), key=lambda i: len(runs[i]))
        last = short == len(runs) - 1
        before = last or (short > 0 and len(runs[short - 1]) >= len(runs[short + 1]))
        first = short - 1 if before else short
        runs[first : first + 2] = [runs[first] + runs[first + 1]]
        runs = _merged(runs, said)
    states = []
    for run in runs:
        claims = [claim for place in run for claim in told[place]]
        action = consensus(claims, lambda claim: claim.action)[0] if claims else said[run[len(run) // 2]]
        states.append(State(ordered[run[0]].time_s, ordered[run[-1]].time_s, action))
    return tuple(states)


def _merged(runs: list[list[int]], said: list[str]) -> list[list[int]]:
    """Neighbouring runs that say the same, as one."""
    joined: list[list[int]] = []
    for run in runs:
        if joined and likeness(_most(joined[-1], said), _most(run, said)) >= ALIKE:
            joined[-1] = joined[-1] + run
        else:
            joined.append(run)
    return joined


def _most(run: list[int], said: list[str]) -> str:
    words = [said[place] for place in run]
    return max(dict.fromkeys(words), key=words.count)
