"""What a user types, line by line, with a history that lasts; answers that appear as they come; and Ctrl-C that ends one.

Knows no video and no model.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = ["Teller", "interruptible", "lines"]

MOST_LINES = 1000
"""Of the history, in its file."""


def lines() -> Iterator[str]:
    """The user's lines: at a prompt with history in a terminal, else as they come, shown with their answers.

    At the prompt, Ctrl-C drops the line and Ctrl-D ends.
    """
    if sys.stdin.isatty():
        yield from _typed()
        return
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    for line in sys.stdin:
        print(f"> {line.rstrip()}")
        yield line


class Teller:
    """Writes an answer: in a terminal as far as it has come, else once it is complete."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._shown = ""

    def tell(self, text: str) -> None:
        """text: the answer so far, all of it. One that does not begin as before is said anew, on a line of its own."""
        if not self._live:
            return
        if not text.startswith(self._shown):
            print("\n  said anew, by the evidence:")
            self._shown = ""
        print(text[len(self._shown) :], end="", flush=True)
        self._shown = text

    def end(self, text: str) -> None:
        """text: the whole answer."""
        self.tell(text)
        print() if self._live else print(text)


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Meanwhile Ctrl-C raises nothing but is noted: whether it has come. A second one raises `KeyboardInterrupt`, as ever."""
    pressed = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _typed() -> Iterator[str]:
    remember = _open_history()
    while True:
        try:
            line = input("> ")
        except KeyboardInterrupt:
            print("\n(Ctrl-D or /quit leaves)")
            continue
        except EOFError:
            print()
            return
        if line.strip():
            remember()
        yield line


def _open_history() -> Callable[[], None]:
    """Makes `input` editable, with the lines of earlier runs; what keeps the line that was typed last."""
    try:
        import readline
    except ImportError:  # not on every system
        return lambda: None
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    path = state / "tvau" / "chat_history"
    readline.set_history_length(MOST_LINES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        readline.clear_history()
        readline.read_history_file(path)
        if readline.get_current_history_length() >= MOST_LINES:
            readline.write_history_file(path)
    except OSError:  # a folder that may not be written, or what lies there is no history
        return lambda: None

    def remember() -> None:
        with contextlib.suppress(OSError):
            readline.append_history_file(1, path)

    return remember
