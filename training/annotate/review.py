"""Step 5, for people: `review.html`, one file with pictures of clips, boxes and masks drawn, and beside them what was said.

It has the report's style. Knows no model.
"""

from __future__ import annotations

import base64
import colorsys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import cv2
import numpy as np

from tvau_runtime.overlay import BOX_COLOR, shrink
from tvau_runtime.report import clock, jpeg, page
from tvau_training.data import Clip

from .dialogues import describe, way
from .pipeline import ClipResult, Settings, dialogues
from .verification import REASONS

__all__ = ["Sheet", "choose", "render", "sheet"]

PICTURES = 4
WIDTH = 480


@dataclass(frozen=True)
class Sheet:
    """What the page shows of one clip: its annotations and JPEG pictures with their times in s."""

    result: ClipResult = field(repr=False)
    pictures: tuple[tuple[float, bytes], ...] = field(repr=False)


def choose(results: int, wanted: int, seed: int) -> set[int]:
    """Numbers of the clips that are shown: `wanted` of them, drawn at random, so that nobody picks the good ones."""
    return {int(i) for i in np.random.default_rng(seed).permutation(results)[:wanted]}


def sheet(clip: Clip, result: ClipResult) -> Sheet:
    """Reads some frames of a clip again, those where something is abnormal first, and draws what was found into them."""
    odd = sorted({frame for anomaly in result.anomalies for frame in anomaly.frames} | result.masks.keys())
    frames = odd or [shot.frame for shot in result.shots]
    picked = sorted({frames[round(i)] for i in np.linspace(0, len(frames) - 1, min(PICTURES, len(frames)))})
    times = {shot.frame: shot.time_s for shot in result.shots}
    pictures = [(times[seen.index], jpeg(_draw(seen.frame.rgb, result, seen.index, times[seen.index])))
                for seen in clip.read(picked, masks=False)]  # fmt: skip
    return Sheet(result, tuple(pictures))


def _draw(rgb: np.ndarray, result: ClipResult, frame: int, time_s: float) -> np.ndarray:
    """The frame with the outline of its mask, and every target's box and number; abnormal ones in red."""
    canvas = shrink(rgb, WIDTH) if rgb.shape[1] > WIDTH else cv2.resize(
        rgb, (WIDTH, round(rgb.shape[0] * WIDTH / rgb.shape[1])), interpolation=cv2.INTER_CUBIC)  # fmt: skip
    canvas = canvas.copy()
    sx, sy = canvas.shape[1] / rgb.shape[1], canvas.shape[0] / rgb.shape[0]
    if frame in result.masks:
        mask = cv2.resize(
            result.masks[frame].array().astype(np.uint8), canvas.shape[1::-1], interpolation=cv2.INTER_NEAREST
        )
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, outlines, -1, (255, 255, 255), 1)
    odd = {anomaly.timeline for anomaly in result.anomalies if frame in anomaly.frames}
    for each in result.timelines:
        box = each.box_at(time_s)
        if box is None:
            continue
        x0, y0, x1, y1 = round(box[0] * sx), round(box[1] * sy), round(box[2] * sx), round(box[3] * sy)
        color = _color(each.id, each.id in odd)
        cv2.rectangle(canvas, (x0, y0), (x1, y1), color, 2)
        cv2.rectangle(canvas, (x0, y0), (x0 + 8 + 9 * len(str(each.id)), y0 + 16), color, cv2.FILLED)
        cv2.putText(
            canvas, str(each.id), (x0 + 4, y0 + 13), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA
        )
    return canvas


def _color(number: int, abnormal: bool) -> tuple[int, int, int]:
    """Red for the abnormal; for all others blues and greens, neighbours apart."""
    if abnormal:
        return BOX_COLOR
    red, green, blue = colorsys.hsv_to_rgb(0.35 + 0.3 * (number * 0.618 % 1), 0.8, 0.6)
    return round(red * 255), round(green * 255), round(blue * 255)


def render(source: str, sheets: Sequence[Sheet], facts: Mapping[str, Mapping[str, str]], settings: Settings) -> str:
    """The page as HTML text. facts: tables of what there is to know of the whole run, by title."""
    headline = f"{len(sheets)} clip{'' if len(sheets) == 1 else 's'} to review"
    cards = "".join(_card(each, settings) for each in sheets) or '<div class="panel soft">No clip was annotated.</div>'
    return page(
        title=f"{headline} - {source}",
        headline=headline,
        subtitle=f"{source}, drawn at random. White: the data set's mask. Red: abnormal; other colours: the other targets, "
        "by number.",
        body=f"<section><h2>Clips</h2>{cards}</section>",
        facts=facts,
    )


def _card(each: Sheet, settings: Settings) -> str:
    result = each.result
    pictures = "".join(
        f'<figure><img src="data:image/jpeg;base64,{base64.b64encode(data).decode("ascii")}" '
        f'alt="{escape(result.name)} at {clock(time)}"><figcaption>{clock(time)}</figcaption></figure>'
        for time, data in each.pictures
    )
    odd = {anomaly.timeline: anomaly for anomaly in result.anomalies}
    rows = []
    for target in result.timelines:
        said = f"{describe(target, target.start_s, target.end_s)}, {way(target, result.size, target.start_s, target.end_s)}"
        note = f" <b>abnormal</b>, confirmed in {odd[target.id].confirmed:.0%} of frames" if target.id in odd else ""
        rows.append((str(target.id), f"{escape(said)}{note}"))
    turns = next((d.turns for d in dialogues(result, settings) if d.kind == "anomaly" and d.target), ())
    turns = turns or next((d.turns for d in dialogues(result, settings) if d.kind == "anomaly"), ())
    talk = _list((turn.question, escape(turn.answer)) for turn in turns)
    aside = sum(bool(extraction.set_aside) for extraction in result.raw)
    found = "".join(
        f"<li>{clock(f.time_s)} {escape(REASONS[f.reason])}: {escape(f.reason)}, "
        f"{'resolved' if f.resolved else 'dropped'}: {escape(f.text)}</li>"
        for f in result.findings
    )
    summary = f'<summary class="small">{len(result.findings)} contradictions</summary>'
    checks = f'<details>{summary}<ul class="small">{found}</ul></details>' if result.findings else ""
    length = result.shots[-1].time_s if result.shots else 0.0
    facts = f"{escape(result.split)}, {len(result.shots)} frames in {length:.1f} s, {aside} set aside"
    return (
        f'<article class="panel"><div class="head"><h3>{escape(result.name)}</h3><span class="times">{facts}</span></div>'
        f'<p class="said">{escape(result.environment)}</p><div class="pictures">{pictures}</div>'
        f"{_list(rows)}<h3>Dialogue</h3>{talk}{checks}</article>"
    )


def _list(rows: Iterable[tuple[str, str]]) -> str:
    """A definition list; values are HTML already."""
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{value}</dd>' for name, value in rows)}</dl>"
