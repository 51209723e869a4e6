"""Dialogue over both engines with random weights: yes or no, reading ahead, the guard, evidence, descriptions."""

import dataclasses
import threading

import numpy as np
import pytest
from dialogue_tools import FRAME_SIZE, QUESTIONS, assert_same, make_window, question_ids, recompute

from tvau_runtime import chat
from tvau_runtime.calibration import Calibration, Scale
from tvau_runtime.config import DialogueConfig
from tvau_runtime.dialogue import DialogueEngine
from tvau_runtime.errors import QueryError
from tvau_runtime.generation import END_TOKENS, yes_logit
from tvau_runtime.grounding import PLACES, way_of
from tvau_runtime.guard import Finding
from tvau_runtime.types import Contradiction, TrackPoint, Window


def track(*middles):
    """Points one second apart, of boxes of 10 x 10 px around (x, y)."""
    return tuple(TrackPoint(k * 10**9, (x - 5, y - 5, x + 5, y + 5), 0.9) for k, (x, y) in enumerate(middles))


def test_the_yes_no_question_is_answered_with_yes_or_no_as_sure_as_it_says(backend, windows, engine, recorder):
    free = []
    for temperature in (0.0, 2.0):
        engine.config = DialogueConfig(max_new_tokens=8, temperature=temperature)
        for camera, event_id in windows:
            answer = engine.ask(chat.QUESTION_ANOMALY, camera=camera, event_id=event_id)
            assert answer.text.startswith(("Yes", "yes") if answer.evidence.anomaly else ("No", "no"))
            free.append(int(recorder.logits[-1][0].argmax()) == recorder.ids[-1][0])
            answer = engine.ask(chat.QUESTION_ANOMALY, session=answer.session)
            assert answer.text.startswith(("Yes", "yes", "No", "no"))
    assert not all(free), "random weights would rather say something else"


def test_answers_are_drawn_where_a_temperature_says_so(backend, engine, recorder):
    for temperature, seed in ((0.0, 1), (1e-6, 1), (1.5, 1), (1.5, 1), (1.5, 2), (1.5, 0), (1.5, 0)):
        engine.config = DialogueConfig(max_new_tokens=8, temperature=temperature, seed=seed)
        engine.ask(QUESTIONS[1])
    cold, colder, one, again, *others = map(tuple, recorder.ids)
    assert cold == colder
    assert one == again
    assert len({cold, one, *others}) == 5


def test_a_window_that_was_read_ahead_is_not_read_again_and_gives_the_same_answers(backend, windows, engine, recorder):
    window = windows["gate", ""]
    cold = [engine.ask(question) for question in QUESTIONS]
    described = engine.describe(window)
    evidence = recorder.read[0]
    recorder.read.clear()
    engine.prefill(window)
    engine.prefill(window)
    assert recorder.read == [evidence]
    for before, question in zip(cold, QUESTIONS, strict=True):
        answer = engine.ask(question)
        assert answer.text == before.text
        assert answer.evidence.yes_probability == pytest.approx(before.evidence.yes_probability, abs=1e-5)
        assert dataclasses.replace(answer.evidence, yes_probability=0) == dataclasses.replace(
            before.evidence, yes_probability=0
        )
    assert engine.describe(window) == described
    assert max(recorder.read[1:]) < evidence


def test_at_most_one_window_a_camera_is_kept_ahead(backend, windows, engine, recorder):
    first, second, other = windows["gate", ""], windows["gate", "gate-1"], windows["yard", ""]
    for window in (first, other, second):
        engine.prefill(window)
    assert {camera: window for camera, (window, _) in engine._ahead.items()} == {"gate": second, "yard": other}
    evidence = recorder.read[0]
    engine.ask(QUESTIONS[0])  # about the first
    assert recorder.read.count(evidence) == 4
    engine.forget("yard")
    assert list(engine._ahead) == ["gate"]
    engine.close()
    engine.prefill(first)
    assert not engine._ahead


def test_nothing_is_read_ahead_while_the_model_speaks(backend, windows, engine, monkeypatch):
    decode, tried = backend.decode, []

    def prefilling(embeddings, positions, cache=None):
        thread = threading.Thread(target=engine.prefill, args=(windows["yard", ""],))
        thread.start()
        thread.join(30)
        tried.append(thread.is_alive())
        return decode(embeddings, positions, cache)

    monkeypatch.setattr(backend, "decode", prefilling)
    engine.ask(QUESTIONS[0])
    assert tried and not any(tried)
    assert not engine._ahead


def test_later_turns_see_the_earlier_ones(engine, recorder):
    first = engine.ask(QUESTIONS[1])
    engine.ask(QUESTIONS[2], session=first.session)
    engine.ask(QUESTIONS[2])
    assert np.abs(recorder.logits[1][0] - recorder.logits[2][0]).max() > 1e-2


def test_the_same_dialogue_about_other_evidence_is_another(engine, recorder):
    for camera in ("gate", "yard"):
        engine.ask(QUESTIONS[0], camera=camera)
    assert np.abs(recorder.logits[0][0] - recorder.logits[1][0]).max() > 1e-3


def test_the_answer_carries_the_evidence_it_rests_on(backend, windows, engine):
    window = windows["gate", "gate-1"]
    answer = engine.ask("What is it?", camera="gate", event_id="gate-1")
    peak = window.peak
    assert (answer.camera, answer.event_id, answer.question) == ("gate", "gate-1", "What is it?")
    shown = answer.evidence
    assert (shown.score, shown.box) == (window.score, peak.heatmap.box(FRAME_SIZE))
    assert peak.stamps_ns[0] <= shown.peak_ns <= peak.stamps_ns[1]
    assert (shown.window_start_ns, shown.window_end_ns) == (window.start_ns, window.end_ns)
    _, logits = recompute(backend, window, question_ids(backend, chat.QUESTION_ANOMALY, first=True), count=1)
    assert shown.yes_probability == pytest.approx(
        Scale().probability(yes_logit(logits[0], backend.tokenizer)), abs=1e-5
    )
    assert shown.anomaly == (shown.yes_probability >= 0.5)


def test_yes_or_no_is_asked_once_per_evidence_and_is_no_part_of_the_dialogue(engine, backend, monkeypatch):
    passes, encode = [], backend.anomaly_prompts
    monkeypatch.setattr(backend, "anomaly_prompts", lambda maps: (passes.append(1), encode(maps))[1])
    first = engine.ask(QUESTIONS[1])
    second = engine.ask(QUESTIONS[2], session=first.session)
    assert first.evidence == second.evidence
    assert len(passes) == 1


def test_the_stamps_set_the_positions_in_time(backend, monkeypatch):
    """Of a regular window, one at another rate, ones with jitter, and ones with pairs left out, also for a time."""
    seen, decode = [], backend.decode
    monkeypatch.setattr(backend, "decode", lambda e, p, c=None: (seen.append(p), decode(e, p, c))[1])

    def times(window, rate=0.0):
        seen.clear()
        DialogueEngine(
            backend, DialogueConfig(max_new_tokens=1), lambda *_: window, process_rate_hz=rate
        ).ask("What is it?")  # fmt: skip
        head = len(backend.tokenizer.encode(chat.HEAD))
        rows, columns = backend.spec.merged_grid
        return (seen[0][0][head : head + 4 * rows * columns : rows * columns] - head).tolist()

    def stamped(*starts_s):
        window = make_window(backend)
        steps = [
            dataclasses.replace(step, stamps_ns=(round(s * 1e9), round(s * 1e9) + 250_000_000))
            for step, s in zip(window.steps, starts_s, strict=True)
        ]
        return Window("gate", tuple(steps))

    assert backend.spec.process_rate_hz * backend.spec.tokens_per_second == 8
    assert times(make_window(backend)) == times(make_window(backend), 4.0) == [0, 1, 2, 3]
    assert times(make_window(backend, step_ns=4 * 10**9), 0.5) == [0, 8, 16, 24]
    assert times(stamped(7.0, 7.53, 7.97, 8.5)) == [0, 1, 2, 3]
    assert times(stamped(7.0, 8.0, 9.0, 10.0)) == [0, 2, 4, 6]
    assert times(stamped(7.0, 7.5, 9.5, 11.5)) == [0, 1, 5, 9]


def calibrated(backend, monkeypatch, *, score, yes):
    """The model with biases that outweigh all it sees: how likely its heat maps make an anomaly, and its own yes."""
    scales = Calibration(score=Scale(1e9, score), yes=Scale(1e9, yes))
    monkeypatch.setattr(backend, "spec", dataclasses.replace(backend.spec, calibration=scales))


@pytest.mark.parametrize(("own", "other"), [("yes", "no"), ("no", "yes")])
@pytest.mark.parametrize("handling", ["ignore", "flag", "regenerate"])
def test_a_verdict_against_the_heat_maps(backend, engine, monkeypatch, own, other, handling):
    sign = 1 if own == "yes" else -1
    calibrated(backend, monkeypatch, score=-5.0 * sign, yes=4.0 * sign)
    engine.config = DialogueConfig(max_new_tokens=8, contradictions=handling)
    answer = engine.ask(chat.QUESTION_ANOMALY)
    shown = answer.evidence
    anew = handling == "regenerate"
    assert answer.text.lower().startswith(other if anew else own)
    assert shown.anomaly == ((other if anew else own) == "yes"), "verdict and words agree"
    assert (shown.yes_probability >= 0.5) == (own == "yes"), "the model's own certainty stays what it is"
    told = [(each.kind, each.said.lower(), each.mended) for each in shown.contradictions]
    assert told == ([] if handling == "ignore" else [("anomaly", own, anew)])
    later = engine.ask("What is it?", session=answer.session).evidence
    assert (later.anomaly, later.contradictions) == (shown.anomaly, ())


def test_a_verdict_that_nothing_contradicts_stands(backend, engine, monkeypatch):
    agreed = (0.0, 4.0, "yes"), (0.0, -4.0, "no"), (4.0, 4.0, "yes"), (-4.0, -4.0, "no")
    for score, yes, words in (
        *agreed,
        (-4.0, 5.0, "yes"),
        (4.0, -5.0, "no"),
    ):  # the last two: it is surer than they are
        calibrated(backend, monkeypatch, score=score, yes=yes)
        answer = engine.ask(chat.QUESTION_ANOMALY)
        assert answer.text.lower().startswith(words)
        assert answer.evidence.contradictions == ()


WAY = "from the top left to the bottom"


def finding(opening, said="nowhere"):
    return Finding(Contradiction("movement", said, WAY), opening)


@pytest.mark.parametrize("handling", ["ignore", "flag", "regenerate"])
def test_what_contradicts_the_evidence_is_told_and_said_anew(backend, windows, engine, monkeypatch, handling):
    engine.config = DialogueConfig(max_new_tokens=40, contradictions=handling)
    free = engine.ask(chat.QUESTION_TRAJECTORY).text
    check = "tvau_runtime.dialogue.find_contradictions"
    monkeypatch.setattr(check, lambda question, text, shown: [] if "the" in text else [finding(WAY)])
    answer = engine.ask(chat.QUESTION_TRAJECTORY)
    assert answer.text.startswith(WAY) if handling == "regenerate" else answer.text == free
    told = [Contradiction("movement", "nowhere", WAY, mended=handling == "regenerate")]
    assert list(answer.evidence.contradictions) == ([] if handling == "ignore" else told)
    _, movement = engine.describe(windows["gate", ""])
    assert (WAY.capitalize() in movement) == (handling == "regenerate")


def test_an_event_is_described_by_its_track(windows, engine, monkeypatch):
    seen = []
    monkeypatch.setattr("tvau_runtime.dialogue.find_contradictions", lambda _, __, shown: seen.append(shown) or [])
    engine.describe(windows["gate", ""], track((10, 10), (160, 10), (160, 230)))
    assert [shown.places for shown in seen] == [("top left", "top", "bottom")] * 3


def test_what_must_not_be_said_begins_with_another_word(backend, engine, recorder, monkeypatch):
    engine.ask("What is it?")
    monkeypatch.setattr(
        "tvau_runtime.dialogue.find_contradictions", lambda *_: [finding("")] if len(recorder.ids) == 2 else []
    )
    answer = engine.ask("What is it?")
    free, again, other = recorder.ids
    assert free == again
    ends = {backend.tokenizer.token_id(token) for token in END_TOKENS}
    assert other[0] not in {free[0], *ends}
    assert answer.text == backend.tokenizer.decode(other).strip()
    assert [each.mended for each in answer.evidence.contradictions] == [True]


def test_what_is_no_better_said_anew_stays_as_it_was(engine, recorder, monkeypatch):
    monkeypatch.setattr("tvau_runtime.dialogue.find_contradictions", lambda *_: [finding(WAY)])
    answer = engine.ask("What is it?")
    assert len(recorder.ids) == 3, "tried with the opening, and with a full stop behind it"
    assert not answer.text.startswith(WAY)
    assert [each.mended for each in answer.evidence.contradictions] == [False]


def test_a_dialogue_goes_on_from_what_was_said_anew(backend, windows, engine, recorder, monkeypatch):
    check = "tvau_runtime.dialogue.find_contradictions"
    monkeypatch.setattr(check, lambda question, text, _: [] if text.startswith(WAY) else [finding(WAY)])
    engine.config = DialogueConfig(max_new_tokens=40)
    recorder.limit = 40
    session = engine.ask(chat.QUESTION_TRAJECTORY).session
    ids = question_ids(backend, chat.QUESTION_TRAJECTORY, True) + recorder.ids[1]  # the first was taken back
    monkeypatch.setattr(check, lambda *_: [])
    engine.ask("Where?", session=session)
    assert_same(recorder, 2, recompute(backend, windows["gate", ""], ids + question_ids(backend, "Where?", False), 40))


def test_evidence_is_fetched_without_the_lock_so_that_the_stream_never_waits(backend, windows):
    engine = None

    def evidence(camera, event_id):
        # Whatever holds the stream's own lock here may itself be waited for by a second caller of this engine.
        assert engine is not None
        assert not engine._floor.taken
        return windows["gate", ""]

    engine = DialogueEngine(backend, DialogueConfig(max_new_tokens=1), evidence)
    assert engine.ask(QUESTIONS[0]).camera == "gate"


def test_describe_gives_a_label_and_sentences_and_keeps_no_session(backend, windows, engine, monkeypatch):
    shown = [PLACES[row][column] for row, column in way_of(windows["gate", ""])]
    way = f"it stays at the {shown[0]}" if shown[0] == shown[-1] else f"from the {shown[0]} to the {shown[-1]}"
    said = iter(["Yes.", "a red car, driving fast on the walkway", way])
    monkeypatch.setattr(backend.tokenizer, "decode", lambda ids: next(said))
    label, description = engine.describe(windows["gate", ""])
    assert label == "a red car, driving fast on the walkway"
    assert description == f"A red car, driving fast on the walkway. {way.capitalize()}."
    assert not engine._sessions


def test_describe_asks_whether_what_and_how_it_moves(backend, windows, engine, recorder):
    engine.describe(windows["gate", ""])
    ids = []
    for turn, question in enumerate((chat.QUESTION_ANOMALY, chat.QUESTION_TARGET, chat.QUESTION_TRAJECTORY)):
        ids += question_ids(backend, question, first=turn == 0)
        assert_same(recorder, turn, recompute(backend, windows["gate", ""], ids, yes_no=turn == 0))
        ids += recorder.ids[turn]


@pytest.mark.parametrize(
    ("said", "label", "description"),
    [
        ("", "", ""),
        ("  a dog ", "a dog", "A dog."),
        ("word " * 40, ("word " * 17).strip() + "…", "Word" + " word" * 39 + "."),
        ("a red car, " + "and on " * 15, "a red car", "A red car, " + "and on " * 14 + "and on."),
        ("Ünder\nway!", "Ünder", "Ünder way!"),
    ],
)
def test_whatever_the_model_says_becomes_a_short_label(backend, windows, engine, monkeypatch, said, label, description):
    answers = iter(["Yes.", said, ""])
    monkeypatch.setattr(backend.tokenizer, "decode", lambda ids: next(answers))
    assert engine.describe(windows["gate", ""]) == (label, description)


def test_what_is_said_twice_is_written_once(backend, windows, engine, monkeypatch):
    answers = iter(["No.", "nothing abnormal", "nothing abnormal"])
    monkeypatch.setattr(backend.tokenizer, "decode", lambda ids: next(answers))
    assert engine.describe(windows["gate", ""]) == ("nothing abnormal", "Nothing abnormal.")


def test_close_stops_the_answer_in_progress(backend, windows):
    engine = DialogueEngine(backend, DialogueConfig(max_new_tokens=4000), lambda *_: windows["gate", ""])
    outcome = []

    def caller():
        try:
            outcome.append(engine.ask(QUESTIONS[0]))
        except QueryError as error:
            outcome.append(error)

    decode, started, passes = backend.decode, threading.Event(), []

    def endless(embeddings, positions, cache=None):
        logits, cache = decode(embeddings, positions, cache)
        logits = logits.copy()
        for token in END_TOKENS:
            logits[backend.tokenizer.token_id(token)] = logits.min()
        passes.append(1)
        if len(passes) > 5:
            started.set()
        return logits, cache

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "decode", endless)
        thread = threading.Thread(target=caller)
        thread.start()
        assert started.wait(30)
        engine.close()
        thread.join(timeout=30)
    assert isinstance(outcome[0], QueryError)
    assert "closed" in str(outcome[0])
    with pytest.raises(QueryError, match="closed"):
        engine.ask(QUESTIONS[0])
    with pytest.raises(QueryError, match="closed"):
        engine.describe(windows["gate", ""])
