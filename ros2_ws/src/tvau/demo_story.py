"""What the demo tells a person while it runs. Knows no node."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tvau_msgs.srv import Query

from tvau_runtime import AnomalyEvent, Box, Phase

__all__ = ["Story"]

BAR = 30


class Story:
    """clock: seconds since the scene began, below 0 before. size: (height, width) of the images in pixels."""

    def __init__(self, clock: Callable[[], float], size: tuple[int, int]) -> None:
        self._clock, self._size = clock, size
        self._described: dict[str, str] = {}
        self._ended: set[str] = set()
        self._meter_stands = False

    def say(self, text: str) -> None:
        now_s = self._clock()
        when = f"{now_s:5.1f} s" if now_s >= 0 else " " * 7
        self._wipe()
        print(f"{when}  {text}", flush=True)

    def meter(self, score: float) -> None:
        """The score as a bar that moves, on a terminal."""
        if sys.stdout.isatty():
            filled = round(min(max(score, 0.0), 1.0) * BAR)
            print(
                f"\r{self._clock():5.1f} s  score {score:.2f} {'█' * filled}{'·' * (BAR - filled)}", end="", flush=True
            )
            self._meter_stands = True

    def event(self, event: AnomalyEvent) -> None:
        if event.phase is Phase.START:
            self.say(f"START   {event.id}: peak score {event.peak_score:.2f}, {self._place(event.box)}")
        words = event.description or event.label
        if words and self._described.get(event.id) != words:
            self._described[event.id] = words
            self.say(f"        {event.id} in the model's words: {words}")
        if event.phase is Phase.END and event.id not in self._ended:
            self._ended.add(event.id)
            way = (
                f", from {self._place(event.track[0].box)} to {self._place(event.track[-1].box)}" if event.track else ""
            )
            self.say(f"END     {event.id}: {event.duration_s:.1f} s, peak score {event.peak_score:.2f}{way}")

    def answer(self, response: Query.Response) -> None:
        if not response.ok:
            self.say(f"ANSWER  none: {response.message}")
            return
        evidence = response.evidence
        box = (evidence.box.x_min, evidence.box.y_min, evidence.box.x_max, evidence.box.y_max)
        verdict = "yes" if evidence.anomaly else "no"
        self.say(f"ANSWER  {response.answer}")
        self.say(
            f"        anomaly: {verdict} (p(yes) = {evidence.yes_probability:.2f}); evidence: score "
            f"{evidence.score:.2f}, {self._place(box)}"
        )

    def _place(self, box: Box) -> str:
        """Where a box is, in words and pixels."""
        height, width = self._size
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        row = ("upper", "middle", "lower")[min(max(int(3 * y / height), 0), 2)]
        column = ("left", "centre", "right")[min(max(int(3 * x / width), 0), 2)]
        return f"{row} {column} ({x:.0f}, {y:.0f})"

    def _wipe(self) -> None:
        if self._meter_stands:
            print("\r" + " " * (BAR + 24) + "\r", end="")
            self._meter_stands = False
