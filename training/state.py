"""What a run keeps so as to go on with it: what training changes, whole, however many processes hold it in pieces.

A run may thus be stopped on one machine and go on with several. Knows no stage.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tvau_runtime.errors import ConfigError

from .machines import place_like, whole

__all__ = ["fill", "fill_optimizer", "optimizer_state", "read_state", "trained_values", "write_state"]


def read_state(path: Path) -> dict[str, Any]:
    """What `write_state` wrote. Raises `ConfigError` for a damaged file."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises depends on where the damage is
        raise ConfigError(f"{path} is damaged ({type(error).__name__}); --fresh starts anew") from error


def write_state(state: dict[str, Any], path: Path) -> None:
    """All or nothing: a stop while writing leaves the former file."""
    draft = path.with_suffix(".part")
    torch.save(state, draft)
    os.replace(draft, path)


def trained_values(module: nn.Module) -> dict[str, Tensor]:
    """What changes while a module is trained: its free parameters and its persistent buffers, whole and on the CPU."""
    values, names = module.state_dict(keep_vars=True), {}
    for name, value in values.items():  # what has two names is kept under the first
        if value.requires_grad or not isinstance(value, nn.Parameter):
            names.setdefault(id(value), name)
    return {name: whole(values[name]).to("cpu", copy=True) for name in names.values()}


@torch.no_grad()
def fill(module: nn.Module, values: dict[str, Tensor]) -> None:
    """Puts what `trained_values` gave back into a module."""
    there = module.state_dict(keep_vars=True)
    for name, value in values.items():
        there[name].copy_(value)


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Its `state_dict`, whole."""
    state = optimizer.state_dict()
    kept = {number: {k: whole(v) for k, v in each.items()} for number, each in state["state"].items()}
    return {**state, "state": kept}


def fill_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Puts what `optimizer_state` gave back into an optimizer of the same parameters, however they are held now."""
    free = [p for group in optimizer.param_groups for p in group["params"]]
    placed = {
        number: {k: place_like(v, free[number]) if v.ndim else v for k, v in each.items()}
        for number, each in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": placed})
