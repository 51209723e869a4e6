"""Region-aware Anomaly Encoder (RAE): how a window's heat maps change, as prompt embeddings for the language model (eqs. 9-13).

Knows nothing of where heat maps come from or where prompts go.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["BASE_PROMPTS", "PROMPTS", "REGIONS", "RegionAnomalyEncoder"]

BASE_PROMPTS = 10
"""N_base, learnable prompts shared by all steps."""
REGIONS = 3
"""The frame is divided into REGIONS x REGIONS regions."""
PROMPTS = BASE_PROMPTS + REGIONS * REGIONS + 1
"""Prompts for each step but the first."""


class RegionAnomalyEncoder(nn.Module):
    """Three convolutions over temporal differences, pooled by region and over all, each through an MLP and a linear layer.

    text_dim: D. conv_widths: channels of the convolutions, the last is C_h. hidden: width of the MLPs; 0 takes 4/7 of D.
    With the defaults at D = 3584 it has 24.94 M parameters; the paper's count implies 24.97 M.
    """

    def __init__(self, text_dim: int, conv_widths: tuple[int, int, int] = (64, 256, 256), hidden: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((2, *conv_widths), conv_widths):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.GELU()]
        self.backbone = nn.Sequential(*layers)
        hidden = hidden or text_dim * 4 // 7
        self.region = _mlp(conv_widths[-1], hidden, text_dim)
        self.everywhere = _mlp(conv_widths[-1], hidden, text_dim)
        # As small as token embeddings are, so that untrained prompts do not drown the text.
        self.base = nn.Parameter(torch.randn(BASE_PROMPTS, text_dim) * 0.02)
        # One MLP serves all regions and cannot tell where it is; a row of the frame is not a row of rotary positions either.
        self.place = nn.Parameter(torch.randn(REGIONS * REGIONS, text_dim) * 0.02)

    def forward(self, class_maps: Tensor) -> Tensor:
        """P_An (eq. 13): H_c of a window [B, T', 2, gh, gw], T' >= 2, to [B, (T'-1) * 20, D], step after step.

        Raises `ValueError` for a window of a single step, which has no difference.
        """
        if class_maps.shape[1] < 2:
            raise ValueError("the RAE needs a window of at least two temporal patches")
        batch = class_maps.shape[0]
        # What both classes share is nothing to the softmax (eq. 7), but large where prompts lie close together; it would
        # drown what sets them apart.
        class_maps = class_maps - class_maps.mean(dim=2, keepdim=True)
        difference = class_maps[:, 1:] - class_maps[:, :-1]  # eq. 9
        features = self.backbone(difference.to(self.base.dtype).flatten(0, 1))  # eq. 10: (B T'-1) C_h gh gw
        rows, columns = (_shares(side, features) for side in features.shape[2:])
        grid = (rows @ features @ columns.T).flatten(2).transpose(1, 2)  # (B T'-1) 9 C_h
        region = self.region(grid) + self.place  # eq. 11
        everywhere = self.everywhere(features.mean(dim=(2, 3)))[:, None]  # eq. 12
        base = self.base.expand(region.shape[0], -1, -1)
        prompts = torch.cat([base, region, everywhere], dim=1)  # eq. 13: (B T'-1) 20 D
        return prompts.reshape(batch, -1, prompts.shape[-1])


def _shares(side: int, like: Tensor) -> Tensor:
    """What each cell of a side counts in the mean of each region, as `adaptive_avg_pool2d` divides it: [REGIONS, side].

    That one is traced into a graph as the traced size has it, with branches on `side % REGIONS`; this holds for any.
    """
    cell = torch.arange(side, device=like.device)
    region = torch.arange(REGIONS, device=like.device)[:, None]
    first, end = region * side // REGIONS, ((region + 1) * side + REGIONS - 1) // REGIONS
    inside = ((cell >= first) & (cell < end)).to(like.dtype)
    return inside / inside.sum(dim=1, keepdim=True)


def _mlp(before: int, hidden: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(before, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, after)
    )
