"""What the tests of the nodes share: a node that publishes images and collects messages, spun beside those under test.

Everything goes through real rclpy and DDS, on the ROS domain that `conftest` chose.
"""

from __future__ import annotations

import importlib
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import rclpy
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from tvau_msgs.srv import Query

from tvau.conversions import from_time, to_time
from tvau.executor import PoolExecutor
from tvau.image_conversion import to_message
from tvau.middleware import prepare

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of the lark that comes with ROS, on its first import
    importlib.import_module("rosidl_generator_py")

PATIENCE_S = 20.0
RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
SIZE = (48, 64)
"""(height, width) of the test images."""
GRID = (4, 6)
"""Patches down and across of the `tiny` checkpoint: 56 x 84 pixels."""
RATE_HZ = 4.0
"""The rate that it samples frames at."""
ALWAYS = {"events.off_threshold": 0.01, "events.on_threshold": 0.02, "events.min_duration_s": 0.0}
"""Settings by which anything at all is an event."""
QUIET = {
    "dialogue.describe_events": "never",
    "reliability": "reliable",
    "queue_depth": 100,
    "stream.queue_size": 100,
    "stream.max_halvings": 0,
}
"""Settings by which no frame is lost or left out, and nothing is said unasked."""


@contextmanager
def spinning(*nodes: Node) -> Iterator[None]:
    """Callbacks of the nodes, all of one context, run meanwhile; then they are ended, if they can be, and destroyed."""
    executor = PoolExecutor(max(getattr(node, "threads", 8) for node in nodes), context=nodes[0].context)
    for node in nodes:
        executor.add_node(node)
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        executor.wake()
        thread.join()
        for node in nodes:
            getattr(node, "end", lambda: None)()
        executor.shutdown()
        for node in nodes:
            node.destroy_node()


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """The condition's value once it is true."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come about within {timeout_s:g} s")


class Peer(Node):
    """Whoever is on the other side of the node under test: as in another process, with a DDS participant of its own."""

    def __init__(self, context: Context) -> None:
        super().__init__("peer", context=context)
        self.heard: dict[str, list] = defaultdict(list)
        self._senders: dict[str, Any] = {}
        self._callers: dict[str, Any] = {}

    def offer(self, topic: str, kind: type, qos: QoSProfile = RELIABLE) -> None:
        """Says that it will publish."""
        self._senders[topic] = self.create_publisher(kind, topic, qos)

    def listen(self, kind: type, topic: str) -> list:
        """The list that all messages of a topic go to."""
        self.create_subscription(kind, topic, self.heard[topic].append, RELIABLE)
        return self.heard[topic]

    def send(self, topic: str, message: Any, listeners: int = 1) -> None:
        """Publishes, once somebody listens."""
        if topic not in self._senders:
            self.offer(topic, type(message))
        publisher = self._senders[topic]
        wait_for(lambda: publisher.get_subscription_count() >= listeners, f"a listener on {topic}")
        publisher.publish(message)

    def ask(self, kind: type, name: str, **fields: Any) -> Any:
        """The future response of a service."""
        if name not in self._callers:
            self._callers[name] = self.create_client(kind, name)
        wait_for(self._callers[name].service_is_ready, f"service {name}")
        return self._callers[name].call_async(kind.Request(**fields))

    def call(self, kind: type, name: str, **fields: Any) -> Any:
        """The response of a service."""
        future = self.ask(kind, name, **fields)
        wait_for(future.done, f"a response of {name}")
        return future.result()

    def transition(self, node: str, label: str) -> bool:
        """Asks a lifecycle node for a transition; whether it succeeded."""
        request = ChangeState.Request()
        request.transition.label = label
        return self.call(ChangeState, f"{node}/change_state", transition=request.transition).success

    def state(self, node: str) -> str:
        return self.call(GetState, f"{node}/get_state").current_state.label


def picture(number: int = 0) -> np.ndarray:
    """A test image, uint8 [H, W, 3] in RGB: a bright square that moves with the number."""
    rgb = np.full((*SIZE, 3), 60, np.uint8)
    left = 4 * (number % 12)
    rgb[16:32, left : left + 12] = (220, 120, 40)
    return rgb


def image(stamp_s: float, number: int = 0, frame_id: str = "optical") -> Image:
    header = Header(stamp=to_time(round(stamp_s * 1e9)), frame_id=frame_id)
    return to_message(picture(number), "rgb8", header)


def compressed(stamp_s: float, number: int = 0, frame_id: str = "optical") -> CompressedImage:
    header = Header(stamp=to_time(round(stamp_s * 1e9)), frame_id=frame_id)
    data = cv2.imencode(".jpg", picture(number)[..., ::-1])[1].tobytes()
    return CompressedImage(header=header, format="jpeg", data=data)


def stream(
    peer: Peer,
    count: int,
    *,
    topic: str = "camera/image_raw",
    make: Callable[[float, int], Any] = image,
    start_s: float = 100.0,
    first: int = 0,
) -> list[float]:
    """Sends frames at the model's rate by their stamps, as fast as they go. Returns the stamps (s)."""
    stamps = [start_s + (first + i) / RATE_HZ for i in range(count)]
    for i, stamp in enumerate(stamps):
        peer.send(topic, make(stamp, i))
    return stamps


def listen(peer: Peer, node: Node, kind: type, name: str) -> list:
    """What the tvau node publishes on a topic, once it knows that it is heard."""
    topic = f"/tvau/{name}"
    messages = peer.listen(kind, topic)
    publisher = wait_for(lambda: [p for p in node.publishers if p.topic_name == topic], topic)[0]
    wait_for(publisher.get_subscription_count, f"the node to find who listens to {topic}")
    return messages


def query(peer: Peer, **fields: Any) -> Query.Response:
    """The tvau node's answer."""
    return peer.call(Query, "tvau/query", **fields)


def stamp_s(message: Any) -> float:
    return from_time(message.header.stamp) / 1e9


def logged(node: Any, text: str) -> list[str]:
    """The lines that hold a text, of a node whose log is kept."""
    return [line for line in node.logged if text in line]


def keep_log(node: Any) -> None:
    """From now on a node's log lines go to `node.logged`."""
    node.logged = []
    for level in ("info", "warning", "error", "fatal"):
        setattr(node.get_logger(), level, node.logged.append)


@contextmanager
def ros(context: Context | None = None) -> Iterator[None]:
    """rclpy, without its signal handlers."""
    prepare()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    try:
        yield
    finally:
        rclpy.shutdown(context=context)


@contextmanager
def peering() -> Iterator[Peer]:
    """A peer that listens."""
    context = Context()
    with ros(context):
        peer = Peer(context)
        with spinning(peer):
            yield peer
