"""The worker beside a question, on the real engine with random weights: frames that wait go before the next token."""

import threading

import pytest

pytest.importorskip("torch", reason="the torch engine is not installed")
pytest.importorskip("transformers", reason="the torch engine is not installed")

from streaming import PATIENCE_S, frame, open_tiny, pipeline_of, steps_of

from tvau_runtime import StreamWorker


@pytest.fixture(scope="module")
def backend(tiny):
    return open_tiny(tiny)


def test_the_language_model_rests_while_a_pair_is_looked_at_and_goes_on_when_none_waits(backend, monkeypatch):
    looking, look_on, rested = threading.Event(), threading.Event(), threading.Event()
    encode, got, answers, ways = backend.encode, [], [], []

    def slow(pixels, text):
        looking.set()
        assert look_on.wait(PATIENCE_S)
        return encode(pixels, text)

    pipeline = pipeline_of(backend)
    with StreamWorker(pipeline, got.append) as worker:
        for k in range(8):
            worker.submit(frame(k))
        assert worker.drain(PATIENCE_S)
        give_way = pipeline.dialogue.give_way
        assert give_way is not None
        assert give_way(PATIENCE_S), "nothing waits"

        def noting(at_most_s):
            ways.append(give_way(at_most_s))
            rested.set()
            return ways[-1]

        pipeline.dialogue.give_way = noting
        monkeypatch.setattr(backend, "encode", slow)
        worker.submit(frame(8))
        worker.submit(frame(9))
        assert looking.wait(PATIENCE_S)
        thread = threading.Thread(target=lambda: answers.append(pipeline.ask("What is it?")))
        thread.start()
        assert rested.wait(PATIENCE_S)
        assert ways[0] is False, "a pair is being looked at"
        look_on.set()
        assert worker.drain(PATIENCE_S)
        thread.join(PATIENCE_S)
        assert give_way(PATIENCE_S)
    assert answers[0].text
    assert len(steps_of(got)) == 5
    assert pipeline.dialogue.give_way is None, "without a stream there is nothing to wait for"
    assert give_way(0.0), "and who waited for one that has been closed goes on"
