"""`tvau ask`: one question about a video, answered with its evidence."""

from __future__ import annotations

import argparse
import json
import math

from ..dialogue import DialogueEngine, clean_question
from ..video import VideoReader
from .options import add_flags, load_config, open_with_prompts
from .survey import Survey
from .wording import answer_record, evidence_lines

__all__ = ["add", "run", "seconds"]

DESCRIPTION = """\
Runs through a video, picks the clip window with the highest anomaly score (or the one you name), asks the model, and
prints its answer with the evidence: yes or no, score, box and window."""
EXAMPLES = """\
examples:
  tvau ask clip.mp4 "Is there any anomaly in the video?"
  tvau ask clip.mp4 "What is its movement trajectory?" --event 1
  tvau ask clip.mp4 "Describe the environment." --at 12.5 --json"""


def add(parsers: argparse._SubParsersAction) -> None:
    parser = parsers.add_parser(
        "ask",
        help="ask one question about a video",
        usage="tvau ask [options] VIDEO QUESTION",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.add_argument("video", metavar="VIDEO", help="a video file or URL")
    parser.add_argument("question", metavar="QUESTION", help="in quotes")
    about = parser.add_mutually_exclusive_group()
    about.add_argument("--at", type=seconds, metavar="SECONDS", help="ask about the window around this time")
    about.add_argument("--event", metavar="N", help="ask about the N-th event, from 1, or the event of this id")
    parser.add_argument("--json", action="store_true", help="print answer and evidence as JSON")
    add_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Asks and prints. Returns 0."""
    config, prompts = load_config(args)
    clean_question(args.question, config.dialogue.max_question_chars)  # refused now rather than after the video
    with VideoReader(args.video) as reader, open_with_prompts(config, prompts) as pipeline:
        survey = Survey(reader, pipeline, until_s=args.at)
        event_id, track = "", ()
        if args.event is not None:
            event = survey.event(args.event)
            event_id, track, window = event.id, event.track, survey.window_of(event)
        else:
            window = survey.best if args.at is None else survey.window_at(args.at)
        rate = pipeline.geometry.process_rate_hz
        engine = DialogueEngine(
            pipeline.backend, config.dialogue, lambda *_: window, track=lambda _: track, process_rate_hz=rate
        )
        answer = engine.ask(args.question, event_id=event_id)
    if args.json:
        print(json.dumps(answer_record(answer, survey.start_ns), indent=2, ensure_ascii=False))
        return 0
    print(answer.text or "(the model says nothing)")
    print()
    print("\n".join(evidence_lines(answer, survey.start_ns)))
    return 0


def seconds(text: str) -> float:
    """A time on the command line, in seconds or as m:ss. Raises `ValueError` for another."""
    parts = [float(part) for part in text.split(":")]
    value = sum(part * 60**power for power, part in enumerate(reversed(parts)))
    if len(parts) > 3 or not math.isfinite(value) or min(parts) < 0:
        raise ValueError(f"expected seconds or m:ss, got {text!r}")
    return value
