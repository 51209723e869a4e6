"""Command-line flags and YAML files to a `PipelineConfig` and prompts.

The flags are made from `config.describe`, so that every default, range and description stands in `config` alone.
Knows no subcommand.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..config import Option, PipelineConfig, describe, fill
from ..errors import ConfigError
from ..pipeline import Pipeline, open_pipeline

__all__ = ["add_flags", "load_config", "open_with_prompts"]

GROUPS = {"engine": "model and engine", "stream": "clip windows", "events": "events", "dialogue": "dialogue"}
"""Title of each part of the configuration in --help."""
PROMPT_NAMES = ("normal", "abnormal", "phrase", "sentence")


def add_flags(parser: argparse.ArgumentParser, parts: Sequence[str] = tuple(GROUPS)) -> None:
    """Flags for these parts of the configuration, --config, and the prompts."""
    general = parser.add_argument_group("configuration")
    general.add_argument(
        "--config",
        metavar="FILE",
        help="YAML file of settings, such as 'events: {on_threshold: 0.95}' or 'prompts: {abnormal: [fire]}'; flags win",
    )
    for category in ("abnormal", "normal"):
        general.add_argument(
            f"--{category}",
            action="append",
            metavar="TEXT",
            help=f"what counts as {category}, in words; repeat it for more; replaces the model's own list, or adds to it where "
            "each begins with +",
        )
    groups = {part: parser.add_argument_group(GROUPS[part]) for part in parts}
    for option in describe(PipelineConfig):
        part, name = option.path.split(".")
        if part in groups:
            _add_flag(groups[part], option, name)


def load_config(args: argparse.Namespace) -> tuple[PipelineConfig, dict[str, Any]]:
    """The settings, flags over file over defaults; and what was said about prompts, by `Prompts`' field names."""
    values, prompts = _read_yaml(Path(args.config)) if args.config else ({}, {})
    for option in describe(PipelineConfig):
        given = getattr(args, _destination(option.path), None)
        if given is not None:
            values[option.path] = _parse(option, given)
    for category in ("normal", "abnormal"):
        if getattr(args, category, None):
            prompts[category] = tuple(getattr(args, category))
    return fill(PipelineConfig, values), prompts


def open_with_prompts(config: PipelineConfig, prompts: dict[str, Any]) -> Pipeline:
    """An open pipeline whose prompts are the model's own, but for those that were given."""
    pipeline = open_pipeline(config)
    try:
        if prompts:
            pipeline.set_prompts(pipeline.prompts().changed(**prompts))
    except BaseException:
        pipeline.close()
        raise
    return pipeline


def _destination(path: str) -> str:
    return path.replace(".", "__")


def _add_flag(group: argparse._ArgumentGroup, option: Option, name: str) -> None:
    flag, destination = f"--{name.replace('_', '-')}", _destination(option.path)
    text = f"{option.doc} [{_shown(option)}]".replace("%", "%%")
    if option.type is bool:
        action = argparse.BooleanOptionalAction
        group.add_argument(flag, dest=destination, action=action, default=None, help=text)
    else:
        group.add_argument(flag, dest=destination, metavar=option.type.__name__.upper(), help=text)


def _shown(option: Option) -> str:
    """Default, range and choices of a setting, for --help."""
    if option.type is bool:
        return f"default: {'on' if option.default else 'off'}"
    default = f"{option.default:g}" if isinstance(option.default, float) else str(option.default)
    if option.choices:
        return f"{' | '.join(option.choices)}; default: {default}"
    if option.minimum is not None and option.maximum is not None:
        return f"{option.minimum:g} to {option.maximum:g}; default: {default}"
    return f"default: {default}"


def _parse(option: Option, given: Any) -> Any:
    """A flag's text as the setting's type; `fill` checks its range. Raises `ConfigError` naming the flag."""
    if option.type not in (int, float):
        return given
    try:
        return option.type(given)
    except ValueError:
        kind = "whole number" if option.type is int else "number"
        flag = option.path.split(".")[1].replace("_", "-")
        raise ConfigError(f"--{flag} must be a {kind}, got {given!r}") from None


def _read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings by dotted path, and prompts, of a YAML file. Raises `ConfigError` naming the file."""
    try:
        content = yaml.safe_load(Path(os.path.expanduser(path)).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the settings file {path} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"the settings file {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}, {}
    if not isinstance(content, dict):
        raise ConfigError(f"the settings file {path} must hold names and values, got a {type(content).__name__}")
    prompts = _read_prompts(path, content.pop("prompts", None) or {})
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name in GROUPS:
            if not isinstance(value, dict | None):
                raise ConfigError(f"{path}: {name} must hold names and values, got {value!r}")
            values |= {f"{name}.{inner}": entry for inner, entry in (value or {}).items()}
        else:
            values[str(name)] = value
    try:
        fill(PipelineConfig, values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return values, prompts


def _read_prompts(path: Path, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict) or not set(given) <= set(PROMPT_NAMES):
        raise ConfigError(f"{path}: prompts must hold only {', '.join(PROMPT_NAMES)}, got {given!r}")
    prompts = {}
    for name, value in given.items():
        if name in ("phrase", "sentence"):
            good = isinstance(value, str)
        else:
            good = isinstance(value, list) and all(isinstance(word, str) for word in value)
            value = tuple(value) if good else value
        if not good:
            wanted = "a text" if name in ("phrase", "sentence") else "a list of texts"
            raise ConfigError(f"{path}: prompts.{name} must be {wanted}, got {value!r}")
        prompts[name] = value
    return prompts
