"""The folder that `tvau watch` writes to, and how an event and a run stand in its files. Knows no stream and no
model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..types import AnomalyEvent, Phase

__all__ = ["FILES", "check_folder", "event_record", "prepare_folder", "write_run"]

FILES = ("overlay.mp4", "events.jsonl", "scores.csv", "report.html", "run.json")
MADE_BY = "tvau watch"
"""In run.json: the folder is ours and may be written anew."""


def check_folder(folder: Path, source: str, *, force: bool) -> None:
    """Raises `ConfigError` for a folder that holds what is not ours, unless `force`, and for one in which the video that is to be
    watched would be written over. Changes nothing."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out must be a folder, but {folder} is a file")
    if folder.exists() and any(folder.iterdir()) and not force and not _is_ours(folder):
        raise ConfigError(
            f"{folder} is not empty and was not written by tvau; name another folder with --out, or use --force to "
            f"write {', '.join(FILES)} into it"
        )
    for name in FILES:
        if Path(source).is_file() and (folder / name).exists() and Path(source).samefile(folder / name):
            raise ConfigError(f"{source} would be written over by the result; name another folder with --out")


def prepare_folder(folder: Path) -> None:
    """Makes the folder if need be, removes the files named in `FILES`, and nothing else, and marks it as ours."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    write_run(folder, {})


def event_record(event: AnomalyEvent, start_ns: int) -> dict[str, Any]:
    """An event as plain values: the fields of `AnomalyEvent`, in seconds since `start_ns` and pixels.

    The track, `[seconds, x_min, y_min, x_max, y_max, score]` per point, stands only with the END, where it is complete.
    """

    def seconds(stamp_ns: int) -> float:
        return round((stamp_ns - start_ns) * 1e-9, 3)

    def pixels(box: tuple[float, ...]) -> list[float]:
        return [round(v, 1) for v in box]

    record: dict[str, Any] = {
        "id": event.id,
        "camera": event.camera,
        "frame_id": event.frame_id,
        "phase": event.phase.name,
        "start_s": seconds(event.start_ns),
        "end_s": seconds(event.end_ns),
        "peak_s": seconds(event.peak_ns),
        "duration_s": round(event.duration_s, 3),
        "score": round(event.score, 4),
        "peak_score": round(event.peak_score, 4),
        "box": pixels(event.box),
        "peak_box": pixels(event.peak_box),
        "label": event.label,
        "description": event.description,
    }
    if event.phase is Phase.END:
        record["track"] = [[seconds(p.stamp_ns), *pixels(p.box), round(p.score, 4)] for p in event.track]
    return record


def write_run(folder: Path, values: dict[str, Any]) -> None:
    """Writes run.json: the mark by which the folder is known as ours, and these values."""
    text = json.dumps({"made_by": MADE_BY, **values}, indent=2, ensure_ascii=False)
    (folder / "run.json").write_text(text + "\n", encoding="utf-8", errors="replace")


def _is_ours(folder: Path) -> bool:
    try:
        content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("made_by") == MADE_BY
