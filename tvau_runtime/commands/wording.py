"""Answers and events as lines for a terminal, and as plain values for programs. Knows no model."""

from __future__ import annotations

from typing import Any

from ..report import clock, place
from ..types import AnomalyEvent, Answer

__all__ = ["answer_record", "event_line", "evidence_lines"]


def evidence_lines(answer: Answer, start_ns: int, frame_size: tuple[int, int]) -> list[str]:
    """What an answer rests on. start_ns: the stamp of second 0; frame_size: (height, width)."""
    x0, y0, x1, y1 = (round(v) for v in answer.box)
    peak, start, end = (
        clock((ns - start_ns) * 1e-9) for ns in (answer.peak_ns, answer.window_start_ns, answer.window_end_ns)
    )
    where = place(((x0 + x1) / 2, (y0 + y1) / 2), frame_size)
    return [
        f"anomaly  {'yes' if answer.anomaly else 'no'}, p(yes) = {answer.yes_probability:.2f}",
        f"score    {answer.score:.2f} at {peak}",
        f"box      x {x0} to {x1}, y {y0} to {y1} px ({where})",
        f"window   {start} to {end}" + (f", event {answer.event_id}" if answer.event_id else ""),
    ]


def answer_record(answer: Answer, start_ns: int) -> dict[str, Any]:
    """An answer as plain values, in seconds since `start_ns` and pixels."""

    def seconds(stamp_ns: int) -> float:
        return round((stamp_ns - start_ns) * 1e-9, 3)

    return {
        "question": answer.question,
        "answer": answer.text,
        "anomaly": answer.anomaly,
        "yes_probability": round(answer.yes_probability, 4),
        "score": round(answer.score, 4),
        "box": [round(v, 1) for v in answer.box],
        "peak_s": seconds(answer.peak_ns),
        "window_start_s": seconds(answer.window_start_ns),
        "window_end_s": seconds(answer.window_end_ns),
        "event_id": answer.event_id,
    }


def event_line(number: int, event: AnomalyEvent, start_ns: int) -> str:
    """One event of a list, numbered."""
    start, end = (clock((ns - start_ns) * 1e-9) for ns in (event.start_ns, event.end_ns))
    return f"{number:3}  {start} to {end}  peak {event.peak_score:.2f}  {event.id}"
