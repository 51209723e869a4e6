"""The benchmarks' command line, helpers and counts. No figure is tested: that is what the benchmarks are for."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks"


@pytest.fixture(autouse=True)
def _beside_the_benchmarks(monkeypatch):
    """Scripts import what lies beside them."""
    monkeypatch.syspath_prepend(str(FOLDER))


def bench(name):
    return importlib.import_module(name)


def command(*words):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=900, check=False)


def test_help():
    done = command(str(FOLDER / "run.py"), "--help")
    assert done.returncode == 0
    assert "--only" in done.stdout and "--quick" in done.stdout and "examples:" in done.stdout


def test_a_model_that_is_not_there_is_told_in_one_line():
    done = command(str(FOLDER / "run.py"), "--only", "vision", "--model", "nowhere")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "nowhere" in done.stderr


@pytest.mark.filterwarnings("default")
def test_a_part_from_the_command_to_the_file(tiny, tmp_path):
    pytest.importorskip("onnxscript", reason="the exporter is not installed")
    out = tmp_path / "figures.json"
    script = [str(FOLDER / "run.py"), "--quick", "--only", "vision", "--model", str(tiny)]
    done = command(*script, "--work", str(tmp_path / "work"), "--json", str(out))
    assert done.returncode == 0, done.stderr
    assert "transformers eager" in done.stdout
    written = json.loads(out.read_text())
    assert written["machine"]["versions"]["torch"] and written["input"]["model"].startswith("sha256:")
    (size,) = written["parts"]["vision"]["sizes"]
    assert size["size"] == [56, 84]
    assert {"transformers eager", "our torch", "onnxruntime fp32"} <= size["engines"].keys()
    assert size["engines"]["our torch"]["ms"]["q25"] <= size["engines"]["our torch"]["ms"]["q75"]


def test_every_part_that_is_there_can_be_run():
    pytest.importorskip("rclpy", reason="the node's part needs ROS 2")
    pytest.importorskip("torch", reason="the torch engine is not installed")
    run = bench("run")
    parts = {"vision", "stream", "language", "peers", "node", "memory", "drawing"}
    assert parts <= set(run.PARTS)
    assert all(callable(bench(name).run) for name in parts)


def test_calls_are_timed_in_turn_and_each_begins_a_round():
    common, order = bench("common"), []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    spent = common.interleave(calls, rounds=3, warm_up=0)
    assert "".join(order) == "abc" + "bca" + "cab"
    assert [len(spent[name]) for name in "abc"] == [3, 3, 3]


def test_the_time_of_several_threads_is_no_clock():
    pytest.importorskip("torch", reason="the torch engine is not installed")
    common = bench("common")
    with pytest.raises(common.ConfigError, match="--threads 1"):
        common.prepare(common.parser("").parse_args(["--clock", "cpu"]))


def test_a_ratio_is_of_the_rounds():
    # The machine is ten times as slow in the last round; both sides are.
    assert bench("common").ratios([2, 4, 60], [1, 2, 30]) == {"median": 2.0, "q25": 2.0, "q75": 2.0}


def test_percentiles():
    assert bench("common").percentiles(list(range(101))) == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "count": 101}
    assert bench("common").percentiles([]) == {"count": 0}


def test_slope_and_its_error():
    memory, x = bench("memory"), np.arange(50.0)
    assert memory.slope(list(x), list(3 * x + 7)) == pytest.approx((3.0, 0.0), abs=1e-9)
    noise = np.random.default_rng(0).normal(size=50)
    steep, error = memory.slope(list(x), list(3 * x + noise))
    assert abs(steep - 3) < 4 * error and 0 < error < 0.05


def test_auroc_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    pytest.importorskip("torch", reason="the torch engine is not installed")
    rng = np.random.default_rng(0)
    truth, scores = rng.random((4, 5)) < 0.3, rng.integers(0, 4, (4, 5)).astype(float)
    assert bench("peers").auroc(truth, scores) == pytest.approx(metrics.roc_auc_score(truth.ravel(), scores.ravel()))


@pytest.mark.parametrize("grid", [(8, 8), (4, 6), (10, 18)])
def test_operations_of_the_tower_are_those_that_torch_counts(tiny, grid):
    torch = pytest.importorskip("torch", reason="the torch engine is not installed")
    from torch.utils.flop_counter import FlopCounterMode

    from tvau_runtime.model import checkpoint

    loaded, _, _ = checkpoint.load(tiny)
    tower = loaded.backbone.model.model.visual
    tower.set_attn_implementation("eager")  # plain matrix products, all of which torch counts
    pixels = torch.zeros(grid[0] * grid[1], 1176)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        tower(pixels, grid_thw=torch.tensor([[1, *grid]]))
    assert bench("vision").tower_gflop(tower.config, grid) * 1e9 == pytest.approx(counter.get_total_flops())


def test_operations_of_the_ahd_are_those_that_torch_counts(tiny):
    torch = pytest.importorskip("torch", reason="the torch engine is not installed")
    from torch.utils.flop_counter import FlopCounterMode

    from tvau_runtime.model import checkpoint

    loaded, manifest, _ = checkpoint.load(tiny)
    (rows, columns), backbone = loaded.backbone.grid, loaded.backbone
    tapped = [torch.zeros(1, rows * columns, backbone.vision_dim) for _ in manifest.taps]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        loaded.ahd(tapped, torch.ones(2, backbone.text_dim), backbone.grid)
    counted = bench("vision").ahd_gflop(backbone.vision_dim, backbone.text_dim, len(manifest.taps), rows * columns)
    assert counted * 1e9 == pytest.approx(counter.get_total_flops())


def test_an_export_of_another_checkpoint_is_refused(tiny, tmp_path):
    from tvau_runtime.errors import ModelError

    common = bench("common")
    options = common.parser("").parse_args(["--model", str(tiny), "--export", str(tmp_path), "--work", str(tmp_path)])
    with pytest.raises(ModelError, match=r"manifest\.json"):
        common.export_of(options, [(56, 84)])
