"""The onnxruntime engine: exported graphs on CPU, CUDA or TensorRT, without torch. Knows no windows and no dialogue."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from ..artifact import Artifact
from ..errors import BackendError, ConfigError, ModelError
from ..prompts import Prompts
from ..tokenizer import TextTokenizer
from .base import Backend, ModelSpec

try:
    import onnxruntime as ort
except ImportError as error:
    raise BackendError(f"the onnx engine needs onnxruntime ({error}): pip install onnxruntime") from error

__all__ = ["OnnxBackend"]

PROVIDERS = {"tensorrt": "TensorrtExecutionProvider", "cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
"""By device, the fastest first."""


class OnnxBackend(Backend):
    """Opens a directory of exported graphs.

    device: auto, tensorrt, cuda, cuda:N or cpu; threads: 0 leaves onnxruntime's own number.
    """

    def __init__(self, directory: Path, device: str = "auto", threads: int = 0) -> None:
        artifact = Artifact.read(directory)
        artifact.verify(directory)
        self._artifact, self._directory = artifact, directory
        self.tokenizer = TextTokenizer(directory / "tokenizer.json")
        self.spec = ModelSpec(
            name=artifact.name,
            image_size=artifact.image_sizes[0],
            process_rate_hz=artifact.process_rate_hz,
            clip_length=artifact.clip_length,
            mean=artifact.mean,
            std=artifact.std,
            text_dim=artifact.text_dim,
            tokens_per_second=artifact.tokens_per_second,
        )
        providers, self._place = _providers(device, directory)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if threads:
            options.intra_op_num_threads = threads

        def session(name: str) -> Any:
            try:
                return ort.InferenceSession(str(directory / name), options, providers=providers)
            except Exception as error:  # onnxruntime's own exceptions share no base
                first = str(error).strip().splitlines()[0]
                raise ModelError(f"{directory}: {name} cannot be loaded: {first}") from error

        self._vision: Any = session(artifact.vision_file(self.spec.image_size))
        self._rae: Any = session("rae.onnx")
        self._decoder: Any = session("decoder.onnx")
        self._table = np.load(directory / "embeddings.npy", mmap_mode="r", allow_pickle=False)
        self._check()
        used = self._vision.get_providers()[0].removesuffix("ExecutionProvider")
        self.device = f"onnxruntime {used}" + (f", {threads} threads" if threads else "")
        self._closed = False
        self._lock = threading.Lock()
        self.set_prompts(artifact.prompts)

    def set_prompts(self, prompts: Prompts) -> None:
        text = np.stack(
            [
                np.concatenate([self.embed(self.tokenizer.encode(t)) for t in prompts.texts(category)]).mean(axis=0)
                for category in ("normal", "abnormal")
            ]
        )
        with self._lock:
            self.prompts, self._text = prompts, text

    def encode(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with self._lock:
            text = self._text
        tokens, maps = self._run(self._vision, {"pixels": pixels, "text": text})
        return tokens, maps

    def anomaly_prompts(self, class_maps: np.ndarray) -> np.ndarray:
        return self._run(self._rae, {"class_maps": class_maps[None]})[0][0]

    def embed(self, token_ids: list[int]) -> np.ndarray:
        return np.asarray(self._table[token_ids], np.float32)

    def decode(self, embeddings: np.ndarray, positions: np.ndarray, cache: Any = None) -> tuple[np.ndarray, Any]:
        self._must_be_open()
        if cache is None:
            empty = np.zeros((1, self._artifact.kv_heads, 0, self._artifact.head_dim), np.float32)
            cache = [ort.OrtValue.ortvalue_from_numpy(empty, *self._place)] * (2 * self._artifact.layers)
        binding = self._decoder.io_binding()
        binding.bind_cpu_input("embeddings", np.ascontiguousarray(embeddings[None], np.float32))
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

    def close(self) -> None:
        self._closed = True
        self._vision = self._rae = self._decoder = None

    def _run(self, session: Any, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        self._must_be_open()
        return session.run(None, {k: np.ascontiguousarray(v, np.float32) for k, v in inputs.items()})

    def _must_be_open(self) -> None:
        if self._closed:
            raise BackendError("the engine is closed; open it again")

    def _check(self) -> None:
        """Refuses graphs that are not of this manifest."""
        patches = self.spec.grid[0] * self.spec.grid[1]
        wanted = {"pixels": (None, patches, self.spec.patch_dim), "text": (2, self.spec.text_dim)}
        for entry in self._vision.get_inputs():
            shape = tuple(side if isinstance(side, int) else None for side in entry.shape)
            if shape != wanted.get(entry.name):
                raise ModelError(
                    f"{self._directory}: {entry.name} of vision_ahd is {list(entry.shape)}, "
                    f"the manifest needs {list(wanted.get(entry.name, ()))}"
                )
        if len(self._decoder.get_inputs()) != 2 + 2 * self._artifact.layers:
            raise ModelError(f"{self._directory}: decoder.onnx is not one of {self._artifact.layers} layers")
        if self._table.shape != (self._artifact.vocabulary, self._artifact.text_dim):
            raise ModelError(
                f"{self._directory}: embeddings.npy is {list(self._table.shape)}, not vocabulary x text_dim"
            )


def _providers(device: str, directory: Path) -> tuple[list[Any], tuple[str, int]]:
    """What onnxruntime is to use, in order, and where its tensors lie. Raises `ConfigError`, `BackendError`."""
    kind, _, number = device.partition(":")
    there = ort.get_available_providers()
    if kind == "auto":
        kind = next(name for name, provider in PROVIDERS.items() if provider in there)
    if kind not in PROVIDERS or (number and not number.isdigit()):
        raise ConfigError(f"device must be auto, cpu, cuda, cuda:N or tensorrt, got {device!r}")
    if PROVIDERS[kind] not in there:
        raise BackendError(
            f"device {device} was asked for, but this onnxruntime has {', '.join(there)}; "
            "pip install onnxruntime-gpu, or use cpu or auto"
        )
    index = int(number or 0)
    settings: dict[str, dict[str, Any]] = {
        "tensorrt": {"device_id": index, "trt_engine_cache_enable": True, "trt_engine_cache_path": str(directory)},
        "cuda": {"device_id": index},
        "cpu": {},
    }
    chosen = list(PROVIDERS)[list(PROVIDERS).index(kind) :]
    listed = [(PROVIDERS[name], settings[name]) for name in chosen if PROVIDERS[name] in there]
    return listed, ("cpu", 0) if kind == "cpu" else ("cuda", index)
