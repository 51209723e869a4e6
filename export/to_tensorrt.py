"""Builds TensorRT engines from exported graphs, for the CUDA device that it runs on."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from tvau_runtime.artifact import PRECISIONS, Artifact
from tvau_runtime.backends.cuda_device import CudaDevice
from tvau_runtime.errors import ConfigError, ModelError, TvauError

__all__ = ["build", "main", "profiles"]

EXAMPLES = """\
examples:
  python export/to_onnx.py --out out/onnx && python export/to_tensorrt.py --onnx out/onnx --out out/engines
  tvau watch video.mp4 --model out/engines
"""
TIMING_CACHE = "timing.cache"
MOST_NEW = 512
"""New tokens in one pass of the language model; longer prompts are read in several, so that scores stay small in memory."""
ANOMALY_PROMPTS = 20
"""Of the RAE, for every frame pair of a window but the first; `region_anomaly_encoder.PROMPTS`, which needs torch."""
TEXT = 192
"""Tokens that are left for words beside those of a window, at least: a question and its answer, and what stands around them."""

Shape = tuple[int, ...]
Profile = dict[str, tuple[Shape, Shape, Shape]]
"""By input: smallest shape, the one to be fastest for, largest shape."""


def profiles(artifact: Artifact, max_patches: int, max_tokens: int) -> dict[str, list[Profile]]:
    """Optimisation profiles by graph, in the order that the engine numbers them.

    vision_ahd: one patch, as a stream brings them, which is a fixed shape; then any number. decoder: one token behind a cache,
    as answers are generated; then any number behind a cache that may be empty. TensorRT takes a length of zero as the
    smallest of a dynamic axis; it is never the length to be fastest for.
    """
    found: dict[str, list[Profile]] = {}
    for height, width in artifact.image_sizes:
        patches = (height // 14) * (width // 14)
        found[artifact.vision_file((height, width))] = [
            {
                "pixels": _range((least, patches, 1176), (best, patches, 1176), (most, patches, 1176)),
                "text": _range(*((count, 2, artifact.text_dim) for count in (least, best, most))),
            }
            for least, best, most in ((1, 1, 1), (1, max_patches, max_patches))
        ]
    rows, columns = zip(*((height // 14, width // 14) for height, width in artifact.image_sizes))
    found["rae.onnx"] = [
        {
            "class_maps": _range(
                (1, 2, 2, min(rows), min(columns)),
                (1, max_patches, 2, rows[0], columns[0]),
                (1, max_patches, 2, max(rows), max(columns)),
            )
        }
    ]
    new, known = min(max_tokens, MOST_NEW), max_tokens - 1
    half = max(1, known // 2)
    past = [f"past_{what}_{layer}" for layer in range(artifact.layers) for what in ("keys", "values")]
    found["decoder.onnx"] = [
        {
            "embeddings": _range(*((1, count, artifact.text_dim) for count in counts)),
            "positions": _range(*((3, 1, count) for count in counts)),
            **{
                name: _range(*((1, artifact.kv_heads, length, artifact.head_dim) for length in lengths))
                for name in past
            },
        }
        for counts, lengths in (((1, 1, 1), (1, half, known)), ((1, new, new), (0, half, known)))
    ]
    return found


def build(source: Path, out: Path, precision: str, max_patches: int, max_tokens: int, device: int = 0) -> Artifact:
    """Writes engines and all else that a model directory holds to `out`; returns the manifest.

    precision: that of the graphs, or empty for whatever it is. max_patches: temporal patches in a call and in a window, 0 for
    the model's own window. max_tokens: positions of prompt and answer together. `out`: new, empty, or engines that are then
    replaced. Raises `ModelError`, `BackendError` or `ConfigError`; `out` is then as it was.
    """
    artifact = _read(source, precision)
    max_patches = max_patches or max(2, artifact.clip_length // 2)
    merged = max(height * width // 28**2 for height, width in artifact.image_sizes)
    window = max_patches * merged + (max_patches - 1) * ANOMALY_PROMPTS
    if max_tokens < window + TEXT:
        raise ConfigError(
            f"--max-tokens must be at least {window + TEXT}, got {max_tokens}: {max_patches} frame pairs take {window} of them"
        )
    before = _timings(out)
    from tvau_export.engine_builder import Timings, build_engine, tensorrt_version  # it says what is missing
    from tvau_export.engine_parity import compare, first_fault
    from tvau_runtime.backends.onnx_backend import OnnxBackend
    from tvau_runtime.backends.tensorrt_backend import TensorrtBackend

    where = CudaDevice(device)
    timings = Timings(before)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        draft = Path(folder) / "draft"
        draft.mkdir()
        for path in (source / "embeddings.npy", source / "tokenizer.json"):
            shutil.copy(path, draft)
        for name, shapes in profiles(artifact, max_patches, max_tokens).items():
            (draft / name).with_suffix(".engine").write_bytes(build_engine(source / name, shapes, timings))
        (draft / TIMING_CACHE).write_bytes(timings.content)
        facts = {"version": tensorrt_version(), "compute_capability": where.compute_capability, "device": where.name}
        versions = {**artifact.versions, "tensorrt": tensorrt_version(), "cuda-python": version("cuda-python")}
        built = dataclasses.replace(artifact, tensorrt=facts, versions=versions).write(draft)
        found = []
        for height, width in artifact.image_sizes:
            size = f"{height}x{width}"
            with (
                contextlib.closing(OnnxBackend(source, "cpu", size=size)) as graphs,
                contextlib.closing(TensorrtBackend(draft, f"cuda:{device}", size=size)) as engines,
            ):
                found.append(compare(graphs, engines))
            if fault := first_fault(found[-1], artifact.precision):
                raise ModelError(f"at {size}, the engines differ from the graphs, and nothing was written: {fault}")
        built = dataclasses.replace(built, parity=found[0]).write(draft)
        if out.is_dir():
            out.rename(Path(folder) / "before")
        draft.rename(out)
    return built


def _read(source: Path, precision: str) -> Artifact:
    """The manifest of graphs that engines can be built from."""
    artifact = Artifact.read(source)
    if artifact.tensorrt:
        raise ConfigError(f"--onnx {source} holds engines; name the graphs that they were built from")
    if artifact.precision == "int8":
        raise ConfigError(
            f"--onnx {source}: these graphs quantise their inputs while they run, which TensorRT does not do; export them with "
            "--precision int8-static"
        )
    if precision and precision != artifact.precision:
        raise ConfigError(
            f"--precision {precision}: the graphs in {source} are {artifact.precision}, and TensorRT takes every type from the "
            f"graph; export them with --precision {precision}"
        )
    artifact.verify(source)
    return artifact


def _timings(out: Path) -> bytes:
    """The timing cache of engines that stand in `out` already. Raises `ConfigError` where something else stands there."""
    if not out.exists():
        return b""
    if out.is_dir():
        if not any(out.iterdir()):
            return b""
        with contextlib.suppress(ModelError):
            if Artifact.read(out).tensorrt:
                return (out / TIMING_CACHE).read_bytes() if (out / TIMING_CACHE).is_file() else b""
    raise ConfigError(f"--out {out} must be a new or an empty folder, or one of engines, which are then replaced")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--onnx", type=Path, required=True, metavar="DIR", help="graphs made by export/to_onnx.py")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the engines")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="",
        help="refuse graphs of another one (default: take the graphs' own)",
    )
    parser.add_argument(
        "--max-patches", type=_at_least(2), default=0, metavar="N",
        help="frame pairs in one call and in a clip window, at least 2 (default: the model's own window)",
    )  # fmt: skip
    parser.add_argument(
        "--max-tokens", type=_at_least(2), default=4096, metavar="N",
        help="positions of a dialogue with its video, all in all (default: 4096)",
    )  # fmt: skip
    parser.add_argument("--device", type=_at_least(0), default=0, metavar="N", help="CUDA device (default: 0)")
    options = parser.parse_args(arguments)
    try:
        artifact = build(
            options.onnx, options.out, options.precision, options.max_patches, options.max_tokens, options.device
        )
    except (OSError, TvauError) as error:
        print(f"to_tensorrt: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    for graph, figures in artifact.parity.items():
        print(f"{graph:<12} " + "  ".join(f"{name} {value:.2g}" for name, value in figures.items()))
    print(f"{options.out} is ready; use it with: tvau watch video.mp4 --model {options.out}")
    return 0


def _range(smallest: Shape, best: Shape, largest: Shape) -> tuple[Shape, Shape, Shape]:
    return smallest, best, largest


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())
