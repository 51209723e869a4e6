"""Heat maps of whole videos to the tables of an archive, scores.parquet and events.parquet. Knows no model and no Ray.

Events are followed here, through the joined heat maps of a video from its beginning: one that runs on over a segment's border
is one event. Times are seconds since the video's first frame, boxes pixels of its frames with exclusive maxima.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..config import EventConfig
from ..errors import BackendError
from ..events import EventDetector
from ..types import AnomalyEvent, Box, Heatmap
from .files import write_whole
from .plan import VideoPlan

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise BackendError(f"an archive's tables need pyarrow ({error}): pip install 'tvau[archive]'") from error

__all__ = ["EVENTS", "SCORES", "VideoResult", "events_of", "result_of", "write_tables"]

BOX = [(side, pa.float32()) for side in ("x_min", "y_min", "x_max", "y_max")]
SCORES = pa.schema(
    [("video", pa.string()), ("step", pa.int32()), ("start_s", pa.float64()), ("end_s", pa.float64())]
    + [("score", pa.float32()), *BOX]
)
"""Of each heat map: its two frames' times, its largest value (0..1), and the patch that has it."""
EVENTS = pa.schema(
    [("video", pa.string()), ("event", pa.int32()), ("start_s", pa.float64()), ("end_s", pa.float64())]
    + [("peak_s", pa.float64()), ("peak_score", pa.float32()), *BOX]
    + [("track", pa.list_(pa.struct([("time_s", pa.float64()), *BOX, ("score", pa.float32())])))]
)
"""Of each event, numbered from 1 in every video: its times, where it was at its peak, and where it went."""
ROW_GROUP = 65_536
"""Rows that are written together, at least."""


@dataclass(frozen=True, eq=False)
class VideoResult:
    """A scored video: its plan, the score of each heat map (float32 [n]), the patch that has it, and its events in order."""

    plan: VideoPlan
    scores: np.ndarray
    boxes: list[Box]
    events: list[AnomalyEvent]

    @property
    def start_ns(self) -> int:
        return int(self.plan.pairs[0, 0]) if len(self.plan.pairs) else 0


def events_of(plan: VideoPlan, heatmaps: list[np.ndarray], config: EventConfig) -> list[AnomalyEvent]:
    """All events of a video as they were at their END, in order of their START."""
    detector, found = EventDetector(plan.key, config), {}
    for values, (_, stamp_ns), anew in zip(heatmaps, plan.pairs, plan.anew, strict=True):
        if anew:
            found |= {event.id: event for event in detector.flush()}
        for event in detector.update(values, int(stamp_ns), plan.frame_size):
            found[event.id] = event  # a key keeps its place
    return list((found | {event.id: event for event in detector.flush()}).values())


def result_of(plan: VideoPlan, heatmaps: list[np.ndarray], config: EventConfig) -> VideoResult:
    """What there is to tell of a video."""
    return VideoResult(
        plan=plan,
        scores=np.array([values.max() for values in heatmaps], np.float32),
        boxes=[Heatmap(values).box(plan.frame_size) for values in heatmaps],
        events=events_of(plan, heatmaps, config),
    )


def write_tables(folder: Path, results: Iterable[VideoResult]) -> None:
    """Writes both tables of these videos, each whole or not at all. The videos are taken one after the other."""
    write_whole(
        folder / "scores.parquet",
        lambda scores: write_whole(folder / "events.parquet", lambda events: _fill(scores, events, results)),
    )


class _Rows:
    """Rows on their way into a Parquet file."""

    def __init__(self, file: Any, schema: pa.Schema) -> None:
        self._schema, self._waiting, self._rows = schema, [], 0
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")

    def add(self, rows: list[dict[str, Any]]) -> None:
        self._waiting.append(pa.Table.from_pylist(rows, self._schema))
        self._rows += len(rows)
        if self._rows >= ROW_GROUP:
            self._write()

    def close(self) -> None:
        self._write()
        self._writer.close()

    def _write(self) -> None:
        if self._rows:
            self._writer.write_table(pa.concat_tables(self._waiting))
        self._waiting, self._rows = [], 0


def _fill(scores_file: Any, events_file: Any, results: Iterable[VideoResult]) -> None:
    with ExitStack() as stack:
        scores, events = _Rows(scores_file, SCORES), _Rows(events_file, EVENTS)
        for rows in (scores, events):
            stack.callback(rows.close)
        for result in results:
            scores.add(list(_score_rows(result)))
            events.add([_event_row(result, number, event) for number, event in enumerate(result.events, start=1)])


def _score_rows(result: VideoResult) -> Iterable[dict[str, Any]]:
    for step, (pair, score, box) in enumerate(zip(result.plan.pairs, result.scores, result.boxes, strict=True)):
        start_s, end_s = ((int(ns) - result.start_ns) * 1e-9 for ns in pair)
        times = {"video": result.plan.path, "step": step, "start_s": start_s, "end_s": end_s}
        yield {**times, "score": float(score), **_sides(box)}


def _event_row(result: VideoResult, number: int, event: AnomalyEvent) -> dict[str, Any]:
    def seconds(stamp_ns: int) -> float:
        return (stamp_ns - result.start_ns) * 1e-9

    return {
        "video": result.plan.path,
        "event": number,
        "start_s": seconds(event.start_ns),
        "end_s": seconds(event.end_ns),
        "peak_s": seconds(event.peak_ns),
        "peak_score": event.peak_score,
        **_sides(event.peak_box),
        "track": [{"time_s": seconds(p.stamp_ns), **_sides(p.box), "score": p.score} for p in event.track],
    }


def _sides(box: Box) -> dict[str, float]:
    return dict(zip(("x_min", "y_min", "x_max", "y_max"), box, strict=True))
