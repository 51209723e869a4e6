"""The recipe for a real checkpoint: that it holds together at its own sizes, and that its code path runs at others."""

import dataclasses
import json
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
transformers = pytest.importorskip("transformers", reason="training needs transformers")

from mini_recipe import CACHED, MINI, STAGE, write_recipe

from tvau_runtime.backends import open_backend
from tvau_runtime.config import EngineConfig
from tvau_runtime.errors import ConfigError
from tvau_runtime.model import checkpoint
from tvau_runtime.tokenizer import TextTokenizer
from tvau_training import train
from tvau_training.backbone_size import BackboneSize, new_backbone
from tvau_training.recipe import RECIPES, read_recipe
from tvau_training.stages import AhdStage, RaeStage
from tvau_training.start import Start
from tvau_training.text import train_tokenizer

QWEN_VISION = {
    "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584,
    "fullatt_block_indexes": [7, 15, 23, 31], "window_size": 112, "tokens_per_second": 2,
}  # fmt: skip
QWEN_TEXT = {
    "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
    "num_key_value_heads": 4, "vocab_size": 152064, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
}  # fmt: skip
"""Qwen2.5-VL-7B's published configuration."""


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_tokenizer(["Is there any anomaly in the video? Yes. No."], 300, path)
    return path


def test_the_recipe_for_qwen_2_5_vl_7b_fits_it(monkeypatch, tokenizer_file):
    recipe = read_recipe("qwen2.5-vl-7b")
    config = transformers.Qwen2_5_VLConfig(text_config=QWEN_TEXT, vision_config=QWEN_VISION, tie_word_embeddings=False)
    with torch.device("meta"):  # sizes without weights
        backbone = transformers.Qwen2_5_VLForConditionalGeneration(config)
    rotary = backbone.model.visual.rotary_pos_emb
    backbone.model.visual.rotary_pos_emb = type(rotary)(rotary.config)  # a table, not weights
    asked = {}
    monkeypatch.setattr(
        checkpoint, "load_backbone", lambda source, dtype: asked.update(source=source, dtype=dtype) or backbone
    )
    model, manifest = Start(recipe).build(tokenizer_file, torch.bfloat16)
    assert asked == {"source": "Qwen/Qwen2.5-VL-7B-Instruct", "dtype": torch.bfloat16}
    assert manifest.backbone == "Qwen/Qwen2.5-VL-7B-Instruct", "its 16 GB are not copied"
    assert Start(recipe).possible == Start(recipe).stages == ("ahd", "rae"), "and not trained"
    assert manifest.taps == (1, 8, 16, 32)
    tokenizer = TextTokenizer(tokenizer_file)

    def free(stage, part):
        return sum(p.numel() for name, p in stage.named_parameters() if p.requires_grad and part in name) / 1e6

    prompts = manifest.prompts
    stage = AhdStage(model, tokenizer, recipe.process_rate_hz, torch.randn(2, 3584), recipe.lora_rank, prompts=prompts)
    assert free(stage, "") == free(stage, "model.ahd.") == pytest.approx(24.96, abs=0.01)
    stage = RaeStage(
        model, tokenizer, recipe.process_rate_hz, torch.randn(2, 3584), recipe.lora_rank, prompts=prompts, fresh=False
    )
    per_layer = recipe.lora_rank * (2 * (3584 + 3584) + 2 * (3584 + 512) + 3 * (3584 + 18944)) / 1e6
    assert free(stage, "lora_") == pytest.approx(28 * per_layer)
    assert free(stage, "model.rae.") == pytest.approx(24.97, abs=0.1)
    assert free(stage, "") == pytest.approx(free(stage, "lora_") + free(stage, "model.rae."))
    for name, settings in (("ahd", recipe.stages.ahd), ("rae", recipe.stages.rae)):
        assert settings.batch % (8 * settings.accumulate) == 0, f"{name}: eight GPUs can share a batch"


@pytest.fixture(scope="module")
def given(tmp_path_factory, tokenizer_file):
    """A Qwen2.5-VL checkpoint as transformers writes it, of another depth, width and window than ours, embeddings not tied."""
    folder = tmp_path_factory.mktemp("given") / "backbone"
    size = BackboneSize(
        vision_depth=6, vision_hidden=24, vision_heads=3, vision_mlp=40, text_layers=3, text_hidden=48, text_heads=2,
        text_kv_heads=2, text_mlp=56, vocabulary=320, window_size=56,
    )  # fmt: skip
    torch.manual_seed(3)
    config: Any = new_backbone(size, tokenizer_file).config
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = False
    with checkpoint.quiet():
        transformers.Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes(tokenizer_file.read_bytes())
    return folder


def test_a_backbone_of_any_geometry_is_trained_on(given, tmp_path):
    stages = {"ahd": {**STAGE, "steps": 2}, "rae": {**CACHED, "steps": 2, "accumulate": 2}}
    file = write_recipe(
        tmp_path / "given.yaml", backbone=str(given), stages=stages, image_size=[84, 56], clip_length=6,
        prompts={"normal": ["yes"], "abnormal": ["no", "video"]},
    )  # fmt: skip
    out = tmp_path / "run"
    assert train.main(["--recipe", str(file), "--out", str(out), "--workers", "0", "--device", "cpu"]) == 0
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [("ahd", 2), ("rae", 2)]
    facts = json.loads((out / "checkpoint" / "tvau.json").read_text())
    assert facts["backbone"] == str(given) and facts["taps"] == [1, 2, 3, 6]
    assert facts["prompts"]["abnormal"] == ["no", "video"]
    assert not (out / "checkpoint" / "backbone").exists()
    engine = open_backend(EngineConfig(model=str(out / "checkpoint"), device="cpu"))
    assert engine.spec.grid == (6, 4)


def test_a_backbone_that_is_not_there_is_named(tmp_path, capsys):
    stages = {"ahd": STAGE, "rae": STAGE}
    file = write_recipe(tmp_path / "given.yaml", backbone=str(tmp_path / "nowhere"), stages=stages)
    assert train.main(["--recipe", str(file), "--out", str(tmp_path / "run"), "--device", "cpu"]) == 2
    assert "nowhere has no tokenizer.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "some/hub-name"}, "some/hub-name is not trained; remove backbone and language"),
        ({"stages": {"ahd": STAGE, "rae": STAGE}}, "needs the stages backbone and language"),
        ({"backbone": 7}, "backbone must be a str"),
        ({"prompts": {"normal": "walking", "abnormal": []}}, "normal must be a list"),
        ({"stages": {**MINI["stages"], "ahd": {**STAGE, "accumulate": 0}}}, "accumulate >= 1"),
        ({"lora_rank": 0}, "at least 1"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        read_recipe(str(write_recipe(tmp_path / "bad.yaml", **change)))


def test_every_recipe_is_read():
    for path in RECIPES.glob("*.yaml"):
        recipe = read_recipe(path.stem)
        assert all(side % 28 == 0 for side in recipe.image_size)
        assert dataclasses.asdict(recipe)["stages"]["ahd"]["steps"] > 0
