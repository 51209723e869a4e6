"""The set-up: what it finds, what it refuses, and that it does nothing twice."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "ros2_ws" / "setup_workspace.py"


@pytest.fixture
def setup():
    """The script as a module of its own, so that a test may change its constants."""
    spec = importlib.util.spec_from_file_location("setup_workspace", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(setup, tmp_path, monkeypatch):
    """A source tree that the script takes for its own."""
    messages = tmp_path / "ros2_ws" / "src" / "tvau_msgs"
    messages.mkdir(parents=True)
    (messages / "package.xml").write_text("<package/>")
    for name in ("constraints.txt", "setup.py", "package.xml", "ros2_ws/setup_workspace.py"):
        (tmp_path / name).write_text("first")
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "MESSAGES", messages)
    monkeypatch.setattr(setup, "__file__", str(tmp_path / "ros2_ws" / "setup_workspace.py"))
    return tmp_path


@pytest.fixture
def workspace(setup, tree, monkeypatch):
    """A workspace whose two long steps only write down that they ran; `.calls` lists them."""
    found = setup.Workspace("")
    found.python.parent.mkdir(parents=True)
    found.python.symlink_to(sys.executable)
    found.calls = []
    monkeypatch.setattr(found, "_install", found.calls.append)
    monkeypatch.setattr(found, "_build_messages", lambda: found.calls.append("messages"))
    return found


def test_a_ros_installation_is_found_only_when_sourced(setup, tmp_path):
    (tmp_path / "share" / "rclpy").mkdir(parents=True)
    prefixes = os.pathsep.join(["/nowhere", str(tmp_path)])
    assert setup.find_ros({"ROS_DISTRO": "jazzy", "AMENT_PREFIX_PATH": prefixes}) == "jazzy"
    assert setup.find_ros({"ROS_DISTRO": "jazzy", "AMENT_PREFIX_PATH": "/nowhere"}) == ""
    assert setup.find_ros({"ROS_DISTRO": "jazzy"}) == ""
    assert setup.find_ros({"AMENT_PREFIX_PATH": prefixes}) == "", "that is an environment with the wheels"


def test_an_installation_gets_an_environment_of_its_own(setup):
    assert setup.Workspace("").venv.name == ".venv"
    assert setup.Workspace("jazzy").venv.name == ".venv-jazzy"


@pytest.mark.parametrize("version", [(3, 10), (3, 13)])
def test_supported_pythons(setup, version):
    setup.check_version(version, "python3", "")


@pytest.mark.parametrize("version", [(3, 6), (3, 9), (3, 14)])
def test_other_pythons_are_refused(setup, version):
    with pytest.raises(setup.SetupError, match=rf"Python 3\.10 to 3\.13, but python3 is Python 3\.{version[1]}; name"):
        setup.check_version(version, "python3", "name another one")


def test_old_pythons_can_read_the_script():
    compile(SCRIPT.read_text(encoding="utf-8"), SCRIPT.name, "exec", flags=0, dont_inherit=True)
    import ast

    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 6))


def test_everything_that_compiles_is_asked_for_at_once(setup, tmp_path):
    with pytest.raises(setup.SetupError, match=r"a C compiler and a C\+\+ compiler and make and Python's headers.*apt"):
        setup.check_compilers({"PATH": str(tmp_path)}, tmp_path)


def test_compilers_named_by_the_environment_will_do(setup, tmp_path):
    for name in ("make", "Python.h"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o755)
    setup.check_compilers({"PATH": str(tmp_path), "CC": "my-cc", "CXX": "my-c++"}, tmp_path)


def test_nothing_is_done_twice(workspace):
    workspace.prepare({"torch"})
    assert workspace.calls == [["ros", "torch"], "messages"]
    workspace.prepare({"torch"})
    assert len(workspace.calls) == 2


def test_another_extra_is_added_to_what_is_there(workspace):
    workspace.prepare({"torch"})
    workspace.prepare({"test", "torch"})
    workspace.prepare({"torch"})
    assert workspace.calls == [["ros", "torch"], "messages", ["ros", "test", "torch"]]


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("constraints.txt", ["ros", "torch"]),
        ("package.xml", ["ros", "torch"]),
        ("setup.py", ["ros", "torch"]),
        ("ros2_ws/src/tvau_msgs/package.xml", "messages"),
        ("ros2_ws/setup_workspace.py", "messages"),
    ],
)
def test_what_has_changed_is_done_again(workspace, tree, name, again):
    workspace.prepare({"torch"})
    (tree / name).write_text("second")
    workspace.prepare({"torch"})
    assert workspace.calls[2:] == [again]


def test_a_failed_step_is_tried_again(setup, workspace, monkeypatch):
    def fail():
        raise setup.SetupError("no compiler")

    with monkeypatch.context() as broken:
        broken.setattr(workspace, "_build_messages", fail)
        with pytest.raises(setup.SetupError):
            workspace.prepare({"torch"})
    workspace.prepare({"torch"})
    assert workspace.calls == [["ros", "torch"], "messages"]


def test_an_environment_of_another_folder_is_made_anew(setup, workspace, monkeypatch):
    workspace.prepare({"torch"})
    done = json.loads(workspace.stamp.read_text())
    workspace.stamp.write_text(json.dumps({**done, "root": "/elsewhere"}))
    commands = []
    monkeypatch.setattr(setup, "run", lambda command, *_: commands.append(command))
    workspace.prepare({"torch"})
    assert commands == [[setup.BASE_PYTHON, "-m", "venv", "--clear", workspace.venv]]
    assert workspace.calls[2:] == [["ros", "torch"], "messages"]


def test_paths_of_the_wheels_build_machine_are_mended(workspace):
    path = workspace.venv / "share" / "std_msgs" / "cmake" / "export.cmake"
    path.parent.mkdir(parents=True)
    there = "/opt/python/cp312-cp312"
    path.write_text(f'"{there}/include/python3.12;{there}/lib/python3.12/site-packages/numpy/_core/include"\n')
    workspace._mend_wheels({"include": "/usr/include/python3.12", "platlib": "/venv/lib"})
    assert path.read_text() == '"/usr/include/python3.12;/venv/lib/numpy/_core/include"\n'


def test_the_environment_is_closed_against_other_workspaces(setup, workspace, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/other/install")
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/other/install")
    monkeypatch.setenv(setup.WHEELS_GUARD, "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", os.pathsep.join([f"{sys.prefix}/lib", "/opt/cuda/lib"]))
    found = workspace._environment()
    assert found["PATH"].startswith(f"{workspace.venv}/bin{os.pathsep}")
    assert found["AMENT_PREFIX_PATH"] == str(workspace.venv)
    assert found["LD_LIBRARY_PATH"] == "/opt/cuda/lib"
    assert "PYTHONPATH" not in found
    assert setup.WHEELS_GUARD not in found


def test_an_installation_keeps_its_own_environment(setup, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/opt/ros/jazzy/lib")
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/opt/ros/jazzy")
    found = setup.Workspace("jazzy")._environment()
    assert (found["PYTHONPATH"], found["AMENT_PREFIX_PATH"]) == ("/opt/ros/jazzy/lib", "/opt/ros/jazzy")


def test_an_installation_keeps_its_own_packages(setup, tree, monkeypatch):
    (tree / "constraints.txt").write_text("numpy==9.9\nopencv-python-headless==9.9\npyyaml==9.9\ntorch==9.9\n")
    workspace = setup.Workspace("jazzy")
    workspace.venv.mkdir()
    monkeypatch.setattr(workspace, "_ask", lambda *_: [["numpy", "1.26.4"], ["PyYAML", "6.0.1"], ["numpy", "9.0"]])
    assert workspace._constraints().read_text().split() == ["torch==9.9", "numpy==1.26.4"]
    assert setup.Workspace("")._constraints() == tree / "constraints.txt"


@pytest.mark.parametrize(
    ("extra", "index", "expected"),
    [("torch", "", []), ("torch", "https://example.org/simple", [True]), ("ros", "https://example.org/simple", [])],
)
def test_torch_comes_from_where_the_user_says(setup, tree, monkeypatch, extra, index, expected):
    commands = []
    monkeypatch.setattr(setup, "run", lambda command, *_, **__: commands.append([str(part) for part in command]))
    monkeypatch.setattr(setup.Workspace, "_link_names", lambda self: None)
    monkeypatch.setenv("TORCH_INDEX", index)
    setup.Workspace("")._install([extra])
    assert [index in command for command in commands if "torch" in command] == expected


def test_without_extras_none_are_asked_for(setup, tree, monkeypatch):
    commands = []
    monkeypatch.setattr(setup, "run", lambda command, *_, **__: commands.append([str(part) for part in command]))
    monkeypatch.setattr(setup.Workspace, "_link_names", lambda self: None)
    setup.Workspace("")._install([])
    assert commands[-1][-1] == str(tree)


def test_a_failing_command_is_named(setup):
    with pytest.raises(setup.SetupError, match=r"code 3; look there:\n  .* -c exit\(3\)"):
        setup.run([sys.executable, "-c", "exit(3)"], dict(os.environ), "look there")
    with pytest.raises(setup.SetupError, match="cannot run /no/such/program"):
        setup.run(["/no/such/program"], {})


def test_a_failure_is_told_without_a_traceback(tree):
    """As a process, with a Python for which there is no environment: an empty .venv that cannot be made."""
    script = tree / "ros2_ws" / "setup_workspace.py"
    script.write_text(SCRIPT.read_text(encoding="utf-8").replace("(3, 13)", "(3, 9)").replace("(3, 10)", "(3, 9)"))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("tvau set-up: tvau needs Python 3.9 to 3.9, but ")
