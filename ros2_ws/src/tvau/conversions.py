"""Stamps, boxes, events and answers of tvau as ROS messages, and events back. Knows no node and no topic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from builtin_interfaces.msg import Time
from std_msgs.msg import Header
from tvau_msgs.action import Ask
from tvau_msgs.msg import AnomalyEvent as EventMessage
from tvau_msgs.msg import AnomalyScore
from tvau_msgs.msg import Box as BoxMessage
from tvau_msgs.msg import Contradiction as ContradictionMessage
from tvau_msgs.msg import Evidence as EvidenceMessage
from tvau_msgs.msg import TrackPoint as TrackPointMessage
from tvau_msgs.srv import Query

from tvau_runtime import AnomalyEvent, Answer, Box, Evidence, Phase, Step, TrackPoint, Window

__all__ = [
    "box_message",
    "detections_message",
    "event_from_message",
    "event_message",
    "evidence_message",
    "fill_answer",
    "from_time",
    "header",
    "score_message",
    "to_time",
]


def to_time(stamp_ns: int) -> Time:
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def from_time(time: Time) -> int:
    """Nanoseconds."""
    return time.sec * 1_000_000_000 + time.nanosec


def header(stamp_ns: int, frame_id: str) -> Header:
    return Header(stamp=to_time(stamp_ns), frame_id=frame_id)


def box_message(box: Box) -> BoxMessage:
    return BoxMessage(x_min=float(box[0]), y_min=float(box[1]), x_max=float(box[2]), y_max=float(box[3]))


def event_message(event: AnomalyEvent, stamp_ns: int) -> EventMessage:
    """stamp_ns: of the clip's last frame."""
    return EventMessage(
        header=header(stamp_ns, event.frame_id),
        id=event.id,
        camera=event.camera,
        phase=int(event.phase),
        start=to_time(event.start_ns),
        end=to_time(event.end_ns),
        peak=to_time(event.peak_ns),
        duration=event.duration_s,
        score=event.score,
        peak_score=event.peak_score,
        box=box_message(event.box),
        peak_box=box_message(event.peak_box),
        track=[
            TrackPointMessage(stamp=to_time(point.stamp_ns), box=box_message(point.box), score=point.score)
            for point in event.track
        ],
        label=event.label,
        description=event.description,
    )


def event_from_message(message: EventMessage) -> AnomalyEvent:
    """The event that a message tells of."""
    return AnomalyEvent(
        id=message.id,
        camera=message.camera,
        frame_id=message.header.frame_id,
        phase=Phase(message.phase),
        start_ns=from_time(message.start),
        end_ns=from_time(message.end),
        peak_ns=from_time(message.peak),
        score=message.score,
        peak_score=message.peak_score,
        box=_box(message.box),
        peak_box=_box(message.peak_box),
        track=tuple(TrackPoint(from_time(point.stamp), _box(point.box), point.score) for point in message.track),
        label=message.label,
        description=message.description,
    )


def score_message(camera: str, step: Step, window: Window | None) -> AnomalyScore:
    """Before a first window is full, or where none is due, the window is the step itself."""
    first, last = step.stamps_ns
    return AnomalyScore(
        header=header(last, step.frame_id),
        camera=camera,
        score=step.heatmap.score,
        box=box_message(step.heatmap.box(step.frame_size)),
        window_score=(window or step.heatmap).score,
        window_start=to_time(window.start_ns if window else first),
        window_end=to_time(window.end_ns if window else last),
    )


def evidence_message(evidence: Evidence) -> EvidenceMessage:
    return EvidenceMessage(
        anomaly=evidence.anomaly,
        yes_probability=evidence.yes_probability,
        probability=evidence.probability,
        score=evidence.score,
        box=box_message(evidence.box),
        place=evidence.place,
        peak=to_time(evidence.peak_ns),
        from_place=evidence.from_place,
        to_place=evidence.to_place,
        places=evidence.places,
        start=to_time(evidence.start_ns),
        end=to_time(evidence.end_ns),
        window_start=to_time(evidence.window_start_ns),
        window_end=to_time(evidence.window_end_ns),
        contradictions=[
            ContradictionMessage(kind=each.kind, said=each.said, shown=each.shown, mended=each.mended)
            for each in evidence.contradictions
        ],
        normal=list(evidence.prompts.normal) if evidence.prompts else [],
        abnormal=list(evidence.prompts.abnormal) if evidence.prompts else [],
    )


def fill_answer(response: Query.Response | Ask.Result, answer: Answer) -> None:
    response.ok = True
    response.answer = answer.text
    response.evidence = evidence_message(answer.evidence)
    response.session = answer.session
    response.event_id = answer.event_id
    response.camera = answer.camera


def detections_message(events: Iterable[AnomalyEvent], stamp_ns: int, frame_id: str) -> Any:
    """`vision_msgs/Detection2DArray` of events. Raises ImportError where that package is not installed."""
    from vision_msgs.msg import BoundingBox2D, Detection2D, Detection2DArray, ObjectHypothesisWithPose  # pyright: ignore[reportMissingImports]

    message = Detection2DArray(header=header(stamp_ns, frame_id))
    for event in events:
        x_min, y_min, x_max, y_max = event.box
        bounds = BoundingBox2D(size_x=x_max - x_min, size_y=y_max - y_min)
        bounds.center.position.x, bounds.center.position.y = (x_min + x_max) / 2, (y_min + y_max) / 2
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = event.label or "anomaly", event.score
        message.detections.append(Detection2D(header=message.header, bbox=bounds, id=event.id, results=[hypothesis]))
    return message


def _box(message: BoxMessage) -> Box:
    return (message.x_min, message.y_min, message.x_max, message.y_max)
