"""Step 4: whether appearance and movement of a timeline belong together, in both directions.

appearance -> motion: what looks the same must have moved as one thing can. A timeline whose look changes for good is two targets,
and is cut; pieces that look the same and lead to each other are joined; a box that no movement leads to is dropped.
motion -> appearance: what moved as one thing looks the same throughout, and does what its movement allows. Claims that say
otherwise are replaced by what the others say; a timeline for which nothing is left is dropped.

Every contradiction is a `Finding` with its reason. Knows no model and no masks.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from .observations import ALIKE, Claim, Observation, Timeline, center, consensus, iou, likeness
from .timelines import Linking, assign, summarize

__all__ = ["REASONS", "SPEEDS", "Finding", "Verified", "count", "plausible", "verify"]

SPEEDS = {
    **dict.fromkeys(
        ("standing", "sitting", "lying", "parked", "waiting", "stationary", "still", "stopped"), (0.0, 0.3)
    ),
    **dict.fromkeys(("crouching", "kneeling", "sleeping", "leaning", "idling"), (0.0, 0.3)),
    **dict.fromkeys(("walking", "strolling", "pushing", "pulling", "carrying"), (0.08, 2.0)),
    **dict.fromkeys(("running", "jogging", "sprinting", "fleeing", "chasing"), (0.25, math.inf)),
    **dict.fromkeys(("driving", "riding", "cycling", "skating", "skateboarding", "moving"), (0.08, math.inf)),
}
"""How fast something moves across the picture that does this, in its own sizes (diagonals of its box) per second: least and most.
A person is a size of about 1.9 m; whoever comes towards the camera moves little across the picture. Other words allow all."""

SIDE = 3
"""A change of looks is one for good with so many observations on each side of it."""
SURE = 0.75
"""Share of the claims on each side of it that must agree."""
LEAST_OBSERVATIONS = 3
LEAST_AGREEMENT = 1 / 3
"""Where fewer of the claims agree on the looks, they are anybody's guess."""
OFF_WAY, NEAR = 0.5, 5
"""A box is off its way when its middle lies this many sizes beside where so many boxes before or after it lead."""

REASONS = {
    "looks change for good": "appearance -> motion",
    "breaks off": "appearance -> motion",
    "box off its way": "appearance -> motion",
    "looks differ": "motion -> appearance",
    "category differs": "motion -> appearance",
    "action contradicts movement": "motion -> appearance",
    "no agreement on looks": "motion -> appearance",
    "same place as another": "motion -> appearance",
    "seen too rarely": "motion -> appearance",
}
"""Reason to direction."""


@dataclass(frozen=True)
class Finding:
    """One contradiction. resolved: whether the rest of the evidence decided it, or what it concerned was dropped.
    timeline: its id before verification. text: what was said, for people."""

    reason: str
    resolved: bool
    timeline: int
    time_s: float
    text: str


@dataclass(frozen=True)
class Verified:
    """Timelines without contradictions, by their start, with ids from 1; and what there was."""

    timelines: tuple[Timeline, ...]
    findings: tuple[Finding, ...]


def count(findings: Sequence[Finding]) -> Counter[str]:
    """How many were resolved and dropped per reason: "looks differ, resolved" -> 12."""
    return Counter(f"{f.reason}, {'resolved' if f.resolved else 'dropped'}" for f in findings)


def plausible(action: str, speed: float) -> bool:
    """Whether something that moves so fast, in its sizes per second, can be doing this; by the first word of `SPEEDS` in it."""
    for word in re.findall(r"[a-z]+", action.lower()):
        if word in SPEEDS:
            least, most = SPEEDS[word]
            return least <= speed <= most
    return True


def verify(timelines: Sequence[Timeline], linking: Linking | None = None) -> Verified:
    """Checks every timeline of a clip, in both directions."""
    linking = linking or Linking()
    findings: list[Finding] = []
    whole = [rest for each in timelines if (rest := _without_strays(each, findings)) is not None]
    whole = _rejoined(whole, linking, findings)
    kept = []
    for timeline in whole:
        if len(timeline.observations) < LEAST_OBSERVATIONS:
            _drop(timeline, "seen too rarely", f"{len(timeline.observations)} observations", findings)
        elif timeline.agreement < LEAST_AGREEMENT:
            said = f"only {timeline.agreement:.0%} of the claims agree on {timeline.appearance!r}"
            _drop(timeline, "no agreement on looks", said, findings)
        elif (checked := _in_agreement(timeline, findings)) is not None:
            kept.append(checked)
    kept = _without_doubles(kept, findings)
    ordered = sorted(kept, key=lambda each: (each.start_s, each.id))
    return Verified(tuple(replace(each, id=number) for number, each in enumerate(ordered, start=1)), tuple(findings))


def _drop(timeline: Timeline, reason: str, text: str, findings: list[Finding]) -> None:
    findings.append(Finding(reason, False, timeline.id, timeline.start_s, text))


# appearance -> motion


def _without_strays(timeline: Timeline, findings: list[Finding]) -> Timeline | None:
    """Without the boxes that neither the ones before nor the ones after lead to; None where no box fits any other."""
    seen = timeline.observations
    times = np.array([each.time_s for each in seen])
    middles = np.array([center(each.box) for each in seen])
    stray = set()
    for i, here in enumerate(seen):
        before, after = list(range(max(0, i - NEAR), i)), list(range(i + 1, min(len(seen), i + 1 + NEAR)))
        off = [
            math.dist(middles[i], _led(times[near], middles[near], times[i]))
            for near in (before, after, before + after)
            if len(near) >= SIDE
        ]
        if off and min(off) > OFF_WAY * timeline.size:
            stray.add(i)
            text = f"{min(off) / timeline.size:.1f} times its size beside its way"
            findings.append(Finding("box off its way", False, timeline.id, here.time_s, text))
    if not stray:
        return timeline
    kept = [each for i, each in enumerate(seen) if i not in stray]
    return summarize(timeline.id, kept) if kept else None


def _led(times: np.ndarray, middles: np.ndarray, time: float) -> np.ndarray:
    """Where a straight way through points [n, 2] leads at a time, whatever a few of them say: median slope, median offset
    (Theil-Sen)."""
    first, second = np.triu_indices(len(times), 1)
    slope = np.median((middles[second] - middles[first]) / (times[second] - times[first])[:, None], axis=0)
    return np.median(middles + slope * (time - times)[:, None], axis=0)


def _rejoined(timelines: list[Timeline], linking: Linking, findings: list[Finding]) -> list[Timeline]:
    """Timelines cut where their looks change for good, and pieces that look and move as one joined."""
    pieces: list[list[Observation]] = []
    source: list[tuple[int, int]] = []  # of each piece: the timeline's id, and which part of it
    for timeline in timelines:
        cuts = _changes(timeline.observations)
        for k in cuts:
            at = timeline.observations[k]
            text = f"from {_looks(timeline.observations[:k])} to {_looks(timeline.observations[k:])}"
            findings.append(Finding("looks change for good", True, timeline.id, at.time_s, text))
        for part, (start, stop) in enumerate(pairwise([0, *cuts, len(timeline.observations)])):
            pieces.append(list(timeline.observations[start:stop]))
            source.append((timeline.id, part))
    costs = np.array([[_join_cost(a, b, linking) for b in pieces] for a in pieces]).reshape(len(pieces), len(pieces))
    follower = dict(assign(costs, 1.0))
    joined = []
    for first in sorted(set(range(len(pieces))) - set(follower.values())):
        chain, last = list(pieces[first]), first
        while last in follower:
            before, last = last, follower[last]
            chain += pieces[last]
            if source[before][1] == source[last][1] == 0:  # both are whole timelines so far
                text = f"{_looks(pieces[last])} goes on {_gap(pieces[before], pieces[last]):.1f} s later"
                findings.append(Finding("breaks off", True, source[before][0], pieces[last][0].time_s, text))
        joined.append(summarize(source[first][0], chain))
    return joined


def _gap(first: list[Observation], second: list[Observation]) -> float:
    return second[0].time_s - first[-1].time_s


def _looks(observations: Sequence[Observation]) -> str:
    claims = [claim for each in observations for claim in each.claims]
    return f"{consensus(claims, lambda c: c.category)[0]} with {consensus(claims, lambda c: c.appearance)[0]}"


def _changes(seen: Sequence[Observation]) -> list[int]:
    """Numbers of the observations from which on somebody else is described, and goes on to be."""
    best, place = 0.0, 0
    if _agreement(seen)[0] >= 0.9:
        return []
    for k in range(SIDE, len(seen) - SIDE + 1):
        (before, look_before), (after, look_after) = _agreement(seen[:k]), _agreement(seen[k:])
        if likeness(look_before, look_after) < ALIKE and min(before, after) >= SURE:
            fit = before * k + after * (len(seen) - k)
            if fit > best:
                best, place = fit, k
    if not place:
        return []
    return [*_changes(seen[:place]), place, *(place + k for k in _changes(seen[place:]))]


def _agreement(seen: Sequence[Observation]) -> tuple[float, str]:
    """The share of claims that agree on the looks, and what they agree on."""
    claims = [claim for each in seen for claim in each.claims]
    look, share = consensus(claims, lambda claim: claim.appearance)
    return share, look


def _join_cost(first: list[Observation], second: list[Observation], linking: Linking) -> float:
    """Of the one going on as the other: 0..1 by distance, inf where time, looks or distance forbid it."""
    passed = _gap(first, second)
    if not 0 < passed <= linking.max_gap_s or likeness(_agreement(first)[1], _agreement(second)[1]) < ALIKE:
        return math.inf
    kinds = [consensus([c for o in piece for c in o.claims], lambda c: c.category)[0] for piece in (first, second)]
    if likeness(*kinds) < ALIKE:
        return math.inf
    a, b = first[-1], second[0]
    size = math.hypot(a.box[2] - a.box[0], a.box[3] - a.box[1])
    (x, y), (x0, y0), (x1, y1) = center(first[-4:][0].box), center(a.box), center(b.box)
    span = a.time_s - first[-4:][0].time_s
    vx, vy = ((x0 - x) / span, (y0 - y) / span) if span > 0 else (0.0, 0.0)
    off = min(math.hypot(x1 - x0, y1 - y0), math.hypot(x1 - x0 - vx * passed, y1 - y0 - vy * passed))
    return off / ((linking.slack + linking.known_speed * passed) * size)


# motion -> appearance


def _in_agreement(timeline: Timeline, findings: list[Finding]) -> Timeline | None:
    """The timeline with all claims brought to what it looks like, and without those its movement contradicts; None where no
    claim of what it does is left."""
    speed = {
        each.frame: float(np.median(timeline.speeds[max(0, i - 2) : i + 3]))
        for i, each in enumerate(timeline.observations)
    }
    refuted: list[Finding] = []
    changed = []
    for each in timeline.observations:
        claims = []
        for claim in each.claims:
            for reason, said, truth in (
                ("category differs", claim.category, timeline.category),
                ("looks differ", claim.appearance, timeline.appearance),
            ):
                if likeness(said, truth) < ALIKE:
                    findings.append(Finding(reason, True, timeline.id, each.time_s, f"{said!r} for {truth!r}"))
            if not plausible(claim.action, speed[each.frame]):
                text = f"{claim.action!r} at {speed[each.frame]:.2f} of its sizes per second"
                refuted.append(Finding("action contradicts movement", True, timeline.id, each.time_s, text))
            claims.append(replace(claim, category=timeline.category, appearance=timeline.appearance))
        changed.append(replace(each, claims=tuple(claims)))

    def believed(observation: Observation, claim: Claim) -> bool:
        return plausible(claim.action, speed[observation.frame])

    checked = summarize(timeline.id, changed, believed)
    # What is left must hold for the rest of the way as well, most of which may have had no claim that fits.
    fits = (
        [plausible(checked.action_at(each.time_s), speed[each.frame]) for each in changed]
        if checked.states
        else [False]
    )
    if 2 * sum(fits) < len(fits):
        findings += [replace(finding, resolved=False) for finding in refuted]
        return None
    findings += refuted
    return replace(checked, agreement=timeline.agreement)


def _without_doubles(timelines: list[Timeline], findings: list[Finding]) -> list[Timeline]:
    """Without timelines that lie in the boxes of a longer one for most of their time."""
    kept: list[Timeline] = []
    for timeline in sorted(timelines, key=lambda each: -len(each.observations)):
        double = None
        for other in kept:
            boxes = {each.frame: each.box for each in other.observations}
            shared = [iou(each.box, boxes[each.frame]) for each in timeline.observations if each.frame in boxes]
            if len(shared) > 0.5 * len(timeline.observations) and np.median(shared) > 0.6:
                double = other
        if double is None:
            kept.append(timeline)
        else:
            _drop(
                timeline, "same place as another", f"{timeline.appearance!r} where {double.appearance!r} is", findings
            )
    return kept
