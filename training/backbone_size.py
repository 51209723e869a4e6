"""New Qwen2.5-VL-architecture backbones of a given size, with random weights. Knows nothing of training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from tvau_runtime.tokenizer import TextTokenizer

__all__ = ["BackboneSize", "new_backbone"]


@dataclass(frozen=True)
class BackboneSize:
    """Depths and widths. Head sizes must be multiples of 4 (vision) and of 8 (text), for the rotary tables."""

    vision_depth: int
    vision_hidden: int
    vision_heads: int
    vision_mlp: int
    text_layers: int
    text_hidden: int
    text_heads: int
    text_kv_heads: int
    text_mlp: int
    vocabulary: int
    window_size: int = 112


def new_backbone(size: BackboneSize, tokenizer_file: Path) -> nn.Module:
    """A `Qwen2_5_VLForConditionalGeneration` with tied embeddings and random weights from torch's generator."""
    tokenizer = TextTokenizer(tokenizer_file)
    half = size.text_hidden // size.text_heads // 2
    # Time, height, width of the rotary channels, in Qwen2.5-VL's proportion of 16 : 24 : 24.
    section = [half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8]
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": size.vocabulary,
            "hidden_size": size.text_hidden,
            "intermediate_size": size.text_mlp,
            "num_hidden_layers": size.text_layers,
            "num_attention_heads": size.text_heads,
            "num_key_value_heads": size.text_kv_heads,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": section,
            },
            "bos_token_id": tokenizer.token_id("<|endoftext|>"),
            "eos_token_id": tokenizer.token_id("<|im_end|>"),
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": size.vision_depth,
            "hidden_size": size.vision_hidden,
            "intermediate_size": size.vision_mlp,
            "num_heads": size.vision_heads,
            "out_hidden_size": size.text_hidden,
            "fullatt_block_indexes": list(range(1, size.vision_depth, 2)),
            "window_size": size.window_size,
            "tokens_per_second": 2,
        },
        image_token_id=tokenizer.token_id("<|image_pad|>"),
        video_token_id=tokenizer.token_id("<|video_pad|>"),
        vision_start_token_id=tokenizer.token_id("<|vision_start|>"),
        vision_end_token_id=tokenizer.token_id("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    return Qwen2_5_VLForConditionalGeneration(config)
