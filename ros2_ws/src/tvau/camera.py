"""The `camera` node: publishes a video file, a device, a network stream or the built-in demo scene as image topics.

Paced by the source's own rate unless another is asked for. Knows no model.
"""

from __future__ import annotations

import array
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image

from tvau_runtime import ConfigError, Frame, FrameError, VideoReader

from .camera_config import CameraConfig
from .conversions import header
from .image_conversion import to_message
from .parameters import Parameters
from .process import run

__all__ = ["CameraNode", "main"]

LONGEST_RETRY_S = 30.0
LISTENERS_WAIT_S = 15.0
LATE_S = 0.5
"""A file that falls further behind than this is not hurried up: what follows is played later."""


class CameraNode(Node):
    """Publishes `~/image_raw` from the moment it is made.

    Reliably, so that who asks for it gets every frame; it waits for nobody.
    Raises `ConfigError` for parameters that cannot be used, `FrameError` for a file that is not there.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("camera", automatically_declare_parameters_from_overrides=True, **options)
        self.finished, self.exit_code, self.threads = threading.Event(), 0, 2
        self.sent = 0
        restart = "restart it with others"
        parameters = Parameters(self, CameraConfig, running=lambda: True, remedy=restart)
        self.config = parameters.read(CameraConfig)
        self._frame_id = self.config.frame_id or f"{self.get_name()}_optical_frame"
        # What is lost on the way is noticed and sent again only after some seconds: a file has time for that.
        depth = 5 if self.config.live else 100
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy.RELIABLE)
        overriding = QoSOverridingOptions.with_default_policies()
        self._images = self.create_publisher(Image, "~/image_raw", qos, qos_overriding_options=overriding)
        self._jpegs = None
        if self.config.compressed:
            name = "~/image_raw/compressed"
            self._jpegs = self.create_publisher(CompressedImage, name, qos, qos_overriding_options=overriding)
        self._ending = threading.Event()
        reader = None if self.config.live else self._open()
        self._thread = threading.Thread(target=self._play, args=(reader,), name="tvau-camera", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Ends publishing."""
        self._ending.set()
        self._thread.join(5.0)

    def _open(self) -> VideoReader:
        reader = VideoReader(self.config.uri, frame_id=self._frame_id)
        if reader.info.live and not self.config.live:  # its stamps are of the clock, and no times within a file
            reader.close()
            raise ConfigError(
                f"{self.config.uri} is live, and source {self.config.source} is not; set source to device or rtsp"
            )
        height, width = self._size(reader.info.size)
        rate = self.config.rate_hz or reader.info.fps
        self.get_logger().info(
            f"publishing {self.config.uri}, {width} x {height} at {rate:g} frames/s, on {self._images.topic_name}"
        )
        return reader

    def _play(self, reader: VideoReader | None) -> None:
        try:
            if self.config.live:
                self._play_live()
            else:
                self._play_file(reader or self._open())
        except (ConfigError, FrameError) as error:
            self.get_logger().error(str(error))
            self.exit_code = 1
        self.get_logger().info(f"{self.sent} frames were published")
        self.finished.set()

    def _play_file(self, reader: VideoReader) -> None:
        if not self.config.loop:
            self._wait_for_listeners()
        while not self._ending.is_set():
            with reader:
                for frame in self._paced(reader):
                    self._publish(frame.rgb, frame.stamp_ns)
                if reader.problem:
                    self.get_logger().warning(reader.problem)
            if not self.config.loop:
                break
            reader = VideoReader(self.config.uri, frame_id=self._frame_id)
        for publisher in filter(None, (self._images, self._jpegs)):
            publisher.wait_for_all_acked(Duration(seconds=2))

    def _play_live(self) -> None:
        wait_s = self.config.retry_s
        while not self._ending.is_set():
            sent = self.sent
            try:
                with self._open() as reader:
                    self._follow(reader)
                    problem = reader.problem or f"{self.config.uri} has ended"
            except FrameError as error:
                problem = str(error)
            if self._ending.is_set():
                return
            wait_s = self.config.retry_s if self.sent > sent else wait_s
            self.get_logger().warning(f"{problem}; trying again in {wait_s:g} s")
            self._ending.wait(wait_s)
            wait_s = min(2 * wait_s, LONGEST_RETRY_S)

    def _follow(self, reader: VideoReader) -> None:
        """Publishes a live source at its own rate, or at `rate_hz` if that is lower."""
        period_s = 1 / self.config.rate_hz if self.config.rate_hz else 0.0
        due_s = 0.0
        for frame in reader:
            now_s = time.monotonic()
            if self._ending.is_set():
                return
            if now_s >= due_s:
                due_s = max(due_s + period_s, now_s)
                self._publish(frame.rgb, self.get_clock().now().nanoseconds)

    def _paced(self, reader: VideoReader) -> Iterator[Frame]:
        """A file's frames, each when it is due, stamped with that time on the node's clock."""
        speed = self.config.rate_hz / reader.info.fps if self.config.rate_hz and reader.info.fps else 1.0
        began_s, began_ns = time.monotonic(), self.get_clock().now().nanoseconds
        for frame in reader:
            offset_ns = round(frame.stamp_ns / speed)
            ahead_s = began_s + offset_ns * 1e-9 - time.monotonic()
            if self._ending.wait(max(0.0, ahead_s)):
                return
            if ahead_s < -LATE_S:
                began_s, began_ns = began_s - ahead_s, began_ns - round(ahead_s * 1e9)
            yield Frame(frame.rgb, began_ns + offset_ns, frame.camera, frame.frame_id)

    def _publish(self, rgb: np.ndarray, stamp_ns: int) -> None:
        height, width = self._size((rgb.shape[0], rgb.shape[1]))
        if rgb.shape[:2] != (height, width):
            rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        about = header(stamp_ns, self._frame_id)
        self._images.publish(to_message(bgr, "bgr8", about))
        if self._jpegs is not None:
            data = array.array("B", cv2.imencode(".jpg", bgr)[1].tobytes())
            self._jpegs.publish(CompressedImage(header=about, format="bgr8; jpeg compressed bgr8", data=data))
        self.sent += 1

    def _size(self, own: tuple[int, int]) -> tuple[int, int]:
        return (self.config.height, self.config.width) if self.config.height else own

    def _wait_for_listeners(self) -> None:
        """What is played once would otherwise be over before it is found."""
        deadline = time.monotonic() + LISTENERS_WAIT_S
        while time.monotonic() < deadline and not self._ending.wait(0.05):
            heard = self._images.get_subscription_count()
            if self._jpegs is not None:
                heard = max(heard, self._jpegs.get_subscription_count())
            if heard >= self.config.listeners:
                return
        if not self._ending.is_set():
            self.get_logger().warning(
                f"fewer than {self.config.listeners} listeners on {self._images.topic_name} after "
                f"{LISTENERS_WAIT_S:g} s; starting without them"
            )


def main(arguments: list[str] | None = None) -> int:
    """Runs the node until its file has ended, SIGINT or SIGTERM; returns the exit code."""
    return run(CameraNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
