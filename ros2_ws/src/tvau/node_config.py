"""Settings of the `tvau` node beside those of the pipeline."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tvau_runtime import ConfigError, Validated, option

__all__ = ["CAMERA_NAME", "NodeConfig"]

CAMERA_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9]|_(?!_))*")
"""What can be a part of a topic's name: ROS allows neither a digit in front nor two underscores in a row."""


@dataclass(frozen=True)
class NodeConfig(Validated):
    """Which cameras are watched, and how the node listens and reports."""

    cameras: tuple[str, ...] = option(
        ("camera",), "Names of the cameras; each is a part of topic names: letters, digits and underscores."
    )
    image_topics: tuple[str, ...] = option(
        ("",), "Image topic of each camera, in the same order; an empty name takes <camera>/image_raw."
    )
    transport: str = option(
        "auto",
        "Type of the image topics: raw is sensor_msgs/Image, compressed is sensor_msgs/CompressedImage; auto goes by "
        "their publishers and, before there are any, by a name that ends in /compressed.",
        choices=("auto", "raw", "compressed"),
    )
    reliability: str = option(
        "best_effort",
        "Asked of image publishers: best_effort hears both kinds, but large images may be lost on the way; reliable loses "
        "none and hears only publishers that offer it.",
        choices=("best_effort", "reliable"),
    )
    queue_depth: int = option(5, "Images that the middleware keeps for the node, per camera.", minimum=1, maximum=1000)
    autostart: bool = option(True, "Configure and activate at once, without waiting for a lifecycle manager.")
    no_frame_warning_s: float = option(
        5.0,
        "Warn when a camera has sent nothing for so long; 0 never warns (s).",
        minimum=0.0,
        maximum=86400.0,
        live=True,
    )
    report_period_s: float = option(
        1.0, "Time between two messages on /diagnostics (s).", minimum=0.1, maximum=3600.0, live=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.cameras:
            raise ConfigError("cameras must name at least one camera")
        for name in self.cameras:
            if not CAMERA_NAME.fullmatch(name):
                raise ConfigError(
                    f"cameras: {name!r} cannot be part of a topic name; use letters, digits and single underscores"
                )
        if len(set(self.cameras)) < len(self.cameras):
            raise ConfigError(f"cameras must differ, got {', '.join(self.cameras)}")
        if any(self.image_topics) and len(self.image_topics) != len(self.cameras):
            raise ConfigError(
                f"image_topics must name one topic for each camera ({', '.join(self.cameras)}), got "
                f"{', '.join(self.image_topics)}"
            )

    def topic(self, camera: str) -> str:
        """The image topic of a camera."""
        given = self.image_topics[self.cameras.index(camera)] if any(self.image_topics) else ""
        return given or f"{camera}/image_raw"
