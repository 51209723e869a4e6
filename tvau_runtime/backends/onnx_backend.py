"""The onnxruntime engine: exported graphs on CPU, CUDA or TensorRT, without torch. Knows no windows and no dialogue."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendError, ModelError
from .devices import NAMES, PROVIDERS, cache_directory, candidates, parse_device, preload, provider_list, quiet, reason
from .exported import ExportedBackend

try:
    import onnxruntime as ort
except ImportError as error:
    raise BackendError(f"the onnx engine needs onnxruntime ({error}): pip install onnxruntime") from error

__all__ = ["OnnxBackend"]

SOURCE = re.compile(r"^/\S+\.cc:\d+ .*?\) (?=[A-Z])")
"""Where in onnxruntime an error comes from, which it puts before its message."""
WORK_PER_THREAD = 2e9
"""Operations of one frame pair for which another thread pays. With fewer, waking it costs more than it takes off: on two cores
a pair of 0.36 GFLOP takes 7.1 ms with one thread and 7.9 ms with two, one of 6.6 GFLOP 94 ms and 63 ms."""
SPIN_US = 30
"""How long a thread spins for its next piece of work before it sleeps, in microseconds: enough from one operator to the next.
onnxruntime's default spins on after the last, and takes the cores from whoever brings the work: decoding, DDS, the caller."""
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxBackend(ExportedBackend):
    """Opens a directory of exported graphs.

    device: auto, tensorrt, cuda, either with :N, or cpu; auto takes the first that starts, in this order. threads: 0 takes
    as many as a frame pair of this model is worth. fp16: onnxruntime's TensorRT may compute in half precision. size:
    HEIGHTxWIDTH of one of its graphs, empty for the first. Runs graphs of any precision: each is fed the types that it declares.
    """

    def __init__(
        self, directory: Path, device: str = "auto", threads: int = 0, fp16: bool = False, size: str = ""
    ) -> None:
        kind, index = parse_device(device)
        available = ort.get_available_providers()
        tried = candidates(kind, available)
        super().__init__(directory, size)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_US))
        options.intra_op_num_threads = threads = threads or self._worthwhile_threads()
        failed: dict[str, str] = {}
        for place in tried:
            try:
                self._open(place, index, options, available, fp16)
            except BackendError as error:
                failed[place] = str(error)
                if place == tried[-1]:
                    raise BackendError(f"device {device}: {error}") from error
            else:
                break
        self._check()
        shown = NAMES[place] + (f":{index}" if index else "")
        why = reason(device, place, available, failed)
        if place == "tensorrt" and cache_directory(self._artifact) is None:
            why += "; its engines are built at every start, as no cache folder can be written"
        self.device = (
            f"onnxruntime {shown}" + (f", {threads} thread{'s' * (threads > 1)}" if threads else "") + f" ({why})"
        )

    def _worthwhile_threads(self) -> int:
        """Judged from the vision graph's size, as each weight meets each patch. 0: onnxruntime's own number, one per core."""
        vision = self._artifact.vision_file(self.spec.image_size)
        stored = sum(path.stat().st_size for path in self._directory.glob(f"{vision}*"))
        # fp32 is stored in half precision where nothing is lost.
        weights = stored / (2 if self._artifact.precision in ("fp32", "fp16") else 1)
        rows, columns = self.spec.grid
        wanted = math.ceil(2 * weights * rows * columns / WORK_PER_THREAD)
        return wanted if wanted < (os.cpu_count() or 1) else 0

    def _open(self, kind: str, index: int, options: Any, available: list[str], fp16: bool) -> None:
        """Raises `BackendError` where the device's provider does not start, `ModelError` where a graph is not one."""
        preload(ort, kind)
        self._place = ("cpu", 0) if kind == "cpu" else ("cuda", index)
        cache = cache_directory(self._artifact) if kind == "tensorrt" else None

        def session(name: str, kind: str) -> Any:
            providers = provider_list(kind, index, available, cache=cache, fp16=fp16)
            try:
                opened = ort.InferenceSession(
                    str(self._directory / name), options, providers=providers, enable_fallback=0
                )
            except Exception as error:  # onnxruntime's own exceptions share no base
                first = SOURCE.sub("", str(error).strip().splitlines()[0])
                if kind != "cpu":
                    raise BackendError(f"{name}: {first}") from error
                raise ModelError(f"{self._directory}: {name} cannot be loaded: {first}") from error
            if opened.get_providers()[0] != PROVIDERS[kind]:
                raise BackendError(f"{PROVIDERS[kind]} cannot be loaded; are its libraries and the driver installed?")
            return opened

        with quiet(ort):
            self._rae: Any = session("rae.onnx", kind)  # the smallest: it shows whether the device starts
            self._vision: Any = session(self._artifact.vision_file(self.spec.image_size), kind)
            # The cache grows with every token, and for every size onnxruntime would build TensorRT's engine again.
            self._decoder: Any = session("decoder.onnx", "cuda" if kind == "tensorrt" else kind)

    def encode(self, pixels: np.ndarray, text: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        self._must_be_open()
        tokens, maps = self._run(self._vision, {"pixels": pixels, "text": self._text(text, len(pixels))})
        return tokens, maps

    def anomaly_prompts(self, class_maps: np.ndarray) -> np.ndarray:
        return self._run(self._rae, {"class_maps": class_maps[None]})[0][0]

    def decode(self, embeddings: np.ndarray, positions: np.ndarray, cache: Any = None) -> tuple[np.ndarray, Any]:
        self._must_be_open()
        if cache is None:
            empty = np.zeros(
                (1, self._artifact.kv_heads, 0, self._artifact.head_dim), _type(self._decoder.get_inputs()[2])
            )
            cache = [ort.OrtValue.ortvalue_from_numpy(empty, *self._place)] * (2 * self._artifact.layers)
        binding = self._decoder.io_binding()
        kind = _type(self._decoder.get_inputs()[0])
        binding.bind_cpu_input("embeddings", np.ascontiguousarray(embeddings[None], kind))
        binding.bind_cpu_input("positions", np.ascontiguousarray(positions[:, None], np.int64))
        for entry, value in zip(self._decoder.get_inputs()[2:], cache, strict=True):
            binding.bind_ortvalue_input(entry.name, value)
        binding.bind_output("logits")
        for entry in self._decoder.get_outputs()[1:]:  # they stay where they were computed
            binding.bind_output(entry.name, *self._place)
        self._decoder.run_with_iobinding(binding)
        logits, *present = binding.get_outputs()
        return logits.numpy()[0].astype(np.float32, copy=False), present

    def crop(self, cache: Any, length: int) -> Any:
        # A pass writes into new tensors, so that whoever reads on from the same ones may share them.
        if cache[0].shape()[2] <= length:
            return cache
        return [
            ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value.numpy()[:, :, :length]), *self._place)
            for value in cache
        ]

    def cache_bytes(self, cache: Any) -> int:
        return sum(math.prod(value.shape()) for value in cache) * TYPES[cache[0].data_type()]().itemsize

    def close(self) -> None:
        super().close()
        self._vision = self._rae = self._decoder = None

    def _run(self, session: Any, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """On a CUDA device, what comes and goes is copied once each way, and lies on the device in between."""
        self._must_be_open()
        binding = session.io_binding()
        for entry in session.get_inputs():
            value = np.ascontiguousarray(inputs[entry.name], _type(entry))
            binding.bind_ortvalue_input(entry.name, ort.OrtValue.ortvalue_from_numpy(value, *self._place))
        for entry in session.get_outputs():
            binding.bind_output(entry.name, *self._place)
        session.run_with_iobinding(binding)
        return [array.astype(np.float32, copy=False) for array in binding.copy_outputs_to_cpu()]

    def _check(self) -> None:
        """Refuses graphs that are not of this manifest."""
        patches = self.spec.grid[0] * self.spec.grid[1]
        wanted = {"pixels": (None, patches, self.spec.patch_dim), "text": (None, 2, self.spec.text_dim)}
        for entry in self._vision.get_inputs():
            shape = tuple(side if isinstance(side, int) else None for side in entry.shape)
            if shape != wanted.get(entry.name):
                raise ModelError(
                    f"{self._directory}: {entry.name} of vision_ahd is {list(entry.shape)}, "
                    f"the manifest needs {list(wanted.get(entry.name, ()))}; graphs of an earlier tvau are to be exported again"
                )
        if len(self._decoder.get_inputs()) != 2 + 2 * self._artifact.layers:
            raise ModelError(f"{self._directory}: decoder.onnx is not one of {self._artifact.layers} layers")


def _type(entry: Any) -> Any:
    """What a graph wants of an input. Raises `ModelError` for a type that no graph of ours has."""
    if entry.type not in TYPES:
        raise ModelError(f"input {entry.name} of a graph must be one of {', '.join(TYPES)}, got {entry.type}")
    return TYPES[entry.type]
