"""Who may import whom, read from the source; and what importing tvau_runtime loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {
    "launch": "launch",
    "tvau": "ros2_ws/src/tvau",
    "tvau_export": "export",
    "tvau_runtime": "tvau_runtime",
    "tvau_training": "training",
}

# Low to high. A module imports from its own layer and from lower ones.
LAYERS = [
    "errors",
    "config prompts tokenizer chat calibration",
    "types manifest",
    "artifact",
    "backends.base",
    "frames refinement grounding guard",
    "model backends",
    "window regions tracking events generation floor sessions dialogue evidence describer overlay report video load metrics",
    "stream pipeline worker",
    "archive",
    "commands",
    "cli __main__",
]
FACADE = "tvau_runtime"
"""The package itself only names what its modules hold; it stands above all of them."""

OPEN = ["config", "errors", "overlay", "pipeline", "prompts", "types", "video", "worker"]
PUBLIC = {FACADE, *(f"{FACADE}.{name}" for name in OPEN)}
"""What the nodes may use. Their `__all__` is the interface."""

# Packages that only some of our modules may import: the core knows no ROS, and torch stays where the engine is.
ROS = ("tvau.", "launch.")
TORCH = ("tvau_runtime.model", "tvau_runtime.backends.torch_backend", "tvau_training", "tvau_export")
RESERVED = {
    "cuda": ("tvau_runtime.backends.cuda_device",),
    "cv_bridge": ROS,
    "launch": ROS,
    "launch_ros": ROS,
    "onnxruntime": ("tvau_runtime.backends.", "tvau_export"),
    "peft": TORCH,
    "pyarrow": ("tvau_runtime.archive.tables",),
    "ray": ("tvau_runtime.archive.cluster",),
    "rclpy": ROS,
    "safetensors": (*TORCH, "tvau_runtime.commands.info"),
    "sklearn": ("tvau_runtime.metrics.", "tvau_export", "tvau_training"),
    "tensorrt": ("tvau_runtime.backends.", "tvau_export"),
    "torch": (*TORCH, "tvau_runtime.commands.info"),
    "torchvision": (),
    "transformers": TORCH,
}
HEAVY = ["pyarrow", "ray", "rclpy", "sklearn", "torch", "onnxruntime", "tensorrt", "transformers"]


def imports_of(source: str, package: str) -> set[str]:
    """Absolute names of all modules that a source text imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            if node.module:
                found.add(".".join([*base, node.module]))
            else:
                found.update(".".join([*base, alias.name]) for alias in node.names)
    return found


def read_modules() -> dict[str, set[str]]:
    """Every module of ours with what it imports."""
    found = {}
    for name, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            module = ".".join([name, *parts])
            package = module.rpartition(".")[0]
            found[module.removesuffix(".__init__")] = imports_of(path.read_text(encoding="utf-8"), package)
    return found


MODULES = read_modules()


def layer(module: str) -> int:
    """The layer that a module of tvau_runtime stands in, by its longest name in LAYERS."""
    path = module.removeprefix(FACADE + ".")
    while path:
        for number, names in enumerate(LAYERS):
            if path in names.split():
                return number
        path = path.rpartition(".")[0]
    pytest.fail(f"{module} stands in no layer: say in LAYERS where it belongs")


def broken_layers(modules: dict[str, set[str]]) -> list[str]:
    """Imports within tvau_runtime that point upwards."""
    inside = {name: imports for name, imports in modules.items() if name.startswith(FACADE + ".")}
    return [
        f"{name} imports {imported}"
        for name, imports in inside.items()
        for imported in sorted(imports)
        if imported == FACADE or (imported.startswith(FACADE + ".") and layer(imported) > layer(name))
    ]


def broken_packages(modules: dict[str, set[str]]) -> list[str]:
    """Imports between our packages that are not allowed."""
    allowed = {
        "launch": set(),
        "tvau": {"tvau_msgs", "tvau_runtime"},
        "tvau_export": {"tvau_runtime", "tvau_training"},  # graphs are checked on the world's clips
        "tvau_runtime": set(),
        "tvau_training": {"tvau_runtime"},
    }
    ours = {*FOLDERS, "tvau_msgs"} - {"launch"}
    return [
        f"{name} imports {imported}"
        for name, imports in modules.items()
        for imported in sorted(imports)
        if (top := imported.split(".")[0]) in ours and top not in {name.split(".")[0], *allowed[name.split(".")[0]]}
    ]


def broken_reservations(modules: dict[str, set[str]]) -> list[str]:
    """Imports of a package that is reserved for other modules."""
    return [
        f"{name} imports {imported}"
        for name, imports in modules.items()
        for imported in sorted(imports)
        if (top := imported.split(".")[0]) in RESERVED and not f"{name}.".startswith(tuple(RESERVED[top]))
    ]


def cycle(modules: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; empty when there is none."""
    left = {name: {i for i in imports if i in modules and i != name} for name, imports in modules.items()}
    while free := [name for name, imports in left.items() if not imports & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def test_the_modules_are_found():
    assert {*FOLDERS, "tvau_runtime.pipeline", "tvau_runtime.model.tvau"} - {"launch"} <= MODULES.keys()
    assert "tvau_runtime.errors" in MODULES["tvau_runtime.config"]


def test_layers_of_the_runtime():
    assert broken_layers(MODULES) == []


def test_only_the_torch_engine_imports_the_model():
    importers = {
        name.rpartition(".")[0] if ".model." in name else name
        for name, imports in MODULES.items()
        if name.startswith(FACADE) and any(f"{i}.".startswith("tvau_runtime.model.") for i in imports)
    }
    assert importers == {"tvau_runtime.model", "tvau_runtime.backends.torch_backend"}


def test_directions_between_packages():
    assert broken_packages(MODULES) == []


def test_nodes_use_public_modules_only():
    used = {i for name, imports in MODULES.items() if name.startswith("tvau.") for i in imports}
    assert {name for name in used if name.split(".")[0] == FACADE} <= PUBLIC


def test_reserved_packages():
    assert broken_reservations(MODULES) == []


def test_no_circles():
    assert cycle({name: imports for name, imports in MODULES.items() if name != FACADE}) == []


@pytest.mark.parametrize(
    ("check", "module", "source"),
    [
        (broken_layers, "tvau_runtime.types", "def f():\n    from .pipeline import Pipeline"),
        (broken_layers, "tvau_runtime.dialogue", "from . import worker"),
        (broken_layers, "tvau_runtime.events", "import tvau_runtime"),
        (broken_packages, "tvau_runtime.pipeline", "import tvau_msgs.msg"),
        (broken_packages, "tvau_training.train", "from tvau_export import to_onnx"),
        (broken_packages, "launch.camera", "import tvau.node"),
        (broken_reservations, "tvau_runtime.pipeline", "import torch.nn as nn"),
        (broken_reservations, "tvau_runtime.video", "import rclpy"),
        (broken_reservations, "tvau_training.train", "from torchvision import io"),
        (broken_reservations, "tvau.node", "import torch"),
    ],
)
def test_the_checks_can_fail(check, module, source):
    assert len(check({module: imports_of(source, module.rpartition(".")[0])})) == 1


def test_the_check_for_circles_can_fail():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b", "numpy"}}) == ["a", "b", "c"]


def loaded_by(statement: str, folder: Path) -> list[str]:
    """Which of the heavy packages a statement loads, in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, timeout=120, check=True
    ).stdout.split()


@pytest.mark.parametrize(
    "statement",
    [
        "import tvau_runtime; [getattr(tvau_runtime, name) for name in tvau_runtime.__all__]",
        "import tvau_runtime.cli",
    ],
)
def test_the_runtime_loads_nothing_heavy(statement, tmp_path):
    assert loaded_by(statement, tmp_path) == []


def test_that_check_can_fail(tmp_path):
    (tmp_path / "onnxruntime.py").touch()
    assert loaded_by("import tvau_runtime, onnxruntime", tmp_path) == ["onnxruntime"]
