"""How good heat maps, scores and boxes are, in the field's own figures: per frame, per pixel, per region and per track.

Knows arrays only: no model, no data set. scikit-learn is in the extras `train` and `test`. What `tvau evaluate` needs too is
in `tvau_runtime.metrics`.
"""

from tvau_runtime.metrics import (
    DetectionScores,
    FrameScores,
    detection_scores,
    frame_scores,
    heatmap_boxes,
)

from .calibration import Bin, calibration_error, reliability_bins
from .pixel import PixelScores, pixel_scores

__all__ = [
    "Bin",
    "DetectionScores",
    "FrameScores",
    "PixelScores",
    "calibration_error",
    "detection_scores",
    "frame_scores",
    "heatmap_boxes",
    "pixel_scores",
    "reliability_bins",
]
