"""The synthetic world: clips are reproducible, labels agree with pixels, and dialogues agree with labels."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from tvau_runtime.chat import QUESTION_ANOMALY, QUESTION_ENVIRONMENT, QUESTION_TARGET, QUESTION_TRAJECTORY
from tvau_runtime.errors import ConfigError, FrameError

world = pytest.importorskip("tvau_training.world", reason="tvau_training is not installed: pip install -e .")

from tvau_training import make_demo, video_files
from tvau_training.world import dialogue as dialogues
from tvau_training.world.camera import random_camera

KINDS = {"person", "car", "van", "bicycle", "box"}


@pytest.fixture(scope="module")
def clips():
    """Sixty clips of the training split, as a coin makes them."""
    return [world.make_clip(seed) for seed in range(60)]


@pytest.fixture(scope="module")
def long_clip():
    """Twenty seconds in which somebody lies down around the tenth."""
    return world.make_clip(4, size=(60, 80), length=80, rate_hz=4.0, anomalies=[("person lying on the ground", 10.0)])


def words(text):
    return set(re.findall(r"[a-z]+", text.lower()))


def same(a, b):
    return a.frames.shape == b.frames.shape and bool((a.frames == b.frames).all() and (a.objects == b.objects).all())


def test_a_clip_has_the_promised_shapes_and_types(clips):
    clip = clips[0]
    assert clip.frames.shape == (8, 112, 112, 3) and clip.frames.dtype == np.uint8
    assert clip.objects.shape == (8, 112, 112) and clip.objects.dtype == np.uint8
    assert clip.anomaly_masks.shape == (8, 112, 112) and clip.anomaly_masks.dtype == bool
    assert clip.rate_hz == 4.0 and clip.seed == 0 and clip.split == "train"
    for actor in clip.actors:
        assert actor.boxes.shape == (8, 4) and actor.boxes.dtype == np.float32
        assert actor.kind in KINDS and actor.color in dialogues.COLORS


def test_the_same_arguments_give_the_same_clip():
    first, again = world.make_clip(11, anomaly=True), world.make_clip(11, anomaly=True)
    assert same(first, again)
    assert first.dialogue == again.dialogue and first.environment == again.environment


def test_seeds_and_splits_give_different_clips():
    made = [world.make_clip(seed, split=split, size=(48, 48), length=2) for seed in (0, 1) for split in world.SPLITS]
    for i, clip in enumerate(made):
        assert not any(same(clip, other) for other in made[:i])


def test_boxes_and_areas_are_those_of_the_masks(clips):
    for clip in clips[:12]:
        for t, ids in enumerate(clip.objects):
            assert set(np.unique(ids)) <= {0, *(actor.id for actor in clip.actors)}
            for actor in clip.actors:
                rows, columns = np.nonzero(ids == actor.id)
                assert actor.areas[t] == len(rows)
                if len(rows):
                    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                    assert actor.boxes[t].tolist() == box
                else:
                    assert np.isnan(actor.boxes[t]).all()


def test_the_picture_shows_what_the_mask_says():
    """Pixels of a black van, and only those, are dark in a bright scene: strokes and masks lie on each other."""
    clip, van = next(
        (clip, actor)
        for clip in (world.make_clip(seed, anomaly=False, length=1) for seed in range(400))
        for actor in clip.actors
        if actor.color == "black" and actor.kind == "van" and actor.areas[0] > 400 and "bright" in clip.environment
    )
    mine = clip.objects[0] == van.id
    light = clip.frames[0].mean(axis=-1)
    around = np.zeros_like(mine)
    x0, y0, x1, y1 = van.boxes[0].astype(int)
    around[max(0, y0 - 6) : y1 + 6, max(0, x0 - 6) : x1 + 6] = True
    around &= clip.objects[0] == 0
    assert np.median(light[mine]) < 60 < np.median(light[around])


def test_masks_hold_the_abnormal_actors_and_nothing_else(clips):
    for clip in clips:
        expected = np.zeros(clip.objects.shape, bool)
        for actor in clip.actors:
            for t in np.flatnonzero(actor.abnormal_frames):
                expected[t] |= clip.objects[t] == actor.id
        assert (clip.anomaly_masks == expected).all()
        assert clip.anomalous == expected.any()


def test_about_half_of_the_clips_are_abnormal_and_all_kinds_occur(clips):
    kinds = Counter(actor.anomaly for clip in clips for actor in clip.actors if actor.anomalous)
    assert 18 <= sum(clip.anomalous for clip in clips) <= 42
    assert set(kinds) <= set(world.anomalies())
    for kind in world.anomalies():
        clip = world.make_clip(3, anomalies=[(kind, 1.0)])
        assert [actor.anomaly for actor in clip.actors if actor.anomalous] == [kind]


def test_what_is_asked_for_happens():
    assert all(world.make_clip(seed, anomaly=True).anomalous for seed in range(8))
    assert not any(world.make_clip(seed, anomaly=False).anomaly_masks.any() for seed in range(8))


def test_normal_life_has_all_kinds_and_readable_sizes(clips):
    seen, heights = set(), []
    for clip in clips:
        for actor in clip.actors:
            seen.add((actor.kind, actor.action))
            inside = actor.boxes[(actor.boxes[:, :2] > 1).all(axis=1) & (actor.boxes[:, 2:] < 111).all(axis=1)]
            if actor.kind == "person" and "lying" not in actor.action and len(inside):
                heights.append(float((inside[:, 3] - inside[:, 1]).max()))
    assert {kind for kind, _ in seen} == KINDS
    assert {("person", "walking on the walkway"), ("person", "standing on the walkway")} <= seen
    assert {("car", "driving on the road"), ("car", "parked on the road"), ("bicycle", "riding on the road")} <= seen
    assert 112 / 5 <= np.median(heights) <= 112 / 3


def test_colour_does_not_give_an_anomaly_away(clips):
    odd = Counter(actor.color for clip in clips for actor in clip.actors if actor.anomalous)
    normal = Counter(actor.color for clip in clips for actor in clip.actors if not actor.anomalous)
    assert len(odd) >= 6 and len(normal) == len(dialogues.COLORS)


@pytest.mark.parametrize("size", [(48, 80), (37, 91), (224, 112), (120, 160)])
def test_any_size(size):
    clip = world.make_clip(2, size=size, length=3, rate_hz=7.5, anomaly=True)
    assert clip.frames.shape == (3, *size, 3) and clip.anomaly_masks.any()


def test_a_single_frame():
    assert world.make_clip(2, length=1, anomaly=True).anomaly_masks.shape == (1, 112, 112)


def test_squeezed_clips_show_more_of_the_scene_sideways():
    """At an aspect of 2, something as wide as high on the ground is half as wide on square pixels."""
    wide = random_camera(np.random.default_rng(0), (100, 100), 2.0)
    square = random_camera(np.random.default_rng(0), (100, 100), None)
    assert wide.focal_x == pytest.approx(wide.focal_y / 2)
    assert square.focal_x == pytest.approx(square.focal_y)
    assert world.make_clip(0, aspect=4 / 3).frames.shape == (8, 112, 112, 3)


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
        ({"anomalies": [("person running", 500.0)]}, "another seed"),
    ],
)
def test_bad_arguments_are_named(arguments, said):
    with pytest.raises(ConfigError, match=said):
        world.make_clip(**{"seed": 0, "size": (32, 32), **arguments})


# -- dialogues ----------------------------------------------------------------------------------------------------------


def test_the_anomaly_dialogue_agrees_with_the_actors(clips):
    for clip in clips:
        turns = {turn.field: turn for turn in clip.dialogue}
        assert [turn.question for turn in clip.dialogue] == [
            QUESTION_ANOMALY,
            QUESTION_TARGET,
            QUESTION_TRAJECTORY,
            QUESTION_ENVIRONMENT,
        ]
        assert turns["environment"].answer == clip.environment
        if not clip.anomalous:
            assert turns["anomaly"].answer == "No."
            assert turns["target"].answer == turns["trajectory"].answer == dialogues.NOTHING
            continue
        (actor,) = (actor for actor in clip.actors if actor.anomalous)
        assert turns["anomaly"].answer == "Yes."
        assert {actor.color, *words(actor.action)} <= words(turns["target"].answer)
        when = np.flatnonzero(actor.abnormal_frames)
        first, last = (dialogues.place_of(actor.boxes[t], (112, 112)) for t in (when[0], when[-1]))
        expected = f"it stays at the {first}" if first == last else f"from the {first} to the {last}"
        assert turns["trajectory"].answer == expected


def test_phrasings_change_the_questions_only(clips):
    clip = next(clip for clip in clips if clip.anomalous)
    asked = set()
    for seed in range(10):
        turns = world.anomaly_dialogue(clip, np.random.default_rng(seed))
        assert [(t.field, t.answer) for t in turns] == [(t.field, t.answer) for t in clip.dialogue]
        asked.update(turn.question for turn in turns)
    assert len(asked) > 8


def test_normal_dialogues_agree_with_the_actors_and_name_no_anomaly(clips):
    for clip in clips:
        if clip.anomalous:
            continue
        least = dialogues._LEAST_AREA * 112 * 112
        seen = sorted((a for a in clip.actors if a.areas[-1] >= least), key=lambda a: -a.areas[-1])
        turns = {turn.field: turn for turn in world.normal_dialogue(clip, np.random.default_rng(clip.seed))}
        assert not any(words(f"{t.question} {t.answer}") & {"anomaly", "abnormal", "unusual"} for t in turns.values())
        people = sum(actor.kind in ("person", "bicycle") for actor in seen)
        assert dialogues._NUMBERS.index(turns["people"].answer) == people
        for actor, part in zip(seen[:3], turns["scene"].answer.split(", ")):
            place = dialogues.place_of(actor.boxes[-1], (112, 112))
            assert part == f"{dialogues.describe(actor)} at the {place}"
        if "color" in turns:
            ((noun, place),) = re.findall(r"the (\w+) at the ([a-z ]+)\?", turns["color"].question)
            (actor,) = (
                a
                for a in seen
                if noun == {"bicycle": "person"}.get(a.kind, a.kind)
                and place == dialogues.place_of(a.boxes[-1], (112, 112))
            )
            assert turns["color"].answer == actor.color
        (asked,) = re.findall(r"at the ([a-z ]+)\?", turns["place"].question)
        there = [a for a in seen if dialogues.place_of(a.boxes[-1], (112, 112)) == asked]
        assert (turns["place"].answer == "nothing") == (not there)


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ((0, 0, 2, 2), "top left"),
        ((40, 40, 60, 60), "center"),
        ((90, 40, 100, 60), "right"),
        ((98, 98, 100, 100), "bottom right"),
    ],
)
def test_places(box, place):
    assert dialogues.place_of(np.array(box, np.float32), (100, 100)) == place


def test_the_corpus_is_small_reproducible_and_holds_every_word(clips):
    texts = list(world.corpus(3000, seed=1))
    assert texts == list(world.corpus(3000, seed=1)) and texts != list(world.corpus(3000, seed=2))
    vocabulary = set().union(*map(words, texts))
    assert len(vocabulary) < 400
    for clip in clips:
        turns = [*clip.dialogue, *world.normal_dialogue(clip, np.random.default_rng(0))]
        assert set().union(*(words(f"{t.question} {t.answer}") for t in turns)) <= vocabulary
        assert set().union(*(words(world.actor_words(actor)) for actor in clip.actors)) <= vocabulary


def test_an_actors_words(clips):
    actor = next(actor for clip in clips for actor in clip.actors if actor.action == "walking on the walkway")
    assert world.actor_words(actor) == f"{actor.color} person walking walkway"


def test_the_grounds_words(clips):
    clip = clips[0]
    side, light = clip.environment.split(" beside ")[1].split(", ")
    assert world.ground_words(clip) == (f"{side} {light}", f"road {light}", f"walkway {light}")


def test_imagined_dialogues_fit_together_and_do_not_tell_what_is_abnormal():
    rng = np.random.default_rng(0)
    targets = set()
    for _ in range(600):
        turns = {turn.field: turn.answer for turn in dialogues.imagined_dialogue(rng)}
        if "anomaly" in turns:
            said = [turns["target"] != dialogues.NOTHING, turns["trajectory"] != dialogues.NOTHING]
            assert said == [turns["anomaly"] == "Yes."] * 2
            assert list(turns) == ["anomaly", "target", "trajectory", "environment"]
            targets.add(turns["target"])
    for deed in ("walking on the walkway", "parked on the road", "running", "lying on the ground"):
        assert any(deed in target for target in targets), deed


# -- the demo scene -----------------------------------------------------------------------------------------------------


def test_the_demo_is_refused_when_its_anomalies_crowd():
    make_demo.check_timing([(8.0, 12.0), (18.0, 22.0)], 40.0)
    for spans in ([(2.0, 6.0)], [(8.0, 9.0)], [(8.0, 12.0), (13.0, 20.0)], [(8.0, 39.0)]):
        with pytest.raises(FrameError, match="another --seed"):
            make_demo.check_timing(spans, 40.0)


def test_the_demos_truth_is_read_off_the_labels(long_clip):
    (entry,) = make_demo.truth(long_clip)["anomalies"]
    (actor,) = (actor for actor in long_clip.actors if actor.anomalous)
    when = np.flatnonzero(actor.abnormal_frames)
    assert (entry["start_s"], entry["end_s"]) == (when[0] / 4, (when[-1] + 1) / 4)
    assert entry["boxes"]["10"] == actor.boxes[40].astype(int).tolist()


def test_a_video_is_written_whole_or_not_at_all(tmp_path, long_clip):
    video_files.write_video(long_clip.frames, 4.0, tmp_path / "clip.mp4")
    assert video_files._frame_count(tmp_path / "clip.mp4") == len(long_clip.frames)
    with pytest.raises(FrameError, match="could not write"):
        video_files.write_video(long_clip.frames, 4.0, tmp_path / "clip.unknown")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_bad_seed_is_told_without_a_traceback(tmp_path, capsys):
    assert make_demo.main(["--seed", "-3", "--out", str(tmp_path / "demo.mp4")]) == 1
    assert "seed" in capsys.readouterr().err


def test_the_shipped_demo_fits_its_truth():
    path = make_demo.DEMO
    facts = json.loads(path.with_suffix(".json").read_text())
    make_demo.check_timing([(e["start_s"], e["end_s"]) for e in facts["anomalies"]], facts["duration_s"])
    assert [e["anomaly"] for e in facts["anomalies"]] == [kind for kind, _ in make_demo.ANOMALIES]
    assert video_files._frame_count(path) == int(make_demo.DURATION_S * make_demo.RATE_HZ)
    assert path.stat().st_size < 1_500_000
