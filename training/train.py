"""Trains a T-VAU checkpoint: what the command line asks for, handed to a `Run`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import torch

from tvau_runtime.backends import find_model
from tvau_runtime.errors import ConfigError, TvauError
from tvau_training.lock import sole_writer
from tvau_training.options import parse
from tvau_training.recipe import Recipe, read_recipe
from tvau_training.run import Run
from tvau_training.start import Start
from tvau_training.windows import Footage


def _scaled(recipe: Recipe, scale: float) -> Recipe:
    stages = {
        f.name: dataclasses.replace(s, steps=max(1, round(s.steps * scale)), cache=round(s.cache * scale))
        for f in dataclasses.fields(recipe.stages)
        if (s := getattr(recipe.stages, f.name))
    }
    return dataclasses.replace(recipe, stages=dataclasses.replace(recipe.stages, **stages))


def _bf16(precision: str, device: str) -> bool:
    """Whether the backbone computes in bfloat16. On its own only where the device has it: elsewhere it is emulated, and slow."""
    has = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16" or (precision == "auto" and has)


def _footage(options: argparse.Namespace) -> Footage | None:
    """What to train on; None for the world as it is drawn. Raises `ConfigError`."""
    kind, *directories = options.data
    if len(directories) > 1 or (kind != "world" and not directories):
        raise ConfigError(f"--data wants a kind and a folder, got {' '.join(options.data)!r}")
    kind = "auto" if kind == "world" else kind  # written by make_world.py, in whatever layout
    directory = Path(directories[0]) if directories else None
    if options.one_shot:
        return Footage.one(options.one_shot, kind, directory)
    return Footage.of(kind, directory, options.dialogues) if directory else None


def _stages(options: argparse.Namespace, start: Start, footage: Footage | None) -> list[str]:
    """What is to be run, in order. Raises `ConfigError` for what does not go together."""
    if options.one_shot:
        if start.fresh or options.stage or options.without:
            raise ConfigError(
                "--one-shot trains the AHD of a checkpoint on: give it with --start, and no --stage or --without"
            )
        return ["one_shot"]
    if options.without and options.stage != ["rae"]:
        raise ConfigError("--without is of the stage rae alone: add --stage rae")
    wanted = options.stage or [name for name in start.stages if not (footage and name == "guidance")]
    if odd := [name for name in wanted if name not in start.possible]:
        raise ConfigError(
            f"--stage {' '.join(odd)}: the backbone is not trained here; there are {', '.join(start.possible)}"
        )
    if footage and (odd := {"backbone", "language", "guidance"} & set(wanted)):
        raise ConfigError(
            f"the stages {' and '.join(sorted(odd))} need the synthetic world: train them there, and go on with --start"
        )
    return [name for name in start.possible if name in wanted]


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = parse(arguments)
    machines, held = None, ExitStack()
    try:
        if options.steps_scale <= 0:
            raise ConfigError(f"--steps-scale must be above 0, got {options.steps_scale}")
        recipe = _scaled(read_recipe(options.recipe), options.steps_scale)
        if options.seed is not None:
            recipe = dataclasses.replace(recipe, seed=options.seed)
        called = Path(options.recipe).name.removesuffix(".yaml")
        out = options.out or Path("runs") / (called + "-one-shot" * bool(options.one_shot))
        anew = bool(options.start) and bool({"backbone", "language"} & set(options.stage or ()))
        start = Start(recipe, find_model(options.start) if options.start else None, anew)
        footage = _footage(options)
        names = _stages(options, start, footage)
        if footage and "rae" in names:
            footage.talks(recipe.clip_length)  # before hours are spent on the stage ahd
        if os.environ.get("RANK", "0") == "0":  # of several processes, the one that writes
            held.enter_context(sole_writer(out))
        run = Run(
            recipe, out, options.device, options.workers, options.save_every,
            start=start, footage=footage, bf16=_bf16(options.precision, options.device), fresh=options.fresh,
            without=options.without, compiled=options.compile,
        )  # fmt: skip
        machines = run.machines
        if footage and machines.main:
            print("".join(f"{footage.name}: {problem}\n" for problem in footage.problems), end="", file=sys.stderr)
        for name in names:
            before = () if start.checkpoint else start.stages[: start.stages.index(name)]
            if lacking := [each for each in before if each not in run.state["done"]]:
                raise ConfigError(f"--stage {name} needs {' and '.join(lacking)} to be run first, or a --start")
            if name not in run.state["done"]:
                run.finish(name, run.train(name, getattr(recipe.stages, name)))
        command = "python training/train.py " + " ".join(arguments if arguments is not None else sys.argv[1:])
        directory = run.publish(command.strip())
    except KeyboardInterrupt:
        if machines is None or machines.main:
            print("stopped; the run is saved, and the same command goes on from here", file=sys.stderr)
        return 130
    except (OSError, TvauError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    finally:
        if machines:
            machines.close()
        held.close()
    if run.machines.main:
        print(f"{directory} is ready; measure it with: python training/evaluate.py --model {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
