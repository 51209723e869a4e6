"""The demo's own node: hears what camera and tvau node publish, records it, and asks.

Heat maps, scores, events and images come on topics of their own and in any order; here they are put together again by
their stamps for the `Recorder`, which writes overlay video, events, scores and report.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from sensor_msgs.msg import Image
from tvau_msgs.msg import AnomalyEvent as EventMessage
from tvau_msgs.msg import AnomalyScore
from tvau_msgs.srv import Query

from tvau_runtime import AnomalyEvent, Frame, Heatmap, Phase, Recorder, Step, Update, Window

from .conversions import event_from_message, from_time
from .image_conversion import to_rgb

__all__ = ["DemoListener"]

CAMERA = "camera"


class DemoListener(Node):
    """Hears one camera. told: called with every event as it is heard."""

    def __init__(self, recorder: Recorder, told: Callable[[AnomalyEvent], None]) -> None:
        super().__init__("tvau_demo")
        self._recorder, self._told = recorder, told
        self.images = self.heatmaps = self.overlays = 0
        self.score = 0.0
        """The last one, 0..1."""
        self.first_ns = self.last_ns = 0
        """Stamps of the first and the last image."""
        self.events: dict[str, AnomalyEvent] = {}
        self.phases: dict[str, set[Phase]] = {}
        self.diagnostics: dict[str, dict[str, str]] = {}
        """What was last said, by the name of the status; its message is there under "message"."""
        self._frames: deque[Frame] = deque()  # those whose heat map is not known yet
        self._maps: dict[int, Image] = {}
        self._scores: dict[int, AnomalyScore] = {}
        self._steps: deque[Step] = deque(maxlen=64)
        self._waiting: dict[int, list[AnomalyEvent]] = {}
        """Events by the stamp of their step, which is yet to be recorded."""
        self._recorded_ns = 0
        self._hear(Image, f"{CAMERA}/image_raw", self._on_image)
        self._hear(Image, f"tvau/{CAMERA}/heatmap", self._on_heatmap)
        self._hear(Image, f"tvau/{CAMERA}/overlay", self._on_overlay)
        self._hear(AnomalyScore, f"tvau/{CAMERA}/score", self._on_score)
        self._hear(EventMessage, f"tvau/{CAMERA}/events", self._on_event)
        self._hear(DiagnosticArray, "/diagnostics", self._on_diagnostics)
        self._client = self.create_client(Query, "tvau/query")

    def ask(self, question: str, *, session: str = "", event_id: str = "") -> Future | None:
        """The answer to come, or None while the service is not there."""
        if not self._client.service_is_ready():
            return None
        request = Query.Request(question=question, session=session, event_id=event_id, camera=CAMERA)
        return self._client.call_async(request)

    def finish(self) -> None:
        """Records what still waits for something that will not come any more."""
        self._record_steps(all_of_them=True)
        for _, events in sorted(self._waiting.items()):
            self._recorder.add_update(Update(camera=CAMERA, events=tuple(events)))
        self._record_frames()

    def _hear(self, kind: type, topic: str, callback: Callable[[Any], None]) -> None:
        everything = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        self.create_subscription(kind, topic, callback, everything)

    def _on_image(self, message: Image) -> None:
        frame = Frame(to_rgb(message), from_time(message.header.stamp), CAMERA, message.header.frame_id)
        self.first_ns = self.first_ns or frame.stamp_ns
        self.last_ns = frame.stamp_ns
        self.images += 1
        self._frames.append(frame)

    def _on_heatmap(self, message: Image) -> None:
        self.heatmaps += 1
        self._maps[from_time(message.header.stamp)] = message
        self._record_steps()

    def _on_score(self, message: AnomalyScore) -> None:
        self.score = message.score
        self._scores[from_time(message.header.stamp)] = message
        self._record_steps()

    def _on_overlay(self, _: Image) -> None:
        self.overlays += 1

    def _on_event(self, message: EventMessage) -> None:
        event = event_from_message(message)
        self.events[event.id] = event
        self.phases.setdefault(event.id, set()).add(event.phase)
        stamp_ns = from_time(message.header.stamp)
        if stamp_ns > self._recorded_ns:
            self._waiting.setdefault(stamp_ns, []).append(event)
        else:
            self._recorder.add_update(Update(camera=CAMERA, events=(event,)))
        self._told(event)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {value.key: value.value for value in status.values}
            self.diagnostics[status.name] = {"message": status.message, **values}

    def _record_steps(self, *, all_of_them: bool = False) -> None:
        """Records the steps that are complete: all but the newest, whose events may still be on their way."""
        stamps = sorted(self._maps.keys() & self._scores.keys())
        for stamp_ns in stamps if all_of_them else stamps[:-1]:
            heatmap, score = self._maps.pop(stamp_ns), self._scores.pop(stamp_ns)
            self._record_frames(until_ns=stamp_ns)
            self._recorded_ns = stamp_ns
            events = tuple(self._waiting.pop(stamp_ns, ()))
            if not self._frames or self._frames[0].stamp_ns != stamp_ns:
                self._recorder.add_update(Update(camera=CAMERA, events=events))  # its image was lost
                continue
            frame = self._frames[0]  # stays, to be recorded under this heat map
            step, window = self._step(frame, heatmap, score)
            warm = tuple(event for event in events if event.phase is not Phase.END)
            update = Update(camera=CAMERA, events=events, frame=frame, step=step, window=window, warm=warm)
            self._recorder.add_update(update)

    def _step(self, frame: Frame, heatmap: Image, score: AnomalyScore) -> tuple[Step, Window | None]:
        """The step that heat map and score tell of, and its window, without what only the model needs."""
        values = np.frombuffer(heatmap.data, np.float32).reshape(heatmap.height, heatmap.width)
        nothing: Any = np.zeros((0, 0), np.float32)
        begin_ns, end_ns = from_time(score.window_start), from_time(score.window_end)
        before_ns = self._steps[-1].stamps_ns[1] if self._steps else frame.stamp_ns
        step = Step(
            index=len(self._steps),
            stamps_ns=(before_ns, frame.stamp_ns),
            frame_size=frame.size,
            frame_id=frame.frame_id,
            visual_tokens=nothing,
            class_maps=nothing,
            heatmap=Heatmap(values),
        )
        self._steps.append(step)
        within = tuple(s for s in self._steps if begin_ns < s.stamps_ns[1] <= end_ns)
        return step, Window(CAMERA, within) if len(within) > 1 else None

    def _record_frames(self, until_ns: int | None = None) -> None:
        while self._frames and (until_ns is None or self._frames[0].stamp_ns < until_ns):
            self._recorder.add_frame(self._frames.popleft())
