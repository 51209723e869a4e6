"""What a device's name means, and which of onnxruntime's execution providers run the graphs there, and why. Opens no session.

An onnxruntime that lists a provider need not be able to load it: whoever opens a session must look at what it really uses.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..artifact import Artifact
from ..errors import BackendError, ConfigError

__all__ = [
    "NAMES",
    "PROVIDERS",
    "cache_directory",
    "candidates",
    "parse_device",
    "preload",
    "provider_list",
    "quiet",
    "reason",
]

PROVIDERS = {"tensorrt": "TensorrtExecutionProvider", "cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
"""By device, the fastest first."""
NAMES = {"tensorrt": "TensorRT", "cuda": "CUDA", "cpu": "CPU"}
"""The same for people."""


def parse_device(device: str) -> tuple[str, int]:
    """(auto, tensorrt, cuda or cpu; number of the CUDA device). Raises `ConfigError`."""
    kind, colon, number = device.partition(":")
    numbered = kind in ("cuda", "tensorrt") and number.isascii() and number.isdigit()
    if kind not in ("auto", *PROVIDERS) or (colon and not numbered):
        raise ConfigError(f"device must be auto, cpu, cuda, cuda:N, tensorrt or tensorrt:N, got {device!r}")
    return kind, int(number or 0)


def candidates(kind: str, available: Sequence[str]) -> list[str]:
    """The devices to try in turn, by what onnxruntime was built with. Raises `BackendError` for one that it was not."""
    if kind == "auto":
        return [name for name, provider in PROVIDERS.items() if provider in available]
    if PROVIDERS[kind] not in available:
        raise BackendError(
            f"device {kind} was asked for, but this onnxruntime has {', '.join(available)}; "
            "pip uninstall onnxruntime && pip install onnxruntime-gpu, or use cpu or auto"
        )
    return [kind]


def provider_list(
    kind: str, index: int, available: Sequence[str], *, cache: Path | None = None, fp16: bool = False
) -> list[tuple[str, dict[str, Any]]]:
    """Providers and options for one device, behind it the slower ones, which take the operators that it has not.

    cache: folder for TensorRT's engines and timings; None keeps none. fp16: TensorRT may compute in half precision.
    """
    tensorrt: dict[str, Any] = {"device_id": index, "trt_fp16_enable": fp16}
    if cache:
        for what in ("engine", "timing"):
            tensorrt |= {f"trt_{what}_cache_enable": True, f"trt_{what}_cache_path": str(cache)}
    options = {"tensorrt": tensorrt, "cuda": {"device_id": index}, "cpu": {}}
    listed = list(PROVIDERS)[list(PROVIDERS).index(kind) :]
    return [(PROVIDERS[name], options[name]) for name in listed if PROVIDERS[name] in available]


def cache_directory(artifact: Artifact, environ: Mapping[str, str] = os.environ) -> Path | None:
    """A folder for the engines that onnxruntime's TensorRT builds of these graphs, made if need be; None if it can't be.

    It lies in the user's cache (`$XDG_CACHE_HOME`, else `~/.cache`), as the model's own may be read-only. Its name holds a
    digest of all graphs: onnxruntime finds an engine by its graph's name, and would take that of an older export.
    """
    given = environ.get("XDG_CACHE_HOME", "")
    digest = hashlib.sha256(repr(sorted(artifact.files.items())).encode()).hexdigest()[:16]
    try:
        base = Path(given) if os.path.isabs(given) else Path.home() / ".cache"  # a relative one is to be ignored
        folder = base / "tvau" / "onnxruntime-tensorrt" / digest
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def preload(ort: Any, kind: str) -> None:
    """Loads the libraries that pip installed for CUDA and TensorRT, which onnxruntime does not find by itself."""
    if kind == "tensorrt":
        with contextlib.suppress(ImportError):  # onnxruntime then says what it lacks
            import tensorrt  # type: ignore[import-not-found]  # noqa: F401
    if kind != "cpu" and hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # as above
            ort.preload_dlls()


@contextlib.contextmanager
def quiet(ort: Any) -> Iterator[None]:
    """Keeps onnxruntime from printing why a provider does not start, which the device's text tells in short."""
    ort.set_default_logger_severity(4)
    try:
        yield
    finally:
        ort.set_default_logger_severity(2)


def reason(asked: str, kind: str, available: Sequence[str], failed: Mapping[str, str]) -> str:
    """Why a device was picked, in a few words. failed: devices that were tried before, with what they said."""
    if asked != "auto":
        return f"{asked} was asked for"
    if failed:
        return "; ".join(f"{NAMES[name]} does not start: {' '.join(text.split())}" for name, text in failed.items())
    missing = [NAMES[name] for name, provider in PROVIDERS.items() if provider not in available]
    if kind == "cpu":
        return "no CUDA provider in this onnxruntime"
    return "the fastest there is" + (f"; no {' or '.join(missing)} provider in this onnxruntime" if missing else "")
