"""How far TensorRT engines are from the graphs they were built from, which onnxruntime runs on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvau_runtime.backends.base import Backend

__all__ = ["compare", "first_fault"]

TOLERANCE = 1e-3
"""Largest error of an fp32 engine, relative to the largest number that it should give. What rounds more is only shown."""
TOKENS = 24
"""So many tokens are decoded greedily by both."""


def compare(reference: Backend, engine: Backend) -> dict[str, dict[str, float]]:
    """Largest absolute and relative error per graph on random input, and the share of greedy tokens that are the same.

    Both open on the same model. Everything is drawn from one seed. One patch and two take both ways through the engine.
    """
    spec, rng = reference.spec, np.random.default_rng(0)
    rows, columns = spec.grid
    pixels = rng.normal(size=(3, rows * columns, spec.patch_dim)).astype(np.float32)
    wanted = reference.encode(pixels)
    got = [np.concatenate(parts) for parts in zip(engine.encode(pixels[:1]), engine.encode(pixels[1:]), strict=True)]
    prefix = np.concatenate([reference.embed([1]), wanted[0][:2].reshape(-1, spec.text_dim), reference.embed([2, 3])])
    return {
        "visual": _errors(wanted[0], got[0]),
        "class_maps": _errors(wanted[1], got[1]),
        "rae": _errors(reference.anomaly_prompts(wanted[1][:2]), engine.anomaly_prompts(wanted[1][:2])),
        "decoder": _decode(reference, engine, prefix),
    }


def first_fault(figures: dict[str, dict[str, float]], precision: str) -> str:
    """What is not within the tolerance, or nothing. No number, where there should be one, is never within it."""
    most = TOLERANCE if precision == "fp32" else float("inf")
    for graph, values in figures.items():
        if not values["relative"] <= most:
            return f"{graph} is off by {values['relative']:.2g} of its range (at most {most:g})"
    return ""


def _decode(reference: Backend, engine: Backend, prefix: np.ndarray) -> dict[str, float]:
    caches: list[Any] = [None, None]
    errors, same, x = [], 0, prefix
    steps = np.arange(len(prefix))
    positions = np.stack([steps // 5, steps // 3, steps % 7])  # time, row and column differ
    for _ in range(TOKENS):
        wanted, caches[0] = reference.decode(x, positions, caches[0])
        got, caches[1] = engine.decode(x, positions, caches[1])
        errors.append(_errors(wanted, got))
        token = int(wanted.argmax())
        same += token == int(got.argmax())
        x, positions = reference.embed([token]), np.repeat(positions.max(keepdims=True), 3, axis=0) + 1
    return {name: max(each[name] for each in errors) for name in errors[0]} | {"same_tokens": same / TOKENS}


def _errors(wanted: np.ndarray, got: np.ndarray) -> dict[str, float]:
    worst = float(np.abs(wanted - got).max())
    return {"absolute": worst, "relative": worst / max(float(np.abs(wanted).max()), 1e-12)}
