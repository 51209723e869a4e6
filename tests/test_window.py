"""Sampling by stamp, pairing and sliding windows: every row of the table in `window`, and long runs without drift."""

from fractions import Fraction

import numpy as np
import pytest

from tvau_runtime.errors import ConfigError
from tvau_runtime.types import Heatmap, Step
from tvau_runtime.window import Arrival, FrameSampler, PairBuilder, SlidingWindow

SIZE = (48, 64)
S = 1_000_000_000
DAY = 86_400 * S


def sampler(rate_hz=4.0, max_gap_s=2.0, reset_after_s=1.0):
    return FrameSampler(rate_hz, max_gap_s=max_gap_s, reset_after_s=reset_after_s)


def taken(a_sampler, stamps):
    return [stamp for stamp in stamps if a_sampler.judge(stamp, SIZE).taken]


def step(index):
    zeros = np.zeros((2, 2), np.float32)
    return Step(index, (2 * index * S, (2 * index + 1) * S), SIZE, "", zeros, np.zeros((2, 2, 2)), Heatmap(zeros))


def test_takes_the_first_frame_of_every_slot():
    stamps = [round(k * S / 30) for k in range(61)]
    got = taken(sampler(4.0), stamps)
    # Slots are 7.5 frames long and may be met a tenth of a slot early.
    assert got == [stamps[k] for k in (0, 7, 15, 22, 30, 37, 45, 52, 60)]


@pytest.mark.parametrize(
    ("camera_hz", "apart"),
    [
        (4, 250),
        (4.5, 222),
        (5, 200),
        (7.5, 267),
        (9, 222),
        (10, 300),
        (12.5, 240),
        (15, 267),
        (24, 250),
        (25, 240),
        (29.97, 234),
        (30, 233),
        (60, 250),
    ],
)
@pytest.mark.parametrize("rounding_ns", [1, 1_000_000])
def test_frames_of_all_pairs_are_equally_far_apart(camera_hz, apart, rounding_ns):
    stamps = [round(k * S / camera_hz / rounding_ns) * rounding_ns for k in range(int(40 * camera_hz))]
    spacing = [(second - first) / 1e6 for first, second in pairs_of(sampler(4.0), stamps)]
    assert len(spacing) >= 75
    assert spacing == pytest.approx([apart] * len(spacing), abs=1.1)


@pytest.mark.parametrize("rounding_ns", [1, 1000, 1_000_000])
@pytest.mark.parametrize("rate", [10.0, 29.97, 30.0, 24000 / 1001])
def test_loses_no_frame_of_a_camera_as_fast_as_the_rate(rate, rounding_ns):
    exact = [Fraction(k * S) / Fraction(rate).limit_denominator(10**9) for k in range(2000)]
    stamps = [round(t / rounding_ns) * rounding_ns for t in exact]
    assert taken(sampler(rate), stamps) == stamps


def test_loses_no_frame_to_jitter_within_a_tenth_of_a_slot():
    jitter = np.random.default_rng(0).integers(-S // 210, S // 210, 1000)
    stamps = [int(k * S // 10 + j) for k, j in enumerate(jitter)]
    stamps[0] = 0
    assert len(taken(sampler(10.0), stamps)) == 1000


@pytest.mark.parametrize("rate", [4.0, 30000 / 1001, 1 / 3])
def test_does_not_drift_over_days(rate):
    """Frame n/rate is taken as slot n after ten days just as after the first second."""
    exact = Fraction(rate).limit_denominator(10**9)
    a_sampler = sampler(rate, max_gap_s=3600.0 * 24 * 30)
    base = 1_753_000_000 * S  # as wall-clock stamps are
    assert a_sampler.judge(base, SIZE).taken
    first = int(10 * DAY * exact / S)
    for n in range(first, first + 50):
        at = base + int(n * S / exact) + 1
        assert a_sampler.judge(at - int(S / exact / 5), SIZE) is (Arrival.TAKEN if n == first else Arrival.BETWEEN)
        assert a_sampler.judge(at, SIZE) is (Arrival.TAKEN)


def pairs_of(a_sampler, stamps):
    pairs = PairBuilder()
    return [
        both
        for stamp in stamps
        if a_sampler.judge(stamp, SIZE, begins_pair=not pairs.waits).taken and (both := pairs.add(stamp))
    ]


@pytest.mark.parametrize("camera_hz", [4, 5, 15, 30])
def test_at_a_lower_rate_whole_pairs_are_left_out(camera_hz):
    """The frames of a pair stay as near as at the full rate; a pair begins in every second, fourth … time of one."""
    stamps = [round(k * S / camera_hz) for k in range(40 * camera_hz)]
    full = pairs_of(sampler(4.0), stamps)
    for every in (2, 4):
        lower = sampler(4.0)
        lower.every = every
        got = pairs_of(lower, stamps)
        assert len(got) == len(full) // every
        assert all(second - first <= S // 4 + S // camera_hz for first, second in got)
        assert all(abs(first - n * every * S // 2) <= S // camera_hz for n, (first, _) in enumerate(got))


def test_the_rate_may_change_at_any_time_and_comes_back():
    a_sampler, pairs, taken_slots = sampler(4.0), PairBuilder(), []
    for slot in range(40):
        a_sampler.every = 1 if slot < 5 or slot >= 20 else 4
        if a_sampler.judge(slot * S // 4, SIZE, begins_pair=not pairs.waits).taken:
            taken_slots.append(slot)
            pairs.add(slot)
    # The pair that has begun at 4 is completed; the next ones begin 8 slots after those before, until the rate is back.
    assert taken_slots == [0, 1, 2, 3, 4, 5, 12, 13, *range(20, 40)]


@pytest.mark.parametrize(("stamp", "size"), [(100 * S, SIZE), (0, SIZE), (3 * S // 4, (1, 1))])
def test_what_starts_anew_begins_a_pair_also_at_a_lower_rate(stamp, size):
    a_sampler = sampler(4.0, reset_after_s=0.1)
    a_sampler.every = 4
    assert a_sampler.judge(S // 2, SIZE).taken
    assert a_sampler.judge(stamp, size).starts_anew
    assert a_sampler.judge(stamp + S // 4, size, begins_pair=False).taken
    assert a_sampler.judge(stamp + S // 2, size, begins_pair=True) is Arrival.BETWEEN


def test_takes_numpy_integers_without_overflow():
    a_sampler = sampler(30000 / 1001)
    base = np.int64(1_753_000_000) * S
    stamps = [base + np.int64(k) * np.int64(S // 29) for k in range(100)]
    assert [int(t) for t in taken(a_sampler, stamps)] == [int(t) for t in stamps]


def test_ignores_late_and_repeated_frames():
    a_sampler = sampler()
    assert a_sampler.judge(10 * S, SIZE) is Arrival.TAKEN
    assert a_sampler.judge(10 * S + S // 8, SIZE) is Arrival.BETWEEN
    assert a_sampler.judge(10 * S + S // 8, SIZE) is Arrival.REPEATED
    assert a_sampler.judge(10 * S, SIZE) is Arrival.LATE
    assert a_sampler.judge(9 * S + S // 8 + 1, SIZE) is Arrival.LATE
    assert a_sampler.judge(10 * S + S // 4, SIZE) is Arrival.TAKEN, "late frames change nothing"


def test_a_late_frame_of_another_size_is_ignored_too():
    a_sampler = sampler()
    a_sampler.judge(S, SIZE)
    assert a_sampler.judge(S - 1, (1, 1)) is Arrival.LATE
    assert a_sampler.judge(S + S // 4, SIZE) is Arrival.TAKEN


def test_a_jump_back_restarts_the_clock():
    a_sampler = sampler()
    taken(a_sampler, range(0, 10 * S, S // 4))
    arrival = a_sampler.judge(S + S // 8, SIZE)
    assert arrival is Arrival.RESTARTED
    assert arrival.taken
    assert arrival.starts_anew
    assert a_sampler.judge(S + S // 4, SIZE) is Arrival.BETWEEN, "slots count from the new first frame"
    assert a_sampler.judge(S + S // 8 + S // 4, SIZE) is Arrival.TAKEN


@pytest.mark.parametrize(("back_ns", "expected"), [(S, Arrival.RESTARTED), (S - 1, Arrival.LATE)])
def test_reset_after_s_is_the_border_between_late_and_restarted(back_ns, expected):
    a_sampler = sampler(reset_after_s=1.0)
    a_sampler.judge(100 * S, SIZE)
    assert a_sampler.judge(100 * S - back_ns, SIZE) is expected


def test_without_reset_after_s_every_step_back_restarts():
    a_sampler = sampler(reset_after_s=0.0)
    a_sampler.judge(S, SIZE)
    assert a_sampler.judge(S, SIZE) is Arrival.REPEATED
    assert a_sampler.judge(S - 1, SIZE) is Arrival.RESTARTED


@pytest.mark.parametrize(("silence_ns", "expected"), [(2 * S, Arrival.TAKEN), (2 * S + 1, Arrival.GAP)])
def test_a_silence_of_more_than_max_gap_s_is_a_gap(silence_ns, expected):
    a_sampler = sampler(max_gap_s=2.0)
    a_sampler.judge(5 * S, SIZE)
    arrival = a_sampler.judge(5 * S + silence_ns, SIZE)
    assert arrival is expected
    assert arrival.taken
    assert a_sampler.last_taken_ns == 5 * S + silence_ns


def test_dropped_frames_are_no_silence_and_make_no_pair_across_them():
    a_sampler = sampler(max_gap_s=2.0)
    assert a_sampler.judge(0, SIZE) is Arrival.TAKEN
    assert a_sampler.judge(S // 4, SIZE, begins_pair=False) is Arrival.TAKEN
    arrival = a_sampler.judge(9 * S, SIZE, lost_ns=9 * S - S // 30)
    assert arrival is Arrival.TAKEN, "a pair begins, and the window goes on"
    arrival = a_sampler.judge(18 * S, SIZE, begins_pair=False, lost_ns=18 * S - S // 30)
    assert arrival is Arrival.OVERRUN and arrival.taken and arrival.starts_pair and not arrival.starts_anew
    assert a_sampler.judge(18 * S + S // 30, SIZE, begins_pair=False) is Arrival.BETWEEN
    assert a_sampler.judge(18 * S + S // 4, SIZE, begins_pair=False) is Arrival.TAKEN
    # Silent for too long after what was dropped.
    assert a_sampler.judge(30 * S, SIZE, lost_ns=28 * S - 1) is Arrival.GAP
    # What was dropped came before a neighbour: it is near enough.
    assert a_sampler.judge(30 * S + S * 3 // 10, SIZE, begins_pair=False, lost_ns=30 * S + S // 10) is Arrival.TAKEN


def test_another_size_starts_anew_at_once():
    a_sampler = sampler()
    a_sampler.judge(0, SIZE)
    arrival = a_sampler.judge(1, (64, 48))
    assert arrival is Arrival.RESIZED
    assert arrival.taken
    assert arrival.starts_anew
    assert a_sampler.judge(S // 4 + 1, (64, 48)) is Arrival.TAKEN


def test_after_reset_any_frame_is_the_first():
    a_sampler = sampler()
    assert a_sampler.last_taken_ns is None
    taken(a_sampler, range(100 * S, 101 * S, S // 4))
    a_sampler.reset()
    assert a_sampler.last_taken_ns is None
    assert a_sampler.judge(5, (1, 1)) is Arrival.TAKEN


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_refuses_a_rate_that_is_not_above_zero(rate):
    with pytest.raises(ConfigError, match="process_rate_hz must be above 0"):
        sampler(rate)


def test_refuses_a_gap_that_every_sample_would_exceed():
    with pytest.raises(ConfigError, match=r"max_gap_s \(2 s\) must be longer than the 5 s"):
        sampler(0.2, max_gap_s=2.0)


def test_pairs_do_not_overlap():
    pairs = PairBuilder()
    assert [pairs.add(n) for n in range(5)] == [None, (0, 1), None, (2, 3), None]
    pairs.clear()
    assert [pairs.add(n) for n in range(5, 7)] == [None, (5, 6)]


@pytest.mark.parametrize(("clip_length", "stride"), [(8, 2), (8, 4), (8, 8), (4, 2), (16, 6), (4, 10)])
def test_windows_are_those_of_the_whole_clip(clip_length, stride):
    steps = [step(n) for n in range(40)]
    window = SlidingWindow("cam", clip_length, stride)
    got = [w for s in steps if (w := window.add(s)) is not None]
    expected = [steps[n : n + clip_length // 2] for n in range(0, 41 - clip_length // 2, stride // 2)]
    assert [list(w.steps) for w in got] == expected
    assert {w.camera for w in got} == {"cam"}


def test_the_newest_window_needs_no_stride():
    window = SlidingWindow("cam", 8, 8)
    steps = [step(n) for n in range(6)]
    newest = []
    for s in steps:
        window.add(s)
        newest.append(window.newest())
    assert newest[:3] == [None] * 3
    assert newest[5] is not None
    assert list(newest[5].steps) == steps[2:]


def test_a_cleared_window_fills_from_nothing():
    window = SlidingWindow("cam", 8, 2)
    for n in range(5):
        window.add(step(n))
    window.clear()
    assert len(window) == 0
    assert window.newest() is None
    assert [window.add(step(n)) is not None for n in range(6)] == [False] * 3 + [True] * 3


@pytest.mark.parametrize(
    ("clip_length", "stride", "name"),
    [(2, 2, "clip_length"), (7, 2, "clip_length"), (8, 3, "stride"), (8, 0, "stride")],
)
def test_refuses_odd_and_short_windows(clip_length, stride, name):
    with pytest.raises(ConfigError, match=f"{name} must be even"):
        SlidingWindow("cam", clip_length, stride)
