"""How far probabilities are from what comes true: expected calibration error, and the bins of a reliability diagram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tvau_runtime.errors import ConfigError

__all__ = ["Bin", "calibration_error", "reliability_bins"]


@dataclass(frozen=True)
class Bin:
    """Of the clips whose probability lies in one tenth of 0..1."""

    clips: int
    said: float
    """Their mean probability."""
    true: float
    """The part of them that hold an anomaly."""


def reliability_bins(labels: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> list[Bin]:
    """The bins that hold any, from 0 to 1, of equal width; labels: bool [N], probabilities: float [N], 0..1.

    Raises `ConfigError` for arrays that do not belong together, and for none.
    """
    truth, said = np.asarray(labels, bool), np.asarray(probabilities, np.float64)
    if truth.ndim != 1 or truth.shape != said.shape or not len(truth):
        raise ConfigError(f"labels and probabilities must be [N] alike, got {truth.shape} and {said.shape}")
    if not ((said >= 0) & (said <= 1)).all():
        raise ConfigError("probabilities must be within 0..1")
    number = np.minimum((said * bins).astype(int), bins - 1)
    return [
        Bin(int(mine.sum()), float(said[mine].mean()), float(truth[mine].mean()))
        for mine in (number == n for n in range(bins))
        if mine.any()
    ]


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error, 0..1: how far a bin's mean probability is from its share of anomalies, on average by clips."""
    found = reliability_bins(labels, probabilities, bins)
    return sum(each.clips * abs(each.said - each.true) for each in found) / sum(each.clips for each in found)
