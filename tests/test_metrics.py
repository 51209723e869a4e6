"""The figures that heat maps and boxes are judged by: against slow, obvious versions and cases worked out by hand."""

import itertools
import math

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the metrics need scikit-learn")
from scipy import ndimage

from tvau_runtime.errors import ConfigError
from tvau_training.metrics import detection_scores, frame_scores, heatmap_boxes, pixel_scores

BOX = (10, 10, 19, 19)
"""10 x 10 pixels, as maxima are inclusive."""
FAR = (50, 50, 59, 59)
NONE = np.zeros((0, 6))


def truths(*rows):
    """(track, frame, box) as lines of the protocol's text file."""
    return np.array([(track, frame, *box) for track, frame, box in rows], float).reshape(-1, 6)


def boxes(*rows):
    """(frame, box, score) as lines of the protocol's text file."""
    return np.array([(frame, *box, score) for frame, box, score in rows], float).reshape(-1, 6)


# --- regions and tracks


def slow_detection(truth, predictions, frames, beta=0.1, alpha=0.1):
    """The protocol, step by step: one threshold after the other, one box after the other."""
    every = sorted({row[5] for video in predictions for row in video}, reverse=True)
    regions = sum(len(video) for video in truth)
    lengths: dict = {}
    for v, video in enumerate(truth):
        for row in video:
            lengths[v, row[0]] = lengths.get((v, row[0]), 0) + 1
    points = [(0.0, 0.0, 0.0)]
    for threshold in every:
        false, found = 0, set()
        for v, video in enumerate(predictions):
            for box in video:
                if box[5] < threshold:
                    continue
                hits = {
                    (v, n) for n, row in enumerate(truth[v]) if row[1] == box[0] and slow_iou(row[2:], box[1:5]) >= beta
                }
                false += not hits
                found |= hits
        per_track: dict = {}
        for v, n in found:
            key = v, truth[v][n][0]
            per_track[key] = per_track.get(key, 0) + 1
        tracks = sum(count / lengths[key] >= alpha for key, count in per_track.items())
        points.append((false / frames, len(found) / regions, tracks / len(lengths)))
    kept = [point for point in points if point[0] <= 1]
    kept.append((1.0, *kept[-1][1:]))
    return tuple(sum((b[0] - a[0]) * (a[i] + b[i]) / 2 for a, b in itertools.pairwise(kept)) for i in (1, 2))


def slow_iou(a, b):
    """By counting pixels."""
    pixels = [
        {(x, y) for x in range(int(c[0]), int(c[2]) + 1) for y in range(int(c[1]), int(c[3]) + 1)} for c in (a, b)
    ]
    return len(pixels[0] & pixels[1]) / len(pixels[0] | pixels[1])


@pytest.mark.parametrize("seed", range(12))
def test_detection_is_as_the_slow_one(seed):
    rng = np.random.default_rng(seed)

    def random_box():
        x, y = rng.integers(0, 20, 2)
        w, h = rng.integers(1, 12, 2)
        return (x, y, x + w, y + h)

    truth, predictions = [], []
    for _ in range(3):
        rows = [(t, f, random_box()) for t in range(rng.integers(0, 4)) for f in range(rng.integers(1, 15))]
        truth.append(truths(*rows))
        said = [(rng.integers(0, 16), random_box(), rng.integers(0, 8) / 8) for _ in range(rng.integers(0, 40))]
        predictions.append(boxes(*said))
    truth.append(truths((0, 3, BOX)))
    predictions.append(NONE)
    frames = int(rng.integers(10, 60))
    found = detection_scores(truth, predictions, frames)
    assert (found.rbdc, found.tbdc) == pytest.approx(slow_detection(truth, predictions, frames), abs=1e-12)
    shuffled = [rows[rng.permutation(len(rows))] for rows in predictions]
    assert detection_scores(truth, shuffled, frames).rbdc == found.rbdc


def test_one_detection():
    right = detection_scores([truths((0, 0, BOX))], [boxes((0, BOX, 0.5))], 4)
    wrong = detection_scores([truths((0, 0, BOX))], [boxes((0, FAR, 0.5))], 4)
    assert (right.rbdc, right.tbdc) == (1, 1)
    assert (wrong.rbdc, wrong.tbdc) == (0, 0)
    assert wrong.fpr.tolist() == [0, 0.25]


def test_no_detection_and_nothing_to_find():
    assert detection_scores([truths((0, 0, BOX))], [NONE], 4).rbdc == 0
    empty = detection_scores([NONE, NONE], [NONE, boxes((0, BOX, 0.5))], 4)
    assert math.isnan(empty.rbdc) and math.isnan(empty.tbdc)


def test_an_empty_video_adds_only_its_false_boxes():
    seen = detection_scores([truths((0, 0, BOX)), NONE], [boxes((0, BOX, 0.5)), boxes((0, BOX, 0.9))], 2)
    assert seen.rbdc == 0.5  # (0, 0), (0.5, 0), (0.5, 1), (1, 1)
    assert seen.fpr.tolist() == [0, 0.5, 0.5]


def test_equal_scores_enter_at_once():
    truth = [truths((0, 0, BOX))]
    tie = [boxes((0, BOX, 0.5), (0, FAR, 0.5))]
    first = [boxes((0, BOX, 0.6), (0, FAR, 0.5))]
    last = [boxes((0, BOX, 0.4), (0, FAR, 0.5))]
    assert [detection_scores(truth, each, 2).rbdc for each in (first, tie, last)] == [1.0, 0.75, 0.5]


def test_one_box_finds_all_regions_that_it_overlaps_and_what_is_found_counts_once():
    beside = (20, 10, 29, 19)
    truth = [truths((0, 0, BOX), (1, 0, beside))]
    both = detection_scores(truth, [boxes((0, (10, 10, 29, 19), 0.9), (0, BOX, 0.8), (0, BOX, 0.7))], 1)
    assert both.rbdr.tolist() == [0, 1, 1, 1] and both.fpr.tolist() == [0, 0, 0, 0]
    assert detection_scores(truth, [boxes((1, BOX, 0.9))], 2).rbdc == 0  # another frame


def test_overlap_counts_inclusive_pixels():
    # Of 10 x 10 and 10 x 10 pixels, 2 columns shared: 20 / 180 = 0.111; one column: 10 / 190 = 0.053.
    truth = [truths((0, 0, BOX))]
    assert detection_scores(truth, [boxes((0, (18, 10, 27, 19), 0.9))], 1).rbdc == 1
    assert detection_scores(truth, [boxes((0, (19, 10, 28, 19), 0.9))], 1).rbdc == 0


def test_a_track_is_found_once_a_tenth_of_it_is():
    truth = [truths(*((0, frame, BOX) for frame in range(20)))]
    one = detection_scores(truth, [boxes((0, BOX, 0.9))], 20)
    two = detection_scores(truth, [boxes((0, BOX, 0.9), (5, BOX, 0.5))], 20)
    assert (one.rbdc, one.tbdc) == pytest.approx((0.05, 0))
    assert (two.rbdc, two.tbdc) == pytest.approx((0.1, 1))
    assert two.tbdr.tolist() == [0, 0, 1]


def test_the_area_ends_at_one_false_box_per_frame():
    truth = [truths((0, 0, BOX))]
    late = boxes(*((0, FAR, 0.9) for _ in range(3)), (0, BOX, 0.5))
    assert detection_scores(truth, [late], 2).rbdc == 0


@pytest.mark.parametrize(
    ("truth", "predictions", "frames"),
    [
        ([NONE], [], 1),
        ([NONE], [NONE], 0),
        ([np.zeros((2, 5))], [NONE], 1),
        ([NONE], [np.full((1, 6), np.nan)], 1),
    ],
)
def test_detection_refuses(truth, predictions, frames):
    with pytest.raises(ConfigError):
        detection_scores(truth, predictions, frames)


def test_boxes_of_a_heat_map():
    values = np.zeros((4, 6), np.float32)
    values[1, 1:3] = 0.5
    values[1, 2] = 0.8
    values[3, 5] = 0.6
    found = heatmap_boxes(values, (0.4, 0.7), (40, 60))
    np.testing.assert_allclose(found, [(10, 10, 29, 19, 0.8), (20, 10, 29, 19, 0.8), (50, 30, 59, 39, 0.6)], rtol=1e-6)
    assert len(heatmap_boxes(values, (0.55, 0.56), (40, 60))) == 2  # levels that bound alike
    assert heatmap_boxes(values, (0.9,), (40, 60)).shape == (0, 5)
    with pytest.raises(ConfigError, match="must be"):
        heatmap_boxes(values[0], (0.5,), (40, 60))


# --- frames


def test_frame_scores_by_hand():
    labels = [np.array([0, 0, 1, 1]), np.array([0, 0])]
    scores = [np.array([0.1, 0.6, 0.5, 0.9]), np.array([0.2, 0.7])]
    found = frame_scores(labels, scores)
    assert found.micro == pytest.approx(6 / 8)
    # padded: 3 abnormal against 3 normal frames, all right but 0.5 against 0.6; and 1 against 3, all right
    assert found.macro == pytest.approx((8 / 9 + 1) / 2)


def test_frame_scores_of_one_kind_and_of_an_empty_video():
    found = frame_scores([np.zeros(3), np.zeros(0)], [np.array([0.5, 1.0, 0.2]), np.zeros(0)])
    assert math.isnan(found.micro)
    # padded: one abnormal frame of score 1 against 0, 0.5, 0.2 and a tie with 1; and against the padding alone
    assert found.macro == pytest.approx((3.5 / 4 + 1) / 2)


@pytest.mark.parametrize(
    ("labels", "scores"), [([], []), ([np.zeros(2)], [np.zeros(3)]), ([np.zeros(2)], [np.array([0, 1.5])])]
)
def test_frame_scores_refuse(labels, scores):
    with pytest.raises(ConfigError):
        frame_scores(labels, scores)


# --- pixels


def slow_aupro(truth, maps, limit):
    """MVTec's definition: at every threshold, the mean overlap over regions and the false positive rate."""
    regions = []
    for mask, values in zip(truth, maps, strict=True):
        labels = np.empty(mask.shape, int)
        ndimage.label(mask, np.ones((3, 3)), output=labels)
        regions += [values[labels == n] for n in range(1, labels.max() + 1)]
    normal = maps[~truth]
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        overlap = float(np.mean([np.mean(region >= threshold) for region in regions]))
        points.append((float(np.mean(normal >= threshold)), overlap))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            return (area + (limit - x0) * (y0 + y1) / 2) / limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_aupro_is_as_the_slow_one(seed, limit):
    rng = np.random.default_rng(seed)
    truth = ndimage.gaussian_filter(rng.normal(size=(4, 20, 24)), (0, 1.5, 1.5)) > 0.2
    truth[0] = False
    maps = np.round(truth * 0.4 + rng.random(truth.shape), 1).astype(np.float32)  # many ties
    assert pixel_scores(truth, maps, limit).aupro == pytest.approx(slow_aupro(truth, maps, limit), abs=1e-6)


def test_pixel_scores_by_hand():
    # A region of 1 pixel that is hot and one of 3 that is cold: mean overlap 0.5 until all normal pixels are in.
    truth = np.zeros((1, 4, 6), bool)
    truth[0, 0, 0] = truth[0, 2, 3:6] = True
    maps = np.zeros((1, 4, 6), np.float32)
    maps[0, 0, 0] = 1.0
    maps[0, 2, 3:6] = -1.0
    found = pixel_scores(truth, maps)
    assert found.aupro == pytest.approx(0.5)
    assert found.auroc == pytest.approx(0.25)
    perfect = pixel_scores(truth, truth.astype(np.float32))
    assert (perfect.auroc, perfect.aupro) == pytest.approx((1, 1))


def test_pixel_scores_of_one_kind():
    found = pixel_scores(np.zeros((2, 3, 3), bool), np.zeros((2, 3, 3)))
    assert math.isnan(found.auroc) and math.isnan(found.aupro)


@pytest.mark.parametrize(
    ("maps", "limit"), [(np.zeros((1, 3, 4)), 0.3), (np.full((1, 3, 3), np.nan), 0.3), (np.zeros((1, 3, 3)), 0.0)]
)
def test_pixel_scores_refuse(maps, limit):
    with pytest.raises(ConfigError):
        pixel_scores(np.eye(3, dtype=bool)[None], maps, limit)
