"""The command `tvau`: flags and YAML files to settings, and `tvau info`."""

import pytest

from tvau_runtime.cli import build_parser, main
from tvau_runtime.commands.options import load_config
from tvau_runtime.config import PipelineConfig, describe
from tvau_runtime.errors import ConfigError


def parsed(*argv):
    return load_config(build_parser().parse_args(["watch", "x.mp4", *argv]))


def test_every_setting_has_a_flag_that_reaches_it():
    options = describe(PipelineConfig)
    names = [option.path.split(".")[1] for option in options]
    assert len(set(names)) == len(names)
    for option, name in zip(options, names, strict=True):
        flag = "--" + name.replace("_", "-")
        if option.type is bool:
            argv, wanted = [f"--no-{name.replace('_', '-')}"], False
        else:
            wanted = {str: (option.choices or ("other",))[-1], int: 4, float: max(0.8, option.minimum or 0.0)}[
                option.type
            ]
            argv = [flag, str(wanted)]
        config, _ = parsed(*argv)
        part = option.path.split(".")[0]
        assert getattr(getattr(config, part), name) == wanted
    assert parsed() == (PipelineConfig(), {})


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "events: {on_threshold: 0.9, min_area: 0.1}\n"
        "stream.stride: 4\n"
        "prompts: {abnormal: [a fire], phrase: 'view of {}'}\n"
    )
    config, prompts = parsed("--config", str(file), "--on-threshold", "0.7", "--normal", "a walk", "--normal", "a talk")
    assert (config.events.on_threshold, config.events.min_area, config.stream.stride) == (0.7, 0.1, 4)
    assert prompts == {"abnormal": ("a fire",), "phrase": "view of {}", "normal": ("a walk", "a talk")}
    file.write_text("")
    assert parsed("--config", str(file)) == (PipelineConfig(), {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("events: [", "not valid YAML"),
        ("just words", "names and values"),
        ("events: {hot: 1}", "no setting 'events.hot'"),
        ("events: 5", "events must hold names and values, got 5"),
        ("events: {on_threshold: warm}", "must be a float, got 'warm'"),
        ("prompts: {abnormal: fire}", "must be a list of texts"),
        ("prompts: {bad: [fire]}", "must hold only"),
        ("prompts: [fire]", "must hold only"),
        ("prompts: {phrase: 5}", "must be a text"),
        ("1: 2", "no setting '1'"),
        ("\x00", "not valid YAML"),
    ],
)
def test_a_settings_file_that_cannot_be_used_is_named(tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.yaml") as raised:
        parsed("--config", str(file))
    assert message in str(raised.value)


def test_info_shows_model_and_machine(tiny, capsys):
    assert main(["info", "--model", str(tiny)]) == 0
    out = capsys.readouterr().out
    for text in ("random", "84 x 56 pixels", "8 frames, 2 s", "person running", "M parameters", "torch engine", "cpu"):
        assert text in out


def test_info_tells_the_rest_before_it_fails_over_the_model(capsys):
    assert main(["info", "--model", "nosuch"]) == 2
    captured = capsys.readouterr()
    assert "torch engine" in captured.out
    assert "no model 'nosuch'" in captured.err


def test_info_names_what_is_missing_and_how_to_get_it(tiny, capsys, monkeypatch):
    monkeypatch.setattr("tvau_runtime.commands.info.package_version", lambda name: "")
    main(["info", "--model", str(tiny)])
    assert "missing: pip install 'tvau[torch]'" in capsys.readouterr().out
