"""Which warm region of this heat map is which target of the last one: association over time by overlap and movement.

A target is expected where a constant velocity takes it, or where it was last. Regions and targets are matched one to
one, the closest first. Targets whose regions have run together share the region and go on as expected until they part.
Knows no thresholds, phases or messages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .regions import Region
from .types import Box, TrackPoint

__all__ = ["Track", "Tracker"]

NEW_SPEED, KNOWN_SPEED = 0.8, 0.25
"""How far from where it is expected a target may be found, in frame diagonals per second, on top of half its size:
before its velocity is known (0.8 crosses a frame in a second), and after."""
SMOOTHING = 0.5
"""Weight of the newest displacement in the velocity."""
STANDING_COST = 0.25
"""What it costs to be found where it was last rather than where its velocity takes it."""
SHARED_OVERLAP = 0.5
"""Part of a target's box, expected or last, that must lie in another's region for the two to have run together."""
MAX_POINTS = 512
"""A longer track is thinned out evenly: only every second, fourth, eighth … point is kept, and always the newest."""


@dataclass(eq=False)
class Track:
    """One target from its first warm region on. Changed in place by `Tracker`."""

    key: int
    first_ns: int
    last_ns: int
    """The last stamp at which it was warm."""
    box: Box
    score: float
    peak_ns: int
    peak_score: float
    peak_box: Box
    frame_id: str
    warm_ns: int = 0
    """Time during which it was warm without interruption from one heat map to the next, all added up."""
    velocity: tuple[float, float] | None = None
    """Pixels per nanosecond, right and down; None until it was seen twice."""
    shared_since_ns: int | None = None
    """Since when it shares its region with another target."""
    established: bool = False
    """Whether it outlasts others that it runs together with: set by whoever has told the world about it."""
    _points: list[TrackPoint] = field(default_factory=list)
    _stride: int = 1
    """Every which warm step is among the points."""
    _steps: int = 0
    """Warm steps so far."""

    @property
    def points(self) -> tuple[TrackPoint, ...]:
        """Where it was, from its first warm step to its last; see `MAX_POINTS`."""
        newest = TrackPoint(self.last_ns, self.box, self.score)
        kept = self._points if self._points[-1].stamp_ns != newest.stamp_ns else self._points[:-1]
        return (*kept, newest)

    def expected(self, stamp_ns: int) -> Box:
        """Its last box, moved on by its velocity."""
        if self.velocity is None:
            return self.box
        dx, dy = (v * (stamp_ns - self.last_ns) for v in self.velocity)
        return self.box[0] + dx, self.box[1] + dy, self.box[2] + dx, self.box[3] + dy

    def see(self, region: Region, stamp_ns: int, warm_before: bool) -> None:
        """It was found: as this region and nothing else."""
        elapsed = stamp_ns - self.last_ns
        if elapsed and self.shared_since_ns is None:
            (x0, y0), (x1, y1) = _center(self.box), _center(region.box)
            new = ((x1 - x0) / elapsed, (y1 - y0) / elapsed)
            old = self.velocity or new
            self.velocity = (
                SMOOTHING * new[0] + (1 - SMOOTHING) * old[0],
                SMOOTHING * new[1] + (1 - SMOOTHING) * old[1],
            )
        self.shared_since_ns = None
        self._be_warm(region.box, region.score, stamp_ns, warm_before)
        if region.score > self.peak_score:
            self.peak_ns, self.peak_score, self.peak_box = stamp_ns, region.score, region.box

    def share(self, region: Region, stamp_ns: int) -> None:
        """It is somewhere in a region that is not its own alone: it goes on as expected, within the region.

        The score is the region's; the peak stays, for nobody knows whose heat it is.
        """
        if self.shared_since_ns is None:
            self.shared_since_ns = stamp_ns
        self._be_warm(_within(self.expected(stamp_ns), region.box), region.score, stamp_ns, True)

    def _be_warm(self, box: Box, score: float, stamp_ns: int, warm_before: bool) -> None:
        if warm_before:
            self.warm_ns += stamp_ns - self.last_ns
        self.box, self.score, self.last_ns = box, score, stamp_ns
        self.note()

    def note(self) -> None:
        """Adds where it is now to its points."""
        if self._steps % self._stride == 0:
            if len(self._points) == MAX_POINTS - 1:
                del self._points[1::2]
                self._stride *= 2
            if self._steps % self._stride == 0:
                self._points.append(TrackPoint(self.last_ns, self.box, self.score))
        self._steps += 1


class Tracker:
    """The open targets of one camera. Which are over is for the owner to say."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        """In order of appearance."""
        self._keys = 0
        self._last_ns: int | None = None

    def remove(self, tracks: list[Track]) -> None:
        self.tracks = [track for track in self.tracks if track not in tracks]

    def clear(self) -> list[Track]:
        """Removes and returns all; the next step may be of any time."""
        tracks, self.tracks, self._last_ns = self.tracks, [], None
        return tracks

    def step(
        self, regions: list[Region], stamp_ns: int, frame_size: tuple[int, int], frame_id: str, patience_ns: int
    ) -> list[Track]:
        """Takes one heat map's regions in. A track whose `last_ns` is `stamp_ns` afterwards was warm in it.

        Returns, removed from `tracks`, those that have run together with an earlier one: at once where they are not
        established, and after `patience_ns` where they are.
        """
        previous_ns, self._last_ns = self._last_ns, stamp_ns
        matches = _match(self.tracks, regions, stamp_ns, math.hypot(*frame_size))
        held: dict[int, list[Track]] = {number: [track] for track, number in matches}
        found = {track.key for track, _ in matches}
        for track in self.tracks:
            if track.key not in found and track.last_ns == previous_ns:
                number = _swallowed_by((track.expected(stamp_ns), track.box), held, regions)
                if number is not None:
                    held[number].append(track)
        over: list[Track] = []
        for number, sharing in held.items():
            over += _settle(sharing, regions[number], stamp_ns, previous_ns, patience_ns)
        self.remove(over)
        for number, region in enumerate(regions):
            if number not in held:
                self.tracks.append(self._new(region, stamp_ns, frame_id))
        return over

    def _new(self, region: Region, stamp_ns: int, frame_id: str) -> Track:
        self._keys += 1
        track = Track(
            key=self._keys,
            first_ns=stamp_ns,
            last_ns=stamp_ns,
            box=region.box,
            score=region.score,
            peak_ns=stamp_ns,
            peak_score=region.score,
            peak_box=region.box,
            frame_id=frame_id,
        )
        track.note()
        return track


def _match(tracks: list[Track], regions: list[Region], stamp_ns: int, diagonal: float) -> list[tuple[Track, int]]:
    """Tracks and numbers of regions, one to one, the closest first."""
    costs = []
    for place, track in enumerate(tracks):
        for number, region in enumerate(regions):
            cost = _cost(track, region.box, stamp_ns, diagonal)
            if cost is not None:
                costs.append((cost, place, number))
    matches: list[tuple[Track, int]] = []
    free_tracks, free_regions = set(range(len(tracks))), set(range(len(regions)))
    for _, place, number in sorted(costs):
        if place in free_tracks and number in free_regions:
            free_tracks.remove(place)
            free_regions.remove(number)
            matches.append((tracks[place], number))
    return matches


def _cost(track: Track, box: Box, stamp_ns: int, diagonal: float) -> float | None:
    """-1 (where it was expected) to 1.25 (just within reach); None out of reach."""
    expected = track.expected(stamp_ns)
    reach_per_s = NEW_SPEED if track.velocity is None else KNOWN_SPEED
    moved = _distance_cost(expected, box, reach_per_s * diagonal * (stamp_ns - track.last_ns) * 1e-9)
    stood = _distance_cost(track.box, box, 0.0)
    options = [c for c in (moved, None if stood is None else stood + STANDING_COST) if c is not None]
    return min(options) if options else None


def _distance_cost(expected: Box, box: Box, reach: float) -> float | None:
    reach += (_diagonal(expected) + _diagonal(box)) / 4  # half the mean size
    (x0, y0), (x1, y1) = _center(expected), _center(box)
    distance = math.hypot(x1 - x0, y1 - y0)
    overlap = _shared_area(expected, box)
    if distance > reach and not overlap:
        return None
    union = _area(expected) + _area(box) - overlap
    return min(distance / reach, 1.0) - overlap / union


def _swallowed_by(boxes: tuple[Box, Box], held: dict[int, list[Track]], regions: list[Region]) -> int | None:
    """The region, among those that are another target's, that most of either box lies in."""
    best, most = None, SHARED_OVERLAP
    for number in held:
        part = max(_shared_area(box, regions[number].box) / _area(box) for box in boxes)
        if part >= most:
            best, most = number, part
    return best


def _settle(
    sharing: list[Track], region: Region, stamp_ns: int, previous_ns: int | None, patience_ns: int
) -> list[Track]:
    """Lets one or more tracks go on with one region. Returns those that end here."""
    sharing = sorted(sharing, key=lambda track: (not track.established, track.key))
    kept = [track for track in sharing[1:] if track.established and not _out_of_patience(track, stamp_ns, patience_ns)]
    over = [track for track in sharing[1:] if track not in kept]
    first = sharing[0]
    if not kept:
        first.see(region, stamp_ns, warm_before=first.last_ns == previous_ns)
        return over
    for track in (first, *kept):
        track.share(region, stamp_ns)
    return over


def _out_of_patience(track: Track, stamp_ns: int, patience_ns: int) -> bool:
    return track.shared_since_ns is not None and stamp_ns - track.shared_since_ns > patience_ns


def _within(box: Box, bounds: Box) -> Box:
    """The box moved, and where it is too large cut, to lie within the bounds."""
    x0, x1 = _fit(box[0], box[2], bounds[0], bounds[2])
    y0, y1 = _fit(box[1], box[3], bounds[1], bounds[3])
    return x0, y0, x1, y1


def _fit(low: float, high: float, lowest: float, highest: float) -> tuple[float, float]:
    size = min(high - low, highest - lowest)
    low = min(max(low, lowest), highest - size)
    return low, low + size


def _center(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _diagonal(box: Box) -> float:
    return math.hypot(box[2] - box[0], box[3] - box[1])


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _shared_area(a: Box, b: Box) -> float:
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(across, 0.0) * max(down, 0.0)
