"""What an answer says against its evidence: yes and no, places, sides and ways; and what is none of its business."""

import dataclasses

import pytest

from tvau_runtime.chat import QUESTION_ANOMALY, QUESTION_ENVIRONMENT, QUESTION_TARGET, QUESTION_TRAJECTORY
from tvau_runtime.grounding import PLACES, way_words
from tvau_runtime.guard import SURE, find_contradictions, is_contradicted
from tvau_runtime.types import Evidence

SHOWN = Evidence(
    anomaly=True,
    yes_probability=0.6,
    probability=0.5,
    score=0.9,
    box=(0.0, 0.0, 10.0, 10.0),
    place="left",
    places=("left", "top", "top right"),
    peak_ns=0,
    start_ns=0,
    end_ns=1,
    window_start_ns=0,
    window_end_ns=1,
)
LIKELY, UNLIKELY = (dataclasses.replace(SHOWN, probability=p) for p in (0.97, 0.03))
STILL = dataclasses.replace(SHOWN, places=("left",))
FLAT = [(row, column) for row in range(3) for column in range(3)]


def found(question, text, evidence=SHOWN):
    return [
        (f.contradiction.kind, f.contradiction.said, f.opening) for f in find_contradictions(question, text, evidence)
    ]


@pytest.mark.parametrize(
    ("question", "text", "evidence", "expected"),
    [
        (QUESTION_ANOMALY, "Yes.", UNLIKELY, [("anomaly", "Yes", "No")]),
        (QUESTION_ANOMALY, "No, all is well.", LIKELY, [("anomaly", "No", "Yes")]),
        ("Do you see anything abnormal?", "no", LIKELY, [("anomaly", "no", "Yes")]),
        (QUESTION_TARGET, "There is nothing unusual.", LIKELY, [("anomaly", "nothing unusual", "")]),
        (QUESTION_TARGET, "Everything looks normal", LIKELY, [("anomaly", "Everything looks normal", "")]),
        (QUESTION_TRAJECTORY, "nothing abnormal", LIKELY, [("anomaly", "nothing abnormal", "from the left to the top right")]),
        (QUESTION_ANOMALY, "Yes.", SHOWN, []),
        (QUESTION_ANOMALY, "No.", SHOWN, []),
        ("Is it red?", "Yes.", UNLIKELY, []),
        (QUESTION_TARGET, "nothing abnormal", UNLIKELY, []),
        (QUESTION_ENVIRONMENT, "There is nothing unusual.", LIKELY, []),
    ],
)  # fmt: skip
def test_yes_and_no_against_how_likely_an_anomaly_is(question, text, evidence, expected):
    assert found(question, text, evidence) == expected


@pytest.mark.parametrize(
    ("likely", "yes", "wrong"),
    [
        (SURE, 0.5, (False, True)),
        (SURE - 1e-6, 0.5, (False, False)),
        (1 - SURE, 0.5, (True, False)),
        (1 - SURE + 1e-6, 0.5, (False, False)),
        (0.9, 0.2, (False, True)),
        (0.9, 0.05, (False, False)),
        (0.1, 0.8, (True, False)),
        (0.1, 0.95, (False, False)),
        (1.0, 1.0, (False, True)),
        (0.0, 0.0, (True, False)),
    ],
)
def test_heat_maps_must_be_sure_and_surer_than_the_language_model(likely, yes, wrong):
    """likely: p(anomaly) of the heat maps; yes: the language model's p(yes); wrong: whether they contradict a yes, and a no."""
    evidence = dataclasses.replace(SHOWN, probability=likely, yes_probability=yes)
    assert (is_contradicted(True, evidence), is_contradicted(False, evidence)) == wrong


@pytest.mark.parametrize(
    ("question", "text", "expected"),
    [
        (
            QUESTION_TARGET,
            "A man at the bottom right of the image.",
            [("place", "the bottom right", "A man at the left")],
        ),
        ("Where is the target?", "at the BOTTOM", [("place", "the BOTTOM", "at the left")]),
        (QUESTION_TARGET, "a man at the left", []),
        (QUESTION_TARGET, "a man at the top right", []),
        (QUESTION_TARGET, "a man at the right", []),  # a side: the top right is along it
        (QUESTION_TARGET, "a man who left the room, right away and on top of things", []),
        ("Is it on the right?", "Yes.", []),
        ("Is it on the right?", "No.", [("place", "No: the right", "Yes")]),
        ("Is it at the bottom?", "yes, it is", [("place", "yes: the bottom", "No")]),
        ("Is it at the bottom?", "It may be.", []),
        ("What do you see at the left?", "a car at the bottom", []),
        ("Describe the scene.", "a car at the bottom, a man at the center", []),
        (QUESTION_TARGET, "a person lying in the middle of the road", []),
        (QUESTION_TARGET, "a man standing to the right of the car", []),
        ("What does it wear?", "The top is white.", []),
        (QUESTION_TARGET, "a man on the bottom side of the picture", [("place", "the bottom", "a man on the left")]),
        (QUESTION_TARGET, "a man at the bottom right of the road", []),
        (QUESTION_TARGET, "a car in the bottom right lane", []),
        (
            QUESTION_TARGET,
            "a man with a bag on the right shoulder at the bottom",
            [("place", "the bottom", "a man with a bag on the right shoulder at the left")],
        ),
        ("Was it at the bottom first?", "yes", []),
        ("Does it move down the left side?", "No.", []),
        ("Where does the anomaly appear?", "at the top right", []),
    ],
)
def test_where_the_target_is_said_to_be(question, text, expected):
    assert found(question, text) == expected


@pytest.mark.parametrize(
    ("question", "text", "wrong"),
    [
        (QUESTION_TRAJECTORY, "from the left to the top right", None),
        (QUESTION_TRAJECTORY, "The man enters at the middle left and walks to the upper-right corner.", None),
        (QUESTION_TRAJECTORY, "from the left over the top to the top right", None),
        (QUESTION_TRAJECTORY, "from the left side to the right", "the left side to the right"),
        (QUESTION_TRAJECTORY, "it stays at the left", "the left"),
        (QUESTION_TRAJECTORY, "it does not move", "does not move"),
        ("How does it move?", "It walks rightwards.", None),
        ("How does it move?", "It walks to the left.", "to the left"),
        ("How does it move?", "from top to bottom", "from top to bottom"),
        ("Where did it come from?", "From the left.", None),
        ("Where did it come from?", "From the bottom right.", "the bottom right"),
        ("Where does it go?", "It goes to the top right.", None),
        ("Where is it now?", "at the center", "the center"),
        ("Does it move to the right?", "Yes, it does.", None),
        ("Does it move to the right?", "No.", "No: to the right"),
        ("Does it move from the right to the left?", "Yes.", "Yes: to the left"),
        ("Is it heading towards the left?", "No, to the right.", None),
        ("Did it come from the right?", "No.", None),
        ("Where did it appear?", "at the top right", "the top right"),
        ("What is it?", "a car that drives downwards", "downwards"),
        (QUESTION_TRAJECTORY, "somewhere", None),
        (QUESTION_TRAJECTORY, "", None),
        (QUESTION_ENVIRONMENT, "a road from the top to the bottom", None),
    ],
)
def test_how_the_target_is_said_to_move(question, text, wrong):
    got = [(kind, said) for kind, said, _ in found(question, text)]
    assert got == ([] if wrong is None else [("movement", wrong)])


def test_where_nothing_is_abnormal_its_heat_is_no_target():
    quiet = dataclasses.replace(UNLIKELY, anomaly=False)
    for question, text in (
        ("Is the person on the left suspicious?", "No."),
        ("Is it at the left?", "No, there is nothing abnormal."),
        (QUESTION_TARGET, "a man at the bottom"),
        (QUESTION_TRAJECTORY, "from the bottom to the center"),
    ):
        assert found(question, text, quiet) == []
        assert found(question, text, LIKELY)
        assert any(kind != "anomaly" for kind, _, _ in found(question, text, UNLIKELY)), "the language model finds one"


def test_nothing_at_one_place_is_well_said_of_what_is_at_another():
    question = "Is there anything unusual at the bottom right?"
    assert found(question, "No.", LIKELY) == []
    assert found(question, "Yes.", LIKELY) == [("place", "Yes: the bottom right", "No")]
    assert {opening for _, _, opening in found(question, "Yes.", UNLIKELY)} == {"No"}


@pytest.mark.parametrize("who", ["it", "the target", "the abnormal person"])
def test_however_the_target_is_called_its_way_is_asked_for(who):
    said = [("movement", "the bottom to the top right", "from the left to the top right")]
    assert found(f"How does {who} move?", "from the bottom to the top right") == said


def test_of_a_target_that_stays_no_direction_is_refuted():
    """It may move within its region; that it goes elsewhere is."""
    assert found("How does it move?", "It walks to the left.", STILL) == []
    assert found(QUESTION_TRAJECTORY, "from the left to the top", STILL) == [
        ("movement", "the left to the top", "it stays at the left")
    ]


def test_every_way_in_words_is_right_for_its_places_alone():
    for first in FLAT:
        for last in FLAT:
            names = [PLACES[row][column] for row, column in (first, last)]
            words = way_words(first, last)
            there = dataclasses.replace(SHOWN, places=tuple(dict.fromkeys(names)))
            assert found(QUESTION_TRAJECTORY, words, there) == []
            row, column = FLAT[(FLAT.index(last) + 1) % 9]
            elsewhere = dataclasses.replace(SHOWN, places=(names[0], PLACES[row][column]))
            assert [opening for _, _, opening in found(QUESTION_TRAJECTORY, words, elsewhere)] == [
                way_words(first, (row, column))
            ]


def test_what_an_answer_may_begin_with_contradicts_nothing():
    for question, text, evidence in (
        (QUESTION_ANOMALY, "Yes.", UNLIKELY),
        (QUESTION_TRAJECTORY, "nothing abnormal", LIKELY),
        (QUESTION_TARGET, "A man at the bottom right", SHOWN),
        ("Where did it come from?", "From the bottom.", SHOWN),
    ):
        (finding,) = find_contradictions(question, text, evidence)
        assert find_contradictions(question, finding.opening, evidence) == []
