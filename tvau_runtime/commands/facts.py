"""What there is to say about a model and a run, as titled lists of names and values. Knows no command line."""

from __future__ import annotations

import importlib.metadata
import platform
from datetime import datetime, timezone

from ..config import PipelineConfig, describe
from ..pipeline import Pipeline
from ..video import VideoInfo
from .recorder import Recorder

__all__ = ["package_version", "prompt_facts", "run_facts"]

PACKAGES = ("numpy", "opencv-python", "opencv-python-headless", "torch", "transformers")


def package_version(name: str) -> str:
    """The version of an installed package; empty when it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def prompt_facts(pipeline: Pipeline) -> dict[str, str]:
    prompts = pipeline.prompts()
    return {"Normal": ", ".join(prompts.normal), "Abnormal": ", ".join(prompts.abnormal)}


def run_facts(
    pipeline: Pipeline, config: PipelineConfig, recorder: Recorder, video: VideoInfo, wall_s: float
) -> dict[str, dict[str, str]]:
    """The sections "Run", "Model", "Prompts", "Settings" and "Versions" of a report."""
    spec, geometry = pipeline.backend.spec, pipeline.geometry
    height, width = recorder.frame_size
    started = datetime.fromtimestamp(recorder.start_ns * 1e-9, timezone.utc).astimezone()
    settings = {}
    for option in describe(PipelineConfig):
        part, name = option.path.split(".")
        value = getattr(getattr(config, part), name)
        if part != "engine":
            settings[name] = f"{value:g}" if isinstance(value, float) else str(value)
    settings |= {"process_rate_hz": f"{geometry.process_rate_hz:g}", "clip_length": str(geometry.clip_length)}
    return {
        "Run": {
            "Picture": f"{width} x {height} pixels, {video.fps:g} frames per second",
            **({"Started": started.strftime("%Y-%m-%d %H:%M:%S %Z")} if video.live else {}),
            "Frames": str(recorder.frames),
            "Length": f"{recorder.duration_s:.1f} s",
            "Windows": str(recorder.windows),
            "Heat maps": str(recorder.heatmaps),
            "Time taken": f"{wall_s:.1f} s, {recorder.duration_s / wall_s if wall_s else 0:.1f} times real time",
        },
        "Model": {
            "Model": spec.name,
            "Engine": pipeline.backend.device,
            "Input": f"{spec.image_size[1]} x {spec.image_size[0]} pixels, heat map {spec.grid[1]} x {spec.grid[0]}",
            "Clip window": f"{geometry.clip_length} frames at {geometry.process_rate_hz:g} Hz",
        },
        "Prompts": prompt_facts(pipeline),
        "Settings": settings,
        "Versions": {
            "tvau": package_version("tvau") or "not installed as a package",
            "Python": platform.python_version(),
            **{name: version for name in PACKAGES if (version := package_version(name))},
        },
    }
