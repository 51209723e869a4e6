"""The training loop on a model of a few thousand weights: each stage trains its own part, a stop loses nothing."""

import dataclasses
import itertools
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("transformers", reason="training needs transformers")

from mini_recipe import CACHED, MINI, STAGE, write_recipe
from safetensors.torch import load_file

import tvau_runtime
from tvau_runtime.backends import open_backend
from tvau_runtime.calibration import Calibration, Scale
from tvau_runtime.chat import ANSWER_END
from tvau_runtime.config import EngineConfig
from tvau_runtime.errors import ConfigError
from tvau_runtime.manifest import Manifest
from tvau_runtime.tokenizer import TextTokenizer
from tvau_training import evaluate, train
from tvau_training import run as training_run
from tvau_training.batches import LATER_TOKEN, MAX_WORDS, Batch, ClipData, encode_dialogue
from tvau_training.language import kind_of
from tvau_training.lock import sole_writer
from tvau_training.losses import dice_loss, focal_loss, word_loss
from tvau_training.recipe import read_recipe
from tvau_training.stages import RaeStage
from tvau_training.world import Turn, every_kind
from tvau_training.world.dialogue import place_of


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    backbone = {**MINI["stages"]["backbone"], "optimizer": "muon"}
    stages = {**MINI["stages"], "backbone": backbone, "guidance": CACHED}
    return write_recipe(tmp_path_factory.mktemp("recipe") / "mini.yaml", stages=stages)


@pytest.fixture(scope="module")
def unbroken(recipe_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken")
    assert (
        train.main(
            [
                "--recipe",
                str(recipe_file),
                "--out",
                str(out),
                "--workers",
                "0",
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    return out


def _weights(directory):
    return {
        f"{file.relative_to(directory)}/{name}": tensor
        for file in sorted(directory.rglob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def test_a_run_ends_in_a_checkpoint_that_opens_and_says_how_it_was_made(unbroken):
    engine = open_backend(EngineConfig(model=str(unbroken / "checkpoint"), device="cpu"))
    assert engine.spec.grid == (2, 4)
    facts = json.loads((unbroken / "checkpoint" / "tvau.json").read_text())["training"]
    assert facts["seed"] == 5
    assert facts["command"].startswith("python training/train.py --recipe")
    stages = [json.loads(line)["stage"] for line in (unbroken / "log.jsonl").read_text().splitlines()]
    assert stages == ["backbone", "language", "ahd", "rae", "guidance"]


@pytest.mark.parametrize("stop_at", [1, 4, 7, 10, 13])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    recipe_file, unbroken, tmp_path, monkeypatch, stop_at, capsys
):
    arguments = [
        "--recipe",
        str(recipe_file),
        "--out",
        str(tmp_path),
        "--workers",
        "0",
        "--device",
        "cpu",
    ]
    real, count = training_run._step, 0

    def interrupted(*given):
        nonlocal count
        count += 1
        if count == stop_at:
            signal.raise_signal(signal.SIGINT)  # the step under way is finished first
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(training_run, "_step", interrupted)
        assert train.main(arguments) == 130
    assert "goes on from here" in capsys.readouterr().err
    assert train.main(arguments) == 0
    whole, resumed = (
        _weights(unbroken / "checkpoint"),
        _weights(tmp_path / "checkpoint"),
    )
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


def test_tensorboard_shows_what_the_log_says(unbroken):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for line in (unbroken / "log.jsonl").read_text().splitlines():
        entry = json.loads(line)
        board = EventAccumulator(str(unbroken / "tensorboard" / entry.pop("stage"))).Reload()
        step = entry.pop("step")
        shown = {name: {e.step: e.value for e in board.Scalars(name)}[step] for name in entry}
        assert shown == pytest.approx(entry, rel=1e-5)


def test_frozen_features_are_computed_once_even_when_that_is_interrupted(recipe_file, unbroken, tmp_path, monkeypatch):
    arguments = ["--recipe", str(recipe_file), "--start", str(unbroken / "checkpoint"), "--stage", "ahd"]
    arguments += ["--out", str(tmp_path), "--workers", "0", "--device", "cpu"]
    real, written, pixels, kept = training_run.FeatureStore.write, [], [], []
    bare = Batch.bare
    monkeypatch.setattr(Batch, "bare", lambda batch: pixels.append(batch.pixels.nbytes) or bare(batch))

    def interrupted(store, step, pieces):
        written.append(step)
        if len(written) == 1:
            signal.raise_signal(signal.SIGINT)
        real(store, step, pieces)
        kept.append(store._path(step).stat().st_size)

    monkeypatch.setattr(training_run.FeatureStore, "write", interrupted)
    assert train.main(arguments) == 130
    assert train.main(arguments) == 0
    assert written == [0, 1]
    assert max(kept) < min(pixels), "pixels are not saved with the features"
    assert not (tmp_path / "features").exists(), "they go when the stage ends"


def test_a_finished_run_that_is_begun_again_keeps_what_was_fitted_to_it(recipe_file, unbroken, tmp_path):
    run = shutil.copytree(unbroken, tmp_path / "run")
    fitted = Calibration(score=Scale(1.5, 0.25))
    manifest = Manifest.read(run / "checkpoint")
    dataclasses.replace(manifest, calibration=fitted).save(run / "checkpoint")
    with (run / "log.jsonl").open("a") as log:
        log.write('{"stage": "gui')  # a line that was cut off
    arguments = ["--recipe", str(recipe_file), "--out", str(run), "--workers", "0", "--device", "cpu"]
    assert train.main(arguments) == 0
    assert Manifest.read(run / "checkpoint").calibration == fitted
    (run / "checkpoint" / "tvau.json").unlink()
    assert train.main(arguments) == 0
    assert Manifest.read(run / "checkpoint").calibration == Calibration()


def test_where_a_run_cannot_be_written_is_told_in_a_line(recipe_file, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert train.main(["--recipe", str(recipe_file), "--out", str(tmp_path / "file")]) == 2
    assert "train: " in capsys.readouterr().err


def test_a_run_with_other_settings_does_not_overwrite_an_unfinished_one(recipe_file, unbroken, capsys):
    arguments = [
        "--recipe",
        str(recipe_file),
        "--out",
        str(unbroken),
        "--seed",
        "6",
        "--workers",
        "0",
    ]
    assert train.main(arguments) == 2
    assert "--fresh" in capsys.readouterr().err
    with sole_writer(unbroken):
        assert train.main([*arguments, "--fresh"]) == 2
    assert "another process is writing" in capsys.readouterr().err


def test_each_stage_trains_its_own_part_alone(recipe_file, tmp_path):
    run = training_run.Run(read_recipe(str(recipe_file)), tmp_path, "cpu", 0, 60.0)
    for name, mine in (
        ("backbone", "backbone."),
        ("language", ("backbone.model.model.language_model.", "backbone.model.lm_head.")),
        ("ahd", "ahd."),
        ("rae", ("rae.", "lora_")),
        ("guidance", "ahd."),
    ):
        before = {k: v.clone() for k, v in run.model.state_dict().items()}
        stage = run.train(name, getattr(run.recipe.stages, name))
        changed = {k for k, v in run.model.state_dict().items() if k not in before or not torch.equal(v, before[k])}
        if name == "rae":  # the adapter renames what it wraps
            changed = {k for k in changed if ("base_layer" not in k and "base_model" not in k) or "lora_" in k}
            assert changed and all(k.startswith("rae.") or "lora_" in k for k in changed)
        else:
            assert changed and all(k.startswith(mine) for k in changed)
        run.finish(name, stage)


@pytest.mark.parametrize("split", ["train", "home"])
def test_the_backbone_alone_sees_every_kind_of_thing_happen(recipe_file, tmp_path, split):
    """As a model that was pre-trained on whatever there is has; what of it is abnormal it is never told."""
    recipe = dataclasses.replace(read_recipe(str(recipe_file)), split=split)
    run = training_run.Run(recipe, tmp_path, "cpu", 0, 60.0)
    for name in ("backbone", "language", "ahd", "rae", "guidance"):
        items = run._items(name, run.stage(name), 0, 2)
        assert isinstance(items, ClipData) and len(items[0][0]) == 1, "a pair"
        expected = every_kind() if split == "train" and name in ("backbone", "language") else None
        assert items.kinds == expected and items._clip(1).split == split
        assert items.eventful == (name == "backbone")
        assert not items.eventful or all(items._clip(index).anomalous for index in range(1, 5))


@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_a_compiled_tower_learns_the_same(recipe_file, tmp_path):
    losses = []
    settings = read_recipe(str(recipe_file)).stages.backbone
    assert settings
    for folder, compiled in (("plain", False), ("compiled", True)):
        run = training_run.Run(read_recipe(str(recipe_file)), tmp_path / folder, "cpu", 0, 60.0, compiled=compiled)
        run.train("backbone", settings)
        losses.append([json.loads(line)["word"] for line in (tmp_path / folder / "log.jsonl").read_text().splitlines()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_stages_see_different_clips(recipe_file, tmp_path):
    run = training_run.Run(read_recipe(str(recipe_file)), tmp_path, "cpu", 0, 60.0)
    first, other = (
        ClipData(run.recipe, run.spec(), run.tokenizer_file, series=series, refine_from=0, narration_turns=3)[0][0]
        for series in (0, 1)
    )
    assert not np.array_equal(first, other)


def test_each_visual_tokens_words_end_with_its_place(unbroken):
    recipe = dataclasses.replace(read_recipe("tiny"), seed=3)
    spec = open_backend(EngineConfig(model=str(unbroken / "checkpoint"), device="cpu")).spec
    spec = dataclasses.replace(spec, image_size=recipe.image_size)
    file = Path(tvau_runtime.__file__).parent / "assets/tvau-tiny/tokenizer.json"
    data = ClipData(recipe, spec, file, series=0, refine_from=0, narration_turns=3)
    rows, columns = (side // 2 for side in spec.grid)
    fields = [field.name for field in dataclasses.fields(Batch)]
    words = data[0][fields.index("words")].reshape(-1, rows, columns, MAX_WORDS)
    for row, column in itertools.product(range(rows), range(columns)):
        box = np.array([column, row, column + 1, row + 1])
        said = TextTokenizer(file).decode([i for i in words[0, row, column].tolist() if i >= 0])
        place = place_of(box, (rows, columns))
        assert said.endswith(f" {place}")
        assert len(place.split()) == 2 or said.split()[-2] not in ("top", "bottom")


def test_a_regions_prompt_starts_from_the_words_for_its_place(recipe_file, tmp_path):
    run = training_run.Run(read_recipe(str(recipe_file)), tmp_path, "cpu", 0, 60.0)
    RaeStage(run.model, run.tokenizer, 4.0, torch.eye(2, run.model.backbone.text_dim), 2, prompts=run.manifest.prompts)
    expected = run.model.backbone.embed(torch.tensor(run.tokenizer.encode(" bottom left"))).mean(dim=0)
    torch.testing.assert_close(run.model.rae.place[6], expected)


def test_what_a_token_counts_does_not_depend_on_the_answer(unbroken):
    """Else short answers, such as that there is nothing, are preferred."""
    tokenizer = TextTokenizer(unbroken / "tokenizer.json")
    for answer in ("No.", "a person with a red top walking on the road"):
        turns = [Turn("Is there anything?", answer, "anomaly")] * 2
        ids, weights = encode_dialogue(turns, tokenizer)
        spoken = len(tokenizer.encode(answer + ANSWER_END))
        counted = [1.0] + [LATER_TOKEN] * (spoken - 1)
        assert weights[weights > 0].tolist() == pytest.approx(counted * 2)
        assert weights[-spoken:].tolist() == pytest.approx(counted), "nothing behind it, and no question"
        assert len(ids) == len(weights)


def test_evaluation_prints_and_writes_its_figures(unbroken, tmp_path, capsys):
    target = tmp_path / "deep" / "metrics.json"
    assert (
        evaluate.main(
            [
                "--model",
                str(unbroken / "checkpoint"),
                "--clips",
                "4",
                "--json",
                str(target),
            ]
        )
        == 0
    )
    figures = json.loads(target.read_text())
    assert {
        "patch_auroc",
        "pointing_accuracy",
        "yes_no_accuracy",
        "what_chance",
    } <= figures.keys()
    assert "patch_auroc" in capsys.readouterr().out
    assert evaluate.main(["--model", "nothing"]) == 2
    assert "there is no model 'nothing'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "unknown setting colour"),
        ({"clip_length": "long"}, "clip_length must be a int"),
        ({"image_size": [28]}, "image_size must be a list of 2"),
        (
            {"stages": {"backbone": STAGE, "language": STAGE, "ahd": STAGE}},
            "stages: setting rae is missing",
        ),
        (
            {"stages": {**MINI["stages"], "backbone": {**STAGE, "steps": 0}}},
            "steps, batch >= 1",
        ),
        ({"stages": {**MINI["stages"], "backbone": {**STAGE, "frames": 3}}}, "frames >= 0 and even"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_by_the_field(tmp_path, change, message):
    path = write_recipe(tmp_path / "bad.yaml", **change)
    with pytest.raises(ConfigError, match=message):
        read_recipe(str(path))


def test_an_unknown_recipe_names_those_there_are(capsys):
    assert train.main(["--recipe", "huge"]) == 2
    assert "give one of qwen2.5-vl-7b, surveillance, tiny" in capsys.readouterr().err


def test_losses_equal_their_definitions():
    generator = torch.Generator().manual_seed(0)
    maps, mask = (
        torch.randn(2, 2, 3, 4, generator=generator),
        (torch.rand(2, 3, 4, generator=generator) > 0.7).float(),
    )
    heat = maps.softmax(dim=1)[:, 1]
    slow = [
        -((1 - p) ** 2) * np.log(p) if m else -(p**2) * np.log(1 - p)
        for p, m in zip(heat.flatten().tolist(), mask.flatten().tolist(), strict=True)
    ]
    assert focal_loss(maps, mask).item() == pytest.approx(np.mean(slow), rel=1e-4)
    overlap = (2 * (heat * mask).sum() + 1) / (heat.sum() + mask.sum() + 1)
    assert dice_loss(maps, mask).item() == pytest.approx(1 - overlap.item(), rel=1e-5)
    logits, words = (
        torch.randn(2, 5, generator=generator),
        torch.tensor([[0, 3, -1], [2, -1, -1]]),
    )
    log = logits.log_softmax(dim=1)
    expected = -(log[0, 0] + log[0, 3] + log[1, 2]) / 3
    torch.testing.assert_close(word_loss(logits, words), expected)


def test_the_learning_rate_rises_and_falls():
    settings = dataclasses.replace(read_recipe("tiny").stages.ahd, steps=100, warmup=0.1, learning_rate=1.0)
    rates = [training_run.learning_rate(settings, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == 1.0
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] < 0.01


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("a person with a red top running", "person running"),
        ("a person with an orange top riding a bicycle on the walkway", "person riding a bicycle on the walkway"),
        ("an orange van driving on the walkway", "van driving on the walkway"),
        ("a person with a red top, blue trousers and a handbag stealing a bag", "person stealing a bag"),
        ("a person with a red top and a backpack crawling", "person crawling"),
        ("a person with a red top in a wheelchair moving on the lane", "person in a wheelchair moving on the lane"),
        ("a person running", "person running"),
        ("a person with a backpack running", "person running"),
        ("a person in a wheelchair moving on the lane", "person in a wheelchair moving on the lane"),
        ("a person with a handbag in a wheelchair moving on the lane", "person in a wheelchair moving on the lane"),
        ("a car driving on the walkway", "car driving on the walkway"),
        ("a box being carried", "box being carried"),
        ("a fire burning", "fire burning"),
        ("smoke rising", "smoke rising"),
        ("nothing abnormal", "nothing abnormal"),
    ],
)
def test_kinds_are_compared_without_colours(target, kind):
    assert kind_of(target) == kind
