"""The command `tvau` on real videos and a real engine with random weights."""

import csv
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from square_clip import FPS, FRAMES, SIZE

from tvau_runtime.cli import main
from tvau_runtime.commands import watch
from tvau_runtime.commands.folder import FILES
from tvau_runtime.commands.recorder import Recorder
from tvau_runtime.errors import ModelError
from tvau_runtime.types import Frame
from tvau_runtime.video import VideoReader

ROOT = Path(__file__).resolve().parent.parent
CLIPS = ROOT.parent / "shared" / "data"
ALWAYS = ["--on-threshold", "0", "--off-threshold", "0", "--describe-events", "never"]
"""Every heat map is warm, so that there is one event from beginning to end whatever the weights."""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def fails(capsys, *argv):
    """Runs a command that must fail as a user's error, and returns its one line."""
    try:
        code = main([str(a) for a in argv])
    except SystemExit as left:
        code = left.code
    err = capsys.readouterr().err
    assert code == 2
    assert err.startswith("tvau")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


def test_watch_writes_all_its_files(clip, flags, tmp_path, capsys):
    assert main(["watch", clip, *flags, *ALWAYS, "--update-period-s", "1"]) == 0
    out = tmp_path / "out" / "square"
    assert sorted(p.name for p in out.iterdir()) == sorted(FILES)

    video = cv2.VideoCapture(str(out / "overlay.mp4"))
    assert (video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)) == (FRAMES, FPS)
    assert (video.get(cv2.CAP_PROP_FRAME_HEIGHT), video.get(cv2.CAP_PROP_FRAME_WIDTH)) == SIZE

    rows = list(csv.DictReader((out / "scores.csv").read_text(encoding="utf-8").splitlines()))
    assert [int(row["frame"]) for row in rows] == list(range(FRAMES))
    assert [float(row["time_s"]) for row in rows] == pytest.approx([i / FPS for i in range(FRAMES)], abs=0.002)
    # 8 frames a second, 4 of them looked at: a heat map with every 4th frame, from the third on, and held between.
    scores = [row["score"] for row in rows]
    assert scores[:2] == ["", ""]
    assert all(0 <= float(s) <= 1 for s in scores[2:])
    assert all(len(set(scores[i : i + 4])) == 1 for i in range(2, FRAMES - 4, 4))

    events = lines_of(out / "events.jsonl")
    assert [e["phase"] for e in events] == ["START", *["UPDATE"] * (len(events) - 2), "END"]
    assert len({e["id"] for e in events}) == 1
    assert 4 <= len(events) <= 7
    first, last = events[0], events[-1]
    assert first["start_s"] == pytest.approx(0.25, abs=0.01)
    assert last["end_s"] == pytest.approx(5.75, abs=0.3)
    assert "track" not in first
    assert len(last["track"]) == 12
    assert last["peak_score"] == pytest.approx(max(float(s) for s in scores[2:]), abs=1e-3)
    assert last["box"] == [0, 0, SIZE[1], SIZE[0]]
    assert last["camera"] == "camera"

    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert (run["frames"], run["heatmaps"], run["windows"], run["events"]) == (FRAMES, 12, 9, 1)
    assert run["facts"]["Model"]["Model"] == "random"
    assert run["notice"] == ""
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "1 anomaly event in" in page
    assert page.count("data:image/jpeg") == 5
    assert clip not in run["source"]

    summary = capsys.readouterr().out
    for text in (
        "48 frames",
        "9 windows, 12 heat maps, 1 event, highest",
        "times real time",
        first["id"],
        "report.html",
    ):
        assert text in summary


def test_the_overlay_shows_heat_and_boxes(clip, flags, tmp_path):
    main(["watch", clip, *flags, *ALWAYS, "--out", "o"])
    frames = [cv2.VideoCapture(path) for path in (clip, str(tmp_path / "o" / "overlay.mp4"))]
    for _ in range(40):
        images = [video.read()[1].astype(int) for video in frames]
    assert np.abs(images[0] - images[1]).mean() > 10


def test_events_are_described_once_they_have_a_window(clip, flags, tmp_path, monkeypatch):
    asked = []

    def describe_window(self, window, track):
        asked.append(window)
        return "a red square", "A red square. It goes to the right."

    monkeypatch.setattr("tvau_runtime.dialogue.DialogueEngine.describe", describe_window)
    assert main(["watch", clip, *flags, *ALWAYS[:4], "--out", "o"]) == 0
    events = lines_of(tmp_path / "o" / "events.jsonl")
    assert [len(window.steps) for window in asked] == [4, 4], "at its start, and at its end"
    assert events[0]["label"] == ""  # it began before there was a full window
    assert {e["label"] for e in events[2:]} == {"a red square"}
    assert "A red square. It goes to the right." in (tmp_path / "o" / "report.html").read_text(encoding="utf-8")


def test_the_real_model_describes_events(clip, flags):
    assert main(["watch", clip, *flags, *ALWAYS[:4], "--max-new-tokens", "3"]) == 0


def test_update_lines_come_at_the_period_asked_for(clip, flags, tmp_path):
    counts = {}
    for period in ("0", "2", "600"):
        main(["watch", clip, *flags, *ALWAYS, "--out", "o", "--update-period-s", period])
        counts[period] = sum(e["phase"] == "UPDATE" for e in lines_of(tmp_path / "o" / "events.jsonl"))
    assert counts["0"] >= 9
    assert 1 <= counts["2"] <= 3
    assert counts["600"] == 0


def test_max_frames_stops_early(clip, flags, tmp_path):
    assert main(["watch", clip, *flags, "--max-frames", "10", "--out", "o"]) == 0
    assert len((tmp_path / "o" / "scores.csv").read_text().splitlines()) == 11


def test_a_clip_shorter_than_a_window_gives_a_report_all_the_same(clip, flags, tmp_path, capsys):
    assert main(["watch", clip, *flags, "--max-frames", "1", "--out", "o"]) == 0
    assert "0 windows" in capsys.readouterr().out
    assert "not one pair of frames was looked at" in (tmp_path / "o" / "report.html").read_text(encoding="utf-8")


class Interrupted(VideoReader):
    """A reader whose user presses Ctrl-C at frame 30."""

    signal = signal.SIGINT

    def __iter__(self):
        for number, frame in enumerate(super().__iter__()):
            if number == 30:
                signal.raise_signal(self.signal)
            yield frame


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_what_there_is_and_says_so(clip, flags, tmp_path, capsys, monkeypatch, number):
    monkeypatch.setattr(watch, "VideoReader", type("Reader", (Interrupted,), {"signal": number}))
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # where the tests run in the background, a shell has it ignored
    assert main(["watch", clip, *flags, *ALWAYS, "--out", "o"]) == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert "Stopped early, after 30 frames" in capsys.readouterr().out
    out = tmp_path / "o"
    assert lines_of(out / "events.jsonl")[-1]["phase"] == "END"
    assert len((out / "scores.csv").read_text().splitlines()) == 31
    assert "Stopped early, after 30 frames" in (out / "report.html").read_text(encoding="utf-8")
    assert cv2.VideoCapture(str(out / "overlay.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 30


def test_a_model_that_fails_on_the_way_leaves_what_was_seen(clip, flags, tmp_path, capsys, monkeypatch):
    from tvau_runtime.backends.torch_backend import TorchBackend

    encode, calls = TorchBackend.encode, []

    def failing(self, pixels, text):
        calls.append(1)
        if len(calls) == 6:
            raise ModelError("the weights melted")
        return encode(self, pixels, text)

    monkeypatch.setattr(TorchBackend, "encode", failing)
    assert "the weights melted" in fails(capsys, "watch", clip, *flags, *ALWAYS, "--out", "o")
    assert "the weights melted" in (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    assert len(lines_of(tmp_path / "o" / "events.jsonl")) >= 2


def test_a_live_source_goes_through_the_worker(clip, flags, tmp_path, monkeypatch, capsys):
    import tvau_runtime.video as video

    info, clock = video._info, iter(range(1_700_000_000 * 10**9, 1_800_000_000 * 10**9, 10**9 // FPS))
    monkeypatch.setattr(video, "_info", lambda *a: dataclasses.replace(info(*a), live=True, frames=0))
    monkeypatch.setattr(video, "time", SimpleNamespace(time_ns=lambda: 0, monotonic_ns=lambda: next(clock)))
    assert main(["watch", clip, *flags, *ALWAYS, "--out", "o", "--queue-size", "1000", "--max-halvings", "0"]) == 0
    out = tmp_path / "o"
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert (run["frames"], run["heatmaps"], run["events"]) == (FRAMES, 12, 1)
    assert "stopped sending" in run["notice"]
    assert "Started" in run["facts"]["Run"]
    events = lines_of(out / "events.jsonl")
    assert (events[0]["phase"], events[-1]["phase"]) == ("START", "END")
    assert events[0]["start_s"] == pytest.approx(0.25, abs=0.01)
    assert "has no end" in fails(capsys, "ask", clip, "What is it?", *flags)


def test_a_live_source_tells_what_failed_on_the_way(clip, flags, tmp_path, monkeypatch):
    import tvau_runtime.video as video
    from tvau_runtime.backends.torch_backend import TorchBackend

    def failing(self, pixels, text):
        raise ModelError("the weights melted")

    info, clock = video._info, iter(range(0, 10**12, 10**9 // FPS))
    monkeypatch.setattr(video, "_info", lambda *a: dataclasses.replace(info(*a), live=True, frames=0))
    monkeypatch.setattr(video, "time", SimpleNamespace(time_ns=lambda: 0, monotonic_ns=lambda: next(clock)))
    monkeypatch.setattr(TorchBackend, "encode", failing)
    assert main(["watch", clip, *flags, "--out", "o", "--max-halvings", "0"]) == 1
    out = tmp_path / "o"
    assert re.search(r"failed \d+ times", json.loads((out / "run.json").read_text(encoding="utf-8"))["notice"])
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "failed" in page and "not one pair of frames was looked at" in page


def test_reports_never_name_a_password():
    url = "rtsp://operator:secret@10.0.0.7:554/main?channel=1"
    assert watch._shown(url) == "rtsp://10.0.0.7:554/main?channel=1"
    assert watch._name_of(url) == "10.0.0.7-554-main-channel-1"
    assert (watch._shown("/videos/gate.mp4"), watch._name_of("/videos/gate.mp4")) == ("gate.mp4", "gate")
    assert (watch._shown("0"), watch._name_of("0")) == ("device 0", "device-0")


def test_a_folder_of_other_files_is_left_alone(clip, flags, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "report.html").write_text("mine")
    assert "not empty" in fails(capsys, "watch", clip, *flags, "--out", folder)
    assert (folder / "report.html").read_text() == "mine"
    (folder / "cat.jpg").write_text("cat")
    assert main(["watch", clip, *flags, "--out", str(folder), "--force", "--max-frames", "5"]) == 0
    assert (folder / "report.html").read_text() != "mine"
    assert (folder / "cat.jpg").read_text() == "cat"
    assert main(["watch", clip, *flags, "--out", str(folder), "--max-frames", "5"]) == 0  # it is ours now


def test_the_video_itself_is_never_written_over(clip, flags, tmp_path, capsys):
    assert main(["watch", clip, *flags, "--out", "o", "--max-frames", "5"]) == 0
    before = (tmp_path / "o" / "overlay.mp4").read_bytes()
    assert "written over" in fails(capsys, "watch", str(tmp_path / "o" / "overlay.mp4"), *flags, "--out", "o")
    assert (tmp_path / "o" / "overlay.mp4").read_bytes() == before


@pytest.mark.parametrize("fps", [29.97002997, 66.6667, 119.873, 960.5])
def test_an_overlay_of_any_rate_can_be_written(tmp_path, fps):
    recorder = Recorder(tmp_path, fps)
    recorder.add_frame(Frame(np.zeros((48, 64, 3), np.uint8), 0, "camera"))
    facts = {"Run": {"frames": "1"}}
    recorder.close(facts, source="x", thresholds=(0.9, 0.7), notice="")
    assert (tmp_path / "overlay.mp4").stat().st_size > 0


def test_results_stay_when_the_next_run_cannot_begin(clip, flags, tmp_path, capsys):
    assert main(["watch", clip, *flags, "--out", "o", "--max-frames", "5"]) == 0
    before = (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    fails(capsys, "watch", clip, "--model", "nosuch", "--out", "o")
    fails(capsys, "watch", "nosuch.mp4", *flags, "--out", "o")
    assert (tmp_path / "o" / "report.html").read_text(encoding="utf-8") == before


def test_a_video_of_odd_size_with_an_odd_name(flags, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "<b>ö & 傘.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (101, 75))
    for _ in range(20):
        writer.write(np.zeros((75, 101, 3), np.uint8))
    writer.release()
    assert main(["watch", "<b>ö & 傘.mp4", *flags]) == 0
    page = (tmp_path / "out" / "<b>ö & 傘" / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;ö &amp; 傘.mp4" in page
    assert "<b>ö" not in page


def test_a_name_that_is_no_text_is_refused(capsys):
    assert "not valid UTF-8" in fails(capsys, "watch", os.fsdecode(b"caf\xe9.mp4"))
    assert "not valid UTF-8" in fails(capsys, "watch", "x.mp4", "--out", os.fsdecode(b"caf\xe9"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: COMMAND"),
        (["watch"], "required: VIDEO"),
        (["watch", "CLIP", "--onthreshold", "1"], "unrecognized arguments"),
        (["watch", "CLIP", "--on-threshold", "hot"], "--on-threshold must be a number, got 'hot'"),
        (["watch", "CLIP", "--clip-length", "2.5"], "--clip-length must be a whole number"),
        (["watch", "CLIP", "--on-threshold", "2"], "at most 1"),
        (["watch", "CLIP", "--on-threshold", "nan"], "finite"),
        (["watch", "CLIP", "--stride", "3"], "stride must be even"),
        (["watch", "CLIP", "--max-frames", "0"], "--max-frames must be at least 1"),
        (["watch", "CLIP", "--backend", "abacus"], "one of auto, onnx, tensorrt, torch"),
        (["watch", "CLIP", "--device", "quantum"], "device"),
        (["watch", "CLIP", "--abnormal", "  "], "non-blank"),
        (["watch", "CLIP", "--config", "nosuch.yaml"], "nosuch.yaml cannot be read"),
        (["watch", "CLIP", "--out", "/proc/nobody/may"], "/proc/nobody"),
        (["watch", "nosuch.mp4"], "nosuch.mp4"),
        (["ask", "CLIP", "   "], "empty"),
        (["ask", "CLIP", "x" * 3000], "at most 2000 characters"),
        (["ask", "CLIP", "What?", "--at", "soon"], "--at"),
        (["ask", "CLIP", "What?", "--at", "99"], "from 0 to"),
        (["ask", "CLIP", "What?", "--event", "1"], "no event '1'"),
        (["ask", "CLIP", "What?", "--event", "1", "--at", "2"], "not allowed with"),
        (["ask", "CLIP", "What?", "--clip-length", "64"], "no full clip window: 24 frames"),
        (["chat", "nosuch.mp4"], "nosuch.mp4"),
        (["info", "--model", "nosuch"], "no model 'nosuch'"),
    ],
)
def test_a_users_error_is_one_clear_line(clip, flags, capsys, argv, message):
    argv = [clip if a == "CLIP" else a for a in argv]
    if argv and argv[0] in ("watch", "ask", "chat") and "--device" not in argv:
        argv += flags
    assert message in fails(capsys, *argv, *(flags[:2] if "--device" in argv else []))


def test_a_file_that_is_no_video_is_one_clear_line(flags, tmp_path, capsys):
    (tmp_path / "notes.mp4").write_text("not a video")
    assert "notes.mp4" in fails(capsys, "watch", "notes.mp4", *flags)


def test_ask_prints_the_answer_and_then_its_evidence(clip, flags, capsys):
    assert main(["ask", clip, "What is it?", *flags, "--max-new-tokens", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-5:]] == ["anomaly", "score", "box", "way", "window"]
    assert "p(yes) = " in lines[-5]


def test_ask_takes_the_hottest_window_a_time_or_an_event(clip, flags, tmp_path, capsys):
    def ask(*more):
        assert main(["ask", clip, "What is it?", *flags, *ALWAYS, "--json", "--max-new-tokens", "2", *more]) == 0
        return json.loads(capsys.readouterr().out)

    main(["watch", clip, *flags, *ALWAYS, "--out", "o"])
    hottest = json.loads((tmp_path / "o" / "run.json").read_text(encoding="utf-8"))
    capsys.readouterr()
    best, event = ask(), ask("--event", "1")
    assert best["score"] == hottest["top_score"]
    assert best["event_id"] == ""
    assert best["window_start_s"] <= best["peak_s"] <= best["window_end_s"]
    assert event["event_id"].startswith("camera-")
    assert event["score"] == hottest["top_score"]
    for at in (0.0, 3.0, 6.0):
        window = ask("--at", str(at))
        middle = (window["window_start_s"] + window["window_end_s"]) / 2
        assert abs(middle - min(max(at, 0.875), 4.9)) <= 0.51, at
    assert ask("--at", "0:03")["window_start_s"] == ask("--at", "3")["window_start_s"]
    assert {"question", "answer", "anomaly", "yes_probability", "box"} <= set(best)


def test_prompts_reach_the_model_and_the_report(clip, flags, tmp_path):
    argv = ["watch", clip, *flags, "--out", "o", "--max-frames", "9", "--abnormal", "a red square"]
    assert main(argv) == 0
    facts = json.loads((tmp_path / "o" / "run.json").read_text(encoding="utf-8"))["facts"]
    assert facts["Prompts"] == {"Normal": "person walking", "Abnormal": "a red square"}


@pytest.mark.parametrize("command", [[], ["watch"], ["ask"], ["chat"], ["info"]])
def test_help_teaches_by_examples(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([*command, "--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert "tvau " in out
    assert "%(" not in out


def test_as_a_process_it_starts_without_torch_and_keeps_to_one_line():
    code = "import sys, tvau_runtime.cli; sys.exit(bool({'torch', 'transformers', 'rclpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0
    argv = [sys.executable, "-m", "tvau_runtime", "watch", "nosuch.mp4"]
    done = subprocess.run(argv, cwd=ROOT, timeout=60, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not done.stdout


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the real clips of ../shared/data are not here")
@pytest.mark.parametrize("name", ["car-detection.mp4", "normal_scene_16_scenario_2.mp4"])
def test_real_clips(name, flags, tmp_path):
    assert main(["watch", str(CLIPS / name), *flags, "--out", "o", "--max-frames", "60", *ALWAYS]) == 0
    run = json.loads((tmp_path / "o" / "run.json").read_text(encoding="utf-8"))
    assert run["frames"] == 60
    assert run["heatmaps"] > 3
