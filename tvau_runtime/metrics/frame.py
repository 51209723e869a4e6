"""Micro and macro AUC: how well the scores of frames tell abnormal frames from normal ones. Knows no boxes and no pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from ..errors import ConfigError

__all__ = ["FrameScores", "frame_scores"]


@dataclass(frozen=True)
class FrameScores:
    """Areas under ROC curves, 0..1. micro: of all frames together, not a number where all are of one kind. macro: mean over
    videos.
    """

    micro: float
    macro: float


def frame_scores(labels: Sequence[np.ndarray], scores: Sequence[np.ndarray]) -> FrameScores:
    """Both figures, from one array of labels (bool [T], True is abnormal) and one of scores (float [T], 0..1) per video.

    For the macro figure every video is padded with a frame (normal, score 0) and one (abnormal, score 1), so that videos of
    one kind count, and empty ones too. Raises `ConfigError` for arrays that do not belong together and for scores out of
    range, which the padding would not be the ends of.
    """
    if not labels or len(labels) != len(scores):
        raise ConfigError(f"labels and scores of the same videos, at least one, got {len(labels)} and {len(scores)}")
    truth = [np.asarray(each, bool) for each in labels]
    heat = [np.asarray(each, np.float64) for each in scores]
    for number, (mine, said) in enumerate(zip(truth, heat, strict=True)):
        if mine.ndim != 1 or mine.shape != said.shape:
            raise ConfigError(f"video {number}: labels and scores must be [T] alike, got {mine.shape} and {said.shape}")
        if not ((said >= 0) & (said <= 1)).all():
            raise ConfigError(f"video {number}: scores must be within 0..1")
    padded = [roc_auc_score([0, 1, *mine], [0, 1, *said]) for mine, said in zip(truth, heat, strict=True)]
    together = np.concatenate(truth)
    both_kinds = together.any() and not together.all()
    micro = float(roc_auc_score(together, np.concatenate(heat))) if both_kinds else float("nan")
    return FrameScores(micro=micro, macro=float(np.mean(padded)))
