"""What else one could run on the same camera frames, and what it costs per pair of frames.

OpenCV's MOG2 background subtraction is the cheap end, the plain transformers tower the obvious alternative; anomalib's AI-VAD and
FUVAS are run where anomalib is installed. Beside the cost stands how well each map points at what is abnormal in the built-in
scene (AUROC over patches), where it gives a map.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from common import DEMO, Skipped, command, export_of, frames, prepare, ratios, spread, table, timed

from tvau_runtime.backends import find_model, open_backend
from tvau_runtime.config import EngineConfig
from tvau_runtime.frames import pack_pair, resize
from tvau_runtime.stream import heatmap_of

__all__ = ["auroc", "run"]

SCENE_HZ = 10
"""Frames per second of the built-in scene."""
ROUNDS = 30
OTHER_ROUNDS = 5
"""Of what takes seconds."""


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds per pair of 640 x 480 frames, and AUROC, by method."""
    import torch

    from tvau_runtime.model import checkpoint

    prepare(options)
    loaded, _, _ = checkpoint.load(find_model(options.model))
    tower, reasons = loaded.backbone.model.model.visual, {}
    engines = {
        "tvau, torch": open_backend(
            EngineConfig(model=options.model, backend="torch", threads=options.threads, device="cpu")
        )
    }
    spec = engines["tvau, torch"].spec
    try:
        at = export_of(options, [spec.image_size])[spec.image_size]
        engines["tvau, onnxruntime"] = open_backend(EngineConfig(model=str(at), threads=options.threads, device="cpu"))
    except (Skipped, KeyError) as reason:
        reasons["tvau, onnxruntime"] = str(reason)
    taken = frames(40 if options.quick else 400)
    pairs = itertools.cycle(zip(taken[::2], taken[1::2], strict=False))
    subtractors = {size: cv2.createBackgroundSubtractorMOG2() for size in (taken[0].shape[:2], spec.image_size)}

    def pack(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return pack_pair(resize(first, spec), resize(second, spec), spec)

    def subtract(size: tuple[int, int]) -> None:
        for rgb in next(pairs):
            small = rgb if rgb.shape[:2] == size else cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA)
            subtractors[size].apply(small)

    @torch.inference_mode()
    def plain() -> None:
        tower(torch.from_numpy(pack(*next(pairs))), grid_thw=torch.tensor([[1, *spec.grid]]))

    calls: dict[str, Callable[[], object]] = {
        f"OpenCV MOG2, {size[1]} x {size[0]}": lambda size=size: subtract(size) for size in subtractors
    }
    calls["transformers, features alone"] = plain
    for name, engine in engines.items():
        calls[name] = lambda engine=engine: engine.encode(pack(*next(pairs))[None])
    spent = timed(calls, options, ROUNDS)
    for name, build in {"anomalib AI-VAD": _ai_vad, "anomalib FUVAS": _fuvas}.items():
        try:
            spent[name] = timed({name: build(taken)}, options, OTHER_ROUNDS, warm_up=1)[name]
        except Skipped as reason:
            reasons[name] = str(reason)
    pointing = {} if options.quick else _pointing(engines["tvau, torch"], taken, pack)
    for engine in engines.values():
        engine.close()

    base = spread(spent["transformers, features alone"])["median"]
    rows = {
        name: {"ms_per_pair": spread(values), "of_transformers": spread(values)["median"] / base}
        for name, values in spent.items()
    }
    for name in calls:
        rows[name]["of_transformers_by_round"] = ratios(spent[name], spent["transformers, features alone"])
    shown = [
        (name, row["ms_per_pair"]["median"], f"{row['ms_per_pair']['q25']:.1f}..{row['ms_per_pair']['q75']:.1f}",
         row["of_transformers"], pointing.get(name.split(",")[0]))
        for name, row in rows.items()
    ]  # fmt: skip
    table("peers, per pair of 640 x 480 frames", ["method", "ms", "quartiles", "of transformers", "AUROC"], shown)
    for what, why in reasons.items():
        print(f"  {what} was not run: {why}")
    return {"methods": rows, "auroc": pointing, "not run": reasons}


def _pointing(
    engine: Any, taken: list[np.ndarray], pack: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> dict[str, float]:
    """AUROC over the patches of all whole seconds: those in the box of an abnormal target against all others."""
    rows, columns = engine.spec.grid
    height, width = taken[0].shape[:2]
    subtractor = cv2.createBackgroundSubtractorMOG2()
    story = json.loads(DEMO.with_suffix(".json").read_text(encoding="utf-8"))
    boxes = {int(at): box for anomaly in story["anomalies"] for at, box in anomaly["boxes"].items()}
    truth, moving, ours = [], [], []
    for number, rgb in enumerate(taken):
        mask = subtractor.apply(rgb)
        if number % SCENE_HZ or number == 0:
            continue
        x_min, y_min, x_max, y_max = boxes.get(number // SCENE_HZ, (0, 0, 0, 0))
        inside = np.zeros((height, width), np.float32)
        inside[y_min:y_max, x_min:x_max] = 1
        truth.append(cv2.resize(inside, (columns, rows), interpolation=cv2.INTER_AREA) >= 0.5)
        moving.append(cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA))
        ours.append(heatmap_of(engine.encode(pack(taken[number - 1], rgb)[None])[1][0]).values)
    return {
        "OpenCV MOG2": auroc(np.stack(truth), np.stack(moving)),
        "tvau": auroc(np.stack(truth), np.stack(ours)),
    }


def auroc(truth: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a true one scores above another one; ties count half."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places.ravel()]
    true = truth.ravel().astype(bool)
    above = ranks[true].sum() - true.sum() * (true.sum() + 1) / 2
    return float(above / (true.sum() * (~true).sum()))


def _ai_vad(taken: list[np.ndarray]) -> Callable[[], object]:
    """Flow, regions and features of a pair; the density estimate behind them needs training and costs little beside them."""
    torch, module = _anomalib("ai_vad")
    model = module.AiVadModel().train()  # in training mode it ends at the features
    clip = torch.from_numpy(np.stack(taken[:2])).permute(0, 3, 1, 2)[None].float() / 255
    return lambda: model(clip)


def _fuvas(taken: list[np.ndarray]) -> Callable[[], object]:
    """Features of a clip of 8 frames at 256 x 256, the size it is meant for; a pair's share is not to be had."""
    torch, module = _anomalib("fuvas")
    model = module.FUVASModel(backbone="swin3d_b", layer="features.6.1", spatial_pool=True)
    small = [cv2.resize(rgb, (256, 256), interpolation=cv2.INTER_AREA) for rgb in taken[:8]]
    clip = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2)[None].float() / 255
    return lambda: model.get_features(clip)


def _anomalib(name: str) -> tuple[Any, Any]:
    """torch, and the module of one of anomalib's models. Raises `Skipped` where it cannot be had."""
    import importlib

    import torch

    try:
        return torch, importlib.import_module(f"anomalib.models.video.{name}.torch_model")
    except ImportError as error:
        raise Skipped(
            f"{error}; anomalib needs torchvision, which is not among the pinned packages, and weights from the network"
        ) from error


if __name__ == "__main__":
    sys.exit(command(run, __doc__))
