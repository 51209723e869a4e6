"""The `tvau` node: any number of cameras on one model; heat maps, scores and events out, questions answered.

A lifecycle node. configure loads the model; activate listens and runs; deactivate ends the events and stops, keeping
the weights; cleanup frees them. It wires `tvau_runtime` to ROS and computes nothing itself.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from tvau_runtime import (
    ConfigError,
    Frame,
    Pipeline,
    PipelineConfig,
    StreamStats,
    StreamWorker,
    TvauError,
    Update,
    WorkerStats,
    open_pipeline,
)

from .asking import THREADS, Asking
from .camera_port import CameraPort
from .cv_bridge_probe import find_cv_bridge
from .diagnostics import CameraReport, camera_status, node_status
from .node_config import NodeConfig
from .parameters import Parameters
from .process import run
from .prompt_parameters import PREFIX, keep_prompts, read_prompts
from .services import Services

__all__ = ["TvauNode", "main"]

LOOK_PERIOD_S = 0.5
"""How often it is looked for cameras that send nothing."""
SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


class TvauNode(LifecycleNode):
    """Parameters that cannot be used are told at configure, which then fails; the node stays and can be mended."""

    def __init__(self, **options: Any) -> None:
        super().__init__("tvau", automatically_declare_parameters_from_overrides=True, **options)
        self.finished, self.exit_code, self.threads = threading.Event(), 0, 8 + THREADS
        self._state, self._problem = "unconfigured", ""
        self._pipeline: Pipeline | None = None
        self._worker: StreamWorker | None = None
        self._steering: Services | None = None
        self._ports: dict[str, CameraPort] = {}
        self._config, self._settings = NodeConfig(), PipelineConfig()
        self._seen: dict[str, tuple[int, int, int]] = {}  # frames received, bad and dropped at the last report
        self._frames: dict[str, WorkerStats] = {}
        """Of each camera; what was last known while the node is not active."""
        self._reported_at = time.monotonic()
        self._given = Parameters(
            self,
            NodeConfig,
            PipelineConfig,
            running=lambda: self._pipeline is not None,
            changed=self._parameters_changed,
            remedy="deactivate it and clean it up first (ros2 lifecycle set)",
            others=(PREFIX,),
        )
        self._asking = Asking(self, lambda: self._pipeline, lambda: self._worker)
        keep_prompts(self, running=lambda: self._pipeline is not None)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
        # Not the node's clock, which stands still when a simulation does.
        steady, reporting = Clock(clock_type=ClockType.STEADY_TIME), MutuallyExclusiveCallbackGroup()
        with contextlib.suppress(ConfigError):  # told when it is configured
            self._config = self._given.read(NodeConfig)
        self._report_timer = self.create_timer(
            self._config.report_period_s, self._report, callback_group=reporting, clock=steady
        )
        self.create_timer(LOOK_PERIOD_S, self._look, callback_group=reporting, clock=steady)

    def start(self) -> None:
        """Configures and activates, as a lifecycle manager would, unless `autostart` is off."""
        if self.get_parameter("autostart").value and self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def end(self) -> None:
        """Ends events, publishes that, and frees the model; for a process that ends, from whatever state."""
        self._stop(for_good=True)
        self._free()

    def destroy_node(self) -> None:
        """Also takes the life cycle's services off the graph: rclpy leaves them there, mute, until the garbage collector comes.

        Whoever calls a node of the same name in the meantime may be heard by them alone.
        """
        self._asking.destroy()
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    # Transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt("configure", self._configure, self._free)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        super().on_activate(state)  # its publishers
        done = self._attempt("activate", self._activate, self._stop)
        if done == SUCCESS:
            self._state = "active"
        return done

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()  # events end while they can still be published
        self._state = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._free()
        self._state, self._problem = "unconfigured", ""
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.end()
        self._state = "finalized"
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        self._free()
        self._state = "unconfigured"  # what was wrong stays on /diagnostics until the next attempt
        return SUCCESS

    def _attempt(self, name: str, step: Callable[[], None], undo: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            step()
        except Exception as error:
            self._problem = f"cannot {name}: {error}"
            undo()
            if isinstance(error, TvauError):
                self.get_logger().error(self._problem)
                return FAILURE
            self.get_logger().fatal(f"cannot {name}, which is a defect of tvau: {traceback.format_exc()}")
            return ERROR
        self._problem = ""
        return SUCCESS

    def _configure(self) -> None:
        self._config, self._settings = self._given.read(NodeConfig), self._given.read(PipelineConfig)
        self.get_logger().info(f"loading model '{self._settings.engine.model}'")
        self._pipeline = open_pipeline(self._settings)
        given = read_prompts(self, self._config.cameras, self._pipeline.prompts())
        for camera, prompts in given.items():
            self._pipeline.set_prompts(prompts, camera)
        backend = self._pipeline.backend
        bridge, about = find_cv_bridge()
        self.get_logger().info(f"model '{backend.spec.name}' on {backend.device}; {about}")
        for name in self._config.cameras:
            self._ports[name] = CameraPort(self, name, self._config, bridge, self._submit)
        self._steering = Services(self, self._pipeline, lambda: self._worker, self._config.cameras)
        self._parameters_changed()
        self._state = "inactive"

    def _activate(self) -> None:
        assert self._pipeline is not None
        self._worker = StreamWorker(self._pipeline, self._publish)
        for port in self._ports.values():
            port.open()
        question = "\"{question: 'Is there any anomaly in the video?'}\""
        service = self.resolve_service_name("~/query")
        self.get_logger().info(
            f"watching {', '.join(self._ports)}; ask: ros2 service call {service} tvau_msgs/srv/Query {question}"
        )

    def _stop(self, for_good: bool = False) -> None:
        for port in self._ports.values():
            port.close()
        worker, self._worker = self._worker, None  # which ends all answers in the making
        if for_good and self._pipeline is not None:
            self._pipeline.dialogue.close()  # a description in the making would hold the end up
        if worker is not None:
            worker.close()

    def _free(self) -> None:
        if self._steering is not None:
            self._steering.destroy()
            self._steering = None
        for port in self._ports.values():
            port.destroy()
        self._ports, self._seen, self._frames = {}, {}, {}
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.close()

    # The stream

    def _submit(self, frame: Frame) -> None:
        worker = self._worker
        if worker is not None:
            worker.submit(frame)

    def _publish(self, update: Update) -> None:
        port = self._ports.get(update.camera)
        if port is not None:
            port.publish(update)

    # Parameters and reports

    def _parameters_changed(self) -> None:
        """Takes on the settings that may change while the node runs, and what of them there is to take on while it does not."""
        try:
            self._config = self._given.read(NodeConfig)
        except ConfigError:
            if self._pipeline is None:  # told when it is configured
                return
            raise
        self._report_timer.timer_period_ns = round(self._config.report_period_s * 1e9)
        for port in self._ports.values():
            port.configure(self._config)
        if self._pipeline is not None:
            self._settings = self._given.read(PipelineConfig)
            self._pipeline.configure(events=self._settings.events, dialogue=self._settings.dialogue)

    def _look(self) -> None:
        for port in list(self._ports.values()):
            try:
                port.look_for_frames()
            except TvauError as error:
                self.get_logger().warning(f"trying again in {LOOK_PERIOD_S:g} s: {error}")

    def _report(self) -> None:
        now = time.monotonic()
        elapsed_s, self._reported_at = max(now - self._reported_at, 1e-3), now
        pipeline, name = self._pipeline, self.get_fully_qualified_name()
        facts: dict[str, Any] = {"model": self.get_parameter("engine.model").value}
        if pipeline is not None:
            facts |= {
                "model": pipeline.backend.spec.name,
                "device": pipeline.backend.device,
                "frames looked at (Hz)": f"{pipeline.geometry.process_rate_hz:g}",
                "clip length (frames)": pipeline.geometry.clip_length,
            }
        worker = self._worker
        if worker is not None:
            facts |= {"descriptions": worker.described, "descriptions left out": worker.undescribed}
        statuses = [node_status(name, self._state, self._problem, facts)]
        for port in list(self._ports.values()):
            statuses.append(camera_status(name, self._camera_report(port, elapsed_s), self._config.no_frame_warning_s))
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _camera_report(self, port: CameraPort, elapsed_s: float) -> CameraReport:
        pipeline, worker = self._pipeline, self._worker
        stream = pipeline.stats(port.name) if pipeline and port.name in pipeline.cameras else StreamStats()
        if worker and port.name in worker.cameras:
            self._frames[port.name] = worker.stats(port.name)
        frames = self._frames.get(port.name, WorkerStats())
        if worker is None:  # its counts stay, its rate does not
            frames = replace(frames, halvings=0, sampling_hz=0.0)
        received, bad, dropped = self._seen.get(port.name, (0, 0, 0))
        self._seen[port.name] = (port.received, port.bad, frames.dropped)
        return CameraReport(
            camera=port.name,
            topic=port.topic,
            frame_rate_hz=max(0, port.received - received) / elapsed_s,
            received=port.received,
            bad=port.bad,
            silent_s=port.silent_s,
            newly_dropped=max(0, frames.dropped - dropped),
            newly_bad=port.bad - bad,
            age_s=port.age_s,
            stream=stream,
            worker=frames,
        )


def main(arguments: list[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM; returns the exit code."""

    def make() -> TvauNode:
        node = TvauNode()
        node.start()
        return node

    return run(make, arguments)


if __name__ == "__main__":
    sys.exit(main())
