"""The steps in order for one clip: extraction of plain and refined frames in one pass over the video, timelines, refinement,
verification, dialogues.

What each step left is kept in the result, so that it can be looked at and measured. Knows no files but the clip's own.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from tvau_runtime.errors import ConfigError
from tvau_training.data import Clip
from tvau_training.world import Turn

from .dialogues import Scene, anomaly_turns, narration_turns
from .extraction import Extraction, Extractor, Sample
from .observations import Claim, Timeline, consensus
from .refinement import Anomaly, Mask, blur_background, find_anomalies, fuse
from .timelines import Linking, link
from .verification import Finding, verify

__all__ = ["ClipResult", "Dialogue", "Settings", "Shot", "annotate_clip", "dialogues", "sampled"]

CONFIRMED = 0.5
"""Share of its frames on the mask in which the refined pass must have seen an anomaly."""


@dataclass(frozen=True)
class Settings:
    """rate_hz: frames asked about per second of video. window: frames of a dialogue's clip window, even. phrasings: dialogues
    about each window, the first in the usual words. refine: whether masked frames are asked about again with the background
    blurred. Raises `ConfigError` for values that cannot be."""

    rate_hz: float = 4.0
    window: int = 8
    phrasings: int = 3
    seed: int = 0
    refine: bool = True
    linking: Linking = field(default_factory=Linking)

    def __post_init__(self) -> None:
        if not self.rate_hz > 0 or self.window < 2 or self.window % 2 or self.phrasings < 1:
            raise ConfigError(
                "annotating needs a rate above 0, an even window of at least 2 frames and at least 1 phrasing, "
                f"got {self.rate_hz}, {self.window}, {self.phrasings}"
            )


@dataclass(frozen=True)
class Shot:
    """A frame that was asked about. abnormal: its label, None where it has none; masked: whether it has a mask that is
    not empty."""

    frame: int
    time_s: float
    abnormal: bool | None
    masked: bool


@dataclass(frozen=True)
class Dialogue:
    """A dialogue about the frames with these numbers. kind: narration or anomaly, the curriculum's two halves. target: id of the
    timeline that is abnormal, 0 where there is none."""

    kind: str
    frames: tuple[int, ...]
    start_s: float
    end_s: float
    abnormal: bool | None
    target: int
    turns: tuple[Turn, ...]


@dataclass(frozen=True, eq=False)
class ClipResult:
    """A clip's annotations and what led to them.

    size: (height, width) in pixels. raw: what came of every frame, and with the background blurred. linked: timelines of step 2,
    refocused: of step 3, timelines: of step 4, which are what is believed. anomalies: those of high confidence among the latter.
    """

    name: str
    split: str
    size: tuple[int, int]
    shots: tuple[Shot, ...]
    environment: str
    raw: tuple[Extraction, ...] = field(repr=False)
    refined: tuple[Extraction, ...] = field(repr=False)
    linked: tuple[Timeline, ...] = field(repr=False)
    refocused: tuple[Timeline, ...] = field(repr=False)
    timelines: tuple[Timeline, ...]
    anomalies: tuple[Anomaly, ...]
    findings: tuple[Finding, ...] = field(repr=False)
    refinement: Counter[str] = field(repr=False)
    masks: dict[int, Mask] = field(repr=False)


def sampled(clip: Clip, rate_hz: float) -> list[int]:
    """The frame numbers of a clip that are asked about: the nearest to each multiple of 1 / rate_hz seconds."""
    step = max(clip.fps / rate_hz, 1.0)
    return sorted({round(i * step) for i in range(int(max(clip.length - 1, 0) / step) + 1)})


def annotate_clip(
    clip: Clip, extractor: Extractor, settings: Settings, progress: Callable[[int, int], None] = lambda done, more: None
) -> ClipResult:
    """All steps for one clip. progress: told (questions answered, questions that came up beside the one per frame).

    Raises `BackendError` where the annotator is gone, `FrameError` for a video or mask that cannot be read.
    """
    shots: list[Shot] = []
    masks: dict[int, Mask] = {}

    def samples() -> Iterator[Sample]:
        first = None
        for seen in clip.read(sampled(clip, settings.rate_hz)):
            stamp = seen.frame.stamp_ns
            first = stamp if first is None else first
            masked = seen.mask is not None and bool(seen.mask.any())
            shot = Shot(seen.index, (stamp - first) * 1e-9, seen.abnormal, masked)
            shots.append(shot)
            yield Sample(shot.frame, shot.time_s, seen.frame.rgb)
            if masked and seen.mask is not None:
                masks[shot.frame] = Mask(seen.mask)
                if settings.refine:
                    progress(0, 1)
                    yield Sample(shot.frame, shot.time_s, blur_background(seen.frame.rgb, seen.mask), refined=True)

    raw: list[Extraction] = []
    refined: list[Extraction] = []
    for extraction in extractor.extract(samples()):
        (refined if extraction.refined else raw).append(extraction)
        progress(1, 0)
    plain = [each for extraction in raw for each in extraction.observations]
    linked = link(plain, settings.linking)
    fused, counts = fuse(plain, [each for e in refined for each in e.observations], masks)
    refocused = link(fused, settings.linking)
    verified = verify(refocused, settings.linking)
    anomalies = []
    for anomaly in find_anomalies(verified.timelines, masks):
        sure = anomaly.confirmed >= CONFIRMED or not settings.refine
        counts["anomalies of high confidence" if sure else "anomalies not confirmed"] += 1
        if sure:
            anomalies.append(anomaly)
    return ClipResult(
        name=clip.name,
        split=clip.split,
        size=clip.size,
        shots=tuple(shots),
        environment=_environment(raw),
        raw=tuple(raw),
        refined=tuple(refined),
        linked=tuple(linked),
        refocused=tuple(refocused),
        timelines=verified.timelines,
        anomalies=tuple(anomalies),
        findings=verified.findings,
        refinement=counts,
        masks=masks,
    )


def _environment(raw: list[Extraction]) -> str:
    """The description of the place that most frames agree on, empty where none has one."""
    told = [Claim("", "", each.environment, 1.0) for each in raw if each.environment]
    return consensus(told, lambda claim: claim.action)[0] if told else ""


def dialogues(result: ClipResult, settings: Settings) -> Iterator[Dialogue]:
    """Dialogues about windows of a clip, one behind the other; a rest shorter than a window has none.

    About each: narration and what is abnormal, in several phrasings. Where a window is known to be abnormal but no
    anomaly timeline of high confidence is in it, only that is asked. The same seed gives the same phrasings.
    """
    who = {timeline.id: timeline for timeline in result.timelines}
    for start in range(0, len(result.shots) - settings.window + 1, settings.window):
        shots = result.shots[start : start + settings.window]
        scene = _scene(result, shots, who)
        frames = tuple(shot.frame for shot in shots)
        rng = np.random.default_rng([settings.seed, zlib.crc32(result.name.encode("utf-8")), start])
        for number in range(settings.phrasings):
            words = rng if number else None
            for kind, turns in (("narration", narration_turns(scene, words)), ("anomaly", anomaly_turns(scene, words))):
                if kind == "narration" or scene.abnormal is not None:
                    target = next(iter(scene.anomalies), 0) if kind == "anomaly" else 0
                    yield Dialogue(kind, frames, scene.start_s, scene.end_s, scene.abnormal, target, tuple(turns))


def _scene(result: ClipResult, shots: tuple[Shot, ...], who: dict[int, Timeline]) -> Scene:
    times = {shot.frame: shot.time_s for shot in shots}
    labels = [shot.abnormal for shot in shots]
    there = [t for t in who.values() if any(frame in times for frame in t.frames)]
    when: dict[int, list[float]] = {}
    for anomaly in result.anomalies:
        if inside := [times[frame] for frame in anomaly.frames if frame in times]:
            when[anomaly.timeline] = inside
    longest = sorted(when, key=lambda number: -len(when[number]))
    return Scene(
        size=result.size,
        start_s=shots[0].time_s,
        end_s=shots[-1].time_s,
        environment=result.environment,
        abnormal=True if any(labels) else None if None in labels else False,
        targets=there,
        anomalies={number: (when[number][0], when[number][-1]) for number in longest},
    )
