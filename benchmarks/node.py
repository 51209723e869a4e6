"""What the tvau node makes of a video that the camera node plays over DDS at its own rate, as JSON.

    python benchmarks/node.py clip.mp4                      once, as it is
    python benchmarks/node.py clip.mp4 --rate 60            faster than it was filmed
    python benchmarks/node.py clip.mp4 --reliability best_effort

Both nodes run as processes of their own. The figures are those of the node's own /diagnostics; latency is from a frame's
arrival in the queue to the end of the publication of its heat map.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from tvau.demo_nodes import NodeProcesses
from tvau_runtime import TvauError, VideoReader

LOAD_S, SETTLE_S = 180.0, 5.0


class Figures(Node):
    """Keeps what the tvau node last said of itself and of its camera."""

    def __init__(self) -> None:
        super().__init__("figures")
        self.of: dict[str, dict[str, str]] = {"/tvau": {}, "/tvau: camera": {}}
        self.create_subscription(DiagnosticArray, "/diagnostics", self._hear, 10)

    def _hear(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.of[status.name] = {"message": status.message, **{v.key: v.value for v in status.values}}

    def wait(self, done, timeout_s: float, what: str) -> None:
        """Listens until it is done. Raises `TvauError` after the time-out."""
        until = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > until:
                raise TvauError(f"{what} did not come about within {timeout_s:g} s")
            rclpy.spin_once(self, timeout_sec=0.1)


def measure(video: Path, model: str, rate_hz: float, reliability: str, logs: Path) -> dict:
    """Plays the video once and returns the figures."""
    with VideoReader(video) as reader:
        info = reader.info
    nodes, figures = NodeProcesses(logs), Figures()
    given = {"reliability": reliability, "queue_depth": 100, "report_period_s": 0.5}
    try:
        nodes.start("node", given | ({"engine.model": model} if model else {}))
        figures.wait(lambda: figures.of["/tvau"].get("message") == "active", LOAD_S, "the node's activation")
        nodes.start("camera", {"source": "file", "path": video.resolve(), "loop": False, "rate_hz": rate_hz})
        began = time.monotonic()
        playing_s = info.frames / (rate_hz or info.fps or 25.0)
        figures.wait(lambda: nodes.exit_code("camera") is not None, 2 * playing_s + 60, "the end of the video")
        played_s = time.monotonic() - began
        settled = time.monotonic() + SETTLE_S
        figures.wait(lambda: time.monotonic() > settled, SETTLE_S + 1, "")
        nodes.interrupt()
        figures.wait(nodes.all_ended, 30, "the end of the nodes")
    finally:
        nodes.clean_up()
    sent = re.search(r"(\d+) frames were published", (logs / "camera.log").read_text())
    camera, node = figures.of["/tvau: camera"], figures.of["/tvau"]
    return {
        "video": video.name,
        "size": [info.size[1], info.size[0]],
        "frames per second": rate_hz or info.fps,
        "played in (s)": round(played_s, 1),
        "model": node.get("model"),
        "device": node.get("device"),
        "reliability": reliability,
        "frames sent": int(sent.group(1)) if sent else None,
        "frames received": int(camera["frames received"]),
        "frames sampled": int(camera["sampled frames"]),
        "frames dropped": int(camera["dropped frames"]),
        "frames bad or failed": int(camera["bad frames"]) + int(camera["failed frames"]),
        "heat maps": int(camera["heat maps"]),
        "windows": int(camera["windows"]),
        "events": int(camera["events"]),
        "latency p50 (ms)": float(camera["latency p50 (ms)"]),
        "latency p95 (ms)": float(camera["latency p95 (ms)"]),
        "exit codes": [nodes.exit_code("camera"), nodes.exit_code("node")],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--model", default="", help="checkpoint; without it, the embedded one")
    parser.add_argument("--rate", type=float, default=0.0, metavar="HZ", help="frames per second; 0: the video's own")
    parser.add_argument("--reliability", choices=("reliable", "best_effort"), default="reliable")
    given = parser.parse_args()
    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(1, 101))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    rclpy.init(args=[])
    try:
        with tempfile.TemporaryDirectory() as logs:
            result = measure(given.video, given.model, given.rate, given.reliability, Path(logs))
    except TvauError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
