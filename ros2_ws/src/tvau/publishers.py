"""What is known of those who publish on a topic that stays silent, in words. Knows no camera."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.topic_endpoint_info import TopicEndpointInfo

__all__ = ["told_of_publishers"]


def told_of_publishers(node: Node, subscription: Any) -> str:
    """How many there are, with their types and QoS, and for each that cannot be heard why not and what to do."""
    publishers = node.get_publishers_info_by_topic(subscription.topic_name)
    if not publishers:
        return (
            "nothing publishes there: is the camera's driver running, and is the topic's name right (see ros2 topic "
            "list)?"
        )
    wanted = f"sensor_msgs/msg/{subscription.msg_type.__name__}"
    listed = "; ".join(_told(info, wanted, subscription.qos_profile) for info in publishers)
    count = f"{len(publishers)} publisher{'s' if len(publishers) > 1 else ''}"
    return f"{count} there: {listed}; this node asks for {wanted}, {_qos(subscription.qos_profile)}"


def _told(info: TopicEndpointInfo, wanted: str, asked: QoSProfile) -> str:
    namespace = info.node_namespace.rstrip("/")
    line = f"{namespace}/{info.node_name} ({info.topic_type}, {_qos(info.qos_profile)})"
    if info.topic_type != wanted:
        return f"{line}, of another type: set the parameter transport"
    verdict, reason = qos_check_compatible(info.qos_profile, asked)
    if verdict == QoSCompatibility.ERROR:
        return f"{line}, with incompatible QoS ({reason.strip(' ;')}): set the parameter reliability"
    if info.qos_profile.reliability != asked.reliability:
        return f"{line}, which fits; it sends nothing, or too large images get lost: set reliability to reliable"
    return f"{line}, which fits but sends nothing"


def _qos(profile: QoSProfile) -> str:
    return f"{profile.reliability.name.lower()}, {profile.durability.name.lower()}"
