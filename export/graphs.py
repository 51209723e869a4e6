"""The model as three functions of plain tensors, each of which becomes one ONNX graph.

Weights are shared with the model that they are made from. Pixel packing and prompt assembly stay outside: they are cheap, and
their tensors have more dimensions than TensorRT takes. Knows no files.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tvau_runtime.errors import ModelError
from tvau_runtime.model.backbone import Backbone
from tvau_runtime.model.text_decoder import rotary_frequencies
from tvau_runtime.model.tvau import TVAU

__all__ = ["Decoder", "Graph", "RegionPrompts", "VisionHeatmap"]


class Graph(Protocol):
    """What the exporter needs of each."""

    names: tuple[list[str], list[str]]
    """Of inputs and outputs."""

    def sample(self) -> tuple[Tensor, ...]:
        """Inputs of some size, on the model's device."""
        ...

    def axes(self) -> tuple[Any, ...]:
        """Per input, the axes whose length is free, by number and name."""
        ...


_WHEN = ("past", "present")


class VisionHeatmap(nn.Module):
    """`vision_ahd`: vision tower and AHD over any number of temporal patches."""

    def __init__(self, model: TVAU) -> None:
        super().__init__()
        self.model, self.names = model, (["pixels", "text"], ["visual_tokens", "class_maps"])

    def sample(self) -> tuple[Tensor, ...]:
        backbone = self.model.backbone
        rows, columns = backbone.grid
        return torch.randn(2, rows * columns, 1176), torch.randn(2, 2, backbone.text_dim)

    def axes(self) -> tuple[Any, ...]:
        return {0: "patches"}, {0: "patches"}

    def forward(self, pixels: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """pixels [n, P, 1176], text [n, 2, D] to visual tokens [n, P/4, D], H_c [n, 2, gh, gw], float32 in any precision."""
        tokens, maps = self.model.encode(pixels, text)
        return tokens.float(), maps


class RegionPrompts(nn.Module):
    """`rae`: H_c of a window of any length to P_An."""

    def __init__(self, model: TVAU) -> None:
        super().__init__()
        self.rae, self.grid, self.names = model.rae, model.backbone.grid, (["class_maps"], ["anomaly_prompts"])

    def sample(self) -> tuple[Tensor, ...]:
        return (torch.randn(2, 3, 2, *self.grid),)

    def axes(self) -> tuple[Any, ...]:
        return ({0: "batch", 1: "steps", 3: "rows", 4: "columns"},)

    def forward(self, class_maps: Tensor) -> Tensor:
        """[B, T', 2, gh, gw] to [B, (T'-1) * 20, D]."""
        return self.rae(class_maps)


class Decoder(nn.Module):
    """`decoder`: one pass of the language model over S new positions behind R that are in the cache; R = 0 to begin.

    The library's own pass builds masks and caches in Python. With both as tensors it is one graph.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        config = backbone.model.config.text_config
        if getattr(config, "use_sliding_window", False):
            raise ModelError("backbone: text_config.use_sliding_window is not supported in exported graphs")
        self.language: Any = backbone.model.model.language_model
        self.head: Any = backbone.model.lm_head
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.scale = float(self.language.rotary_emb.attention_scaling)
        self.frequencies: Tensor
        self.register_buffer("frequencies", rotary_frequencies(self.language), persistent=False)

        layers = range(len(self.language.layers))
        past, present = ([f"{when}_{what}_{n}" for n in layers for what in ("keys", "values")] for when in _WHEN)
        self.names = ["embeddings", "positions", *past], ["logits", *present]

    @property
    def layers(self) -> int:
        return len(self.language.layers)

    def sample(self) -> tuple[Tensor, ...]:
        width = self.head.weight.shape[1]
        dtype = self.head.weight.dtype
        past = [torch.randn(2, self.kv_heads, 4, self.head_dim, dtype=dtype) for _ in range(2 * self.layers)]
        return torch.randn(2, 3, width, dtype=dtype), torch.randint(0, 50, (3, 2, 3)), *past

    def axes(self) -> tuple[Any, ...]:
        past = tuple({0: "batch", 2: "known"} for _ in range(2 * self.layers))
        return {0: "batch", 1: "new"}, {1: "batch", 2: "new"}, past

    def forward(self, embeddings: Tensor, positions: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        """embeddings [B, S, D], positions [3, B, S], past: keys and values of each layer in turn, each [B, kv, R, head].

        Returns the logits of the last position [B, V], and keys and values of all R + S positions in the same order.
        """
        angle = torch.einsum("abs,af->bsf", positions.to(torch.float32), self.frequencies)
        cos, sin = angle.cos() * self.scale, angle.sin() * self.scale  # B S head/2
        cos, sin = (torch.cat([t, t], dim=-1)[:, None].to(embeddings.dtype) for t in (cos, sin))
        length, known = embeddings.shape[1], past[0].shape[2]
        query = known + torch.arange(length, device=embeddings.device)
        later = torch.arange(known + length, device=embeddings.device)[None] > query[:, None]
        mask = torch.where(later, -1e9, 0.0)  # S R+S, float32 whatever the weights are: half precision has no 1e9
        hidden, present = embeddings, []
        for number, layer in enumerate(self.language.layers):
            normed = layer.input_layernorm(hidden)
            attended, keys, values = self._attend(
                layer.self_attn, normed, cos, sin, mask, past[2 * number], past[2 * number + 1]
            )
            present += [keys, values]
            hidden = hidden + attended
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return (self.head(self.language.norm(hidden[:, -1])), *present)

    def _attend(
        self, attention: Any, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch, length, _ = x.shape
        q = attention.q_proj(x).reshape(batch, length, self.heads, self.head_dim).transpose(1, 2)
        k = attention.k_proj(x).reshape(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        v = attention.v_proj(x).reshape(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        # Scaled before the product, which half precision might not hold otherwise.
        q, k = _rotate(q, cos, sin) * self.head_dim**-0.5, _rotate(k, cos, sin)
        keys, values = torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)  # B kv R+S head
        # Heads that share keys are rows of one product: B kv (group S) head.
        q = q.reshape(batch, self.kv_heads, -1, length, self.head_dim)
        scores = q @ keys[:, :, None].transpose(-1, -2)
        out = (scores.float() + mask).softmax(dim=-1).to(values.dtype) @ values[:, :, None]
        out = out.reshape(batch, self.heads, length, self.head_dim).transpose(1, 2).reshape(batch, length, -1)
        return attention.o_proj(out), keys, values


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
