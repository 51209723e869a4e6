"""Annotates a data set: a vision-language model describes sampled frames, and what it says is linked over time, looked
at again where something is abnormal, and checked, until dialogues to train stage 2 on are left.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tvau_runtime.errors import ConfigError, FrameError, TvauError
from tvau_training.annotate.annotator import Annotator
from tvau_training.annotate.answers import AnswerCache, Asker
from tvau_training.annotate.extraction import Extractor
from tvau_training.annotate.local import LocalAnnotator
from tvau_training.annotate.output import Writer
from tvau_training.annotate.pipeline import Settings, annotate_clip, sampled
from tvau_training.annotate.review import Sheet, choose, render, sheet
from tvau_training.annotate.server import KEY_VARIABLE, ServerAnnotator
from tvau_training.annotate.verification import count
from tvau_training.data import DATA_SETS, SPLITS, Clip, open_data

__all__ = ["Progress", "annotate", "main", "parse"]

EXAMPLES = f"""\
examples:
  a model on a server of your own (vLLM, SGLang, llama.cpp), which speaks OpenAI's chat completions:
    vllm serve Qwen/Qwen2.5-VL-72B-Instruct
    python training/annotate/run.py --data /data/UBnormal --out out/ubnormal \\
      --server http://localhost:8000/v1 --model Qwen/Qwen2.5-VL-72B-Instruct --concurrency 32

  a provider, whose key stands in {KEY_VARIABLE} and nowhere else:
    python training/annotate/run.py --data my_videos --out out/mine --server https://provider.example/v1 --model NAME

  a checkpoint on this machine:
    python training/annotate/run.py --data my_videos --out out/mine --checkpoint /models/Qwen2.5-VL-7B-Instruct --batch 8

  what it would cost, without asking anything; a trial of three clips, to be looked at in out/trial/review.html:
    python training/annotate/run.py --data /data/UBnormal --out out/trial --count
    python training/annotate/run.py --data /data/UBnormal --out out/trial --clips 3 --server http://localhost:8000/v1 --model NAME

OUT gets dialogues.jsonl (to train on), descriptions.jsonl (a line per target), frames.jsonl (a line per frame),
summary.json and review.html. Every answer is kept in OUT/answers as it comes: Ctrl-C loses none, and the same command
goes on without asking again.
"""


class Progress:
    """A bar over frames with what was spent so far; tqdm's time left goes by the pace of the last minutes."""

    def __init__(self, frames: int, asker: Asker) -> None:
        self.asker = asker
        self.bar = tqdm(total=frames, desc="frames", unit="frame", dynamic_ncols=True, smoothing=0.05)

    def __call__(self, done: int, more: int) -> None:
        cost = self.asker.cost
        self.bar.total += more
        spent = {"asked": cost.asked, "tokens": cost.input_tokens + cost.output_tokens}
        self.bar.set_postfix(spent | ({"failed": cost.failed} if cost.failed else {}), refresh=False)
        self.bar.update(done)

    def close(self) -> None:
        self.bar.close()


def annotate(
    clips: Sequence[Clip], annotator: Annotator, out: Path, settings: Settings, *,
    cache: Path | None = None, max_pixels: int = 1280 * 28 * 28, attempts: int = 3, show: int = 20, source: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Annotates clips into a folder and returns the summary. What was done is written when it is interrupted or fails, too,
    unless the folder holds more of a run before; then the exception goes on.

    cache: where answers are kept, `answers` in the folder by default. show: clips on the page for review. A clip that cannot be
    read is left out and named. Raises `BackendError` where the annotator is gone.
    """
    asker = Asker(annotator, AnswerCache(cache or out / "answers"))
    extractor = Extractor(asker, max_pixels=max_pixels, attempts=attempts)
    writer = Writer(out, settings)
    shown, sheets = choose(len(clips), show, settings.seed), []
    found: Counter[str] = Counter()
    refinement: Counter[str] = Counter()
    damaged: dict[str, str] = {}
    progress = Progress(sum(_frames(clip, settings) for clip in clips), asker)
    whole = False
    try:
        for number, clip in enumerate(clips):
            try:
                result = annotate_clip(clip, extractor, settings, progress)
                if number in shown:
                    sheets.append(sheet(clip, result))
            except FrameError as error:
                damaged[clip.name] = str(error)
                continue
            writer.add(result)
            found += count(result.findings)
            refinement += result.refinement
        whole = True
    finally:
        progress.close()
        extractor.close()
        summary = {
            "source": source,
            "annotator": annotator.identity,
            "clips": {"given": len(clips), "annotated": writer.counts["clips"], "damaged": damaged},
            "extraction": dict(sorted(extractor.counts.items())),
            "refinement": dict(sorted(refinement.items())),
            "contradictions": dict(sorted(found.items())),
            "written": dict(writer.counts),
            "cost": vars(asker.cost),
        }
        if whole or writer.counts["clips"] >= (before := _annotated(out)):
            writer.close(summary)
            _write_review(out, source, sheets, summary, settings)
        else:
            writer.discard()
            print(f"\n{out} keeps what a run before wrote, of {before} clips", file=sys.stderr)
    return summary


def _frames(clip: Clip, settings: Settings) -> int:
    """How many are asked about; of one that cannot be read, none."""
    try:
        return len(sampled(clip, settings.rate_hz))
    except FrameError:
        return 0


def _annotated(out: Path) -> int:
    """Of how many clips the folder holds the annotations."""
    try:
        return int(json.loads((out / "summary.json").read_text(encoding="utf-8"))["clips"]["annotated"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _write_review(out: Path, source: str, sheets: list[Sheet], summary: dict[str, Any], settings: Settings) -> None:
    titles = {
        "extraction": "Frames", "refinement": "Background blurred", "contradictions": "Contradictions",
        "written": "Written", "cost": "Cost",
    }  # fmt: skip
    facts = {title: {name: str(value) for name, value in summary[key].items()} for key, title in titles.items()}
    (out / "review.html").write_text(render(source, sheets, facts, settings), encoding="utf-8")


def _choose(clips: Sequence[Clip], options: argparse.Namespace) -> list[Clip]:
    chosen = [
        clip for clip in clips if options.split in (None, clip.split) and fnmatch.fnmatch(clip.name, options.only)
    ]
    if not chosen:
        raise ConfigError(
            f"{options.data} holds no clip of split {options.split or 'any'} that is called {options.only!r}"
        )
    return chosen[: options.clips]


def _annotator(options: argparse.Namespace) -> Annotator:
    if (options.server is None) == (options.checkpoint is None):
        raise ConfigError("give the model that annotates: either --server URL --model NAME, or --checkpoint DIR")
    if options.checkpoint is not None:
        return LocalAnnotator(
            options.checkpoint, device=options.device, batch=options.batch, max_tokens=options.max_tokens,
            temperature=options.temperature,
        )  # fmt: skip
    if not options.model:
        raise ConfigError("--server needs --model, the model's name there; GET /v1/models of the server lists them")
    return ServerAnnotator(
        options.server, options.model, concurrency=options.concurrency, timeout_s=options.timeout, retries=options.retries,
        max_tokens=options.max_tokens, temperature=options.temperature, guided=options.guided,
    )  # fmt: skip


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_argument_group("what is annotated")
    what.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of a data set")
    what.add_argument("--format", default="auto", choices=("auto", *DATA_SETS), help="its layout (default: auto)")
    what.add_argument("--split", choices=SPLITS, help="only this split (default: all)")
    what.add_argument("--only", default="*", metavar="PATTERN", help="only clips of such names, * for any letters")
    what.add_argument("--clips", type=int, metavar="N", help="only the first N of them")
    what.add_argument("--rate-hz", type=float, default=4.0, help="frames asked about per second (default: 4)")
    what.add_argument(
        "--window",
        type=int,
        default=8,
        help="such frames in the window of a dialogue, at least the clip_length of the model it is for; answers are kept, so "
        "another window asks nothing again (default: 8)",
    )
    what.add_argument("--count", action="store_true", help="say how many frames it would be, and ask nothing")
    who = parser.add_argument_group("who annotates")
    who.add_argument("--server", metavar="URL", help="an OpenAI-compatible server, up to and with /v1")
    who.add_argument("--model", metavar="NAME", help="the model's name on the server")
    who.add_argument("--concurrency", type=int, default=8, help="requests under way at once (default: 8)")
    who.add_argument("--timeout", type=float, default=120.0, metavar="S", help="for one answer, in s (default: 120)")
    who.add_argument("--retries", type=int, default=5, help="of a request that fails, with growing pauses (default: 5)")
    who.add_argument("--guided", action="store_true", help="have the server hold the model to the JSON schema")
    who.add_argument("--checkpoint", type=Path, metavar="DIR", help="a Qwen2.5-VL checkpoint on this machine")
    who.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 or auto (default: auto)")
    who.add_argument("--batch", type=int, default=4, help="frames at once with --checkpoint (default: 4)")
    who.add_argument("--max-tokens", type=int, default=2048, help="longest answer (default: 2048)")
    who.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest words (default: 0)")
    who.add_argument(
        "--max-pixels", type=int, default=1280 * 28 * 28, help="of an image as it is shown (default: 1003520)"
    )
    who.add_argument("--attempts", type=int, default=3, help="at an answer that is valid (default: 3)")
    where = parser.add_argument_group("what comes of it")
    where.add_argument("--out", type=Path, required=True, metavar="OUT", help="folder for all that is written")
    where.add_argument("--cache", type=Path, metavar="DIR", help="where answers are kept (default: OUT/answers)")
    where.add_argument(
        "--no-refinement", action="store_true", help="leave out the second look, with the background blurred"
    )
    where.add_argument("--phrasings", type=int, default=3, help="dialogues about each window (default: 3)")
    where.add_argument("--show", type=int, default=20, help="clips on review.html, drawn at random (default: 20)")
    where.add_argument("--seed", type=int, default=0, help="of phrasings and of what is shown (default: 0)")
    return parser.parse_args(arguments)


def _check(options: argparse.Namespace) -> None:
    for name in ("clips", "concurrency", "batch", "max_tokens", "attempts", "max_pixels"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    if options.timeout <= 0 or options.retries < 0 or options.temperature < 0 or options.show < 0:
        raise ConfigError("--timeout must be above 0; --retries, --temperature and --show must not be negative")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = parse(arguments)
    annotator = None
    try:
        _check(options)
        settings = Settings(
            options.rate_hz, options.window, options.phrasings, options.seed, refine=not options.no_refinement
        )
        data = open_data(options.format, options.data)
        for problem in data.problems:
            print(f"annotate: {problem}", file=sys.stderr)
        clips = _choose(data.clips, options)
        if options.count:
            frames = sum(_frames(clip, settings) for clip in clips)
            print(
                f"{len(clips)} clips, {frames} frames at {settings.rate_hz:g} Hz, and the abnormal ones a second time"
            )
            return 0
        annotator = _annotator(options)
        summary = annotate(
            clips, annotator, options.out, settings, cache=options.cache, max_pixels=options.max_pixels,
            attempts=options.attempts, show=options.show, source=f"{data.name}: {data.root}",
        )  # fmt: skip
    except KeyboardInterrupt:
        print("\nstopped; all answers are kept, and the same command goes on from here", file=sys.stderr)
        return 130
    except (OSError, TvauError) as error:
        print(f"annotate: {error}", file=sys.stderr)
        return 2
    finally:
        if annotator is not None:
            annotator.close()
    _say(summary, options.out)
    return 0


def _say(summary: dict[str, Any], out: Path) -> None:
    clips, cost = summary["clips"], summary["cost"]
    for name, reason in clips["damaged"].items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    for title in ("extraction", "refinement", "contradictions", "written"):
        print(f"{title}: " + (", ".join(f"{name} {value}" for name, value in summary[title].items()) or "none"))
    tokens = f"{cost['input_tokens']} tokens in, {cost['output_tokens']} out"
    print(
        f"{cost['asked']} requests to the model ({tokens}), {cost['cached']} answers from the cache, {cost['failed']} failed"
    )
    print(f"{clips['annotated']} of {clips['given']} clips are in {out}; look at {out / 'review.html'}")


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a thread that still waits for a server must not keep the process
