"""How good heat maps, scores and boxes are, in the field's own figures: per frame, per pixel, per region and per track.

Knows arrays only: no model, no data set. scikit-learn is in the extras `train` and `test`.
"""

from .detection import DetectionScores, detection_scores, heatmap_boxes
from .frame import FrameScores, frame_scores
from .pixel import PixelScores, pixel_scores

__all__ = [
    "DetectionScores",
    "FrameScores",
    "PixelScores",
    "detection_scores",
    "frame_scores",
    "heatmap_boxes",
    "pixel_scores",
]
