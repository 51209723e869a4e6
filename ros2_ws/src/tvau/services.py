"""The services `~/query`, `~/set_prompts` and `~/reset`: requests to the pipeline, and what it says back.

They are there from configure to cleanup; what needs the stream answers, while the node is not active, that it is not.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger
from tvau_msgs.srv import Query, SetPrompts

from tvau_runtime import Pipeline, QueryError, StreamWorker, TvauError

from .conversions import fill_answer

__all__ = ["Services"]


class Services:
    """worker: the one that runs now, or None while the node is not active."""

    def __init__(self, node: Node, pipeline: Pipeline, worker: Callable[[], StreamWorker | None]) -> None:
        self._node, self._pipeline, self._worker = node, pipeline, worker
        # Answers are given one by one, by a thread of their own: neither frames nor other services wait for them.
        asking, steering = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()
        self._made = [
            node.create_service(Query, "~/query", self._query, callback_group=asking),
            node.create_service(SetPrompts, "~/set_prompts", self._set_prompts, callback_group=steering),
            node.create_service(Trigger, "~/reset", self._reset, callback_group=steering),
        ]

    def destroy(self) -> None:
        for service in self._made:
            self._node.destroy_service(service)

    def _query(self, request: Query.Request, response: Query.Response) -> Query.Response:
        try:
            self._running()
            answer = self._pipeline.ask(
                request.question, session=request.session, camera=request.camera, event_id=request.event_id
            )
        except Exception as error:
            response.ok, response.message = False, self._why(error)
            return response
        return fill_answer(response, answer)

    def _set_prompts(self, request: SetPrompts.Request, response: SetPrompts.Response) -> SetPrompts.Response:
        given: dict[str, Any] = {}
        for name in ("normal", "abnormal", "phrase", "sentence"):
            value = getattr(request, name)
            if len(value):
                given[name] = value if isinstance(value, str) else tuple(value)
        backend = self._pipeline.backend
        try:
            if given:
                self._pipeline.set_prompts(dataclasses.replace(backend.prompts, **given))
                self._node.get_logger().info(f"prompts changed: {', '.join(given)}")
            response.ok = True
        except Exception as error:
            response.ok, response.message = False, self._why(error)
        response.normal, response.abnormal = list(backend.prompts.normal), list(backend.prompts.abnormal)
        return response

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            worker = self._running()
            worker.reset()
        except Exception as error:
            response.success, response.message = False, self._why(error)
            return response
        cameras = ", ".join(worker.cameras)
        response.success = True
        response.message = f"events ended, windows start anew: {cameras}" if cameras else "no frame has come yet"
        return response

    def _running(self) -> StreamWorker:
        worker = self._worker()
        if worker is None:
            name = self._node.get_fully_qualified_name()
            raise QueryError(f"the node is not active; activate it first: ros2 lifecycle set {name} activate")
        return worker

    def _why(self, error: Exception) -> str:
        if isinstance(error, TvauError):
            return str(error)
        self._node.get_logger().error(f"a service failed: {traceback.format_exc()}")
        return (
            f"this failed for a reason that is a defect of tvau ({type(error).__name__}: {error}); see the node's log"
        )
