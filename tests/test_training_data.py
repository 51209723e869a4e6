"""Training on data sets: windows of videos and dialogues about them, on small copies in the real layouts; and one-shot."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("transformers", reason="training needs transformers")

from mini_recipe import CACHED, MINI, STAGE, write_recipe
from safetensors.torch import load_file

import tvau_runtime
from tvau_runtime.backends import open_backend
from tvau_runtime.backends.base import ModelSpec
from tvau_runtime.calibration import Calibration, Scale
from tvau_runtime.chat import ANSWER_END, question_text
from tvau_runtime.config import EngineConfig
from tvau_runtime.errors import ConfigError, FrameError
from tvau_runtime.manifest import CLIP_MEAN, CLIP_STD, Manifest
from tvau_runtime.model import checkpoint
from tvau_runtime.tokenizer import TextTokenizer
from tvau_training import train
from tvau_training.batches import Batch, batches, mask_cells, pack_clip
from tvau_training.data import open_data
from tvau_training.data.writers import LAYOUTS
from tvau_training.make_world import write_world
from tvau_training.recipe import read_recipe
from tvau_training.run import Run
from tvau_training.start import Start
from tvau_training.talks import read_talks
from tvau_training.windows import DialogueWindows, Footage, MaskWindows
from tvau_training.world import make_clip

TOKENIZER = Path(tvau_runtime.__file__).parent / "assets/tvau-tiny/tokenizer.json"
FIELDS = [field.name for field in dataclasses.fields(Batch)]


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    """A mini recipe, and a checkpoint that it has made."""
    folder = tmp_path_factory.mktemp("recipe")
    once = {**STAGE, "steps": 1}
    file = write_recipe(
        folder / "mini.yaml",
        stages={"backbone": once, "language": once, "ahd": CACHED, "rae": CACHED, "one_shot": STAGE},
    )
    arguments = ["--recipe", str(file), "--out", str(folder / "run"), "--workers", "0", "--device", "cpu"]
    assert train.main(arguments) == 0
    return file


@pytest.fixture(scope="module")
def start(recipe_file):
    return str(recipe_file.parent / "run" / "checkpoint")


@pytest.fixture(scope="module")
def recipe(recipe_file):
    return read_recipe(str(recipe_file))


@pytest.fixture(scope="module")
def spec():
    return ModelSpec("mini", (28, 56), 4.0, 4, CLIP_MEAN, CLIP_STD, 24, 2.0)


@pytest.fixture(scope="module")
def ubnormal(tmp_path_factory):
    """Two clips of the train split, of which the first is abnormal, and one of the test split."""
    root = tmp_path_factory.mktemp("data") / "ubnormal"
    write_world(root, "ubnormal", "train", 2, 3, (48, 64), 1.5)
    write_world(root, "ubnormal", "test", 1, 3, (48, 64), 1.5)
    return root


def _train(recipe_file, out, *more):
    return train.main(["--recipe", str(recipe_file), "--out", str(out), "--workers", "0", "--device", "cpu", *more])


def _named(item):
    return dict(zip(FIELDS, item, strict=True))


def test_windows_with_masks_are_those_of_one_moment_at_the_models_rate(recipe, spec, ubnormal):
    clip = next(clip for clip in open_data("auto", ubnormal).split("train") if clip.abnormal)
    data = MaskWindows(recipe, spec, [clip], series=2)
    seen = list(clip.read())
    offsets = np.round(np.arange(spec.clip_length) * clip.fps / 4.0).astype(int)
    slow = {}
    for first in range(len(seen) - offsets[-1]):
        window = [seen[first + offset] for offset in offsets]
        pixels = pack_clip(np.stack([each.frame.rgb for each in window]), spec)
        slow[pixels.tobytes()] = mask_cells(np.stack([each.mask for each in window]), spec)
    for index in range(6):
        item = _named(data[index])
        np.testing.assert_array_equal(item["masks"], slow[item["pixels"].tobytes()])
        assert item["dialogue"].size == 0
    assert all(np.array_equal(a, b) for a, b in zip(data[3], data[3], strict=True)), "item k is always the same"


def test_half_of_the_windows_are_abnormal_and_all_are_of_the_train_split(recipe, spec, ubnormal):
    footage = Footage.of("ubnormal", ubnormal)
    assert {clip.split for clip in footage.clips} == {"train"} and len(footage.clips) == 2
    data = MaskWindows(recipe, spec, footage.clips, series=2)
    hot = [bool(_named(data[index])["masks"].any()) for index in range(24)]
    assert 6 <= sum(hot) <= 18


def test_dialogues_choose_the_frames_they_are_about(recipe, spec, ubnormal, tmp_path):
    clips = open_data("auto", ubnormal).split("train")
    turns = [{"question": "What is there?", "answer": "a person", "field": "scene"}]
    lines = [
        {"clip": clips[0].name, "kind": "narration", "indices": [3, 5, 9, 12], "anomalous": None, "turns": turns},
        *(json.loads(line) for line in (ubnormal / "dialogues.jsonl").read_text().splitlines()),
    ]
    path = tmp_path / "dialogues.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    talks = read_talks(path)
    data = DialogueWindows(recipe, spec, TOKENIZER, clips, talks, series=3, refine_from=1, narration_turns=3)
    assert data.left_out == 1, "the clip of the test split"
    narrated, asked = _named(data[0]), _named(data[1])
    frames = [seen.frame.rgb for seen in clips[0].read([3, 5, 9, 12])]
    np.testing.assert_array_equal(narrated["pixels"], pack_clip(np.stack(frames), spec))
    tokenizer = TextTokenizer(TOKENIZER)
    said = question_text("What is there?", first=True) + "a person" + ANSWER_END
    assert narrated["dialogue"].tolist() == tokenizer.encode(said)
    text = tokenizer.decode(asked["dialogue"].tolist())
    assert any(turn.answer in text for talk in data.present + data.absent for turn in talk.turns)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is no dialogue"),
        ('{"turns": []}', "'clip' is missing"),
        ('{"clip": "a", "turns": [{"question": "?"}]}', "'answer' is missing"),
        ('{"clip": "a", "turns": []}', "no turns"),
        ('{"clip": "a", "turns": [{"question": "?", "answer": "!", "field": "x"}], "indices": []}', "no frames"),
    ],
)
def test_a_line_that_is_no_dialogue_is_named(tmp_path, line, message):
    path = tmp_path / "dialogues.jsonl"
    path.write_text('{"clip": "a", "turns": [{"question": "?", "answer": "!", "field": "x"}]}\n' + line + "\n")
    with pytest.raises(ConfigError, match=message):
        read_talks(path)


def test_both_stages_are_trained_on_a_data_set(recipe_file, start, ubnormal, tmp_path):
    assert _train(recipe_file, tmp_path, "--start", start, "--data", "ubnormal", str(ubnormal)) == 0
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["ahd", "rae"]
    manifest = Manifest.read(tmp_path / "checkpoint")
    assert manifest.training["stages"] == ["backbone", "language", "ahd", "rae"], "those it began with count too"
    assert open_backend(EngineConfig(model=str(tmp_path / "checkpoint"), device="cpu")).spec.grid == (2, 4)


def test_a_backbone_of_the_recipes_making_may_be_trained_on(recipe_file, start, tmp_path):
    assert (
        _train(recipe_file, tmp_path, "--start", start, "--precision", "bf16", "--stage", "backbone", "language") == 0
    )
    before, after = (
        {
            name: tensor
            for file in ("backbone/model.safetensors", "ahd.safetensors")
            for name, tensor in load_file(Path(folder) / file).items()
        }
        for folder in (start, tmp_path / "checkpoint")
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    decoder = set(load_file(Path(start) / "ahd.safetensors"))
    assert {"visual" in name for name in changed - decoder} == {True, False}, "vision tower and language model"
    assert changed & decoder, "its features are others now, so the AHD begins anew"
    recipe = read_recipe(str(recipe_file))
    assert Start(recipe, tmp_path / "checkpoint").fresh, "and still does, where a later run goes on with it"
    assert not Start(recipe, Path(start)).fresh
    assert not (tmp_path / "checkpoint" / "lora").exists(), "it was of the language model as it was"
    engine = open_backend(EngineConfig(model=str(tmp_path / "checkpoint"), device="cpu"))
    assert engine.spec.grid == (2, 4)


def test_what_is_trained_on_has_no_calibration_yet(recipe, start, tmp_path):
    copied = shutil.copytree(start, tmp_path / "calibrated")
    manifest = Manifest.read(copied)
    dataclasses.replace(manifest, calibration=Calibration(yes=Scale(0.5, 1.0))).save(copied)
    _, manifest = Start(recipe, copied).build(copied / "tokenizer.json", torch.float32)
    assert manifest.calibration == Calibration()


def test_a_rae_that_no_run_has_trained_begins_anew(recipe, start, tmp_path):
    copied = shutil.copytree(start, tmp_path / "half")
    manifest = Manifest.read(copied)
    dataclasses.replace(manifest, training={**manifest.training, "stages": ["ahd"]}).save(copied)
    assert [Start(recipe, copied).untrained(stage) for stage in ("ahd", "rae")] == [False, True]
    assert not Start(recipe, Path(start)).untrained("rae")


def test_a_run_that_never_began_leaves_nothing_behind(recipe, start, tmp_path):
    shutil.copyfile(TOKENIZER, tmp_path / "tokenizer.json")  # of another model
    run = Run(recipe, tmp_path, "cpu", 0, 60.0, start=Start(recipe, Path(start)))
    assert (tmp_path / "tokenizer.json").read_bytes() == (Path(start) / "tokenizer.json").read_bytes()
    run._write()
    (tmp_path / "features").mkdir()
    Run(recipe, tmp_path, "cpu", 0, 60.0, start=Start(recipe, Path(start)), fresh=True)
    assert not (tmp_path / "features").exists()


def test_other_dialogues_or_weights_in_the_same_place_are_other_settings(recipe, start, ubnormal, tmp_path):
    said = shutil.copyfile(ubnormal / "dialogues.jsonl", tmp_path / "dialogues.jsonl")
    copied = shutil.copytree(start, tmp_path / "start")

    def run():
        footage = Footage.of("ubnormal", ubnormal, said)
        return Run(recipe, tmp_path / "run", "cpu", 0, 60.0, start=Start(recipe, copied), footage=footage)

    run()._write()
    run()
    said.write_text(said.read_text() + "\n")
    with pytest.raises(ConfigError, match="other settings"):
        run()
    shutil.copyfile(ubnormal / "dialogues.jsonl", said)
    dataclasses.replace(Manifest.read(copied), name="another").save(copied)
    with pytest.raises(ConfigError, match="other settings"):
        run()


def test_windows_may_be_shorter_than_the_models(recipe, spec, ubnormal):
    data = MaskWindows(recipe, spec, open_data("auto", ubnormal).split("train"), series=2, frames=2)
    assert _named(data[0])["pixels"].shape[0] == 1, "a pair"


def test_frames_of_a_dialogue_are_pairs_as_near_as_the_models_rate_has_them(recipe, spec, ubnormal, tmp_path):
    said = tmp_path / "dialogues.jsonl"
    clips = open_data("auto", ubnormal).split("train")  # of 45 frames at 30 Hz
    talk = next(talk for talk in read_talks(ubnormal / "dialogues.jsonl") if talk.clip == clips[0].name)

    def chosen(frames):
        talks = [dataclasses.replace(talk, frames=frames)]
        lines = {"clip": talk.clip, "turns": [dataclasses.asdict(turn) for turn in talk.turns], "indices": frames}
        said.write_text(json.dumps({name: value for name, value in lines.items() if value is not None}))
        assert Footage.of("ubnormal", ubnormal, said).talks(4)[0].frames == frames
        data = DialogueWindows(recipe, spec, TOKENIZER, clips, talks, series=3, refine_from=0, narration_turns=3)
        return data._chosen(talks[0], clips[0]).tolist()

    assert chosen(None) == [0, 8, clips[0].length - 9, clips[0].length - 1]
    assert chosen((0, 8, 15, 22)) == [0, 8, 15, 22]
    assert chosen((0, 8, 15, 22, 30, 38)) == [0, 8, 30, 38]
    with pytest.raises(ConfigError, match="has 2 frames, and the model takes 4; annotate with --window 4"):
        chosen((0, 8))


def test_a_video_that_is_cut_off_gives_other_windows(recipe, spec, ubnormal, monkeypatch):
    clip = next(clip for clip in open_data("auto", ubnormal).split("train") if clip.abnormal)
    data, real, tried = MaskWindows(recipe, spec, [clip], series=2), type(clip.source).read, []

    def read(source, numbers, *more):
        tried.append(numbers)
        if len(tried) == 1:
            raise FrameError("has no such frame")
        return real(source, numbers, *more)

    monkeypatch.setattr(type(clip.source), "read", read)
    assert _named(data[0])["masks"].size and len(tried) > 1


def test_clips_that_cannot_be_read_are_named_even_by_another_process(recipe, spec, ubnormal, tmp_path, monkeypatch):
    clip = next(clip for clip in open_data("auto", ubnormal).split("train") if clip.abnormal)
    data = MaskWindows(recipe, spec, [clip], series=2)
    monkeypatch.setattr(type(clip.source), "read", lambda *_: iter(()))
    for workers in (0, 1):
        with pytest.raises(FrameError) as raised:
            next(batches(data, 2, 0, 1, workers))
        assert str(raised.value).startswith(f"{clip.name} cannot be read, 10 times")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "ubnormal"], "wants a kind and a folder"),
        (["--data", "ubnormal", "nowhere"], "nowhere is not there"),
        (["--data", "kinetics", "."], "there is no data set 'kinetics'"),
        (["--data", "ubnormal", "DATA"], "need the synthetic world"),
        (["--one-shot", "nothing.mp4"], "there is no video nothing.mp4"),
        (["--data", "ubnormal", "DATA", "--one-shot", "scene"], "has no clip 'scene'; it has"),
        (["--data", "ubnormal", "DATA", "--one-shot", "CLIP"], "give it with --start"),
        (["--data", "ubnormal", "DATA", "--one-shot", "NORMAL", "--start", "START"], "nothing|none of 1 clips"),
        (
            ["--data", "ubnormal", "DATA", "--start", "START", "--stage", "rae", "--dialogues", "no.jsonl"],
            "there is no no.jsonl",
        ),
        (["--stage", "rae"], "needs backbone and language and ahd to be run first, or a --start"),
        (["--start", "nobody"], "there is no model 'nobody'"),
        (["--start", "tvau-tiny"], "was trained with image_size"),
    ],
)
def test_what_does_not_go_together_is_said(recipe_file, start, ubnormal, tmp_path, capsys, arguments, message):
    names = {clip.abnormal: clip.name for clip in open_data("auto", ubnormal).split("train")}
    known = {"DATA": str(ubnormal), "START": start, "CLIP": names[True], "NORMAL": names[False]}
    assert _train(recipe_file, tmp_path, *(known.get(a, a) for a in arguments)) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert any(part in said for part in message.split("|"))


def _heat(model, text, clip, spec):
    """Mean heat on what is abnormal and beside it."""
    pixels = torch.from_numpy(pack_clip(clip.frames, spec))
    with torch.no_grad():
        _, maps = model.encode(pixels, text)
    heat = torch.nn.functional.interpolate(maps, scale_factor=4, mode="bilinear").softmax(dim=1)[:, 1]
    masks = torch.from_numpy(mask_cells(clip.anomaly_masks, spec)) > 0.5
    return float(heat[masks].mean()), float(heat[~masks].mean())


def test_one_clip_teaches_its_kind(tmp_path):
    """From a video with its mask: the same kind stands out more in other clips of that place, and all but the AHD stays."""
    kind, size, rate = "person walking on the road", (140, 252), LAYOUTS["folder"].rate_hz
    shown = make_clip(31, size=size, length=40, rate_hz=rate, anomalies=[(kind, 2.0)], split="train")
    LAYOUTS["folder"].write(tmp_path, "train_road", 2, shown)
    recipe = read_recipe("tiny")
    file = write_recipe(
        tmp_path / "tiny.yaml",
        **{
            **{k: v for k, v in json.loads(json.dumps(dataclasses.asdict(recipe))).items() if k != "prompts"},
            "stages": {**MINI["stages"], "one_shot": {"steps": 40, "batch": 4, "cache": 6, "learning_rate": 2.0e-3}},
        },
    )
    video = tmp_path / "train" / "road.mp4"
    assert _train(file, tmp_path / "run", "--start", "tvau-tiny", "--one-shot", str(video)) == 0
    spec = ModelSpec("x", recipe.image_size, 4.0, 8, CLIP_MEAN, CLIP_STD, 192, 2.0)
    tiny = Path(tvau_runtime.__file__).parent / "assets/tvau-tiny"
    heat = []
    for directory in (tiny, tmp_path / "run" / "checkpoint"):
        model, manifest, tokenizer = checkpoint.load(directory)
        text = checkpoint.text_features(model, tokenizer, manifest.prompts)
        heat.append(
            [
                _heat(model, text, make_clip(seed, size=size, anomalies=[(kind, 1.0)], place=31), spec)
                for seed in (32, 33, 34)
            ]
        )
    before, after = np.mean(heat[0], axis=0), np.mean(heat[1], axis=0)
    assert after[0] / after[1] > 2 * before[0] / before[1], (before, after)
    assert after[0] > before[0] and after[1] < before[1], (before, after)
    for part in ("rae.safetensors", "lora/adapter_model.safetensors", "backbone/model.safetensors"):
        assert (tiny / part).read_bytes() == (tmp_path / "run" / "checkpoint" / part).read_bytes(), part
