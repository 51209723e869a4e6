"""Inputs of the graphs as they come in use, by which activations get their scales: clips of the synthetic world."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from tvau_export.evidence import CALIBRATION, labelled_clips
from tvau_export.graphs import Decoder
from tvau_export.parity import first_prompt
from tvau_runtime.backends.torch_backend import model_spec
from tvau_runtime.manifest import Manifest
from tvau_runtime.model import checkpoint
from tvau_runtime.model.tvau import TVAU
from tvau_runtime.tokenizer import TextTokenizer

__all__ = ["Calibration", "Feed"]

Feed = dict[str, np.ndarray]
"""A graph's inputs by name."""


class Calibration:
    """Opens the checkpoint when it is first asked, whole. clips: how many; none of those that graphs are checked on."""

    def __init__(self, source: Path, clips: int) -> None:
        self._source, self._clips = source, clips

    def vision(self, size: tuple[int, int]) -> Iterator[Feed]:
        """Of `vision_ahd` at an image size (height, width), a clip each."""
        model, manifest, tokenizer = self._opened
        text = checkpoint.text_features(model, tokenizer, manifest.prompts).numpy()
        for pixels in self._pixels(size):
            yield {"pixels": pixels, "text": np.repeat(text[None], len(pixels), axis=0)}

    def decoder(self) -> Iterator[Feed]:
        """Of `decoder`: a window's evidence with the first question, behind nothing."""
        model, manifest, tokenizer = self._opened
        text, graph = checkpoint.text_features(model, tokenizer, manifest.prompts), Decoder(model.backbone)
        empty = np.zeros((1, graph.kv_heads, 0, graph.head_dim), np.float32)
        for pixels in self._pixels(manifest.image_size):
            with torch.no_grad():
                tokens, maps = model.encode(torch.from_numpy(pixels), text)
                embeddings, positions = first_prompt(model, tokenizer, tokens, maps, manifest.process_rate_hz)
            past = dict.fromkeys(graph.names[0][2:], empty)
            yield {"embeddings": embeddings[None], "positions": positions[:, None], **past}

    @cached_property
    def _opened(self) -> tuple[TVAU, Manifest, TextTokenizer]:
        return checkpoint.load(self._source)

    def _pixels(self, size: tuple[int, int]) -> Iterator[np.ndarray]:
        model, manifest, _ = self._opened
        found = labelled_clips(model_spec(manifest, model.backbone, size), self._clips, CALIBRATION)
        for pixels, _ in tqdm(found, total=self._clips, desc="calibration", unit="clip", dynamic_ncols=True):
            yield pixels
