"""What a new frame pair costs when features are reused, against encoding the whole window again with plain transformers.

Both sides start from two camera frames of 640 x 480 and end at the window's visual features; ours also make the heat map. All
run in turn in one process. What a pair is made of stands beside it: resizing and packing, and the library's tower over it alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from common import Skipped, command, export_of, frames, prepare, ratios, spread, table, timed

from tvau_runtime.backends import Backend, find_model, open_backend
from tvau_runtime.config import EngineConfig
from tvau_runtime.frames import pack_pair, resize

__all__ = ["run"]

WINDOWS = (4, 8, 16)
"""T': frame pairs in a window."""
ROUNDS = 25
TARGET = 0.9
"""Least share of T' that a new pair should be cheaper by."""


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Medians in milliseconds, and how many times a pair costs less than its window."""
    import torch

    from tvau_runtime.model import checkpoint

    prepare(options)
    windows = WINDOWS[:1] if options.quick else WINDOWS
    engines, reasons = _engines(options)
    spec = engines["torch"].spec
    loaded, _, _ = checkpoint.load(find_model(options.model))
    tower = loaded.backbone.model.model.visual
    taken = frames(2 * max(windows))

    def pack(step: int) -> np.ndarray:
        first, second = taken[2 * step], taken[2 * step + 1]
        return pack_pair(resize(first, spec), resize(second, spec), spec)

    @torch.inference_mode()
    def encode(pixels: np.ndarray, steps: int) -> None:
        tower(torch.from_numpy(pixels), grid_thw=torch.tensor([[steps, *spec.grid]]))

    packed = pack(0)
    calls: dict[str, Callable[[], object]] = {
        "resize and pack": lambda: pack(0),
        "transformers, 1 pair packed": lambda: encode(packed, 1),
    }
    for name, engine in engines.items():
        calls[f"pair, {name}"] = lambda engine=engine: engine.encode(pack(0)[None])
    for steps in windows:
        calls[f"window, {steps}"] = lambda steps=steps: encode(np.concatenate([pack(s) for s in range(steps)]), steps)
    spent = timed(calls, options, ROUNDS)
    for engine in engines.values():
        engine.close()

    rows = []
    for steps in windows:
        for name in engines:
            cheaper = ratios(spent[f"window, {steps}"], spent[f"pair, {name}"])
            rows.append(
                {"steps": steps, "engine": name, "times_cheaper": cheaper, "of_steps": cheaper["median"] / steps}
            )
    result = {
        "camera_size": list(taken[0].shape[:2]),
        "image_size": list(spec.image_size),
        "threads": torch.get_num_threads(),
        "ms": {name: spread(values) for name, values in spent.items()},
        "rows": rows,
        "not run": reasons,
    }
    _show(result)
    return result


def _engines(options: argparse.Namespace) -> tuple[dict[str, Backend], dict[str, str]]:
    engines = {
        "torch": open_backend(EngineConfig(model=options.model, backend="torch", threads=options.threads, device="cpu"))
    }
    size = engines["torch"].spec.image_size
    try:
        at = export_of(options, [size])[size]
    except (Skipped, KeyError) as reason:
        return engines, {"onnxruntime": str(reason)}
    engines["onnxruntime"] = open_backend(EngineConfig(model=str(at), threads=options.threads, device="cpu"))
    return engines, {}


def _show(result: dict[str, Any]) -> None:
    timed = [(name, ms["median"], f"{ms['q25']:.1f}..{ms['q75']:.1f}") for name, ms in result["ms"].items()]
    table(f"stream, {result['threads']} threads: what is timed", ["what", "ms", "quartiles"], timed)
    rows = []
    for row in result["rows"]:
        times = row["times_cheaper"]
        quartiles = f"{times['q25']:.1f}..{times['q75']:.1f}"
        reached = "hit" if row["of_steps"] >= TARGET else "missed"
        rows.append((f"T' = {row['steps']}", row["engine"], times["median"], quartiles, row["of_steps"], reached))
    columns = ["window", "engine", "times cheaper", "quartiles", "of T'", f"at least {TARGET:g}"]
    table("a new pair against its window encoded again by transformers", columns, rows)
    for what, why in result["not run"].items():
        print(f"  {what} was not run: {why}")


if __name__ == "__main__":
    sys.exit(command(run, __doc__))
