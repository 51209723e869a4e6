"""The TensorRT engine: a directory of engines on one CUDA device, without onnxruntime and torch. Knows no dialogue.

What comes and goes is copied per call into device memory that is kept; the language model's cache never leaves the device.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendError, ConfigError, ModelError
from .cuda_device import Buffer, CudaDevice, Stream
from .devices import parse_device
from .exported import ExportedBackend

try:
    import tensorrt as trt  # type: ignore[import-not-found]
except ImportError as error:
    raise BackendError(f"the tensorrt engine needs TensorRT ({error}): pip install 'tvau[gpu]'") from error

__all__ = ["Log", "TensorrtBackend"]

STREAMED, ANY = 0, 1
"""Optimisation profiles of vision_ahd and decoder: the call that a stream or an answer makes again and again (one patch;
one token), and one of any size."""
NONE: Mapping[str, Buffer] = {}


class Log(trt.ILogger):
    """Keeps what TensorRT calls an error, for the message of ours that follows."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._errors: list[str] = []

    def log(self, severity: Any, msg: str) -> None:
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self._errors.append(" ".join(msg.split()))

    def last(self) -> str:
        """The newest error; it and all before it are then forgotten."""
        text = self._errors[-1] if self._errors else "TensorRT does not say why"
        self._errors.clear()
        return text


@dataclass
class _Tensor:
    """What lies on the device."""

    buffer: Buffer
    shape: tuple[int, ...]


class _Engine:
    """One engine with an execution context per optimisation profile. Calls of several threads come one after the other.

    A profile whose shapes are all fixed is captured as a CUDA graph at its first call. Raises `ModelError` for a file that
    TensorRT does not take.
    """

    def __init__(self, path: Path, runtime: Any, log: Log, device: CudaDevice) -> None:
        self.name, self._log, self._device, self._lock = path.name, log, device, threading.Lock()
        device.use()
        self._engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise ModelError(f"{path} cannot be loaded: {log.last()}")
        self.stream = Stream(device)
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        self.inputs = [name for name in names if modes[name] == trt.TensorIOMode.INPUT]
        self.outputs = [name for name in names if modes[name] == trt.TensorIOMode.OUTPUT]
        self._types = {name: np.dtype(trt.nptype(self._engine.get_tensor_dtype(name))) for name in names}
        self._contexts = [self._context(number) for number in range(self._engine.num_optimization_profiles)]
        self._buffers: dict[tuple[int, str], Buffer] = {}
        self._captured: dict[int, Any] = {}

    def _context(self, profile: int) -> Any:
        context = self._engine.create_execution_context()
        if context is None or not context.set_optimization_profile_async(profile, self.stream.handle):
            raise BackendError(f"{self.name} cannot be prepared on the device: {self._log.last()}")
        self.stream.wait()
        return context

    def limits(self, name: str, profile: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Smallest and largest shape of an input in a profile."""
        smallest, _, largest = self._engine.get_tensor_profile_shape(name, profile)
        return tuple(smallest), tuple(largest)

    def size(self, name: str, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor of this shape."""
        return int(np.prod(shape, dtype=np.int64)) * self._types[name].itemsize

    def __call__(
        self, profile: int, inputs: Mapping[str, np.ndarray | _Tensor], kept: Mapping[str, Buffer] = NONE
    ) -> dict[str, Any]:
        """Outputs by name: arrays, and tensors of what is to be left on the device in the `kept` buffers, which grow to it.

        Arrays of other types are converted to what the engine takes. Raises `BackendError` for what TensorRT or CUDA refuse.
        """
        with self._lock:
            self._device.use()
            context = self._contexts[profile]
            for name, value in inputs.items():
                buffer = value.buffer if isinstance(value, _Tensor) else self._buffer(profile, name)
                if isinstance(value, np.ndarray):
                    self.stream.upload(buffer, np.ascontiguousarray(value, self._types[name]))
                if not context.set_input_shape(name, tuple(value.shape)):
                    smallest, largest = self.limits(name, profile)
                    raise BackendError(
                        f"{self.name} takes {name} of {list(smallest)} to {list(largest)}, got {list(value.shape)}"
                    )
                context.set_tensor_address(name, buffer.address)
            results: dict[str, Any] = {}
            for name in self.outputs:
                shape = tuple(context.get_tensor_shape(name))
                if min(shape, default=0) < 0:
                    raise BackendError(f"{self.name} does not tell the shape of {name}: {self._log.last()}")
                buffer = kept[name] if name in kept else self._buffer(profile, name)
                buffer.reserve(self.size(name, shape))
                context.set_tensor_address(name, buffer.address)
                results[name] = _Tensor(buffer, shape)
            self._launch(profile, context)
            for name, tensor in results.items():
                if name not in kept:
                    results[name] = np.empty(tensor.shape, self._types[name])
                    self.stream.download(results[name], tensor.buffer)
            self.stream.wait()
            return results

    def crop(self, tensors: Mapping[str, _Tensor], length: int) -> dict[str, _Tensor]:
        """Copies of keys or values [1, kv, known, head], cut to the first `length` of those known."""
        with self._lock:
            self._device.use()
            copies = {}
            for name, tensor in tensors.items():
                _, rows, known, head = tensor.shape
                shape = (1, rows, min(length, known), head)
                copies[name] = _Tensor(Buffer(self._device), shape)
                width, pitch = (self.size(name, (count, head)) for count in (shape[2], known))
                self.stream.copy_rows(copies[name].buffer, tensor.buffer, rows, width, pitch)
            self.stream.wait()
            return copies

    def _buffer(self, profile: int, name: str) -> Buffer:
        """Each profile has its own, so that no larger call moves what a captured one reads."""
        if (profile, name) not in self._buffers:
            self._buffers[profile, name] = Buffer(self._device)
        return self._buffers[profile, name]

    def _launch(self, profile: int, context: Any) -> None:
        if captured := self._captured.get(profile):
            captured()
            return
        if not context.execute_async_v3(self.stream.handle):
            raise BackendError(f"{self.name} failed on the device: {self._log.last()}")
        if profile not in self._captured:
            limits = [self.limits(name, profile) for name in self.inputs]
            fixed = all(smallest == largest for smallest, largest in limits)
            self.stream.wait()  # TensorRT wants a plain run to be over before it is captured
            self._captured[profile] = (
                self.stream.capture(lambda: context.execute_async_v3(self.stream.handle)) if fixed else None
            )


class _Cache:
    """Keys and values of all that the language model has read, and as many buffers for the next pass to write to.

    A pass reads one half and writes the other, as the graph appends by concatenation; then they change places.
    """

    def __init__(self, tensors: dict[str, _Tensor], spare: dict[str, Buffer]) -> None:
        self.tensors, self.spare = tensors, spare

    @property
    def length(self) -> int:
        return next(iter(self.tensors.values())).shape[2]


class TensorrtBackend(ExportedBackend):
    """Opens a directory of engines. device: auto, tensorrt or cuda (the first), or cuda:N. size: as `OnnxBackend` takes it.

    Raises `ModelError` for engines of another version of TensorRT or of another kind of device.
    """

    def __init__(self, directory: Path, device: str = "auto", size: str = "") -> None:
        kind, index = parse_device(device)
        if kind == "cpu":
            raise ConfigError(f"{directory} holds TensorRT engines, which run on a CUDA device, got device 'cpu'")
        super().__init__(directory, size)
        facts = self._artifact.tensorrt
        if not facts:
            raise ModelError(f"{directory} holds graphs, not engines: python export/to_tensorrt.py --onnx {directory}")
        where = CudaDevice(index)
        self._where = where
        self._artifact.check_engines(trt.__version__, where.compute_capability)
        log = Log()
        runtime = trt.Runtime(log)

        def engine(name: str) -> _Engine:
            return _Engine(directory / name, runtime, log, where)

        self._vision: Any = engine(self._artifact.vision_file(self.spec.image_size))
        self._rae: Any = engine("rae.engine")
        self._decoder: Any = engine("decoder.engine")
        self._check()
        self.device = (
            f"TensorRT {trt.__version__} {self._artifact.precision}, cuda:{index} {where.name} (its own engines)"
        )

    def encode(self, pixels: np.ndarray, text: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        self._must_be_open()
        each, most = {"pixels": pixels, "text": self._text(text, len(pixels))}, self._vision.limits("pixels", ANY)[1][0]
        parts = [slice(start, min(start + most, len(pixels))) for start in range(0, len(pixels), most)]
        found = [
            self._vision(
                STREAMED if part.stop - part.start == 1 else ANY, {name: value[part] for name, value in each.items()}
            )
            for part in parts
        ]
        tokens, maps = (
            np.concatenate([np.asarray(one[name], np.float32) for one in found])
            for name in ("visual_tokens", "class_maps")
        )
        return tokens, maps

    def anomaly_prompts(self, class_maps: np.ndarray) -> np.ndarray:
        self._must_be_open()
        steps, most = len(class_maps), self._rae.limits("class_maps", 0)[1][1]
        if steps < 2:  # nothing moves between fewer; an engine gives no empty tensor
            return np.zeros((0, self.spec.text_dim), np.float32)
        if steps > most:
            raise BackendError(
                f"the engines were built for windows of at most {most} frame pairs, got {steps}; "
                f"build them with --max-patches {steps}"
            )
        return np.asarray(self._rae(0, {"class_maps": class_maps[None]})["anomaly_prompts"][0], np.float32)

    def decode(self, embeddings: np.ndarray, positions: np.ndarray, cache: Any = None) -> tuple[np.ndarray, Any]:
        self._must_be_open()
        cache = cache or self._empty()
        count, most = len(embeddings), self.max_tokens
        if cache.length + count > most:
            raise BackendError(
                f"the engines were built for at most {most} tokens, the dialogue has {cache.length + count}; "
                "build them with a larger --max-tokens"
            )
        piece = self._decoder.limits("embeddings", ANY)[1][1]
        logits = np.empty(0, np.float32)
        for start in range(0, count, piece):
            part = slice(start, start + piece)
            inputs = {"embeddings": embeddings[None, part], "positions": positions[:, None, part], **cache.tensors}
            profile = STREAMED if len(embeddings[part]) == 1 and cache.length else ANY
            kept = {_present(name): buffer for name, buffer in cache.spare.items()}
            got = self._decoder(profile, inputs, kept)
            cache = _Cache(
                {name: got[_present(name)] for name in cache.tensors},
                {name: tensor.buffer for name, tensor in cache.tensors.items()},
            )
            logits = np.asarray(got["logits"][0], np.float32)
        return logits, cache

    def crop(self, cache: Any, length: int) -> Any:
        self._must_be_open()
        return _Cache(self._decoder.crop(cache.tensors, length), {name: Buffer(self._where) for name in cache.tensors})

    def cache_bytes(self, cache: Any) -> int:
        buffers = [*(tensor.buffer for tensor in cache.tensors.values()), *cache.spare.values()]
        return sum(buffer.size for buffer in buffers)

    def close(self) -> None:
        super().close()
        self._vision = self._rae = self._decoder = None

    @property
    def max_tokens(self) -> int:
        """How many positions the engines take, those in the cache and new ones together."""
        return self._decoder.limits(self._past[0], ANY)[1][2] + 1

    @property
    def _past(self) -> list[str]:
        return [name for name in self._decoder.inputs if name.startswith("past_")]

    def _empty(self) -> _Cache:
        self._where.use()
        shape = (1, self._artifact.kv_heads, 0, self._artifact.head_dim)
        # Each empty tensor has an address of its own, never null, which TensorRT asks for.
        tensors = {name: _Tensor(Buffer(self._where), shape) for name in self._past}
        return _Cache(tensors, {name: Buffer(self._where) for name in tensors})

    def _check(self) -> None:
        """Refuses engines that are not of this manifest."""
        patches = self.spec.grid[0] * self.spec.grid[1]
        if self._vision.limits("pixels", STREAMED)[1] != (1, patches, self.spec.patch_dim):
            raise ModelError(f"the vision engine is not one of {patches} patches of {self.spec.patch_dim}")
        if self._vision.limits("text", STREAMED)[1] != (1, 2, self.spec.text_dim):
            raise ModelError(
                "the vision engine takes no prompts of each frame pair; export the graphs and build it again"
            )
        if len(self._past) != 2 * self._artifact.layers:
            raise ModelError(f"decoder.engine is not one of {self._artifact.layers} layers")


def _present(name: str) -> str:
    """The output that holds what an input held, and the new positions."""
    return "present" + name.removeprefix("past")
