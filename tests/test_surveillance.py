"""The world of surveillance: labels against a slow renderer, timelines, splits, dialogues."""

import dataclasses
import re
from collections import Counter

import numpy as np
import pytest

from tvau_runtime.errors import ConfigError

world = pytest.importorskip("tvau_training.world", reason="tvau_training is not installed: pip install -e .")

from tvau_training.world import render
from tvau_training.world.staging import SCALE
from tvau_training.world.surveillance.drawing import CLEAR, PlaceBackdrop
from tvau_training.world.surveillance.kinds import KINDS
from tvau_training.world.surveillance.scenes import FAMILIES, families_of
from tvau_training.world.versions import version

PEOPLE = ("person", "bicycle", "scooter", "skateboard", "wheelchair")
SMALL = {"size": (54, 96), "length": 4, "world": "surveillance"}


@pytest.fixture(scope="module")
def clips():
    """Clips of all splits, as a coin makes them."""
    splits = ("train", "validation", "test", "seen")
    return [world.make_clip(seed, split=split, **SMALL) for split in splits for seed in range(7)]


def words(text):
    return set(re.findall(r"[a-z]+", text.lower()))


def test_the_same_arguments_give_the_same_clip():
    first, again = (world.make_clip(5, anomaly=True, **SMALL) for _ in range(2))
    other = world.make_clip(6, anomaly=True, **SMALL)
    assert (first.frames == again.frames).all() and (first.objects == again.objects).all()
    assert first.dialogue == again.dialogue and first.family == again.family
    assert (first.frames != other.frames).any()


def test_masks_are_what_a_slow_renderer_sees():
    """Every figure is drawn alone; a pixel belongs to the nearest one that is not behind something that is built."""
    times = np.arange(3) / 4.0
    size = (90, 160)
    themes = ["person running"]
    staging = version("surveillance").open_place(3, 3, "train", size, None, themes)(0, times, [("person running", 0.4)])
    assert staging is not None and len(staging.players) >= 3
    backdrop, _, shapes = staging.draw()
    assert isinstance(backdrop, PlaceBackdrop)
    for t in range(len(times)):
        canvas = backdrop.canvas(shapes, t)
        for shape in sorted(shapes, key=lambda s: -s.depth[t]):
            backdrop.draw(canvas, shape, t)
        depth = np.full(canvas.shape[:2], np.inf)
        owner = np.zeros(canvas.shape[:2], int)
        for ident, shape in enumerate(shapes, 1):
            alone = np.zeros_like(canvas)
            shape.draw(alone, t)
            hidden = backdrop.near <= shape.depth[t] - CLEAR
            mine = (alone[..., 3] == ident) & ~hidden & (shape.depth[t] < depth)
            depth[mine], owner[mine] = shape.depth[t], ident
        assert (canvas[..., 3] == owner).all()
        assert owner.any()
        # Away from figures and their shadows the canvas is the empty place.
        assert (canvas[..., :3][owner == 0] <= backdrop.canvas([], t)[..., :3][owner == 0]).all()
    assert canvas.shape[:2] == (size[0] * SCALE, size[1] * SCALE)


def _thin_and_solid(staging):
    """The empty place, and the place with the first abnormal figure alone, as it is and with every stroke solid."""
    backdrop, _, shapes = staging.draw()
    figure, part = next((s, p) for s, p in zip(shapes, staging.players, strict=True) if p.abnormal.any())
    t = int(part.abnormal.argmax())
    empty = backdrop.canvas([], t)
    thin, solid = empty.copy(), empty.copy()
    backdrop.draw(thin, figure, t)
    backdrop.draw(solid, dataclasses.replace(figure, opacity=1.0), t)
    return empty, thin, solid


@pytest.mark.parametrize(("kind", "least"), [("smoke", 0.05), ("fire", 0.0)])
def test_smoke_is_seen_through_and_fades_at_its_edge(kind, least):
    """Against the same figure with every stroke solid: a mixture with what is behind, and labelled only where it shows."""
    times, size = np.arange(2) / 4.0, (90, 160)
    fill = version("surveillance").open_place(4, 4, "train", size, None, [kind])
    staged = (fill(attempt, times, [(kind, 0.2)]) for attempt in range(20))
    empty, thin, solid = next(s for s in map(_thin_and_solid, filter(None, staged)) if (s[2][..., 3] > 0).sum() > 400)
    drawn, labelled = solid[..., 3] > 0, thin[..., 3] > 0
    assert labelled.any() and (labelled <= drawn).all() and labelled.sum() < drawn.sum()
    assert (thin[~drawn] == empty[~drawn]).all()
    low, high = np.minimum(empty, solid)[..., :3].astype(int), np.maximum(empty, solid)[..., :3].astype(int)
    assert ((thin[..., :3] >= low - 1) & (thin[..., :3] <= high + 1)).all()
    told = np.abs(solid[..., :3].astype(int) - empty[..., :3]).max(axis=-1) > 40
    share = np.abs(thin[..., :3].astype(float) - empty[..., :3]).max(-1) / np.maximum(high - low, 1).max(-1)
    assert share[told].max() < 1 - least + 0.02
    edge = drawn & ~labelled & told
    assert edge.any() and share[edge].mean() < 0.5 * share[labelled & told].mean()


def test_boxes_and_areas_are_those_of_the_masks(clips):
    for clip in clips[::4]:
        for t, ids in enumerate(clip.objects):
            assert set(np.unique(ids)) <= {0, *(actor.id for actor in clip.actors)}
            for actor in clip.actors:
                rows, columns = np.nonzero(ids == actor.id)
                assert actor.areas[t] == len(rows)
                if len(rows):
                    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                    assert actor.boxes[t].tolist() == box


def test_joints_are_where_the_body_is(clips):
    seen = 0
    for clip in clips:
        for actor in clip.actors:
            assert actor.joints.shape[1:] == ((len(world.BODY), 2) if actor.kind in PEOPLE else (0, 2))
            assert actor.stature.shape == (len(clip.frames),)
            height, width = clip.objects.shape[1:]
            for box, joints, stature in zip(actor.boxes, actor.joints, actor.stature, strict=True):
                inside = actor.kind == "person" and (box[:2] > 1).all() and (box[2:] < (width - 1, height - 1)).all()
                tall = 0.8 * stature
                if not inside or box[3] - box[1] < tall or "umbrella" in actor.attributes:
                    continue  # partly out of sight, or not upright
                seen += 1
                assert (joints[:2] > box[:2] - 2).all() and (joints[:2] < box[2:] + 2).all()
                head, _, *_, left, right = joints
                assert head[1] < left[1] and head[1] < right[1]
                assert 0.7 * stature < max(left[1], right[1]) - head[1] + 0.1 * stature < 1.1 * stature
    assert seen > 50


def test_timelines_fit_the_tracks(clips):
    standing = 0
    for clip in clips:
        count = len(clip.frames)
        for actor in clip.actors:
            assert [spell.first for spell in actor.spells] == [0, *(spell.last + 1 for spell in actor.spells[:-1])]
            assert actor.spells[-1].last == count - 1
            assert actor.track.shape == (count, 2)
            assert all(0 < turn < count for turn in actor.turns)
            assert not (actor.abnormal_frames & (actor.areas == 0)).any()
            if actor.kind == "person" and "standing" in actor.action and actor.areas.min() > 60:
                x0, y0, x1, _ = actor.boxes.T
                across = actor.track[:, 0]
                inside = (across > x0 - 6) & (across < x1 + 6) & (actor.track[:, 1] > y0)
                standing += 1
                assert inside.all()
    assert standing


def test_splits_are_disjoint():
    kinds = {split: set(world.anomalies("surveillance", split)) for split in world.SPLITS}
    places = {split: set(families_of(split)) for split in world.SPLITS}
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not kinds[first] & kinds[second]
        assert not places[first] & places[second]
    assert kinds["seen"] == kinds["train"] and places["seen"] == places["test"]
    assert len(KINDS) >= 22 and len(FAMILIES) >= 24
    assert set().union(*kinds.values()) == set(KINDS)


def test_every_kind_has_room_in_its_splits():
    for split in ("train", "validation", "test", "seen"):
        rng = np.random.default_rng(0)
        places = [FAMILIES[family](rng, (54, 96), None) for family in families_of(split)]
        for kind in world.anomalies("surveillance", split):
            assert any(KINDS[kind].fits(place) for place in places), (split, kind)


def test_about_half_of_the_clips_are_abnormal_and_of_their_splits_kinds(clips):
    assert 7 <= sum(clip.anomalous for clip in clips) <= 21
    for clip in clips:
        assert clip.family in families_of(clip.split) and clip.world == "surveillance"
        assert {a.anomaly for a in clip.actors if a.anomalous} <= set(world.anomalies("surveillance", clip.split))


@pytest.mark.parametrize(
    "kind", ["people fighting", "person stealing a bag", "car crash", "item toppled over on the line"]
)
def test_what_is_asked_for_happens(kind):
    clip = world.make_clip(2, split=KINDS[kind].split, anomalies=[(kind, 0.5)], **SMALL)
    assert {actor.anomaly for actor in clip.actors if actor.anomalous} == {kind}
    assert clip.anomaly_masks.any()


def test_kinds_may_be_asked_for_in_the_places_of_a_split():
    kinds = world.every_kind("surveillance")
    assert set(kinds) == set(KINDS)
    clips = [world.make_clip(seed, anomaly=True, kinds=kinds, **SMALL) for seed in range(12)]
    found = {actor.anomaly for clip in clips for actor in clip.actors if actor.anomalous}
    assert len({KINDS[kind].split for kind in found}) == 3
    assert {clip.family for clip in clips} <= set(families_of("train"))
    with pytest.raises(ConfigError, match="no anomaly 'flying'"):
        world.make_clip(0, kinds=["flying"], **SMALL)


def test_dialogues_go_in_the_papers_order_and_stay_in_the_corpus(clips):
    vocabulary = set().union(*map(words, world.corpus(6000, seed=1, world="surveillance")))
    assert len(vocabulary) < 600
    for clip in clips:
        turns = {turn.field: turn.answer for turn in clip.dialogue}
        assert list(turns) == ["anomaly", "target", "trajectory", "when", "why", "environment"]
        assert turns["anomaly"] == ("Yes." if clip.anomalous else "No.")
        for turn in (*clip.dialogue, *world.normal_dialogue(clip, np.random.default_rng(0))):
            assert words(turn.answer) <= vocabulary, turn
        asked = {tuple(t.question for t in world.anomaly_dialogue(clip, np.random.default_rng(k))) for k in range(4)}
        assert len(asked) > 1


def test_every_deed_is_spoken_of_often_enough_to_be_learned():
    told, rng = version("surveillance").words, np.random.default_rng(0)
    drawn = Counter(told.deed(rng) for _ in range(20_000))
    assert set(drawn) == set(told.life)
    assert min(drawn["person", deed] for deed in ("lying on the ground", "running", "crawling", "fighting")) > 300
    text = " ".join(world.corpus(3000, seed=1, world="surveillance"))
    assert min(text.count(word) for word in ("lying", "crawling", "dancing", "staggering")) > 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"world": "moon"}, "street, surveillance"),
        ({"world": "surveillance", "anomalies": [("dog on the roof", 1.0)]}, "dog on the roof"),
        ({"world": "surveillance", "split": "validation", "anomalies": [("person in a flying saucer", 1.0)]}, "saucer"),
    ],
)
def test_bad_arguments_are_named(arguments, said):
    with pytest.raises(ConfigError, match=said):
        world.make_clip(0, **{"size": (32, 32), **arguments})


def test_clips_in_another_ones_place_share_its_light_and_kind_and_nothing_else():
    first, alone = world.make_clip(8, **SMALL, anomaly=True), world.make_clip(9, **SMALL, anomaly=True)
    beside = world.make_clip(9, **SMALL, anomaly=True, place=8)
    odd = {actor.anomaly for actor in (*first.actors, *beside.actors)} - {""}
    assert (beside.family, beside.environment) == (first.family, first.environment) and len(odd) == 1
    assert (beside.ground == first.ground).all() and not (beside.objects == first.objects).all()
    assert beside.environment != alone.environment
    assert (world.make_clip(8, **SMALL, anomaly=True, place=8).frames == first.frames).all()
    with pytest.raises(ConfigError, match="leave out place"):
        world.make_clip(9, place=8)


def test_a_thrown_thing_that_is_in_the_air_for_less_than_half_of_the_time_does_not_rule_a_clip_out():
    clip = world.make_clip(
        3_000_018, size=(63, 112), length=60, rate_hz=15.0, anomaly=True, split="test", world="surveillance"
    )
    seen = {actor.action: actor.abnormal_frames.mean() for actor in clip.actors if actor.anomalous}
    assert seen["throwing something"] >= 0.5 > seen["flying through the air"] > 0


def test_where_a_clip_cannot_be_arranged_another_one_takes_its_place(monkeypatch):
    real = render.make_clip

    def fussy(seed, **asked):
        if seed in (5, 6):
            raise ConfigError("no clip could be arranged")
        return real(seed, **asked)

    monkeypatch.setattr(render, "make_clip", fussy)
    clip = world.make_some_clip(5, place=0, anomaly=True, **SMALL)
    assert clip.seed == 150_005 and clip.anomalous
    assert (clip.frames == real(150_005, anomaly=True, **SMALL).frames).all(), "in a place of its own"
    assert (world.make_some_clip(7, place=0, **SMALL).frames == real(7, place=0, **SMALL).frames).all()
    with pytest.raises(ConfigError, match="at least 32"):
        world.make_some_clip(7, size=(8, 8))
