"""Trains a T-VAU checkpoint: one loop over the stages that `stages.py` describes."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from tvau_runtime.backends.base import ModelSpec
from tvau_runtime.errors import ConfigError, TvauError
from tvau_runtime.manifest import CLIP_MEAN, CLIP_STD, Manifest
from tvau_runtime.model import checkpoint
from tvau_runtime.model.backbone import default_taps
from tvau_runtime.prompts import Prompts
from tvau_runtime.tokenizer import TextTokenizer
from tvau_training.backbone_size import new_backbone
from tvau_training.batches import Batch, ClipData, batches
from tvau_training.recipe import RECIPES, Recipe, StageSettings, read_recipe
from tvau_training.stages import STAGES, RaeStage, Stage
from tvau_training.text import train_tokenizer
from tvau_training.world import ANOMALIES, NORMALITIES, corpus

EXAMPLES = """\
examples:
  python training/train.py --recipe tiny                      everything, from random weights to runs/tiny/checkpoint
  python training/train.py --recipe tiny --steps-scale 0.01   the same in a minute, to see whether it runs
  python training/evaluate.py --model runs/tiny/checkpoint    what it learned, on clips it never saw
  tvau watch video.mp4 --model runs/tiny/checkpoint           use it

Ctrl-C saves and stops; the same command goes on from there. Losses are in OUT/log.jsonl, the state of an unfinished run in
OUT/state.pt. --fresh starts anew.
"""


class Run:
    """One training run in a folder: which stage it is in, and all that is needed to go on."""

    def __init__(self, recipe: Recipe, out: Path, device: str, workers: int, save_every_s: float) -> None:
        self.recipe, self.out, self.device = recipe, out, torch.device(device)
        self.workers, self.save_every_s = workers, save_every_s
        self.state_file = out / "state.pt"
        out.mkdir(parents=True, exist_ok=True)
        self.tokenizer_file = out / "tokenizer.json"
        if not self.tokenizer_file.is_file():
            train_tokenizer(
                corpus(3000, recipe.seed),
                recipe.backbone.vocabulary,
                self.tokenizer_file,
            )
        self.tokenizer = TextTokenizer(self.tokenizer_file)
        self.state: dict[str, Any] = {
            "recipe": dataclasses.asdict(recipe),
            "done": [],
            "seconds": {},
        }
        torch.manual_seed(recipe.seed)
        self.manifest = Manifest(
            name=recipe.name,
            prompts=Prompts(NORMALITIES, ANOMALIES),
            image_size=recipe.image_size,
            process_rate_hz=recipe.process_rate_hz,
            clip_length=recipe.clip_length,
            taps=default_taps(recipe.backbone.vision_depth),
            rae_conv_widths=recipe.rae_conv_widths,
        )
        self.model = checkpoint.build(self.manifest, new_backbone(recipe.backbone, self.tokenizer_file)).to(self.device)
        if self.state_file.is_file():
            self._resume()

    def _resume(self) -> None:
        state = torch.load(self.state_file, map_location=self.device, weights_only=True)
        if state["recipe"] != json.loads(json.dumps(self.state["recipe"])) and state["recipe"] != self.state["recipe"]:
            raise ConfigError(
                f"{self.state_file} belongs to other settings; give another --out, or --fresh to start anew"
            )
        self.state = state
        if "model" in state:  # as the last finished stage left it
            self.model.load_state_dict(state["model"])

    def spec(self) -> ModelSpec:
        m, backbone = self.manifest, self.model.backbone
        return ModelSpec(
            m.name, m.image_size, m.process_rate_hz, m.clip_length, CLIP_MEAN, CLIP_STD,
            backbone.text_dim, backbone.tokens_per_second,
        )  # fmt: skip

    def train(self, name: str, settings: StageSettings) -> Stage:
        """Runs one stage from where it stands to its end. Saves and re-raises `KeyboardInterrupt`."""
        # What a stage adds starts from the same numbers, whether the run was stopped before or not.
        torch.manual_seed(self.recipe.seed + list(STAGES).index(name))
        text = checkpoint.text_features(self.model, self.tokenizer, self.manifest.prompts)
        stage = STAGES[name](
            self.model,
            self.tokenizer,
            self.recipe.process_rate_hz,
            text,
            self.recipe.lora_rank,
        )
        stage.to(self.device)
        free = [p for p in stage.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            free,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            betas=(0.9, 0.98),
        )
        step, spent = 0, 0.0
        if self.state.get("stage") == name:
            step, spent = self.state["step"], self.state["seconds"].get(name, 0.0)
            stage.load_state_dict(self.state["stage_model"])
            optimizer.load_state_dict(self.state["optimizer"])
        begun = saved = time.monotonic()
        bar = tqdm(
            self._batches(name, stage, settings, step),
            desc=name, total=settings.steps, initial=step, unit="step", dynamic_ncols=True,
        )  # fmt: skip

        def save() -> None:
            self.state["seconds"][name] = spent + time.monotonic() - begun
            self._save(name, step, stage, optimizer)

        try:
            with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
                for seen, batch in bar:
                    rate = learning_rate(settings, step)
                    terms = _step(stage, seen, batch, optimizer, free, rate)
                    step += 1
                    bar.set_postfix({k: f"{v:.3f}" for k, v in terms.items()}, refresh=False)
                    if step % 10 == 0 or step == settings.steps:
                        line = {"stage": name, "step": step, "learning_rate": rate, **terms}
                        log.write(json.dumps(line) + "\n")
                        log.flush()
                    if time.monotonic() - saved > self.save_every_s:
                        save()
                        saved = time.monotonic()
        except KeyboardInterrupt:
            save()
            raise
        finally:
            bar.close()
        save()
        return stage

    def _batches(
        self, name: str, stage: Stage, settings: StageSettings, start: int
    ) -> Iterator[tuple[tuple[torch.Tensor, ...], Batch]]:
        """What the stage sees, and the batch, for every step from `start` on; step k's is the same in every run."""
        drawn = settings.cache or settings.steps
        narrated = int(stage.narration * drawn)
        data = ClipData(
            self.recipe, self.spec(), self.tokenizer_file, anomalies=stage.anomalies,
            series=list(STAGES).index(name),  # a heat map is too good on clips that its decoder was trained on
            refine_from=narrated * settings.batch, narration_turns=stage.narration_turns,
        )  # fmt: skip
        fresh = batches(data, settings.batch, 0 if settings.cache else start, drawn, self.workers)
        moved = (batch.to(self.device) for batch in fresh)
        if not settings.cache:
            yield from ((stage.see(batch), batch) for batch in moved)
            return
        kept = [
            (stage.see(batch), dataclasses.replace(batch, pixels=batch.pixels[:0]))
            for batch in tqdm(moved, desc="frozen features", total=drawn, unit="batch", dynamic_ncols=True)
        ]
        for step in range(start, settings.steps):
            narrates = narrated and step < int(stage.narration * settings.steps)
            first, last = (0, narrated) if narrates else (narrated, drawn)
            turn, place = divmod(step, last - first)
            order = torch.randperm(last - first, generator=torch.Generator().manual_seed(self.recipe.seed + turn))
            yield kept[first + int(order[place])]

    def finish(self, name: str, stage: Stage) -> None:
        """Closes a stage; its trained parts stay in the model, what only training needed goes."""
        if isinstance(stage, RaeStage):
            stage.save_adapter(self.out / "checkpoint")
        self.state["done"].append(name)
        for key in ("stage", "step", "stage_model", "optimizer"):
            self.state.pop(key, None)
        self.state["model"] = self.model.state_dict()
        _write(self.state, self.state_file)

    def publish(self, command: str) -> Path:
        """Writes the finished checkpoint directory."""
        facts = {
            "command": command,
            "seed": self.recipe.seed,
            "minutes": {name: round(seconds / 60, 1) for name, seconds in self.state["seconds"].items()},
            "recipe": json.loads(json.dumps(self.state["recipe"])),
        }
        directory = self.out / "checkpoint"
        manifest = dataclasses.replace(self.manifest, training=facts)
        checkpoint.save(self.model, manifest, self.tokenizer_file, directory, dtype=torch.float16)
        return directory

    def _save(self, name: str, step: int, stage: Stage, optimizer: torch.optim.Optimizer) -> None:
        self.state.update(
            stage=name,
            step=step,
            stage_model=stage.state_dict(),
            optimizer=optimizer.state_dict(),
        )
        _write(self.state, self.state_file)


def learning_rate(settings: StageSettings, step: int) -> float:
    """Linear rise over the warm-up, then a cosine to nothing."""
    rise = max(1, int(settings.warmup * settings.steps))
    if step < rise:
        return settings.learning_rate * (step + 1) / rise
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, settings.steps - rise)))


def _step(
    stage: Stage,
    seen: tuple[torch.Tensor, ...],
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    free: list,
    rate: float,
) -> dict[str, float]:
    for group in optimizer.param_groups:
        group["lr"] = rate
    terms = stage.losses(seen, batch)
    loss = torch.stack(list(terms.values())).sum()
    if not torch.isfinite(loss):
        raise ConfigError("the loss is no longer finite; lower the stage's learning_rate in the recipe")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(free, 1.0)
    optimizer.step()
    return {name: float(value.detach()) for name, value in terms.items()}


def _write(state: dict[str, Any], path: Path) -> None:
    """All or nothing: a stop while writing leaves the former file."""
    draft = path.with_suffix(".part")
    torch.save(state, draft)
    os.replace(draft, path)


def _scaled(recipe: Recipe, scale: float) -> Recipe:
    stages = {
        f.name: dataclasses.replace(s, steps=max(1, round(s.steps * scale)), cache=round(s.cache * scale))
        for f in dataclasses.fields(recipe.stages)
        if (s := getattr(recipe.stages, f.name))
    }
    return dataclasses.replace(recipe, stages=dataclasses.replace(recipe.stages, **stages))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ", ".join(sorted(p.stem for p in RECIPES.glob("*.yaml")))
    parser.add_argument(
        "--recipe",
        default="tiny",
        help=f"what to train: {names}, or a YAML file (default: tiny)",
    )
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/<recipe>)")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="cpu or cuda (default: what is there)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes that draw clips beside the training (default: 1)",
    )
    parser.add_argument(
        "--save-every",
        type=float,
        default=60,
        metavar="S",
        help="seconds between saves (default: 60)",
    )
    parser.add_argument(
        "--steps-scale",
        type=float,
        default=1.0,
        metavar="X",
        help="multiply every stage's steps (default: 1)",
    )
    parser.add_argument("--seed", type=int, help="another seed than the recipe's")
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="start anew even if OUT holds an unfinished run",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = parse(arguments)
    try:
        if options.steps_scale <= 0:
            raise ConfigError(f"--steps-scale must be above 0, got {options.steps_scale}")
        recipe = _scaled(read_recipe(options.recipe), options.steps_scale)
        if options.seed is not None:
            recipe = dataclasses.replace(recipe, seed=options.seed)
        out = options.out or Path("runs") / Path(options.recipe).stem
        if options.fresh:
            (out / "state.pt").unlink(missing_ok=True)
            (out / "log.jsonl").unlink(missing_ok=True)
        run = Run(recipe, out, options.device, options.workers, options.save_every)
        for name in STAGES:
            if name not in run.state["done"]:
                run.finish(name, run.train(name, getattr(recipe.stages, name)))
        command = "python training/train.py " + " ".join(arguments if arguments is not None else sys.argv[1:])
        directory = run.publish(command.strip())
    except KeyboardInterrupt:
        print(
            "stopped; the run is saved, and the same command goes on from here",
            file=sys.stderr,
        )
        return 130
    except TvauError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    print(f"{directory} is ready; measure it with: python training/evaluate.py --model {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
