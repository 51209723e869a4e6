"""How fast an answer goes on: our engines and plain transformers. How soon it begins is `dialogue`'s.

Tokens per second behind the first, of `generate` of transformers and of our engines, on the same merged weights and prompt
embeddings; all must say the same. The evidence is a window of the built-in scene.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from common import DEMO, Skipped, command, export_of, prepare, ratio, table, timed

from tvau_runtime import EngineConfig, Pipeline, VideoReader, Window, chat
from tvau_runtime.backends import find_model, open_backend
from tvau_runtime.backends.base import Backend
from tvau_runtime.manifest import Manifest

__all__ = ["demo_window", "prompt", "run"]

ROUNDS, QUICK_ROUNDS = 20, 3
TOKENS, QUICK_TOKENS = 48, 8
"""Length of the answers whose speed is measured."""
QUESTION = chat.QUESTION_TARGET


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Tokens per second behind the first, by engine. Raises `Skipped`."""
    prepare(options)
    tokens = QUICK_TOKENS if options.quick else TOKENS
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    height, width = Manifest.read(find_model(options.model)).image_size
    graphs = export_of(options, [(height, width)])
    if not graphs:
        raise Skipped(f"{options.export} has no graph of {height}x{width} pixels")
    engines = {
        name: open_backend(EngineConfig(model=str(at), backend=backend, device="cpu", threads=options.threads))
        for name, at, backend in (("torch", options.model, "torch"), ("onnxruntime", graphs[height, width], "onnx"))
    }
    window = demo_window(engines["torch"])
    goes_on = speed(options, engines, window, rounds, tokens)
    table(
        f"{tokens} tokens behind the first", ["", "tokens/s", "x transformers", "same tokens"], list(goes_on.values())
    )
    for engine in engines.values():
        engine.close()
    decoding = {
        what: dict(zip(("tokens_per_s", "x_transformers", "same_tokens"), row[1:], strict=True))
        for what, row in goes_on.items()
    }
    return {"rounds": rounds, "tokens": tokens, "decoding": decoding}


def demo_window(backend: Backend) -> Window:
    """The first clip window of the built-in scene."""
    pipeline = Pipeline(backend)
    with VideoReader(DEMO) as video:
        return next(u.window for frame in video for u in pipeline.push(frame) if u.window is not None)


def speed(
    options: argparse.Namespace, engines: dict[str, Backend], window: Window, rounds: int, count: int
) -> dict[str, list[Any]]:
    """Rows: engine, tokens per second behind the first, times transformers, and whether it says the same."""
    import torch

    from tvau_runtime.model import checkpoint

    plain: Any = checkpoint.load(find_model(options.model))[0].backbone.model
    plain.generation_config.eos_token_id = None  # all go on to the same length
    embeddings, positions = prompt(engines["torch"], window, chat.question_text(QUESTION, first=True))
    given = {
        "inputs_embeds": torch.from_numpy(embeddings)[None],
        "position_ids": torch.from_numpy(positions)[:, None],
        "attention_mask": torch.ones((1, len(embeddings)), dtype=torch.long),
        "do_sample": False,
        "pad_token_id": 0,
    }

    def library(tokens: int) -> list[int]:
        return plain.generate(**given, max_new_tokens=tokens, min_new_tokens=tokens)[0].tolist()

    def ours(engine: Backend, tokens: int) -> list[int]:
        logits, cache = engine.decode(embeddings, positions)
        said, at = [int(logits.argmax())], int(positions.max()) + 1
        while len(said) < tokens:
            logits, cache = engine.decode(engine.embed(said[-1:]), np.full((3, 1), at), cache)
            said.append(int(logits.argmax()))
            at += 1
        return said

    speakers: dict[str, Callable[[int], list[int]]] = {"transformers": library}
    speakers |= {name: lambda tokens, e=engine: ours(e, tokens) for name, engine in engines.items()}
    expected = library(count)
    calls = {
        (name, tokens): lambda speak=speak, tokens=tokens: speak(tokens)
        for name, speak in speakers.items()
        for tokens in (1, count)
    }
    spent = timed({f"{name} {tokens}": call for (name, tokens), call in calls.items()}, options, rounds, 1)
    per_token = {
        name: [
            (long - short) / (count - 1)
            for long, short in zip(spent[f"{name} {count}"], spent[f"{name} 1"], strict=True)
        ]
        for name in speakers
    }
    base = per_token["transformers"]
    return {
        name: [name, 1e3 / statistics.median(values), ratio(base, values), "yes" if speak(count) == expected else "no"]
        for (name, speak), values in zip(speakers.items(), per_token.values(), strict=True)
    }


def prompt(engine: Backend, window: Window, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings float32 [S, D] and positions int64 [3, S] of a window's evidence and the text behind it, in one piece."""
    head, tail, ids = (engine.tokenizer.encode(part) for part in (chat.HEAD, chat.TAIL, text))
    visual = np.concatenate([step.visual_tokens for step in window.steps])
    prompts = engine.anomaly_prompts(np.stack([step.class_maps for step in window.steps]))
    embeddings = np.concatenate([engine.embed(head), visual, engine.embed(tail), prompts, engine.embed(ids)])
    positions = chat.mrope_positions(
        len(head),
        (len(window.steps), *engine.spec.merged_grid),
        len(embeddings) - len(head) - len(visual),
        seconds_per_step=engine.spec.temporal_patch_size / engine.spec.process_rate_hz,
        tokens_per_second=engine.spec.tokens_per_second,
    )
    return embeddings, positions


if __name__ == "__main__":
    sys.exit(command(run, __doc__))
