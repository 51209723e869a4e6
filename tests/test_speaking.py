"""Who may speak, how an answer comes in parts, how it is stopped, and how the language model rests; both engines."""

import itertools
import threading
import time

import pytest
from dialogue_tools import QUESTIONS, assert_same

from tvau_runtime import chat
from tvau_runtime.config import DialogueConfig
from tvau_runtime.errors import BusyError, QueryError
from tvau_runtime.floor import Floor
from tvau_runtime.guard import Finding
from tvau_runtime.types import Contradiction

PATIENCE_S = 20.0


def test_the_floor_is_given_in_the_order_of_coming():
    floor, order, waiting = Floor(), [], threading.Semaphore(0)

    def speak(number):
        def gone():  # asked once it stands in the queue
            waiting.release()
            return False

        with floor.wait(gone=gone):
            order.append(number)

    threads = [threading.Thread(target=speak, args=(number,)) for number in range(5)]
    with floor.wait():
        for number, thread in enumerate(threads):
            thread.start()
            for _ in range(number + 1):
                assert waiting.acquire(timeout=PATIENCE_S)
            while len(floor._queue) <= number:
                assert waiting.acquire(timeout=PATIENCE_S)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert order == [0, 1, 2, 3, 4]
    assert not floor.taken


def test_only_so_many_wait_and_who_goes_away_makes_room():
    floor, left, inside = Floor(), threading.Event(), threading.Event()
    told = []

    def wait():
        try:
            with floor.wait(1, gone=lambda: inside.set() or left.is_set()):
                told.append("spoke")
        except QueryError as error:
            told.append(str(error))

    with floor.wait(0):
        with pytest.raises(QueryError, match="busy: one question is being answered and 0 wait"), floor.wait(0):
            pass
        thread = threading.Thread(target=wait)
        thread.start()
        assert inside.wait(PATIENCE_S)
        with pytest.raises(QueryError, match=r"and 1 wait, as many as may \(max_waiting\); try again"), floor.wait(1):
            pass
        with floor.if_free() as free:
            assert not free
        left.set()
        thread.join(PATIENCE_S)
        assert told == ["stopped while it waited for its turn; nothing was asked"]
        assert floor.taken
    with floor.if_free() as free:
        assert free and floor.taken
    assert not floor.taken


def test_what_is_unhurried_takes_nobodys_place():
    floor, spoke = Floor(), threading.Event()

    def ask():
        with floor.wait(0):
            spoke.set()

    with floor.wait(hurried=False):
        thread = threading.Thread(target=ask)
        thread.start()
        deadline = time.monotonic() + PATIENCE_S
        while not floor.waited_for and time.monotonic() < deadline:
            spoke.wait(0.01)
        with pytest.raises(BusyError), floor.wait(0):  # one waits already
            pass
        floor.step_aside()
        assert spoke.is_set()
        assert floor.taken
    thread.join(PATIENCE_S)
    assert not floor.taken


def test_an_answer_comes_in_parts_which_are_its_beginning(backend, engine, recorder):
    whole = engine.ask(QUESTIONS[1]).text
    parts = []
    answer = engine.ask(QUESTIONS[1], on_text=parts.append)
    assert answer.text == whole
    assert parts[-1] == whole
    assert 1 < len(parts) <= 8
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(parts))
    assert len(set(parts)) == len(parts)


@pytest.mark.parametrize("better", [True, False])
def test_an_answer_that_is_said_anew_comes_anew(engine, monkeypatch, better):
    """And where that is no better, what was said first comes again: the last text is always the answer's."""
    way = "from the top left to the bottom"
    finding = Finding(Contradiction("movement", "nowhere", way), way)
    check = "tvau_runtime.dialogue.find_contradictions"
    monkeypatch.setattr(check, lambda _, text, __: [] if better and "the" in text else [finding])
    engine.config = DialogueConfig(max_new_tokens=40)
    parts = []
    answer = engine.ask(chat.QUESTION_TRAJECTORY, on_text=parts.append)
    assert parts[-1] == answer.text
    assert way in parts
    assert answer.text.startswith(way) == better
    assert not way.startswith(parts[0])


@pytest.mark.parametrize("during", [1, 2, 9])
def test_a_stop_is_honoured_within_one_token_and_leaves_the_dialogue_as_it_was(
    backend, engine, recorder, monkeypatch, during
):
    """during: the pass in whose midst it comes; the first reads the question."""
    monkeypatch.setattr("tvau_runtime.generation.END_TOKENS", ())
    session, again = (engine.ask(QUESTIONS[1]).session for _ in range(2))
    engine.config = DialogueConfig(max_new_tokens=200)
    decode, stopped, passes = backend.decode, threading.Event(), []

    def stopping(*call):
        passes.append(1)
        if len(passes) == during:
            stopped.set()
        return decode(*call)

    with monkeypatch.context() as patch:
        patch.setattr(backend, "decode", stopping)
        with pytest.raises(QueryError, match="stopped before the answer was complete; the dialogue is as it was"):
            engine.ask(QUESTIONS[0], session=session, should_stop=stopped.is_set)
    assert len(passes) == during, "no other begins"
    engine.config = DialogueConfig(max_new_tokens=8)
    recorder.ids.clear()
    recorder.logits.clear()
    for name in (again, session):
        engine.ask(QUESTIONS[2], session=name)
    assert_same(recorder, 1, (recorder.ids[0], recorder.logits[0]))


def test_a_listener_that_fails_or_is_interrupted_costs_nobody_else_anything(engine):
    session = engine.ask(QUESTIONS[1]).session

    def broken(text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.ask(QUESTIONS[2], session=session, on_text=broken)
    assert engine.ask(QUESTIONS[2], session=session).text


def test_who_is_turned_away_is_told_so_and_those_who_wait_are_answered(backend, engine, monkeypatch):
    engine.config = DialogueConfig(max_new_tokens=4, max_waiting=2)
    decode, go_on = backend.decode, threading.Event()
    monkeypatch.setattr(backend, "decode", lambda *call: (go_on.wait(PATIENCE_S), decode(*call))[1])
    told, lock = [], threading.Lock()

    def ask():
        try:
            text = "" if engine.ask(QUESTIONS[0]).session else "no session"
        except QueryError as error:
            text = str(error)
        with lock:
            told.append(text)
            if len(told) == 3:  # all that can be turned away have been
                go_on.set()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(text[:5] for text in told) == ["", "", "", "busy:", "busy:", "busy:"]
    assert all("2 wait" in text for text in told if text)


@pytest.mark.parametrize(("share", "idle"), [(1.0, False), (0.5, True), (0.5, False)])
def test_between_two_passes_frames_that_wait_go_first_for_as_long_as_the_share_says(engine, recorder, share, idle):
    waits = []

    def give_way(at_most_s):
        waits.append((len(recorder.read), at_most_s))
        return idle

    engine.give_way = give_way
    engine.config = DialogueConfig(max_new_tokens=8, share=share)
    engine.ask(QUESTIONS[1])
    if share == 1.0:
        assert not waits
    else:
        assert {number for number, _ in waits} == set(range(1, len(recorder.read) + 1)), "behind every pass"
        assert all(0 < seconds <= 0.05 for _, seconds in waits), "and it is looked whether the answer is still wanted"
    if idle:
        assert len(waits) == len(recorder.read)


def test_who_rests_can_be_stopped(engine):
    engine.config = DialogueConfig(share=0.01)
    engine.give_way = lambda at_most_s: False
    looks = []
    with pytest.raises(QueryError, match="stopped"):
        engine.ask(QUESTIONS[1], should_stop=lambda: looks.append(1) or len(looks) > 2)


def test_who_finds_no_room_is_told_when_those_who_wait_will_be_done(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("tvau_runtime.floor.time.monotonic", lambda: now[0])
    floor = Floor()

    def refused():
        with pytest.raises(BusyError) as busy, floor.wait(0):
            pass
        assert f"try again in {busy.value.retry_after_s:.1f} s" in str(busy.value)
        return busy.value.retry_after_s

    with floor.wait():
        assert refused() == 1.0
    for _ in range(30):  # answers of 3 s
        with floor.wait():
            now[0] += 3.0
    with floor.wait():
        assert refused() == pytest.approx(3.0, abs=0.05)
    for _ in range(60):
        with floor.wait():
            pass
    with floor.wait():
        assert refused() == 0.1
