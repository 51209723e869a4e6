"""The report page: complete in itself, well formed, escaped, and right in its figures."""

import base64
import dataclasses
import itertools
import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from tvau_runtime.commands.recorder import MAX_LISTED, Recorder
from tvau_runtime.report import MAX_POINTS, EventCard, Report, clock, jpeg, place, render, thin
from tvau_runtime.stream import Update
from tvau_runtime.types import AnomalyEvent, Frame, Phase, TrackPoint

EVIL = "<script>alert('x')</script> & \"quoted\" </title>"
VOID = {"meta", "img", "br", "link"}


def make_event(name="gate-1", start=2, end=6, label="", description="", box=(40.0, 30.0, 80.0, 70.0)):
    track = (TrackPoint(start * 10**9, box, 0.7), TrackPoint(end * 10**9, (500.0, 400.0, 560.0, 460.0), 0.9))
    stamps = (start * 10**9, end * 10**9, end * 10**9)
    return AnomalyEvent(name, "gate", "", Phase.END, *stamps, 0.7, 0.9, box, box, track, label, description)


@pytest.fixture
def report():
    image = jpeg(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))
    event = make_event(label="a red car", description="A red car. It goes to the right.")
    return Report(
        source="gate.mp4",
        start_ns=0,
        duration_s=10.0,
        frame_size=(480, 640),
        scores=[(i * 0.5, 0.1 + 0.04 * i) for i in range(20)],
        heatmaps=20,
        on_threshold=0.6,
        off_threshold=0.4,
        cards=[EventCard(event, 6 * 10**9, image, image, image)],
        events_s=4.0,
        way=image,
        heat=image,
        facts={"Model": {"Name": "tvau-tiny"}, "Settings": {"on_threshold": "0.6"}},
    )


class Page(HTMLParser):
    """Checks that tags close in order, and collects text, attributes and elements."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.attributes = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open[-1:] == [tag], f"</{tag}> where {self.open[-1:]} is open"
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def test_the_page_is_well_formed_and_says_what_happened(report):
    page = Page(render(report))
    for text in ("1 anomaly event in 10.0 s", "gate.mp4", "a red car", "A red car. It goes to the right.", "tvau-tiny"):
        assert text in page.words
    assert "0:02.0 to 0:06.0" in page.words
    assert "x 40 to 80, y 30 to 70 px" in page.words
    assert "from upper left to lower right" in page.words
    assert page.tags.count("img") == 5
    assert sum(1 for t, n, v in page.attributes if t == "img" and n == "alt" and v) == 5


def test_the_page_is_complete_in_itself(report):
    text = render(report)
    for tag, name, value in Page(text).attributes:
        if name in ("src", "href"):
            assert value.startswith(("data:image/jpeg;base64,", "#")), f"{tag} {name} points outside: {value[:60]}"
    assert not re.search(r"https?://|@import|url\(", text)
    data = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)[0]
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (48, 64, 3)


def test_every_text_from_outside_is_escaped(report):
    event = make_event(name=EVIL, label=EVIL, description=EVIL)
    bad = dataclasses.replace(
        report,
        source=EVIL,
        notice=EVIL,
        facts={EVIL: {EVIL: EVIL}},
        cards=[EventCard(dataclasses.replace(event, camera=EVIL), 0, b"\xff\xd8", b"", b"")],
    )
    text = render(bad)
    assert "<script>alert" not in text
    page = Page(text)
    assert page.tags.count("script") == 2
    assert page.words.count("alert('x')") >= 8


def test_dollar_signs_and_braces_are_just_text(report):
    text = render(dataclasses.replace(report, source="$title ${x} {y} %s", notice="100 % of $5"))
    assert "$title ${x} {y} %s" in Page(text).words


def test_without_events_it_says_so_and_how_near_it_came(report):
    page = Page(render(dataclasses.replace(report, cards=[])))
    assert "No anomaly event in 10.0 s" in page.words
    assert "the highest score was 0.86" in page.words


def test_without_a_heat_map_it_says_why(report):
    page = Page(render(dataclasses.replace(report, cards=[], scores=[], heatmaps=0, way=b"", heat=b"", duration_s=0.0)))
    assert "not one pair of frames was looked at" in page.words
    assert "img" not in page.tags


def test_bands_and_curve_lie_where_time_and_score_are(report):
    attributes = Page(render(report)).attributes
    bands = [v for t, n, v in attributes if t == "rect" and n in ("x", "width")]
    assert ("200.00", "400.00") in itertools.pairwise(bands)  # 2 s to 6 s of 10 s, in 1000 units
    curve = next(v for t, n, v in attributes if t == "polyline" and n == "points").split()
    assert curve[0] == "0.00,90.00"
    assert curve[10] == "500.00,50.00"
    links = {v for t, n, v in attributes if t == "a" and n == "href"}
    assert links
    assert all(("article", "id", link[1:]) in attributes for link in links)


def test_values_under_the_pointer_are_there_without_and_for_javascript(report):
    text = render(report)
    assert "<title>0:05.0: 0.50</title>" in text
    data = json.loads(re.findall(r'id="scores">(.*?)</script>', text)[0])
    assert data["span"] == 10.0
    assert data["values"][10] == [5.0, 0.5]


def test_a_long_run_is_thinned_out_without_losing_its_peaks(report):
    scores = [(i * 0.25, 0.2) for i in range(50_000)]
    scores[31_337] = (31_337 * 0.25, 0.99)
    points = thin(scores, MAX_POINTS)
    assert len(points) <= MAX_POINTS
    assert (31_337 * 0.25, 0.99) in points
    assert thin([], 10) == []
    assert thin(scores[:3], 10) == scores[:3]
    text = render(dataclasses.replace(report, scores=scores, heatmaps=50_000, duration_s=12_500.0))
    assert len(text) < 300_000
    assert "50000" in text


def test_any_number_of_events_is_counted_and_a_few_are_kept(tmp_path):
    recorder = Recorder(tmp_path, 10.0)
    recorder.add_frame(Frame(np.zeros((480, 640, 3), np.uint8), 0, "gate"))
    for number in range(3 * MAX_LISTED):
        event = make_event(f"gate-{number}")  # 4 s
        phases = (Phase.START, Phase.UPDATE, Phase.END, Phase.END)  # the last in words
        recorder.add_update(
            Update(camera="gate", events=tuple(dataclasses.replace(event, phase=phase) for phase in phases))
        )
    recorder.add_update(
        Update(camera="gate", events=(dataclasses.replace(make_event("gate-last", end=5), phase=Phase.START),))
    )
    recorder.close({}, source="gate", thresholds=(0.9, 0.7), notice="")
    assert recorder.event_count == 3 * MAX_LISTED + 1
    assert list(recorder.events) == [f"gate-{number}" for number in range(MAX_LISTED)]
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "4:03 min of events, added up" in page.words


def test_events_without_card_are_counted_and_named(report):
    page = Page(render(dataclasses.replace(report, omitted=7)))
    assert "8 anomaly events" in page.words
    assert "7 further events" in page.words
    assert "events.jsonl" in page.words


def test_names_above_the_timeline_leave_room_for_each_other(report):
    cards = [EventCard(make_event(f"gate-{i}", start=1 + i // 20, end=2 + i // 20)) for i in range(40)]
    page = Page(render(dataclasses.replace(report, cards=cards)))
    attributes = page.attributes
    assert sum(1 for t, n, v in attributes if t == "span" and n == "style" and v.startswith("left")) == 2 + 5
    assert sum(1 for t, n, v in attributes if t == "rect" and v == "band") == 40
    assert sum(1 for t, n, v in attributes if t == "article" and n == "id") == 40


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00.0"),
        (-0.2, "0:00.0"),
        (59.96, "1:00.0"),
        (61.04, "1:01.0"),
        (3599.99, "1:00:00.0"),
        (7325.5, "2:02:05.5"),
    ],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("center", "words"),
    [
        ((0, 0), "upper left"),
        ((320, 240), "centre"),
        ((320, 10), "top"),
        ((639, 479), "lower right"),
        ((5, 240), "left"),
        ((320, 479), "bottom"),
        ((640, 480), "lower right"),
        ((-20, 900), "lower left"),
    ],
)
def test_place(center, words):
    assert place(center, (480, 640)) == words
