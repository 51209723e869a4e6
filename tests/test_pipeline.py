"""The stream on the real engine with random weights: streamed equals whole, and what happens when it goes wrong."""

import dataclasses
from collections.abc import Iterable

import numpy as np
import pytest

pytest.importorskip("torch", reason="the torch engine is not installed")
pytest.importorskip("transformers", reason="the torch engine is not installed")

from streaming import (
    ALWAYS,
    NEVER,
    QUARTER,
    S,
    events_of,
    feed,
    frame,
    heat_of,
    open_tiny,
    phases,
    pipeline_of,
    steps_of,
)

from tvau_runtime import (
    ConfigError,
    EngineConfig,
    Frame,
    FrameError,
    ModelError,
    Phase,
    PipelineConfig,
    QueryError,
    open_pipeline,
)
from tvau_runtime.frames import pack_pair, resize
from tvau_runtime.stream import heatmap_of


@pytest.fixture(scope="module")
def backend(tiny):
    return open_tiny(tiny)


@pytest.fixture
def calls(backend, monkeypatch):
    """The pixels of every call to the real engine's `encode`."""
    seen = []
    encode = backend.encode
    monkeypatch.setattr(backend, "encode", lambda pixels, text: (seen.append(pixels), encode(pixels, text))[1])
    return seen


# --- streamed equals whole ---


def test_streamed_features_and_heat_maps_equal_those_of_the_whole_clip(backend):
    count = 24
    steps = steps_of(feed(pipeline_of(backend), range(count)))
    images = [resize(frame(k).rgb, backend.spec) for k in range(count)]
    packed = np.stack([pack_pair(images[k], images[k + 1], backend.spec) for k in range(0, count, 2)])
    tokens, class_maps = backend.encode(packed)
    assert [s.index for s in steps] == list(range(count // 2))
    np.testing.assert_allclose(np.stack([s.visual_tokens for s in steps]), tokens, atol=1e-5)
    np.testing.assert_allclose(np.stack([s.class_maps for s in steps]), class_maps, atol=1e-5)
    heat = np.exp(class_maps[:, 1]) / np.exp(class_maps).sum(axis=1)  # eqs. 7-8, as written
    np.testing.assert_allclose(np.stack([s.heatmap.values for s in steps]), heat, atol=1e-5)


@pytest.mark.parametrize(("clip_length", "stride"), [(8, 2), (8, 6), (4, 4)])
def test_windows_of_the_stream_are_those_of_the_whole_clip(backend, clip_length, stride):
    updates = feed(pipeline_of(backend, clip_length=clip_length, stride=stride), range(30))
    steps = steps_of(updates)
    expected = [steps[n : n + clip_length // 2] for n in range(0, 16 - clip_length // 2, stride // 2)]
    windows = [u.window for u in updates if u.window is not None]
    assert [list(w.steps) for w in windows] == expected
    assert all(u.window.steps[-1] is u.step for u in updates if u.window is not None)


def test_every_pair_is_encoded_once_and_alone(backend, calls):
    pipeline = pipeline_of(backend, ALWAYS, clip_length=16)
    updates = feed(pipeline, range(40))
    assert len(updates) == len(calls) == 20
    assert {c.shape for c in calls} == {(1, 24, backend.spec.patch_dim)}
    assert len({c.tobytes() for c in calls}) == 20
    pipeline.window("cam")
    pipeline.flush("cam")
    assert len(calls) == 20, "windows and events use what is there"


def test_an_update_carries_the_later_frame_its_stamps_and_its_size(backend):
    (update,) = feed(pipeline_of(backend), range(2))
    (step,) = steps_of([update])
    assert update.camera == "cam"
    assert update.frame is not None
    assert update.frame.stamp_ns == step.stamps_ns[1]
    assert step.stamps_ns == (0, QUARTER)
    assert step.frame_size == (60, 80)
    assert step.frame_id == "cam_optical"
    assert step.heatmap.values.shape == backend.spec.grid
    assert step.visual_tokens.shape == (6, backend.spec.text_dim)
    assert not any(isinstance(v, Frame) for v in vars(step).values())


def test_rate_and_length_are_the_models_own_where_the_settings_are_zero(backend):
    own, given = pipeline_of(backend).geometry, pipeline_of(backend, process_rate_hz=10.0, clip_length=6).geometry
    assert (own.process_rate_hz, own.clip_length) == (4.0, 8)
    assert (given.process_rate_hz, given.clip_length) == (10.0, 6)


def test_a_faster_camera_is_sampled_at_the_rate(backend, calls):
    pipeline = pipeline_of(backend)
    for k in range(121):  # 4 s at 30 Hz
        pipeline.push(frame(k, at=k * S // 30))
    stats = pipeline.stats("cam")
    assert (stats.frames, stats.sampled, stats.steps, len(calls)) == (121, 17, 8, 8)


# --- several cameras in one call of the engine ---


def clip(camera, numbers):
    return {camera: [frame(10 * ord(camera) + k, at=k * QUARTER, camera=camera) for k in numbers]}


def test_cameras_together_give_what_each_gives_alone(backend, calls):
    names = "abcdefgh"
    together, alone = pipeline_of(backend, ALWAYS), pipeline_of(backend, ALWAYS)
    got = {name: [] for name in names}
    for k in range(0, 12, 2):
        waiting = {name: found for each in names for name, found in clip(each, (k, k + 1)).items()}
        for name, pushed in together.push_together(waiting).items():
            assert pushed.error is None
            got[name] += pushed.updates
    assert [len(pixels) for pixels in calls] == [8] * 6, "one call for all cameras"
    for name in names:
        expected = [u for one in clip(name, range(12))[name] for u in alone.push(one)]
        assert phases(got[name]) == phases(expected)
        assert [u.window is not None for u in got[name]] == [u.window is not None for u in expected]
        for left, right in zip(steps_of(got[name]), steps_of(expected), strict=True):
            assert left.stamps_ns == right.stamps_ns
            np.testing.assert_allclose(left.visual_tokens, right.visual_tokens, atol=1e-5)
            np.testing.assert_allclose(left.class_maps, right.class_maps, atol=1e-5)
            assert left.visual_tokens.base is None, "a step keeps no other camera's"


def test_frames_are_read_up_to_the_first_pair_they_complete(backend, calls):
    pipeline = pipeline_of(backend)
    waiting = {name: iter(clip(name, range(count))[name]) for name, count in (("a", 5), ("b", 1), ("c", 0))}
    pushed = pipeline.push_together(waiting)
    assert [len(pushed[name].updates) for name in "abc"] == [1, 0, 0]
    assert [len(list(rest)) for rest in waiting.values()] == [3, 0, 0]
    assert [len(pixels) for pixels in calls] == [1]
    assert pipeline.push_together({"b": clip("b", (1,))["b"]})["b"].updates[0].step is not None
    assert pipeline.push_together({}) == {}


@pytest.mark.parametrize("fault", ["engine", "numbers", "frame", "source"])
def test_one_failing_camera_does_not_hurt_the_others(backend, monkeypatch, fault):
    pipeline, encode = pipeline_of(backend), backend.encode
    waiting = {name: clip(name, (0, 1))[name] for name in "abc"}
    first, second = (resize(one.rgb, backend.spec) for one in waiting["b"])
    bad = pack_pair(first, second, backend.spec)

    def broken(pixels, text):
        hit = [bool((each == bad).all()) for each in pixels]
        if fault == "engine" and any(hit):
            raise RuntimeError("it chokes on this one")
        tokens, maps = encode(pixels, text)
        if fault == "numbers":
            maps = np.where(np.reshape(hit, (-1, 1, 1, 1)), np.float32("nan"), maps)
        return tokens, maps

    def lost():
        yield waiting["b"][0]
        raise OSError("the source is gone")

    monkeypatch.setattr(backend, "encode", broken)
    given: dict[str, Iterable[Frame]] = dict(waiting)
    if fault == "frame":
        object.__setattr__(waiting["b"][1], "rgb", waiting["b"][1].rgb.astype(np.float32))
    if fault == "source":
        given["b"] = lost()
    pushed = pipeline.push_together(given)
    assert [type(pushed[name].error) for name in "abc"] == [
        type(None),
        {"engine": RuntimeError, "numbers": ModelError, "frame": FrameError, "source": OSError}[fault],
        type(None),
    ]
    assert [len(steps_of(pushed[name].updates)) for name in "abc"] == [1, 0, 1]
    assert [pipeline.stats(name).failures for name in "abc"] == [0, fault in ("engine", "numbers"), 0]
    monkeypatch.setattr(backend, "encode", encode)
    after = pipeline.push_together({name: clip(name, (2, 3))[name] for name in "abc"})
    assert [len(steps_of(after[name].updates)) for name in "abc"] == [1, 1, 1]


# --- a lower rate ---


def test_at_a_lower_rate_the_pairs_that_are_looked_at_are_the_same(backend):
    """Half of the rate is every second pair: its heat map is that of the full rate, and windows are as many pairs."""
    full, half = pipeline_of(backend), pipeline_of(backend, max_halvings=1)
    half.halve(1)
    every, second = feed(full, range(32)), feed(half, range(32))
    np.testing.assert_array_equal(heat_of(second), heat_of(every)[::2])
    assert [s.stamps_ns for s in steps_of(second)] == [s.stamps_ns for s in steps_of(every)][::2]
    windows = [u.window for u in second if u.window is not None]
    assert [len(w.steps) for w in windows] == [4] * 5
    assert windows[0].end_ns - windows[0].start_ns == 13 * QUARTER


def test_events_and_windows_go_on_over_a_change_of_rate(backend):
    pipeline = pipeline_of(backend, ALWAYS, max_halvings=2)
    got = []
    for k in range(64):
        if k in (16, 40):
            pipeline.halve({16: 2, 40: 0}[k])
        got += pipeline.push(frame(k))
    assert phases(got).count(Phase.START) == 1
    assert Phase.END not in phases(got)
    assert [u.window is not None for u in got] == [False] * 3 + [True] * (len(got) - 3)
    starts = [s.stamps_ns[0] // QUARTER for s in steps_of(got)]
    assert starts == [*range(0, 16, 2), 22, 30, 38, *range(40, 64, 2)]
    assert all(s.stamps_ns[1] - s.stamps_ns[0] == QUARTER for s in steps_of(got))
    assert pipeline.stats("cam").gaps == 0


def test_a_camera_that_comes_later_has_the_lower_rate_too(backend):
    pipeline = pipeline_of(backend, max_halvings=2)
    pipeline.halve(2)
    assert len(steps_of(feed(pipeline, range(32), camera="late"))) == 4


# --- stated behaviours ---


def test_late_and_repeated_frames_are_ignored_and_counted(backend):
    pipeline = pipeline_of(backend)
    for k in (0, 1, 1, 2, 3):
        pipeline.push(frame(k))
    assert pipeline.push(frame(9, at=3 * QUARTER - 1)) == []
    stats = pipeline.stats("cam")
    assert (stats.frames, stats.sampled, stats.repeated, stats.late, stats.steps) == (6, 4, 1, 1, 2)


@pytest.mark.parametrize(
    ("next_frame", "counted"),
    [
        (frame(11, at=0), "restarts"),
        (frame(11, at=10 * QUARTER + 2 * S + 1), "gaps"),
        (frame(11, size=(80, 60)), "size_changes"),
    ],
)
def test_what_starts_the_stream_anew_ends_events_at_once(backend, next_frame, counted):
    """Eleven frames: five steps, one window of four of them and one more, and one frame that waits for its partner."""
    pipeline = pipeline_of(backend, ALWAYS)
    before = feed(pipeline, range(11))
    assert phases(before) == [Phase.START] + [Phase.UPDATE] * 4
    (ended,) = pipeline.push(next_frame)
    assert (ended.step, ended.frame, ended.window) == (None, None, None)
    assert phases([ended]) == [Phase.END]
    assert ended.camera == "cam"
    stats = pipeline.stats("cam")
    assert [getattr(stats, n) for n in ("restarts", "gaps", "size_changes")].count(1) == 1
    assert getattr(stats, counted) == 1
    after = [
        update
        for k in range(1, 8)
        for update in pipeline.push(frame(20 + k, at=next_frame.stamp_ns + k * QUARTER, size=next_frame.size))
    ]
    assert [s.index for s in steps_of(after)] == [5, 6, 7, 8], "the count of steps goes on"
    assert steps_of(after)[0].stamps_ns[0] == next_frame.stamp_ns, "the frame that waited has no partner"
    assert [u.window is not None for u in after] == [False] * 3 + [True]
    assert phases(after)[0] is Phase.START
    assert events_of(after)[0].id != events_of(before)[0].id
    assert events_of(after)[0].frame_id == "cam_optical"


def test_a_stopped_cameras_events_end_by_the_clock(backend):
    pipeline = pipeline_of(backend, ALWAYS)
    feed(pipeline, range(8))
    last = 7 * QUARTER
    assert pipeline.tick("cam", last + 2 * S) == []
    (update,) = pipeline.tick("cam", last + 2 * S + 1)
    assert phases([update]) == [Phase.END]
    assert update.step is None
    assert pipeline.tick("cam", last + 60 * S) == []
    assert pipeline.window("cam").end_ns == last, "the latest window can still be asked about"
    assert feed(pipeline, [300]) == []
    assert pipeline.stats("cam").gaps == 1


def test_what_is_cold_ends_by_the_clock_before_the_camera_counts_as_stopped(backend):
    pipeline = pipeline_of(backend, ALWAYS, max_gap_s=60.0)
    feed(pipeline, range(4))
    pipeline.configure(events=dataclasses.replace(NEVER, end_after_s=1.5))
    assert phases(feed(pipeline, range(4, 6))) == []
    assert pipeline.tick("cam", 3 * QUARTER + S) == []
    assert phases(pipeline.tick("cam", 3 * QUARTER + 3 * S // 2)) == [Phase.END]


def test_flush_ends_events_and_the_next_frame_may_be_of_any_time(backend):
    pipeline = pipeline_of(backend, ALWAYS)
    feed(pipeline, range(9))
    assert phases(pipeline.flush("cam")) == [Phase.END]
    assert pipeline.flush() == []
    assert pipeline.window().end_ns == 7 * QUARTER
    (step,) = steps_of(feed(pipeline, range(2), size=(30, 40)))
    assert step.index == 4
    assert step.frame_size == (30, 40)
    stats = pipeline.stats("cam")
    assert (stats.restarts, stats.late, stats.size_changes) == (0, 0, 0)


def test_reset_forgets_windows_and_keeps_evidence(backend):
    pipeline = pipeline_of(backend, ALWAYS)
    for camera in ("a", "b"):
        feed(pipeline, range(10), camera=camera)
    (update,) = pipeline.reset("a")
    assert update.camera == "a"
    assert phases([update]) == [Phase.END]
    with pytest.raises(QueryError, match="'a' has no full window yet: 0 of 4 steps"):
        pipeline.window("a")
    assert pipeline.window("a", update.events[0].id).camera == "a"
    assert pipeline.window("b").camera == "b"
    assert [u.camera for u in pipeline.reset()] == ["b"]


def test_cameras_do_not_touch_each_other(backend):
    together, alone = pipeline_of(backend), pipeline_of(backend)
    mixed = {"a": [], "b": []}
    for k in range(12):
        for camera, at in (("a", k * QUARTER), ("b", 1000 * S - k)):  # b's clock is broken
            mixed[camera] += together.push(frame(k, camera=camera, at=at))
    single = feed(alone, range(12), camera="a")
    assert len(mixed["a"]) == len(single) == 6
    np.testing.assert_array_equal(heat_of(mixed["a"]), heat_of(single))
    assert together.stats("b").sampled == 1
    assert together.stats("b").late == 11
    assert together.cameras == ("a", "b")


def test_a_failing_engine_costs_a_window_but_not_the_stream(backend, monkeypatch):
    pipeline = pipeline_of(backend)
    feed(pipeline, range(8))
    with monkeypatch.context() as patch:
        patch.setattr(backend, "encode", lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory")))
        pipeline.push(frame(8))
        with pytest.raises(RuntimeError, match="out of memory"):
            pipeline.push(frame(9))
    updates = feed(pipeline, range(10, 18))
    assert [u.window is not None for u in updates] == [False] * 3 + [True]
    assert pipeline.stats("cam").failures == 1
    assert pipeline.stats("cam").steps == 8


def test_a_heat_map_that_is_not_a_number_is_refused(backend, monkeypatch):
    encode = backend.encode
    monkeypatch.setattr(backend, "encode", lambda *given: tuple(a * np.float32("nan") for a in encode(*given)))
    pipeline = pipeline_of(backend)
    pipeline.push(frame(0))
    with pytest.raises(ModelError, match="not numbers"):
        pipeline.push(frame(1))


def test_heat_does_not_overflow():
    maps = np.array([[[0.0, 1000.0, -1000.0]], [[0.0, -1000.0, 1000.0]]], np.float32)
    np.testing.assert_array_equal(heatmap_of(maps).values, [[0.5, 0.0, 1.0]])


# --- opening and closing ---


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ({"clip_length": 2}, "clip_length must be even and at least 4"),
        ({"process_rate_hz": 0.4}, "max_gap_s .* must be longer"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_when_opening(backend, stream, message):
    with pytest.raises(ConfigError, match=message):
        pipeline_of(backend, **stream)


def test_opens_by_config_and_takes_nothing_once_closed(tiny):
    config = PipelineConfig(engine=EngineConfig(model=str(tiny), backend="torch", device="cpu", threads=1))
    with open_pipeline(config) as pipeline:
        assert pipeline.backend.spec.name == "random"
        feed(pipeline, range(8))
    with pytest.raises(FrameError, match="the pipeline is closed"):
        pipeline.push(frame(8))
    with pytest.raises(FrameError, match="the pipeline is closed"):
        pipeline.push(frame(8, camera="new"))
    with pytest.raises(QueryError, match="closed"):
        pipeline.ask("Is there any anomaly in the video?")
    pipeline.close()


def test_refuses_a_model_that_is_not_there():
    with pytest.raises(ModelError, match="there is no model 'nonsense'"):
        open_pipeline(PipelineConfig(engine=EngineConfig(model="nonsense")))
