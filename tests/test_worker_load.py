"""The worker on an engine that is too slow: the sampling rate falls, is told, and comes back."""

import logging
import threading

import pytest

pytest.importorskip("torch", reason="the torch engine is not installed")
pytest.importorskip("transformers", reason="the torch engine is not installed")

from streaming import ALWAYS, S, frame, open_tiny, pipeline_of, steps_of, wait_for

from tvau_runtime import StreamWorker


@pytest.fixture(scope="module")
def backend(tiny):
    return open_tiny(tiny)


class Slow:
    """The real engine, made slow: every pair takes so much longer."""

    def __init__(self, monkeypatch, backend, seconds):
        self.seconds, self._encode = seconds, backend.encode
        monkeypatch.setattr(backend, "encode", self)

    def __call__(self, pixels, text):
        threading.Event().wait(self.seconds * len(pixels))
        return self._encode(pixels, text)


def test_the_rate_falls_while_the_model_does_not_keep_up_and_comes_back(backend, monkeypatch, caplog):
    slow, got = Slow(monkeypatch, backend, 0.2), []
    numbers = iter(range(10**9))
    pipeline = pipeline_of(backend, ALWAYS, process_rate_hz=32.0, max_halvings=2, queue_size=4)

    def submit_until(condition):
        """Keeps two cameras' queues full, in the cameras' own time, until something has happened."""

        def met():
            for camera in ("a", "b"):
                if worker.stats(camera).queued < 4 if camera in worker.cameras else True:
                    k = next(numbers)
                    worker.submit(frame(k % 7, at=k * S // 64, camera=camera))
            return condition()

        wait_for(met)

    with caplog.at_level(logging.INFO, "tvau_runtime.worker"), StreamWorker(pipeline, got.append) as worker:
        submit_until(lambda: "a" in worker.cameras)
        assert worker.stats("a").halvings == 0
        assert worker.stats("a").sampling_hz == 32.0
        submit_until(lambda: worker.stats("a").halvings == 1)
        submit_until(lambda: worker.stats("a").halvings == 2)
        assert worker.stats("b").halvings == 2, "all cameras share one model"
        assert worker.stats("b").sampling_hz == 8.0
        seen = len(got)
        submit_until(lambda: len(got) > seen + 8)
        slow.seconds = 0.0
        wait_for(lambda: worker.stats("a").halvings == 0)  # no frames: there is room
        seen = len(got)
        submit_until(lambda: len(got) > seen + 4)
    told = [r.getMessage() for r in caplog.records if "sampling rate" in r.getMessage()]
    assert [line.split(" frames")[0] for line in told[:2]] == [
        "the sampling rate is now 16 of 32",
        "the sampling rate is now 8 of 32",
    ]
    assert told[-1].endswith("32 of 32 frames per second and camera: the model keeps up again")
    for camera in ("a", "b"):
        steps = [u.step for u in got if u.camera == camera and u.step is not None]
        assert [s.index for s in steps] == list(range(len(steps)))
        starts = [s.stamps_ns[0] for s in steps]
        assert starts == sorted(set(starts))


def test_a_closed_worker_leaves_the_pipeline_its_full_rate(backend, monkeypatch):
    Slow(monkeypatch, backend, 0.2)
    pipeline = pipeline_of(backend, process_rate_hz=32.0, max_halvings=1)
    numbers = iter(range(10**9))
    with StreamWorker(pipeline, lambda _: None) as worker:
        wait_for(
            lambda: (worker.submit(frame(k := next(numbers), at=k * S // 32)), worker.stats("cam").halvings == 1)[1]
        )
    monkeypatch.undo()
    pipeline.reset()
    assert len(steps_of(u for k in range(8) for u in pipeline.push(frame(k, at=k * S // 32)))) == 4
