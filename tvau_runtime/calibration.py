"""Scores to probabilities that mean something: of so many windows with 0.8, eight in ten hold an anomaly.

A straight line over the logit, fitted on labelled clips (`training/calibrate.py`); it changes no order, and no heat map. What
it gives holds where anomalies are as frequent as in those clips. Knows no model and no manifest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import ModelError

__all__ = ["Calibration", "Scale"]


@dataclass(frozen=True)
class Scale:
    """p = 1 / (1 + exp(-(logit / temperature + bias))). Raises `ModelError` for a temperature that is not above 0."""

    temperature: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        for name in ("temperature", "bias"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
                raise ModelError(f"calibration: {name} must be a finite number, got {value!r}")
        if self.temperature <= 0:
            raise ModelError(f"calibration: temperature must be above 0, got {self.temperature}")

    def probability(self, logit: float) -> float:
        """0..1 of a logit, the logarithm of the odds as the model has them."""
        return 1.0 / (1.0 + math.exp(-min(max(logit / self.temperature + self.bias, -700.0), 700.0)))


@dataclass(frozen=True)
class Calibration:
    """Of one model. The default leaves every probability as the model says it."""

    score: Scale = Scale()
    """The mean of the peaks of a window's heat maps, as logits -> how likely the window holds an anomaly."""
    yes: Scale = Scale()
    """The language model's yes against its no, when asked whether there is an anomaly -> how likely there is one."""

    def __post_init__(self) -> None:
        for name in ("score", "yes"):
            value = getattr(self, name)
            if isinstance(value, dict):  # as JSON has it
                try:
                    object.__setattr__(self, name, Scale(**value))
                except TypeError as error:
                    raise ModelError(f"calibration: {name}: {error}") from error
