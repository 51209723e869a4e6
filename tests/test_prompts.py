"""Prompts: their levels, and what is refused."""

import pytest

from tvau_runtime.errors import ConfigError
from tvau_runtime.prompts import MAX_CHARS, MAX_PROMPTS, Prompts


def test_words_become_phrases_and_sentences():
    prompts = Prompts((" person walking ",), ("fire", "smoke"), sentence="Here is {}.")
    assert prompts.texts("normal") == [
        "person walking",
        "surveillance video of person walking",
        "Here is person walking.",
    ]
    assert prompts.texts("abnormal")[3:] == ["smoke", "surveillance video of smoke", "Here is smoke."]


def test_an_empty_template_leaves_its_level_out():
    assert Prompts(("a",), ("b",), phrase="", sentence="").texts("abnormal") == ["b"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"normal": ()}, "normal prompts must be a list of at least one non-blank text"),
        ({"abnormal": ("fire", " ")}, "abnormal prompts must be a list of at least one non-blank text"),
        ({"abnormal": ("fire", 3)}, "abnormal prompts must be a list of at least one non-blank text"),
        ({"abnormal": ("x",) * (MAX_PROMPTS + 1)}, f"at most {MAX_PROMPTS} abnormal prompts, got {MAX_PROMPTS + 1}"),
        (
            {"abnormal": ("x" * (MAX_CHARS + 1),)},
            f"an abnormal prompt may have at most {MAX_CHARS} characters, got 201",
        ),
        ({"normal": ("two\nlines",)}, "a normal prompt must be one line of plain text"),
        ({"normal": ("\ud800",)}, "a normal prompt must be one line of plain text"),
        ({"phrase": "a video"}, "the phrase template must hold {} once"),
        ({"sentence": "{} and {}"}, "the sentence template must hold {} once"),
        ({"sentence": "\x1b{}"}, "the sentence template must be one line of plain text"),
        ({"phrase": "{}" + "x" * MAX_CHARS}, "the phrase template may have at most"),
        ({"normal": ("a walk", "fire")}, "the same prompts cannot be both normal and abnormal: fire"),
    ],
)
def test_what_cannot_be_used_is_refused(fields, message):
    with pytest.raises(ConfigError) as error:
        Prompts(**{"normal": ("a walk",), "abnormal": ("fire",), **fields})
    assert message in str(error.value)


def test_what_is_named_on_one_side_leaves_the_other():
    prompts = Prompts(("walking", "standing"), ("running", "fire"), sentence="")
    assert prompts.changed(normal=("running ", "walking")) == Prompts(("running", "walking"), ("fire",), sentence="")
    assert prompts.changed(abnormal=("standing",)) == Prompts(("walking",), ("standing",), sentence="")
    assert prompts.changed(phrase="a {}").normal == prompts.normal
    swapped = prompts.changed(normal=prompts.abnormal, abnormal=prompts.normal)
    assert (swapped.normal, swapped.abnormal) == (prompts.abnormal, prompts.normal)
    with pytest.raises(
        ConfigError, match="with running, fire as normal, nothing is left as abnormal: give abnormal prompts too"
    ):
        prompts.changed(normal=("running", "fire"))
    with pytest.raises(ConfigError, match="cannot be both normal and abnormal: fire"):
        prompts.changed(normal=("fire",), abnormal=("fire", "smoke"))
    with pytest.raises(ConfigError, match="list of at least one non-blank text"):
        prompts.changed(normal=("fire", 3))


def test_prompts_with_a_plus_are_added_to_those_there_are():
    prompts = Prompts(("walking", "standing"), ("running", "fire"))
    assert prompts.changed(normal=("+running",)) == Prompts(("walking", "standing", "running"), ("fire",))
    assert prompts.changed(abnormal=("+ smoke", "+walking")) == Prompts(
        ("standing",), ("running", "fire", "smoke", "walking")
    )
    assert prompts.changed(normal=("+walking",)) == prompts
    with pytest.raises(ConfigError, match=r"either all normal prompts begin with \+, to be added, or none: \+a, b"):
        prompts.changed(normal=("+a", "b"))
    with pytest.raises(ConfigError, match="list of at least one non-blank text"):
        prompts.changed(abnormal=("+",))
