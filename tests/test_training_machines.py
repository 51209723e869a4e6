"""Several processes train as one: two on this CPU, over gloo, started by accelerate as on GPUs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("accelerate", reason="several processes are started by accelerate")
pytest.importorskip("transformers", reason="training needs transformers")

from mini_recipe import write_recipe
from safetensors.torch import load_file

from tvau_training import run as training_run
from tvau_training import train
from tvau_training.losses import dice_loss
from tvau_training.machines import Machines, pooled, total
from tvau_training.recipe import StageSettings, read_recipe

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 300
STAGE = {"steps": 4, "batch": 8, "learning_rate": 1.0e-3}
CACHED = {**STAGE, "cache": 2}


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    stages = {"backbone": {**STAGE, "steps": 20}, "language": CACHED, "ahd": CACHED, "rae": CACHED}
    return write_recipe(tmp_path_factory.mktemp("recipe") / "mini.yaml", stages=stages)


def _arguments(recipe_file, out):
    return ["--recipe", str(recipe_file), "--out", str(out), "--workers", "0", "--device", "cpu", "--save-every", "0"]


def _launch(config, arguments):
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        f"training/recipes/accelerate/{config}",
    ]
    return subprocess.Popen(
        [*command, "--num_processes", "2", "training/train.py", *arguments],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def _end(process):
    try:
        return process.communicate(timeout=DEADLINE_S)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"it did not end; so far: {process.communicate()[0]}")


def test_two_processes_give_the_curve_of_one_whether_they_hold_weights_whole_or_in_pieces_and_through_a_stop(
    recipe_file, tmp_path
):
    one, two = tmp_path / "one", tmp_path / "two"
    assert train.main(_arguments(recipe_file, one)) == 0

    process = _launch("ddp.yaml", _arguments(recipe_file, two))
    deadline = time.monotonic() + DEADLINE_S
    while not (two / "state.pt").is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the launcher and to both
    said = _end(process)
    assert process.returncode != 0
    assert said.count("stopped; the run is saved") == said.count("stopping after this step") == 1
    assert torch.load(two / "state.pt", weights_only=True)["stage"] in ("backbone", "language", "ahd", "rae")

    process = _launch("fsdp.yaml", _arguments(recipe_file, two))
    said = _end(process)
    assert process.returncode == 0, said
    assert said.count("is ready; measure it") == 1, "only one process speaks"

    curves = [[json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()] for out in (one, two)]
    assert [(e["stage"], e["step"]) for e in curves[0]] == [(e["stage"], e["step"]) for e in curves[1]]
    for alone, shared in zip(*curves, strict=True):
        assert {k: v for k, v in shared.items() if k != "stage"} == pytest.approx(
            {k: v for k, v in alone.items() if k != "stage"}, rel=1e-4
        )
    files = sorted(path.relative_to(one) for path in (one / "checkpoint").rglob("*.safetensors"))
    assert files == sorted(path.relative_to(two) for path in (two / "checkpoint").rglob("*.safetensors"))
    for file in files:
        whole, shared = load_file(one / file), load_file(two / file)
        assert whole.keys() == shared.keys()
        for name, tensor in whole.items():
            torch.testing.assert_close(tensor.float(), shared[name].float(), rtol=1e-3, atol=1e-4)
    assert not (two / "features").exists()


def test_pieces_of_a_step_are_averaged(recipe_file, tmp_path):
    run = training_run.Run(read_recipe(str(recipe_file)), tmp_path, "cpu", 0, 60.0)
    settings = StageSettings(steps=1, batch=4, learning_rate=1e-3, accumulate=2)
    stage = run.stage("ahd")
    free = [p for p in stage.parameters() if p.requires_grad]
    with training_run.Stop(say=False) as stop:
        (pieces,) = run._steps("ahd", stage, stage, settings, 0, stop)
    assert [len(batch.pixels) for _, batch in pieces] == [2, 2]
    means = [torch.zeros_like(p) for p in free]
    for seen, batch in pieces:
        loss = torch.stack(list(stage.losses(seen, batch).values())).sum()
        means = [m + g / 2 for m, g in zip(means, torch.autograd.grad(loss, free), strict=True)]
    norm = torch.stack([m.norm() for m in means]).norm()
    training_run._step(stage, pieces, [torch.optim.SGD(free, lr=0.0)], free, 0.0)
    for parameter, mean in zip(free, means, strict=True):
        torch.testing.assert_close(parameter.grad, mean / max(1.0, float(norm)), rtol=1e-4, atol=1e-6)


def test_a_batch_that_cannot_be_divided_is_refused(recipe_file, tmp_path):
    run = training_run.Run(read_recipe(str(recipe_file)), tmp_path, "cpu", 0, 60.0)
    with pytest.raises(training_run.ConfigError, match="a batch of 4 cannot be divided among 1 processes in 3 pieces"):
        run.train("ahd", StageSettings(steps=1, batch=4, learning_rate=1e-3, accumulate=3))


def test_in_bfloat16_the_backbone_alone_computes(recipe_file, tmp_path):
    recipe, losses = read_recipe(str(recipe_file)), {}
    for bf16 in (False, True):
        run = training_run.Run(recipe, tmp_path / str(bf16), "cpu", 0, 60.0, bf16=bf16)
        for name in ("backbone", "language", "ahd", "rae"):
            stage = run.stage(name)
            with training_run.Stop(say=False) as stop:
                ((seen, batch),) = next(run._steps(name, stage, stage, StageSettings(1, 2, 1e-3), 0, stop))
            if name == "rae":
                assert seen[0].dtype == (torch.bfloat16 if bf16 else torch.float32)
                assert seen[1].dtype == torch.float32, "heat maps are not rounded"
            terms = stage(batch, seen)
            torch.stack([value.float() for value in terms.values()]).sum().backward()
            losses[bf16, name] = [float(value.detach()) for value in terms.values()]
            assert all(
                p.grad is not None and p.grad.dtype == torch.float32 for p in stage.parameters() if p.requires_grad
            )
            run._build()  # without what the stage has added
    for name in ("backbone", "language", "ahd", "rae"):
        assert losses[True, name] == pytest.approx(losses[False, name], rel=0.05)
        assert losses[True, name] != losses[False, name]


def test_alone_sums_are_what_they_are():
    value = torch.tensor(3.0)
    assert total(value) is value and pooled(value, 0.0) is value
    machines = Machines("cpu")
    assert (machines.count, machines.main, machines.sharded) == (1, True, False)
    assert machines.agree(True, False) == (True, False) and machines.least(7) == 7
    maps = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    assert 0 < float(dice_loss(maps, torch.ones(2, 3, 3))) < 1
