"""The tvau node over real DDS, with a small random model: lifecycle, topics, services, reports, and its process."""

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
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_tools import SIZE, compressed, image, peering, ros, spinning, wait_for
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from tvau_msgs.msg import AnomalyEvent, AnomalyScore
from tvau_msgs.srv import Query, SetPrompts

from tvau.conversions import from_time
from tvau.node import TvauNode
from tvau.process import LogToRos

GRID = (4, 6)
"""Patches down and across of the `tiny` checkpoint: 56 x 84 pixels."""
RATE_HZ = 4.0
ALWAYS = {"events.off_threshold": 0.01, "events.on_threshold": 0.02, "events.min_duration_s": 0.0}
"""Settings by which anything at all is an event."""
QUIET = {"dialogue.describe_events": False, "reliability": "reliable", "queue_depth": 100, "stream.queue_size": 100}


@pytest.fixture(scope="module", autouse=True)
def running_ros():
    with ros():
        yield


@pytest.fixture(scope="module")
def one_peer():
    with peering() as peer:
        yield peer


@pytest.fixture
def peer(one_peer):
    yield one_peer
    one_peer.forget()


@pytest.fixture
def watch(peer, tiny, request):
    """Starts the node; its log lines are in `node.logged`."""
    contexts = []

    def start(**parameters):
        given = {"engine.model": str(tiny), "no_frame_warning_s": 0.0, **QUIET}
        given |= {name.replace("__", "."): value for name, value in parameters.items()}
        node = TvauNode(parameter_overrides=[Parameter(name, value=value) for name, value in given.items()])
        vars(node)["logged"] = logged_here = []
        for level in ("info", "warning", "error", "fatal"):
            setattr(node.get_logger(), level, logged_here.append)
        node.start()
        context = spinning(node)
        context.__enter__()
        contexts.append(context)
        return node

    yield start
    for context in contexts:
        context.__exit__(None, None, None)


def logged(node, text):
    return [line for line in node.logged if text in line]


def stream(peer, count, *, topic="camera/image_raw", make=image, start_s=100.0, first=0):
    """Sends frames at the model's rate by their stamps, as fast as they go. Returns the stamps (s)."""
    stamps = [start_s + (first + i) / RATE_HZ for i in range(count)]
    for i, stamp_s in enumerate(stamps):
        peer.send(topic, make(stamp_s, i))
    return stamps


def listen(peer, node, kind, name):
    """What the node publishes on a topic, once it knows that it is heard."""
    topic = f"/tvau/{name}"
    messages = peer.listen(kind, topic)
    publisher = wait_for(lambda: [p for p in node.publishers if p.topic_name == topic], topic)[0]
    wait_for(publisher.get_subscription_count, f"the node to find who listens to {topic}")
    return messages


def stamp_s(message):
    return from_time(message.header.stamp) / 1e9


def query(peer, **fields):
    return peer.call(Query, "tvau/query", **fields)


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
    assert "name a camera; cameras:" in answer.message
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


# Lifecycle


def test_lifecycle(peer, watch):
    node = watch(autostart=False)
    assert peer.state("tvau") == "unconfigured"
    assert not peer.transition("tvau", "activate")
    assert peer.transition("tvau", "configure")
    assert peer.state("tvau") == "inactive"
    events, scores = listen(peer, node, AnomalyEvent, "camera/events"), listen(peer, node, AnomalyScore, "camera/score")
    assert peer.count_subscribers("/camera/image_raw") == 0
    assert "not active" in query(peer, question="Anything?").message
    assert not peer.call(Trigger, "tvau/reset").success

    for name, value in ALWAYS.items():
        assert peer_sets(peer, name, value) == ""
    assert peer.transition("tvau", "activate")
    stream(peer, 8)
    wait_for(lambda: len(scores) == 4, "four steps")
    assert query(peer, question="Is there any anomaly in the video?").ok
    assert peer.transition("tvau", "deactivate")
    wait_for(lambda: peer.count_subscribers("/camera/image_raw") == 0, "the end of the subscription")
    wait_for(lambda: {e.id for e in events} == {e.id for e in events if e.phase == AnomalyEvent.END}, "ENDs")

    assert peer.transition("tvau", "activate")  # with the same weights
    stream(peer, 2, start_s=200)
    wait_for(lambda: len(scores) == 5, "one more step")
    assert peer.transition("tvau", "deactivate")
    assert peer.transition("tvau", "cleanup")
    assert peer.state("tvau") == "unconfigured"
    wait_for(lambda: not peer.count_publishers("/tvau/camera/score"), "the end of the topics")
    assert peer.transition("tvau", "configure")
    assert peer.transition("tvau", "shutdown") or peer.transition("tvau", "inactive_shutdown")
    assert peer.state("tvau") == "finalized"


def peer_sets(peer, name, value, node="tvau"):
    """Sets a parameter over its service; the reason why not, or nothing."""
    from rcl_interfaces.srv import SetParameters

    done = peer.call(
        SetParameters, f"{node}/set_parameters", parameters=[Parameter(name, value=value).to_parameter_msg()]
    )
    return done.results[0].reason


def test_configure_fails_and_can_be_mended(peer, watch, tiny):
    node = watch(engine__model="/nowhere")
    assert peer.state("tvau") == "unconfigured"
    assert len(logged(node, "cannot configure: there is no model '/nowhere'")) == 1
    reports = peer.listen(DiagnosticArray, "/diagnostics")
    wait_for(lambda: reports, "a report")
    assert reports[-1].status[0].level == DiagnosticStatus.ERROR
    assert "there is no model '/nowhere'" in reports[-1].status[0].message
    assert not peer.transition("tvau", "configure")
    assert peer_sets(peer, "engine.model", str(tiny)) == ""
    assert peer.transition("tvau", "configure")
    assert peer.transition("tvau", "activate")


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (
            {"events.on_threshold": 2.0},
            "cannot configure: parameter events.on_threshold must be within 0 to 1, got 2.0",
        ),
        ({"stream.clip_length": 7}, "cannot configure: clip_length must be even"),
        ({"cameras": ["a", "b"], "image_topics": ["/x"]}, "cannot configure: image_topics must name one topic"),
        ({"image_topics": ["not a topic"]}, "cannot configure: camera 'camera': "),
        ({"qos_overrides./tvau/camera/score.publisher.reliability": "so so"}, "cannot configure: camera 'camera': "),
        ({"engine.device": "abacus"}, "cannot configure: "),
    ],
)
def test_bad_parameters_are_told_in_one_line(peer, watch, parameters, text):
    node = watch(**parameters)
    assert len(logged(node, text)) == 1
    assert "\n" not in logged(node, text)[0]
    assert peer.state("tvau") == "unconfigured"


def test_a_failed_configure_leaves_nothing_behind(peer, watch):
    node = watch(**{"qos_overrides./tvau/camera/events.publisher.reliability": "so so"})
    assert logged(node, "cannot configure")
    assert not [p.topic_name for p in node.publishers if p.topic_name.startswith("/tvau/camera/")]
    assert not [s.srv_name for s in node.services if s.srv_name.endswith("query")]


def test_live_parameters(peer, watch):
    node = watch()
    assert peer_sets(peer, "events.on_threshold", 0.9) == ""
    assert node._pipeline.config.events.on_threshold == 0.9
    assert peer_sets(peer, "dialogue.max_new_tokens", 5) == ""
    assert node._pipeline.config.dialogue.max_new_tokens == 5
    assert "must not be above on_threshold" in peer_sets(peer, "events.off_threshold", 0.95)
    assert "cannot change while the node runs; deactivate it" in peer_sets(peer, "stream.stride", 4)
    assert "out of range" in peer_sets(peer, "events.min_area", 2.0)
    assert node._pipeline.config.events.off_threshold == 0.7


def test_qos_overrides(peer, watch):
    watch(
        **{
            "qos_overrides./camera/image_raw.subscription.reliability": "best_effort",
            "qos_overrides./tvau/camera/score.publisher.reliability": "best_effort",
        }
    )
    asked = wait_for(lambda: peer.get_subscriptions_info_by_topic("/camera/image_raw"), "the subscription")
    offered = wait_for(lambda: peer.get_publishers_info_by_topic("/tvau/camera/score"), "the topic")
    assert asked[0].qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    assert offered[0].qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT


def test_reliability_can_change_between_two_configures(peer, watch):
    watch(reliability="best_effort")
    for reliability in ("best_effort", "reliable"):
        if reliability == "reliable":
            assert peer.transition("tvau", "deactivate")
            assert peer.transition("tvau", "cleanup")
            assert peer_sets(peer, "reliability", reliability) == ""
            assert peer.transition("tvau", "configure")
            assert peer.transition("tvau", "activate")
        wait_for(
            lambda r=reliability: (
                [
                    info.qos_profile.reliability.name.lower()
                    for info in peer.get_subscriptions_info_by_topic("/camera/image_raw")
                ]
                == [r]
            ),
            reliability,
        )


# Services


def test_query(peer, watch):
    node = watch()
    scores = listen(peer, node, AnomalyScore, "camera/score")
    assert "none has sent a frame yet" in query(peer, question="Anything?").message
    stamps = stream(peer, 4)
    wait_for(lambda: len(scores) == 2, "two steps")
    assert "2 of 4 steps" in query(peer, question="Anything?").message
    stamps += stream(peer, 4, first=4)
    wait_for(lambda: len(scores) == 4, "a window")

    answer = query(peer, question="Is there any anomaly in the video?")
    assert answer.ok
    assert answer.message == ""
    assert answer.camera == "camera"
    assert answer.anomaly == (answer.yes_probability >= 0.5)
    assert answer.score == scores[-1].window_score
    assert [from_time(t) / 1e9 for t in (answer.window_start, answer.window_end)] == [stamps[0], stamps[7]]
    assert from_time(answer.peak) / 1e9 in stamps[1::2]
    assert 0 <= answer.box.x_min < answer.box.x_max <= SIZE[1]

    stream(peer, 4, first=8)
    wait_for(lambda: len(scores) == 6, "two steps more")
    again = query(peer, question="Describe anomaly features in detail.", session=answer.session)
    assert again.ok
    assert again.session == answer.session
    assert again.window_end == answer.window_end, "the dialogue stays with its evidence"
    fresh = query(peer, question="Is there any anomaly in the video?")
    assert fresh.session != answer.session
    assert from_time(fresh.window_end) / 1e9 == stamps[0] + 11 / RATE_HZ


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"question": ""}, "the question is empty"),
        ({"question": "Anything?", "camera": "attic"}, "there is no camera 'attic'; cameras: camera"),
        ({"question": "Anything?", "session": "abc"}, "there is no session 'abc'"),
        ({"question": "Anything?", "event_id": "camera-99"}, "there is no window of event 'camera-99'"),
        ({"question": "x" * 5000}, "at most 2000 characters"),
    ],
)
def test_bad_queries(peer, watch, fields, text):
    node = watch()
    scores = listen(peer, node, AnomalyScore, "camera/score")
    stream(peer, 8)
    wait_for(lambda: len(scores) == 4, "a window")
    answer = query(peer, **fields)
    assert not answer.ok
    assert text in answer.message
    assert answer.answer == ""


def test_frames_do_not_wait_for_an_answer(peer, watch, monkeypatch):
    node = watch()
    scores = listen(peer, node, AnomalyScore, "camera/score")
    stream(peer, 8)
    wait_for(lambda: len(scores) == 4, "a window")
    go_on, speaking = threading.Event(), threading.Event()
    decode = node._pipeline.backend.decode

    def slow(*args, **kwargs):
        speaking.set()
        assert go_on.wait(30)
        return decode(*args, **kwargs)

    monkeypatch.setattr(node._pipeline.backend, "decode", slow)
    question = "Is there any anomaly in the video?"
    answers = [peer.ask(Query, "tvau/query", question=question) for _ in range(3)]
    assert speaking.wait(20)
    stream(peer, 8, first=8)
    wait_for(lambda: len(scores) == 8, "more steps, while the model speaks")
    assert peer.call(SetPrompts, "tvau/set_prompts", abnormal=["person jumping"]).ok
    assert not any(answer.done() for answer in answers)
    go_on.set()
    wait_for(lambda: all(answer.done() for answer in answers), "the answers")
    assert all(answer.result().ok for answer in answers)


def test_set_prompts(peer, watch):
    node = watch()
    heatmaps = listen(peer, node, Image, "camera/heatmap")
    stream(peer, 2)
    wait_for(lambda: len(heatmaps) == 1, "a heat map")
    done = peer.call(SetPrompts, "tvau/set_prompts", abnormal=["person jumping", "fire"])
    assert done.ok
    assert done.abnormal == ["person jumping", "fire"]
    assert done.normal == ["person walking"], "what is left empty stays"
    stream(peer, 2, start_s=200)
    wait_for(lambda: len(heatmaps) == 2, "another heat map")
    assert bytes(heatmaps[0].data) != bytes(heatmaps[1].data), "the same picture, other prompts"

    for fields, text in (({"normal": [" "]}, "at least one non-blank"), ({"phrase": "a video"}, "must hold {} once")):
        refused = peer.call(SetPrompts, "tvau/set_prompts", **fields)
        assert not refused.ok
        assert text in refused.message
        assert refused.abnormal == ["person jumping", "fire"]


def test_reset(peer, watch):
    node = watch(**ALWAYS)
    scores = listen(peer, node, AnomalyScore, "camera/score")
    events = listen(peer, node, AnomalyEvent, "camera/events")
    stream(peer, 8)
    wait_for(lambda: len(scores) == 4 and events, "a window")
    done = peer.call(Trigger, "tvau/reset")
    assert done.success
    assert done.message.endswith(": camera")
    wait_for(lambda: {e.id for e in events} == {e.id for e in events if e.phase == AnomalyEvent.END}, "ENDs")
    assert "has no full window yet" in query(peer, question="Anything?").message


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


def test_dropped_frames_are_reported(peer, watch, monkeypatch):
    node = watch(stream__queue_size=2, report_period_s=0.2)
    reports = peer.listen(DiagnosticArray, "/diagnostics")
    wait_for(lambda: node._worker is not None, "activation")
    held = threading.Event()
    encode = node._pipeline.backend.encode

    def slow(pixels):
        assert held.wait(30)
        return encode(pixels)

    monkeypatch.setattr(node._pipeline.backend, "encode", slow)
    stream(peer, 12)
    wait_for(lambda: any("frames dropped" in r.status[-1].message for r in reports if len(r.status) > 1), "a warning")
    held.set()


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
