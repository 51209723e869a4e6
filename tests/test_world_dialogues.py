"""What is said about clips of the synthetic world agrees with their labels, and the demo scene with its truth."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from tvau_runtime.chat import QUESTION_ANOMALY, QUESTION_ENVIRONMENT, QUESTION_TARGET, QUESTION_TRAJECTORY
from tvau_runtime.errors import FrameError

world = pytest.importorskip("tvau_training.world", reason="tvau_training is not installed: pip install -e .")

from tvau_training import make_demo, video_files
from tvau_training.world import dialogue as dialogues
from tvau_training.world.dialogue import RIDES
from tvau_training.world.words import LIFE, imagined_deed

SIZE = (54, 96)


@pytest.fixture(scope="module")
def clips():
    """Clips of all splits, as a coin makes them."""
    splits = ("train", "validation", "test", "seen")
    return [world.make_clip(seed, split=split, size=SIZE, length=6) for split in splits for seed in range(7)]


@pytest.fixture(scope="module")
def long_clip():
    """Twenty seconds in which somebody lies down around the tenth."""
    return world.make_clip(4, size=(60, 108), length=80, rate_hz=4.0, anomalies=[("person lying on the ground", 10.0)])


def words(text):
    return set(re.findall(r"[a-z]+", text.lower()))


def test_the_anomaly_dialogue_agrees_with_the_actors(clips):
    for clip in clips:
        turns = {turn.field: turn for turn in clip.dialogue}
        assert list(turns) == ["anomaly", "target", "trajectory", "when", "why", "environment"]  # the paper's order
        asked = [turns[field].question for field in ("anomaly", "target", "trajectory", "environment")]
        assert asked == [QUESTION_ANOMALY, QUESTION_TARGET, QUESTION_TRAJECTORY, QUESTION_ENVIRONMENT]
        assert turns["environment"].answer == clip.environment
        if not clip.anomalous:
            assert turns["anomaly"].answer == "No."
            assert {turns[field].answer for field in ("target", "trajectory", "when", "why")} == {dialogues.NOTHING}
            continue
        odd = [actor for actor in clip.actors if actor.abnormal_frames.any()]
        actor = max(odd, key=lambda each: each.areas[each.abnormal_frames].sum())
        assert turns["anomaly"].answer == "Yes."
        # "riding" is said with what is ridden
        assert words(actor.action) <= words(turns["target"].answer)
        assert actor.kind == "fire" or {actor.color} - {""} <= words(turns["target"].answer)
        when = np.flatnonzero(actor.abnormal_frames)
        first, last = (dialogues.place_of(actor.boxes[t], SIZE) for t in (when[0], when[-1]))
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


def _asked(turns, seen):
    """Whose way is asked for."""
    (actor,) = (a for a in seen if turns["way"].question[:-1].endswith(f"is {dialogues.doing_of(a.kind, a.doing())}"))
    return actor


def test_normal_dialogues_agree_with_the_actors_and_name_no_anomaly(clips):
    told = 0
    for clip in clips:
        if clip.anomalous:
            continue
        least = dialogues._LEAST_AREA * SIZE[0] * SIZE[1]
        seen = sorted((a for a in clip.actors if a.areas[-1] >= least), key=lambda a: -a.areas[-1])
        turns = {turn.field: turn for turn in world.normal_dialogue(clip, np.random.default_rng(clip.seed))}
        assert not any(words(f"{t.question} {t.answer}") & {"anomaly", "abnormal", "unusual"} for t in turns.values())
        people = sum(actor.kind in ("person", *RIDES) for actor in seen)
        assert dialogues._NUMBERS.index(turns["people"].answer) == min(people, 9)
        for actor in seen[:3]:
            place = dialogues.place_of(actor.boxes[-1], SIZE)
            assert f"{dialogues.describe(actor, actor.doing())} at the {place}" in turns["scene"].answer
        if "color" in turns:
            ((noun, place),) = re.findall(r"the (\w+) at the ([a-z ]+)\?", turns["color"].question)
            (actor,) = (
                a
                for a in seen
                if noun == ("person" if a.kind in RIDES else a.kind) and place == dialogues.place_of(a.boxes[-1], SIZE)
            )
            assert turns["color"].answer == actor.color
            told += 1
        if "clothes" in turns:
            (place,) = re.findall(r"the person at the ([a-z ]+) wear", turns["clothes"].question)
            (actor,) = (
                a for a in seen if a.kind in ("person", *RIDES) and place == dialogues.place_of(a.boxes[-1], SIZE)
            )
            assert turns["clothes"].answer in dialogues.describe(actor)
        if "who" in turns:
            (actor,) = (
                a for a in seen if turns["who"].question[:-1].endswith(f"is {dialogues.doing_of(a.kind, a.doing())}")
            )
            place = dialogues.place_of(actor.boxes[-1], SIZE)
            assert dialogues.describe(actor).startswith(turns["who"].answer.removesuffix(f" at the {place}"))
            assert turns["way"].answer.endswith(f" the {dialogues.place_of(_asked(turns, seen).boxes[-1], SIZE)}")
        (asked,) = re.findall(r"at the ([a-z ]+)\?", turns["place"].question)
        there = [a for a in seen if dialogues.place_of(a.boxes[-1], SIZE) == asked]
        assert (turns["place"].answer == "nothing") == (not there)
    assert told


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
    texts = list(world.corpus(6000, seed=1))
    assert texts == list(world.corpus(6000, seed=1)) and texts != list(world.corpus(6000, seed=2))
    vocabulary = set().union(*map(words, texts))
    assert len(vocabulary) < 600
    for clip in clips:
        turns = [*clip.dialogue, *world.normal_dialogue(clip, np.random.default_rng(0))]
        assert set().union(*(words(f"{t.question} {t.answer}") for t in turns)) <= vocabulary
        assert set().union(*(words(world.actor_words(actor)) for actor in clip.actors)) <= vocabulary


def test_an_actors_words(clips):
    actors = (actor for clip in clips for actor in clip.actors if actor.color)
    actor = next(actor for actor in actors if actor.action.startswith("walking on the "))
    assert (
        world.actor_words(actor) == f"{actor.color} {actor.kind} walking {actor.action.removeprefix('walking on the ')}"
    )


def test_the_grounds_words(clips):
    for clip in clips[:4]:
        _, light = clip.environment.split(", ", 1)
        assert all(name.endswith(light) for name in world.ground_words(clip))


def test_imagined_dialogues_fit_together_and_do_not_tell_what_is_abnormal():
    rng = np.random.default_rng(0)
    targets = set()
    for _ in range(8000):
        turns = {turn.field: turn.answer for turn in dialogues.imagined_dialogue(rng)}
        if "anomaly" in turns:
            said = [turns[field] != dialogues.NOTHING for field in ("target", "trajectory", "when", "why")]
            assert said == [turns["anomaly"] == "Yes."] * 4
            assert list(turns) == ["anomaly", "target", "trajectory", "when", "why", "environment"]
            targets.add(turns["target"])
    for deed in ("walking on the walkway", "parked", "running", "lying on the ground"):
        assert any(deed in target for target in targets), deed


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


def test_every_deed_is_spoken_of_often_enough_to_be_learned():
    rng = np.random.default_rng(0)
    drawn = Counter(imagined_deed(rng) for _ in range(20_000))
    assert set(drawn) == set(LIFE)
    assert min(drawn["person", deed] for deed in ("lying on the ground", "running", "crawling", "fighting")) > 300
    text = " ".join(world.corpus(20_000, seed=1))
    assert min(text.count(word) for word in ("lying", "crawling", "dancing", "staggering")) > 120
