"""How much faster an archive is scored by two workers than by one, each with one thread, on one Ray cluster of two CPUs.

Both score the same segments of the built-in scene, in turn, round by round. The rate is of the segments after every worker's
first, so that starting workers and opening models is not in it; the whole time, which has it, stands beside.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import DEMO, QUICK_ROUNDS, Skipped, command, ratios, spread, table

from tvau_runtime.archive.plan import plan_video, write_plan
from tvau_runtime.archive.scoring import PLANS
from tvau_runtime.config import EngineConfig, PipelineConfig
from tvau_runtime.errors import BackendError
from tvau_runtime.pipeline import open_pipeline

__all__ = ["run"]

ROUNDS = 7
VIDEOS, SEGMENT_S = 24, 20.0
COUNTS = (1, 2)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Segments per second with one and with two workers, by round, and their ratio."""
    try:
        from tvau_runtime.archive.cluster import Workers, cluster, score_segments
    except BackendError as error:
        raise Skipped(str(error)) from error
    engine = EngineConfig(model=options.model, threads=1)
    with open_pipeline(PipelineConfig(engine=engine)) as pipeline:
        geometry = pipeline.geometry
    rounds = options.rounds or (min(QUICK_ROUNDS, 2) if options.quick else ROUNDS)
    rates: dict[int, list[float]] = {count: [] for count in COUNTS}
    whole: dict[int, list[float]] = {count: [] for count in COUNTS}
    with cluster("", 2, 1):
        for number in range(rounds):
            for count in COUNTS[:: 1 if number % 2 else -1]:
                with tempfile.TemporaryDirectory() as folder:
                    work = _work(Path(folder), VIDEOS // 4 if options.quick else VIDEOS, geometry)
                    began = time.perf_counter()
                    done = []
                    for scored in score_segments(Path(folder), work, engine, {}, Workers(count)):
                        if scored.problem:
                            raise BackendError(scored.problem)
                        done.append(time.perf_counter())
                whole[count].append(done[-1] - began)
                rates[count].append((len(done) - count) / (done[-1] - done[count - 1]))
    faster, faster_whole = ratios(rates[2], rates[1]), ratios(whole[1], whole[2])
    rows = [(f"{count} worker{'s' * (count > 1)}", spread(rates[count])["median"], spread(whole[count])["median"])
            for count in COUNTS]  # fmt: skip
    table(f"archive: {VIDEOS} videos, segments of {SEGMENT_S:g} s", ["workers", "segments/s", "whole (s)"], rows)
    quartiles = f"{faster['q25']:.2f} to {faster['q75']:.2f}"
    print(f"  two workers are {faster['median']:.2f} times as fast as one (quartiles {quartiles}, {rounds} rounds)")
    return {"rates": rates, "whole_s": whole, "ratio": faster, "ratio_whole": faster_whole}


def _work(folder: Path, videos: int, geometry: Any) -> list[tuple[str, int]]:
    """Plans of so many links to the scene, and their segments."""
    segments = []
    for number in range(videos):
        path = folder / f"{number}.mp4"
        path.symlink_to(DEMO)
        plan = plan_video(str(path), geometry, SEGMENT_S)
        write_plan(folder / PLANS, plan)
        segments += [(plan.key, segment) for segment in range(plan.segments)]
    return segments


if __name__ == "__main__":
    sys.exit(command(run, __doc__))
