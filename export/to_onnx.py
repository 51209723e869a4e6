"""Exports a checkpoint to ONNX graphs, which run without torch."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import tvau_runtime
from tvau_export.calibration import Calibration, Feed
from tvau_export.graphs import Decoder, Graph, RegionPrompts, VisionHeatmap
from tvau_export.onnx_files import OPSET, save, store_narrow, trace, write_table
from tvau_export.parity import compare, first_fault
from tvau_export.quantisation import quantise
from tvau_export.weights import Weights, hollow, open_hollow
from tvau_runtime.artifact import PRECISIONS, Artifact
from tvau_runtime.backends import find_model
from tvau_runtime.errors import ConfigError, ModelError, TvauError
from tvau_runtime.manifest import EXPORT, Manifest
from tvau_runtime.model import checkpoint
from tvau_runtime.model.backbone import Backbone
from tvau_runtime.model.tvau import TVAU

EXAMPLES = """\
examples:
  python export/to_onnx.py --model runs/tiny/checkpoint                 into its own folder onnx, which then runs by default
  python export/to_onnx.py --out out/onnx                               the embedded model at its own size
  python export/to_onnx.py --model runs/tiny/checkpoint --out out/onnx --size 140x252 --size 224x392
  python export/to_onnx.py --out out/onnx-int8 --precision int8 --frames video.mp4
  tvau watch video.mp4 --model out/onnx                                 use it; torch is not needed
"""


DEMO = Path(tvau_runtime.__file__).parent / "assets" / "demo.mp4"
CLIPS = 32


def export(
    source: Path,
    out: Path,
    sizes: list[tuple[int, int]],
    *,
    precision: str = "fp32",
    video: Path = DEMO,
    clips: int = CLIPS,
    check: bool = True,
    replace: bool = False,
) -> Artifact:
    """Writes graphs, token table, tokenizer and manifest to `out` once they agree with the checkpoint; returns the manifest.

    precision: as in `Artifact`. video, clips: what the graphs are compared on; as many other clips calibrate int8-static,
    for which the whole model is held. check: False publishes them without a comparison, which holds it twice. All else holds a
    tensor at a time, but for int8, which holds a graph at a time.
    replace: an earlier export there goes, once this one is good.
    Raises `ModelError` where they do not agree, or for a checkpoint that cannot be exported; `out` is then as it was.
    """
    replace = replace and (out / Artifact.FILE).is_file()
    if not replace and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out} must be a new or an empty folder")
    if check and not video.is_file():
        raise ConfigError(f"--frames {video} must be a video file")
    model, manifest, tokenizer, weights = open_hollow(source)
    if manifest.without:
        raise ModelError(
            f"{source} was trained without {manifest.without}, to be compared; only the torch engine runs it"
        )
    sizes = list(dict.fromkeys(sizes)) or [manifest.image_size]
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        draft = Path(folder) / "draft"
        draft.mkdir()
        facts = _write(model, manifest, weights, sizes, precision, Calibration(source, clips), draft)
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
            precision=precision,
            opset=OPSET,
            calibration=manifest.calibration,
            versions=_versions(),
            source=manifest.files,
            **facts,
        ).write(draft)
        if check:
            figures = compare(checkpoint.load(source)[0], tokenizer, manifest.prompts, draft, video, clips)
            if fault := first_fault(figures, precision):
                raise ModelError(f"the graphs differ from the checkpoint, and nothing was written: {fault}")
            artifact = dataclasses.replace(artifact, parity=figures).write(draft)
        if replace:
            shutil.rmtree(out)
        elif out.is_dir():
            out.rmdir()
        draft.rename(out)
    return artifact


def _versions() -> dict[str, str]:
    """Of what the export rests on. onnxruntime's package has another name where it is made for GPUs."""
    import onnxruntime

    packages = {name: version(name).split("+")[0] for name in ("torch", "transformers", "onnx")}
    return {**packages, "onnxruntime": onnxruntime.__version__.split("+")[0]}


def _write(
    model: TVAU,
    manifest: Manifest,
    weights: Weights,
    sizes: list[tuple[int, int]],
    precision: str,
    calibration: Calibration,
    draft: Path,
) -> dict[str, Any]:
    """Graphs and token table; returns what they say of the language model."""
    backbone = model.backbone.model
    dtype = torch.float16 if precision == "fp16" else torch.float32
    # AHD and RAE stay in float32, as on the torch engine: the AHD multiplies small differences of cosines by large weights.
    hollow(backbone, dtype)
    decoder = Decoder(model.backbone)
    with tqdm(total=2 + len(sizes), desc="graphs", unit="graph", dynamic_ncols=True) as bar:

        def write(graph: Graph, name: str, feeds: Iterator[Feed] | None) -> None:
            traced = trace(graph, backbone, weights)
            if feeds is not None:
                traced = quantise(traced, precision, feeds)
            store_narrow(traced)
            save(traced, draft / name)
            bar.update()

        narrow = precision not in ("fp32", "fp16")
        write(RegionPrompts(model), "rae.onnx", None)
        write(decoder, "decoder.onnx", calibration.decoder() if narrow else None)
        for height, width in sizes:
            model.backbone = Backbone(backbone, (height // 14, width // 14), manifest.taps)
            feeds = calibration.vision((height, width)) if narrow else None
            write(VisionHeatmap(model), f"vision_ahd-{height}x{width}.onnx", feeds)
    names = {id(parameter): name for name, parameter in backbone.named_parameters()}
    vocabulary = write_table(
        weights, names[id(backbone.get_input_embeddings().weight)], draft / "embeddings.npy", dtype
    )
    return {
        "layers": decoder.layers,
        "kv_heads": decoder.kv_heads,
        "head_dim": decoder.head_dim,
        "vocabulary": vocabulary,
    }


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, such as 140x252, got {text!r}") from error
    if min(height, width) < 28 or height % 28 or width % 28:
        raise argparse.ArgumentTypeError(f"height and width must be multiples of 28, got {text}")
    return height, width


def _clips(text: str) -> int:
    if not text.isdigit() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 2, got {text!r}")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default="tvau-tiny", help="checkpoint: embedded name or directory (default: tvau-tiny)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"new folder for the graphs (default: the checkpoint's own, MODEL/{EXPORT}, which then runs by default)",
    )
    parser.add_argument(
        "--size", type=_size, action="append", default=[], metavar="HxW",
        help="image size in pixels; may be given several times, the engine opens the first (default: the checkpoint's)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32",
        help="what the graphs compute in: fp32, fp16 (for GPUs), int8 (for CPUs), int8-static (for TensorRT, with "
        "scales calibrated on clips of the synthetic world) (default: fp32)",
    )  # fmt: skip
    parser.add_argument(
        "--frames", type=Path, default=DEMO, metavar="VIDEO",
        help="real frames that the graphs are also compared on (default: the embedded scene)",
    )  # fmt: skip
    parser.add_argument(
        "--clips", type=_clips, default=CLIPS,
        help=f"clips that heat maps are compared on, at least 2 (default: {CLIPS})",
    )  # fmt: skip
    parser.add_argument(
        "--skip-parity", action="store_true",
        help="publish without comparing with the checkpoint: the comparison holds the whole model twice, the export does not",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        source = find_model(options.model)
        out = options.out or source / EXPORT
        artifact = export(
            source,
            out,
            options.size,
            precision=options.precision,
            video=options.frames,
            clips=options.clips,
            check=not options.skip_parity,
            replace=options.out is None,
        )
    except (OSError, TvauError) as error:
        print(f"to_onnx: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    for graph, figures in artifact.parity.items():
        print(f"{graph:<12} " + "  ".join(f"{name} {value:.2g}" for name, value in figures.items()))
    if not artifact.parity:
        print("not compared with the checkpoint, as --skip-parity asked")
    print(f"{out} is ready; use it with: tvau watch video.mp4 --model {options.out or options.model}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
