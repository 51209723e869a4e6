"""Writes clips of the synthetic world as files, in the layout of a public data set, for tests and trials of your own tools.

OUT also gets dialogues.jsonl (a line for each clip: what an operator asks, with the true answers), world.json (how clips were
made) and contact_SPLIT.png (a picture of each clip, what is abnormal outlined, read back as training would read it).
No layout knows the world's split `seen`: it becomes the test split of a copy of its own, in OUT/seen.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from tvau_runtime.errors import ConfigError, TvauError
from tvau_training.data import Clip, open_data
from tvau_training.data.writers import LAYOUTS, Layout, staged, stretches
from tvau_training.lock import sole_writer
from tvau_training.pictures import grid
from tvau_training.world import FRAME_SIZE, SPLITS, make_some_clip

EXAMPLES = """\
examples:
  python training/make_world.py --out out/ubnormal --layout ubnormal --split train --clips 20
  python training/make_world.py --out out/ubnormal --layout ubnormal --split test --clips 10     beside the first
  python training/make_world.py --out out/mine --layout folder --split test --clips 4 --size 480x640 --seconds 20
  python training/make_world.py --out out/ubnormal --layout ubnormal --split seen                in out/ubnormal/seen
  python training/data/check.py out/ubnormal                                                     what is there now

Ctrl-C loses nothing: the same command goes on. A greater --clips adds to what is there. Half of the clips hold an anomaly,
but for the training clips of data sets that train on normal ones alone (all but ubnormal and folder). OUT is a real copy in
the layout, down to the odd names and file formats that the original has.
"""
TILE, COLUMNS, MOST_TILES = 320, 4, 40
APART = ("seen", "familiar")
"""Splits that are the test split of a copy of their own."""


def write_world(
    out: Path,
    name: str,
    split: str,
    clips: int,
    seed: int,
    size: tuple[int, int],
    seconds: float,
) -> Path:
    """Writes what is not there yet. Returns the data set's own folder, in OUT; of the splits `seen` and `familiar`, which become
    a copy's test split, in OUT/seen or OUT/familiar. Raises `ConfigError` where OUT was made with other settings, or is being
    written to."""
    layout = LAYOUTS[name]
    drawn, split = split, file_split(split)
    out = (out / drawn if drawn in APART else out) / layout.inner
    if split not in layout.splits:
        raise ConfigError(f"{name} has no split {split!r}; it has {' and '.join(layout.splits)}")
    length = round(seconds * layout.rate_hz)
    if clips < 1 or length < 2:
        raise ConfigError(f"--clips must be at least 1 and --seconds two frames or more, got {clips} and {seconds:g}")
    settings = {"layout": name, "drawn": drawn, "size": list(size), "seconds": seconds, "seed": seed}
    _settle(out, split, settings)
    with sole_writer(out):
        records = _read_records(out / "dialogues.jsonl")
        done = {record["number"] for record in records if record["split"] == split}
        missing = [number for number in range(clips) if number not in done]
        bar = tqdm(
            missing, desc=f"{name} {drawn}", total=clips, initial=clips - len(missing), unit="clip", dynamic_ncols=True
        )
        for number in bar:
            record = _write_clip(out, layout, number, seed, size=size, length=length, split=drawn)
            layout.share(out, [*records, record])
            with (out / "dialogues.jsonl").open("a", encoding="utf-8") as file:  # the last step: now the clip is done
                file.write(json.dumps(record) + "\n")
            records.append(record)
    return out


def file_split(split: str) -> str:
    """What a split of the world is in a layout's files."""
    return "test" if split in APART else {"home": "train"}.get(split, split)


def _write_clip(out: Path, layout: Layout, number: int, seed: int, **drawn: Any) -> dict[str, Any]:
    """drawn: what else `make_clip` is told."""
    split = file_split(drawn["split"])
    anomaly = number % 2 == 0 and not (split == "train" and layout.normal_training)
    clip = make_some_clip(seed + number, rate_hz=layout.rate_hz, anomaly=anomaly, **drawn)
    clip = dataclasses.replace(clip, split=split)
    name = layout.name(number, split, clip.anomalous)
    layout.write(out, name, number, clip)
    return {
        "clip": name,
        "split": split,
        "number": number,
        "seed": clip.seed,
        "frames": len(clip.frames),
        "fps": layout.rate_hz,
        "anomalous": clip.anomalous,
        "abnormal": stretches(np.array([mask.any() for mask in clip.anomaly_masks])),
        "turns": [dataclasses.asdict(turn) for turn in clip.dialogue],
    }


def _settle(out: Path, split: str, settings: dict[str, Any]) -> None:
    """Notes the settings of a split, or sees that they are those of what is there."""
    path = out / "world.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if (
        not known
        and out.is_dir()
        and any(not each.name.startswith(".") and each.name not in APART for each in out.iterdir())
    ):
        raise ConfigError(f"{out} is not empty and was not made by this command; give another --out")
    others = [each for each in known.values() if each["layout"] != settings["layout"]]
    if others or known.get(split, settings) != settings:
        raise ConfigError(
            f"{path} says {known.get(split) or known}, not {settings}; give another --out, or the same settings"
        )
    if split not in known:
        with staged(path) as draft:
            draft.write_text(json.dumps({**known, split: settings}, indent=2) + "\n", encoding="utf-8")


def _read_records(path: Path) -> list[dict[str, Any]]:
    """The clips that are done; a last line that was cut off is taken away."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        with staged(path) as draft:
            draft.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def contact_sheet(clips: tuple[Clip, ...]) -> np.ndarray:
    """A picture uint8 [H, W, 3], BGR, of the clips: of each the middle of what is abnormal, or its middle, mask outlined."""
    return grid([_tile(clip) for clip in clips[:MOST_TILES]], COLUMNS)


def _tile(clip: Clip) -> np.ndarray:
    odd = np.flatnonzero(clip.labels)
    index = int(odd[len(odd) // 2]) if len(odd) else clip.length // 2
    (seen,) = clip.read([index])
    scale = TILE / seen.frame.size[1]
    image = cv2.resize(cv2.cvtColor(seen.frame.rgb, cv2.COLOR_RGB2BGR), None, fx=scale, fy=scale)[:, :TILE]
    if seen.mask is not None:
        mask = cv2.resize(seen.mask.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, outlines, -1, (0, 0, 255), 2)
    text = f"{clip.name} {index}"
    cv2.rectangle(image, (0, 0), (TILE, 22), (32, 32, 32), cv2.FILLED)
    cv2.putText(image, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return image


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or min(int(match[1]), int(match[2])) < 32:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH of at least 32 pixels such as 240x320, got {text!r}")
    return int(match[1]), int(match[2])


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the copy")
    parser.add_argument("--layout", choices=list(LAYOUTS), required=True, help="which data set's files to write")
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default="test",
        help="default: test; seen (anomalies of train in places of test) and familiar (new clips of home, the small part of "
        "train that tvau-tiny was trained on) go to OUT/seen and OUT/familiar, as the test split there",
    )
    parser.add_argument("--clips", type=int, default=8, metavar="N", help="clips of this split in all (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first clip (default: 0)")
    usual = "x".join(map(str, FRAME_SIZE))
    parser.add_argument("--size", type=_size, default=FRAME_SIZE, metavar="HxW", help=f"in pixels (default: {usual})")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S", help="length of a clip (default: 4)")
    options = parser.parse_args(arguments)
    out = options.out
    try:
        out = write_world(
            out,
            options.layout,
            options.split,
            options.clips,
            options.seed,
            options.size,
            options.seconds,
        )
        data = open_data(options.layout, out)
        clips = data.split(file_split(options.split))
        with staged(out / f"contact_{options.split}.png") as draft:
            draft.write_bytes(cv2.imencode(".png", contact_sheet(clips))[1].tobytes())
    except TvauError as error:
        print(f"make_world: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"make_world: {error.filename or out}: {error.strerror}; the same command goes on", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what is done is kept, and the same command goes on", file=sys.stderr)
        return 130
    odd = sum(clip.abnormal for clip in clips)
    print(
        f"{out}: {len(clips)} clips of the split {options.split} in the layout {options.layout}, {odd} with an anomaly"
    )
    print(f"look at {out / f'contact_{options.split}.png'}; verify with: python training/data/check.py {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
