"""Camera frames to model input: resize, normalise, and pack two frames into the patches of one temporal patch.

The size is fixed by the model and the picture is stretched to it, so that every pair of a stream packs alike and
features can be reused. Knows nothing about time, windows or cameras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from .errors import FrameError

if TYPE_CHECKING:  # engines stand above frames; only the annotations need them
    from .backends.base import ModelSpec

__all__ = ["pack_pair", "resize_normalise"]


def resize_normalise(rgb: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """A frame uint8 [H, W, 3] as float32 [3, h, w] of the model's image size, normalised by its mean and std.

    Stretched, not cropped, so that heat maps cover the whole frame. Averages over areas (cv2.INTER_AREA) unless a side
    has to grow, where it interpolates linearly. Raises `FrameError` for another shape or type.
    """
    if getattr(rgb, "ndim", 0) != 3 or rgb.shape[2] != 3 or 0 in rgb.shape or rgb.dtype != np.uint8:
        kind = getattr(rgb, "dtype", type(rgb).__name__)
        raise FrameError(f"a frame must be uint8 [H, W, 3] with pixels, got {kind} {getattr(rgb, 'shape', '')}")
    height, width = spec.image_size
    if rgb.shape[:2] != (height, width):
        shrinks = rgb.shape[0] >= height and rgb.shape[1] >= width
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    mean, std = np.asarray(spec.mean, np.float64), np.asarray(spec.std, np.float64)
    scale, offset = (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
    return np.ascontiguousarray((rgb * scale + offset).transpose(2, 0, 1))  # h w 3 -> 3 h w


def pack_pair(first: np.ndarray, second: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Two normalised frames float32 [3, h, w], the earlier one first, as one temporal patch float32 [P, patch_dim].

    Patches come in the order the vision tower merges them: merge groups of 2 x 2 in raster order, and raster order
    within each; the numbers of one patch run over channel, frame, row, column. Raises `FrameError` for another shape.
    """
    height, width = spec.image_size
    for image in (first, second):
        if image.shape != (3, height, width):
            raise FrameError(f"a normalised frame must be [3, {height}, {width}], got {list(image.shape)}")
    rows, columns = spec.merged_grid
    merge, patch = spec.merge_size, spec.patch_size
    pair = np.stack([first, second]).reshape(2, 3, rows, merge, patch, columns, merge, patch)
    packed = pair.transpose(2, 5, 3, 6, 1, 0, 4, 7)  # T C R m p K m p -> R K m m C T p p
    return np.ascontiguousarray(packed, dtype=np.float32).reshape(-1, spec.patch_dim)
