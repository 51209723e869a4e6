"""Nodes as processes of their own, with their logs in files. Knows no ROS topic."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["NodeProcesses"]


class NodeProcesses:
    """logs: the folder for `<name>.log`."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen] = {}

    def start(self, name: str, parameters: dict[str, Any], module: str = "") -> None:
        """Starts `python -m tvau.<name>` with parameters; with a module, that one as a node of this name."""
        given = ["-r", f"__node:={name}"] if module else []
        for key, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            given += ["-p", f"{key}:={text}"]
        with (self._logs / f"{name}.log").open("w") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", f"tvau.{module or name}", "--ros-args", *given],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is for the demo, which then ends them in order
            )

    def pid(self, name: str) -> int:
        """The process's number."""
        return self._running[name].pid

    def exit_code(self, name: str) -> int | None:
        """None while it runs."""
        return self._running[name].poll()

    def interrupt(self) -> None:
        """Asks all to end, as Ctrl-C would."""
        for process in self._running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)

    def all_ended(self) -> bool:
        return all(process.poll() is not None for process in self._running.values())

    def clean_up(self) -> None:
        """Leaves no process behind, whatever it does."""
        for process in self._running.values():
            if process.poll() is None:
                process.terminate()
        for process in self._running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def last_lines(self, name: str, count: int = 5) -> str:
        """The end of a node's log."""
        path = self._logs / f"{name}.log"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return "\n".join(f"    {line}" for line in lines[-count:])
