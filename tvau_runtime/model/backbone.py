"""The frozen backbone: a transformers Qwen2.5-VL of any size, seen the way the method needs it.

Gives, per temporal patch, hidden states after the tapped vision blocks and the merged visual tokens; token embeddings of texts;
and passes of the language model with explicit rotary positions. Knows nothing of heat maps or prompts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .vision_tower import VisionTower

__all__ = ["REFERENCE_TAPS", "Backbone", "default_taps"]

REFERENCE_TAPS = (1, 8, 16, 32)
"""The paper's taps of a tower of 32 blocks, 1-based (eq. 4)."""


def default_taps(depth: int) -> tuple[int, ...]:
    """The paper's taps in proportion to another depth: 8 -> (1, 2, 4, 8)."""
    return tuple(sorted({max(1, round(tap * depth / 32)) for tap in REFERENCE_TAPS}))


class Backbone(nn.Module):
    """Wraps a `Qwen2_5_VLForConditionalGeneration`.

    model: the transformers model, any size; it is frozen and put into eval mode.
    grid: (gh, gw) patches of the fixed image size. taps: 1-based vision blocks; None takes `default_taps`.
    """

    def __init__(self, model: Any, grid: tuple[int, int], taps: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.model: Any = model.requires_grad_(False).eval()
        vision = model.config.vision_config
        for name, wanted in (("patch_size", 14), ("temporal_patch_size", 2), ("spatial_merge_size", 2)):
            if getattr(vision, name) != wanted:
                raise ModelError(f"backbone: vision_config.{name} must be {wanted}, got {getattr(vision, name)}")
        self.tower = VisionTower(model.model.visual, grid, taps or default_taps(vision.depth))

    @property
    def taps(self) -> tuple[int, ...]:
        return self.tower.taps

    @property
    def grid(self) -> tuple[int, int]:
        return self.tower.grid

    @property
    def vision_dim(self) -> int:
        """D_v, the width of the vision tower."""
        return self.model.config.vision_config.hidden_size

    @property
    def text_dim(self) -> int:
        """D, the width of the language model."""
        return self.model.config.text_config.hidden_size

    @property
    def tokens_per_second(self) -> float:
        return float(self.model.config.vision_config.tokens_per_second)

    def train(self, mode: bool = True) -> Backbone:
        """Stays in eval mode, whatever is asked: it is frozen."""
        return super().train(False)

    def encode(self, pixels: Tensor) -> tuple[list[Tensor], Tensor]:
        """pixels [n, P, 1176] to tapped hidden states (each [n, P, D_v], raster order; eq. 4) and visual tokens [n, P/4, D]."""
        return self.tower(pixels)

    def embed(self, token_ids: Tensor) -> Tensor:
        """Token embeddings E_t: [..., S] to [..., S, D]."""
        return self.model.get_input_embeddings()(token_ids)

    def text_features(self, texts: list[Tensor]) -> Tensor:
        """One vector S_c of a category: the mean over all tokens of all its prompts, [D] (eqs. 2-3)."""
        return self.embed(torch.cat(texts)).mean(dim=0)

    def language(
        self, embeddings: Tensor, positions: Tensor, cache: Any = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """One pass of the language model.

        embeddings [B, S, D], positions [3, B, S]; cache: of earlier positions, or None to start without keeping one;
        mask [B, S]: 0 where a position is padding. Returns the last hidden states [B, S, D] and the cache.
        """
        out = self.model.model.language_model(
            inputs_embeds=embeddings,
            position_ids=positions,
            past_key_values=cache,
            attention_mask=mask,
            use_cache=cache is not None,
        )
        return out.last_hidden_state, out.past_key_values

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] to [..., V] over the vocabulary."""
        return self.model.lm_head(hidden)
