"""What the engines of exported models have in common: manifest, tokenizer, token table and prompts. Runs nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..artifact import Artifact
from ..errors import BackendError, ModelError
from ..tokenizer import TextTokenizer
from .base import Backend, ModelSpec, choose_size

__all__ = ["ExportedBackend"]


class ExportedBackend(Backend):
    """An exported model's directory, verified, at one of its sizes. Raises `ModelError` for one that is damaged."""

    def __init__(self, directory: Path, size: str = "") -> None:
        artifact = Artifact.read(directory)
        artifact.verify(directory)
        self._artifact, self._directory, self._closed = artifact, directory, False
        self.tokenizer = TextTokenizer(directory / "tokenizer.json")
        self.spec = ModelSpec(
            name=artifact.name,
            image_size=choose_size(artifact.image_sizes, size),
            process_rate_hz=artifact.process_rate_hz,
            clip_length=artifact.clip_length,
            mean=artifact.mean,
            std=artifact.std,
            text_dim=artifact.text_dim,
            tokens_per_second=artifact.tokens_per_second,
            calibration=artifact.calibration,
        )
        self._table = np.load(directory / "embeddings.npy", mmap_mode="r", allow_pickle=False)
        if self._table.shape != (artifact.vocabulary, artifact.text_dim):
            raise ModelError(f"{directory}: embeddings.npy is {list(self._table.shape)}, not vocabulary x text_dim")
        self.prompts = artifact.prompts
        self._own_text = self.text_features(self.prompts)

    def embed(self, token_ids: list[int]) -> np.ndarray:
        return np.asarray(self._table[token_ids], np.float32)

    def _text(self, text: np.ndarray | None, count: int) -> np.ndarray:
        """What `encode` is given of prompts, for each of `count` patches: [n, 2, D]."""
        return np.broadcast_to(self._own_text if text is None else text, (count, 2, self.spec.text_dim))

    def close(self) -> None:
        self._closed = True

    def _must_be_open(self) -> None:
        if self._closed:
            raise BackendError("the engine is closed; open it again")
