"""What each stage trains, and its loss. `train.py` runs them all with one loop.

backbone  the backbone's vision tower, from random weights: the words of visual tokens, and dense heads (kind of object, its
          extent, motion and looks, how it holds itself and what it does, the ground behind it) that are thrown away. It sees
          what is done as what it is, walking or running; nothing tells it what is abnormal
language  the backbone's language model, from random weights, on dialogue about what is to be seen in more clips, whose visual
          tokens are kept, and on text without pictures
ahd       the AHD alone, on masks: focal + dice
rae       the RAE and a LoRA adapter of the language model, on dialogue: narration first, then anomaly-focused refinement
guidance  the AHD again, on prompts that are drawn anew at every step, so that it follows them; under the model's own prompts
          its maps stay those that the RAE was trained on
one_shot  a trained AHD, on windows of one abnormal clip

A stage is called, as any module is, with a batch, and gives what the frozen part of the model makes of it; called with that
too, it gives the terms of the loss. Whatever holds the weights in pieces or sums their gradients thus sees every use of them.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tvau_runtime.chat import HEAD, TAIL
from tvau_runtime.model import checkpoint
from tvau_runtime.model.tvau import TVAU
from tvau_runtime.prompts import Prompts
from tvau_runtime.tokenizer import TextTokenizer

from .batches import KINDS, MASK_SCALE, POSE, Batch
from .guidance import Naming, naming
from .losses import answer_loss, dice_loss, focal_loss, word_loss
from .machines import pooled, total
from .world import BAGS, COLORS, PLACES, TROUSER_COLORS

__all__ = [
    "STAGES", "AhdStage", "BackboneStage", "GuidanceStage", "LanguageStage", "OneShotStage",
    "PromptedStage", "RaeStage", "Stage", "most_done",
]  # fmt: skip

_HEADS = (len(KINDS) + 1, 3, 2, 4, POSE)
"""Outputs of the dense heads: kind of object, ground, motion, extent, pose. What it does comes behind."""
_LOOKS = (len(COLORS), len(TROUSER_COLORS), len(BAGS) + 1)
"""Outputs of the head of visual tokens: see `world.actor_looks`."""


class Stage(nn.Module):
    """A model with some of its parameters set free."""

    every_kind = False
    """Whether what happens may also be of the kinds that are kept for validation and test."""
    eventful = False
    """Whether something that is rarely done happens in nearly all clips, not in half of them."""
    narration = 0.0
    """Share of the steps whose dialogue is about normal life."""
    narration_turns = 5
    """In so many turns of the many that could be asked."""

    def __init__(
        self,
        model: TVAU,
        tokenizer: TextTokenizer,
        rate_hz: float,
        text: Tensor,
        lora_rank: int,
        *,
        fresh: bool = True,
        prompts: Prompts,
        bf16: bool = False,
        without: str = "",
    ) -> None:
        """text: S_c, [2, D], of prompts. fresh: whether AHD and RAE are untrained. bf16: the backbone
        computes in bfloat16; AHD and RAE never do, for cosines that differ in the third digit are told apart by them. without:
        see `Manifest.without`."""
        super().__init__()
        self.fresh, self.prompts, self.bf16, self.without = fresh, prompts, bf16, without
        self.text: Tensor
        self.head: Tensor
        self.tail: Tensor
        self.model, self.rate_hz = model.requires_grad_(False), rate_hz
        self.tokenizer = tokenizer
        self.register_buffer("text", text, persistent=False)  # S_c, [2, D]
        self.register_buffer("head", torch.tensor(tokenizer.encode(HEAD)), persistent=False)
        self.register_buffer("tail", torch.tensor(tokenizer.encode(TAIL)), persistent=False)
        self.prepare(lora_rank)

    def forward(self, batch: Batch, seen: tuple[Tensor, ...] | None = None) -> Any:
        """`see` of a batch, or with what it gave `losses`."""
        if seen is not None:
            return self.losses(seen, batch)
        with torch.no_grad():
            return self.see(batch)

    def prepare(self, lora_rank: int) -> None:
        """Adds what the stage needs and frees what it trains."""

    @property
    def units(self) -> list[nn.Module]:
        """Modules that are only ever called as a whole, which may thus be gathered from several machines one at a time."""
        return [self.model.backbone.tower, *self.model.backbone.model.model.language_model.layers]

    def computing(self) -> contextlib.AbstractContextManager[Any]:
        """Within it, the backbone computes in the run's precision."""
        return torch.autocast(self.head.device.type, torch.bfloat16, enabled=self.bf16)

    def see(self, batch: Batch) -> tuple[Tensor, ...]:
        """What the frozen part of the model makes of the pixels: it is the same at every step, and may be kept."""
        return (batch.pixels,)

    def losses(self, seen: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        """The terms whose sum is minimised, from what `see` gave. The batch's pixels may be gone by then."""
        raise TypeError(f"{type(self).__name__} has no losses")

    def answer_loss(self, visual: Tensor, class_maps: Tensor | None, batch: Batch) -> Tensor:
        """Next-token loss on the answers: visual [B, T', M, D], class_maps [B, T', 2, gh, gw] or None."""
        prompt = self.model.prompt(self.head, visual, self.tail, class_maps, batch.dialogue)
        steps = visual.shape[1]
        after = prompt.shape[1] - len(self.head) - steps * visual.shape[2]
        positions = self.model.positions(len(self.head), steps, after, self.rate_hz).to(prompt.device)
        return self._said(prompt, positions, batch.dialogue, batch.weights)

    def text_loss(self, batch: Batch) -> Tensor:
        """The same on imagined dialogues, without a picture. They are soon learned: a quarter of the batch's is enough."""
        few = -(-len(batch.imagined) // 4)
        dialogue, weights = batch.imagined[:few], batch.imagined_weights[:few]
        ids = torch.cat([torch.cat([self.head, self.tail]).expand(few, -1), dialogue], dim=1)
        positions = torch.arange(ids.shape[1], device=ids.device).expand(3, 1, -1)
        return self._said(self.model.backbone.embed(ids), positions, dialogue, weights)

    def _said(self, prompt: Tensor, positions: Tensor, dialogue: Tensor, weights: Tensor) -> Tensor:
        said = weights > 0
        # On CPUs the language model's short sequences and masked attention take twice as long in bfloat16.
        with contextlib.nullcontext() if prompt.device.type == "cpu" else self.computing():
            hidden, _ = self.model.backbone.language(prompt, positions.expand(-1, len(prompt), -1))
            before = hidden[:, -dialogue.shape[1] - 1 : -1]  # the position before each token predicts it
            logits = self.model.backbone.logits(before[said])
        return answer_loss(logits, dialogue[said], weights[said])


def most_done(deeds: Tensor, kinds: int) -> Tensor:
    """What most of a patch's mask cells show, of those that show anything: deeds [B, T', 4 gh, 4 gw] below `kinds`, 0 for
    nothing, to [B, T', gh * gw]."""
    cells = (
        deeds.unflatten(-1, (-1, MASK_SCALE)).unflatten(2, (-1, MASK_SCALE)).transpose(3, 4).flatten(2, 3).flatten(3)
    )
    counts = torch.zeros(*cells.shape[:3], kinds, device=cells.device)
    counts.scatter_add_(3, cells, torch.ones_like(cells, dtype=counts.dtype))
    counts[..., 0] = 0.5
    return counts.argmax(dim=-1)


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """The mean over those whose class is known, which is not below 0, of all processes: logits [N, C], classes [N]."""
    return total(F.cross_entropy(logits, classes, ignore_index=-1, reduction="sum")) / total(
        (classes >= 0).sum()
    ).clamp(min=1)


class BackboneStage(Stage):
    """Pre-training of the vision tower from nothing, and of the token table that its visual tokens are to be read with."""

    every_kind = True
    eventful = True
    narration = 1.0

    def prepare(self, lora_rank: int) -> None:
        self.model.backbone.model.model.visual.requires_grad_(True)
        self.model.backbone.model.get_input_embeddings().requires_grad_(True)
        width, taps = self.model.backbone.vision_dim, self.model.backbone.taps[1:]
        self.kind_of: Tensor
        self.register_buffer("kind_of", torch.from_numpy(naming().kind_of), persistent=False)
        self.outputs = (*_HEADS, int(self.kind_of.max()) + 1)
        self.heads = nn.ModuleList(nn.Linear(width, sum(self.outputs)) for _ in taps)
        self.looks = nn.Linear(self.text.shape[-1], sum(_LOOKS))

    def losses(self, seen: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        (pixels,) = seen
        with self.computing():
            tapped, tokens = self.model.backbone.encode(pixels.flatten(0, 1))
        steps = pixels.shape[1]
        kinds, ground = batch.kinds.flatten(), batch.ground[:, None].expand(-1, steps, -1).flatten()
        there = kinds > 0
        motion, extent = batch.motion.flatten(0, 2)[there], batch.extent.flatten(0, 2)[there]
        pose = batch.pose.flatten(0, 2).float()
        posed = pose[:, 0].isfinite()
        does = most_done(self.kind_of[batch.deeds.long()], self.outputs[-1]).flatten()[there]
        # Background is most of the picture; it counts a quarter. What is rarely done counts more than walking.
        weights = torch.tensor([0.25] + [1.0] * len(KINDS), device=kinds.device)
        rarity = (total(torch.bincount(does, minlength=self.outputs[-1]).float()) + 50.0).rsqrt()
        rarity[0] = 0.0
        shown, people, done = (
            total(n).clamp(min=1e-3) for n in (there.sum().float(), posed.sum().float(), rarity[does].sum())
        )
        dense = torch.zeros(6, device=kinds.device)
        for head, hidden in zip(self.heads, tapped[1:], strict=True):
            kind, lies, moved, reach, held, doing = head(hidden.float()).flatten(0, 1).split(self.outputs, dim=-1)
            dense = dense + torch.stack(
                [
                    pooled(F.cross_entropy(kind, kinds, weights), weights[kinds].sum()),
                    pooled(F.cross_entropy(lies, ground)),
                    2.0 * total(F.smooth_l1_loss(moved[there], motion, reduction="sum")) / (motion.shape[-1] * shown),
                    total(F.smooth_l1_loss(reach[there], extent, reduction="sum")) / (extent.shape[-1] * shown),
                    2.0 * total(F.smooth_l1_loss(held[posed], pose[posed], reduction="sum")) / (POSE * people),
                    total(F.cross_entropy(doing[there], does, rarity, reduction="sum")) / done,
                ]
            )
        terms = dict(zip(("kind", "ground", "motion", "extent", "pose", "deed"), dense / len(self.heads), strict=True))
        with self.computing():
            named = self.model.backbone.logits(tokens.flatten(0, 1))
        # The words of a token are a set, in which a colour has nothing to belong to: what is worn is told apart here.
        looks = self.looks(tokens.float()).flatten(0, 1).split(_LOOKS, dim=-1)
        looked = [_cross_entropy(*each) for each in zip(looks, batch.looks.flatten(0, 2).unbind(-1), strict=True)]
        return {"word": word_loss(named, batch.words.flatten(0, 2)), "looks": torch.stack(looked).mean(), **terms}


class LanguageStage(Stage):
    """Pre-training of the language model: what the tower makes of clips, narrated, and text without pictures.

    A language model that never met the words of abnormal life, "running" or "yes", has learned to avoid them, and stays
    mute when it is frozen.
    """

    every_kind = True
    narration = 1.0
    narration_turns = 8

    def prepare(self, lora_rank: int) -> None:
        self.model.backbone.model.model.language_model.requires_grad_(True)  # with the token table, which is tied

    def see(self, batch: Batch) -> tuple[Tensor, ...]:
        with self.computing():
            _, tokens = self.model.backbone.encode(batch.pixels.flatten(0, 1))
        return (tokens.unflatten(0, batch.pixels.shape[:2]),)

    def losses(self, seen: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        (tokens,) = seen
        return {"answer": self.answer_loss(tokens, None, batch), "text": self.text_loss(batch)}


class AhdStage(Stage):
    """Stage 1 of the method."""

    def prepare(self, lora_rank: int) -> None:
        ahd = self.model.ahd.requires_grad_(True)
        if self.fresh:
            ahd.calibrate(self.text)

    def see(self, batch: Batch) -> tuple[Tensor, ...]:
        with self.computing():
            tapped, _ = self.model.backbone.encode(batch.pixels.flatten(0, 1))
        return tuple(_halved(hidden) for hidden in tapped)

    def losses(self, seen: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        maps = self.model.ahd(list(seen), self.text, self.model.backbone.grid)
        maps = F.interpolate(maps, scale_factor=MASK_SCALE, mode="bilinear", align_corners=False)
        masks = batch.masks.flatten(0, 1)
        return {"focal": 5.0 * focal_loss(maps, masks), "dice": dice_loss(maps, masks)}


class PromptedStage(AhdStage):
    """An AHD on prompts that vary."""

    room = 6.0
    """How much larger the weights w_i become: a feature that answers to many prompts can lie along none of them."""

    def make_room(self) -> None:
        """Prepares the AHD for that; once is enough."""
        self.drawn: Tensor
        self.register_buffer("drawn", torch.zeros((), dtype=torch.int64))  # kept, so that a resumed run draws the same
        self._sums: dict[str, tuple[Tensor, int]] = {}
        if not (ahd := self.model.ahd).center.any():
            ahd.recenter(self.text)
            with torch.no_grad():
                ahd.weights.mul_(self.room)

    def dice(self) -> np.random.Generator:
        """Of the next step."""
        self.drawn += 1
        return np.random.default_rng([torch.initial_seed(), int(self.drawn) - 1])

    def features(self, prompts: Prompts) -> Tensor:
        """S_c of prompts, [2, D]."""
        return torch.stack([self.pooled(prompts.texts(category)) for category in ("normal", "abnormal")])

    def pooled(self, texts: Sequence[str]) -> Tensor:
        """The same as `Backbone.text_features`, from what is known of each text: [D]."""
        for text in texts:
            if text not in self._sums:
                ids = torch.tensor(self.tokenizer.encode(text), device=self.text.device)
                self._sums[text] = self.model.backbone.embed(ids).sum(dim=0), len(ids)
        sums, counts = zip(*(self._sums[text] for text in texts), strict=True)
        return torch.stack(sums).sum(dim=0) / sum(counts)


class RaeStage(Stage):
    """Stage 2 of the method; or what is left of it without its evidence, in every other way alike."""

    narration = 0.1

    @property
    def prompts_left_out(self) -> bool:
        """Whether nothing of the RAE comes to the language model."""
        return self.without in ("rae", "both")

    def prepare(self, lora_rank: int) -> None:
        from peft import LoraConfig, get_peft_model

        rae, backbone = self.model.rae.requires_grad_(not self.prompts_left_out), self.model.backbone
        if self.fresh:  # a region's prompt starts from the words for its place
            for place, words in zip(rae.place.detach(), itertools.chain(*PLACES), strict=True):
                ids = torch.tensor(self.tokenizer.encode(" " + words), device=place.device)
                place.copy_(backbone.embed(ids).detach().mean(dim=0))
        language = backbone.model.model
        settings = LoraConfig(r=lora_rank, lora_alpha=2 * lora_rank, target_modules="all-linear")
        with checkpoint.quiet():
            self.adapter: Any = get_peft_model(language.language_model, settings)
        language.language_model = self.adapter

    def see(self, batch: Batch) -> tuple[Tensor, ...]:
        clips, steps = batch.pixels.shape[:2]
        with self.computing():
            tapped, tokens = self.model.backbone.encode(batch.pixels.flatten(0, 1))
        maps = self.model.ahd(tapped, self.text, self.model.backbone.grid)
        return tokens.unflatten(0, (clips, steps)), maps.unflatten(0, (clips, steps))

    def losses(self, seen: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        tokens, maps = seen
        if self.without in ("ahd", "both"):
            maps = torch.zeros_like(maps)
        return {"answer": self.answer_loss(tokens, None if self.prompts_left_out else maps, batch)}

    def save_adapter(self, directory: Path, *, write: bool = True) -> None:
        """Writes the adapter into a checkpoint directory and takes it off the language model, which is then as it was before."""
        if write:
            checkpoint.save_lora(self.adapter, directory)
        self.model.backbone.model.model.language_model = self.adapter.unload()


class GuidanceStage(PromptedStage):
    """Stage 1 once more, with varied prompts: where the text is always the same, the AHD learns to do without it.

    Every clip of every step has prompts of its own, and its mask is of what they name abnormal. Some have the model's own, for
    which the class maps are to stay as they were: whatever the RAE and the language model have learned of them stays true.
    Several processes draw other prompts than one would.
    """

    own_prompts = 0.25
    """Share of the clips with the model's own prompts."""
    faithful = 0.2
    """What a squared difference from the former maps, in logits, counts."""

    def prepare(self, lora_rank: int) -> None:
        self.former = copy.deepcopy(self.model.ahd).requires_grad_(False)
        self.naming = Naming(self.prompts)
        self.make_room()
        self.model.ahd.requires_grad_(True)

    def losses(self, seen: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        rng = self.dice()
        own = torch.from_numpy(rng.random(len(batch.deeds)) < self.own_prompts)
        own[0], own[-1] = True, False
        texts, masks = [], []
        for number, deeds in enumerate(batch.deeds):
            if own[number]:
                texts.append(self.text)
                continue
            prompts, hot = self.naming.draw(rng, deeds.unique().tolist())
            texts.append(self.features(prompts))
            masks.append(torch.from_numpy(hot).to(deeds.device, torch.float32)[deeds.long()])
        steps, grid = batch.deeds.shape[1], self.model.backbone.grid
        own = own.to(self.text.device).repeat_interleave(steps)
        maps = self.model.ahd(list(seen), torch.stack(texts).repeat_interleave(steps, dim=0), grid)
        with torch.no_grad():
            before = self.former([tap[own] for tap in seen], self.text, grid)
        named = F.interpolate(maps[~own], scale_factor=MASK_SCALE, mode="bilinear", align_corners=False)
        mask = torch.cat(masks)
        return {
            "focal": 5.0 * focal_loss(named, mask),
            "dice": dice_loss(named, mask),
            # What both classes share is nothing to the softmax, and the RAE leaves it out.
            "own": self.faithful * F.mse_loss(maps[own].diff(dim=1), before.diff(dim=1)),
        }


class OneShotStage(AhdStage):
    """Stage 1 from where it ended, on a single clip."""


def _halved(hidden: Tensor) -> Tensor:
    """In half the bytes: in half precision, or in bfloat16 where that cannot hold the few huge values that large towers have."""
    half = hidden.half() if hidden.dtype == torch.float32 else hidden
    return half if bool(half.isfinite().all()) else hidden.bfloat16()


STAGES: dict[str, type[Stage]] = {
    "backbone": BackboneStage,
    "language": LanguageStage,
    "ahd": AhdStage,
    "rae": RaeStage,
    "guidance": GuidanceStage,
    "one_shot": OneShotStage,
}
"""By name. Where one stands says which clips it sees and which dice it has, not when it is run: a new one comes last."""
