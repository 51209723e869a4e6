"""The tvau node over real DDS: from camera stamp to heat map, event and answer, and how many frames it can take.

By the method of NVIDIA's ros2_benchmark: the highest rate at which at most 5 % of the frames are lost, then fixed rates. Player,
node and listener are processes of their own; the camera sends 640 x 480 bgr8.

A frame counts as lost where no heat map comes of it, whether the middleware or the node's queue let go of it. Latency is from
the publication of a pair's later frame to the arrival of what comes of it at the listener.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from common import Skipped, command, export_of, frames, percentiles, ratios, spread, table
from ros import SAMPLING_HZ, SCENE, Ear, Played, Player, log_folder, ros, usage
from tvau_msgs.srv import Query

from tvau.conversions import from_time
from tvau.demo_nodes import NodeProcesses
from tvau_runtime import EngineConfig, Frame, Pipeline, PipelineConfig, StreamConfig, open_pipeline
from tvau_runtime.backends import find_model
from tvau_runtime.manifest import Manifest

__all__ = ["run"]

CAMERAS = (1, 2, 4, 8)
LOADS = (0.5, 0.9, 1.0, 1.5)
"""Shares of the peak rate."""
FLOOD = 2.5
"""Times the peak rate, all cameras together, at which one model meets several processes: more than either can take."""
LOST = 0.05
"""Largest share of frames that may be lost at the peak rate."""
SEARCH_STEPS, TRIAL_S, FIXED_S, ROUNDS = 6, 3.0, 5.0, 5
CALM = 0.25
"""Share of the library's own rate at which latency without queueing is measured."""
QUESTION = "Is there any anomaly in the video?"
OVERHEAD, LATENCY_MS, SHARED = 0.10, 15.0, 1.5
"""Targets: the node's share on top of the library's time, heat map behind the model's time, one model against four processes."""
ONE = "one_model_1"
"""The node that watches one camera; with more, the wait for messages itself costs more."""


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All figures of the node."""
    cameras = CAMERAS[:2] if options.quick else CAMERAS
    size = Manifest.read(find_model(options.model)).image_size
    try:
        model, reasons = str(export_of(options, [(size[0], size[1])])[size[0], size[1]]), {}
    except (Skipped, KeyError) as reason:
        model, reasons = options.model, {"onnxruntime": str(reason)}
    trial_s = 1.0 if options.quick else TRIAL_S
    nodes = NodeProcesses(log_folder(options.work))
    names = {f"one_model_{count}": [f"shared{count}_{number}" for number in range(count)] for count in cameras}
    names |= {f"alone_{number}": [f"alone{number}"] for number in range(max(cameras))}
    with ros():
        player, ear = Player([_topic(camera) for watched in names.values() for camera in watched]), Ear(nodes)
        try:
            _start(nodes, ear, player, {ONE: names[ONE]}, model, options.threads)
            with _library(model, options.threads) as pipeline:
                single = _Single(ear, player, nodes.pid(ONE), names[ONE][0], pipeline, options.quick)
                result = {"model": model, "device": pipeline.backend.device, **single.measure(trial_s)}
                _show_single(result)
            others = {name: watched for name, watched in names.items() if name != ONE}
            _start(nodes, ear, player, others, model, options.threads)
            result["cameras"] = _cameras(ear, player, nodes, names, result["peak_hz"], cameras, options.quick)
            _show_cameras(result["cameras"])
            nodes.interrupt()
            ear.until(nodes.all_ended, 60, "the end of the nodes")
        finally:
            player.close()
            ear.close()
            nodes.clean_up()
    return {**result, "not run": reasons}


def _topic(camera: str) -> str:
    return f"/{camera}/image_raw"


def _start(
    nodes: NodeProcesses, ear: Ear, player: Player, names: dict[str, list[str]], model: str, threads: int
) -> None:
    """Starts nodes, given by name with their cameras, and waits until they are active and hear the player."""
    for name, cameras in names.items():
        parameters = {
            "cameras": cameras,
            "image_topics": [_topic(camera) for camera in cameras],
            "reliability": "reliable",
            "report_period_s": 0.5,
            "engine.model": os.path.abspath(model) if os.path.isdir(model) else model,
            "engine.threads": threads,
            "engine.device": "cpu",
            "stream.process_rate_hz": SAMPLING_HZ,
            "stream.max_halvings": 0,  # what it can take is asked, not how it makes do
            "events.min_duration_s": 0.0,
            "events.update_period_s": 0.0,  # an event is told with every heat map
            "dialogue.describe_events": "never",  # the language model speaks only when it is asked
        }
        nodes.start(name, parameters, module="node")
        ear.follow(name, cameras)
    ear.until_active(list(names))
    topics = [_topic(camera) for cameras in names.values() for camera in cameras]
    ear.until(lambda: player.heard(topics), 30, "a listener on every image topic")


def _library(model: str, threads: int) -> Pipeline:
    engine = EngineConfig(model=model, threads=threads, device="cpu")
    return open_pipeline(PipelineConfig(engine=engine, stream=StreamConfig(process_rate_hz=SAMPLING_HZ)))


class _Library:
    """The same frames through the library in this process, pair by pair."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline, self._sent = pipeline, 0
        self._frames = frames(SCENE[1])[SCENE[0] :]
        self.cpu_ms: list[float] = []
        """Per pair, by batch."""

    def pairs(self, count: int) -> tuple[list[float], list[float]]:
        """Milliseconds for each whole pair, and for its later frame alone: what comes between that and its heat map."""
        whole, later, cpu_s = [], [], time.process_time()
        for _ in range(count):
            began = time.perf_counter()
            self._push()
            middle = time.perf_counter()
            self._push()
            ended = time.perf_counter()
            whole.append((ended - began) * 1e3)
            later.append((ended - middle) * 1e3)
        self.cpu_ms.append((time.process_time() - cpu_s) / count * 1e3)
        return whole, later

    def _push(self) -> None:
        self._sent += 1
        stamp_ns = round(self._sent / SAMPLING_HZ * 1e9)
        self._pipeline.push(Frame(self._frames[self._sent % len(self._frames)], stamp_ns, "camera", "optical"))


class _Single:
    """One camera on one node."""

    def __init__(self, ear: Ear, player: Player, pid: int, camera: str, pipeline: Pipeline, quick: bool) -> None:
        self._ear, self._player, self._pid, self._camera = ear, player, pid, camera
        self._library, self._quick = _Library(pipeline), quick

    def measure(self, trial_s: float) -> dict[str, Any]:
        self._library.pairs(10)
        library_ms, _ = self._library.pairs(20 if self._quick else 100)
        library_hz = 2000 / spread(library_ms)["median"]
        calm = self._calm(library_hz * CALM, trial_s)
        peak_hz, trials = self._search(library_hz, trial_s)
        fixed = [
            self._fixed(peak_hz * load, load, trial_s if self._quick else FIXED_S)
            for load in LOADS[: 1 if self._quick else 4]
        ]
        return {
            "calm": calm,
            "peak_hz": peak_hz,
            "trials": trials,
            "fixed": fixed,
            "answers": self._answers(peak_hz / 2),
        }

    def _play(self, rate_hz: float, duration_s: float) -> dict[str, Any]:
        """One run: what was sent, what came of it, and what the node used."""
        before = usage([self._pid])
        self._player.begin([_topic(self._camera)], min(rate_hz, SAMPLING_HZ * 4), duration_s)
        played = self._ear.hear(self._player)
        after = usage([self._pid])
        maps, events = self._ear.maps[self._camera], self._ear.events[self._camera]
        return {
            "asked_hz": rate_hz,
            "sent_hz": played.count / played.took_s,
            "sent": played.count,
            "took_s": played.took_s,
            "heat_maps": len(maps),
            "lost": max(0.0, 1 - 2 * len(maps) / played.count),
            "latency_ms": _latencies(played, self._camera, maps),
            "event_latency_ms": _latencies(played, self._camera, events),
            "cpu_percent": (after["cpu_s"] - before["cpu_s"]) / played.took_s * 100,
            "cpu_ms_per_heat_map": (after["cpu_s"] - before["cpu_s"]) / max(1, len(maps)) * 1e3,
            "memory_mb": after["memory_mb"],
        }

    def _calm(self, rate_hz: float, trial_s: float) -> dict[str, Any]:
        """Far below the peak, turn by turn with the library, so that both meet the same machine."""
        library, node, came, told = [], [], [], []
        for _ in range(2 if self._quick else ROUNDS):
            _, later = self._library.pairs(10 if self._quick else 40)
            run = self._play(rate_hz, trial_s)
            library.append(later)
            if not run["latency_ms"]:
                raise Skipped("no heat map came of frames far below the library's own rate; see the node's log")
            node.append(run["latency_ms"])
            came += run["latency_ms"]
            told += run["event_latency_ms"]
        medians = [spread(values)["median"] for values in library], [spread(values)["median"] for values in node]
        behind = percentiles(came).get("p95", 0.0) - spread([ms for values in library for ms in values])["median"]
        return {
            "rate_hz": rate_hz,
            "library_ms": percentiles([ms for values in library for ms in values]),
            "heat_map_ms": percentiles(came),
            "event_ms": percentiles(told),
            "times_library": ratios(medians[1], medians[0]),
            "p95_behind_model_ms": behind,
        }

    def _search(self, library_hz: float, trial_s: float) -> tuple[float, list[dict[str, Any]]]:
        """The highest rate with at most 5 % lost, by halving what lies between one that is too high and one that is not."""
        low, high, trials, best = 0.0, 2 * library_hz, [], 0.0
        for _ in range(3 if self._quick else SEARCH_STEPS):
            trial = self._play((low + high) / 2, trial_s)
            trials.append({name: trial[name] for name in ("asked_hz", "sent_hz", "lost")})
            if trial["lost"] <= LOST:
                low, best = trial["asked_hz"], max(best, trial["sent_hz"])
            else:
                high = trial["asked_hz"]
        return best or high / 2, trials

    def _fixed(self, rate_hz: float, load: float, duration_s: float) -> dict[str, Any]:
        """At a share of the peak, beside the library at its own pace just before and after."""
        before, _ = self._library.pairs(5 if self._quick else 30)
        run = self._play(rate_hz, duration_s)
        after, _ = self._library.pairs(5 if self._quick else 30)
        cpu_ms = sum(self._library.cpu_ms[-2:]) / 2
        return {
            **run,
            "load": load,
            "latency_ms": percentiles(run["latency_ms"]),
            "event_latency_ms": percentiles(run["event_latency_ms"]),
            "library_ms": spread(before + after)["median"],
            "library_cpu_ms": cpu_ms,
            "cpu_times_library": run["cpu_ms_per_heat_map"] / cpu_ms,
            "ms_per_heat_map": run["took_s"] / max(1, run["heat_maps"]) * 1e3,
        }

    def _answers(self, rate_hz: float) -> dict[str, Any]:
        """Questions one after the other while frames come at half the peak."""
        client = self._ear.asker(ONE)
        waiting: list[Any] = []
        spent, behind, lines = [], [], []

        def ask_again() -> None:
            if waiting and waiting[-1][1].done():
                asked_ns, future = waiting.pop()
                response = future.result()
                if response.ok:
                    spent.append((time.time_ns() - asked_ns) * 1e-6)
                    behind.append((time.time_ns(), from_time(response.evidence.window_end)))
                    lines.append(response.answer)
            if not waiting and self._ear.maps[self._camera]:
                waiting.append(
                    (time.time_ns(), client.call_async(Query.Request(question=QUESTION, camera=self._camera)))
                )

        self._player.begin([_topic(self._camera)], rate_hz, 2.0 if self._quick else 15.0)
        played = self._ear.hear(self._player, ask_again)
        if waiting:
            self._ear.until(waiting[-1][1].done, 60, "the last answer")
        published = played.at_ns[_topic(self._camera)]
        return {
            "rate_hz": rate_hz,
            "answer_ms": percentiles(spent),
            "from_stamp_ms": percentiles(
                [(at - published[stamp]) * 1e-6 for at, stamp in behind if stamp in published]
            ),
            "heat_map_ms_meanwhile": percentiles(_latencies(played, self._camera, self._ear.maps[self._camera])),
            "answers": sorted(set(lines))[:3],
        }


def _latencies(played: Played, camera: str, heard: Sequence[tuple[int, int]]) -> list[float]:
    """Milliseconds from publication to arrival, of what came of this run's frames."""
    published = played.at_ns[_topic(camera)]
    return [(came - published[stamp]) * 1e-6 for stamp, came in heard if stamp in published]


def _cameras(
    ear: Ear,
    player: Player,
    nodes: NodeProcesses,
    names: dict[str, list[str]],
    peak_hz: float,
    counts: Sequence[int],
    quick: bool,
) -> list[dict[str, Any]]:
    """Heat maps per second of so many cameras on one model, and on as many processes, turn by turn; more than they can take."""
    rows = []
    for count in counts:
        alone = [f"alone_{number}" for number in range(count)]
        sides = {
            "one model": (names[f"one_model_{count}"], [nodes.pid(f"one_model_{count}")]),
            "processes": ([names[name][0] for name in alone], [nodes.pid(name) for name in alone]),
        }
        per_s: dict[str, list[float]] = {side: [] for side in sides}
        cpu_ms: dict[str, list[float]] = {side: [] for side in sides}
        memory = {}
        for _ in range(1 if quick else 3):
            for side, (cameras, pids) in sides.items():
                before = usage(pids)
                player.begin([_topic(camera) for camera in cameras], FLOOD * peak_hz / count, 1.0 if quick else 3.0)
                played = ear.hear(player)
                after = usage(pids)
                maps = sum(len(ear.maps[camera]) for camera in cameras)
                per_s[side].append(maps / played.took_s)
                cpu_ms[side].append((after["cpu_s"] - before["cpu_s"]) / max(1, maps) * 1e3)
                memory[side] = after["memory_mb"]
        rows.append(
            {
                "cameras": count,
                "heat_maps_per_s": {side: spread(values) for side, values in per_s.items()},
                "one_model_times_processes": ratios(per_s["one model"], [max(p, 1e-9) for p in per_s["processes"]]),
                "cpu_ms_per_heat_map": {side: spread(values)["median"] for side, values in cpu_ms.items()},
                "memory_mb": memory,
            }
        )
    return rows


def _show_single(result: dict[str, Any]) -> None:
    calm, answers = result["calm"], result["answers"]

    def cells(values: dict[str, float]) -> list[Any]:
        return [values.get(name) for name in ("p50", "p95", "p99", "count")]

    table(
        f"node, {result['device']}, one camera: milliseconds from camera stamp; peak {result['peak_hz']:.0f} frames/s",
        ["what", "p50", "p95", "p99", "of"],
        [
            ["library, later frame of a pair", *cells(calm["library_ms"])],
            [f"heat map at {calm['rate_hz']:.0f} frames/s", *cells(calm["heat_map_ms"])],
            [f"event at {calm['rate_hz']:.0f} frames/s", *cells(calm["event_ms"])],
            [f"answer at {answers['rate_hz']:.0f} frames/s, from the question", *cells(answers["answer_ms"])],
            ["the same, from its window's last stamp", *cells(answers["from_stamp_ms"])],
            ["heat map meanwhile", *cells(answers["heat_map_ms_meanwhile"])],
        ],
    )
    behind = calm["p95_behind_model_ms"]
    verdict = "hit" if behind <= LATENCY_MS else "missed"
    print(f"  p95 of the heat map behind the model's median: {behind:.1f} ms, at most {LATENCY_MS:g}: {verdict}")
    rows = [
        [
            f"{run['load']:.0%}", run["sent_hz"], f"{run['lost']:.1%}", run["latency_ms"].get("p50"),
            run["latency_ms"].get("p95"), f"{run['cpu_percent']:.0f}%", run["cpu_ms_per_heat_map"], run["library_cpu_ms"],
            run["cpu_times_library"], run["memory_mb"],
        ]
        for run in result["fixed"]
    ]  # fmt: skip
    columns = ["of peak", "frames/s", "lost", "p50 ms", "p95 ms", "CPU", "CPU ms/pair", "library's", "times", "MB"]
    table("fixed rates", columns, rows)
    full = result["fixed"][-1]
    # Where the node is never idle, a pair takes it as long as one heat map is behind the other.
    more = full["ms_per_heat_map"] / full["library_ms"] - 1
    if full["load"] > 1:
        verdict = "hit" if more <= OVERHEAD else "missed"
        print(
            f"  under full load a pair takes the node {full['ms_per_heat_map']:.1f} ms, the library {full['library_ms']:.1f} ms: "
            f"{more:+.0%}, at most {OVERHEAD:+.0%}: {verdict}"
        )


def _show_cameras(rows: Sequence[dict[str, Any]]) -> None:
    shown = []
    for row in rows:
        rates, times = row["heat_maps_per_s"], row["one_model_times_processes"]
        quartiles = f"{times['q25']:.2f}..{times['q75']:.2f}"
        reached = ("hit" if times["median"] >= SHARED else "missed") if row["cameras"] == 4 else ""
        sides = ("one model", "processes")
        values = [rates[side]["median"] for side in sides]
        used = [row[what][side] for what in ("cpu_ms_per_heat_map", "memory_mb") for side in sides]
        shown.append([str(row["cameras"]), *values, times["median"], quartiles, *used, reached])
    columns = ["cameras", "one model, maps/s", "processes", "times", "quartiles"]
    columns += ["its CPU ms/map", "theirs", "its MB", "theirs", f">= {SHARED:g}"]
    table("cameras on one model against as many processes", columns, shown)


if __name__ == "__main__":
    sys.exit(command(run, __doc__))
