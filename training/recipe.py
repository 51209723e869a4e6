"""Recipes: what is trained, on what, for how long. YAML files under `recipes/`, checked on reading."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tvau_runtime.errors import ConfigError

from .backbone_size import BackboneSize

__all__ = ["RECIPES", "Recipe", "StageSettings", "Stages", "read_recipe"]

RECIPES = Path(__file__).resolve().parent / "recipes"


@dataclass(frozen=True)
class StageSettings:
    """One stage. warmup: share of the steps with rising learning rate; from there it falls as a cosine to nothing.

    cache: so many batches are drawn once, seen by the frozen part of the model once, and gone through again and again; 0
    draws fresh ones for every step.
    """

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.0
    warmup: float = 0.05
    cache: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch) < 1 or self.cache < 0 or self.learning_rate <= 0 or not 0 <= self.warmup < 1:
            raise ConfigError(
                f"a stage needs steps, batch >= 1, cache >= 0, learning_rate > 0 and warmup in 0..1, got {self}"
            )


@dataclass(frozen=True)
class Stages:
    """The stages in order."""

    backbone: StageSettings
    language: StageSettings
    ahd: StageSettings
    rae: StageSettings


@dataclass(frozen=True)
class Recipe:
    """See `recipes/tiny.yaml` for the meaning of each setting."""

    name: str
    seed: int
    image_size: tuple[int, int]
    render_size: tuple[int, int]
    process_rate_hz: float
    clip_length: int
    backbone: BackboneSize
    rae_conv_widths: tuple[int, int, int]
    lora_rank: int
    stages: Stages


def read_recipe(name: str) -> Recipe:
    """A recipe by name (of a file in `recipes/`) or path. Raises `ConfigError` naming the field that does not fit."""
    path = RECIPES / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in RECIPES.glob("*.yaml")))
        raise ConfigError(f"there is no recipe {name!r}: give one of {there}, or the path of a YAML file")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is not readable YAML: {error}") from error
    return _build(Recipe, values, path.name)


def _build(kind: Any, value: Any, where: str) -> Any:
    """`value` as a dataclass, tuple or number, or `ConfigError` naming where it stood."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must hold settings, got {value!r}")
        hints = typing.get_type_hints(kind)
        if unknown := set(value) - set(hints):
            raise ConfigError(
                f"{where}: unknown setting {', '.join(sorted(map(str, unknown)))}; known: {', '.join(hints)}"
            )
        fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, kind))}
        if missing := [n for n, f in fields.items() if n not in value and f.default is dataclasses.MISSING]:
            raise ConfigError(f"{where}: setting {', '.join(missing)} is missing")
        return typing.cast(Any, kind)(**{n: _build(hints[n], v, f"{where}: {n}") for n, v in value.items()})
    if typing.get_origin(kind) is tuple:
        parts = typing.get_args(kind)
        if not isinstance(value, (list, tuple)) or len(value) != len(parts):
            raise ConfigError(f"{where} must be a list of {len(parts)}, got {value!r}")
        return tuple(_build(part, v, where) for part, v in zip(parts, value, strict=True))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(kind, types.GenericAlias) and (not isinstance(value, kind) or isinstance(value, bool)):
        raise ConfigError(f"{where} must be a {kind.__name__}, got {value!r}")
    return value
