"""Prepares all that tvau needs to run from this source tree; then runs a command in it.

    python3 ros2_ws/setup_workspace.py [--with EXTRA ...] [-- COMMAND ...]

It makes the virtual environment `.venv`, installs the pinned packages of constraints.txt with ROS 2 as wheels, and
builds the interface package tvau_msgs with colcon *into* that environment, which is a complete ROS prefix: nothing has
to be sourced. Where a ROS 2 installation is sourced, the environment is `.venv-<distro>` on top of that installation
and gets no ROS wheels. Called again, it does only what has changed since.

It does not know what the command does. Standard library only, and written so that any Python 3 can read it and say what
is wrong.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MESSAGES = ROOT / "ros2_ws" / "src" / "tvau_msgs"
NAMES = ROOT / "build" / "import_names"
NEED_TORCH = {"annotate", "export", "test", "torch", "train"}
"""Extras of setup.py that install torch; to watch and to ask needs none."""
OLDEST, NEWEST = (3, 10), (3, 13)
BASE_PYTHON = getattr(sys, "_base_executable", None) or sys.executable
"""The interpreter that environments are made with, even when this script runs in one."""
WHEELS_GUARD = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"
"""The ROS wheels start Python twice, the second time with their LD_LIBRARY_PATH and this mark."""
PREFIX_HOOK = '''"""Whatever Python starts in this environment, colcon above all, finds the ROS prefix that it is."""
import os, sys
for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"):
    paths = [path for path in os.environ.get(name, "").split(os.pathsep) if path]
    if sys.prefix not in paths:
        os.environ[name] = os.pathsep.join([*paths, sys.prefix])
'''
"""A module that the environment imports whenever Python starts."""


class SetupError(Exception):
    """What is missing, and what to do about it."""


def main():
    """The command line. Ends with the command's exit code, or with 1 when the set-up failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--with", dest="extras", action="append", default=[], help="an extra of setup.py")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and what to run when all is ready")
    arguments = parser.parse_args()
    workspace = Workspace(find_ros(os.environ))
    try:
        workspace.prepare(arguments.extras)
        if arguments.command:
            workspace.execute(arguments.command[arguments.command[0] == "--" :])
    except SetupError as error:
        sys.exit("tvau set-up: {}".format(error))


def find_ros(environment):
    """The name of the ROS 2 installation that is sourced, such as "jazzy"; empty when none is."""
    prefixes = environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    sourced = any(prefix and Path(prefix, "share", "rclpy").is_dir() for prefix in prefixes)
    return environment.get("ROS_DISTRO", "") if sourced else ""


class Workspace:
    """The virtual environment of this source tree. ros: the installation that it stands on; empty for the wheels."""

    def __init__(self, ros):
        self.ros = ros
        self.venv = ROOT / (".venv-" + ros if ros else ".venv")
        self.python = self.venv / "bin" / "python"
        self.stamp = self.venv / "tvau_setup.json"

    def prepare(self, extras):
        """Makes the environment, or completes it. Raises `SetupError`."""
        wanted = set(extras) if self.ros else {"ros", *extras}
        done = self._environment_made()
        packages = digest([ROOT / "constraints.txt", ROOT / "setup.py", ROOT / "package.xml"])
        if done.get("packages") != packages or not wanted <= set(done.get("extras", [])):
            wanted.update(done.get("extras", []))
            self._install(sorted(wanted))
            self._note(done, packages=packages, extras=sorted(wanted))
        messages = digest([Path(__file__).resolve(), *MESSAGES.rglob("*.*")])
        if done.get("messages") != messages:
            self._build_messages()
            self._note(done, messages=messages)

    def execute(self, command):
        """Replaces this process by the command, run inside the environment."""
        if self.ros:  # Unlike the wheels, an installation does not find by itself what was built on top of it.
            command = ["bash", "-c", 'source "$0" && exec "$@"', str(self.venv / "local_setup.bash"), *command]
        sys.stdout.flush()
        try:
            os.execvpe(command[0], command, self._environment())
        except OSError as error:
            raise SetupError("cannot run {}: {}".format(command[0], error)) from None

    def _environment(self):
        """The process environment inside the virtual environment."""
        found = dict(os.environ, VIRTUAL_ENV=str(self.venv))
        found["PATH"] = str(self.venv / "bin") + os.pathsep + found.get("PATH", os.defpath)
        found.pop("PYTHONHOME", None)
        if not self.ros:  # Nothing but the wheels: another workspace that is sourced would come first.
            found.pop("PYTHONPATH", None)
            found["AMENT_PREFIX_PATH"] = found["CMAKE_PREFIX_PATH"] = str(self.venv)
        if found.pop(WHEELS_GUARD, None):  # This script runs in an environment with wheels, perhaps another one.
            libraries = found.get("LD_LIBRARY_PATH", "").split(os.pathsep)
            found["LD_LIBRARY_PATH"] = os.pathsep.join(p for p in libraries if p and not p.startswith(sys.prefix))
        return found

    def _environment_made(self):
        """Makes the environment if it is not there, or was moved; returns what has been done in it already."""
        done = json.loads(self.stamp.read_text()) if self.stamp.is_file() else {"root": str(ROOT)}
        if self.python.exists() and done["root"] == str(ROOT):
            version = tuple(self._ask("sys.version_info[:2]"))
            check_version(version, self.python, "remove {} and start again".format(self.venv))
            return done
        check_version(sys.version_info[:2], BASE_PYTHON, "name another one, as in `make demo PYTHON=python3.12`")
        print("tvau set-up: making {} with {}".format(self.venv, BASE_PYTHON), flush=True)
        command = [BASE_PYTHON, "-m", "venv", "--clear", *(["--system-site-packages"] if self.ros else []), self.venv]
        run(command, self._environment(), "on Debian and Ubuntu it needs `apt install python3-venv`")
        if self.ros:
            run([self.python, "-c", "import rclpy"], self._environment(), "name the Python of ROS 2 " + self.ros)
        return {"root": str(ROOT)}

    def _note(self, done, **news):
        done.update(news)
        self.stamp.write_text(json.dumps(done, indent=1) + "\n")

    def _ask(self, expression, python=None):
        """The value of a Python expression in the environment, or in another interpreter."""
        modules = "importlib.metadata, importlib.util, json, sys, sysconfig"
        code = "import {}; print(json.dumps({}))".format(modules, expression)
        answer = run([python or self.python, "-c", code], self._environment(), capture=True)
        return json.loads(answer.splitlines()[-1])

    def _install(self, extras):
        """The pinned packages, and this tree as an editable package."""
        package = "{}[{}]".format(ROOT, ",".join(extras)) if extras else str(ROOT)
        print(
            "tvau set-up: installing tvau for {} (takes a while)".format(", ".join(extras) or "ROS 2 here"), flush=True
        )
        environment = dict(self._environment(), PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_WARN_SCRIPT_LOCATION="1")
        pip = [self.python, "-m", "pip", "install", "-c", self._constraints()]
        if not sys.stdout.isatty():
            pip.append("--quiet")
        # An index of its own: such as PyTorch's of CPU builds, a tenth of the size.
        if os.environ.get("TORCH_INDEX") and NEED_TORCH & set(extras):
            run([*pip, "--no-deps", "--index-url", os.environ["TORCH_INDEX"], "torch"], environment)
        run([*pip, "setuptools<80", "wheel", *(["colcon-common-extensions"] if self.ros else [])], environment)
        run([*pip, "--no-build-isolation", "--editable", package], environment)
        self._link_names()

    def _link_names(self):
        """Links from import names to folders, for tools that read files without running the editable package's hook."""
        names = "importlib.metadata.distribution('tvau').read_text('top_level.txt').split()"
        folders = self._ask("{n: importlib.util.find_spec(n).submodule_search_locations[0] for n in %s}" % names)
        shutil.rmtree(str(NAMES), ignore_errors=True)
        NAMES.mkdir(parents=True)
        for name, folder in folders.items():
            (NAMES / name).symlink_to(os.path.relpath(folder, str(NAMES)))

    def _constraints(self):
        """constraints.txt; on a ROS installation, without what it has already, and with the NumPy it was built for."""
        if not self.ros:
            return ROOT / "constraints.txt"
        found = self._ask("[(d.metadata['Name'], d.version) for d in importlib.metadata.distributions()]", BASE_PYTHON)
        there = {normal(name): version for name, version in reversed(found) if name}  # the first on the path counts
        free = {*there, "opencv-python-headless"}  # OpenCV follows from NumPy: pip takes the newest that fits it.
        pins = (ROOT / "constraints.txt").read_text().splitlines()
        lines = [line for line in pins if line.split("==")[0] not in free]
        if "numpy" in there:
            lines.append("numpy==" + there["numpy"])
        path = self.venv / "constraints.txt"
        path.write_text("\n".join(lines) + "\n")
        return path

    def _build_messages(self):
        """tvau_msgs, built and installed into the environment."""
        print("tvau set-up: building tvau_msgs", flush=True)
        environment = self._environment()
        paths = self._ask("sysconfig.get_paths()")
        check_compilers(environment, Path(paths["include"]))
        if not self.ros:
            self._mend_wheels(paths)
            Path(paths["purelib"], "tvau_ros_prefix.py").write_text(PREFIX_HOOK)
            Path(paths["purelib"], "tvau_ros_prefix.pth").write_text("import tvau_ros_prefix\n")
            (self.venv / "local_setup.sh").touch()  # colcon warns of a prefix without one, and then writes it
        work = self.venv / "colcon"
        command = [self.python, "-m", "colcon", "--log-base", work / "log", "build", "--base-paths", MESSAGES]
        command += ["--build-base", work / "build", "--install-base", self.venv, "--merge-install"]
        command += ["--cmake-args", "-DBUILD_TESTING=OFF", "-DPython3_EXECUTABLE={}".format(self.python)]
        run(command, environment)

    def _mend_wheels(self, paths):
        """Replaces the folders of the wheels' own build machine in their CMake files by this machine's."""
        numpy = Path(paths["platlib"], "numpy", "_core", "include")
        for path in self.venv.glob("share/*/cmake/*.cmake"):
            text = path.read_text()
            mended = re.sub(r"/opt/python/[^;\"]*/numpy/_core/include", lambda _: str(numpy), text)
            mended = re.sub(r"/opt/python/[^;\"]*/include/python[\d.]+", lambda _: paths["include"], mended)
            if mended != text:
                path.write_text(mended)


def check_version(version, python, remedy):
    """Raises `SetupError` for a Python that tvau does not run on."""
    if not OLDEST <= tuple(version) <= NEWEST:
        shown = [".".join(map(str, v)) for v in (OLDEST, NEWEST, version)]
        message = "tvau needs Python {} to {}, but {} is Python {}; {}"
        raise SetupError(message.format(shown[0], shown[1], python, shown[2], remedy))


def check_compilers(environment, include):
    """Raises `SetupError` when something is missing that compiles tvau_msgs."""
    path = environment["PATH"]
    missing = []
    for variable, tools, name in (("CC", ("cc", "gcc"), "a C compiler"), ("CXX", ("c++", "g++"), "a C++ compiler")):
        if not environment.get(variable) and not any(shutil.which(tool, path=path) for tool in tools):
            missing.append(name)
    if not shutil.which("make", path=path):
        missing.append("make")
    if not (include / "Python.h").is_file():
        missing.append("Python's headers ({})".format(include))
    if missing:
        remedy = "on Debian and Ubuntu: apt install build-essential python3-dev"
        raise SetupError("to build tvau_msgs, {} must be installed; {}".format(" and ".join(missing), remedy))


def digest(paths):
    """Names the content of files."""
    found = hashlib.sha256()
    for path in sorted(paths):
        found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def normal(name):
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def run(command, environment, remedy="its own words stand above", capture=False):
    """Runs a command in ros2_ws; returns what it prints if that is captured. Raises `SetupError` if it fails."""
    words = [str(word) for word in command]
    output = subprocess.PIPE if capture else None
    try:
        done = subprocess.run(words, env=environment, stdout=output, cwd=str(ROOT / "ros2_ws"), check=False)
    except OSError as error:
        raise SetupError("cannot run {}: {}".format(words[0], error)) from None
    if done.returncode:
        raise SetupError("this failed with code {}; {}:\n  {}".format(done.returncode, remedy, " ".join(words)))
    return done.stdout.decode() if capture else ""


if __name__ == "__main__":
    main()
