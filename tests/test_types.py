"""The records that flow through tvau, and the public names of the library."""

import numpy as np
import pytest

import tvau_runtime
from tvau_runtime.errors import ConfigError, FrameError, TvauError
from tvau_runtime.types import AnomalyEvent, Frame, Heatmap, Phase, Step, TrackPoint, Window


def heatmap(row, column, value):
    values = np.full((4, 6), 0.1, np.float32)
    values[row, column] = value
    return Heatmap(values)


def step(index, score):
    return Step(
        index, (2 * index, 2 * index + 1), (40, 60), "", np.zeros((6, 2)), np.zeros((2, 4, 6)), heatmap(1, 2, score)
    )


def test_a_frame_knows_its_size():
    assert Frame(np.zeros((3, 5, 3), np.uint8), 0).size == (3, 5)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [[1]],
        np.zeros((3, 5), np.uint8),
        np.zeros((3, 5, 4), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((3, 5, 3)),
    ],
)
def test_a_frame_refuses_what_is_no_image(bad):
    with pytest.raises(FrameError, match=r"uint8 \[H, W, 3\] with pixels, got"):
        Frame(bad, 0)


def test_a_heat_maps_box_is_its_hottest_patch_in_frame_pixels():
    hot = heatmap(2, 5, 0.75)
    assert hot.score == 0.75
    assert isinstance(hot.score, float)
    assert hot.box((40, 120)) == (100.0, 20.0, 120.0, 30.0)


def test_a_window_spans_its_steps_and_knows_the_hottest():
    window = Window("cam", (step(3, 0.2), step(4, 0.9), step(5, 0.5)))
    assert (window.start_ns, window.end_ns) == (6, 11)
    assert window.peak is window.steps[1]
    assert window.score == pytest.approx(0.9)


def test_an_event_knows_how_long_it_lasted_and_its_track_where_it_was():
    point = TrackPoint(0, (10.0, 20.0, 30.0, 60.0), 0.5)
    assert point.center == (20.0, 40.0)
    box = point.box
    event = AnomalyEvent("a-1", "a", "", Phase.END, 10**9, 4 * 10**9, 2 * 10**9, 0.5, 0.5, box, box, (point,))
    assert event.duration_s == 3.0
    assert event.label == ""


def test_errors_are_one_tree_and_a_config_error_is_a_value_error():
    for name in ("BackendError", "BusyError", "ConfigError", "FrameError", "ModelError", "QueryError"):
        assert issubclass(getattr(tvau_runtime, name), TvauError)
    assert issubclass(ConfigError, ValueError)


def test_every_public_name_can_be_had_and_is_listed():
    assert sorted(tvau_runtime.__all__) == tvau_runtime.__all__
    for name in tvau_runtime.__all__:
        assert getattr(tvau_runtime, name) is not None
        assert name in dir(tvau_runtime)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tvau_runtime.nonsense
