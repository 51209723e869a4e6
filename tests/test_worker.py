"""The worker on the real engine with random weights: bounded queues, order, errors, descriptions, and a clean end."""

import dataclasses
import itertools
import logging
import threading

import numpy as np
import pytest

pytest.importorskip("torch", reason="the torch engine is not installed")
pytest.importorskip("transformers", reason="the torch engine is not installed")

from streaming import ALWAYS, PATIENCE_S, QUARTER, Gate, S, events_of, frame, open_tiny, pipeline_of, steps_of, wait_for

from tvau_runtime import ModelError, Phase, QueryError, StreamWorker


@pytest.fixture(scope="module")
def backend(tiny):
    return open_tiny(tiny)


def test_updates_are_those_of_the_pipeline_in_order(backend):
    direct = pipeline_of(backend, ALWAYS)
    expected = [u for k in range(20) for u in direct.push(frame(k))]
    got = []
    with StreamWorker(pipeline_of(backend, ALWAYS, queue_size=50), got.append) as worker:
        assert all(worker.submit(frame(k)) for k in range(20))
        assert worker.drain(PATIENCE_S)
        stats = worker.stats("cam")
    assert len(expected) == 10
    for left, right in zip(steps_of(got), steps_of(expected), strict=True):
        assert left.index == right.index
        np.testing.assert_array_equal(left.heatmap.values, right.heatmap.values)
    assert [e.phase for e in events_of(got[10:])] == [Phase.END], "closing ends what is open"
    assert (stats.submitted, stats.dropped, stats.queued, stats.failed) == (20, 0, 0, 0)
    assert 0 < stats.latency_p50_s <= stats.latency_p95_s < PATIENCE_S


def test_the_oldest_frames_are_dropped_and_counted_and_submit_does_not_wait(backend, monkeypatch):
    gate = Gate(monkeypatch, backend, "encode")
    got, pipeline = [], pipeline_of(backend, queue_size=4)
    with StreamWorker(pipeline, got.append) as worker:
        worker.submit(frame(0))
        worker.submit(frame(1))
        gate.wait_entered()
        for k in range(2, 20):  # would block here for ever, if it did
            assert worker.submit(frame(k))
        stats = worker.stats("cam")
        assert (stats.submitted, stats.queued, stats.dropped) == (20, 4, 14)
        gate.open()
        assert worker.drain(PATIENCE_S)
    # What is left of 2..19 is the newest; what was dropped before them is no silence, so the window goes on.
    assert [s.stamps_ns for s in steps_of(got)] == [
        (0, QUARTER),
        (16 * QUARTER, 17 * QUARTER),
        (18 * QUARTER, 19 * QUARTER),
    ]
    assert pipeline.stats("cam").gaps == 0


def test_windows_fill_and_pairs_are_of_neighbours_however_slow_the_engine_is(backend, monkeypatch):
    """While the engine looks at a pair, a camera sends for longer than max_gap_s, and nearly all of it is dropped."""
    got, pipeline, encode, numbers = [], pipeline_of(backend, queue_size=3), backend.encode, iter(range(200))

    def slow(pixels, text):
        for k in itertools.islice(numbers, 20):
            worker.submit(frame(k % 7, at=k * QUARTER))
        return encode(pixels, text)

    monkeypatch.setattr(backend, "encode", slow)
    with StreamWorker(pipeline, got.append) as worker:
        for k in itertools.islice(numbers, 2):
            worker.submit(frame(k, at=k * QUARTER))
        wait_for(lambda: worker.stats("cam").submitted == 200)
        assert worker.drain(PATIENCE_S)
        assert worker.stats("cam").dropped > 100
    steps = steps_of(got)
    assert len(steps) >= 10 and [u for u in got if u.window]
    assert {second - first for first, second in (s.stamps_ns for s in steps)} == {QUARTER}
    assert max(b.stamps_ns[0] - a.stamps_ns[0] for a, b in itertools.pairwise(steps)) > 2 * S
    assert pipeline.stats("cam").gaps == 0


def test_cameras_are_served_in_turn(backend, monkeypatch):
    gate = Gate(monkeypatch, backend, "encode")
    got = []
    with StreamWorker(pipeline_of(backend, queue_size=8), got.append) as worker:
        worker.submit(frame(0, camera="a"))
        worker.submit(frame(1, camera="a"))
        gate.wait_entered()
        for camera in ("a", "b", "c"):
            for k in range(2, 8):
                worker.submit(frame(k, camera=camera))
        gate.open()
        assert worker.drain(PATIENCE_S)
        assert worker.cameras == ("a", "b", "c")
    served = [u.camera for u in got if u.step][1:]
    assert sorted(served) == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    for third in (served[:3], served[3:6], served[6:]):
        assert sorted(third) == ["a", "b", "c"], "none waits for all frames of another"


def test_pairs_of_all_cameras_that_wait_go_through_the_engine_together(backend, monkeypatch):
    gate, encode, sizes = Gate(monkeypatch, backend, "encode"), backend.encode, []
    monkeypatch.setattr(backend, "encode", lambda pixels, text: (sizes.append(len(pixels)), encode(pixels, text))[1])
    names = [f"cam{n}" for n in range(6)]
    got, pipeline = [], pipeline_of(backend)
    with StreamWorker(pipeline, got.append) as worker:
        worker.submit(frame(0, camera="first"))
        worker.submit(frame(1, camera="first"))
        gate.wait_entered()
        for k in range(4):
            for camera in names:
                worker.submit(frame(k, camera=camera))
        gate.open()
        assert worker.drain(PATIENCE_S)
    assert sizes == [1, 6, 6]
    assert [u.camera for u in got] == ["first", *names, *names]
    alone = pipeline_of(backend)
    for n in (0, 5):
        expected = [s for k in range(4) for s in steps_of(alone.push(frame(k, camera=names[n])))]
        mine = steps_of([u for u in got if u.camera == names[n]])
        for left, right in zip(mine, expected, strict=True):
            np.testing.assert_allclose(left.heatmap.values, right.heatmap.values, atol=1e-5)


def test_a_failing_camera_costs_the_others_nothing(backend, caplog):
    got = []
    with StreamWorker(pipeline_of(backend), got.append) as worker:
        for k in range(4):
            for camera in ("a", "b"):
                one = frame(k, camera=camera)
                if camera == "b" and k < 2:
                    object.__setattr__(one, "rgb", one.rgb.astype(np.float32))
                worker.submit(one)
        assert worker.drain(PATIENCE_S)
        assert [worker.stats(name).failed for name in ("a", "b")] == [0, 2]
    assert [u.camera for u in got].count("a") == 2
    assert [u.camera for u in got].count("b") == 1
    assert "camera 'b': a frame was skipped (failure 1): a frame must be uint8" in caplog.text


def test_a_failing_engine_is_counted_and_logged_and_the_stream_goes_on(backend, monkeypatch, caplog):
    encode, count = backend.encode, iter(range(100))

    def fails_at_first(pixels, text):
        if next(count) < 5:
            raise ModelError("the weights are tired")
        return encode(pixels, text)

    monkeypatch.setattr(backend, "encode", fails_at_first)
    got = []
    with caplog.at_level(logging.WARNING), StreamWorker(pipeline_of(backend, queue_size=50), got.append) as worker:
        for k in range(14):
            worker.submit(frame(k))
        assert worker.drain(PATIENCE_S)
        assert worker.stats("cam").failed == 5
    assert len(got) == 2
    lines = [r.getMessage() for r in caplog.records]
    assert len(lines) == 3, "the 1st, 2nd and 4th"
    assert lines[0] == "camera 'cam': a frame was skipped (failure 1): the weights are tired"
    assert not any(r.exc_info for r in caplog.records), "what is raised on purpose needs no traceback"


def test_a_failing_callback_is_counted_and_the_stream_goes_on(backend, caplog):
    got = []

    def callback(update):
        got.append(update)
        raise ValueError("receiver trouble")

    with StreamWorker(pipeline_of(backend, queue_size=50), callback) as worker:
        for k in range(6):
            worker.submit(frame(k))
        assert worker.drain(PATIENCE_S)
        assert worker.stats("cam").failed == 3
    assert len(got) == 3
    assert "the callback raised (failure 1): receiver trouble" in caplog.text
    assert caplog.records[0].exc_info, "a defect keeps its traceback"


def test_a_stopped_cameras_events_end_by_themselves(backend):
    got = []
    with StreamWorker(pipeline_of(backend, ALWAYS, max_gap_s=0.3), got.append) as worker:
        worker.submit(frame(0))
        worker.submit(frame(1))
        wait_for(lambda: [e.phase for e in events_of(got)] == [Phase.START, Phase.END])
        assert got[-1].step is None
        worker.submit(frame(2))
        worker.submit(frame(3))
        assert worker.drain(PATIENCE_S)
    assert [e.phase for e in events_of(got)][:3] == [Phase.START, Phase.END, Phase.START]


def test_reset_drops_what_waits_and_ends_events(backend, monkeypatch):
    gate = Gate(monkeypatch, backend, "encode")
    got = []
    with StreamWorker(pipeline_of(backend, ALWAYS), got.append) as worker:
        for k in range(2):
            worker.submit(frame(k))
        gate.wait_entered()
        for k in range(2, 6):
            worker.submit(frame(k))
        worker.reset("cam")
        assert worker.stats("cam").cleared == 4
        assert worker.stats("cam").queued == 0
        gate.open()
        assert worker.drain(PATIENCE_S)
        assert [e.phase for e in events_of(got)] == [Phase.START, Phase.END]
        worker.submit(frame(0))
        worker.submit(frame(1))
        assert worker.drain(PATIENCE_S)
        assert [e.phase for e in events_of(got)][2:] == [Phase.START]
        with pytest.raises(QueryError, match="no frame has come from a camera 'nobody'; there are frames of: cam"):
            worker.reset("nobody")
        with pytest.raises(QueryError, match="no frame has come from a camera 'nobody'"):
            worker.stats("nobody")


def test_the_callback_may_submit_and_reset(backend):
    got = []

    def callback(update):
        got.append(update)
        if update.step is not None and update.step.index == 0:
            worker.reset()
            worker.submit(frame(0))
            worker.submit(frame(1))

    with StreamWorker(pipeline_of(backend, ALWAYS), callback) as worker:
        worker.submit(frame(0))
        worker.submit(frame(1))
        wait_for(lambda: len(steps_of(got)) == 2)
    assert [e.phase for e in events_of(got)] == [Phase.START, Phase.END, Phase.START, Phase.END]


def test_drain_says_when_it_took_too_long(backend, monkeypatch):
    gate = Gate(monkeypatch, backend, "encode")
    with StreamWorker(pipeline_of(backend), lambda _: None) as worker:
        worker.submit(frame(0))
        worker.submit(frame(1))
        gate.wait_entered()
        assert worker.drain(0.01) is False
        gate.open()
        assert worker.drain(PATIENCE_S) is True


def test_close_ends_events_drops_the_queue_and_may_be_called_again(backend, monkeypatch):
    gate = Gate(monkeypatch, backend, "encode")
    got = []
    pipeline = pipeline_of(backend, ALWAYS)
    before = set(threading.enumerate())
    worker = StreamWorker(pipeline, got.append)
    assert len(set(threading.enumerate()) - before) == 2
    for k in range(6):
        worker.submit(frame(k))
        if k == 1:
            gate.wait_entered()
    closing = threading.Thread(target=worker.close)
    closing.start()
    wait_for(lambda: worker.stats("cam").cleared == 4)
    gate.open()
    closing.join(PATIENCE_S)
    assert [e.phase for e in events_of(got)] == [Phase.START, Phase.END]
    assert worker.submit(frame(9)) is False
    worker.close()
    wait_for(lambda: not (set(threading.enumerate()) - before))
    assert [u.step is not None for u in pipeline.push(frame(0)) + pipeline.push(frame(1))] == [True]


def test_close_does_not_wait_for_ever(backend, monkeypatch, caplog):
    gate = Gate(monkeypatch, backend, "encode")
    worker = StreamWorker(pipeline_of(backend), lambda _: None)
    worker.submit(frame(0))
    worker.submit(frame(1))
    gate.wait_entered()
    worker.close(timeout_s=0.01)
    assert "still busy" in caplog.text
    gate.open()
    worker.close()


def test_an_idle_worker_closes(backend):
    StreamWorker(pipeline_of(backend), lambda _: None).close()


# --- reading ahead ---


def reading_ahead(backend, **stream):
    pipeline = pipeline_of(backend, queue_size=50, **stream)
    pipeline.configure(dialogue=dataclasses.replace(pipeline.config.dialogue, prefill=True))
    return pipeline


@pytest.fixture
def passes(backend, monkeypatch):
    """How many positions every pass of the language model has read."""
    decode, read = backend.decode, []
    monkeypatch.setattr(backend, "decode", lambda e, p, c=None: (read.append(len(e)), decode(e, p, c))[1])
    return read


def test_the_newest_window_is_read_ahead_and_the_answer_is_the_same(backend, passes):
    question = "What is abnormal?"
    pipeline = reading_ahead(backend)
    with StreamWorker(pipeline, lambda _: None) as worker:
        for k in range(12):
            worker.submit(frame(k))
        assert worker.drain(PATIENCE_S)
        ahead = list(passes)
        assert len(set(ahead)) == 1, "windows, and nothing else"
        answer = pipeline.ask(question)
        assert max(passes[len(ahead) :]) < ahead[0], "evidence was not read again"
        direct = pipeline_of(backend)
        for k in range(12):
            direct.push(frame(k))
        cold = direct.ask(question)
        assert passes.count(ahead[0]) == len(ahead) + 1, "here it was"
        assert (answer.text, answer.evidence.window_end_ns) == (cold.text, cold.evidence.window_end_ns)
        assert answer.evidence.yes_probability == pytest.approx(cold.evidence.yes_probability, abs=1e-5)
        worker.reset()
        assert worker.drain(PATIENCE_S)
        assert not pipeline.dialogue._ahead, "what nobody can ask about any more is dropped"


def test_the_stream_goes_on_while_a_window_is_read_and_outdated_ones_are_left_out(backend, monkeypatch):
    pipeline = reading_ahead(backend)
    gate = Gate(monkeypatch, pipeline.dialogue, "prefill")
    got, read = [], []
    held = pipeline.dialogue.prefill
    monkeypatch.setattr(pipeline.dialogue, "prefill", lambda window: (held(window), read.append(window)))
    with StreamWorker(pipeline, got.append) as worker:
        for k in range(8):
            worker.submit(frame(k))
        gate.wait_entered()
        for k in range(8, 20):
            worker.submit(frame(k))
        wait_for(lambda: len(steps_of(got)) == 10)
        gate.open()
        assert worker.drain(PATIENCE_S)
    windows = [update.window for update in got if update.window is not None]
    assert len(windows) == 7
    assert read[0] is windows[0]
    assert read[1:] and all(window is windows[-1] for window in read[1:])
    assert not pipeline.dialogue._ahead or pipeline.dialogue._ahead["cam"][0] is windows[-1]


def test_nothing_is_read_ahead_while_frames_wait_or_where_it_is_switched_off(backend, monkeypatch, passes):
    pipeline = reading_ahead(backend)
    with StreamWorker(pipeline, lambda _: None) as worker:
        for k in range(8):
            worker.submit(frame(k))
        assert worker.drain(PATIENCE_S)
        assert len(passes) == 1
        gate = Gate(monkeypatch, backend, "encode")
        for k in range(8, 12):
            worker.submit(frame(k))
        gate.wait_entered()
        worker._read_ahead("cam")
        assert len(passes) == 1
        gate.open()
        assert worker.drain(PATIENCE_S)
        pipeline.configure(dialogue=dataclasses.replace(pipeline.config.dialogue, prefill=False))
        assert not pipeline.dialogue._ahead
        before = len(passes)
        for k in range(12, 16):
            worker.submit(frame(k))
        assert worker.drain(PATIENCE_S)
        assert len(passes) == before


def test_a_window_that_cannot_be_read_ahead_is_counted_and_the_stream_goes_on(backend, monkeypatch, caplog):
    def failing(embeddings, positions, cache=None):
        raise ModelError("out of words")

    monkeypatch.setattr(backend, "decode", failing)
    got = []
    with StreamWorker(reading_ahead(backend), got.append) as worker:
        for k in range(8):
            worker.submit(frame(k))
        assert worker.drain(PATIENCE_S)
        assert len(steps_of(got)) == 4
        assert worker.stats("cam").failed == 1
    assert "its latest window could not be read ahead (failure 1): out of words" in caplog.text
