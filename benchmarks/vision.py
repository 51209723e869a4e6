"""The vision tower over one frame pair, by image size: plain transformers, torch.compile, our torch engine, onnxruntime.

Ours also make the heat map. All run in turn in one process, a large matrix product of the same threads among them: what an
engine reaches is its floating-point operations, counted, over the rate of that product in the same rounds.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import Skipped, command, export_of, matrix_product, prepare, rate_of, ratios, spread, table, timed

from tvau_runtime.artifact import Artifact
from tvau_runtime.backends import find_model, open_backend
from tvau_runtime.config import EngineConfig
from tvau_runtime.manifest import Manifest

__all__ = ["ahd_gflop", "run", "tower_gflop"]

SIZES = ((224, 224), (336, 336), (448, 448))
COMPILED = ((140, 252), (224, 224))
"""Sizes at which torch.compile is tried: it takes up to a minute for each."""
ROUNDS = {112: 60, 224: 30, 336: 15, 448: 12}
PRODUCT = "matrix product"


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds per temporal patch, frames per second and share of the matrix product's rate, by size and engine."""
    prepare(options)
    own = Manifest.read(find_model(options.model)).image_size
    sizes = [(own[0], own[1]), *(() if options.quick else SIZES)]
    exports, reasons = _exports(options, sizes)
    results = []
    for size in sizes:
        result = _measure(options, size, {kind: at[size] for kind, at in exports.items() if size in at})
        results.append(result)
        _show(result)
    for what, why in reasons.items():
        print(f"  {what} was not run: {why}")
    return {"sizes": results, "not run": reasons}


def _exports(options: argparse.Namespace, sizes: list[tuple[int, int]]) -> tuple[dict[str, dict], dict[str, str]]:
    found: dict[str, dict] = {}
    reasons: dict[str, str] = {}
    try:
        found["onnxruntime fp32"] = export_of(options, sizes)
    except Skipped as reason:
        reasons["onnxruntime fp32"] = str(reason)
    if options.int8:
        artifact = Artifact.read(Path(options.int8))
        if artifact.precision != "int8":
            raise Skipped(f"--int8 {options.int8}: its manifest says {artifact.precision}")
        found["onnxruntime int8"] = export_of(argparse.Namespace(**{**vars(options), "export": options.int8}), sizes)
    else:
        reasons["onnxruntime int8"] = "no export in int8 was named with --int8"
    return found, reasons


def _measure(options: argparse.Namespace, size: tuple[int, int], exports: dict[str, Path]) -> dict[str, Any]:
    import torch

    from tvau_runtime.model import checkpoint
    from tvau_runtime.model.backbone import Backbone

    loaded, manifest, tokenizer = checkpoint.load(find_model(options.model))
    loaded.backbone = Backbone(loaded.backbone.model, (size[0] // 14, size[1] // 14), manifest.taps)
    text = checkpoint.text_features(loaded, tokenizer, manifest.prompts)
    tower, (rows, columns) = loaded.backbone.model.model.visual, loaded.backbone.grid
    grid = torch.tensor([[1, rows, columns]])
    pixels = np.random.default_rng(0).normal(size=(1, rows * columns, 1176)).astype(np.float32)

    @torch.inference_mode()
    def plain(module: Any = tower) -> None:
        module(torch.from_numpy(pixels[0]), grid_thw=grid)

    @torch.inference_mode()
    def our_torch() -> None:
        loaded.encode(torch.tensor(pixels), text)

    product, product_gflop = matrix_product()
    calls: dict[str, Callable[[], object]] = {PRODUCT: product, "transformers eager": plain, "our torch": our_torch}
    reasons = {}
    try:
        calls["torch.compile"] = _compiled(plain, tower, size, options.quick)
    except Skipped as reason:
        reasons["torch.compile"] = str(reason)
    engines = {
        name: open_backend(EngineConfig(model=str(at), threads=options.threads, device="cpu"))
        for name, at in exports.items()
    }
    for name, engine in engines.items():
        calls[name] = lambda engine=engine: engine.encode(pixels)
    spent = timed(calls, options, ROUNDS.get(size[0], 12))
    for engine in engines.values():
        engine.close()

    rate = rate_of(product_gflop, spent[PRODUCT])
    tower_work = tower_gflop(tower.config, (rows, columns))
    our_work = tower_work + ahd_gflop(
        loaded.backbone.vision_dim, loaded.backbone.text_dim, len(manifest.taps), rows * columns
    )
    base, rows_out = spent["transformers eager"], {}
    for name, values in spent.items():
        if name == PRODUCT:
            continue
        work = tower_work if name in ("transformers eager", "torch.compile") else our_work
        reached = ratios([work / ms for ms in values], [product_gflop / ms for ms in spent[PRODUCT]])
        rows_out[name] = {
            "ms": spread(values),
            "images_per_s": 2000 / statistics.median(values),
            "times_transformers": ratios(base, values),
            "gflop": work,
            "gflop_per_s": rate_of(work, values),
            "share_of_matrix_product": reached,
        }
    return {
        "size": list(size),
        "threads": torch.get_num_threads(),
        "rounds": len(base),
        "matrix_product_gflop_per_s": rate,
        "engines": rows_out,
        "not run": reasons,
    }


def _compiled(plain: Callable[..., None], tower: Any, size: tuple[int, int], quick: bool) -> Callable[[], object]:
    """The library's tower through torch.compile, compiled. Raises `Skipped`."""
    import torch

    if quick:
        raise Skipped("compiling takes too long for --quick")
    if size not in COMPILED:
        raise Skipped("compiling takes up to a minute for each size; it is tried at the smaller ones")
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        raise Skipped("torch.compile needs a C++ compiler")
    torch.compiler.reset()
    compiled = torch.compile(tower)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            plain(compiled)
        except Exception as error:  # of any of the compiler's parts
            raise Skipped(f"torch.compile failed: {str(error).strip().splitlines()[0][:200]}") from error
    return lambda: plain(compiled)


def _show(result: dict[str, Any]) -> None:
    height, width = result["size"]
    title = (
        f"vision, {height} x {width}, {result['threads']} threads, {result['rounds']} rounds; "
        f"matrix product {result['matrix_product_gflop_per_s']:.0f} GFLOP/s"
    )
    rows = []
    for name, row in result["engines"].items():
        times, share = row["times_transformers"], row["share_of_matrix_product"]
        rows.append([
            name, row["ms"]["median"], f"{row['ms']['q25']:.1f}..{row['ms']['q75']:.1f}", row["images_per_s"],
            times["median"], f"{times['q25']:.2f}..{times['q75']:.2f}", row["gflop_per_s"], f"{share['median']:.0%}",
        ])  # fmt: skip
    columns = ["engine", "ms", "quartiles", "images/s", "x transformers", "quartiles", "GFLOP/s", "of product"]
    table(title, columns, rows)
    for what, why in result["not run"].items():
        print(f"  {what} was not run: {why}")


def tower_gflop(vision: Any, grid: tuple[int, int]) -> float:
    """Multiplications and additions of all matrix products of the tower over one temporal patch, in 10^9.

    vision: the tower's config. grid: (gh, gw). A multiply-add counts twice. Norms, activations and rotations do not count.
    """
    rows, columns = grid
    patches, width, inner = rows * columns, vision.hidden_size, vision.intermediate_size
    side = vision.window_size // vision.patch_size
    windows = [
        min(side, rows - top) * min(side, columns - left)
        for top in range(0, rows, side)
        for left in range(0, columns, side)
    ]
    seen = patches * patches, sum(count * count for count in windows)
    block = 2 * patches * (3 * width * width + width * width + 3 * width * inner)
    full = len(vision.fullatt_block_indexes)
    attention = 4 * width * (full * seen[0] + (vision.depth - full) * seen[1])
    packed = 3 * vision.temporal_patch_size * vision.patch_size**2
    merged = vision.spatial_merge_size**2 * width
    merger = 2 * (patches // vision.spatial_merge_size**2) * (merged * merged + merged * vision.out_hidden_size)
    return (2 * patches * packed * width + vision.depth * block + attention + merger) / 1e9


def ahd_gflop(vision_dim: int, text_dim: int, taps: int, patches: int) -> float:
    """The same of the AHD: two projections per tap, and the product of their sum with two text vectors."""
    return 2 * patches * (taps * (vision_dim * vision_dim + vision_dim * text_dim) + 2 * text_dim) / 1e9


if __name__ == "__main__":
    sys.exit(command(run, __doc__))
