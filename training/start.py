"""The model that a run begins with: new, around a transformers checkpoint, or a T-VAU checkpoint that is to be trained on.

Knows no stage and no data.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tvau_runtime.calibration import Calibration
from tvau_runtime.errors import ConfigError, ModelError
from tvau_runtime.manifest import Manifest
from tvau_runtime.model import checkpoint
from tvau_runtime.model.backbone import default_taps
from tvau_runtime.model.tvau import TVAU
from tvau_runtime.prompts import Prompts

from .backbone_size import BackboneSize, new_backbone
from .recipe import Recipe
from .text import train_tokenizer
from .world import NORMALITIES, anomalies, corpus

__all__ = ["Start"]


@dataclass(frozen=True)
class Start:
    """recipe: what to train. checkpoint: a T-VAU checkpoint whose backbone, AHD and RAE are taken, or None. anew: only its
    backbone, for that is to be trained on, and what reads its features has to learn them again."""

    recipe: Recipe
    checkpoint: Path | None = None
    anew: bool = False

    @property
    def fresh(self) -> bool:
        """Whether AHD and RAE are untrained: also where the checkpoint is of a run that ended before them."""
        if self.checkpoint is None or self.anew:
            return True
        return bool({"backbone", "language"} & set(self.finished)) and "ahd" not in self.finished

    def untrained(self, stage: str) -> bool:
        """Whether the part that a stage trains has to begin from nothing."""
        return self.fresh or (stage == "rae" and "rae" not in self.finished)

    @property
    def finished(self) -> tuple[str, ...]:
        """The stages that the model has behind it and keeps, of its own run and those before."""
        if self.checkpoint is None or self.anew:
            return ()
        return tuple(Manifest.read(self.checkpoint).training.get("stages", ()))

    @property
    def identity(self) -> str:
        """Tells models apart, also those that one after the other lie in the same place."""
        if self.checkpoint is None:
            return "nothing"
        return f"{self.checkpoint} {hashlib.sha256((self.checkpoint / Manifest.FILE).read_bytes()).hexdigest()[:16]}"

    @property
    def stages(self) -> tuple[str, ...]:
        """Those that make a whole checkpoint of it."""
        whole = self.possible
        return whole if self.checkpoint is None else whole[whole.index("ahd") :]

    @property
    def possible(self) -> tuple[str, ...]:
        """Those that can be asked for: a backbone that is of the recipe's own making may also be trained on."""
        stages, first = self.recipe.stages, ()
        if isinstance(self.recipe.backbone, BackboneSize):
            first = ("backbone", "language")
        return *first, "ahd", "rae", *(("guidance",) if stages.guidance else ())

    def write_tokenizer(self, target: Path) -> None:
        """Puts the tokenizer of the backbone into a file. Raises `ModelError` where there is none."""
        recipe = self.recipe
        if self.checkpoint is not None:
            shutil.copyfile(self.checkpoint / checkpoint.TOKENIZER_FILE, target)
        elif isinstance(recipe.backbone, BackboneSize):
            train_tokenizer(corpus(3000, recipe.seed), recipe.backbone.vocabulary, target)
        else:
            shutil.copyfile(_tokenizer_of(recipe.backbone), target)

    def build(self, tokenizer_file: Path, dtype: torch.dtype) -> tuple[TVAU, Manifest]:
        """The model, with what is new drawn from torch's generator, and its manifest. dtype: of a backbone that is not trained.

        Raises `ModelError` and `ConfigError` for what does not fit.
        """
        recipe = self.recipe
        if self.checkpoint is not None:
            manifest = Manifest.read(self.checkpoint)
            if manifest.without:
                raise ConfigError(f"{self.checkpoint} was trained without {manifest.without}; start from a whole model")
            for name in ("image_size", "process_rate_hz", "clip_length", "rae_conv_widths"):
                if getattr(manifest, name) != getattr(recipe, name):
                    raise ConfigError(
                        f"{self.checkpoint} was trained with {name} {getattr(manifest, name)}, "
                        f"the recipe says {getattr(recipe, name)}"
                    )
            inside = self.checkpoint / manifest.backbone
            own = isinstance(recipe.backbone, BackboneSize)  # it may be trained on, which bfloat16 is too coarse for
            found = inside if inside.is_dir() else manifest.backbone
            backbone = checkpoint.load_backbone(found, torch.float32 if own else dtype)
            if self.fresh:
                model = checkpoint.build(manifest, backbone)
            else:
                model, manifest, _ = checkpoint.complete(backbone, manifest, self.checkpoint)
            prompts = _prompts(recipe) or manifest.prompts
            # Probabilities were fitted to what the weights were; `calibrate.py` fits them to what they become.
            return model, dataclasses.replace(
                manifest, name=recipe.name, prompts=prompts, training={}, files={}, calibration=Calibration()
            )
        if isinstance(recipe.backbone, BackboneSize):
            backbone: Any = new_backbone(recipe.backbone, tokenizer_file)
            kept = "backbone"
        else:
            backbone, kept = checkpoint.load_backbone(recipe.backbone, dtype), recipe.backbone
            kept = str(Path(kept).resolve()) if Path(kept).is_dir() else kept
        manifest = Manifest(
            name=recipe.name,
            prompts=_prompts(recipe) or Prompts(NORMALITIES, anomalies(recipe.split)),
            image_size=recipe.image_size,
            process_rate_hz=recipe.process_rate_hz,
            clip_length=recipe.clip_length,
            taps=default_taps(backbone.config.vision_config.depth),
            backbone=kept,
            rae_conv_widths=recipe.rae_conv_widths,
        )
        return checkpoint.build(manifest, backbone), manifest

    def copy_adapter(self, target: Path, *, fits: bool) -> None:
        """That of the checkpoint that it was made from, if any. fits: whether the language model is still the same; else none."""
        shutil.rmtree(target / checkpoint.LORA_DIRECTORY, ignore_errors=True)
        if fits and self.checkpoint is not None and (self.checkpoint / checkpoint.LORA_DIRECTORY).is_dir():
            shutil.copytree(self.checkpoint / checkpoint.LORA_DIRECTORY, target / checkpoint.LORA_DIRECTORY)


def _prompts(recipe: Recipe) -> Prompts | None:
    return Prompts(recipe.prompts.normal, recipe.prompts.abnormal) if recipe.prompts else None


def _tokenizer_of(name: str) -> Path:
    """tokenizer.json of a transformers checkpoint. Raises `ModelError`."""
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(name, checkpoint.TOKENIZER_FILE)
    except (OSError, ValueError) as error:
        raise ModelError(f"backbone: {name} has no {checkpoint.TOKENIZER_FILE} that can be had: {error}") from error
    if found is None:
        raise ModelError(f"backbone: {name} has no {checkpoint.TOKENIZER_FILE}")
    return Path(found)
