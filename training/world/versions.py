"""The versions of the world by name. What a name gives stays as it is, so that figures measured on it stay true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvau_runtime.errors import ConfigError

from .staging import WorldVersion
from .street import STREET
from .surveillance import SURVEILLANCE
from .types import SPLITS

__all__ = ["FRAME_SIZES", "WORLDS", "anomalies", "every_kind", "kinds", "normalities", "trained_on", "version"]

_VERSIONS = {each.name: each for each in (STREET, SURVEILLANCE)}
WORLDS = tuple(_VERSIONS)
"""`street`: a road and a walkway in flat colours. `surveillance`: many places as cameras see them."""
FRAME_SIZES = {"street": (240, 320), "surveillance": (252, 448)}
"""(height, width) in pixels that each is drawn at for evaluation and for files, where nothing else is asked for."""


def version(world: str) -> WorldVersion:
    """The version of this name. Raises `ConfigError`."""
    if world not in _VERSIONS:
        raise ConfigError(f"world must be one of {', '.join(WORLDS)}, got {world!r}")
    return _VERSIONS[world]


def trained_on(training: Mapping[str, Any]) -> str:
    """The world of a checkpoint's training, as its manifest (`Manifest.training`) tells; the first one where it does not say."""
    return training.get("recipe", {}).get("world", WORLDS[0])


def anomalies(world: str = "street", split: str = "train") -> tuple[str, ...]:
    """The kinds of anomaly that a split of a world holds, as word prompts. Raises `ConfigError`."""
    if split not in SPLITS:
        raise ConfigError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    return version(world).anomalies(split)


def every_kind(world: str = "street") -> tuple[str, ...]:
    """The kinds of anomaly of all splits. Raises `ConfigError`."""
    return tuple(dict.fromkeys(kind for split in SPLITS for kind in version(world).anomalies(split)))


def normalities(world: str = "street") -> tuple[str, ...]:
    """What a world's normal life is made of, as word prompts. Raises `ConfigError`."""
    return version(world).normalities


def kinds(world: str = "street") -> tuple[str, ...]:
    """The kinds of things (`Actor.kind`) that a world holds. Raises `ConfigError`."""
    return version(world).kinds
