"""An executor with a pool of threads that can be brought to rest: it knows when the last callback has ended.

rclpy's own MultiThreadedExecutor leaves callbacks running when it is shut down, which then fail on what is gone.
"""

from __future__ import annotations

import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import (
    ConditionReachedException,
    Executor,
    ExternalShutdownException,
    ShutdownException,
    TimeoutException,
)
from rclpy.logging import get_logger
from rclpy.task import Task

__all__ = ["AtOnceCallbackGroup", "PoolExecutor"]


class AtOnceCallbackGroup(MutuallyExclusiveCallbackGroup):
    """Callbacks that take next to no time, and so run in the spinning thread: to hand one to another thread costs more.

    rclpy builds the list of what it waits for anew in Python, once more for every callback that begins elsewhere.
    """


class PoolExecutor(Executor):
    """threads: callbacks that may run at the same time, as far as their callback groups let them.

    A callback that raises is logged with its traceback, and the others go on.
    """

    def __init__(self, threads: int, *, context: Context | None = None) -> None:
        super().__init__(context=context)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="callback")

    def spin_once(self, timeout_sec: float | None = None) -> None:
        try:
            waiting = self.wait_for_ready_callbacks(timeout_sec=timeout_sec)
        except (ConditionReachedException, ExternalShutdownException, ShutdownException, TimeoutException):
            return
        except InvalidHandle:
            return  # something was destroyed while it was looked at
        with self._tasks_lock:  # rclpy would hand out a task that waits in the pool again and again
            self._tasks = [each for each in self._tasks if each[0] is not waiting[0]]
        if isinstance(getattr(waiting[1], "callback_group", None), AtOnceCallbackGroup):
            self._execute(*waiting)
        else:
            self._pool.submit(self._execute, *waiting)

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Waits for the callbacks that run, however long they take, does what they have left to do, and frees the rest."""
        self._pool.shutdown(wait=True)
        while self._tasks:  # such as the result of a goal, which is sent as a task of its own
            tasks, self._tasks = self._tasks, []
            for task, _, _ in tasks:
                task()
        return super().shutdown(timeout_sec)

    def _execute(self, task: Task, entity: Any, node: Any) -> None:
        task()
        if not task.done():  # it awaits something: another try
            with self._tasks_lock:
                self._tasks.append((task, entity, node))
            self.wake()
            return
        error = task.exception()
        if error is not None and not isinstance(error, InvalidHandle):  # what it was to answer to may be gone
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            get_logger("tvau").error(f"a callback failed, which is a defect: {text}")
