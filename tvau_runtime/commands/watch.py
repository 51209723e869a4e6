"""`tvau watch`: a video, device or stream through the pipeline, to an overlay video, events, scores and a report.

A file is read as fast as the model goes, and no frame is left out. A live source is read at its own pace: when the
model is slower, it skips the oldest frames that wait, while the overlay video keeps them all.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tqdm import tqdm

from ..config import PipelineConfig
from ..errors import ConfigError, QueryError, TvauError
from ..pipeline import Pipeline, Update
from ..report import clock
from ..types import AnomalyEvent, Frame, Phase
from ..video import VideoReader
from ..worker import StreamWorker, WorkerStats
from .facts import run_facts
from .folder import FILES, check_folder, prepare_folder
from .interrupts import ending_on_sigterm
from .options import add_flags, load_config, open_with_prompts
from .recorder import Recorder

__all__ = ["add", "run"]

DESCRIPTION = """\
Watches a video to its end and writes into a folder
  overlay.mp4    the video with heat map, event boxes and score
  events.jsonl   one line per START, UPDATE and END of an event (seconds, pixels)
  scores.csv     the anomaly score of every frame, held from one heat map to the next
  report.html    all of it to read: timeline, events with pictures, ways through the picture
  run.json       the same figures for programs"""
EXAMPLES = """\
examples:
  tvau watch car-detection.mp4
  tvau watch clip.mp4 --out results --on-threshold 0.95
  tvau watch clip.mp4 --abnormal "person riding a bicycle" --abnormal "car" --normal "person walking"
  tvau watch rtsp://camera.local/stream --max-frames 1000
  tvau watch 0                                   the first camera device, until Ctrl-C

Ctrl-C ends the watching; what was seen until then is written as usual."""
INTERRUPTED = 130
DRAIN_S = 60.0
"""How long a live source's last frames may take."""
ASSUMED_FPS = 25.0
"""Rate of the overlay video of a source that tells none."""


def add(parsers: argparse._SubParsersAction) -> None:
    parser = parsers.add_parser(
        "watch",
        help="watch a video and write overlay video, events and report",
        usage="tvau watch [options] VIDEO|DEVICE|URL",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "video", metavar="VIDEO|DEVICE|URL", help="a file, a device (0, /dev/video0) or a URL (rtsp://…)"
    )
    parser.add_argument("--out", metavar="DIR", help="folder to write to [default: out/ and the video's name]")
    parser.add_argument("--force", action="store_true", help="write into a folder that holds other files, too")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after so many frames")
    add_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Watches and writes. Returns 0, 1 where the engine or the writing failed on the way, or 130 after Ctrl-C."""
    config, prompts = load_config(args)
    if args.max_frames is not None and args.max_frames < 1:
        raise ConfigError(f"--max-frames must be at least 1, got {args.max_frames}")
    with VideoReader(args.video) as reader:
        folder = Path(args.out) if args.out else Path("out") / _name_of(args.video)
        check_folder(folder, args.video, force=args.force)  # before the model is loaded, which takes a while
        with open_with_prompts(config, prompts) as pipeline:
            prepare_folder(folder)
            reader.renew()
            recorder = Recorder(folder, reader.info.fps or ASSUMED_FPS)
            return _Watch(reader, pipeline, recorder, folder, config).run(args.max_frames)


class _Watch:
    """One run, from the first frame to the summary."""

    def __init__(
        self, reader: VideoReader, pipeline: Pipeline, recorder: Recorder, folder: Path, config: PipelineConfig
    ) -> None:
        self._reader, self._pipeline, self._recorder = reader, pipeline, recorder
        self._folder, self._config = folder, config
        self._undescribed: set[str] = set()
        self._notices: list[str] = []
        self._source = _shown(reader.info.source)
        self._wall_s, self._failed = 0.0, 0

    def run(self, max_frames: int | None) -> int:
        began, code = time.monotonic(), 0
        progress = tqdm(
            total=min(filter(None, (self._reader.info.frames, max_frames)), default=None),
            unit="frame",
            desc=self._source[-30:],
            disable=None,
        )
        try:
            with ending_on_sigterm(), progress:
                follow = self._follow_live if self._reader.info.live else self._follow_file
                follow(self._frames(progress, max_frames))
                code = int(self._failed > 0)
        except KeyboardInterrupt:
            code = INTERRUPTED
            frames = self._recorder.frames
            self._notices.append(f"Stopped early, after {frames} frames; this is what was seen until then.")
            self._end_events()
        except TvauError as error:
            self._notices.append(f"Stopped by an error after {self._recorder.frames} frames: {error}.")
            raise
        finally:  # also when the model or the source fails: what there is, is written
            self._wall_s = time.monotonic() - began
            self._finish()
        self._summarise()
        return code

    def _frames(self, progress: tqdm, max_frames: int | None) -> Iterator[Frame]:
        for number, frame in enumerate(self._reader, start=1):
            yield frame
            progress.update()
            if number == max_frames:
                return

    def _follow_file(self, frames: Iterator[Frame]) -> None:
        for frame in frames:
            for update in self._pipeline.push(frame):
                self._recorder.add_update(self._described(update))
            self._recorder.add_frame(frame)
        self._end_events()

    def _end_events(self) -> None:
        for update in self._pipeline.flush() if self._pipeline.cameras else ():
            self._recorder.add_update(self._described(update))

    def _follow_live(self, frames: Iterator[Frame]) -> None:
        camera = ""
        with StreamWorker(self._pipeline, self._recorder.add_update) as worker:
            try:
                for frame in frames:
                    camera = frame.camera
                    worker.submit(frame)
                    self._recorder.add_frame(frame)
                worker.drain(DRAIN_S)
            finally:
                stats = worker.stats(camera) if camera else WorkerStats()
                self._failed = stats.failed
                if stats.dropped:
                    self._notices.append(f"The model was slower than the camera and skipped {stats.dropped} frames.")
                if stats.failed:
                    self._notices.append(
                        f"Looking at frames or writing about them failed {stats.failed} times; the log says why."
                    )

    def _described(self, update: Update) -> Update:
        """The update with the events that start or end put into words, where that is wanted and there is a full window."""
        return dataclasses.replace(update, events=tuple(self._describe(event) for event in update.events))

    def _describe(self, event: AnomalyEvent) -> AnomalyEvent:
        if event.phase is not Phase.UPDATE and self._config.dialogue.describe_events != "never":
            self._undescribed.add(event.id)
        if event.id not in self._undescribed:
            return event
        try:
            event = self._pipeline.describe(event)
        except QueryError:  # no full window yet; its next update tries again
            return event
        self._undescribed.discard(event.id)
        return event

    def _finish(self) -> None:
        recorder = self._recorder
        if self._reader.problem:
            self._notices.append(f"{self._reader.problem.replace(self._reader.info.source, self._source)}.")
        events = self._config.events
        recorder.close(
            run_facts(self._pipeline, self._config, recorder, self._reader.info, self._wall_s),
            source=self._source,
            thresholds=(events.on_threshold, events.off_threshold),
            notice=" ".join(self._notices),
        )

    def _summarise(self) -> None:
        recorder = self._recorder
        speed = recorder.duration_s / self._wall_s if self._wall_s else 0.0
        print(
            f"{self._source}: {recorder.frames} frames, {clock(recorder.duration_s)}, watched in "
            f"{clock(self._wall_s)} ({speed:.1f} times real time)"
        )
        print(
            f"{recorder.windows} windows, {recorder.heatmaps} heat maps, {recorder.event_count} "
            f"event{'' if recorder.event_count == 1 else 's'}, highest score {recorder.top[1]:.2f} at "
            f"{clock(recorder.top[0])}"
        )
        for event in recorder.events.values():
            start, end = ((ns - recorder.start_ns) * 1e-9 for ns in (event.start_ns, event.end_ns))
            print(f"  {event.id}  {clock(start)} to {clock(end)}  peak {event.peak_score:.2f}  {event.label}".rstrip())
        if recorder.event_count > len(recorder.events):
            print(f"  and {recorder.event_count - len(recorder.events)} more in events.jsonl")
        for notice in self._notices:
            print(notice)
        print(f"written to {self._folder}: {', '.join(FILES)}")


def _shown(source: str) -> str:
    """A source as reports name it: a file without its folders, a URL without user and password."""
    if "://" not in source:
        return f"device {source}" if source.isdecimal() else Path(source).name
    parts = urlsplit(source)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _name_of(source: str) -> str:
    """A folder's name for a source."""
    if "://" not in source and not source.isdecimal():
        return Path(source).stem or "video"
    shown = _shown(source).rpartition("://")[2]
    return "".join(c if c.isalnum() or c in "-." else "-" for c in shown).strip("-.") or "live"
