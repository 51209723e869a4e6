"""The tvau node over real DDS, with a small random model: topics, reports, and its process."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("tvau_msgs.msg", reason="tvau_msgs is not built")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_tools import (
    ALWAYS,
    GRID,
    QUIET,
    RATE_HZ,
    SIZE,
    compressed,
    image,
    listen,
    logged,
    query,
    stamp_s,
    stream,
    wait_for,
)
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from tvau_msgs.msg import AnomalyEvent, AnomalyScore

from tvau.conversions import from_time
from tvau.process import LogToRos

pytestmark = pytest.mark.usefixtures("running_ros")


# What goes in and what comes out


def test_heatmaps_overlay_scores_and_events(peer, watch):
    node = watch(**ALWAYS, **{"events.update_period_s": 0.0})
    heatmaps, overlays = listen(peer, node, Image, "camera/heatmap"), listen(peer, node, Image, "camera/overlay")
    scores, events = listen(peer, node, AnomalyScore, "camera/score"), listen(peer, node, AnomalyEvent, "camera/events")
    stamps = stream(peer, 10)
    wait_for(lambda: len(heatmaps) == len(scores) == len(overlays) == 5 and len(events) >= 5, "five steps")

    assert (
        [stamp_s(m) for m in heatmaps] == [stamp_s(m) for m in scores] == [stamp_s(m) for m in overlays] == stamps[1::2]
    )
    assert {m.header.frame_id for m in (*heatmaps, *scores, *overlays, *events)} == {"optical"}
    for heatmap, overlay, score in zip(heatmaps, overlays, scores):
        assert (heatmap.encoding, heatmap.height, heatmap.width, heatmap.step) == ("32FC1", *GRID, 4 * GRID[1])
        values = np.frombuffer(heatmap.data, np.float32)
        assert values.min() >= 0
        assert values.max() <= 1
        assert score.score == values.max()
        assert score.camera == "camera"
        assert 0 <= score.box.x_min < score.box.x_max <= SIZE[1]
        assert (overlay.encoding, overlay.height, overlay.width) == ("bgr8", *SIZE)
    # Four steps are a window: from the first frame of the first one.
    assert from_time(scores[-1].window_start) / 1e9 == stamps[2]
    assert from_time(scores[-1].window_end) / 1e9 == stamps[9]
    assert scores[-1].window_score == max(score.score for score in scores[1:])

    first = events[0]
    assert first.phase == AnomalyEvent.START
    assert first.camera == "camera"
    assert len({event.id for event in events}) == len([e for e in events if e.phase == AnomalyEvent.START])
    assert all(event.phase == AnomalyEvent.UPDATE for event in events if event.id == first.id and event is not first)
    assert first.track[0].score == pytest.approx(first.score, abs=1e-6) or len(first.track) >= 1


def test_nobody_looks_no_overlay(peer, watch):
    node = watch()
    scores = listen(peer, node, AnomalyScore, "camera/score")
    published = []
    node._ports["camera"]._overlay.publish = published.append
    stream(peer, 4)
    wait_for(lambda: len(scores) == 2, "two steps")
    assert published == []


def test_detections(peer, watch):
    detection = pytest.importorskip("vision_msgs.msg", reason="vision_msgs comes with a ROS installation")
    node = watch(**ALWAYS)
    detections = listen(peer, node, detection.Detection2DArray, "camera/detections")
    events = listen(peer, node, AnomalyEvent, "camera/events")
    stamps = stream(peer, 2)
    wait_for(lambda: detections and events, "a step")
    assert stamp_s(detections[0]) == stamps[1]
    event = events[0]
    found = {one.id: one for one in detections[0].detections}[event.id]
    assert found.bbox.center.position.x - found.bbox.size_x / 2 == pytest.approx(event.box.x_min, abs=1e-3)
    assert found.bbox.center.position.y + found.bbox.size_y / 2 == pytest.approx(event.box.y_max, abs=1e-3)
    assert found.results[0].hypothesis.class_id == "anomaly"
    assert found.results[0].hypothesis.score == pytest.approx(event.score, abs=1e-6)


def test_two_cameras_on_one_model_raw_and_compressed(peer, watch):
    node = watch(cameras=["left", "right"], image_topics=["", "/yard/image/compressed"])
    scores = {name: listen(peer, node, AnomalyScore, f"{name}/score") for name in ("left", "right")}
    for i in range(8):
        peer.send("left/image_raw", image(100 + i / RATE_HZ, i, "left_optical"))
        peer.send("yard/image/compressed", compressed(500 + i / RATE_HZ, i, "right_optical"))
    wait_for(lambda: all(len(messages) == 4 for messages in scores.values()), "four steps of each")
    for name, start_s in (("left", 100), ("right", 500)):
        assert {m.header.frame_id for m in scores[name]} == {f"{name}_optical"}
        assert {m.camera for m in scores[name]} == {name}
        assert [stamp_s(m) for m in scores[name]] == [start_s + (2 * i + 1) / RATE_HZ for i in range(4)]
    assert logged(node, "loading model") == [logged(node, "loading model")[0]]
    # Without a name it is not clear which one is asked about.
    answer = query(peer, question="Is there any anomaly in the video?")
    assert not answer.ok
    assert "name a camera; there are:" in answer.message
    assert query(peer, question="Is there any anomaly in the video?", camera="right").camera == "right"


def test_auto_transport_follows_the_publisher(peer, watch):
    """The topic's name says nothing of JPEG, and its publisher comes later than the node."""
    node = watch()
    scores = listen(peer, node, AnomalyScore, "camera/score")
    stream(peer, 4, make=compressed)
    wait_for(lambda: len(scores) == 2, "two steps")
    assert [line.rsplit(" ", 1)[1] for line in logged(node, "listening to")] == ["(Image)", "(CompressedImage)"]


def test_bad_frames_are_counted_and_skipped(peer, watch):
    node = watch()
    scores = listen(peer, node, AnomalyScore, "camera/score")
    for i in range(8):
        good = image(100 + i / RATE_HZ, i)
        bad = image(100 + (i + 0.5) / RATE_HZ, i)
        if i % 2:
            bad.encoding = "jpeg2000"
        else:
            bad.step -= 1
        peer.send("camera/image_raw", good)
        peer.send("camera/image_raw", bad)
    wait_for(lambda: len(scores) == 4, "four steps")
    wait_for(lambda: node._ports["camera"].bad == 8, "eight bad frames")
    assert node._ports["camera"].received == 16
    assert len(logged(node, "frame skipped (1 of 2 so far)")) == 1
    assert len(logged(node, "frame skipped")) == 1, "one line in some seconds"


def test_frames_without_a_stamp(peer, watch):
    node = watch()
    scores = listen(peer, node, AnomalyScore, "camera/score")
    before = time.time()
    for i in range(4):
        peer.send("camera/image_raw", image(0, i))
        time.sleep(1 / RATE_HZ)  # the stamps are those of the clock
    wait_for(lambda: scores, "a step")
    assert before < stamp_s(scores[0]) < time.time()
    assert len(logged(node, "without a stamp")) == 1


def test_simulated_time(peer, watch):
    """What has no stamp is stamped by /clock; all else goes on while the simulation stands still."""
    node = watch(use_sim_time=True, report_period_s=0.2)
    scores, reports = listen(peer, node, AnomalyScore, "camera/score"), peer.listen(DiagnosticArray, "/diagnostics")
    for i in range(4):
        now = Time(sec=7, nanosec=i * 250_000_000)
        peer.send("/clock", Clock(clock=now))
        wait_for(lambda now=now: node.get_clock().now().to_msg() == now, "the clock")
        peer.send("camera/image_raw", image(0, i))
        wait_for(lambda i=i: node._ports["camera"].received == i + 1, "the frame")
    wait_for(lambda: len(scores) == 2, "two steps")
    assert [stamp_s(score) for score in scores] == [7.25, 7.75]
    seen = len(reports)
    wait_for(lambda: len(reports) > seen + 1, "reports while the clock stands")
    assert from_time(reports[-1].header.stamp) / 1e9 == 7.75


def test_a_stopped_camera_ends_its_events(peer, watch):
    node = watch(**ALWAYS, stream__max_gap_s=0.5)
    events = listen(peer, node, AnomalyEvent, "camera/events")
    stamps = stream(peer, 4)
    wait_for(lambda: [e for e in events if e.phase == AnomalyEvent.END], "an END")
    started = {e.id for e in events if e.phase == AnomalyEvent.START}
    ends = [e for e in events if e.phase == AnomalyEvent.END]
    wait_for(lambda: {e.id for e in events if e.phase == AnomalyEvent.END} == started, "all ENDs")
    assert stamp_s(ends[0]) == stamps[3]
    assert ends[0].duration == pytest.approx(stamps[3] - stamps[1])


# No frames


def test_no_publisher(peer, watch):
    node = watch(no_frame_warning_s=0.6)
    wait_for(lambda: logged(node, "no frame on /camera/image_raw"), "a warning")
    assert "nothing publishes there" in logged(node, "no frame on")[0]


def test_publisher_with_other_qos(peer, watch):
    node = watch(no_frame_warning_s=0.6)
    peer.offer("camera/image_raw", Image, QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    wait_for(lambda: logged(node, "incompatible QoS"), "a warning")
    line = logged(node, "incompatible QoS")[0]
    assert "1 publisher there: /peer (sensor_msgs/msg/Image, best_effort, volatile)" in line
    assert "set the parameter reliability" in line
    assert "this node asks for sensor_msgs/msg/Image, reliable" in line


def test_publisher_of_another_type(peer, watch):
    node = watch(no_frame_warning_s=0.6, transport="compressed")
    peer.offer("camera/image_raw", Image)
    wait_for(lambda: logged(node, "of another type: set the parameter transport"), "a warning")


# Reports


def test_diagnostics(peer, watch):
    node = watch(no_frame_warning_s=0.8, report_period_s=0.2)
    reports = peer.listen(DiagnosticArray, "/diagnostics")
    scores = listen(peer, node, AnomalyScore, "camera/score")
    wait_for(lambda: reports and reports[-1].status[-1].level == DiagnosticStatus.WARN, "a warning of no frames")
    assert "no frame on /camera/image_raw for" in reports[-1].status[-1].message
    bad = image(99.0)
    bad.encoding = "?"
    peer.send("camera/image_raw", bad)
    told = "frames that could not be decoded: 1"
    wait_for(lambda: any(report.status[-1].message == told for report in reports), "a warning of the bad frame")
    stream(peer, 8)
    wait_for(lambda: len(scores) == 4, "four steps")

    def of_camera():
        status = reports[-1].status[-1]
        values = {pair.key: pair.value for pair in status.values}
        return (status, values) if values["heat maps"] == "4" else None

    status, values = wait_for(of_camera, "a report of it")
    assert status.name == "/tvau: camera"
    assert status.hardware_id == "camera"
    assert values["frames received"] == "9"
    assert values["bad frames"] == "1"
    assert values["sampled frames"] == "8"
    assert values["dropped frames"] == "0"
    assert values["queue"] == "0"
    assert values["windows"] == "1"
    assert 0 < float(values["latency p50 (ms)"]) <= float(values["latency p95 (ms)"])
    assert any(float({v.key: v.value for v in r.status[-1].values}["frame rate (Hz)"]) > 0 for r in reports)
    own = reports[-1].status[0]
    assert (own.name, own.message, own.level) == ("/tvau", "active", DiagnosticStatus.OK)
    facts = {pair.key: pair.value for pair in own.values}
    assert facts["model"] == "random"
    assert facts["device"].startswith("torch ")
    assert (facts["descriptions"], facts["descriptions left out"]) == ("0", "0")


def test_dropped_frames_are_reported(peer, watch, monkeypatch):
    node = watch(stream__queue_size=2, report_period_s=0.2)
    reports = peer.listen(DiagnosticArray, "/diagnostics")
    wait_for(lambda: node._worker is not None, "activation")
    held = threading.Event()
    encode = node._pipeline.backend.encode

    def slow(pixels, text):
        assert held.wait(30)
        return encode(pixels, text)

    monkeypatch.setattr(node._pipeline.backend, "encode", slow)
    stream(peer, 12)
    wait_for(lambda: any("frames dropped" in r.status[-1].message for r in reports if len(r.status) > 1), "a warning")
    held.set()


def test_a_reduced_rate_is_reported_and_comes_back(peer, watch, monkeypatch):
    node = watch(stream__max_halvings=1, stream__process_rate_hz=20.0, report_period_s=0.2)
    reports = peer.listen(DiagnosticArray, "/diagnostics")
    wait_for(lambda: node._worker is not None, "activation")
    encode = node._pipeline.backend.encode
    held = threading.Event()  # never set while the engine is to be slow

    def slow(pixels, text):
        held.wait(0.5)
        return encode(pixels, text)

    monkeypatch.setattr(node._pipeline.backend, "encode", slow)
    sent = iter(range(10**6))

    def reported(step):
        if not reports or len(reports[-1].status) < 2:
            return None
        status = reports[-1].status[-1]
        values = {pair.key: pair.value for pair in status.values}
        return (status, values) if values["sampling step"] == step and values["frames received"] != "0" else None

    def send_until_reduced():
        if (
            node._ports["camera"].received - node._pipeline.stats("camera").frames < 50
            if node._pipeline.cameras
            else True
        ):
            peer.send("camera/image_raw", image(100 + next(sent) / 20, 1))
        return reported("1/2")

    status, values = wait_for(send_until_reduced, "a reduced rate")
    assert values["sampling rate (Hz)"] == "10"
    assert status.level == DiagnosticStatus.WARN
    assert status.message == "the model does not keep up: 1/2 of the frame pairs are looked at"
    held.set()
    status, values = wait_for(lambda: reported("1/1"), "the full rate")
    assert values["sampling rate (Hz)"] == "20"
    assert "does not keep up" not in status.message


# The process


@pytest.fixture
def process(tiny, tmp_path):
    """Starts `python -m tvau.node` with parameters."""
    started = []

    def start(*arguments):
        log = (tmp_path / "node.log").open("w")
        command = [sys.executable, "-m", "tvau.node", "--ros-args", "-p", f"engine.model:={tiny}", *arguments]
        started.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ))
        log.close()
        return started[-1], tmp_path / "node.log"

    yield start
    for one in started:
        one.kill()
        one.wait()


def test_signals_end_events_and_process(peer, process):
    """More than one, as at a Ctrl-C under `ros2 launch`."""
    arguments = [
        part for name, value in {**ALWAYS, **QUIET}.items() for part in ("-p", f"{name}:={str(value).lower()}")
    ]
    running, log = process(*arguments)
    events = peer.listen(AnomalyEvent, "tvau/camera/events")
    wait_for(lambda: peer.count_publishers("/tvau/camera/events"), "the node", 60)
    stream(peer, 8)
    wait_for(lambda: events, "a START")
    running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGTERM)
    wait_for(lambda: {e.id for e in events} == {e.id for e in events if e.phase == AnomalyEvent.END}, "ENDs")
    assert running.wait(30) == 0
    text = log.read_text()
    assert "Traceback" not in text
    assert "never retrieved" not in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--params-file", "/nowhere.yaml"], "error: the ROS arguments cannot be used"),
        (["-p", "image_topics:=[]"], "error: a parameter is set to nothing"),
    ],
)
def test_bad_command_lines(process, arguments, text):
    running, log = process(*arguments)
    assert running.wait(60) == 1
    assert text in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_callback_that_fails_does_not_stop_the_others(watch, capfd):
    node = watch(report_period_s=0.1)
    calls = []

    def fail():
        calls.append(1)
        raise RuntimeError("of a defect")

    node.create_timer(0.05, fail)
    wait_for(lambda: len(calls) > 2, "more calls")
    wait_for(lambda: "RuntimeError: of a defect" in capfd.readouterr().err, "a log line with the traceback")


def test_what_the_library_logs_is_in_the_nodes_log(watch):
    node = watch()
    handler = LogToRos(node)
    library = logging.getLogger("tvau_runtime.worker")
    library.addHandler(handler)
    try:
        library.warning("camera %r: %s", "camera", "a frame was skipped")
    finally:
        library.removeHandler(handler)
    assert logged(node, "camera 'camera': a frame was skipped")
