"""Settings: defaults that validate, refusals that name the setting, and filling from dotted paths."""

import dataclasses

import pytest

from tvau_runtime.config import (
    DialogueConfig,
    EngineConfig,
    EventConfig,
    PipelineConfig,
    StreamConfig,
    describe,
    fill,
)
from tvau_runtime.errors import ConfigError

GROUPS = [EngineConfig, StreamConfig, EventConfig, DialogueConfig]


@pytest.mark.parametrize("group", [*GROUPS, PipelineConfig])
def test_defaults_are_valid_and_frozen(group):
    config = group()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, None)


def test_every_setting_has_a_description_and_a_default_within_its_range():
    options = describe(PipelineConfig)
    assert len({o.path for o in options}) == len(options)
    for option in options:
        assert option.path.count(".") == 1
        assert option.doc.endswith("."), option.path
        assert len(option.doc) > 20, option.path
        assert isinstance(option.default, option.type), option.path
        assert option.minimum is None or option.minimum <= option.default, option.path
        assert option.maximum is None or option.default <= option.maximum, option.path
        assert not option.choices or option.default in option.choices, option.path


def test_settings_that_may_change_while_running_are_of_events_and_dialogue():
    live = {o.path.split(".")[0] for o in describe(PipelineConfig) if o.live}
    assert live == {"events", "dialogue"}


@pytest.mark.parametrize(
    ("group", "name", "value", "message"),
    [
        (StreamConfig, "queue_size", 0, "queue_size must be at least 1, got 0"),
        (StreamConfig, "queue_size", 10**9, "queue_size must be at most 1000"),
        (StreamConfig, "queue_size", 2.0, "queue_size must be a int, got 2.0"),
        (StreamConfig, "queue_size", True, "queue_size must be a int, got True"),
        (StreamConfig, "process_rate_hz", "4", "process_rate_hz must be a float, got '4'"),
        (StreamConfig, "process_rate_hz", float("nan"), "process_rate_hz must be finite"),
        (StreamConfig, "max_gap_s", float("inf"), "max_gap_s must be finite"),
        (StreamConfig, "clip_length", 7, "clip_length must be even"),
        (StreamConfig, "stride", 3, "stride must be even"),
        (EventConfig, "on_threshold", 1.01, "on_threshold must be at most 1"),
        (EventConfig, "on_threshold", 0.3, r"off_threshold \(0.7\) must not be above on_threshold \(0.3\)"),
        (EngineConfig, "backend", "abacus", "backend must be one of auto, .*, got 'abacus'"),
        (EngineConfig, "model", None, "model must be a str, got None"),
        (DialogueConfig, "temperature", -0.1, "temperature must be at least 0, got -0.1"),
        (DialogueConfig, "temperature", 2.5, "temperature must be at most 2"),
        (DialogueConfig, "top_p", 1.1, "top_p must be at most 1"),
        (DialogueConfig, "seed", -1, "seed must be at least 0"),
        (DialogueConfig, "describe_events", True, "describe_events must be a str, got True"),
        (DialogueConfig, "contradictions", "off", "contradictions must be one of ignore, flag, regenerate, got 'off'"),
    ],
)
def test_refuses_what_cannot_be_used_and_names_it(group, name, value, message):
    with pytest.raises(ConfigError, match=message):
        group(**{name: value})


def test_a_whole_number_may_stand_for_a_float():
    rate = StreamConfig(process_rate_hz=4).process_rate_hz
    assert rate == 4.0
    assert isinstance(rate, float)


def test_fills_from_dotted_paths_and_keeps_the_rest():
    config = fill(PipelineConfig, {"events.on_threshold": 0.8, "engine.model": "x"})
    assert config.events == EventConfig(on_threshold=0.8)
    assert config.engine.model == "x"
    again = fill(PipelineConfig, {"events.off_threshold": 0.5}, config)
    assert again.events == EventConfig(on_threshold=0.8, off_threshold=0.5)
    assert again.engine.model == "x"
    assert config.events.off_threshold == EventConfig().off_threshold, "the base stays as it was"


def test_fills_a_single_group():
    assert fill(EventConfig, {"on_threshold": 0.9}) == EventConfig(on_threshold=0.9)


@pytest.mark.parametrize("path", ["events.on", "on_threshold", "events", ""])
def test_refuses_a_setting_that_does_not_exist(path):
    with pytest.raises(ConfigError, match=f"there is no setting '{path}'; known: .*events.on_threshold"):
        fill(PipelineConfig, {path: 1})


def test_checks_settings_of_a_group_together_only_when_all_are_filled():
    config = fill(PipelineConfig, {"events.on_threshold": 0.2, "events.off_threshold": 0.1})
    assert (config.events.on_threshold, config.events.off_threshold) == (0.2, 0.1)
