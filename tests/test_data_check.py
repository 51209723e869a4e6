"""Verifying a download, and writing copies that stop and go on: what is named, what is counted, what is never half there."""

import json
import shutil
import subprocess
import sys
from typing import Any

import cv2
import numpy as np
import pytest

from tvau_training import make_world
from tvau_training.data import check, open_data
from tvau_training.data.writers import LAYOUTS

LAYOUT_NAMES = sorted(LAYOUTS)


def report_of(folder, *flags, tmp_path, name="auto"):
    """Exit code and report of a run of check.py."""
    path = tmp_path / "report.json"
    code = check.main([str(folder), "--data", name, "--json", str(path), *flags])
    return code, json.loads(path.read_text())


def found(report, kind):
    return [finding["text"] for finding in report["findings"] if finding["kind"] == kind]


@pytest.mark.parametrize("flags", [[], ["--full"]])
@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_a_whole_copy_is_well(copies, tmp_path, layout, flags, capsys):
    code, report = report_of(copies(layout), *flags, tmp_path=tmp_path)
    assert (code, report["ok"], report["data"], report["findings"]) == (0, True, layout, [])
    assert set(report["splits"]) == set(LAYOUTS[layout].splits)
    assert report["splits"]["test"]["found"]["abnormal clips"] == 2
    told = capsys.readouterr().out
    assert "all is well" in told
    assert ("published" in told) == (layout != "folder")


def test_counts_stand_beside_the_published_ones(changed, tmp_path, capsys):
    folder = changed("ucsd")
    (folder / "UCSDped2" / "world.json").unlink()
    code, report = report_of(folder, tmp_path=tmp_path)
    assert code == 1
    assert "test: 4 clips, published are 12" in found(report, "count")
    assert "test: 20 frames, published are 2,010" in found(report, "count")
    assert "4 clips (published 12)" in capsys.readouterr().out


def test_a_cut_video_is_named(changed, tmp_path, capsys):
    folder = changed("avenue")
    path = folder / "testing_videos" / "01.avi"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    code, report = report_of(folder, tmp_path=tmp_path)
    assert code == 1
    assert any(str(path) in text for text in found(report, "damaged"))
    (text,) = found(report, "mismatch")
    assert text.startswith("test_01: ") and "12 labels" in text
    told = capsys.readouterr().out
    assert "-> Fetch these files again" in told and str(path) in told


@pytest.mark.parametrize("content", [b"", b"not a video"])
def test_what_is_no_video_is_named(changed, tmp_path, content):
    folder = changed("ubnormal")
    path = next(folder.glob("Scene*/*.mp4"))
    path.write_bytes(content)
    code, report = report_of(folder, tmp_path=tmp_path)
    assert code == 1
    (text,) = found(report, "damaged")
    assert str(path) in text


def test_a_missing_id_map_is_named_without_reading_all(changed, tmp_path):
    folder = changed("ubnormal")
    path = sorted(folder.glob("Scene*/*_annotations/*_0004_gt.png"))[0]
    path.unlink()
    code, report = report_of(folder, tmp_path=tmp_path)
    assert (code, found(report, "missing")) == (1, [f"{path} is missing"])


@pytest.mark.parametrize("keep", [0, 60, -30])
def test_a_damaged_image_is_named_by_a_full_check(changed, tmp_path, keep):
    folder = changed("shanghaitech")
    path = sorted((folder / "testing" / "frames" / "01_0001").iterdir())[5]
    path.write_bytes(path.read_bytes()[:keep])
    assert report_of(folder, tmp_path=tmp_path)[0] == 0  # a quick check reads first and last
    code, report = report_of(folder, "--full", tmp_path=tmp_path)
    assert code == 1
    assert found(report, "damaged") == [f"{path} cannot be read"]
    assert found(report, "mismatch") == ["01_0001: 12 labels, 11 frames readable"]


def test_a_damaged_mask_is_named(changed, tmp_path):
    folder = changed("ubnormal")
    clip: Any = next(clip for clip in open_data("auto", folder).split("test") if clip.abnormal)
    path = clip.truth.maps[int(np.flatnonzero(clip.labels)[0])]
    path.write_bytes(path.read_bytes()[:40])
    code, report = report_of(folder, tmp_path=tmp_path)
    assert code == 1
    assert [str(path) in text for text in found(report, "damaged")] == [True]


def test_labels_that_contradict_the_masks_are_counted(changed, tmp_path):
    folder = changed("shanghaitech")
    path = folder / "testing" / "test_frame_mask" / "02_0002.npy"
    labels = np.load(path)
    labels[2:5] = 1
    np.save(path, labels)
    code, report = report_of(folder, tmp_path=tmp_path)
    assert code == 1
    assert found(report, "contradiction") == ["02_0002: 2 frames are labelled abnormal, but the mask is empty"]
    _, report = report_of(folder, "--full", tmp_path=tmp_path)
    assert found(report, "contradiction") == ["02_0002: 3 frames are labelled abnormal, but the mask is empty"]


def test_another_number_of_masks_than_labels_is_told(changed, tmp_path):
    folder = changed("shanghaitech")
    path = folder / "testing" / "test_pixel_mask" / "02_0002.npy"
    np.save(path, np.load(path)[:-1])
    code, report = report_of(folder, tmp_path=tmp_path)
    assert code == 1
    assert "holds 11 masks" in found(report, "missing")[0]


def test_what_is_missing_is_named(changed, tmp_path):
    folder = changed("shanghaitech")
    (folder / "testing" / "test_frame_mask" / "01_0001.npy").unlink()
    shutil.rmtree(folder / "training")
    code, report = report_of(folder, tmp_path=tmp_path)
    assert code == 1
    missing = "\n".join(found(report, "missing"))
    assert "01_0001.npy is missing" in missing
    assert "nothing to train on" in missing


def test_what_is_no_data_set_is_refused_with_advice(copies, tmp_path, capsys):
    assert check.main([str(tmp_path)]) == 2
    assert "is none of the data sets" in capsys.readouterr().err
    assert check.main([str(copies("avenue") / "testing_videos")]) == 2
    assert f"give {copies('avenue')}" in capsys.readouterr().err


def test_help_has_examples(capsys):
    for script in (check, make_world):
        with pytest.raises(SystemExit) as stop:
            script.main(["--help"])
        assert stop.value.code == 0
        assert "examples:" in capsys.readouterr().out


# Writing


def write(out, *flags, layout="ubnormal", clips=4):
    sizes = ["--size", "48x64", "--seconds", "0.3"]
    return make_world.main(["--out", str(out), "--layout", layout, "--clips", str(clips), *sizes, *flags])


def tree(folder):
    """Every file's content by its path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("layout", ["ubnormal", "ucsd"])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path, monkeypatch, layout, capsys):
    assert write(tmp_path / "whole", layout=layout) == 0
    with monkeypatch.context() as patched:
        save, left = cv2.imwrite, iter(range(23))

        def imwrite(*args):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return save(*args)

        patched.setattr(cv2, "imwrite", imwrite)
        assert write(tmp_path / "stopped", layout=layout) == 130
    assert "the same command goes on" in capsys.readouterr().err
    names = [clip.name for clip in open_data(layout, tmp_path / "stopped").clips]
    done = [
        json.loads(line)["clip"]
        for line in next((tmp_path / "stopped").rglob("dialogues.jsonl")).read_text().splitlines()
    ]
    assert 0 < len(done) < 4
    assert set(done) <= set(names)
    assert write(tmp_path / "stopped", layout=layout) == 0
    assert tree(tmp_path / "stopped") == tree(tmp_path / "whole")


def test_a_folder_that_another_process_writes_to_is_left_alone(tmp_path, capsys):
    folder = tmp_path / "it" / LAYOUTS["ubnormal"].inner
    hold = f"import pathlib, sys; from tvau_training.lock import sole_writer\nwith sole_writer(pathlib.Path({str(folder)!r})):"
    other = subprocess.Popen(
        [sys.executable, "-c", f"{hold} print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other:
        assert other.stdout is not None and other.stdout.readline()
        assert write(tmp_path / "it") == 2
        assert "another process is writing" in capsys.readouterr().err
        other.kill()  # it cannot let go of it on its own
    assert write(tmp_path / "it") == 0


def test_a_line_that_was_cut_off_is_written_again(tmp_path):
    assert write(tmp_path / "it") == 0
    whole = tree(tmp_path / "it")
    path = tmp_path / "it" / "dialogues.jsonl"
    path.write_text(path.read_text()[:-40])
    assert write(tmp_path / "it") == 0
    assert tree(tmp_path / "it") == whole


def test_more_clips_and_other_splits_are_added(tmp_path):
    out = tmp_path / "it"
    assert write(out, clips=2) == 0
    first = open_data("ubnormal", out).clips
    assert write(out, clips=4) == 0
    assert write(out, "--split", "validation", clips=2) == 0
    data = open_data("ubnormal", out)
    assert {clip.name for clip in first} < {clip.name for clip in data.split("test")}
    assert (len(data.split("test")), len(data.split("validation"))) == (4, 2)
    names = [json.loads(line)["clip"] for line in (out / "dialogues.jsonl").read_text().splitlines()]
    assert sorted(names) == sorted(clip.name for clip in data.clips)
    assert check.main([str(out), "--full"]) == 0


def test_dialogues_are_the_worlds_own(copies):
    lines = (copies("avenue") / "dialogues.jsonl").read_text().splitlines()
    entry = next(entry for entry in map(json.loads, lines) if entry["split"] == "test" and entry["anomalous"])
    fields = ["anomaly", "target", "trajectory", "when", "why", "environment"]
    assert [turn["field"] for turn in entry["turns"]] == fields
    assert entry["turns"][0]["answer"] == "Yes."


def test_the_contact_sheet_shows_what_is_abnormal(tmp_path):
    assert write(tmp_path / "it") == 0
    sheet: Any = cv2.imread(str(tmp_path / "it" / "contact_test.png"))
    assert sheet.shape == (240, 1280, 3)
    blue, green, red = (sheet[..., channel].astype(int) for channel in range(3))
    outlined = (red > 240) & (green < 30) & (blue < 30)
    assert [bool(outlined[:, x : x + 320].any()) for x in range(0, 1280, 320)] == [False, False, True, True]


def test_what_cannot_be_written_is_refused(tmp_path, capsys):
    assert write(tmp_path / "it", "--split", "validation", layout="avenue") == 2
    assert "avenue has no split 'validation'; it has train and test" in capsys.readouterr().err
    assert write(tmp_path / "it", clips=1) == 0
    for flags, layout in (["--seed", "5"], "ubnormal"), ([], "folder"):
        assert write(tmp_path / "it", *flags, layout=layout) == 2
        assert "give another --out" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    assert write(tmp_path / "mine") == 2
    assert "is not empty and was not made by this command" in capsys.readouterr().err
    assert write(tmp_path / "it", clips=0) == 2
    with pytest.raises(SystemExit):
        write(tmp_path / "it", "--size", "9")


@pytest.mark.parametrize("layout", ["ubnormal", "folder"])
def test_the_split_seen_is_the_test_split_of_a_copy_of_its_own(tmp_path, layout):
    out = tmp_path / "it"
    assert write(out, "--split", "seen", layout=layout, clips=2) == 0
    assert write(out, layout=layout, clips=2) == 0, "beside it"
    both = [open_data(layout, folder).split("test") for folder in (out, out / "seen")]
    assert [len(clips) for clips in both] == [2, 2]
    assert len(open_data(layout, out).clips) == 2, "the inner one is none of its splits"
    first, second = (next(clip.read()).frame.rgb for (clip, _) in both)
    assert not np.array_equal(first, second)
    assert (out / "seen" / "contact_seen.png").is_file()
    for folder in (out, out / "seen"):
        assert check.main([str(folder), "--data", layout, "--full"]) == 0
    assert write(out / "seen", layout=layout, clips=2) == 2, "test is not seen"
