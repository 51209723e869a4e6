"""Loaders of the public data sets, on copies in their layouts: every frame, label, mask and track."""

import cv2
import numpy as np
import pytest
from data_tools import clip_named, opened, records

from tvau_runtime.errors import ConfigError
from tvau_training.data import DATA_SETS, find_data
from tvau_training.data.files import read_rows
from tvau_training.data.regions import blobs, linked_regions
from tvau_training.data.writers import LAYOUTS
from tvau_training.world import make_clip

LAYOUT_NAMES = sorted(LAYOUTS)


def made(record, layout):
    """The clip of the world that a record's files were written from."""
    spec = LAYOUTS[layout]
    anomaly = record["number"] % 2 == 0 and not (record["split"] == "train" and spec.normal_training)
    return make_clip(
        record["seed"],
        size=(48, 64),
        length=record["frames"],
        rate_hz=spec.rate_hz,
        anomaly=anomaly,
        split=record["split"],
    )


def test_every_loader_has_a_writer():
    assert set(LAYOUTS) == set(DATA_SETS)


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_what_is_read_is_what_was_written(copies, layout):
    data = opened("auto", copies(layout))
    assert (data.name, data.problems) == (layout, ())
    entries = records(copies(layout))
    assert sorted(clip.name for clip in data.clips) == sorted(entry["clip"] for entry in entries)
    for entry in entries:
        truth, clip = made(entry, layout), clip_named(data, entry["clip"])
        assert (clip.split, clip.fps, clip.length, clip.size) == (
            truth.split,
            truth.rate_hz,
            len(truth.frames),
            (48, 64),
        )
        masks = truth.anomaly_masks
        assert clip.labels.tolist() == masks.any(axis=(1, 2)).tolist()
        assert clip.mismatch == ""
        frames = list(clip.read())
        assert [seen.index for seen in frames] == list(range(len(masks)))
        for seen, image, mask, objects in zip(frames, truth.frames, masks, truth.objects, strict=True):
            assert seen.frame.stamp_ns == pytest.approx(seen.index * 1e9 / truth.rate_hz, abs=1e6)
            grey = layout == "ucsd"
            wanted = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2) if grey else image
            assert np.abs(seen.frame.rgb.astype(int) - wanted).mean() < 12  # what compression leaves
            assert seen.abnormal == mask.any()
            if (
                layout == "folder"
                and (path := copies(layout) / clip.split / f"{clip.name.split('_')[1]}.txt").is_file()
            ):
                boxes = [row[2:] for row in read_rows(path, 6).astype(int) if row[1] == seen.index]
                mask = np.zeros_like(mask)
                for x0, y0, x1, y1 in boxes:
                    mask[y0 : y1 + 1, x0 : x1 + 1] = True
            assert np.array_equal(seen.mask, mask)
            if layout == "ubnormal":
                assert np.array_equal(seen.objects, objects)
            else:
                assert seen.objects is None


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_any_frame_can_be_had_without_the_others(copies, layout):
    for clip in opened(layout, copies(layout)).split("test")[:2]:
        whole = list(clip.read())
        for wanted in ([len(whole) - 1], [2, 3], range(1, len(whole), 2), []):
            some = list(clip.read(wanted))
            assert [seen.index for seen in some] == list(wanted)
            for seen in some:
                other = whole[seen.index]
                assert seen.frame.stamp_ns == other.frame.stamp_ns
                assert np.array_equal(seen.frame.rgb, other.frame.rgb)
                assert np.array_equal(seen.mask, other.mask)
        assert [seen.mask for seen in clip.read([1], masks=False)] == [None]
        assert list(clip.read([len(whole) + 5])) == []
        with pytest.raises(ConfigError, match="must rise, got 3 after 3"):
            list(clip.read([3, 3]))
        with pytest.raises(ConfigError, match="begin at 0"):
            list(clip.read([-1]))


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_regions_bound_what_the_masks_show(copies, layout):
    for clip in opened(layout, copies(layout)).split("test"):
        regions = clip.regions()
        assert set(regions[:, 1]) == set(np.flatnonzero(clip.labels))
        assert sorted(set(regions[:, 0])) == list(range(len(set(regions[:, 0]))))
        for seen in clip.read():
            for x0, y0, x1, y1 in regions[regions[:, 1] == seen.index, 2:].astype(int):
                part = seen.mask[y0 : y1 + 1, x0 : x1 + 1]
                assert part[0].any() and part[-1].any() and part[:, 0].any() and part[:, -1].any()


# Lengths that differ


@pytest.mark.parametrize("more", [-2, 3])
def test_labels_and_video_of_different_length_keep_theirs(changed, more):
    folder = changed("shanghaitech")
    path = folder / "testing" / "test_frame_mask" / "01_0001.npy"
    labels = np.load(path)
    count = len(labels)
    np.save(path, np.concatenate([labels, np.ones(more, labels.dtype)]) if more > 0 else labels[:more])
    clip = clip_named(opened("shanghaitech", folder), "01_0001")
    assert clip.mismatch == f"01_0001: {count} frames, {count + more} labels"
    assert (clip.length, len(clip.labels)) == (count, count + more)
    seen = [each.abnormal for each in clip.read(masks=False)]
    assert seen == [bool(label) for label in labels[: count + min(more, 0)]] + [None] * max(-more, 0)


def test_tracks_beyond_the_videos_end_are_told(changed):
    folder = changed("folder")
    (folder / "test" / "clip0001.txt").write_text("0,99,1,1,2,2\n")
    clip = clip_named(opened("folder", folder), "test_clip0001")
    assert clip.mismatch == "test_clip0001: 5 frames, but frame 99 is said to be abnormal"
    assert not clip.labels.any()


# Which folder it is


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_one_level_too_high_is_understood(copies, layout, tmp_path):
    (tmp_path / "around").mkdir()
    (tmp_path / "around" / "it").symlink_to(copies(layout), target_is_directory=True)
    if layout == "folder":
        with pytest.raises(ConfigError, match="none of the data sets"):
            find_data("auto", tmp_path / "around")
        assert find_data("folder", tmp_path / "around") == ("folder", tmp_path / "around" / "it")
    else:
        assert find_data("auto", tmp_path / "around") == (layout, tmp_path / "around" / "it")


@pytest.mark.parametrize(
    ("layout", "inner"),
    [
        ("ubnormal", "Scene1"),
        ("shanghaitech", "testing"),
        ("shanghaitech", "testing/frames"),
        ("avenue", "testing_videos"),
        ("ucsd", "UCSDped2/Test"),
    ],
)
def test_one_level_too_low_is_told(copies, layout, inner):
    root = copies(layout) / ("UCSDped2" if layout == "ucsd" else "")
    for name in ("auto", layout):
        with pytest.raises(ConfigError, match=rf"lies within a data set \({layout}\); give {root}$"):
            opened(name, copies(layout) / inner)


def test_what_it_is_not_is_told(copies, tmp_path):
    with pytest.raises(ConfigError, match=r"is no avenue: expected training_videos.*it looks like ucsd"):
        opened("avenue", copies("ucsd"))
    with pytest.raises(ConfigError, match=r"is none of the data sets.*It holds nothing"):
        opened("auto", tmp_path)
    with pytest.raises(ConfigError, match="is not there"):
        opened("auto", tmp_path / "missing")
    with pytest.raises(ConfigError, match="there is no data set 'kinetics'"):
        opened("kinetics", tmp_path)
    with pytest.raises(ConfigError, match=r"holds no clip of the split 'validation'; it holds 4 of train, 4 of test"):
        opened("ucsd", copies("ucsd")).split("validation")


# Regions


def test_parts_that_overlap_from_frame_to_frame_are_one_track():
    masks = np.zeros((5, 20, 30), bool)
    for t in range(5):
        masks[t, 2:6, 2 + t : 8 + t] = True  # goes right
        if t != 2:
            masks[t, 12:16, 20 - t : 26 - t] = True  # goes left, and is gone for a frame
    rows = linked_regions(enumerate(masks))
    assert rows[rows[:, 0] == 0][:, 1].tolist() == [0, 1, 2, 3, 4]
    assert {tuple(rows[rows[:, 0] == track][:, 1]) for track in (1, 2)} == {(0.0, 1.0), (3.0, 4.0)}
    assert rows[0].tolist() == [0, 0, 2, 2, 7, 5]
    assert linked_regions([]).shape == (0, 6)


def test_blobs_are_eight_connected_and_joined_over_small_gaps():
    assert blobs(np.eye(4, dtype=bool)).tolist() == [[0, 0, 3, 3]]
    assert blobs(np.zeros((4, 5), bool)).shape == (0, 4)
    mask = np.zeros((10, 30), bool)
    mask[2:4, 3:6] = mask[2:8, 9:12] = mask[5, 20] = True
    assert blobs(mask).tolist() == [[3, 2, 5, 3], [9, 2, 11, 7], [20, 5, 20, 5]]
    assert sorted(blobs(mask, 2).tolist()) == [[3, 2, 11, 7], [20, 5, 20, 5]]
