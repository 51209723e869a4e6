"""Image messages to RGB and back: every encoding against OpenCV, padding and byte order, damage, and cv_bridge's guard."""

import array
import importlib.util
import sys
import textwrap

import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg", reason="ROS 2 is not installed")

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from tvau.cv_bridge_probe import find_cv_bridge
from tvau.image_conversion import ENCODINGS, to_message, to_rgb
from tvau_runtime import Frame, FrameError

HEIGHT, WIDTH = 6, 8
BAYER = {"rggb": "BG", "bggr": "RG", "gbrg": "GR", "grbg": "GB"}
"""What OpenCV has always called these patterns: it names them by the second row."""


def random_pixels(shape, dtype: type = np.uint8):
    return np.random.default_rng(7).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def message(pixels, encoding, *, padding=0, big_endian=False):
    """An `Image` written byte by byte, with `padding` bytes behind every row."""
    order = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<"))
    rows = [row.tobytes() + b"\xaa" * padding for row in order]
    return Image(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=big_endian,
        step=len(rows[0]),
        data=array.array("B", b"".join(rows)),
    )


def eight_bits(pixels):
    return np.rint(pixels.astype(np.float64) * 255 / 65535).astype(np.uint8)


RGB = random_pixels((HEIGHT, WIDTH, 3))
GREY, GREY16 = random_pixels((HEIGHT, WIDTH)), random_pixels((HEIGHT, WIDTH), np.uint16)
YUV = random_pixels((HEIGHT, WIDTH, 2))
CASES = {
    "rgb8": (RGB, RGB),
    "bgr8": (cv2.cvtColor(RGB, cv2.COLOR_RGB2BGR), RGB),
    "rgba8": (cv2.cvtColor(RGB, cv2.COLOR_RGB2RGBA), RGB),
    "bgra8": (cv2.cvtColor(RGB, cv2.COLOR_RGB2BGRA), RGB),
    "mono8": (GREY, cv2.cvtColor(GREY, cv2.COLOR_GRAY2RGB)),
    "mono16": (GREY16, eight_bits(cv2.cvtColor(GREY16, cv2.COLOR_GRAY2RGB))),
    "yuv422": (YUV, cv2.cvtColor(YUV, cv2.COLOR_YUV2RGB_UYVY)),
    "uyvy": (YUV, cv2.cvtColor(YUV, cv2.COLOR_YUV2RGB_UYVY)),
    "yuv422_yuy2": (YUV, cv2.cvtColor(YUV, cv2.COLOR_YUV2RGB_YUY2)),
    "yuyv": (YUV, cv2.cvtColor(YUV, cv2.COLOR_YUV2RGB_YUY2)),
    **{
        f"bayer_{order}8": (GREY, cv2.cvtColor(GREY, getattr(cv2, f"COLOR_Bayer{name}2RGB")))
        for order, name in BAYER.items()
    },
    **{
        f"bayer_{order}16": (GREY16, eight_bits(cv2.cvtColor(GREY16, getattr(cv2, f"COLOR_Bayer{name}2RGB"))))
        for order, name in BAYER.items()
    },
}


def test_every_encoding_has_a_case():
    assert set(CASES) == set(ENCODINGS)


@pytest.mark.parametrize("padding", [0, 2, 5])
@pytest.mark.parametrize("encoding", CASES)
def test_encodings_against_opencv(encoding, padding):
    pixels, expected = CASES[encoding]
    rgb = to_rgb(message(pixels, encoding, padding=padding))
    np.testing.assert_array_equal(rgb, expected)
    Frame(rgb, 0)


@pytest.mark.parametrize("encoding", [e for e in CASES if e.endswith("16")])
def test_big_endian(encoding):
    pixels, expected = CASES[encoding]
    np.testing.assert_array_equal(to_rgb(message(pixels, encoding, big_endian=True)), expected)


@pytest.mark.parametrize("order", BAYER)
def test_bayer_patterns_mean_what_they_say(order):
    """The name gives the colours of the upper left 2 x 2 pixels, row by row."""
    color = {"r": 200, "g": 100, "b": 50}
    cell = np.array([color[c] for c in order], np.uint8).reshape(2, 2)
    rgb = to_rgb(message(np.tile(cell, (4, 4)), f"bayer_{order}8"))
    np.testing.assert_array_equal(rgb[2:-2, 2:-2], np.broadcast_to((200, 100, 50), (4, 4, 3)))


def test_yuv_pairs_share_colour():
    """U Y0 V Y1: a red pixel pair, once in each order."""
    luma, u, v = 82, 90, 240  # red, by BT.601
    pair = {"yuv422": [u, luma, v, luma], "yuv422_yuy2": [luma, u, luma, v]}
    for encoding, values in pair.items():
        rgb = to_rgb(message(np.array(values, np.uint8).reshape(1, 2, 2).repeat(2, 0), encoding))
        assert (rgb[..., 0] > 240).all()
        assert (rgb[..., 1:] < 20).all(), encoding


def test_the_last_row_need_not_be_padded():
    padded = message(RGB, "rgb8", padding=4)
    padded.data = padded.data[:-4]
    np.testing.assert_array_equal(to_rgb(padded), RGB)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("grey", [False, True])
def test_compressed(kind, grey):
    pixels = GREY if grey else RGB
    data = cv2.imencode(f".{kind}", pixels)[1]
    got = to_rgb(CompressedImage(format=kind, data=data.tobytes()))
    np.testing.assert_array_equal(got, np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1])


def test_sixteen_bit_png():
    data = cv2.imencode(".png", GREY16)[1].tobytes()
    got = to_rgb(CompressedImage(format="16UC1; png compressed", data=data))
    np.testing.assert_allclose(got, eight_bits(np.repeat(GREY16[..., None], 3, 2)).astype(int), atol=1)


def with_fields(**fields):
    """A good rgb8 image, spoilt."""
    spoilt = message(RGB, "rgb8")
    for name, value in fields.items():
        setattr(spoilt, name, value)
    return spoilt


JPEG = cv2.imencode(".jpg", random_pixels((64, 64, 3)))[1].tobytes()
PNG = cv2.imencode(".png", random_pixels((64, 64, 3)))[1].tobytes()
THUMBNAIL = b"\xff\xe1\x00\x06\xff\xd9zz"
"""An application segment that holds a JPEG of its own, of which only the end marker matters here."""
BAD = {
    "encoding": (with_fields(encoding="32FC1"), "expected an image encoding among .*bgr8.* got '32FC1'"),
    "no encoding": (with_fields(encoding=""), "got ''"),
    "step": (with_fields(step=WIDTH * 3 - 1), f"takes {WIDTH * 3} bytes, but the message's step is {WIDTH * 3 - 1}"),
    "short": (with_fields(data=array.array("B", [0] * 100)), f"expected {HEIGHT * WIDTH * 3} bytes .* got 100"),
    "empty": (with_fields(height=0), "expected an image with pixels, got 8 x 0"),
    "odd yuv": (message(YUV[:, :7], "yuv422"), "even width .* got 7"),
    "small bayer": (message(GREY[:2], "bayer_rggb8"), "at least 3 x 3 pixels, got 8 x 2"),
    "cut jpeg": (CompressedImage(format="jpeg", data=JPEG[: len(JPEG) // 2]), "complete JPEG or PNG; got .* 'jpeg'"),
    "cut jpeg with thumbnail": (
        CompressedImage(format="jpeg", data=JPEG[:2] + THUMBNAIL + JPEG[2 : len(JPEG) // 2]),
        "ends too early",
    ),
    "cut png": (CompressedImage(format="png", data=PNG[: len(PNG) // 2]), "cannot decode"),
    "no jpeg": (CompressedImage(format="jpeg", data=b"nothing of the kind"), "got 19 bytes"),
    "no data": (CompressedImage(format="jpeg"), "got 0 bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_messages(name, capfd):
    bad, text = BAD[name]
    with pytest.raises(FrameError, match=text):
        to_rgb(bad)


@pytest.mark.parametrize(
    ("pixels", "encoding"), [(RGB, "rgb8"), (RGB[:, ::2], "bgr8"), (RGB[..., 0].astype(np.float32) / 255, "32FC1")]
)
def test_to_message(pixels, encoding):
    made = to_message(pixels, encoding, Header(frame_id="optical"))
    assert (made.height, made.width, made.encoding) == (*pixels.shape[:2], encoding)
    assert made.header.frame_id == "optical"
    assert made.step * made.height == len(made.data) == pixels.nbytes
    back = np.frombuffer(made.data, pixels.dtype).reshape(pixels.shape)
    np.testing.assert_array_equal(back, pixels)


# cv_bridge: the real one is not needed to see that a broken one does no harm.


class Bridge:
    """Has the interface of `CvBridge`, and knows rgb8 and a strange encoding."""

    def __init__(self):
        self.calls = 0

    def imgmsg_to_cv2(self, image_message, desired_encoding):
        self.calls += 1
        assert desired_encoding == "rgb8"
        if image_message.encoding == "strange":
            return np.full((1, 1, 3), 9, np.uint8)
        if image_message.encoding == "mono8":
            raise TypeError("of any kind")
        return to_rgb(image_message)


def test_a_bridge_is_used():
    bridge = Bridge()
    np.testing.assert_array_equal(to_rgb(message(RGB, "rgb8"), bridge), RGB)
    assert to_rgb(with_fields(encoding="strange"), bridge).tolist() == [[[9, 9, 9]]]
    assert bridge.calls == 2


def test_padded_rows_go_past_the_bridge():
    bridge = Bridge()
    np.testing.assert_array_equal(to_rgb(message(RGB, "rgb8", padding=1), bridge), RGB)
    assert bridge.calls == 0


def test_what_a_bridge_cannot_do_is_tried_without():
    np.testing.assert_array_equal(to_rgb(message(GREY, "mono8"), Bridge()), CASES["mono8"][1])
    with pytest.raises(FrameError, match="expected 144 bytes"):
        to_rgb(with_fields(data=array.array("B", [0])), Bridge())


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import os; os.abort()", "ended with -6"),
        ("raise ImportError('numpy.core.multiarray failed to import')", "numpy.core.multiarray failed to import"),
        ("import numpy; numpy.no_such_thing", "no_such_thing"),
        (
            "class CvBridge:\n    def imgmsg_to_cv2(self, *_):\n        raise AttributeError('newbyteorder')",
            "newbyteorder",
        ),
        ("import time; time.sleep(60)", "does not answer within"),
    ],
    ids=["abort", "import", "attribute", "call", "hang"],
)
def test_a_broken_cv_bridge_is_left_alone(tmp_path, monkeypatch, source, reason):
    package = tmp_path / "cv_bridge"
    package.mkdir()
    (package / "__init__.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    bridge, about = find_cv_bridge(timeout_s=1.0 if "sleep" in source else 30.0)
    assert bridge is None
    assert reason in about
    assert "\n" not in about
    assert "tvau's own converter" in about
    sys.modules.pop("cv_bridge", None)


def test_without_cv_bridge():
    if importlib.util.find_spec("cv_bridge"):
        pytest.skip("cv_bridge is installed here")
    assert find_cv_bridge() == (None, "cv_bridge is not installed; images go through tvau's own converter")
