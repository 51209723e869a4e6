"""What `tvau watch` writes: overlay.mp4, events.jsonl, scores.csv, report.html and run.json, in one folder.

Times are seconds since the first frame, places pixels of the camera's frame. The lines and the video grow while the
stream runs; report and run.json are written at the end. Knows no model.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import threading
from pathlib import Path

import cv2

from ..errors import FrameError
from ..overlay import overlay
from ..pipeline import Update
from ..report import Report, clock, render, thin
from ..types import AnomalyEvent, Frame, Heatmap, Phase
from .folder import event_record, write_run
from .pictures import PictureBook

__all__ = ["Recorder"]

MAX_SCORES = 20_000
"""Scores kept for the report's timeline; beyond, neighbours are put together and the higher one stays."""
MAX_LISTED = 20
"""Events kept for a summary; a live source may bring any number."""


class Recorder:
    """Takes in frames and updates in order and writes as they come. Both may come from different threads.

    fps: rate of the overlay video.
    """

    def __init__(self, folder: Path, fps: float) -> None:
        self._folder, self._fps = folder, fps
        self._video: cv2.VideoWriter | None = None
        self._video_size = (0, 0)
        self._events_file = (folder / "events.jsonl").open("w", encoding="utf-8", errors="replace")
        self._scores_file = (folder / "scores.csv").open("w", encoding="utf-8", newline="")
        self._scores_csv = csv.writer(self._scores_file)
        self._scores_csv.writerow(["frame", "time_s", "score"])
        self._heatmap: Heatmap | None = None
        self._warm: dict[str, AnomalyEvent] = {}
        self._book = PictureBook()
        self._lock = threading.Lock()
        self.start_ns = self.last_ns = 0
        self.frames = self.heatmaps = self.windows = 0
        self.frame_size = (0, 0)
        self.event_count = 0
        self.events: dict[str, AnomalyEvent] = {}
        """The first `MAX_LISTED` without their tracks, as last told, in order of start."""
        self._open_s: dict[str, float] = {}
        """How long those that have not ended last by now."""
        self._ended_s = 0.0
        """How long all the others did, added up."""
        self.scores: list[tuple[float, float]] = []
        """(seconds, score) of the heat maps, thinned out where there are very many."""
        self.top: tuple[float, float] = (0.0, 0.0)
        """(seconds, score) of the hottest one."""

    @property
    def duration_s(self) -> float:
        """From the first frame to the last."""
        return (self.last_ns - self.start_ns) * 1e-9

    def add_frame(self, frame: Frame) -> None:
        """Writes a frame under the last heat map and the events that are warm in it. Call it after its own updates."""
        with self._lock:
            self._begin(frame)
            self.last_ns, self.frames = frame.stamp_ns, self.frames + 1
            heatmap, events = self._heatmap, list(self._warm.values())
        score = f"{heatmap.score:.4f}" if heatmap else ""
        self._scores_csv.writerow([self.frames - 1, f"{self._seconds(frame.stamp_ns):.3f}", score])
        status = clock(self._seconds(frame.stamp_ns)) + (f"   score {heatmap.score:.2f}" if heatmap else "")
        image = overlay(frame.rgb, heatmap, events, status)
        if self._video is None:
            self._open_video(image.shape[1], image.shape[0])
        if (image.shape[1], image.shape[0]) != self._video_size:
            image = cv2.resize(image, self._video_size, interpolation=cv2.INTER_AREA)
        if self._video is not None:
            self._video.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def add_update(self, update: Update) -> None:
        """Takes in what the pipeline gave; its events are drawn from the next frame on."""
        with self._lock:
            if update.frame is not None and update.step is not None:
                self._begin(update.frame)
                self._heatmap = update.step.heatmap
                self.heatmaps += 1
                self.windows += update.window is not None
                stamp_ns = update.step.stamps_ns[1]
                self._warm = {event.id: event for event in update.warm}
                boxes = {event.id: event.box for event in self._warm.values()}
                self._book.add_step(update.frame.rgb, update.step.heatmap, stamp_ns, boxes)
                self._add_score(self._seconds(stamp_ns), update.step.heatmap.score)
            for event in update.events:
                self._add_event(event)

    def close(
        self, facts: dict[str, dict[str, str]], *, source: str, thresholds: tuple[float, float], notice: str
    ) -> None:
        """Writes what is written at the end. thresholds: on, off. notice: what the reader must know first."""
        with self._lock:
            self._events_file.close()
            self._scores_file.close()
            if self._video is not None:
                self._video.release()
            cards = self._book.cards()
            way, heat = self._book.run_pictures()
            report = Report(
                source=source,
                start_ns=self.start_ns,
                duration_s=self.duration_s,
                frame_size=self.frame_size,
                scores=self.scores,
                heatmaps=self.heatmaps,
                on_threshold=thresholds[0],
                off_threshold=thresholds[1],
                cards=cards,
                omitted=self._book.omitted,
                events_s=self._ended_s + sum(self._open_s.values()),
                way=way,
                heat=heat,
                facts=facts,
                notice=notice,
            )
            (self._folder / "report.html").write_text(render(report), encoding="utf-8", errors="replace")
            summary = {
                "source": source,
                "notice": notice,
                "start_ns": self.start_ns,
                "duration_s": round(self.duration_s, 3),
                "frames": self.frames,
                "width": self.frame_size[1],
                "height": self.frame_size[0],
                "windows": self.windows,
                "heatmaps": self.heatmaps,
                "events": self.event_count,
                "top_score": round(self.top[1], 4),
                "top_score_s": round(self.top[0], 3),
                "facts": facts,
            }
            write_run(self._folder, summary)

    def _begin(self, frame: Frame) -> None:
        if not self.frame_size[0]:
            self.start_ns, self.frame_size = frame.stamp_ns, frame.size

    def _seconds(self, stamp_ns: int) -> float:
        return (stamp_ns - self.start_ns) * 1e-9

    def _add_score(self, seconds: float, score: float) -> None:
        self.scores.append((seconds, score))
        if score > self.top[1]:
            self.top = (seconds, score)
        if len(self.scores) > 2 * MAX_SCORES:
            self.scores = thin(self.scores, MAX_SCORES)

    def _add_event(self, event: AnomalyEvent) -> None:
        self._book.add_event(event)
        if event.phase is Phase.START:
            self.event_count += 1
            self._open_s[event.id] = 0.0
        if event.id in self._open_s:  # words may be told of one that has ended
            self._open_s[event.id] = event.duration_s
        if event.phase is Phase.END:
            self._warm.pop(event.id, None)
            self._ended_s += self._open_s.pop(event.id, 0.0)
        elif event.id in self._warm:
            self._warm[event.id] = event  # words for a box that is shown
        if event.id in self.events or len(self.events) < MAX_LISTED:
            self.events[event.id] = dataclasses.replace(event, track=())
        self._events_file.write(json.dumps(event_record(event, self.start_ns), ensure_ascii=False) + "\n")
        self._events_file.flush()  # so that others can follow the file

    def _open_video(self, width: int, height: int) -> None:
        path = self._folder / "overlay.mp4"
        fps = self._fps  # MPEG-4 counts time in at most 65535 parts of a second
        if fps > 60:
            fps = round(fps, 2) if fps < 600 else round(fps)
        self._video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
        self._video_size = (width, height)
        if not self._video.isOpened():
            raise FrameError(f"{path} cannot be written: this OpenCV has no encoder for MPEG-4 video in mp4 files")
