"""Fast DDS as we set it up: large images arrive whole, and what users have set up themselves stays."""

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_tools import wait_for
from sensor_msgs.msg import Image
from std_msgs.msg import UInt32

from tvau import middleware

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
IMAGES = 8
SENDER = """
import array, sys, rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import UInt32
from tvau.middleware import prepare

prepare()
rclpy.init()
node = rclpy.create_node("driver")
qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
sender = node.create_publisher(Image, "/large", qos)
image = Image(height=1080, width=1920, encoding="bgr8", step=5760, data=array.array("B", bytes(1080 * 5760)))

def send(message):
    image.header.frame_id = str(message.data)
    sender.publish(image)

node.create_subscription(UInt32, "/wanted", send, 10)
rclpy.spin(node)
"""


@pytest.fixture
def environment(monkeypatch):
    for name in middleware.OWN_CHOICE:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.skipif(
    os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp") != "rmw_fastrtps_cpp", reason="another middleware"
)
def test_no_large_image_of_a_best_effort_driver_is_lost(peer, environment):
    came = []
    peer.create_subscription(Image, "/large", lambda m: came.append((m.header.frame_id, len(m.data))), BEST_EFFORT)
    ask = peer.create_publisher(UInt32, "/wanted", 10)
    driver = subprocess.Popen([sys.executable, "-c", SENDER])
    asked = [0.0]

    def first():
        """Asked for until both sides know each other, but seldom: more images at once than shared memory holds would be lost."""
        if time.monotonic() - asked[0] > 0.5:
            ask.publish(UInt32(data=0))
            asked[0] = time.monotonic()
        return came

    try:
        wait_for(lambda: ask.get_subscription_count() and peer.count_publishers("/large"), "the driver")
        wait_for(first, "the first image")
        for number in range(1, IMAGES):
            ask.publish(UInt32(data=number))
            wait_for(lambda n=number: (str(n), 1080 * 5760) in came, f"image {number}")
    finally:
        driver.kill()
        driver.wait()


def test_the_profile_is_named_to_all_versions(environment):
    middleware.prepare()
    assert {os.environ[name] for name in middleware.PROFILE_VARIABLES} == {str(middleware.PROFILE)}
    root = ElementTree.parse(middleware.PROFILE).getroot()
    sizes = [int(e.text or 0) for e in root.iter() if e.tag.endswith(("}segment_size", "}maxMessageSize"))]
    assert len(sizes) == 2
    assert min(sizes) > 1920 * 1080 * 3, "an image of full HD goes in one piece"


@pytest.mark.parametrize("name", middleware.OWN_CHOICE)
def test_what_the_user_chose_stays(environment, name):
    environment.setenv(name, "mine")
    middleware.prepare()
    assert {key: os.environ[key] for key in middleware.OWN_CHOICE if key in os.environ} == {name: "mine"}
