"""The tvau node's services over real DDS, with a small random model: queries, prompts, reset."""

import threading

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("tvau_msgs.msg", reason="tvau_msgs is not built")

from rclpy.parameter import Parameter
from ros_tools import ALWAYS, RATE_HZ, SIZE, listen, logged, query, stream, wait_for
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from tvau_msgs.msg import AnomalyEvent, AnomalyScore
from tvau_msgs.srv import Query, SetPrompts

from tvau.conversions import from_time
from tvau_runtime.grounding import PLACES

pytestmark = pytest.mark.usefixtures("running_ros")


def test_query(peer, watch):
    node = watch()
    scores = listen(peer, node, AnomalyScore, "camera/score")
    assert "no frame has come from a camera yet" in query(peer, question="Anything?").message
    stamps = stream(peer, 4)
    wait_for(lambda: len(scores) == 2, "two steps")
    assert "2 of 4 steps" in query(peer, question="Anything?").message
    stamps += stream(peer, 4, first=4)
    wait_for(lambda: len(scores) == 4, "a window")

    answer = query(peer, question="Is there any anomaly in the video?")
    assert answer.ok
    assert answer.message == ""
    assert answer.camera == "camera"
    shown = answer.evidence
    assert shown.anomaly == (shown.yes_probability >= 0.5)
    assert shown.score == scores[-1].window_score
    assert [from_time(t) / 1e9 for t in (shown.window_start, shown.window_end)] == [stamps[0], stamps[7]]
    assert from_time(shown.peak) / 1e9 in stamps[1::2]
    assert from_time(shown.window_start) <= from_time(shown.start) < from_time(shown.end) <= from_time(shown.window_end)
    assert 0 <= shown.box.x_min < shown.box.x_max <= SIZE[1]
    places = {place for row in PLACES for place in row}
    assert {shown.place, shown.from_place, shown.to_place} <= places

    stream(peer, 4, first=8)
    wait_for(lambda: len(scores) == 6, "two steps more")
    again = query(peer, question="Describe anomaly features in detail.", session=answer.session)
    assert again.ok
    assert again.session == answer.session
    assert again.evidence.window_end == answer.evidence.window_end, "the dialogue stays with its evidence"
    fresh = query(peer, question="Is there any anomaly in the video?")
    assert fresh.session != answer.session
    assert from_time(fresh.evidence.window_end) / 1e9 == stamps[0] + 11 / RATE_HZ


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"question": ""}, "the question is empty"),
        (
            {"question": "Anything?", "camera": "attic"},
            "no frame has come from a camera 'attic'; there are frames of: camera",
        ),
        ({"question": "Anything?", "session": "abc"}, "there is no session 'abc'"),
        ({"question": "Anything?", "event_id": "camera-99"}, "there is no window of event 'camera-99'"),
        ({"question": "x" * 5000}, "at most 2000 characters"),
    ],
)
def test_bad_queries(peer, watch, fields, text):
    node = watch()
    scores = listen(peer, node, AnomalyScore, "camera/score")
    stream(peer, 8)
    wait_for(lambda: len(scores) == 4, "a window")
    answer = query(peer, **fields)
    assert not answer.ok
    assert text in answer.message
    assert answer.answer == ""


def test_frames_do_not_wait_for_an_answer(peer, watch, monkeypatch):
    node = watch()
    scores = listen(peer, node, AnomalyScore, "camera/score")
    stream(peer, 8)
    wait_for(lambda: len(scores) == 4, "a window")
    go_on, speaking = threading.Event(), threading.Event()
    decode = node._pipeline.backend.decode

    def slow(*args, **kwargs):
        speaking.set()
        assert go_on.wait(30)
        return decode(*args, **kwargs)

    monkeypatch.setattr(node._pipeline.backend, "decode", slow)
    question = "Is there any anomaly in the video?"
    answers = [peer.ask(Query, "tvau/query", question=question) for _ in range(3)]
    assert speaking.wait(20)
    stream(peer, 8, first=8)
    wait_for(lambda: len(scores) == 8, "more steps, while the model speaks")
    assert peer.call(SetPrompts, "tvau/set_prompts", abnormal=["person jumping"]).ok
    assert not any(answer.done() for answer in answers)
    go_on.set()
    wait_for(lambda: all(answer.done() for answer in answers), "the answers")
    assert all(answer.result().ok for answer in answers)


def test_set_prompts(peer, watch):
    node = watch()
    heatmaps = listen(peer, node, Image, "camera/heatmap")
    stream(peer, 2)
    wait_for(lambda: len(heatmaps) == 1, "a heat map")
    done = peer.call(SetPrompts, "tvau/set_prompts", abnormal=["person jumping", "fire"])
    assert done.ok
    assert done.abnormal == ["person jumping", "fire"]
    assert done.normal == ["person walking"], "what is left empty stays"
    stream(peer, 2, start_s=200)
    wait_for(lambda: len(heatmaps) == 2, "another heat map")
    assert bytes(heatmaps[0].data) != bytes(heatmaps[1].data), "the same picture, other prompts"

    answer = peer.call(SetPrompts, "tvau/set_prompts", camera="camera")
    assert (answer.ok, answer.abnormal) == (True, ["person jumping", "fire"]), "only tells"
    for fields, text in (
        ({"normal": [" "]}, "at least one non-blank"),
        ({"phrase": "a video"}, "must hold {} once"),
        ({"abnormal": ["x" * 500]}, "at most 200 characters"),
        ({"abnormal": ["x"] * 100}, "at most 64 abnormal prompts"),
        ({"abnormal": ["a\nb"]}, "without control characters"),
        ({"abnormal": ["smoke"], "camera": "attic"}, "there is no camera 'attic'; there are: camera"),
    ):
        refused = peer.call(SetPrompts, "tvau/set_prompts", **fields)
        assert not refused.ok
        assert text in refused.message
        assert refused.abnormal == ["person jumping", "fire"]


def test_each_camera_has_prompts_of_its_own_from_parameters_and_by_the_service(peer, watch):
    yard, common = ["person riding a bicycle"], ["person running", "fire"]
    node = watch(cameras=["gate", "yard"], **{"prompts.abnormal": common, "prompts.yard.abnormal": yard})

    def in_force(camera=""):
        return peer.call(SetPrompts, "tvau/set_prompts", camera=camera).abnormal

    assert (in_force(), in_force("gate"), in_force("yard")) == (common, common, yard)
    heatmaps = {name: listen(peer, node, Image, f"{name}/heatmap") for name in ("gate", "yard")}
    for name in heatmaps:
        stream(peer, 8, topic=f"{name}/image_raw")
    wait_for(lambda: all(len(maps) == 4 for maps in heatmaps.values()), "heat maps of both")
    assert bytes(heatmaps["gate"][0].data) != bytes(heatmaps["yard"][0].data), "the same picture, other prompts"
    first = query(peer, question="Is there any anomaly in the video?", camera="yard")
    assert first.evidence.abnormal == yard

    assert peer.call(SetPrompts, "tvau/set_prompts", camera="yard", abnormal=["smoke"]).ok
    assert (in_force("gate"), in_force("yard")) == (common, ["smoke"])
    stream(peer, 8, first=8, topic="yard/image_raw")
    wait_for(lambda: len(heatmaps["yard"]) == 8, "more of one")
    assert query(peer, question="Is there any anomaly in the video?", camera="yard").evidence.abnormal == ["smoke"]
    again = query(peer, question="Is there any anomaly in the video?", session=first.session)
    assert (again.evidence.abnormal, again.evidence.score) == (yard, first.evidence.score), (
        "a dialogue stays with its evidence"
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("prompts.attic.abnormal", ["fire"], "there is no parameter 'prompts.attic.abnormal'"),
        ("prompts.unusual", ["fire"], "there is no parameter 'prompts.unusual'"),
        ("prompts.abnormal", "fire", "parameter prompts.abnormal must be a list of texts, got 'fire'"),
        ("prompts.camera.phrase", "a video", "parameters prompts.camera.*: the phrase template must hold {} once"),
    ],
)
def test_prompts_among_the_parameters_that_cannot_be_used_are_told_at_configure(watch, name, value, message):
    node = watch(**{name: value})
    assert any(message in line for line in logged(node, "cannot configure"))


def test_prompts_do_not_change_by_parameters_while_the_node_runs(watch):
    node = watch(**{"prompts.abnormal": ["fire"]})
    (result,) = node.set_parameters([Parameter("prompts.abnormal", value=["smoke"])])
    assert not result.successful
    assert "~/set_prompts" in result.reason


def test_reset(peer, watch):
    node = watch(**ALWAYS)
    scores = listen(peer, node, AnomalyScore, "camera/score")
    events = listen(peer, node, AnomalyEvent, "camera/events")
    stream(peer, 8)
    wait_for(lambda: len(scores) == 4 and events, "a window")
    done = peer.call(Trigger, "tvau/reset")
    assert done.success
    assert done.message.endswith(": camera")
    wait_for(lambda: {e.id for e in events} == {e.id for e in events if e.phase == AnomalyEvent.END}, "ENDs")
    assert "has no full window yet" in query(peer, question="Anything?").message
