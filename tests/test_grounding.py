"""Places in words against the heat maps: what is named, where it is warm, and answers that contradict it."""

import numpy as np
import pytest

from tvau_runtime.grounding import PLACES, box_place, contradicts, named_places, warm_way, way_words


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("from the top left to the bottom right", [(0, 0), (2, 2)]),
        ("It stays at the center.", [(1, 1)]),
        ("The person enters at the upper-left corner and walks to the middle of the image", [(0, 0), (1, 1)]),
        ("from the lower center over the centre to the left side", [(2, 1), (1, 1), (1, 0)]),
        ("THE MIDDLE RIGHT", [(1, 2)]),
        ("a man left the room, right away and on top of things", []),
        ("nothing abnormal", []),
        ("", []),
    ],
)
def test_named_places(text, places):
    assert named_places(text) == places


def test_every_way_in_words_names_its_places():
    flat = [(row, column) for row in range(3) for column in range(3)]
    for first in flat:
        for last in flat:
            words = way_words(first, last)
            assert named_places(words) == ([first] if first == last else [first, last])
            assert not contradicts(words, (first, last))
            assert contradicts(words, (first, flat[(flat.index(last) + 1) % 9]))
    assert way_words((1, 0), (0, 2)) == f"from the {PLACES[1][0]} to the {PLACES[0][2]}"


def test_one_place_alone_is_said_of_both_ends():
    assert contradicts("it stays at the left", ((1, 0), (1, 1)))
    assert not contradicts("somewhere", ((1, 0), (1, 1)))


def test_the_middle_of_the_target_counts_and_not_its_hottest_patch():
    heat = np.zeros((6, 9), np.float32)
    heat[1, 2:7] = (0.9, 0.8, 0.8, 0.8, 0.8)  # wide; hottest at its left end, its middle is the top's
    assert warm_way([heat, heat]) == ((0, 1), (0, 1))
    heat[5, 8] = 0.7  # warm, but another target
    assert warm_way([heat]) == ((0, 1), (0, 1))


def test_each_end_of_the_way_is_where_it_is_warm_then():
    maps = np.full((3, 8, 10), 0.1, np.float32)
    maps[0, 7, 0] = maps[1, 4, 5] = maps[2, 0, 9] = 0.6
    assert warm_way(maps) == ((2, 0), (0, 2))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_map_without_a_target_has_its_middle(value):
    assert warm_way([np.full((4, 6), value, np.float32)]) == ((1, 1), (1, 1))


@pytest.mark.parametrize(
    ("box", "place"), [((0, 0, 10, 10), (0, 0)), ((40, 80, 60, 98), (2, 1)), ((95, 45, 140, 55), (1, 2))]
)
def test_the_place_of_a_box(box, place):
    assert box_place(box, (100, 100)) == place
