"""A recipe of a few thousand weights and a few steps, for tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

STAGE = {"steps": 3, "batch": 2, "learning_rate": 1.0e-3}
CACHED = {**STAGE, "cache": 2}
MINI: dict[str, Any] = {
    "name": "mini",
    "seed": 5,
    "image_size": [28, 56],
    "render_size": [48, 64],
    "process_rate_hz": 4.0,
    "clip_length": 4,
    "backbone": {
        "vision_depth": 2, "vision_hidden": 16, "vision_heads": 2, "vision_mlp": 24, "text_layers": 2, "text_hidden": 24,
        "text_heads": 3, "text_kv_heads": 1, "text_mlp": 32, "vocabulary": 400,
    },
    "rae_conv_widths": [4, 4, 4],
    "lora_rank": 2,
    "stages": {"backbone": STAGE, "language": CACHED, "ahd": CACHED, "rae": CACHED},
}  # fmt: skip


def write_recipe(path: Path, **changes: Any) -> Path:
    """Writes MINI with changes as YAML and returns the path."""
    path.write_text(yaml.safe_dump({**MINI, **changes}))
    return path
