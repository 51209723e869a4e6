"""Image messages to RGB arrays, and arrays to image messages.

`to_rgb` uses cv_bridge where `cv_bridge_probe` found one that works, else the small converter here, which views the
message's bytes with NumPy. Knows nothing about nodes or topics.
"""

from __future__ import annotations

import array
import contextlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from tvau_runtime import FrameError

__all__ = ["ENCODINGS", "to_message", "to_rgb"]


@dataclass(frozen=True)
class _Layout:
    """How a pixel lies in the message, and OpenCV's code that makes RGB of it (None: it is RGB already)."""

    dtype: str
    channels: int
    code: int | None


_BAYER = {
    "rggb": cv2.COLOR_BayerRGGB2RGB,
    "bggr": cv2.COLOR_BayerBGGR2RGB,
    "gbrg": cv2.COLOR_BayerGBRG2RGB,
    "grbg": cv2.COLOR_BayerGRBG2RGB,
}
_LAYOUTS = {
    "rgb8": _Layout("u1", 3, None),
    "bgr8": _Layout("u1", 3, cv2.COLOR_BGR2RGB),
    "rgba8": _Layout("u1", 4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Layout("u1", 4, cv2.COLOR_BGRA2RGB),
    "mono8": _Layout("u1", 1, cv2.COLOR_GRAY2RGB),
    "mono16": _Layout("u2", 1, cv2.COLOR_GRAY2RGB),
    # "yuv422" has always meant UYVY in ROS; newer releases name both orders.
    "yuv422": _Layout("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": _Layout("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": _Layout("u1", 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": _Layout("u1", 2, cv2.COLOR_YUV2RGB_YUY2),
    **{f"bayer_{order}8": _Layout("u1", 1, code) for order, code in _BAYER.items()},
    **{f"bayer_{order}16": _Layout("u2", 1, code) for order, code in _BAYER.items()},
}
ENCODINGS = tuple(_LAYOUTS)
"""Encodings of `sensor_msgs/Image` that `to_rgb` reads without cv_bridge."""


def to_rgb(message: Image | CompressedImage, bridge: Any = None) -> np.ndarray:
    """The image as uint8 [H, W, 3], R first; it may share the message's memory.

    16-bit images are scaled to 8 bits (65535 becomes 255). bridge: a `CvBridge` that works, or None.
    Raises `FrameError` for an encoding that is not known, a size that does not fit the data, and damaged JPEG or PNG.
    """
    if isinstance(message, CompressedImage):
        return _decompressed(message)
    layout = _LAYOUTS.get(message.encoding)
    padded = layout is not None and message.step != message.width * layout.channels * int(layout.dtype[1])
    if bridge is not None and not padded:  # cv_bridge misreads padded rows
        try:
            return np.ascontiguousarray(bridge.imgmsg_to_cv2(message, "rgb8"))
        except Exception as error:  # it raises whatever it meets: its own error, OpenCV's, ValueError, TypeError
            if layout is None:
                raise FrameError(f"cv_bridge cannot make rgb8 of a '{message.encoding}' image: {error}") from error
    if layout is None:
        raise FrameError(f"expected an image encoding among {', '.join(ENCODINGS)}; got '{message.encoding}'")
    pixels = _view(message, layout)
    if layout.code is None:
        return pixels
    if layout.code in _BAYER.values() and min(pixels.shape[:2]) < 3:
        raise FrameError(f"a bayer image must be at least 3 x 3 pixels, got {message.width} x {message.height}")
    rgb = cv2.cvtColor(pixels, layout.code)
    return rgb if rgb.dtype == np.uint8 else cv2.convertScaleAbs(rgb, alpha=255 / 65535)


def to_message(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """An `Image` of an array [H, W] or [H, W, C] with the type and channels of `encoding` (rgb8, bgr8, 32FC1 …)."""
    pixels = np.ascontiguousarray(pixels)
    message = Image(header=header, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.step = pixels.strides[0]
    data = array.array("B")  # anything else is checked by rclpy byte for byte
    data.frombytes(pixels.data.cast("B"))
    message.data = data
    return message


def _view(message: Image, layout: _Layout) -> np.ndarray:
    """The pixels where they lie in the message: [H, W] or [H, W, C] in the machine's byte order."""
    height, width, step = message.height, message.width, message.step
    size = np.dtype(layout.dtype).itemsize
    row = width * layout.channels * size
    if height < 1 or width < 1:
        raise FrameError(f"expected an image with pixels, got {width} x {height}")
    if step < row:
        raise FrameError(
            f"a row of {width} '{message.encoding}' pixels takes {row} bytes, but the message's step is {step}"
        )
    # The last row need not be padded.
    if len(message.data) < step * (height - 1) + row:
        raise FrameError(
            f"expected {step * height} bytes for {height} rows of {step} ('{message.encoding}', {width} x {height}), "
            f"got {len(message.data)}"
        )
    if layout.code in (cv2.COLOR_YUV2RGB_UYVY, cv2.COLOR_YUV2RGB_YUY2) and width % 2:
        raise FrameError(f"a '{message.encoding}' image must have an even width (two pixels share colour), got {width}")
    order = ">" if message.is_bigendian else "<"
    shape, strides = (height, width, layout.channels), (step, layout.channels * size, size)
    if layout.channels == 1:
        shape, strides = shape[:2], strides[:2]
    pixels = np.ndarray(shape, np.dtype(order + layout.dtype), memoryview(message.data), strides=strides)
    return np.ascontiguousarray(pixels, dtype=layout.dtype)


def _decompressed(message: CompressedImage) -> np.ndarray:
    data = memoryview(message.data).tobytes()
    # OpenCV 4 fills what is missing of a JPEG with grey instead of failing. The end marker cannot occur inside the
    # compressed data, which begins behind the last start-of-scan marker.
    cut = data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    pixels = None
    if data and not cut:
        with contextlib.suppress(cv2.error):  # of a header with an absurd size
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        what = "a JPEG that ends too early" if cut else "something that OpenCV cannot decode"
        raise FrameError(f"expected a complete JPEG or PNG; got {len(data)} bytes of '{message.format}': {what}")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
