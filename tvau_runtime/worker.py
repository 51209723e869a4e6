"""Runs a pipeline for live cameras: frames are handed in and forgotten, updates come back through a callback.

One thread runs the model. Whatever cameras have a frame pair waiting, their pairs are encoded in one call. Each camera has a
queue of bounded length; when it is full, the oldest frame is dropped and counted, so that what is published is always about
now; the next frame says so, for what was dropped is no silence of the camera. When the model does not keep up, the sampling
rate of all cameras falls in steps (`load`). A second thread has events described, and windows read ahead of questions, so that
the language model never holds the stream up. Knows no ROS, no files and no devices.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .describer import EventDescriber
from .errors import QueryError, TvauError
from .load import LoadGauge
from .pipeline import Pipeline, Pushed, Update
from .types import AnomalyEvent, Frame

__all__ = ["StreamWorker", "WorkerStats"]

log = logging.getLogger(__name__)

IDLE_S = 0.25
"""How often it is looked whether a camera has stopped."""
LATENCIES = 256
"""Steps over which latency is measured."""


@dataclass(frozen=True)
class WorkerStats:
    """What became of one camera's frames.

    Latency is from `submit` to the end of the callback, over the last 256 steps.
    """

    submitted: int = 0
    dropped: int = 0
    """Frames that had to make room for newer ones."""
    cleared: int = 0
    """Frames that were waiting at `reset` or `close`."""
    queued: int = 0
    failed: int = 0
    """Frames that the pipeline refused, callbacks that raised, and windows that could not be read ahead."""
    latency_p50_s: float = 0.0
    latency_p95_s: float = 0.0
    halvings: int = 0
    """How often the sampling rate is halved at present, because the model does not keep up."""
    sampling_hz: float = 0.0
    """Frames per second that are looked at, at most, at present."""


class _Camera:
    """A camera's queue and counts."""

    def __init__(self, queue_size: int) -> None:
        self.queue: deque[tuple[Frame, float]] = deque()
        """Frames with the time of their coming (monotonic, s)."""
        self.queue_size = queue_size
        self.counts = WorkerStats()
        self.latencies: deque[float] = deque(maxlen=LATENCIES)
        self.taken = 0.0
        """When the last frame came that was taken off the queue."""
        self.lost_ns: int | None = None
        """The stamp of the frame that was dropped last, until one that came after it is taken off the queue."""
        self.last_came: float | None = None
        """When the last processed frame came; None before the first, and once the camera has stopped."""

    def add(self, frame: Frame) -> None:
        if len(self.queue) >= self.queue_size:
            self.lost_ns = int(self.queue.popleft()[0].stamp_ns)
            self.count(dropped=1)
        self.queue.append((frame, time.monotonic()))
        self.count(submitted=1)

    def drop_all(self) -> None:
        self.count(cleared=len(self.queue))
        self.queue.clear()
        self.lost_ns = None

    def count(self, **more: int) -> None:
        self.counts = dataclasses.replace(self.counts, **{k: getattr(self.counts, k) + n for k, n in more.items()})


class StreamWorker:
    """Feeds a pipeline from queues; queue_size, describe_events and prefill are those of the pipeline's config.

    on_update: called with every `Update`, one at a time and in order, from a thread of the worker. What it raises is
    logged and counted. It may call `submit` and `reset`, but neither `drain` nor `close`.

    An event is described as it starts and as it ends; the words come as one more UPDATE, or, if it is over by then, with a
    repeated END. A camera that sends nothing for `max_gap_s` has its events ended. The pipeline stays open when the worker is
    closed.
    """

    def __init__(self, pipeline: Pipeline, on_update: Callable[[Update], None]) -> None:
        self._pipeline = pipeline
        self._on_update = on_update
        self._cameras: dict[str, _Camera] = {}
        self._resets: list[str] = []
        self._busy = self._closing = False
        self._load = LoadGauge(
            pipeline.geometry.process_rate_hz, pipeline.geometry.most_halvings, now_s=time.monotonic()
        )
        self._halvings = 0
        self._changed = threading.Condition()
        self._order = threading.RLock()  # one update at a time, from either thread
        self._describer = EventDescriber(self._describe, self._tell_described, self._order)
        self._thread = threading.Thread(target=self._run, name="tvau-model", daemon=True)
        self._thread.start()
        pipeline.dialogue.give_way = self._wait_for_none

    def submit(self, frame: Frame) -> bool:
        """Hands in a frame and returns at once. False when the worker is closed."""
        with self._changed:
            if self._closing:
                return False
            if frame.camera not in self._cameras:
                self._cameras[frame.camera] = _Camera(self._pipeline.config.stream.queue_size)
            self._cameras[frame.camera].add(frame)
            self._changed.notify_all()
            return True

    def reset(self, camera: str | None = None) -> None:
        """Starts one camera, or all, anew before the next frame is processed; what waits is dropped. Returns at once.

        Raises `QueryError` for a camera that has sent nothing.
        """
        with self._changed:
            for name in [self._known(camera)] if camera is not None else list(self._cameras):
                self._cameras[name].drop_all()
                self._resets.append(name)
            self._changed.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Waits until all frames are processed and told about, events described and windows read. False if it took longer."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self._changed:
                if not self._changed.wait_for(self._idle, max(0.0, deadline - time.monotonic())):
                    return False
            if not self._describer.wait_idle(max(0.0, deadline - time.monotonic())):
                return False
            with self._changed:
                if self._idle():
                    return True

    def close(self, timeout_s: float = 10.0) -> None:
        """Drops what waits, ends all events (the callback still hears of it) and stops. May be called again."""
        self._pipeline.dialogue.give_way = None
        with self._changed:
            self._closing = True
            for camera in self._cameras.values():
                camera.drop_all()
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        if not self._describer.close(timeout_s) or self._thread.is_alive():
            log.warning(
                "the model is still busy %g s after it was told to stop; it is left to finish by itself", timeout_s
            )

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras that have sent a frame."""
        with self._changed:
            return tuple(self._cameras)

    @property
    def described(self) -> int:
        """Descriptions of events that were told."""
        return self._describer.described

    @property
    def undescribed(self) -> int:
        """Descriptions that were to be and could not be, or for which the stream left no time."""
        return self._describer.dropped + self._describer.failed

    def stats(self, camera: str) -> WorkerStats:
        """Counts and latency of one camera. Raises `QueryError` for one that has sent nothing."""
        with self._changed:
            state = self._cameras[self._known(camera)]
            counts, queued, latencies = state.counts, len(state.queue), list(state.latencies)
        p50, p95 = np.percentile(latencies, (50, 95)) if latencies else (0.0, 0.0)
        return dataclasses.replace(
            counts,
            queued=queued,
            latency_p50_s=float(p50),
            latency_p95_s=float(p95),
            halvings=self._load.halvings,
            sampling_hz=self._pipeline.geometry.rate_hz(self._load.halvings),
        )

    def __enter__(self) -> StreamWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _known(self, camera: str) -> str:
        if camera not in self._cameras:
            known = ", ".join(self._cameras) or "none"
            raise QueryError(f"no frame has come from a camera {camera!r}; there are frames of: {known}")
        return camera

    def _idle(self) -> bool:
        return not (self._busy or self._resets or any(camera.queue for camera in self._cameras.values()))

    def _wait_for_none(self, at_most_s: float) -> bool:
        """Waits while frames wait or are looked at. False if that took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closing or self._idle(), at_most_s)

    def _run(self) -> None:
        next_look, idle_s = 0.0, 0.0
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                began = time.monotonic()
                self._changed.wait_for(
                    lambda: self._closing or self._resets or any(c.queue for c in self._cameras.values()), IDLE_S
                )
                idle_s += time.monotonic() - began
                if self._closing:
                    break
                self._busy = True
                resets, self._resets = self._resets, []
                names = [name for name, camera in self._cameras.items() if camera.queue]
            for camera in resets:
                self._end(camera, self._pipeline.reset)
            if names:
                self._process(names)
            if time.monotonic() >= next_look:
                self._look_for_stopped()
                next_look = time.monotonic() + IDLE_S
            if self._load.look(time.monotonic(), idle_s):
                self._set_rate()
        for camera in self.cameras:
            self._end(camera, self._pipeline.flush)
        self._pipeline.halve(0)  # it may go on without this worker

    def _set_rate(self) -> None:
        halvings = self._load.halvings
        slower = halvings > self._halvings
        self._halvings = halvings
        self._pipeline.halve(halvings)
        geometry = self._pipeline.geometry
        log.log(
            logging.WARNING if slower else logging.INFO,
            "the sampling rate is now %g of %g frames per second and camera: the model %s",
            geometry.rate_hz(halvings),
            geometry.process_rate_hz,
            "does not keep up" if slower else "has time again" if halvings else "keeps up again",
        )

    def _waiting(self, name: str) -> Iterator[Frame]:
        """The frames that a camera's queue holds now, each taken off it when it is asked for."""
        camera = self._cameras[name]
        for _ in range(len(camera.queue)):
            with self._changed:
                if not camera.queue or name in self._resets:
                    return
                frame, camera.taken = camera.queue.popleft()
                lost_ns, camera.lost_ns = camera.lost_ns, None
            yield frame if lost_ns is None else dataclasses.replace(frame, lost_ns=lost_ns)

    def _process(self, names: list[str]) -> None:
        try:
            pushed = self._pipeline.push_together({name: self._waiting(name) for name in names})
        except Exception as error:  # nothing of a single camera's: the pipeline is closed, or defect
            for name in names:
                with self._changed:
                    self._cameras[name].drop_all()
                self._failed(name, "its frames were skipped", error)
            return
        for name, result in pushed.items():
            self._tell(name, result)

    def _tell(self, name: str, result: Pushed) -> None:
        for update in result.updates:
            self._deliver(update)
        if result.error is not None:
            self._failed(name, "a frame was skipped", result.error)
            return
        with self._changed:
            camera = self._cameras[name]
            camera.last_came = camera.taken
            if any(update.step is not None for update in result.updates):
                camera.latencies.append(time.monotonic() - camera.taken)
        if self._pipeline.config.dialogue.prefill and any(update.window is not None for update in result.updates):
            self._describer.when_idle(name, self._read_ahead)

    def _read_ahead(self, name: str) -> None:
        """Has a camera's latest window read before anyone asks, unless frames wait: then the model has better to do."""
        with self._changed:
            if self._closing or any(camera.queue for camera in self._cameras.values()):
                return
        try:
            self._pipeline.prefill(name)
        except Exception as error:
            self._failed(name, "its latest window could not be read ahead", error)

    def _look_for_stopped(self) -> None:
        """Ends the events of cameras that have sent nothing for `max_gap_s`: their clock is ours since their last."""
        now, patience = time.monotonic(), self._pipeline.geometry.max_gap_s
        silent: dict[str, int] = {}  # ns
        with self._changed:
            for name, camera in self._cameras.items():
                if camera.last_came is not None and not camera.queue and now - camera.last_came > patience:
                    silent[name] = round((now - camera.last_came) * 1e9) + 1
                    camera.last_came = None
        for name, silence_ns in silent.items():
            now_ns = self._pipeline.stats(name).last_stamp_ns + silence_ns
            self._end(name, lambda camera, now_ns=now_ns: self._pipeline.tick(camera, now_ns))

    def _end(self, name: str, call: Callable[[str], list[Update]]) -> None:
        """Calls the pipeline for something that ends events, and delivers the ends."""
        if name not in self._pipeline.cameras:
            return  # none of its frames has got that far
        try:
            updates = call(name)
        except Exception as error:
            self._failed(name, "ending its events failed", error)
            return
        for update in updates:
            self._deliver(update)

    def _describe(self, event: AnomalyEvent) -> AnomalyEvent:
        if self._pipeline.config.dialogue.describe_events == "auto" and not self._load.spare:
            raise QueryError("the stream leaves no time for it, or it is not known yet (describe_events: auto)")
        return self._pipeline.describe(event)

    def _tell_described(self, event: AnomalyEvent) -> None:
        self._publish(Update(camera=event.camera, events=(event,)))

    def _deliver(self, update: Update) -> None:
        with self._order:
            wanted = self._pipeline.config.dialogue.describe_events != "never" and not self._closing
            for event in update.events:
                self._describer.watch(event, wanted)
            self._publish(update)

    def _publish(self, update: Update) -> None:
        with self._order:
            try:
                self._on_update(update)
            except Exception as error:
                self._failed(update.camera, "the callback raised", error)

    def _failed(self, name: str, what: str, error: Exception) -> None:
        """Counts; logs the 1st, 2nd, 4th, 8th … time, so that a stream of failures does not flood the log."""
        with self._changed:
            self._cameras[name].count(failed=1)
            times = self._cameras[name].counts.failed
        if times & (times - 1) == 0:
            expected = isinstance(error, TvauError)
            log.warning(
                "camera %r: %s (failure %d): %s", name, what, times, error, exc_info=None if expected else error
            )
