"""Whether memory grows over a long stream: an hour of camera time, pushed as fast as it goes, for each engine.

Each engine runs in a process of its own. Its resident memory is read at intervals; the slope is that of a straight line through
what comes after the warm-up, with the error of that slope. A question is asked every minute of camera time.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import psutil
from common import Skipped, command, export_of, frames, table

from tvau_runtime import DialogueConfig, EngineConfig, Frame, PipelineConfig, open_pipeline
from tvau_runtime.backends import find_model
from tvau_runtime.manifest import Manifest

__all__ = ["run", "slope"]

HOUR_S, QUICK_S = 3600.0, 60.0
WARM_UP = 0.25
"""Share of the stream that does not count: the stores of bounded length fill, the allocator finds its size."""
READINGS = 60
QUESTION, QUESTION_EVERY_S = "Is there any anomaly in the video?", 60.0
SESSIONS = 2
"""Dialogues that are kept: as few as may be, so that these caches are full long before the warm-up ends."""
TARGET_MB = 1.0
"""Growth per hour below which there is none."""


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Resident memory over the stream, and its slope, by engine."""
    duration_s = QUICK_S if options.quick else HOUR_S
    models, reasons = {"torch": options.model}, {}
    size = Manifest.read(find_model(options.model)).image_size
    try:
        models["onnxruntime"] = str(export_of(options, [(size[0], size[1])])[size[0], size[1]])
    except (Skipped, KeyError) as reason:
        reasons["onnxruntime"] = str(reason)
    results = {}
    for name, model in models.items():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            results[name] = alone.submit(
                _watch, model, "torch" if name == "torch" else "onnx", options.threads, duration_s
            ).result()
    rows = []
    for name, row in results.items():
        grown = row["slope_mb_per_hour"]
        reached = "-" if options.quick else "hit" if grown - 2 * row["slope_error"] <= TARGET_MB else "missed"
        last, error = row["rss_mb"][-1], f"± {row['slope_error']:.2f}"
        rows.append((name, row["frames"], row["took_s"], row["rss_mb"][0], last, grown, error, reached))
    columns = ["engine", "frames", "took s", "first MB", "last MB", "MB per hour", "error", f"at most {TARGET_MB:g}"]
    table(f"memory over {duration_s:.0f} s of camera time", columns, rows)
    for what, why in reasons.items():
        print(f"  {what} was not run: {why}")
    return {"camera_s": duration_s, "warm_up": WARM_UP, "engines": results, "not run": reasons}


def _watch(model: str, backend: str, threads: int, duration_s: float) -> dict[str, Any]:
    taken, process = frames(400), psutil.Process()
    engine = EngineConfig(model=model, backend=backend, threads=threads, device="cpu")
    config = PipelineConfig(engine=engine, dialogue=DialogueConfig(max_sessions=SESSIONS))
    with open_pipeline(config) as pipeline:
        rate_hz = pipeline.geometry.process_rate_hz
        count = round(duration_s * rate_hz)
        every, between = max(1, count // READINGS), max(1, round(QUESTION_EVERY_S * rate_hz))
        at_s, rss_mb, events = [], [], 0
        began = time.perf_counter()
        for number in range(count):
            stamp_ns = round(number / rate_hz * 1e9)
            for update in pipeline.push(Frame(taken[number % len(taken)], stamp_ns, "camera", "optical")):
                events += len(update.events)
            if number % between == between - 1:
                pipeline.ask(QUESTION)
            if number % every == every - 1:
                gc.collect()  # what only waits for the collector is no growth
                at_s.append(stamp_ns * 1e-9)
                rss_mb.append(process.memory_info().rss / 2**20)
        took_s = time.perf_counter() - began
        steps = pipeline.stats("camera").steps
    late = [i for i, at in enumerate(at_s) if at >= WARM_UP * duration_s]
    per_s, error = slope([at_s[i] for i in late], [rss_mb[i] for i in late])
    return {
        "frames": count,
        "heat_maps": steps,
        "event_messages": events,
        "took_s": took_s,
        "at_s": at_s,
        "rss_mb": rss_mb,
        "slope_mb_per_hour": per_s * 3600,
        "slope_error": error * 3600,
    }


def slope(x: list[float], y: list[float]) -> tuple[float, float]:
    """Of the straight line through at least three points (least squares), and its standard error."""
    a, b = np.asarray(x, float), np.asarray(y, float)
    a = a - a.mean()
    steep = float(a @ b / (a @ a))
    left = b - b.mean() - steep * a
    return steep, float(np.sqrt(left @ left / (len(a) - 2) / (a @ a)))


if __name__ == "__main__":
    sys.exit(command(run, __doc__))
