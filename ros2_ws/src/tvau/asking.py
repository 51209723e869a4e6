"""The service `~/query` and the action `~/ask`: the same questions, answered whole or word by word.

Both are there for as long as the node is, so that whoever asks is told when the node is not active, and has an answer from a
node that ends. They share one queue of bounded length (`dialogue.max_waiting`).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from rclpy.action.server import ActionServer, CancelResponse, ServerGoalHandle
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from tvau_msgs.action import Ask
from tvau_msgs.srv import Query

from tvau_runtime import BusyError, Pipeline, QueryError, StreamWorker, TvauError

from .conversions import fill_answer

__all__ = ["THREADS", "Asking", "running", "told"]

THREADS = 66
"""Callbacks of questions that may run at once: as many as may wait, the one that is answered, and one to be turned away."""
REQUESTS = QoSProfile(depth=100)
"""Questions that may arrive in a burst; as many as the middleware keeps for a service by itself are soon too few."""
RESULT_S = 60
"""How long the result of a goal is kept for whoever comes to fetch it."""


class Asking:
    """pipeline, worker: those that run now, or None while the node is not active."""

    def __init__(
        self, node: Node, pipeline: Callable[[], Pipeline | None], worker: Callable[[], StreamWorker | None]
    ) -> None:
        self._node, self._pipeline, self._worker = node, pipeline, worker
        # A question that waits for its turn keeps a thread. Requests, cancels and results of goals never wait for one.
        self._service = node.create_service(
            Query, "~/query", self._query, callback_group=ReentrantCallbackGroup(), qos_profile=REQUESTS
        )
        self._action = ActionServer(
            node,
            Ask,
            "~/ask",
            self._execute,
            callback_group=MutuallyExclusiveCallbackGroup(),
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
            goal_service_qos_profile=REQUESTS,
            result_service_qos_profile=REQUESTS,
            cancel_service_qos_profile=REQUESTS,
            result_timeout=RESULT_S,
        )

    def destroy(self) -> None:
        self._action.destroy()
        self._node.destroy_service(self._service)

    def _query(self, request: Query.Request, response: Query.Response) -> Query.Response:
        self._answer(request, response)
        return response

    def _execute(self, goal: ServerGoalHandle) -> Ask.Result:
        result = Ask.Result()
        self._answer(
            goal.request,
            result,
            on_text=lambda text: goal.publish_feedback(Ask.Feedback(text=text)),
            cancelled=lambda: goal.is_cancel_requested,
        )
        if result.ok:
            goal.succeed()  # also where a cancel comes too late
        elif goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        return result

    def _answer(
        self,
        request: Query.Request | Ask.Goal,
        response: Query.Response | Ask.Result,
        on_text: Callable[[str], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Fills the response."""
        worker = None
        try:
            worker, pipeline = running(self._node, self._worker()), self._pipeline()
            assert pipeline is not None  # there is none without
            answer = pipeline.ask(
                request.question,
                session=request.session,
                camera=request.camera,
                event_id=request.event_id,
                on_text=on_text,
                should_stop=lambda: cancelled() or self._worker() is not worker,
            )
        except Exception as error:
            response.ok, response.message = False, told(self._node, error)
            response.retry_after_s = error.retry_after_s if isinstance(error, BusyError) else 0.0
            if worker is not None and self._worker() is not worker:
                response.message = (
                    "the node was deactivated before the answer was complete; ask again once it is active"
                )
            return
        fill_answer(response, answer)


def running(node: Node, worker: StreamWorker | None) -> StreamWorker:
    """The worker. Raises `QueryError` where there is none, for the node is not active."""
    if worker is None:
        name = node.get_fully_qualified_name()
        raise QueryError(f"the node is not active; activate it first: ros2 lifecycle set {name} activate")
    return worker


def told(node: Node, error: Exception) -> str:
    """What is said to a caller about an error; one that is a defect of ours also goes to the node's log."""
    if isinstance(error, TvauError):
        return str(error)
    node.get_logger().error(f"a service failed: {traceback.format_exc()}")
    return f"this failed for a reason that is a defect of tvau ({type(error).__name__}: {error}); see the node's log"
