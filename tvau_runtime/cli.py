"""The console command `tvau`: reads the command line and hands over to one module of `commands`.

A user's error is one line on stderr and exit code 2; Ctrl-C is exit code 130. What is a defect of ours keeps its
traceback.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from .commands import archive, ask, chat, evaluate, info, watch
from .errors import ConfigError, TvauError

__all__ = ["build_parser", "main"]

USER_ERROR, INTERRUPTED = 2, 130

DESCRIPTION = """\
Watches video for abnormal events: whether something abnormal happens, where, which target, how it moves; and answers
questions about it."""

EXAMPLES = """\
examples:
  tvau watch car-detection.mp4                      overlay video, events and a report, in out/car-detection
  tvau watch 0 --max-frames 500                     a camera device
  tvau watch clip.mp4 --abnormal "person running"   in your words, what counts as abnormal
  tvau ask clip.mp4 "Is there any anomaly in the video?"
  tvau chat clip.mp4                                several questions about the same evidence
  tvau archive recordings/ --out results            thousands of recorded videos, to tables
  tvau evaluate boxes/ tracks/ --frames 40791       the field's figures for any detector's text files
  tvau info                                         the model, and which engines and devices there are

`tvau COMMAND --help` tells more."""


class _Parser(argparse.ArgumentParser):
    """Keeps line breaks in examples, and says what is wrong with the command line in one line."""

    def __init__(self, **settings) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(prog="tvau", description=DESCRIPTION, epilog=EXAMPLES)
    parsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (watch, ask, chat, archive, evaluate, info):
        command.add(parsers)
    return parser


def _check_text(words: list[str]) -> None:
    """Raises `ConfigError` for a word that is not valid UTF-8: OpenCV crashes on such a file name."""
    for word in words:
        if word.encode("utf-8", "replace").decode() != word:
            raise ConfigError(f"{word!r} is not valid UTF-8; rename the file or folder")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a letter is no reason to fail
    try:
        words = sys.argv[1:] if argv is None else list(argv)
        _check_text(words)
        args = build_parser().parse_args(words)
        return args.run(args)
    except BrokenPipeError:  # the reader of our output has seen enough, as in `tvau ask … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (TvauError, OSError) as error:
        print(f"tvau: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("tvau: interrupted", file=sys.stderr)
        return INTERRUPTED
