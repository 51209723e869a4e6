"""Measures a checkpoint on clips that training never saw: where the heat map glows, and what the answers say.

Runs the same pipeline that a camera runs. The clips come from the world's own split, whose seeds and places no training uses;
with --data, from a data set on disk, and the figures are those of its table. Several checkpoints stand in one table with
--ablate, each in its own words and uncalibrated: nothing is said anew by heat maps that the model may not have.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tvau_runtime.artifact import Artifact
from tvau_runtime.backends import find_model
from tvau_runtime.calibration import Calibration
from tvau_runtime.config import DialogueConfig, EngineConfig, PipelineConfig
from tvau_runtime.errors import ConfigError, TvauError
from tvau_runtime.manifest import Manifest
from tvau_runtime.pipeline import Pipeline, open_pipeline
from tvau_training.data import DATA_SETS, DataSet, open_data
from tvau_training.data.writers import staged
from tvau_training.drawn import measure
from tvau_training.evaluation import evaluate_clips
from tvau_training.language import FIGURES
from tvau_training.make_world import APART, file_split
from tvau_training.talks import DIALOGUES, digest, read_talks
from tvau_training.world import UNTRAINED, anomalies

EXAMPLES = """\
examples:
  python training/evaluate.py                                   the embedded model on 200 test clips
  python training/evaluate.py --model runs/tiny/checkpoint --clips 100 --json out/metrics.json
  python training/evaluate.py --model runs/tiny/checkpoint --split seen     known kinds of anomaly in new places
  python training/evaluate.py --named                           the same, with prompts for the kinds that are new to the model
  python training/evaluate.py --unchecked                       the model's own words, whatever its evidence shows
  python training/evaluate.py --data /data/UBnormal --split validation --out out/ubnormal --baselines
                                                                micro and macro AUC, RBDC and TBDC of a data set (docs/DATA.md),
                                                                BLEU-4 and yes or no where it has dialogues, and pictures
  python training/evaluate.py --ablate full=tvau-tiny runs/without-rae/checkpoint --data out/cameras
                                                                a table with a row for each checkpoint, and ablation.json
"""
ON_DATA = ("micro_auc", "macro_auc", "rbdc", "tbdc")
ON_DRAWN = ("patch_auroc", "step_auroc", "pointing_accuracy", "where_shown_accuracy")
"""Of heat maps: a model without them has none of these."""


def measure_data(pipeline: Pipeline, model: str, options: argparse.Namespace, out: Path | None) -> dict[str, Any]:
    """The figures of a data set's table."""
    data, split = _open_data(options)
    clips = data.split(split)
    if options.clips is not None and options.clips < len(
        clips
    ):  # evenly over it: in some data sets normal ones come first
        clips = [clips[round(i)] for i in np.linspace(0, len(clips) - 1, options.clips)]
    path = options.dialogues or data.root / DIALOGUES
    talks = read_talks(path) if path.is_file() or options.dialogues else []
    facts: dict[str, Any] = {"data": data.name, "root": str(data.root.resolve()), "split": options.split}
    facts |= {"model": model, "model_id": _model_id(model)}
    facts |= {"dialogues": str(path) if talks else None, "dialogues_id": digest(talks), "unchecked": options.unchecked}
    if options.named:
        facts["abnormal"] = list(pipeline.prompts().abnormal)
    named = "-named" if options.named else ""
    folder: Path = out or options.out or Path("out", "evaluate", f"{_folder_name(options)}-{options.split}{named}")
    figures = _blanked(evaluate_clips(pipeline, clips, folder, facts, options.tracks, talks), model)
    if options.baselines:
        from tvau_training.baselines import measure_baselines  # needs torch, which an export does without

        rate_hz = pipeline.geometry.process_rate_hz
        figures["baselines"] = measure_baselines(data, clips, talks, folder / "baselines", rate_hz, options.tracks)
    with staged(folder / "metrics.json") as draft:
        draft.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"{folder / 'metrics.json'}, the pictures and the text files beside it hold:")
    return figures


def _open_data(options: argparse.Namespace) -> tuple[DataSet, str]:
    """The data set, and the name that the split has in it."""
    *names, directory = options.data
    apart = options.split in APART  # a copy by make_world.py
    data = open_data(names[0] if names else "auto", Path(directory) / options.split if apart else directory)
    for problem in data.problems:
        print(f"evaluate: {problem}", file=sys.stderr)
    return data, file_split(options.split)


def _folder_name(options: argparse.Namespace) -> str:
    """Of the data set's folder: Ped1 and Ped2 are one kind, and two data sets."""
    return Path(options.data[-1]).resolve().name


def _model_id(model: str) -> str:
    """Of the model's record, which holds the SHA-256 of its files: another one after every training."""
    directory = find_model(model)
    record = next(path for name in (Manifest.FILE, Artifact.FILE) if (path := directory / name).is_file())
    return hashlib.sha256(record.read_bytes()).hexdigest()[:16]


def _left_out(model: str) -> str:
    """Which parts an ablated checkpoint does without."""
    directory = find_model(model)
    return Manifest.read(directory).without if (directory / Manifest.FILE).is_file() else ""


def _blanked(figures: dict[str, Any], model: str) -> dict[str, Any]:
    """The figures, but None for those of heat maps where the model has none."""
    if _left_out(model) not in ("ahd", "both"):
        return figures
    return {name: None if name.endswith((*ON_DATA, *ON_DRAWN)) else value for name, value in figures.items()}


def evaluate(model: str, options: argparse.Namespace, out: Path | None = None) -> dict[str, Any]:
    """The figures of one model; those of heat maps are None where it has none."""
    config = PipelineConfig(
        engine=EngineConfig(model=model, device=options.device),
        dialogue=DialogueConfig(max_sessions=1, contradictions="flag" if options.unchecked else "regenerate"),
    )
    with open_pipeline(config) as pipeline:
        if options.ablate:  # a fit to one of them would speak for the others
            pipeline.backend.spec = dataclasses.replace(pipeline.backend.spec, calibration=Calibration())
        if options.named:
            pipeline.set_prompts(pipeline.prompts().changed(abnormal=anomalies(options.split)))
        if options.data:
            return measure_data(pipeline, model, options, out)
        figures = measure(pipeline, options.clips or 200, options.split, options.seed, options.unchecked)
    return _blanked(figures, model)


def ablate(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The figures of several checkpoints, by the name of each, in their own words; written to OUT/ablation.json."""
    options.unchecked = True
    named: dict[str, str] = {}
    for text in options.ablate:
        name, _, model = text.rpartition("=")
        left_out = _left_out(model)
        name = name or {"": "full", "both": "without rae and ahd"}.get(left_out, f"without {left_out}")
        if name in named:
            raise ConfigError(f"--ablate: two rows are called {name!r}; name them, as in {name}-2={model}")
        named[name] = model
    out = options.out or Path("out", "ablation")
    rows: dict[str, dict[str, Any]] = {}
    for name, model in named.items():
        print(f"{name}: {model}", file=sys.stderr)
        rows[name] = {"model": model, "without": _left_out(model), **evaluate(model, options, out / name)}
    with staged(out / "ablation.json") as draft:
        facts = {"data": options.data, "split": options.split, "seed": options.seed}
        draft.write_text(json.dumps({**facts, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    print(f"{out / 'ablation.json'} holds, of each model's own words:")
    return rows


def show(rows: dict[str, dict[str, Any]], columns: Iterable[str]) -> None:
    """Prints a table with a row for each name; what there is not is a dash."""
    columns = list(columns)
    width = max(len(name) for name in rows)
    print(" " * width + "  ".join(["", *columns]))
    for name, figures in rows.items():
        values = [figures.get(column) for column in columns]
        told = ["–" if value is None else f"{value:.3f}" for value in values]
        print(f"{name:<{width}}" + "  ".join(["", *(f"{v:>{len(c)}}" for v, c in zip(told, columns, strict=True))]))


def _tell(figures: dict[str, Any]) -> None:
    """Prints the figures of one model."""
    for name, value in figures.items():
        if not isinstance(value, dict):
            print(f"{name:<26} {value:.3f}" if isinstance(value, float) else f"{name:<26} {value}")
    for name, counts in figures.get("contradictions", {}).items():
        print(f"contradicts: {name:<26} " + "  ".join(f"{what} {count}" for what, count in counts.items()))
    if figures.get("baselines"):
        print()
        show({"this model": figures, **figures["baselines"]}, (*ON_DATA, *FIGURES))


def _check(options: argparse.Namespace) -> None:
    """Raises `ConfigError` for options that do not go together."""
    if options.clips is not None and options.clips < (1 if options.data else 4):
        raise ConfigError(f"--clips must be at least {1 if options.data else 4}, got {options.clips}")
    if options.data and len(options.data) > 2:
        raise ConfigError(f"--data wants a folder, or a name and a folder, got {' '.join(options.data)!r}")
    if options.data and options.seed:
        raise ConfigError("--seed is about clips of the world, not of a data set")
    if not options.data and (options.tracks or options.baselines or options.dialogues):
        raise ConfigError("--tracks, --baselines and --dialogues go with --data")
    if options.json and options.json.is_dir():
        raise ConfigError(f"--json {options.json} is a folder; give a file")
    if not options.data and not options.ablate and options.out:
        raise ConfigError("--out and --tracks go with --data; use --json FILE for figures of the world")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        default="tvau-tiny",
        help="checkpoint: embedded name or directory (default: tvau-tiny)",
    )
    parser.add_argument(
        "--ablate",
        nargs="+",
        metavar="NAME=MODEL",
        help="instead of --model: several checkpoints, such as those of train.py --without, for a table of them all; names may "
        "be left out",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default: auto)")
    parser.add_argument(
        "--clips",
        type=int,
        help="how many clips (default: 200 of the world, all of a data set; so many evenly over its split)",
    )
    parser.add_argument(
        "--split",
        default="test",
        choices=UNTRAINED,
        help="default: test; seen holds the kinds of anomaly of train in the places of test, familiar what tvau-tiny was trained "
        "on, in clips that it never saw (--data: DIR/seen, DIR/familiar)",
    )
    parser.add_argument(
        "--unchecked",
        action="store_true",
        help="figures of what the model says by itself, contradictions of its evidence included",
    )
    parser.add_argument(
        "--named",
        action="store_true",
        help="name the split's kinds of anomaly as what is abnormal, in words, instead of the model's own prompts: what one does "
        "who knows what to look for; of clips of the world, drawn or on disk",
    )
    parser.add_argument("--json", type=Path, help="also write the figures there")
    world = parser.add_argument_group("clips of the synthetic world (the default)")
    world.add_argument("--seed", type=int, default=0, help="first clip's seed (default: 0)")
    disk = parser.add_argument_group("clips of a data set on disk")
    disk.add_argument(
        "--data",
        nargs="+",
        metavar=("NAME", "DIR"),
        help=f"{', '.join(DATA_SETS)} or auto (may be left out), and its folder; figures are per frame, region, track and "
        "dialogue",
    )
    disk.add_argument(
        "--dialogues",
        type=Path,
        metavar="FILE",
        help="dialogues about it, to be held anew (default: dialogues.jsonl in the data set's folder, if it is there)",
    )
    disk.add_argument(
        "--out",
        type=Path,
        help="folder of metrics.json, of pictures and of the text files of scores, detections, tracks and dialogues; a stopped "
        "run goes on there (default: out/evaluate/FOLDER-SPLIT, with --ablate out/ablation)",
    )
    disk.add_argument(
        "--tracks",
        type=Path,
        metavar="DIR",
        help="published text files of regions (CLIP.txt), instead of those from the masks",
    )
    disk.add_argument(
        "--baselines",
        action="store_true",
        help="in the same table: moving foreground (MOG2), prediction errors of an autoencoder that is trained on the train "
        "split's normal clips for about a minute, and always giving the train split's most frequent answers",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _check(options)
        found = ablate(options) if options.ablate else evaluate(options.model, options)
        if options.ablate:
            show(found, (*(ON_DATA if options.data else ON_DRAWN), *FIGURES))
        else:
            _tell(found)
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            world = {name: getattr(options, name) for name in ("split", "seed", "unchecked", "named")}
            facts = {} if options.ablate else {"model": options.model, **({} if options.data else world)}
            options.json.write_text(json.dumps({**facts, **found}, indent=2) + "\n", encoding="utf-8")
    except (OSError, TvauError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = (
            "the clips that are done are kept, and the same command goes on" if options.data else "nothing was written"
        )
        print(f"stopped; {kept}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
