"""`tvau chat`: several questions about the same evidence of a video, at a prompt or from a pipe."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Iterator

from ..config import DialogueConfig
from ..dialogue import DialogueEngine
from ..errors import QueryError
from ..pipeline import Pipeline
from ..report import clock
from ..types import Window
from ..video import VideoReader
from .ask import seconds
from .options import add_flags, load_config, open_with_prompts
from .survey import Survey
from .wording import event_line, evidence_lines

__all__ = ["add", "run"]

HELP = """\
Type a question; later ones may refer to earlier ones. Commands:
  /events       list the events of this video
  /event N      ask about the N-th event
  /at SECONDS   ask about the window around a time
  /best         ask about the window with the highest score
  /new          forget the questions so far, same evidence
  /help         this list
  /quit         leave (also Ctrl-D and Ctrl-C)"""
DESCRIPTION = "Runs through a video once, then answers questions about it.\n\n" + HELP
EXAMPLES = """\
examples:
  tvau chat clip.mp4
  printf '/event 1\\nWhat is it?\\nWhere does it go?\\n' | tvau chat clip.mp4"""


def add(parsers: argparse._SubParsersAction) -> None:
    parser = parsers.add_parser(
        "chat",
        help="ask several questions about a video",
        usage="tvau chat [options] VIDEO",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.add_argument("video", metavar="VIDEO", help="a video file or URL")
    add_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Talks until the input ends. Returns 0."""
    config, prompts = load_config(args)
    with VideoReader(args.video) as reader, open_with_prompts(config, prompts) as pipeline:
        chat = _Chat(Survey(reader, pipeline), pipeline, config.dialogue)
        try:
            chat.run()
        except KeyboardInterrupt:
            print()
    return 0


class _Chat:
    """One conversation: the window it is about, and the dialogue session over it."""

    def __init__(self, survey: Survey, pipeline: Pipeline, config: DialogueConfig) -> None:
        self._survey = survey
        self._window: Window = survey.best
        self._event_id = self._session = ""
        rate = pipeline.geometry.process_rate_hz
        self._engine = DialogueEngine(
            pipeline.backend,
            config,
            lambda *_: self._window,
            track=lambda event_id: survey.event(event_id).track,
            process_rate_hz=rate,
        )
        self._prefill = config.prefill

    def run(self) -> None:
        count = len(self._survey.events)
        length = clock(self._survey.seconds(self._survey.end_ns))
        print(f"{length} of video, {count} event{'' if count == 1 else 's'}. /help lists the commands.")
        self._about(self._window, "")
        for line in _lines():
            text = line.strip()
            if text == "/quit":
                return
            try:
                self._command(text) if text.startswith("/") else self._ask(text)
            except QueryError as error:
                print(error)

    def _command(self, text: str) -> None:
        name, _, rest = text.partition(" ")
        rest = rest.strip()
        if name == "/help":
            print(HELP)
        elif name == "/events":
            lines = [
                event_line(i, e, self._survey.start_ns) for i, e in enumerate(self._survey.events.values(), start=1)
            ]
            print("\n".join(lines) or "no events")
        elif name == "/event":
            event = self._survey.event(rest)
            self._about(self._survey.window_of(event), event.id)
        elif name == "/at":
            try:
                at = seconds(rest)
            except ValueError:
                raise QueryError(f"/at wants seconds, or m:ss, got {rest!r}") from None
            self._about(self._survey.window_at(at), "")
        elif name == "/best":
            self._about(self._survey.best, "")
        elif name == "/new":
            self._about(self._window, self._event_id)
        else:
            raise QueryError(f"there is no command {name}; /help lists them")

    def _about(self, window: Window, event_id: str) -> None:
        self._window, self._event_id, self._session = window, event_id, ""
        start, end = (clock(self._survey.seconds(ns)) for ns in (window.start_ns, window.end_ns))
        print(f"About {start} to {end}, score {window.score:.2f}" + (f", event {event_id}." if event_id else "."))
        if self._prefill:
            self._engine.prefill(window)

    def _ask(self, question: str) -> None:
        if not question:
            return
        begins = not self._session
        answer = self._engine.ask(question, session=self._session, event_id=self._event_id)
        self._session = answer.session
        print(answer.text or "(the model says nothing)")
        if begins:
            lines = evidence_lines(answer, self._survey.start_ns)
            print("\n".join(f"  {line}" for line in lines))


def _lines() -> Iterator[str]:
    """The user's lines: at a prompt with history in a terminal; from a pipe they are shown with their answers."""
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):  # not on every system
            import readline  # noqa: F401 - makes input() editable
        with contextlib.suppress(EOFError):
            while True:
                yield input("> ")
        print()
        return
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    for line in sys.stdin:
        print(f"> {line.rstrip()}")
        yield line
