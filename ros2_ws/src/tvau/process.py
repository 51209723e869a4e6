"""A node as a process: runs until SIGINT or SIGTERM, ends while it can still publish, says in one line what is wrong.

Knows no particular node.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol, cast

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import try_shutdown

from tvau_runtime import TvauError

from .executor import PoolExecutor
from .middleware import prepare

__all__ = ["LogToRos", "Runnable", "run"]

LOOK_S = 0.2
"""How often it is looked whether a signal has come."""
INSISTS_S = 2.0
"""A signal that comes so long after the first ends the process at once. Nearer ones are the same wish: at a Ctrl-C, the
terminal signals everybody, and then `ros2 launch` its nodes once more."""


class Runnable(Protocol):
    """What `run` asks of a node, beside that it is one."""

    threads: int
    """Callbacks that may run at the same time, at least 2."""
    finished: threading.Event
    """Set by a node that has nothing left to do."""
    exit_code: int

    def end(self) -> None:
        """Stops all that runs; may still publish. May be called again."""
        ...


def run(make: Callable[[], Runnable], arguments: list[str] | None = None) -> int:
    """Makes the node and spins it until a signal comes or it has finished. Returns the exit code of the process.

    rclpy's own signal handlers would close the middleware at once, and with it the way to tell how things ended.
    """
    told, first_s = threading.Event(), 0.0

    def note(number: int, _: object) -> None:
        nonlocal first_s
        if not told.is_set():
            first_s = time.monotonic()
            told.set()
        elif time.monotonic() - first_s > INSISTS_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    prepare()
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # of several types of rclpy's binary module
        return _refuse(f"the ROS arguments cannot be used: {error}")
    try:
        node = make()
        _spin(node, told)
        return node.exit_code
    except TvauError as error:
        return _refuse(str(error))
    except ValueError as error:
        if "PARAMETER_NOT_SET" not in str(error):
            raise
        return _refuse("a parameter is set to nothing, such as [], which has no type; leave it out")
    finally:
        try_shutdown()


def _spin(runnable: Runnable, told: threading.Event) -> None:
    node = cast(Node, runnable)
    library = logging.getLogger("tvau_runtime")
    to_ros = LogToRos(node)
    library.addHandler(to_ros)
    level_before = library.level
    library.setLevel(logging.INFO)  # what the node's own level hides, ROS hides
    executor = PoolExecutor(runnable.threads)
    executor.add_node(node)
    try:
        while not (told.is_set() or runnable.finished.is_set()) and node.context.ok():
            executor.spin_once(timeout_sec=LOOK_S)
    finally:
        runnable.end()
        executor.shutdown()
        runnable.end()  # what a callback that still ran has begun
        library.removeHandler(to_ros)
        library.setLevel(level_before)
        node.destroy_node()


def _refuse(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 1


class LogToRos(logging.Handler):
    """What the library logs, in the node's log."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._logger = node.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        # rclpy takes a source line for one severity only.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)
