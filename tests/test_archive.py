"""Archives: segments against videos in one piece, a real Ray cluster with workers and runs that are killed, damaged videos."""

import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tvau_runtime.archive.plan import pairs_of, plan_video, read_plan, video_key, write_plan
from tvau_runtime.archive.progress import Progress
from tvau_runtime.archive.scoring import ATTEMPTS, PLANS, SegmentScorer, heatmaps_path, read_heatmaps
from tvau_runtime.archive.settings import claim_folder, find_videos, write_run
from tvau_runtime.cli import main
from tvau_runtime.config import EngineConfig, EventConfig, PipelineConfig
from tvau_runtime.errors import BackendError, ConfigError, FrameError
from tvau_runtime.pipeline import open_pipeline
from tvau_runtime.types import Frame, Phase
from tvau_runtime.video import VideoReader, listed_stamps

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "tvau_runtime" / "assets" / "demo.mp4"
CLIPS = ROOT.parent / "shared" / "data"
ENGINE = EngineConfig(threads=1)
SOON_S = 600.0
"""How long what must happen may take on a busy machine."""


@pytest.fixture(scope="module")
def pieces():
    """The built-in scene in one piece through the pipeline: heat maps, events at their END, and how frames become windows."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    heatmaps, events = [], {}
    with open_pipeline(PipelineConfig(engine=ENGINE)) as pipeline, VideoReader(DEMO) as video:
        updates = [update for frame in video for update in pipeline.push(frame)]
        updates += pipeline.flush()
        geometry = pipeline.geometry
    for update in updates:
        if update.step is not None:
            heatmaps.append(update.step.heatmap.values)
        events |= {event.id: event for event in update.events}
    assert len(heatmaps) == 80 and len(events) >= 3
    assert {event.phase for event in events.values()} == {Phase.END}
    return heatmaps, list(events.values()), geometry


def facts(event):
    """All of an event but what it is called."""
    return (event.start_ns, event.end_ns, event.peak_ns, event.peak_score, event.box, event.peak_box, event.track)


def write_video(path, frames=50, fps=10, code="mp4v", size=(96, 64)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, size)
    for number in range(frames):
        image = np.full((size[1], size[0], 3), 90, np.uint8)
        cv2.circle(image, (2 * number % size[0], 30), 9, (20, 40, 5 * number % 256), -1)
        writer.write(image)
    writer.release()
    return path


# --- segments


@pytest.mark.parametrize("segment_s", [1.0, 7.3])
def test_segments_give_the_heat_maps_and_events_of_one_piece(pieces, tmp_path, segment_s):
    from tvau_runtime.archive.tables import events_of

    heatmaps, events, geometry = pieces
    plan = plan_video(str(DEMO), geometry, segment_s)
    assert plan.segments == {1.0: 40, 7.3: 6}[segment_s]
    write_plan(tmp_path / PLANS, plan)
    scorer = SegmentScorer(tmp_path, ENGINE, {})
    for segment in reversed(range(plan.segments)):  # none may lean on the one before
        assert scorer.score(plan.key, segment) == ""
    joined = read_heatmaps(tmp_path, plan)
    assert joined is not None and np.array_equal(np.stack(joined), np.stack(heatmaps))  # to the last bit
    found = events_of(plan, joined, EventConfig())
    assert [facts(event) for event in found] == [facts(event) for event in events]
    borders = plan.pairs[plan.cuts[1:-1], 0]
    across = [e for e in found for border in borders if e.start_ns < border < e.end_ns]
    assert across, "the scene has events that run over borders"


@pytest.mark.parametrize("name", ["car-detection.mp4", "one-by-one-person-detection.mp4"])
def test_frames_of_real_videos_are_the_same_from_any_place_on(name):
    if not (CLIPS / name).is_file():
        pytest.skip("the real clips of ../shared/data are not here")
    with VideoReader(CLIPS / name) as video:
        every = [(frame.stamp_ns, hash(frame.rgb.tobytes())) for _, frame in zip(range(200), video)]
    for first in (1, 97, 150):
        wanted = every[first::7]
        with VideoReader(CLIPS / name) as video:
            found = video.frames_at([stamp for stamp, _ in wanted])
            assert [(frame.stamp_ns, hash(frame.rgb.tobytes())) for frame in found] == wanted


@pytest.mark.parametrize("ending", ["mp4", "avi", "mkv"])
def test_containers_list_the_stamps_that_are_read(tmp_path, ending):
    path = write_video(tmp_path / f"clip.{ending}")
    with VideoReader(path) as video:
        assert listed_stamps(path) == [frame.stamp_ns for frame in video]


def test_a_stamp_that_no_frame_has_is_named(tmp_path):
    path = write_video(tmp_path / "clip.mp4")
    with VideoReader(path) as video, pytest.raises(FrameError, match=r"2\.050 s is damaged or missing"):
        list(video.frames_at([1_000_000_000, 2_050_000_000]))


def test_a_video_that_cannot_be_sought_is_one_segment(tmp_path, pieces, monkeypatch):
    path, geometry = write_video(tmp_path / "clip.mp4"), pieces[2]
    cut = plan_video(str(path), geometry, 1.0)
    monkeypatch.setattr("tvau_runtime.archive.plan.listed_stamps", lambda _: [0, 1, 2])
    whole = plan_video(str(path), geometry, 1.0)
    assert (cut.segments, whole.segments) == (5, 1)
    assert np.array_equal(cut.pairs, whole.pairs)


def test_a_video_of_one_frame_has_nothing_to_score(tmp_path, pieces):
    plan = plan_video(str(write_video(tmp_path / "clip.mp4", frames=1)), pieces[2], 60.0)
    assert (plan.segments, len(plan.pairs), read_heatmaps(tmp_path, plan)) == (0, 0, [])


def test_a_jump_that_lands_too_late_costs_time_only(tmp_path, monkeypatch):
    path = write_video(tmp_path / "clip.mp4")

    class Misled:
        """A capture whose index leads past what is sought."""

        def __init__(self, capture):
            self._capture = capture

        def set(self, _property, value):
            return self._capture.set(cv2.CAP_PROP_POS_MSEC, value + 1900)

        def __getattr__(self, name):
            return getattr(self._capture, name)

    with VideoReader(path) as plain, VideoReader(path) as misled:
        monkeypatch.setattr(misled, "_capture", Misled(misled._capture))
        wanted = [2_000_000_000, 2_500_000_000]
        for a, b in zip(plain.frames_at(wanted), misled.frames_at(wanted), strict=True):
            assert a.stamp_ns == b.stamp_ns and np.array_equal(a.rgb, b.rgb)


@pytest.mark.parametrize("seed", range(2))
def test_pairs_are_those_of_a_stream(seed):
    """Stamps that jitter, stop for a while and come late."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    rng = np.random.default_rng(seed)
    steps = np.where(rng.random(160) < 0.03, 2.6e9, rng.uniform(0.3e8, 1.8e8, 160)).astype(np.int64)
    stamps = np.cumsum(steps)
    late = rng.choice(np.arange(1, 160), 6, replace=False)
    stamps[late] -= 2 * 10**8
    image, found, anew = np.zeros((56, 84, 3), np.uint8), [], []
    with open_pipeline(PipelineConfig(engine=ENGINE)) as pipeline:
        gaps = 0
        for stamp in stamps:
            for update in pipeline.push(Frame(image, int(stamp))):
                if update.step is not None:
                    found.append(update.step.stamps_ns)
                    stats = pipeline.stats()
                    anew.append(stats.gaps + stats.restarts > gaps)
                    gaps = stats.gaps + stats.restarts
        pairs, starts = pairs_of(stamps.tolist(), (56, 84), pipeline.geometry)
    assert len(found) > 20 and any(anew)
    assert [tuple(pair) for pair in pairs.tolist()] == found
    assert starts.tolist() == anew


# --- the folder


def test_what_was_cut_off_in_the_middle_of_writing_does_not_count(pieces, tmp_path):
    plan = plan_video(str(DEMO), pieces[2], 20.0)
    write_plan(tmp_path / PLANS, plan)
    kept = read_plan(tmp_path / PLANS, plan.key)
    assert kept is not None and np.array_equal(kept.pairs, plan.pairs) and kept.frame_size == plan.frame_size
    scorer = SegmentScorer(tmp_path, ENGINE, {})
    assert scorer.score(plan.key, 0) == ""
    path = heatmaps_path(tmp_path, plan.key, 0)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert read_heatmaps(tmp_path, plan) is None
    file = tmp_path / PLANS / f"{plan.key}.npz"
    file.write_bytes(file.read_bytes()[:100])
    assert Progress(tmp_path, [str(DEMO)]).unplanned == [str(DEMO)]


def test_a_segment_that_is_there_is_not_scored_again(pieces, tmp_path):
    plan = plan_video(str(DEMO), pieces[2], 20.0)
    write_plan(tmp_path / PLANS, plan)
    path = heatmaps_path(tmp_path, plan.key, 0)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"as it was")
    assert SegmentScorer(tmp_path, ENGINE, {}).score(plan.key, 0) == ""
    assert path.read_bytes() == b"as it was"


@pytest.mark.parametrize("damaged", [b"", b"as a failing disk leaves it"])
def test_a_damaged_segment_is_scored_again(pieces, tmp_path, damaged):
    plan = plan_video(str(DEMO), pieces[2], 200.0)
    write_plan(tmp_path / PLANS, plan)
    path = heatmaps_path(tmp_path, plan.key, 0)
    path.parent.mkdir(parents=True)
    path.write_bytes(damaged)
    progress = Progress(tmp_path, [str(DEMO)])
    assert not list(progress.finished())
    assert [segment for _, segment in progress.waiting()] == [0]


def test_a_video_that_is_gone_after_its_plan_is_a_problem_of_its_own(tmp_path):
    path = shutil.copyfile(DEMO, tmp_path / "gone.mp4")
    progress = Progress(tmp_path / "out", [str(path)])
    path.unlink()
    progress.planned(str(path), "")
    assert list(progress.failed) == [str(path)]


def test_a_video_that_kills_its_workers_is_given_up(pieces, tmp_path):
    plan = plan_video(str(DEMO), pieces[2], 20.0)
    write_plan(tmp_path / PLANS, plan)
    tries = heatmaps_path(tmp_path, plan.key, 1).with_suffix(".tries")
    tries.parent.mkdir(parents=True)
    tries.write_bytes(b"." * ATTEMPTS)
    assert "workers died over its segment 1" in SegmentScorer(tmp_path, ENGINE, {}).score(plan.key, 1)
    Progress(tmp_path, [str(DEMO)])  # another run gives it another chance
    assert SegmentScorer(tmp_path, ENGINE, {}).score(plan.key, 1) == ""


def test_a_changed_video_is_another_one(tmp_path):
    path = write_video(tmp_path / "clip.mp4")
    before = video_key(str(path))
    os.utime(path, ns=(0, 0))
    assert video_key(str(path)) != before


def test_files_folders_and_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.mp4", "a/b/2.MKV", "a/notes.txt", "c/3.dat", "[d]/4.mp4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert find_videos(["a"]) == [str(tmp_path / "a/1.mp4"), str(tmp_path / "a/b/2.MKV")]
    assert find_videos(["a/*.mp4", "./a/1.mp4", "c/3.dat"]) == [str(tmp_path / "a/1.mp4"), str(tmp_path / "c/3.dat")]
    assert find_videos(["**/*.mp4"]) == [str(tmp_path / "[d]/4.mp4"), str(tmp_path / "a/1.mp4")]
    assert find_videos(["[d]"]) == [str(tmp_path / "[d]/4.mp4")]
    for wrong, message in (
        ("nowhere", "names no video"),
        ("c", "names no video"),
        ("s3://bucket/x", "mount the storage"),
    ):
        with pytest.raises(ConfigError, match=message):
            find_videos([wrong])


def test_scores_of_different_settings_are_not_mixed(tmp_path):
    folder = tmp_path / "out"
    claim_folder(folder, {"model": "a", "segment_s": 60.0})
    claim_folder(folder, {"model": "a", "segment_s": 60.0})
    with pytest.raises(ConfigError, match="model was 'a', is 'b'"):
        claim_folder(folder, {"model": "b", "segment_s": 60.0})
    write_run(tmp_path, {}, {})
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match="something other"):
        claim_folder(tmp_path, {})


# --- on Ray


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory):
    """A cluster of two CPUs that stands on its own, as one of many machines would: its address, and its owner's process."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'tvau[archive]'")
    started = tmp_path_factory.mktemp("ray") / "address"
    code = (
        "import pathlib, sys, ray\n"
        "for left in range(4, -1, -1):\n"  # on a busy machine Ray gives up its start after half a minute
        "    try:\n"
        "        there = ray.init(address='local', num_cpus=2, include_dashboard=False, object_store_memory=2**28,"
        " log_to_driver=False)\n"
        "        break\n"
        "    except Exception:\n"
        "        ray.shutdown()\n"
        "        if not left: raise\n"
        f"pathlib.Path({str(started)!r}).write_text(there.address_info['address'])\n"
        "sys.stdin.read()\n"
    )
    with started.with_name("errors").open("w+") as errors:
        owner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env=quiet(), stderr=errors)
        try:
            wait_for(lambda: started.is_file() and started.read_text(), owner, errors)
            yield started.read_text(), owner
        finally:
            owner.communicate(timeout=SOON_S)


def quiet():
    # Ray asks for a token otherwise, which it keeps in the user's home.
    return {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}


def wait_for(happens, process, errors=None):
    """Waits until something is true, while a process lives. errors: the file that it writes them to."""
    end = time.monotonic() + SOON_S
    while not (value := happens()):
        if process.poll() is not None:
            pytest.fail(f"the process has ended: {Path(errors.name).read_text() if errors else process.stderr.read()}")
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.02)
    return value


def archive(*words):
    """A run in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tvau_runtime", "archive", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet(), cwd=ROOT,
    )  # fmt: skip


def kept(out):
    """The segments that are done, with when they were."""
    return {path.name: path.stat().st_mtime_ns for path in (out / "progress" / "segments").rglob("*.npz")}


def table(path):
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


def check_tables(out, videos, pieces):
    """Every video is there once and whole, as in one piece."""
    heatmaps, events, _ = pieces
    rows = table(out / "scores.parquet")
    assert [(row["video"], row["step"]) for row in rows] == [(str(v), step) for v in videos for step in range(80)]
    assert [row["score"] for row in rows] == [float(values.max()) for values in heatmaps] * len(videos)
    found = table(out / "events.parquet")
    assert [row["video"] for row in found] == [str(v) for v in videos for _ in events]
    for row, event in zip(found, events * len(videos), strict=True):
        times = [row["start_s"], row["end_s"], row["peak_s"]]
        assert times == pytest.approx([event.start_ns * 1e-9, event.end_ns * 1e-9, event.peak_ns * 1e-9])
        assert (row["x_min"], row["y_max"]) == pytest.approx((event.peak_box[0], event.peak_box[3]))
        assert len(row["track"]) == len(event.track)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's, about itself
def test_workers_and_runs_are_killed_and_nothing_is_lost_or_scored_twice(ray_cluster, pieces, tmp_path):
    psutil = pytest.importorskip("psutil", reason="killing workers needs psutil")
    address, owner = ray_cluster
    videos = [tmp_path / "in" / f"{number}.mp4" for number in range(3)]
    videos[0].parent.mkdir()
    for video in videos:
        video.symlink_to(DEMO)
    (tmp_path / "in" / "damaged.mp4").write_bytes(DEMO.read_bytes()[:2000])
    out, done = tmp_path / "out", [{}]
    words = (videos[0].parent, "--out", out, "--segment-s", 2, "--address", address, "--workers", 2)

    def scoring():
        found = []
        for process in psutil.Process(owner.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it may end meanwhile
                found += [process] if any("MapWorker" in word for word in process.cmdline()) else []
        return found

    killed = archive(*words)
    wait_for(lambda: len(kept(out)) >= 3, killed)
    killed.kill()  # as when the machine fails
    killed.communicate()
    wait_for(lambda: not scoring(), owner)
    done.append(kept(out))

    stopped = archive(*words)
    wait_for(lambda: len(kept(out)) >= len(done[-1]) + 3, stopped)
    stopped.terminate()  # as by Ctrl-C
    said, errors = stopped.communicate(timeout=SOON_S)
    assert stopped.returncode == 130, errors
    assert "The same command goes on" in said
    wait_for(lambda: not scoring(), owner)
    done.append(kept(out))

    ended = archive(*words)
    wait_for(lambda: len(kept(out)) >= len(done[-1]) + 3, ended)
    wait_for(scoring, ended)[0].kill()
    said, errors = ended.communicate(timeout=SOON_S)
    assert ended.returncode == 1, errors  # for the damaged one
    assert re.search(r"^skipped: .*damaged\.mp4", said, re.MULTILINE)
    done.append(kept(out))

    assert [len(each) < 60 for each in done] == [True, True, True, False]
    for before, after in itertools.pairwise(done):
        assert {name: after[name] for name in before} == before, "what was done stays as it was"
    last = json.loads((out / "run.json").read_text())
    assert last["last_run"]["segments"] == 60 - len(done[-2])
    assert (last["scored"], last["not_done"], last["heatmaps"], last["events"]) == (3, 0, 240, 3 * len(pieces[1]))
    check_tables(out, videos, pieces)
    page = (out / "index.html").read_text()
    assert f"{3 * len(pieces[1])} anomaly events in 3 videos" in page and "damaged.mp4" in page

    assert main(["archive", *map(str, words), "--on-threshold", "1"]) == 1  # only the damaged one is looked at again
    assert kept(out) == done[-1]
    assert table(out / "events.parquet") == []


@pytest.mark.filterwarnings("default")
def test_a_worker_that_the_cluster_has_no_room_for_is_refused():
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'tvau[archive]'")
    from tvau_runtime.archive.cluster import Resources

    there = Resources(cpus=2.0, gpus=0.0)
    assert (there.room(1, 0), there.room(2, 0)) == (2, 1)
    for cpus, gpus in ((4, 0), (1, 1.0)):
        with pytest.raises(BackendError, match="there are 2 and 0"):
            there.room(cpus, gpus)


def test_what_is_not_there_is_one_clear_line(tmp_path, capsys, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'tvau[archive]'")
    out = str(tmp_path / "out")

    def fails(*words):
        assert main(["archive", *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "names no video" in fails("nowhere.mp4", "--out", out)
    assert "--workers must be from 1" in fails(str(DEMO), "--out", out, "--workers", "0")
    assert "--segment-s must be from 1" in fails(str(DEMO), "--out", out, "--segment-s", "nan")
    assert "no model 'nosuch'" in fails(str(DEMO), "--out", out, "--model", "nosuch")
    assert "something other" in fails(str(DEMO), "--out", str(ROOT / "tests"))
    assert not Path(out).exists()
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "tvau_runtime.archive.cluster", raising=False)
    assert "pip install 'tvau[archive]'" in fails(str(DEMO), "--out", out)
