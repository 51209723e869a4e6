"""The services `~/set_prompts` and `~/reset`: requests to the pipeline, and what it says back.

They are there from configure to cleanup; what needs the stream answers, while the node is not active, that it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger
from tvau_msgs.srv import SetPrompts

from tvau_runtime import Pipeline, QueryError, StreamWorker

from .asking import running, told

__all__ = ["Services"]


class Services:
    """worker: the one that runs now, or None while the node is not active. cameras: those that may be named."""

    def __init__(
        self, node: Node, pipeline: Pipeline, worker: Callable[[], StreamWorker | None], cameras: tuple[str, ...]
    ) -> None:
        self._node, self._pipeline, self._worker, self._cameras = node, pipeline, worker, cameras
        steering = MutuallyExclusiveCallbackGroup()
        self._made = [
            node.create_service(SetPrompts, "~/set_prompts", self._set_prompts, callback_group=steering),
            node.create_service(Trigger, "~/reset", self._reset, callback_group=steering),
        ]

    def destroy(self) -> None:
        for service in self._made:
            self._node.destroy_service(service)

    def _set_prompts(self, request: SetPrompts.Request, response: SetPrompts.Response) -> SetPrompts.Response:
        given: dict[str, Any] = {}
        camera = request.camera
        for name in ("normal", "abnormal", "phrase", "sentence"):
            value = getattr(request, name)
            if len(value):
                given[name] = value if isinstance(value, str) else tuple(value)
        try:
            if camera and camera not in self._cameras:
                raise QueryError(f"there is no camera {camera!r}; there are: {', '.join(self._cameras)}")
            if given:
                self._pipeline.set_prompts(self._pipeline.prompts(camera).changed(**given), camera)
                whose = f"camera '{camera}'" if camera else "all cameras"
                self._node.get_logger().info(f"prompts of {whose} changed: {', '.join(given)}")
            response.ok = True
        except Exception as error:
            response.ok, response.message = False, told(self._node, error)
        prompts = self._pipeline.prompts(camera)
        response.normal, response.abnormal = list(prompts.normal), list(prompts.abnormal)
        return response

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            worker = running(self._node, self._worker())
            worker.reset()
        except Exception as error:
            response.success, response.message = False, told(self._node, error)
            return response
        cameras = ", ".join(worker.cameras)
        response.success = True
        response.message = f"events ended, windows start anew: {cameras}" if cameras else "no frame has come yet"
        return response
