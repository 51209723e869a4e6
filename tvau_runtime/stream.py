"""One camera's stream: frames in; one model step per temporal patch, with heat map, window and events, out.

Every pair of frames is encoded once, and its features are shared by all windows it is part of. What the stream does
with late, repeated and missing frames is `window`'s table. Knows no other camera and no language model.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from dataclasses import dataclass

import numpy as np

from .backends.base import Backend
from .config import EventConfig
from .errors import FrameError, ModelError
from .events import EventDetector
from .evidence import EvidenceStore
from .frames import pack_pair, resize
from .prompts import Prompts
from .types import AnomalyEvent, Frame, Heatmap, Phase, Step, Window
from .window import NS_PER_S, Arrival, FrameSampler, PairBuilder, SlidingWindow

__all__ = ["CameraStream", "Geometry", "Guidance", "Pair", "StreamStats", "Update", "allowed_halvings", "heatmap_of"]


@dataclass(frozen=True)
class Geometry:
    """How frames become windows, with the model's own values filled in. Units as in `StreamConfig`."""

    process_rate_hz: float
    clip_length: int
    stride: int
    max_gap_s: float
    reset_after_s: float
    most_halvings: int
    """How often the rate may be halved; see `allowed_halvings`."""

    def rate_hz(self, halvings: int) -> float:
        """Frames per second that are looked at, at most, after so many halvings."""
        return self.process_rate_hz / 2**halvings


@dataclass(frozen=True, eq=False)
class Guidance:
    """Prompts as people and as the engine have them. text: S_c of normal and abnormal, float32 [2, D]."""

    prompts: Prompts
    text: np.ndarray


@dataclass(frozen=True, eq=False)
class Pair:
    """Two sampled frames on their way through the engine."""

    pixels: np.ndarray
    """float32 [P, patch_dim]"""
    stamps_ns: tuple[int, int]
    frame: Frame
    """The later of the two."""
    began: float
    """When that came (`time.perf_counter`)."""
    guidance: Guidance


@dataclass(frozen=True, eq=False, kw_only=True)
class Update:
    """What one call gave: either a step with its heat map, or only events.

    After a completed temporal patch, `frame` (the later of its two) and `step` are set, and `window` where one is due.
    When events end without one (a gap, a restart, a stopped camera, `flush`, `reset`), or get a text, all three are
    None.
    """

    camera: str
    events: tuple[AnomalyEvent, ...] = ()
    frame: Frame | None = None
    step: Step | None = None
    window: Window | None = None
    warm: tuple[AnomalyEvent, ...] = ()
    """After a step: every event whose target is warm in it, as it is now. `events` is what there is to tell."""


@dataclass(frozen=True)
class StreamStats:
    """Counts of one camera since the pipeline was opened.

    frames = sampled + late + repeated + those between two samples.
    """

    frames: int = 0
    sampled: int = 0
    late: int = 0
    repeated: int = 0
    restarts: int = 0
    gaps: int = 0
    size_changes: int = 0
    steps: int = 0
    windows: int = 0
    events: int = 0
    """Events that have started."""
    failures: int = 0
    """Temporal patches that the engine failed on; each starts the window anew."""
    step_s: float = 0.0
    """Time that the last step took, from the frame that completed it (s)."""
    score: float = 0.0
    """The last heat map's peak, 0..1."""
    last_stamp_ns: int = 0
    """The last frame taken."""


_COUNTED = {
    Arrival.LATE: "late",
    Arrival.REPEATED: "repeated",
    Arrival.RESTARTED: "restarts",
    Arrival.GAP: "gaps",
    Arrival.RESIZED: "size_changes",
}


def allowed_halvings(wanted: int, process_rate_hz: float, max_gap_s: float) -> int:
    """As many of the wanted halvings of the rate as leave the beginnings of two pairs no further apart than max_gap_s."""
    return max(n for n in range(wanted + 1) if n == 0 or 2 * 2**n / process_rate_hz <= max_gap_s)


def heatmap_of(class_maps: np.ndarray) -> Heatmap:
    """H (eqs. 7-8): the abnormal part of the softmax over the classes of H_c [2, gh, gw].

    Raises `ModelError` for values that are not numbers.
    """
    normal, abnormal = class_maps.astype(np.float32, copy=False)
    # The softmax of two is a logistic function of their difference, here by tanh, which cannot overflow.
    values = 0.5 + 0.5 * np.tanh(0.5 * (abnormal - normal))
    if not np.isfinite(values).all():
        raise ModelError(
            "the model's heat map holds values that are not numbers; the checkpoint or its precision does not fit"
        )
    return Heatmap(values)


class CameraStream:
    """All state of one camera. Reading never waits for the model.

    Whoever pushes holds `lock` from the first frame until `complete` or `fail` has been called for the pair that `take`
    gave; the other calls take it themselves. So pushes from several threads are served one by one.
    """

    def __init__(
        self,
        camera: str,
        backend: Backend,
        geometry: Geometry,
        events: EventConfig,
        evidence: EvidenceStore,
        guidance: Guidance,
    ) -> None:
        self.camera = camera
        self.guidance = guidance
        """What the next frame is to be judged by. Where it is replaced, that frame starts the window anew."""
        self._in_force = guidance
        self.detector = EventDetector(camera, events)
        self.stats = StreamStats()
        self.latest: Window | None = None
        """The newest window that was due; kept when the stream starts anew, until `reset` or other prompts."""
        self._backend = backend
        self._evidence = evidence
        self._max_gap_ns = round(geometry.max_gap_s * NS_PER_S)
        self._half_steps = geometry.clip_length // 4
        self._sampler = FrameSampler(
            geometry.process_rate_hz, max_gap_s=geometry.max_gap_s, reset_after_s=geometry.reset_after_s
        )
        self._pairs: PairBuilder[tuple[np.ndarray, int]] = PairBuilder()
        self._windows = SlidingWindow(camera, geometry.clip_length, geometry.stride)
        self._around_peak: dict[int, Window] = {}  # by track key
        self._closed = False
        self.lock = threading.Lock()

    @property
    def steps_held(self) -> int:
        """Steps of the window that is being filled or slid."""
        return len(self._windows)

    def take(self, frame: Frame) -> tuple[list[Update], Pair | None]:
        """Takes in one frame: what ends because of it, and the pair that it completes. `lock` must be held."""
        began = time.perf_counter()
        if self._closed:
            raise FrameError("the pipeline is closed; open a new one")
        arrival = self._sampler.judge(
            frame.stamp_ns, frame.size, begins_pair=not self._pairs.waits, lost_ns=frame.lost_ns
        )
        self._count(arrival, frame)
        if arrival.starts_pair:
            self._pairs.clear()
        updates = self._start_anew() if arrival.starts_anew else []
        if arrival.taken and self._in_force is not self.guidance:
            self._in_force, self.latest = self.guidance, None
            updates += self._start_anew()
        if not arrival.taken:
            return updates, None
        spec = self._backend.spec
        both = self._pairs.add((resize(frame.rgb, spec), int(frame.stamp_ns)))
        if both is None:
            return updates, None
        (first, first_ns), (second, second_ns) = both
        return updates, Pair(pack_pair(first, second, spec), (first_ns, second_ns), frame, began, self._in_force)

    def halve(self, times: int) -> None:
        """From now on one pair in 2**times is looked at. The window goes on."""
        with self.lock:
            self._sampler.every = 2**times

    def tick(self, now_ns: int) -> list[Update]:
        """Tells the stream the time when no frame comes. now_ns: on the clock of the frames' stamps.

        Ends what has been cold for long enough, and after `max_gap_s` without a frame everything.
        """
        with self.lock:
            last_ns = self._sampler.last_taken_ns
            if last_ns is None:
                return []
            if now_ns - last_ns > self._max_gap_ns:
                return self._start_anew()
            return self._only_events(self.detector.tick(now_ns))

    def flush(self) -> list[Update]:
        """The stream is over: ends all events, and leaves a frame without partner out.

        A next frame starts anew, whatever its stamp.
        """
        with self.lock:
            self._sampler.reset()
            return self._start_anew()

    def reset(self) -> list[Update]:
        """As `flush`, and the latest window is forgotten."""
        updates = self.flush()
        self.latest = None
        return updates

    def close(self) -> None:
        """Waits for the step in progress; every later frame raises `FrameError`."""
        with self.lock:
            self._closed = True

    def fail(self) -> None:
        """The engine failed on the pair: the next window starts anew, for it is of consecutive steps."""
        self._windows.clear()
        self.stats = dataclasses.replace(self.stats, failures=self.stats.failures + 1)

    def complete(self, pair: Pair, tokens: np.ndarray, class_maps: np.ndarray) -> Update:
        """Makes a pair's step of what the engine gave: visual tokens [P/4, D] and H_c [2, gh, gw].

        Raises `ModelError` where these are not numbers.
        """
        heatmap, frame = heatmap_of(class_maps), pair.frame
        step = Step(
            index=self.stats.steps,
            stamps_ns=pair.stamps_ns,
            frame_size=frame.size,
            frame_id=frame.frame_id,
            visual_tokens=tokens,
            class_maps=class_maps,
            heatmap=heatmap,
            prompts=pair.guidance.prompts,
        )
        window = self._windows.add(step)
        self.latest = window or self.latest
        events = self.detector.update(heatmap.values, pair.stamps_ns[1], frame.size, frame.frame_id)
        self._keep_evidence()
        warm = self.detector.warm()
        self._keep_tracks([*events, *warm])  # also of those that there is nothing to tell of now
        stats = self.stats
        self.stats = dataclasses.replace(
            stats,
            steps=stats.steps + 1,
            windows=stats.windows + (window is not None),
            events=stats.events + sum(event.phase is Phase.START for event in events),
            step_s=time.perf_counter() - pair.began,
            score=heatmap.score,
        )
        return Update(
            camera=self.camera,
            events=tuple(events),
            frame=frame,
            step=step,
            window=window,
            warm=warm,
        )

    def _keep_evidence(self) -> None:
        """Every target's window is the one with its peak in the middle, or as near to it as there are steps."""
        newest = self._windows.newest()
        kept: dict[int, Window] = {}
        for track in self.detector.open_tracks():
            window = self._around_peak.get(track.key)
            if newest is not None:
                after_peak = sum(step.stamps_ns[1] > track.peak_ns for step in newest.steps)
                if window is None or after_peak <= self._half_steps:
                    window = newest
            if window is None:
                continue
            kept[track.key] = window
            if track.event_id and self._evidence.get(track.event_id) is not window:
                self._evidence.put(track.event_id, window)
        self._around_peak = kept

    def _keep_tracks(self, events: list[AnomalyEvent]) -> None:
        for event in events:
            self._evidence.put_track(event.id, event.track)

    def _start_anew(self) -> list[Update]:
        self._pairs.clear()
        self._windows.clear()
        self._around_peak.clear()
        return self._only_events(self.detector.flush())

    def _only_events(self, events: list[AnomalyEvent]) -> list[Update]:
        self._keep_tracks(events)
        return [Update(camera=self.camera, events=tuple(events))] if events else []

    def _count(self, arrival: Arrival, frame: Frame) -> None:
        changes: dict[str, int] = {"frames": self.stats.frames + 1}
        if arrival in _COUNTED:
            changes[_COUNTED[arrival]] = getattr(self.stats, _COUNTED[arrival]) + 1
        if arrival.taken:
            changes |= {"sampled": self.stats.sampled + 1, "last_stamp_ns": int(frame.stamp_ns)}
        self.stats = dataclasses.replace(self.stats, **changes)
