"""The one interface behind which an engine runs the model. Knows NumPy only; windows, events and dialogue live above it.

An engine maps arrays to arrays and keeps no state but its weights. All calls may come from several threads at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..calibration import Calibration
from ..errors import ConfigError
from ..prompts import Prompts
from ..tokenizer import TextTokenizer

__all__ = ["Backend", "ModelSpec", "choose_size"]


@dataclass(frozen=True)
class ModelSpec:
    """What the runtime must know about a checkpoint, whatever engine runs it."""

    name: str
    image_size: tuple[int, int]
    """(height, width) in pixels that every frame is resized to; multiples of patch_size * merge_size."""
    process_rate_hz: float
    clip_length: int
    """Frames in a clip window, even."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Normalisation of R, G, B after scaling to 0..1."""
    text_dim: int
    """D, the width of the language model."""
    tokens_per_second: float
    """Scale of the temporal rotary position."""
    calibration: Calibration = field(default_factory=Calibration)
    patch_size: int = 14
    temporal_patch_size: int = 2
    merge_size: int = 2

    @property
    def grid(self) -> tuple[int, int]:
        """(gh, gw): patches down and across; the heat map's shape."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def merged_grid(self) -> tuple[int, int]:
        """(gh/2, gw/2): the language model's visual tokens down and across."""
        return self.grid[0] // self.merge_size, self.grid[1] // self.merge_size

    @property
    def patch_dim(self) -> int:
        """Numbers in one packed patch: 3 * 2 * 14 * 14 = 1176."""
        return 3 * self.temporal_patch_size * self.patch_size**2


def choose_size(there: Sequence[tuple[int, int]], wanted: str) -> tuple[int, int]:
    """The (height, width) that `engine.size` names, of those a model has; the first where it is empty. Raises `ConfigError`."""
    names = {f"{height}x{width}": (height, width) for height, width in there}
    name = wanted.lower() or next(iter(names))
    if name not in names:
        raise ConfigError(f"size must be one of those that the model has ({', '.join(names)}), got {wanted!r}")
    return names[name]


class Backend(ABC):
    """An opened model."""

    spec: ModelSpec
    tokenizer: TextTokenizer
    prompts: Prompts
    """The model's own normal and abnormal prompts."""
    device: str
    """What runs it, for people: `torch cpu, 2 threads`."""

    def text_features(self, prompts: Prompts) -> np.ndarray:
        """S_c of normal and abnormal (eqs. 2-3): the mean over all tokens of all prompts of each, float32 [2, D]."""
        return np.stack(
            [
                np.concatenate([self.embed(self.tokenizer.encode(text)) for text in prompts.texts(category)]).mean(
                    axis=0
                )
                for category in ("normal", "abnormal")
            ]
        )

    @abstractmethod
    def encode(self, pixels: np.ndarray, text: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Vision tower and AHD over n temporal patches, each on its own.

        pixels: float32 [n, P, patch_dim] as `frames.pack_pair` makes them. text: float32, `text_features` of each of them
        [n, 2, D] or of all [2, D]; None for the model's own prompts.
        Returns visual tokens float32 [n, P/4, D] in raster order of the merged grid, and H_c (eq. 6) float32 [n, 2, gh, gw].
        """

    @abstractmethod
    def anomaly_prompts(self, class_maps: np.ndarray) -> np.ndarray:
        """RAE (eqs. 9-13): H_c of a window [T', 2, gh, gw] to prompt embeddings float32 [(T'-1) * (N_base + 10), D]."""

    @abstractmethod
    def embed(self, token_ids: list[int]) -> np.ndarray:
        """Rows of the language model's embedding table: float32 [S, D]."""

    @abstractmethod
    def decode(self, embeddings: np.ndarray, positions: np.ndarray, cache: Any = None) -> tuple[np.ndarray, Any]:
        """One pass of the language model over S new positions.

        embeddings: float32 [S, D], positions: int64 [3, S] (time, row, column).
        Returns the logits of the last position, float32 [V], and the cache that now holds the S positions too. A cache that
        was passed in belongs to the engine from then on.
        """

    @abstractmethod
    def crop(self, cache: Any, length: int) -> Any:
        """The cache cut to its first `length` positions, as a new cache: the one passed in stays valid and unchanged."""

    @abstractmethod
    def cache_bytes(self, cache: Any) -> int:
        """Memory that a cache takes, in bytes, with what it shares with others and what it keeps for more."""

    def close(self) -> None:
        """Frees weights and device memory. The engine must not be used afterwards."""
