"""What a new frame pair costs when features are reused, against encoding the whole window again with plain transformers.

Both sides start from two camera frames and end at the window's visual features; ours also makes the heat map. They run in turn
in one process, so that the ratio means something on a noisy machine. The machine's own matrix-product rate stands beside it.
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

import numpy as np

from tvau_runtime.backends import find_model, open_backend
from tvau_runtime.config import EngineConfig
from tvau_runtime.errors import TvauError
from tvau_runtime.frames import pack_pair, resize

EXAMPLE = """\
example:
  python benchmarks/stream.py --json out/stream.json
"""


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="tvau-tiny", help="checkpoint: embedded name or directory")
    parser.add_argument(
        "--steps",
        type=int,
        nargs="+",
        default=[4, 8, 16],
        metavar="T",
        help="window lengths T' in frame pairs",
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=15,
        help="timings per figure; the median counts (default: 15)",
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=[480, 640],
        metavar=("H", "W"),
        help="camera frame in pixels",
    )
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    try:
        result = measure(options.model, options.steps, options.repeats, tuple(options.size))
    except TvauError as error:
        print(f"stream: {error}", file=sys.stderr)
        return 2
    print(f"{result['model']} on {result['device']}; matrix product {result['matmul_gflops']:.0f} GFLOP/s")
    print(f"{'T-prime':>8} {'ours ms':>9} {'again ms':>9} {'ratio':>7} {'ratio / T-prime':>16}")
    for row in result["rows"]:
        share = row["ratio"] / row["steps"]
        print(f"{row['steps']:>8} {row['ours_ms']:>9.1f} {row['again_ms']:>9.1f} {row['ratio']:>7.1f} {share:>16.2f}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(model: str, window_lengths: list[int], repeats: int, size: tuple[int, int]) -> dict:
    """All figures: medians in milliseconds, and their ratio."""
    import torch

    from tvau_runtime.model import checkpoint

    engine = open_backend(EngineConfig(model=model))
    loaded, _, _ = checkpoint.load(find_model(model))
    tower, spec = loaded.backbone.model.model.visual, engine.spec
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (*size, 3), np.uint8) for _ in range(2 * max(window_lengths))]

    def pack(first: int) -> np.ndarray:
        return pack_pair(resize(frames[first], spec), resize(frames[first + 1], spec), spec)

    def ours() -> None:
        engine.encode(pack(0)[None])

    def again(steps: int) -> None:
        pixels = np.concatenate([pack(2 * step) for step in range(steps)])
        with torch.inference_mode():
            tower(torch.from_numpy(pixels), grid_thw=torch.tensor([[steps, *spec.grid]]))

    rows = []
    for steps in window_lengths:
        pair: dict[str, list[float]] = {"ours": [], "again": []}
        for _ in range(repeats):
            pair["ours"].append(_time(ours))
            pair["again"].append(_time(lambda steps=steps: again(steps)))
        mine, other = (statistics.median(pair[name]) for name in ("ours", "again"))
        rows.append({"steps": steps, "ours_ms": mine, "again_ms": other, "ratio": other / mine})
    return {
        "model": spec.name,
        "device": engine.device,
        "image_size": list(spec.image_size),
        "camera_size": list(size),
        "repeats": repeats,
        "matmul_gflops": _matmul_rate(torch),
        "machine": platform.processor() or platform.machine(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "rows": rows,
    }


def _time(call: Callable[[], None]) -> float:
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1e3


def _matmul_rate(torch) -> float:
    """float32 GFLOP/s of a large matrix product, the best of several."""
    a = torch.randn(2048, 2048)
    return 2 * 2048**3 / min(_time(lambda: a @ a) for _ in range(5)) / 1e6


if __name__ == "__main__":
    sys.exit(main())
