"""What naming a kind of thing in the prompts does to its heat.

A checkpoint's AHD sees clips of the synthetic world's validation or test split, under its own prompts, with each kind named
abnormal, in known and in new words and templates, with other kinds named, and with each kind named normal. A patch shows a kind
where at least a quarter of it is covered, in either frame of the pair.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from tvau_runtime.backends import find_model
from tvau_runtime.backends.base import ModelSpec
from tvau_runtime.errors import ConfigError, TvauError
from tvau_runtime.model import checkpoint
from tvau_runtime.model.anomaly_heatmap_decoder import heatmap
from tvau_runtime.model.tvau import TVAU
from tvau_runtime.prompts import DEFAULT_PHRASE, DEFAULT_SENTENCE, Prompts
from tvau_runtime.tokenizer import TextTokenizer
from tvau_training.batches import pack_clip
from tvau_training.drawn import drawn_clips
from tvau_training.guidance import UNSEEN_PHRASE, UNSEEN_SENTENCE, Naming, naming
from tvau_training.world import UNTRAINED, Clip
from tvau_training.world.things import Thing

EXAMPLES = """\
examples:
  python benchmarks/guidance.py --split validation
  python benchmarks/guidance.py --model runs/tiny/checkpoint --clips 200 --json out/guidance.json
"""
LEAST_SHARE = 0.25
MARGIN = 0.01
"""Heat has been raised or lowered where it differs by more than this."""
TOGETHER = 16
"""Clips that go through the model in one call."""
LEVELS = {"word": "{}", "phrase": DEFAULT_PHRASE, "sentence": DEFAULT_SENTENCE}

HeatOf = Callable[[Prompts], np.ndarray]


@dataclass(frozen=True, eq=False)
class Seen:
    """N frame pairs as the AHD gets them: per tap float16 [N, P, D_v], and what each patch shows, int64 [N, P] (0: none of the
    kinds).
    """

    tapped: list[torch.Tensor]
    deeds: np.ndarray


@torch.inference_mode()
def watch(model: TVAU, spec: ModelSpec, clips: int, split: str, seed: int) -> Seen:
    """The frozen part of the model sees clips, half of them with an anomaly."""
    batches: list[list[torch.Tensor]] = []
    deeds, waiting = [], []
    for number, clip in enumerate(drawn_clips(spec, clips, split, seed)):
        waiting.append(torch.from_numpy(pack_clip(clip.frames, spec)))
        deeds.append(_deeds(clip, spec.grid))
        if len(waiting) == TOGETHER or number == clips - 1:
            tapped, _ = model.backbone.encode(torch.cat(waiting))
            batches.append([hidden.half() for hidden in tapped])
            waiting = []
    return Seen([torch.cat(tap) for tap in zip(*batches, strict=True)], np.concatenate(deeds))


def _deeds(clip: Clip, grid: tuple[int, int]) -> np.ndarray:
    """What each patch of each pair shows most of: int64 [T/2, P]."""
    steps = len(clip.frames) // 2
    number = naming().number
    shown, most = np.zeros((steps, *grid), np.int64), np.full((steps, *grid), LEAST_SHARE, np.float32)
    for actor in clip.actors:
        for t in range(steps):
            if actor.anomalous and not actor.abnormal_frames[2 * t : 2 * t + 2].any():
                continue
            seen = (clip.objects[2 * t : 2 * t + 2] == actor.id).any(axis=0).astype(np.float32)
            share = cv2.resize(seen, grid[::-1], interpolation=cv2.INTER_AREA)
            mine = share >= most[t]
            most[t][mine], shown[t][mine] = share[mine], number(actor)
    return shown.reshape(steps, -1)


@torch.inference_mode()
def heat_of(model: TVAU, tokenizer: TextTokenizer, seen: Seen, batch: int = 128) -> HeatOf:
    """The heat of all patches under some prompts: prompts to float32 [N, P], 0..1."""
    starts = range(0, len(seen.deeds), batch)
    aligned = torch.cat([model.ahd.align([tap[i : i + batch] for tap in seen.tapped]) for i in starts])

    @torch.inference_mode()
    def heat(prompts: Prompts) -> np.ndarray:
        text = checkpoint.text_features(model, tokenizer, prompts)
        return heatmap(model.ahd.compare(aligned, text, model.backbone.grid)).flatten(1).numpy()

    return heat


def measure(heat: HeatOf, deeds: np.ndarray, names: Naming) -> dict:
    """Per kind of thing, by its usual name: heat (mean over its patches) and AUROC of these against all others, under each kind
    of prompts; and over all kinds.
    """
    default = names.own
    own = heat(default)
    named = {thing: heat(default.changed(abnormal=thing.words[:1])) for thing in names.things}
    kinds = {}
    for thing in tqdm(names.things, desc="kinds", unit="kind", dynamic_ncols=True):
        there = np.isin(deeds, sorted(names.numbers([thing])))
        if not there.any():
            continue
        others = [values for other, values in named.items() if not other.deeds & thing.deeds]
        conditions = {
            "own prompts": own,
            "named abnormal": named[thing],
            "others abnormal": np.mean(others, axis=0),
            **{f"abnormal, {level}": heat(_on_level(default, thing, template)) for level, template in LEVELS.items()},
            "abnormal, new words": heat(default.changed(abnormal=(thing.unseen,))),
            "abnormal, new templates": heat(
                default.changed(abnormal=thing.words[:1], phrase=UNSEEN_PHRASE, sentence=UNSEEN_SENTENCE)
            ),
            "named normal": heat(default.changed(normal=thing.words[:1])),
            "added to normal": heat(default.changed(normal=(f"+{thing.words[0]}",))),
        }
        kinds[thing.words[0]] = {
            "patches": int(there.sum()),
            "heat": {name: float(values[there].mean()) for name, values in conditions.items()},
            "auroc": {name: float(roc_auc_score(there.ravel(), values.ravel())) for name, values in conditions.items()},
            "auroc_things": {
                name: float(roc_auc_score(there[deeds > 0], values[deeds > 0]))
                for name, values in conditions.items()
                if not there[deeds > 0].all()
            },
        }
    return {"kinds": kinds, "all": _over_all(kinds, default.normal)}


def _on_level(default: Prompts, thing: Thing, template: str) -> Prompts:
    """Prompts of one level alone."""
    named = default.changed(abnormal=thing.words[:1])
    normal, abnormal = (tuple(template.replace("{}", w) for w in words) for words in (named.normal, named.abnormal))
    return Prompts(normal, abnormal, "", "")


def _over_all(kinds: dict, normal: Sequence[str]) -> dict:
    """Over all kinds; what lowers the heat of one is told of those that are not among the `normal` prompts yet."""
    new = np.array([name not in normal for name in kinds])
    names = next(iter(kinds.values()))["heat"]
    heats = {name: np.array([kind["heat"][name] for kind in kinds.values()]) for name in names}
    return {
        "heat": {name: float(values.mean()) for name, values in heats.items()},
        "auroc": {name: float(np.mean([kind["auroc"][name] for kind in kinds.values()])) for name in names},
        "auroc_things": {
            name: float(np.mean([kind["auroc_things"][name] for kind in kinds.values() if kind["auroc_things"]]))
            for name in names
        },
        "raised": int((heats["named abnormal"] > heats["others abnormal"] + MARGIN).sum()),
        "lowered": int((heats["added to normal"] < heats["own prompts"] - MARGIN)[new].sum()),
        "new": int(new.sum()),
        "lowered alone": int((heats["named normal"] < heats["own prompts"] - MARGIN).sum()),
        "kinds": len(kinds),
    }


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tvau-tiny", help="checkpoint: embedded name or directory")
    parser.add_argument("--clips", type=int, default=200, help="how many clips (default: 200)")
    parser.add_argument(
        "--split",
        default="familiar",
        choices=UNTRAINED,
        help="default: familiar",
    )
    parser.add_argument("--seed", type=int, default=0, help="first clip's seed (default: 0)")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args(arguments)
    try:
        if options.clips < 2:
            raise ConfigError(f"--clips must be at least 2, got {options.clips}")
        cv2.setNumThreads(1)
        model, manifest, tokenizer = checkpoint.load(find_model(options.model))
        spec = ModelSpec(
            manifest.name, manifest.image_size, manifest.process_rate_hz, manifest.clip_length, manifest.mean, manifest.std,
            model.backbone.text_dim, model.backbone.tokens_per_second,
        )  # fmt: skip
        seen = watch(model, spec, options.clips, options.split, options.seed)
        figures = measure(heat_of(model, tokenizer, seen), seen.deeds, Naming(manifest.prompts))
    except TvauError as error:
        print(f"guidance: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    show(figures)
    if options.json:
        facts = {
            "model": options.model,
            "split": options.split,
            "seed": options.seed,
            "clips": options.clips,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({**facts, **figures}, indent=2) + "\n", encoding="utf-8")
    return 0


def show(figures: dict) -> None:
    """Prints the figures as tables."""
    columns = ("own prompts", "named abnormal", "others abnormal", "named normal")
    print(f"{'heat on its patches (AUROC against all others)':<48}" + "".join(f"{name:>18}" for name in columns))
    for name, kind in figures["kinds"].items():
        cells = (f"{kind['heat'][column]:.2f} ({kind['auroc'][column]:.2f})" for column in columns)
        print(f"{name:<48}" + "".join(f"{cell:>18}" for cell in cells))
    total = figures["all"]
    print(f"\n{'mean of the kinds':<30}{'heat':>8}{'AUROC':>8}{'among things':>14}")
    for name in total["heat"]:
        print(f"{name:<30}{total['heat'][name]:>8.3f}{total['auroc'][name]:>8.3f}{total['auroc_things'][name]:>14.3f}")
    print(
        f"\nraised by naming it abnormal: {total['raised']} of {total['kinds']} kinds; lowered by adding it to what is normal: ",
        end="",
    )
    print(
        f"{total['lowered']} of {total['new']} that were not there; by naming it alone as normal: {total['lowered alone']}"
    )


if __name__ == "__main__":
    sys.exit(main())
