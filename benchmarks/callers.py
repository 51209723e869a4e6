"""Those who ask the node under test, in a process of their own: each has one dialogue after the other, without a pause."""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import rclpy
from rclpy.action.client import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from tvau_msgs.action import Ask
from tvau_msgs.srv import Query

from tvau_runtime import chat

__all__ = ["Asked", "Callers"]

QUESTIONS = (chat.QUESTION_ANOMALY, chat.QUESTION_TARGET, chat.QUESTION_TRAJECTORY, "Which one?", "When did it start?")
"""The turns of a dialogue; behind the last one a new dialogue begins."""
PATIENCE_S = 60.0


@dataclass
class Asked:
    """What became of one question."""

    turn: int
    streamed: bool
    """Put to `~/ask`, not to `~/query`."""
    ok: bool = False
    busy: bool = False
    first_ms: float | None = None
    """Until the first words of a streamed answer."""
    whole_ms: float = 0.0


class Callers:
    """Asks a node from another process. Who is told that the model is busy asks again when it says."""

    def __init__(self, node: str) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, node), daemon=True)
        self._process.start()

    def ready(self) -> bool:
        """Whether the node can be asked; the first call waits for the process."""
        self._pipe.send(("ready",))
        return self._pipe.recv()

    def begin(self, count: int, duration_s: float) -> None:
        """So many ask for so long: every second one `~/ask`, the others `~/query`. Returns at once."""
        self._pipe.send(("ask", count, duration_s))

    def asked(self) -> list[Asked]:
        """All questions that were put; waits for the last answer."""
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.send(("end",))
        self._process.join(10)
        if self._process.is_alive():
            self._process.terminate()


def _serve(pipe: Any, name: str) -> None:
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node, executor = Node("callers"), SingleThreadedExecutor()
    executor.add_node(node)
    service, action = node.create_client(Query, f"/{name}/query"), ActionClient(node, Ask, f"/{name}/ask")
    while True:
        what, *about = pipe.recv()
        if what == "end":
            break
        if what == "ready":
            pipe.send(service.service_is_ready() and action.server_is_ready())
            continue
        count, duration_s = about
        asked: list[Asked] = []
        callers = [_Caller(service, action, number % 2 == 1, asked) for number in range(count)]
        until = time.monotonic() + duration_s
        while time.monotonic() < until or (
            any(caller.waits for caller in callers) and time.monotonic() < until + PATIENCE_S
        ):
            for caller in callers:
                caller.go_on(time.monotonic() < until)
            executor.spin_once(timeout_sec=0.005)
        pipe.send(asked)
    executor.shutdown()
    action.destroy()
    node.destroy_node()
    rclpy.shutdown()


class _Caller:
    """One who asks, and what it waits for."""

    def __init__(self, service: Any, action: ActionClient, streams: bool, asked: list[Asked]) -> None:
        self._service, self._action, self._streams, self._asked = service, action, streams, asked
        self._session, self._turn, self._not_before = "", 0, 0.0
        self._question: Asked | None = None
        self._began = 0.0

    @property
    def waits(self) -> bool:
        return self._question is not None

    def go_on(self, more: bool) -> None:
        """Asks, if there is nothing to wait for."""
        if self.waits or not more or time.monotonic() < self._not_before:
            return
        self._question, self._began = Asked(self._turn + 1, self._streams), time.monotonic()
        fields = {"question": QUESTIONS[self._turn], "session": self._session}
        if self._streams:
            goal = self._action.send_goal_async(Ask.Goal(**fields), self._hear)
            goal.add_done_callback(
                lambda done: done.result().get_result_async().add_done_callback(lambda d: self._end(d.result().result))
            )
        else:
            self._service.call_async(Query.Request(**fields)).add_done_callback(lambda done: self._end(done.result()))

    def _hear(self, message: Any) -> None:
        if self._question is not None and self._question.first_ms is None:
            self._question.first_ms = (time.monotonic() - self._began) * 1e3

    def _end(self, response: Any) -> None:
        question, self._question = self._question, None
        if question is None:
            return
        question.whole_ms = (time.monotonic() - self._began) * 1e3
        question.ok, question.busy = response.ok, response.retry_after_s > 0
        self._asked.append(question)
        if question.ok:
            self._session, self._turn = response.session, (self._turn + 1) % len(QUESTIONS)
        else:
            self._not_before = time.monotonic() + response.retry_after_s
            if not question.busy:
                self._turn = 0
        if not self._turn:
            self._session = ""
