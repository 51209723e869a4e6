"""The other side of the node under test: a process that plays camera frames, and a node that hears what comes of them.

Stamps are numbers, 5 ms apart whatever the rate, so that the node takes every frame; when a frame was really published is kept
beside. Both sides are on this host and read the same clock.
"""

from __future__ import annotations

import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
import rclpy
from common import Skipped, frames
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import try_shutdown
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tvau_msgs.msg import AnomalyEvent
from tvau_msgs.srv import Query

from tvau.conversions import from_time, to_time
from tvau.demo_nodes import NodeProcesses
from tvau.image_conversion import to_message
from tvau.middleware import prepare

__all__ = ["SAMPLING_HZ", "Ear", "Played", "Player", "ros", "usage"]

SAMPLING_HZ = 200.0
"""The node's `process_rate_hz`; stamps are as far apart as its slots."""
STEP_NS = round(1e9 / SAMPLING_HZ)
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
SCENE = (84, 132)
"""Which frames of the built-in scene are played, round and round: a person who runs through it."""
LOAD_S, QUIET_S = 240.0, 0.5


@contextmanager
def ros() -> Iterator[None]:
    """rclpy on a ROS domain of its own, which processes that are started meanwhile share."""
    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(1, 101))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    prepare()  # the player's process inherits it
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        yield
    finally:
        try_shutdown()


@dataclass
class Played:
    """What one run sent: when each frame of a topic was published (ns since 1970), by its stamp."""

    at_ns: dict[str, dict[int, int]] = field(default_factory=dict)
    took_s: float = 0.0

    @property
    def count(self) -> int:
        return sum(len(times) for times in self.at_ns.values())


class Player:
    """Publishes frames of the scene as 640 x 480 bgr8 images on some of its topics, from a process of its own."""

    def __init__(self, topics: Sequence[str]) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, list(topics)), daemon=True)
        self._process.start()

    def heard(self, topics: Sequence[str]) -> bool:
        """Whether each of these topics has a listener."""
        self._pipe.send(("listeners", list(topics)))
        return self._pipe.recv()

    def begin(self, topics: Sequence[str], rate_hz: float, duration_s: float) -> None:
        """Starts to send so many frames per second on each topic, evenly spread, and returns at once."""
        self._pipe.send(("play", list(topics), rate_hz, duration_s))

    def finished(self) -> bool:
        return self._pipe.poll(0)

    def played(self) -> Played:
        """What was sent; waits for the end."""
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.send(("end",))
        self._process.join(10)
        if self._process.is_alive():
            self._process.terminate()


def _serve(pipe: Any, topics: list[str]) -> None:
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = Node("player")
    senders = {topic: node.create_publisher(Image, topic, RELIABLE) for topic in topics}
    scene = [to_message(rgb[..., ::-1], "bgr8", Header()) for rgb in frames(SCENE[1])[SCENE[0] :]]
    sent = dict.fromkeys(topics, 0)
    while True:
        what, *about = pipe.recv()
        if what == "end":
            break
        if what == "listeners":
            pipe.send(all(senders[topic].get_subscription_count() for topic in about[0]))
            continue
        chosen, rate_hz, duration_s = about
        played = Played({topic: {} for topic in chosen})
        began = time.monotonic()
        for number in range(2 * max(1, round(rate_hz * duration_s / 2)) * len(chosen)):
            topic = chosen[number % len(chosen)]
            time.sleep(max(0.0, began + number / (rate_hz * len(chosen)) - time.monotonic()))
            sent[topic] += 1
            message, stamp_ns = scene[sent[topic] % len(scene)], sent[topic] * STEP_NS
            message.header = Header(stamp=to_time(stamp_ns), frame_id="optical")
            played.at_ns[topic][stamp_ns] = time.time_ns()
            senders[topic].publish(message)
        played.took_s = time.monotonic() - began
        pipe.send(played)
    rclpy.shutdown()


class Ear(Node):
    """Hears heat maps and events of all cameras of some nodes, with the time of their coming, and asks questions."""

    def __init__(self, nodes: NodeProcesses) -> None:
        super().__init__("ear")
        self._nodes = nodes
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self.maps: dict[str, list[tuple[int, int]]] = defaultdict(list)
        """By camera: stamp and time of coming (ns)."""
        self.events: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.said: dict[str, dict[str, str]] = defaultdict(dict)
        self._came_s = 0.0
        self.create_subscription(DiagnosticArray, "/diagnostics", self._hear_of, 50)

    def follow(self, node: str, cameras: Sequence[str]) -> None:
        """Listens to a node's cameras."""
        for camera in cameras:
            for kind, topic, heard in ((Image, "heatmap", self.maps), (AnomalyEvent, "events", self.events)):
                self.create_subscription(
                    kind, f"/{node}/{camera}/{topic}", lambda m, to=heard[camera]: self._note(m, to), RELIABLE
                )

    def until(self, done: Callable[[], Any], timeout_s: float, what: str) -> None:
        """Listens until it is done. Raises `Skipped` after the time-out."""
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                raise Skipped(f"{what} did not come about within {timeout_s:g} s")
            self._executor.spin_once(timeout_sec=0.02)

    def until_active(self, names: Sequence[str]) -> None:
        """Waits for nodes to be active. Raises `Skipped` with the log's end of one that has ended."""

        def active() -> bool:
            for name in names:
                if self._nodes.exit_code(name) is not None:
                    raise Skipped(f"the node {name} has ended:\n{self._nodes.last_lines(name)}")
            return all(self.said[f"/{name}"].get("state") == "active" for name in names)

        self.until(active, LOAD_S, f"the activation of {', '.join(names)}")

    def hear(self, player: Player, meanwhile: Callable[[], object] = lambda: None) -> Played:
        """Listens to the end of what the player plays, and on until nothing has come for a while."""
        for heard in (self.maps, self.events):
            for values in heard.values():
                values.clear()

        def over() -> bool:
            meanwhile()
            return player.finished()

        self.until(over, 120, "the end of the player's frames")
        played = player.played()
        ended = time.monotonic()
        self.until(lambda: time.monotonic() - max(self._came_s, ended) > QUIET_S, 60, "the end of what comes of them")
        return played

    def report(self, node: str) -> None:
        """Listens until the node has told anew how it is."""
        self.said[f"/{node}"] = {}
        self.until(lambda: self.said[f"/{node}"], 10, f"a report of {node}")

    def asker(self, node: str) -> Any:
        """A client of the node's question service, once it is there."""
        client = self.create_client(Query, f"/{node}/query")
        self.until(client.service_is_ready, 20, f"the query service of {node}")
        return client

    def close(self) -> None:
        self._executor.shutdown()
        self.destroy_node()

    def _note(self, message: Any, heard: list[tuple[int, int]]) -> None:
        heard.append((from_time(message.header.stamp), time.time_ns()))
        self._came_s = time.monotonic()

    def _hear_of(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.said[status.name] = {value.key: value.value for value in status.values}


def usage(pids: Sequence[int]) -> dict[str, float]:
    """CPU seconds so far and memory of processes; what they share counts once (Linux: PSS)."""
    cpu_s = memory = 0.0
    for pid in pids:
        process = psutil.Process(pid)
        times, full = process.cpu_times(), process.memory_full_info()
        cpu_s += times.user + times.system
        memory += getattr(full, "pss", full.uss)
    return {"cpu_s": cpu_s, "memory_mb": memory / 2**20}


def log_folder(work: Path) -> Path:
    """Where the nodes' logs go."""
    folder = work / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
