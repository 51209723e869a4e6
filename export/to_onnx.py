"""Exports a checkpoint to ONNX graphs, which run without torch."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
from tqdm import tqdm

from tvau_export.graphs import Decoder, Graph, RegionPrompts, VisionHeatmap
from tvau_export.onnx_files import OPSET, save, store_narrow, trace, write_table
from tvau_export.parity import compare, first_fault
from tvau_export.weights import open_hollow
from tvau_runtime.artifact import Artifact
from tvau_runtime.backends import find_model
from tvau_runtime.errors import ConfigError, ModelError, TvauError
from tvau_runtime.model import checkpoint
from tvau_runtime.model.backbone import Backbone

EXAMPLES = """\
examples:
  python export/to_onnx.py --out out/onnx                               the embedded model at its own size
  python export/to_onnx.py --model runs/tiny/checkpoint --out out/onnx --size 112x140 --size 224x280
  tvau watch video.mp4 --model out/onnx                                 use it; torch is not needed
"""


def export(source: Path, out: Path, sizes: list[tuple[int, int]]) -> Artifact:
    """Writes graphs, token table, tokenizer and manifest to `out` once they agree with the checkpoint; returns the manifest.

    Raises `ModelError` where they do not agree, or for a checkpoint that cannot be exported; `out` is then as it was.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out} must be a new or an empty folder")
    model, manifest, tokenizer, weights = open_hollow(source)
    backbone = model.backbone.model
    sizes = sizes or [manifest.image_size]
    decoder = Decoder(model.backbone)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        draft = Path(folder) / "draft"
        draft.mkdir()

        def write(graph: Graph, name: str) -> None:
            traced = trace(graph, backbone, weights)
            store_narrow(traced)
            save(traced, draft / name)

        bar = tqdm(total=2 + len(sizes), desc="graphs", unit="graph", dynamic_ncols=True)
        with bar:
            for name, graph in (("rae.onnx", RegionPrompts(model)), ("decoder.onnx", decoder)):
                write(graph, name)
                bar.update()
            for height, width in sizes:
                model.backbone = Backbone(model.backbone.model, (height // 14, width // 14), manifest.taps)
                write(VisionHeatmap(model), f"vision_ahd-{height}x{width}.onnx")
                bar.update()
        names = {id(parameter): name for name, parameter in backbone.named_parameters()}
        table = names[id(backbone.get_input_embeddings().weight)]
        vocabulary, _ = write_table(weights, table, draft / "embeddings.npy", torch.float32)
        shutil.copy(source / checkpoint.TOKENIZER_FILE, draft / "tokenizer.json")
        artifact = Artifact(
            name=manifest.name,
            prompts=manifest.prompts,
            image_sizes=tuple(sizes),
            process_rate_hz=manifest.process_rate_hz,
            clip_length=manifest.clip_length,
            mean=manifest.mean,
            std=manifest.std,
            taps=model.backbone.taps,
            text_dim=model.backbone.text_dim,
            tokens_per_second=model.backbone.tokens_per_second,
            layers=decoder.layers,
            kv_heads=decoder.kv_heads,
            head_dim=decoder.head_dim,
            vocabulary=vocabulary,
            precision="fp32",
            opset=OPSET,
            versions={name: version(name).split("+")[0] for name in ("torch", "transformers", "onnx", "onnxruntime")},
            source=manifest.files,
        ).write(draft)
        figures = compare(checkpoint.load(source)[0], tokenizer, manifest.prompts, draft)
        if fault := first_fault(figures):
            raise ModelError(f"the graphs differ from the checkpoint, and nothing was written: {fault}")
        artifact = dataclasses.replace(artifact, parity=figures).write(draft)
        if out.is_dir():
            out.rmdir()
        draft.rename(out)
    return artifact


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, such as 112x140, got {text!r}") from error
    if min(height, width) < 28 or height % 28 or width % 28:
        raise argparse.ArgumentTypeError(f"height and width must be multiples of 28, got {text}")
    return height, width


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default="tvau-tiny", help="checkpoint: embedded name or directory (default: tvau-tiny)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the graphs")
    parser.add_argument(
        "--size", type=_size, action="append", default=[], metavar="HxW",
        help="image size in pixels; may be given several times, the engine opens the first (default: the checkpoint's)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        artifact = export(find_model(options.model), options.out, options.size)
    except (OSError, TvauError) as error:
        print(f"to_onnx: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    for graph, figures in artifact.parity.items():
        print(f"{graph:<12} " + "  ".join(f"{name} {value:.2g}" for name, value in figures.items()))
    print(f"{options.out} is ready; use it with: tvau watch video.mp4 --model {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
