"""What `/diagnostics` tells of the node and of every camera. Knows no topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from tvau_runtime import StreamStats, WorkerStats

__all__ = ["CameraReport", "camera_status", "node_status"]


@dataclass(frozen=True)
class CameraReport:
    """Figures of one camera at one time."""

    camera: str
    topic: str
    frame_rate_hz: float
    """Frames that came since the last report, per second."""
    received: int
    bad: int
    silent_s: float
    """How long no frame has come."""
    newly_dropped: int
    """Frames dropped since the last report."""
    newly_bad: int
    """Frames since the last report that could not be decoded."""
    age_s: float
    """From the last heat map's stamp to its publication."""
    stream: StreamStats
    worker: WorkerStats


def node_status(node: str, state: str, problem: str, facts: dict[str, Any]) -> DiagnosticStatus:
    """OK while active, WARN while not, ERROR with the problem where configuring failed."""
    level = DiagnosticStatus.OK if state == "active" else DiagnosticStatus.WARN
    if problem:
        level = DiagnosticStatus.ERROR
    return _status(level, node, node, problem or state, {"state": state, **facts})


def camera_status(node: str, report: CameraReport, patience_s: float) -> DiagnosticStatus:
    """OK, or WARN where no frame comes for `patience_s` (0: ever), frames were bad or dropped since the last report, or the
    sampling rate is reduced."""
    level, message = DiagnosticStatus.OK, f"{report.frame_rate_hz:.1f} frames/s"
    if patience_s and report.silent_s >= patience_s:
        level, message = DiagnosticStatus.WARN, f"no frame on {report.topic} for {report.silent_s:.0f} s"
    elif report.newly_bad:
        level, message = DiagnosticStatus.WARN, f"frames that could not be decoded: {report.newly_bad}"
    elif report.newly_dropped:
        level = DiagnosticStatus.WARN
        message = f"the model is slower than the camera: {report.newly_dropped} frames dropped"
    elif report.worker.halvings:
        level = DiagnosticStatus.WARN
        message = f"the model does not keep up: 1/{2**report.worker.halvings} of the frame pairs are looked at"
    stream, worker = report.stream, report.worker
    facts = {
        "topic": report.topic,
        "frame rate (Hz)": f"{report.frame_rate_hz:.2f}",
        "frames received": report.received,
        "bad frames": report.bad,
        "sampled frames": stream.sampled,
        "sampling rate (Hz)": f"{worker.sampling_hz:g}",
        "sampling step": f"1/{2**worker.halvings}",
        "dropped frames": worker.dropped,
        "cleared frames": worker.cleared,
        "failed frames": worker.failed,
        "late frames": stream.late,
        "repeated frames": stream.repeated,
        "clock restarts": stream.restarts,
        "changes of size": stream.size_changes,
        "gaps": stream.gaps,
        "queue": worker.queued,
        "latency p50 (ms)": f"{worker.latency_p50_s * 1e3:.1f}",
        "latency p95 (ms)": f"{worker.latency_p95_s * 1e3:.1f}",
        "age of the heat map (ms)": f"{report.age_s * 1e3:.1f}",
        "heat maps": stream.steps,
        "windows": stream.windows,
        "events": stream.events,
        "score": f"{stream.score:.3f}",
    }
    return _status(level, f"{node}: {report.camera}", report.camera, message, facts)


def _status(level: bytes, name: str, hardware: str, message: str, facts: dict[str, Any]) -> DiagnosticStatus:
    values = [KeyValue(key=key, value=str(value)) for key, value in facts.items()]
    return DiagnosticStatus(level=level, name=name, hardware_id=hardware, message=message, values=values)
