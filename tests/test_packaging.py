"""The packages that pip and colcon build: what they are called, what they hold, what they need."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {
    "tvau": "ros2_ws/src/tvau",
    "tvau_export": "export",
    "tvau_runtime": "tvau_runtime",
    "tvau_training": "training",
}
MANIFESTS = [ROOT / "package.xml", ROOT / "ros2_ws" / "src" / "tvau_msgs" / "package.xml"]


def manifest(path):
    return ElementTree.parse(path).getroot()


def python_files():
    return sorted(path for folder in {*FOLDERS.values(), "launch"} for path in (ROOT / folder).rglob("*.py"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what the packages are built from, so that nothing is built in the checkout."""
    copy = tmp_path_factory.mktemp("source") / "tvau"
    copy.mkdir()
    for name in ("LICENSE", "package.xml", "pyproject.toml", "setup.cfg", "setup.py"):
        shutil.copy(ROOT / name, copy)
    litter = shutil.ignore_patterns("__pycache__", "build", "install", "log")
    for name in ("export", "launch", "resource", "ros2_ws", "training", "tvau_runtime"):
        shutil.copytree(ROOT / name, copy / name, ignore=litter)
    return copy


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """An opened wheel of tvau."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def metadata(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.parent.name)
def test_manifests_are_complete(path):
    root = manifest(path)
    assert root.get("format") == "3"
    assert root.findtext("license") == "Apache-2.0"
    assert root.findtext("description")
    (maintainer,) = root.iter("maintainer")
    assert re.fullmatch(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", maintainer.get("email", ""))
    assert root.findtext("export/build_type") == ("ament_python" if path == MANIFESTS[0] else "ament_cmake")
    assert root.findtext("version") == manifest(MANIFESTS[0]).findtext("version")


def test_name_version_and_description_come_from_the_manifest(metadata):
    root = manifest(MANIFESTS[0])
    assert metadata["Name"] == root.findtext("name") == "tvau"
    assert metadata["Version"] == root.findtext("version")
    assert metadata["Summary"] == root.findtext("description")


def test_the_manifest_names_what_the_nodes_and_launch_files_import():
    imported = set()
    for path in [*(ROOT / "ros2_ws/src/tvau").rglob("*.py"), *(ROOT / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    ros = {n for n in imported if n in {"rclpy", "cv_bridge", "launch", "launch_ros"} or n.endswith(("_msgs", "_srvs"))}
    named = {entry.text for entry in manifest(MANIFESTS[0]) if entry.tag.endswith("depend")}
    assert ros | {"tvau_msgs"} <= named


def test_the_wheel_holds_the_packages_under_their_import_names(wheel):
    names = wheel.namelist()
    for name, folder in FOLDERS.items():
        expected = {
            f"{name}/{path.relative_to(ROOT / folder).as_posix()}"
            for path in (ROOT / folder).rglob("*.py")
            if (ROOT / folder / "__init__.py").is_file()
        }
        assert {n for n in names if n.startswith(f"{name}/") and n.endswith(".py")} == expected
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.startswith("tvau-")} == set(FOLDERS)


def test_the_wheel_holds_assets_recipes_and_what_ros_looks_for(wheel):
    names = {re.sub(r"^tvau-[^/]*\.data/data/", "", name) for name in wheel.namelist()}
    assets = [path for path in (ROOT / "tvau_runtime" / "assets").rglob("*") if path.is_file()]
    assert assets
    assert {path.relative_to(ROOT).as_posix() for path in assets} <= names
    assert "tvau_training/recipes/tiny.yaml" in names
    assert {"share/ament_index/resource_index/packages/tvau", "share/tvau/package.xml"} <= names
    for pattern in ("*.launch.py", "*.yaml", "*.rviz"):
        assert {f"share/tvau/launch/{path.name}" for path in (ROOT / "launch").glob(pattern)} <= names


def test_executables(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    lines = set(wheel.read(name).decode().split("\n"))
    assert {"tvau = tvau_runtime.cli:main", "tvau_node = tvau.node:main", "tvau_camera = tvau.camera:main"} <= lines


def test_extras(metadata):
    assert {"gpu", "ros", "test", "torch", "train"} <= set(metadata.get_all("Provides-Extra"))
    test = [r for r in map(Requirement, metadata.get_all("Requires-Dist")) if r.marker and "test" in str(r.marker)]
    assert "pytest" in {r.name for r in test}, "colcon runs no test without it"


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_every_requirement_is_pinned_within_its_bounds(metadata, python):
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            (specifier,) = pin.specifier
            assert specifier.operator == "=="
            if not pin.marker or pin.marker.evaluate({"python_version": python}):
                assert pin.name not in pins, f"{pin.name} is pinned twice"
                pins[canonicalize_name(pin.name)] = specifier.version
    required = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    needed = [r for r in required if not r.marker or 'extra == "gpu"' not in str(r.marker)]
    assert len(needed) > 20
    wrong = [str(r) for r in needed if pins.get(canonicalize_name(r.name), "none") not in r.specifier]
    assert wrong == []


def test_names_that_would_shadow_a_library():
    libraries = {"cv2", "launch", "numpy", "onnx", "onnxruntime", "rclpy", "tensorrt", "torch", "transformers"}
    assert [path for path in python_files() if path.stem in libraries] == []
    assert not (ROOT / "launch" / "__init__.py").exists(), "it would shadow ROS's own `launch`"


def public_names(tree):
    """What a module's source binds at its top: all names; and of these, its own classes and functions without "_"."""
    names, own = set(), set()
    blocks = [tree.body]
    while blocks:
        for node in blocks.pop():
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                own.add(node.name)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update(target.id for target in targets if isinstance(target, ast.Name))
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names.update(alias.asname or alias.name for alias in node.names)
            elif isinstance(node, (ast.If, ast.Try)):
                blocks.append(node.body)
    return names | own, {name for name in own if not name.startswith("_")}


@pytest.mark.parametrize("path", python_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_all_tells_the_truth(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    told = [n.value for n in tree.body if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "__all__"]
    if not told:
        return
    listed = ast.literal_eval(told[0])
    names, own = public_names(tree)
    assert len(listed) == len(set(listed))
    assert set(listed) <= names
    assert own <= set(listed)


def test_the_librarys_public_names_are_there():
    import tvau_runtime

    assert [name for name in tvau_runtime.__all__ if not hasattr(tvau_runtime, name)] == []


def colcon_missing():
    probe = "import colcon_core, colcon_ros, colcon_cmake, ament_package"
    if subprocess.run([sys.executable, "-c", probe], capture_output=True).returncode:
        return "colcon is not installed for this Python"
    return "" if shutil.which("c++") and shutil.which("make") else "there is no C++ compiler"


def test_colcon_builds_both_packages_from_ros2_ws(source, tmp_path):
    if reason := colcon_missing():
        pytest.skip(reason)
    before = sorted(source.rglob("*"))
    bases = ["--build-base", tmp_path / "build", "--install-base", tmp_path / "install"]
    command = [sys.executable, "-m", "colcon", "--log-base", tmp_path / "log", "build", *bases]
    done = subprocess.run(command, cwd=source / "ros2_ws", capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(source.rglob("*")) == before, "the build left something in the source tree"

    prefix = tmp_path / "install" / "tvau"
    for name in ("tvau", "tvau_camera", "tvau_node"):
        assert os.access(prefix / "lib" / "tvau" / name, os.X_OK)
        assert (prefix / "lib" / "tvau" / name).read_text().startswith(f"#!{sys.executable}\n")
    assert (prefix / "share/ament_index/resource_index/packages/tvau").is_file()
    for path in (ROOT / "launch").glob("*.launch.py"):
        assert (prefix / "share" / "tvau" / "launch" / path.name).is_file()

    code = "import tvau, tvau_msgs.msg, tvau_msgs.srv; print(tvau.__file__); print(tvau_msgs.msg.__file__)"
    script = f'. "{tmp_path}/install/setup.bash" && cd "{tmp_path}" && exec "{sys.executable}" -c "{code}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [line.startswith(str(tmp_path / "install")) for line in done.stdout.split()] == [True, True]
