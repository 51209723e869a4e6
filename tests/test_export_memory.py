"""How much memory the export of a model of more than a billion weights takes: at most twice its largest shard."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the export needs torch")
pytest.importorskip("onnxscript", reason="the export needs onnxscript")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
if not sys.platform.startswith("linux"):
    pytest.skip("the peak of memory is read from /proc", allow_module_level=True)
if not os.environ.get("TVAU_TEST_LARGE_EXPORT"):
    pytest.skip("takes 6 GB of disk and some minutes; set TVAU_TEST_LARGE_EXPORT=1", allow_module_level=True)

from safetensors.torch import save_file
from tiny_checkpoint import make_tiny_checkpoint

from tvau_export.weights import hollow
from tvau_runtime.artifact import Artifact
from tvau_runtime.manifest import Manifest
from tvau_runtime.model import checkpoint
from tvau_training.backbone_size import BackboneSize, new_backbone

SHARD = 800 << 20
SIZE = BackboneSize(
    vision_depth=4,
    vision_hidden=256,
    vision_heads=4,
    vision_mlp=512,
    text_layers=4,
    text_hidden=4096,
    text_heads=32,
    text_kv_heads=8,
    text_mlp=12288,
    vocabulary=32768,
)
CHILD = """
import re, sys
from pathlib import Path
from tvau_export import to_onnx

def peak():
    print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

peak()
to_onnx.export(Path(sys.argv[1]), Path(sys.argv[2]), [], check=False)
peak()
"""
"""KiB of memory that the process has held at its fullest, after its imports and at its end. The kernel's own mark, since
`getrusage` counts what the parent held when it started the child."""


def make_large_checkpoint(directory):
    """As `make_tiny_checkpoint`, but of SIZE, with untied embeddings, in bfloat16 shards.

    Returns how many weights it has, and the bytes of its largest shard.
    """
    from accelerate import init_empty_weights

    make_tiny_checkpoint(directory, lora=False)
    manifest = Manifest.read(directory)
    inside = directory / "backbone"
    (inside / "model.safetensors").unlink()
    with init_empty_weights(include_buffers=False):
        model: Any = new_backbone(SIZE, directory / "tokenizer.json")
    config = model.config
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = False
    config.save_pretrained(inside)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    shapes["lm_head.weight"] = shapes["model.language_model.embed_tokens.weight"]
    noise = (torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)) * 0.02).bfloat16()
    where, shard, held, largest = {}, {}, 0, 0
    for number, (name, shape) in enumerate(shapes.items()):
        stored = name.removeprefix("model.") if "visual" in name else name.replace("model.language_model.", "model.")
        shard[stored] = noise.repeat(-(-shape.numel() // len(noise)))[: shape.numel()].reshape(shape).contiguous()
        held += shard[stored].nbytes
        if held > SHARD * 0.6 or number == len(shapes) - 1:
            file = f"model-{number}.safetensors"
            save_file(shard, inside / file)
            largest = max(largest, (inside / file).stat().st_size)
            where |= dict.fromkeys(shard, file)
            shard, held = {}, 0
    (inside / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    hollow(model, torch.float32)
    parts = checkpoint.build(manifest, model)
    save_file(parts.ahd.state_dict(), directory / "ahd.safetensors")
    save_file(parts.rae.state_dict(), directory / "rae.safetensors")
    manifest.write(directory)
    return sum(shape.numel() for shape in shapes.values()), largest


def test_an_export_holds_at_most_two_shards(tmp_path):
    source, out = tmp_path / "large", tmp_path / "graphs"
    weights, largest = make_large_checkpoint(source)
    assert weights > 1e9
    run = subprocess.run([sys.executable, "-c", CHILD, str(source), str(out)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    imported, taken = (int(size) << 10 for size in run.stdout.split())
    written = sum(file.stat().st_size for file in out.iterdir())
    print(
        f"{weights / 1e9:.2f} G weights, largest shard {largest >> 20} MiB, graphs {written >> 20} MiB; "
        f"peak memory: imports {imported >> 20} MiB, export {taken >> 20} MiB"
    )
    assert taken - imported <= 2 * largest
    assert (out / "decoder.onnx.data").stat().st_size > 1 << 30
    assert Artifact.read(out).parity == {}
