"""Exported graphs: equal to the checkpoint, refused when damaged, and run by the engine that needs no torch."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export needs torch")
pytest.importorskip("onnxscript", reason="the export needs onnxscript")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from transformers import DynamicCache

from tvau_export import to_onnx
from tvau_export.graphs import Decoder
from tvau_export.parity import first_fault
from tvau_runtime.artifact import Artifact
from tvau_runtime.backends import open_backend
from tvau_runtime.config import EngineConfig
from tvau_runtime.errors import BackendError, ConfigError, ModelError
from tvau_runtime.model import checkpoint
from tvau_runtime.prompts import Prompts


@pytest.fixture
def damaged(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


@pytest.fixture
def engines(tiny, exported):
    return [open_backend(EngineConfig(model=str(model), device="cpu")) for model in (tiny, exported)]


def test_the_decoder_equals_the_librarys_with_and_without_a_cache(tiny):
    model, _, _ = checkpoint.load(tiny)
    decoder, generator = Decoder(model.backbone).eval(), torch.Generator().manual_seed(0)
    x = torch.randn(1, 9, model.backbone.text_dim, generator=generator)
    positions = torch.stack([torch.arange(9), torch.arange(9) // 3, torch.arange(9) % 4])[:, None]
    cache = DynamicCache(config=model.backbone.model.config.text_config)
    past = [torch.zeros(1, decoder.kv_heads, 0, decoder.head_dim)] * (2 * decoder.layers)
    with torch.no_grad():
        for part in (slice(0, 6), slice(6, 8), slice(8, 9)):
            hidden, cache = model.backbone.language(x[:, part], positions[..., part], cache)
            logits, *past = decoder(x[:, part], positions[..., part], *past)
            torch.testing.assert_close(logits, model.backbone.logits(hidden[:, -1]), atol=1e-5, rtol=1e-5)
    assert past[0].shape[2] == 9


def test_graphs_equal_the_checkpoint_for_any_number_of_patches(engines):
    ours, theirs = engines
    assert theirs.spec == ours.spec
    rng = np.random.default_rng(0)
    for count in (1, 5):
        pixels = rng.normal(size=(count, 24, 1176)).astype(np.float32)
        for a, b in zip(ours.encode(pixels), theirs.encode(pixels), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
    for steps in (2, 7):
        maps = rng.normal(size=(steps, 2, 4, 6)).astype(np.float32)
        np.testing.assert_allclose(ours.anomaly_prompts(maps), theirs.anomaly_prompts(maps), atol=1e-4)
    np.testing.assert_array_equal(ours.embed([3, 1]), theirs.embed([3, 1]))


def test_a_cropped_cache_leaves_the_first_alone(engines):
    _, engine = engines
    x = np.random.default_rng(0).normal(size=(9, engine.spec.text_dim)).astype(np.float32)
    positions = np.ascontiguousarray(np.broadcast_to(np.arange(9), (3, 9)))
    whole, _ = engine.decode(x, positions)
    _, cache = engine.decode(x[:5], positions[:, :5])
    prefix = engine.crop(cache, 3)
    engine.decode(x[5:6], positions[:, 5:6], cache)
    for start in (prefix, engine.crop(prefix, 3)):
        logits, _ = engine.decode(x[3:], positions[:, 3:], start)
        np.testing.assert_allclose(logits, whole, atol=1e-4)


def test_prompts_given_at_run_time_move_the_heat_map_alike(engines):
    pixels = np.random.default_rng(0).normal(size=(1, 24, 1176)).astype(np.float32)
    before = engines[1].encode(pixels)[1]
    for engine in engines:
        engine.set_prompts(Prompts(("a dog",), ("a red van", "smoke")))
    ours, theirs = (engine.encode(pixels)[1] for engine in engines)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert np.abs(theirs - before).max() > 1e-3


def test_the_manifest_says_how_near_the_graphs_are(exported):
    artifact = Artifact.read(exported)
    assert artifact.image_sizes == ((56, 84), (84, 84))
    assert set(artifact.parity) == {"visual", "class_maps", "rae", "decoder"}
    assert artifact.parity["decoder"]["same_tokens"] == 1.0
    assert max(figures["relative"] for figures in artifact.parity.values()) < 1e-4
    assert first_fault(artifact.parity) == ""
    assert "rae is off by 0.5" in first_fault({"rae": {"absolute": 1.0, "relative": 0.5}})
    assert "other tokens" in first_fault({"decoder": {"absolute": 0.0, "relative": 0.0, "same_tokens": 0.9}})
    assert first_fault({"rae": {"absolute": float("nan"), "relative": float("nan")}})


@pytest.mark.parametrize("name", ["rae.onnx", "embeddings.npy", "tokenizer.json", "vision_ahd-84x84.onnx"])
def test_a_damaged_or_missing_file_is_refused_by_name(damaged, name):
    with (damaged / name).open("r+b") as file:
        file.seek(200)
        file.write(b"?")
    with pytest.raises(ModelError, match=f"{name} is damaged"):
        open_backend(EngineConfig(model=str(damaged)))
    (damaged / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        open_backend(EngineConfig(model=str(damaged)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 3}, "not one of 3 layers"),
        ({"image_sizes": [[84, 84]]}, "pixels of vision_ahd is|has no place"),
        ({"vocabulary": 7}, "not vocabulary x text_dim"),
        ({"precision": "fp4"}, "precision must be one of"),
        ({"image_sizes": [[50, 84]]}, "multiples of 28"),
        ({"clip_length": 0}, "clip_length must be a positive whole number"),
        ({"colour": 1}, "unknown field 'colour'"),
        ({"format": 9}, "format must be 1"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_by_the_field(damaged, change, message):
    path = damaged / "manifest.json"
    if change == {"image_sizes": [[84, 84]]}:
        (damaged / "vision_ahd-84x84.onnx").write_bytes((damaged / "vision_ahd-56x84.onnx").read_bytes())
        change = {**change, "files": {}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=message):
        open_backend(EngineConfig(model=str(damaged)))


def test_a_device_that_is_not_there(exported):
    with pytest.raises(BackendError, match="this onnxruntime has"):
        open_backend(EngineConfig(model=str(exported), device="cuda"))
    with pytest.raises(ConfigError, match="device must be auto"):
        open_backend(EngineConfig(model=str(exported), device="abacus"))


def test_the_torch_engine_does_not_open_graphs(exported):
    with pytest.raises(ConfigError, match="holds exported graphs"):
        open_backend(EngineConfig(model=str(exported), backend="torch"))


WITHOUT_TORCH = """
import sys
sys.modules.update(dict.fromkeys(("torch", "transformers", "peft", "safetensors"), None))  # as if they were not installed
import numpy as np
from tvau_runtime import EngineConfig, Frame, PipelineConfig, open_pipeline
with open_pipeline(PipelineConfig(engine=EngineConfig(model=sys.argv[1]))) as pipeline:
    for k in range(12):
        pipeline.push(Frame(np.full((48, 64, 3), 20 * k, np.uint8), k * 250_000_000, "camera"))
    answer = pipeline.ask("Is there any anomaly in the video?")
    print(pipeline.backend.device, answer.score)
"""


def test_the_whole_pipeline_runs_without_torch(exported):
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(exported)], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("onnxruntime CPU")


def test_nothing_is_overwritten(exported, tmp_path, capsys):
    assert to_onnx.main(["--out", str(exported)]) == 2
    assert "must be a new or an empty folder" in capsys.readouterr().err
    assert to_onnx.main(["--model", "nothing", "--out", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()


def test_a_size_that_no_patches_fill(capsys):
    with pytest.raises(SystemExit):
        to_onnx.main(["--out", "x", "--size", "100x100"])
    assert "multiples of 28" in capsys.readouterr().err
