"""Answers and events as lines for a terminal, and as plain values for programs. Knows no model."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..report import clock
from ..types import AnomalyEvent, Answer

__all__ = ["answer_record", "event_line", "evidence_lines"]


def evidence_lines(answer: Answer, start_ns: int) -> list[str]:
    """What an answer rests on. start_ns: the stamp of second 0."""
    shown = answer.evidence
    x0, y0, x1, y1 = (round(v) for v in shown.box)
    peak, start, end, first, last = (
        clock((ns - start_ns) * 1e-9)
        for ns in (shown.peak_ns, shown.start_ns, shown.end_ns, shown.window_start_ns, shown.window_end_ns)
    )
    return [
        f"anomaly  {'yes' if shown.anomaly else 'no'}, p(yes) = {shown.yes_probability:.2f}",
        f"score    {shown.score:.2f} at {peak}, p(anomaly) = {shown.probability:.2f}",
        f"box      x {x0} to {x1}, y {y0} to {y1} px ({shown.place})",
        f"way      {start} to {end}, {shown.from_place} to {shown.to_place}",
        f"window   {first} to {last}" + (f", event {answer.event_id}" if answer.event_id else ""),
        *(
            f"against  said {each.said!r}, shown {each.shown!r}" + (" (said anew)" if each.mended else "")
            for each in shown.contradictions
        ),
    ]


def answer_record(answer: Answer, start_ns: int) -> dict[str, Any]:
    """An answer as plain values, in seconds since `start_ns` and pixels."""

    def seconds(stamp_ns: int) -> float:
        return round((stamp_ns - start_ns) * 1e-9, 3)

    shown = answer.evidence
    return {
        "question": answer.question,
        "answer": answer.text,
        "anomaly": shown.anomaly,
        "yes_probability": round(shown.yes_probability, 4),
        "probability": round(shown.probability, 4),
        "score": round(shown.score, 4),
        "box": [round(v, 1) for v in shown.box],
        "place": shown.place,
        "from_place": shown.from_place,
        "to_place": shown.to_place,
        "peak_s": seconds(shown.peak_ns),
        "start_s": seconds(shown.start_ns),
        "end_s": seconds(shown.end_ns),
        "window_start_s": seconds(shown.window_start_ns),
        "window_end_s": seconds(shown.window_end_ns),
        "contradictions": [dataclasses.asdict(each) for each in shown.contradictions],
        "event_id": answer.event_id,
    }


def event_line(number: int, event: AnomalyEvent, start_ns: int) -> str:
    """One event of a list, numbered."""
    start, end = (clock((ns - start_ns) * 1e-9) for ns in (event.start_ns, event.end_ns))
    return f"{number:3}  {start} to {end}  peak {event.peak_score:.2f}  {event.id}"
