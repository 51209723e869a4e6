"""evaluate.py --data: figures that are read off the text files, on copies in all layouts, stopped and resumed."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="metrics need scikit-learn")
pytest.importorskip("torch", reason="a baseline needs torch")
pytest.importorskip("sacrebleu", reason="language figures need sacrebleu")

from tvau_runtime.chat import QUESTION_ANOMALY, QUESTION_TARGET, QUESTION_TRAJECTORY
from tvau_runtime.config import EngineConfig, PipelineConfig
from tvau_runtime.errors import ConfigError
from tvau_runtime.pipeline import open_pipeline
from tvau_training import baselines, evaluate
from tvau_training.data import open_data
from tvau_training.data.files import read_rows
from tvau_training.data.writers import LAYOUTS
from tvau_training.evaluation import LEVELS, _causal, evaluate_clips
from tvau_training.make_world import write_world
from tvau_training.metrics import detection_scores, frame_scores, heatmap_boxes
from tvau_training.talks import Talk
from tvau_training.video_files import write_video
from tvau_training.world import Turn, make_clip

FACTS = {"data": "x"}


@pytest.fixture(scope="module")
def pipeline():
    """The embedded model."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    with open_pipeline(PipelineConfig(engine=EngineConfig(device="cpu", threads=1))) as pipeline:
        yield pipeline


def clips_of(folder, layout):
    return open_data(layout, folder).split("test")


def save(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))


def pretend(clips, out, *, score=lambda odd: float(odd), box=lambda row: (*row[1:], 1.0)):
    """The files of a detector that knows the truth."""
    for clip in clips:
        regions = clip.regions()
        save(out / "scores" / f"{clip.name}.txt", [(i, score(odd), score(odd)) for i, odd in enumerate(clip.labels)])
        save(out / "detections" / f"{clip.name}.txt", [box(row) for row in regions])
        save(out / "tracks" / f"{clip.name}.txt", regions)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_who_knows_the_truth_gets_everything(copies, pipeline, tmp_path, layout):
    clips = clips_of(copies(layout), layout)
    pretend(clips, tmp_path)
    figures = evaluate_clips(pipeline, clips, tmp_path, FACTS)
    assert {figures[name] for name in ("micro_auc", "macro_auc", "rbdc", "tbdc")} == {1.0}
    assert figures["left_out"] == []
    assert json.loads((tmp_path / "metrics.json").read_text()) == figures
    assert figures["frames"] == sum(clip.length for clip in clips)


def test_boxes_elsewhere_find_nothing(copies, pipeline, tmp_path):
    clips = clips_of(copies("ucsd"), "ucsd")
    pretend(clips, tmp_path, score=lambda odd: 1 - float(odd), box=lambda row: (row[1], 200, 200, 210, 210, 1.0))
    figures = evaluate_clips(pipeline, clips, tmp_path, FACTS)
    assert [figures[name] for name in ("micro_auc", "rbdc", "tbdc")] == [0.0, 0.0, 0.0]


def test_figures_are_those_of_a_plain_walk_over_the_clips(copies, pipeline, tmp_path):
    clips = clips_of(copies("shanghaitech"), "shanghaitech")
    figures = evaluate_clips(pipeline, clips, tmp_path, FACTS)
    labels, scores, truth, boxes = [], [], [], []
    for number, clip in enumerate(clips):
        steps, stamps = [], []
        for seen in clip.read():
            frame = seen.frame
            stamps.append(frame.stamp_ns)
            steps += [u.step for u in pipeline.push(type(frame)(frame.rgb, frame.stamp_ns, f"plain{number}")) if u.step]
        assert steps
        mine, found = [], []
        for index, stamp in enumerate(stamps):
            distance = [max(step.stamps_ns[0] - stamp, stamp - step.stamps_ns[1], 0) for step in steps]
            step = steps[distance.index(min(distance))]
            mine.append(step.heatmap.score)
            found += [(index, *box) for box in heatmap_boxes(step.heatmap.values, LEVELS, clip.size)]
        labels.append(clip.labels)
        scores.append(np.array(mine))
        truth.append(clip.regions())
        boxes.append(np.array(found).reshape(-1, 6))
    frames, found = frame_scores(labels, scores), detection_scores(truth, boxes, sum(map(len, labels)))
    assert figures["micro_auc"] == pytest.approx(frames.micro)
    assert figures["macro_auc"] == pytest.approx(frames.macro)
    assert figures["rbdc"] == pytest.approx(found.rbdc)
    assert figures["tbdc"] == pytest.approx(found.tbdc)


def test_a_stopped_run_goes_on_with_the_clips_that_are_missing(copies, pipeline, tmp_path, monkeypatch):
    clips = clips_of(copies("ubnormal"), "ubnormal")
    whole = evaluate_clips(pipeline, clips, tmp_path / "whole", FACTS)
    pushed = []
    push = pipeline.push

    def stopping(frame):
        pushed.append(frame)
        if len(pushed) > 25:  # in the second clip
            raise KeyboardInterrupt
        return push(frame)

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "push", stopping)
        with pytest.raises(KeyboardInterrupt):
            evaluate_clips(pipeline, clips, tmp_path / "stopped", FACTS)
    assert not (tmp_path / "stopped" / "metrics.json").exists()
    assert len(list((tmp_path / "stopped" / "scores").glob("*.txt"))) == 1
    pipeline.reset()
    assert evaluate_clips(pipeline, clips, tmp_path / "stopped", FACTS) == whole
    with pytest.raises(ConfigError, match="give another --out"):
        evaluate_clips(pipeline, clips, tmp_path / "stopped", {"data": "y"})


def test_what_changed_between_two_runs_is_read_or_watched_anew(pipeline, tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (12, 64, 96, 3), np.uint8)
    for name in ("a", "b"):
        write_video(video, 4.0, data / f"{name}.avi")
    (data / "a.txt").write_text("")
    (data / "b.txt").write_text("0,2,1,1,20,20\n0,3,1,1,20,20\n")
    given = ["--data", str(data), "--split", "test", "--out", str(out)]

    def figures(*more):
        assert evaluate.main([*given, *more]) == 0
        return json.loads((out / "metrics.json").read_text())

    first = figures()
    assert (first["abnormal_frames"], first["regions"]) == (2, 2)
    kept = {name: (out / "scores" / f"{name}.txt").stat().st_mtime_ns for name in ("a", "b")}
    (data / "a.txt").write_text("0,5,1,1,20,20\n")
    write_video(video[::-1, :, ::-1], 4.0, data / "b.avi")
    second = figures()
    assert (second["abnormal_frames"], second["regions"]) == (3, 3)
    now = {name: (out / "scores" / f"{name}.txt").stat().st_mtime_ns for name in ("a", "b")}
    assert now["a"] == kept["a"] and now["b"] != kept["b"]
    (data / "b.avi").write_bytes(b"")
    assert figures()["left_out"][0].startswith("b: ") and figures()["clips"] == 1
    (data / "dialogues.jsonl").write_text(json.dumps({
        "clip": "a", "anomalous": True, "turns": [{"question": "?", "answer": "Yes.", "field": "anomaly"}]
    }) + "\n")  # fmt: skip
    assert evaluate.main(given) == 2
    assert "give another --out" in capsys.readouterr().err


@pytest.mark.parametrize("more", [-3, 4])
def test_what_has_no_label_or_no_frame_is_left_out_and_said(copies, pipeline, tmp_path, more):
    folder = shutil.copytree(copies("shanghaitech"), tmp_path / "copy")
    path = folder / "testing" / "test_frame_mask" / "01_0001.npy"
    labels = np.load(path)
    count = len(labels)
    np.save(path, np.concatenate([labels, np.zeros(more, labels.dtype)]) if more > 0 else labels[:more])
    figures = evaluate_clips(pipeline, clips_of(folder, "shanghaitech"), tmp_path / "out", FACTS)
    said = f"{max(-more, 0)} frames without a label, {max(more, 0)} labels without a frame"
    assert figures["left_out"] == [f"01_0001: {said}"]
    assert figures["frames"] == 4 * count + min(more, 0)
    regions = read_rows(tmp_path / "out" / "tracks" / "01_0001.txt", 6)
    assert regions[:, 1].max() < count + min(more, 0)


def test_clips_without_labels_or_masks_are_left_out_and_said(copies, pipeline, tmp_path):
    folder = shutil.copytree(copies("ucsd"), tmp_path / "copy")
    script = folder / "UCSDped2" / "Test" / "UCSDped2.m"
    script.write_text("\n".join(script.read_text().splitlines()[:-1]))
    shutil.rmtree(folder / "UCSDped2" / "Test" / "Test001_gt")
    figures = evaluate_clips(pipeline, clips_of(folder, "ucsd"), tmp_path / "out", FACTS)
    assert figures["left_out"] == ["Test001: no masks, not counted in RBDC and TBDC", "Test004: no labels"]
    assert (figures["clips"], figures["abnormal_clips"]) == (3, 2)


def test_so_many_clips_are_taken_evenly_over_the_split(copies, tmp_path):
    given = ["--data", str(copies("folder")), "--split", "validation", "--out", str(tmp_path / "out"), "--clips", "2"]
    every = open_data("folder", copies("folder")).split("validation")
    assert evaluate.main(given) == 0
    assert {path.stem for path in (tmp_path / "out" / "scores").iterdir()} == {every[0].name, every[-1].name}


def test_where_nothing_can_be_written_is_told_in_a_line(copies, tmp_path, capsys):
    given = ["--data", str(copies("folder")), "--split", "validation"]
    (tmp_path / "file").write_text("mine")
    assert evaluate.main([*given, "--out", str(tmp_path / "file")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err
    assert evaluate.main([*given, "--json", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_published_tracks_take_the_place_of_those_from_masks(copies, pipeline, tmp_path):
    clips = clips_of(copies("avenue"), "avenue")
    pretend(clips, tmp_path / "out", box=lambda row: (row[1], 1, 1, 9, 9, 1.0))
    for clip in clips:
        if clip.abnormal:
            rows = [(0, i, 1, 1, 9, 9) for i in np.flatnonzero(clip.labels)]
            save(tmp_path / "tracks" / f"{clip.name}.txt", rows)
    assert evaluate_clips(pipeline, clips, tmp_path / "out", FACTS, tmp_path / "tracks")["rbdc"] == 1.0
    (tmp_path / "tracks" / "test_01.txt").unlink()
    with pytest.raises(ConfigError, match=r"test_01\.txt is missing, and test_01 is abnormal"):
        evaluate_clips(pipeline, clips, tmp_path / "out", FACTS, tmp_path / "tracks")


def test_causal_smoothing_looks_back_alone():
    scores = np.zeros(40)
    scores[20:] = 1
    smooth = _causal(scores, 8.0)
    assert smooth[:20].tolist() == [0.0] * 20
    assert (np.diff(smooth[19:]) >= -1e-12).all()
    assert smooth[-1] == pytest.approx(1)
    assert _causal(np.zeros(0), 8.0).shape == (0,)


def test_the_command_line(copies, tmp_path, capsys):
    out = tmp_path / "out"
    given = ["--data", str(copies("folder")), "--split", "validation", "--out", str(out)]
    assert evaluate.main([*given, "--clips", "2", "--json", str(tmp_path / "copy.json")]) == 0
    told = capsys.readouterr().out
    assert "micro_auc" in told and "rbdc" in told
    figures = json.loads((out / "metrics.json").read_text())
    assert (figures["data"], figures["split"], figures["clips"]) == ("folder", "validation", 2)
    assert json.loads((tmp_path / "copy.json").read_text())["rbdc"] == figures["rbdc"]
    pictures = {"roc.png", "scores.png", "worst.jpg"}
    files = {"detections", "dialogues", "metrics.json", "scores", "settings.json", "tracks", "watched.json"}
    assert {p.name for p in out.iterdir()} == files | pictures
    assert all(cv2.imread(str(out / name)) is not None for name in pictures)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "auto", "nowhere"], "nowhere is not there"),
        (["--data", "auto", ".", "--seed", "3"], "about clips of the world"),
        (["--data", "auto", ".", "--clips", "0"], "at least 1"),
        (["--data", "auto", ".", "x"], "a folder, or a name and a folder"),
        (["--data", "."], "is none of the data sets"),
        (["--out", "x"], "go with --data"),
        (["--baselines"], "go with --data"),
        (["--clips", "0"], "at least 4"),
    ],
)
def test_options_that_do_not_go_together_are_told(flags, message, capsys):
    assert evaluate.main(flags) == 2
    assert message in capsys.readouterr().err


# Dialogues


def talk(clip, answers, frames=None, anomalous=True):
    turns = tuple(Turn("?", answer, field) for field, answer in answers.items())
    return Talk(clip.name, turns, anomalous, False, frames)


def test_dialogues_are_held_anew_about_their_window(tmp_path, copies, pipeline, monkeypatch):
    clip = clips_of(copies("shanghaitech"), "shanghaitech")[0]
    longer = write_longer(tmp_path / "longer", 60)
    windows, questions = [], []
    ask = pipeline.ask

    def listening(question, *, window=None, **more):
        windows.append(window)
        questions.append(question)
        return ask(question, window=window, **more)

    monkeypatch.setattr(pipeline, "ask", listening)
    whole = {"anomaly": "Yes.", "target": "a person with a red top running", "trajectory": "it stays at the left"}
    talks = [talk(longer, whole, tuple(range(20, 50))), talk(longer, {"anomaly": "No."}, None, False)]
    talks += [
        dataclasses.replace(talks[0], turns=tuple(dataclasses.replace(turn, question="!") for turn in talks[0].turns))
    ]
    talks.append(talk(longer, whole, (1, 2)))
    figures = evaluate_clips(pipeline, [longer], tmp_path / "out", FACTS, talks=talks)
    assert questions == [QUESTION_ANOMALY, QUESTION_TARGET, QUESTION_TRAJECTORY, QUESTION_ANOMALY]
    first, second = windows[0], windows[3]
    assert first.start_ns >= 2e9 and first.end_ns <= 4.9e9, "at 10 frames a second"
    assert second.start_ns < 1.5e9 and second.end_ns > 4.5e9, "its first and its last quarter"
    assert figures["left_out"] == [f"{longer.name}: a dialogue about fewer than two frame pairs"]
    assert figures["asked"] == 2 and figures["yes_no_bacc"] in (0.0, 0.5, 1.0)
    lines = [json.loads(line) for line in (tmp_path / "out" / "dialogues" / "long.jsonl").read_text().splitlines()]
    assert lines[0]["truth"] == whole and set(lines[0]["answers"]) == set(whole) == {*lines[0]["truth"]}
    assert evaluate_clips(pipeline, [longer], tmp_path / "out", FACTS, talks=talks) == figures
    assert len(questions) == 4, "what was asked is not asked again"
    assert evaluate_clips(pipeline, [clip], tmp_path / "none", FACTS)["bleu4_target"] is None


def write_longer(folder, frames):
    """A clip of so many frames, 10 a second."""
    folder.mkdir()
    write_video(make_clip(3, size=(48, 64), length=frames, rate_hz=10.0).frames, 10.0, folder / "long.mp4")
    (folder / "long.txt").write_text("0,5,3,3,9,9\n")
    return open_data("folder", folder).clips[0]


@pytest.mark.parametrize("split", ["seen", "familiar"])
def test_a_split_that_lies_apart_is_that_of_the_folder_within(tmp_path, capsys, split):
    write_world(tmp_path / "it", "folder", split, 2, 0, (48, 64), 1.0)
    given = ["--data", "folder", str(tmp_path / "it"), "--split", split, "--out", str(tmp_path / "o")]
    assert evaluate.main(given) == 0
    figures = json.loads((tmp_path / "o" / "metrics.json").read_text())
    assert (figures["split"], figures["clips"], figures["asked"]) == (split, 2, 2)
    names = ("micro_auc", "macro_auc", "rbdc", "tbdc", "bleu4_target", "bleu4_trajectory", "yes_no_acc", "yes_no_bacc")
    assert all(0 <= figures[name] <= 1 for name in names)
    shutil.move(tmp_path / "it", tmp_path / "another")  # of the same kind, with clips of the same names
    given[2] = str(tmp_path / "another")
    assert evaluate.main(given) == 2
    assert "give another --out" in capsys.readouterr().err


# Baselines


def test_baselines_stand_in_the_same_table(copies, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(baselines, "STEPS", 2)
    monkeypatch.setattr(baselines, "BEFORE", 1)
    out = tmp_path / "out"
    given = ["--data", str(copies("ubnormal")), "--clips", "3", "--out", str(out), "--baselines"]
    assert evaluate.main(given) == 0
    told = capsys.readouterr().out
    figures = json.loads((out / "metrics.json").read_text())
    assert set(figures["baselines"]) == {"mog2", "autoencoder", "constant"}
    assert all(f"\n{name} " in told for name in ("this model", *figures["baselines"]))
    constant = figures["baselines"]["constant"]
    assert constant["micro_auc"] == 0.5 and constant["yes_no_bacc"] == 0.5 and constant["rbdc"] == 0.0
    assert figures["baselines"]["mog2"]["bleu4_target"] is None
    assert evaluate.main(given) == 0, "it goes on"
    assert json.loads((out / "metrics.json").read_text()) == figures


def test_what_moves_is_found_where_it_is(clip):
    data = open_data("folder", Path(clip).parent)
    seen = baselines.mog2(data.clips[0])
    boxes = np.array(seen.detections)
    assert len(boxes) and boxes[:, 3].max() < data.clips[0].size[1] and boxes[:, 4].max() < data.clips[0].size[0]
    assert seen.scores[0][1] == 0.0 and all(0 <= row[1] <= 1 for row in seen.scores)
    late = boxes[boxes[:, 0] > 20]
    middles = (late[:, 1] + late[:, 3]) / 2
    assert np.corrcoef(late[:, 0], middles)[0, 1] > 0.7, "it crosses the picture"


def test_the_autoencoder_learns_what_is_usual(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "STEPS", 3)
    write_world(tmp_path / "it", "folder", "train", 2, 0, (48, 64), 2.0)
    clips = open_data("folder", tmp_path / "it").clips
    first, again = (baselines.Autoencoder(clips[1:], 4.0)(clips[0]) for _ in range(2))
    assert first == again, "the same numbers every time"
    scores = np.array(first.scores)
    assert scores[:, 0].tolist() == list(range(20)) and ((scores[:, 1] > 0) & (scores[:, 1] < 1)).all()
    assert (scores[:7, 2] == 0).all() and (scores[8:, 2] > 0).all(), "nothing is said before three frames were seen"
