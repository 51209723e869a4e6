"""Labels of the synthetic world say what the pictures show, and nothing but the deed tells what is abnormal."""

import itertools

import numpy as np
import pytest

world = pytest.importorskip("tvau_training.world", reason="tvau_training is not installed: pip install -e .")

from tvau_training.world import dialogue
from tvau_training.world.actors.people import dress
from tvau_training.world.camera import SCALE
from tvau_training.world.life.cast import Track
from tvau_training.world.palette import COLORS
from tvau_training.world.places import open_place
from tvau_training.world.scenes import FAMILIES

SMALL = {"size": (54, 96), "length": 4}


def _words(turn):
    return set(f"{turn.question} {turn.answer}".lower().replace("?", "").replace(".", "").replace(",", "").split())


def test_colours_are_told_where_there_are_any():
    """Without colours none is told or asked for; the same people's bags still are."""
    grey = {True: 0, False: 0}
    bags = 0
    for seed in range(60):
        clip = world.make_clip(seed, anomaly=bool(seed % 2), split="home", size=(54, 96), length=2)
        plain = bool((clip.frames == clip.frames[..., :1]).all())
        grey[plain] += 1
        for actor in clip.actors:
            assert (actor.color == "") == (plain or actor.kind == "smoke")
            assert not (plain and {"top", "trousers", "hair", "umbrella"} & set(actor.attributes))
            color, trousers, bag = world.actor_looks(actor)
            if plain:
                assert (color, trousers) == (-1, -1) and (bag >= 0) == ("person" in dialogue.describe(actor))
                bags += "bag" in actor.attributes and actor.attributes["bag"] in dialogue.describe(actor)
        if plain:
            said = [*clip.dialogue, *world.normal_dialogue(clip, np.random.default_rng(seed))]
            assert not set(COLORS) & set().union(*map(_words, said))
            assert not {"color", "clothes"} & {turn.field for turn in said}
    assert min(grey.values()) >= 3 and bags


def test_what_stands_on_the_ground_is_not_ground():
    """A wall is not walkable, although floor goes on behind it."""
    here = open_place(3, 3, "train", (54, 96), None, ["person running"])
    scenes = (here(attempt, np.arange(2) / 4, [("person running", 0.2)]) for attempt in range(8))
    scene = next(filter(None, scenes))
    built = scene.draw()[0].near[::SCALE, ::SCALE] < np.inf
    assert built.any() and not scene.ground()[built].any() and scene.ground().any()


@pytest.mark.parametrize("family", FAMILIES)
def test_normal_ways_keep_out_of_what_is_closed(family):
    """Also of those who walk side by side, and of who talks at the edge of where people stand."""
    for seed in range(4):
        place = FAMILIES[family](np.random.default_rng(seed), (54, 96), None)
        for (x0, y0, x1, y1), what in place.closed:
            for path, side in itertools.product(place.walks, (-1, 0, 1)):
                x, y = (track := Track(path.points, side * path.half)).at(np.linspace(-3, track.length + 3, 400)).T
                assert not ((x > x0) & (x < x1) & (y > y0) & (y < y1)).any(), (family, what, path)
            for a0, b0, a1, b1 in place.stands:
                assert a1 <= x0 or a0 >= x1 or b1 <= y0 or b0 >= y1, (family, what, (a0, b0, a1, b1))


def _casts(count, split="home", length=8):
    """The parts of everybody in scenes without an anomaly, and their places."""
    for seed in range(count):
        scene = open_place(seed, seed, split, (54, 96), None, [])(0, np.arange(length) / 4, [])
        if scene is not None:
            yield scene


def test_nobody_talks_alone_and_nobody_normal_is_where_it_is_closed():
    talking = 0
    for scene in (*_casts(60), *_casts(60, "train")):
        count = sum(part.action.startswith("talking") for part in scene.players)
        assert count != 1
        talking += count > 1
        for part in scene.players:
            if part.kind == "person" and "sitting" not in part.action:
                assert not any(scene.place.is_closed(x, y) for x, y in part.position), (scene.family, part.action)
    assert talking > 10


def test_a_box_stands_once_it_has_been_put_down():
    told = 0
    for scene in _casts(120):
        for part in scene.players:
            if part.kind != "box":
                continue
            for spell in part.spells:
                assert (part.height[spell.first] > 0.05) == ("carried" in spell.action)
            told += len(part.spells) > 1
    assert told


@pytest.mark.parametrize("kind", ["item toppled over on the line", "item fallen off the line"])
def test_an_odd_item_belongs_to_its_row(kind):
    """Until it falls it moves as fast as the others, at a whole number of gaps from them."""
    times = np.arange(8) / 4.0
    split = "train" if "toppled" in kind else "test"
    told = 0
    for seed in range(12):
        here = open_place(seed, seed, split, (54, 96), None, [kind])
        scene = next(filter(None, (here(attempt, times, [(kind, 1.0)]) for attempt in range(60))))
        (odd,) = (part for part in scene.players if part.anomaly == kind)
        row = [p for p in scene.players if p.kind == odd.kind and p.action == "moving on the line"]
        start = np.array([part.position[0] for part in row])
        same = [part for part, at in zip(row, start, strict=True) if abs(at[1] - odd.position[0][1]) < 0.05]
        if not same or (odd.abnormal[:2].any() and "fallen" in kind):
            continue
        first, second = (part.position[1] - part.position[0] for part in (odd, same[0]))
        assert np.allclose(first, second, atol=1e-6)
        apart = np.diff(sorted(part.position[0][0] for part in (odd, *same)))
        assert np.allclose(apart / apart.min(), np.round(apart / apart.min()), atol=1e-3)
        assert [spell.action for spell in odd.spells][-1] == odd.action
        told += 1
    assert told >= 2


def test_umbrellas_need_a_free_hand_and_nothing_else():
    rng = np.random.default_rng(0)
    rain = [dress(rng, "red", rain=True) for _ in range(300)]
    busy = [dress(rng, "red", rain=True, bag="") for _ in range(100)]
    assert 0.5 < np.mean([outfit.umbrella is not None for outfit in rain]) < 0.7
    assert not any(outfit.umbrella for outfit in busy) and not any(o.short_sleeves for o in (*rain, *busy))
    assert all(("trousers" in outfit.attributes) != outfit.skirt for outfit in (*rain, *busy))


@pytest.mark.parametrize("kind", world.every_kind())
def test_the_time_line_names_the_deed_while_it_is_done(kind):
    """In a long clip, in which every deed has a beginning."""
    split = next(split for split in ("train", "validation", "test") if kind in world.anomalies(split))
    clip = world.make_some_clip(
        5, size=(36, 64), length=24, rate_hz=2.0, anomalies=[(kind, 6.0)], split=split, kinds=None
    )
    odd = [actor for actor in clip.actors if actor.abnormal_frames.any()]
    assert odd
    for actor in odd:
        done = np.zeros(len(clip.frames), bool)
        for spell in actor.spells:
            done[spell.first : spell.last + 1] = spell.action == actor.action
        assert done[actor.abnormal_frames].mean() > 0.6, actor.spells
