"""Settings of the `camera` node."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from tvau_runtime import ConfigError, Validated, option

__all__ = ["CameraConfig"]


@dataclass(frozen=True)
class CameraConfig(Validated):
    """What is published, how fast and how often."""

    source: str = option(
        "demo",
        "What to publish: the built-in scene, a video file, a camera device or a network stream.",
        choices=("demo", "file", "device", "rtsp"),
    )
    path: str = option("", "The file, the device's number or path, or the stream's URL; the demo needs none.")
    rate_hz: float = option(
        0.0,
        "Frames per second: a file is played at this speed, of a live source frames are left out; 0 takes the "
        "source's own.",
        minimum=0.0,
        maximum=240.0,
    )
    loop: bool = option(True, "Play a file again and again; otherwise once, and then end.")
    width: int = option(
        0, "Width of the images in pixels, with height; 0 takes the source's own.", minimum=0, maximum=8192
    )
    height: int = option(
        0, "Height of the images in pixels, with width; 0 takes the source's own.", minimum=0, maximum=8192
    )
    frame_id: str = option("", "frame_id of the image headers; empty takes the node's name and _optical_frame.")
    compressed: bool = option(False, "Publish JPEG on image_raw/compressed, too.")
    listeners: int = option(
        1, "A file that is played once waits for so many listeners, for at most 15 s.", minimum=0, maximum=100
    )
    retry_s: float = option(
        1.0,
        "A live source that is not there is tried again after so long, then twice as long and so on up to 30 s (s).",
        minimum=0.1,
        maximum=30.0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source != "demo" and not self.path:
            raise ConfigError(f"source '{self.source}' needs a path: the file, device or URL to publish")
        if self.source == "demo" and self.path:
            raise ConfigError(
                f"source 'demo' takes no path, got '{self.path}'; for a file of your own set source to file"
            )
        if (self.width == 0) != (self.height == 0):
            raise ConfigError(f"width and height go together, got {self.width} x {self.height}")

    @property
    def uri(self) -> str:
        """What OpenCV is to open."""
        return str(files("tvau_runtime") / "assets" / "demo.mp4") if self.source == "demo" else self.path

    @property
    def live(self) -> bool:
        """Whether the source has its own time, and may come back when it dies."""
        return self.source in ("device", "rtsp")
