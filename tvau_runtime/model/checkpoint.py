"""Checkpoints of the torch model: sizing, saving and loading the parts that `manifest.py` lists.

The one place that knows how large the parts are. Refuses what does not fit by a message that names the field or tensor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ..errors import BackendError, ModelError
from ..manifest import Manifest
from ..prompts import Prompts
from ..tokenizer import TextTokenizer
from .anomaly_heatmap_decoder import AnomalyHeatmapDecoder
from .backbone import Backbone
from .region_anomaly_encoder import RegionAnomalyEncoder
from .tvau import TVAU

__all__ = [
    "build", "complete", "load", "load_backbone", "new_rae", "open_lora", "quiet", "save", "save_lora", "text_features",
]  # fmt: skip

AHD_FILE, RAE_FILE, LORA_DIRECTORY, TOKENIZER_FILE = "ahd.safetensors", "rae.safetensors", "lora", "tokenizer.json"


def build(manifest: Manifest, model: Any) -> TVAU:
    """A T-VAU with fresh AHD and RAE around a transformers Qwen2.5-VL, sized by it and the manifest."""
    grid = (manifest.image_size[0] // 14, manifest.image_size[1] // 14)
    backbone = Backbone(model, grid, manifest.taps)
    ahd = AnomalyHeatmapDecoder(backbone.vision_dim, backbone.text_dim, len(backbone.taps))
    return TVAU(backbone, ahd, new_rae(manifest, backbone))


def new_rae(manifest: Manifest, backbone: Backbone) -> RegionAnomalyEncoder:
    """A fresh RAE, sized by backbone and manifest."""
    return RegionAnomalyEncoder(backbone.text_dim, manifest.rae_conv_widths, manifest.rae_hidden)


def load_backbone(source: str | Path, dtype: torch.dtype = torch.float32) -> Any:
    """A transformers `Qwen2_5_VLForConditionalGeneration` from a directory or a hub name. Raises `ModelError`."""
    transformers = _transformers()
    try:
        with quiet():
            return transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(source, dtype=dtype)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"backbone: {source} is not a Qwen2.5-VL checkpoint that can be loaded: {first}") from error


def load(directory: str | Path, *, device: str = "cpu", verify: bool = True) -> tuple[TVAU, Manifest, TextTokenizer]:
    """The model of a checkpoint directory, in eval mode, its LoRA adapter merged in.

    Weights are float32 on a CPU and bfloat16 for the backbone on a GPU. `verify` compares every file with its hash.
    Raises `ModelError` naming the field, file or tensor that does not fit.
    """
    directory = Path(directory)
    manifest = Manifest.read(directory)
    if verify:
        manifest.verify(directory)
    inside = directory / manifest.backbone
    dtype = torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16
    backbone = load_backbone(inside if inside.is_dir() else manifest.backbone, dtype)
    if (directory / LORA_DIRECTORY).is_dir():
        backbone.model.language_model = open_lora(backbone, directory / LORA_DIRECTORY).merge_and_unload()
    model, manifest, tokenizer = complete(backbone, manifest, directory)
    return model.to(device), manifest, tokenizer


def complete(backbone: Any, manifest: Manifest, directory: Path) -> tuple[TVAU, Manifest, TextTokenizer]:
    """A backbone with the other parts of its checkpoint directory, in eval mode. Raises `ModelError` for what does not fit."""
    tokenizer = TextTokenizer(directory / TOKENIZER_FILE)
    rows = backbone.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ModelError(f"{TOKENIZER_FILE}: {len(tokenizer)} tokens do not fit the backbone's vocabulary of {rows}")
    model = build(manifest, backbone)
    _load_into(model.ahd, directory / AHD_FILE)
    _load_into(model.rae, directory / RAE_FILE)
    return model.requires_grad_(False).eval(), manifest, tokenizer


def save(
    model: TVAU,
    manifest: Manifest,
    tokenizer_file: Path,
    directory: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
) -> Manifest:
    """Writes a checkpoint directory; returns the manifest as written, with hashes and versions.

    dtype: of the stored backbone. A backbone that the manifest names by hub name is not written. An adapter that
    `save_lora` put into the directory becomes part of the checkpoint.
    """
    transformers = _transformers()
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if manifest.backbone == "backbone":
        weights = {k: v.to(dtype) for k, v in model.backbone.model.state_dict().items()}
        with quiet():
            model.backbone.model.save_pretrained(directory / "backbone", state_dict=weights)
    save_file({k: v.contiguous().cpu() for k, v in model.ahd.state_dict().items()}, directory / AHD_FILE)
    save_file({k: v.contiguous().cpu() for k, v in model.rae.state_dict().items()}, directory / RAE_FILE)
    target = directory / TOKENIZER_FILE
    if tokenizer_file.resolve() != target.resolve():
        target.write_bytes(tokenizer_file.read_bytes())
    versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}
    return dataclasses.replace(manifest, versions=versions).write(directory)


def save_lora(adapter: Any, directory: str | Path) -> None:
    """Writes the adapter of a peft model, made around the backbone's language model, into a checkpoint directory."""
    target = Path(directory) / LORA_DIRECTORY
    adapter.save_pretrained(str(target))
    # The library adds a page for a model hub and the place the base model came from; neither is true elsewhere.
    (target / "README.md").unlink(missing_ok=True)
    settings = json.loads((target / "adapter_config.json").read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = None
    (target / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


@torch.no_grad()
def text_features(model: TVAU, tokenizer: TextTokenizer, prompts: Prompts) -> torch.Tensor:
    """S_c of normal and abnormal, [2, D] (eqs. 2-3)."""
    device = model.backbone.model.device
    return torch.stack(
        [
            model.backbone.text_features(
                [torch.tensor(tokenizer.encode(t), device=device) for t in prompts.texts(category)]
            )
            for category in ("normal", "abnormal")
        ]
    )


def open_lora(backbone: Any, directory: Path) -> Any:
    """The backbone's language model with the adapter in a directory around it, as peft has it. Raises `ModelError`."""
    try:
        from peft import PeftModel, get_peft_model_state_dict
    except ImportError as error:
        raise BackendError("this checkpoint has a LoRA adapter, which needs peft: pip install peft") from error
    try:
        with quiet():
            language = PeftModel.from_pretrained(backbone.model.language_model, str(directory))
        there = set(load_file(directory / "adapter_model.safetensors"))
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelError(f"lora: the adapter in {directory} does not fit the backbone: {error}") from error
    # The library only warns of weights that are not in the file.
    if missing := set(get_peft_model_state_dict(language)) - there:
        raise ModelError(f"lora: the adapter in {directory} lacks tensor {min(missing)}")
    return language


def _load_into(module: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"{path} is missing")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a readable safetensors file: {error}") from error
    wanted = module.state_dict()
    for name in sorted(wanted.keys() | weights.keys()):
        if name not in weights:
            raise ModelError(
                f"{path.name}: tensor {name} is missing; the taps or the backbone are not those it was trained for"
            )
        if name not in wanted:
            raise ModelError(f"{path.name}: tensor {name} has no place in the model; the taps or widths differ")
        if weights[name].shape != wanted[name].shape:
            raise ModelError(
                f"{path.name}: tensor {name} is {list(weights[name].shape)}, the backbone needs {list(wanted[name].shape)}"
            )
    module.load_state_dict(weights)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise BackendError("the torch engine needs transformers: pip install 'tvau[torch]'") from error
    return transformers


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' progress bars, loading report and warnings about each other, which would fill a node's log."""
    transformers = _transformers()
    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()
