"""The community's text files of tracks, boxes, labels and scores, each line checked. Knows no figures.

    tracks        NAME.txt   track_id,frame_id,x_min,y_min,x_max,y_max       ground truth of a video
    predictions   NAME.txt   frame_id,x_min,y_min,x_max,y_max,score          what a detector says of it
    labels        NAME.txt or NAME.npy   0 or 1 for each frame
    scores        NAME.txt or NAME.npy   a number for each frame

Frames count from 0; boxes are pixels with inclusive maxima. An empty file says that there is nothing.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..errors import ConfigError

__all__ = ["PREDICTION", "TRACK", "read_boxes", "read_numbers"]

TRACK = ("track_id", "frame_id", "x_min", "y_min", "x_max", "y_max")
PREDICTION = ("frame_id", "x_min", "y_min", "x_max", "y_max", "score")
WHOLE = ("track_id", "frame_id")


def read_boxes(path: Path, columns: tuple[str, ...], frames: int | None = None) -> np.ndarray:
    """The lines of a file of tracks (columns = `TRACK`) or predictions (`PREDICTION`) as float64 [n, 6].

    frames: how many the video has, if known. Raises `ConfigError` naming file and line for what is no such line, for a frame
    that the video does not have, and for a second box of one track in one frame.
    """
    rows, lines_of = [], {}
    for number, line in _lines(path):
        where, row = f"{path}:{number}", _row(line, columns)
        if isinstance(row, str):
            raise ConfigError(f"{where}: {row}; expected {','.join(columns)}, got {_cut(line)!r}")
        named = dict(zip(columns, row, strict=True))
        if frames is not None and named["frame_id"] >= frames:
            raise ConfigError(f"{where}: frame_id {named['frame_id']:g}, but the video has frames 0 to {frames - 1}")
        if columns is TRACK:
            before = lines_of.setdefault((named["track_id"], named["frame_id"]), number)
            if before != number:
                raise ConfigError(
                    f"{where}: track {named['track_id']:g} has a box in frame {named['frame_id']:g} already, in line {before}"
                )
        rows.append(row)
    return np.array(rows, np.float64).reshape(-1, len(columns))


def read_numbers(path: Path) -> np.ndarray:
    """One number per frame, float64 [T], of a NumPy file or of a text file with one on each line.

    Raises `ConfigError` naming file and line, or entry, for what is no finite number.
    """
    if path.suffix == ".npy":
        try:
            values = np.asarray(np.load(path, allow_pickle=False))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} is no NumPy file of numbers: {error}") from error
        if values.ndim != 1 or values.dtype.kind not in "biuf":
            raise ConfigError(f"{path} must hold one number per frame, [T], got {values.dtype} {list(values.shape)}")
        values = values.astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise ConfigError(f"{path}: the number of frame {bad[0]} is not finite")
        return values
    found = []
    for number, line in _lines(path):
        value = _number(line)
        if value is None:
            raise ConfigError(f"{path}:{number}: expected a number, got {_cut(line)!r}")
        found.append(value)
    return np.array(found, np.float64)


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbers, from 1, and texts of the lines that are not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"{path} cannot be read: {reason}") from error
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _row(line: str, columns: tuple[str, ...]) -> list[float] | str:
    """A line's numbers, or what is wrong with it."""
    parts = line.split(",")
    if len(parts) != len(columns):
        return f"{len(parts)} values instead of {len(columns)}"
    row: list[float] = []
    for name, part in zip(columns, parts, strict=True):
        value = _number(part)
        if value is None:
            return f"{name} is not a finite number"
        if name in WHOLE and (value < 0 or value != int(value)):
            return f"{name} is not a whole number from 0 on"
        row.append(value)
    box = dict(zip(columns, row, strict=True))
    if box["x_max"] < box["x_min"] or box["y_max"] < box["y_min"]:
        return "a maximum is less than its minimum"
    return row


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _cut(line: str) -> str:
    return line if len(line) <= 80 else line[:77] + "..."
