"""Looks for what is missing, damaged or does not fit in a data set, clip by clip. Prints nothing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from tvau_runtime.errors import FrameError

from . import avenue, shanghaitech, ubnormal, ucsd
from .clips import SPLITS, Clip, DataSet

__all__ = ["Finding", "counts", "published", "verify_clip"]


@dataclass(frozen=True)
class Finding:
    """kind: missing, damaged, mismatch (labels and video differ in length) or contradiction (labels and masks differ)."""

    kind: str
    clip: str
    text: str


def verify_clip(clip: Clip, *, full: bool) -> list[Finding]:
    """What is wrong with a clip's video and labels.

    Reads its first and its last frame, and the first and last mask of what is abnormal; full: every frame and every mask, and
    whether a frame is said to be abnormal where its mask is empty, or the other way round.
    """
    found: list[Finding] = []
    try:
        with _quiet():
            frames = _readable(clip, full, found)
    except FrameError as error:
        return [Finding("damaged", clip.name, str(error))]
    try:
        if clip.truth is not None:
            if clip.mismatch:
                found.append(Finding("mismatch", clip.name, clip.mismatch))
            elif frames != clip.length and clip.truth.length is not None:
                found.append(
                    Finding("mismatch", clip.name, f"{clip.name}: {len(clip.labels)} labels, {frames} frames readable")
                )
            found += [Finding("missing", clip.name, text) for text in clip.truth.absent]
            found += _verify_masks(clip, full)
    except FrameError as error:
        found.append(Finding("damaged", clip.name, str(error)))
    return found


def _readable(clip: Clip, full: bool, found: list[Finding]) -> int:
    """How many frames can be read; the stated number where the last of them can, without `full`."""
    if not full and next(clip.source.read(0), None) and _has_last(clip):
        return clip.length
    numbers = [index for index, _ in clip.source.read(0)]
    if len(numbers) != clip.length:
        absent = sorted(set(range(clip.length)) - set(numbers))
        first = clip.source.place(absent[0])
        more = f" and {len(absent) - 1} more of {clip.length} frames" if len(absent) > 1 else ""
        found.append(Finding("damaged", clip.name, f"{first}{more} cannot be read"))
    return len(numbers)


def _has_last(clip: Clip) -> bool:
    try:
        return next(clip.source.read(clip.length - 1), None) is not None
    except FrameError:
        return False


def _verify_masks(clip: Clip, full: bool) -> Iterator[Finding]:
    truth, labels = clip.truth, clip.labels[: clip.length]
    odd = np.flatnonzero(labels)
    if truth is None or not (len(odd) or full):
        return
    wrong: Counter[str] = Counter()
    for index in range(len(labels)) if full else sorted({int(odd[0]), int(odd[-1])}):
        try:
            mask = truth.mask(index, clip.size)
            truth.objects(index, clip.size)
        except FrameError as error:
            yield Finding("damaged", clip.name, str(error))
            continue
        if mask is None:
            return
        if mask.any() != labels[index]:
            wrong["abnormal, but the mask is empty" if labels[index] else "normal, but the mask is not empty"] += 1
    for text, count in wrong.items():
        yield Finding("contradiction", clip.name, f"{clip.name}: {count} frames are labelled {text}")


def counts(data: DataSet) -> dict[str, dict[str, int]]:
    """Per split that there is: clips, normal and abnormal ones, and frames as the videos state them. What cannot be read counts
    as a clip of no frames."""
    found: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        clips = [clip for clip in data.clips if clip.split == split]
        if clips:
            odd, frames = zip(*(_facts(clip) for clip in clips), strict=True)
            found[split] = {
                "clips": len(clips),
                "normal clips": len(clips) - sum(odd),
                "abnormal clips": sum(odd),
                "frames": sum(frames),
            }
    return found


def _facts(clip: Clip) -> tuple[bool, int]:
    try:
        with _quiet():
            return clip.abnormal, clip.length
    except FrameError:
        return False, 0


def published(data: DataSet) -> dict[str, dict[str, int]]:
    """The same counts as its authors give them, as far as they do; empty for a folder of one's own."""
    if data.name == "ucsd":
        return ucsd.PUBLISHED.get(data.root.name, {})
    tables = {"ubnormal": ubnormal.PUBLISHED, "shanghaitech": shanghaitech.PUBLISHED, "avenue": avenue.PUBLISHED}
    return tables.get(data.name, {})


@contextmanager
def _quiet() -> Iterator[None]:
    """What the readers warn about is in the findings."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
