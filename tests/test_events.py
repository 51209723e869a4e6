"""Heat maps to events: life of an event, association of targets over time, and the regions below them."""

import functools

import cv2
import numpy as np
import pytest

from tvau_runtime.config import EventConfig
from tvau_runtime.errors import FrameError
from tvau_runtime.events import EventDetector
from tvau_runtime.regions import REACH, UPSAMPLING, find_regions
from tvau_runtime.tracking import MAX_POINTS
from tvau_runtime.types import Phase

settings = functools.partial(EventConfig, on_threshold=0.6, off_threshold=0.4)
"""What the heat maps of these tests were made for; the defaults follow the embedded model."""

S = 1_000_000_000
STEP = S // 2
GRID = (16, 24)
SIZE = (320, 480)  # 20 pixels a patch
COLD = np.full(GRID, 0.05, np.float32)
START, UPDATE, END = Phase.START, Phase.UPDATE, Phase.END


def heat(*targets, radius=1.0):
    """A heat map with a round target at each (x, y) or (x, y, peak), in patches."""
    rows, columns = np.mgrid[: GRID[0], : GRID[1]]
    values = COLD.copy()
    for x, y, *peak in targets:
        blob = (peak[0] if peak else 0.95) * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * radius**2))
        values = np.maximum(values, blob.astype(np.float32))
    return values


def play(maps, config=None, *, start=0, detector=None):
    """All events told, with the number of the map they were told at; None for maps is a cold one."""
    detector = detector or EventDetector("cam", config or settings())
    told = []
    for k, values in enumerate(maps, start):
        told += [(k, event) for event in detector.update(COLD if values is None else values, k * STEP, SIZE, "optical")]
    return told


def phases(told):
    return [(k, event.phase) for k, event in told]


def ids(told):
    return list(dict.fromkeys(event.id for _, event in told))


def last(told, phase=END):
    return [event for _, event in told if event.phase is phase]


# --- the life of an event ---


def test_start_update_end():
    maps = [None] * 2 + [heat((10, 5, 0.7)), heat((10, 5, 0.9)), *[heat((10, 5, 0.8))] * 4] + [None] * 5
    told = play(maps)
    # Warm from 2 on; START after 0.5 s; UPDATE every second; END 1.5 s after 7, the last warm one.
    assert phases(told) == [(3, START), (5, UPDATE), (7, UPDATE), (10, END)]
    assert len(ids(told)) == 1
    assert told[0][1].id.startswith("cam-")
    end = told[-1][1]
    assert (end.start_ns, end.end_ns, end.peak_ns) == (2 * STEP, 7 * STEP, 3 * STEP)
    assert end.peak_score == pytest.approx(0.9)
    assert end.score == pytest.approx(0.8)
    assert end.duration_s == 2.5
    assert (end.camera, end.frame_id) == ("cam", "optical")
    assert [p.stamp_ns for p in end.track] == [k * STEP for k in range(2, 8)], "the track begins before START"
    assert end.track[-1].box == end.box
    assert end.track[1].box == end.peak_box


def test_the_box_lies_around_the_target_in_frame_pixels():
    told = play([heat((10, 5))] * 3)
    x0, y0, x1, y1 = told[0][1].box
    assert (x0 + x1) / 2 == pytest.approx(10.5 * 20, abs=2)
    assert (y0 + y1) / 2 == pytest.approx(5.5 * 20, abs=2)
    assert 30 < x1 - x0 < 80
    assert 30 < y1 - y0 < 80
    higher = EventDetector("cam", settings()).update(heat((10, 5)), 0, (640, 960))
    assert not higher


def test_boxes_scale_with_the_frame():
    small, large = find_regions(heat((3, 4)), SIZE, 0.4), find_regions(heat((3, 4)), (640, 480), 0.4)
    x0, y0, x1, y1 = small[0].box
    assert large[0].box == (x0, 2 * y0, x1, 2 * y1)


def test_what_never_reaches_on_threshold_is_no_event():
    assert play([heat((10, 5, 0.59))] * 10) == []


def test_what_peaks_later_starts_then():
    told = play([heat((10, 5, 0.5))] * 4 + [heat((10, 5, 0.7))])
    assert phases(told) == [(4, START)]
    assert told[0][1].start_ns == 0


def test_an_event_lives_on_between_the_thresholds():
    told = play([heat((10, 5, 0.7))] * 2 + [heat((10, 5, 0.45))] * 10, settings(update_period_s=600.0))
    assert phases(told) == [(1, START)]


def test_flicker_does_not_add_up_to_an_event():
    assert play([heat((10, 5)), None] * 10) == []


def test_without_a_minimum_duration_the_first_hot_map_starts_an_event():
    assert phases(play([None, heat((10, 5))], settings(min_duration_s=0.0))) == [(1, START)]


def test_a_short_dropout_is_bridged_and_a_long_one_ends_the_event():
    short = play([heat((10, 5))] * 4 + [None] * 2 + [heat((10, 5))] * 4)
    assert END not in [event.phase for _, event in short]
    assert len(ids(short)) == 1
    long = play([heat((10, 5))] * 4 + [None] * 3 + [heat((10, 5))] * 4)
    assert len(ids(long)) == 2
    assert (6, END) in phases(long)


def test_every_warm_map_has_an_update_when_the_period_is_zero():
    told = play([heat((10, 5))] * 5, settings(update_period_s=0.0))
    assert phases(told) == [(1, START), (2, UPDATE), (3, UPDATE), (4, UPDATE)]


def test_rounded_stamps_do_not_stretch_a_period():
    detector = EventDetector("cam", settings(update_period_s=1.0))
    told = [e for k in range(7) for e in detector.update(heat((10, 5)), k * (STEP - 300), SIZE)]
    assert [e.phase for e in told] == [START, UPDATE, UPDATE]


def test_small_regions_are_ignored():
    assert play([heat((10, 5), radius=0.5)] * 4, settings(min_area=0.02)) == []
    assert play([heat((10, 5), radius=3.0)] * 4, settings(min_area=0.02)) != []


def test_ids_never_come_twice_in_a_process():
    detector = EventDetector("cam", settings())
    first = play([heat((10, 5))] * 3, detector=detector)
    detector.flush()
    second = play([heat((10, 5))] * 3, detector=detector)
    other = play([heat((10, 5))] * 3)
    assert len({*ids(first), *ids(second), *ids(other)}) == 3


def test_flush_ends_everything_and_allows_to_go_back_in_time():
    detector = EventDetector("cam", settings())
    play([heat((3, 5), (20, 10))] * 4, detector=detector)
    assert [e.phase for e in detector.flush()] == [END, END]
    assert detector.flush() == []
    assert detector.open_tracks() == ()
    assert phases(play([heat((3, 5))] * 2, detector=detector)) == [(1, START)]


def test_flush_says_nothing_of_what_never_started():
    detector = EventDetector("cam", settings())
    play([heat((3, 5))], detector=detector)
    assert detector.flush() == []


def test_tick_ends_what_was_cold_but_not_what_was_warm_at_last():
    detector = EventDetector("cam", settings())
    play([heat((3, 5), (20, 10))] * 4 + [heat((3, 5))], detector=detector)
    assert detector.tick(3 * STEP + 3 * STEP - S // 10) == []
    ended = detector.tick(3 * STEP + 3 * STEP)
    assert [e.phase for e in ended] == [END]
    assert ended[0].box[0] > 240
    assert detector.tick(1000 * S) == []
    assert len(detector.open_tracks()) == 1


def test_thresholds_can_change_while_it_runs():
    detector = EventDetector("cam", settings(on_threshold=0.99))
    assert play([heat((10, 5))] * 4, detector=detector) == []
    detector.configure(settings(on_threshold=0.6))
    assert phases(play([heat((10, 5))], detector=detector, start=4)) == [(4, START)]
    detector.configure(settings(on_threshold=1.0, off_threshold=0.97))
    assert phases(play([heat((10, 5))] * 4, detector=detector, start=5)) == [(7, END)]


def test_words_are_included_from_then_on():
    detector = EventDetector("cam", settings(update_period_s=0.0))
    (_, start), (_, update) = play([heat((10, 5))] * 3, detector=detector)
    assert (start.label, update.description) == ("", "")
    assert detector.set_text(start.id, "red car", "A red car drives to the right.")
    (_, next_update), (_, end) = play([heat((10, 5)), None, None, None], detector=detector, start=3)
    for event in (next_update, end):
        assert (event.label, event.description) == ("red car", "A red car drives to the right.")
    assert not detector.set_text(start.id, "late", "late")
    assert not detector.set_text("nobody", "", "")


def test_open_tracks_tell_the_peak_before_start_too():
    detector = EventDetector("cam", settings())
    play([heat((10, 5, 0.9)), heat((10, 5, 0.5))][:1], detector=detector)
    (track,) = detector.open_tracks()
    assert (track.event_id, track.peak_ns) == ("", 0)
    told = play([heat((10, 5, 0.5))], detector=detector, start=1)
    (track,) = detector.open_tracks()
    assert (track.event_id, track.peak_ns) == (told[0][1].id, 0)


# --- one event per target ---


def test_two_targets_are_two_events():
    told = play([heat((3, 5), (20, 10))] * 3 + [None] * 4)
    assert phases(told) == [(1, START), (1, START), (5, END), (5, END)]
    assert len(ids(told)) == 2


@pytest.mark.parametrize("speed", [0.5, 2.0, 5.0])
def test_a_mover_is_one_event_at_any_speed(speed):
    """At 5 patches a step its boxes, 2 patches wide, are far from overlapping."""
    steps = int(22 / speed)
    told = play([heat((1 + speed * k, 8)) for k in range(steps)] + [None] * 4)
    assert len(ids(told)) == 1
    (end,) = last(told)
    assert len(end.track) == steps
    xs = [p.center[0] for p in end.track]
    assert xs == sorted(xs)
    assert xs[-1] - xs[0] == pytest.approx(20 * speed * (steps - 1), abs=20)


def test_a_mover_that_drops_out_is_found_where_its_velocity_takes_it():
    maps = [heat((1 + 2 * k, 8)) for k in range(11)]
    maps[5] = maps[6] = None
    assert len(ids(play(maps))) == 1


def test_a_mover_that_stops_or_turns_is_one_event():
    way = [1, 3, 5, 7, 9, 11, 11, 11, 9, 7, 5, 3]
    told = play([heat((x, 8)) for x in way])
    assert len(ids(told)) == 1


def test_far_away_and_later_is_another_event():
    told = play([heat((2, 3))] * 4 + [heat((21, 13))] * 4 + [None] * 4)
    assert len(ids(told)) == 2


def test_a_still_target_keeps_its_event_when_a_mover_passes_by():
    told = play([heat((12, 3), (1 + 2 * k, 8)) for k in range(11)])
    assert len(ids(told)) == 2


@pytest.mark.parametrize("lane", [0.0, 0.5, 1.5])
def test_crossing_targets_keep_their_identities(lane):
    """Two targets walk through each other; for some steps they are one region."""
    maps = [heat((1 + 2 * k, 8), (22 - 2 * k, 8 + lane)) for k in range(11)]
    assert min(len(find_regions(m, SIZE, 0.4)) for m in maps) == 1
    told = play([*maps, None, None, None, None])
    assert len(ids(told)) == 2
    first, second = sorted(last(told), key=lambda e: e.track[0].center[0])
    assert first.track[-1].center[0] > 400
    assert second.track[-1].center[0] < 80


def test_targets_that_meet_and_part_again_stay_two_events():
    xs = [*range(3, 11), 10, 10, *range(10, 2, -1)]
    told = play([heat((x, 8), (22 - x, 8)) for x in xs])
    assert len(ids(told)) == 2
    assert not last(told)


def test_targets_that_stay_together_become_one_event():
    """The later one ends after 3 x end_after_s; the first goes on with the whole region."""
    maps = [heat((6, 8))] * 2 + [heat((6, 8), (16, 8))] * 3 + [heat((8 + k, 8), (16 - k, 8)) for k in range(4)]
    told = play(maps + [heat((11.5, 8))] * 20)
    assert len(ids(told)) == 2
    (end,) = last(told)
    assert end.id == ids(told)[1]
    joined = next(k for k, m in enumerate(maps) if len(find_regions(m, SIZE, 0.4)) == 1 and k > 2)
    assert [k for k, e in told if e.phase is END] == [joined + 10]
    assert told[-1][1].phase is UPDATE
    assert told[-1][1].id == ids(told)[0]


def test_a_splinter_that_was_never_told_about_is_absorbed():
    whole, split = heat((10, 8), (12, 8), radius=1.5), heat((9, 8), (15, 8), radius=1.2)
    assert len(find_regions(whole, SIZE, 0.4)) == 1
    assert len(find_regions(split, SIZE, 0.4)) == 2
    told = play([whole] * 4 + [split] + [whole] * 4 + [split] + [whole] * 4)
    assert len(ids(told)) == 1
    assert not last(told)


def test_the_peak_is_not_taken_from_a_shared_region():
    maps = [heat((1 + 2 * k, 8, 0.7), (22 - 2 * k, 8, 0.95)) for k in range(11)]
    told = play([*maps, None, None, None, None])
    assert sorted(round(e.peak_score, 2) for e in last(told)) == [0.7, 0.95]


def test_targets_match_the_closest_regions_among_many():
    """Eight targets in random walks, never close to each other: eight events, each with its own track."""
    rng = np.random.default_rng(1)
    homes = np.array([(x, y) for x in (3, 9, 15, 21) for y in (3, 12)], float)
    maps = [heat(*(homes + rng.uniform(-0.7, 0.7, homes.shape))) for _ in range(30)]
    told = play(maps + [None] * 4)
    assert len(ids(told)) == 8
    for end in last(told):
        centers = np.array([p.center for p in end.track])
        assert len(centers) == 30
        assert np.ptp(centers, axis=0).max() < 3 * 20


# --- days ---


def test_a_day_long_track_stays_bounded_and_keeps_its_ends():
    detector = EventDetector("cam", settings(update_period_s=600.0))
    steps = 5 * MAX_POINTS
    values = heat((10, 5))
    for k in range(steps):
        detector.update(values, k * STEP, SIZE)
    (end,) = detector.flush()
    stamps = [p.stamp_ns for p in end.track]
    assert MAX_POINTS // 2 <= len(stamps) <= MAX_POINTS
    assert stamps == sorted(stamps)
    assert stamps[0] == 0
    assert stamps[-1] == (steps - 1) * STEP
    assert set(np.diff(stamps[:-1])) == {8 * STEP}


def test_stamps_of_wall_clocks_lose_no_precision():
    detector = EventDetector("cam", settings())
    base = 1_753_000_000 * S + 1
    for k in range(4):
        detector.update(heat((1 + 4 * k, 5)), base + k * STEP, SIZE)
    (end,) = detector.flush()
    assert end.start_ns == base
    assert end.duration_s == 1.5
    assert len(end.track) == 4


# --- bad input and regions ---


@pytest.mark.parametrize("shape", [(0, 4), (4,), (2, 4, 4)])
def test_refuses_what_is_no_heat_map(shape):
    with pytest.raises(FrameError, match=r"a heat map must be \[gh, gw\]"):
        EventDetector("cam", settings()).update(np.zeros(shape, np.float32), 0, SIZE)


@pytest.mark.parametrize("stamp_ns", [0, STEP])
def test_refuses_to_go_back_in_time(stamp_ns):
    detector = EventDetector("cam", settings())
    detector.update(COLD, STEP, SIZE)
    with pytest.raises(FrameError, match="in order of time"):
        detector.update(COLD, stamp_ns, SIZE)


def regions_slowly(values, threshold):
    """Flood fill on the up-sampled map, then what peaks high enough; (x0, y0, x1, y1, score) in its pixels."""
    fine = cv2.resize(values, None, fx=UPSAMPLING, fy=UPSAMPLING, interpolation=cv2.INTER_LINEAR)
    todo = {(int(y), int(x)) for y, x in np.argwhere((fine >= REACH * threshold - 1e-6) & (fine > 0))}
    found = []
    while todo:
        edge = [todo.pop()]
        region = set(edge)
        while edge:
            y, x = edge.pop()
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & todo
            todo -= near
            region |= near
            edge += near
        ys, xs = zip(*region, strict=True)
        score = max(float(fine[p]) for p in region)
        if score >= threshold - 1e-6:
            found.append((min(xs), min(ys), max(xs) + 1, max(ys) + 1, round(score, 4)))
    return sorted(found)


@pytest.mark.parametrize("seed", range(5))
def test_regions_equal_a_flood_fill(seed):
    values = np.random.default_rng(seed).random((15, 13)).astype(np.float32) ** 4
    size = (15 * UPSAMPLING, 13 * UPSAMPLING)
    got = sorted((*(round(v) for v in r.box), round(r.score, 4)) for r in find_regions(values, size, 0.5))
    assert got == regions_slowly(values, 0.5)
    assert len(got) > 3


def test_scores_are_the_heat_maps_own_and_come_hottest_first():
    values = heat((3, 5, 0.61), (12, 8, 0.97), (20, 12, 0.73))
    scores = [r.score for r in find_regions(values, SIZE, 0.4)]
    assert scores == sorted(scores, reverse=True)
    assert scores == [float(values[8, 12]), float(values[12, 20]), float(values[5, 3])]


def test_a_patch_exactly_at_the_threshold_is_warm():
    values = np.zeros(GRID, np.float32)
    values[4, 7] = 0.4
    (region,) = find_regions(values, SIZE, 0.4)
    assert region.score == float(np.float32(0.4))
    assert region.box[0] <= 7.5 * 20 <= region.box[2]


def test_the_box_of_a_lone_patch_at_the_threshold_is_the_patch():
    values = np.zeros(GRID, np.float32)
    values[4, 7] = 0.7
    (region,) = find_regions(values, SIZE, 0.7)
    assert region.box == (7 * 20, 4 * 20, 8 * 20, 5 * 20)
    values[4, 7] = 0.95
    (hotter,) = find_regions(values, SIZE, 0.7)
    assert hotter.box[0] < region.box[0] and hotter.box[3] > region.box[3]


def test_what_is_warm_around_a_peak_belongs_to_it_but_is_no_region_alone():
    values = np.zeros(GRID, np.float32)
    values[4, 7:12] = (0.9, 0.5, 0.5, 0.5, 0.9)  # two peaks, one region
    values[10, 3:5] = 0.5
    (region,) = find_regions(values, SIZE, 0.7)
    assert region.box[0] <= 7 * 20 and region.box[2] >= 12 * 20
    assert region.box[3] <= 6 * 20


def test_nothing_is_found_in_a_map_of_zeros_even_at_threshold_zero():
    assert find_regions(np.zeros(GRID, np.float32), SIZE, 0.0) == []
    assert len(find_regions(COLD, SIZE, 0.0)) == 1


def test_a_map_hot_all_over_is_one_region_of_the_whole_frame():
    (region,) = find_regions(np.ones(GRID, np.float32), SIZE, 0.4)
    assert region.box == (0.0, 0.0, 480.0, 320.0)
