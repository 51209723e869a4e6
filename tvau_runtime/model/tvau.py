"""T-VAU as one module: frozen backbone, AHD and RAE, joined as in eq. 14. Knows no files, no streams and no dialogue text."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..chat import mrope_positions
from ..errors import ModelError
from .anomaly_heatmap_decoder import AnomalyHeatmapDecoder
from .backbone import Backbone
from .region_anomaly_encoder import RegionAnomalyEncoder

__all__ = ["TVAU"]


class TVAU(nn.Module):
    """Built from its parts; `checkpoint.py` knows their sizes and files. Raises `ModelError` when they do not fit."""

    def __init__(self, backbone: Backbone, ahd: AnomalyHeatmapDecoder, rae: RegionAnomalyEncoder) -> None:
        super().__init__()
        if len(ahd.projections) != len(backbone.taps):
            raise ModelError(
                f"the AHD has {len(ahd.projections)} projections for the {len(backbone.taps)} taps {backbone.taps}"
            )
        self.backbone, self.ahd, self.rae = backbone, ahd, rae

    def encode(self, pixels: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """pixels [n, P, 1176] and text (S_normal, S_abnormal) [2, D], or [n, 2, D], to visual tokens [n, P/4, D] and H_c
        [n, 2, gh, gw]."""
        tapped, tokens = self.backbone.encode(pixels)
        return tokens, self.ahd(tapped, text, self.backbone.grid)

    def prompt(self, head: Tensor, visual: Tensor, tail: Tensor, class_maps: Tensor | None, dialogue: Tensor) -> Tensor:
        """P = [P_V, P_An, P_Q] (eq. 14) with the chat format's own tokens around the video.

        head [h], tail [t]: token ids before and behind the video. visual [B, T', M, D]. class_maps [B, T', 2, gh, gw].
        None leaves P_An out, as the backbone's own training does. dialogue [B, S]: token ids behind the anomaly prompts.
        Returns [B, h + T' * M + t + (T'-1) * 20 + S, D].
        """
        batch = visual.shape[0]
        parts = [
            self.backbone.embed(head).expand(batch, -1, -1),
            visual.flatten(1, 2),
            self.backbone.embed(tail).expand(batch, -1, -1),
            *([] if class_maps is None else [self.rae(class_maps)]),
            self.backbone.embed(dialogue),
        ]
        return torch.cat([part.to(visual.dtype) for part in parts], dim=1)

    def positions(self, before: int, steps: int, after: int, process_rate_hz: float) -> Tensor:
        """Rotary positions [3, 1, S] of a `prompt` with `before` and `after` embeddings around T' = steps of video."""
        rows, columns = (side // 2 for side in self.backbone.grid)
        positions = mrope_positions(
            before,
            (steps, rows, columns),
            after,
            seconds_per_step=2 / process_rate_hz,
            tokens_per_second=self.backbone.tokens_per_second,
        )
        return torch.from_numpy(positions)[:, None]

    @torch.no_grad()
    def generate(self, embeddings: Tensor, positions: Tensor, stop: int, max_new_tokens: int = 64) -> list[list[int]]:
        """Greedy answers of a batch without padding: embeddings [B, S, D], positions [3, 1 or B, S] to token ids per row.

        Stops a row at the token `stop`, which is left out. Runs the whole prefix once and one token at a time from there.
        """
        from transformers import DynamicCache

        batch = embeddings.shape[0]
        cache = DynamicCache(config=self.backbone.model.config.text_config)
        positions = positions.expand(3, batch, -1).to(embeddings.device)
        rows: list[list[int]] = [[] for _ in range(batch)]
        done = torch.zeros(batch, dtype=torch.bool, device=embeddings.device)
        for _ in range(max_new_tokens):
            hidden, cache = self.backbone.language(embeddings, positions, cache)
            chosen = self.backbone.logits(hidden[:, -1]).argmax(dim=-1)
            done |= chosen == stop
            if bool(done.all()):
                break
            for row, token in enumerate(chosen.tolist()):
                if not done[row]:
                    rows[row].append(token)
            embeddings = self.backbone.embed(chosen[:, None])
            positions = positions[..., -1:] + 1
        return rows
