"""Prompts drawn for training the AHD to follow them, their masks, and the measurement of what naming something does."""

import dataclasses
import importlib
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("transformers", reason="training needs transformers")

from tvau_runtime.model import checkpoint
from tvau_training.guidance import DEEDS, DEFAULT, THINGS, UNSEEN_PHRASE, UNSEEN_SENTENCE, deed_of, draw
from tvau_training.stages import GuidanceStage
from tvau_training.world import ANOMALIES, NORMALITIES, make_clip

ROOT = Path(__file__).resolve().parent.parent
ABNORMAL = {deed for thing in THINGS if thing.words[0] in ANOMALIES for deed in thing.deeds}


def drawn(count, there=(1, 9)):
    rng = np.random.default_rng(0)
    return [draw(rng, there) for _ in range(count)]


def test_all_that_the_world_shows_has_a_name():
    for seed in range(40):
        for actor in make_clip(seed, size=(48, 64)).actors:
            assert actor.anomalous == (deed_of(actor) in ABNORMAL), (actor.kind, actor.action)
    assert deed_of(dataclasses.replace(actor, action="flying")) == 0
    assert {1, *ABNORMAL} <= set(range(len(DEEDS) + 1))


def test_every_prompt_of_the_model_names_a_thing():
    named = {thing.words[0] for thing in THINGS}
    assert named >= {*ANOMALIES, *NORMALITIES} - {"empty road"}


def test_what_is_named_abnormal_is_abnormal_and_nothing_else():
    by_words = {words: thing for thing in THINGS for words in thing.words}
    lists = set()
    for prompts, hot in drawn(400):
        lists.add((prompts.normal == DEFAULT.normal, prompts.abnormal == DEFAULT.abnormal))
        assert not hot[0], "what has no name is never abnormal"
        abnormal, normal = (
            set().union(*(by_words[words].deeds for words in given if words in by_words))
            for given in (prompts.abnormal, prompts.normal)
        )
        own = set(prompts.abnormal) <= set(DEFAULT.abnormal)
        assert set(np.flatnonzero(hot)) in (abnormal, *([ABNORMAL - normal] if own else []))
    assert lists == {(True, False), (False, False), (False, True)}, "and never the model's own"


def test_what_is_to_be_seen_is_named_more_often():
    share = np.mean([hot[8] for _, hot in drawn(400, there=[8])])
    assert share > 1.5 * np.mean([hot[8] for _, hot in drawn(400, there=[1])])


def test_some_words_are_kept_from_training():
    used = {text for prompts, _ in drawn(400) for text in (*prompts.abnormal, *prompts.normal)}
    assert not used & {thing.unseen for thing in THINGS}
    templates = {text for prompts, _ in drawn(400) for text in (prompts.phrase, prompts.sentence)}
    assert not templates & {UNSEEN_PHRASE, UNSEEN_SENTENCE} and "" in templates


def test_text_vectors_of_training_are_those_of_the_engine(tiny):
    model, manifest, tokenizer = checkpoint.load(tiny)
    stage = GuidanceStage(model, tokenizer, 4.0, checkpoint.text_features(model, tokenizer, manifest.prompts), 2)
    for prompts, _ in drawn(5):
        ours = torch.stack([stage._pooled(prompts, category) for category in ("normal", "abnormal")])
        torch.testing.assert_close(ours, checkpoint.text_features(model, tokenizer, prompts), atol=1e-5, rtol=1e-4)


def test_the_measurement_tells_a_decoder_that_follows_from_one_that_does_not(monkeypatch):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    bench = importlib.import_module("guidance")
    deeds = np.arange(15 * 4).reshape(4, 15) % 15
    words = {text: thing for thing in THINGS for text in (*thing.words, thing.unseen)}

    def follows(prompts):
        def named(texts):
            things = [words[t] for text in texts for t in words if text.endswith(t) and len(text) - len(t) in (0, 22)]
            return np.isin(deeds, sorted(set().union(*(thing.deeds for thing in things), frozenset())))

        return 0.5 + 0.4 * named(prompts.abnormal) - 0.3 * (named(prompts.normal) & (len(prompts.normal) < 7))

    told = bench.measure(follows, deeds)["all"]
    assert told["raised"] == told["kinds"] == len(THINGS)
    assert told["lowered"] == told["kinds"]
    deaf = bench.measure(lambda _: np.random.default_rng(0).random(deeds.shape), deeds)["all"]
    assert (deaf["raised"], deaf["lowered"]) == (0, 0)


def test_the_measurement_from_the_command_to_the_file(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    bench, target = importlib.import_module("guidance"), tmp_path / "figures" / "guidance.json"
    assert bench.main(["--clips", "3", "--split", "validation", "--json", str(target)]) == 0
    assert "lowered by naming it normal" in capsys.readouterr().out
    figures = json.loads(target.read_text())
    assert all(0 <= value <= 1 for kind in figures["kinds"].values() for value in kind["heat"].values())
    assert bench.main(["--clips", "1"]) == 2
    assert "--clips must be at least 2" in capsys.readouterr().err
