"""Files that are there whole or not at all, whoever is killed while writing. Knows not what is in them."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

__all__ = ["read_arrays", "write_whole"]


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """All arrays of an .npz file by name; None where it is not there or not whole, as a disk that failed may leave it.

    Raises `OSError` where it cannot be read now.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as kept:
            return dict(kept)
    except MemoryError:
        raise
    except Exception:  # what NumPy raises depends on where the damage is
        return None


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Has `write` fill a file beside `path`, and gives it this name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with beside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
