"""Anomaly Heatmap Decoder (AHD): tapped vision features against normal and abnormal text, to a map per class (eqs. 5-8).

Knows nothing of how features or text vectors were made.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["AnomalyHeatmapDecoder", "heatmap"]


REACH = 10.0
"""Largest difference between the class maps that untrained weights allow: softmax(10) is as good as certain."""


class AnomalyHeatmapDecoder(nn.Module):
    """One projection into text space per tap, cosine similarity, and a learned sum over taps.

    vision_dim: D_v. text_dim: D. taps: how many hidden states come in.
    The projections have the size that the paper's parameter count implies: 24.96 M at D_v = 1280, D = 3584, four taps.
    """

    def __init__(self, vision_dim: int, text_dim: int, taps: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(vision_dim),
                nn.Linear(vision_dim, vision_dim),
                nn.GELU(),
                nn.Linear(vision_dim, text_dim),
                nn.LayerNorm(text_dim),
            )
            for _ in range(taps)
        )
        # Cosines lie in -1..1 and the softmax has no temperature, so the weights w_i must act as one.
        self.weights = nn.Parameter(torch.full((taps,), REACH / taps))

    @torch.no_grad()
    def calibrate(self, text: Tensor) -> None:
        """Sets the weights, before training, so that the two classes' maps can differ by up to 10 for these text vectors [2, D].

        Mean-pooled prompts that share most of their words lie close together (a cosine of 0.998 is usual), and a feature can
        be at most as much nearer to one than to the other as they are apart. With weights that sum to 10 the heat map would
        never leave the neighbourhood of 0.5.
        """
        normal, abnormal = F.normalize(text.float(), dim=-1)
        self.weights.fill_(REACH / max(float((abnormal - normal).norm()), 1e-3) / len(self.weights))

    def forward(self, tapped: list[Tensor], text: Tensor, grid: tuple[int, int]) -> Tensor:
        """H_c (eq. 6).

        tapped: per tap [n, P, D_v] in raster order. text: [2, D], S_c of normal and abnormal. grid: (gh, gw), gh * gw = P.
        Returns [n, 2, gh, gw], channel 0 normal, 1 abnormal, before the softmax.
        """
        text = F.normalize(text.to(self.weights.dtype), dim=-1)
        maps = torch.zeros((), dtype=text.dtype, device=text.device)
        for weight, projection, hidden in zip(self.weights, self.projections, tapped, strict=True):
            projected = F.normalize(projection(hidden.to(self.weights.dtype)), dim=-1)  # V'_i
            maps = maps + weight * projected @ text.T  # eq. 5, summed as in eq. 6: n P 2
        return maps.transpose(1, 2).unflatten(2, grid)  # n P 2 -> n 2 gh gw


def heatmap(class_maps: Tensor) -> Tensor:
    """H (eqs. 7-8): [..., 2, gh, gw] to [..., gh, gw], 0..1."""
    return class_maps.softmax(dim=-3)[..., 1, :, :]
