"""One writer at a time in a folder that runs resume from. Knows nothing of what is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tvau_runtime.errors import ConfigError

__all__ = ["sole_writer"]


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """While this is open, no other process comes past it with the same folder, which is made where it is missing.

    The system lets go of the lock when the process ends, however it does. Raises `ConfigError` where another holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(
            f"another process is writing to {folder}; wait for it, stop it, or give another --out"
        ) from error
    try:
        yield
    finally:
        lock.release()
