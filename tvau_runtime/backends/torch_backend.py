"""The torch engine: any checkpoint directory on CPU or CUDA through transformers. Knows no windows and no dialogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendError, ConfigError
from ..manifest import Manifest
from .base import Backend, ModelSpec, choose_size

try:
    import torch

    from ..model import checkpoint
    from ..model.backbone import Backbone
    from ..model.text_decoder import TextDecoder
    from ..model.tvau import TVAU
except ImportError as error:
    raise BackendError(f"the torch engine needs torch and transformers ({error}): pip install 'tvau[torch]'") from error

__all__ = ["TorchBackend", "model_spec"]

_CLOSED = "the engine is closed; open it again"


def model_spec(manifest: Manifest, backbone: Backbone, image_size: tuple[int, int]) -> ModelSpec:
    """What the runtime must know about a checkpoint, at an image size (height, width)."""
    return ModelSpec(
        name=manifest.name,
        image_size=image_size,
        process_rate_hz=manifest.process_rate_hz,
        clip_length=manifest.clip_length,
        mean=manifest.mean,
        std=manifest.std,
        text_dim=backbone.text_dim,
        tokens_per_second=backbone.tokens_per_second,
        calibration=manifest.calibration,
    )


class TorchBackend(Backend):
    """Opens a checkpoint.

    device: auto, cpu, cuda or cuda:N; threads: 0 leaves torch's own number. size: the checkpoint's own, or empty.
    """

    def __init__(self, directory: Path, device: str = "auto", threads: int = 0, size: str = "") -> None:
        why = f"{device} was asked for"
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
            why = "the fastest there is" if device == "cuda" else "torch sees no CUDA device"
        try:
            self._device = torch.device(device)
            if self._device.type not in ("cpu", "cuda"):
                raise RuntimeError(f"{self._device.type} is neither")
        except RuntimeError as error:
            raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got {device!r}") from error
        if self._device.type == "cuda" and not torch.cuda.is_available():
            raise BackendError(f"device {device} was asked for, but torch sees no CUDA device; use cpu or auto")
        if (self._device.index or 0) >= (count := torch.cuda.device_count()) and self._device.type == "cuda":
            raise BackendError(f"device {device} was asked for, but torch sees {count} of them, from cuda:0 on")
        if threads:
            torch.set_num_threads(threads)
        self._opened: TVAU | None
        self._opened, manifest, self.tokenizer = checkpoint.load(directory, device=str(self._device))
        backbone = self._model.backbone
        self._decoder: TextDecoder | None = TextDecoder(backbone.model.model.language_model, backbone.model.lm_head)
        self.spec = model_spec(manifest, backbone, choose_size([manifest.image_size], size))
        self.device = f"torch {self._device}"
        if self._device.type == "cpu":
            self.device += f", {torch.get_num_threads()} threads"
        self.device += f" ({why})"
        self.prompts, self._without = manifest.prompts, manifest.without
        self._own_text = self.text_features(self.prompts)

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray, text: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        tokens, maps = self._model.encode(self._tensor(pixels), self._tensor(self._own_text if text is None else text))
        if self._without in ("ahd", "both"):
            maps = torch.zeros_like(maps)
        return _array(tokens), _array(maps)

    @torch.inference_mode()
    def anomaly_prompts(self, class_maps: np.ndarray) -> np.ndarray:
        if self._without in ("rae", "both"):
            return np.zeros((0, self.spec.text_dim), np.float32)
        return _array(self._model.rae(self._tensor(class_maps)[None])[0])

    @torch.inference_mode()
    def embed(self, token_ids: list[int]) -> np.ndarray:
        return _array(self._model.backbone.embed(torch.tensor(token_ids, dtype=torch.long, device=self._device)))

    @torch.inference_mode()
    def decode(self, embeddings: np.ndarray, positions: np.ndarray, cache: Any = None) -> tuple[np.ndarray, Any]:
        decoder = self._decoder
        if decoder is None:
            raise BackendError(_CLOSED)
        cache = cache or decoder.new_cache()
        logits = decoder(
            self._tensor(embeddings).to(decoder.dtype), torch.tensor(positions, device=self._device), cache
        )
        return _array(logits), cache

    def crop(self, cache: Any, length: int) -> Any:
        return cache.crop(length)

    def cache_bytes(self, cache: Any) -> int:
        return cache.nbytes

    def close(self) -> None:
        self._opened = self._decoder = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def _model(self) -> TVAU:
        if self._opened is None:
            raise BackendError(_CLOSED)
        return self._opened

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array, dtype=torch.float32, device=self._device)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()
