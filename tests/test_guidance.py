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
from tvau_runtime.prompts import Prompts
from tvau_training.guidance import UNSEEN_PHRASE, UNSEEN_SENTENCE, Naming, naming
from tvau_training.stages import GuidanceStage
from tvau_training.world import anomalies, make_clip

ROOT = Path(__file__).resolve().parent.parent
SMALL = {"size": (48, 64), "length": 4}


@pytest.fixture(scope="module")
def names():
    return naming()


@pytest.fixture
def there(names):
    """A normal deed and an abnormal one."""
    return min(set(range(1, len(names.deeds) + 1)) - names.abnormal), min(names.abnormal)


def drawn(names, count, there):
    rng = np.random.default_rng(0)
    return [names.draw(rng, there) for _ in range(count)]


def test_all_that_the_world_shows_has_a_name(names):
    actors = [
        actor
        for split in ("train", "validation", "test")
        for seed in range(40)
        for actor in make_clip(seed, split=split, place=seed // 8, **SMALL).actors
    ]
    strange = names.numbers(names.things)
    for actor in actors:
        known = names.number(actor) in names.abnormal
        kept = any((actor.kind, actor.action) in thing.deeds for thing in names.things if thing.kept)
        assert names.number(actor) and actor.anomalous == (known or kept), (actor.kind, actor.action)
        assert not actor.anomalous or names.number(actor) in strange
    assert names.number(dataclasses.replace(actors[0], action="hovering", spells=())) == 0


def test_every_prompt_of_the_model_names_a_thing(names):
    assert {thing.words[0] for thing in names.things} >= set(names.own.abnormal)
    assert all(thing.deeds for thing in names.things)


def test_kinds_that_are_to_be_new_are_never_named(names):
    new = {words for thing in names.things if thing.kept for words in thing.words}
    assert new == set(anomalies("validation")) | set(anomalies("test"))
    assert not new & {text for prompts, _ in drawn(names, 400, [1]) for text in (*prompts.abnormal, *prompts.normal)}


def test_a_models_own_prompts_are_what_is_changed():
    own = Prompts(("person walking", "car parked"), ("person running", "person crawling"))
    names, changed = Naming(own), set()
    assert names.abnormal == names.numbers([t for t in names.things if t.words[0] == "person running"])
    for prompts, hot in drawn(names, 400, [min(names.abnormal)]):
        changed.add((prompts.normal == own.normal, prompts.abnormal == own.abnormal))
        assert "person crawling" not in prompts.abnormal or set(prompts.abnormal) <= set(own.abnormal)
        assert set(np.flatnonzero(hot)) <= names.numbers(names.things)
    assert changed >= {(True, False), (False, False)}


def test_own_prompts_that_name_nothing_known_leave_what_is_drawn():
    names = Naming(Prompts(("all is well",), ("something odd",)))
    by_words = {words: thing for thing in names.things for words in thing.words}
    for prompts, hot in drawn(names, 200, [1]):
        assert prompts.abnormal != names.own.abnormal
        assert set(np.flatnonzero(hot)) == names.numbers([by_words[words] for words in prompts.abnormal])


def test_what_is_named_abnormal_is_abnormal_and_nothing_else(names, there):
    by_words = {words: thing for thing in names.things for words in thing.words}
    lists = set()
    for prompts, hot in drawn(names, 400, there):
        lists.add((prompts.normal == names.own.normal, prompts.abnormal == names.own.abnormal))
        assert not hot[0], "what has no name is never abnormal"
        abnormal, normal = (
            names.numbers([by_words[words] for words in given if words in by_words])
            for given in (prompts.abnormal, prompts.normal)
        )
        own = set(prompts.abnormal) <= set(names.own.abnormal)
        assert set(np.flatnonzero(hot)) in (abnormal, *([names.abnormal - normal] if own else []))
    assert lists >= {(True, False), (False, False), (False, True)}


def test_what_is_to_be_seen_is_named_more_often(names, there):
    normal = there[0]
    share = np.mean([hot[normal] for _, hot in drawn(names, 400, [normal])])
    assert share > 1.5 * np.mean([hot[normal] for _, hot in drawn(names, 400, [there[1]])])


def test_some_words_are_kept_from_training(names, there):
    used = {text for prompts, _ in drawn(names, 400, there) for text in (*prompts.abnormal, *prompts.normal)}
    assert not used & {thing.unseen for thing in names.things}
    templates = {text for prompts, _ in drawn(names, 400, there) for text in (prompts.phrase, prompts.sentence)}
    assert not templates & {UNSEEN_PHRASE, UNSEEN_SENTENCE} and "" in templates


def test_text_vectors_of_training_are_those_of_the_engine(tiny):
    model, manifest, tokenizer = checkpoint.load(tiny)
    text = checkpoint.text_features(model, tokenizer, manifest.prompts)
    stage = GuidanceStage(model, tokenizer, 4.0, text, 2, prompts=manifest.prompts)
    for prompts, _ in drawn(naming(), 5, (1, 9)):
        torch.testing.assert_close(
            stage.features(prompts), checkpoint.text_features(model, tokenizer, prompts), atol=1e-5, rtol=1e-4
        )


def test_the_measurement_tells_a_decoder_that_follows_from_one_that_does_not(monkeypatch):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    bench = importlib.import_module("guidance")
    names = naming()
    shown = sorted({0, *(min(names.numbers([thing])) for thing in names.things)})
    deeds = np.resize(shown, (4, len(shown)))
    words = {text: thing for thing in names.things for text in (*thing.words, thing.unseen)}

    def follows(prompts):
        def named(texts):
            things = [words[t] for text in texts for t in words if text.endswith(t) and len(text) - len(t) in (0, 22)]
            return np.isin(deeds, sorted(names.numbers(things)))

        return (
            0.5 + 0.4 * named(prompts.abnormal) - 0.3 * (named(prompts.normal) & (prompts.normal != names.own.normal))
        )

    told = bench.measure(follows, deeds, names)["all"]
    assert told["raised"] == told["kinds"] == len(names.things)
    assert told["lowered"] == told["new"] == len({t.words[0] for t in names.things} - set(names.own.normal))
    assert told["lowered alone"] == told["kinds"]
    deaf = bench.measure(lambda _: np.random.default_rng(0).random(deeds.shape), deeds, names)["all"]
    assert (deaf["raised"], deaf["lowered"], deaf["lowered alone"]) == (0, 0, 0)


def test_the_measurement_from_the_command_to_the_file(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    bench, target = importlib.import_module("guidance"), tmp_path / "figures" / "guidance.json"
    assert bench.main(["--clips", "3", "--split", "validation", "--json", str(target)]) == 0
    assert "lowered by adding it to what is normal" in capsys.readouterr().out
    figures = json.loads(target.read_text())
    assert all(0 <= value <= 1 for kind in figures["kinds"].values() for value in kind["heat"].values())
    assert bench.main(["--clips", "1"]) == 2
    assert "--clips must be at least 2" in capsys.readouterr().err
