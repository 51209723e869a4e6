"""What the frozen part of a model made of each batch, kept on disk: it is computed once, and never wholly in memory.

Knows no model: a step is a list of pieces, each what a stage has seen and the batch that it saw, as tensors.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tvau_runtime.errors import ConfigError

from .batches import Batch

__all__ = ["FeatureStore", "Piece"]

Piece = tuple[tuple[Tensor, ...], Batch]


class FeatureStore:
    """Steps 0 .. count - 1 of one process in a folder.

    facts: all that the features depend on; a folder of others is not taken for this one. share: (i, n), this process among all.
    """

    def __init__(self, root: Path, facts: Any, count: int, share: tuple[int, int]) -> None:
        digest = hashlib.sha256(json.dumps([facts, share[1]], sort_keys=True, default=str).encode()).hexdigest()
        self.folder, self.count, self.share = root / digest[:16], count, share
        self.folder.mkdir(parents=True, exist_ok=True)

    def _path(self, step: int) -> Path:
        return self.folder / f"{self.share[0]}-{step}.pt"

    @property
    def filled(self) -> int:
        """How many steps there are; they are written in order."""
        return next((step for step in range(self.count) if not self._path(step).is_file()), self.count)

    def write(self, step: int, pieces: list[Piece]) -> None:
        """Raises `ConfigError` where the disk has no room for the steps that are still to come."""
        content = [
            {"seen": list(seen), "batch": [getattr(batch, field.name) for field in fields(batch)]}
            for seen, batch in pieces
        ]
        draft = self._path(step).with_suffix(".part")
        torch.save(content, draft)
        if step % 100 == 0:
            wanted = draft.stat().st_size * (self.count - step) * self.share[1]
            if wanted > (free := shutil.disk_usage(self.folder).free):
                draft.unlink()
                raise ConfigError(
                    f"frozen features need {wanted / 1e9:.1f} GB in {self.folder}, {free / 1e9:.1f} GB are free; "
                    "lower the stage's `cache`, or give another --out"
                )
        os.replace(draft, self._path(step))

    def read(self, step: int, device: torch.device) -> list[Piece]:
        """The pieces of a step, on a device."""
        content = torch.load(self._path(step), map_location=device, weights_only=True)
        return [(tuple(piece["seen"]), Batch(*piece["batch"])) for piece in content]
