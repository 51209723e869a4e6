"""One ONNX graph to one TensorRT engine, on the device in use. Knows no manifest."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tvau_runtime.backends.tensorrt_backend import Log
from tvau_runtime.errors import BackendError, ModelError

import tensorrt as trt  # type: ignore[import-not-found]  # isort: skip  # the backend says what is missing

__all__ = ["Timings", "build_engine", "tensorrt_version"]


class Timings:
    """How long kernels took on this device, which spares measuring them again. Grows with every engine that is built."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = content


def tensorrt_version() -> str:
    """Of TensorRT, as its engines demand it."""
    return trt.__version__


def build_engine(path: Path, shapes: Sequence[dict[str, tuple]], timings: Timings) -> bytes:
    """The serialised engine of a graph.

    shapes: an optimisation profile each: smallest, fastest and largest shape by input; of inputs without a free axis none is
    taken. Raises `ModelError` with the parser's errors, `BackendError` where no engine can be built, and KeyboardInterrupt.
    """
    log = Log()
    builder = trt.Builder(log)
    # Types come from the graph alone: TensorRT 11 knows no other way, TensorRT 10 must be told.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(number) for number in range(parser.num_errors)]
        told = [f"  {error.desc()} (node {error.node_name() or error.node()})" for error in errors]
        raise ModelError(f"TensorRT cannot parse {path}:\n" + "\n".join(told or [f"  {log.last()}"]))
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # fp32 is to mean it
    cache = config.create_timing_cache(timings.content)
    if not config.set_timing_cache(cache, ignore_mismatch=False):  # of another device or version
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    inputs = [network.get_input(number) for number in range(network.num_inputs)]
    for shape in shapes:
        profile = builder.create_optimization_profile()
        for entry in inputs:
            if -1 not in tuple(entry.shape):
                continue
            if len(shape.get(entry.name, ((),))[0]) != len(entry.shape):
                raise ModelError(f"{path}: {entry.name} {list(entry.shape)} is no input of such a graph")
            profile.set_shape(entry.name, *shape[entry.name])
        if config.add_optimization_profile(profile) < 0:
            raise ModelError(f"{path} does not take the shapes {shape}: {log.last()}")
    progress = _Progress(path.stem)
    config.progress_monitor = progress
    with progress:
        plan = builder.build_serialized_network(network, config)
    if progress.stopped:
        raise KeyboardInterrupt
    if plan is None:
        raise BackendError(f"TensorRT cannot build an engine of {path}: {log.last()}")
    timings.content = bytes(config.get_timing_cache().serialize())
    return bytes(plan)


class _Progress(trt.IProgressMonitor):
    """A bar per phase of the build. TensorRT calls from several threads. As a context it lets Ctrl-C end the build."""

    def __init__(self, title: str) -> None:
        trt.IProgressMonitor.__init__(self)
        self._title, self._bars, self._lock, self.stopped = title, {}, threading.Lock(), False

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        with self._lock:
            self._bars[phase_name] = tqdm(
                total=num_steps, desc=f"{self._title}: {phase_name}", leave=parent_phase is None, dynamic_ncols=True
            )

    def step_complete(self, phase_name: str, step: int) -> bool:
        with self._lock:
            if bar := self._bars.get(phase_name):
                bar.update(step + 1 - bar.n)
        return not self.stopped

    def phase_finish(self, phase_name: str) -> None:
        with self._lock:
            if bar := self._bars.pop(phase_name, None):
                bar.close()

    def __enter__(self) -> None:
        # An exception cannot pass through TensorRT: a handler notes the wish, and the next step ends the build.
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, lambda *_: setattr(self, "stopped", True))

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
