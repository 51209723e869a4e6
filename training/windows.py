"""Windows of a data set's videos as training items, in the form of `batches.ClipData`'s. Knows no layout, no model and no loss.

For masks, half of the windows show something abnormal: a random clip, a random moment, frames at the model's rate. For dialogue,
a random line of `dialogues.jsonl` says which frames it is about. Item k of a stage is drawn from seed k, as everywhere.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from torch.utils.data import Dataset

from tvau_runtime.backends.base import ModelSpec
from tvau_runtime.errors import ConfigError, FrameError
from tvau_runtime.tokenizer import TextTokenizer

from .batches import Batch, encode_dialogue, mask_cells, pack_clip, some
from .data import Clip, open_data
from .recipe import Recipe
from .talks import DIALOGUES, Talk, read_talks

__all__ = ["DialogueWindows", "Footage", "MaskWindows"]

ATTEMPTS = 10
"""So many windows are drawn before a clip counts as unreadable."""
_NOTHING = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Footage:
    """What training may see of a data set. name: for people, and for the run's state. problems: what is missing, in sentences."""

    name: str
    clips: tuple[Clip, ...]
    dialogues: Path
    problems: tuple[str, ...] = ()

    def talks(self, least: int) -> list[Talk]:
        """Its dialogues. least: frames of a window. Raises `ConfigError` where there are none, and where one about these clips
        has fewer."""
        if not self.dialogues.is_file():
            raise ConfigError(
                f"the stage rae needs dialogues, and there is no {self.dialogues}; make_world.py and annotate/ write it, and "
                "--stage ahd does without"
            )
        talks, there = read_talks(self.dialogues), {clip.name for clip in self.clips}
        for talk in talks:
            if talk.clip in there and talk.frames is not None and len(talk.frames) < least:
                raise ConfigError(
                    f"{self.dialogues}: a dialogue about {talk.clip} has {len(talk.frames)} frames, and the model takes "
                    f"{least}; annotate with --window {least}"
                )
        return talks

    @property
    def identity(self) -> str:
        """Tells footage apart, also by what its dialogues say."""
        said = hashlib.sha256(self.dialogues.read_bytes()).hexdigest()[:16] if self.dialogues.is_file() else "silent"
        return f"{self.name} {said}"

    @classmethod
    def of(cls, kind: str, directory: Path, dialogues: Path | None = None) -> Footage:
        """The train split of a data set on disk. Raises `ConfigError` where it is not there."""
        data = open_data(kind, directory)
        return cls(f"{data.name} {data.root}", data.split("train"), dialogues or data.root / DIALOGUES, data.problems)

    @classmethod
    def one(cls, name: str, kind: str | None = None, directory: Path | None = None) -> Footage:
        """A single clip: of a data set, by its name and of whatever split, or a video file with its mask or boxes beside it.

        Raises `ConfigError` where it is not there, or has no labels.
        """
        path = Path(name)
        if directory is None:
            if not path.is_file():
                raise ConfigError(f"--one-shot: there is no video {name}; with --data, the name of a clip will do")
            kind, directory = "folder", path.parent
        data = open_data(kind or "auto", directory)
        for clip in data.clips:
            if name == clip.name or path.resolve() == clip.source.path.resolve():
                if clip.truth is None:
                    raise ConfigError(
                        f"--one-shot: {name} has no labels; docs/DATA.md says what may stand beside a video"
                    )
                return cls(f"{data.name} {data.root} {clip.name}", (clip,), data.root / DIALOGUES)
        near = difflib.get_close_matches(name, [clip.name for clip in data.clips], 3, 0.0)
        raise ConfigError(f"--one-shot: {data.root} has no clip {name!r}; it has {', '.join(near)} and the like")


class _Windows(Dataset):
    """What both kinds share: reading frames, and an item's form."""

    def __init__(self, recipe: Recipe, spec: ModelSpec, series: int, frames: int = 0) -> None:
        self.spec, self.rate_hz, self.length = spec, recipe.process_rate_hz, frames or recipe.clip_length
        self.seed = [recipe.seed, series]

    def _rng(self, index: int) -> np.random.Generator:
        cv2.setNumThreads(1)  # drawn by several processes at once
        return np.random.default_rng([*self.seed, index])

    def _item(self, **values: np.ndarray) -> tuple[np.ndarray, ...]:
        """An item with these fields of a batch, and the others empty."""
        return tuple(values.get(field.name, _NOTHING) for field in fields(Batch))

    def _read(self, clip: Clip, wanted: np.ndarray, *, masks: bool) -> tuple[np.ndarray, np.ndarray | None] | None:
        """Frames uint8 [T, H, W, 3] and masks bool [T, H, W] of these numbers, which may repeat; None where one cannot be read.

        Raises `FrameError` where a frame that is said to be abnormal has no mask.
        """
        try:
            found = {seen.index: seen for seen in clip.read(np.unique(wanted).tolist(), masks=masks)}
        except FrameError:  # of a video that is cut off before the first of them
            return None
        if any(int(i) not in found for i in wanted):
            return None
        chosen = [found[int(i)] for i in wanted]
        if masks and (bare := [seen.index for seen in chosen if seen.mask is None]):
            raise FrameError(f"{clip.name}: frame {bare[0]} has no mask; the stage ahd learns from masks")
        frames = np.stack([seen.frame.rgb for seen in chosen])
        return frames, np.stack([seen.mask for seen in chosen]) if masks else None  # type: ignore[arg-type]


class MaskWindows(_Windows):
    """Windows with masks, half of them with something abnormal in one of their frames.

    clips: at least one must be abnormal. left_out: names of those that are shorter than a window or have no labels.
    frames: of a window, 0 for as many as the model takes. Raises `ConfigError` where there is nothing to learn from. Reads all
    labels at once.
    """

    def __init__(self, recipe: Recipe, spec: ModelSpec, clips: Sequence[Clip], *, series: int, frames: int = 0) -> None:
        super().__init__(recipe, spec, series, frames)
        self.left_out: list[str] = []
        self.hot: list[tuple[Clip, np.ndarray, np.ndarray]] = []
        self.cold: list[tuple[Clip, np.ndarray, np.ndarray]] = []
        for clip in clips:
            offsets = np.round(np.arange(self.length) * clip.fps / self.rate_hz).astype(np.int64)
            starts = np.arange(min(len(clip.labels), clip.length) - offsets[-1])
            if not len(starts):
                self.left_out.append(clip.name)
                continue
            odd = clip.labels[starts[:, None] + offsets].any(axis=1)
            for windows, there in ((self.hot, starts[odd]), (self.cold, starts[~odd])):
                if len(there):
                    windows.append((clip, there, offsets))
        if not self.hot:
            raise ConfigError(
                f"none of {len(clips)} clips shows anything abnormal for the stage ahd to learn from"
                + (f" ({len(self.left_out)} are shorter than a window or without labels)" if self.left_out else "")
            )

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        rng = self._rng(index)
        windows = self.hot if rng.random() < 0.5 or not self.cold else self.cold
        clip, starts, offsets = windows[rng.integers(len(windows))]
        for _ in range(ATTEMPTS):  # containers promise more frames than they hold, and some are damaged
            read = self._read(clip, starts[rng.integers(len(starts))] + offsets, masks=True)
            if read is not None and read[1] is not None:
                return self._item(pixels=pack_clip(read[0], self.spec), masks=mask_cells(read[1], self.spec))
        raise FrameError(f"{clip.name} cannot be read, {ATTEMPTS} times; look at it with training/data/check.py")


class DialogueWindows(_Windows):
    """Windows with a dialogue: narration up to item `refine_from`, where there is any; from then on about anomalies, which half
    of the windows show.

    left_out: how many dialogues are about other clips. Raises `ConfigError` where none is about these.
    """

    def __init__(
        self, recipe: Recipe, spec: ModelSpec, tokenizer: Path, clips: Sequence[Clip], talks: Sequence[Talk], *,
        series: int, refine_from: int, narration_turns: int,
    ) -> None:  # fmt: skip
        super().__init__(recipe, spec, series)
        self.path, self.refine_from, self.narration_turns = tokenizer, refine_from, narration_turns
        self.clips = {clip.name: clip for clip in clips}
        about = [talk for talk in talks if talk.clip in self.clips]
        self.left_out = len(talks) - len(about)
        self.narration = [talk for talk in about if talk.narrates]
        self.present = [talk for talk in about if not talk.narrates and talk.anomalous]
        self.absent = [talk for talk in about if not talk.narrates and not talk.anomalous]
        if not self.present and not self.absent:
            raise ConfigError(
                f"none of {len(talks)} dialogues is about an anomaly in one of the {len(clips)} training clips"
            )
        self._tokenizer: TextTokenizer | None = None

    def _chosen(self, talk: Talk, clip: Clip) -> np.ndarray:
        """Numbers of its frames: pairs that begin evenly apart, each as near together as the model's rate has them, so that a
        movement looks as fast as it is."""
        frames = np.arange(clip.length) if talk.frames is None else np.array(talk.frames)
        gap = 1 if talk.frames is not None else min(max(1, round(clip.fps / self.rate_hz)), len(frames) - 1)
        begins = np.round(np.linspace(0, len(frames) - 1 - gap, self.length // 2)).astype(int)
        return frames[np.stack([begins, begins + gap], axis=1).ravel()]

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        self._tokenizer = self._tokenizer or TextTokenizer(self.path)
        rng = self._rng(index)
        narrates = index < self.refine_from and bool(self.narration)
        first, second = (self.present, self.absent) if rng.random() < 0.5 else (self.absent, self.present)
        talks = self.narration if narrates else first or second
        for _ in range(ATTEMPTS):
            talk = talks[rng.integers(len(talks))]
            clip = self.clips[talk.clip]
            read = self._read(clip, self._chosen(talk, clip), masks=False)
            if read is not None:
                break
        else:
            raise FrameError(f"{clip.name} cannot be read; look at it with training/data/check.py")
        turns = list(talk.turns)
        told = [turns[i] for i in rng.permutation(len(turns))][: self.narration_turns] if narrates else some(turns, rng)
        dialogue, weights = encode_dialogue(told, self._tokenizer)
        return self._item(pixels=pack_clip(read[0], self.spec), dialogue=dialogue, weights=weights)
