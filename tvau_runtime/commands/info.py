"""`tvau info`: the version, a model's facts, and which engines and devices there are, with hints for what is
missing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import math
import platform
from pathlib import Path

from ..artifact import Artifact
from ..backends import find_export, find_model, open_backend
from ..config import EngineConfig
from ..errors import ModelError, TvauError
from ..manifest import EXPORT, Manifest
from .facts import package_version

__all__ = ["add", "run"]

DESCRIPTION = "Shows the version, a model's facts, and which engines and devices there are."
EXAMPLES = """\
examples:
  tvau info
  tvau info --model checkpoints/mine"""
HINTS = {
    "torch": {
        "torch": "pip install 'tvau[torch]'",
        "transformers": "pip install 'tvau[torch]'",
        "peft": "pip install 'tvau[torch]' (only for checkpoints with LoRA adapters)",
    },
    "onnx": {"onnxruntime": "pip install onnxruntime (or tvau[gpu] for CUDA and TensorRT)"},
    "tensorrt": {"tensorrt": "pip install 'tvau[gpu]'", "cuda-python": "pip install 'tvau[gpu]'"},
}
"""What an engine needs, and how to get it."""


def add(parsers: argparse._SubParsersAction) -> None:
    parser = parsers.add_parser(
        "info", help="show version, model, engines and devices", description=DESCRIPTION, epilog=EXAMPLES
    )
    parser.add_argument(
        "--model",
        default=EngineConfig().model,
        metavar="M",
        help="an embedded model, or a directory [default: %(default)s]",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints. Returns 0; a model that is not there is an error, after all else is said."""
    _section(
        "tvau",
        {"version": package_version("tvau") or "not installed as a package", "Python": platform.python_version()},
    )
    for engine, hints in HINTS.items():
        _section(
            f"{engine} engine",
            {n: package_version(n) or package_version(f"{n}-gpu") or f"missing: {hint}" for n, hint in hints.items()},
        )
    _section("devices", _devices())
    directory = find_model(args.model)
    manifest = (Artifact if (directory / Artifact.FILE).is_file() else Manifest).read(directory)
    _section("model", _model(directory, manifest))
    _section("normal prompts", dict(enumerate(manifest.prompts.normal, start=1)))
    _section("abnormal prompts", dict(enumerate(manifest.prompts.abnormal, start=1)))
    _section("sizes", _sizes(directory))
    _section("engine", {"runs on": _picked(args.model)})
    return 0


def _picked(model: str) -> str:
    """The device that the model runs on, and why, as its engine says once it is open; or why it does not open."""
    try:
        with contextlib.closing(open_backend(EngineConfig(model=model))) as engine:
            return engine.device
    except TvauError as error:
        return f"nothing: {error}"


def _section(title: str, rows: dict) -> None:
    print(title)
    width = max((len(str(name)) for name in rows), default=0)
    for name, value in rows.items():
        print(f"  {name!s:{width}}  {value}")
    print()


def _devices() -> dict[str, str]:
    devices = {"cpu": platform.processor() or platform.machine()}
    if importlib.util.find_spec("torch") is None:
        return devices
    import torch

    devices["cpu"] += f", {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        devices |= {f"cuda:{i}": torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
    else:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        devices["cuda"] = f"none seen (torch {torch.__version__} is {built})"
    return devices


def _model(directory: Path, manifest: Manifest | Artifact) -> dict[str, str]:
    if isinstance(manifest, Artifact):
        (height, width), *others = manifest.image_sizes
        made_of = {"graphs": f"ONNX opset {manifest.opset}, {manifest.precision}"}
        if facts := manifest.tensorrt:
            built = (
                f"TensorRT {facts['version']}, {manifest.precision}, compute capability {facts['compute_capability']}"
            )
            made_of = {"engines": f"{built} ({facts['device']})"}
        made_of |= {"other inputs": ", ".join(f"{w} x {h}" for h, w in others)} if others else {}
    else:
        height, width = manifest.image_size
        made_of = {"backbone": manifest.backbone}
        if export := find_export(directory):
            graphs = Artifact.read(export)
            made_of["graphs"] = (
                f"{EXPORT}/: ONNX opset {graphs.opset}, {graphs.precision}; what runs unless --backend torch"
            )
    period = manifest.clip_length / manifest.process_rate_hz
    return {
        "name": manifest.name,
        "directory": str(directory),
        **made_of,
        "input": f"{width} x {height} pixels",
        "heat map": f"{width // 14} x {height // 14} patches, one per 2 frames",
        "process rate": f"{manifest.process_rate_hz:g} frames per second",
        "clip window": f"{manifest.clip_length} frames, {period:g} s",
        "taps": ", ".join(map(str, manifest.taps)),
        **{f"made with {name}": version for name, version in manifest.versions.items()},
    }


def _sizes(directory: Path) -> dict[str, str]:
    """Bytes, and parameters where the file's header can be read, of each weight file."""
    rows = {}
    for path in sorted(directory.rglob("*")):
        if not path.is_file() or (path.stat().st_size < 2**16 and path.suffix != ".safetensors"):
            continue
        rows[path.relative_to(directory).as_posix()] = f"{path.stat().st_size / 2**20:8.1f} MiB{_parameters(path)}"
    return rows


def _parameters(path: Path) -> str:
    if path.suffix != ".safetensors" or importlib.util.find_spec("safetensors") is None:
        return ""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as tensors:
            count = sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged: {error}") from error
    return f"  {count / 1e6:9.2f} M parameters"
