"""Videos planned and segments scored on a Ray cluster. The only module that knows Ray; it knows no command line.

Every task is one video or one segment. A worker process that dies is started again by Ray, and its task with it; what a task
has finished lies in the archive's folder, which all machines of a cluster must see under one path.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from ..config import EngineConfig
from ..errors import BackendError, FrameError
from ..stream import Geometry
from .plan import plan_video, write_plan
from .scoring import PLANS, SegmentScorer

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told about anyone's recordings
try:
    import ray
    import ray.data
except ImportError as error:
    raise BackendError(
        f"an archive is scored on Ray, which is not installed ({error}): pip install 'tvau[archive]'"
    ) from error

__all__ = ["Resources", "Scored", "Workers", "cluster", "plan_videos", "score_segments"]

OBJECT_STORE_BYTES = 256 * 2**20
"""Of a local cluster: its tasks exchange names, not data."""


@dataclass(frozen=True)
class Workers:
    """How many processes score, and what each takes of the cluster."""

    count: int
    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True)
class Scored:
    """A segment that is done, or why it is not."""

    key: str
    segment: int
    problem: str


@dataclass(frozen=True)
class Resources:
    """What a cluster has."""

    cpus: float
    gpus: float

    def room(self, cpus: float, gpus: float) -> int:
        """How many workers that take so much each there is room for. Raises `BackendError` where there is none for one, which
        Ray would wait for without a word."""
        places = int(min(self.cpus // cpus, self.gpus // gpus if gpus else self.cpus // cpus))
        if not places:
            raise BackendError(
                f"a worker takes {cpus:g} CPUs and {gpus:g} GPUs, and there are {self.cpus:g} and {self.gpus:g}: give a smaller "
                "--threads or --gpus-per-worker, or the --address of a larger cluster"
            )
        return places


@contextlib.contextmanager
def cluster(address: str, workers: int, cpus: int) -> Iterator[Resources]:
    """Connects to the cluster at an address; without one, starts one on this machine, which ends with this process.

    workers, cpus: a local cluster has room for so many of so many CPUs, also where the machine has fewer; 0 workers take what
    the machine has, or so many CPUs. Raises `BackendError` where there is no cluster.
    """
    settings: dict[str, Any] = {"address": address or "local", "log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        few = cpus > (os.cpu_count() or 1)
        settings |= {"num_cpus": workers * cpus or (cpus if few else None), "include_dashboard": False}
        settings |= {"object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(**settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BackendError(f"the Ray cluster {address or 'on this machine'} cannot be used: {error}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        there = ray.cluster_resources()
        yield Resources(cpus=there.get("CPU", 1.0), gpus=there.get("GPU", 0.0))
    finally:
        ray.shutdown()


def plan_videos(folder: Path, paths: Sequence[str], geometry: Geometry, segment_s: float) -> Iterator[tuple[str, str]]:
    """Plans videos and keeps the plans, in any order. Gives each path, and why it cannot be scored, or nothing."""
    if not paths:
        return

    def plan(row: dict[str, Any]) -> dict[str, Any]:
        try:
            write_plan(folder / PLANS, plan_video(row["path"], geometry, segment_s))
        except FrameError as error:
            return {**row, "problem": str(error)}
        return {**row, "problem": ""}

    context, left = ray.data.DataContext.get_current(), set(paths)
    context.max_errored_blocks = -1  # some files crash their decoder, and with it the process, as often as Ray tries
    try:
        items = [{"path": path} for path in paths]
        for row in ray.data.from_items(items, override_num_blocks=len(items)).map(plan).iter_rows():
            left.remove(row["path"])
            yield row["path"], row["problem"]
    finally:
        context.max_errored_blocks = 0
    for path in sorted(left):
        yield path, f"{path}: the process that looked it through failed; Ray's logs say how"


def score_segments(
    folder: Path, segments: Sequence[tuple[str, int]], engine: EngineConfig, prompts: dict[str, Any], workers: Workers
) -> Iterator[Scored]:
    """Scores segments (key of the video, number) and keeps their heat maps, in any order.

    Raises what opening the model raises.
    """

    class Worker:
        def __init__(self) -> None:
            os.environ["OPENCV_FFMPEG_THREADS"] = str(engine.threads)
            cv2.setNumThreads(engine.threads)
            self._scorer = SegmentScorer(folder, engine, prompts)

        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            return {**row, "problem": self._scorer.score(row["key"], row["segment"])}

    items = [{"key": key, "segment": segment} for key, segment in segments]
    scored = ray.data.from_items(items, override_num_blocks=len(items)).map(
        Worker,  # type: ignore[arg-type]
        compute=ray.data.ActorPoolStrategy(size=workers.count, max_tasks_in_flight_per_actor=2),
        num_cpus=workers.cpus,
        num_gpus=workers.gpus,
    )
    for row in scored.iter_rows():
        yield Scored(row["key"], row["segment"], row["problem"])
