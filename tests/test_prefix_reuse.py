"""Turns that read on from a kept cache, against reading evidence and dialogue anew for every token; both engines."""

import numpy as np
from dialogue_tools import QUESTIONS, assert_same, question_ids, recompute

from tvau_runtime.config import DialogueConfig
from tvau_runtime.generation import PIECE, Context

FIVE = (*QUESTIONS, "And when did it start?", "Which one?")


def test_a_dialogue_of_five_turns_equals_recomputing_everything(backend, windows, engine, recorder):
    session, ids = "", []
    for turn, question in enumerate(FIVE):
        session = engine.ask(question, session=session).session
        ids += question_ids(backend, question, first=turn == 0)
        assert_same(recorder, turn, recompute(backend, windows["gate", ""], ids, yes_no=turn == 0))
        ids += recorder.ids[turn]


def test_a_turn_reads_only_what_is_new(backend, engine, recorder):
    """And the cache that it reads on from is not copied: that of onnxruntime is the same tensors."""
    session = engine.ask(QUESTIONS[0]).session
    evidence, question, *tokens = recorder.read
    assert question == len(question_ids(backend, QUESTIONS[0], True)), "asked aside and as first turn, but read once"
    assert evidence > 40 and set(tokens) <= {1}
    cut = len(recorder.ids[0]) == recorder.limit  # its last token comes with the next question
    for turn in (1, 2, 3, 4):
        recorder.read.clear()
        engine.ask(QUESTIONS[1], session=session)
        question, *tokens = recorder.read
        assert question == len(question_ids(backend, QUESTIONS[1], False)) + cut
        cut = len(recorder.ids[turn]) == recorder.limit
        assert tokens == [1] * (len(recorder.ids[turn]) - cut)


def test_what_ends_in_mid_answer_can_be_followed_up(backend, windows, engine, recorder):
    engine.config = DialogueConfig(max_new_tokens=2)
    recorder.limit = 2
    first = engine.ask(QUESTIONS[0])
    engine.ask(QUESTIONS[1], session=first.session)
    ids = question_ids(backend, QUESTIONS[0], True) + recorder.ids[0] + question_ids(backend, QUESTIONS[1], False)
    assert len(recorder.ids[0]) == 2
    assert_same(recorder, 1, recompute(backend, windows["gate", ""], ids, count=2))


def test_long_evidence_is_read_in_pieces_and_gives_the_same(backend, monkeypatch):
    """And who waits for the device may go between them."""
    rng, dim = np.random.default_rng(0), backend.spec.text_dim
    embeddings = rng.normal(size=(2 * PIECE + 3, dim)).astype(np.float32) * 0.05
    positions = np.broadcast_to(np.arange(len(embeddings)), (3, len(embeddings)))
    whole, _ = backend.decode(embeddings, np.ascontiguousarray(positions))
    decode, rests, logits = backend.decode, [], []
    monkeypatch.setattr(backend, "decode", lambda *call: (logits.append(decode(*call)), logits[-1])[1])
    context = Context(backend, embeddings, positions, rests.append)
    assert context.length == len(embeddings)
    assert len(rests) == len(logits) == 3
    np.testing.assert_allclose(logits[-1][0], whole, atol=2e-4)
