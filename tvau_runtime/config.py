"""Settings as frozen dataclasses that validate themselves.

YAML files, command-line flags and ROS parameters only fill these classes; each default, range, unit and description stands
here and nowhere else. `describe()` lists them for whoever has to declare or document them. Knows nothing about where the
values come from.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .errors import ConfigError

__all__ = [
    "DialogueConfig",
    "EngineConfig",
    "EventConfig",
    "Option",
    "PipelineConfig",
    "StreamConfig",
    "Validated",
    "describe",
    "fill",
    "option",
]

C = TypeVar("C")


@dataclass(frozen=True)
class Option:
    """What there is to know about one setting: `path` is its dotted name from the root, as in `events.on_threshold`."""

    path: str
    type: type
    default: Any
    doc: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    live: bool
    """Whether it may change while the pipeline runs."""


def option(
    default: Any,
    doc: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """A field of a `Validated` dataclass, with what `describe` tells of it. live: it may change while the pipeline runs."""
    metadata = {"doc": doc, "minimum": minimum, "maximum": maximum, "choices": choices, "live": live}
    return field(default=default, metadata=metadata)


class Validated:
    """Base of a frozen dataclass of `option`s: checks every field's type, range and choices on construction."""

    def __post_init__(self) -> None:
        for each in describe(type(self)):
            if "." not in each.path:
                object.__setattr__(self, each.path, _checked(each, getattr(self, each.path)))


@dataclass(frozen=True)
class EngineConfig(Validated):
    """Which model answers, and on what."""

    model: str = option(
        "tvau-tiny",
        "Checkpoint: the name of an embedded one, or a directory that holds tvau.json, or manifest.json of an export.",
    )
    backend: str = option(
        "auto",
        "Engine that runs the model; auto takes tensorrt for engines, onnx where there are exported graphs, else torch.",
        choices=("auto", "onnx", "tensorrt", "torch"),
    )
    device: str = option(
        "auto",
        "Device as the engine names it (cpu, cuda, cuda:1, with onnx also tensorrt); auto picks the fastest there is.",
    )
    size: str = option(
        "",
        "Image size in pixels, HEIGHTxWIDTH, of those that an export holds graphs for; empty takes the first.",
    )
    threads: int = option(0, "CPU threads of the engine; 0: as many as the model is worth.", minimum=0, maximum=1024)
    fp16: bool = option(
        False, "Whether onnxruntime's TensorRT may compute in half precision; other engines do as exported."
    )


@dataclass(frozen=True)
class StreamConfig(Validated):
    """How frames of one camera become temporal patches and sliding clip windows."""

    process_rate_hz: float = option(
        0.0,
        "Frames per second that are looked at, sampled by stamp; 0 takes the rate the model was trained at.",
        minimum=0.0,
        maximum=240.0,
    )
    clip_length: int = option(
        0, "Frames in a clip window, even; 0 takes the length the model was trained at.", minimum=0, maximum=512
    )
    stride: int = option(2, "Frames between the starts of neighbouring windows, even.", minimum=2, maximum=512)
    max_gap_s: float = option(
        2.0,
        "A longer silence between two sampled frames starts the window anew and ends open events (s).",
        minimum=0.01,
        maximum=3600.0,
    )
    reset_after_s: float = option(
        1.0,
        "A stamp this far before the last one means that the clock restarted; a nearer one is a late frame (s).",
        minimum=0.0,
        maximum=3600.0,
    )
    queue_size: int = option(
        8,
        "Frames that may wait for the model, per camera; when full, the oldest is dropped and counted.",
        minimum=1,
        maximum=1000,
    )
    max_halvings: int = option(
        2,
        "How often process_rate_hz may be halved while the model cannot keep up, by leaving out whole pairs of frames; "
        "never so often that two pairs would begin more than max_gap_s apart. 0 keeps the rate.",
        minimum=0,
        maximum=4,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("clip_length", "stride"):
            if getattr(self, name) % 2:
                raise ConfigError(f"{name} must be even (a temporal patch is two frames), got {getattr(self, name)}")


@dataclass(frozen=True)
class EventConfig(Validated):
    """When a warm region of the heat map becomes an event, and when that event is over."""

    on_threshold: float = option(
        0.9, "A region starts an event once its peak is at least this (0..1).", minimum=0.0, maximum=1.0, live=True
    )
    off_threshold: float = option(
        0.7, "An event goes on while its region's peak is at least this (0..1).", minimum=0.0, maximum=1.0, live=True
    )
    min_duration_s: float = option(
        0.5, "A region must stay warm this long before START is published (s).", minimum=0.0, maximum=600.0, live=True
    )
    end_after_s: float = option(
        1.5, "END is published after the region has been cold this long (s).", minimum=0.0, maximum=600.0, live=True
    )
    update_period_s: float = option(
        1.0,
        "Time between the UPDATEs of an event (s); 0 sends one for every heat map.",
        minimum=0.0,
        maximum=600.0,
        live=True,
    )
    min_area: float = option(
        0.0, "Smaller regions are ignored (fraction of the image, 0..1).", minimum=0.0, maximum=1.0, live=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.off_threshold > self.on_threshold:
            raise ConfigError(
                f"off_threshold ({self.off_threshold}) must not be above on_threshold ({self.on_threshold})"
            )


@dataclass(frozen=True)
class DialogueConfig(Validated):
    """How the language model answers, and the limits of the dialogue."""

    max_new_tokens: int = option(64, "Longest answer, in tokens.", minimum=1, maximum=4096, live=True)
    temperature: float = option(
        0.0,
        "How freely answers are worded: 0 always takes the most likely token, more draws from the probabilities.",
        minimum=0.0,
        maximum=2.0,
        live=True,
    )
    top_p: float = option(
        1.0,
        "Tokens are drawn from the most likely ones that together hold this share of the probability (0..1).",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    seed: int = option(
        0,
        "Of drawing: the same seed gives the same answer to the same dialogue; 0 draws anew every time.",
        minimum=0,
        maximum=2**31 - 1,
        live=True,
    )
    max_sessions: int = option(
        16, "Dialogues kept at once; the least recently used one is forgotten.", minimum=1, maximum=10000
    )
    max_session_mb: float = option(
        1024.0,
        "Memory that all dialogues kept may take together (MB); the least recently used ones are forgotten.",
        minimum=1.0,
        maximum=1e6,
    )
    max_turns: int = option(16, "Turns of one dialogue; then it must be started anew.", minimum=1, maximum=1000)
    max_waiting: int = option(
        8,
        "Questions that may wait while another one is answered, those of ~/query and ~/ask together; further ones are "
        "told that the model is busy.",
        minimum=0,
        maximum=64,
        live=True,
    )
    share: float = option(
        0.25,
        "Part of the time that the language model may take from the stream: while frames wait, it speaks for at most this "
        "share of the time, and rests between two tokens; 1 never rests (0..1).",
        minimum=0.01,
        maximum=1.0,
        live=True,
    )
    max_question_chars: int = option(2000, "Longest question, in characters.", minimum=1, maximum=100000)
    describe_events: str = option(
        "auto",
        "Ask the model the paper's questions about every event at its START and END, and publish what it says with the event; "
        "auto does so while the stream takes at most half of the model's time.",
        choices=("auto", "always", "never"),
        live=True,
    )
    contradictions: str = option(
        "regenerate",
        "What happens where an answer contradicts its heat maps or track: ignore does not look for it, flag tells it with the "
        "answer, regenerate also has the answer said anew.",
        choices=("ignore", "flag", "regenerate"),
        live=True,
    )
    prefill: bool = option(
        False,
        "Let the language model read every newest window ahead while it is idle, so that a first answer comes sooner.",
        live=True,
    )


@dataclass(frozen=True)
class PipelineConfig(Validated):
    """All settings of one pipeline."""

    engine: EngineConfig = field(default_factory=EngineConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    events: EventConfig = field(default_factory=EventConfig)
    dialogue: DialogueConfig = field(default_factory=DialogueConfig)


def describe(config: type) -> list[Option]:
    """All settings of a config class, those of nested classes with a dotted path, in order of declaration."""
    hints = typing.get_type_hints(config)
    found = []
    for entry in dataclasses.fields(config):
        kind = hints[entry.name]
        if dataclasses.is_dataclass(kind):
            found += [dataclasses.replace(o, path=f"{entry.name}.{o.path}") for o in describe(typing.cast(type, kind))]
        else:
            found.append(Option(path=entry.name, type=kind, default=entry.default, **entry.metadata))
    return found


def fill(config: type[C], values: dict[str, Any], base: C | None = None) -> C:
    """A config from `{dotted path: value}`; what is not named keeps `base`'s value, or the default.

    Raises `ConfigError` for a name that does not exist and for a value of the wrong type or out of range.
    """
    known = {option.path for option in describe(config)}
    for path in values:
        if path not in known:
            raise ConfigError(f"there is no setting '{path}'; known: {', '.join(sorted(known))}")
    hints = typing.get_type_hints(config)
    given: dict[str, Any] = {}
    for entry in dataclasses.fields(typing.cast(Any, config)):
        now = getattr(base, entry.name) if base is not None else None
        if dataclasses.is_dataclass(hints[entry.name]):
            mine = {p.split(".", 1)[1]: v for p, v in values.items() if p.startswith(entry.name + ".")}
            given[entry.name] = fill(hints[entry.name], mine, now)
        elif entry.name in values:
            given[entry.name] = values[entry.name]
        elif base is not None:
            given[entry.name] = now
    return config(**given)


def _checked(option: Option, value: Any) -> Any:
    """The value as the option's type, or `ConfigError`."""
    if typing.get_origin(option.type) is tuple:  # of texts; YAML and ROS give lists
        if not isinstance(value, (list, tuple)) or not all(isinstance(text, str) for text in value):
            raise ConfigError(f"{option.path} must be a list of texts, got {value!r}")
        return tuple(value)
    if option.type is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, option.type) or (option.type is int and isinstance(value, bool)):
        raise ConfigError(f"{option.path} must be a {option.type.__name__}, got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{option.path} must be finite, got {value}")
    if option.minimum is not None and value < option.minimum:
        raise ConfigError(f"{option.path} must be at least {option.minimum:g}, got {value}")
    if option.maximum is not None and value > option.maximum:
        raise ConfigError(f"{option.path} must be at most {option.maximum:g}, got {value}")
    if option.choices and value not in option.choices:
        raise ConfigError(f"{option.path} must be one of {', '.join(option.choices)}, got {value!r}")
    return value
