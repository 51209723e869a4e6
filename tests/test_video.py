"""Videos as stamped frames, on files written here: whole, cut short, with holes, and not videos at all."""

import itertools
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tvau_runtime.errors import FrameError
from tvau_runtime.video import VideoReader, _is_device

FPS, COUNT = 10, 60


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder with the same clip in three containers. Frame k has red 4k and a blue left half."""
    folder = tmp_path_factory.mktemp("clips")
    noise = np.random.default_rng(0)
    for name, codec in (("clip.mp4", "mp4v"), ("clip.avi", "MJPG"), ("clip.mkv", "mp4v")):
        writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter.fourcc(*codec), FPS, (96, 48))
        if not writer.isOpened():
            pytest.skip(f"this OpenCV cannot write {name}")
        for k in range(COUNT):
            image = noise.integers(0, 20, (48, 96, 3), dtype=np.uint8)
            image[..., 2] += 4 * k if 4 * k < 230 else 230
            image[:, :48, 0] = 200
            writer.write(image)
        writer.release()
    return folder


def damaged(path, target, *, keep=1.0, hole=None):
    data = bytearray(path.read_bytes())
    if hole:
        begin, end = (int(len(data) * part) for part in hole)
        data[begin:end] = bytes(end - begin)
    target.write_bytes(data[: int(len(data) * keep)])
    return target


def read(source, **kwargs):
    with VideoReader(source, **kwargs) as video:
        return video, list(video)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "clip.mkv"])
def test_reads_every_frame_with_its_time(clips, name):
    video, frames = read(clips / name, camera="door", frame_id="door_optical")
    assert [f.stamp_ns for f in frames] == [k * 10**9 // FPS for k in range(COUNT)]
    assert {(f.camera, f.frame_id, f.size) for f in frames} == {("door", "door_optical", (48, 96))}
    info = video.info
    assert (info.fps, info.frames, info.size, info.live) == (FPS, COUNT, (48, 96), False)
    assert info.duration_s == 6.0
    assert video.problem == ""


def test_frames_are_rgb(clips):
    _, frames = read(clips / "clip.avi")
    red, green, blue = frames[40].rgb[:, :40].reshape(-1, 3).mean(axis=0)
    assert blue > 150 > green
    assert red > 100
    assert frames[50].rgb[..., 0].mean() > frames[5].rgb[..., 0].mean() + 100


def test_a_path_may_be_a_text_and_is_read_once(clips):
    with VideoReader(str(clips / "clip.avi")) as video:
        assert len(list(video)) == COUNT
        assert list(video) == []


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "clip.mkv"])
def test_may_begin_at_any_frame(clips, name):
    _, whole = read(clips / name)
    for start in (1, 17, 30, COUNT - 1):
        video, frames = read(clips / name, start=start)
        assert [f.stamp_ns for f in frames] == [f.stamp_ns for f in whole[start:]]
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(frames, whole[start:], strict=True))
        assert video.problem == ""
    with pytest.raises(FrameError, match=rf"has no frame {COUNT} that can be read; it states {COUNT}"):
        VideoReader(clips / name, start=COUNT)


def test_may_begin_at_any_frame_of_real_footage():
    path = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "car-detection.mp4"
    if not path.is_file():
        pytest.skip("../shared/data is not here")
    with VideoReader(path) as video:
        whole = list(itertools.islice(video, 70))
    for start in (69, 3, 41):
        with VideoReader(path, start=start) as video:
            frame = next(iter(video))
        assert frame.stamp_ns == whole[start].stamp_ns
        assert np.array_equal(frame.rgb, whole[start].rgb)


def test_reading_may_stop_anywhere(clips):
    with VideoReader(clips / "clip.avi") as video:
        assert next(iter(video)).stamp_ns == 0
    video.close()
    assert video.problem == ""


@pytest.mark.parametrize(
    ("name", "damage"), [("clip.avi", {"keep": 0.6}), ("clip.mkv", {"keep": 0.6}), ("clip.mp4", {"hole": (0.5, 0.6)})]
)
def test_keeps_what_could_be_read_of_a_damaged_file_and_says_what_is_missing(clips, tmp_path, name, damage, caplog):
    video, frames = read(damaged(clips / name, tmp_path / name, **damage))
    assert 10 < len(frames) < COUNT
    stamps = [f.stamp_ns for f in frames]
    assert stamps == sorted(set(stamps))
    assert stamps[0] == 0
    assert f"({len(frames)} frames); the last" in video.problem
    assert "6.0 s it states" in video.problem
    assert video.problem in caplog.text


def test_a_hole_in_the_middle_leaves_the_times_right(clips, tmp_path):
    _, frames = read(damaged(clips / "clip.mkv", tmp_path / "hole.mkv", hole=(0.5, 0.6)))
    assert len(frames) < COUNT
    assert frames[-1].stamp_ns == (COUNT - 1) * 10**9 // FPS


@pytest.mark.parametrize("kind", ["text", "empty", "cut mp4"])
def test_refuses_what_is_no_video(clips, tmp_path, kind):
    path = tmp_path / "bad.mp4"
    if kind == "cut mp4":  # its index, at the end, is gone
        damaged(clips / "clip.mp4", path, keep=0.5)
    else:
        path.write_text("not a video" if kind == "text" else "")
    with pytest.raises(FrameError, match=r"bad\.mp4 is not a video that OpenCV can read"):
        VideoReader(path)


def test_refuses_a_video_without_frames(tmp_path):
    path = tmp_path / "none.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (96, 48))
    writer.release()
    with pytest.raises(FrameError, match=r"none\.avi"):
        VideoReader(path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.mp4", "there is no video file or device 'missing.mp4'"),
        (".", "is a directory; expected a video file"),
        ("/dev/video987", "there is no video file or device"),
        ("987", "camera device 987 cannot be opened"),
        (987, "camera device 987 cannot be opened"),
        ("rtsp://127.0.0.1:9/none", "cannot be opened; is the address right"),
    ],
)
def test_refuses_what_is_not_there(source, message):
    with pytest.raises(FrameError, match=message):
        VideoReader(source)


def test_nothing_but_the_error_is_printed(clips, tmp_path):
    """In a process of its own: FFmpeg asks how much to say only once."""
    sources = [
        str(damaged(clips / "clip.mp4", tmp_path / "cut.mp4", keep=0.5)),
        str(damaged(clips / "clip.mkv", tmp_path / "hole.mkv", hole=(0.5, 0.6))),
        "987",
        "rtsp://127.0.0.1:9/none",
    ]
    code = """
import sys
from tvau_runtime import FrameError, VideoReader
for source in sys.argv[1:]:
    try:
        print("read", len(list(VideoReader(source))) > 10)
    except FrameError:
        print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *sources], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split("\n") == ["refused", "read True", "refused", "refused", ""]
    assert done.stderr == ""


class Capture:
    """The part of cv2.VideoCapture that a reader uses, with times and a rate that no file here can be made to have."""

    def __init__(self, times_ms, fps=0.0):
        self.times_ms, self.fps, self.at = times_ms, fps, -1

    def read(self):
        self.at += 1
        more = self.at < len(self.times_ms)
        return more, np.zeros((4, 4, 3), np.uint8) if more else None

    def get(self, what):
        return {
            cv2.CAP_PROP_POS_MSEC: self.times_ms[min(self.at, len(self.times_ms) - 1)],
            cv2.CAP_PROP_FPS: self.fps,
        }.get(what, 0.0)

    def isOpened(self):
        return True

    def release(self):
        pass


@pytest.mark.parametrize(
    ("times_ms", "fps", "expected_ms", "problem"),
    [
        ([0, 40, 90, 130], 25.0, [0, 40, 90, 130], ""),
        ([0, 0, 0, 0], 20.0, [0, 50, 100, 150], ""),
        ([0, 100, 100, 90, 400], 10.0, [0, 100, 200, 300, 400], ""),
        ([0, 0, 0], 0.0, [0, 40, 80], "25 frames per second are assumed"),
        ([0, 0, 0], float("nan"), [0, 40, 80], "25 frames per second are assumed"),
    ],
)
def test_stamps_always_rise(monkeypatch, tmp_path, times_ms, fps, expected_ms, problem):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: Capture(times_ms, fps))
    path = tmp_path / "x.avi"
    path.touch()
    video, frames = read(path)
    assert [f.stamp_ns / 1e6 for f in frames] == expected_ms
    assert problem in video.problem
    assert bool(problem) == bool(video.problem)


def test_a_codec_that_cannot_jump_is_read_from_the_beginning(monkeypatch, tmp_path):
    class Deaf(Capture):
        def set(self, *_):
            return False

        def grab(self):
            return self.read()[0]

    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: Deaf([0, 0, 0, 0], 20.0))
    path = tmp_path / "x.avi"
    path.touch()
    _, frames = read(path, start=2)
    assert [f.stamp_ns / 1e6 for f in frames] == [100, 150]
    with pytest.raises(FrameError, match="has no frame 9"):
        VideoReader(path, start=9)


def test_a_live_source_has_no_middle(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: Capture([0.0] * 5))
    with pytest.raises(FrameError, match="is live and cannot be begun at frame 3"):
        VideoReader(0, start=3)


@pytest.mark.parametrize("source", ["0", "rtsp://camera/stream"])
def test_live_sources_are_stamped_by_the_wall_clock(monkeypatch, source):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: Capture([0.0] * 5))
    wall, steady = iter([10**18]), iter([70, 70, 75, 75, 75, 79])  # one that is set back meanwhile is not looked at
    # Not time's own functions: others in this process look at the clock, too.
    fake = SimpleNamespace(time_ns=lambda: next(wall), monotonic_ns=lambda: next(steady))
    monkeypatch.setattr("tvau_runtime.video.time", fake)
    video, frames = read(source)
    assert video.info.live
    assert [f.stamp_ns - 10**18 for f in frames] == [0, 5, 6, 7, 9]
    assert "stopped sending after 5 frames" in video.problem


def test_a_live_source_is_opened_again_before_its_first_frame(monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: opened.append(1) or Capture([0.0] * 5))
    reader = VideoReader(0)
    reader.renew()
    assert len(opened) == 2 and len(list(reader)) == 5
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: Capture([]))
    with pytest.raises(FrameError, match="sends no frames any more"):
        reader.renew()


def test_a_file_among_the_devices_is_no_device(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "is_file", lambda path: path.name == "clip.mp4")
    assert [_is_device(source) for source in ("0", "/dev/video0", "/dev/shm/clip.mp4", "clip.mp4")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_name_that_begins_with_a_tilde_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FrameError, match=r"there is no video file or device '~clip\.mp4'"):
        VideoReader("~clip.mp4")


def test_a_failing_codec_ends_the_video_with_a_report(monkeypatch, tmp_path):
    class Failing(Capture):
        def read(self):
            if self.at == 2:
                raise cv2.error("codec trouble")
            return super().read()

    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: Failing([0, 40, 80, 120], 25.0))
    path = tmp_path / "x.avi"
    path.touch()
    video, frames = read(path)
    assert len(frames) == 3
    assert "codec trouble" in video.problem


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    path = str(tmp_path / "clip\udcff.mp4")
    with pytest.raises(FrameError, match="not valid UTF-8"):
        VideoReader(path)
