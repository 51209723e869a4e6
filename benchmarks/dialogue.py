"""Dialogue: how soon an answer begins, turn by turn, and what those who ask cost the video stream.

Until the first token: turns 1, 2 and 5 of a dialogue that goes on from its kept cache, against reading evidence, history and
question anew.

Over DDS: a node watches a camera, at half of the frames that it can take and at 1.5 times as many, while 0, 1, 4 and 16 callers
have dialogues with it without a pause; heat maps per second and their latency as ratios to those of no callers, run in turn, with
the share of the time that `dialogue.share` gives to answers by default, and without any (1, which never rests).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from callers import Asked, Callers
from common import Skipped, command, export_of, percentiles, prepare, ratio, ratios, spread, table, timed
from language import demo_window, prompt
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros import SAMPLING_HZ, Ear, Player, log_folder, ros

from tvau.demo_nodes import NodeProcesses
from tvau_runtime import DialogueConfig, EngineConfig, Window, chat, open_backend
from tvau_runtime.backends import find_model
from tvau_runtime.backends.base import Backend
from tvau_runtime.dialogue import DialogueEngine
from tvau_runtime.generation import Context
from tvau_runtime.manifest import Manifest

__all__ = ["run"]

CALLERS = (0, 1, 4, 16)
LOADS = (0.5, 1.5)
"""Frames per second, as shares of those that the node can take."""
FOLLOW_UPS = (2, 5)
"""Later turns whose first token is timed."""
WARM_UP = 2
FIRST, LATER = chat.QUESTION_ANOMALY, chat.QUESTION_TARGET
NODE, CAMERA = "asked", "watched"
TOPIC = f"/{CAMERA}/image_raw"
ROUNDS, RUN_S, TOKEN_ROUNDS = 5, 4.0, 20


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All figures of dialogue."""
    size = Manifest.read(find_model(options.model)).image_size
    try:
        export, reasons = str(export_of(options, [(size[0], size[1])])[size[0], size[1]]), {}
    except (Skipped, KeyError) as reason:
        export, reasons = "", {"onnxruntime": str(reason)}
    rounds = options.rounds or (3 if options.quick else TOKEN_ROUNDS)
    engines = {"torch": options.model, **({"onnxruntime": export} if export else {})}
    prepare(options)
    result: dict[str, Any] = {"first_token": _first_tokens(engines, options, rounds)}
    with ros():
        result["callers"] = _Asked(export or options.model, options).measure()
    return {**result, "not run": reasons}


def _first_tokens(engines: dict[str, str], options: argparse.Namespace, rounds: int) -> dict[str, Any]:
    found = {}
    for name, model in engines.items():
        backend = "torch" if name == "torch" else "onnx"
        engine = open_backend(EngineConfig(model=model, backend=backend, device="cpu", threads=options.threads))
        rows = list(first_tokens(engine, demo_window(engine), options, rounds).values())
        table(f"until the first token, {engine.device}", ["", "ms", "x turn 1", "x recomputed"], rows)
        found[name] = {row[0]: dict(zip(("ms", "x_turn_1", "x_recomputed"), row[1:], strict=True)) for row in rows}
        engine.close()
    return found


def first_tokens(engine: Backend, window: Window, options: argparse.Namespace, rounds: int) -> dict[str, list[Any]]:
    """Rows: what, milliseconds, times turn 1, and times the same recomputed."""
    short = DialogueConfig(max_new_tokens=1, max_sessions=10000)
    cold, ahead = (DialogueEngine(engine, short, lambda *_: window) for _ in range(2))
    ahead.prefill(window)
    rows, columns = engine.spec.grid
    pixels = np.zeros((1, rows * columns, engine.spec.patch_dim), np.float32)
    calls: dict[str, Callable[[], object]] = {
        "turn 1": lambda: cold.ask(FIRST),
        "turn 1, recomputed": lambda: Context(engine, *prompt(engine, window, chat.question_text(FIRST, first=True))),
        "turn 1, read ahead": lambda: ahead.ask(FIRST),
        "(reading ahead)": lambda: (cold.prefill(window), cold.forget()),
        "(a frame pair)": lambda: engine.encode(pixels),
    }
    for turn in FOLLOW_UPS:
        dialogue = DialogueEngine(engine, DialogueConfig(max_sessions=10000), lambda *_: window)
        begun = [_begin(dialogue, turn - 1) for _ in range(rounds + WARM_UP)]
        history = begun[0][1]
        dialogue.config = short
        calls[f"turn {turn}"] = lambda dialogue=dialogue, begun=begun: dialogue.ask(LATER, session=begun.pop()[0])
        calls[f"turn {turn}, recomputed"] = lambda history=history: Context(engine, *prompt(engine, window, history))
    spent = timed(calls, options, rounds, WARM_UP)
    found = {}
    for name, values in spent.items():
        again = spent.get(f"{name}, recomputed")
        against = ratio(values, again) if again else "-"
        found[name] = [name, statistics.median(values), ratio(values, spent["turn 1"]), against]
    return found


def _begin(dialogue: DialogueEngine, turns: int) -> tuple[str, str]:
    """A session that has had so many turns, and all that was said with one more question."""
    session, said = "", ""
    for turn in range(turns + 1):
        question = FIRST if not turn else LATER
        said += ("" if not turn else chat.ANSWER_END) + chat.question_text(question, first=not turn)
        if turn < turns:
            answer = dialogue.ask(question, session=session)
            session, said = answer.session, said + answer.text
    return session, said


class _Asked:
    """One node, one camera, and those who ask."""

    def __init__(self, model: str, options: argparse.Namespace) -> None:
        self._nodes = NodeProcesses(log_folder(options.work))
        self._quick, self._rounds = options.quick, options.rounds or (1 if options.quick else ROUNDS)
        self._run_s = 1.5 if options.quick else RUN_S
        self._player, self._ear, self._callers = Player([TOPIC]), Ear(self._nodes), Callers(NODE)
        parameters = {
            "cameras": [CAMERA],
            "image_topics": [TOPIC],
            "reliability": "reliable",
            "engine.model": os.path.abspath(model) if os.path.isdir(model) else model,
            "engine.threads": options.threads,
            "engine.device": "cpu",
            "stream.process_rate_hz": SAMPLING_HZ,
            "stream.max_halvings": 0,  # what the stream loses is to be seen
            "dialogue.describe_events": "never",
            "dialogue.max_sessions": 4 * CALLERS[-1],  # none expires
        }
        self._nodes.start(NODE, parameters, module="node")
        self._ear.follow(NODE, [CAMERA])

    def measure(self) -> dict[str, Any]:
        try:
            self._ear.until_active([NODE])
            self._ear.until(lambda: self._player.heard([TOPIC]), 30, "a listener on the image topic")
            self._ear.until(self._callers.ready, 30, "the node's service and action")
            self._play(2 * SAMPLING_HZ, 0)
            peak_hz = statistics.median(2 * self._play(2 * SAMPLING_HZ, 0)["maps_per_s"] for _ in range(3))
            shares = (DialogueConfig().share, 1.0)
            rows = []
            for load in LOADS[1:] if self._quick else LOADS:
                rows += self._compare(peak_hz * load, load, CALLERS[:3] if self._quick else CALLERS, shares)
            self._nodes.interrupt()
            self._ear.until(self._nodes.all_ended, 60, "the end of the node")
        finally:
            self._player.close()
            self._callers.close()
            self._ear.close()
            self._nodes.clean_up()
        _show(rows, peak_hz)
        return {"peak_hz": peak_hz, "rows": rows}

    def _compare(
        self, rate_hz: float, load: float, counts: Sequence[int], shares: Sequence[float]
    ) -> list[dict[str, Any]]:
        conditions = [(0, shares[0]), *((count, share) for share in shares for count in counts[1:])]
        runs: dict[tuple[int, float], list[dict[str, Any]]] = {condition: [] for condition in conditions}
        for number in range(self._rounds):
            first = number % len(conditions)  # none always runs behind the same other one
            for count, share in conditions[first:] + conditions[:first]:
                self._set_share(share)
                runs[count, share].append(self._play(rate_hz, count))
        alone = runs[0, shares[0]]
        rows = []
        for (count, share), played in runs.items():
            asked: list[Asked] = [each for one in played for each in one["asked"]]
            good = [each for each in asked if each.ok]
            failed = [each for each in asked if not (each.ok or each.busy)]
            rows.append(
                {
                    "load": load,
                    "rate_hz": rate_hz,
                    "callers": count,
                    "share": share,
                    "maps_per_s": spread([one["maps_per_s"] for one in played]),
                    "maps_times_alone": ratios(
                        [one["maps_per_s"] for one in played], [one["maps_per_s"] for one in alone]
                    ),
                    "p95_ms": spread([one["p95_ms"] for one in played]),
                    "p95_times_alone": ratios([one["p95_ms"] for one in played], [one["p95_ms"] for one in alone]),
                    "answers_per_s": len(good) / (self._run_s * len(played)),
                    "answer_ms": percentiles([each.whole_ms for each in good]),
                    "first_words_ms": percentiles([each.first_ms for each in good if each.first_ms is not None]),
                    "busy": sum(each.busy for each in asked) / max(1, len(asked)),
                    "failed": len(failed),
                }
            )
        return rows

    def _play(self, rate_hz: float, callers: int) -> dict[str, Any]:
        if callers:
            self._callers.begin(callers, self._run_s)
        self._player.begin([TOPIC], rate_hz, self._run_s)
        played = self._ear.hear(self._player)
        asked = self._callers.asked() if callers else []
        published, maps = played.at_ns[TOPIC], self._ear.maps[CAMERA]
        came = [(at - published[stamp]) * 1e-6 for stamp, at in maps if stamp in published]
        if not came:
            raise Skipped("no heat map came; see the node's log")
        return {"maps_per_s": len(came) / played.took_s, "p95_ms": percentiles(came)["p95"], "asked": asked}

    def _set_share(self, share: float) -> None:
        client = self._ear.create_client(SetParameters, f"/{NODE}/set_parameters")
        self._ear.until(client.service_is_ready, 20, "the node's parameters")
        done = client.call_async(
            SetParameters.Request(parameters=[Parameter("dialogue.share", value=share).to_parameter_msg()])
        )
        self._ear.until(done.done, 20, "a set parameter")
        self._ear.destroy_client(client)


def _show(rows: Sequence[dict[str, Any]], peak_hz: float) -> None:
    shown = []
    for row in rows:
        maps, times, answer = row["maps_per_s"], row["maps_times_alone"], row["answer_ms"]
        quartiles = f"{times['q25']:.2f}..{times['q75']:.2f}"
        shown.append(
            [
                f"{row['load']:.0%}",
                row["callers"],
                row["share"] if row["callers"] else None,
                maps["median"],
                times["median"],
            ]
            + [quartiles, row["p95_ms"]["median"], row["p95_times_alone"]["median"], row["answers_per_s"]]
            + [
                answer.get("p50"),
                answer.get("p95"),
                row["first_words_ms"].get("p50"),
                f"{row['busy']:.0%}",
                row["failed"],
            ]
        )
    columns = ["of peak", "callers", "share", "maps/s", "x none", "quartiles", "p95 ms", "x none", "answers/s"]
    columns += ["answer p50 ms", "p95 ms", "first words p50 ms", "busy", "failed"]
    table(f"callers over DDS beside a camera; the node takes {peak_hz:.0f} frames/s", columns, shown)


if __name__ == "__main__":
    sys.exit(command(run, __doc__))
