"""The tvau library: frames in; heat maps, events and answers out. Needs neither ROS nor torch to be imported.

What this module names is the public interface. What needs OpenCV or an engine is imported when it is first asked for.

    from tvau_runtime import PipelineConfig, VideoReader, open_pipeline

    with open_pipeline(PipelineConfig()) as pipeline, VideoReader("clip.mp4") as video:
        for frame in video:
            for update in pipeline.push(frame):
                ...
        print(pipeline.ask("Is there any anomaly in the video?").text)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .config import (
    DialogueConfig,
    EngineConfig,
    EventConfig,
    Option,
    PipelineConfig,
    StreamConfig,
    Validated,
    describe,
    fill,
    option,
)
from .errors import BackendError, BusyError, ConfigError, FrameError, ModelError, QueryError, TvauError
from .prompts import Prompts
from .types import (
    AnomalyEvent,
    Answer,
    Box,
    Contradiction,
    Evidence,
    Frame,
    Heatmap,
    Phase,
    Step,
    TrackPoint,
    Window,
)

if TYPE_CHECKING:
    from .backends import open_backend
    from .commands.recorder import Recorder
    from .overlay import blend_heatmap, draw_events, draw_status
    from .pipeline import Pipeline, StreamStats, Update, open_pipeline
    from .video import VideoInfo, VideoReader
    from .worker import StreamWorker, WorkerStats

__all__ = [
    "AnomalyEvent",
    "Answer",
    "BackendError",
    "Box",
    "BusyError",
    "ConfigError",
    "Contradiction",
    "DialogueConfig",
    "EngineConfig",
    "EventConfig",
    "Evidence",
    "Frame",
    "FrameError",
    "Heatmap",
    "ModelError",
    "Option",
    "Phase",
    "Pipeline",
    "PipelineConfig",
    "Prompts",
    "QueryError",
    "Recorder",
    "Step",
    "StreamConfig",
    "StreamStats",
    "StreamWorker",
    "TrackPoint",
    "TvauError",
    "Update",
    "Validated",
    "VideoInfo",
    "VideoReader",
    "Window",
    "WorkerStats",
    "blend_heatmap",
    "describe",
    "draw_events",
    "draw_status",
    "fill",
    "open_backend",
    "open_pipeline",
    "option",
]

_LAZY = {
    "Pipeline": "pipeline",
    "Recorder": "commands.recorder",
    "StreamStats": "pipeline",
    "StreamWorker": "worker",
    "Update": "pipeline",
    "VideoInfo": "video",
    "VideoReader": "video",
    "WorkerStats": "worker",
    "blend_heatmap": "overlay",
    "draw_events": "overlay",
    "draw_status": "overlay",
    "open_backend": "backends",
    "open_pipeline": "pipeline",
}
"""Public name to the module it is imported from on first use."""


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
