"""How far exported graphs are from the checkpoint they were made from, and how far they may be."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from tvau_export.evidence import CHECK, labelled_clips, video_windows
from tvau_runtime.artifact import Artifact
from tvau_runtime.backends.onnx_backend import OnnxBackend
from tvau_runtime.chat import HEAD, QUESTION_ANOMALY, TAIL, question_text
from tvau_runtime.model import checkpoint
from tvau_runtime.model.anomaly_heatmap_decoder import heatmap
from tvau_runtime.model.tvau import TVAU
from tvau_runtime.prompts import Prompts
from tvau_runtime.tokenizer import TextTokenizer

__all__ = ["BOUNDS", "Bound", "compare", "first_fault", "first_prompt"]

Figures = dict[str, dict[str, float]]

TOKENS = 24
"""So many tokens are decoded greedily by both, behind each prompt."""
WINDOWS = 3
"""So many clip windows of the video are looked at."""


@dataclass(frozen=True)
class Bound:
    """What an export may lose."""

    relative: float
    """Largest error of a graph, relative to the largest number that it should give."""
    tokens: float
    """Least share of greedily decoded tokens that are the same, each behind the checkpoint's own tokens so far."""
    auroc: float
    """Most that the heat map's AUROC per patch may fall."""


EIGHT_BITS = Bound(0.5, 0.9, 0.002)
BOUNDS = {
    "fp32": Bound(1e-3, 1.0, 1e-4),
    "fp16": Bound(0.05, 0.95, 0.002),
    "int8": EIGHT_BITS,
    "int8-static": EIGHT_BITS,
}
"""By precision. Eight bits move single numbers far; what they are used for must stay."""


@torch.no_grad()
def compare(
    model: TVAU, tokenizer: TextTokenizer, prompts: Prompts, directory: Path, video: Path, clips: int
) -> Figures:
    """Errors per graph on random input and on frames of a video, at every image size; shares of equal tokens, and the heat
    map's AUROC, at the first.

    video: its first windows are looked at. clips: so many of the synthetic world that no training sees. Everything is drawn
    from one seed. Raises `FrameError` for a video that cannot be used.
    """
    text = checkpoint.text_features(model, tokenizer, prompts)
    figures: Figures = {name: {} for name in ("visual", "class_maps", "rae", "decoder")}
    same: list[bool] = []
    sizes = Artifact.read(directory).image_sizes
    for number, (height, width) in reversed(list(enumerate(sizes))):
        with contextlib.closing(OnnxBackend(directory, "cpu", size=f"{height}x{width}")) as engine:
            rows, columns = engine.spec.grid
            model.backbone = type(model.backbone)(model.backbone.model, engine.spec.grid, model.backbone.taps)
            shape = (3, rows * columns, engine.spec.patch_dim)
            noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
            windows = video_windows(video, engine.spec, WINDOWS)
            for pixels, kind in [(noise, ""), *((window, "frames_") for window in windows)]:
                tokens, maps = model.encode(torch.from_numpy(pixels), text)
                got_tokens, got_maps = engine.encode(pixels)
                _note(figures["visual"], kind, tokens, got_tokens)
                _note(figures["class_maps"], kind, maps, got_maps)
                _note(figures["rae"], kind, model.rae(maps[None])[0], engine.anomaly_prompts(maps.numpy()))
                if number == 0:  # what decodes knows nothing of sizes
                    prompt, positions = first_prompt(model, tokenizer, tokens, maps, engine.spec.process_rate_hz)
                    same += _decode(model, engine, prompt, positions, figures["decoder"], kind)
            if number == 0:
                figures["decoder"]["same_tokens"] = sum(same) / len(same)
                figures["heat_map"] = _heat_map(model, engine, text, clips)
    return figures


def first_fault(figures: Figures, precision: str = "fp32") -> str:
    """What is not within the bound of a precision, or nothing."""
    bound = BOUNDS[precision]
    for graph, values in figures.items():
        for name in ("relative", "frames_relative"):
            if name in values and not values[name] <= bound.relative:
                return f"{graph} is off by {values[name]:.2g} of its range (at most {bound.relative:g})"
        if not values.get("same_tokens", 1.0) >= bound.tokens:
            return (
                f"{graph} decodes other tokens ({values['same_tokens']:.0%} are the same, at least {bound.tokens:.0%})"
            )
        if "auroc" in values and not values["checkpoint_auroc"] - values["auroc"] <= bound.auroc:
            return (
                f"{graph} has an AUROC of {values['auroc']:.4f} per patch, the checkpoint {values['checkpoint_auroc']:.4f} "
                f"(at most {bound.auroc:g} less)"
            )
    return ""


def first_prompt(
    model: TVAU, tokenizer: TextTokenizer, tokens: torch.Tensor, maps: torch.Tensor, rate_hz: float
) -> tuple[np.ndarray, np.ndarray]:
    """The first question about a window, as embeddings [S, D] and positions [3, S]."""
    head, tail, question = (
        torch.tensor(tokenizer.encode(part)) for part in (HEAD, TAIL, question_text(QUESTION_ANOMALY, first=True))
    )
    prompt = model.prompt(head, tokens[None], tail, maps[None], question[None])[0]
    behind = len(prompt) - len(head) - tokens.shape[0] * tokens.shape[1]
    positions = model.positions(len(head), len(tokens), behind, rate_hz)[:, 0]  # time, row and column differ
    return prompt.numpy(), positions.numpy()


def _decode(
    model: TVAU, engine: OnnxBackend, x: np.ndarray, positions: np.ndarray, figures: dict[str, float], kind: str
) -> list[bool]:
    """Whether each greedily decoded token is the same."""
    from transformers import DynamicCache

    cache: Any = DynamicCache(config=model.backbone.model.config.text_config)
    other: Any = None
    same = []
    for _ in range(TOKENS):
        hidden, cache = model.backbone.language(torch.from_numpy(x)[None], torch.from_numpy(positions)[:, None], cache)
        wanted = model.backbone.logits(hidden[:, -1])[0]
        logits, other = engine.decode(x, positions, other)
        _note(figures, kind, wanted, logits)
        token = int(wanted.argmax())
        same.append(token == int(logits.argmax()))
        x = model.backbone.embed(torch.tensor([token])).numpy()
        positions = positions[:, -1:] + 1  # text counts up alike on all axes
    return same


def _heat_map(model: TVAU, engine: OnnxBackend, text: torch.Tensor, clips: int) -> dict[str, float]:
    """AUROC of the heat map per patch, of the checkpoint and of the graphs, on the same clips."""
    truth, before, after = [], [], []
    found = labelled_clips(engine.spec, clips, CHECK)
    for pixels, abnormal in tqdm(found, total=clips, desc="clips", unit="clip", dynamic_ncols=True):
        truth.append(abnormal.ravel())
        before.append(heatmap(model.encode(torch.from_numpy(pixels), text)[1]).numpy().ravel())
        after.append(heatmap(torch.from_numpy(engine.encode(pixels)[1])).numpy().ravel())
    labels = np.concatenate(truth)
    return {
        "checkpoint_auroc": float(roc_auc_score(labels, np.concatenate(before))),
        "auroc": float(roc_auc_score(labels, np.concatenate(after))),
    }


def _note(figures: dict[str, float], kind: str, wanted: torch.Tensor, got: np.ndarray) -> None:
    """Keeps the largest error so far. One that is not a number stays."""
    reference = wanted.float().numpy()
    worst = float(np.abs(reference - got).max())
    for name, value in (("absolute", worst), ("relative", worst / max(float(np.abs(reference).max()), 1e-12))):
        before = figures.get(kind + name, 0.0)
        figures[kind + name] = value if not value <= before else before
