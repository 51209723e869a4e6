"""Loaders of the public data sets, on copies in their layouts: every frame, label, mask and track, and each layout's traps."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.io

from tvau_runtime.errors import ConfigError, FrameError
from tvau_training.data import DATA_SETS, Track, find_data, open_data
from tvau_training.data.files import by_number, read_rows
from tvau_training.data.regions import blobs, linked_regions
from tvau_training.data.ucsd import read_ranges
from tvau_training.data.writers import LAYOUTS, stretches
from tvau_training.world import make_clip

LAYOUT_NAMES = sorted(LAYOUTS)


@pytest.fixture
def changed(copies, tmp_path):
    """A copy that a test may damage."""
    return lambda layout: shutil.copytree(copies(layout), tmp_path / layout)


def opened(name, folder) -> Any:
    """A data set, whose parts a test may look into."""
    return open_data(name, folder)


def records(folder):
    return [json.loads(line) for line in next(folder.rglob("dialogues.jsonl")).read_text().splitlines()]


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


def clip_named(data, name) -> Any:
    (clip,) = (clip for clip in data.clips if clip.name == name)
    return clip


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


# UBnormal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3,2,5\n1,0,1\n", [(0, 1, 0, 1), (1, 3, 2, 5)]),
        ("1.0,2.0,5.0\r\n3.0,0.0,1.0\r\n", [(0, 1, 2, 5), (1, 3, 0, 1)]),
        ("1,2,5", [(0, 1, 2, 5)]),
        ("\ufeff1, 2, 5\n\n", [(0, 1, 2, 5)]),
        ("1.000000000000000000e+00,2.000000000000000000e+00,5.000000000000000000e+00\n", [(0, 1, 2, 5)]),
        ("1,0,1\n1,4,5\n", [(0, 1, 0, 1), (1, 1, 4, 5)]),
    ],
)
def test_track_files_of_all_kinds(changed, text, expected):
    folder = changed("ubnormal")
    name = next(entry["clip"] for entry in records(folder) if entry["anomalous"] and entry["split"] == "test")
    path = next(folder.glob(f"Scene*/{name}_annotations")) / f"{name}_tracks.txt"
    path.with_name(f"{name}_new_tracks.txt").unlink(missing_ok=True)
    path.write_bytes(text.encode())
    clip = clip_named(opened("ubnormal", folder), name)
    assert clip.tracks == tuple(Track(*each) for each in expected)
    odd = {index for _, _, first, last in expected for index in range(first, last + 1)}
    assert set(np.flatnonzero(clip.labels)) == odd


@pytest.mark.parametrize("text", ["1,2\n", "1,5,2\n", "one,2,3\n", "1.5,2,3\n", "1,-1,3\n", "1,nan,3\n"])
def test_a_track_file_that_makes_no_sense_is_named(changed, text):
    folder = changed("ubnormal")
    name = next(entry["clip"] for entry in records(folder) if entry["anomalous"])
    path = next(folder.glob(f"Scene*/{name}_annotations")) / f"{name}_tracks.txt"
    path.write_text(text)
    data = opened("ubnormal", folder)
    assert [problem for problem in data.problems if str(path) in problem]
    assert name not in {clip.name for clip in data.clips}


def test_corrected_tracks_go_first(changed):
    folder = changed("ubnormal")
    entry = next(entry for entry in records(folder) if entry["anomalous"])
    annotations = next(folder.glob(f"Scene*/{entry['clip']}_annotations"))
    shutil.copy(annotations / f"{entry['clip']}_tracks.txt", annotations / f"{entry['clip']}_new_tracks.txt")
    (annotations / f"{entry['clip']}_tracks.txt").write_text("1,0,0\n")
    clip = clip_named(opened("ubnormal", folder), entry["clip"])
    assert stretches(clip.labels) == [tuple(span) for span in entry["abnormal"]]


def test_id_maps_that_look_black_are_read(copies):
    data = opened("ubnormal", copies("ubnormal"))
    clip = next(clip for clip in data.split("test") if clip.abnormal)
    path = clip.truth.maps[int(np.flatnonzero(clip.labels)[0])]
    stored: Any = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert stored.max() < 32
    assert clip.truth.mask(int(np.flatnonzero(clip.labels)[0]), clip.size).any()


def test_odd_names_lie_in_the_scene_that_their_third_part_says(tmp_path, copies):
    data = opened("ubnormal", copies("ubnormal"))
    names = {clip.name: clip.source.path.parent.name for clip in data.clips}
    assert any(name.endswith("_fog") for name in names)
    assert any("_scenario1_10" in name for name in names)
    assert {f"Scene{name.split('_')[2]}" for name in names} == set(names.values())


def test_an_objects_box_is_that_of_its_largest_part(changed):
    folder = changed("ubnormal")
    clip = next(clip for clip in opened("ubnormal", folder).split("test") if clip.abnormal)
    index, ident = clip.tracks[0].first, clip.tracks[0].object_id
    image = np.zeros((48, 64), np.uint8)
    image[5:9, 10:20], image[30:32, 40:42] = ident, ident
    cv2.imwrite(str(clip.truth.maps[index]), image)
    regions = clip.regions()
    assert regions[(regions[:, 1] == index) & (regions[:, 0] == 0)].tolist() == [[0, index, 10, 5, 19, 8]]


def test_without_lists_there_is_advice(changed):
    folder = changed("ubnormal")
    shutil.rmtree(folder / "scripts")
    with pytest.raises(ConfigError, match=r"none of the six lists.*folder scripts of\s+UBnormal's repository"):
        opened("ubnormal", folder)


def test_lists_may_lie_beside_and_name_what_is_missing(changed):
    folder = changed("ubnormal")
    inner = folder / "UBnormal"
    inner.mkdir()
    for scene in list(folder.glob("Scene*")):
        scene.rename(inner / scene.name)
    with (folder / "scripts" / "normal_test_video_names.txt").open("a") as file:
        file.write("normal_scene_7_scenario_99\r\n")
    data = opened("auto", folder)
    assert data.root == inner
    (problem,) = data.problems
    assert problem.startswith(str(inner / "Scene7" / "normal_scene_7_scenario_99.mp4")) and "missing" in problem


def test_an_abnormal_clip_without_tracks_has_no_truth(changed):
    folder = changed("ubnormal")
    name = next(entry["clip"] for entry in records(folder) if entry["anomalous"] and entry["split"] == "test")
    for path in folder.glob(f"Scene*/{name}_annotations/*.txt"):
        path.unlink()
    data = opened("ubnormal", folder)
    clip = clip_named(data, name)
    assert clip.truth is None and clip.regions() is None and not clip.abnormal
    assert {(seen.abnormal, seen.mask is None) for seen in clip.read()} == {(None, True)}
    assert any(name in problem for problem in data.problems)


# ShanghaiTech


def test_images_are_in_the_order_of_their_numbers_however_padded(copies):
    data = opened("shanghaitech", copies("shanghaitech"))
    first = {clip.name: [path.name for path in clip.source.files[:11:10]] for clip in data.split("test")}
    assert sorted(map(tuple, first.values())) == [
        ("000.jpg", "010.jpg"), ("000.jpg", "010.jpg"), ("0001.jpg", "0011.jpg"), ("1.jpg", "11.jpg"),
    ]  # fmt: skip
    assert [path.name for path in sorted(map(Path, ("10.jpg", "9.jpg", "100.jpg")), key=by_number)] == [
        "9.jpg", "10.jpg", "100.jpg",
    ]  # fmt: skip


def test_what_operating_systems_leave_behind_is_no_frame(changed):
    folder = changed("shanghaitech")
    clip = opened("shanghaitech", folder).split("test")[0]
    before = clip.length
    for name in ("._000.jpg", ".DS_Store", "Thumbs.db"):
        (clip.source.path / name).write_bytes(b"\0\5\x16\7")
    (folder / "testing" / "frames" / "__MACOSX").mkdir()
    again = opened("shanghaitech", folder)
    assert again.problems == ()
    assert again.split("test")[0].length == before


def test_masks_are_read_frame_by_frame_from_disk(copies):
    clip = next(clip for clip in opened("shanghaitech", copies("shanghaitech")).split("test") if clip.abnormal)
    assert isinstance(clip.truth.masks, np.memmap)


@pytest.mark.parametrize("part", ["frames", "videos"])
def test_training_may_be_frames_and_testing_videos(changed, part):
    folder = changed("shanghaitech")
    if part == "frames":
        shutil.copytree(folder / "testing" / "frames" / "01_0001", folder / "training" / "frames" / "01_001")
        shutil.rmtree(folder / "training" / "videos")
    else:
        (folder / "testing" / "videos").mkdir()
        shutil.copy(folder / "training" / "videos" / "01_001.avi", folder / "testing" / "videos" / "01_0001.avi")
        shutil.rmtree(folder / "testing" / "frames")
    data = opened("auto", folder)
    assert len(data.split("train" if part == "frames" else "test")) == 1
    if part == "videos":  # labels of the others are there, their frames are not
        assert len([problem for problem in data.problems if "no frames" in problem]) == 3


@pytest.mark.parametrize("name", ["test_frame_mask", "test_pixel_mask"])
@pytest.mark.parametrize("damage", ["cut", "shape"])
def test_a_damaged_array_is_named(changed, name, damage):
    folder = changed("shanghaitech")
    path = folder / "testing" / name / "01_0001.npy"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100] if name == "test_pixel_mask" else b"")
    else:
        np.save(path, np.zeros((3, 4), np.uint8))
    clip = clip_named(opened("shanghaitech", folder), "01_0001")
    with pytest.raises(FrameError, match=rf"{name}.01_0001\.npy"):
        list(clip.read())


# Avenue


def test_matlab_files_are_found_by_unpadded_numbers_and_may_lie_beside(changed):
    folder = changed("avenue")
    assert (folder / "ground_truth_demo" / "testing_label_mask" / "1_label.mat").is_file()
    inner = folder / "Avenue Dataset"
    inner.mkdir()
    for part in ("training_videos", "testing_videos"):
        (folder / part).rename(inner / part)
    data = opened("auto", folder)
    assert (data.root, data.problems) == (inner, ())
    assert [clip.abnormal for clip in data.split("test")] == [True, False, True, False]
    shutil.rmtree(folder / "ground_truth_demo")
    (problem,) = opened("avenue", folder).problems
    assert "ground_truth_demo.zip" in problem


@pytest.mark.parametrize("damage", ["cut", "text", "key", "sizes"])
def test_a_damaged_matlab_file_is_named(changed, damage):
    folder = changed("avenue")
    path = folder / "ground_truth_demo" / "testing_label_mask" / "1_label.mat"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:300])
    elif damage == "text":
        path.write_text("404: not found")
    elif damage == "key":
        scipy.io.savemat(path, {"other": np.zeros(3)})
    else:
        cells = np.empty((1, 2), object)
        cells[0, 0], cells[0, 1] = np.zeros((4, 5)), np.zeros((4, 6))
        scipy.io.savemat(path, {"volLabel": cells})
    with pytest.raises(FrameError, match=r"1_label\.mat"):
        list(opened("avenue", folder).split("test")[0].read())


# UCSD


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TestVideoFile{end+1}.gt_frame = [61:180];\r\n", [[(61, 180)]]),
        ("TestVideoFile{end+1}.gt_frame = [5:90, 140:200];\n", [[(5, 90), (140, 200)]]),
        ("a.gt_frame=[1:2 4:5];\na.gt_frame = [7];\n", [[(1, 2), (4, 5)], [(7, 7)]]),
        ("% a.gt_frame = [9:10];\na.gt_frame = [];\n", [[]]),
    ],
)
def test_ranges_of_the_matlab_script(tmp_path, text, expected):
    path = tmp_path / "UCSDped2.m"
    path.write_bytes(text.encode())
    assert read_ranges(path) == expected


@pytest.mark.parametrize("text", ["[0:5]", "[5:2]", "[a:b]"])
def test_ranges_that_make_no_sense_are_told(tmp_path, text):
    path = tmp_path / "UCSDped2.m"
    path.write_text(f"x.gt_frame = {text};")
    with pytest.raises(FrameError, match=r"UCSDped2\.m must hold ranges such as \[61:180\]"):
        read_ranges(path)


def test_ranges_begin_at_1_and_hold_both_ends(changed):
    folder = changed("ucsd")
    (folder / "UCSDped2" / "Test" / "UCSDped2.m").write_text("x.gt_frame = [2:3];\n" + "x.gt_frame = [];\n" * 3)
    assert np.flatnonzero(opened("ucsd", folder).split("test")[0].labels).tolist() == [1, 2]


def test_masks_go_by_the_number_in_their_names(changed):
    folder = changed("ucsd")
    clip = opened("ucsd", folder).split("test")[0]
    before = [seen.mask for seen in clip.read()]
    for path in list(clip.truth.folder.iterdir()):
        path.rename(path.with_name(f"frame{path.name}"))
    assert (clip.truth.folder / "frame001.bmp").is_file()
    after = [seen.mask for seen in opened("ucsd", folder).split("test")[0].read()]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_twelfth_test_clip_is_written_as_ped2_has_it(tmp_path):
    clip = make_clip(0, size=(48, 64), length=2, rate_hz=10.0, split="test")
    LAYOUTS["ucsd"].write(tmp_path, "Test012", 11, clip)
    assert [p.name for p in sorted((tmp_path / "Test" / "Test012_gt").iterdir())] == [
        "frame001.bmp",
        "frame002.bmp",
    ]


def test_labels_go_by_the_clips_number_also_where_one_is_missing(changed):
    folder = changed("ucsd")
    before = {clip.name: clip.labels.tolist() for clip in opened("ucsd", folder).split("test")}
    shutil.rmtree(folder / "UCSDped2" / "Test" / "Test001")
    data = opened("ucsd", folder)
    assert {clip.name: clip.labels.tolist() for clip in data.split("test")} == {
        n: v for n, v in before.items() if n != "Test001"
    }
    assert any("4 lines gt_frame for 3 test clips" in problem for problem in data.problems)


def test_two_subsets_are_two_data_sets(changed):
    folder = changed("ucsd")
    shutil.copytree(folder / "UCSDped2", folder / "UCSDped1")
    with pytest.raises(ConfigError, match=r"UCSDped1 and UCSDped2, which are two data sets"):
        opened("ucsd", folder)
    assert opened("auto", folder / "UCSDped1").root == folder / "UCSDped1"


def test_a_clip_without_masks_has_labels_all_the_same(changed):
    folder = changed("ucsd")
    shutil.rmtree(folder / "UCSDped2" / "Test" / "Test001_gt")
    data = opened("ucsd", folder)
    clip = data.split("test")[0]
    assert clip.regions() is None
    assert {(seen.abnormal, seen.mask is None) for seen in clip.read()} == {(True, True)}
    assert data.problems == ("1 test clips have no masks: Test001",)


def test_a_damaged_image_costs_that_frame_alone(changed, caplog):
    folder = changed("ucsd")
    clip = opened("ucsd", folder).split("test")[0]
    clip.source.files[2].write_bytes(b"II*\0 nothing")
    assert [seen.index for seen in clip.read()] == [0, 1, 3, 4]
    assert [seen.index for seen in clip.read([1, 2, 3])] == [1, 3]
    assert "003.tif" in caplog.text


# Folder


def test_a_folder_without_splits_is_all_test(changed):
    folder = changed("folder") / "test"
    data = opened("folder", folder)
    assert {clip.split for clip in data.clips} == {"test"}
    assert len(data.clips) == 4
    (folder / "clip0001.txt").unlink()
    data = opened("folder", folder)
    assert "clip0001_mask.avi or clip0001.txt" in data.problems[0]
    assert data.clips[0].truth is None


def test_masks_and_boxes_go_together(changed):
    folder = changed("folder")
    (folder / "test" / "clip0003.txt").write_text("7,1,2,3,10,12\n")
    clip = clip_named(opened("folder", folder), "test_clip0003")
    assert clip.regions().tolist() == [[7, 1, 2, 3, 10, 12]]
    assert next(clip.read([1])).mask.any()


@pytest.mark.parametrize("text", ["0,0,1,2,3\n", "0,0,5,5,4,6\n", "0.5,0,1,1,2,2\n", "0,-1,1,1,2,2\n", "x\n"])
def test_box_files_that_make_no_sense_are_named(changed, text):
    folder = changed("folder")
    (folder / "test" / "clip0001.txt").write_text(text)
    with pytest.raises(FrameError, match=r"clip0001\.txt"):
        list(clip_named(opened("folder", folder), "test_clip0001").read())


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
