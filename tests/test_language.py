"""BLEU-4 and yes or no against figures worked out by hand."""

import math

import pytest

pytest.importorskip("sacrebleu", reason="language figures need sacrebleu")

from tvau_training.language import Heard, bleu4, constant_answers, language_figures
from tvau_training.talks import Talk
from tvau_training.world import Turn


def slow_bleu(pairs):
    """BP * exp(1/4 sum log p_n), over lists of words."""
    right, there = [0] * 4, [0] * 4
    for said, true in pairs:
        for n in range(1, 5):
            mine = [tuple(said[i : i + n]) for i in range(len(said) - n + 1)]
            left = [tuple(true[i : i + n]) for i in range(len(true) - n + 1)]
            there[n - 1] += len(mine)
            for gram in mine:
                if gram in left:
                    left.remove(gram)
                    right[n - 1] += 1
    said, true = (sum(len(pair[i]) for pair in pairs) for i in (0, 1))
    penalty = min(1.0, math.exp(1 - true / said))
    return penalty * math.exp(sum(math.log(r / t) for r, t in zip(right, there, strict=True)) / 4)


def test_bleu_is_its_definition_over_the_whole_corpus():
    pairs = [
        ("from the left to the top right", "from the left to the top"),
        ("a person with a red top", "a person with a red top running on the walkway"),
    ]
    expected = slow_bleu([(said.split(), true.split()) for said, true in pairs])
    assert bleu4([(said, [true]) for said, true in pairs]) == pytest.approx(expected)
    assert bleu4([("From the left to the top.", ["from the left to the top"])]) == pytest.approx(1.0)
    assert bleu4([("nothing abnormal", ["from the left to the top"])]) == 0.0
    assert bleu4([]) is None


def test_the_best_reference_of_a_video_counts():
    said = "from the left to the top"
    assert bleu4([(said, ["it stays at the bottom", said, "from the left to the bottom"])]) == pytest.approx(1.0)
    far = Heard("b", True, True, {"trajectory": "it stays at the top left"}, {"trajectory": said})
    one, two = (Heard("a", True, True, {"trajectory": way}, {"trajectory": said}) for way in (said, "it stays there"))
    assert language_figures([one, two])["bleu4_trajectory"] == pytest.approx(1.0), "of one video"
    assert language_figures([one, far])["bleu4_trajectory"] != pytest.approx(1.0), "of two"


def test_balanced_accuracy_weighs_both_kinds_alike():
    heard = [Heard("a", odd, yes, {}, {}) for odd, yes in [(True, True)] * 3 + [(False, True), (False, False)]]
    figures = language_figures(heard)
    assert (figures["yes_no_acc"], figures["yes_no_bacc"]) == (pytest.approx(4 / 5), pytest.approx(0.75))
    assert figures["bleu4_target"] is None
    assert language_figures(heard[:3])["yes_no_bacc"] is None, "one kind alone"
    assert set(language_figures([]).values()) == {None}


def test_normal_dialogues_say_nothing_of_targets():
    normal = Heard("n", False, False, {"target": "nothing abnormal"}, {"target": "nothing abnormal"})
    assert language_figures([normal])["bleu4_target"] is None


def test_the_constant_answers_are_the_most_frequent_ones():
    def talk(target, anomalous=True):
        answers = {"anomaly": "Yes." if anomalous else "No.", "target": target}
        return Talk("x", tuple(Turn("?", answer, field) for field, answer in answers.items()), anomalous, False, None)

    talks = [
        talk("a blue car crashing"),
        talk("a blue car crashing"),
        talk("a person with a red top and blue trousers running"),
        talk("a person with a red top and grey trousers running"),
        talk("a person with a red top and grey trousers running"),
        *[talk("nothing abnormal", False)] * 4,
    ]
    answers = constant_answers(talks)
    assert answers == {"anomaly": "Yes", "target": "a person with a red top and grey trousers running"}
    assert constant_answers([]) == {}
