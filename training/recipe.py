"""Recipes: what is trained, on what, for how long. YAML files under `recipes/`, checked on reading."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tvau_runtime.errors import ConfigError

from .backbone_size import BackboneSize

__all__ = ["RECIPES", "Recipe", "StageSettings", "Stages", "Words", "read_recipe"]

OPTIMIZERS = ("adamw", "muon")
RECIPES = Path(__file__).resolve().parent / "recipes"


@dataclass(frozen=True)
class StageSettings:
    """One stage. warmup: share of the steps with rising learning rate; from there it falls as a cosine to nothing.

    batch: clips of a step, over all processes. accumulate: in so many pieces each process takes its part of them, one after the
    other, for less memory; the gradients of the pieces are averaged.
    cache: so many batches are drawn once, seen by the frozen part of the model once, and gone through again and again; 0
    draws fresh ones for every step.
    frames: of a clip; 0 for as many as the model takes. Fewer frames leave time for more clips.
    optimizer: adamw, or muon for the matrices of transformer blocks and adamw for the rest, both at the same learning rate.
    """

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.0
    warmup: float = 0.05
    cache: int = 0
    accumulate: int = 1
    frames: int = 0
    optimizer: str = "adamw"

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if (
            min(self.steps, self.batch, self.accumulate) < 1
            or self.cache < 0
            or self.learning_rate <= 0
            or self.frames < 0
            or self.frames % 2
            or not 0 <= self.warmup < 1
        ):
            raise ConfigError(
                "a stage needs steps, batch >= 1, accumulate >= 1, cache >= 0, frames >= 0 and even, learning_rate > 0 and "
                "warmup in 0..1, "
                f"got {self}"
            )


@dataclass(frozen=True)
class Stages:
    """backbone and language are those of a backbone that is trained from nothing; one_shot is run on demand."""

    ahd: StageSettings
    rae: StageSettings
    backbone: StageSettings | None = None
    language: StageSettings | None = None
    guidance: StageSettings | None = None
    one_shot: StageSettings = field(
        default_factory=lambda: StageSettings(steps=60, batch=8, learning_rate=2e-3, cache=15)
    )


@dataclass(frozen=True)
class Words:
    """Prompts that say what is normal and what is abnormal; see `tvau_runtime/prompts.py`."""

    normal: tuple[str, ...]
    abnormal: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """See `recipes/tiny.yaml` for the meaning of each setting.

    backbone: the size of a new one, which is trained from nothing, or a checkpoint of transformers, by directory or hub name,
    that stays as it is. split: of the synthetic world: train, or home, a small part of it. prompts: None takes those of the
    synthetic world, or of the checkpoint that training starts from. clips_per_place: so many clips in a row happen in one place
    of the world, which has to be painted but once for them.
    """

    name: str
    seed: int
    image_size: tuple[int, int]
    render_size: tuple[int, int]
    process_rate_hz: float
    clip_length: int
    backbone: BackboneSize | str
    rae_conv_widths: tuple[int, int, int]
    lora_rank: int
    stages: Stages
    split: str = "train"
    prompts: Words | None = None
    clips_per_place: int = 1

    def __post_init__(self) -> None:
        first = [name for name in ("backbone", "language") if getattr(self.stages, name)]
        if isinstance(self.backbone, str) and first:
            raise ConfigError(f"stages: {self.backbone} is not trained; remove {' and '.join(first)}")
        if not isinstance(self.backbone, str) and len(first) < 2:
            raise ConfigError("stages: a backbone that is trained from nothing needs the stages backbone and language")
        if self.split not in ("train", "home"):
            raise ConfigError(f"split: models are trained on train or home, got {self.split!r}")
        if min(self.lora_rank, self.clips_per_place, *self.rae_conv_widths) < 1:
            raise ConfigError(
                "lora_rank, clips_per_place and rae_conv_widths must be at least 1, "
                f"got {self.lora_rank}, {self.clips_per_place}, {self.rae_conv_widths}"
            )


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
    if typing.get_origin(kind) in (typing.Union, types.UnionType):  # settings, a text or nothing: the value says which
        options = typing.get_args(kind)
        fitting = [o for o in options if dataclasses.is_dataclass(o) == isinstance(value, dict) and o is not type(None)]
        if value is None and type(None) in options:
            return None
        kind = (fitting or [options[0]])[0]
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must hold settings, got {value!r}")
        hints = typing.get_type_hints(kind)
        if unknown := set(value) - set(hints):
            raise ConfigError(
                f"{where}: unknown setting {', '.join(sorted(map(str, unknown)))}; known: {', '.join(hints)}"
            )
        fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, kind))}
        needed = [n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING]
        if missing := [n for n in needed if n not in value]:
            raise ConfigError(f"{where}: setting {', '.join(missing)} is missing")
        return typing.cast(Any, kind)(**{n: _build(hints[n], v, f"{where}: {n}") for n, v in value.items()})
    if typing.get_origin(kind) is tuple:
        parts = typing.get_args(kind)
        if parts[-1] is Ellipsis:
            if not isinstance(value, list):
                raise ConfigError(f"{where} must be a list, got {value!r}")
            parts = (parts[0],) * len(value)
        if not isinstance(value, (list, tuple)) or len(value) != len(parts):
            raise ConfigError(f"{where} must be a list of {len(parts)}, got {value!r}")
        return tuple(_build(part, v, where) for part, v in zip(parts, value, strict=True))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(kind, types.GenericAlias) and (not isinstance(value, kind) or isinstance(value, bool)):
        raise ConfigError(f"{where} must be a {kind.__name__}, got {value!r}")
    return value
