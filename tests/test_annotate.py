"""The annotation pipeline's parts: answers and their repair, linking over time, refinement, verification, dialogues."""

import itertools
import json
import math
from collections.abc import Iterable

import numpy as np
import pytest

pytest.importorskip("json_repair", reason="the annotation pipeline is not installed")
pytest.importorskip("scipy", reason="the annotation pipeline is not installed")

from tvau_runtime.chat import QUESTION_ANOMALY, QUESTION_ENVIRONMENT, QUESTION_TARGET, QUESTION_TRAJECTORY
from tvau_runtime.errors import FrameError
from tvau_training.annotate.annotator import PATCH, Request, fit_image
from tvau_training.annotate.dialogues import Scene, anomaly_turns, describe, narration_turns, way
from tvau_training.annotate.observations import Claim, Observation, consensus, iou, likeness
from tvau_training.annotate.prompts import FORMAT_EXAMPLE, frame_prompt
from tvau_training.annotate.refinement import Mask, blur_background, find_anomalies, fuse
from tvau_training.annotate.schema import MAX_TARGETS, AnswerError, parse_answer
from tvau_training.annotate.timelines import Linking, assign, link, summarize
from tvau_training.annotate.verification import REASONS, count, plausible, verify
from tvau_training.talks import read_talks

SIZE = (240, 320)
TARGET = {
    "category": "Person", "appearance": "a red top", "action": "walking", "box": [10, 20, 30, 60], "confidence": 0.9
}  # fmt: skip


def text_of(*targets, **more):
    return json.dumps({"targets": list(targets), **more})


# Answers


def test_a_valid_answer_is_taken_as_it_is():
    parsed = parse_answer(text_of(TARGET, environment="A road"), SIZE)
    (target,) = parsed.answer.targets
    assert not parsed.repaired
    assert (target.category, target.box, parsed.answer.environment) == ("person", (10, 20, 30, 60), "a road")
    assert parse_answer('{"targets": []}', SIZE).answer.targets == []


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{text_of(TARGET)}\n```",
        text_of(TARGET).replace("}]", "},]").replace("0.9}", "0.9,}"),
        f"Here it is: {text_of(TARGET)} Good luck!",
        text_of(TARGET).replace('"', "'"),
        text_of(TARGET)[:-2],
        json.dumps([TARGET]),
        text_of({**{k: v for k, v in TARGET.items() if k != "box"}, "bbox_2d": TARGET["box"]}),
    ],
    ids=["fence", "trailing commas", "prose around", "single quotes", "no end", "bare list", "the model's own name"],
)
def test_what_can_be_repaired(text):
    (target,) = parse_answer(text, SIZE).answer.targets
    assert (target.category, target.box) == ("person", (10, 20, 30, 60))


@pytest.mark.parametrize(
    ("text", "kind", "named"),
    [
        ("", "no JSON", "no JSON object"),
        ("I am sorry, but I see nothing.", "no JSON", "no JSON object"),
        ('{"objects": []}', "schema", "targets"),
        (text_of({**TARGET, "confidence": 90}), "schema", "targets.0.confidence"),
        (text_of({**TARGET, "box": [30, 20, 10, 60]}), "schema", "x_min < x_max"),
        (text_of({**TARGET, "box": [10, 20, 30]}), "schema", "targets.0.box"),
        (text_of({**TARGET, "box": [10, 20, 30, math.inf]}), "schema", "targets.0.box"),
        (text_of({**TARGET, "category": " "}), "schema", "targets.0.category"),
        (text_of({**TARGET, "action": None}), "schema", "targets.0.action"),
        (text_of(*[TARGET] * (MAX_TARGETS + 1)), "schema", "targets"),
        (text_of(TARGET)[:60], "schema", "targets.0"),
        (text_of({**TARGET, "box": [10, 20, 900, 60]}), "box outside the image", "320 x 240"),
    ],
)
def test_what_cannot_be_used_says_why(text, kind, named):
    with pytest.raises(AnswerError, match=named) as caught:
        parse_answer(text, SIZE)
    assert caught.value.kind == kind


def test_boxes_that_reach_a_little_out_are_cut():
    (target,) = parse_answer(text_of({**TARGET, "box": [-5, -3, 330, 245]}), SIZE).answer.targets
    assert target.box == (0, 0, 320, 240)


def test_the_prompt_shows_what_would_be_valid():
    assert len(parse_answer(json.dumps(FORMAT_EXAMPLE), SIZE).answer.targets) == 2
    plain, refined, again = frame_prompt(SIZE), frame_prompt(SIZE, refined=True), frame_prompt(SIZE, reason="no box")
    assert "320 x 240 pixels" in plain and json.dumps(FORMAT_EXAMPLE) in plain
    assert "blurred" in refined and "blurred" not in plain
    assert "no box" in again


@pytest.mark.parametrize(("height", "width"), [(240, 320), (720, 1280), (30, 2000), (9, 9), (336, 448), (2160, 3840)])
def test_images_are_fitted_to_whole_patches(height, width):
    fitted = fit_image(np.zeros((height, width, 3), np.uint8), 1280 * PATCH * PATCH)
    assert fitted.shape[0] % PATCH == fitted.shape[1] % PATCH == 0
    assert 4 * PATCH * PATCH <= fitted.shape[0] * fitted.shape[1] <= 1280 * PATCH * PATCH
    if min(height, width) > 28:
        assert 0.85 < fitted.shape[1] / fitted.shape[0] / (width / height) < 1.18


def test_questions_are_told_apart_by_all_that_matters():
    image = np.zeros((56, 56, 3), np.uint8)
    other = image.copy()
    other[0, 0, 0] = 1
    asked = [Request(image, "a"), Request(other, "a"), Request(image, "b"), Request(image, "a", 1)]
    keys = {each.key("model") for each in asked} | {asked[0].key("other model")}
    assert len(keys) == 5
    assert Request(image.copy(), "a").key("model") in keys


# Timelines


def seen(frame, x, y, looks="a red top", action="walking", category="person", confidence=0.9, refined=False, size=20):
    claim = Claim(category, looks, action, confidence, refined)
    return Observation(frame, frame / 4, (x - size / 2, y - size, x + size / 2, y + size), (claim,))


def walk(start, step, frames: Iterable[int] = range(16), y=120, **more):
    return [seen(t, start + step * t, y, **more) for t in frames]


def best_by_trying(costs, limit):
    """The largest sum of limit - cost over all one-to-one pairings."""
    rows, columns = costs.shape
    best = 0.0
    for chosen in itertools.product(range(-1, columns), repeat=rows):
        used = [c for c in chosen if c >= 0]
        if len(used) == len(set(used)):
            best = max(best, sum(limit - costs[r, c] for r, c in enumerate(chosen) if c >= 0 and costs[r, c] < limit))
    return best


@pytest.mark.parametrize("seed", range(40))
def test_assignment_is_as_good_as_trying_all(seed):
    rng = np.random.default_rng(seed)
    costs = rng.uniform(0, 2, rng.integers(1, 5, 2))
    costs[rng.random(costs.shape) < 0.2] = np.inf
    pairs = assign(costs, 1.2)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    assert sum(1.2 - costs[pair] for pair in pairs) == pytest.approx(best_by_trying(costs, 1.2))


def test_assignment_of_nothing():
    assert assign(np.zeros((0, 3)), 1.0) == assign(np.zeros((3, 0)), 1.0) == []


def test_two_who_pass_each_other_keep_their_identities():
    left, right = walk(20, 15), walk(300, -15, looks="a blue top", y=128)
    timelines = link(left + right)
    assert [t.appearance for t in timelines] == ["a red top", "a blue top"]
    assert all(len(t.observations) == 16 for t in timelines)


def test_even_in_the_same_looks_they_go_on_as_they_went():
    timelines = link(walk(20, 15) + walk(300, -15, y=130))
    ends = sorted(t.observations[-1].box[0] - t.observations[0].box[0] for t in timelines)
    assert ends == [-225, 225]


def test_a_gap_is_bridged_and_a_long_one_is_not():
    frames = [t for t in range(24) if not 8 <= t < 13]
    (bridged,) = link(walk(20, 6, frames))
    assert bridged.box_at(2.5) == pytest.approx(seen(10, 80, 120).box)
    assert bridged.box_at(-0.1) is None and bridged.box_at(6) is None
    assert len(link(walk(20, 6, frames), Linking(max_gap_s=1.0))) == 2


def test_one_wrong_word_changes_nobody():
    path = walk(20, 6)
    path[5] = seen(5, 50, 120, looks="a green top")
    (timeline,) = link(path)
    assert timeline.appearance == "a red top"
    assert timeline.agreement == pytest.approx(15 / 16)


def test_what_moves_how():
    path = [seen(t, 20 + 10 * min(t, 10), 60 + 10 * max(t - 10, 0)) for t in range(21)]
    (timeline,) = link(path)
    (turn,) = timeline.turns
    assert abs(turn - 10) <= 1
    assert np.median(timeline.speeds) == pytest.approx(40 / math.hypot(20, 40), rel=0.05)
    assert link(walk(20, 0))[0].speeds == pytest.approx(0, abs=1e-6)
    assert link(walk(20, 10))[0].turns == ()


def test_states_follow_each_other_and_slips_are_none():
    path = walk(20, 6, range(8)) + [seen(t, 68, 120, action="standing") for t in range(8, 20)]
    path[12] = seen(12, 68, 120, action="running")
    (timeline,) = link(path)
    assert [state.action for state in timeline.states] == ["walking", "standing"]
    assert timeline.states[0].end_s == pytest.approx(1.75, abs=0.26)
    assert timeline.action_at(0) == "walking" and timeline.action_at(99) == "standing"


def test_likeness_of_free_text():
    assert likeness("a red top", "the red top") == 1
    assert likeness("a red top", "a blue top") == pytest.approx(1 / 3)
    assert likeness("running", "walking") == likeness("", "a") == 0
    claims = [
        Claim("", text, "", 0.9) for text in ("red shirt, dark trousers", "a red shirt", "red shirt and jeans", "blue")
    ]
    assert consensus(claims, lambda claim: claim.appearance) == ("a red shirt", 0.75)


def test_iou():
    assert iou((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert iou((0, 0, 10, 10), (10, 0, 20, 10)) == 0


# Refinement


def mask_at(x, y, size=20):
    mask = np.zeros(SIZE, bool)
    mask[y - size : y + size, x - size // 2 : x + size // 2] = True
    return mask


def test_blur_leaves_the_abnormal_sharp():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (*SIZE, 3), np.uint8)
    mask = mask_at(100, 120)
    blurred = blur_background(rgb, mask)
    assert (blurred[mask] == rgb[mask]).all()
    far = blurred[:40].astype(float)
    assert far.std() < 0.2 * rgb[:40].std()
    with pytest.raises(FrameError, match="mask"):
        blur_background(rgb, mask[:10])


def test_masks_are_kept_as_they_were():
    mask = np.random.default_rng(1).random((37, 41)) < 0.5
    assert (Mask(mask).array() == mask).all()
    with pytest.raises(FrameError, match="bool"):
        Mask(mask.astype(np.uint8))


def test_what_is_on_a_mask():
    mask = Mask(mask_at(100, 120) | mask_at(200, 120))
    assert mask.on((90, 100, 110, 140)) == 1
    assert mask.on((90, 100, 110, 125)) == pytest.approx(25 / 40)
    assert mask.on((90, 100, 110, 115)) == 0  # less than half of the region
    assert mask.on((0, 0, 320, 240)) == 0  # half of the street
    assert mask.on((20, 20, 60, 60)) == 0


def test_both_passes_become_one():
    plain = [*walk(20, 6), *walk(250, 0, looks="a blue top")]
    masks = {t: Mask(mask_at(20 + 6 * t, 120)) for t in range(4, 12)}
    again = [seen(t, 20 + 6 * t + 1, 120, refined=True) for t in range(4, 12) if t != 6]
    stray = [seen(8, 250, 120, looks="a blue top", refined=True)]
    fused, counts = fuse([each for each in plain if each.frame != 9], again + stray, masks)
    assert counts == {"confirmed": 6, "added": 1, "outside the mask": 1}
    timelines = link(fused)
    (anomaly,) = find_anomalies(timelines, masks)
    assert anomaly.frames == tuple(range(4, 12))
    assert anomaly.confirmed == pytest.approx(7 / 8) and anomaly.cover > 0.9
    assert next(t for t in timelines if t.id == anomaly.timeline).appearance == "a red top"


# Verification


def verified(observations):
    return verify(link(observations))


def test_what_fits_together_stays_as_it_is():
    found = verified([*walk(20, 6), *walk(250, 0, looks="blue", action="parked", category="car")])
    assert found.findings == ()
    assert [(t.id, t.appearance, t.states[0].action) for t in found.timelines] == [
        (1, "a red top", "walking"), (2, "blue", "parked")
    ]  # fmt: skip


def test_wrong_looks_and_categories_are_replaced():
    path = walk(20, 6)
    path[5], path[9] = seen(5, 50, 120, looks="a green hat"), seen(9, 74, 120, category="car")
    found = verified(path)
    assert count(found.findings) == {"looks differ, resolved": 1, "category differs, resolved": 1}
    (timeline,) = found.timelines
    assert {(c.category, c.appearance) for o in timeline.observations for c in o.claims} == {("person", "a red top")}
    assert timeline.agreement < 1


@pytest.mark.parametrize(("step", "wrong", "right"), [(8, "standing", "walking"), (0, "running", "standing")])
def test_actions_that_the_movement_contradicts_are_overruled(step, wrong, right):
    path = [seen(t, 20 + step * t, 120, action=right if t < 5 else wrong) for t in range(16)]
    found = verified(path)
    assert count(found.findings) == {"action contradicts movement, resolved": 11}
    assert [state.action for state in found.timelines[0].states] == [right]


def test_where_every_claim_contradicts_the_movement_the_target_goes():
    found = verified(walk(20, 8, action="sitting on a bench"))
    assert found.timelines == ()
    assert count(found.findings) == {"action contradicts movement, dropped": 16}


def test_two_who_exchanged_bodies_are_parted():
    """One box each, but from the middle on each is described as the other was: they stood close and were mistaken."""
    first = [seen(t, 100 + t, 120, "a red top" if t < 10 else "a blue coat") for t in range(20)]
    second = [seen(t, 130 - t, 120, "a blue coat" if t < 10 else "a red top") for t in range(20)]
    whole = [summarize(1, first), summarize(2, second)]
    found = verify(whole)
    assert count(found.findings) == {"looks change for good, resolved": 2}
    assert sorted(t.appearance for t in found.timelines) == ["a blue coat", "a red top"]
    for timeline in found.timelines:
        assert len(timeline.observations) == 20
        assert {c.appearance for o in timeline.observations for c in o.claims} == {timeline.appearance}


def test_a_timeline_that_becomes_somebody_else_is_cut():
    path = [seen(t, 20 + 6 * t, 120, "a red top" if t < 8 else "a blue coat") for t in range(16)]
    found = verify([summarize(1, path)])
    assert [(t.appearance, len(t.observations)) for t in found.timelines] == [("a red top", 8), ("a blue coat", 8)]


def test_a_box_off_its_way_is_left_out():
    path = walk(20, 6)
    path[7] = seen(7, 62, 170)
    found = verify([summarize(1, path)])
    assert count(found.findings) == {"box off its way, dropped": 1}
    assert len(found.timelines[0].observations) == 15
    assert found.timelines[0].box_at(7 / 4) == pytest.approx(seen(7, 62, 120).box)


def test_a_timeline_whose_boxes_all_lie_apart_is_dropped():
    jumping = [seen(t, 20 + 200 * (t % 2), 120) for t in range(4)]
    found = verify([summarize(1, jumping), summarize(2, walk(20, 6, y=60))])
    assert len(found.timelines) == 1
    assert count(found.findings) == {"box off its way, dropped": 4}


def test_who_is_anybodys_guess_or_hardly_seen_is_dropped():
    looks = ["red", "green hat", "blue coat", "white shirt", "black bag", "yellow vest"]
    guess = [seen(t, 20 + 6 * t, 120, looks[t % 6]) for t in range(16)]
    found = verify([summarize(1, guess), summarize(2, walk(200, 0, range(2), action="standing"))])
    assert found.timelines == ()
    assert count(found.findings) == {"no agreement on looks, dropped": 1, "seen too rarely, dropped": 1}


def test_nobody_is_there_twice():
    once, again = walk(20, 6), [seen(t, 21 + 6 * t, 120, looks="a crimson top") for t in range(3, 12)]
    found = verify([summarize(1, once), summarize(2, again)])
    assert count(found.findings) == {"same place as another, dropped": 1}
    assert [t.appearance for t in found.timelines] == ["a red top"]


def test_every_reason_has_a_direction():
    assert set(REASONS.values()) == {"appearance -> motion", "motion -> appearance"}


@pytest.mark.parametrize(
    ("action", "speed", "fits"),
    [
        ("walking on the walkway", 0.5, True), ("walking on the walkway", 0.01, False), ("walking", 3.0, False),
        ("parked on the road", 0.0, True), ("parked on the road", 0.8, False), ("Running away", 0.1, False),
        ("fighting with somebody", 0.0, True), ("riding a bicycle", 1.2, True),
    ],
)  # fmt: skip
def test_what_can_be_done_at_which_speed(action, speed, fits):
    assert plausible(action, speed) is fits


# Dialogues


def scene(timelines, **more):
    given = {"environment": "a road, evening", "abnormal": True, "anomalies": {timelines[0].id: (1.0, 3.0)}} | more
    return Scene(size=SIZE, start_s=0.0, end_s=3.75, targets=timelines, **given)


def test_the_papers_questions_in_order():
    (timeline,) = link(walk(20, 15))
    turns = anomaly_turns(scene([timeline]))
    assert [turn.question for turn in turns] == [
        QUESTION_ANOMALY, QUESTION_TARGET, QUESTION_TRAJECTORY, "When does it happen?", QUESTION_ENVIRONMENT
    ]  # fmt: skip
    assert [turn.answer for turn in turns] == [
        "Yes.", "a person with a red top walking", "from the left to the center", "from 1.0 to 3.0 seconds", "a road, evening"
    ]  # fmt: skip


def test_what_is_not_known_is_not_asked():
    (timeline,) = link(walk(20, 15))
    unknown = anomaly_turns(scene([timeline], anomalies={}, environment=""))
    assert [(turn.field, turn.answer) for turn in unknown] == [("anomaly", "Yes.")]
    assert [turn.field for turn in anomaly_turns(scene([timeline], abnormal=None, anomalies={}))] == ["environment"]
    normal = anomaly_turns(scene([timeline], abnormal=False, anomalies={}))
    assert [turn.answer for turn in normal] == ["No.", "nothing abnormal", "nothing abnormal", "a road, evening"]


def test_phrasings_differ_and_answers_do_not():
    (timeline,) = link(walk(20, 15))
    usual = anomaly_turns(scene([timeline]))
    others = [anomaly_turns(scene([timeline]), np.random.default_rng(seed)) for seed in range(8)]
    assert all([t.answer for t in other] == [t.answer for t in usual] for other in others)
    assert len({tuple(t.question for t in other) for other in others}) > 4


def test_a_way_with_a_turn_begins_and_ends_where_it_does():
    (timeline,) = link([seen(t, 40 + 12 * min(t, 20), 40 + 8 * max(t - 20, 0), size=16) for t in range(41)])
    told = way(timeline, SIZE, 0, 99)
    assert told == "from the top left to the top right, then to the bottom right"


def test_words_for_things_and_for_people():
    (car,) = link(walk(20, 0, looks="orange", action="parked on the road", category="car"))
    assert describe(car, 0, 4) == "an orange car parked on the road"
    (narrated, *_) = narration_turns(scene([car]))
    assert narrated.answer == "an orange car parked on the road at the left"
    assert narration_turns(scene([car]))[1].question == "How does the orange car move?"


def test_a_line_separator_in_an_answer_breaks_no_file(tmp_path):
    (target,) = parse_answer(json.dumps({"environment": "a road\u2028wet", "targets": [{**TARGET, "action": "walking\n on"}]}),
                             (100, 100)).answer.targets  # fmt: skip
    assert target.action == "walking on"
    path = tmp_path / "dialogues.jsonl"
    turn = {"question": "Where?", "answer": "a\u2028b\x85c", "field": "environment"}
    path.write_text(json.dumps({"clip": "a", "turns": [turn]}, ensure_ascii=False) + "\n", encoding="utf-8")
    (talk,) = read_talks(path)
    assert talk.turns[0].answer == turn["answer"]
    path.write_text("")
    assert read_talks(path) == []
