"""A pipeline's figures on the clips of a data set: micro and macro AUC, RBDC and TBDC, BLEU-4 and yes or no, and the text files
they rest on.

Per clip, once it is watched, OUT holds, in the field's formats, for its own evaluators too:

    scores/CLIP.txt        frame_id,nearest,latest
    detections/CLIP.txt    frame_id,x_min,y_min,x_max,y_max,score
    tracks/CLIP.txt        track_id,frame_id,x_min,y_min,x_max,y_max
    dialogues/CLIP.jsonl   a line for each dialogue about it, if any: what was asked, the true answers, and those that came

Frames count from 0, boxes are in pixels with inclusive maxima. All figures are read off these files, so that a run that was
stopped goes on with the next clip; what is true is read anew each time, and a clip whose video is another than it was is watched
anew (`watched.json`). Knows no layout of data sets.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import correlate1d, gaussian_filter1d
from tqdm import tqdm

from tvau_runtime.chat import QUESTION_ANOMALY, QUESTION_TARGET, QUESTION_TRAJECTORY
from tvau_runtime.errors import ConfigError, FrameError
from tvau_runtime.pipeline import Pipeline
from tvau_runtime.types import Step

from .data import Clip
from .data.files import read_rows
from .data.folder import read_regions
from .data.writers import staged
from .language import Heard, language_figures, truths
from .metrics import detection_scores, frame_scores, heatmap_boxes
from .pictures import Watched, draw_pictures
from .talks import Talk

__all__ = ["LEVELS", "SMOOTHING_S", "Seen", "evaluate_clips", "score_clips"]

LEVELS = (0.1,)
"""Boxes bound what is at least so warm. One low level: of several, each box of a false alarm within another counts anew (40
clips of the world's validation split: RBDC 0.715 at 0.1, 0.625 at 0.1, 0.3, 0.5, 0.7 and 0.9 together)."""
SMOOTHING_S = 0.5
"""Standard deviation of the Gaussian over time, for the two smoothed columns; not tuned for any data set."""


_QUESTIONS = {"anomaly": QUESTION_ANOMALY, "target": QUESTION_TARGET, "trajectory": QUESTION_TRAJECTORY}


@dataclass(frozen=True)
class Seen:
    """What a detector makes of a clip. scores: rows `frame_id, nearest, latest`; detections: rows `frame_id, x_min, y_min, x_max,
    y_max, score`, as in the text files. heard: the dialogues about it, and for one that could not be held, why.
    """

    scores: Sequence[Sequence[float]]
    detections: Sequence[Sequence[float]] = ()
    heard: Sequence[Heard | str] = ()


def evaluate_clips(
    pipeline: Pipeline,
    clips: Sequence[Clip],
    out: Path,
    facts: dict[str, Any],
    tracks: Path | None = None,
    talks: Sequence[Talk] = (),
) -> dict[str, Any]:
    """`score_clips` of a pipeline, and pictures of what it made of them.

    talks: dialogues about these clips, which are held anew, once where several differ in their wording alone; what of them is
    narration is not asked.
    """
    about: dict[str, dict[str, Talk]] = defaultdict(dict)
    for talk in talks:
        true = truths(talk)
        if not talk.narrates and "anomaly" in true:  # once, in however many phrasings it stands there
            about[talk.clip].setdefault(json.dumps([talk.frames, talk.anomalous, true], sort_keys=True), talk)
    figures, watched = score_clips(
        lambda clip: _watch(pipeline, clip, list(about[clip.name].values())), clips, out, facts, tracks
    )
    draw_pictures(out, watched)
    return figures


def score_clips(
    detector: Callable[[Clip], Seen],
    clips: Sequence[Clip],
    out: Path,
    facts: dict[str, Any],
    tracks: Path | None = None,
) -> tuple[dict[str, Any], list[Watched]]:
    """Watches what was not yet watched, and writes and returns `OUT/metrics.json`: figures 0..1, None where there is nothing to
    tell apart; and what they rest on.

    facts: of the run, kept with the figures; OUT must not hold a run with others. tracks: a folder of published text files of
    regions that take the place of those made from the masks. A clip that cannot be read is left out and named. Raises
    `ConfigError`.
    """
    _settle(out, facts)
    videos = _read_json(out / "watched.json")
    watched: list[Watched] = []
    heard: list[Heard] = []
    left_out: list[str] = []
    for clip in tqdm(clips, desc="clips", unit="clip", dynamic_ncols=True):
        if clip.truth is None:
            left_out.append(f"{clip.name}: no labels")
            continue
        try:
            video = _state(clip.source.path)
            if videos.get(clip.name, video) != video or not (out / "scores" / f"{clip.name}.txt").is_file():
                _keep(detector(clip), clip, out)
                videos[clip.name] = video
                with staged(out / "watched.json") as draft:
                    draft.write_text(json.dumps(videos) + "\n", encoding="utf-8")
            watched.append(_gather(clip, out, tracks, left_out))
        except FrameError as error:
            left_out.append(f"{clip.name}: {error}")
            continue
        heard += _heard(clip, out, left_out)
    if not watched:
        raise ConfigError("; ".join(["there is nothing to evaluate", *left_out[:3]]))
    figures = {**facts, **_figures(watched), **language_figures(heard), "asked": len(heard), "left_out": left_out}
    with staged(out / "metrics.json") as draft:
        draft.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures, watched


def _settle(out: Path, facts: dict[str, Any]) -> None:
    path = out / "settings.json"
    known = _read_json(path)
    if known and known != facts:
        raise ConfigError(f"{path} says {known}, not {facts}; give another --out")
    with staged(path) as draft:
        draft.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ConfigError(f"{path} is damaged ({error}); give another --out") from error


def _state(path: Path) -> list[int] | None:
    """What changes where a video is replaced: its size in bytes and when it was written; a folder's, where images come or go."""
    if not path.exists():
        return None
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _watch(pipeline: Pipeline, clip: Clip, talks: Sequence[Talk]) -> Seen:
    """Runs the clip through the pipeline, as a camera's frames would, and asks about it."""
    steps: list[Step] = []
    seen: list[tuple[int, int]] = []
    camera = "clip"  # one for all: what a camera leaves behind would add up
    for each in clip.read(masks=False):
        seen.append((each.index, each.frame.stamp_ns))
        updates = pipeline.push(replace(each.frame, camera=camera))
        steps += [update.step for update in updates if update.step is not None]
    peaks = np.array([step.heatmap.score for step in steps])
    begin, end = (np.array([step.stamps_ns[i] for step in steps]) for i in (0, 1))
    boxes = [heatmap_boxes(step.heatmap.values, LEVELS, clip.size) for step in steps]
    scores, detections = [], []
    for index, stamp in seen:
        pair = int(np.argmin(np.maximum(begin - stamp, 0) + np.maximum(stamp - end, 0))) if steps else -1
        past = int(np.searchsorted(end, stamp, "right")) - 1
        nearest, latest = (float(peaks[i]) if i >= 0 else 0.0 for i in (pair, past))
        scores.append((index, nearest, latest))
        if pair >= 0:
            detections += [(index, *box) for box in boxes[pair]]
    heard = [_ask(pipeline, talk, dict(seen), steps) for talk in talks]
    pipeline.reset(camera)
    return Seen(scores, detections, heard)


def _ask(pipeline: Pipeline, talk: Talk, stamps: dict[int, int], steps: Sequence[Step]) -> Heard | str:
    """A dialogue held anew about its window; targets and trajectories are asked for where there are any."""
    frames = [stamps[index] for index in talk.frames or stamps if index in stamps]
    within = [step for step in steps if frames and frames[0] <= step.stamps_ns[0] and step.stamps_ns[1] <= frames[-1]]
    if len(within) < 2:
        return f"{talk.clip}: a dialogue about fewer than two frame pairs"
    window, true = pipeline.stretch(within, "clip"), truths(talk)
    first = pipeline.ask(_QUESTIONS["anomaly"], window=window)
    answers = {"anomaly": first.text}
    for name in ("target", "trajectory"):
        if talk.anomalous and name in true:
            answers[name] = pipeline.ask(_QUESTIONS[name], session=first.session).text
    return Heard(talk.clip, talk.anomalous, first.evidence.anomaly, true, answers)


def _keep(seen: Seen, clip: Clip, out: Path) -> None:
    """Writes a clip's files."""
    _save(out / "detections" / f"{clip.name}.txt", seen.detections)
    said = out / "dialogues" / f"{clip.name}.jsonl"
    said.unlink(missing_ok=True)
    if seen.heard:
        with staged(said) as draft:
            lines = [json.dumps(each if isinstance(each, str) else asdict(each)) for each in seen.heard]
            draft.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    _save(out / "scores" / f"{clip.name}.txt", seen.scores)  # last: with it, the clip is done


def _heard(clip: Clip, out: Path, left_out: list[str]) -> list[Heard]:
    path = out / "dialogues" / f"{clip.name}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    values = [json.loads(line) for line in lines]
    left_out += [each for each in values if isinstance(each, str)]
    return [Heard(**each) for each in values if not isinstance(each, str)]


def _save(path: Path, rows: Sequence[Sequence[float]] | np.ndarray) -> None:
    with staged(path) as draft:
        draft.write_text("".join(",".join(f"{value:.9g}" for value in row) + "\n" for row in rows), encoding="utf-8")


def _gather(clip: Clip, out: Path, tracks: Path | None, left_out: list[str]) -> Watched:
    """Reads a clip's files, writes its regions, and notes what does not fit together."""
    scores = read_rows(out / "scores" / f"{clip.name}.txt", 3)
    frames = scores[:, 0].astype(int)
    labels = clip.labels
    scored = frames < len(labels)
    if not scored.all() or scored.sum() < len(labels):
        left_out.append(
            f"{clip.name}: {np.count_nonzero(~scored)} frames without a label, "
            f"{len(labels) - np.count_nonzero(scored)} labels without a frame"
        )
    frames = frames[scored]
    boxes = read_rows(out / "detections" / f"{clip.name}.txt", 6)
    mine = out / "tracks" / f"{clip.name}.txt"
    masked = clip.regions()
    if masked is not None:
        _save(mine, masked)
    if tracks is not None:
        mine = tracks / f"{clip.name}.txt"
        if not mine.is_file() and labels.any():
            raise ConfigError(f"{mine} is missing, and {clip.name} is abnormal")
    elif masked is None:
        mine.unlink(missing_ok=True)
        left_out.append(f"{clip.name}: no masks, not counted in RBDC and TBDC")
    regions = read_regions(mine) if mine.is_file() else np.zeros((0, 6)) if tracks is not None else None
    return Watched(
        clip,
        frames,
        labels[frames],
        scores[scored, 1],
        scores[scored, 2],
        boxes[np.isin(boxes[:, 0], frames)],
        None if regions is None else regions[np.isin(regions[:, 1], frames)],
        clip.fps,
    )


def _figures(watched: list[Watched]) -> dict[str, Any]:
    labels = [each.labels for each in watched]
    plain = frame_scores(labels, [each.nearest for each in watched])
    causal = frame_scores(labels, [_causal(each.latest, each.fps) for each in watched])
    smoothed = frame_scores(labels, [_smoothed(each.nearest, each.fps) for each in watched])
    shown = [(each, each.regions) for each in watched if each.regions is not None]
    frames = sum(len(each.frames) for each, _ in shown)
    boxes = (
        detection_scores([regions for _, regions in shown], [each.boxes for each, _ in shown], frames)
        if frames
        else None
    )
    return {
        "clips": len(watched),
        "abnormal_clips": sum(bool(each.any()) for each in labels),
        "frames": sum(map(len, labels)),
        "abnormal_frames": int(sum(each.sum() for each in labels)),
        "regions": sum(len(regions) for _, regions in shown),
        "micro_auc": _known(plain.micro),
        "macro_auc": _known(plain.macro),
        "rbdc": _known(boxes.rbdc) if boxes else None,
        "tbdc": _known(boxes.tbdc) if boxes else None,
        "causal_micro_auc": _known(causal.micro),
        "causal_macro_auc": _known(causal.macro),
        "smoothed_micro_auc": _known(smoothed.micro),
        "smoothed_macro_auc": _known(smoothed.macro),
        "smoothing_s": SMOOTHING_S,
        "levels": list(LEVELS),
    }


def _causal(scores: np.ndarray, fps: float) -> np.ndarray:
    """Smoothed by half a Gaussian that looks back alone."""
    sigma = SMOOTHING_S * fps
    past = np.arange(4 * math.ceil(sigma) + 1)[::-1]
    weights = np.exp(-0.5 * (past / sigma) ** 2)
    kernel = np.concatenate([weights, np.zeros(len(past) - 1)])
    return np.clip(correlate1d(scores, kernel / kernel.sum(), mode="nearest"), 0, 1) if len(scores) else scores


def _smoothed(scores: np.ndarray, fps: float) -> np.ndarray:
    """As most papers do: a Gaussian over time that looks ahead, then each video stretched to 0..1."""
    if not len(scores):
        return scores
    smooth = gaussian_filter1d(scores, SMOOTHING_S * fps, mode="nearest")
    reach = smooth.max() - smooth.min()
    return (smooth - smooth.min()) / reach if reach > 0 else np.zeros_like(smooth)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
