"""The synthetic world as a source of clips: frames per second of one core, beside decoding JPEGs.

Every clip is of another seed. One that is alone in its place pays for painting it; of several in a row that share a place
(`clips_per_place` of a recipe) only the first one does. The ratio is to what a data set on disk would cost: the same frames, one
JPEG each, decoded.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from typing import Any

import cv2
from common import command, ratios, spread, table, timed

from tvau_training.world import make_clip

__all__ = ["run"]

SIZE = (252, 448)
RATE_HZ = 15.0
LENGTHS = (16, 48, 150)
"""Frames of a clip."""
SHARED = 8
"""Clips in a row in one place."""
FIRST_SEED = 8_200_000


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Frames per second and ratios by clip length, with a place for every clip and for eight."""
    cv2.setNumThreads(1)
    shapes = list(itertools.product(LENGTHS[:1] if options.quick else LENGTHS, (1, SHARED)))
    calls: dict[str, Callable[[], object]] = {
        f"{length} frames, {clips} in a place": _drawing(length, clips) for length, clips in shapes
    }
    frames = make_clip(FIRST_SEED, size=SIZE, length=8, rate_hz=RATE_HZ).frames
    encoded = [cv2.imencode(".jpg", frame[..., ::-1])[1] for frame in frames]
    calls["decoding JPEGs"] = lambda: [cv2.imdecode(data, cv2.IMREAD_COLOR) for data in encoded]
    counts = [*(length for length, _ in shapes), len(encoded)]
    spent = timed(calls, options, rounds=24, warm_up=1)
    each = {name: [ms / count for ms in spent[name]] for name, count in zip(calls, counts, strict=True)}
    result = {
        # A mean: of clips that share a place the first costs more than the others, and all of them count.
        name: {
            "frames_per_s": 1e3 * len(ms) / sum(ms),
            "ms": spread(ms),
            "times_decoding": ratios(ms, each["decoding JPEGs"]),
        }
        for name, ms in each.items()
    }
    table(
        f"clips of {SIZE[1]}x{SIZE[0]} at {RATE_HZ:g} Hz, one core",
        ("", "frames/s", "ms a frame", "times decoding"),
        [[name, f["frames_per_s"], f["ms"]["median"], f["times_decoding"]["median"]] for name, f in result.items()],
    )
    return {"size": list(SIZE), "rate_hz": RATE_HZ, "rows": result}


def _drawing(length: int, clips: int) -> Callable[[], None]:
    """A call that draws the next clip of so many frames, `clips` of them in one place."""
    numbers = itertools.count()

    def draw() -> None:
        number = next(numbers)
        first = FIRST_SEED + 1000 * length + 100_000 * clips
        make_clip(
            first + number, size=SIZE, length=length, rate_hz=RATE_HZ, anomaly=number % 2 == 0,
            place=first + number // clips * clips,
        )  # fmt: skip

    return draw


if __name__ == "__main__":
    sys.exit(command(run, __doc__))
