"""`tvau evaluate`: other people's text files, good and bad; and the random cases that the reference is compared on."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the metrics need scikit-learn")

from test_metrics import slow_detection

from tvau_runtime.cli import main
from tvau_runtime.metrics import detection_scores, frame_scores

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
TRACKS = {"01": "0,0,10,10,19,19\n0,1,10,10,19,19\r\n1,1,50,50,59,59\n\n", "02": "0,3.0,10,10,19,19"}
BOXES = {
    "01": "0,10,10,19,19,0.9\n1,10,10,19,19,0.8\n2,10,10,19,19,.7\n",
    "02": "\ufeff0,30,30,39,39,0.3\n3, 12, 12, 21, 21, 2e-1\n",
    "03": "",
}
LABELS = {"01": [1, 1, 0], "02": [0, 0, 0, 1], "03": [0, 0]}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Folders `boxes`, `tracks`, `labels` and `scores` of three videos."""
    monkeypatch.chdir(tmp_path)
    for folder, texts in (("boxes", BOXES), ("tracks", TRACKS)):
        (tmp_path / folder).mkdir()
        for name, text in texts.items():
            (tmp_path / folder / f"{name}.txt").write_text(text, encoding="utf-8", newline="")
    for folder in ("labels", "scores"):
        (tmp_path / folder).mkdir()
        for name, labels in LABELS.items():
            np.save(tmp_path / folder / f"{name}.npy", np.array(labels, np.uint8))
    return tmp_path


def figures(*words):
    assert main(["evaluate", "boxes", "tracks", *words]) == 0
    return json.loads(Path("metrics.json").read_text())


def fails(capsys, *words):
    capsys.readouterr()
    assert main(["evaluate", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_all_figures_of_text_files(files, capsys):
    found = figures("--labels", "labels")
    assert [found[name] for name in ("videos", "frames", "missing")] == [3, 9, {}]
    truth = [[(0, 0, 10, 10, 19, 19), (0, 1, 10, 10, 19, 19), (1, 1, 50, 50, 59, 59)], [(0, 3, 10, 10, 19, 19)], []]
    said = [
        [(0, 10, 10, 19, 19, 0.9), (1, 10, 10, 19, 19, 0.8), (2, 10, 10, 19, 19, 0.7)],
        [(0, 30, 30, 39, 39, 0.3), (3, 12, 12, 21, 21, 0.2)],
        [],
    ]
    assert (found["rbdc"], found["tbdc"]) == pytest.approx(slow_detection(truth, said, 9))
    scores = [np.array([0.9, 0.8, 0.7]), np.array([0.3, 0, 0, 0.2]), np.zeros(2)]
    expected = frame_scores([np.array(each, bool) for each in LABELS.values()], scores)
    assert (found["micro_auc"], found["macro_auc"]) == pytest.approx((expected.micro, expected.macro))
    assert "3 videos, 9 frames, 3 tracks of 4 regions, 5 boxes" in capsys.readouterr().out


def test_without_labels_the_number_of_frames_is_enough(files, capsys):
    found, out = figures("--frames", "9"), capsys.readouterr().out
    assert found["rbdc"] == figures("--labels", "labels")["rbdc"]
    assert figures("--frames", "9")["micro_auc"] is None
    assert "they need --labels" in out and f"{100 * found['tbdc']:.2f} %" in out


def test_scores_of_frames_of_their_own(files):
    assert figures("--labels", "labels", "--scores", "scores")["micro_auc"] == 1.0
    (files / "scores" / "02.npy").unlink()
    (files / "scores" / "02.txt").write_text("7\n0\n0\n1\n")
    found = figures("--labels", "labels", "--scores", "scores")
    assert found["micro_auc"] is None and "0..1" in found["missing"]["micro_auc"] and found["rbdc"] > 0


def test_scores_below_0_are_no_scores_of_frames(files):
    for path in (files / "boxes").iterdir():
        rows = [line.rsplit(",", 1) for line in path.read_text().splitlines()]
        path.write_text("".join(f"{box},{float(score) - 5}\n" for box, score in rows))
    found = figures("--labels", "labels")
    assert found["micro_auc"] is None and "0..1" in found["missing"]["micro_auc"] and found["rbdc"] > 0


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        (
            "boxes/01.txt",
            "0,10,10,19,19,0.9\n\n1,10,10,19,0.8\n",
            "boxes/01.txt:3: 5 values instead of 6; expected frame_id",
        ),
        ("boxes/01.txt", "0,10,10,19,19,high\n", "boxes/01.txt:1: score is not a finite number"),
        ("boxes/01.txt", "0,10,10,19,nan,1\n", "boxes/01.txt:1: y_max is not a finite number"),
        ("boxes/01.txt", "0.5,10,10,19,19,1\n", "boxes/01.txt:1: frame_id is not a whole number from 0 on"),
        ("boxes/01.txt", "0,10,10,9,19,1\n", "boxes/01.txt:1: a maximum is less than its minimum"),
        ("boxes/01.txt", "3,10,10,19,19,1\n", "boxes/01.txt:1: frame_id 3, but the video has frames 0 to 2"),
        ("boxes/01.txt", b"\xff\xfe", "boxes/01.txt cannot be read: it is not text"),
        (
            "tracks/01.txt",
            "0,1,1,1,2,2\n0,1,1,1,2,2\n",
            "tracks/01.txt:2: track 0 has a box in frame 1 already, in line 1",
        ),
        ("tracks/01.txt", "-1,1,1,1,2,2\n", "tracks/01.txt:1: track_id is not a whole number"),
        ("tracks/04.txt", "0,1,1,1,2,2\n", "tracks has files of videos without labels: 04"),
        ("boxes/03.txt", None, "boxes has no file of boxes for 03; an empty file"),
        ("labels/01.txt", "0\n", "labels has both 01.npy and 01.txt"),
        ("labels/01.npy", b"what", "labels/01.npy is no NumPy file"),
        ("scores/01.npy", None, "scores has no file of scores for 01"),
        ("scores/04.txt", "1\n", "scores has files of videos without labels: 04"),
    ],
)
def test_bad_files_are_named_with_their_line(files, capsys, path, text, message):
    if text is None:
        (files / path).unlink()
    elif isinstance(text, bytes):
        (files / path).write_bytes(text)
    else:
        (files / path).write_text(text)
    assert message in fails(capsys, "boxes", "tracks", "--labels", "labels", "--scores", "scores")
    assert not (files / "metrics.json").exists()


def test_what_does_not_go_together(files, capsys):
    assert "labels must be 0 or 1, got 2" in fails_with_label(files, capsys, 2)
    assert "is not a folder" in fails(capsys, "nowhere", "tracks", "--frames", "9")
    assert "holds no .txt file" in fails(capsys, "labels", "tracks", "--frames", "9")
    assert "--frames must be at least 1" in fails(capsys, "boxes", "tracks", "--frames", "0")
    assert "--labels" in fails(capsys, "boxes", "tracks", "--frames", "9", "--scores", "scores")
    np.save(files / "labels" / "01.npy", np.array([1, 1]))
    (files / "boxes" / "01.txt").write_text("")
    (files / "tracks" / "01.txt").write_text("")
    assert "has 3 scores, but the video has 2 labels" in fails(
        capsys, "boxes", "tracks", "--labels", "labels", "--scores", "scores"
    )


def fails_with_label(files, capsys, value):
    np.save(files / "labels" / "01.npy", np.array([1, value, 0]))
    line = fails(capsys, "boxes", "tracks", "--labels", "labels")
    np.save(files / "labels" / "01.npy", np.array(LABELS["01"]))
    return line


def test_without_scikit_learn_it_says_what_to_install(files, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tvau_runtime.metrics", None)
    assert "pip install scikit-learn" in fails(capsys, "boxes", "tracks", "--frames", "9")


@pytest.mark.parametrize("command", ["archive", "evaluate"])
def test_help_teaches_by_examples(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert "examples:" in out and f"tvau {command} " in out and "%(" not in out


# --- the cases that the reference evaluator is compared on


@pytest.fixture
def cases(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("metrics_reference")


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_cases_have_no_equal_scores_and_survive_text_files(cases, tmp_path, seed):
    case = cases.make_case(seed)
    scores = np.concatenate([boxes[:, 5] for boxes in case.boxes.values()])
    assert len(np.unique(scores)) == len(scores)
    assert min(map(len, [*case.boxes.values(), *case.tracks.values()])) >= 2
    tracks, boxes = cases.write_case(case, tmp_path)
    found = cases.ours(tracks, boxes, case.frames)
    direct = detection_scores(list(case.tracks.values()), list(case.boxes.values()), case.frames)
    assert (found["rbdc"], found["tbdc"]) == (direct.rbdc, direct.tbdc), "text files lose nothing"


def test_without_the_reference_nothing_is_compared_and_it_says_so(cases, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["metrics_reference.py"])
    assert cases.main() == 0
    assert "not compared: --reference was not given" in capsys.readouterr().out
    with pytest.raises(cases.Skipped, match=r"no compute_tbdc_rbdc\.py"):
        cases.load_reference(tmp_path)


def test_an_evaluator_is_run_as_it_is(cases, capsys, monkeypatch, tmp_path):
    """A stand-in of the same shape: it plots, reads its arguments when imported, and prints."""
    (tmp_path / "compute_tbdc_rbdc.py").write_text(
        "import argparse\nimport matplotlib.pyplot as plt\n"
        "parser = argparse.ArgumentParser()\n"
        "for name in ('--tracks-path', '--anomalies-path', '--num-frames'):\n    parser.add_argument(name, required=True)\n"
        "args = parser.parse_args()\n"
        "def compute_metrics(tracks, boxes, frames):\n"
        "    print('fpr does not reach 1')\n    print('tbdc = 0.25')\n    print('rbdc = 0.5')\n    plt.plot(1, 2, '-')\n"
    )
    assert cases.load_reference(tmp_path)(tmp_path, tmp_path, 3) == {"tbdc": 0.25, "rbdc": 0.5}
    monkeypatch.setattr(sys, "argv", ["metrics_reference.py", "--reference", str(tmp_path), "--cases", "2"])
    assert cases.main() == 1, "it does not agree"
