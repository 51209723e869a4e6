"""Qwen2.5-VL's language model over new positions of one sequence, on the weights of a transformers model.

The library's own pass builds masks and caches anew for every token and copies all keys and values to add one. With one
sequence and nothing to mask in a single position, a token costs a fraction of that. The numbers are the same (tested against
the library's pass).

Knows nothing of video, prompts or tokens.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ModelError

__all__ = ["TextCache", "TextDecoder", "rotary_frequencies"]

ROOM = 256
"""Positions by which a cache grows when it is full."""


class _Store:
    """Keys and values of all layers, [2 * layers, kv, capacity, head]; the first `filled` positions belong to somebody."""

    def __init__(self, data: Tensor) -> None:
        self.data, self.filled = data, 0
        self._lock = threading.Lock()

    def claim(self, begin: int, end: int) -> bool:
        """Whether the caller, who knows the positions before `begin`, may write those up to `end`."""
        with self._lock:
            free = begin == self.filled and end <= self.data.shape[2]
            if free:
                self.filled = end
            return free


class TextCache:
    """Keys and values of the first `length` positions, all that a pass needs of them.

    Caches that begin alike share them: the first to grow does so in place, the others copy what they share once.
    """

    def __init__(self, store: _Store, length: int) -> None:
        self._store, self.length = store, length

    @property
    def nbytes(self) -> int:
        """Of the memory that it lies in, shared or not yet filled."""
        return self._store.data.nbytes

    def crop(self, length: int) -> TextCache:
        """The first positions, without a copy; this one stays as it is."""
        return TextCache(self._store, min(length, self.length))

    def extend(self, count: int) -> Tensor:
        """Makes room for `count` more positions, to be written by the caller; [2 * layers, kv, length, head] with them."""
        end = self.length + count
        if not self._store.claim(self.length, end):
            old = self._store.data
            new = _Store(old.new_empty((*old.shape[:2], end + ROOM, old.shape[3])))
            new.data[:, :, : self.length] = old[:, :, : self.length]
            new.filled = end
            self._store = new
        self.length = end
        return self._store.data[:, :, :end]


class TextDecoder:
    """language: a `Qwen2_5_VLTextModel`, head: its output layer; their parameters are used, not copied.

    Raises `ModelError` for a configuration that it cannot run.
    """

    def __init__(self, language: Any, head: Any) -> None:
        config = language.config
        if getattr(config, "use_sliding_window", False):
            raise ModelError("backbone: text_config.use_sliding_window is not supported")
        self._language, self._head = language, head
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._frequencies = rotary_frequencies(language)
        self._head_dim = 2 * self._frequencies.shape[1]
        self._scale = float(language.rotary_emb.attention_scaling)

    @property
    def dtype(self) -> torch.dtype:
        return self._head.weight.dtype

    def new_cache(self) -> TextCache:
        weight = self._head.weight
        shape = 2 * len(self._language.layers), self._kv_heads, 0, self._head_dim
        return TextCache(_Store(torch.empty(shape, dtype=weight.dtype, device=weight.device)), 0)

    def __call__(self, embeddings: Tensor, positions: Tensor, cache: TextCache) -> Tensor:
        """embeddings [S, D] and rotary positions [3, S] of what comes behind the cache, which then holds them too.

        Returns the logits of the last position, [V].
        """
        angle = (positions[:, :, None].to(torch.float32) * self._frequencies[:, None]).sum(dim=0)  # S head/2
        cos, sin = angle.cos() * self._scale, angle.sin() * self._scale
        # x * cos + (its halves swapped, the first negated) * sin
        cos = torch.cat([cos, cos], dim=-1)[:, None].to(embeddings.dtype)
        sin = torch.cat([-sin, sin], dim=-1)[:, None].to(embeddings.dtype)
        known, count = cache.length, len(embeddings)
        mask = None
        if count > 1:
            seen = torch.ones(count, known + count, dtype=torch.bool, device=embeddings.device).tril(known)
            mask = seen.repeat(self._heads // self._kv_heads, 1)
        stored = cache.extend(count)
        hidden = embeddings
        for number, layer in enumerate(self._language.layers):
            normed = _norm(layer.input_layernorm, hidden)
            keys, values = stored[2 * number], stored[2 * number + 1]
            hidden = hidden + self._attend(layer.self_attn, normed, cos, sin, mask, keys, values)
            hidden = hidden + layer.mlp(_norm(layer.post_attention_layernorm, hidden))
        return self._head(_norm(self._language.norm, hidden[-1]))

    def _attend(
        self, attention: Any, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, keys: Tensor, values: Tensor
    ) -> Tensor:
        """keys, values: [kv, R+S, head], of which the last S are written here."""
        count = len(x)
        turned = torch.cat([attention.q_proj(x), attention.k_proj(x)], dim=-1).reshape(count, -1, self._head_dim)
        turned = turned * cos + turned.roll(self._head_dim // 2, dims=-1) * sin  # S heads+kv head
        q, k = turned[:, : self._heads], turned[:, self._heads :]
        keys[:, -count:] = k.transpose(0, 1)
        values[:, -count:] = attention.v_proj(x).reshape(count, self._kv_heads, self._head_dim).transpose(0, 1)
        # Heads that share keys are rows of one product: kv (group S) head.
        q = q.transpose(0, 1).reshape(self._kv_heads, -1, self._head_dim)
        out = F.scaled_dot_product_attention(q[None], keys[None], values[None], attn_mask=mask)
        return attention.o_proj(out.reshape(self._heads, count, self._head_dim).transpose(0, 1).reshape(count, -1))


def _norm(norm: Any, x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], norm.weight, norm.variance_epsilon)


def rotary_frequencies(language: Any) -> Tensor:
    """Which frequency turns with which of time, row and column, for angles: [3, head/2], one number in each column.

    language: a `Qwen2_5_VLTextModel`. Raises `ModelError` where its configuration does not say, or does not fit.
    """
    config, rotary = language.config, language.rotary_emb
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    sections = None
    for name in ("rope_parameters", "rope_scaling"):  # transformers 5 and 4
        sections = sections or (getattr(config, name, None) or {}).get("mrope_section")
    if not sections:
        raise ModelError("backbone: text_config names no mrope_section")
    if sum(sections) * 2 != head_dim:
        raise ModelError(f"backbone: mrope_section {list(sections)} must sum to half of the head's {head_dim}")
    axis = torch.cat([torch.full((count,), number) for number, count in enumerate(sections)])
    frequencies = torch.zeros(3, len(axis)).scatter_(0, axis[None], rotary.inv_freq.float().cpu()[None])
    return frequencies.to(rotary.inv_freq.device)
