"""Qwen2.5-VL's vision transformer over temporal patches of one fixed grid, on the weights of a transformers tower.

The library's own forward pass packs images of any size into one sequence: it splits attention window by window in Python and
cannot be exported. With the grid fixed, windows are one batched gather, temporal patches a batch axis, and rotary tables
constants. The numbers are the same (tested against the library's tower).

Knows nothing of text, prompts or heat maps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ModelError

__all__ = ["VisionTower"]


class VisionTower(nn.Module):
    """The tower for a grid of (gh, gw) patches.

    visual: a `Qwen2_5_VisionTransformerPretrainedModel`; its parameters are used, not copied.
    taps: 1-based block numbers, ascending. Raises `ModelError` when grid or taps do not fit the tower.
    """

    def __init__(self, visual: Any, grid: tuple[int, int], taps: tuple[int, ...]) -> None:
        super().__init__()
        self.raster: Tensor
        self.cos: Tensor
        self.sin: Tensor
        self.gather: Tensor
        self.back: Tensor
        self.mask: Tensor | None
        depth, merge = len(visual.blocks), visual.spatial_merge_size
        if grid[0] % merge or grid[1] % merge:
            raise ModelError(f"image_size: the patch grid {grid} must be a multiple of the merge size {merge}")
        if not taps or min(taps) < 1 or max(taps) > depth:
            raise ModelError(f"taps {list(taps)} must lie in 1..{depth}, the backbone's vision depth")
        self.visual: Any = visual  # nn.Module's attributes have no types
        self.grid, self.taps = grid, taps
        self.full_attention = frozenset(visual.fullatt_block_indexes)
        device = visual.patch_embed.proj.weight.device

        # The tower's own order of patches: merge x merge groups in raster order, as the merger needs them.
        index = torch.arange(grid[0] * grid[1]).reshape(grid)
        grouped = index.reshape(grid[0] // merge, merge, grid[1] // merge, merge).permute(0, 2, 1, 3).flatten()
        self.register_buffer("raster", torch.argsort(grouped).to(device), persistent=False)

        positions = torch.stack([grouped // grid[1], grouped % grid[1]], dim=-1)
        cos, sin = visual.rotary_pos_emb(torch.zeros(1), positions)
        self.register_buffer("cos", cos[:, None].to(device), persistent=False)  # [P, 1, head]
        self.register_buffer("sin", sin[:, None].to(device), persistent=False)

        side = visual.window_size // visual.patch_size // merge  # merged tokens along a window
        window = (positions // merge // side).tolist()
        members: dict[tuple[int, int], list[int]] = {}
        for patch, (row, column) in enumerate(window):
            members.setdefault((row, column), []).append(patch)
        longest = max(map(len, members.values()))
        # Windows at the border are smaller: they are filled with patch 0, which no query may see.
        gather = torch.tensor([m + [0] * (longest - len(m)) for m in members.values()])
        seen = torch.tensor([[True] * len(m) + [False] * (longest - len(m)) for m in members.values()])
        back = torch.empty(grid[0] * grid[1], dtype=torch.long)
        back[gather[seen]] = torch.arange(gather.numel()).reshape(gather.shape)[seen]
        self.register_buffer("gather", gather.to(device), persistent=False)  # [windows, longest]
        self.register_buffer("back", back.to(device), persistent=False)  # [P]
        mask = torch.where(seen, 0.0, -1e9)[:, None, None].to(
            device
        )  # a finite number keeps exported graphs free of NaN
        self.register_buffer("mask", None if bool(seen.all()) else mask, persistent=False)  # [windows, 1, 1, longest]

    def forward(self, pixels: Tensor) -> tuple[list[Tensor], Tensor]:
        """pixels [n, P, patch_dim] to hidden states after each tap, [n, P, C] in raster order, and merged tokens [n, P/4, D]."""
        weight = self.visual.patch_embed.proj.weight
        # A convolution whose stride is its kernel is a matrix product.
        hidden = F.linear(pixels.to(weight.dtype), weight.flatten(1))
        tapped = []
        for number, block in enumerate(self.visual.blocks):
            hidden = hidden + self._attend(block.attn, block.norm1(hidden), number in self.full_attention)
            hidden = hidden + block.mlp(block.norm2(hidden))
            if number + 1 in self.taps:
                tapped.append(hidden[:, self.raster])
        merger = self.visual.merger
        groups = merger.ln_q(hidden).reshape(hidden.shape[0], -1, merger.hidden_size)
        return tapped, merger.mlp(groups)

    def _attend(self, attention: Any, x: Tensor, full: bool) -> Tensor:
        n, patches, width = x.shape
        q, k, v = attention.qkv(x).reshape(n, patches, 3, attention.num_heads, -1).unbind(2)  # each [n, P, heads, head]
        q, k = self._rotate(q), self._rotate(k)
        mask = None
        windows, longest = self.gather.shape
        if not full:
            # n P h d -> (n windows) longest h d
            q, k, v = (t[:, self.gather].flatten(0, 1) for t in (q, k, v))
            if self.mask is not None:
                mask = self.mask.to(q.dtype).repeat(n, 1, 1, 1)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        out = _attention(q, k, v, mask).transpose(1, 2)
        if not full:
            out = out.reshape(n, windows * longest, width)[:, self.back]
        return attention.proj(out.reshape(n, patches, width))

    def _rotate(self, x: Tensor) -> Tensor:
        first, second = x.float().chunk(2, dim=-1)
        return (x.float() * self.cos + torch.cat([-second, first], dim=-1) * self.sin).to(x.dtype)


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    if not torch.is_autocast_enabled("cpu"):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    # While CPUs multiply matrices in bfloat16 three times as fast as in float32, attention takes three times as long.
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(
            q.float(), k.float(), v.float(), attn_mask=None if mask is None else mask.float()
        )
