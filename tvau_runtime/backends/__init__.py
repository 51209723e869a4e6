"""Engines that run a model, opened by name. Each is imported only when it is opened."""

from __future__ import annotations

import os
from pathlib import Path

from ..artifact import Artifact
from ..config import EngineConfig
from ..errors import ConfigError, ModelError
from ..manifest import EXPORT, Manifest
from .base import Backend, ModelSpec

__all__ = ["Backend", "ModelSpec", "find_export", "find_model", "open_backend"]

ASSETS = Path(__file__).resolve().parent.parent / "assets"


def find_model(model: str) -> Path:
    """The directory of a checkpoint or export, given as one or as the name of an embedded model.

    Raises `ModelError` with what there is.
    """
    for directory in (Path(os.path.expanduser(model)), ASSETS / model):
        if model and any((directory / name).is_file() for name in (Manifest.FILE, Artifact.FILE)):
            return directory
    embedded = sorted(p.parent.name for p in ASSETS.glob(f"*/{Manifest.FILE}"))
    raise ModelError(
        f"there is no model {model!r}: expected a directory with a {Manifest.FILE} or {Artifact.FILE}, or an embedded "
        f"model ({', '.join(embedded) or 'none'})"
    )


def find_export(directory: Path) -> Path | None:
    """The exported graphs of a model directory: it may be an export itself, or a checkpoint that holds its own.

    Raises `ModelError` where a checkpoint's graphs were made from other weights than it has now.
    """
    if (directory / Artifact.FILE).is_file():
        return directory
    inside = directory / EXPORT
    if not (inside / Artifact.FILE).is_file():
        return None
    if Artifact.read(inside).source != Manifest.read(directory).files:
        raise ModelError(
            f"{inside} was exported from other weights than those of {directory}; remove it, or export anew: "
            f"python export/to_onnx.py --model {directory}"
        )
    return inside


def open_backend(engine: EngineConfig | None = None) -> Backend:
    """Opens the model on the engine that the settings name. Raises `ModelError`, `BackendError` or `ConfigError`."""
    engine = engine or EngineConfig()
    directory = find_model(engine.model)
    export = directory if (directory / Artifact.FILE).is_file() else None
    if export is None and engine.backend != "torch":
        export = find_export(directory)
    holds = "torch" if export is None else "tensorrt" if Artifact.read(export).tensorrt else "onnx"
    if engine.backend not in ("auto", holds):
        raise ConfigError(_refusal(engine, export or directory, holds))
    if export is not None and holds == "tensorrt":
        from .tensorrt_backend import TensorrtBackend

        return TensorrtBackend(export, engine.device, engine.size)
    if export is not None:
        from .onnx_backend import OnnxBackend

        return OnnxBackend(export, engine.device, engine.threads, engine.fp16, engine.size)
    from .torch_backend import TorchBackend

    return TorchBackend(directory, engine.device, engine.threads, engine.size)


def _refusal(engine: EngineConfig, directory: Path, holds: str) -> str:
    """Why the engine asked for cannot open what a directory holds, and what to do."""
    if holds == "torch":
        return f"{directory} is a checkpoint; export it first: python export/to_onnx.py --model {engine.model}"
    if holds == "onnx" and engine.backend == "tensorrt":
        return (
            f"{directory} holds exported graphs; build engines first: python export/to_tensorrt.py --onnx {directory}"
        )
    kind = "exported graphs" if holds == "onnx" else "TensorRT engines"
    return f"{directory} holds {kind}, which the {engine.backend} engine does not run; use backend {holds}"
