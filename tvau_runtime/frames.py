"""Camera frames to model input: resize, and pack two frames into the normalised patches of one temporal patch.

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

__all__ = ["pack_pair", "resize"]


def resize(rgb: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """A frame uint8 [H, W, 3] as uint8 [h, w, 3] of the model's image size; the frame itself where it has that already.

    Stretched, not cropped, so that heat maps cover the whole frame. Averages over areas (cv2.INTER_AREA) unless a side
    has to grow, where it interpolates linearly. Raises `FrameError` for another shape or type.
    """
    if getattr(rgb, "ndim", 0) != 3 or rgb.shape[2] != 3 or 0 in rgb.shape or rgb.dtype != np.uint8:
        kind = getattr(rgb, "dtype", type(rgb).__name__)
        raise FrameError(f"a frame must be uint8 [H, W, 3] with pixels, got {kind} {getattr(rgb, 'shape', '')}")
    height, width = spec.image_size
    if rgb.shape[:2] == (height, width):
        return rgb
    shrinks = rgb.shape[0] >= height and rgb.shape[1] >= width
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def pack_pair(first: np.ndarray, second: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Two resized frames uint8 [h, w, 3], the earlier one first, as one temporal patch float32 [P, patch_dim].

    Patches come in the order the vision tower merges them: merge groups of 2 x 2 in raster order, and raster order
    within each; the numbers of one patch run over channel, frame, row, column, scaled to 0..1 and normalised by the
    model's mean and std. Raises `FrameError` for another shape or type.
    """
    height, width = spec.image_size
    rows, columns = spec.merged_grid
    merge, patch = spec.merge_size, spec.patch_size
    # Bytes are put in order before they become numbers: a quarter of the memory is moved about.
    pixels = np.empty((rows, columns, merge, merge, 3, 2, patch, patch), np.uint8)
    for time, image in enumerate((first, second)):
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise FrameError(
                f"a resized frame must be uint8 [{height}, {width}, 3], got {image.dtype} {list(image.shape)}"
            )
        for channel, plane in enumerate(cv2.split(image)):
            tiles = plane.reshape(rows, merge, patch, columns, merge, patch)
            pixels[:, :, :, :, channel, time] = tiles.transpose(0, 3, 1, 4, 2, 5)  # R m p K m p -> R K m m p p
    mean, std = np.asarray(spec.mean, np.float64), np.asarray(spec.std, np.float64)
    scale, offset = (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
    packed = pixels.reshape(-1, 3, 2 * patch * patch) * scale[:, None]
    packed += offset[:, None]
    return packed.reshape(-1, spec.patch_dim)
