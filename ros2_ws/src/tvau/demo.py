"""`python -m tvau.demo`: the built-in scene through camera and tvau node, two processes over DDS, told as it happens.

    python -m tvau.demo --out out/demo

Writes overlay.mp4, events.jsonl, scores.csv, report.html and the nodes' logs. The exit code is 0 only if heat maps came
at the node's rate, an event started, one ended, and a question was answered; otherwise it says what was missing.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import try_shutdown

from tvau_runtime import AnomalyEvent, Phase, PipelineConfig, Recorder, TvauError, VideoReader

from .camera_config import CameraConfig
from .demo_listener import DemoListener
from .demo_nodes import NodeProcesses
from .demo_story import Story
from .middleware import prepare

__all__ = ["Demo", "Unfinished", "main"]

QUESTIONS = ("Is there any anomaly in the video?", "Describe anomaly features in detail.")
ASK_AFTER_S = 2.0
"""The first question is put so long after the first event has started, or late in the scene if none has."""
ASK_AT = 0.6
START_S, SETTLE_S = 120.0, 15.0
"""How long the model may take to load; how long the last heat maps and the ends of events may take after the scene."""
LEAST = 0.9
"""Part of the heat maps that must have come."""
FILES = ("overlay.mp4", "events.jsonl", "report.html")


class Unfinished(Exception):
    """Something did not happen; the demo ends there."""


class Demo:
    """One run. scene: a video, or "" for the built-in one. deadline_s: for all of it."""

    def __init__(self, out: Path, model: str, scene: str, deadline_s: float) -> None:
        self._out, self._model, self._deadline = out, model, time.monotonic() + deadline_s
        self._camera = CameraConfig(source="file" if scene else "demo", path=scene, loop=False, listeners=2)
        with VideoReader(self._camera.uri) as reader:
            self._scene = reader.info
        self._thresholds = PipelineConfig().events
        self._recorder = Recorder(out, self._scene.fps)
        self._nodes = NodeProcesses(out)
        self._story = Story(self._scene_s, self._scene.size)
        self._first_event_s, self._stopped = -1.0, False
        self._asked: Any = None
        """The question that waits for an answer, with its future."""
        self._answers: list[tuple[str, Any]] = []
        prepare()
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._listener = DemoListener(self._recorder, self._on_event)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._listener)

    def run(self) -> int:
        """Returns the exit code."""
        problems: list[str] = []
        try:
            self._start_node()
            self._play_scene()
            self._end_nodes()
        except Unfinished as error:
            problems.append(str(error))
        self._write()
        return self._conclude(problems + (self._shortfalls() if self._listener.images else []))

    def stop(self, *_: object) -> None:
        """Ends the run at the next turn of its loop, where nothing is half done; for signals."""
        self._stopped = True

    def clean_up(self) -> None:
        """Leaves no process behind."""
        self._nodes.clean_up()
        try_shutdown()

    def _start_node(self) -> None:
        self._story.say(f"starting the tvau node (ROS domain {os.environ['ROS_DOMAIN_ID']}); results go to {self._out}")
        # An UPDATE for every heat map, so that the boxes in the recording follow their targets.
        parameters: dict[str, Any] = {"reliability": "reliable", "events.update_period_s": 0.0}
        if self._model:
            parameters["engine.model"] = self._model
        self._nodes.start("node", parameters)
        self._wait(self._is_up, START_S, "the tvau node did not become active")
        facts = self._node_facts()
        self._story.say(
            f"model {facts['model']} on {facts['device']} looks at {facts['frames looked at (Hz)']} frames per second"
        )

    def _play_scene(self) -> None:
        given = {"source": self._camera.source, "loop": False, "listeners": self._camera.listeners}
        self._nodes.start("camera", given | ({"path": self._camera.path} if self._camera.path else {}))
        self._wait(lambda: self._listener.images > 0, 30.0, "no image came")
        self._story.say(f"the scene begins: {self._scene.duration_s:.0f} s at {self._scene.fps:g} frames per second")
        self._wait(self._camera_has_ended, self._scene.duration_s + 30.0, "the scene did not end", self._converse)
        self._story.say("the scene is over")
        self._wait(self._is_settled, SETTLE_S, "", self._converse)

    def _end_nodes(self) -> None:
        self._nodes.interrupt()
        self._wait(self._nodes.all_ended, 20.0, "the nodes did not end when they were told to")
        for name in ("camera", "node"):
            if self._nodes.exit_code(name):
                raise Unfinished(f"the {name} ended with exit code {self._nodes.exit_code(name)}")

    def _is_up(self) -> bool:
        if self._nodes.exit_code("node") is not None:
            raise Unfinished(f"the tvau node ended at once:\n{self._nodes.last_lines('node')}")
        message = self._node_facts().get("message", "")
        if message.startswith("cannot"):
            raise Unfinished(f"the tvau node {message}")
        return message == "active"

    def _camera_has_ended(self) -> bool:
        if self._nodes.exit_code("node") is not None:
            raise Unfinished(f"the tvau node ended in the middle of the scene:\n{self._nodes.last_lines('node')}")
        return self._nodes.exit_code("camera") is not None

    def _is_settled(self) -> bool:
        going_on = [event for event in self._listener.events.values() if event.phase is not Phase.END]
        return not going_on and self._asked is None and self._listener.heatmaps >= self._heatmaps_expected()

    def _converse(self) -> None:
        """Puts the questions one after the other, while the stream goes on."""
        self._story.meter(self._listener.score)
        if self._asked is not None:
            question, future = self._asked
            if future.done():
                self._asked = None
                self._answers.append((question, future.result()))
                self._story.answer(future.result())
            return
        if len(self._answers) == len(QUESTIONS) or (self._answers and not self._answers[-1][1].ok):
            return
        due_s = self._first_event_s + ASK_AFTER_S if self._first_event_s >= 0 else ASK_AT * self._scene.duration_s
        if self._scene_s() >= due_s:
            question = QUESTIONS[len(self._answers)]
            future = self._listener.ask(question, session=self._answers[-1][1].session if self._answers else "")
            if future is not None:
                self._story.say(f"ASK     {question}")
                self._asked = (question, future)

    def _on_event(self, event: AnomalyEvent) -> None:
        if event.phase is Phase.START and self._first_event_s < 0:
            self._first_event_s = self._scene_s()
        self._story.event(event)

    def _wait(
        self, done: Callable[[], bool], timeout_s: float, problem: str, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        """Listens until it is done. Raises `Unfinished` after the time-out, unless no problem is named."""
        until = min(time.monotonic() + timeout_s, self._deadline)
        while not done():
            if self._stopped:  # a signal may come while a process is being started, which would then be lost
                raise KeyboardInterrupt
            if time.monotonic() > until:
                if problem:
                    raise Unfinished(f"{problem} within {timeout_s:.0f} s")
                return
            self._executor.spin_once(timeout_sec=0.05)
            meanwhile()

    def _write(self) -> None:
        self._listener.finish()
        facts = {
            "Node": {k: v for k, v in self._node_facts().items() if k != "message"},
            "Camera": {k: v for k, v in self._camera_facts().items() if k != "message"},
            "Dialogue": {question: answer.answer or answer.message for question, answer in self._answers},
        }
        on, off = self._thresholds.on_threshold, self._thresholds.off_threshold
        source = f"{Path(self._camera.path).name or 'the built-in scene'}, over ROS 2"
        self._recorder.close(facts, source=source, thresholds=(on, off), notice="")

    def _shortfalls(self) -> list[str]:
        """What the demo is to show and did not."""
        listener, expected = self._listener, self._heatmaps_expected()
        started = [name for name, phases in listener.phases.items() if Phase.START in phases]
        ended = [name for name, phases in listener.phases.items() if Phase.END in phases]
        answered = [answer for _, answer in self._answers if answer.ok and answer.answer]
        checks = {
            f"heat maps at the node's rate: {listener.heatmaps} came of about {expected}": (
                expected > 0 and listener.heatmaps >= LEAST * expected
            ),
            f"overlays: {listener.overlays} came": listener.overlays > 0,
            f"a START of an event: {len(started)} came": bool(started),
            f"an END of an event: {len(ended)} came": bool(ended),
            f"an answered question: {len(answered)} of {len(self._answers)}": bool(answered),
            **{f"{name} in {self._out}": (self._out / name).exists() for name in FILES},
        }
        return [text for text, is_met in checks.items() if not is_met]

    def _conclude(self, problems: list[str]) -> int:
        listener, camera = self._listener, self._camera_facts()
        if listener.images:
            self._story.say(
                f"{listener.images} images, {listener.heatmaps} heat maps, {listener.overlays} overlays, "
                f"{len(listener.events)} events; {camera.get('dropped frames', '?')} frames dropped, latency p50 "
                f"{camera.get('latency p50 (ms)', '?')} ms, p95 {camera.get('latency p95 (ms)', '?')} ms"
            )
            self._story.say(f"written to {self._out}: {', '.join(FILES)}")
        for problem in problems:
            print(f"missing: {problem}", file=sys.stderr)
        return 1 if problems else 0

    def _scene_s(self) -> float:
        """Seconds of the scene that have been heard; below 0 before it begins."""
        listener = self._listener
        return (listener.last_ns - listener.first_ns) * 1e-9 if listener.images else -1.0

    def _heatmaps_expected(self) -> int:
        """One for every two frames that are looked at."""
        rate_hz = float(self._node_facts().get("frames looked at (Hz)", 0))
        return int(max(self._scene_s(), 0.0) * min(rate_hz, self._scene.fps) / 2)

    def _node_facts(self) -> dict[str, str]:
        return self._listener.diagnostics.get("/tvau", {})

    def _camera_facts(self) -> dict[str, str]:
        return self._listener.diagnostics.get("/tvau: camera", {})


def main(arguments: list[str] | None = None) -> int:
    """Runs the demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tvau.demo", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="folder to write to")
    parser.add_argument("--model", default="", help="checkpoint; without it, the embedded one")
    parser.add_argument("--scene", default="", metavar="VIDEO", help="another video instead of the built-in scene")
    parser.add_argument("--deadline", type=float, default=240.0, metavar="S", help="give up after so many seconds")
    given = parser.parse_args(arguments)
    # A domain of its own: it neither disturbs other nodes nor is disturbed.
    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(1, 101))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    demo = None
    try:
        given.out.mkdir(parents=True, exist_ok=True)
        demo = Demo(given.out, given.model, given.scene, given.deadline)
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, demo.stop)
        return demo.run()
    except (OSError, TvauError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped")
        return 130
    finally:
        if demo is not None:
            demo.clean_up()


if __name__ == "__main__":
    sys.exit(main())
