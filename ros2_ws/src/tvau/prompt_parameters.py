"""What counts as normal and abnormal, from ROS parameters: `prompts.abnormal` for all cameras, `prompts.yard.abnormal` for one.

Lists replace the model's own, or add to them where each prompt begins with +. Which there can be depends on the cameras, so they
are declared by being given, and read once, when the model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from tvau_runtime import ConfigError, Prompts

__all__ = ["PREFIX", "keep_prompts", "read_prompts"]

PREFIX = "prompts."
LISTS, TEMPLATES = ("normal", "abnormal"), ("phrase", "sentence")


def read_prompts(node: Node, cameras: tuple[str, ...], own: Prompts) -> dict[str, Prompts]:
    """Prompts by camera, "" for all that have none of their own. own: those of the model, for what is not given.

    Raises `ConfigError` naming the parameter.
    """
    given: dict[str, dict[str, Any]] = {}
    for name in sorted(node.get_parameters_by_prefix(PREFIX.rstrip("."))):
        parameter = node.get_parameter(PREFIX + name)
        camera, _, what = name.rpartition(".")
        if what not in (*LISTS, *TEMPLATES) or (camera and camera not in cameras):
            known = ", ".join(PREFIX + each for each in (*LISTS, *TEMPLATES))
            raise ConfigError(
                f"there is no parameter '{PREFIX}{name}'; known: {known}, and the same of a camera, as in "
                f"{PREFIX}{cameras[0]}.abnormal (cameras: {', '.join(cameras)})"
            )
        wanted = Parameter.Type.STRING_ARRAY if what in LISTS else Parameter.Type.STRING
        if parameter.type_ != wanted:
            kind = "list of texts" if what in LISTS else "text"
            raise ConfigError(f"parameter {PREFIX}{name} must be a {kind}, got {parameter.value!r}")
        given.setdefault(camera, {})[what] = parameter.value
    found: dict[str, Prompts] = {}
    for camera in sorted(given):  # "" comes first
        try:
            found[camera] = found.get("", own).changed(**given[camera])
        except ConfigError as error:
            raise ConfigError(f"parameters {PREFIX}{camera + '.' if camera else ''}*: {error}") from error
    return found


def keep_prompts(node: Node, running: Callable[[], bool]) -> None:
    """Refuses changes of these parameters while the node runs, for nothing would come of them."""

    def judge(parameters: list[Parameter]) -> SetParametersResult:
        if running() and any(parameter.name.startswith(PREFIX) for parameter in parameters):
            return SetParametersResult(successful=False, reason="while the node runs, prompts change by ~/set_prompts")
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(judge)
