"""TensorRT: what is decided before a device is needed; where there is one, engines against the graphs they come from."""

import importlib.util
import json
import os
import shutil

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from tvau_export import to_tensorrt
from tvau_export.engine_parity import compare, first_fault
from tvau_runtime.artifact import Artifact
from tvau_runtime.backends import devices, open_backend
from tvau_runtime.backends.cuda_device import CudaDevice
from tvau_runtime.config import EngineConfig
from tvau_runtime.errors import BackendError, ConfigError, ModelError

ALL = list(devices.PROVIDERS.values())
FACTS = {"version": "10.14.1", "compute_capability": "9.0", "device": "NVIDIA H100"}


def no_gpu():
    """Why nothing can run on a CUDA device here, or nothing."""
    if importlib.util.find_spec("tensorrt") is None:
        return "TensorRT is not installed"
    try:
        CudaDevice()
    except BackendError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def graphs(exported):
    return exported


@pytest.fixture
def engines(graphs, tmp_path):
    """A directory as if of engines: complete but for what is in the engine files."""
    out = shutil.copytree(graphs, tmp_path / "engines")
    for path in out.glob("*.onnx"):
        path.rename(path.with_suffix(".engine"))
    values = json.loads((out / "manifest.json").read_text()) | {"tensorrt": FACTS}
    (out / "manifest.json").write_text(json.dumps(values))
    Artifact.read(out).write(out)
    return out


def test_profiles_cover_the_empty_cache_and_every_call_in_between(graphs):
    artifact = Artifact.read(graphs)
    found = to_tensorrt.profiles(artifact, 8, 1000)
    assert list(found) == ["vision_ahd-56x84.onnx", "vision_ahd-84x84.onnx", "rae.onnx", "decoder.onnx"]
    for shapes in (shape for graph in found.values() for profile in graph for shape in profile.values()):
        for axis in zip(*shapes, strict=True):
            assert list(axis) == sorted(axis)
    one, many = found["vision_ahd-56x84.onnx"]
    assert one["pixels"] == ((1, 24, 1176),) * 3
    assert many["pixels"] == ((1, 24, 1176), (8, 24, 1176), (8, 24, 1176))
    assert found["rae.onnx"][0]["class_maps"] == ((1, 2, 2, 4, 6), (1, 8, 2, 4, 6), (1, 8, 2, 6, 6))
    token, rest = found["decoder.onnx"]
    assert len(token) == len(rest) == 2 + 2 * artifact.layers
    assert [shape[1] for shape in token["embeddings"]] == [1, 1, 1]
    assert [shape[2] for shape in token["past_keys_0"]] == [1, 499, 999]
    assert [shape[2] for shape in rest["positions"]] == [1, 512, 512]
    assert [shape[2] for shape in rest["past_values_1"]] == [0, 499, 999]


def test_profiles_name_every_input_of_the_graphs(graphs):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    for name, shapes in to_tensorrt.profiles(Artifact.read(graphs), 8, 1000).items():
        inputs = onnx.load(graphs / name).graph.input
        assert all(profile.keys() == {entry.name for entry in inputs} for profile in shapes)
        for entry in inputs:
            sides = [d.dim_value if d.HasField("dim_value") else None for d in entry.type.tensor_type.shape.dim]
            for profile in shapes:
                for shape in profile[entry.name]:
                    assert [
                        want if side is not None else None for side, want in zip(sides, shape, strict=True)
                    ] == sides


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-patches", "1"], "at least 2, got '1'"),
        (["--max-tokens", "many"], "at least 2, got 'many'"),
        (["--precision", "fp4"], "invalid choice: 'fp4'"),
        (["--device", "cuda"], "at least 0, got 'cuda'"),
    ],
)
def test_arguments_that_cannot_be_used(capsys, arguments, message):
    with pytest.raises(SystemExit):
        to_tensorrt.main(["--onnx", "a", "--out", "b", *arguments])
    assert message in capsys.readouterr().err


def test_prompts_of_the_rae_are_counted_as_it_gives_them():
    encoder = pytest.importorskip("tvau_runtime.model.region_anomaly_encoder", reason="torch is not installed")
    assert to_tensorrt.ANOMALY_PROMPTS == encoder.PROMPTS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "fp16"], "are fp32, and TensorRT takes every type from the graph"),
        (["--max-tokens", "70"], "must be at least 288, got 70: 4 frame pairs take 96"),
        (["--onnx", "nothing"], "nothing is no exported tvau model"),
    ],
)
def test_what_does_not_go_with_the_graphs_is_refused(graphs, tmp_path, capsys, arguments, message):
    out = tmp_path / "out"
    assert to_tensorrt.main(["--onnx", str(graphs), "--out", str(out), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_only_engines_are_overwritten_and_only_graphs_are_read(graphs, engines, tmp_path, capsys):
    assert to_tensorrt.main(["--onnx", str(graphs), "--out", str(graphs)]) == 2
    assert "must be a new or an empty folder, or one of engines" in capsys.readouterr().err
    assert to_tensorrt.main(["--onnx", str(engines), "--out", str(tmp_path / "new")]) == 2
    assert "holds engines; name the graphs" in capsys.readouterr().err


@pytest.mark.skipif(not no_gpu(), reason="there is a CUDA device and TensorRT")
def test_what_is_missing_is_said_and_nothing_is_left_behind(graphs, engines, tmp_path, capsys):
    assert to_tensorrt.main(["--onnx", str(graphs), "--out", str(tmp_path / "new")]) == 2
    said = capsys.readouterr().err
    assert "pip install 'tvau[gpu]'" in said or "no CUDA device can be used here" in said
    assert [path.name for path in tmp_path.iterdir()] == ["engines"]
    with pytest.raises(BackendError, match=r"pip install 'tvau\[gpu\]'|no CUDA device"):
        open_backend(EngineConfig(model=str(engines)))


def test_a_device_is_asked_for_in_its_own_words():
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    if runtime.cudaGetDeviceCount()[1]:
        pytest.skip("there is a CUDA device")
    with pytest.raises(BackendError, match=r"no CUDA device can be used here: .*\(cudaError"):
        CudaDevice()


def test_the_manifest_of_engines(engines):
    artifact = Artifact.read(engines)
    assert artifact.tensorrt == FACTS
    assert artifact.vision_file((56, 84)) == "vision_ahd-56x84.engine"
    artifact.verify(engines)
    artifact.check_engines("10.14.1", "9.0")
    with pytest.raises(ModelError, match=r"built by TensorRT 10\.14\.1.*here is 10\.16\.1.*to_tensorrt\.py"):
        artifact.check_engines("10.16.1", "9.0")
    with pytest.raises(ModelError, match=r"compute capability 9\.0 \(NVIDIA H100\), and this device has 8\.7"):
        artifact.check_engines("10.14.1", "8.7")
    (engines / "rae.engine").write_bytes(b"?")
    with pytest.raises(ModelError, match=r"rae\.engine is damaged"):
        artifact.verify(engines)


@pytest.mark.parametrize("facts", [{"version": "10"}, FACTS | {"colour": "red"}, FACTS | {"version": 10}, ["10"]])
def test_a_manifest_with_other_facts_of_engines_is_refused(engines, facts):
    values = json.loads((engines / "manifest.json").read_text())
    (engines / "manifest.json").write_text(json.dumps(values | {"tensorrt": facts}))
    with pytest.raises(ModelError, match="tensorrt must be empty or hold version, compute_capability, device"):
        Artifact.read(engines)


def test_each_directory_is_opened_by_its_own_engine_alone(graphs, engines):
    for model, backend, message in [
        (graphs, "tensorrt", r"build engines first: python export/to_tensorrt\.py"),
        (engines, "onnx", "holds TensorRT engines, which the onnx engine does not run; use backend tensorrt"),
        (engines, "torch", "holds TensorRT engines, which the torch engine does not run"),
        ("tvau-tiny", "tensorrt", r"build engines first: python export/to_tensorrt\.py --onnx \S+tiny/onnx"),
    ]:
        with pytest.raises(ConfigError, match=message):
            open_backend(EngineConfig(model=str(model), backend=backend))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("auto", ("auto", 0)), ("cpu", ("cpu", 0)), ("cuda:2", ("cuda", 2)), ("tensorrt:1", ("tensorrt", 1))],
)
def test_names_of_devices(text, expected):
    assert devices.parse_device(text) == expected


@pytest.mark.parametrize("text", ["", "gpu", "cuda:", "cuda:x", "cuda:²", "cpu:1", "auto:0"])
def test_names_of_no_device(text):
    with pytest.raises(ConfigError, match="device must be auto"):
        devices.parse_device(text)


def test_devices_are_tried_from_the_fastest():
    assert devices.candidates("auto", ALL) == ["tensorrt", "cuda", "cpu"]
    assert devices.candidates("auto", ALL[2:]) == ["cpu"]
    assert devices.candidates("cuda", ALL) == ["cuda"]
    with pytest.raises(BackendError, match="pip install onnxruntime-gpu"):
        devices.candidates("tensorrt", ALL[1:])


def test_options_of_the_providers(tmp_path):
    tensorrt, cuda, cpu = devices.provider_list("tensorrt", 1, ALL, cache=tmp_path, fp16=True)
    assert tensorrt == (
        "TensorrtExecutionProvider",
        {
            "device_id": 1,
            "trt_fp16_enable": True,
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(tmp_path),
            "trt_timing_cache_enable": True,
            "trt_timing_cache_path": str(tmp_path),
        },
    )
    assert cuda == ("CUDAExecutionProvider", {"device_id": 1})
    assert cpu == ("CPUExecutionProvider", {})
    assert devices.provider_list("cuda", 0, ALL) == [("CUDAExecutionProvider", {"device_id": 0}), cpu]
    assert "trt_engine_cache_path" not in devices.provider_list("tensorrt", 0, ALL)[0][1]


def test_the_cache_lies_with_the_user_and_is_of_one_export(graphs, engines, tmp_path):
    artifact, other = Artifact.read(graphs), Artifact.read(engines)
    base = tmp_path / "xdg"
    folder = devices.cache_directory(artifact, {"XDG_CACHE_HOME": str(base)})
    assert folder is not None and folder.is_dir() and base in folder.parents
    assert folder == devices.cache_directory(artifact, {"XDG_CACHE_HOME": str(base)})
    assert folder != devices.cache_directory(other, {"XDG_CACHE_HOME": str(base)})
    (tmp_path / "file").touch()
    assert devices.cache_directory(artifact, {"XDG_CACHE_HOME": str(tmp_path / "file")}) is None


def test_why_a_device_was_picked():
    assert devices.reason("auto", "cpu", ALL[2:], {}) == "no CUDA provider in this onnxruntime"
    assert devices.reason("auto", "tensorrt", ALL, {}) == "the fastest there is"
    assert devices.reason("cuda:1", "cuda", ALL, {}) == "cuda:1 was asked for"
    failed = {"tensorrt": "no\nlibnvinfer", "cuda": "no driver"}
    assert devices.reason("auto", "cpu", ALL, failed) == (
        "TensorRT does not start: no libnvinfer; CUDA does not start: no driver"
    )


def test_the_device_is_told_with_its_reason(graphs):
    auto = open_backend(EngineConfig(model=str(graphs), threads=2))
    assert auto.device.startswith("onnxruntime ")
    assert ", 2 threads (" in auto.device and auto.device.endswith(")")
    assert "(cpu was asked for)" in open_backend(EngineConfig(model=str(graphs), device="cpu")).device


def test_parity_between_engines_finds_no_difference_where_there_is_none(graphs):
    ours, theirs = (open_backend(EngineConfig(model=str(graphs), device="cpu")) for _ in range(2))
    figures = compare(ours, theirs)
    assert set(figures) == {"visual", "class_maps", "rae", "decoder"}
    assert first_fault(figures, "fp32") == ""
    assert figures["decoder"]["same_tokens"] == 1.0
    far, none = {"rae": {"relative": 0.5}}, {"rae": {"relative": float("nan")}}
    assert "rae is off by 0.5" in first_fault(far, "fp32")
    assert first_fault(far, "fp16") == ""
    assert "rae is off by nan" in first_fault(none, "fp16")


@pytest.fixture(scope="module")
def pair(graphs, tmp_path_factory):
    """The graphs on onnxruntime's CPU, and the engines that are built from them."""
    if reason := no_gpu():
        pytest.skip(reason)
    out = tmp_path_factory.mktemp("tensorrt") / "engines"
    command = ["--onnx", str(graphs), "--out", str(out), "--max-patches", "4", "--max-tokens", "600"]
    assert to_tensorrt.main(command) == 0
    assert to_tensorrt.main(command) == 0  # over the first ones, with their timing cache
    opened = [open_backend(EngineConfig(model=str(graphs), device="cpu")), open_backend(EngineConfig(model=str(out)))]
    yield opened
    for engine in opened:
        engine.close()


def test_on_a_gpu_engines_equal_the_graphs_for_any_number_of_patches(pair):
    ours, theirs = pair
    assert theirs.spec == ours.spec
    assert theirs.device.startswith("TensorRT ")
    rng = np.random.default_rng(0)
    for count in (
        1,
        1,
        1,
        3,
        9,
        1,
    ):  # the first alone is run as it is, then captured; nine are more than one call takes
        pixels = rng.normal(size=(count, 24, 1176)).astype(np.float32)
        for a, b in zip(ours.encode(pixels), theirs.encode(pixels), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-3)
    for steps in (2, 4):
        maps = rng.normal(size=(steps, 2, 4, 6)).astype(np.float32)
        np.testing.assert_allclose(ours.anomaly_prompts(maps), theirs.anomaly_prompts(maps), atol=1e-3)
    assert theirs.anomaly_prompts(maps[:1]).shape == (0, ours.spec.text_dim)
    with pytest.raises(BackendError, match="--max-patches 5"):
        theirs.anomaly_prompts(np.zeros((5, 2, 4, 6), np.float32))


def test_on_a_gpu_the_cache_stays_true_through_pieces_tokens_and_crops(pair):
    x = np.random.default_rng(0).normal(size=(560, pair[0].spec.text_dim)).astype(np.float32)
    positions = np.ascontiguousarray(np.broadcast_to(np.arange(560), (3, 560)))
    logits = []
    for engine in pair:
        found, cache = [], None
        for part in (slice(0, 540), slice(540, 541), slice(541, 542), slice(542, 550)):  # the first in two pieces
            got, cache = engine.decode(x[part], positions[:, part], cache)
            found.append(got)
        cut = engine.crop(cache, 300)
        found.append(engine.decode(x[550:551], positions[:, 550:551], cache)[0])
        found.append(engine.decode(x[551:555], positions[:, 551:555], engine.crop(cut, 200))[0])
        found.append(engine.decode(x[551:555], positions[:, 551:555], cut)[0])
        logits.append(found)
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-3)
    with pytest.raises(BackendError, match="at most 600 tokens"):
        pair[1].decode(np.concatenate([x, x]), np.concatenate([positions, positions], axis=1))


def test_on_a_gpu_prompts_given_at_run_time_move_the_heat_map_alike(pair):
    from tvau_runtime.prompts import Prompts

    pixels = np.random.default_rng(0).normal(size=(1, 24, 1176)).astype(np.float32)
    prompts = Prompts(("a dog",), ("a red van", "smoke"))
    ours, theirs = (engine.encode(pixels, engine.text_features(prompts))[1] for engine in pair)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("device", ["tensorrt", "cuda"])
def test_on_a_gpu_onnxruntimes_providers_equal_its_cpu(graphs, tmp_path, monkeypatch, device):
    import onnxruntime

    if devices.PROVIDERS[device] not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {device} provider")
    if reason := no_gpu():
        pytest.skip(reason)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    opened = [open_backend(EngineConfig(model=str(graphs), device=name)) for name in ("cpu", device)]
    figures = compare(opened[0], opened[1])
    assert max(values["relative"] for values in figures.values()) < 1e-2  # TensorFloat-32 rounds to ten bits
    assert bool(os.listdir(tmp_path)) == (device == "tensorrt")
