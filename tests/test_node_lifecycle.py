"""The tvau node's life cycle and parameters over real DDS, with a small random model."""

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("tvau_msgs.msg", reason="tvau_msgs is not built")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from ros_tools import ALWAYS, listen, logged, query, stream, wait_for
from std_srvs.srv import Trigger
from tvau_msgs.msg import AnomalyEvent, AnomalyScore

from tvau.node import TvauNode

pytestmark = pytest.mark.usefixtures("running_ros")


def test_lifecycle(peer, watch):
    node = watch(autostart=False)
    assert peer.state("tvau") == "unconfigured"
    assert not peer.transition("tvau", "activate")
    assert peer.transition("tvau", "configure")
    assert peer.state("tvau") == "inactive"
    events, scores = listen(peer, node, AnomalyEvent, "camera/events"), listen(peer, node, AnomalyScore, "camera/score")
    assert peer.count_subscribers("/camera/image_raw") == 0
    assert "not active" in query(peer, question="Anything?").message
    assert not peer.call(Trigger, "tvau/reset").success

    for name, value in ALWAYS.items():
        assert peer_sets(peer, name, value) == ""
    assert peer.transition("tvau", "activate")
    stream(peer, 8)
    wait_for(lambda: len(scores) == 4, "four steps")
    assert query(peer, question="Is there any anomaly in the video?").ok
    assert peer.transition("tvau", "deactivate")
    wait_for(lambda: peer.count_subscribers("/camera/image_raw") == 0, "the end of the subscription")
    wait_for(lambda: {e.id for e in events} == {e.id for e in events if e.phase == AnomalyEvent.END}, "ENDs")

    assert peer.transition("tvau", "activate")  # with the same weights
    stream(peer, 2, start_s=200)
    wait_for(lambda: len(scores) == 5, "one more step")
    assert peer.transition("tvau", "deactivate")
    assert peer.transition("tvau", "cleanup")
    assert peer.state("tvau") == "unconfigured"
    wait_for(lambda: not peer.count_publishers("/tvau/camera/score"), "the end of the topics")
    assert peer.transition("tvau", "configure")
    assert peer.transition("tvau", "shutdown") or peer.transition("tvau", "inactive_shutdown")
    assert peer.state("tvau") == "finalized"


def test_a_destroyed_node_leaves_no_services_behind(peer):
    node = TvauNode(parameter_overrides=[Parameter("autostart", value=False)])

    def services():
        return [name for name, _ in peer.get_service_names_and_types() if name.startswith("/tvau/")]

    wait_for(lambda: "/tvau/get_state" in services(), "the node's services")
    node.destroy_node()
    wait_for(lambda: not services(), "their end, though the node object lives")


def peer_sets(peer, name, value, node="tvau"):
    """Sets a parameter over its service; the reason why not, or nothing."""
    done = peer.call(
        SetParameters, f"{node}/set_parameters", parameters=[Parameter(name, value=value).to_parameter_msg()]
    )
    return done.results[0].reason


def test_configure_fails_and_can_be_mended(peer, watch, tiny):
    node = watch(engine__model="/nowhere")
    assert peer.state("tvau") == "unconfigured"
    assert len(logged(node, "cannot configure: there is no model '/nowhere'")) == 1
    reports = peer.listen(DiagnosticArray, "/diagnostics")
    wait_for(lambda: reports, "a report")
    assert reports[-1].status[0].level == DiagnosticStatus.ERROR
    assert "there is no model '/nowhere'" in reports[-1].status[0].message
    assert not peer.transition("tvau", "configure")
    assert peer_sets(peer, "engine.model", str(tiny)) == ""
    assert peer.transition("tvau", "configure")
    assert peer.transition("tvau", "activate")


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (
            {"events.on_threshold": 2.0},
            "cannot configure: parameter events.on_threshold must be within 0 to 1, got 2.0",
        ),
        ({"stream.clip_length": 7}, "cannot configure: clip_length must be even"),
        ({"cameras": ["a", "b"], "image_topics": ["/x"]}, "cannot configure: image_topics must name one topic"),
        ({"image_topics": ["not a topic"]}, "cannot configure: camera 'camera': "),
        ({"qos_overrides./tvau/camera/score.publisher.reliability": "so so"}, "cannot configure: camera 'camera': "),
        ({"engine.device": "abacus"}, "cannot configure: "),
    ],
)
def test_bad_parameters_are_told_in_one_line(peer, watch, parameters, text):
    node = watch(**parameters)
    assert len(logged(node, text)) == 1
    assert "\n" not in logged(node, text)[0]
    assert peer.state("tvau") == "unconfigured"


def test_a_failed_configure_leaves_nothing_behind(peer, watch):
    node = watch(**{"qos_overrides./tvau/camera/events.publisher.reliability": "so so"})
    assert logged(node, "cannot configure")
    assert not [p.topic_name for p in node.publishers if p.topic_name.startswith("/tvau/camera/")]
    assert not [s.srv_name for s in node.services if s.srv_name.endswith("set_prompts")]


def test_why_a_configure_broke_is_told_until_the_next_one(peer, watch, monkeypatch):
    def broken(config):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr("tvau.node.open_pipeline", broken)
        node = watch()
    assert peer.state("tvau") == "unconfigured"
    reports = peer.listen(DiagnosticArray, "/diagnostics")
    wait_for(lambda: reports, "a report")
    assert reports[-1].status[0].level == DiagnosticStatus.ERROR
    assert "out of memory" in reports[-1].status[0].message
    assert peer.transition("tvau", "configure")
    assert node._problem == ""


def test_the_report_period_holds_before_anything_runs(peer, watch):
    node = watch(autostart=False, report_period_s=7.0)
    assert node._report_timer.timer_period_ns == 7 * 10**9
    assert peer_sets(peer, "report_period_s", 3.0) == ""
    assert node._report_timer.timer_period_ns == 3 * 10**9


def test_live_parameters(peer, watch):
    node = watch()
    assert peer_sets(peer, "events.on_threshold", 0.9) == ""
    assert node._pipeline.config.events.on_threshold == 0.9
    assert peer_sets(peer, "dialogue.max_new_tokens", 5) == ""
    assert node._pipeline.config.dialogue.max_new_tokens == 5
    assert "must not be above on_threshold" in peer_sets(peer, "events.off_threshold", 0.95)
    assert "cannot change while the node runs; deactivate it" in peer_sets(peer, "stream.stride", 4)
    assert "out of range" in peer_sets(peer, "events.min_area", 2.0)
    assert node._pipeline.config.events.off_threshold == 0.7


def test_qos_overrides(peer, watch):
    watch(
        **{
            "qos_overrides./camera/image_raw.subscription.reliability": "best_effort",
            "qos_overrides./tvau/camera/score.publisher.reliability": "best_effort",
        }
    )
    asked = wait_for(lambda: peer.get_subscriptions_info_by_topic("/camera/image_raw"), "the subscription")
    offered = wait_for(lambda: peer.get_publishers_info_by_topic("/tvau/camera/score"), "the topic")
    assert asked[0].qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    assert offered[0].qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT


def test_reliability_can_change_between_two_configures(peer, watch):
    watch(reliability="best_effort")
    for reliability in ("best_effort", "reliable"):
        if reliability == "reliable":
            assert peer.transition("tvau", "deactivate")
            assert peer.transition("tvau", "cleanup")
            assert peer_sets(peer, "reliability", reliability) == ""
            assert peer.transition("tvau", "configure")
            assert peer.transition("tvau", "activate")
        wait_for(
            lambda r=reliability: (
                [
                    info.qos_profile.reliability.name.lower()
                    for info in peer.get_subscriptions_info_by_topic("/camera/image_raw")
                ]
                == [r]
            ),
            reliability,
        )
