"""Config dataclasses as ROS parameters: declared once, with description and range, checked when set, and read back.

Knows no setting by name; which there are, `tvau_runtime.describe` tells.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from tvau_runtime import ConfigError, Option, describe, fill

__all__ = ["Parameters"]

C = TypeVar("C")

OWN_OF_ROS = ("use_sim_time", "start_type_description_service", "qos_overrides.")


class Parameters:
    """The parameters of a node.

    node: must declare overrides automatically (`automatically_declare_parameters_from_overrides=True`), so that those
    that nothing declares can be found: they are warned of.
    configs: the config classes; their settings are the parameters.
    running: whether settings that are not `live` are fixed at this moment.
    changed: called after settings have changed; while nothing runs, they may not fit together.
    remedy: what to do about a setting that is fixed, for people.
    others: how names of parameters begin that somebody else reads.
    """

    def __init__(
        self,
        node: Node,
        *configs: type,
        running: Callable[[], bool] = lambda: False,
        changed: Callable[[], None] = lambda: None,
        remedy: str = "",
        others: tuple[str, ...] = (),
    ) -> None:
        self._node, self._configs = node, configs
        self._others = (*OWN_OF_ROS, *others)
        self._running, self._changed, self._remedy = running, changed, remedy
        self._options = {option.path: option for config in configs for option in describe(config)}
        self._problems: dict[str, str] = {}
        for option in self._options.values():
            self._declare(option)
        self._warn_of_unknown()
        node.add_pre_set_parameters_callback(self._with_decimals)
        node.add_on_set_parameters_callback(self._judge)
        node.add_post_set_parameters_callback(self._after_set)

    def read(self, config: type[C]) -> C:
        """The settings of one config class. Raises `ConfigError`."""
        options = describe(config)
        for option in options:
            if option.path in self._problems:
                raise ConfigError(self._problems[option.path])
        return fill(config, {option.path: self._node.get_parameter(option.path).value for option in options})

    def _declare(self, option: Option) -> None:
        """With what was given for it, or, where that is no good, with the default, which `read` then refuses."""
        default = list(option.default) if isinstance(option.default, tuple) else option.default
        value = default
        if self._node.has_parameter(option.path):  # given, and declared by rclpy without description and range
            value = self._with_decimals([self._node.get_parameter(option.path)])[0].value
            self._node.undeclare_parameter(option.path)
        kind = Parameter.Type.from_parameter_value
        if kind(value) is not kind(default):
            self._problems[option.path] = (
                f"parameter {option.path} must be of type {kind(default).name.lower()}, like {default!r}; got {value!r}"
            )
            value = default
        try:
            self._node.declare_parameter(option.path, value, _descriptor(option), ignore_override=True)
        except InvalidParameterValueException:
            limits = f"{option.minimum:g} to {option.maximum:g}"
            self._problems[option.path] = f"parameter {option.path} must be within {limits}, got {value!r}"
            self._node.declare_parameter(option.path, default, _descriptor(option), ignore_override=True)

    def _warn_of_unknown(self) -> None:
        for name in self._node.get_parameters_by_prefix(""):
            if name not in self._options and not name.startswith(self._others):
                close = difflib.get_close_matches(name, self._options, 1)
                hint = f"; did you mean '{close[0]}'?" if close else ""
                self._node.get_logger().warning(f"there is no parameter '{name}': it is ignored{hint}")

    def _with_decimals(self, parameters: list[Parameter]) -> list[Parameter]:
        """Whole numbers for settings with decimals become such, which ROS would refuse: `1` is as good as `1.0`."""
        decimal = {path for path, option in self._options.items() if option.type is float}
        return [
            Parameter(p.name, value=float(p.value))
            if p.name in decimal and isinstance(p.value, int) and not isinstance(p.value, bool)
            else p
            for p in parameters
        ]

    def _judge(self, parameters: list[Parameter]) -> SetParametersResult:
        given = {p.name: p.value for p in parameters if p.name in self._options}
        try:
            self._check(given)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _check(self, given: dict[str, Any]) -> None:
        running = self._running()
        fixed = [name for name in given if running and not self._options[name].live]
        if fixed:
            raise ConfigError(f"{', '.join(fixed)} cannot change while the node runs; {self._remedy}")
        for name, value in given.items():
            choices = self._options[name].choices
            if choices and value not in choices:
                raise ConfigError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        # While nothing runs, settings that depend on each other may be set one after the other: `read` checks them.
        for config in self._configs if running else ():
            own = {option.path for option in describe(config)}
            fill(config, {name: value for name, value in given.items() if name in own}, self.read(config))

    def _after_set(self, parameters: list[Parameter]) -> None:
        names = [p.name for p in parameters if p.name in self._options]
        for name in names:
            self._problems.pop(name, None)
        if names:
            self._changed()


def _descriptor(option: Option) -> ParameterDescriptor:
    text = option.doc
    if option.choices:
        text += f" One of: {', '.join(option.choices)}."
    descriptor = ParameterDescriptor(description=text)
    if not option.live:
        descriptor.additional_constraints = "Cannot change while the node runs."
    if option.minimum is not None and option.maximum is not None:
        if option.type is int:
            descriptor.integer_range = [IntegerRange(from_value=int(option.minimum), to_value=int(option.maximum))]
        else:
            limits = FloatingPointRange(from_value=float(option.minimum), to_value=float(option.maximum))
            descriptor.floating_point_range = [limits]
    return descriptor
