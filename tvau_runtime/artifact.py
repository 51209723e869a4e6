"""`manifest.json`: what stands in a directory of exported graphs, or of TensorRT engines built from them. Runs neither.

manifest.json                this record
vision_ahd-<H>x<W>.onnx      vision tower and AHD, one graph per image size
rae.onnx                     Region-aware Anomaly Encoder
decoder.onnx                 language model with its cache
embeddings.npy               token table [V, D], float16 where that loses nothing or the graphs compute in it, else float32
tokenizer.json
*.onnx.data                  weights of a graph, where they are not in it

A directory of TensorRT engines is the same with `.engine` in place of `.onnx`, and timing.cache, which speeds up the next build.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from .calibration import Calibration
from .errors import ModelError
from .manifest import Directory

__all__ = ["PRECISIONS", "Artifact"]

ENGINE_FACTS = ("version", "compute_capability", "device")

PRECISIONS = ("fp32", "fp16", "int8", "int8-static")


@dataclass(frozen=True)
class Artifact(Directory):
    """An exported model's facts. Raises `ModelError` naming the field that does not fit."""

    FILE: ClassVar[str] = "manifest.json"
    KIND: ClassVar[str] = "exported tvau model"
    TUPLES: ClassVar[tuple[str, ...]] = ("image_sizes", "mean", "std", "taps")

    image_sizes: tuple[tuple[int, int], ...]
    """(height, width) in pixels that there is a graph for; the engine opens the first unless it is told."""
    process_rate_hz: float
    clip_length: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    taps: tuple[int, ...]
    text_dim: int
    """D, the width of the language model."""
    tokens_per_second: float
    layers: int
    """Of the language model; the decoder takes and gives keys and values for each."""
    kv_heads: int
    head_dim: int
    vocabulary: int
    precision: str
    """What the backbone's graphs compute in: fp32, fp16 (with half-precision caches), int8 (whose inputs are quantised while they
    run, for CPUs) or int8-static (with calibrated scales, for TensorRT)."""
    opset: int
    calibration: Calibration = field(default_factory=Calibration)
    """The checkpoint's."""
    parity: dict[str, Any] = field(default_factory=dict)
    """How far each graph is from the checkpoint it was made from."""
    versions: dict[str, str] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the files of that checkpoint."""
    tensorrt: dict[str, str] = field(default_factory=dict)
    """Of engines: TensorRT's version, and compute capability and name of the device they were built on. Of graphs: empty."""
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of every file beside this one, by its path."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_sizes", tuple(tuple(size) for size in self.image_sizes))
        if self.precision not in PRECISIONS:
            raise ModelError(f"{self.FILE}: precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        for size in self.image_sizes:
            if len(size) != 2 or any(not isinstance(side, int) or side < 28 or side % 28 for side in size):
                raise ModelError(f"{self.FILE}: image_sizes must hold [height, width] in multiples of 28, got {size!r}")
        if not self.image_sizes:
            raise ModelError(f"{self.FILE}: image_sizes must not be empty")
        for name in ("clip_length", "text_dim", "layers", "kv_heads", "head_dim", "vocabulary"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ModelError(f"{self.FILE}: {name} must be a positive whole number, got {value!r}")

        facts = self.tensorrt
        texts = isinstance(facts, dict) and all(isinstance(v, str) and v for v in facts.values())
        if not texts or (facts and set(facts) != set(ENGINE_FACTS)):
            raise ModelError(f"{self.FILE}: tensorrt must be empty or hold {', '.join(ENGINE_FACTS)}, got {facts!r}")

    @property
    def suffix(self) -> str:
        """Of the files that hold the graphs, or the engines."""
        return ".engine" if self.tensorrt else ".onnx"

    def vision_file(self, size: tuple[int, int]) -> str:
        return f"vision_ahd-{size[0]}x{size[1]}{self.suffix}"

    def check_engines(self, version: str, compute_capability: str) -> None:
        """Raises `ModelError` where the engines run only with another version of TensorRT, or on another kind of device."""
        again = "build them anew: python export/to_tensorrt.py"
        if self.tensorrt["version"] != version:
            raise ModelError(
                f"the engines were built by TensorRT {self.tensorrt['version']}, which alone can read them, and here is "
                f"{version}; {again}"
            )
        if self.tensorrt["compute_capability"] != compute_capability:
            raise ModelError(
                f"the engines were built for compute capability {self.tensorrt['compute_capability']} "
                f"({self.tensorrt['device']}), and this device has {compute_capability}; {again}"
            )
