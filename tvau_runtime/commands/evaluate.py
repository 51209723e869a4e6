"""`tvau evaluate`: the field's figures for any detector that writes the community's text files."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import BackendError, ConfigError

__all__ = ["add", "run"]

DESCRIPTION = """\
Scores a detector by the text files that it writes, one per video, against the ground truth, and writes metrics.json
  PRED_DIR/NAME.txt   frame_id,x_min,y_min,x_max,y_max,score
  GT_DIR/NAME.txt     track_id,frame_id,x_min,y_min,x_max,y_max     a video without this file has nothing abnormal
Frames count from 0, boxes are pixels with inclusive maxima; an empty file says that nothing was found. It gives
  RBDC, TBDC   abnormal regions and tracks that are found, up to one false box per frame (IoU 0.1, a tenth of a track)
  micro AUC    of the frames of all videos together
  macro AUC    mean over videos, each padded with a normal frame of score 0 and an abnormal one of score 1
The AUCs need --labels. A frame's score is that of its highest box, 0 without any, unless there are --scores."""
EXAMPLES = """\
examples:
  tvau evaluate mine/boxes shanghaitech/tracks --frames 40791
  tvau evaluate mine/boxes shanghaitech/tracks --labels shanghaitech/testing/test_frame_mask
  tvau evaluate mine/boxes tracks --labels labels --scores mine/scores --out results/metrics.json

--labels and --scores are folders of NAME.txt, one number per line, or NAME.npy. Boxes of equal score count as found at once,
so that their order in a file does not matter."""


def add(parsers: argparse._SubParsersAction) -> None:
    parser = parsers.add_parser(
        "evaluate",
        help="score any detector's text files: RBDC, TBDC, micro and macro AUC",
        usage="tvau evaluate [options] PRED_DIR GT_DIR",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.add_argument("predictions", metavar="PRED_DIR", help="folder of the detector's boxes")
    parser.add_argument("truth", metavar="GT_DIR", help="folder of the ground truth's tracks")
    frames = parser.add_mutually_exclusive_group(required=True)
    frames.add_argument("--frames", type=int, metavar="N", help="how many frames all videos have together")
    frames.add_argument("--labels", metavar="DIR", help="0 or 1 for each frame of every video")
    parser.add_argument("--scores", metavar="DIR", help="the detector's score of each frame of every video, 0..1")
    parser.add_argument("--out", metavar="FILE", default="metrics.json", help="file to write [default: metrics.json]")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Reads, prints and writes. Returns 0."""
    try:
        from ..metrics import detection_scores, frame_scores
    except ImportError as error:
        raise BackendError(f"tvau evaluate needs scikit-learn ({error}): pip install scikit-learn") from error
    if args.frames is not None and args.frames < 1:
        raise ConfigError(f"--frames must be at least 1, got {args.frames}")
    if args.scores and not args.labels:
        raise ConfigError("--scores are compared with --labels; give these, too")
    given = _read(args)
    figures: dict[str, float] = dict.fromkeys(("rbdc", "tbdc", "micro_auc", "macro_auc"), math.nan)
    reasons: dict[str, str] = {}
    if any(map(len, given.tracks)):
        found = detection_scores(given.tracks, given.boxes, given.frames)
        figures |= {"rbdc": found.rbdc, "tbdc": found.tbdc}
    else:
        reasons |= dict.fromkeys(("rbdc", "tbdc"), f"{args.truth} holds no track")
    if not given.labels:
        reasons |= dict.fromkeys(("micro_auc", "macro_auc"), "they need --labels")
    elif not all(((each >= 0) & (each <= 1)).all() for each in given.scores):
        reasons |= dict.fromkeys(("micro_auc", "macro_auc"), "scores of frames are not all within 0..1")
    elif not args.scores and any((each[:, 5] < 0).any() for each in given.boxes):
        reasons |= dict.fromkeys(("micro_auc", "macro_auc"), "scores of boxes are not all within 0..1")
    else:
        of_frames = frame_scores([each > 0 for each in given.labels], given.scores)
        figures |= {"micro_auc": of_frames.micro, "macro_auc": of_frames.macro}
        if math.isnan(of_frames.micro):
            reasons["micro_auc"] = "all frames are of one kind"
    result = {
        **{name: None if math.isnan(value) else value for name, value in figures.items()},
        "videos": len(given.boxes), "frames": given.frames, "missing": reasons,
    }  # fmt: skip
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    regions, tracks = sum(map(len, given.tracks)), sum(len(np.unique(each[:, 0])) for each in given.tracks)
    print(f"{len(given.boxes)} videos, {given.frames} frames, {tracks} tracks of {regions} regions, {given.said} boxes")
    for name, title in (("rbdc", "RBDC"), ("tbdc", "TBDC"), ("micro_auc", "micro AUC"), ("macro_auc", "macro AUC")):
        value = figures[name]
        print(f"  {title:<10} {f'-     ({reasons[name]})' if math.isnan(value) else f'{100 * value:5.2f} %'}")
    print(f"written to {out}")
    return 0


@dataclass(frozen=True)
class _Given:
    """All that was read, per video in one order; frames: of all videos. labels, scores: empty where there are none."""

    tracks: list[np.ndarray]
    boxes: list[np.ndarray]
    labels: list[np.ndarray]
    scores: list[np.ndarray]
    frames: int

    @property
    def said(self) -> int:
        return sum(map(len, self.boxes))


def _read(args: argparse.Namespace) -> _Given:
    from ..metrics import PREDICTION, TRACK, read_boxes, read_numbers

    boxes, tracks = _files(args.predictions, (".txt",)), _files(args.truth, (".txt",))
    labels = _files(args.labels, (".txt", ".npy")) if args.labels else {}
    scores = _files(args.scores, (".txt", ".npy")) if args.scores else {}
    names = sorted(labels) if labels else sorted({*boxes, *tracks})
    for here, place, what in ((boxes, args.predictions, "file of boxes"), (scores, args.scores, "file of scores")):
        lacking = [name for name in names if place and name not in here]
        if lacking:
            raise ConfigError(
                f"{place} has no {what} for {_some(lacking)}"
                + ("; an empty file says that nothing was found" if here is boxes else "")
            )
    for here, place in ((boxes, args.predictions), (tracks, args.truth), (scores, args.scores)):
        unknown = sorted(set(here) - set(names))
        if unknown:
            raise ConfigError(f"{place} has files of videos without labels: {_some(unknown)}")
    known = [read_numbers(labels[name]) for name in names] if labels else []
    for name, each in zip(names, known):
        if not np.isin(each, (0, 1)).all():
            raise ConfigError(f"{labels[name]}: labels must be 0 or 1, got {each[~np.isin(each, (0, 1))][0]:g}")
    lengths = [len(each) for each in known] if known else [None] * len(names)
    said = [read_boxes(boxes[name], PREDICTION, length) for name, length in zip(names, lengths)]
    true = [
        read_boxes(tracks[name], TRACK, length) if name in tracks else np.zeros((0, 6))
        for name, length in zip(names, lengths)
    ]
    return _Given(true, said, known, _scores_of(names, known, said, scores), args.frames or sum(map(len, known)))


def _scores_of(
    names: list[str], labels: list[np.ndarray], boxes: list[np.ndarray], files: dict[str, Path]
) -> list[np.ndarray]:
    """One score per frame of every video that has labels."""
    from ..metrics import read_numbers

    found = []
    for name, label, said in zip(names, labels, boxes):
        if files:
            scores = read_numbers(files[name])
            if len(scores) != len(label):
                raise ConfigError(f"{files[name]} has {len(scores)} scores, but the video has {len(label)} labels")
        else:
            scores = np.zeros(len(label))
            np.maximum.at(scores, said[:, 0].astype(np.intp), said[:, 5])
        found.append(scores)
    return found


def _files(folder: str, endings: tuple[str, ...]) -> dict[str, Path]:
    """By the video's name, the files of a folder that end so. Raises `ConfigError` where there is none, or two of a name."""
    place = Path(folder)
    if not place.is_dir():
        raise ConfigError(f"{folder} is not a folder")
    found: dict[str, Path] = {}
    for path in sorted(p for p in place.iterdir() if p.suffix in endings and not p.name.startswith(".")):
        if path.stem in found:
            raise ConfigError(f"{folder} has both {found[path.stem].name} and {path.name}; keep one")
        found[path.stem] = path
    if not found:
        raise ConfigError(f"{folder} holds no {' or '.join(endings)} file, one per video")
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
