"""Config classes as ROS parameters: declared once with ranges, judged when set, read back."""

from dataclasses import dataclass, field

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("tvau_msgs.msg", reason="tvau_msgs is not built")

from rclpy.node import Node
from rclpy.parameter import Parameter

from tvau.camera_config import CameraConfig
from tvau.node_config import NodeConfig
from tvau.parameters import Parameters
from tvau_runtime import ConfigError, PipelineConfig, Validated, describe, option

pytestmark = pytest.mark.usefixtures("running_ros")


@dataclass(frozen=True)
class Inner(Validated):
    low: float = option(0.2, "Lower one.", minimum=0.0, maximum=1.0, live=True)
    high: float = option(0.8, "Upper one.", minimum=0.0, maximum=1.0, live=True)

    def __post_init__(self):
        super().__post_init__()
        if self.low > self.high:
            raise ConfigError(f"low ({self.low}) must not be above high ({self.high})")


@dataclass(frozen=True)
class Settings(Validated):
    name: str = option("a", "Which.", choices=("a", "b"))
    count: int = option(3, "How many.", minimum=1, maximum=10)
    flag: bool = option(True, "Whether.")
    words: tuple[str, ...] = option(("x",), "Some texts.")
    inner: Inner = field(default_factory=Inner)


class Given:
    """A node with parameters, as given on its command line."""

    def __init__(self, overrides=None, config=Settings):
        given = [Parameter(name, value=value) for name, value in (overrides or {}).items()]
        self.node = Node("given", automatically_declare_parameters_from_overrides=True, parameter_overrides=given)
        self.warned = []
        vars(self.node.get_logger())["warning"] = self.warned.append
        self.running, self.changes = False, 0
        self.parameters = Parameters(
            self.node, config, running=lambda: self.running, changed=self.count, remedy="stop it first"
        )

    def count(self):
        self.changes += 1

    def set(self, **values):
        names = {name.replace("__", "."): value for name, value in values.items()}
        results = self.node.set_parameters([Parameter(name, value=value) for name, value in names.items()])
        return [result.reason or result.successful for result in results]

    def read(self):
        return self.parameters.read(Settings)


@pytest.fixture
def given(request):
    made = []

    def make(overrides=None, config=Settings):
        made.append(Given(overrides, config))
        return made[-1]

    yield make
    for one in made:
        one.node.destroy_node()


def test_defaults(given):
    assert given().read() == Settings()


@pytest.mark.parametrize("config", [NodeConfig, PipelineConfig])
def test_every_setting_is_declared_with_its_description(given, config):
    node = given(config=config)
    assert node.parameters.read(config) == config()
    for setting in describe(config):
        descriptor = node.node.describe_parameter(setting.path)
        assert descriptor.description.startswith(setting.doc)
        assert bool(descriptor.additional_constraints) != setting.live
        for limits in (*descriptor.floating_point_range, *descriptor.integer_range):
            assert (limits.from_value, limits.to_value) == (setting.minimum, setting.maximum)
        assert (setting.minimum is None) == (not descriptor.floating_point_range and not descriptor.integer_range)
        assert all(choice in descriptor.description for choice in setting.choices)


def test_overrides(given):
    node = given({"name": "b", "count": 5, "words": ["p", "q"], "inner.low": 0.5})
    assert node.read() == Settings(name="b", count=5, words=("p", "q"), inner=Inner(low=0.5))
    assert node.warned == []


def test_whole_numbers_are_good_for_decimals(given):
    node = given({"inner.high": 1})
    assert node.read().inner.high == 1.0
    assert node.set(inner__low=0) == [True]
    assert node.read().inner.low == 0.0


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"count": "many"}, "count must be of type integer, like 3; got 'many'"),
        ({"count": 0}, "count must be within 1 to 10, got 0"),
        ({"inner.low": 7.5}, "inner.low must be within 0 to 1, got 7.5"),
        ({"inner.low": True}, "inner.low must be of type double"),
        ({"words": "x"}, "words must be of type string_array"),
        ({"name": "c"}, "name must be one of a, b, got 'c'"),
        ({"inner.low": 0.9}, r"low \(0.9\) must not be above high \(0.8\)"),
    ],
)
def test_bad_overrides_are_told_when_read(given, overrides, text):
    with pytest.raises(ConfigError, match=text):
        given(overrides).read()


def test_a_bad_override_can_be_mended(given):
    node = given({"count": 0})
    assert node.set(count=4) == [True]
    assert node.read().count == 4


def test_unknown_names_are_warned_of(given):
    node = given({"inner.lo": 0.5, "use_sim_time": False, "qos_overrides./x.publisher.depth": 3})
    assert node.read() == Settings()
    assert node.warned == ["there is no parameter 'inner.lo': it is ignored; did you mean 'inner.low'?"]


def test_setting_while_nothing_runs(given):
    node = given()
    assert node.set(name="b", count=9, flag=False) == [True] * 3
    assert node.read() == Settings(name="b", count=9, flag=False)
    assert node.set(name="c") == ["name must be one of a, b, got 'c'"]
    assert "out of range" in node.set(count=11)[0]
    # Settings that depend on each other may pass through what does not fit, and are checked when read.
    assert node.set(inner__low=0.9) == [True]
    with pytest.raises(ConfigError):
        node.read()
    assert node.set(inner__high=0.95) == [True]
    assert node.read().inner == Inner(0.9, 0.95)
    assert node.changes == 5, "each is told, though nothing runs"


def test_setting_while_it_runs(given):
    node = given()
    node.running = True
    assert node.set(inner__low=0.3) == [True]
    assert node.changes == 1
    assert node.set(inner__low=0.9) == ["low (0.9) must not be above high (0.8)"]
    assert node.set(count=4) == ["count cannot change while the node runs; stop it first"]
    assert node.set(name="b") == ["name cannot change while the node runs; stop it first"]
    assert node.read() == Settings(inner=Inner(low=0.3))
    assert node.changes == 1


def test_setting_together(given):
    node = given()
    node.running = True
    both = [Parameter("inner.low", value=0.9), Parameter("inner.high", value=1.0)]
    assert node.node.set_parameters_atomically(both).successful
    assert node.read().inner == Inner(0.9, 1.0)


def test_parameters_of_others_are_left_alone(given):
    node = given()
    node.node.declare_parameter("other", 1)
    node.running = True
    assert node.set(other=2) == [True]
    assert node.changes == 0


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"cameras": ()}, "at least one camera"),
        ({"cameras": ("a", "a")}, "must differ, got a, a"),
        ({"cameras": ("front left",)}, "'front left' cannot be part of a topic name"),
        ({"cameras": ("1st",)}, "'1st' cannot be"),
        ({"cameras": ("a__b",)}, "'a__b' cannot be"),
        ({"cameras": ("a", "b"), "image_topics": ("/x",)}, r"one topic for each camera \(a, b\), got /x"),
        ({"transport": "theora"}, "one of auto, raw, compressed"),
    ],
)
def test_node_config_refuses(values, text):
    with pytest.raises(ConfigError, match=text):
        NodeConfig(**values)


def test_image_topics():
    assert NodeConfig().topic("camera") == "camera/image_raw"
    two = NodeConfig(cameras=("a", "b"), image_topics=("/x/image", ""))
    assert [two.topic(name) for name in two.cameras] == ["/x/image", "b/image_raw"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"source": "file"}, "source 'file' needs a path"),
        ({"path": "clip.mp4"}, "source 'demo' takes no path, got 'clip.mp4'"),
        ({"width": 100}, "width and height go together, got 100 x 0"),
        ({"source": "usb", "path": "0"}, "one of demo, file, device, rtsp"),
    ],
)
def test_camera_config_refuses(values, text):
    with pytest.raises(ConfigError, match=text):
        CameraConfig(**values)
