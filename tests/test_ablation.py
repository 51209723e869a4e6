"""train.py --stage rae --without, what becomes of it in the pipeline, and evaluate.py --ablate."""

import json
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("transformers", reason="training needs transformers")
pytest.importorskip("sacrebleu", reason="language figures need sacrebleu")

from mini_recipe import MINI, write_recipe
from safetensors.torch import load_file

from tvau_runtime.backends import open_backend
from tvau_runtime.config import EngineConfig
from tvau_runtime.errors import ModelError
from tvau_runtime.manifest import Manifest
from tvau_training import drawn, evaluate, train
from tvau_training.world import anomalies

KINDS = ("rae", "ahd", "both")


def run(recipe, out, *more):
    return train.main(["--recipe", str(recipe), "--out", str(out), "--workers", "0", "--device", "cpu", *more])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Of the checkpoint `tiny`'s sizes. By Muon, LoRA alone leaves nothing to AdamW."""
    path = tmp_path_factory.mktemp("recipe") / "mini.yaml"
    stages = {**MINI["stages"], "rae": {**MINI["stages"]["rae"], "optimizer": "muon"}}
    return write_recipe(path, image_size=[56, 84], clip_length=8, stages=stages)


@pytest.fixture(scope="module")
def ablated(recipe, tiny, tmp_path_factory):
    """By what is left out, a checkpoint that was fine-tuned so."""
    made = {}
    for without in KINDS:
        out = tmp_path_factory.mktemp("runs") / without
        assert run(recipe, out, "--start", str(tiny), "--stage", "rae", "--without", without) == 0
        made[without] = out / "checkpoint"
    return made


def weights(directory, name):
    return load_file(directory / name)


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_only_what_is_left_out_differs(ablated, tiny):
    lora = {kind: weights(path, "lora/adapter_model.safetensors") for kind, path in ablated.items()}
    assert same(lora["rae"], lora["both"]), "without prompts, nothing of the heat maps comes to the language model"
    assert not same(lora["rae"], lora["ahd"])
    for kind, path in ablated.items():
        assert Manifest.read(path).without == kind
        assert same(weights(path, "ahd.safetensors"), weights(tiny, "ahd.safetensors"))
        assert not same(weights(path, "rae.safetensors"), weights(tiny, "rae.safetensors")), "it begins anew"


def test_the_pipeline_runs_them_without_what_is_left_out(ablated):
    pixels = np.random.default_rng(0).normal(size=(2, 24, 1176)).astype(np.float32)
    for kind, path in ablated.items():
        engine = open_backend(EngineConfig(model=str(path), device="cpu", threads=1))
        tokens, maps = engine.encode(pixels)
        prompts = engine.anomaly_prompts(maps)
        assert tokens.any()
        assert bool(maps.any()) == (kind == "rae")
        assert prompts.shape == (20 if kind == "ahd" else 0, engine.spec.text_dim)
        engine.close()


def test_one_table_of_several_checkpoints(ablated, tiny, tmp_path, capsys):
    given = [f"whole={tiny}", *(str(ablated[kind]) for kind in ("rae", "ahd"))]
    out = tmp_path / "out"
    assert evaluate.main(["--ablate", *given, "--clips", "4", "--out", str(out)]) == 0
    table = capsys.readouterr().out
    found = json.loads((out / "ablation.json").read_text())
    assert list(found["rows"]) == ["whole", "without rae", "without ahd"]
    for name, row in found["rows"].items():
        assert re.search(rf"^{name} ", table, re.M)
        assert (row["patch_auroc"] is None) == (name == "without ahd")
        assert 0 <= row["yes_no_bacc"] <= 1 and 0 <= row["bleu4_target"] <= 1
    assert "–" in table


def test_on_a_data_set_each_checkpoint_has_a_folder_of_its_own(ablated, copies, tmp_path, capsys):
    given = [str(ablated["both"]), f"rae={ablated['rae']}"]
    data = ["--data", str(copies("folder")), "--clips", "2", "--out", str(tmp_path)]
    assert evaluate.main(["--ablate", *given, *data]) == 0
    rows = json.loads((tmp_path / "ablation.json").read_text())["rows"]
    assert [rows[name]["rbdc"] is None for name in ("without rae and ahd", "rae")] == [True, False]
    assert rows["without rae and ahd"]["yes_no_acc"] == rows["rae"]["yes_no_acc"], "they say the same"
    assert (tmp_path / "rae" / "metrics.json").is_file()
    assert "micro_auc" in capsys.readouterr().out


def test_clips_of_the_split_are_drawn_at_the_usual_size(ablated, monkeypatch, tmp_path):
    asked = []
    make_some_clip = drawn.make_some_clip
    monkeypatch.setattr(
        drawn, "make_some_clip", lambda seed, **given: asked.append(given) or make_some_clip(seed, **given)
    )
    path = tmp_path / "figures.json"
    flags = ["--clips", "4", "--split", "seen", "--unchecked", "--json", str(path)]
    assert evaluate.main(["--model", str(ablated["rae"]), *flags]) == 0
    assert {(each["size"], each["split"]) for each in asked} == {((252, 448), "seen")}
    figures = json.loads(path.read_text())
    assert {"bleu4_target", "bleu4_trajectory", "yes_no_acc", "yes_no_bacc", "what_accuracy"} <= figures.keys()


def test_the_kinds_of_the_split_may_be_named(ablated, monkeypatch, tmp_path):
    prompts = []
    measure = evaluate.measure
    monkeypatch.setattr(
        evaluate, "measure", lambda pipe, *given: prompts.append(pipe.prompts()) or measure(pipe, *given)
    )
    for flags in ([], ["--named"]):
        path = tmp_path / f"{len(flags)}.json"
        assert evaluate.main(["--model", str(ablated["rae"]), "--clips", "4", "--json", str(path), *flags]) == 0
        assert json.loads(path.read_text())["named"] == bool(flags)
    own, named = prompts
    assert named.abnormal == anomalies("test") and "person crawling" in named.abnormal
    assert "person crawling" not in own.abnormal and named.normal == own.normal


def test_what_makes_no_sense_is_refused(recipe, ablated, tiny, tmp_path, capsys):
    assert run(recipe, tmp_path / "a", "--start", str(tiny), "--without", "rae") == 2
    assert "add --stage rae" in capsys.readouterr().err
    assert run(recipe, tmp_path / "b", "--start", str(ablated["rae"]), "--stage", "rae") == 2
    assert "was trained without rae; start from a whole model" in capsys.readouterr().err
    assert run(recipe, ablated["rae"].parent, "--start", str(tiny), "--stage", "rae", "--without", "ahd") == 2
    assert "belongs to other settings" in capsys.readouterr().err
    assert evaluate.main(["--ablate", str(tiny), str(tiny), "--clips", "4"]) == 2
    assert "two rows are called 'full'" in capsys.readouterr().err
    to_onnx = pytest.importorskip("tvau_export.to_onnx", reason="the export needs onnxscript")
    assert to_onnx.main(["--model", str(ablated["ahd"]), "--out", str(tmp_path / "graphs")]) == 2
    assert "was trained without ahd" in capsys.readouterr().err
    manifest = Manifest.read(tiny)
    with pytest.raises(ModelError, match="without must be rae, ahd, both"):
        type(manifest)(**{**vars(manifest), "without": "eyes"})


def test_a_run_of_before_anything_could_be_left_out_goes_on(recipe, tiny, tmp_path, capsys):
    given = ["--start", str(tiny), "--stage", "ahd"]
    assert run(recipe, tmp_path, *given) == 0
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state.pop("without") == ""
    torch.save(state, tmp_path / "state.pt")
    assert run(recipe, tmp_path, *given) == 0
    assert run(recipe, tmp_path, "--start", str(tiny), "--stage", "rae", "--without", "rae") == 2
    assert "belongs to other settings" in capsys.readouterr().err
