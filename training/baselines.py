"""What is to be beaten on a data set: detectors that know no words, and answers that know no video.

mog2          what moves before a background of Gaussian mixtures (OpenCV's MOG2): boxes around its parts, scored by their area
autoencoder   how far a frame is from what a small network, trained on normal clips, predicts from the three before it
constant      the most frequent answers of the training split, and heat nowhere
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from tvau_runtime.errors import ConfigError

from .data import Clip, DataSet
from .evaluation import Seen, score_clips
from .language import Heard, constant_answers, truths
from .metrics import heatmap_boxes
from .talks import Talk, digest

__all__ = ["Autoencoder", "Constant", "measure_baselines", "mog2"]

WIDTH = 320
"""Pixels that a frame is shrunk to before its foreground is looked for."""
LEAST_AREA = 0.0005
"""Smaller parts of the foreground, as a share of the image, are noise."""
SIZE = (72, 128)
"""(height, width) of the autoencoder's frames, in pixels."""
BEFORE = 3
"""It sees so many frames, at the model's rate, and predicts the next."""
STEPS, BATCH, RATE = 400, 16, 1e-3
"""Of its training: about a minute on one core."""
MOST_CLIPS = 60
"""So many normal clips of the train split, evenly over it, are kept in memory for that."""


def measure_baselines(
    data: DataSet, clips: Sequence[Clip], talks: Sequence[Talk], out: Path, rate_hz: float, tracks: Path | None = None
) -> dict[str, dict[str, Any]]:
    """The figures of all baselines that the data set has training clips for, by name; resumable in OUT as any evaluation.

    talks: all its dialogues. rate_hz: that of the model beside them.
    """
    train = {clip.name: clip for clip in data.clips if clip.split == "train"}
    detectors: dict[str, Any] = {"mog2": mog2}
    normal = [clip for clip in train.values() if len(clip.labels) and not clip.abnormal]
    if normal:
        detectors["autoencoder"] = Autoencoder(normal, rate_hz)
    learned = [talk for talk in talks if talk.clip in train and not talk.narrates]
    if learned:
        detectors["constant"] = Constant(learned, talks)
    found = {}
    for name, detector in detectors.items():
        facts = {"baseline": name, "data": data.name, "rate_hz": rate_hz, "dialogues_id": digest(talks)}
        found[name], _ = score_clips(detector, clips, out / name, facts, tracks)
    return found


def mog2(clip: Clip) -> Seen:
    """A frame's score is the largest area of a moving part, as a share of the image."""
    height, width = clip.size
    size = (WIDTH, max(1, round(WIDTH * height / width)))
    scale = np.array([width / size[0], height / size[1]] * 2)
    model = cv2.createBackgroundSubtractorMOG2(detectShadows=False)
    scores, boxes = [], []
    for seen in clip.read(masks=False):
        moving = model.apply(cv2.resize(seen.frame.rgb, size, interpolation=cv2.INTER_AREA))
        if not scores:
            moving[:] = 0  # before the first frame there is no background
        moving = cv2.morphologyEx(moving, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(moving, connectivity=8)
        parts = [(x, y, w, h, area / moving.size) for x, y, w, h, area in stats[1:] if area >= LEAST_AREA * moving.size]
        for x, y, w, h, share in parts:
            x0, y0, x1, y1 = np.array([x, y, x + w, y + h]) * scale
            boxes.append((seen.index, x0, y0, x1 - 1, y1 - 1, share))
        score = max((part[4] for part in parts), default=0.0)
        scores.append((seen.index, score, score))
    return Seen(scores, boxes)


class Constant:
    """Says what is most often true in the training split's dialogues, `learned`; `talks` are those it is asked."""

    def __init__(self, learned: Sequence[Talk], talks: Sequence[Talk]) -> None:
        self.answers = constant_answers(learned)
        self.talks = [talk for talk in talks if not talk.narrates and "anomaly" in truths(talk)]

    def __call__(self, clip: Clip) -> Seen:
        yes = self.answers.get("anomaly", "").lower().startswith("yes")
        heard = [
            Heard(talk.clip, talk.anomalous, yes, truths(talk), self.answers)
            for talk in self.talks
            if talk.clip == clip.name
        ]
        return Seen([(seen.index, 0.0, 0.0) for seen in clip.read(masks=False)], (), heard)


class Autoencoder:
    """Trained when the first clip is watched. Errors e count as e / (e + q), where q is the 99.9th percentile of those on the
    training clips: so they lie in 0..1, and boxes bound what is at least 0.5."""

    def __init__(self, normal: Sequence[Clip], rate_hz: float) -> None:
        self.normal, self.rate_hz = normal, rate_hz
        self.usual = 1.0
        self.net: nn.Module | None = None

    def __call__(self, clip: Clip) -> Seen:
        numbers, times, frames = self._read(clip)
        net = self.net or self._train()
        scores: list[float] = []
        boxes: list[np.ndarray] = []
        for start in range(len(frames) - BEFORE):
            window = torch.from_numpy(frames[start : start + BEFORE + 1])[None]
            error = self._error(net, window)[0].numpy()
            values = error / (error + self.usual)
            scores.append(float(values.max()))
            boxes.append(heatmap_boxes(values, (0.5,), clip.size))
        rows, detections = [], []
        judged = times[BEFORE:]
        for number in numbers:
            if not scores:
                rows.append((number, 0.0, 0.0))
                continue
            near = int(np.abs(judged - number).argmin())
            past = int(np.searchsorted(judged, number, "right")) - 1
            rows.append((number, scores[near], scores[past] if past >= 0 else 0.0))
            detections += [(number, *box) for box in boxes[near]]
        return Seen(rows, detections)

    def _read(self, clip: Clip) -> tuple[list[int], np.ndarray, np.ndarray]:
        """Numbers of all frames, and numbers [n] and small pictures uint8 [n, 3, h, w] of those at the model's rate."""
        step = max(1.0, clip.fps / self.rate_hz)
        numbers, times, frames = [], [], []
        for seen in clip.read(masks=False):
            numbers.append(seen.index)
            if seen.index >= round(len(times) * step):
                small = cv2.resize(seen.frame.rgb, SIZE[::-1], interpolation=cv2.INTER_AREA)
                times.append(seen.index)
                frames.append(small.transpose(2, 0, 1))
        return numbers, np.array(times, int), np.stack(frames) if frames else np.zeros((0, 3, *SIZE), np.uint8)

    def _train(self) -> nn.Module:
        few = [self.normal[i] for i in np.unique(np.linspace(0, len(self.normal) - 1, MOST_CLIPS).astype(int))]
        videos = [frames for clip in few if len(frames := self._read(clip)[2]) > BEFORE]
        if not videos:
            raise ConfigError(
                f"--baselines: no normal clip of the train split holds {BEFORE + 1} frames at the model's rate"
            )
        rng = np.random.default_rng(0)

        def drawn(count: int) -> Tensor:
            chosen = [videos[rng.integers(len(videos))] for _ in range(count)]
            starts = [rng.integers(len(video) - BEFORE) for video in chosen]
            windows = [video[start : start + BEFORE + 1] for video, start in zip(chosen, starts, strict=True)]
            return torch.from_numpy(np.stack(windows))

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = _network()
        optimizer = torch.optim.Adam(net.parameters(), RATE)
        for _ in tqdm(range(STEPS), desc="autoencoder", unit="step", dynamic_ncols=True):
            before, after = _parts(drawn(BATCH))
            loss = F.mse_loss(_predict(net, before), after)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        errors = torch.cat([self._error(net, drawn(BATCH)) for _ in range(4)])
        self.usual = max(float(np.quantile(errors.numpy(), 0.999)), 1e-6)
        self.net = net
        return net

    @torch.no_grad()
    def _error(self, net: nn.Module, windows: Tensor) -> Tensor:
        """Mean absolute error around each pixel: windows uint8 [n, BEFORE + 1, 3, h, w] to [n, h, w]."""
        before, after = _parts(windows)
        error = (_predict(net, before) - after).abs().mean(dim=1, keepdim=True)
        return F.avg_pool2d(error, 5, stride=1, padding=2)[:, 0]


def _parts(windows: Tensor) -> tuple[Tensor, Tensor]:
    """The frames that are seen and the one to come, float32 [n, BEFORE, 3, h, w] and [n, 3, h, w], -1..1."""
    values = windows.float() / 127.5 - 1
    return values[:, :-1], values[:, -1]


def _predict(net: nn.Module, before: Tensor) -> Tensor:
    """The last frame, and what the network says will change: where nothing moves, places that it never saw are no surprise."""
    return before[:, -1] + net(before.flatten(1, 2))


def _network() -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner, outer in ((3 * BEFORE, 32), (32, 48), (48, 64)):
        layers += [nn.Conv2d(inner, outer, 3, stride=2, padding=1), nn.ReLU()]
    for inner, outer in ((64, 48), (48, 32)):
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(inner, outer, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Upsample(scale_factor=2), nn.Conv2d(32, 3, 3, padding=1))
