"""Engines that run a model, opened by name. Each is imported only when it is opened."""

from __future__ import annotations

from pathlib import Path

from ..config import EngineConfig
from ..errors import ModelError
from ..manifest import FILE_NAME
from .base import Backend, ModelSpec

__all__ = ["Backend", "ModelSpec", "find_model", "open_backend"]

ASSETS = Path(__file__).resolve().parent.parent / "assets"


def find_model(model: str) -> Path:
    """The directory of a checkpoint, given as one or as the name of an embedded model. Raises `ModelError` with what there is."""
    for directory in (Path(model).expanduser(), ASSETS / model):
        if model and (directory / FILE_NAME).is_file():
            return directory
    embedded = sorted(p.parent.name for p in ASSETS.glob(f"*/{FILE_NAME}"))
    raise ModelError(
        f"there is no model {model!r}: expected a directory with a {FILE_NAME}, or an embedded model "
        f"({', '.join(embedded) or 'none'})"
    )


def open_backend(engine: EngineConfig | None = None) -> Backend:
    """Opens the model on the engine that the settings name. Raises `ModelError`, `BackendError` or `ConfigError`."""
    engine = engine or EngineConfig()
    directory = find_model(engine.model)
    from .torch_backend import TorchBackend

    return TorchBackend(directory, engine.device, engine.threads)
