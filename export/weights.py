"""A checkpoint opened without its weights: the model as shapes alone, and its tensors read from disk one at a time.

Tracing a graph needs no numbers, and writing one needs a tensor at a time, so that a model far larger than the memory can be
exported. Knows no ONNX.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from tvau_runtime.errors import BackendError, ModelError
from tvau_runtime.manifest import Manifest
from tvau_runtime.model import checkpoint
from tvau_runtime.model.tvau import TVAU
from tvau_runtime.tokenizer import TextTokenizer

__all__ = ["Weights", "hollow", "narrowest", "open_hollow"]

PIECE = 1 << 22
"""So many numbers are compared at once."""


class Weights:
    """The backbone's tensors by their names in the model, its LoRA adapter merged in, each read when it is asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._adapters: dict[str, Any] = {}
        self._where: dict[str, tuple[Path, str]] = {}
        index = directory / "model.safetensors.index.json"
        try:
            if index.is_file():
                listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            else:
                with safe_open(directory / "model.safetensors", "pt") as file:
                    listed = dict.fromkeys(file.keys(), "model.safetensors")
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ModelError(f"backbone: {directory} holds no readable safetensors checkpoint: {error}") from error
        for name, file in listed.items():
            self._where[_name_in_model(name)] = directory / file, name

    def check(self, model: nn.Module) -> None:
        """Raises `ModelError` naming the first tensor that is missing or of another shape."""
        for name, parameter in model.named_parameters():
            if name not in self._where:
                raise ModelError(f"backbone: tensor {name} is missing in {self._directory}")
            shape = list(self._read(name).shape)  # the file is mapped: no number is read
            if shape != list(parameter.shape):
                raise ModelError(f"backbone: tensor {name} is {shape}, config.json needs {list(parameter.shape)}")

    def merge(self, model: Any, directory: Path) -> None:
        """Merges the adapter in a directory into what is read from now on. Raises `ModelError` for one of another kind."""
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        adapted = checkpoint.open_lora(model, directory)
        for name in load_file(directory / "adapter_model.safetensors"):
            if not name.endswith((".lora_A.weight", ".lora_B.weight")):
                raise ModelError(f"lora: tensor {name} is not of plain LoRA, the one kind that can be exported")
        for layer in adapted.modules():
            if hasattr(layer, "get_delta_weight"):
                if getattr(layer, "lora_variant", None):
                    raise ModelError(
                        "lora: a variant such as DoRA cannot be exported; merge it into the backbone first"
                    )
                self._adapters[names[id(layer.get_base_layer().weight)]] = layer
        model.model.language_model = adapted.unload()

    @torch.no_grad()
    def read(self, name: str) -> Tensor:
        """A tensor as it is stored; in float32 where an adapter is merged into it."""
        tensor = self._read(name)
        if name in self._adapters:
            layer = self._adapters[name]
            return sum((layer.get_delta_weight(adapter) for adapter in layer.active_adapters), tensor.float())
        return tensor

    def _read(self, name: str) -> Tensor:
        path, stored = self._where[name]
        try:
            with safe_open(path, "pt") as file:
                return file.get_tensor(stored)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"backbone: tensor {stored} of {path} cannot be read: {error}") from error


def open_hollow(directory: Path) -> tuple[TVAU, Manifest, TextTokenizer, Weights]:
    """The model of a checkpoint directory, its backbone hollow, and that backbone's weights. AHD and RAE are small and whole.

    Raises `ModelError` naming the field, file or tensor that does not fit.
    """
    from transformers import AutoConfig, Qwen2_5_VLForConditionalGeneration

    manifest = Manifest.read(directory)
    manifest.verify(directory)
    inside = directory / manifest.backbone
    inside = inside if inside.is_dir() else _from_hub(manifest.backbone)
    with checkpoint.quiet(), _empty_weights():
        try:
            config: Any = AutoConfig.from_pretrained(inside)
            model = Qwen2_5_VLForConditionalGeneration(config)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"backbone: config.json in {inside} is not of a Qwen2.5-VL: {error}") from error
    model.tie_weights()
    hollow(model, torch.float32)
    weights = Weights(inside)
    weights.check(model)
    if (directory / checkpoint.LORA_DIRECTORY).is_dir():
        weights.merge(model, directory / checkpoint.LORA_DIRECTORY)
    return *checkpoint.complete(model, manifest, directory), weights


def hollow(model: nn.Module, dtype: torch.dtype) -> None:
    """Puts, in place of every parameter, one of the same shape that takes no memory. Shared ones stay shared.

    It holds NaN, so that a number that should have been read from disk cannot go unnoticed.
    """
    new: dict[int, nn.Parameter] = {}
    old = list(model.parameters())  # kept while their ids are in use
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) not in new:
                empty = torch.full((), float("nan"), dtype=dtype).expand(parameter.shape)
                new[id(parameter)] = nn.Parameter(empty, requires_grad=False)
            setattr(module, name, new[id(parameter)])
    del old


def narrowest(tensor: Tensor) -> torch.dtype:
    """The narrowest type that holds all numbers of a floating-point tensor exactly: float16, bfloat16 or its own."""
    if tensor.dtype != torch.float32:
        return tensor.dtype
    pieces = tensor.flatten().split(PIECE)
    for dtype in (torch.float16, torch.bfloat16):
        if all(bool((piece.to(dtype).float() == piece).all()) for piece in pieces):
            return dtype
    return torch.float32


def _empty_weights() -> Any:
    try:
        from accelerate import init_empty_weights
    except ImportError as error:
        raise BackendError("the export needs accelerate: pip install 'tvau[export]'") from error
    return init_empty_weights(include_buffers=False)


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(name, allow_patterns=["config.json", "*.safetensors", "*.safetensors.index.json"])
        )
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise ModelError(f"backbone: {name} is no directory, and the hub does not give it: {error}") from error


def _name_in_model(name: str) -> str:
    """Checkpoints name tensors as the first Qwen2.5-VL did; the library's model has the language model one level deeper."""
    if name.startswith("visual."):
        return f"model.{name}"
    if name.startswith("model.") and not name.startswith(("model.visual.", "model.language_model.")):
        return f"model.language_model.{name.removeprefix('model.')}"
    return name
