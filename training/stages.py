"""What each stage trains, and its loss. `train.py` runs them all with one loop.

backbone  everything in the backbone, from random weights, on normal life alone: dialogue, words of visual tokens, and
          dense heads (kind of object, ground behind it, motion) that are thrown away
ahd       the AHD alone, on masks: focal + dice
rae       the RAE and a LoRA adapter of the language model, on dialogue: narration first, then anomaly-focused refinement
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tvau_runtime.chat import HEAD, TAIL
from tvau_runtime.model import checkpoint
from tvau_runtime.model.tvau import TVAU
from tvau_runtime.tokenizer import TextTokenizer

from .batches import KINDS, MASK_SCALE, Batch
from .losses import answer_loss, dice_loss, focal_loss, word_loss

__all__ = ["STAGES", "AhdStage", "BackboneStage", "RaeStage", "Stage"]


class Stage(nn.Module):
    """A model with some of its parameters set free."""

    anomalies = True
    narration = 0.0
    """Share of the steps whose dialogue is about normal life."""

    def __init__(
        self,
        model: TVAU,
        tokenizer: TextTokenizer,
        rate_hz: float,
        text: Tensor,
        lora_rank: int,
    ) -> None:
        super().__init__()
        self.text: Tensor
        self.head: Tensor
        self.tail: Tensor
        self.model, self.rate_hz = model.requires_grad_(False), rate_hz
        self.register_buffer("text", text, persistent=False)  # S_c, [2, D]
        self.register_buffer("head", torch.tensor(tokenizer.encode(HEAD)), persistent=False)
        self.register_buffer("tail", torch.tensor(tokenizer.encode(TAIL)), persistent=False)
        self.prepare(lora_rank)

    def prepare(self, lora_rank: int) -> None:
        """Adds what the stage needs and frees what it trains."""

    def see(self, batch: Batch) -> tuple[Tensor, ...]:
        """What the frozen part of the model makes of the pixels: it is the same at every step, and may be kept."""
        return (batch.pixels,)

    def losses(self, seen: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        """The terms whose sum is minimised, from what `see` gave. The batch's pixels may be gone by then."""
        raise TypeError(f"{type(self).__name__} has no losses")

    def answer_loss(self, visual: Tensor, class_maps: Tensor | None, batch: Batch) -> Tensor:
        """Next-token loss on the answers: visual [B, T', M, D], class_maps [B, T', 2, gh, gw] or None."""
        prompt = self.model.prompt(self.head, visual, self.tail, class_maps, batch.dialogue)
        steps, length = visual.shape[1], batch.dialogue.shape[1]
        after = prompt.shape[1] - len(self.head) - steps * visual.shape[2]
        positions = self.model.positions(len(self.head), steps, after, self.rate_hz).to(prompt.device)
        hidden, _ = self.model.backbone.language(prompt, positions.expand(-1, len(prompt), -1))
        before = hidden[:, -length - 1 : -1]  # the position before each token predicts it
        said = batch.weights > 0
        return answer_loss(self.model.backbone.logits(before[said]), batch.dialogue[said], batch.weights[said])


class BackboneStage(Stage):
    """Pre-training from nothing."""

    anomalies = False
    narration = 1.0

    def prepare(self, lora_rank: int) -> None:
        self.model.backbone.requires_grad_(True)
        width = self.model.backbone.vision_dim
        self.kind_heads = nn.ModuleList(nn.Linear(width, len(KINDS) + 1) for _ in self.model.backbone.taps[1:])
        self.ground_heads = nn.ModuleList(nn.Linear(width, 3) for _ in self.model.backbone.taps[1:])
        self.motion_heads = nn.ModuleList(nn.Linear(width, 2) for _ in self.model.backbone.taps[1:])

    def losses(self, seen: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        (pixels,) = seen
        clips, steps = pixels.shape[:2]
        tapped, tokens = self.model.backbone.encode(pixels.flatten(0, 1))
        kinds, motion, words = (
            batch.kinds.flatten(),
            batch.motion.flatten(0, 2),
            batch.words.flatten(0, 2),
        )
        # Background is most of the picture; it counts a quarter.
        weights = torch.ones(len(KINDS) + 1, device=kinds.device).index_fill(
            0, torch.tensor([0], device=kinds.device), 0.25
        )
        heads = list(zip(self.kind_heads, self.motion_heads, tapped[1:], strict=True))
        kind = torch.stack([F.cross_entropy(k(h).flatten(0, 1), kinds, weights) for k, _, h in heads]).mean()
        ground = batch.ground[:, None].expand(-1, steps, -1).flatten()
        lies = torch.stack(
            [F.cross_entropy(g(h).flatten(0, 1), ground) for g, h in zip(self.ground_heads, tapped[1:], strict=True)]
        ).mean()
        there = kinds > 0
        moved = torch.stack([F.smooth_l1_loss(m(h).flatten(0, 1)[there], motion[there]) for _, m, h in heads]).mean()
        shows = words[:, 0] >= 0
        word = word_loss(self.model.backbone.logits(tokens.flatten(0, 1)[shows]), words[shows])
        answer = self.answer_loss(tokens.unflatten(0, (clips, steps)), None, batch)
        return {
            "answer": answer,
            "word": word,
            "kind": kind,
            "ground": lies,
            "motion": 2.0 * moved,
        }


class AhdStage(Stage):
    """Stage 1 of the method."""

    def prepare(self, lora_rank: int) -> None:
        self.model.ahd.requires_grad_(True)
        self.model.ahd.calibrate(self.text)

    @torch.no_grad()
    def see(self, batch: Batch) -> tuple[Tensor, ...]:
        tapped, _ = self.model.backbone.encode(batch.pixels.flatten(0, 1))
        return tuple(hidden.half() for hidden in tapped)

    def losses(self, seen: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        maps = self.model.ahd(list(seen), self.text, self.model.backbone.grid)
        maps = F.interpolate(maps, scale_factor=MASK_SCALE, mode="bilinear", align_corners=False)
        masks = batch.masks.flatten(0, 1)
        return {"focal": 5.0 * focal_loss(maps, masks), "dice": dice_loss(maps, masks)}


class RaeStage(Stage):
    """Stage 2 of the method."""

    narration = 0.1

    def prepare(self, lora_rank: int) -> None:
        from peft import LoraConfig, get_peft_model

        self.model.rae.requires_grad_(True)
        language = self.model.backbone.model.model
        settings = LoraConfig(r=lora_rank, lora_alpha=2 * lora_rank, target_modules="all-linear")
        with checkpoint.quiet():
            self.adapter: Any = get_peft_model(language.language_model, settings)
        language.language_model = self.adapter

    @torch.no_grad()
    def see(self, batch: Batch) -> tuple[Tensor, ...]:
        clips, steps = batch.pixels.shape[:2]
        tokens, maps = self.model.encode(batch.pixels.flatten(0, 1), self.text)
        return tokens.unflatten(0, (clips, steps)), maps.unflatten(0, (clips, steps))

    def losses(self, seen: tuple[Tensor, ...], batch: Batch) -> dict[str, Tensor]:
        tokens, maps = seen
        return {"answer": self.answer_loss(tokens, maps, batch)}

    def save_adapter(self, directory: Path) -> None:
        """Writes the adapter into a checkpoint directory and takes it off the language model, which is then as it was before."""
        checkpoint.save_lora(self.adapter, directory)
        self.model.backbone.model.model.language_model = self.adapter.unload()


STAGES = {"backbone": BackboneStage, "ahd": AhdStage, "rae": RaeStage}
