"""evaluate.py --data: figures that are read off the text files, on copies in all layouts, stopped and resumed."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="metrics need scikit-learn")

from tvau_runtime.config import EngineConfig, PipelineConfig
from tvau_runtime.errors import ConfigError
from tvau_runtime.pipeline import open_pipeline
from tvau_training import evaluate
from tvau_training.data import open_data
from tvau_training.data.files import read_rows
from tvau_training.data.writers import LAYOUTS
from tvau_training.evaluation import LEVELS, _causal, evaluate_clips
from tvau_training.metrics import detection_scores, frame_scores, heatmap_boxes

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
    given = ["--data", "auto", str(copies("folder")), "--split", "validation", "--out", str(out)]
    assert evaluate.main([*given, "--clips", "2", "--json", str(tmp_path / "copy.json")]) == 0
    told = capsys.readouterr().out
    assert "micro_auc" in told and "rbdc" in told
    figures = json.loads((out / "metrics.json").read_text())
    assert (figures["data"], figures["split"], figures["clips"]) == ("folder", "validation", 2)
    assert json.loads((tmp_path / "copy.json").read_text())["rbdc"] == figures["rbdc"]
    assert {p.name for p in out.iterdir()} == {"detections", "metrics.json", "scores", "settings.json", "tracks"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "auto", "nowhere"], "nowhere is not there"),
        (["--data", "auto", ".", "--seed", "3"], "about clips of the world"),
        (["--data", "auto", ".", "--split", "demo"], "no split 'demo'"),
        (["--data", "auto", ".", "--clips", "0"], "at least 1"),
        (["--out", "x"], "go with --data"),
        (["--clips", "0"], "at least 4"),
    ],
)
def test_options_that_do_not_go_together_are_told(flags, message, capsys):
    assert evaluate.main(flags) == 2
    assert message in capsys.readouterr().err
