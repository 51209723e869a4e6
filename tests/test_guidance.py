"""Prompts drawn for training the AHD to follow them, their masks, and the measurement of what naming something does."""

import dataclasses
import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("transformers", reason="training needs transformers")

from tvau_runtime.model import checkpoint
from tvau_training.batches import MASK_SCALE, Batch
from tvau_training.guidance import UNSEEN_PHRASE, UNSEEN_SENTENCE, naming
from tvau_training.stages import AlignmentStage, GuidanceStage
from tvau_training.world import make_clip
from tvau_training.world.versions import WORLDS, version

ROOT = Path(__file__).resolve().parent.parent
SMALL = {"size": (48, 64), "length": 4}


@pytest.fixture(params=WORLDS)
def names(request):
    return naming(request.param)


@pytest.fixture
def there(names):
    """A normal deed and an abnormal one."""
    return min(set(range(1, len(names.deeds) + 1)) - names.abnormal), min(names.abnormal)


def drawn(names, count, there):
    rng = np.random.default_rng(0)
    return [names.draw(rng, there) for _ in range(count)]


@pytest.mark.parametrize(
    ("world", "splits"), [("street", ["train"]), ("surveillance", ["train", "validation", "test"])]
)
def test_all_that_a_world_shows_has_a_name(world, splits):
    names = naming(world)
    actors = [
        actor
        for split in splits
        for seed in range(40)
        for actor in make_clip(
            seed, world=world, split=split, place=seed if world == "street" else seed // 8, **SMALL
        ).actors
    ]
    strange = names.numbers(names.things)
    for actor in actors:
        known = names.number(actor) in names.abnormal
        kept = any((actor.kind, actor.action) in thing.deeds for thing in names.things if thing.kept)
        assert names.number(actor) and actor.anomalous == (known or kept), (actor.kind, actor.action)
        assert not actor.anomalous or names.number(actor) in strange
    assert names.number(dataclasses.replace(actors[0], action="hovering")) == 0


def test_every_prompt_of_the_model_names_a_thing(names):
    named = {thing.words[0] for thing in names.things}
    empty = {"empty road", "empty place"}
    assert named >= set(names.own.abnormal)
    assert all(thing.deeds for thing in names.things)
    if names is naming("street"):
        assert named >= set(names.own.normal) - empty


def test_kinds_that_are_to_be_new_are_never_named():
    names = naming("surveillance")
    new = {words for thing in names.things if thing.kept for words in thing.words}
    assert new == set(version("surveillance").anomalies("validation")) | set(version("surveillance").anomalies("test"))
    assert not new & {text for prompts, _ in drawn(names, 400, [1]) for text in (*prompts.abnormal, *prompts.normal)}


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


def test_things_are_divided_as_the_dice_have_it(names):
    """Into normal and abnormal ones: no kind is called abnormal more often than normal."""
    rng, of = np.random.default_rng(0), {words: n for n, t in enumerate(names.narrow, 1) for words in t.words}
    called = []
    for _ in range(600):
        prompts, hot = names.divide(rng, [1, 2])
        assert hot[0] == 0, "the background is never abnormal"
        assert {of[words] for words in prompts.abnormal} == set(np.flatnonzero(hot == 1))
        assert {of[words] for words in prompts.normal} == set(np.flatnonzero(hot == 0)) - {0}
        called.append(hot[1:])
    kinds = np.array(called)
    assert np.allclose(np.nanmean(kinds, axis=0), 0.5, atol=0.15)
    named = np.isfinite(kinds).mean(axis=0)
    assert named[:2].min() > 1.3 * named[2:].max(), "what can be seen comes first"
    lengths = np.nansum(kinds, axis=1)
    assert lengths.min() == 1 and lengths.max() >= 0.4 * len(names.narrow), "short lists and long ones"


def test_alignment_learns_which_texts_are_true_of_a_patch(tiny):
    """From features that differ by what is shown, with words whose embeddings differ."""
    torch.manual_seed(0)
    names, (model, manifest, tokenizer) = naming("street"), checkpoint.load(tiny)
    stage = AlignmentStage(model, tokenizer, 4.0, checkpoint.text_features(model, tokenizer, manifest.prompts), 2)
    (rows, columns), deeds = model.backbone.grid, torch.tensor([0, *sorted(names.numbers(names.narrow))])
    looks = torch.randn(len(names.deeds) + 1, model.backbone.vision_dim)

    def step():
        shown = deeds[torch.randint(len(deeds), (2, 2, rows, columns))]
        seen = tuple(looks[shown.flatten(0, 1).flatten(1)] for _ in model.backbone.taps)
        cells = shown.repeat_interleave(MASK_SCALE, 2).repeat_interleave(MASK_SCALE, 3).short()
        return stage.losses(seen, cast("Batch", SimpleNamespace(deeds=cells)))

    optimizer = torch.optim.AdamW([p for p in stage.parameters() if p.requires_grad], lr=2e-3)
    first = {name: float(term.detach()) for name, term in step().items()}
    for _ in range(60):
        optimizer.zero_grad()
        terms = step()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
    assert all(float(terms[name].detach()) < 0.5 * first[name] for name in ("divided", "named")), (first, terms)


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
    stage = GuidanceStage(model, tokenizer, 4.0, checkpoint.text_features(model, tokenizer, manifest.prompts), 2)
    for prompts, _ in drawn(naming("street"), 5, (1, 9)):
        torch.testing.assert_close(
            stage.features(prompts), checkpoint.text_features(model, tokenizer, prompts), atol=1e-5, rtol=1e-4
        )


def test_the_measurement_tells_a_decoder_that_follows_from_one_that_does_not(monkeypatch):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    bench = importlib.import_module("guidance")
    names = naming("street")
    deeds = np.arange(15 * 4).reshape(4, 15) % 15
    words = {text: thing for thing in names.things for text in (*thing.words, thing.unseen)}

    def follows(prompts):
        def named(texts):
            things = [words[t] for text in texts for t in words if text.endswith(t) and len(text) - len(t) in (0, 22)]
            return np.isin(deeds, sorted(names.numbers(things)))

        return 0.5 + 0.4 * named(prompts.abnormal) - 0.3 * (named(prompts.normal) & (len(prompts.normal) != 7))

    told = bench.measure(follows, deeds, names)["all"]
    assert told["raised"] == told["kinds"] == len(names.things)
    assert told["lowered"] == told["new"] == 10
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
