"""The traps of each layout, one by one, on copies that are changed to hold them."""

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.io
from data_tools import clip_named, opened, records

from tvau_runtime.errors import ConfigError, FrameError
from tvau_training.data import Track
from tvau_training.data.files import by_number
from tvau_training.data.ucsd import read_ranges
from tvau_training.data.writers import LAYOUTS, stretches
from tvau_training.world import make_clip

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


def test_two_videos_of_one_name_are_not_taken_for_one(changed):
    folder = changed("folder")
    video = next((folder / "test").glob("clip*.mp4"), None) or next((folder / "test").glob("clip*.avi"))
    shutil.copy(video, video.with_suffix(".mkv"))
    data = opened("folder", folder)
    names = [clip.name for clip in data.clips]
    assert len(set(names)) == len(names)
    assert any("is left out" in problem and "has its name" in problem for problem in data.problems)


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
