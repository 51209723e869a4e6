"""The command line of `train.py`: what can be asked for, and what its help teaches."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from .recipe import RECIPES
from .stages import STAGES

__all__ = ["parse"]

DATA_KINDS = ("world", "ubnormal", "shanghaitech", "avenue", "ucsd", "folder", "auto")

EXAMPLES = """\
from nothing, on the synthetic world:
  python training/train.py --recipe tiny                      everything, from random weights to runs/tiny/checkpoint
  python training/train.py --recipe tiny --steps-scale 0.01   the same in a minute, to see whether it runs
  python training/evaluate.py --model runs/tiny/checkpoint    what it learned, on clips it never saw
  tvau watch video.mp4 --model runs/tiny/checkpoint           use it

on a data set (docs/DATA.md; its train split, and dialogues.jsonl beside it for the stage rae):
  python training/train.py --recipe qwen2.5-vl-7b --data ubnormal /data/UBnormal
  python training/train.py --recipe qwen2.5-vl-7b --data auto /data/UBnormal --stage ahd
  python training/train.py --recipe tiny --start tvau-tiny --data folder my_videos       go on from a checkpoint

from one abnormal clip:
  python training/train.py --start tvau-tiny --one-shot my_videos/train/fall.mp4         fall_mask.avi or fall.txt beside it
  python training/train.py --start runs/tiny/checkpoint --data ubnormal /data/UBnormal --one-shot abnormal_scene_2_scenario_1

what the parts are worth; evaluate.py --ablate puts them into one table:
  python training/train.py --recipe tiny --start runs/tiny/checkpoint --stage rae --without rae --out runs/tiny-without-rae

on several GPUs or machines, which share OUT:
  accelerate launch --config_file training/recipes/accelerate/ddp.yaml --num_processes 4 training/train.py --recipe tiny
  accelerate launch --config_file training/recipes/accelerate/fsdp.yaml --num_processes 8 training/train.py \\
    --recipe qwen2.5-vl-7b --data ubnormal /data/UBnormal

Ctrl-C saves and stops; the same command goes on from there, on the same machine to the same bits. Losses are in OUT/log.jsonl and
OUT/tensorboard (tensorboard --logdir OUT/tensorboard), frozen features in OUT/features while a stage lasts, the state of an
unfinished run in OUT/state.pt. --fresh starts anew.
"""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of a command line, as yet unchecked against each other."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Trains a T-VAU checkpoint.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ", ".join(sorted(p.stem for p in RECIPES.glob("*.yaml")))
    what = parser.add_argument_group("what to train")
    what.add_argument(
        "--recipe",
        default="tiny",
        help=f"model, stages and rates: {names}, or a YAML file (default: tiny)",
    )
    what.add_argument(
        "--stage",
        nargs="+",
        choices=[name for name in STAGES if name != "one_shot"],
        metavar="STAGE",
        help=f"only these of the recipe's stages, in its order: {', '.join(n for n in STAGES if n != 'one_shot')}",
    )
    what.add_argument(
        "--without",
        default="",
        choices=("rae", "ahd", "both"),
        help="with --stage rae, to see what these parts are worth (the paper's table 3): fine-tune exactly alike, but give the "
        "language model no anomaly prompts (rae), or the RAE heat maps that are 0 everywhere (ahd), or neither (both)",
    )
    what.add_argument(
        "--start",
        metavar="MODEL",
        help="go on from a T-VAU checkpoint, by directory or embedded name: its backbone, AHD and RAE are taken; "
        "--stage may then also name backbone and language, which are trained on, while AHD and RAE begin anew",
    )
    what.add_argument("--seed", type=int, help="another seed than the recipe's")
    what.add_argument(
        "--steps-scale",
        type=float,
        default=1.0,
        metavar="X",
        help="multiply every stage's steps, and the batches whose frozen features it keeps (default: 1)",
    )
    seen = parser.add_argument_group("what it sees")
    seen.add_argument(
        "--data",
        nargs="+",
        default=["world"],
        metavar=("KIND", "DIR"),
        help=f"a data set and its folder: {', '.join(DATA_KINDS)}; world without a folder is drawn while training "
        "(default: world)",
    )
    seen.add_argument(
        "--dialogues",
        type=Path,
        metavar="FILE",
        help="dialogues about it (default: dialogues.jsonl in the data set's folder)",
    )
    seen.add_argument(
        "--one-shot",
        metavar="CLIP",
        help="train the AHD of --start on one abnormal clip alone: a video with its mask, or the name of a clip of --data",
    )
    where = parser.add_argument_group("where and how")
    where.add_argument(
        "--out", type=Path, help="folder of the run (default: runs/<recipe>, with --one-shot runs/<recipe>-one-shot)"
    )
    where.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        choices=("cpu", "cuda"),
        help="default: what is there",
    )
    where.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "bf16", "fp32"),
        help="what the backbone computes in; auto: bf16 on a GPU that has it, else fp32; bf16 also saves time on CPUs with "
        "AVX512_BF16 (default: auto)",
    )
    where.add_argument(
        "--compile",
        action="store_true",
        help="compile the vision tower before the stage backbone, with torch.compile: half a minute, then a step takes four "
        "fifths of the time; needs a C++ compiler",
    )
    where.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes that draw clips beside the training (default: 1)",
    )
    where.add_argument(
        "--save-every",
        type=float,
        default=60,
        metavar="S",
        help="seconds between saves (default: 60)",
    )
    where.add_argument(
        "--fresh",
        action="store_true",
        help="start anew even if OUT holds an unfinished run",
    )
    return parser.parse_args(arguments)
