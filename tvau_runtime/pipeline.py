"""push(frame) -> heat maps, windows and events; ask(question) -> answer. Any number of cameras, one model.

Synchronous: a call returns what it gave. Frames of different cameras may be pushed, and questions asked, from different
threads; no lock that a stream needs is held while the language model speaks. Knows no ROS, no files and no queues.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from .backends import open_backend
from .backends.base import Backend
from .config import DialogueConfig, EventConfig, PipelineConfig
from .dialogue import DialogueEngine
from .errors import FrameError, QueryError
from .evidence import EvidenceStore
from .prompts import Prompts
from .stream import CameraStream, Geometry, Guidance, Pair, StreamStats, Update, allowed_halvings
from .types import AnomalyEvent, Answer, Frame, Step, Window
from .window import stretch

__all__ = ["Pipeline", "Pushed", "StreamStats", "Update", "open_pipeline"]


def open_pipeline(config: PipelineConfig | None = None) -> Pipeline:
    """Opens the model that the settings name. Raises `ModelError`, `BackendError` or `ConfigError`."""
    config = config or PipelineConfig()
    backend = open_backend(config.engine)
    try:
        return Pipeline(backend, config)
    except Exception:
        backend.close()
        raise


@dataclass
class Pushed:
    """What became of the frames of one camera among several: what `push` would have given, and what it would have raised."""

    updates: list[Update]
    error: Exception | None = None


class Pipeline:
    """The cameras' streams and the dialogue over their evidence, on one opened model, which it closes.

    Raises `ConfigError` for stream settings that do not go together.
    """

    def __init__(self, backend: Backend, config: PipelineConfig | None = None) -> None:
        self.backend = backend
        self.config = config or PipelineConfig()
        stream, spec = self.config.stream, backend.spec
        rate_hz = stream.process_rate_hz or spec.process_rate_hz
        self.geometry = Geometry(
            process_rate_hz=rate_hz,
            clip_length=stream.clip_length or spec.clip_length,
            stride=stream.stride,
            max_gap_s=stream.max_gap_s,
            reset_after_s=stream.reset_after_s,
            most_halvings=allowed_halvings(stream.max_halvings, rate_hz, stream.max_gap_s),
        )
        self._halvings = 0
        self._evidence = EvidenceStore()
        self._streams: dict[str, CameraStream] = {}
        self._guidance = {"": Guidance(backend.prompts, backend.text_features(backend.prompts))}
        """By camera that has prompts of its own; "" is of all others."""
        self._closed = False
        self._lock = threading.Lock()
        self._new_stream("")  # settings that do not fit are refused now, not at the first frame
        self.dialogue = DialogueEngine(
            backend,
            self.config.dialogue,
            self.window,
            track=self._evidence.track,
            process_rate_hz=self.geometry.process_rate_hz,
        )

    def push(self, frame: Frame) -> list[Update]:
        """Takes in one frame of any camera; a new name opens a new stream.

        Returns an `Update` with a step for every completed temporal patch, and before it one with events alone where
        some ended for another reason. Frames that come late or twice give nothing and are counted in `stats`. Raises
        what the engine raises (`TvauError` where it is on purpose); the camera's stream then goes on with a new window.
        """
        pushed = self.push_together({frame.camera: (frame,)})[frame.camera]
        if pushed.error is not None:
            raise pushed.error
        return pushed.updates

    def push_together(self, waiting: Mapping[str, Iterable[Frame]]) -> dict[str, Pushed]:
        """One temporal patch of each of several cameras, all encoded in one call.

        waiting: by camera, its frames in order; they are read only as far as the first pair that they complete. A camera's
        error is in its result and costs the others nothing: where encoding all together fails, each is encoded alone.
        Raises `FrameError` for a new camera once the pipeline is closed.
        """
        results = {camera: Pushed([]) for camera in waiting}
        pairs: dict[str, Pair] = {}
        with ExitStack() as held:
            streams = {camera: self._open_stream(camera) for camera in waiting}
            for camera in sorted(streams):  # always in one order, so that two threads never wait for each other
                held.enter_context(streams[camera].lock)
                try:
                    for frame in waiting[camera]:
                        updates, pair = streams[camera].take(frame)
                        results[camera].updates += updates
                        if pair is not None:
                            pairs[camera] = pair
                            break
                except Exception as error:
                    results[camera].error = error
            for camera, outputs in self._encode(pairs).items():
                try:
                    if isinstance(outputs, Exception):
                        raise outputs
                    results[camera].updates.append(streams[camera].complete(pairs[camera], *outputs))
                except Exception as error:
                    streams[camera].fail()
                    results[camera].error = error
        return results

    def halve(self, times: int) -> None:
        """Lowers the sampling rate of all cameras to process_rate_hz / 2**times, or brings it back with 0.

        Of every 2**times pairs one is looked at. Neither windows nor events are disturbed: the steps of a window are then
        further apart, as their stamps and the language model's positions in time say.
        """
        with self._lock:
            self._halvings = times
        for stream in self._all():
            stream.halve(times)

    def tick(self, camera: str, now_ns: int) -> list[Update]:
        """Tells a camera's stream the time (on the clock of its stamps), so that events end also without frames."""
        return self._stream(camera).tick(now_ns)

    def flush(self, camera: str = "") -> list[Update]:
        """A camera's stream (the only one where none is named) is over: its events end, its latest window stays."""
        return self._stream(camera).flush()

    def reset(self, camera: str | None = None) -> list[Update]:
        """Starts one camera, or all, anew: events end, the latest window is forgotten, evidence of events stays."""
        streams = [self._stream(camera)] if camera is not None else self._all()
        updates = [update for stream in streams for update in stream.reset()]
        for stream in streams:
            self.dialogue.forget(stream.camera)
        return updates

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras that have sent a frame."""
        with self._lock:
            return tuple(self._streams)

    def stats(self, camera: str = "") -> StreamStats:
        """Counts of one camera (the only one where none is named)."""
        return self._stream(camera).stats

    def window(self, camera: str = "", event_id: str = "") -> Window:
        """The latest window of a camera (of the only one where none is named), or the one around an event's peak.

        Windows of the last 64 events are kept. Raises `QueryError`, with what there is, for what is not.
        """
        if event_id:
            window = self._evidence.get(event_id)
            if window is None:
                raise QueryError(
                    f"there is no window of event {event_id!r}: it is unknown, too old, or ended before a full "
                    f"window was seen; events with one: {', '.join(self._evidence.event_ids) or 'none'}"
                )
            if camera and camera != window.camera:
                raise QueryError(f"event {event_id!r} is of camera {window.camera!r}, the question names {camera!r}")
            return window
        stream = self._stream(camera)
        latest = stream.latest
        if latest is None:
            needed = self.geometry.clip_length // 2
            raise QueryError(
                f"camera {stream.camera!r} has no full window yet: {stream.steps_held} of {needed} steps "
                f"({stream.stats.sampled} frames sampled); ask again in a moment"
            )
        return latest

    def configure(self, *, events: EventConfig | None = None, dialogue: DialogueConfig | None = None) -> None:
        """Changes, while running, when events start and end, and how the language model answers."""
        with self._lock:
            self.config = dataclasses.replace(
                self.config, events=events or self.config.events, dialogue=dialogue or self.config.dialogue
            )
            for stream in self._streams.values():
                stream.detector.configure(self.config.events)
            self.dialogue.config = self.config.dialogue
        if not self.config.dialogue.prefill:
            self.dialogue.forget()

    def set_prompts(self, prompts: Prompts, camera: str = "") -> None:
        """Replaces what counts as normal and abnormal (eqs. 2-3) for one camera, or for all, from the next frame on.

        With that frame the camera's events end and its window starts anew, so that every window and event is of one kind of
        heat map; dialogues that are going on keep the evidence, and the prompts, that they began with. A camera may be named
        before its first frame. Prompts that are in force already change nothing.
        """
        guidance = Guidance(prompts, self.backend.text_features(prompts))
        with self._lock:
            if camera:
                self._guidance[camera] = guidance
            else:
                self._guidance = {"": guidance}
            for name, stream in self._streams.items():
                if (not camera or name == camera) and stream.guidance.prompts != prompts:
                    stream.guidance = guidance

    def prompts(self, camera: str = "") -> Prompts:
        """What counts as normal and abnormal for a camera; where none is named, for those without prompts of their own."""
        with self._lock:
            return self._guidance_of(camera).prompts

    def ask(
        self,
        question: str,
        *,
        session: str = "",
        camera: str = "",
        event_id: str = "",
        window: Window | None = None,
        on_text: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """Answers a question; see `DialogueEngine.ask`."""
        return self.dialogue.ask(
            question,
            session=session,
            camera=camera,
            event_id=event_id,
            window=window,
            on_text=on_text,
            should_stop=should_stop,
        )

    def stretch(self, steps: Sequence[Step], camera: str = "") -> Window:
        """A window of any stretch of steps in a row, to ask about: see `window.stretch`."""
        return stretch(camera, steps, self.geometry.clip_length // 2)

    def describe(self, event: AnomalyEvent) -> AnomalyEvent:
        """Asks the model about an event's window.

        Returns the event with label and description, which it keeps from then on. Raises `QueryError` where there is no
        window of it (yet).
        """
        window = self.window(event.camera, event.id)
        label, description = self.dialogue.describe(window, event.track)
        self._stream(event.camera).detector.set_text(event.id, label, description)
        return dataclasses.replace(event, label=label, description=description)

    def prefill(self, camera: str) -> None:
        """Has the language model read a camera's latest window ahead of a question, if it has nothing else to do."""
        stream = self._stream(camera)
        window = stream.latest
        if window is not None:
            self.dialogue.prefill(window)
            if stream.latest is not window or not self.config.dialogue.prefill:  # no longer wanted
                self.dialogue.forget(stream.camera)

    def close(self) -> None:
        """Stops the answer and the steps in progress, and frees the model. May be called again."""
        with self._lock:
            self._closed = True
        self.dialogue.close()
        for stream in self._all():
            stream.close()
        self.backend.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _encode(self, pairs: dict[str, Pair]) -> dict[str, tuple[np.ndarray, np.ndarray] | Exception]:
        """Visual tokens [P/4, D] and H_c [2, gh, gw] of each camera's pair, or what the engine raised for it alone."""
        if not pairs:
            return {}
        try:
            tokens, class_maps = self.backend.encode(
                np.stack([pair.pixels for pair in pairs.values()]),
                np.stack([pair.guidance.text for pair in pairs.values()]),
            )
        except Exception as error:
            if len(pairs) == 1:
                return dict.fromkeys(pairs, error)
            return {camera: self._encode({camera: pair})[camera] for camera, pair in pairs.items()}
        if len(pairs) > 1:  # steps outlive the batch, and should not keep all of it
            tokens, class_maps = list(map(np.copy, tokens)), list(map(np.copy, class_maps))
        return dict(zip(pairs, zip(tokens, class_maps, strict=True), strict=True))

    def _open_stream(self, camera: str) -> CameraStream:
        with self._lock:
            stream = self._streams.get(camera)
            if stream is None:
                if self._closed:
                    raise FrameError("the pipeline is closed; open a new one")
                stream = self._streams[camera] = self._new_stream(camera)
                stream.halve(self._halvings)
            return stream

    def _new_stream(self, camera: str) -> CameraStream:
        return CameraStream(
            camera, self.backend, self.geometry, self.config.events, self._evidence, self._guidance_of(camera)
        )

    def _guidance_of(self, camera: str) -> Guidance:
        return self._guidance.get(camera, self._guidance[""])

    def _all(self) -> list[CameraStream]:
        with self._lock:
            return list(self._streams.values())

    def _stream(self, camera: str) -> CameraStream:
        with self._lock:
            if camera in self._streams:
                return self._streams[camera]
            if not camera and len(self._streams) == 1:
                return next(iter(self._streams.values()))
            known = ", ".join(self._streams)
        if not known:
            raise QueryError("no frame has come from a camera yet")
        if camera:
            raise QueryError(f"no frame has come from a camera {camera!r}; there are frames of: {known}")
        raise QueryError(f"name a camera; there are: {known}")
