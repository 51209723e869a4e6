"""A training run in a folder: one loop over the stages that `stages.py` describes, which stops, is saved and goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm

from tvau_runtime.backends.base import ModelSpec
from tvau_runtime.errors import ConfigError, ModelError
from tvau_runtime.manifest import CLIP_MEAN, CLIP_STD, Manifest
from tvau_runtime.model import checkpoint
from tvau_runtime.tokenizer import TextTokenizer

from .batches import ClipData, batches
from .data.writers import staged
from .features import FeatureStore, Piece
from .machines import Machines, Stop, unsynchronised
from .recipe import Recipe, StageSettings
from .stages import STAGES, RaeStage, Stage
from .start import Start
from .state import fill, fill_optimizer, optimizer_state, read_state, trained_values, write_state
from .windows import DialogueWindows, Footage, MaskWindows
from .world import every_kind

__all__ = ["Run", "learning_rate"]

SETTINGS = ("recipe", "start", "data", "bf16")
"""What an unfinished run's state must have in common with the run that goes on with it."""


class Run:
    """One training run in a folder: which stage it is in, and all that is needed to go on.

    device: cpu or cuda. workers: processes that draw clips. start: the model to begin with; None goes by the recipe. footage:
    what to train on; None draws the synthetic world. bf16: what the backbone computes in. fresh: whether an unfinished run in the
    folder is forgotten. without: see `Manifest.without`. compiled: whether a tower that is trained is compiled first. Several
    processes of one run call all alike, and share the folder.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        device: str,
        workers: int,
        save_every_s: float,
        *,
        start: Start | None = None,
        footage: Footage | None = None,
        bf16: bool = False,
        fresh: bool = False,
        without: str = "",
        compiled: bool = False,
    ) -> None:
        self.recipe, self.out, self.machines = recipe, out, Machines(device)
        self.workers, self.save_every_s = workers, save_every_s
        self.start, self.footage, self.bf16, self.without = start or Start(recipe), footage, bf16, without
        self.compiled = compiled
        self.state_file = out / "state.pt"
        self.tokenizer_file = out / "tokenizer.json"
        if self.machines.main:
            out.mkdir(parents=True, exist_ok=True)
            if fresh:
                for path in (self.state_file, out / "log.jsonl"):
                    path.unlink(missing_ok=True)
                shutil.rmtree(out / "features", ignore_errors=True)
            if not self.state_file.is_file():  # one that lies there may be of another model, by a run that never began
                self.start.write_tokenizer(self.tokenizer_file)
        self.machines.wait()
        self.tokenizer = TextTokenizer(self.tokenizer_file)
        self.state: dict[str, Any] = {
            "recipe": json.loads(json.dumps(dataclasses.asdict(recipe))),
            "start": self.start.identity,
            "data": footage.identity if footage else "world",
            "bf16": bf16,
            "without": without,
            "done": [],
            "seconds": {},
            "model": {},
        }
        if self.state_file.is_file():
            self._resume()
        self._build()

    def _resume(self) -> None:
        state = read_state(self.state_file)
        state.setdefault("without", "")  # not in older ones
        if any(state.get(key) != self.state[key] for key in (*SETTINGS, "without")):
            raise ConfigError(
                f"{self.state_file} belongs to other settings; give another --out, or --fresh to start anew"
            )
        self.state = state

    def _build(self) -> None:
        """The model as the last finished stage left it."""
        torch.manual_seed(self.recipe.seed)
        self.model, self.manifest = self.start.build(
            self.tokenizer_file, torch.bfloat16 if self.bf16 else torch.float32
        )
        if self.without:
            self.manifest = dataclasses.replace(self.manifest, without=self.without)
            if not self.start.fresh:  # it has learned of heat maps that are not there now
                self.model.rae = checkpoint.new_rae(self.manifest, self.model.backbone)
        fill(self.model, self.state["model"])
        if not self.machines.sharded:
            self.model.to(self.machines.device)

    def spec(self) -> ModelSpec:
        m, backbone = self.manifest, self.model.backbone
        return ModelSpec(
            m.name, m.image_size, m.process_rate_hz, m.clip_length, CLIP_MEAN, CLIP_STD,
            backbone.text_dim, backbone.tokens_per_second,
        )  # fmt: skip

    def stage(self, name: str) -> Stage:
        """A stage around the model, at its beginning."""
        # What a stage adds starts from the same numbers, whether the run was stopped before or not.
        torch.manual_seed(self.recipe.seed + list(STAGES).index(name))
        text = checkpoint.text_features(self.model, self.tokenizer, self.manifest.prompts)
        return STAGES[name](
            self.model,
            self.tokenizer,
            self.recipe.process_rate_hz,
            text,
            self.recipe.lora_rank,
            fresh=self.start.untrained(name) or bool(self.without),
            prompts=self.manifest.prompts,
            bf16=self.bf16,
            without=self.without,
        )

    def train(self, name: str, settings: StageSettings) -> Stage:
        """Runs one stage from where it stands to its end. Saves and raises `KeyboardInterrupt` when asked to stop."""
        stage = self.stage(name)
        step, spent = 0, 0.0
        resumes = self.state.get("stage") == name
        if resumes:
            step, spent = self.state["step"], self.state["seconds"].get(name, 0.0)
            fill(stage, self.state["stage_model"])
        machines = self.machines
        if self.compiled and name == "backbone":
            self.model.backbone.tower.compile(dynamic=False)
        runner = machines.wrap(stage, stage.units, apart=[self.model.backbone.tower])
        free = [p for p in stage.parameters() if p.requires_grad]
        optimizers = _optimizers(stage, settings, alone=not machines.sharded)
        if resumes:
            for optimizer, kept in zip(optimizers, self.state["optimizer"], strict=True):
                fill_optimizer(optimizer, kept)
        begun = saved = time.monotonic()
        values: dict[str, Tensor] = {}

        def save() -> None:
            nonlocal values
            values = trained_values(stage)
            self.state["seconds"][name] = spent + time.monotonic() - begun
            self.state.update(
                stage=name, step=step, stage_model=values, optimizer=[optimizer_state(each) for each in optimizers]
            )
            self._write()

        with Stop(say=machines.main) as stop, self._journal(name, step) as journal:
            steps = self._steps(name, stage, runner, settings, step, stop)
            bar = tqdm(
                steps, desc=name, total=settings.steps, initial=step, unit="step", dynamic_ncols=True,
                disable=not machines.main,
            )  # fmt: skip
            try:
                for pieces in bar:
                    rate = learning_rate(settings, step)
                    terms = _step(runner, pieces, optimizers, free, rate)
                    step += 1
                    bar.set_postfix({k: f"{v:.3f}" for k, v in terms.items()}, refresh=False)
                    if step % 10 == 0 or step == settings.steps:
                        journal(step, rate, terms)
                    halt, due = machines.agree(stop.asked, time.monotonic() - saved > self.save_every_s)
                    if halt:
                        raise KeyboardInterrupt
                    if due:
                        save()
                        saved = time.monotonic()
            except KeyboardInterrupt:
                save()
                raise
            finally:
                bar.close()
            save()
        if machines.sharded:  # what lies in pieces is put together in a model of its own
            self._build()
            stage = self.stage(name)
            fill(stage, values)
        return stage

    def _steps(
        self, name: str, stage: Stage, runner: nn.Module, settings: StageSettings, start: int, stop: Stop
    ) -> Iterator[list[Piece]]:
        """What the stage sees, and the batch, in pieces, for every step from `start` on; step k's is the same in every run."""
        drawn = settings.cache or settings.steps
        narrated = int(stage.narration * drawn)
        machines = self.machines
        share = (machines.index, machines.count)
        data = self._items(name, stage, narrated * settings.batch, settings.frames)

        def fresh(first: int) -> Iterator[list[Piece]]:
            for pieces in batches(data, settings.batch, first, drawn, self.workers, share, settings.accumulate):
                moved = [batch.to(machines.device) for batch in pieces]
                with torch.no_grad():
                    seen = [runner(batch) for batch in moved]
                yield list(zip(seen, moved, strict=True))

        if not settings.cache:
            yield from fresh(start)
            return
        facts = {key: self.state[key] for key in SETTINGS}
        store = FeatureStore(self.out / "features", [name, facts], drawn, share)
        filled = machines.least(store.filled)
        bar = tqdm(
            fresh(filled), desc="frozen features", total=drawn, initial=filled, unit="batch",
            dynamic_ncols=True, disable=not machines.main,
        )  # fmt: skip
        for number, pieces in enumerate(bar, start=filled):
            store.write(number, [(seen, batch.bare()) for seen, batch in pieces])
            if machines.agree(stop.asked)[0]:
                raise KeyboardInterrupt
        for step in range(start, settings.steps):
            narrates = narrated and step < int(stage.narration * settings.steps)
            first, last = (0, narrated) if narrates else (narrated, drawn)
            turn, place = divmod(step, last - first)
            order = torch.randperm(last - first, generator=torch.Generator().manual_seed(self.recipe.seed + turn))
            yield store.read(first + int(order[place]), machines.device)

    def _items(self, name: str, stage: Stage, refine_from: int, frames: int = 0) -> Dataset:
        """The stage's items, as the footage or the world has them."""
        recipe, spec = self.recipe, self.spec()
        series = list(STAGES).index(name)  # a heat map is too good on clips that its decoder was trained on
        turns = stage.narration_turns
        if self.footage is None:
            return ClipData(
                recipe, spec, self.tokenizer_file, series=series, refine_from=refine_from, narration_turns=turns,
                kinds=every_kind() if stage.every_kind and recipe.split == "train" else None, frames=frames,
                eventful=stage.eventful,
            )  # fmt: skip
        clips = self.footage.clips
        if name != "rae":
            windows = MaskWindows(recipe, spec, clips, series=series, frames=frames)
            said = f"{len(windows.left_out)} of {len(clips)} clips are shorter than a window, or have no labels"
        else:
            windows = DialogueWindows(
                recipe, spec, self.tokenizer_file, clips, self.footage.talks(recipe.clip_length), series=series,
                refine_from=refine_from, narration_turns=turns,
            )  # fmt: skip
            said = f"{windows.left_out} dialogues are about clips that are not in the train split"
        if windows.left_out and self.machines.main:
            print(f"{name}: {said}; they are left out", file=sys.stderr)
        return windows

    @contextlib.contextmanager
    def _journal(self, name: str, step: int) -> Iterator[Any]:
        """A function that notes a step's figures in log.jsonl and for TensorBoard; it does nothing but in the main process."""
        if not self.machines.main:
            yield lambda *_: None
            return
        from torch.utils.tensorboard import SummaryWriter

        # What a run that broke off noted behind the step that it was saved at goes.
        path = self.out / "log.jsonl"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]  # the last may be cut off
        lines = [line for line in lines if line["stage"] != name or line["step"] <= step]
        with staged(path) as draft:
            draft.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        board = SummaryWriter(str(self.out / "tensorboard" / name), purge_step=step + 1)
        with path.open("a", encoding="utf-8") as log, contextlib.closing(board):

            def note(at: int, rate: float, terms: dict[str, float]) -> None:
                log.write(json.dumps({"stage": name, "step": at, "learning_rate": rate, **terms}) + "\n")
                log.flush()
                for term, value in {"learning_rate": rate, **terms}.items():
                    board.add_scalar(term, value, at)

            yield note

    def finish(self, name: str, stage: Stage) -> None:
        """Closes a stage; its trained parts stay in the model, what only training needed goes."""
        trained = {k.removeprefix("model."): v for k, v in trained_values(stage).items() if k.startswith("model.")}
        if isinstance(stage, RaeStage):
            stage.save_adapter(self.out / "checkpoint", write=self.machines.main)
        self.state["done"].append(name)
        for key in ("stage", "step", "stage_model", "optimizer"):
            self.state.pop(key, None)
        parts = self.model.state_dict()
        self.state["model"].update({k: v for k, v in trained.items() if k in parts})
        self._write()
        self.machines.wait()
        if self.machines.main:
            shutil.rmtree(self.out / "features", ignore_errors=True)

    def publish(self, command: str) -> Path:
        """Writes the finished checkpoint directory."""
        facts = {
            "command": command,
            "seed": self.recipe.seed,
            "stages": [*(each for each in self.start.finished if each not in self.state["done"]), *self.state["done"]],
            "minutes": {name: round(seconds / 60, 1) for name, seconds in self.state["seconds"].items()},
            "recipe": self.state["recipe"],
        }
        directory = self.out / "checkpoint"
        if self.machines.main and not self._is_published(directory, facts):
            if "rae" not in self.state["done"]:
                self.start.copy_adapter(directory, fits="language" not in self.state["done"])
            manifest = dataclasses.replace(self.manifest, training=facts)
            stored = torch.bfloat16 if self.model.backbone.model.dtype == torch.bfloat16 else torch.float16
            checkpoint.save(self.model, manifest, self.tokenizer_file, directory, dtype=stored)
        self.machines.wait()
        return directory

    @staticmethod
    def _is_published(directory: Path, facts: dict[str, Any]) -> bool:
        """Whether these weights lie there, whole: a finished run that is begun again leaves what was fitted to them since."""
        try:
            found = Manifest.read(directory)
            found.verify(directory)
        except ModelError:
            return False
        return {**found.training, "command": ""} == {**facts, "command": ""}

    def _write(self) -> None:
        if self.machines.main:
            write_state(self.state, self.state_file)


def learning_rate(settings: StageSettings, step: int) -> float:
    """Linear rise over the warm-up, then a cosine to nothing."""
    rise = max(1, int(settings.warmup * settings.steps))
    if step < rise:
        return settings.learning_rate * (step + 1) / rise
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, settings.steps - rise)))


def _optimizers(stage: Stage, settings: StageSettings, *, alone: bool) -> list[torch.optim.Optimizer]:
    """Of all free parameters. alone: no other process holds a part of them. Raises `ConfigError`."""
    free = {name: p for name, p in stage.named_parameters() if p.requires_grad}
    blocks: dict[str, nn.Parameter] = {}
    if settings.optimizer == "muon":
        if not alone:
            raise ConfigError("optimizer: muon needs whole matrices, and this run holds them in pieces; take adamw")
        blocks = {name: p for name, p in free.items() if p.ndim == 2 and re.search(r"\.(blocks|layers)\.\d+\.", name)}
    rate, decay = settings.learning_rate, settings.weight_decay
    others = [p for name, p in free.items() if name not in blocks]
    made: list[torch.optim.Optimizer] = []
    if others:
        made.append(torch.optim.AdamW(others, lr=rate, weight_decay=decay, betas=(0.9, 0.98)))
    if blocks:
        made.append(torch.optim.Muon(blocks.values(), lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    return made


def _step(
    runner: nn.Module,
    pieces: Sequence[Piece],
    optimizers: Sequence[torch.optim.Optimizer],
    free: list,
    rate: float,
) -> dict[str, float]:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
    sums: dict[str, float] = {}
    for number, (seen, batch) in enumerate(pieces, start=1):
        with contextlib.nullcontext() if number == len(pieces) else unsynchronised(runner):
            terms = runner(batch, seen)
            loss = torch.stack(list(terms.values())).sum()
            if not torch.isfinite(loss):
                raise ConfigError("the loss is no longer finite; lower the stage's learning_rate in the recipe")
            (loss / len(pieces)).backward()
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach()) / len(pieces)
    torch.nn.utils.clip_grad_norm_(free, 1.0)
    for optimizer in optimizers:
        optimizer.step()
    return sums
