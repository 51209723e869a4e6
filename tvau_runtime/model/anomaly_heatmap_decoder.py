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
        self.center: Tensor
        self.register_buffer("center", torch.zeros(text_dim))

    @torch.no_grad()
    def calibrate(self, text: Tensor) -> None:
        """Sets the weights, before training, so that the two classes' maps can differ by up to 10 for these text vectors [2, D].

        Mean-pooled prompts that share most of their words lie close together (a cosine of 0.998 is usual), and a feature can
        be at most as much nearer to one than to the other as they are apart. With weights that sum to 10 the heat map would
        never leave the neighbourhood of 0.5.
        """
        self.weights.fill_(REACH / self._apart(text) / len(self.weights))

    @torch.no_grad()
    def recenter(self, text: Tensor) -> None:
        """Has cosines be of what sets prompts apart: how they differ from the middle of these text vectors [2, D].

        All prompts share templates, and all token embeddings have much in common; cosines of 0.98 and more are usual between
        prompts for quite different things, which then differ less in direction than in how far apart they are. The weights
        change so that the maps of these two stay about as they were.
        """
        before = self._apart(text)
        self.center.copy_(text.float().mean(dim=0))
        self.weights.mul_(before / self._apart(text))

    def forward(self, tapped: list[Tensor], text: Tensor, grid: tuple[int, int]) -> Tensor:
        """H_c (eq. 6).

        tapped: per tap [n, P, D_v] in raster order. text: S_c of normal and abnormal, [2, D] for all or [n, 2, D].
        grid: (gh, gw), gh * gw = P.
        Returns [n, 2, gh, gw], channel 0 normal, 1 abnormal, before the softmax.
        """
        return self.compare(self.align(tapped), text, grid)

    def align(self, tapped: list[Tensor]) -> Tensor:
        """The taps in text space, each of length w_i and summed: [n, P, D]. It needs no text, and serves any."""
        aligned = torch.zeros((), dtype=self.weights.dtype, device=self.weights.device)
        for weight, projection, hidden in zip(self.weights, self.projections, tapped, strict=True):
            aligned = aligned + weight * F.normalize(projection(hidden.to(self.weights.dtype)), dim=-1)  # w_i V'_i
        return aligned

    def compare(self, aligned: Tensor, text: Tensor, grid: tuple[int, int]) -> Tensor:
        """H_c of what `align` gave: the weighted sum of cosines (eqs. 5-6) is the product with the sum of the weighted taps."""
        text = F.normalize(text.to(aligned.dtype) - self.center, dim=-1)
        maps = aligned @ text.transpose(-1, -2)  # n P 2
        return maps.transpose(1, 2).unflatten(2, grid)  # n P 2 -> n 2 gh gw

    def _apart(self, text: Tensor) -> float:
        """How far the directions of two text vectors are apart."""
        normal, abnormal = F.normalize(text.float() - self.center, dim=-1)
        return max(float((abnormal - normal).norm()), 1e-3)


def heatmap(class_maps: Tensor) -> Tensor:
    """H (eqs. 7-8): [..., 2, gh, gw] to [..., gh, gw], 0..1."""
    return class_maps.softmax(dim=-3)[..., 1, :, :]
