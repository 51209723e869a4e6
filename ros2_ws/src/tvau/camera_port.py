"""One camera of the node: its image subscription, its output topics, and the counts of what went through them.

Converts and publishes; the model is behind `submit`. Knows no services, parameters or other cameras.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import cv2
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image
from tvau_msgs.msg import AnomalyEvent as EventMessage
from tvau_msgs.msg import AnomalyScore

from tvau_runtime import ConfigError, Frame, FrameError, Update, blend_heatmap, draw_events, draw_status

from .conversions import detections_message, event_message, from_time, header, score_message
from .executor import AtOnceCallbackGroup
from .image_conversion import to_message, to_rgb
from .node_config import NodeConfig
from .publishers import told_of_publishers

__all__ = ["CameraPort"]

LOG_EVERY_S = 5.0
"""At most one line about bad frames in this time."""
ACKNOWLEDGED_S = 1.0
"""How long the last events may take to reach those who listen."""


class CameraPort:
    """Made on configure; `open` and `close` follow activation.

    submit: takes every good frame, and returns at once. bridge: a `CvBridge` that works, or None.
    Raises `ConfigError` for a topic name or a QoS override that cannot be used.
    """

    def __init__(
        self, node: LifecycleNode, name: str, config: NodeConfig, bridge: Any, submit: Callable[[Frame], object]
    ) -> None:
        self.name = name
        self.received = self.bad = 0
        self.age_s = 0.0
        """From the last heat map's stamp to its publication, on the node's clock."""
        self._node, self._config, self._bridge, self._submit = node, config, bridge, submit
        self._subscription: Any = None
        # Of either group, frames stay in order. An image as it is takes a copy; decoding one takes longer.
        self._groups = {Image: AtOnceCallbackGroup(), CompressedImage: MutuallyExclusiveCallbackGroup()}
        self._last_came = self._last_warned = self._last_complained = 0.0  # monotonic, s
        self._stamp_is_missing = self._is_changing_type = False
        self._last_stamp_ns = 0
        self._subscribing = threading.RLock()
        self._heatmap: Any = None
        self._overlay: Any = None
        self._score: Any = None
        self._events: Any = None
        self._detections: Any = None
        try:
            self.topic = node.resolve_topic_name(config.topic(name))
            self._make_publishers()
        except Exception as error:  # for a bad QoS override rclpy raises whatever its own code meets
            self.destroy()
            raise ConfigError(f"camera '{name}': {error}") from error

    def open(self) -> None:
        """Subscribes. Raises `ConfigError` for a QoS override that cannot be used."""
        with self._subscribing:
            self._subscribe()

    def close(self) -> None:
        """Unsubscribes."""
        with self._subscribing:
            self._is_changing_type = False
            if self._subscription is not None:
                self._node.destroy_subscription(self._subscription)
                self._subscription = None

    def destroy(self) -> None:
        """Removes the output topics, once the last events have arrived."""
        self.close()
        if self._events is not None:
            self._events.wait_for_all_acked(Duration(seconds=ACKNOWLEDGED_S))
        for publisher in (self._heatmap, self._overlay, self._score, self._events, self._detections):
            if publisher is not None:
                self._node.destroy_lifecycle_publisher(publisher)

    def publish(self, update: Update) -> None:
        """Publishes what one temporal patch gave, or that events ended. Called from the model's threads, in order."""
        step, frame = update.step, update.frame
        if step is not None and frame is not None:
            stamp_ns, frame_id = step.stamps_ns[1], step.frame_id
            self._last_stamp_ns = stamp_ns
            self._heatmap.publish(to_message(step.heatmap.values, "32FC1", header(stamp_ns, frame_id)))
            self._score.publish(score_message(self.name, step, update.window))
            if self._overlay.get_subscription_count():
                picture = draw_events(blend_heatmap(frame.rgb, step.heatmap.values), update.warm)
                picture = draw_status(picture, f"{self.name}  score {step.heatmap.score:.2f}")
                bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
                self._overlay.publish(to_message(bgr, "bgr8", header(stamp_ns, frame_id)))
            if self._detections is not None:
                self._detections.publish(detections_message(update.warm, stamp_ns, frame_id))
            self.age_s = (self._node.get_clock().now().nanoseconds - stamp_ns) * 1e-9
        for event in update.events:
            self._events.publish(event_message(event, self._last_stamp_ns))

    @property
    def silent_s(self) -> float:
        """How long no frame has come."""
        return time.monotonic() - self._last_came if self._subscription is not None else 0.0

    def look_for_frames(self) -> None:
        """Warns when no frame has come for `no_frame_warning_s`, with what is known of the topic's publishers.

        With transport auto, listens for the other type where only that is published.
        """
        with self._subscribing:  # a transition may be closing it at this moment
            self._look()

    def configure(self, config: NodeConfig) -> None:
        """Takes on what may change while the node runs."""
        self._config = config

    def _subscribe(self) -> None:
        kind = CompressedImage if self._is_compressed() else Image
        reliable = self._config.reliability == "reliable"
        qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=self._config.queue_depth,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        )
        try:
            self._subscription = self._node.create_subscription(
                kind,
                self.topic,
                self._receive,
                qos,
                callback_group=self._groups[kind],
                qos_overriding_options=self._given_overrides(),
            )
        except Exception as error:  # as above
            raise ConfigError(f"camera '{self.name}': {error}") from error
        self._is_changing_type = False
        self._last_came = self._last_warned = time.monotonic()
        self._node.get_logger().info(f"camera '{self.name}': listening to {self.topic} ({kind.__name__})")

    def _look(self) -> None:
        silent_s, patience_s = self.silent_s, self._config.no_frame_warning_s
        if self._subscription is None:
            if self._is_changing_type:
                self._subscribe()
            return
        kind_fits = self._is_compressed() == (self._subscription.msg_type is CompressedImage)
        if self._config.transport == "auto" and silent_s > 1.0 and not kind_fits:
            self.close()
            self._is_changing_type = True  # at the next look: DDS refuses a second type until the first is gone
            return
        now = time.monotonic()
        if not patience_s or silent_s < patience_s or now - self._last_warned < patience_s:
            return
        self._last_warned = now
        about = told_of_publishers(self._node, self._subscription)
        self._node.get_logger().warning(f"camera '{self.name}': no frame on {self.topic} for {silent_s:.0f} s; {about}")

    def _make_publishers(self) -> None:
        node, name = self._node, self.name

        def publisher(kind: type, topic: str, depth: int) -> Any:
            qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy.RELIABLE)
            overriding = QoSOverridingOptions.with_default_policies()
            return node.create_lifecycle_publisher(kind, f"~/{name}/{topic}", qos, qos_overriding_options=overriding)

        # Reliable towards those who ask for it, as RViz does. What is lost on the way is noticed and sent again only after
        # some seconds, so the history must be longer than that. It fills only while somebody has not acknowledged.
        self._heatmap = publisher(Image, "heatmap", 50)
        self._overlay = publisher(Image, "overlay", 20)
        self._score = publisher(AnomalyScore, "score", 50)
        self._events = publisher(EventMessage, "events", 200)
        try:
            from vision_msgs.msg import Detection2DArray  # pyright: ignore[reportMissingImports]

            self._detections = publisher(Detection2DArray, "detections", 50)
        except ImportError:
            pass  # for those who have the package

    def _given_overrides(self) -> QoSOverridingOptions:
        """Those that a user gave. Others must not become parameters: they would freeze what `reliability` says now."""
        prefix = f"qos_overrides.{self.topic}.subscription"
        kinds = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
        return QoSOverridingOptions([k for k in kinds if self._node.has_parameter(f"{prefix}.{k.name.lower()}")])

    def _receive(self, message: Image | CompressedImage) -> None:
        self.received += 1
        self._last_came = time.monotonic()
        try:
            stamp_ns = from_time(message.header.stamp) or self._stamp_of_now()
            rgb = to_rgb(message, self._bridge)
            self._submit(Frame(rgb, stamp_ns, self.name, message.header.frame_id))
        except FrameError as error:
            self.bad += 1
            if self.bad == 1 or self._last_came - self._last_complained > LOG_EVERY_S:
                self._last_complained = self._last_came
                self._node.get_logger().warning(
                    f"camera '{self.name}': frame skipped ({self.bad} of {self.received} so far): {error}"
                )

    def _stamp_of_now(self) -> int:
        if not self._stamp_is_missing:
            self._stamp_is_missing = True
            self._node.get_logger().warning(
                f"camera '{self.name}' sends frames without a stamp; the time at which they come is taken instead"
            )
        return self._node.get_clock().now().nanoseconds

    def _is_compressed(self) -> bool:
        if self._config.transport != "auto":
            return self._config.transport == "compressed"
        kinds = {info.topic_type for info in self._node.get_publishers_info_by_topic(self.topic)}
        if len(kinds) == 1:
            return kinds == {"sensor_msgs/msg/CompressedImage"}
        return self.topic.endswith("/compressed")
