"""`tvau.json`: what stands in a checkpoint directory beside the weights. Knows no engine.

tvau.json              this manifest
backbone/              a transformers checkpoint (or tvau.json names a hub checkpoint instead)
ahd.safetensors        Anomaly Heatmap Decoder
rae.safetensors        Region-aware Anomaly Encoder
lora/                  peft adapter of the language model (absent: none)
tokenizer.json
onnx/                  the same as exported graphs (absent: none), with a manifest of their own
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from .calibration import Calibration
from .errors import ConfigError, ModelError
from .prompts import Prompts

__all__ = ["EXPORT", "FORMAT", "Directory", "Manifest", "sha256"]

R = TypeVar("R", bound="Directory")

FORMAT = 1
"""Goes up when an older runtime could no longer read the directory rightly."""
EXPORT = "onnx"
"""The folder of a checkpoint's own exported graphs."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Directory:
    """A record that stands as JSON in a directory beside the files that it vouches for.

    Raises `ModelError` naming the field, or the file, that does not fit.
    """

    FILE: ClassVar[str]
    KIND: ClassVar[str]
    """What such a directory is called in messages."""
    TUPLES: ClassVar[tuple[str, ...]]
    """Fields that JSON has as lists."""

    name: str
    prompts: Prompts

    @classmethod
    def read(cls: type[R], directory: Path) -> R:
        """The record of a directory. Raises `ModelError` when it is absent, damaged or of another format."""
        path = directory / cls.FILE
        if not path.is_file():
            raise ModelError(f"{directory} is no {cls.KIND}: it has no {cls.FILE}")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{path} is not readable JSON: {error}") from error
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise ModelError(f"{path}: format must be {FORMAT}; this runtime reads no other")
        known = {entry.name: entry for entry in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                raise ModelError(f"{path}: unknown field {name!r}; known: {', '.join(known)}")
        for name, entry in known.items():
            needed = entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
            if needed and name not in values:
                raise ModelError(f"{path}: field {name!r} is missing")
        try:
            values["prompts"] = Prompts(**values["prompts"])
            if "calibration" in values:  # not in older ones
                values["calibration"] = Calibration(**values["calibration"])
            for name in cls.TUPLES:
                if name in values:
                    values[name] = tuple(values[name])
            return cls(**values)
        except (TypeError, ConfigError) as error:
            raise ModelError(f"{path}: {error}") from error
        except ModelError as error:
            raise ModelError(f"{directory}: {error}") from error

    def write(self: R, directory: Path) -> R:
        """Writes it with the hashes of all files that now lie beside it; returns what was written."""
        paths = {
            p.relative_to(directory): p for p in sorted(directory.rglob("*")) if p.is_file() and p.name != self.FILE
        }
        hashes = {name.as_posix(): sha256(path) for name, path in paths.items() if name.parts[0] != EXPORT}
        full = dataclasses.replace(self, files=hashes)  # type: ignore[call-arg]
        full.save(directory)
        return full

    def save(self, directory: Path) -> None:
        """Writes it as it is, for files that it already vouches for; all of it or nothing."""
        text = json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=2, ensure_ascii=False)
        draft = directory / f".{self.FILE}.draft"
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(directory / self.FILE)

    def verify(self, directory: Path) -> None:
        """Raises `ModelError` naming the first file that is missing or differs from its hash."""
        for name, digest in self.files.items():  # type: ignore[attr-defined]
            path = directory / name
            if not path.is_file():
                raise ModelError(f"{directory}: {name} is missing")
            if sha256(path) != digest:
                raise ModelError(
                    f"{directory}: {name} is damaged or was changed (its SHA-256 differs from {self.FILE})"
                )


@dataclass(frozen=True)
class Manifest(Directory):
    """A checkpoint's facts. Raises `ModelError` naming the field that does not fit."""

    FILE: ClassVar[str] = "tvau.json"
    KIND: ClassVar[str] = "tvau checkpoint"
    TUPLES: ClassVar[tuple[str, ...]] = ("image_size", "taps", "mean", "std", "rae_conv_widths")

    image_size: tuple[int, int]
    """(height, width) in pixels, multiples of 28."""
    process_rate_hz: float
    clip_length: int
    taps: tuple[int, ...]
    """1-based numbers of the vision blocks whose hidden states the AHD reads, ascending (eq. 4)."""
    backbone: str = "backbone"
    """Directory in the checkpoint, or a hub name such as Qwen/Qwen2.5-VL-7B-Instruct."""
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    rae_conv_widths: tuple[int, int, int] = (64, 256, 256)
    calibration: Calibration = field(default_factory=Calibration)
    """Fitted once the weights are done; see training/calibrate.py."""
    rae_hidden: int = 0
    """Width of the RAE's MLPs; 0: 4/7 of the language model's width, as for the 7B sizes."""
    without: str = ""
    """What it was fine-tuned without, to see what that is worth: "" nothing; rae, no anomaly prompts come to the language model;
    ahd, no heat maps: H_c is 0 everywhere; or both."""
    versions: dict[str, str] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    """How the weights were made: command, seed, figures."""
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of every file beside this one, by its path."""

    def __post_init__(self) -> None:
        def must(good: bool, name: str, wanted: str) -> None:
            if not good:
                raise ModelError(f"{self.FILE}: {name} must be {wanted}, got {getattr(self, name)!r}")

        def numbers(value: Any, count: int | None, kind: type | tuple[type, ...]) -> bool:
            return len(value) == (count or len(value)) and all(
                isinstance(v, kind) and not isinstance(v, bool) and v > 0 for v in value
            )

        must(bool(self.name) and isinstance(self.name, str), "name", "a name")
        must(bool(self.backbone) and isinstance(self.backbone, str), "backbone", "a directory or hub name")
        must(numbers(self.image_size, 2, int), "image_size", "[height, width] in pixels")
        must(all(side % 28 == 0 for side in self.image_size), "image_size", "multiples of 28")
        must(numbers([self.process_rate_hz], 1, (int, float)), "process_rate_hz", "a positive rate")
        must(
            numbers([self.clip_length], 1, int) and self.clip_length % 2 == 0, "clip_length", "an even number of frames"
        )
        must(numbers(self.taps, None, int) and bool(self.taps), "taps", "block numbers from 1")
        must(list(self.taps) == sorted(set(self.taps)), "taps", "ascending and without repeats")
        for name in ("mean", "std"):
            must(numbers(getattr(self, name), 3, (int, float)), name, "three positive numbers (R, G, B)")
        must(numbers(self.rae_conv_widths, 3, int), "rae_conv_widths", "three positive widths")
        must(self.without in ("", "rae", "ahd", "both"), "without", 'rae, ahd, both or ""')
        must(isinstance(self.rae_hidden, int) and self.rae_hidden >= 0, "rae_hidden", "a width, or 0")


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
