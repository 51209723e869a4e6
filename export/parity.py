"""How far exported graphs are from the checkpoint they were made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tvau_runtime.backends.onnx_backend import OnnxBackend
from tvau_runtime.model import checkpoint
from tvau_runtime.model.tvau import TVAU
from tvau_runtime.prompts import Prompts
from tvau_runtime.tokenizer import TextTokenizer

__all__ = ["compare", "first_fault"]

TOLERANCE = 1e-3
"""Largest error of a graph, relative to the largest number that it should give."""
TOKENS = 24
"""So many tokens are decoded greedily by both."""


@torch.no_grad()
def compare(model: TVAU, tokenizer: TextTokenizer, prompts: Prompts, directory: Path) -> dict[str, dict[str, float]]:
    """Largest absolute and relative error per graph on random input, and the share of greedy tokens that are the same.

    model: at the image size of the graphs' first. Everything is drawn from one seed.
    """
    engine = OnnxBackend(directory, "cpu")
    rng = np.random.default_rng(0)
    rows, columns = engine.spec.grid
    text = checkpoint.text_features(model, tokenizer, prompts)
    model.backbone = type(model.backbone)(model.backbone.model, engine.spec.grid, model.backbone.taps)
    pixels = rng.normal(size=(3, rows * columns, engine.spec.patch_dim)).astype(np.float32)
    tokens, maps = model.encode(torch.from_numpy(pixels), text)
    got_tokens, got_maps = engine.encode(pixels)
    prefix = np.concatenate([engine.embed([1]), tokens.flatten(0, 1).numpy(), engine.embed([2, 3])])
    positions = model.positions(1, len(tokens), 2, engine.spec.process_rate_hz)[:, 0]  # time, row and column differ
    return {
        "visual": _errors(tokens, got_tokens),
        "class_maps": _errors(maps, got_maps),
        "rae": _errors(model.rae(maps[None])[0], engine.anomaly_prompts(maps.numpy())),
        "decoder": _decode(model, engine, prefix, positions.numpy()),
    }


def first_fault(figures: dict[str, dict[str, float]]) -> str:
    """What is not within the tolerance, or nothing."""
    for graph, values in figures.items():
        if not values["relative"] <= TOLERANCE:
            return f"{graph} is off by {values['relative']:.2g} of its range (at most {TOLERANCE:g})"
        if values.get("same_tokens", 1.0) < 1.0:
            return f"{graph} decodes other tokens ({values['same_tokens']:.0%} are the same)"
    return ""


def _decode(model: TVAU, engine: OnnxBackend, prefix: np.ndarray, positions: np.ndarray) -> dict[str, float]:
    from transformers import DynamicCache

    cache: Any = DynamicCache(config=model.backbone.model.config.text_config)
    other: Any = None
    errors, same, x = [], 0, prefix
    for _ in range(TOKENS):
        hidden, cache = model.backbone.language(torch.from_numpy(x)[None], torch.from_numpy(positions)[:, None], cache)
        wanted = model.backbone.logits(hidden[:, -1])[0]
        logits, other = engine.decode(x, positions, other)
        errors.append(_errors(wanted, logits))
        token = int(wanted.argmax())
        same += token == int(logits.argmax())
        x, positions = engine.embed([token]), positions[:, -1:] + 1  # text counts up alike on all axes
    return {name: max(each[name] for each in errors) for name in errors[0]} | {"same_tokens": same / TOKENS}


def _errors(wanted: torch.Tensor, got: np.ndarray) -> dict[str, float]:
    reference = wanted.float().numpy()
    worst = float(np.abs(reference - got).max())
    return {"absolute": worst, "relative": worst / max(float(np.abs(reference).max()), 1e-12)}
