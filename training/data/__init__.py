"""Data sets on disk as clips with frames, masks, tracks and labels; `types` says what they hand out.

Knows no model and no training. Imported as `tvau_training.data`.
"""

from .types import SPLITS, Clip, DataSet, FrameSource, LabelledFrame, Track, Truth

__all__ = ["SPLITS", "Clip", "DataSet", "FrameSource", "LabelledFrame", "Track", "Truth"]
