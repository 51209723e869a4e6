"""Calibration: error and bins against the obvious way, the fit on logits whose scale is known, and where it is kept."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="fitting needs scikit-learn")
pytest.importorskip("sacrebleu", reason="language figures need sacrebleu")

from tvau_runtime.artifact import Artifact
from tvau_runtime.backends import open_backend
from tvau_runtime.calibration import Calibration, Scale
from tvau_runtime.config import EngineConfig
from tvau_runtime.errors import ConfigError, ModelError
from tvau_runtime.manifest import Manifest
from tvau_training import calibrate
from tvau_training.metrics import calibration_error, reliability_bins
from tvau_training.reliability import draw_reliability

FITTED = Calibration(score=Scale(4.0, -0.5), yes=Scale(1.5))


def made_up(scale, clips=4000, seed=0):
    """Logits, and labels that come true as often as the scale says."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(1.0, 4.0, clips)
    return logits, rng.random(clips) < np.array([scale.probability(logit) for logit in logits])


def test_the_error_is_that_of_its_definition():
    rng = np.random.default_rng(3)
    said, truth = rng.random(500), rng.random(500) < 0.3
    slow = 0.0
    for n in range(10):
        mine = [k for k in range(500) if n / 10 <= said[k] < (n + 1) / 10]
        if mine:
            slow += abs(sum(said[k] for k in mine) - sum(truth[k] for k in mine)) / 500
    assert calibration_error(truth, said) == pytest.approx(slow)
    assert sum(each.clips for each in reliability_bins(truth, said)) == 500


def test_a_probability_of_one_is_in_the_last_bin():
    (only,) = reliability_bins(np.array([True, False]), np.array([1.0, 0.95]))
    assert (only.clips, only.said, only.true) == (2, pytest.approx(0.975), 0.5)
    assert calibration_error(np.array([True, False]), np.array([1.0, 0.0])) == 0.0


@pytest.mark.parametrize(
    ("truth", "said"), [([], []), ([True], [0.5, 0.5]), ([[True]], [[0.5]]), ([True], [1.1]), ([True], [np.nan])]
)
def test_probabilities_that_are_none_are_refused(truth, said):
    with pytest.raises(ConfigError, match="probabilities must be"):
        calibration_error(np.array(truth, bool), np.array(said))


@pytest.mark.parametrize("scale", [Scale(3.0, 1.0), Scale(0.5, 0.0), Scale(2.0, -2.0)])
def test_the_fit_finds_the_scale_that_made_the_labels(scale):
    logits, truth = made_up(scale)
    found = calibrate.fit(logits, truth)
    assert found.temperature == pytest.approx(scale.temperature, rel=0.1)
    assert found.bias == pytest.approx(scale.bias, abs=0.15)
    before, after = (
        calibration_error(truth, np.array([each.probability(logit) for logit in logits])) for each in (Scale(), found)
    )
    assert after < min(before, 0.03)


def test_a_bias_that_does_not_pay_is_left_out():
    assert [calibrate.fit(*made_up(Scale(2.0), 300, seed)).bias for seed in range(4)].count(0.0) >= 2


def test_what_cannot_be_fitted_is_refused():
    logits, truth = made_up(Scale(2.0), 200)
    with pytest.raises(ModelError, match="do not go with more anomalies"):
        calibrate.fit(-logits, truth)
    with pytest.raises(ConfigError, match="at least 5 clips with and 5 without"):
        calibrate.fit(logits, np.ones_like(truth))


def test_it_is_kept_in_the_manifests_and_nothing_else_changes(tiny_copy):
    before = Manifest.read(tiny_copy)
    assert [path.name for path in calibrate.save(tiny_copy, FITTED)] == [Manifest.FILE]
    after = Manifest.read(tiny_copy)
    assert after == dataclasses.replace(before, calibration=FITTED)
    after.verify(tiny_copy)
    backend = open_backend(EngineConfig(model=str(tiny_copy), backend="torch", device="cpu", threads=1))
    assert backend.spec.calibration == FITTED
    backend.close()


def test_an_older_checkpoint_says_what_the_model_says(tiny_copy):
    path = tiny_copy / Manifest.FILE
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["calibration"]
    path.write_text(json.dumps(values), encoding="utf-8")
    assert Manifest.read(tiny_copy).calibration == Calibration()
    values["calibration"] = {"score": {"temperature": -1.0}}
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ModelError, match=r"temperature must be above 0, got -1\.0"):
        Manifest.read(tiny_copy)
    values["calibration"] = [1.0]
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ModelError, match="calibration"):
        Manifest.read(tiny_copy)


def test_an_export_carries_it_and_can_be_calibrated_itself(tiny, exported, tmp_path):
    artifact = Artifact.read(exported)
    assert artifact.calibration == Manifest.read(tiny).calibration != Calibration()
    artifact.save(tmp_path)
    calibrate.save(tmp_path, FITTED)
    assert Artifact.read(tmp_path) == dataclasses.replace(artifact, calibration=FITTED)


def test_the_diagram_is_a_picture_with_a_panel_for_each(tmp_path):
    logits, truth = made_up(Scale(3.0))
    bins = reliability_bins(truth, np.array([Scale().probability(logit) for logit in logits]))
    for panels in (1, 2):
        path = tmp_path / "docs" / f"{panels}.png"
        draw_reliability(path, [("heat maps", bins, bins)] * panels)
        image = cv2.imread(str(path))
        assert image is not None
        assert image.shape[1] > panels * 400
        assert 0 < (image != 255).any(axis=2).mean() < 0.5


def test_the_command_fits_measures_draws_and_leaves_the_model_alone_when_told_so(tmp_path, capsys):
    """On the embedded model, which has learnt something to scale."""
    png, facts = tmp_path / "out.png", tmp_path / "out.json"
    few = ["--clips", "24", "--test-clips", "6", "--device", "cpu", "--dry-run"]
    assert calibrate.main([*few, "--diagram", str(png), "--json", str(facts)]) == 0
    printed = capsys.readouterr().out
    assert "nothing was written into the model" in printed
    assert png.is_file()
    figures = json.loads(facts.read_text(encoding="utf-8"))
    for name in ("score", "yes"):
        assert f"temperature {figures[name]['temperature']:.3f}" in printed
        assert 0 <= figures[name]["test"]["after"]["calibration_error"] <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nothing"], "there is no model 'nothing'"),
        (["--clips", "3"], "whole number of at least 20, got '3'"),
        (["--diagram", "out/reliability.pdf2"], "call it .png"),
    ],
)
def test_bad_arguments_are_told(arguments, message, capsys):
    try:
        code = calibrate.main(arguments)
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert message in capsys.readouterr().err
