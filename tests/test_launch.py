"""The launch file and the parameter files: readable everywhere, and started for real where ROS's launch is installed."""

# Where ROS is not installed, pyright takes the folder for the package `launch`.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import ast
import importlib.util
import re
import runpy
import warnings
from pathlib import Path

import pytest
import yaml

from tvau_runtime import PipelineConfig, describe, fill

FOLDER = Path(__file__).resolve().parent.parent / "launch"
LAUNCH_FILE = FOLDER / "camera.launch.py"
HAS_LAUNCH = all(importlib.util.find_spec(name) for name in ("launch", "launch_ros"))
needs_launch = pytest.mark.skipif(
    not HAS_LAUNCH, reason="launch and launch_ros come with a ROS installation and are not on PyPI"
)
ARGUMENTS = {
    "source", "path", "camera", "image_topic", "params_file", "model", "namespace", "use_sim_time", "log_level", "rate",
    "loop", "rviz",
}  # fmt: skip


def arguments():
    """The ARGUMENTS of the launch file, without importing it."""
    for statement in ast.parse(LAUNCH_FILE.read_text()).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "ARGUMENTS":
            assert isinstance(statement.value, ast.Dict)
            return {key.value for key in statement.value.keys if isinstance(key, ast.Constant)}
    raise AssertionError("the launch file has no ARGUMENTS")


def test_the_folder_is_no_package():
    """It would shadow ROS's `launch`."""
    assert not (FOLDER / "__init__.py").exists()


def test_arguments():
    assert arguments() == ARGUMENTS


def settings(text, *, uncommented=False):
    """The tvau node's parameters in a YAML text, also those that are commented out."""
    if uncommented:
        text = re.sub(r"^    # ([a-z_.]+: )", r"    \1", text, flags=re.MULTILINE)
    return yaml.safe_load(text)["/**/tvau"]["ros__parameters"]


def test_params_file_holds_the_defaults():
    """So that it cannot tell other ones than the config classes, and no name that does not exist."""
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    from tvau.node_config import NodeConfig

    given = settings((FOLDER / "params.yaml").read_text(), uncommented=True)
    known = {o.path: o.default for config in (NodeConfig, PipelineConfig) for o in describe(config)}
    assert given
    for name, value in given.items():
        assert name in known
        assert (tuple(value) if isinstance(value, list) else value) == known[name], name
        assert type(value) is (list if isinstance(known[name], tuple) else type(known[name])), name
    assert len(given) > 15
    assert settings((FOLDER / "params.yaml").read_text()) == {"cameras": ["camera"]}


def test_multi_camera_file():
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    from tvau.node_config import NodeConfig

    given = settings((FOLDER / "multi_camera.yaml").read_text())
    own = {o.path for o in describe(NodeConfig)}
    config = fill(NodeConfig, {k: v for k, v in given.items() if k in own})
    prompts = {k: v for k, v in given.items() if k.startswith("prompts.")}
    assert {name.split(".")[1] for name in prompts} <= set(config.cameras)
    assert all(isinstance(words, list) for words in prompts.values())
    fill(PipelineConfig, {k: v for k, v in given.items() if k not in own | prompts.keys()})
    assert len(config.cameras) == len(config.image_topics) == 3


def test_rviz_shows_the_topics_that_the_launch_file_renames():
    shown = (FOLDER / "tvau.rviz").read_text()
    config = yaml.safe_load(shown)
    displays = config["Visualization Manager"]["Displays"]
    topics = {display["Topic"]["Value"] for display in displays if "Topic" in display}
    renamed = LAUNCH_FILE.read_text()
    assert {"/tvau/camera/overlay", "/tvau/camera/heatmap", "/camera/image_raw"} == topics
    assert all(f'("{topic}", ' in renamed for topic in topics)
    heatmap = next(d for d in displays if d["Topic"]["Value"].endswith("heatmap"))
    assert (heatmap["Normalize Range"], heatmap["Min Value"], heatmap["Max Value"]) == (False, 0, 1)


@pytest.fixture
def started():
    """What the launch file starts, given some arguments: the executables, conditions observed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the lark that comes with ROS, on its first import
        from launch.launch_description_sources import get_launch_description_from_python_launch_file

        from launch import LaunchContext

    def start(**given):
        context = LaunchContext()
        context.launch_configurations.update(given)
        nodes = []
        for entity in get_launch_description_from_python_launch_file(str(LAUNCH_FILE)).entities:
            nodes += entity.execute(context) or []
        return {node.node_executable for node in nodes if node.condition is None or node.condition.evaluate(context)}

    return start


@needs_launch
def test_what_is_started(started):
    assert started() == {"tvau_node", "tvau_camera"}
    assert started(source="topic", image_topic="/front/image") == {"tvau_node"}
    assert started(source="file", path="clip.mp4", rviz="true") == {"tvau_node", "tvau_camera", "rviz2"}


@needs_launch
def test_a_source_that_does_not_exist(started):
    with pytest.raises(RuntimeError, match="source"):
        started(source="telescope")


@needs_launch
def test_a_params_file_that_is_not_there(started):
    with pytest.raises(RuntimeError, match=r"there is none at '/nowhere\.yaml'"):
        started(params_file="/nowhere.yaml")


@needs_launch
def test_rviz_shows_the_first_camera_that_a_params_file_lists(tmp_path):
    first_camera = runpy.run_path(str(LAUNCH_FILE))["first_camera"]
    assert first_camera(FOLDER / "multi_camera.yaml") == ("entrance", "/entrance/image_raw")
    assert first_camera(FOLDER / "params.yaml") == ("camera", "")
    for text in ("", "a: b", "/gate:\n  ros__parameters: {cameras: [x]}", "/**/tvau:\n  ros__parameters:\n"):
        (tmp_path / "params.yaml").write_text(text)
        assert first_camera(tmp_path / "params.yaml") == ("", "")
    (tmp_path / "params.yaml").write_text("a: [")
    with pytest.raises(RuntimeError, match="is no YAML"):
        first_camera(tmp_path / "params.yaml")
