"""What several test files share: a ROS domain of their own, no network, and a small checkpoint with random weights."""

import os
import random
import shutil
import signal
from contextlib import ExitStack

import pytest

# Before anything is imported that reads these: no test run hears another one, or asks the network.
os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 101)))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell, whose children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A checkpoint directory with random weights (4 vision blocks, 56 x 84 pixels). Nobody may change it."""
    pytest.importorskip("torch", reason="the torch engine is not installed")
    pytest.importorskip("transformers", reason="the torch engine is not installed")
    from tiny_checkpoint import make_tiny_checkpoint

    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def exported(tiny, tmp_path_factory):
    """The graphs of `tiny`, at two sizes. Nobody may change them."""
    pytest.importorskip("onnxscript", reason="the export needs onnxscript")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from tvau_export import to_onnx

    out = tmp_path_factory.mktemp("export") / "graphs"
    sizes = ["--size", "56x84", "--size", "84x84"]
    assert to_onnx.main(["--model", str(tiny), "--out", str(out), *sizes, "--clips", "4"]) == 0
    return out


@pytest.fixture
def tiny_copy(tiny, tmp_path):
    """A copy of the `tiny` checkpoint that a test may damage."""
    return shutil.copytree(tiny, tmp_path / "copy")


@pytest.fixture
def running_ros():
    """rclpy, and with it a DDS participant that no other test has used."""
    from ros_tools import ros

    with ros():
        yield


@pytest.fixture
def peer(running_ros):
    """Whoever is on the other side of the node under test."""
    from ros_tools import peering

    with peering() as peer:
        yield peer


@pytest.fixture
def watch(peer, tiny):
    """Starts the tvau node on the `tiny` checkpoint; its log lines are in `node.logged`."""
    from rclpy.parameter import Parameter
    from ros_tools import QUIET, keep_log, spinning

    from tvau.node import TvauNode

    with ExitStack() as stack:

        def start(**parameters):
            given = {"engine.model": str(tiny), "no_frame_warning_s": 0.0, **QUIET}
            given |= {name.replace("__", "."): value for name, value in parameters.items()}
            node = TvauNode(parameter_overrides=[Parameter(name, value=value) for name, value in given.items()])
            keep_log(node)
            node.start()
            stack.enter_context(spinning(node))
            return node

        yield start


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """6 s of a square that crosses the picture, see `square_clip`."""
    from square_clip import write_square_clip

    return write_square_clip(tmp_path_factory.mktemp("clips") / "square.mp4")


@pytest.fixture
def flags(tiny):
    """Of a command: the random checkpoint, on one thread."""
    return ["--model", str(tiny), "--threads", "1"]


@pytest.fixture(scope="session")
def copies(tmp_path_factory):
    """Small copies of the data sets from the synthetic world: a function from a layout's name to its folder. Nobody may change
    them."""
    from tvau_training.data.writers import LAYOUTS
    from tvau_training.make_world import write_world

    made = {}

    def copy(layout):
        if layout not in made:
            made[layout] = tmp_path_factory.mktemp("data") / layout
            for split in LAYOUTS[layout].splits:
                write_world(made[layout], layout, split, clips=4, seed=0, size=(48, 64), seconds=0.5)
        return made[layout]

    return copy


@pytest.fixture(scope="module", params=["tiny", "exported"], ids=["torch", "onnx"])
def backend(request):
    """Either engine, with the same random weights."""
    from tvau_runtime.backends import open_backend
    from tvau_runtime.config import EngineConfig

    engine = open_backend(EngineConfig(model=str(request.getfixturevalue(request.param)), device="cpu", threads=1))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def windows(backend):
    """By camera and event."""
    from dialogue_tools import make_window

    return {
        ("gate", ""): make_window(backend),
        ("yard", ""): make_window(backend, "yard", 1),
        ("gate", "gate-1"): make_window(backend, "gate", 2),
    }


@pytest.fixture
def engine(backend, windows):
    """A dialogue engine on these windows, whose answers have at most 8 tokens."""
    from tvau_runtime.config import DialogueConfig
    from tvau_runtime.dialogue import DialogueEngine
    from tvau_runtime.errors import QueryError

    def evidence(camera, event_id):
        try:
            return windows[camera or "gate", event_id]
        except KeyError:
            raise QueryError(f"there is no camera {camera!r} with event {event_id!r}") from None

    engine = DialogueEngine(backend, DialogueConfig(max_new_tokens=8), evidence)
    yield engine
    engine.close()


@pytest.fixture
def recorder(backend, monkeypatch):
    """What the answers from now on are made of."""
    from dialogue_tools import Recorder

    return Recorder(backend, monkeypatch)


@pytest.fixture
def changed(copies, tmp_path):
    """A copy that a test may damage."""
    return lambda layout: shutil.copytree(copies(layout), tmp_path / layout)
