"""One interface for the vision-language models that annotate: a batch of questions about images in, texts out.

The two implementations are `server.ServerAnnotator` (any OpenAI-compatible server) and `local.LocalAnnotator` (transformers).
Knows no prompts, no schema and no video.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

__all__ = ["PATCH", "Annotator", "Reply", "Request", "RequestError", "fit_image"]

PATCH = 28
"""Images have sides of multiples of this many pixels: Qwen2.5-VL sees merged patches of this size, and an image whose sides do
not fit is resized before it sees it, which would shift the boxes that it answers with."""
LEAST_PIXELS = 4 * PATCH * PATCH


class RequestError(Exception):
    """One request that failed although it was retried, where others may go well. kind: a word or two to count by."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True, eq=False)
class Request:
    """A question about one image. image: uint8 [H, W, 3], RGB. attempt: 0 for the first time of asking; a model that draws its
    answers may answer otherwise the next time."""

    image: np.ndarray = field(repr=False)
    prompt: str
    attempt: int = 0

    def key(self, identity: str) -> str:
        """Hash of all that determines the answer: model and settings (`Annotator.identity`), prompt, pixels, attempt."""
        digest = hashlib.sha256()
        for part in (identity, self.prompt, str(self.attempt), str(self.image.shape)):
            digest.update(part.encode("utf-8") + b"\0")
        digest.update(np.ascontiguousarray(self.image).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Reply:
    """A model's raw answer. cut: whether it ended at the token limit."""

    text: str
    input_tokens: int
    output_tokens: int
    cut: bool = False


class Annotator(Protocol):
    """batch: how many requests one call should hold; concurrency: how many calls may run at once, in threads. identity: model
    and settings, all that the answers depend on beside the requests."""

    identity: str
    batch: int
    concurrency: int

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply for each request, in order.

        Raises `RequestError` where asking others may go well, and `tvau_runtime.errors.BackendError` where nothing will.
        """
        ...

    def close(self) -> None:
        """Breaks off what still runs, and frees what is held."""
        ...


def fit_image(rgb: np.ndarray, max_pixels: int) -> np.ndarray:
    """A frame uint8 [H, W, 3] at the nearest size of whole patches with at most `max_pixels`, so that no model resizes it."""
    height, width = rgb.shape[:2]
    scale = min(1.0, (max_pixels / (height * width)) ** 0.5)
    # A frame of fewer pixels than the library's least would be enlarged by it.
    scale = max(scale, (LEAST_PIXELS / (height * width)) ** 0.5)
    rows, columns = (max(1, round(side * scale / PATCH)) for side in (height, width))
    while rows * columns * PATCH * PATCH > max_pixels and max(rows, columns) > 1:
        rows, columns = (rows - 1, columns) if rows / height >= columns / width else (rows, columns - 1)
    rows, columns = max(rows, 1), max(columns, 1)
    if (rows * PATCH, columns * PATCH) == (height, width):
        return rgb
    smaller = rows * PATCH < height
    return cv2.resize(
        rgb, (columns * PATCH, rows * PATCH), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    )
