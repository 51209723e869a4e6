"""The engines side by side on one greedy token behind a window's prompt: plain transformers, our torch engine, onnxruntime.

All run in turn in one process. What they cost on a frame pair, `vision.py` measures.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from common import Skipped, command, export_of, prepare, ratios, spread, table, timed

from tvau_runtime.backends import find_model, open_backend
from tvau_runtime.config import EngineConfig

__all__ = ["run"]

PREFIX = 160
"""Positions in the cache before the timed token."""
ROUNDS = 60


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds per token, by engine."""
    import torch
    from transformers import DynamicCache

    from tvau_runtime.model import checkpoint

    prepare(options)
    loaded, _, _ = checkpoint.load(find_model(options.model))
    backbone, reasons = loaded.backbone, {}
    engines = {"our torch": open_backend(EngineConfig(model=options.model, threads=options.threads, device="cpu"))}
    spec = engines["our torch"].spec
    try:
        at = export_of(options, [spec.image_size])[spec.image_size]
        engines["onnxruntime"] = open_backend(EngineConfig(model=str(at), threads=options.threads, device="cpu"))
    except (Skipped, KeyError) as reason:
        reasons["onnxruntime"] = str(reason)

    prefix = np.random.default_rng(0).normal(size=(PREFIX, spec.text_dim)).astype(np.float32) * 0.1
    positions = np.ascontiguousarray(np.broadcast_to(np.arange(PREFIX), (3, PREFIX)))
    token, after = prefix[:1], np.full((3, 1), PREFIX)

    @torch.inference_mode()
    def plain(embeddings: np.ndarray, places: np.ndarray, cache: Any = None) -> tuple[None, Any]:
        kept = DynamicCache(config=backbone.model.config.text_config) if cache is None else cache
        hidden, _ = backbone.language(torch.from_numpy(embeddings)[None], torch.from_numpy(places)[:, None], kept)
        backbone.logits(hidden[:, -1])
        return None, kept

    decoders = {"transformers": plain} | {name: engine.decode for name, engine in engines.items()}
    caches = {name: decode(prefix, positions)[1] for name, decode in decoders.items()}

    def speak(name: str) -> None:
        """A token more; all caches grow alike."""
        caches[name] = decoders[name](token, after, caches[name])[1]

    calls = {name: lambda name=name: speak(name) for name in decoders}
    spent = timed(calls, options, ROUNDS)
    for engine in engines.values():
        engine.close()

    rows = {
        name: {"ms": spread(values), "times_transformers": ratios(spent["transformers"], values)}
        for name, values in spent.items()
    }
    shown = []
    for name, row in rows.items():
        ms, times = row["ms"], row["times_transformers"]
        quartiles = [f"{each['q25']:.2f}..{each['q75']:.2f}" for each in (ms, times)]
        shown.append((name, ms["median"], quartiles[0], times["median"], quartiles[1]))
    columns = ["engine", "ms", "quartiles", "x transformers", "quartiles"]
    table(f"one token behind {PREFIX} positions", columns, shown)
    for what, why in reasons.items():
        print(f"  {what} was not run: {why}")
    return {"positions": PREFIX, "engines": rows, "not run": reasons}


if __name__ == "__main__":
    sys.exit(command(run, __doc__))
