"""Stamped frames to sampled frames, temporal patches and sliding clip windows, for one camera.

All arithmetic on time is in whole nanoseconds and exact fractions, so that nothing drifts, however long a camera runs.

| what comes                                              | what happens                        | `Arrival`   |
|---------------------------------------------------------|-------------------------------------|-------------|
| the first frame of a sampling slot, where a pair begins | it is taken                         | `TAKEN`     |
| the frame nearest to a period after a pair's first      | it is taken                         | `TAKEN`     |
| another frame                                           | ignored: sampling                   | `BETWEEN`   |
| a frame of a pair that is left out to save load         | ignored: sampling                   | `BETWEEN`   |
| too late a second frame: those before it were dropped   | taken; the pair starts anew         | `OVERRUN`   |
| a stamp before the last one by less than reset_after_s  | ignored: a late frame               | `LATE`      |
| the same stamp again                                    | ignored                             | `REPEATED`  |
| a stamp before the last one by reset_after_s or more    | taken; pair and window start anew   | `RESTARTED` |
| a frame of another size                                 | taken; pair and window start anew   | `RESIZED`   |
| silence of more than max_gap_s since the last one taken | taken; pair and window start anew   | `GAP`       |

Frames that were dropped because the model is too slow are no silence: the camera sent them.

Where pair and window start anew, the sampling slots are counted from that frame on, and whoever owns the events ends
them. The two frames of a pair are as near to each other as the camera's own rate allows to what the model was trained to
see, and all pairs alike, so that a movement looks as fast as it is; at a lower rate whole pairs are left out. Windows go
on over a change of rate; how far apart their steps are is in the stamps. Knows no pixels, no model and no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum
from fractions import Fraction
from typing import Generic, TypeVar

from .errors import ConfigError, QueryError
from .types import Step, Window

__all__ = ["Arrival", "FrameSampler", "PairBuilder", "SlidingWindow", "stretch"]

T = TypeVar("T")
NS_PER_S = 1_000_000_000
NEAR = Fraction(98, 100)
"""A pair's second frame is the one nearest to a period after its first, in ratio, as it is speeds that are to look alike: the
product of its time and the next one's is at least so much of the period's square. Where two are all but as near, as at 30
frames a second for 4 Hz, it is always the earlier one, whatever stamps are rounded to."""
TOO_LATE = Fraction(3, 2)
"""A second frame that comes more periods than this after the first, where dropped ones were nearer, makes no pair with it."""
EARLY = Fraction(1, 10)
"""How much of a slot a frame may come before its slot begins, and still count as the slot's. Cameras stamp with jitter
and files in milliseconds: without it, a camera as fast as the sampling rate would lose every frame that is a little
early."""


class Arrival(Enum):
    """What the sampler makes of a frame; see the table above."""

    TAKEN = "taken"
    BETWEEN = "between"
    OVERRUN = "overrun"
    LATE = "late"
    REPEATED = "repeated"
    RESTARTED = "restarted"
    RESIZED = "resized"
    GAP = "gap"

    @property
    def starts_anew(self) -> bool:
        return self in (Arrival.RESTARTED, Arrival.RESIZED, Arrival.GAP)

    @property
    def starts_pair(self) -> bool:
        """Whether no earlier frame may be paired with it."""
        return self is Arrival.OVERRUN or self.starts_anew

    @property
    def taken(self) -> bool:
        return self is Arrival.TAKEN or self.starts_pair


class FrameSampler:
    """Decides frame by frame, by stamp alone, which are looked at.

    Slot n begins n / rate_hz after the first frame; the first frame that comes in a slot may begin a pair. A pair begins at the
    earliest 2 * `every` slots after the one before it began, so that with `every` > 1 pairs are left out. Raises
    `ConfigError` for a rate that is not above 0, and for a max_gap_s that every pair of neighbouring samples would exceed.
    """

    every = 1
    """One pair in how many is looked at. May be changed at any time."""

    def __init__(self, rate_hz: float, *, max_gap_s: float, reset_after_s: float) -> None:
        self._rate = Fraction(rate_hz).limit_denominator(10**9)
        if self._rate <= 0:
            raise ConfigError(f"process_rate_hz must be above 0, got {rate_hz}")
        if max_gap_s * rate_hz <= 1:
            raise ConfigError(
                f"max_gap_s ({max_gap_s:g} s) must be longer than the {1 / rate_hz:g} s between two frames sampled at "
                f"{rate_hz:g} Hz, or no window would ever be filled"
            )
        self._max_gap_ns = round(max_gap_s * NS_PER_S)
        self._reset_after_ns = round(reset_after_s * NS_PER_S)
        self.reset()

    def reset(self) -> None:
        """Forgets all stamps; the next frame is taken as the first."""
        self._origin_ns = self._last_ns = self._last_taken_ns = 0
        self._slot = self._pair_slot = -1  # of the last frame taken, and where the last pair began
        self._size: tuple[int, int] | None = None

    @property
    def last_taken_ns(self) -> int | None:
        """The stamp of the last frame taken; None before the first."""
        return None if self._slot < 0 else self._last_taken_ns

    def judge(
        self, stamp_ns: int, size: tuple[int, int], *, begins_pair: bool = True, lost_ns: int | None = None
    ) -> Arrival:
        """What to do with a frame of this stamp and (height, width). begins_pair: no first frame waits for its second. lost_ns:
        the stamp of the frame before it, if that was dropped unseen."""
        stamp_ns = int(stamp_ns)  # a NumPy integer would overflow below
        arrival = self._compare(stamp_ns, size, lost_ns)
        if arrival in (Arrival.LATE, Arrival.REPEATED):
            return arrival
        since_ns = stamp_ns - self._last_taken_ns
        across = arrival is Arrival.TAKEN and not begins_pair and lost_ns is not None
        if across and since_ns * self._rate > TOO_LATE * NS_PER_S:
            arrival = Arrival.OVERRUN
        anew = arrival.starts_pair or self._slot < 0
        if arrival.starts_anew or self._slot < 0:
            self._origin_ns = stamp_ns
            self._slot = -1
        period_ns = stamp_ns - (self._last_ns if lost_ns is None else max(self._last_ns, lost_ns))
        self._last_ns, self._size = stamp_ns, size
        slot = int((stamp_ns - self._origin_ns) * self._rate / NS_PER_S + EARLY)
        if begins_pair or anew:
            if slot <= self._slot or (self.every > 1 and not anew and slot < self._pair_slot + 2 * self.every):
                return Arrival.BETWEEN
            self._pair_slot = slot
        elif since_ns * (since_ns + period_ns) * self._rate**2 < NEAR * NS_PER_S**2:
            return Arrival.BETWEEN
        else:
            slot = max(slot, self._pair_slot + 1)
        self._slot, self._last_taken_ns = slot, stamp_ns
        return arrival

    def _compare(self, stamp_ns: int, size: tuple[int, int], lost_ns: int | None) -> Arrival:
        if self._slot < 0:
            return Arrival.TAKEN
        back = self._last_ns - stamp_ns
        if back == 0:
            return Arrival.REPEATED
        if back > 0:
            return Arrival.RESTARTED if back >= self._reset_after_ns else Arrival.LATE
        if size != self._size:
            return Arrival.RESIZED
        heard_ns = self._last_taken_ns if lost_ns is None else max(self._last_taken_ns, lost_ns)
        return Arrival.GAP if stamp_ns - heard_ns > self._max_gap_ns else Arrival.TAKEN


class PairBuilder(Generic[T]):
    """Puts sampled frames together two by two: 0 and 1, 2 and 3, and so on."""

    def __init__(self) -> None:
        self._first: list[T] = []

    @property
    def waits(self) -> bool:
        """Whether a first frame waits for its second."""
        return bool(self._first)

    def add(self, item: T) -> tuple[T, T] | None:
        """The pair that this item completes, or None for the first of a pair."""
        if not self._first:
            self._first.append(item)
            return None
        return self._first.pop(), item

    def clear(self) -> None:
        self._first.clear()


class SlidingWindow:
    """The last steps of a camera, given out as clip windows.

    clip_length, stride: in frames, even; a window has clip_length / 2 steps, and a new one is due every stride / 2
    steps once the first is full. Raises `ConfigError` for other lengths, and for a clip of fewer than 4 frames: the RAE
    needs two steps.
    """

    def __init__(self, camera: str, clip_length: int, stride: int) -> None:
        if clip_length < 4 or clip_length % 2:
            raise ConfigError(f"clip_length must be even and at least 4 (two temporal patches), got {clip_length}")
        if stride < 2 or stride % 2:
            raise ConfigError(f"stride must be even and at least 2 (one temporal patch), got {stride}")
        self._camera = camera
        self._stride_steps = stride // 2
        self._steps: deque[Step] = deque(maxlen=clip_length // 2)
        self._until_next = clip_length // 2

    def __len__(self) -> int:
        """Steps held, at most clip_length / 2."""
        return len(self._steps)

    def add(self, step: Step) -> Window | None:
        """The window that this step completes, where one is due."""
        self._steps.append(step)
        self._until_next -= 1
        if self._until_next:
            return None
        self._until_next = self._stride_steps
        return self.newest()

    def newest(self) -> Window | None:
        """The last clip_length / 2 steps, whether or not a window is due now; None while there are fewer."""
        full = len(self._steps) == self._steps.maxlen
        return Window(self._camera, tuple(self._steps)) if full else None

    def clear(self) -> None:
        """Starts anew: the next window holds only steps from now on."""
        self._steps.clear()
        self._until_next = self._steps.maxlen or 0


def stretch(camera: str, steps: Sequence[Step], most: int) -> Window:
    """A window over any stretch of a camera's steps, given in order, with at most so many of them.

    A longer one is cut into `most` equal parts, and the hottest step of each is taken: so the window reaches from its first
    part to its last one, holds its peak, and is as long as those that the model knows. Raises `QueryError` for fewer than two
    steps, between which nothing can move.
    """
    if len(steps) < 2:
        raise QueryError(
            f"a stretch to ask about must hold at least two frame pairs, got {len(steps)}; take a longer one"
        )
    count = min(most, len(steps))
    parts = (steps[n * len(steps) // count : (n + 1) * len(steps) // count] for n in range(count))
    return Window(camera, tuple(max(part, key=lambda step: step.heatmap.score) for part in parts))
