"""A small video for tests of the command line: a square that crosses the picture."""

from pathlib import Path

import cv2
import numpy as np

FPS, FRAMES, SIZE = 8, 48, (96, 128)
"""SIZE: (height, width)."""


def write_square_clip(path: Path) -> str:
    """Writes 6 s of it and returns the path as text."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, SIZE[::-1])
    for i in range(FRAMES):
        image = np.full((*SIZE, 3), 90, np.uint8)
        image[40:60, 2 * i : 2 * i + 20] = (30, 30, 220)
        writer.write(image)
    writer.release()
    return str(path)
