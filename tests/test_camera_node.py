"""The camera node over real DDS: files at their pace, once or again and again, live sources that come and go."""

import dataclasses
import os
import subprocess
import sys
import time
from contextlib import ExitStack

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("tvau_msgs.msg", reason="tvau_msgs is not built")

from rclpy.parameter import Parameter
from ros_tools import keep_log, logged, spinning, wait_for
from sensor_msgs.msg import CompressedImage, Image

from tvau.camera import CameraNode
from tvau.conversions import from_time
from tvau.image_conversion import to_rgb
from tvau_runtime import ConfigError, FrameError, VideoReader

FRAMES, FPS = 12, 20.0

pytestmark = pytest.mark.usefixtures("running_ros")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A video whose frames get brighter, so that their order shows."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(path)
    return path


def write_clip(path):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (64, 48))
    for i in range(FRAMES):
        writer.write(np.full((48, 64, 3), 10 + 18 * i, np.uint8))
    writer.release()


@pytest.fixture
def camera():
    """Starts the node in this process; its log lines are in `node.logged`."""
    with ExitStack() as stack:

        def start(name="camera", **parameters):
            given = {"source": "file", **parameters}
            arguments = ["--ros-args", "-r", f"__node:={name}"]
            overrides = [Parameter(key, value=value) for key, value in given.items()]
            node = CameraNode(parameter_overrides=overrides, cli_args=arguments)
            keep_log(node)
            stack.enter_context(spinning(node))
            return node

        yield start


def stamps_s(messages):
    return [from_time(message.header.stamp) / 1e9 for message in messages]


STALLS = 3
"""Times that a build server has stood still for half a second within a second of video; two were seen."""


def check_pace(messages, period_s):
    """Steps are one period; where the machine stands still for half a second, the node goes on from there, later."""
    steps = np.diff(stamps_s(messages))
    late = steps[np.abs(steps - period_s) >= 2e-6]
    assert len(late) <= STALLS
    assert all(step >= 0.5 for step in late)


def brightness(message):
    return float(to_rgb(message).mean())


def test_once_every_frame_in_order_and_at_its_pace(peer, camera, clip):
    images = peer.listen(Image, "camera/image_raw")
    began = time.time()
    node = camera(path=str(clip), loop=False)
    assert node.finished.wait(20)
    wait_for(lambda: len(images) == FRAMES, "all frames")
    assert node.sent == FRAMES
    assert node.exit_code == 0
    assert {(m.encoding, m.height, m.width, m.header.frame_id) for m in images} == {
        ("bgr8", 48, 64, "camera_optical_frame")
    }
    assert np.diff([brightness(m) for m in images]).min() > 10
    check_pace(images, 1 / FPS)
    assert began < stamps_s(images)[0]
    assert stamps_s(images)[-1] < time.time() + 0.1


def test_loop_goes_on_with_rising_stamps(peer, camera, clip):
    images = peer.listen(Image, "camera/image_raw")
    node = camera(path=str(clip))
    wait_for(lambda: len(images) > 2 * FRAMES, "two rounds")
    assert not node.finished.is_set()
    assert min(np.diff(stamps_s(images))) > 0
    values = [brightness(m) for m in images]
    assert min(np.diff(values)) < 0, "it began anew"


def test_rate_size_name_and_frame(peer, camera, clip):
    images = peer.listen(Image, "front/image_raw")
    camera("front", path=str(clip), loop=False, rate_hz=60.0, width=32, height=20, frame_id="lens")
    wait_for(lambda: len(images) == FRAMES, "all frames")
    check_pace(images, 1 / 60)
    assert {(m.height, m.width, m.header.frame_id) for m in images} == {(20, 32, "lens")}


def test_compressed(peer, camera, clip):
    jpegs = peer.listen(CompressedImage, "camera/image_raw/compressed")
    camera(path=str(clip), loop=False, compressed=True)
    wait_for(lambda: len(jpegs) == FRAMES, "all frames")
    assert to_rgb(jpegs[0]).shape == (48, 64, 3)
    assert jpegs[0].format == "bgr8; jpeg compressed bgr8"
    assert np.diff([brightness(m) for m in jpegs]).min() > 10


def test_it_waits_for_listeners(peer, camera, clip):
    node = camera(path=str(clip), loop=False)
    time.sleep(0.3)
    assert node.sent == 0
    images = peer.listen(Image, "camera/image_raw")
    wait_for(lambda: len(images) == FRAMES, "all frames")


def test_the_demo_scene(peer, camera):
    images = peer.listen(Image, "camera/image_raw")
    camera(source="demo", rate_hz=100.0)
    wait_for(lambda: len(images) > 5, "frames")
    assert images[0].width > 100


def test_a_live_source_is_tried_again(peer, camera, tmp_path):
    """A file stands for a device here: what matters is that it is not there, comes, and goes."""
    images, path = peer.listen(Image, "camera/image_raw"), tmp_path / "late.mp4"
    node = camera(source="device", path=str(path), retry_s=0.1)
    wait_for(lambda: logged(node, "trying again in 0.4 s"), "a third try")
    waits = [line.rsplit("again in ", 1)[1] for line in node.logged if "trying again" in line]
    assert waits[-2:] == ["0.2 s", "0.4 s"]
    assert "there is no video file or device" in node.logged[-1]
    write_clip(tmp_path / "whole.mp4")
    (tmp_path / "whole.mp4").rename(path)
    wait_for(lambda: len(images) > FRAMES, "frames, and again after its end")
    assert logged(node, "has ended; trying again in 0.1 s")
    assert not node.finished.is_set()


def test_a_live_source_that_does_not_answer(camera):
    node = camera(source="rtsp", path="rtsp://127.0.0.1:9/none", retry_s=0.1)
    line = wait_for(lambda: logged(node, "cannot be opened"), "a warning")[0]
    assert "; trying again in 0." in line


def test_a_live_source_that_is_called_a_file_is_refused(clip, monkeypatch):
    """It would be paced by its stamps, which are of the clock: the first frame in some fifty years."""

    class Live(VideoReader):
        def __init__(self, *words, **named):
            super().__init__(*words, **named)
            self.info = dataclasses.replace(self.info, live=True)

    monkeypatch.setattr("tvau.camera.VideoReader", Live)
    with pytest.raises(ConfigError, match="set source to device or rtsp"):
        CameraNode(parameter_overrides=[Parameter("source", value="file"), Parameter("path", value=str(clip))])


def test_a_file_that_goes_away(camera, tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(path)
    node = camera(path=str(path), rate_hz=200.0)
    path.unlink()
    assert node.finished.wait(20)
    assert node.exit_code == 1
    assert logged(node, "there is no video file")


def test_what_cannot_be_used_is_refused(clip):
    for parameters, kind in (
        ({"source": "file", "path": "/nowhere.mp4"}, FrameError),
        ({"source": "file", "path": __file__}, FrameError),
        ({"source": "file"}, ConfigError),
        ({"source": "file", "path": str(clip), "rate_hz": -1.0}, ConfigError),
        ({"source": "telescope"}, ConfigError),
    ):
        with pytest.raises(kind):
            CameraNode(parameter_overrides=[Parameter(name, value=value) for name, value in parameters.items()])


def test_parameters_are_fixed(camera, clip):
    node = camera(path=str(clip))
    result = node.set_parameters([Parameter("rate_hz", value=5.0)])[0]
    assert result.reason == "rate_hz cannot change while the node runs; restart it with others"


def run_camera(*arguments, timeout_s=60):
    command = [sys.executable, "-m", "tvau.camera", "--ros-args"]
    for argument in arguments:
        command += ["-p", argument]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=os.environ, check=False)


def test_the_process_of_a_missing_file():
    done = run_camera("source:=file", "path:=/nowhere.mp4")
    assert done.returncode == 1
    assert "error: there is no video file or device '/nowhere.mp4'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_process_of_a_file_that_is_played_once(clip):
    done = run_camera("source:=file", f"path:={clip}", "loop:=false", "listeners:=0", "rate_hz:=200")
    assert done.returncode == 0
    assert f"{FRAMES} frames were published" in done.stderr
    assert "Traceback" not in done.stderr
