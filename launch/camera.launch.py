"""A camera source and the tvau node on it.

    ros2 launch tvau camera.launch.py                                      the built-in demo scene
    ros2 launch tvau camera.launch.py source:=topic image_topic:=/front/image_raw camera:=front
    ros2 launch tvau camera.launch.py source:=file path:=clip.mp4 loop:=false rviz:=true
    ros2 launch tvau camera.launch.py source:=rtsp path:=rtsp://192.168.0.10/stream

`ros2 launch tvau camera.launch.py --show-args` lists the arguments. For several cameras give their names and topics in
a params_file and use source:=topic.
"""

# Where ROS is not installed, pyright takes this folder for the package `launch`.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

import yaml
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.conditions import IfCondition, UnlessCondition
from launch.events.process import ProcessExited
from launch.substitutions import EqualsSubstitution, LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

BESIDE = Path(__file__).parent
ARGUMENTS = {
    "source": ("demo", "Where the images come from.", ["demo", "topic", "file", "device", "rtsp"]),
    "path": ("", "The file, the device's number or path, or the stream's URL, for those sources.", None),
    "camera": (
        "",
        "Name of the camera, a part of topic names; empty is camera, or with topic what params_file says.",
        None,
    ),
    "image_topic": ("", "Image topic, for source:=topic; empty takes <camera>/image_raw.", None),
    "params_file": (str(BESIDE / "params.yaml"), "Parameters of both nodes.", None),
    "model": ("", "Checkpoint: the name of an embedded one, or a directory; empty takes what params_file says.", None),
    "namespace": ("", "Namespace of both nodes.", None),
    "use_sim_time": ("", "Take the time from /clock; empty takes what params_file says.", ["", "true", "false"]),
    "log_level": ("info", "Least severity that is logged.", ["debug", "info", "warn", "error", "fatal"]),
    "rate": ("", "Frames per second of the source; 0.0 takes its own, empty what params_file says.", None),
    "loop": ("", "Play a file or the demo again and again; empty takes what params_file says.", ["", "true", "false"]),
    "rviz": ("false", "Show overlay and heat map in RViz, of several cameras those of the first.", ["true", "false"]),
}
"""Default, description and choices."""


def start(context: LaunchContext) -> list:
    """The nodes, once the arguments are known: what is not given is left to params_file."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    def passed(**names: tuple[str, type]) -> dict:
        return {
            parameter: ParameterValue(LaunchConfiguration(name), value_type=kind)
            for parameter, (name, kind) in names.items()
            if given(name)
        }

    common = passed(use_sim_time=("use_sim_time", bool))
    params_file, log_level = given("params_file"), ["--ros-args", "--log-level", given("log_level")]
    if not Path(params_file).is_file():
        raise RuntimeError(f"params_file must be a YAML file, but there is none at '{params_file}'")
    tvau: dict = common | passed(**{"engine.model": ("model", str)})
    name = given("camera") or "camera"
    if given("source") != "topic":
        tvau |= {"cameras": [name], "image_topics": [f"{name}/image_raw"], "reliability": "reliable"}
    elif given("camera"):
        tvau |= {"cameras": [name], "image_topics": [given("image_topic")]}
    elif given("image_topic"):
        tvau |= {"image_topics": [given("image_topic")]}
    shown, shown_topic = name, given("image_topic")
    if given("source") == "topic" and not given("camera"):
        listed, listed_topic = first_camera(params_file)
        shown, shown_topic = listed or name, shown_topic or listed_topic
    camera = {"source": given("source")} | common
    camera |= passed(path=("path", str), rate_hz=("rate", float), loop=("loop", bool))
    is_topic = EqualsSubstitution(LaunchConfiguration("source"), "topic")
    return [
        Node(
            package="tvau",
            executable="tvau_node",
            name="tvau",
            namespace=given("namespace"),
            parameters=[params_file, tvau],
            arguments=log_level,
            output="screen",
            on_exit=Shutdown(reason="the tvau node has ended"),
        ),
        Node(
            package="tvau",
            executable="tvau_camera",
            name=name,
            namespace=given("namespace"),
            parameters=[params_file, camera],
            arguments=log_level,
            output="screen",
            condition=UnlessCondition(is_topic),
            on_exit=end_if_failed,
        ),
        Node(
            package="rviz2",
            executable="rviz2",
            namespace=given("namespace"),
            arguments=["-d", str(BESIDE / "tvau.rviz")],
            remappings=[
                ("/tvau/camera/overlay", f"tvau/{shown}/overlay"),
                ("/tvau/camera/heatmap", f"tvau/{shown}/heatmap"),
                ("/camera/image_raw", shown_topic or f"{shown}/image_raw"),
            ],
            parameters=[common],
            output="log",
            condition=IfCondition(LaunchConfiguration("rviz")),
        ),
    ]


def first_camera(params_file: str) -> tuple[str, str]:
    """Name and image topic of the first camera that a parameter file lists, each "" where it does not: what RViz shows."""
    try:
        content = yaml.safe_load(Path(params_file).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RuntimeError(f"params_file '{params_file}' is no YAML: {error}") from error
    for node, entry in content.items() if isinstance(content, dict) else ():
        listed = entry.get("ros__parameters") if isinstance(entry, dict) else None
        if isinstance(listed, dict) and str(node).split("/")[-1] in ("tvau", "**") and listed.get("cameras"):
            return str(listed["cameras"][0]), str((listed.get("image_topics") or [""])[0])
    return "", ""


def end_if_failed(event: ProcessExited, _: LaunchContext) -> Shutdown | None:
    """A camera that has played its file to the end leaves the tvau node running; one that cannot play ends all."""
    return Shutdown(reason="the camera node has failed") if event.returncode else None


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)
        for name, (default, description, choices) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])
