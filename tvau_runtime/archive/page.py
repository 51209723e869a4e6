"""index.html: what an archive's run found, over all videos, as one file to read, print and send. Knows no tables and no Ray."""

from __future__ import annotations

import heapq
import itertools
from html import escape

from ..report import clock, fill, page, place, span_text, thin
from ..types import AnomalyEvent
from .tables import VideoResult

__all__ = ["Overview"]

MOST_EVENTS, MOST_VIDEOS = 200, 1000
"""Rows of each table on the page, the hottest; the Parquet files hold all."""
STRIP_POINTS = 110
"""Of a video's score over time; each is the largest of an equal share of its heat maps."""


class Overview:
    """Takes in every scored video, one after the other, and keeps what the page shows.

    root: what is left out of shown paths; on_threshold: from where on a score is shown as alarming.
    """

    def __init__(self, root: str, on_threshold: float) -> None:
        self._root, self._on = root, on_threshold
        self.videos = self.heatmaps = self.events = 0
        self.seconds = self.top = 0.0
        self._video_rows: list[tuple[float, int, str]] = []
        self._event_rows: list[tuple[float, int, str]] = []
        self._order = itertools.count()

    def add(self, result: VideoResult) -> None:
        """Counts a video in; its row and its events' stay if they are among the hottest."""
        top = float(result.scores.max()) if len(result.scores) else 0.0
        self.videos, self.seconds = self.videos + 1, self.seconds + result.plan.duration_s
        self.heatmaps, self.events = self.heatmaps + len(result.scores), self.events + len(result.events)
        self.top = max(self.top, top)
        self._keep(self._video_rows, MOST_VIDEOS, top, self._video_row(result, top))
        for event in result.events:
            self._keep(self._event_rows, MOST_EVENTS, event.peak_score, self._event_row(result, event))

    def render(self, problems: dict[str, str], facts: dict[str, dict[str, str]], notice: str) -> str:
        """The page as HTML text. problems: by video, what is wrong with it."""
        many = "" if self.events == 1 else "s"
        headline = f"{self.events} anomaly event{many} in {self.videos} video{'' if self.videos == 1 else 's'}"
        tiles = [
            ("alarm" if self.events else "calm", str(self.events), f"event{many}"),
            ("alarm" if self.top >= self._on else "calm", f"{self.top:.2f}", "highest score"),
            ("", span_text(self.seconds), "of footage"),
            ("", str(self.heatmaps), "heat maps"),
            ("alarm" if problems else "calm", str(len(problems)), "damaged"),
        ]
        body = fill(
            "archive.html",
            problems=self._problems(problems),
            events=_table(
                ("Video", "Event", "Start", "Length", "Peak", "At", "Place at peak"),
                self._event_rows, self.events, "events.parquet", "No event in any video.",
            ),
            videos=_table(
                ("Video", "Length", "Highest", "At", "Events", "Score over time"),
                self._video_rows, self.videos, "scores.parquet", "No video was scored.",
            ),
        )  # fmt: skip
        return page(
            title=headline,
            headline=headline,
            subtitle=self._root,
            notice=notice,
            tiles=tiles,
            body=body,
            facts=facts,
        )

    def _keep(self, rows: list[tuple[float, int, str]], most: int, score: float, row: str) -> None:
        entry = (score, -next(self._order), row)
        if len(rows) < most:
            heapq.heappush(rows, entry)
        else:
            heapq.heappushpop(rows, entry)

    def _name(self, path: str) -> str:
        return escape(path.removeprefix(self._root).lstrip("/") or path)

    def _problems(self, problems: dict[str, str]) -> str:
        if not problems:
            return ""
        rows = "".join(
            f'<tr><td class="name">{self._name(path)}</td><td class="problem">{escape(problem)}</td></tr>'
            for path, problem in problems.items()
        )
        return f'<section><h2>Damaged</h2><div class="panel scroll"><table>{rows}</table></div></section>'

    def _video_row(self, result: VideoResult, top: float) -> str:
        at = clock(_at_s(result, int(result.scores.argmax()))) if len(result.scores) else ""
        return _row(
            self._name(result.plan.path), clock(result.plan.duration_s), f"{top:.2f}", at, str(len(result.events)),
            self._strip(result),
        )  # fmt: skip

    def _event_row(self, result: VideoResult, event: AnomalyEvent) -> str:
        start, peak = (clock((ns - result.start_ns) * 1e-9) for ns in (event.start_ns, event.peak_ns))
        x0, y0, x1, y1 = event.peak_box
        where = place(((x0 + x1) / 2, (y0 + y1) / 2), result.plan.frame_size)
        number = 1 + result.events.index(event)
        box = f"x {x0:.0f} to {x1:.0f}, y {y0:.0f} to {y1:.0f} px"
        return _row(
            self._name(result.plan.path), str(number), start, f"{event.duration_s:.1f} s", f"{event.peak_score:.2f}",
            peak, f'{where} <span class="soft small">{box}</span>',
        )  # fmt: skip

    def _strip(self, result: VideoResult) -> str:
        """The score over time as a small SVG, in the unit of 1000 x 100."""
        points = thin([(_at_s(result, step), float(score)) for step, score in enumerate(result.scores)], STRIP_POINTS)
        if not points:
            return '<span class="soft">shorter than a pair of frames</span>'
        span = max(result.plan.duration_s, points[-1][0], 1e-9)
        places = [(1000 * at / span, 100 * (1 - score)) for at, score in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        limit = 100 * (1 - self._on)
        return (
            '<svg class="strip" viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="score over time">'
            f'<line class="grid" x1="0" x2="1000" y1="100" y2="100"/>'
            f'<line class="limit" x1="0" x2="1000" y1="{limit:g}" y2="{limit:g}"/>'
            f'<polygon class="under" points="{places[0][0]:.1f},100 {line} {places[-1][0]:.1f},100"/>'
            f'<polyline class="curve" points="{line}"/></svg>'
        )


def _at_s(result: VideoResult, step: int) -> float:
    return (int(result.plan.pairs[step, 1]) - result.start_ns) * 1e-9


def _row(name: str, *cells: str) -> str:
    return f'<tr><td class="name">{name}</td>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _table(heads: tuple[str, ...], rows: list[tuple[float, int, str]], total: int, file: str, nothing: str) -> str:
    if not rows:
        return f'<p class="soft">{nothing}</p>'
    head = "".join(f"<th>{name}</th>" for name in heads)
    rest = f'<p class="soft">{total - len(rows)} more, of lower scores, in {file}.</p>' if total > len(rows) else ""
    return f"<table><tr>{head}</tr>{''.join(row for *_, row in sorted(rows, reverse=True))}</table>{rest}"
