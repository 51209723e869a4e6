"""Evidence and questions over the stream, on the real engine with random weights: windows, answers, threads."""

import dataclasses
import threading

import numpy as np
import pytest

pytest.importorskip("torch", reason="the torch engine is not installed")
pytest.importorskip("transformers", reason="the torch engine is not installed")

from streaming import ALWAYS, NEVER, QUARTER, events_of, feed, frame, heat_of, open_tiny, phases, pipeline_of, steps_of

from tvau_runtime import Phase, Prompts, QueryError
from tvau_runtime.evidence import EvidenceStore
from tvau_runtime.types import Window

OTHER = Prompts(normal=("red car",), abnormal=("person walking",))


@pytest.fixture(scope="module")
def backend(tiny):
    return open_tiny(tiny)


# --- evidence ---


def test_the_latest_window_is_the_only_cameras_where_none_is_named(backend):
    pipeline = pipeline_of(backend)
    with pytest.raises(QueryError, match="no frame has come from a camera yet"):
        pipeline.window()
    feed(pipeline, range(5))
    with pytest.raises(QueryError, match=r"'cam' has no full window yet: 2 of 4 steps \(5 frames sampled\)"):
        pipeline.window()
    updates = feed(pipeline, range(5, 12))
    assert pipeline.window() is pipeline.window("cam") is updates[-1].window
    feed(pipeline, range(2), camera="other")
    with pytest.raises(QueryError, match="name a camera; there are: cam, other"):
        pipeline.window()
    with pytest.raises(QueryError, match="no frame has come from a camera 'nobody'; there are frames of: cam, other"):
        pipeline.window("nobody")


@pytest.mark.parametrize("peak", [1, 4, 9, 14])
def test_an_events_window_has_its_peak_in_the_middle(backend, monkeypatch, peak):
    """The engine is real; its class maps are raised at one step, so that the peak is known."""
    pipeline = pipeline_of(backend, ALWAYS)
    encode, count = backend.encode, iter(range(100))

    def raised(pixels, text):
        tokens, maps = encode(pixels, text)
        hot = next(count) == peak
        return tokens, np.stack([np.zeros_like(maps[:, 0]), np.full_like(maps[:, 1], 3.0 if hot else 0.0)], axis=1)

    monkeypatch.setattr(backend, "encode", raised)
    updates = feed(pipeline, range(32))
    ended = pipeline.flush("cam")
    event = events_of(ended)[0]
    assert event.peak_ns == steps_of(updates)[peak].stamps_ns[1]
    assert event.peak_score == pytest.approx(0.9526, abs=1e-3)
    steps = pipeline.window(event_id=event.id).steps
    assert len(steps) == 4
    assert [s.index for s in steps] == list(range(steps[0].index, steps[0].index + 4))
    first = min(max(peak - 1, 0), 12)
    assert steps[0].index == first, "two steps after the peak, one before, as far as there are any"
    assert pipeline.window("cam", event.id) is pipeline.window(event_id=event.id)
    with pytest.raises(QueryError, match="is of camera 'cam', the question names 'other'"):
        pipeline.window("other", event.id)


def test_an_event_that_is_over_before_a_window_is_full_has_no_evidence(backend):
    pipeline = pipeline_of(backend, ALWAYS)
    (event,) = events_of(feed(pipeline, range(2)))
    pipeline.flush("cam")
    with pytest.raises(QueryError, match=f"no window of event '{event.id}'.*events with one: none"):
        pipeline.window(event_id=event.id)


def test_evidence_is_kept_of_the_last_events_only(backend):
    updates = feed(pipeline_of(backend), range(8))
    window = updates[-1].window
    assert isinstance(window, Window)
    store = EvidenceStore(limit=64)
    for n in range(100):
        store.put(f"e-{n}", window)
    store.put("e-99", window)
    assert store.event_ids == tuple(f"e-{n}" for n in range(36, 100))
    assert store.get("e-35") is None
    assert store.get("e-36") is window


# --- questions, prompts, settings ---


def test_answers_rest_on_the_latest_window_or_the_named_event(backend):
    pipeline = pipeline_of(backend, ALWAYS)
    updates = feed(pipeline, range(12))
    event = events_of(updates)[-1]
    answer = pipeline.ask("Is there any anomaly in the video?")
    window = pipeline.window("cam")
    shown = answer.evidence
    assert (answer.camera, shown.window_start_ns, shown.window_end_ns) == ("cam", window.start_ns, window.end_ns)
    assert shown.score == window.score
    assert shown.window_start_ns <= shown.start_ns < shown.end_ns <= shown.window_end_ns
    about = pipeline.ask("Describe anomaly features in detail.", event_id=event.id)
    assert about.event_id == event.id
    assert about.evidence.window_start_ns <= event.peak_ns <= about.evidence.window_end_ns
    assert (about.evidence.start_ns, about.evidence.end_ns) == (event.start_ns, event.end_ns)
    follow_up = pipeline.ask("What is its movement trajectory?", session=about.session)
    assert follow_up.session == about.session
    with pytest.raises(QueryError, match="there is no window of event 'cam-0'"):
        pipeline.ask("And now?", event_id="cam-0")


def test_a_description_stays_with_its_event(backend, monkeypatch):
    pipeline = pipeline_of(backend, ALWAYS)
    event = events_of(feed(pipeline, range(8)))[-1]
    asked = []
    monkeypatch.setattr(
        pipeline.dialogue,
        "describe",
        lambda window, track: (asked.append((window, track)), ("red car", "It drives."))[1],
    )
    described = pipeline.describe(event)
    assert (described.label, described.description) == ("red car", "It drives.")
    assert dataclasses.replace(described, label="", description="") == event
    assert asked == [(pipeline.window("cam", event.id), event.track)]
    later = events_of(feed(pipeline, range(8, 10))) + events_of(pipeline.flush("cam"))
    assert [(e.phase, e.label) for e in later] == [(Phase.UPDATE, "red car"), (Phase.END, "red car")]


def test_the_model_itself_can_describe(backend):
    pipeline = pipeline_of(backend, ALWAYS)
    event = events_of(feed(pipeline, range(8)))[-1]
    described = pipeline.describe(event)
    assert isinstance(described.label, str)
    assert described.id == event.id


def test_a_question_does_not_hold_up_the_stream(backend, monkeypatch):
    """While the language model speaks, frames of the same camera go through."""
    pipeline = pipeline_of(backend, ALWAYS)
    feed(pipeline, range(8))
    speaking, go_on = threading.Event(), threading.Event()
    decode = backend.decode

    def slow(*args, **kwargs):
        speaking.set()
        assert go_on.wait(30)
        return decode(*args, **kwargs)

    monkeypatch.setattr(backend, "decode", slow)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(pipeline.ask("Is there any anomaly in the video?")))
    thread.start()
    try:
        assert speaking.wait(30)
        assert len(feed(pipeline, range(8, 16))) == 4
        assert pipeline.stats("cam").steps == 8
        assert pipeline.window("cam").end_ns == 15 * QUARTER
        assert not answers
    finally:
        go_on.set()
        thread.join(30)
    assert answers[0].evidence.window_end_ns == 7 * QUARTER, "the evidence is that of when the question was put"


def test_cameras_may_be_pushed_from_several_threads(backend):
    pipeline = pipeline_of(backend, ALWAYS)
    expected = heat_of(feed(pipeline_of(backend), range(12)))
    got = {}

    def run(camera):
        got[camera] = heat_of(feed(pipeline, range(12), camera=camera))

    threads = [threading.Thread(target=run, args=(f"cam{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(got) == [f"cam{n}" for n in range(4)]
    for values in got.values():
        np.testing.assert_allclose(values, expected, atol=1e-5)


def test_event_settings_change_while_running_also_for_cameras_to_come(backend):
    pipeline = pipeline_of(backend, NEVER)
    assert events_of(feed(pipeline, range(4), camera="a")) == []
    pipeline.configure(events=ALWAYS)
    assert phases(feed(pipeline, range(4, 6), camera="a")) == [Phase.START]
    assert phases(feed(pipeline, range(2), camera="b")) == [Phase.START]
    assert pipeline.config.events == ALWAYS
    pipeline.configure(dialogue=dataclasses.replace(pipeline.config.dialogue, max_question_chars=5))
    feed(pipeline, range(6, 14), camera="a")
    with pytest.raises(QueryError, match="at most 5 characters"):
        pipeline.ask("Is there any anomaly?", camera="a")


def test_prompts_change_the_heat_from_the_next_patch_on(backend):
    first = heat_of(feed(pipeline_of(backend), range(2)))
    pipeline = pipeline_of(backend)
    pipeline.set_prompts(OTHER)
    changed = heat_of(feed(pipeline, range(2)))
    assert np.abs(changed - first).max() > 1e-4
    np.testing.assert_array_equal(heat_of(feed(pipeline_of(backend), range(2))), first)


def test_other_prompts_end_events_and_start_the_window_anew(backend):
    pipeline = pipeline_of(backend, ALWAYS)
    feed(pipeline, range(8))
    before = pipeline.ask("Is there any anomaly in the video?")
    assert before.evidence.prompts == backend.prompts
    pipeline.set_prompts(backend.prompts)
    assert Phase.END not in phases(feed(pipeline, range(8, 10))), "nothing has changed"
    pipeline.set_prompts(OTHER)
    assert pipeline.ask("And?").evidence.prompts == backend.prompts, "no frame has come since"
    (ended, *_) = feed(pipeline, [10])
    assert {event.phase for event in ended.events} == {Phase.END}
    with pytest.raises(QueryError, match="0 of 4 steps"):
        pipeline.ask("And?")
    assert {u.step.prompts for u in feed(pipeline, range(11, 18)) if u.step} == {OTHER}
    after = pipeline.ask("Is there any anomaly in the video?")
    assert (after.evidence.prompts, after.evidence.window_start_ns) == (OTHER, 10 * QUARTER)
    again = pipeline.ask("Describe anomaly features in detail.", session=before.session)
    assert (again.evidence.prompts, again.evidence.score) == (backend.prompts, before.evidence.score), (
        "a dialogue stays with its evidence"
    )


def test_each_camera_has_its_own_prompts_and_all_are_encoded_in_one_call(backend, monkeypatch):
    pipeline, calls, encode = pipeline_of(backend), [], backend.encode
    pipeline.set_prompts(OTHER, "b")
    monkeypatch.setattr(backend, "encode", lambda *given: (calls.append(len(given[0])), encode(*given))[1])
    frames = {camera: [frame(n, camera=camera) for n in range(2)] for camera in "abc"}
    pushed = pipeline.push_together(frames)
    assert calls == [3]
    steps = {camera: steps_of(result.updates)[0] for camera, result in pushed.items()}
    assert {camera: step.prompts for camera, step in steps.items()} == {
        "a": backend.prompts,
        "b": OTHER,
        "c": backend.prompts,
    }
    monkeypatch.undo()
    alone = pipeline_of(backend)
    alone.set_prompts(OTHER)
    np.testing.assert_allclose(steps["b"].class_maps, steps_of(feed(alone, range(2)))[0].class_maps, atol=1e-5)
    np.testing.assert_allclose(
        steps["a"].class_maps, steps_of(feed(pipeline_of(backend), range(2)))[0].class_maps, atol=1e-5
    )
    assert (pipeline.prompts(), pipeline.prompts("b")) == (backend.prompts, OTHER)
    pipeline.set_prompts(OTHER)
    assert {pipeline.prompts(camera) for camera in ("", "a", "b", "new")} == {OTHER}
