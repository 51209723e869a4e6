"""Events put into words beside the stream, on the real engine with random weights: when, how often, and never at its cost."""

import dataclasses
import itertools
import threading

import pytest

pytest.importorskip("torch", reason="the torch engine is not installed")
pytest.importorskip("transformers", reason="the torch engine is not installed")

from streaming import ALWAYS, PATIENCE_S, Gate, events_of, frame, open_tiny, pipeline_of, steps_of, wait_for

from tvau_runtime import Phase, StreamWorker
from tvau_runtime.describer import MAX_WAITING, EventDescriber
from tvau_runtime.load import LoadGauge
from tvau_runtime.types import AnomalyEvent


@pytest.fixture(scope="module")
def backend(tiny):
    return open_tiny(tiny)


def test_an_event_is_described_by_an_update_of_its_own_while_the_stream_goes_on(backend, monkeypatch):
    """At START there is no full window yet: the question is put as soon as there is one."""
    pipeline = pipeline_of(backend, dataclasses.replace(ALWAYS, update_period_s=0.5), describe=True, queue_size=50)
    answer = ("red car", "A red car drives to the right.")
    monkeypatch.setattr(pipeline.dialogue, "describe", lambda *_, **__: answer)
    gate = Gate(monkeypatch, pipeline.dialogue, "describe")
    got = []
    with StreamWorker(pipeline, got.append) as worker:
        for k in range(12):
            worker.submit(frame(k))
        gate.wait_entered()
        wait_for(lambda: len(got) == 6)
        assert not any(e.label for e in events_of(got)), "all frames are through, and the model is still thinking"
        gate.open()
        assert worker.drain(PATIENCE_S)
        (update,) = got[6:]
        assert update.step is None
        assert update.camera == "cam"
        (event,) = update.events
        newest = events_of(got[:6])[-1]
        assert event == dataclasses.replace(newest, phase=Phase.UPDATE, label=answer[0], description=answer[1])
        for k in range(12, 14):
            worker.submit(frame(k))
        assert worker.drain(PATIENCE_S)
    assert [(e.phase, e.label) for e in events_of(got[7:])] == [(Phase.UPDATE, "red car"), (Phase.END, "red car")]
    assert (worker.described, worker.undescribed) == (1, 0)


def test_words_that_come_after_the_end_come_with_a_repeated_end(backend, monkeypatch):
    pipeline = pipeline_of(backend, ALWAYS, describe=True, queue_size=50)
    monkeypatch.setattr(pipeline.dialogue, "describe", lambda *_, **__: ("red car", ""))
    gate = Gate(monkeypatch, pipeline.dialogue, "describe")
    got = []
    with StreamWorker(pipeline, got.append) as worker:
        for k in range(10):
            worker.submit(frame(k))
        gate.wait_entered()
        wait_for(lambda: len(got) == 5)
        worker.reset()
        wait_for(lambda: events_of(got)[-1].phase is Phase.END)
        gate.open()
        assert worker.drain(PATIENCE_S)
    end, again = events_of(got)[-2:]
    assert again == dataclasses.replace(end, label="red car")
    assert again.phase is Phase.END


@pytest.mark.parametrize("answer", [("", ""), RuntimeError("the model is lost")])
def test_an_event_stays_without_words_where_there_are_none(backend, monkeypatch, caplog, answer):
    pipeline = pipeline_of(backend, ALWAYS, describe=True, queue_size=50)

    def describe(*_, **__):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(pipeline.dialogue, "describe", describe)
    got = []
    with StreamWorker(pipeline, got.append) as worker:
        for k in range(12):
            worker.submit(frame(k))
        assert worker.drain(PATIENCE_S)
        assert len(got) == 6
    failed = isinstance(answer, Exception)
    assert worker.undescribed == failed
    assert ("stays without description: the model is lost" in caplog.text) == failed


def test_an_event_that_never_has_a_window_is_given_up(backend):
    got = []
    with StreamWorker(pipeline_of(backend, ALWAYS, describe=True), got.append) as worker:
        for k in range(4):
            worker.submit(frame(k))
        assert worker.drain(PATIENCE_S)
        worker.reset()
        wait_for(lambda: worker.undescribed == 1)
    assert [e.phase for e in events_of(got)] == [Phase.START, Phase.UPDATE, Phase.END]


def test_events_are_not_described_where_that_is_switched_off(backend, monkeypatch):
    pipeline = pipeline_of(backend, ALWAYS, describe=True, queue_size=50)
    asked = []
    monkeypatch.setattr(pipeline.dialogue, "describe", lambda window, *_, **__: (asked.append(window), ("x", "y"))[1])
    pipeline.configure(dialogue=dataclasses.replace(pipeline.config.dialogue, describe_events="never"))
    with StreamWorker(pipeline, lambda _: None) as worker:
        for k in range(12):
            worker.submit(frame(k))
        assert worker.drain(PATIENCE_S)
    assert asked == []


def test_the_real_model_describes_a_real_event(backend):
    got = []
    with StreamWorker(pipeline_of(backend, ALWAYS, describe=True, queue_size=50), got.append) as worker:
        for k in range(12):
            worker.submit(frame(k))
        assert worker.drain(PATIENCE_S)
        assert worker.undescribed == 0
        assert worker.stats("cam").failed == 0
    assert len(steps_of(got)) == 6


def test_an_event_is_described_again_over_its_whole_track_as_it_ends(backend, monkeypatch):
    pipeline = pipeline_of(backend, ALWAYS, describe=True, queue_size=50)
    asked, got = [], []
    monkeypatch.setattr(
        pipeline.dialogue, "describe", lambda _, track, **__: (asked.append(track), ("car", f"{len(asked)}"))[1]
    )
    with StreamWorker(pipeline, got.append) as worker:
        for k in range(8):
            worker.submit(frame(k))
        assert worker.drain(PATIENCE_S)
        for k in range(8, 12):
            worker.submit(frame(k))
        assert worker.drain(PATIENCE_S)
        worker.reset()
        assert worker.drain(PATIENCE_S)
        assert worker.described == 2
    end, again = events_of(got)[-2:]
    assert (end.phase, end.description) == (Phase.END, "1")
    assert again == dataclasses.replace(end, description="2")
    assert asked == [end.track[: len(asked[0])], end.track]


def test_an_end_that_gets_the_words_it_has_is_not_repeated():
    box = (0.0, 0.0, 1.0, 1.0)
    told, order = [], threading.RLock()
    describer = EventDescriber(lambda event: dataclasses.replace(event, label="seen"), told.append, order)
    event = AnomalyEvent("e-1", "e", "", Phase.START, 0, 0, 0, 1.0, 1.0, box, box, ())
    for phase, label in ((Phase.START, ""), (Phase.UPDATE, "seen"), (Phase.END, "seen")):
        with order:
            describer.watch(dataclasses.replace(event, phase=phase, label=label), True)
        assert describer.wait_idle(PATIENCE_S)
    assert [(e.phase, e.label) for e in told] == [(Phase.UPDATE, "seen")]
    assert describer.close(PATIENCE_S)


def test_an_event_that_ends_while_it_is_described_is_asked_about_once_more():
    box = (0.0, 0.0, 1.0, 1.0)
    told, order, asked, release = [], threading.RLock(), [], threading.Event()

    def describe(event):
        asked.append(event.phase)
        assert release.wait(PATIENCE_S)
        return dataclasses.replace(event, label=event.phase.name)

    describer = EventDescriber(describe, told.append, order)
    event = AnomalyEvent("e-1", "e", "", Phase.START, 0, 0, 0, 1.0, 1.0, box, box, ())
    with order:
        describer.watch(event, True)
    wait_for(lambda: asked)
    with order:
        describer.watch(dataclasses.replace(event, phase=Phase.END), True)
    release.set()
    assert describer.wait_idle(PATIENCE_S)
    assert describer.close(PATIENCE_S)
    assert asked == [Phase.START, Phase.END]
    assert [(e.phase, e.label) for e in told] == [(Phase.END, "START"), (Phase.END, "END")]
    assert (describer.described, describer.dropped, describer.failed) == (2, 0, 0)


@pytest.mark.parametrize(("busy", "halvings", "described"), [(0.2, 0, 1), (0.8, 0, 0), (0.2, 1, 0), (None, 0, 0)])
def test_auto_describes_while_the_model_has_time_to_spare(backend, monkeypatch, busy, halvings, described):
    pipeline = pipeline_of(backend, ALWAYS, queue_size=50)
    pipeline.configure(dialogue=dataclasses.replace(pipeline.config.dialogue, describe_events="auto"))
    monkeypatch.setattr(pipeline.dialogue, "describe", lambda *_, **__: ("car", ""))
    monkeypatch.setattr(LoadGauge, "look", lambda *_: False)
    with StreamWorker(pipeline, lambda _: None) as worker:
        worker._load.busy, worker._load.halvings = busy, halvings
        for k in range(12):
            worker.submit(frame(k))
        assert worker.drain(PATIENCE_S)
        assert worker.described == described


def test_of_too_many_events_that_wait_the_earliest_go_without_words():
    box = (0.0, 0.0, 1.0, 1.0)
    told, order, release = [], threading.RLock(), threading.Event()

    def describe(event):
        assert release.wait(PATIENCE_S)
        return dataclasses.replace(event, label="seen")

    describer = EventDescriber(describe, told.append, order)
    for n in range(MAX_WAITING + 4):
        with order:
            describer.watch(AnomalyEvent(f"e-{n}", "e", "", Phase.START, 0, 0, 0, 1.0, 1.0, box, box, ()), True)
        if n == 0:
            wait_for(lambda: not describer.wait_idle(0.0))
    release.set()
    assert describer.wait_idle(PATIENCE_S)
    assert describer.close(PATIENCE_S)
    assert describer.dropped == 4
    assert len(told) == MAX_WAITING
    assert {e.id for e in told} >= {f"e-{n}" for n in range(5, MAX_WAITING + 4)}


# --- never at the cost of others ---


def logged(monkeypatch, backend):
    """What the model is used for, in order: "pair" for frames, "words" by the describing thread, else "answer"."""
    order, encode, decode = [], backend.encode, backend.decode
    hooks = {}

    def note(what):
        order.append(what)
        hooks.get((what, order.count(what)), lambda: None)()

    def encoding(pixels, text):
        note("pair")
        return encode(pixels, text)

    def decoding(*args):
        note("words" if threading.current_thread().name == "tvau-describe" else "answer")
        return decode(*args)

    monkeypatch.setattr(backend, "encode", encoding)
    monkeypatch.setattr(backend, "decode", decoding)
    return order, hooks


def test_frames_that_wait_go_before_every_pass_of_a_description(backend, monkeypatch):
    pipeline = pipeline_of(backend, ALWAYS, describe=True, queue_size=50)
    order, hooks = logged(monkeypatch, backend)
    all_here = threading.Event()
    with StreamWorker(pipeline, lambda _: None) as worker:
        hooks["pair", 1] = lambda: all_here.wait(PATIENCE_S)
        hooks["words", 3] = lambda: [worker.submit(frame(k)) for k in range(16, 20)]
        for k in range(16):
            worker.submit(frame(k))
        all_here.set()
        assert worker.drain(PATIENCE_S)
        assert worker.described + worker.undescribed <= 1
    assert order[:13] == ["pair"] * 8 + ["words"] * 3 + ["pair"] * 2
    assert set(order[13:]) == {"words"}


def test_a_stream_that_leaves_no_time_costs_the_description_and_is_counted(backend, monkeypatch):
    monkeypatch.setattr("tvau_runtime.dialogue.PATIENCE_S", 0.1)
    pipeline = pipeline_of(backend, ALWAYS, describe=True, queue_size=50)
    order, hooks = logged(monkeypatch, backend)
    all_here = threading.Event()
    got = []
    with StreamWorker(pipeline, got.append) as worker:
        hooks["pair", 1] = lambda: all_here.wait(PATIENCE_S)
        hooks["pair", 6] = lambda: wait_for(lambda: worker.undescribed)
        for k in range(16):
            worker.submit(frame(k))
        all_here.set()
        assert worker.drain(PATIENCE_S)
        assert (worker.described, worker.undescribed) == (0, 1)
    assert order == ["pair"] * 8
    assert len(steps_of(got)) == 8


def test_a_question_is_answered_in_the_middle_of_a_description_which_goes_on_unharmed(backend, monkeypatch):
    pipeline = pipeline_of(backend)
    for k in range(8):
        pipeline.push(frame(k))
    window = pipeline.window()
    undisturbed, alone = pipeline.dialogue.describe(window), pipeline.ask("What is it?").text
    order, hooks = logged(monkeypatch, backend)
    answers, described = [], []
    asking = threading.Thread(target=lambda: answers.append(pipeline.ask("What is it?").text))

    def ask():
        asking.start()
        wait_for(lambda: pipeline.dialogue._floor.waited_for)

    hooks["words", 3] = ask
    describing = threading.Thread(
        target=lambda: described.append(pipeline.dialogue.describe(window)), name="tvau-describe"
    )
    describing.start()
    describing.join(PATIENCE_S)
    asking.join(PATIENCE_S)
    assert (answers, described) == ([alone], [undisturbed])
    runs = [what for what, _ in itertools.groupby(order)]
    assert runs == ["words", "answer", "words"]
    assert order.index("answer") == 3
