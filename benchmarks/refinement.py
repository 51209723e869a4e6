"""Heat maps finer than the patch grid: what each way to refine one gains, and what it costs beside the vision tower.

The checkpoint watches clips of the synthetic world's split familiar, half of them with an anomaly. Every pair of frames gives
one map; the truth is what is abnormal in either of its frames. For RBDC and TBDC, boxes are the components of the map at one
low level; beside them stand the boxes that events are made of. Every map is brought to the frame's size (bilinear) for the
pixel figures, so that output sizes can be compared. Timings run in turn with the tower's, in one process on one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from tvau_runtime.backends import open_backend
from tvau_runtime.backends.base import Backend, ModelSpec
from tvau_runtime.config import EngineConfig, EventConfig
from tvau_runtime.errors import ConfigError, TvauError
from tvau_runtime.frames import pack_pair, resize
from tvau_runtime.refinement import upsample
from tvau_runtime.regions import UPSAMPLING, find_regions
from tvau_runtime.stream import heatmap_of
from tvau_training.drawn import drawn_clips
from tvau_training.metrics import detection_scores, heatmap_boxes, pixel_scores
from tvau_training.world import Clip

EXAMPLES = """\
examples:
  python benchmarks/refinement.py --seed 5000 --json out/refinement.json
  python benchmarks/refinement.py --tune --seed 0 --sizes 140x252      their parameters, one by one
"""
LEVELS = (0.05,)
"""More and higher ones only add false boxes: RBDC is a matter of recall."""
SCORED_EVERY = 3
"""Every 3rd row and column counts for the pixel figures."""
SHIFTS = ((0, 0), (1, 1), (1, 0), (0, 1))
"""(down, right) in half patches: one, two or all four are encoded."""

Refinement = Callable[["Pair", tuple[int, int]], np.ndarray]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two frames, what the model made of them, and the truth.

    frame: uint8 [H, W, 3], the later one. pixels: float32 [4, P, patch_dim], the pair shifted as in SHIFTS.
    maps: float32 [4, gh, gw], 0..1. mask, regions: what is abnormal in either frame, bool [H, W], and float64 [n, 6] as
    `detection_scores` wants it.
    """

    clip: int
    step: int
    frame: np.ndarray
    pixels: np.ndarray
    maps: np.ndarray
    mask: np.ndarray
    regions: np.ndarray


def bilinear(pair: Pair, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(pair.maps[0], size[::-1], interpolation=cv2.INTER_LINEAR)


def log_odds(pair: Pair, size: tuple[int, int]) -> np.ndarray:
    """What the overlay does."""
    return upsample(pair.maps[0], size)


def guided(
    pair: Pair, size: tuple[int, int], radius: float = 0.5, eps: float = 1e-2, of: Refinement = bilinear
) -> np.ndarray:
    """Guided filter over an up-sampled map: locally a linear function of the frame's grey. radius: in patches."""
    guide = _grey(pair.frame, size)
    slope, offset = _linear_model(guide, of(pair, size), _pixels(radius, pair, size), eps)
    return np.clip(slope * guide + offset, 0, 1)


def fast_guided(pair: Pair, size: tuple[int, int], radius: float = 0.5, eps: float = 1e-2) -> np.ndarray:
    """As `guided` over log-odds, with the linear functions found on 4 x 4 cells a patch."""
    coarse = (4 * pair.maps.shape[1], 4 * pair.maps.shape[2])
    guide = _grey(pair.frame, size)
    small = cv2.resize(guide, coarse[::-1], interpolation=cv2.INTER_AREA)
    model = _linear_model(small, log_odds(pair, coarse), _pixels(radius, pair, coarse), eps)
    slope, offset = (cv2.resize(each, size[::-1], interpolation=cv2.INTER_LINEAR) for each in model)
    return np.clip(slope * guide + offset, 0, 1)


def joint_bilateral(pair: Pair, size: tuple[int, int], spread: float = 0.5, tolerance: float = 0.4) -> np.ndarray:
    """Joint bilateral up-sampling: the 3 x 3 patches around count by distance (spread, in patches) and by how far their
    mean colour is from the pixel's (tolerance, 0..1).
    """
    values, rows, columns = pair.maps[0], *pair.maps[0].shape
    fine = cv2.resize(pair.frame, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    coarse = cv2.resize(pair.frame, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    y, x = ((np.arange(n, dtype=np.float32) + 0.5) * m / n - 0.5 for n, m in zip(size, values.shape, strict=True))
    total, weights = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for down in (-1, 0, 1):
        row = np.clip(np.round(y) + down, 0, rows - 1).astype(int)
        for right in (-1, 0, 1):
            column = np.clip(np.round(x) + right, 0, columns - 1).astype(int)
            distance = (y - row)[:, None] ** 2 + (x - column) ** 2
            difference = ((fine - coarse[row][:, column]) ** 2).sum(axis=2)
            weight = np.exp(-distance / (2 * spread**2)) * (np.exp(-difference / (2 * tolerance**2)) + 1e-6)
            total += weight * values[row][:, column]
            weights += weight
    return total / weights


def shifted(pair: Pair, size: tuple[int, int], passes: int = 4) -> np.ndarray:
    """Mean of the log-odds of overlapping crops, each half a patch off, in between bilinear."""
    (rows, columns), total = pair.maps[0].shape, np.zeros(size, np.float32)
    scale_y, scale_x = rows / size[0], columns / size[1]
    for (down, right), values in zip(SHIFTS[:passes], np.clip(pair.maps, 1e-6, 1 - 1e-6), strict=False):
        offset_x, offset_y = (scale_x - 1 - right) / 2, (scale_y - 1 - down) / 2  # output pixel to patch
        place = np.array([[scale_x, 0, offset_x], [0, scale_y, offset_y]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        odds = np.log(values / (1 - values))
        total += cv2.warpAffine(odds, place, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return 1 / (1 + np.exp(-total / passes))


METHODS: dict[str, tuple[Refinement, int]] = {
    "bilinear": (bilinear, 1),
    "log-odds": (log_odds, 1),
    "guided": (guided, 1),
    "guided, log-odds": (partial(guided, radius=0.3, eps=1e-3, of=log_odds), 1),
    "fast guided, log-odds": (partial(fast_guided, radius=0.3, eps=1e-3), 1),
    "joint bilateral": (joint_bilateral, 1),
    "2 shifted crops, log-odds": (partial(shifted, passes=2), 2),
    "4 shifted crops, log-odds": (shifted, 4),
}
"""How to refine, and how many passes of the vision tower it needs."""
GRID: dict[str, tuple[Refinement, int]] = {
    **{
        f"guided r={r:g} eps={eps:g} {of.__name__}": (partial(guided, radius=r, eps=eps, of=of), 1)
        for of in (bilinear, log_odds)
        for r in (0.3, 0.5, 1.0)
        for eps in (1e-3, 1e-2)
    },
    **{
        f"joint bilateral s={s:g} t={t:g}": (partial(joint_bilateral, spread=s, tolerance=t), 1)
        for s in (0.5, 0.7)
        for t in (0.1, 0.2, 0.4)
    },
}


def watch(engine: Backend, clips: int, seed: int) -> list[Pair]:
    """Every pair of all clips, encoded."""
    spec, found = engine.spec, []
    for number, clip in enumerate(drawn_clips(spec, clips, "familiar", seed)):
        masks = clip.anomaly_masks
        for step in range(len(masks) // 2):
            pixels = _packed(clip.frames[2 * step], clip.frames[2 * step + 1], spec)
            pair = Pair(
                clip=number,
                step=step,
                frame=clip.frames[2 * step + 1],
                pixels=pixels,
                maps=np.stack([heatmap_of(each).values for each in engine.encode(pixels)[1]]),
                mask=masks[2 * step] | masks[2 * step + 1],
                regions=_regions(clip, step),
            )
            found.append(pair)
    return found


def measure(
    pairs: list[Pair], methods: dict[str, tuple[Refinement, int]], sizes: Sequence[tuple[int, int]]
) -> list[dict]:
    """The figures of all methods at all sizes, 0..1."""
    rows, frame = [], pairs[0].mask.shape
    masks = np.stack([pair.mask[::SCORED_EVERY, ::SCORED_EVERY] for pair in pairs])
    work = [(size, name) for size in sizes for name in methods]
    for size, name in tqdm(work, desc="methods", unit="method", dynamic_ncols=True):
        maps = [methods[name][0](pair, size) for pair in pairs]
        full = np.stack([cv2.resize(each, frame[::-1])[::SCORED_EVERY, ::SCORED_EVERY] for each in maps])
        pixels = pixel_scores(masks, full)
        row = {"size": list(size), "method": name, "aupro": pixels.aupro, "auroc": pixels.auroc}
        rows.append(row | _found(pairs, [heatmap_boxes(each, LEVELS, frame) for each in maps]))
    return rows


def measure_boxes(pairs: list[Pair], threshold: float) -> dict[str, dict]:
    """The figures of boxes at an event's threshold: bounded by it, and as events have them."""
    bounded, regions = [], []
    for pair in pairs:
        rows, columns = pair.maps[0].shape
        fine = bilinear(pair, (rows * UPSAMPLING, columns * UPSAMPLING))
        bounded.append(heatmap_boxes(fine, (threshold,), pair.mask.shape))
        found = find_regions(pair.maps[0], pair.mask.shape, threshold)
        boxes = [(*r.box[:2], r.box[2] - 1, r.box[3] - 1, r.score) for r in found]  # maxima inclusive
        regions.append(np.array(boxes, np.float64).reshape(-1, 5))
    return {"at the threshold": _found(pairs, bounded), "at half of it (events)": _found(pairs, regions)}


def _found(pairs: list[Pair], boxes: list[np.ndarray]) -> dict:
    """What boxes float64 [n, 5] of every pair find."""
    truth, said = [], []
    for clip in range(pairs[-1].clip + 1):
        mine = [n for n, pair in enumerate(pairs) if pair.clip == clip]
        truth.append(np.concatenate([pairs[n].regions for n in mine]))
        said.append(np.concatenate([np.insert(boxes[n], 0, pairs[n].step, axis=1) for n in mine]))
    found = detection_scores(truth, said, len(pairs))
    return {"rbdc": found.rbdc, "tbdc": found.tbdc, "recall": found.rbdr[-1], "false_per_frame": found.fpr[-1]}


def add_costs(
    rows: list[dict], engine: Backend, pairs: list[Pair], methods: dict[str, tuple[Refinement, int]], repeats: int
) -> None:
    """Adds to each row the median milliseconds of its extra tower passes and its filter, and their ratio to one pass."""
    passes = sorted({1, *(count for _, count in methods.values())})
    times: dict = {key: [] for key in [*passes, *((tuple(row["size"]), row["method"]) for row in rows)]}
    for number in tqdm(range(repeats), desc="timings", unit="round", dynamic_ncols=True):
        pair = pairs[number % len(pairs)]
        for key, taken in times.items():
            begun = time.perf_counter()
            if isinstance(key, int):
                engine.encode(pair.pixels[:key])
            else:
                methods[key[1]][0](pair, key[0])
            taken.append((time.perf_counter() - begun) * 1e3)
    medians = {key: statistics.median(taken) for key, taken in times.items()}
    for row in rows:
        extra = medians[methods[row["method"]][1]] - medians[1]
        row["ms"] = extra + medians[tuple(row["size"]), row["method"]]
        row["tower_ms"], row["ratio"] = medians[1], row["ms"] / medians[1]


def _packed(first: np.ndarray, second: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """The pair under every shift, float32 [4, P, patch_dim]; what a shift leaves free repeats the edge."""
    half, (height, width) = spec.patch_size // 2, spec.image_size
    padded = [np.pad(resize(image, spec), ((0, 0), (0, half), (0, half)), mode="edge") for image in (first, second)]
    crops = [(slice(d * half, d * half + height), slice(r * half, r * half + width)) for d, r in SHIFTS]
    return np.stack([pack_pair(padded[0][:, y, x], padded[1][:, y, x], spec) for y, x in crops])


def _regions(clip: Clip, step: int) -> np.ndarray:
    """The bounds of every abnormal actor over a pair, as lines of the protocol with its number as track."""
    found = []
    for track, actor in enumerate(clip.actors):
        seen = [actor.boxes[t] for t in (2 * step, 2 * step + 1) if actor.abnormal_frames[t] and actor.areas[t]]
        if seen:
            low, high = np.min(seen, axis=0)[:2], np.max(seen, axis=0)[2:]
            found.append((track, step, *low, *(high - 1)))
    return np.array(found, np.float64).reshape(-1, 6)


def _grey(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float32 [h, w], 0..1."""
    shrunk = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size[::-1], interpolation=cv2.INTER_AREA)
    return shrunk.astype(np.float32) / 255


def _pixels(patches: float, pair: Pair, size: tuple[int, int]) -> int:
    return max(1, round(patches * size[0] / pair.maps.shape[1]))


def _linear_model(guide: np.ndarray, values: np.ndarray, radius: int, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset that make `values` of `guide`, fitted in every window and averaged over the windows of a pixel."""

    def mean(of: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(of, -1, (2 * radius + 1, 2 * radius + 1))

    guide_mean, values_mean = mean(guide), mean(values)
    covariance = mean(guide * values) - guide_mean * values_mean
    variance = np.maximum(mean(guide * guide) - guide_mean**2, 0)
    slope = covariance / (variance + eps)
    return mean(slope), mean(values_mean - slope * guide_mean)


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(part) for part in text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be HEIGHTxWIDTH, as 140x252, got {text!r}") from None
    if min(height, width) < 8:
        raise argparse.ArgumentTypeError(f"must be at least 8x8, got {text}")
    return height, width


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tvau-tiny", help="checkpoint: embedded name or directory")
    parser.add_argument("--clips", type=int, default=80, help="how many clips (default: 80)")
    parser.add_argument("--seed", type=int, default=5000, help="first clip's seed (default: 5000)")
    parser.add_argument(
        "--sizes",
        type=_size,
        nargs="+",
        default=[(70, 126), (140, 252), (252, 448)],
        metavar="HxW",
        help="output sizes (default: 70x126 140x252 252x448)",
    )
    parser.add_argument("--tune", action="store_true", help="a grid of parameters instead of the chosen ones")
    parser.add_argument("--repeats", type=int, default=40, help="timings per figure; the median counts (default: 40)")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    methods, threshold = GRID if options.tune else METHODS, EventConfig().off_threshold
    cv2.setNumThreads(1)
    try:
        for name, least in (("clips", 2), ("repeats", 1)):
            if getattr(options, name) < least:
                raise ConfigError(f"--{name} must be at least {least}, got {getattr(options, name)}")
        engine = open_backend(EngineConfig(model=options.model, threads=1))
        pairs = watch(engine, options.clips, options.seed)
        rows, boxes = measure(pairs, methods, options.sizes), measure_boxes(pairs, threshold)
        add_costs(rows, engine, pairs, methods, options.repeats)
    except TvauError as error:
        print(f"refinement: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    print(f"{engine.spec.name} on {engine.device}: {options.clips} clips from seed {options.seed}, {len(pairs)} pairs")
    print(f"{'size':<8} {'method':<32} {'AUPRO':>6} {'AUROC':>6} {'RBDC':>6} {'TBDC':>6} {'ms':>7} {'ratio':>6}")
    for row in rows:
        figures = " ".join(f"{row[name]:>6.3f}" for name in ("aupro", "auroc", "rbdc", "tbdc"))
        size = "{}x{}".format(*row["size"])
        print(f"{size:<8} {row['method']:<32} {figures} {row['ms']:>7.2f} {row['ratio']:>6.3f}")
    print(f"boxes of regions that peak at {threshold:g} or more")
    print(f"{'bounded':<41} {'RBDC':>6} {'TBDC':>6} {'recall':>6} {'false a frame':>13}")
    for name, row in boxes.items():
        print(
            f"{name:<41} {row['rbdc']:>6.3f} {row['tbdc']:>6.3f} {row['recall']:>6.3f} {row['false_per_frame']:>13.3f}"
        )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        facts = {"model": engine.spec.name, "device": engine.device, "clips": options.clips, "seed": options.seed}
        options.json.write_text(json.dumps({**facts, "rows": rows, "boxes": boxes}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
