"""`report.html`: what a run saw, as one file that a security operator can open, read, print and send.

Everything is inlined (style, JPEG images, an SVG timeline); it works without JavaScript, which only adds the value
under the pointer. All text from outside is escaped. Knows nothing about models, streams or where the pictures come
from.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path
from string import Template

import cv2
import numpy as np

from .errors import FrameError
from .types import AnomalyEvent

__all__ = [
    "EventCard",
    "Report",
    "clock",
    "fill",
    "jpeg",
    "page",
    "place",
    "render",
    "span_text",
    "thin",
]

ASSETS = Path(__file__).resolve().parent / "assets"
MAX_POINTS = 500
"""Points of the timeline; more scores than that are drawn as the largest of each equal stretch of time."""
CHARACTER_WIDTH = 1.2
"""Of a name above the timeline, in percent of its width; a name that would overlap the one before is left out."""


@dataclass(frozen=True)
class EventCard:
    """One event as last known, with JPEG pictures (empty: none): its hottest moment, its way, and its heat over
    time.
    """

    event: AnomalyEvent
    picture_ns: int = 0
    """When `picture` was taken."""
    picture: bytes = field(default=b"", repr=False)
    way: bytes = field(default=b"", repr=False)
    heat: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Report:
    """All that the page shows.

    source: what was watched, for people. start_ns: the stamp shown as 0. frame_size: (height, width) in pixels.
    scores: (seconds since start, score 0..1) of the `heatmaps` heat maps, ascending, or of the hottest of neighbours.
    events_s: how long all events last, added up. omitted: those that have no card.
    way, heat: JPEG pictures of the whole run. facts: what else there is to know, by title and name. notice: what the
    reader must know first.
    """

    source: str
    start_ns: int
    duration_s: float
    frame_size: tuple[int, int]
    scores: Sequence[tuple[float, float]] = field(repr=False)
    heatmaps: int
    on_threshold: float
    off_threshold: float
    cards: Sequence[EventCard]
    events_s: float
    omitted: int = 0
    way: bytes = field(default=b"", repr=False)
    heat: bytes = field(default=b"", repr=False)
    facts: dict[str, dict[str, str]] = field(default_factory=dict)
    notice: str = ""


def jpeg(rgb: np.ndarray, quality: int = 82) -> bytes:
    """An image uint8 [H, W, 3] as JPEG."""
    good, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not good:
        raise FrameError(f"an image of {rgb.shape[1]}x{rgb.shape[0]} could not be written as JPEG")
    return data.tobytes()


def clock(seconds: float) -> str:
    """Seconds as m:ss.s, or h:mm:ss.s from an hour on."""
    tenths = round(max(seconds, 0.0) * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{rest // 10:02d}.{rest % 10}"


def place(center: tuple[float, float], frame_size: tuple[int, int]) -> str:
    """Where in the picture a point lies, in words: "upper left", "centre", "right"."""
    row = min(max(int(3 * center[1] / frame_size[0]), 0), 2)
    column = min(max(int(3 * center[0] / frame_size[1]), 0), 2)
    words = " ".join(w for w in (("upper", "", "lower")[row], ("left", "", "right")[column]) if w)
    return {"": "centre", "upper": "top", "lower": "bottom"}.get(words, words)


def page(
    *,
    title: str,
    headline: str,
    subtitle: str,
    body: str,
    facts: Mapping[str, Mapping[str, str]],
    notice: str = "",
    tiles: Sequence[tuple[str, str, str]] = (),
) -> str:
    """A page of our own look, as HTML text.

    body: HTML; all else is text. facts: tables of names and values, by title. tiles: numbers that come first: alarm, calm or
    nothing, the number, its name.
    """
    numbers = "".join(
        f'<div class="panel {kind}"><b>{escape(value)}</b><span class="soft small">{escape(name)}</span></div>'
        for kind, value, name in tiles
    )
    return fill(
        "page.html",
        style=(ASSETS / "report.css").read_text(encoding="utf-8"),
        title=escape(title),
        headline=escape(headline),
        subtitle=escape(subtitle),
        notice=f'<p class="notice">{escape(notice)}</p>' if notice else "",
        numbers=f'<div class="numbers">{numbers}</div>' if numbers else "",
        body=body,
        facts="".join(_facts_panel(name, rows) for name, rows in facts.items()),
    )


def fill(template: str, **parts: str) -> str:
    """A template of `assets` with these parts of HTML in it."""
    return Template((ASSETS / template).read_text(encoding="utf-8")).substitute(**parts)


def render(report: Report) -> str:
    """The page as HTML text."""
    count = len(report.cards) + report.omitted
    headline = f"{count} anomaly event{'' if count == 1 else 's'}" if count else "No anomaly event"
    pictures = _figure(report.way, "Targets, boxes and ways of the run over its first frame", "trajectories")
    pictures += _figure(report.heat, "Largest heat that each place had during the run", "accumulated heat map")
    trajectory = f'<h2>The whole run in one picture</h2><div class="panel"><div class="pictures">{pictures}</div></div>'
    body = fill(
        "report.html",
        timeline=_timeline(report),
        events=_events(report),
        trajectory=f"<section>{trajectory}</section>" if pictures else "",
    )
    return page(
        title=f"{headline} - {report.source}",
        headline=f"{headline} in {span_text(report.duration_s)}",
        subtitle=report.source,
        notice=report.notice,
        tiles=_tiles(report),
        body=body,
        facts=report.facts,
    )


def span_text(seconds: float) -> str:
    """Seconds for people: `12.3 s`, from two minutes on `2:05 min`."""
    return f"{seconds:.1f} s" if seconds < 120 else f"{clock(seconds).rsplit('.', 1)[0]} min"


def _tiles(report: Report) -> list[tuple[str, str, str]]:
    top = max((score for _, score in report.scores), default=0.0)
    count = len(report.cards) + report.omitted
    return [
        ("alarm" if count else "calm", str(count), "event" if count == 1 else "events"),
        ("alarm" if top >= report.on_threshold else "calm", f"{top:.2f}", "highest score"),
        ("", span_text(report.events_s), "of events, added up"),
        ("", str(report.heatmaps), "heat maps"),
    ]


def thin(scores: Sequence[tuple[float, float]], limit: int) -> list[tuple[float, float]]:
    """At most `limit` points: the hottest of each equal share of the scores, so that no peak is lost."""
    size = -(-len(scores) // limit)
    return [max(scores[i : i + size], key=lambda point: point[1]) for i in range(0, len(scores), size)] if size else []


def _timeline(report: Report) -> str:
    """An SVG in the unit of 1000 x 100, stretched to the panel, with its labels as HTML so that they keep their
    size.
    """
    if not report.scores:
        return '<p class="soft">No heat map was made: not one pair of frames was looked at.</p>'
    points = thin(report.scores, MAX_POINTS)
    span = max(report.duration_s, points[-1][0], 1e-9)

    def x(seconds: float) -> float:
        return 1000 * min(max(seconds / span, 0.0), 1.0)

    def y(score: float) -> float:
        return 100 * (1 - min(max(score, 0.0), 1.0))

    line = " ".join(f"{x(t):.2f},{y(s):.2f}" for t, s in points)
    parts = [f'<line class="grid" x1="0" x2="1000" y1="{y(v):g}" y2="{y(v):g}"/>' for v in (0, 0.5, 1)]
    edges = [0.0, *((x(a[0]) + x(b[0])) / 2 for a, b in pairwise(points)), 1000.0]
    parts += [
        f'<rect class="hit" x="{a:.2f}" y="0" width="{max(b - a, 0):.2f}" height="100">'
        f"<title>{clock(t)}: {s:.2f}</title></rect>"
        for (a, b), (t, s) in zip(pairwise(edges), points, strict=True)
    ]
    names, free_from = [], 0.0
    for card in report.cards:
        event = card.event
        start, end = ((stamp - report.start_ns) * 1e-9 for stamp in (event.start_ns, event.end_ns))
        left, width = x(start), max(x(end) - x(start), 2.0)
        hint = f"{event.id}: {clock(start)} to {clock(end)}, peak {event.peak_score:.2f}"
        parts.append(
            f'<a href="#{_anchor(event)}"><rect class="band" x="{left:.2f}" y="0" width="{width:.2f}" height="100">'
            f"<title>{escape(hint)}</title></rect></a>"
        )
        name = event.id.removeprefix(f"{event.camera}-")
        half = CHARACTER_WIDTH * (len(name) + 1) / 2
        middle = (left + width / 2) / 10
        if middle - half >= free_from and len(name) < 12:
            names.append(f'<span style="left:{middle:.2f}%"><a href="#{_anchor(event)}">{escape(name)}</a></span>')
            free_from = middle + half
    parts.append(f'<polygon class="under" points="{x(points[0][0]):.2f},100 {line} {x(points[-1][0]):.2f},100"/>')
    parts.append(f'<polyline class="curve" points="{line}"/>')
    limits = []
    for kind, name, value in (("on", "starts at", report.on_threshold), ("off", "ends below", report.off_threshold)):
        parts.append(f'<line class="limit {kind}" x1="0" x2="1000" y1="{y(value):g}" y2="{y(value):g}"/>')
        limits.append(f'<span class="{kind}" style="top:{y(value):g}%">{name} {value:g}</span>')
    levels = "".join(f'<span style="top:{y(v):g}%">{v:g}</span>' for v in (0, 0.5, 1))
    ticks = "".join(f'<span style="left:{25 * i}%">{clock(span * i / 4)}</span>' for i in range(5))
    data = json.dumps({"span": round(span, 3), "values": [[round(t, 3), round(s, 4)] for t, s in points]})
    return (
        f'<div class="chart"><div class="names">{"".join(names)}</div><div class="levels">{levels}</div>'
        f'<div class="plot" id="plot"><svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" '
        f'aria-label="anomaly score over time">{"".join(parts)}</svg>'
        f'<span id="readout"></span><i id="cursor"></i></div><div class="limits">{"".join(limits)}</div>'
        f'<div class="seconds">{ticks}</div></div>'
        f'<script type="application/json" id="scores">{data}</script>'
    )


def _events(report: Report) -> str:
    if not report.cards:
        top = max((score for _, score in report.scores), default=0.0)
        text = f"No region stayed above {report.on_threshold:g} for long enough; the highest score was {top:.2f}."
        return f'<div class="panel soft">{text}</div>'
    cards = "".join(_card(card, report) for card in report.cards)
    if report.omitted:
        rest = f"{report.omitted} further events with lower peaks are listed in events.jsonl."
        cards += f'<div class="panel soft">{rest}</div>'
    return cards


def _card(card: EventCard, report: Report) -> str:
    event = card.event
    start, end, peak = (clock((ns - report.start_ns) * 1e-9) for ns in (event.start_ns, event.end_ns, event.peak_ns))
    moment = "At its peak" if card.picture_ns == event.peak_ns else "Near its peak"
    when = clock((card.picture_ns - report.start_ns) * 1e-9)
    pictures = _figure(card.picture, f"{moment}, {when}", f"{event.id} at {when}")
    pictures += _figure(card.way, "Its way: cut-outs, boxes, direction", f"way of {event.id}")
    pictures += _figure(card.heat, "Its heat, accumulated over time", f"accumulated heat of {event.id}")
    label = f" {escape(event.label)}" if event.label else ""
    said = f'<p class="said">{escape(event.description)}</p>' if event.description else ""
    meter = f'<span class="meter"><i style="width:{100 * min(max(event.peak_score, 0.0), 1.0):.0f}%"></i></span>'
    rows = [
        ("Peak score", f"{meter}{event.peak_score:.2f} at {peak}"),
        ("Place at peak", f"{place(_center(event), report.frame_size)}, {_box(event)}"),
        ("Track", escape(_track(event, report.frame_size))),
        ("Camera", escape(event.camera)),
    ]
    heading = f'<h3><span class="id">{escape(event.id)}</span>{label}</h3>'
    return (
        f'<article class="panel" id="{_anchor(event)}"><div class="head">{heading}'
        f'<span class="times">{start} to {end} <span class="soft">({event.duration_s:.1f} s)</span></span></div>'
        f'{said}<div class="pictures">{pictures}</div>{_list(rows)}</article>'
    )


def _center(event: AnomalyEvent) -> tuple[float, float]:
    x0, y0, x1, y1 = event.peak_box
    return (x0 + x1) / 2, (y0 + y1) / 2


def _box(event: AnomalyEvent) -> str:
    x0, y0, x1, y1 = (round(v) for v in event.peak_box)
    return f"x {x0} to {x1}, y {y0} to {y1} px"


def _track(event: AnomalyEvent, frame_size: tuple[int, int]) -> str:
    """Where the target went, in words and pixels."""
    if not event.track:
        return "not tracked"
    first, last = event.track[0].center, event.track[-1].center
    distance = float(np.hypot(last[0] - first[0], last[1] - first[1]))
    start, end = place(first, frame_size), place(last, frame_size)
    if start == end:
        return f"stayed {start}, {distance:.0f} px between start and end, {len(event.track)} points"
    return f"from {start} to {end}, {distance:.0f} px apart, {len(event.track)} points"


def _anchor(event: AnomalyEvent) -> str:
    """An HTML id for an event, of harmless characters only."""
    return "event-" + "".join(
        c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in f"{event.camera}/{event.id}"
    )


def _figure(image: bytes, caption: str, alternative: str) -> str:
    if not image:
        return ""
    data = base64.b64encode(image).decode("ascii")
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{escape(alternative)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _facts_panel(title: str, rows: Mapping[str, str]) -> str:
    """A panel of names and values, HTML."""
    body = _list([(name, escape(value)) for name, value in rows.items()])
    return f'<div class="panel"><h3>{escape(title)}</h3>{body}</div>'


def _list(rows: Sequence[tuple[str, str]]) -> str:
    """A definition list; the values are HTML already."""
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{value}</dd>' for name, value in rows)}</dl>"
