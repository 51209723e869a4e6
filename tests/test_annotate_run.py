"""The annotation pipeline as a whole, against a scripted annotator over HTTP: faults, stops, and servers in trouble."""

import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("json_repair", reason="the annotation pipeline is not installed")
pytest.importorskip("openai", reason="the annotation pipeline is not installed")
pytest.importorskip("scipy", reason="the annotation pipeline is not installed")
pytest.importorskip("torch", reason="training is not installed")

from tvau_runtime.errors import BackendError, ConfigError
from tvau_runtime.tokenizer import TextTokenizer
from tvau_training.annotate import run
from tvau_training.annotate.annotator import Reply, Request, RequestError
from tvau_training.annotate.answers import AnswerCache, Asker
from tvau_training.annotate.pipeline import Settings
from tvau_training.annotate.server import KEY_VARIABLE, ServerAnnotator
from tvau_training.batches import encode_dialogue
from tvau_training.data import open_data
from tvau_training.video_files import write_video
from tvau_training.world import Turn

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "training" / "annotate" / "run.py"
SMALL = {"length": 16, "size": (168, 224)}


@pytest.fixture(scope="module")
def scripted():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("scripted_annotator")
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def clips(scripted):
    """Two clips, the first with an anomaly."""
    return scripted.footage(2, 7, **SMALL)


@pytest.fixture(scope="module")
def folder(clips, tmp_path_factory):
    """The same clips on disk, in the layout of UCSD Ped2 but in colour."""
    root = tmp_path_factory.mktemp("data") / "UCSDped2"
    lines = ["TestVideoFile = {};"]
    for number, each in enumerate(clips, start=1):
        frames, masks = (root / "Test" / f"Test{number:03d}{end}" for end in ("", "_gt"))
        frames.mkdir(parents=True)
        masks.mkdir()
        abnormal = each.made.anomaly_masks
        for index, (rgb, mask) in enumerate(zip(each.made.frames, abnormal, strict=True), start=1):
            assert cv2.imwrite(str(frames / f"{index:03d}.tif"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
            assert cv2.imwrite(str(masks / f"{index:03d}.bmp"), mask.astype(np.uint8) * 255)
        ranges = " ".join(str(i + 1) for i in np.flatnonzero(abnormal.any(axis=(1, 2))))
        lines.append(f"TestVideoFile{{end+1}}.gt_frame = [{ranges}];")
    (root / "Test" / "UCSDped2.m").write_text("\n".join(lines))
    return root


def annotated(clips, server, out, **more):
    annotator = ServerAnnotator(server.url, "scripted", **more)
    try:
        return run.annotate([each.clip for each in clips], annotator, out, Settings())
    finally:
        annotator.close()


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def questions(clips):
    """How many there are for these clips, one for each frame and one more for each with a mask."""
    return sum(len(each.seen) + int(each.made.anomaly_masks.any(axis=(1, 2)).sum()) for each in clips)


def words(text):
    return set(re.findall(r"[a-z]+", text.lower()))


def test_without_faults_all_is_right(clips, scripted, tmp_path):
    tokenizer = TextTokenizer(ROOT / "tvau_runtime" / "assets" / "tvau-tiny" / "tokenizer.json")
    with scripted.ScriptedServer(clips, scripted.Faults()) as server:
        summary = annotated(clips, server, tmp_path)
        assert server.requests == questions(clips)
    assert summary["contradictions"] == {} and summary["cost"]["asked"] == questions(clips)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    dialogues = lines_of(tmp_path / "dialogues.jsonl")
    assert len(dialogues) == 2 * 2 * 2 * 3  # clips, windows, kinds, phrasings
    truth = {each.clip.name: {turn.field: turn.answer for turn in each.made.dialogue} for each in clips}
    for line in dialogues:
        assert len(line["indices"]) == 8 and line["split"] == "validation"
        said = {turn["field"]: turn["answer"] for turn in line["turns"]}
        assert said["environment"] == truth[line["clip"]]["environment"]
        if line["kind"] == "anomaly":
            assert said["anomaly"] == truth[line["clip"]]["anomaly"]
            assert words(said["target"]) <= words(truth[line["clip"]]["target"])  # which also tells of trousers and bag
        ids, weights = encode_dialogue([Turn(**turn) for turn in line["turns"]], tokenizer)  # as stage 2 reads them
        assert len(ids) == len(weights) and weights.any()
    (abnormal,) = [line for line in lines_of(tmp_path / "descriptions.jsonl") if line["abnormal"]]
    assert abnormal["confirmed"] == 1 and words(abnormal["description"]) <= words(truth["clip000"]["target"])
    frames = lines_of(tmp_path / "frames.jsonl")
    assert [(line["clip"], line["frame"]) for line in frames] == [
        (f"clip{c:03d}", i) for c in (0, 1) for i in range(16)
    ]
    assert any(target["abnormal"] for line in frames for target in line["targets"])
    page = (tmp_path / "review.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 8 and abnormal["description"] in page


def test_the_proof_finds_faults_and_sees_them_go(scripted, tmp_path):
    bench = importlib.import_module("annotation")
    out = tmp_path / "figures.json"
    assert bench.main(["--clips", "2", "--frames", "12", "--rates", "0", "0.2", "--seed", "3", "--json", str(out)]) == 0
    clean, faulty = json.loads(out.read_text())["runs"]
    assert all(clean["steps"]["verification"][name]["precision"] > 0.97 for name in bench.ATTRIBUTES)
    assert sum(clean["faults_told"].values()) == 0 and all(faulty["faults_told"].values())
    before, after = faulty["steps"]["extraction"], faulty["steps"]["verification"]
    for kind in ("color", "missed", "motion"):
        assert after["faults_left"][kind] < before["faults_left"][kind]
    assert after["appearance"]["precision"] > before["appearance"]["precision"] + 0.05
    assert bench.main(["--rates", "2"]) == 2


def wait_for(condition, what):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def command(folder, out, server, *more):
    words = ["--data", str(folder), "--out", str(out), "--server", server.url, "--model", "scripted"]
    return [*words, "--rate-hz", "10", "--concurrency", "2", *more]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_without_asking_again(clips, folder, scripted, tmp_path, capsys, how):
    faults = scripted.Faults(broken=0.2)
    with scripted.ScriptedServer(clips, faults) as server:
        assert run.main(command(folder, tmp_path / "whole", server)) == 0
        needed = server.requests
    assert needed >= questions(clips)
    out = tmp_path / "stopped"
    with scripted.ScriptedServer(clips, faults, trouble=lambda number: "hang" if number > 20 else None) as server:
        words = [sys.executable, str(SCRIPT), *command(folder, out, server, "--retries", "0")]
        stopped = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: server.requests >= 22, "the run did not come so far")
        stopped.send_signal(how)
        if how == signal.SIGINT:  # it waits for the answers under way, until the server is gone
            server.closing.set()
        _, said = stopped.communicate(timeout=120)
    kept = len(list((out / "answers").rglob("*.json")))
    assert kept == 20
    if how == signal.SIGINT:
        assert stopped.returncode == 130 and "goes on from here" in said and "Traceback" not in said
        assert (out / "summary.json").is_file()
    capsys.readouterr()
    with scripted.ScriptedServer(clips, faults) as server:
        for asked in (needed - kept, 0):
            before = server.requests
            assert run.main(command(folder, out, server)) == 0
            assert server.requests == before + asked
            assert f"{needed - asked} answers from the cache" in capsys.readouterr().out
    for name in ("dialogues.jsonl", "descriptions.jsonl", "frames.jsonl"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_trouble_that_passes_is_waited_for(clips, scripted, tmp_path):
    trouble = {1: 429, 2: 500, 3: 503, 5: 429, 6: 429, 9: 502}
    with scripted.ScriptedServer(clips[:1], scripted.Faults(), trouble=trouble.get) as server:
        summary = annotated(clips[:1], server, tmp_path, concurrency=1)
        assert server.requests == questions(clips[:1]) + len(trouble)
    assert summary["cost"]["failed"] == 0 and summary["extraction"]["frames"] == questions(clips[:1])


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (500, "server error"),
        (429, "rate limit"),
        (400, "refused"),
        ("garbage", "no chat completion"),
        ("hang", "time-out"),
    ],
)
def test_one_request_that_fails_is_set_aside_and_asked_again_by_the_next_run(clips, scripted, tmp_path, trouble, kind):
    settings = {"concurrency": 1, "retries": 0, "timeout_s": 5.0 if trouble == "hang" else 120.0}
    fails = {4: trouble}
    with scripted.ScriptedServer(clips[:1], scripted.Faults(), trouble=fails.get) as server:
        summary = annotated(clips[:1], server, tmp_path, **settings)
    assert summary["extraction"][f"set aside: {kind}"] == 1 and summary["cost"]["failed"] == 1
    assert sum(line["set_aside"] is not None for line in lines_of(tmp_path / "frames.jsonl")) <= 1
    with scripted.ScriptedServer(clips[:1], scripted.Faults()) as server:
        annotated(clips[:1], server, tmp_path, concurrency=1)
        assert server.requests == 1


def test_a_server_that_always_fails_ends_the_run(clips, scripted, tmp_path):
    with (
        scripted.ScriptedServer(clips, scripted.Faults(), trouble=lambda number: 500) as server,
        pytest.raises(BackendError, match=r"16 requests failed in a row.*failed \(500\)"),
    ):
        annotated(clips, server, tmp_path, retries=0)


def test_a_run_that_fails_leaves_what_a_better_one_wrote(clips, scripted, tmp_path, capsys):
    with scripted.ScriptedServer(clips, scripted.Faults()) as server:
        annotated(clips, server, tmp_path)
    names = ("dialogues.jsonl", "descriptions.jsonl", "frames.jsonl", "summary.json", "review.html")
    before = {name: (tmp_path / name).read_bytes() for name in names}
    shutil.rmtree(tmp_path / "answers")
    with (
        scripted.ScriptedServer(clips, scripted.Faults(), trouble=lambda number: 500) as server,
        pytest.raises(BackendError),
    ):
        annotated(clips, server, tmp_path, retries=0)
    assert {name: (tmp_path / name).read_bytes() for name in names} == before
    assert "keeps what a run before wrote, of 2 clips" in capsys.readouterr().err
    assert not list(tmp_path.glob(".*.part"))


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(
    clips, folder, scripted, tmp_path, monkeypatch, capsys
):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with scripted.ScriptedServer(clips, scripted.Faults(), token="sk-secret") as server:
        words = command(folder, tmp_path, server, "--clips", "1")
        assert run.main(words) == 2
        assert KEY_VARIABLE in capsys.readouterr().err
        monkeypatch.setenv(KEY_VARIABLE, "sk-secret")
        assert run.main(words) == 0
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"sk-secret" in p.read_bytes()]


NOBODY = ["--server", "http://127.0.0.1:9/v1", "--model", "none", "--retries", "0"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "--server URL --model NAME"),
        (NOBODY[:2], "--model"),
        (["--server", "localhost:8000", "--model", "m"], "http://"),
        (["--checkpoint", str(ROOT)], "config.json"),
        ([*NOBODY, "--split", "train"], "no clip of split train"),
        ([*NOBODY, "--window", "7"], "even window"),
        ([*NOBODY, "--clips", "0"], "--clips must be at least 1"),
        (NOBODY, "cannot be reached"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(folder, tmp_path, capsys, words, named):
    assert run.main(["--data", str(folder), "--out", str(tmp_path), *words]) == 2
    assert named in capsys.readouterr().err


def test_help_teaches_and_count_asks_nothing(clips, folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run.main(["--help"])
    assert "examples:" in capsys.readouterr().out
    assert run.main(["--data", str(folder), "--out", str(tmp_path / "out"), "--rate-hz", "5", "--count"]) == 0
    assert "2 clips, 16 frames at 5 Hz" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_damaged_clip_is_left_out_and_named(clips, folder, scripted, tmp_path, capsys):
    copy = shutil.copytree(folder, tmp_path / "UCSDped2")
    for path in (copy / "Test" / "Test001_gt").iterdir():
        path.write_bytes(b"no image")
    with scripted.ScriptedServer(clips, scripted.Faults()) as server:
        assert run.main(command(copy, tmp_path / "out", server)) == 0
    said = capsys.readouterr()
    assert "left out: Test001" in said.err and "1 of 2 clips" in said.out
    assert {line["clip"] for line in lines_of(tmp_path / "out" / "dialogues.jsonl")} == {"Test002"}


def test_a_video_that_cannot_be_opened_stops_nothing(tmp_path, capsys):
    write_video(np.zeros((8, 64, 96, 3), np.uint8), 4.0, tmp_path / "a.avi")
    (tmp_path / "b.mp4").write_bytes(b"")
    assert run.main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--count"]) == 0
    assert "2 clips, 8 frames" in capsys.readouterr().out


# Answers that are kept


class Counting:
    """Answers with what it was asked, and counts."""

    identity, batch, concurrency = "counting", 2, 1

    def __init__(self):
        self.asked = 0

    def answer(self, requests):
        self.asked += len(requests)
        if any("fail" in each.prompt for each in requests):
            raise RequestError("failed", "told to")
        return [Reply(each.prompt, 1, 2) for each in requests]

    def close(self):
        pass


def texts(replies):
    return [reply.text for reply in replies if isinstance(reply, Reply)]


def test_answers_are_asked_for_once(tmp_path):
    annotator = Counting()
    image = np.zeros((56, 56, 3), np.uint8)
    asked = [Request(image, word) for word in ("a", "b", "c")]
    first = Asker(annotator, AnswerCache(tmp_path))
    assert texts(first.ask(asked[:2])) == ["a", "b"]
    second = Asker(annotator, AnswerCache(tmp_path))
    assert texts(second.ask(asked)) == ["a", "b", "c"]
    assert annotator.asked == 3
    assert (second.cost.asked, second.cost.cached, second.cost.output_tokens) == (1, 2, 2)
    assert not list(tmp_path.rglob("*.part"))


def test_a_damaged_answer_is_none_and_a_failed_one_is_not_kept(tmp_path):
    annotator = Counting()
    asker = Asker(annotator, AnswerCache(tmp_path))
    request = Request(np.zeros((56, 56, 3), np.uint8), "a")
    asker.ask([request])
    (kept,) = tmp_path.rglob("*.json")
    kept.write_text("{", encoding="utf-8")
    assert texts(asker.ask([request])) == ["a"]
    (failed,) = asker.ask([Request(request.image, "fail")])
    assert isinstance(failed, RequestError) and asker.cost.failed == 1
    assert len(list(tmp_path.rglob("*.json"))) == 1


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be kept"):
        AnswerCache(tmp_path / "file" / "answers")


def test_frames_are_taken_at_the_rate(folder):
    from tvau_training.annotate.pipeline import sampled

    clip = open_data("auto", folder).clips[0]
    assert sampled(clip, 10) == list(range(16)) and sampled(clip, 99) == list(range(16))
    assert sampled(clip, 4) == [0, 2, 5, 8, 10, 12, 15]
