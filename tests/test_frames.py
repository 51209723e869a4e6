"""Frames to model input: against a slow loop, and against the library's own image processor where it can run."""

import cv2
import numpy as np
import pytest

from tvau_runtime.backends.base import ModelSpec
from tvau_runtime.errors import FrameError
from tvau_runtime.frames import pack_pair, resize

SPEC = ModelSpec(
    name="test",
    image_size=(56, 84),
    process_rate_hz=4.0,
    clip_length=8,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    text_dim=8,
    tokens_per_second=2.0,
)


def image(height=56, width=84, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def packed_slowly(first, second):
    """Merge groups in raster order; patches in a group in raster order; then channel, frame, row, column."""
    normalised = [((rgb.astype(np.float64) / 255 - SPEC.mean) / SPEC.std).transpose(2, 0, 1) for rgb in (first, second)]
    rows = []
    for group_y in range(2):
        for group_x in range(3):
            for inner_y in range(2):
                for inner_x in range(2):
                    y, x = (group_y * 2 + inner_y) * 14, (group_x * 2 + inner_x) * 14
                    patch = [frame[c, y : y + 14, x : x + 14] for c in range(3) for frame in normalised]
                    rows.append(np.concatenate([p.ravel() for p in patch]))
    return np.stack(rows)


def test_leaves_what_has_the_size_already_as_it_is():
    rgb = image()
    assert resize(rgb, SPEC) is rgb


def test_shrinks_by_averaging_areas_and_stretches_the_whole_frame():
    rgb = image(112, 252)
    mean = rgb.reshape(56, 2, 84, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize(rgb, SPEC), mean, atol=0.51)


@pytest.mark.parametrize("size", [(10, 12), (10, 400), (400, 12)])
def test_enlarges_linearly(size):
    rgb = image(*size)
    stretched = cv2.resize(rgb, (84, 56), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resize(rgb, SPEC), stretched)


def test_takes_views_that_are_not_contiguous():
    for size in ((100, 120), SPEC.image_size):
        view = image(*size)[..., ::-1]
        copy = np.ascontiguousarray(view)
        np.testing.assert_array_equal(resize(view, SPEC), resize(copy, SPEC))
        packed = pack_pair(resize(view, SPEC), resize(copy, SPEC), SPEC)
        np.testing.assert_array_equal(packed, pack_pair(resize(copy, SPEC), resize(view, SPEC), SPEC))


@pytest.mark.parametrize(
    "bad",
    [
        None,
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        np.zeros((4, 4, 3)),
    ],
)
def test_refuses_what_is_no_frame(bad):
    with pytest.raises(FrameError, match=r"uint8 \[H, W, 3\]"):
        resize(bad, SPEC)


def test_packs_and_normalises_like_the_slow_loop():
    first, second = image(seed=1), image(seed=2)
    packed = pack_pair(first, second, SPEC)
    assert packed.dtype == np.float32
    assert packed.shape == (24, SPEC.patch_dim)
    assert packed.flags.c_contiguous
    np.testing.assert_allclose(packed, packed_slowly(first, second), atol=2e-6)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (image().transpose(1, 0, 2), r"uint8 \[84, 56, 3\]"),
        (image().astype(np.float32), r"float32 \[56, 84, 3\]"),
    ],
)
def test_refuses_to_pack_another_size_or_type(bad, told):
    with pytest.raises(FrameError, match=rf"uint8 \[56, 84, 3\], got {told}"):
        pack_pair(image(), bad, SPEC)


def test_equals_the_image_processor_of_transformers():
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("PIL", reason="the processor without torchvision needs Pillow, which is not installed")
    try:
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil as Processor
    except ImportError as error:
        pytest.skip(f"this transformers has no image processor that does without torchvision: {error}")
    rgb = image(seed=3)
    # An image is one frame, repeated to fill the temporal patch; its size is kept as it fits the patches.
    theirs = Processor(min_pixels=28 * 28, max_pixels=10**6)(images=[rgb], return_tensors="np")
    assert theirs["image_grid_thw"].tolist() == [[1, 4, 6]]
    np.testing.assert_allclose(pack_pair(rgb, rgb, SPEC), theirs["pixel_values"], atol=2e-6)
