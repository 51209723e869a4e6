"""Data sets on disk as clips with frames, masks, tracks and labels; `types` says what they hand out.

Knows no model and no training. Imported as `tvau_training.data`.
"""

from .opening import DATA_SETS, find_data, open_data
from .types import SPLITS, Clip, DataSet, FrameSource, LabelledFrame, Track, Truth

__all__ = [
    "DATA_SETS",
    "SPLITS",
    "Clip",
    "DataSet",
    "FrameSource",
    "LabelledFrame",
    "Track",
    "Truth",
    "find_data",
    "open_data",
]
