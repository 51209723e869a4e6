"""`tvau chat`: several questions about the same evidence of a video, at a prompt or from a pipe."""

from __future__ import annotations

import argparse
import sys

from ..errors import QueryError, SessionError
from ..overlay import thumbnail
from ..pipeline import Pipeline
from ..report import clock
from ..types import Window
from ..video import VideoReader
from .ask import seconds
from .options import add_flags, load_config, open_with_prompts
from .prompt import Teller, interruptible, lines
from .survey import Survey
from .terminal_picture import find_protocol, render
from .wording import event_line, evidence_lines

__all__ = ["add", "run"]

HELP = """\
Type a question; later ones may refer to earlier ones. Commands:
  /events             list the events of this video
  /event N            ask about the N-th event
  /at SECONDS         ask about the window around a time
  /stretch FROM TO    ask about all between two times
  /best               ask about the window with the highest score
  /new                forget the questions so far, same evidence
  /help               this list
  /quit               leave (also Ctrl-D)
Each evidence has a dialogue of its own, which goes on when you come back to it. Ctrl-C stops an answer."""
DESCRIPTION = "Runs through a video, or a stretch of it, once; then answers questions about it.\n\n" + HELP
EXAMPLES = """\
examples:
  tvau chat clip.mp4
  tvau chat clip.mp4 --from 12.5 --to 0:20      about these seconds alone
  printf '/event 1\\nWhat is it?\\nWhere does it go?\\n' | tvau chat clip.mp4"""
PICTURE_WIDTH = 480
"""Of the evidence frame (pixels)."""


def add(parsers: argparse._SubParsersAction) -> None:
    parser = parsers.add_parser(
        "chat",
        help="ask several questions about a video",
        usage="tvau chat [options] VIDEO",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.add_argument("video", metavar="VIDEO", help="a video file or URL")
    parser.add_argument("--from", dest="begin", type=seconds, metavar="SECONDS", help="look only at what comes after")
    parser.add_argument("--to", dest="end", type=seconds, metavar="SECONDS", help="look only at what comes before")
    parser.add_argument("--no-picture", action="store_true", help="do not show evidence frames in the terminal")
    add_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Talks until the input ends. Returns 0."""
    config, prompts = load_config(args)
    stretch = None
    if args.begin is not None or args.end is not None:
        stretch = args.begin or 0.0, float("inf") if args.end is None else args.end
    with VideoReader(args.video) as reader, open_with_prompts(config, prompts) as pipeline:
        protocol = "" if args.no_picture else find_protocol(sys.stdout)
        chat = _Chat(Survey(reader, pipeline, stretch=stretch, pictures=bool(protocol)), pipeline, protocol)
        try:
            chat.run(stretch)
        except KeyboardInterrupt:
            print()
    return 0


class _Chat:
    """Dialogues about a video, one for each evidence that was asked about."""

    def __init__(self, survey: Survey, pipeline: Pipeline, protocol: str) -> None:
        self._survey, self._pipeline, self._protocol = survey, pipeline, protocol
        self._window, self._event_id = survey.best, ""
        self._sessions: dict[tuple[str, int, int], str] = {}
        """By event and window."""

    def run(self, stretch: tuple[float, float] | None) -> None:
        """stretch: what is asked about first, instead of the window with the highest score."""
        count = len(self._survey.events)
        length = clock(self._survey.seconds(self._survey.end_ns))
        print(f"{length} of video, {count} event{'' if count == 1 else 's'}. /help lists the commands.")
        self._about(self._survey.stretch(*stretch) if stretch else self._survey.best)
        for line in lines():
            text = line.strip()
            if text == "/quit":
                return
            try:
                self._command(text) if text.startswith("/") else self._ask(text)
            except QueryError as error:
                print(error)

    def _command(self, text: str) -> None:
        name, *words = text.split()
        rest = " ".join(words)
        if name == "/help":
            print(HELP)
        elif name == "/events":
            listed = [
                event_line(i, e, self._survey.start_ns) for i, e in enumerate(self._survey.events.values(), start=1)
            ]
            print("\n".join(listed) or "no events")
        elif name == "/event":
            event = self._survey.event(rest)
            self._about(self._survey.window_of(event), event.id)
        elif name == "/at":
            self._about(self._survey.window_at(*_times(name, words, 1)))
        elif name == "/stretch":
            begin, end = _times(name, words, 2)
            self._about(self._survey.stretch(begin, end))
        elif name == "/best":
            self._about(self._survey.best)
        elif name == "/new":
            self._sessions.pop(self._evidence, None)
            self._about(self._window, self._event_id)
        else:
            raise QueryError(f"there is no command {name}; /help lists them")

    @property
    def _evidence(self) -> tuple[str, int, int]:
        return self._event_id, self._window.start_ns, self._window.end_ns

    def _about(self, window: Window, event_id: str = "") -> None:
        self._window, self._event_id = window, event_id
        start, end = (clock(self._survey.seconds(ns)) for ns in (window.start_ns, window.end_ns))
        about = f"About {start} to {end}, score {window.score:.2f}" + (f", event {event_id}" if event_id else "")
        if self._evidence in self._sessions:
            print(f"{about}; the dialogue goes on.")
            return
        print(f"{about}.")
        self._show(window)
        if self._pipeline.config.dialogue.prefill:
            self._pipeline.dialogue.prefill(window)

    def _show(self, window: Window) -> None:
        """The hottest frame, in a terminal that can."""
        peak = window.peak
        picture = self._survey.picture(peak) if self._protocol else None
        if picture is not None:
            box = peak.heatmap.box((picture.shape[0], picture.shape[1]))
            print(render(thumbnail(picture, peak.heatmap, box, PICTURE_WIDTH), self._protocol), end="", flush=True)

    def _ask(self, question: str) -> None:
        if not question:
            return
        session = self._sessions.get(self._evidence, "")
        teller = Teller()
        with interruptible() as pressed:
            try:
                answer = self._pipeline.ask(
                    question,
                    session=session,
                    event_id=self._event_id,
                    window=self._window,
                    on_text=teller.tell,
                    should_stop=pressed,
                )
            except SessionError as error:
                del self._sessions[self._evidence]
                raise QueryError(f"{str(error).partition(';')[0]}; the next question starts a new dialogue") from error
            except QueryError:
                if not pressed():
                    raise
                print("\n(stopped; the dialogue goes on as if this had not been asked)")
                return
        self._sessions[self._evidence] = answer.session
        teller.end(answer.text or "(the model says nothing)")
        if not session:
            print("\n".join(f"  {line}" for line in evidence_lines(answer, self._survey.start_ns)))


def _times(command: str, words: list[str], count: int) -> list[float]:
    try:
        found = [seconds(word) for word in words]
    except ValueError:
        found = []
    if len(found) != count:
        raise QueryError(
            f"{command} wants {'a time' if count == 1 else f'{count} times'}, in seconds or as m:ss"
        ) from None
    return found
