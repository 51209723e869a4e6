"""Heat maps, boxes and trajectories over frames."""

import numpy as np
import pytest

from tvau_runtime.errors import FrameError
from tvau_runtime.overlay import (
    BOX_COLOR,
    MAX_ALPHA,
    MAX_TARGETS,
    TrajectoryImage,
    blend_heatmap,
    draw_events,
    draw_status,
    overlay,
    shrink,
    thumbnail,
)
from tvau_runtime.types import AnomalyEvent, Heatmap, Phase

HEIGHT, WIDTH = 120, 160


def picture(seed=0, height=HEIGHT, width=WIDTH):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def heat(value, rows=6, columns=8):
    return np.full((rows, columns), value, np.float32)


def event(box=(40.0, 30.0, 80.0, 70.0), name="gate-1", label=""):
    return AnomalyEvent(name, "gate", "", Phase.UPDATE, 0, 1, 0, 0.8, 0.9, box, box, (), label)


def test_cold_pixels_stay_as_they_were_and_the_input_is_not_changed():
    frame = picture()
    before = frame.copy()
    np.testing.assert_array_equal(blend_heatmap(frame, heat(0.0)), before)
    half = heat(0.0)
    half[:, 6:] = 1.0
    mixed = blend_heatmap(frame, half)
    np.testing.assert_array_equal(mixed[:, : WIDTH // 2], before[:, : WIDTH // 2])
    assert (mixed[:, -20:] != before[:, -20:]).any()
    np.testing.assert_array_equal(frame, before)


def test_a_heat_map_is_never_normalised():
    frame = picture()
    alone, beside = heat(0.1), heat(0.1)
    beside[:, -1] = 1.0
    left = slice(0, WIDTH // 2)
    np.testing.assert_array_equal(blend_heatmap(frame, alone)[:, left], blend_heatmap(frame, beside)[:, left])


def test_the_colour_covers_in_proportion_to_the_heat():
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    # Of a white and a black frame the same colour is laid over both: what is left of their difference is 1 - alpha.
    white, black = np.full_like(grey, 255), np.zeros_like(grey)
    for value in (0.0, 0.1, 0.5, 1.0):
        left = blend_heatmap(white, heat(value)).astype(int) - blend_heatmap(black, heat(value)).astype(int)
        assert abs(left.mean() / 255 - (1 - MAX_ALPHA * value)) < 0.01


@pytest.mark.parametrize(("value", "same_as"), [(-1.0, 0.0), (7.0, 1.0), (np.nan, 0.0), (np.inf, 1.0), (-np.inf, 0.0)])
def test_values_out_of_range_are_clipped_and_what_is_no_number_is_cold(value, same_as):
    frame = picture()
    np.testing.assert_array_equal(blend_heatmap(frame, heat(value)), blend_heatmap(frame, heat(same_as)))


def test_heat_lies_where_its_patch_is():
    values = heat(0.0)
    values[1, 6] = 1.0
    changed = np.abs(blend_heatmap(np.zeros((HEIGHT, WIDTH, 3), np.uint8), values).astype(int)).sum(axis=2)
    row, column = np.unravel_index(changed.argmax(), changed.shape)
    assert 20 <= row < 40
    assert 120 <= column < 140


def test_event_boxes_are_drawn_where_they_are():
    drawn = draw_events(np.zeros((HEIGHT, WIDTH, 3), np.uint8), [event()])
    for y, x in ((50, 40), (50, 79), (69, 60)):
        assert tuple(drawn[y, x]) == BOX_COLOR
    assert not drawn[35:65, 45:75].any()


@pytest.mark.parametrize(
    "box",
    [(-50.0, -50.0, 20.0, 20.0), (150.0, 110.0, 900.0, 900.0), (0.0, 0.0, 160.0, 120.0), (30.0, 30.0, 30.0, 30.0)],
)
@pytest.mark.parametrize("label", ["", "a very long label that is wider than the picture is, by far", "Kind mit 傘"])
def test_boxes_and_labels_beyond_the_edge_do_no_harm(box, label):
    frame = picture()
    assert draw_events(frame, [event(box, label=label)]).shape == frame.shape


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (14, 2000), (1500, 40)])
def test_frames_of_any_size_can_be_drawn_on(height, width):
    frame = picture(0, height, width)
    drawn = overlay(frame, Heatmap(heat(0.6)), [event((0.0, 0.0, 1.0, 1.0))], "0:01.0")
    assert drawn.shape == frame.shape
    assert drawn.dtype == np.uint8


def test_a_frame_that_is_a_view_in_another_memory_order_can_be_drawn_on():
    frame = picture()[:, ::-1, ::-1]
    assert overlay(frame, Heatmap(heat(0.6)), [event()]).shape == frame.shape


def test_without_heat_map_and_events_the_frame_is_a_copy_of_itself():
    frame = picture()
    drawn = overlay(frame, None)
    np.testing.assert_array_equal(drawn, frame)
    assert drawn is not frame
    status = draw_status(frame, "0:01.0   score 0.50")
    assert (status[:12, :40] != frame[:12, :40]).any()
    np.testing.assert_array_equal(status[60:], frame[60:])


def test_no_label_hides_another_or_the_status_where_there_is_room():
    size, black = (480, 640), np.zeros((480, 640, 3), np.uint8)
    # At the top left, where the status is; two boxes of one upper corner; one at the bottom.
    events = [event(box, f"gate-{i}", "walking") for i, box in enumerate(
        [(2.0, 4.0, 90.0, 120.0), (300.0, 200.0, 360.0, 300.0), (300.0, 200.0, 420.0, 340.0), (200.0, 470.0, 260.0, 480.0)]
    )]  # fmt: skip
    status = "0:01.0   score 0.50"
    together = overlay(black, None, events, status)
    alone = [draw_status(black, status), *(draw_events(black, [each]) for each in events)]
    white = [
        int((picture == 255).all(axis=2).sum()) for picture in alone
    ]  # of whole letters alone, no line around a box
    assert together.shape == (*size, 3)
    assert int((together == 255).all(axis=2).sum()) == sum(white)


def test_shrink_keeps_the_shape_and_never_enlarges():
    assert shrink(picture(), 80).shape == (60, 80, 3)
    assert shrink(picture(), 500).shape == (HEIGHT, WIDTH, 3)
    assert shrink(picture(0, 2, 900), 100).shape == (1, 100, 3)
    assert thumbnail(picture(), Heatmap(heat(0.5)), (10.0, 10.0, 50.0, 50.0), 80).shape == (60, 80, 3)


def moving(steps=5):
    """A white square that goes to the right over a black ground, with heat and box on it."""
    moments = []
    for i in range(steps):
        frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        frame[40:60, 30 * i : 30 * i + 20] = 255
        values = heat(0.0)
        values[2, min(int((30 * i + 10) / 20), 7)] = 0.5 + 0.1 * i
        moments.append((frame, Heatmap(values), (30.0 * i, 40.0, 30.0 * i + 20, 60.0)))
    return moments


def test_the_row_of_heat_is_the_largest_heat_of_each_place():
    trajectory = TrajectoryImage()
    moments = moving()
    for frame, heatmap, box in moments:
        trajectory.add(frame, heatmap, {"a": box})
    largest = np.max([heatmap.values for _, heatmap, _ in moments], axis=0)
    np.testing.assert_array_equal(trajectory.heat_row(), blend_heatmap(moments[0][0], largest))


def test_the_row_of_boxes_stacks_cut_outs_boxes_and_the_way():
    trajectory = TrajectoryImage()
    for frame, heatmap, box in moving():
        trajectory.add(frame, heatmap, {"a": box})
    row = trajectory.boxes_row()
    for i in range(5):
        assert tuple(row[44, 30 * i + 17]) == (255, 255, 255)  # the square as it was at each time
        assert tuple(row[56, 30 * i]) == BOX_COLOR
    assert trajectory.image().shape == (2 * HEIGHT + 4, WIDTH, 3)


def test_a_target_that_stands_still_is_pasted_once():
    trajectory = TrajectoryImage()
    for _ in range(5):
        trajectory.add(picture(), Heatmap(heat(0.5)), {"a": (10.0, 10.0, 50.0, 50.0)})
    assert len(trajectory._pasted) == 1
    assert trajectory.boxes_row().shape == (HEIGHT, WIDTH, 3)


def test_heat_of_other_targets_can_be_left_out():
    values = heat(0.7)
    trajectory = TrajectoryImage()
    trajectory.add(
        np.zeros((HEIGHT, WIDTH, 3), np.uint8), Heatmap(values), {"a": (0.0, 0.0, 40.0, 40.0)}, within_boxes=True
    )
    row = trajectory.heat_row()
    assert row[:30, :30].any()
    assert not row[60:].any()
    assert not row[:, 80:].any()


def test_frames_may_change_in_size_on_the_way():
    trajectory = TrajectoryImage(max_width=80)
    trajectory.add(picture(), Heatmap(heat(0.5)), {"a": (0.0, 0.0, 40.0, 40.0)})
    trajectory.add(picture(1, 240, 640), Heatmap(heat(0.5, 3, 3)), {"a": (320.0, 120.0, 640.0, 240.0)})
    row = trajectory.boxes_row()
    assert row.shape == (60, 80, 3)
    assert tuple(row[45, 79]) == BOX_COLOR  # its lower right quarter, in the first one's pixels


def test_memory_is_bounded_whatever_comes():
    trajectory = TrajectoryImage()
    for i in range(200):
        trajectory.add(picture(), Heatmap(heat(0.5)), {f"target {i}": (float(i % 100), 0.0, i % 100 + 30.0, 40.0)})
    assert len(trajectory._targets) <= MAX_TARGETS
    assert trajectory.image().shape[1] == WIDTH


def test_an_empty_trajectory_says_what_to_do():
    trajectory = TrajectoryImage()
    assert trajectory.empty
    with pytest.raises(FrameError, match="at least one frame"):
        trajectory.image()
