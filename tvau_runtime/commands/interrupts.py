"""How a command is asked to stop. Knows no command."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

__all__ = ["ending_on_sigterm"]


@contextlib.contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """What stops a service, SIGTERM, ends a command as Ctrl-C does, so that nothing done is lost."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
