"""Step 5, as files: `dialogues.jsonl` for stage 2, `descriptions.jsonl` (a line per target), `frames.jsonl` (a line per
frame) and `summary.json`.

Lines are added clip by clip under hidden names; the files appear whole when the run ends or is stopped. Knows no pictures.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tvau_runtime.errors import ConfigError

from .dialogues import describe, way
from .observations import Timeline, center
from .pipeline import ClipResult, Settings, dialogues

__all__ = ["FILES", "Writer", "description_lines", "dialogue_lines", "frame_lines"]

FILES = ("dialogues.jsonl", "descriptions.jsonl", "frames.jsonl")


class Writer:
    """The files of one run, in a folder. Raises `ConfigError` where they cannot be written."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.counts: Counter[str] = Counter()
        self._drafts = [folder / f".{name}.part" for name in FILES]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._files = [draft.open("w", encoding="utf-8") for draft in self._drafts]
        except OSError as error:
            raise ConfigError(f"annotations cannot be written into {folder}: {error}") from error

    def add(self, result: ClipResult) -> None:
        """Writes all about one clip."""
        told = [dialogue_lines(result, self.settings), description_lines(result), frame_lines(result)]
        for name, file, lines in zip(FILES, self._files, told, strict=True):
            for line in lines:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                self.counts[name] += 1
        self.counts["clips"] += 1
        self.counts["clips shorter than a window"] += len(result.shots) < self.settings.window

    def discard(self) -> None:
        """Leaves what the folder held before."""
        for file, draft in zip(self._files, self._drafts, strict=True):
            file.close()
            draft.unlink()

    def close(self, summary: dict[str, Any]) -> None:
        """Gives the files their names, what is there by now being all, and adds the summary."""
        for file, draft, name in zip(self._files, self._drafts, FILES, strict=True):
            file.close()
            os.replace(draft, self.folder / name)
        draft = self.folder / ".summary.json.part"
        draft.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        os.replace(draft, self.folder / "summary.json")


def dialogue_lines(result: ClipResult, settings: Settings) -> Iterator[dict[str, Any]]:
    """One line per dialogue: clip and split, `kind` (narration or anomaly), `indices` (numbers of the window's frames),
    when that is, `anomalous` (null where unknown), `target` (of descriptions.jsonl, 0 for none), and `turns` of
    question, answer, field."""
    for each in dialogues(result, settings):
        yield {
            "clip": result.name,
            "split": result.split,
            "kind": each.kind,
            "indices": list(each.frames),
            "start_s": round(each.start_s, 3),
            "end_s": round(each.end_s, 3),
            "anomalous": each.abnormal,
            "target": each.target,
            "turns": [asdict(turn) for turn in each.turns],
        }


def description_lines(result: ClipResult) -> Iterator[dict[str, Any]]:
    """One line per target: who, doing what and when, where from and to, turning points, speed, and when it is abnormal."""
    times = {shot.frame: shot.time_s for shot in result.shots}
    odd = {anomaly.timeline: anomaly for anomaly in result.anomalies}
    for each in result.timelines:
        anomaly = odd.get(each.id)
        when = (
            [each.start_s, each.end_s]
            if anomaly is None
            else [times[i] for i in (anomaly.frames[0], anomaly.frames[-1])]
        )
        yield {
            "clip": result.name,
            "split": result.split,
            "target": each.id,
            "category": each.category,
            "appearance": each.appearance,
            "description": describe(each, *when),
            "trajectory": way(each, result.size, *when),
            "start_s": round(each.start_s, 3),
            "end_s": round(each.end_s, 3),
            "states": [[round(s.start_s, 3), round(s.end_s, 3), s.action] for s in each.states],
            "from": _point(each.observations[0].box),
            "to": _point(each.observations[-1].box),
            "turns": [[round(each.observations[i].time_s, 3), *np.round(each.path[i], 1).tolist()] for i in each.turns],
            "sizes_per_s": round(float(np.median(each.speeds)), 3),
            "agreement": round(each.agreement, 3),
            "abnormal": None if anomaly is None else [round(time, 3) for time in when],
            "confirmed": None if anomaly is None else round(anomaly.confirmed, 3),
            "mask_cover": None if anomaly is None else round(anomaly.cover, 3),
        }


def frame_lines(result: ClipResult) -> Iterator[dict[str, Any]]:
    """One line per frame that was asked about: its targets with boxes, `seen` false where a target was missed there and
    its box is interpolated; and why the frame's answer was set aside, if it was."""
    odd = {(anomaly.timeline, frame) for anomaly in result.anomalies for frame in anomaly.frames}
    for shot, extraction in zip(result.shots, result.raw, strict=True):
        yield {
            "clip": result.name,
            "split": result.split,
            "frame": shot.frame,
            "time_s": round(shot.time_s, 3),
            "abnormal": shot.abnormal,
            "set_aside": extraction.reason or None,
            "targets": [
                _target(each, box, shot.frame, shot.time_s, (each.id, shot.frame) in odd)
                for each in result.timelines
                if (box := each.box_at(shot.time_s)) is not None
            ],
        }


def _target(timeline: Timeline, box: tuple, frame: int, time_s: float, abnormal: bool) -> dict[str, Any]:
    claims = [claim for each in timeline.observations if each.frame == frame for claim in each.claims]
    return {
        "target": timeline.id,
        "category": timeline.category,
        "appearance": timeline.appearance,
        "action": timeline.action_at(time_s),
        "box": [round(v, 1) for v in box],
        "confidence": round(max((claim.confidence for claim in claims), default=0.0), 3),
        "seen": bool(claims),
        "abnormal": abnormal,
    }


def _point(box: tuple) -> list[float]:
    return [round(v, 1) for v in center(box)]
