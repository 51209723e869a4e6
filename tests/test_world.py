"""The synthetic world: clips are reproducible, labels agree with pixels, and splits hold what they promise."""

import dataclasses

import numpy as np
import pytest

from tvau_runtime.errors import ConfigError

world = pytest.importorskip("tvau_training.world", reason="tvau_training is not installed: pip install -e .")

from tvau_training.world import render
from tvau_training.world.camera import SCALE
from tvau_training.world.drawing import CLEAR, PlaceBackdrop
from tvau_training.world.kinds import KINDS
from tvau_training.world.palette import COLORS
from tvau_training.world.places import open_place
from tvau_training.world.scenes import FAMILIES, families_of

PEOPLE = ("person", "bicycle", "scooter", "skateboard", "wheelchair")
SMALL = {"size": (54, 96), "length": 4}


@pytest.fixture(scope="module")
def clips():
    """Clips of all splits, as a coin makes them."""
    splits = ("train", "validation", "test", "seen")
    return [world.make_clip(seed, split=split, **SMALL) for split in splits for seed in range(7)]


@pytest.fixture(scope="module")
def long_clip():
    """Twenty seconds in which somebody lies down around the tenth."""
    return world.make_clip(4, size=(60, 108), length=80, rate_hz=4.0, anomalies=[("person lying on the ground", 10.0)])


def test_a_clip_has_the_promised_shapes_and_types(clips):
    for clip in clips[:3]:
        assert clip.frames.shape == (4, 54, 96, 3) and clip.frames.dtype == np.uint8
        assert clip.objects.shape == (4, 54, 96) and clip.objects.dtype == np.uint8
        assert clip.anomaly_masks.shape == (4, 54, 96) and clip.anomaly_masks.dtype == bool
        assert clip.ground.shape == (54, 96) and set(np.unique(clip.ground)) <= {0, 1, 2}
        assert clip.rate_hz == 4.0 and clip.split == "train"
        for actor in clip.actors:
            assert actor.boxes.shape == (4, 4) and actor.boxes.dtype == np.float32
            assert actor.color in (*COLORS, "")


def test_the_same_arguments_give_the_same_clip():
    first, again = (world.make_clip(5, anomaly=True, **SMALL) for _ in range(2))
    other = world.make_clip(6, anomaly=True, **SMALL)
    assert (first.frames == again.frames).all() and (first.objects == again.objects).all()
    assert first.dialogue == again.dialogue and first.family == again.family
    assert (first.frames != other.frames).any()


def test_seeds_and_splits_give_different_clips():
    made = [world.make_clip(seed, split=split, size=(48, 64), length=2) for seed in (0, 1) for split in world.SPLITS]
    for i, clip in enumerate(made):
        assert not any(
            clip.frames.shape == other.frames.shape and (clip.frames == other.frames).all() for other in made[:i]
        )


def test_masks_are_what_a_slow_renderer_sees():
    """Every figure is drawn alone; a pixel belongs to the nearest one that is not behind something that is built."""
    times = np.arange(3) / 4.0
    size = (90, 160)
    themes = ["person running"]
    scene = open_place(3, 3, "train", size, None, themes)(0, times, [("person running", 0.4)])
    assert scene is not None and len(scene.players) >= 3
    backdrop, _, shapes = scene.draw()
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


def _thin_and_solid(scene):
    """The empty place, and the place with the first abnormal figure alone, as it is and with every stroke solid."""
    backdrop, _, shapes = scene.draw()
    figure, part = next((s, p) for s, p in zip(shapes, scene.players, strict=True) if p.abnormal.any())
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
    fill = open_place(4, 4, "train", size, None, [kind])
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


def test_the_picture_shows_what_the_mask_says():
    """Pixels of a black car, and only those, are dark in a bright place: strokes and masks lie on each other."""
    clip, car = next(
        (clip, actor)
        for clip in (
            world.make_clip(seed, size=(112, 200), anomaly=False, length=1, kinds=["person walking on the road"])
            for seed in range(400)
        )
        if "bright" in clip.environment
        for actor in clip.actors
        if actor.color == "black" and actor.kind in ("car", "van") and actor.areas[0] > 600
    )
    mine = clip.objects[0] == car.id
    light = clip.frames[0].mean(axis=-1)
    around = np.zeros_like(mine)
    x0, y0, x1, y1 = car.boxes[0].astype(int)
    around[max(0, y0 - 6) : y1 + 6, max(0, x0 - 6) : x1 + 6] = True
    around &= clip.objects[0] == 0
    assert np.median(light[mine]) + 25 < np.median(light[around])


def test_masks_hold_the_abnormal_actors_and_nothing_else(clips):
    for clip in clips:
        expected = np.zeros(clip.objects.shape, bool)
        for actor in clip.actors:
            for t in np.flatnonzero(actor.abnormal_frames):
                expected[t] |= clip.objects[t] == actor.id
        assert (clip.anomaly_masks == expected).all()
        assert clip.anomalous == expected.any()


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
    kinds = {split: set(world.anomalies(split)) for split in world.SPLITS}
    places = {split: set(families_of(split)) for split in world.SPLITS}
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not kinds[first] & kinds[second]
        assert not places[first] & places[second]
    assert kinds["seen"] == kinds["train"] and places["seen"] == places["test"]
    assert (
        kinds["home"] == kinds["familiar"] < kinds["train"] and places["home"] == places["familiar"] < places["train"]
    )
    assert len(KINDS) >= 22 and len(FAMILIES) >= 24
    assert set().union(*kinds.values()) == set(KINDS)


def test_every_kind_has_room_in_its_splits():
    for split in ("train", "validation", "test", "seen"):
        dice = [np.random.default_rng(seed) for seed in range(3)]
        places = [FAMILIES[family](rng, (54, 96), None) for rng in dice for family in families_of(split)]
        for kind in world.anomalies(split):
            assert any(KINDS[kind].fits(place) for place in places), (split, kind)


def test_about_half_of_the_clips_are_abnormal_and_of_their_splits_kinds(clips):
    assert 7 <= sum(clip.anomalous for clip in clips) <= 21
    for clip in clips:
        assert clip.family in families_of(clip.split)
        assert {a.anomaly for a in clip.actors if a.anomalous} <= set(world.anomalies(clip.split))


@pytest.mark.parametrize(
    "kind", ["people fighting", "person stealing a bag", "car crash", "item toppled over on the line"]
)
def test_what_is_asked_for_happens(kind):
    clip = world.make_clip(2, split=KINDS[kind].split, anomalies=[(kind, 0.5)], **SMALL)
    assert {actor.anomaly for actor in clip.actors if actor.anomalous} == {kind}
    assert clip.anomaly_masks.any()


def test_kinds_may_be_asked_for_in_the_places_of_a_split():
    kinds = world.every_kind()
    assert set(kinds) == set(KINDS)
    clips = [world.make_clip(seed, anomaly=True, kinds=kinds, **SMALL) for seed in range(12)]
    found = {actor.anomaly for clip in clips for actor in clip.actors if actor.anomalous}
    assert len({KINDS[kind].split for kind in found}) == 3
    assert {clip.family for clip in clips} <= set(families_of("train"))


def test_colour_does_not_give_an_anomaly_away(clips):
    odd = {actor.color for clip in clips for actor in clip.actors if actor.anomalous}
    normal = {actor.color for clip in clips for actor in clip.actors if not actor.anomalous}
    assert len(odd - {""}) >= 5 and normal - {""} == set(COLORS)


@pytest.mark.parametrize("size", [(48, 80), (37, 91), (224, 112), (120, 160)])
def test_any_size(size):
    clip = world.make_clip(2, size=size, length=3, rate_hz=7.5, anomaly=True)
    assert clip.frames.shape == (3, *size, 3) and clip.anomaly_masks.any()


def test_a_single_frame():
    assert world.make_clip(2, size=(54, 96), length=1, anomaly=True).anomaly_masks.shape == (1, 54, 96)


def test_squeezed_clips_show_the_same_place():
    """At the aspect of a wide picture, a square one shows what that one shows, half as wide."""
    wide, square = (world.make_clip(2, size=(64, width), length=1, aspect=2.0, anomaly=False) for width in (128, 64))
    assert wide.environment == square.environment
    assert (wide.ground[:, ::2] == square.ground).mean() > 0.97


def test_in_a_long_clip_an_anomaly_comes_and_goes(long_clip):
    odd = [actor for actor in long_clip.actors if actor.anomalous]
    when = np.flatnonzero(odd[0].abnormal_frames)
    assert len(odd) == 1
    assert 4 * 4 < when[0] < 10 * 4 < when[-1] < 16 * 4
    assert not long_clip.anomaly_masks[: when[0]].any() and not long_clip.anomaly_masks[when[-1] + 1 :].any()


def test_in_a_long_clip_actors_enter_and_leave(long_clip):
    assert len(long_clip.actors) >= 4
    assert any(actor.areas[0] == 0 and actor.areas.any() for actor in long_clip.actors)
    assert any(actor.areas[-1] == 0 for actor in long_clip.actors)


def test_clips_in_another_ones_place_share_its_light_and_kind_and_nothing_else():
    first, alone = world.make_clip(8, **SMALL, anomaly=True), world.make_clip(9, **SMALL, anomaly=True)
    beside = world.make_clip(9, **SMALL, anomaly=True, place=8)
    odd = {actor.anomaly for actor in (*first.actors, *beside.actors)} - {""}
    assert (beside.family, beside.environment) == (first.family, first.environment) and len(odd) == 1
    assert (beside.ground == first.ground).all() and not (beside.objects == first.objects).all()
    assert beside.environment != alone.environment
    assert (world.make_clip(8, **SMALL, anomaly=True, place=8).frames == first.frames).all()


def test_a_thrown_thing_that_is_in_the_air_for_less_than_half_of_the_time_does_not_rule_a_clip_out():
    clip = world.make_clip(3_000_018, size=(63, 112), length=60, rate_hz=15.0, anomaly=True, split="test")
    seen = {actor.action: actor.abnormal_frames.mean() for actor in clip.actors if actor.anomalous}
    assert seen["throwing something"] >= 0.5 > seen["flying through the air"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"split": "holdout"}, "train, validation, test"),
        ({"seed": -1}, "at least 0"),
        ({"seed": 1.5}, "whole number"),
        ({"size": (8, 8)}, "at least 32"),
        ({"length": 0}, "at least one frame"),
        ({"rate_hz": 0.0}, "above 0 Hz"),
        ({"rate_hz": float("nan")}, "above 0 Hz"),
        ({"aspect": 9.0}, "between 0.25 and 4"),
        ({"anomalies": [("dog on the roof", 1.0)]}, "dog on the roof"),
        ({"kinds": ["flying"]}, "no anomaly 'flying'"),
        ({"anomalies": [("person running", 500.0)]}, "another seed"),
    ],
)
def test_bad_arguments_are_named(arguments, said):
    with pytest.raises(ConfigError, match=said):
        world.make_clip(**{"seed": 0, "size": (32, 32), **arguments})


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
