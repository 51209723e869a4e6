"""Losses of the stages, on tensors alone: of the whole batch, however many processes share it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from .machines import pooled, total

__all__ = ["answer_loss", "dice_loss", "focal_loss", "word_loss"]


def focal_loss(class_maps: Tensor, mask: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross-entropy that forgets what is already right: class_maps [n, 2, h, w] (logits), mask [n, h, w] in 0..1."""
    log = class_maps.log_softmax(dim=1)
    hot, cold = log[:, 1], log[:, 0]
    return pooled(-(mask * (1 - hot.exp()) ** gamma * hot + (1 - mask) * (1 - cold.exp()) ** gamma * cold).mean())


def dice_loss(class_maps: Tensor, mask: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - overlap of the abnormal channel with the mask, over the whole batch: class_maps [n, 2, h, w], mask [n, h, w]."""
    heat = class_maps.softmax(dim=1)[:, 1]
    return 1 - (2 * total((heat * mask).sum()) + smooth) / (total(heat.sum() + mask.sum()) + smooth)


def answer_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Next-token cross-entropy: logits [N, V] at the positions before answer tokens, targets [N], weights [N]."""
    each = F.cross_entropy(logits.float(), targets, reduction="none")
    return total((each * weights).sum()) / total(weights.sum())


def word_loss(logits: Tensor, words: Tensor) -> Tensor:
    """Each visual token names what it shows: logits [N, V], words [N, W] token ids padded with -1; their mean -log p."""
    log = logits.float().log_softmax(dim=-1)
    there = words >= 0
    picked = log.gather(1, words.clamp(min=0))
    return -total((picked * there).sum()) / total(there.sum()).clamp(min=1)
