"""Heat maps finer than patches, for pictures and figures. Knows no frames, regions or events."""

from __future__ import annotations

import cv2
import numpy as np

from .errors import FrameError

__all__ = ["upsample"]

FINEST = 9
"""Log-odds are interpolated at this many values along a patch, and heat between those. Odd, so that a patch's middle is one."""
SOFTENING = 1e-3
"""Heat is brought this far from 0 and 1 and back again, where log-odds would be infinite."""


def upsample(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A heat map float [gh, gw], 0..1, as float32 [h, w], 0..1, where size is (h, w).

    Interpolates log-odds (bilinear), which for two classes is to interpolate H_c (eq. 6) before the softmax, as the AHD is
    trained. A patch's middle keeps its value, and a map of one value stays so. Raises `FrameError` for a map that is not
    two-dimensional.
    """
    if values.ndim != 2 or 0 in values.shape:
        raise FrameError(f"a heat map must be [gh, gw] with values, got {list(values.shape)}")
    softened = SOFTENING + (1 - 2 * SOFTENING) * values.astype(np.float32)
    fine = [min(side, FINEST * patches) for side, patches in zip(size, values.shape, strict=True)]
    odds = cv2.resize(np.log(softened / (1 - softened)), fine[::-1], interpolation=cv2.INTER_LINEAR)
    heat = (1 / (1 + cv2.exp(-odds)) - SOFTENING) / (1 - 2 * SOFTENING)
    return cv2.resize(np.clip(heat, 0, 1), size[::-1], interpolation=cv2.INTER_LINEAR)
