"""Dialogues that are kept: which, how many, how much memory, what becomes of the others, and what they may be about."""

import dataclasses
import threading

import numpy as np
import pytest
from dialogue_tools import FRAME_SIZE, QUESTIONS, make_window

from tvau_runtime.errors import QueryError
from tvau_runtime.sessions import MB, REMEMBERED, SessionStore
from tvau_runtime.types import Heatmap, Step
from tvau_runtime.window import stretch


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"camera": "yard"}, "is about camera 'gate', the question names camera 'yard'"),
        ({"event_id": "gate-2"}, "is about event 'gate-1', the question names event 'gate-2'"),
    ],
)
def test_a_session_stays_with_its_camera_and_event(engine, kwargs, message):
    session = engine.ask("What is it?", event_id="gate-1").session
    with pytest.raises(QueryError, match=message):
        engine.ask("And there?", session=session, **kwargs)
    same = engine.ask("And there?", session=session, camera="gate", event_id="gate-1")
    assert (same.session, same.event_id) == (session, "gate-1")


def test_a_session_about_no_event_refuses_one(engine):
    session = engine.ask("What is it?").session
    with pytest.raises(QueryError, match="no particular event"):
        engine.ask("And now?", session=session, event_id="gate-1")


def test_the_least_recently_used_session_is_forgotten(engine):
    engine.config = dataclasses.replace(engine.config, max_sessions=2)
    first, second = (engine.ask(QUESTIONS[0]).session for _ in range(2))
    engine.ask(QUESTIONS[1], session=first)
    third = engine.ask(QUESTIONS[0]).session
    with pytest.raises(QueryError) as expired:
        engine.ask(QUESTIONS[1], session=second)
    assert str(expired.value) == (
        f"session '{second}' about camera 'gate' has expired after 1 turn: at most 2 sessions are kept (max_sessions), and it "
        "was the one used longest ago; leave session empty to start a new one"
    )
    for session in (first, third):
        engine.ask(QUESTIONS[1], session=session)


def test_a_dialogue_has_so_many_turns(engine):
    engine.config = dataclasses.replace(engine.config, max_turns=2)
    session = engine.ask(QUESTIONS[0]).session
    engine.ask(QUESTIONS[1], session=session)
    with pytest.raises(QueryError, match="2 turns"):
        engine.ask(QUESTIONS[2], session=session)


def test_many_threads_may_ask_at_once_and_each_gets_its_own_answer(windows, engine):
    expected = {camera: engine.ask(QUESTIONS[1], camera=camera) for camera in ("gate", "yard")}
    answers, errors = [], []

    def caller(camera):
        try:
            answers.append(engine.ask(QUESTIONS[1], camera=camera))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=caller, args=(camera,)) for camera in ("gate", "yard") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not errors
    assert len(answers) == 8
    assert len({answer.session for answer in answers}) == 8
    for answer in answers:
        assert (answer.text, answer.evidence.score) == (
            expected[answer.camera].text,
            expected[answer.camera].evidence.score,
        )


def test_sessions_take_turns_and_each_keeps_its_own_evidence_and_history(engine, recorder):
    alone = []
    for camera in ("gate", "yard"):
        session = ""
        for question in QUESTIONS:
            session = engine.ask(question, session=session, camera=camera).session
    alone = [recorder.ids[:3], recorder.ids[3:]]
    recorder.ids.clear()
    sessions = {"gate": "", "yard": ""}
    for question in QUESTIONS:
        for camera in sessions:
            answer = engine.ask(question, session=sessions[camera], camera=camera)
            sessions[camera] = answer.session
            assert answer.camera == camera
    assert [recorder.ids[0::2], recorder.ids[1::2]] == alone


def test_memory_is_bounded_too_and_the_session_used_last_is_kept_whatever_it_takes(engine):
    kept = [engine._sessions.get(engine.ask(QUESTIONS[1]).session) for _ in range(3)]
    size = kept[0].nbytes / MB
    store = SessionStore()
    for session in kept:
        store.keep(session, most=16, most_mb=2.5 * size)
    assert len(store) == 2
    with pytest.raises(
        QueryError, match=r"has expired after 1 turn: all sessions together may take .* MB \(max_session_mb\)"
    ):
        store.get(kept[0].id)
    store.keep(kept[1], most=16, most_mb=0.5 * size)
    assert store.get(kept[1].id) is kept[1]
    assert len(store) == 1


def test_the_memory_of_a_session_is_that_of_keys_values_tokens_and_maps(backend, windows, engine):
    session = engine._sessions.get(engine.ask(QUESTIONS[1]).session)
    arrays = [a for s in windows["gate", ""].steps for a in (s.visual_tokens, s.class_maps, s.heatmap.values)]
    cache = session.nbytes - sum(array.nbytes for array in arrays)
    layers, kv_heads, head_dim = 2, 1, 16
    needed = session.context.length * 2 * layers * kv_heads * head_dim * 4
    assert cache >= needed, "torch keeps some room for more"
    if "onnx" in backend.device:
        assert cache == needed


def test_only_so_many_expired_sessions_are_remembered(engine):
    session, store = engine._sessions.get(engine.ask(QUESTIONS[1]).session), SessionStore()
    for number in range(REMEMBERED + 3):
        store.keep(dataclasses.replace(session, id=str(number)), most=1, most_mb=1)
    with pytest.raises(QueryError, match="there is no session '0'"):
        store.get("0")
    with pytest.raises(QueryError, match="session '5' about camera 'gate' has expired"):
        store.get("5")


def stepped(*scores):
    """Steps half a second apart, with heat maps of these peaks."""
    return [
        Step(n, (n * 10**9 // 2, n * 10**9 // 2 + 1), FRAME_SIZE, "optical", np.zeros((6, 48), np.float32),
             np.zeros((2, 4, 6), np.float32), Heatmap(np.full((4, 6), score, np.float32)))
        for n, score in enumerate(scores)
    ]  # fmt: skip


def test_a_stretch_spans_its_steps_and_holds_their_peak():
    steps = stepped(0.1, 0.2, 0.9, 0.3, 0.1, 0.8, 0.2, 0.3, 0.4, 0.5)
    assert [step.index for step in stretch("gate", steps, 4).steps] == [1, 2, 5, 9]
    assert stretch("gate", steps, 4).score == pytest.approx(0.9)
    assert list(stretch("gate", steps, 10).steps) == list(stretch("gate", steps, 99).steps) == steps
    assert [step.index for step in stretch("gate", steps[2:4], 4).steps] == [2, 3]
    with pytest.raises(QueryError, match="at least two frame pairs, got 1"):
        stretch("gate", steps[:1], 4)


@pytest.mark.parametrize("count", [2, 3, 11])
def test_a_stretch_of_any_length_can_be_asked_about(backend, engine, count):
    made = make_window(backend)
    steps = [dataclasses.replace(made.steps[n % 4], stamps_ns=(n * 10**9, n * 10**9 + 1)) for n in range(count)]
    window = stretch("file", steps, 4)
    first = engine.ask(QUESTIONS[0], window=window)
    again = engine.ask(QUESTIONS[2], session=first.session)
    assert (again.camera, again.session) == ("file", first.session)
    assert (again.evidence.window_start_ns, again.evidence.score) == (0, window.score)
