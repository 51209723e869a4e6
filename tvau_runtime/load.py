"""Whether the model keeps up, and how far the sampling rate has to fall for it. Knows no frames, threads or clocks.

Load is the model thread's busy share: the part of the time in which it was not waiting for frames, 0..1. The rate falls in
halvings, before frames have to wait:

    busy share of 0.9 or more    the rate is halved once more, as far as that is allowed
    busy share of 0.4 or less    one halving is taken back

In between nothing changes. A halving leaves half the busy share, 0.45 or more, so that the load that made the rate fall
does not bring it back. It is looked once in the time of four frame pairs at the present rate, but at most once a second.

There is time to spare for what need not be, such as descriptions, while the share is 0.5 or less at the full rate.
"""

from __future__ import annotations

__all__ = ["LoadGauge"]

HIGH, LOW, SPARE = 0.9, 0.4, 0.5
PAIRS = 4
SHORTEST_S = 1.0


class LoadGauge:
    """process_rate_hz: frames per second at the full rate; most_halvings: 0 never lowers it; now_s: the time at present."""

    def __init__(self, process_rate_hz: float, most_halvings: int, now_s: float) -> None:
        self.halvings = 0
        """How often the rate is to be halved at present."""
        self.busy: float | None = None
        """The busy share when it was looked last; None before."""
        self._pairs_s = 2 * PAIRS / process_rate_hz
        self._most = most_halvings
        self._since_s, self._idle_s = now_s, 0.0

    @property
    def spare(self) -> bool:
        """Whether the model is known to have time to spare."""
        return self.busy is not None and self.busy <= SPARE and not self.halvings

    def look(self, now_s: float, idle_s: float) -> bool:
        """Whether `halvings` has changed. idle_s: all the time so far in which the model's thread waited for frames."""
        elapsed_s = now_s - self._since_s
        if elapsed_s < max(SHORTEST_S, self._pairs_s * 2**self.halvings):
            return False
        self.busy = busy = 1 - (idle_s - self._idle_s) / elapsed_s
        self._since_s, self._idle_s = now_s, idle_s
        before = self.halvings
        if busy >= HIGH:
            self.halvings = min(self.halvings + 1, self._most)
        elif busy <= LOW:
            self.halvings = max(self.halvings - 1, 0)
        return self.halvings != before
