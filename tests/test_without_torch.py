"""The main job in an environment that holds what `tvau[ros]` requires and nothing else: no torch, no transformers."""

import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("tvau_msgs.msg", reason="tvau_msgs is not built")
Requirement = pytest.importorskip("packaging.requirements").Requirement

SITE = Path(sysconfig.get_path("purelib"))
BUILT_HERE = ("tvau_msgs", "tvau_ros_prefix.py", "tvau_ros_prefix.pth")
"""What `ros2_ws/setup_workspace.py` adds to the packages."""


def required(name, extras, found=None):
    """All distributions that one needs with some of its extras, itself among them, by name."""
    found = {} if found is None else found
    if found.get(name, set()) >= {*extras, ""}:
        return found
    found.setdefault(name, set()).update({*extras, ""})
    for line in importlib.metadata.requires(name) or []:
        requirement = Requirement(line)
        if any(not requirement.marker or requirement.marker.evaluate({"extra": extra}) for extra in found[name]):
            required(requirement.name, requirement.extras, found)
    return found


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A new environment, linked to those packages as they are installed here; its interpreter."""
    if "ROS_DISTRO" in os.environ and "AMENT_PREFIX_PATH" in os.environ and not list(SITE.glob("ros_rclpy*")):
        pytest.skip("a ROS 2 installation is used, which may bring torch of its own")
    home = tmp_path_factory.mktemp("clean") / "venv"
    venv.EnvBuilder(symlinks=True).create(home)
    site = next(home.glob("lib/python*/site-packages"))
    names = set(BUILT_HERE)
    for name in required("tvau", {"ros"}):
        # Of the environment alone: Python looks into the working directory first, where an .egg-info may lie.
        (found, *_) = importlib.metadata.distributions(name=name, path=[str(SITE)])
        files = found.files or []
        names |= {file.parts[0] for file in files if file.parts[0] != ".." and file.parts[0] != "__pycache__"}
    for name in names:
        (site / name).symlink_to(SITE / name)
    prefix = Path(sys.prefix)
    for path in (*prefix.glob("*"), *prefix.glob("lib/*")):  # a ROS prefix is more than Python packages
        target = home / path.relative_to(prefix)
        if not target.exists() and not path.name.startswith("python"):
            target.symlink_to(path)
    return home / "bin" / "python"


def run(python, *command, timeout):
    kept = {name: value for name, value in os.environ.items() if name.startswith("ROS_") or name in ("HOME", "LANG")}
    kept["PATH"] = f"{python.parent}{os.pathsep}{os.defpath}"
    return subprocess.run([python, *command], capture_output=True, text=True, timeout=timeout, env=kept)


def test_the_demo_needs_no_torch(clean, tmp_path):
    absent = "import importlib.util as u; print([n for n in ('torch', 'transformers', 'peft') if u.find_spec(n)])"
    assert run(clean, "-c", absent, timeout=60).stdout.strip() == "[]"
    done = run(clean, "-m", "tvau.demo", "--out", str(tmp_path / "out"), timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "onnxruntime" in done.stdout + (tmp_path / "out" / "node.log").read_text()
    for name in ("overlay.mp4", "events.jsonl", "report.html"):
        assert (tmp_path / "out" / name).stat().st_size > 1000
