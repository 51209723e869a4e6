"""What the tests of the stream share: frames of a 4 Hz camera, and pipelines on the real engine with random weights."""

import threading
import time

import numpy as np

from tvau_runtime import DialogueConfig, EngineConfig, EventConfig, Frame, Pipeline, PipelineConfig, StreamConfig
from tvau_runtime.backends import open_backend

S = 1_000_000_000
QUARTER = S // 4  # the checkpoint's rate is 4 Hz, its clip 8 frames
ALWAYS = EventConfig(on_threshold=0.0, off_threshold=0.0, min_duration_s=0.0, update_period_s=0.0)
"""Random weights are warm everywhere: with this, one event begins with the stream."""
NEVER = EventConfig(on_threshold=1.0, off_threshold=1.0)


PATIENCE_S = 30.0
"""How long anything may take that has to happen."""


def open_tiny(directory):
    """The real engine on a checkpoint with random weights."""
    return open_backend(EngineConfig(model=str(directory), backend="torch", device="cpu", threads=1))


def pipeline_of(backend, events=NEVER, *, describe=False, **stream):
    """A pipeline with short answers; further settings are those of the stream. Its rate falls only where that is asked for."""
    stream = {"max_halvings": 0, **stream}
    dialogue = DialogueConfig(max_new_tokens=4, describe_events="always" if describe else "never")
    return Pipeline(backend, PipelineConfig(stream=StreamConfig(**stream), events=events, dialogue=dialogue))


def frame(k, *, camera="cam", at=None, size=(60, 80)):
    """A frame with a bright square that moves, and noise of its own."""
    rgb = np.random.default_rng(k).integers(0, 120, (*size, 3), dtype=np.uint8)
    rgb[20:40, (5 * k) % 60 : (5 * k) % 60 + 15] = 250
    return Frame(rgb, k * QUARTER if at is None else at, camera, f"{camera}_optical")


def feed(pipeline, numbers, **kwargs):
    return [update for k in numbers for update in pipeline.push(frame(k, **kwargs))]


def steps_of(updates):
    return [update.step for update in updates if update.step is not None]


def heat_of(updates):
    return np.stack([step.heatmap.values for step in steps_of(updates)])


def events_of(updates):
    return [event for update in updates for event in update.events]


def phases(updates):
    return [event.phase for event in events_of(updates)]


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


class Gate:
    """Holds up calls of a real function until it is opened."""

    def __init__(self, monkeypatch, owner, name):
        self.entered, self._open = threading.Event(), threading.Event()
        self._call = getattr(owner, name)
        monkeypatch.setattr(owner, name, self)

    def __call__(self, *args, **kwargs):
        self.entered.set()
        assert self._open.wait(PATIENCE_S)
        return self._call(*args, **kwargs)

    def wait_entered(self):
        assert self.entered.wait(PATIENCE_S)

    def open(self):
        self._open.set()
