"""Data sets on disk as clips with frames, masks, tracks and labels; `clips` says what they hand out.

Knows no model and no training. Imported as `tvau_training.data`.
"""

from .clips import SPLITS, Clip, DataSet, FrameSource, LabelledFrame, Track, Truth
from .opening import DATA_SETS, find_data, open_data

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
