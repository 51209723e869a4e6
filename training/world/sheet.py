"""Pictures to look at: a contact sheet of clips, and one clip over time. What is abnormal is outlined in red.

python -m tvau_training.world.sheet --out docs/world.jpg
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from tvau_runtime.errors import ConfigError, TvauError

from .render import make_clip
from .types import SPLITS, Clip

__all__ = ["contact_sheet", "main", "strip"]

_RED = (236, 40, 40)


def _picture(clip: Clip, t: int) -> np.ndarray:
    """Frame `t`, uint8 [H, W, 3], with outlines."""
    frame = clip.frames[t].copy()
    mask = cv2.dilate(clip.anomaly_masks[t].astype(np.uint8), np.ones((7, 7), np.uint8))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(frame, outlines, -1, _RED, 1, cv2.LINE_AA)


def _tell(clip: Clip) -> int:
    """The frame that shows most of what is abnormal, or the middle one."""
    shown = clip.anomaly_masks.sum(axis=(1, 2))
    return int(shown.argmax()) if shown.any() else len(clip.frames) // 2


def contact_sheet(clips: Sequence[Clip], columns: int = 4) -> np.ndarray:
    """uint8 [H, W, 3]: a frame of each clip, all of one size, row by row."""
    pictures = [_picture(clip, _tell(clip)) for clip in clips]
    pictures += [np.zeros_like(pictures[0])] * (-len(pictures) % columns)
    return np.vstack([np.hstack(pictures[i : i + columns]) for i in range(0, len(pictures), columns)])


def strip(clip: Clip, count: int = 4) -> np.ndarray:
    """uint8 [H, W, 3]: `count` frames of a clip side by side, evenly over its time."""
    return np.hstack([_picture(clip, int(t)) for t in np.linspace(0, len(clip.frames) - 1, count)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes a contact sheet of clips, and under it the last of them over time."""
    parser = argparse.ArgumentParser(
        prog="python -m tvau_training.world.sheet",
        description="Writes a contact sheet of the synthetic world, and under it one clip over time.",
        epilog="example: python -m tvau_training.world.sheet --split test --seed 40 --out out/test.jpg",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="picture to write, .jpg or .png")
    parser.add_argument("--split", choices=SPLITS, default="train", help="split to show (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first clip (%(default)s)")
    parser.add_argument("--clips", type=int, default=20, help="clips on the sheet (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        if options.clips < 1:
            raise ConfigError(f"--clips must be at least 1, got {options.clips}")
        size, rate_hz, seeds = (189, 336), 4.0, range(options.seed, options.seed + options.clips)
        clips = [
            make_clip(seed, size=size, length=8, rate_hz=rate_hz, split=options.split)
            for seed in tqdm(seeds, unit="clip")
        ]
        last = make_clip(seeds[-1] + 1, size=size, length=32, rate_hz=rate_hz, split=options.split, anomaly=True)
        picture = np.vstack([contact_sheet(clips), strip(last)])
        options.out.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(options.out), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80]):
            raise ConfigError(f"could not write {options.out}")
    except (TvauError, OSError, cv2.error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
