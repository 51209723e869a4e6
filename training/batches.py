"""Clips of the world as training batches: packed pixels, dense targets and tokenised dialogue. Knows no model and no loss.

Item k of a stage is drawn from seed k, so that a run that stops and resumes sees what an unbroken one would have seen.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from tvau_runtime.backends.base import ModelSpec
from tvau_runtime.chat import ANSWER_END, question_text
from tvau_runtime.errors import ConfigError, TvauError
from tvau_runtime.frames import pack_pair, resize
from tvau_runtime.tokenizer import TextTokenizer

from .guidance import naming
from .recipe import Recipe
from .world import (
    BODY,
    PLACES,
    Clip,
    Turn,
    actor_looks,
    actor_words,
    anomaly_dialogue,
    ground_words,
    imagined_dialogue,
    make_some_clip,
    normal_dialogue,
)

__all__ = [
    "KINDS", "MASK_SCALE", "PLACES_AT_ONCE", "POSE", "Batch", "ClipData", "batches", "encode_dialogue", "mask_cells", "pack_clip",
    "some",
]  # fmt: skip

KINDS = ("person", "car", "van", "bicycle", "box")
_LIKE = {"truck": "van", "forklift": "van", "scooter": "bicycle", "skateboard": "bicycle", "wheelchair": "bicycle"}
"""What other kinds count as in dense targets; things count as boxes."""
MASK_SCALE = 4
"""Mask cells along a patch."""
LEAST_SHARE = 0.3
"""What covers less of a mask cell is not what is done there."""
MAX_WORDS = 12
PLACES_AT_ONCE = 16
"""Clips in a row show so many places in turn."""
POSE = 2 + 2 * 2 * (len(BODY) - 1)
LATER_TOKEN = 0.3
"""What each token of an answer but the first counts in the loss."""
_DENSE = 10
"""So many fields of a batch are of one size for all clips; the others are dialogues."""


@dataclass(frozen=True, eq=False)
class Batch:
    """B clips of T' steps on a grid of gh x gw patches, P = gh * gw, M = P / 4 merged tokens."""

    pixels: Tensor
    """float32 [B, T', P, 1176]"""
    masks: Tensor
    """float32 [B, T', 4 gh, 4 gw], share of each cell that is abnormal in either frame"""
    deeds: Tensor
    """int16 [B, T', 4 gh, 4 gw], what is done there, by its number in `guidance.Naming`; 0 for none of these"""
    kinds: Tensor
    """int64 [B, T', P], raster order: 0 background, 1.. as in KINDS"""
    ground: Tensor
    """int64 [B, P], raster order: 0 neither, 1 road, 2 walkway, behind whoever stands there"""
    motion: Tensor
    """float32 [B, T', P, 2], how far the object moves within the pair, in frame sides, times 10 (x, y)"""
    extent: Tensor
    """float32 [B, T', P, 4], from the patch's middle to the object's left, top, right and bottom, in frame sides, times 10"""
    pose: Tensor
    """float16 [B, T', P, POSE], how the person or rider holds and moves the body, see `_pose`; nan where there is none"""
    words: Tensor
    """int64 [B, T', M, MAX_WORDS], token ids of what a merged token shows, and where, padded with -1"""
    looks: Tensor
    """int64 [B, T', M, 3], which colour, trousers and bag whoever a merged token shows has; see `world.actor_looks`"""
    dialogue: Tensor
    """int64 [B, S], token ids, padded behind"""
    weights: Tensor
    """float32 [B, S], how much each of them counts as something to say; 0 for questions"""
    imagined: Tensor
    """int64 [B, R], token ids of dialogues that belong to no clip, padded behind"""
    imagined_weights: Tensor
    """float32 [B, R]"""

    def bare(self) -> Batch:
        """Without what the frozen part of a model has already seen, and what the backbone alone learns."""
        # Copies: a view is saved with all that it is a view of.
        return replace(self, pixels=self.pixels[:0].clone(), pose=self.pose[:0].clone())

    def to(self, device: torch.device) -> Batch:
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


class ClipData(Dataset):
    """Items of one stage, half of them with an anomaly. kinds: which, None for those of the recipe's split. eventful: nearly all
    have one, as what is rarely done is to be learned too. frames: of a clip, 0 for as
    many as the model takes. refine_from: the item from which the dialogue is about anomalies, after narration of what is to be
    seen, in `narration_turns` turns of the many, which come in random order. Items of another series, 0..9, show other clips.
    """

    def __init__(
        self,
        recipe: Recipe,
        spec: ModelSpec,
        tokenizer: Path,
        *,
        series: int,
        refine_from: int,
        narration_turns: int,
        kinds: Sequence[str] | None = None,
        frames: int = 0,
        eventful: bool = False,
    ) -> None:
        self.recipe, self.spec, self.path, self.eventful = recipe, spec, tokenizer, eventful
        self.first = recipe.seed * 10_000_000 + series * 1_000_000
        self.refine_from, self.narration_turns = refine_from, narration_turns
        self.kinds, self.frames = kinds, frames or recipe.clip_length
        self._tokenizer: TextTokenizer | None = None
        self._word_ids: dict[str, list[int]] = {}

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        self._tokenizer = self._tokenizer or TextTokenizer(self.path)
        cv2.setNumThreads(1)
        rng = np.random.default_rng(self.first + index)
        clip = self._clip(index)
        refine = index >= self.refine_from
        turns = some(anomaly_dialogue(clip, rng), rng) if refine else normal_dialogue(clip, rng)[: self.narration_turns]
        dialogues = (encode_dialogue(each, self._tokenizer) for each in (turns, imagined_dialogue(rng)))
        return (pack_clip(clip.frames, self.spec), *self._targets(clip), *itertools.chain(*dialogues))

    def _clip(self, index: int) -> Clip:
        recipe = self.recipe
        return make_some_clip(
            self.first + index,
            size=recipe.render_size,
            length=self.frames,
            rate_hz=recipe.process_rate_hz,
            kinds=self.kinds,
            anomaly=True if self.eventful and index % 8 else None,
            split=recipe.split,
            place=self.first + _place(index, recipe.clips_per_place),
        )

    def _targets(self, clip: Clip) -> tuple[np.ndarray, ...]:
        (rows, columns), steps = self.spec.grid, len(clip.frames) // 2
        masks = mask_cells(clip.anomaly_masks, self.spec)
        size, number = (columns * MASK_SCALE, rows * MASK_SCALE), naming().number
        deeds, clearest = np.zeros(masks.shape, np.int16), np.full(masks.shape, LEAST_SHARE, np.float32)
        kinds = np.zeros((steps, rows, columns), np.int64)
        motion = np.zeros((steps, rows, columns, 2), np.float32)
        extent = np.zeros((steps, rows, columns, 4), np.float32)
        middles = np.stack(np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows), axis=-1)
        pose = np.full((steps, rows, columns, POSE), np.nan, np.float16)
        most = np.full((steps, rows, columns), 0.2, np.float32)
        most_merged = np.full((steps, rows // 2, columns // 2), 0.12, np.float32)
        height, width = clip.frames.shape[1:3]
        ground, bare = _middles(clip.ground, rows, columns), _middles(clip.ground, rows // 2, columns // 2)
        names: list[list[list[str]]] = [[[ground_words(clip)[g] for g in row] for row in bare] for _ in range(steps)]
        looks = np.full((steps, rows // 2, columns // 2, 3), -1, np.int64)
        for actor in clip.actors:
            kind = _LIKE.get(actor.kind, actor.kind if actor.kind in KINDS else "box")
            for t in range(steps):
                seen = ((clip.objects[2 * t] == actor.id) | (clip.objects[2 * t + 1] == actor.id)).astype(np.float32)
                if not seen.any():
                    continue
                if not actor.anomalous or actor.abnormal_frames[2 * t : 2 * t + 2].any():
                    share = cv2.resize(seen, size, interpolation=cv2.INTER_AREA)
                    mine = share > clearest[t]
                    clearest[t][mine], deeds[t][mine] = share[mine], number(actor, 2 * t)
                share = cv2.resize(seen, (columns, rows), interpolation=cv2.INTER_AREA)
                mine = share > most[t]
                most[t][mine], kinds[t][mine] = share[mine], KINDS.index(kind) + 1
                first, second = actor.boxes[2 * t], actor.boxes[2 * t + 1]
                moved = (second[:2] + second[2:] - first[:2] - first[2:]) / 2 / (width, height) * 10
                walked = np.clip((actor.track[2 * t + 1] - actor.track[2 * t]) / (width, height) * 10, -10, 10)
                motion[t][mine] = np.where(np.isfinite(moved), moved, walked)  # where it enters or leaves
                box = np.nanmean([first, second], axis=0).reshape(2, 2) / (width, height)
                extent[t][mine] = ((box - middles[mine][:, None]) * 10).reshape(-1, 4)
                if actor.joints.size:
                    pose[t][mine] = _pose(actor.joints[2 * t : 2 * t + 2], float(actor.stature[2 * t]))
                merged = share.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
                mine = merged > most_merged[t]
                name = actor_words(actor, 2 * t + int(actor.abnormal_frames[2 * t : 2 * t + 2].argmax()))
                most_merged[t][mine], looks[t][mine] = merged[mine], actor_looks(actor)
                for row, column in np.argwhere(mine):
                    names[t][row][column] = name
        words = [
            self._words(f"{name} {PLACES[(2 * row + 1) * 3 // rows][(2 * column + 1) * 3 // columns]}")
            for step in names
            for row, line in enumerate(step)
            for column, name in enumerate(line)
        ]
        return (
            masks,
            deeds,
            kinds.reshape(steps, -1),
            ground.astype(np.int64).ravel(),
            motion.reshape(steps, -1, 2),
            extent.reshape(steps, -1, 4),
            pose.reshape(steps, -1, POSE),
            np.reshape(words, (steps, -1, MAX_WORDS)),
            looks.reshape(steps, -1, 3),
        )

    def _words(self, text: str) -> list[int]:
        if text not in self._word_ids:
            ids = (self._tokenizer or TextTokenizer(self.path)).encode(" " + text)[:MAX_WORDS]
            self._word_ids[text] = ids + [-1] * (MAX_WORDS - len(ids))
        return self._word_ids[text]


def _place(index: int, clips: int) -> int:
    """The first item in whose place item `index` happens: so many clips share one, and those of a batch lie far apart."""
    return index // (PLACES_AT_ONCE * clips) * PLACES_AT_ONCE * clips + index % PLACES_AT_ONCE


def _middles(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """What an image [H, W] shows in the middle of each of rows x columns parts."""
    y, x = (((np.arange(n) + 0.5) * side / n).astype(int) for n, side in zip((rows, columns), image.shape))
    return image[y][:, x]


def _pose(joints: np.ndarray, stature: float) -> np.ndarray:
    """[POSE]: by how much the pelvis moves within a pair of frames, and where it has the other joints around it in each of them,
    in a fifth of the body's height. joints: [2, len(BODY), 2]. Of two hands, knees and ankles the left one in the picture comes
    first: which of them it is can hardly be seen."""
    joints = joints.copy()
    for i in range(2, len(BODY), 2):
        if joints[0, i, 0] > joints[0, i + 1, 0]:
            joints[:, [i, i + 1]] = joints[:, [i + 1, i]]
    pelvis = joints[:, 1:2]
    around = np.delete(joints - pelvis, 1, axis=1)
    values = np.concatenate([(pelvis[1] - pelvis[0]).ravel(), around.ravel()]) * 5 / max(stature, 1.0)
    return np.clip(values, -10, 10)


def some(turns: list[Turn], rng: np.random.Generator) -> list[Turn]:
    """All turns or, half of the time, some of them, still in order: people do not always ask the first question first."""
    if rng.random() < 0.5:
        return turns
    keep = rng.random(len(turns)) < 0.5
    keep[rng.integers(len(turns))] = True
    return [turn for turn, kept in zip(turns, keep, strict=True) if kept]


def pack_clip(frames: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Frames uint8 [T, H, W, 3] as the engine's input, float32 [T/2, P, 1176]."""
    images = [resize(frame, spec) for frame in frames]
    return np.stack([pack_pair(a, b, spec) for a, b in zip(images[::2], images[1::2], strict=True)])


def mask_cells(masks: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Masks bool [T, H, W] as float32 [T/2, 4 gh, 4 gw]: the share of each cell that is abnormal in either frame of a pair."""
    rows, columns = spec.grid
    size = (columns * MASK_SCALE, rows * MASK_SCALE)
    shares = masks.astype(np.float32)
    pairs = (np.maximum(first, second) for first, second in zip(shares[::2], shares[1::2], strict=True))
    return np.stack([cv2.resize(pair, size, interpolation=cv2.INTER_AREA) for pair in pairs])


def encode_dialogue(turns: list[Turn], tokenizer: TextTokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Token ids of a dialogue, and what each counts in the loss.

    An answer's first token counts most, so that a yes or no is not drowned by long descriptions. What a token counts may
    depend on what stands before it, never on the token itself or on what follows: where short answers count more per token,
    the model learns to prefer them.
    """
    ids: list[int] = []
    weights: list[float] = []
    for number, turn in enumerate(turns):
        question = tokenizer.encode(question_text(turn.question, first=number == 0))
        answer = tokenizer.encode(turn.answer + ANSWER_END)
        ids += question + answer
        weights += [0.0] * len(question) + [1.0] + [LATER_TOKEN] * (len(answer) - 1)
    return np.array(ids), np.array(weights, np.float32)


def batches(
    data: Dataset, size: int, start: int, steps: int, workers: int, share: tuple[int, int] = (0, 1), pieces: int = 1
) -> Iterator[list[Batch]]:
    """Batches number `start` to `steps` - 1 of `size` items, drawn beside the training by `workers` processes.

    share: (i, n) takes every n-th item, beginning with the i-th: the part of the i-th of n processes. pieces: into how many
    smaller batches each part is cut. Raises `ConfigError` where the items cannot be divided evenly.
    """
    index, count = share
    if size % (count * pieces):
        raise ConfigError(f"a batch of {size} cannot be divided among {count} processes in {pieces} pieces each")
    loader = DataLoader(
        data,
        batch_size=size // (count * pieces),
        sampler=range(start * size + index, steps * size, count),
        num_workers=workers,
        collate_fn=_collate,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_outlive_interrupts,
    )
    try:
        drawn = iter(loader)
        for _ in range(start, steps):
            yield list(itertools.islice(drawn, pieces))
    except TvauError as error:
        if not str(error).startswith("Caught "):
            raise
        # What went wrong in another process comes as a traceback, with the message at its end.
        raise type(error)(str(error).strip().splitlines()[-1].partition(": ")[2]) from None


def _outlive_interrupts(_: int) -> None:
    """Ctrl-C reaches every process of a terminal; those that draw clips end when the training does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _collate(items: list[tuple[np.ndarray, ...]]) -> Batch:
    columns = list(zip(*items, strict=True))
    dense = (torch.from_numpy(np.stack(column)) for column in columns[:_DENSE])
    padded = (pad_sequence([torch.from_numpy(row) for row in column], batch_first=True) for column in columns[_DENSE:])
    return Batch(*dense, *padded)
