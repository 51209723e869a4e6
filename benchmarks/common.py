"""What all benchmarks share: interleaved timing, medians with spread, camera frames, the machine and the command line.

The machines these run on are noisy. Whatever is compared is therefore timed in turn, round by round, within one process, and a
ratio is the median of the rounds' own ratios. Knows no model and no ROS.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from tvau_runtime import TvauError, VideoReader
from tvau_runtime.artifact import Artifact
from tvau_runtime.backends import find_model
from tvau_runtime.errors import ConfigError, ModelError
from tvau_runtime.manifest import Manifest

__all__ = [
    "CAMERA_SIZE", "Skipped", "command", "describe_input", "describe_machine", "export_of", "frames", "interleave",
    "matrix_product", "parser", "percentiles", "prepare", "rate_of", "ratio", "ratios", "spread", "table", "timed", "write",
]  # fmt: skip

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "tvau_runtime" / "assets" / "demo.mp4"
CAMERA_SIZE = (480, 640)
"""(height, width) of the camera's frames, in pixels."""
MATRIX = 1536
"""Side of the matrices whose product stands for what the machine can do."""
PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "torch",
    "transformers",
    "onnxruntime",
    "ros-rclpy",
    "ros-rmw-fastrtps-cpp",
)

QUICK_ROUNDS = 5
ABSENT = "not installed"


class Skipped(TvauError):
    """A part, or a row of it, that cannot run here; says why."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark takes."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--model", default="tvau-tiny", help="checkpoint: embedded name or directory (default: tvau-tiny)"
    )
    made.add_argument(
        "--export", metavar="DIR", default="",
        help="graphs of it, made by export/to_onnx.py (default: made when needed, and kept in --work)",
    )  # fmt: skip
    made.add_argument("--int8", metavar="DIR", default="", help="graphs of it in int8; without them int8 is left out")
    made.add_argument(
        "--threads", type=int, default=0, help="CPU threads of every engine (default: each its own number)"
    )
    made.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall",
        help="cpu: time that the process had a core; steadier where others keep the machine busy, and the same as wall on an "
        "idle one; with --threads 1 only; node and memory always go by the wall",
    )  # fmt: skip
    made.add_argument("--rounds", type=int, default=0, help="rounds of every comparison (default: each its own number)")
    made.add_argument("--quick", action="store_true", help="few rounds and sizes: whether it works, not how fast it is")
    made.add_argument(
        "--work", type=Path, default=ROOT / "out" / "benchmarks", metavar="DIR", help="where exports are kept"
    )
    made.add_argument("--json", type=Path, help="also write the figures there")
    return made


def command(run: Callable[[argparse.Namespace], dict[str, Any]], description: str | None) -> int:
    """Runs one benchmark by itself as a command line; returns the exit code."""
    options = parser(description).parse_args()
    try:
        result = run(options)
    except TvauError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        write(options.json, {"machine": describe_machine(), "input": describe_input(options.model), "result": result})
    return 0


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


# Timing


def prepare(options: argparse.Namespace) -> None:
    """Threads of torch and OpenCV; engines get theirs when they are opened. Raises `ConfigError` for options that do not fit."""
    import torch

    if options.clock == "cpu" and options.threads != 1:
        raise ConfigError("--clock cpu adds up what all threads take, waiting for each other included; use --threads 1")
    if options.threads:
        torch.set_num_threads(options.threads)
        cv2.setNumThreads(options.threads)


def timed(
    calls: Mapping[str, Callable[[], object]], options: argparse.Namespace, rounds: int, warm_up: int = 2
) -> dict[str, list[float]]:
    """`interleave` as the options have it; rounds: where they name no number, and are not for `--quick`."""
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    return interleave(calls, options.rounds or (QUICK_ROUNDS if options.quick else rounds), warm_up, clock)


def interleave(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_up: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Times every call once a round, in turn. Returns milliseconds per call, by round.

    Each round begins one call further on, so that none always runs behind the same other one. clock: gives seconds.
    """
    names = list(calls)
    spent: dict[str, list[float]] = {name: [0.0] * rounds for name in names}
    for name in names * warm_up:
        calls[name]()
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            began = clock()
            calls[name]()
            spent[name][number] = (clock() - began) * 1e3
    return spent


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = np.percentile(values, (25, 50, 75))
    return {"median": float(middle), "q25": float(low), "q75": float(high)}


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the rounds' own ratios: what changes from round to round meets both alike."""
    return ratios(above, below)["median"]


def ratios(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """Median and quartiles of the rounds' own ratios."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99, and how many values they are of; without values only that."""
    if not len(values):
        return {"count": 0}
    p50, p95, p99 = (float(value) for value in np.percentile(values, (50, 95, 99)))
    return {"p50": p50, "p95": p95, "p99": p99, "count": len(values)}


def matrix_product() -> tuple[Callable[[], object], float]:
    """A large float32 matrix product on torch's threads, and its GFLOP."""
    import torch

    a = torch.randn(MATRIX, MATRIX)
    return lambda: torch.mm(a, a), 2 * MATRIX**3 / 1e9


def rate_of(gflop: float, spent_ms: Sequence[float]) -> float:
    """GFLOP/s at the median time."""
    return gflop / statistics.median(spent_ms) * 1e3


# What is run on what


def frames(count: int, size: tuple[int, int] = CAMERA_SIZE) -> list[np.ndarray]:
    """Frames of the built-in scene, uint8 [H, W, 3] in RGB, from its start; at most the 400 that it has."""
    taken: list[np.ndarray] = []
    with VideoReader(DEMO) as reader:
        for frame in reader:
            if len(taken) == count:
                break
            rgb = frame.rgb
            taken.append(rgb if rgb.shape[:2] == size else cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA))
    return taken


def export_of(options: argparse.Namespace, sizes: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Path]:
    """Directories of exported graphs by image size, each of which the engine opens at that size.

    Those of `--export` are taken as they are: sizes that they lack are left out. Else all are exported at once and kept in
    `--work`. Raises `ModelError` for an export of another checkpoint, `Skipped` where exporting fails or is not possible.
    """
    source = Manifest.read(find_model(options.model)).files
    if options.export:
        folder = Path(options.export)
    else:
        folder = options.work / "onnx"
        known = Artifact.read(folder) if (folder / Artifact.FILE).is_file() else None
        there = known.image_sizes if known and known.source == source else ()
        if not set(sizes) <= set(there):
            shutil.rmtree(folder, ignore_errors=True)
            _export(options.model, folder, sorted({*sizes, *there}))
    artifact = Artifact.read(folder)
    if artifact.source != source:
        raise ModelError(f"{folder} is an export of another checkpoint than {options.model}")
    return {size: _view(folder, artifact, size, options.work) for size in sizes if size in artifact.image_sizes}


def _export(model: str, folder: Path, sizes: Sequence[tuple[int, int]]) -> None:
    for package in ("onnx", "onnxscript"):
        if _version(package) == ABSENT:
            raise Skipped(f"the exporter needs {package}: python3 ros2_ws/setup_workspace.py --with export")
    wanted = [word for height, width in sizes for word in ("--size", f"{height}x{width}")]
    print(f"exporting {model} to {folder}", flush=True)
    script = [sys.executable, str(ROOT / "export" / "to_onnx.py"), "--model", model, "--out", str(folder), *wanted]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"the export failed: {(done.stderr.strip() or 'no word of why').splitlines()[-1]}")


def _view(folder: Path, artifact: Artifact, size: tuple[int, int], work: Path) -> Path:
    """The same export as the engine opens it at one of its sizes: links, and a manifest that names that size first."""
    if artifact.image_sizes[0] == size:
        return folder
    view = work / f"{artifact.precision}-{size[0]}x{size[1]}"
    shutil.rmtree(view, ignore_errors=True)
    view.mkdir(parents=True)
    for path in folder.iterdir():
        if path.name != Artifact.FILE:
            (view / path.name).symlink_to(path.resolve())
    dataclasses.replace(artifact, image_sizes=(size,)).write(view)
    return view


def describe_input(model: str) -> dict[str, str]:
    """SHA-256 of the frames' video and of the checkpoint's files."""
    weights = hashlib.sha256()
    directory = find_model(model)
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        weights.update(path.relative_to(directory).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return {
        "video": f"sha256:{hashlib.sha256(DEMO.read_bytes()).hexdigest()}",
        "model": f"sha256:{weights.hexdigest()}",
    }


def describe_machine() -> dict[str, Any]:
    """Hardware, system, versions, and how busy others keep it."""
    return {
        "cpu": _cpu_name(),
        "cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "niceness": os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else None,
        "load_average": [round(value, 2) for value in psutil.getloadavg()],
        "busy_percent": psutil.cpu_percent(interval=0.5),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ABSENT


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


# Tables


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints rows under their columns; the first column is text, numbers get the digits that mean something."""
    shown = [[_shown(cell) for cell in row] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in shown)) if shown else len(name) for i, name in enumerate(columns)]
    print(f"\n{title}")
    for row in [list(columns), *shown]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  " + "  ".join(cells).rstrip(), flush=True)


def _shown(cell: object) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, bool) or not isinstance(cell, float):
        return str(cell)
    return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"
