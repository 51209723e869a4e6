"""Pixel AUROC and AUPRO: how well the values of heat maps tell abnormal pixels from normal ones. Knows no boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from sklearn.metrics import auc, roc_auc_score, roc_curve

from tvau_runtime.errors import ConfigError

__all__ = ["PixelScores", "pixel_scores"]


@dataclass(frozen=True)
class PixelScores:
    """Both 0..1. auroc: over all pixels of all maps together. aupro: area under the per-region overlap, as `pixel_scores`
    says. Not a number where there are only normal or only abnormal pixels.
    """

    auroc: float
    aupro: float


def pixel_scores(truth: np.ndarray, maps: np.ndarray, max_fpr: float = 0.3) -> PixelScores:
    """Both figures, of n maps (float [n, H, W]) and what is abnormal (bool [n, H, W]).

    AUPRO as in MVTec AD: at every threshold, the overlap of an abnormal region (an 8-connected component of one map's truth)
    is the part of it that is at least so hot; the mean over all regions of all maps stands over the false positive rate of
    all normal pixels; its area up to `max_fpr` is divided by `max_fpr`. Raises `ConfigError` for arrays that do not belong
    together, values that are not finite, and `max_fpr` outside (0, 1].
    """
    truth, maps = np.asarray(truth, bool), np.asarray(maps)
    if truth.ndim != 3 or truth.shape != maps.shape:
        raise ConfigError(f"truth and maps must be [n, H, W] alike, got {list(truth.shape)} and {list(maps.shape)}")
    if not np.isfinite(maps).all():
        raise ConfigError("maps must hold finite values")
    if not 0 < max_fpr <= 1:
        raise ConfigError(f"max_fpr must be above 0 and at most 1, got {max_fpr}")
    if not truth.any() or truth.all():
        return PixelScores(float("nan"), float("nan"))
    # With every pixel weighing 1 / size of its region, the weighted true positive rate is the mean overlap.
    weights = np.stack([_weights(mask) for mask in truth])
    labels, values = truth.ravel(), maps.ravel()
    fpr, overlap, _ = roc_curve(labels, values, sample_weight=weights.ravel(), drop_intermediate=False)
    inside = fpr <= max_fpr
    end = np.interp(max_fpr, fpr, overlap)
    area = auc(np.append(fpr[inside], max_fpr), np.append(overlap[inside], end))
    return PixelScores(auroc=float(roc_auc_score(labels, values)), aupro=float(area / max_fpr))


def _weights(mask: np.ndarray) -> np.ndarray:
    """float64 [H, W]: 1 / size of its region for an abnormal pixel, 1 for a normal one."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    each = 1 / np.maximum(stats[:, cv2.CC_STAT_AREA].astype(np.float64), 1)
    each[0] = 1.0
    return each[labels.astype(np.intp)]
