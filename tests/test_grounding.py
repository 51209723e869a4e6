"""What heat maps and tracks show: where it is warm, when, and from where to where; and how likely that is an anomaly."""

import dataclasses

import numpy as np
import pytest

from tvau_runtime.calibration import Calibration, Scale
from tvau_runtime.errors import ModelError
from tvau_runtime.grounding import PLACES, box_place, evidence_of, score_logit, warm_place, way_of, way_words
from tvau_runtime.types import Heatmap, Step, TrackPoint, Window

SIZE = (80, 100)
"""(height, width) of the frames in pixels; a patch has 10 x 10."""
AS_IT_IS = Calibration()


def window(*hot):
    """One step per (row, column, logit) of its hottest patch; all else is at -4."""
    steps = []
    for k, (row, column, logit) in enumerate(hot):
        maps = np.zeros((2, 8, 10), np.float32)
        maps[1] = -4
        maps[1, row, column] = logit
        heat = Heatmap(1 / (1 + np.exp(maps[0] - maps[1])))
        steps.append(Step(k, (2 * k, 2 * k + 1), SIZE, "", np.zeros((20, 2), np.float32), maps, heat))
    return Window("cam", tuple(steps))


WALK = window((7, 0, 1), (4, 5, 2), (0, 9, 1.5), (0, 9, -3))


def test_the_evidence_of_a_window():
    shown = evidence_of(WALK, 1.0, AS_IT_IS)
    assert (shown.score, shown.probability) == (WALK.score, pytest.approx(1 / (1 + np.exp(-0.375))))
    assert (shown.anomaly, shown.yes_probability) == (True, pytest.approx(0.7311, abs=1e-4))
    assert (shown.box, shown.place) == ((50.0, 40.0, 60.0, 50.0), "center")
    assert shown.places == ("bottom left", "center", "top right")
    assert (shown.from_place, shown.to_place) == ("bottom left", "top right")
    assert (shown.window_start_ns, shown.start_ns, shown.peak_ns, shown.end_ns, shown.window_end_ns) == (0, 0, 3, 5, 7)
    assert shown.contradictions == ()
    assert not evidence_of(WALK, -0.1, AS_IT_IS).anomaly


def test_of_an_event_the_track_tells_where_and_when():
    track = tuple(TrackPoint(100 + k, (x, 40.0, x + 10, 50.0), 0.9) for k, x in enumerate((0.0, 10.0, 45.0, 90.0)))
    shown = evidence_of(WALK, 0.0, AS_IT_IS, track)
    assert way_of(WALK, track) == [(1, 0), (1, 0), (1, 1), (1, 2)]
    assert shown.places == ("left", "center", "right")
    assert (shown.start_ns, shown.end_ns) == (100, 103)
    assert (shown.place, shown.window_end_ns) == ("center", 7), "score and box stay those of the heat maps"


def test_of_two_targets_the_evidence_is_the_events_own():
    other = (
        TrackPoint(1, (0.0, 0.0, 10.0, 10.0), 0.6),
        TrackPoint(3, (10.0, 0.0, 20.0, 10.0), 0.8),
        TrackPoint(5, (0.0, 0.0, 10.0, 10.0), 0.7),
    )
    shown = evidence_of(WALK, 0.0, AS_IT_IS, other)
    assert (shown.box, shown.place, shown.peak_ns, shown.score) == ((10.0, 0.0, 20.0, 10.0), "top left", 3, 0.8)


def test_calibration_changes_probabilities_and_nothing_else():
    plain = evidence_of(WALK, 2.0, AS_IT_IS)
    fitted = evidence_of(WALK, 2.0, Calibration(score=Scale(0.75, -1.0), yes=Scale(2.0, -1.5)))
    assert score_logit(WALK) == pytest.approx((1 + 2 + 1.5 - 3) / 4), "the mean of the peaks"
    assert fitted.probability == pytest.approx(1 / (1 + np.exp(0.5)))
    assert (fitted.yes_probability, fitted.anomaly) == (pytest.approx(1 / (1 + np.exp(0.5))), False)
    same = {"probability": 0.0, "yes_probability": 0.0, "anomaly": False}
    assert dataclasses.replace(plain, **same) == dataclasses.replace(fitted, **same)


def test_a_scale_keeps_order_and_stays_a_probability():
    scale = Scale(3.0, 0.5)
    values = [scale.probability(logit) for logit in (-1e9, -3.0, -1.5, 2.0, 1e9)]
    assert values == sorted(values)
    assert (values[0], values[2], values[-1]) == (pytest.approx(0.0), 0.5, pytest.approx(1.0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 0}, "temperature must be above 0, got 0"),
        ({"temperature": -1.0}, "above 0"),
        ({"temperature": float("nan")}, "temperature must be a finite number, got nan"),
        ({"bias": "high"}, "bias must be a finite number, got 'high'"),
        ({"slope": 1.0}, "slope"),
    ],
)
def test_a_calibration_that_is_none_is_refused_by_name(values, message):
    with pytest.raises(ModelError, match=f"calibration: .*{message}"):
        Calibration(score=values)


def test_the_middle_of_the_target_counts_and_not_its_hottest_patch():
    heat = np.zeros((6, 9), np.float32)
    heat[1, 2:7] = (0.9, 0.8, 0.8, 0.8, 0.8)  # wide; hottest at its left end, its middle is the top's
    assert warm_place(heat) == (0, 1)
    heat[5, 8] = 0.7  # warm, but another target
    assert warm_place(heat) == (0, 1)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_map_without_a_target_has_its_middle(value):
    assert warm_place(np.full((4, 6), value, np.float32)) == (1, 1)


@pytest.mark.parametrize(
    ("box", "place"), [((0, 0, 10, 10), (0, 0)), ((40, 80, 60, 98), (2, 1)), ((95, 45, 140, 55), (1, 2))]
)
def test_the_place_of_a_box(box, place):
    assert box_place(box, (100, 100)) == place


def test_a_way_in_words():
    assert way_words((1, 0), (0, 2)) == f"from the {PLACES[1][0]} to the {PLACES[0][2]}"
    assert way_words((1, 1), (1, 1)) == "it stays at the center"
