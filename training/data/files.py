"""What the loaders read beside videos: images, id maps and text rows, each checked, and files in the order of their numbers.

Every error names the file. Knows no layout.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from tvau_runtime.errors import FrameError

__all__ = [
    "VIDEO_SUFFIXES",
    "by_number",
    "fitted",
    "folders_in",
    "images_in",
    "number_of",
    "read_ids",
    "read_image",
    "read_rows",
    "videos_in",
    "visible",
]

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")


def by_number(path: Path) -> list:
    """Sorting key: numbers in a name count as numbers, so that 2 comes before 10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.findall(r"\d+|\D+", path.name)]


def number_of(path: Path) -> int | None:
    """The last number in a file's name without its ending: 60 of `frame060.bmp`; None where there is none."""
    found = re.findall(r"\d+", path.stem)
    return int(found[-1]) if found else None


def visible(folder: Path) -> list[Path]:
    """What a folder holds, by number, without what operating systems leave behind (`.DS_Store`, `._001.tif`, `__MACOSX`); empty
    for a folder that is not there."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if not p.name.startswith((".", "__MACOSX"))), key=by_number)


def folders_in(folder: Path) -> list[Path]:
    """Its folders, by number."""
    return [path for path in visible(folder) if path.is_dir()]


def images_in(folder: Path) -> list[Path]:
    """Its images, by number."""
    return _with(folder, IMAGE_SUFFIXES)


def videos_in(folder: Path) -> list[Path]:
    """Its videos, by number."""
    return _with(folder, VIDEO_SUFFIXES)


def _with(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    return [path for path in visible(folder) if path.suffix.lower() in suffixes and path.is_file()]


def read_image(path: Path) -> np.ndarray:
    """An image, uint8 [H, W, 3], BGR. Raises `FrameError` for one that is missing or damaged."""
    return _decoded(path, cv2.IMREAD_COLOR)


def read_ids(path: Path) -> np.ndarray:
    """A map of object ids or a mask, uint8 [H, W]. Raises `FrameError` for one that is missing or damaged."""
    return _decoded(path, cv2.IMREAD_GRAYSCALE)


def _decoded(path: Path, flags: int) -> np.ndarray:
    try:
        data = np.fromfile(path, np.uint8)  # imread cannot say whether a file is missing or damaged
    except OSError as error:
        raise FrameError(f"{path} cannot be read: {error.strerror}") from error
    logged = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        image = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:
        image = None
    finally:
        cv2.utils.logging.setLogLevel(logged)
    if image is None or _cut_jpeg(data):
        raise FrameError(f"{path} is not an image or is damaged ({data.size} bytes)")
    return image


def _cut_jpeg(data: np.ndarray) -> bool:
    """A JPEG that stops early decodes without complaint, grey from there on."""
    return data[:2].tobytes() == b"\xff\xd8" and b"\xff\xd9" not in data[-1024:].tobytes()


def read_rows(path: Path, columns: int) -> np.ndarray:
    """Rows of numbers, float64 [n, columns], from a text file with commas or blanks between them and any line endings.

    Raises `FrameError` for a file that is missing, for a row of another length, and for what is not a finite number.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FrameError(f"{path} cannot be read: {error}") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        parts = [part for part in re.split(r"[,\s]+", line.strip()) if part]
        if not parts:
            continue
        try:
            row = [float(part) for part in parts]
        except ValueError:
            row = []
        if len(row) != columns or not all(map(math.isfinite, row)):
            raise FrameError(f"{path}, line {number}: expected {columns} numbers, got {line.strip()!r}")
        rows.append(row)
    return np.array(rows, np.float64).reshape(-1, columns)


def fitted(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask or id map [h, w] stretched to (height, width) without mixing values."""
    if values.shape == tuple(size):
        return values
    stretched = cv2.resize(values.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
    return stretched.astype(values.dtype)
