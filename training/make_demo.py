"""Renders the built-in demo scene: 40 s of normal life with three anomalies, from a scene that training never sees.

    python training/make_demo.py          makes tvau_runtime/assets/demo.mp4 and demo.json, as they are shipped

The seed (`SEED`) was chosen by eye, for a view in which road and walkway are easy to tell apart. demo.json holds the truth:
which anomaly lasts from when to when, in seconds, and its box at each second. Knows no model.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import cv2
import numpy as np

import tvau_runtime
from tvau_runtime.errors import FrameError, TvauError
from tvau_training.video_files import write_video
from tvau_training.world import Actor, Clip, make_clip

DEMO = Path(tvau_runtime.__file__).parent / "assets" / "demo.mp4"
SEED = 106
ANOMALIES = (
    ("person running", 11.0),
    ("person walking on the road", 20.5),
    ("car driving on the walkway", 31.0),
)
"""What happens around which second."""
SIZE, RATE_HZ, DURATION_S = (360, 640), 10.0, 40.0
BLUR = 0.8
"""Softness of the lens, in pixels: sharp sensor noise would double the file's size."""
LEAD_IN_S, LEAD_OUT_S, PAUSE_S, LEAST_S = 7.5, 5.0, 2.5, 3.0


def check_timing(spans: list[tuple[float, float]], duration_s: float) -> None:
    """Raises `FrameError` unless the anomalies last long enough and stand apart, after a normal start and before a normal end."""
    starts, ends = [s for s, _ in spans], [e for _, e in spans]
    pauses = [s - e for s, e in zip([*starts[1:], duration_s], ends)]
    long_enough = all(e - s >= LEAST_S for s, e in spans)
    if starts[0] < LEAD_IN_S or pauses[-1] < LEAD_OUT_S or min(pauses) < PAUSE_S or not long_enough:
        raise FrameError(
            f"the anomalies of this seed do not fit a demo: {spans} s of {duration_s:g} s; try another --seed"
        )


def truth(clip: Clip) -> dict:
    """What demo.json holds: the clip's abnormal actors in order, with their times (s) and boxes (pixels)."""
    return {
        "size": list(clip.frames.shape[1:3]),
        "duration_s": len(clip.frames) / clip.rate_hz,
        "anomalies": sorted(
            (_entry(a, clip.rate_hz) for a in clip.actors if a.anomalous),
            key=lambda e: e["start_s"],
        ),
    }


def _entry(actor: Actor, rate_hz: float) -> dict:
    when = np.flatnonzero(actor.abnormal_frames)
    boxes = {}
    for second in range(math.ceil(when[0] / rate_hz), int(when[-1] / rate_hz) + 1):
        box = actor.boxes[int(second * rate_hz)]
        if np.isfinite(box).all():
            boxes[str(second)] = [int(v) for v in box]
    return {
        "anomaly": actor.anomaly,
        "kind": actor.kind,
        "color": actor.color,
        "start_s": round(when[0] / rate_hz, 2),
        "end_s": round((when[-1] + 1) / rate_hz, 2),
        "boxes": boxes,
    }


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Renders the built-in demo scene (normal life with three anomalies) and what is true about it.",
        epilog="Without options it makes the files that are shipped: same seed, same pictures.",
    )
    default = Path(__file__).resolve().parent.parent / "tvau_runtime" / "assets" / "demo.mp4"
    parser.add_argument(
        "--out",
        type=Path,
        default=default,
        metavar="FILE.mp4",
        help="the video; a .json goes beside it",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=SEED,
        help=f"another scene of the split familiar (default {SEED})",
    )
    options = parser.parse_args(arguments)
    try:
        clip = make_clip(
            options.seed,
            size=SIZE,
            length=int(DURATION_S * RATE_HZ),
            rate_hz=RATE_HZ,
            anomalies=ANOMALIES,
            split="familiar",
        )
        facts = truth(clip)
        check_timing(
            [(entry["start_s"], entry["end_s"]) for entry in facts["anomalies"]],
            facts["duration_s"],
        )
        write_video((cv2.GaussianBlur(frame, (5, 5), BLUR) for frame in clip.frames), RATE_HZ, options.out)
    except TvauError as error:
        print(f"make_demo: {error}", file=sys.stderr)
        return 1
    beside = options.out.with_suffix(".json")
    beside.write_text(json.dumps(facts) + "\n", encoding="utf-8")
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB; {beside.name}: the truth about it")
    for entry in facts["anomalies"]:
        print(f"  {entry['start_s']:5.1f} s - {entry['end_s']:5.1f} s  {entry['anomaly']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
