"""The engines side by side on one model: plain transformers, ours on torch, ours on exported graphs.

Vision is one frame pair from packed pixels to visual tokens; ours also make the heat map. Language is one greedy token behind a
window's prompt. All run in turn in one process, and every figure stands as a ratio to transformers in the same run.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tvau_runtime.backends import find_model, open_backend
from tvau_runtime.backends.base import Backend
from tvau_runtime.config import EngineConfig
from tvau_runtime.errors import TvauError

EXAMPLE = """\
example:
  python export/to_onnx.py --out out/onnx && python benchmarks/engines.py --export out/onnx --json out/engines.json
"""
PREFIX = 160
"""Positions in the cache before the timed token."""


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tvau-tiny", help="checkpoint: embedded name or directory")
    parser.add_argument("--export", required=True, metavar="DIR", help="the graphs made of it by export/to_onnx.py")
    parser.add_argument("--repeats", type=int, default=60, help="timings per figure; the median counts (default: 60)")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    try:
        result = measure(options.model, options.export, options.repeats)
    except TvauError as error:
        print(f"engines: {error}", file=sys.stderr)
        return 2
    for task, row in result["ms"].items():
        base = row["transformers"]
        for name, value in row.items():
            print(f"{task:<9} {name:<14} {value:>8.2f} ms {base / value:>6.2f} x transformers")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(model: str, export: str, repeats: int) -> dict:
    """Medians in milliseconds, by task and engine."""
    import torch
    from transformers import DynamicCache

    from tvau_runtime.model import checkpoint

    loaded, _, _ = checkpoint.load(find_model(model))
    engines = {
        name: open_backend(EngineConfig(model=at, device="cpu")) for name, at in (("torch", model), ("onnx", export))
    }
    spec, rng = engines["torch"].spec, np.random.default_rng(0)
    rows, columns = spec.grid
    pixels = rng.normal(size=(1, rows * columns, spec.patch_dim)).astype(np.float32)
    grid = torch.tensor([[1, rows, columns]])
    tower, backbone = loaded.backbone.model.model.visual, loaded.backbone

    @torch.inference_mode()
    def plain_vision() -> None:
        tower(torch.from_numpy(pixels[0]), grid_thw=grid)

    prefix = rng.normal(size=(PREFIX, spec.text_dim)).astype(np.float32) * 0.1
    positions = np.ascontiguousarray(np.broadcast_to(np.arange(PREFIX), (3, PREFIX)))
    token, after = prefix[:1], np.full((3, 1), PREFIX)

    @torch.inference_mode()
    def plain_cache() -> Any:
        cache = DynamicCache(config=backbone.model.config.text_config)
        return backbone.language(torch.from_numpy(prefix)[None], torch.from_numpy(positions)[:, None], cache)[1]

    @torch.inference_mode()
    def plain_token(cache: Any) -> None:
        hidden, _ = backbone.language(torch.from_numpy(token)[None], torch.from_numpy(after)[:, None], cache)
        backbone.logits(hidden[:, -1])

    def our_cache(engine: Backend) -> Any:
        return engine.decode(prefix, positions)[1]

    vision = {"transformers": plain_vision} | {name: lambda e=e: e.encode(pixels) for name, e in engines.items()}
    decode = {"transformers": (plain_cache, plain_token)} | {
        name: (lambda e=e: our_cache(e), lambda cache, e=e: e.decode(token, after, cache))
        for name, e in engines.items()
    }
    spent: dict[str, dict[str, list[float]]] = {"vision": {n: [] for n in vision}, "token": {n: [] for n in decode}}
    for _ in range(repeats):
        for name, call in vision.items():
            spent["vision"][name].append(_time(call))
        for name, (begin, go_on) in decode.items():
            cache = begin()
            spent["token"][name].append(_time(lambda go_on=go_on, cache=cache: go_on(cache)))
    return {
        "model": spec.name,
        "image_size": list(spec.image_size),
        "engines": {name: engine.device for name, engine in engines.items()},
        "repeats": repeats,
        "machine": platform.processor() or platform.machine(),
        "ms": {task: {n: statistics.median(values) for n, values in row.items()} for task, row in spent.items()},
    }


def _time(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1e3


if __name__ == "__main__":
    sys.exit(main())
