"""Exported graphs: equal to the checkpoint, refused when damaged, and run by the engine that needs no torch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export needs torch")
pytest.importorskip("onnxscript", reason="the export needs onnxscript")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import onnx
import onnx_ir as ir
import onnxruntime as ort
from safetensors.torch import load_file, save_file
from transformers import DynamicCache

import tvau_runtime
from tvau_export import to_onnx
from tvau_export.evidence import CHECK, labelled_clips
from tvau_export.graphs import Decoder
from tvau_export.onnx_files import save, store_narrow
from tvau_export.parity import first_fault
from tvau_export.weights import open_hollow
from tvau_runtime.artifact import Artifact
from tvau_runtime.backends import open_backend
from tvau_runtime.config import EngineConfig
from tvau_runtime.errors import BackendError, ConfigError, ModelError
from tvau_runtime.manifest import Manifest
from tvau_runtime.model import checkpoint
from tvau_runtime.prompts import Prompts

FEW = ["--clips", "4"]


@pytest.fixture(scope="module", params=["fp16", "int8", "int8-static"])
def narrow(request, tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / request.param
    # Heat maps of random weights are noise, in whose AUROC calibrated eight bits show.
    given = [*FEW, "--skip-parity"] if request.param == "int8-static" else FEW
    assert to_onnx.main(["--model", str(tiny), "--out", str(out), "--precision", request.param, *given]) == 0
    return out


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
    prompts = Prompts(("a dog",), ("a red van", "smoke"))
    ours, theirs = (engine.encode(pixels, engine.text_features(prompts))[1] for engine in engines)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert np.abs(theirs - before).max() > 1e-3
    text = np.stack([engines[1].text_features(given) for given in (prompts, engines[1].prompts)])
    both = engines[1].encode(np.concatenate([pixels, pixels]), text)[1]
    np.testing.assert_allclose(both, np.concatenate([theirs, before]), atol=1e-4)


def test_the_manifest_says_how_near_the_graphs_are(exported):
    artifact = Artifact.read(exported)
    assert artifact.image_sizes == ((56, 84), (84, 84))
    heat_map = artifact.parity.pop("heat_map")
    assert heat_map["auroc"] == pytest.approx(heat_map["checkpoint_auroc"], abs=1e-4)
    assert set(artifact.parity) == {"visual", "class_maps", "rae", "decoder"}
    assert artifact.parity["decoder"]["same_tokens"] == 1.0
    for figures in artifact.parity.values():
        assert max(figures["relative"], figures["frames_relative"]) < 1e-4
    assert first_fault(artifact.parity) == ""
    assert "heat_map has an AUROC of 0.9000" in first_fault({"heat_map": {"checkpoint_auroc": 0.91, "auroc": 0.9}})
    assert first_fault({"rae": {"relative": 0.04}}, "fp16") == "" != first_fault({"rae": {"relative": 0.04}})
    assert "at least 90%" in first_fault({"decoder": {"relative": 0.1, "same_tokens": 0.8}}, "int8")
    assert "rae is off by 0.5" in first_fault({"rae": {"absolute": 1.0, "relative": 0.5}})
    assert "other tokens" in first_fault({"decoder": {"absolute": 0.0, "relative": 0.0, "same_tokens": 0.9}})
    assert first_fault({"rae": {"absolute": float("nan"), "relative": float("nan")}})


def test_narrow_graphs_run_and_stay_near(narrow, tiny):
    artifact = Artifact.read(narrow)
    assert artifact.precision == narrow.name
    ours, theirs = (open_backend(EngineConfig(model=str(model), device="cpu")) for model in (tiny, narrow))
    graph = onnx.load(narrow / "decoder.onnx").graph
    kinds = {entry.name: entry.type.tensor_type.elem_type for entry in graph.input}
    if artifact.precision == "fp16":
        assert kinds["past_keys_0"] == kinds["embeddings"] == onnx.TensorProto.FLOAT16
        assert np.load(narrow / "embeddings.npy", mmap_mode="r").dtype == np.float16
    elif artifact.precision == "int8":
        assert sum(node.op_type == "MatMulInteger" for node in graph.node) == 2 * 7
    else:  # each of the 14 products has a weight in eight bits, and an input that is rounded to eight
        stored = {each.name: each.data_type for each in graph.initializer}
        weights = [n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in stored]
        assert [stored[node.input[0]] for node in weights] == [onnx.TensorProto.INT8] * 2 * 7
        assert not [n for n in graph.node if n.op_type == "MatMulInteger"]
        zeros = {
            n.input[2] for n in graph.node if n.op_type.endswith("QuantizeLinear") or n.op_type == "DequantizeLinear"
        }
        tensors = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
        assert not any(tensors[name].any() for name in zeros), "TensorRT takes no zero points"
    rng = np.random.default_rng(0)
    pixels, _ = next(labelled_clips(theirs.spec, 1, CHECK))
    for a, b in zip(ours.encode(pixels), theirs.encode(pixels), strict=True):
        assert b.dtype == np.float32
        assert np.abs(a - b).max() < 0.1 * np.abs(a).max()
    x = rng.normal(size=(5, theirs.spec.text_dim)).astype(np.float32)
    positions = np.ascontiguousarray(np.broadcast_to(np.arange(5), (3, 5)))
    whole, _ = theirs.decode(x, positions)
    _, cache = theirs.decode(x[:3], positions[:, :3])
    logits, _ = theirs.decode(x[3:], positions[:, 3:], theirs.crop(cache, 3))
    assert np.abs(logits - whole).max() < 0.1 * np.abs(whole).max()


def test_what_half_precision_holds_is_stored_so_and_cast_when_the_graph_is_loaded(tmp_path):
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(64, 64)).astype(np.float32) for name in ("half", "brain", "whole")}
    weights["half"] = weights["half"].astype(np.float16).astype(np.float32)
    weights["brain"] = torch.from_numpy(weights["brain"] * 1e9).bfloat16().float().numpy()
    x = ir.Value(name="x", shape=ir.Shape(["n", 64]), type=ir.TensorType(ir.DataType.FLOAT))
    values = {name: ir.Value(name=name, const_value=ir.tensor(array, name=name)) for name, array in weights.items()}
    nodes, last = [], x
    for value in values.values():
        nodes.append(ir.node("MatMul", [last, value]))
        last = nodes[-1].outputs[0]
    last.name, last.shape, last.type = "y", x.shape, x.type
    graph = ir.Graph([x], [last], nodes=nodes, initializers=list(values.values()), opset_imports={"": 18}, name="g")
    model, given = ir.Model(graph, ir_version=10), {"x": rng.normal(size=(3, 64)).astype(np.float32)}
    save(model, tmp_path / "wide.onnx")
    store_narrow(model)
    save(model, tmp_path / "narrow.onnx")
    kinds = {each.name: each.data_type for each in onnx.load(tmp_path / "narrow.onnx").graph.initializer}
    kind = onnx.TensorProto
    assert kinds == {"half_stored": kind.FLOAT16, "brain_stored": kind.BFLOAT16, "whole": kind.FLOAT}
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    wide, narrow = (
        ort.InferenceSession(tmp_path / name, o, providers=["CPUExecutionProvider"]).run(None, given)[0]
        for name, o in (("wide.onnx", None), ("narrow.onnx", options))
    )
    np.testing.assert_array_equal(wide, narrow)
    assert {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node} == {"MatMul"}


def test_every_weight_is_read_as_the_loaded_model_has_it(tiny):
    model, _, _ = checkpoint.load(tiny)
    opened, _, _, weights = open_hollow(tiny)
    assert all(bool(parameter.isnan().all()) for parameter in opened.backbone.model.parameters())
    for name, parameter in model.backbone.model.named_parameters():
        torch.testing.assert_close(weights.read(name).float(), parameter, atol=1e-7, rtol=0)


def test_sharded_checkpoints_with_an_output_layer_of_their_own(tiny_copy):
    shutil.rmtree(tiny_copy / "lora")
    inside = tiny_copy / "backbone"
    stored = load_file(inside / "model.safetensors")
    stored["lm_head.weight"] = stored["model.embed_tokens.weight"] + 1
    names = sorted(stored)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({name: stored[name].half() for name in part}, inside / file)
    listed = {name: file for file, part in halves.items() for name in part}
    (inside / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": listed}))
    (inside / "model.safetensors").unlink()
    config = json.loads((inside / "config.json").read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = False
    (inside / "config.json").write_text(json.dumps(config))
    Manifest.read(tiny_copy).write(tiny_copy)
    _, _, _, weights = open_hollow(tiny_copy)
    model, _, _ = checkpoint.load(tiny_copy)
    assert model.backbone.model.lm_head.weight is not model.backbone.model.get_input_embeddings().weight
    for name, parameter in model.backbone.model.named_parameters():
        assert weights.read(name).dtype == torch.float16
        torch.testing.assert_close(weights.read(name).float(), parameter, atol=0, rtol=0)
    (inside / "b.safetensors").unlink()
    Manifest.read(tiny_copy).write(tiny_copy)
    with pytest.raises(ModelError, match="cannot be read"):
        open_hollow(tiny_copy)


def test_a_checkpoint_that_lacks_a_tensor_is_refused_by_its_name(tiny_copy):
    path = tiny_copy / "backbone" / "model.safetensors"
    stored = load_file(path)
    name = "model.layers.0.mlp.down_proj.weight"
    save_file({**stored, name: stored[name][:1].clone()}, path)
    Manifest.read(tiny_copy).write(tiny_copy)
    with pytest.raises(ModelError, match=r"layers.0.mlp.down_proj.weight is \[1, 64\], config.json needs"):
        open_hollow(tiny_copy)
    del stored[name]
    save_file(stored, path)
    Manifest.read(tiny_copy).write(tiny_copy)
    with pytest.raises(ModelError, match=r"layers.0.mlp.down_proj.weight is missing"):
        open_hollow(tiny_copy)


def test_the_engine_opens_the_size_that_is_asked_for(exported, tiny):
    engine = open_backend(EngineConfig(model=str(exported), size="84X84", device="cpu"))
    assert engine.spec.image_size == (84, 84)
    tokens, maps = engine.encode(np.zeros((1, 36, 1176), np.float32))
    assert tokens.shape[1] == 9 and maps.shape == (1, 2, 6, 6)
    for model, there in ((exported, "56x84, 84x84"), (tiny, "56x84")):
        with pytest.raises(ConfigError, match=rf"one of those that the model has \({there}\), got '56x56'"):
            open_backend(EngineConfig(model=str(model), size="56x56"))


def test_no_graph_tells_of_the_machine_that_it_was_made_on(exported):
    shipped = Path(tvau_runtime.__file__).parent / "assets" / "tvau-tiny" / "onnx"
    graphs = [*exported.glob("*.onnx"), *shipped.glob("*.onnx")]
    assert len(graphs) >= 6
    for path in graphs:
        assert b'.py", line' not in path.read_bytes(), path


@pytest.mark.parametrize("grid", [(4, 6), (6, 6), (5, 7), (10, 18), (16, 28), (3, 3)])
def test_one_graph_of_the_rae_serves_every_size(engines, grid):
    maps = np.random.default_rng(0).normal(size=(3, 2, *grid)).astype(np.float32)
    ours, theirs = (engine.anomaly_prompts(maps) for engine in engines)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


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
    print(pipeline.backend.device, answer.evidence.score)
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
    assert to_onnx.main(["--out", str(tmp_path / "new"), "--frames", str(tmp_path / "no.mp4")]) == 2
    assert "no.mp4 must be a video file" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_size_that_no_patches_fill(capsys):
    with pytest.raises(SystemExit):
        to_onnx.main(["--out", "x", "--size", "100x100"])
    assert "multiples of 28" in capsys.readouterr().err


def test_a_checkpoint_runs_its_own_graphs_until_its_weights_change(tiny_copy, capsys):
    given = ["--model", str(tiny_copy), "--skip-parity"]
    assert to_onnx.main(given) == 0
    first = (tiny_copy / "onnx" / "manifest.json").read_text()
    for backend, name in (("auto", "onnxruntime"), ("onnx", "onnxruntime"), ("torch", "torch")):
        engine = open_backend(EngineConfig(model=str(tiny_copy), backend=backend, device="cpu"))
        assert engine.device.startswith(name)
        engine.close()
    Manifest.read(tiny_copy).write(tiny_copy)  # what a checkpoint vouches for is not its export
    assert to_onnx.main(given) == 0, "an earlier export of its own is replaced"
    assert json.loads(first)["source"] == json.loads((tiny_copy / "onnx" / "manifest.json").read_text())["source"]
    weights = load_file(tiny_copy / "rae.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, tiny_copy / "rae.safetensors")
    Manifest.read(tiny_copy).write(tiny_copy)
    with pytest.raises(ModelError, match="was exported from other weights"):
        open_backend(EngineConfig(model=str(tiny_copy)))
    open_backend(EngineConfig(model=str(tiny_copy), backend="torch", device="cpu")).close()
