"""What README.md says of parameters, files and commands is true of the code."""

import re
from pathlib import Path

import pytest

from tvau_runtime.config import PipelineConfig, describe

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _shown(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{text}"' for text in value) + "]"
    return str(value) or '""'


def test_every_parameter_stands_in_the_table_with_its_default():
    pytest.importorskip("rclpy", reason="the node's own parameters need ROS 2")
    from tvau.node_config import NodeConfig

    table = dict(re.findall(r"^\| `([\w.]+)` \| (.+?) \|", README, re.MULTILINE))
    expected = {o.path: _shown(o.default) for config in (NodeConfig, PipelineConfig) for o in describe(config)}
    assert {name: table.get(name) for name in expected} == expected


def test_every_file_that_is_linked_or_run_exists():
    named = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(
        r"python3? ((?:training|ros2_ws|benchmarks)/\w+\.py)", README
    )
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`?make (\w+)", README)) <= targets
