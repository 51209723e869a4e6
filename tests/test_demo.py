"""The demo: both nodes as real processes on a short scene, what it writes and says, and that it leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("tvau_msgs.msg", reason="tvau_msgs is not built")

from ros_tools import wait_for
from std_msgs.msg import Header
from tvau_msgs.msg import AnomalyScore, Evidence
from tvau_msgs.srv import Query

from tvau.conversions import event_from_message, event_message, to_time
from tvau.demo_listener import CAMERA, DemoListener
from tvau.demo_nodes import NodeProcesses
from tvau.demo_story import Story
from tvau.image_conversion import to_message
from tvau_runtime import AnomalyEvent, Phase, Recorder, TrackPoint

SECOND = 1_000_000_000


def make_event(phase=Phase.UPDATE, end_s=2.0, label=""):
    box = (10.0, 20.0, 40.0, 60.0)
    track = tuple(TrackPoint(round(s * SECOND), box, 0.75) for s in np.arange(1.0, end_s + 0.1, 0.5))
    stamps = (SECOND, round(end_s * SECOND), SECOND)
    return AnomalyEvent("camera-1", CAMERA, "lens", phase, *stamps, 0.5, 0.75, box, box, track, label, label)


@pytest.mark.parametrize("phase", Phase)
def test_events_survive_the_way_through_messages(phase):
    event = make_event(phase, label="a red car")
    assert event_from_message(event_message(event, 3 * SECOND)) == event


# What the listener makes of messages that come in any order


@pytest.fixture
def listener(tmp_path):
    from ros_tools import ros

    told = []
    with ros():
        recorder = Recorder(tmp_path, 10.0)
        listener = DemoListener(recorder, told.append)
        vars(listener)["log"] = told
        vars(listener)["recorder"] = recorder
        yield listener
        listener.destroy_node()


def header(stamp_s):
    return Header(stamp=to_time(round(stamp_s * SECOND)), frame_id="lens")


def messages(stamp_s, heat):
    """Image, heat map and score of one step."""
    image = to_message(np.full((48, 64, 3), 90, np.uint8), "rgb8", header(stamp_s))
    heatmap = to_message(np.full((4, 6), heat, np.float32), "32FC1", header(stamp_s))
    score = AnomalyScore(header=header(stamp_s), camera=CAMERA, score=heat)
    score.window_start, score.window_end = to_time(round((stamp_s - 0.9) * SECOND)), score.header.stamp
    return image, heatmap, score


def close(listener):
    listener.finish()
    listener.recorder.close({}, source="test", thresholds=(0.6, 0.4), notice="")


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_what_belongs_together_is_recorded_together(listener, tmp_path, order):
    for number in range(6):
        stamp_s = 1 + number * 0.5
        image, heatmap, score = messages(stamp_s, 0.1 * number)
        phase = Phase.START if number == 0 else Phase.UPDATE if number < 5 else Phase.END
        event = event_message(make_event(phase, stamp_s), round(stamp_s * SECOND))
        calls = [
            lambda m=image: listener._on_image(m),
            lambda m=heatmap: listener._on_heatmap(m),
            lambda m=score: listener._on_score(m),
            lambda m=event: listener._on_event(m),
        ]
        for place in order:
            calls[place]()
    close(listener)
    recorder = listener.recorder
    assert (recorder.frames, recorder.heatmaps) == (6, 6)
    assert recorder.windows == 5, "a window is at least two steps"
    np.testing.assert_allclose(recorder.scores, [(0.5 * i, 0.1 * i) for i in range(6)], atol=1e-6)
    rows = (tmp_path / "scores.csv").read_text().splitlines()[1:]
    assert [float(row.split(",")[2]) for row in rows] == pytest.approx([0.1 * i for i in range(6)], abs=1e-4)
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["phase"] for line in lines] == ["START", *["UPDATE"] * 4, "END"]
    assert [event.phase for event in listener.log] == [Phase.START, *[Phase.UPDATE] * 4, Phase.END]
    assert (tmp_path / "overlay.mp4").stat().st_size > 0


def test_what_is_lost_does_no_harm(listener):
    for number in range(6):
        image, heatmap, score = messages(1 + number * 0.5, 0.5)
        if number != 1:
            listener._on_image(image)
        if number != 2:
            listener._on_heatmap(heatmap)
        if number != 3:
            listener._on_score(score)
    listener._on_event(event_message(make_event(Phase.END), 2 * SECOND))
    close(listener)
    assert listener.recorder.frames == 5
    assert listener.recorder.heatmaps == 3
    assert list(listener.recorder.events) == ["camera-1"]


def test_the_story(capsys):
    story = Story(lambda: 12.34, (480, 640))
    story.event(make_event(Phase.START))
    story.event(make_event(label="a red car"))
    story.event(make_event(Phase.END, label="a red car"))
    story.event(make_event(Phase.END, label="a red car"))
    story.answer(
        Query.Response(ok=True, answer="Yes.", evidence=Evidence(anomaly=True, yes_probability=0.875, score=0.5))
    )
    story.answer(Query.Response(message="there is no window"))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        " 12.3 s  START   camera-1: peak score 0.75, upper left (25, 40)",
        " 12.3 s          camera-1 in the model's words: a red car",
        " 12.3 s  END     camera-1: 1.0 s, peak score 0.75, from upper left (25, 40) to upper left (25, 40)",
        " 12.3 s  ANSWER  Yes.",
        " 12.3 s          anomaly: yes (p(yes) = 0.88); evidence: score 0.50, upper left (0, 0)",
        " 12.3 s  ANSWER  none: there is no window",
    ]


def test_no_process_is_left_behind(tmp_path):
    """Not even one that does not listen."""
    nodes = NodeProcesses(tmp_path)
    nodes.start("camera", {"source": "file", "path": "/nowhere.mp4"})
    wait_for(nodes.all_ended, "the end")
    assert nodes.exit_code("camera") == 1
    assert "there is no video file" in nodes.last_lines("camera")
    nodes.start("camera", {"source": "demo"})
    assert nodes.exit_code("camera") is None
    nodes.clean_up()
    assert nodes.all_ended()


# All of it


@pytest.fixture
def hot_model(tiny_copy):
    """The random checkpoint, made so sure of itself that something is always abnormal."""
    from safetensors.torch import load_file, save_file

    from tvau_runtime.manifest import Manifest

    weights = load_file(tiny_copy / "ahd.safetensors")
    weights["weights"] *= 20
    save_file(weights, tiny_copy / "ahd.safetensors")
    Manifest.read(tiny_copy).write(tiny_copy)
    return tiny_copy


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "scene.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (96, 64))
    for i in range(40):
        frame = np.full((64, 96, 3), 60, np.uint8)
        frame[20:50, 2 * i : 2 * i + 14] = (40, 120, 220)
        writer.write(frame)
    writer.release()
    return path


def run_demo(out, model, scene):
    command = [sys.executable, "-m", "tvau.demo", "--out", str(out), "--model", str(model), "--scene", str(scene)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


def test_a_whole_run(tmp_path, hot_model, scene):
    out, errors = run_demo(tmp_path / "out", hot_model, scene).communicate(timeout=120)
    missing = [line for line in errors.splitlines() if line.startswith("missing: ")]
    # The random model may have nothing to say; all else must be there.
    assert [line for line in missing if "an answered question" not in line] == [], out + errors
    for text in (
        "the scene begins: 4 s at 10 frames per second",
        "START",
        "END",
        "ASK     Is there any anomaly",
        "40 images",
    ):
        assert text in out
    assert "Traceback" not in errors
    phases = [json.loads(line)["phase"] for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    assert phases[0] == "START"
    assert phases[-1] == "END"
    capture = cv2.VideoCapture(str(tmp_path / "out" / "overlay.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 40
    assert "scene.mp4, over ROS 2" in (tmp_path / "out" / "report.html").read_text()


def test_a_model_that_is_not_there(tmp_path, scene):
    began = time.monotonic()
    process = run_demo(tmp_path / "out", "/nowhere", scene)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "missing: the tvau node cannot configure: there is no model '/nowhere'" in errors
    assert time.monotonic() - began < 40


def children_of(pid):
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def test_an_interrupted_run_leaves_nothing_behind(tmp_path, tiny, scene):
    process = run_demo(tmp_path / "out", tiny, scene)
    wait_for((tmp_path / "out" / "node.log").exists, "the node")
    children = wait_for(lambda: children_of(process.pid), "the node's process")
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped" in out
    assert "Traceback" not in errors
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
