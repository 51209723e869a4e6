"""How good scores and boxes are, in the field's own figures: per frame, per region and per track.

Knows no model. Needs scikit-learn, which is in the extras `archive`, `train` and `test`.
"""

from .detection import DetectionScores, detection_scores, heatmap_boxes
from .files import PREDICTION, TRACK, read_boxes, read_numbers
from .frame import FrameScores, frame_scores

__all__ = [
    "PREDICTION",
    "TRACK",
    "DetectionScores",
    "FrameScores",
    "detection_scores",
    "frame_scores",
    "heatmap_boxes",
    "read_boxes",
    "read_numbers",
]
