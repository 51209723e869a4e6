"""What graphs are checked on: frames of a video, and clips of the synthetic world. Knows no model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from tvau_runtime.backends.base import ModelSpec
from tvau_runtime.errors import FrameError
from tvau_runtime.video import VideoReader
from tvau_runtime.window import FrameSampler
from tvau_training.batches import pack_clip
from tvau_training.world import FRAME_SIZE, make_some_clip

__all__ = ["CALIBRATION", "CHECK", "labelled_clips", "video_windows"]

CHECK = 500_000
"""Seed of the first clip that graphs are checked on."""
CALIBRATION = 0
"""Seed of the first clip that they are calibrated on."""
ABNORMAL = 0.25
"""A patch counts as abnormal from this share of it on, and so does the one that shows most."""


def labelled_clips(spec: ModelSpec, count: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Clips of the world that no training sees, every other one with an anomaly.

    Each is packed pixels float32 [T', P, 1176] and which patches are abnormal, bool [T', gh, gw].
    """
    height, width = FRAME_SIZE
    for number in range(count):
        clip = make_some_clip(
            seed + number,
            size=(max(32, spec.image_size[0]), max(32, spec.image_size[1])),  # the smallest that the world draws
            length=spec.clip_length,
            rate_hz=spec.process_rate_hz,
            anomaly=number % 2 == 0,
            split="familiar",
            aspect=width / height,
        )
        masks = clip.anomaly_masks.astype(np.float32)
        pairs = np.maximum(masks[::2], masks[1::2])
        share = [cv2.resize(pair, spec.grid[::-1], interpolation=cv2.INTER_AREA) for pair in pairs]
        least = [min(ABNORMAL, each.max()) if each.any() else ABNORMAL for each in share]  # what is small is there, too
        yield pack_clip(clip.frames, spec), np.stack([each >= most for each, most in zip(share, least, strict=True)])


def video_windows(video: Path, spec: ModelSpec, count: int) -> list[np.ndarray]:
    """The first clip windows of a video, at most `count`, one behind the other: packed pixels float32 [T', P, 1176] each.

    Raises `FrameError` for a video that cannot be read or is shorter than one window.
    """
    sampler = FrameSampler(spec.process_rate_hz, max_gap_s=3600.0, reset_after_s=3600.0)
    frames: list[np.ndarray] = []
    reader = VideoReader(video)
    try:
        for frame in reader:
            if sampler.judge(frame.stamp_ns, frame.rgb.shape[:2]).taken:
                frames.append(frame.rgb)
            if len(frames) == count * spec.clip_length:
                break
    finally:
        reader.close()
    length = spec.clip_length
    if len(frames) < length:
        raise FrameError(
            f"{video} has {len(frames)} frames at {spec.process_rate_hz:g} Hz, a window needs {length}; "
            "name a longer video"
        )
    whole = range(0, len(frames) // length * length, length)
    return [pack_clip(np.stack(frames[start : start + length]), spec) for start in whole]
