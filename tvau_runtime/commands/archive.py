"""`tvau archive`: thousands of recorded videos, cut into segments and scored by many processes or machines, to two tables.

What is done is on disk as soon as it is done; the same command goes on after whatever stopped it.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..archive.files import write_whole
from ..archive.progress import Progress
from ..archive.settings import claim_folder, find_videos, score_settings, write_run
from ..config import EngineConfig, EventConfig, PipelineConfig, describe
from ..errors import ConfigError
from ..report import span_text
from ..stream import Geometry
from .facts import package_version, prompt_facts
from .interrupts import ending_on_sigterm
from .options import add_flags, load_config, open_with_prompts

__all__ = ["add", "run"]

DESCRIPTION = """\
Scores recorded videos in parallel, on this machine or on a Ray cluster, and writes into a folder
  scores.parquet   the anomaly score of every frame pair of every video (seconds, 0..1, pixels)
  events.parquet   every event: when, how hot, where, and its track
  index.html       all of it to read: the hottest events, every video's score over time, what is damaged
  run.json         the figures, and the settings that scores depend on
  progress/        what a later run goes on from; may be deleted when nothing is to be added

A long video is cut into segments that are scored side by side; scores and events are those of the video in one piece.
A worker that dies is started again. A damaged video is reported and skipped. Events get no words: ask with `tvau ask`."""
EXAMPLES = """\
examples:
  tvau archive recordings/ --out results                     a folder, with all folders in it
  tvau archive "cam?/2024-*.mkv" gate.mp4 --out results      patterns and files
  tvau archive recordings/ --out results --workers 8         so many processes
  tvau archive /nfs/videos --out /nfs/results --address auto     the Ray cluster that this machine belongs to
  tvau archive recordings/ --out results --on-threshold 0.95     other events from the same scores: nothing is scored again

Ctrl-C keeps all that is done; the same command goes on. Videos that were added or changed since are scored, and only they.
Exit code 1 says that a video is damaged, 130 that the run was stopped.
On a cluster, tvau is installed on every machine, and videos and --out lie on a disk that all of them see."""
DAMAGED, INTERRUPTED = 1, 130
MAX_LISTED = 20
"""Damaged videos in the summary at the end."""


def add(parsers: argparse._SubParsersAction) -> None:
    parser = parsers.add_parser(
        "archive",
        help="score thousands of recorded videos, on many cores or machines",
        usage="tvau archive [options] URI... --out DIR",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "uris", nargs="+", metavar="URI", help="a video file, a folder, or a pattern such as 'cam*/*.mp4'"
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write to, or to go on in")
    group = parser.add_argument_group("workers")
    group.add_argument("--address", default="", help="of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT")
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that score [default: as many as CPUs or GPUs are enough for]",
    )
    group.add_argument(
        "--gpus-per-worker", type=float, default=0.0, metavar="N", help="such as 1, or 0.5 for two on each [default: 0]"
    )
    group.add_argument(
        "--segment-s",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="length of a segment (s) [1 to 86400; default: 60]",
    )
    add_flags(parser, ("engine", "stream", "events"))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Scores what is not scored yet and writes the tables. Returns 0, 1 where a video is damaged, or 130 after Ctrl-C."""
    config, prompts = load_config(args)
    for name, low, high in (("workers", 1, 10_000), ("gpus_per_worker", 0, 64), ("segment_s", 1, 86_400)):
        value = getattr(args, name)
        if value is not None and not low <= value <= high:
            raise ConfigError(f"--{name.replace('_', '-')} must be from {low} to {high}, got {value:g}")
    from ..archive import cluster, tables  # noqa: F401  what is not installed is told first

    paths = find_videos(args.uris)
    engine = dataclasses.replace(config.engine, threads=config.engine.threads or 1)
    config = dataclasses.replace(config, engine=engine)
    with open_with_prompts(config, prompts) as pipeline:  # and so is what is wrong with the model
        geometry, model, shown = pipeline.geometry, pipeline.backend.spec.name, prompt_facts(pipeline)
        settings = score_settings(engine, geometry, pipeline.prompts(), args.segment_s)
    folder = Path(args.out).absolute()
    claim_folder(folder, settings)
    archive = _Archive(args, folder, config, prompts, geometry, Progress(folder, paths))
    code, began = 0, time.monotonic()
    try:
        with ending_on_sigterm():
            archive.score()
    except KeyboardInterrupt:
        code = INTERRUPTED
    finally:  # also when the cluster fails: what there is, is written
        archive.finish(settings, {"Model": {"Model": model}, "Prompts": shown}, time.monotonic() - began)
    return code or archive.code


class _Archive:
    """One run over all videos, from their plans to the summary."""

    def __init__(
        self,
        args: argparse.Namespace,
        folder: Path,
        config: PipelineConfig,
        prompts: dict[str, Any],
        geometry: Geometry,
        progress: Progress,
    ) -> None:
        self._args, self._folder, self._config, self._prompts = args, folder, config, prompts
        self._geometry, self._progress = geometry, progress
        self._workers = self._segments = 0
        self._scored_s = 0.0
        self.code = 0

    def score(self) -> None:
        """Looks through and scores what has not been."""
        from ..archive.cluster import Workers, cluster, plan_videos, score_segments

        progress, engine = self._progress, self._config.engine
        if not progress.unplanned and not progress.waiting():
            return
        room = self._args.workers or 0, engine.threads
        with (
            cluster(self._args.address, *room) as resources,
            ending_on_sigterm(),
        ):  # Ray has put in a handler of its own
            unplanned = list(progress.unplanned)
            with _bar("looking through", total=len(unplanned), unit="video") as bar:
                for path, problem in plan_videos(self._folder, unplanned, self._geometry, self._args.segment_s):
                    progress.planned(path, problem)
                    bar.update()
            waiting = progress.waiting()
            if not waiting:
                return
            places = resources.room(engine.threads, self._args.gpus_per_worker)
            workers = Workers(
                self._args.workers or places,
                cpus=engine.threads,
                gpus=self._args.gpus_per_worker,
            )
            self._workers = workers.count
            plans = {plan.key: plan for plan, _ in waiting}
            left_s = sum(plan.seconds(segment) for plan, segment in waiting)
            total_s = progress.seconds()
            with _bar("scoring", total=round(total_s), initial=round(max(total_s - left_s, 0)), unit="s") as bar:
                segments = [(plan.key, segment) for plan, segment in waiting]
                for done in score_segments(self._folder, segments, engine, self._prompts, workers):
                    plan = plans[done.key]
                    if done.problem:
                        progress.fail(plan.path, done.problem)
                    else:
                        self._segments += 1
                        self._scored_s += plan.seconds(done.segment)
                    bar.update(plan.seconds(done.segment))

    def finish(self, settings: dict[str, Any], facts: dict[str, dict[str, str]], wall_s: float) -> None:
        """Writes tables, page and run.json of all videos that are done, and says what came of the run."""
        from ..archive.page import Overview
        from ..archive.tables import VideoResult, result_of, write_tables

        progress, events = self._progress, self._config.events
        overview = Overview(_common(progress.paths), events.on_threshold)

        def results() -> Iterator[VideoResult]:
            for plan, heatmaps in progress.finished():
                result = result_of(plan, heatmaps, events)
                overview.add(result)
                yield result

        write_tables(self._folder, results())
        problems, skipped = progress.problems, len(progress.failed)
        self.code = DAMAGED if problems else 0
        left = len(progress.paths) - overview.videos - skipped
        notice = f"{left} of {len(progress.paths)} videos are not scored to their end yet." if left else ""
        speed = f", {self._scored_s / wall_s:.1f} times real time" if wall_s and self._segments else ""
        facts = {
            "Run": {
                "Videos": f"{len(progress.paths)}, of which {skipped} skipped and {left} not done",
                "Scored in this run": f"{self._segments} segments, {span_text(self._scored_s)} of footage",
                "Time taken": f"{span_text(wall_s)}{speed}",
                "Workers": str(self._workers),
            },
            **facts,
            "Settings": _settings(self._config, self._geometry, self._args.segment_s),
            "Versions": {
                name: package_version(name) or "not installed as a package"
                for name in ("tvau", "ray", "pyarrow", "numpy")
            }
            | {"Python": platform.python_version()},
        }
        page = overview.render(problems, facts, notice)
        write_whole(self._folder / "index.html", lambda file: file.write(page.encode("utf-8", "replace")))
        figures = {
            "videos": len(progress.paths), "scored": overview.videos, "not_done": left, "problems": problems,
            "footage_s": round(overview.seconds, 3), "heatmaps": overview.heatmaps, "events": overview.events,
            "top_score": round(overview.top, 4),
            "last_run": {"segments": self._segments, "footage_s": round(self._scored_s, 3), "wall_s": round(wall_s, 3),
                         "workers": self._workers},
        }  # fmt: skip
        write_run(self._folder, settings, figures)
        print(
            f"{self._segments} segments, {span_text(self._scored_s)} of footage, scored in {span_text(wall_s)}{speed}"
        )
        print(
            f"{overview.videos} of {len(progress.paths)} videos done: {span_text(overview.seconds)} of footage, "
            f"{overview.heatmaps} heat maps, {overview.events} events, highest score {overview.top:.2f}"
        )
        for path, problem in list(problems.items())[:MAX_LISTED]:
            said = problem if path in problem else f"{path}: {problem}"
            print(f"{'skipped' if path in progress.failed else 'damaged'}: {said}")
        if len(problems) > MAX_LISTED:
            print(f"and {len(problems) - MAX_LISTED} more damaged videos, in run.json")
        if notice:
            print(f"{notice} The same command goes on with them.")
        print(f"written to {self._folder}: scores.parquet, events.parquet, index.html, run.json")


def _bar(what: str, total: int, unit: str, initial: int = 0) -> tqdm:
    """Its time left is that of the mean rate of this run, which what was done before has no part in."""
    return tqdm(
        desc=what, total=total, unit=unit, initial=initial, smoothing=0, disable=None, file=sys.stderr,
        bar_format="{desc}: {percentage:3.0f}% |{bar}| {n:.0f}/{total:.0f} {unit} [{elapsed}, {remaining} left]",
    )  # fmt: skip


def _common(paths: list[str]) -> str:
    """The folder that all videos lie in."""
    return os.path.commonpath([os.path.dirname(path) for path in paths])


def _settings(config: PipelineConfig, geometry: Geometry, segment_s: float) -> dict[str, str]:
    shown = {"process_rate_hz": f"{geometry.process_rate_hz:g}", "max_gap_s": f"{geometry.max_gap_s:g}"}
    for part, kind in ((config.engine, EngineConfig), (config.events, EventConfig)):
        for option in describe(kind):
            value = getattr(part, option.path)
            shown[option.path] = f"{value:g}" if isinstance(value, float) else str(value)
    return {**shown, "segment_s": f"{segment_s:g}"}
