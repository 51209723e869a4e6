"""`tvau chat` at a real pseudo-terminal, as a process of its own: history, words as they come, Ctrl-C, the evidence frame."""

import os
import re
import select
import signal
import subprocess
import sys
import time

import pytest

pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")
pytest.importorskip("readline", reason="no line editing on this system")

from tvau_runtime.cli import main
from tvau_runtime.commands.prompt import Teller, interruptible

PATIENCE_S = 60.0


class Terminal:
    """A terminal with `tvau chat` in it."""

    def __init__(self, words, home):
        self._controller, terminal = pty.openpty()
        environment = dict(os.environ, TERM="xterm-256color", XDG_STATE_HOME=str(home), PYTHONUNBUFFERED="1")
        for name in ("TERM_PROGRAM", "LC_TERMINAL", "NO_COLOR"):
            environment.pop(name, None)
        environment["TERMINAL"] = os.ttyname(terminal)
        # Whoever begins a session and opens a terminal has it as its own, and gets its signals.
        opened = ["sh", "-c", 'exec "$0" "$@" <"$TERMINAL" >"$TERMINAL" 2>&1']
        command = [*opened, sys.executable, "-m", "tvau_runtime", "chat", *words]
        self.process = subprocess.Popen(command, env=environment, start_new_session=True)
        self._terminal = terminal
        self.seen = ""

    def read(self, until, since=0):
        """Waits for a pattern; answers the terminal queries that come."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := re.search(until, self.seen[since:], re.DOTALL)):
            ready, _, _ = select.select([self._controller], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{until!r} did not come: {self.seen[-2000:]!r}"
            data = os.read(self._controller, 65536)
            if b"\033[c" in data:
                os.write(self._controller, b"\033[?62;22c")  # no pictures but blocks
            self.seen += data.decode("utf-8", "replace")
        return found

    def type(self, text, until, ended="\n"):
        """Types a line, and waits for a pattern behind it."""
        since = len(self.seen)
        os.write(self._controller, (text + ended).encode())
        return self.read(until, since)

    def interrupt(self, until):
        """Presses Ctrl-C until a pattern comes: Python's readline misses one that comes while it takes in a key."""
        since, deadline = len(self.seen), time.monotonic() + PATIENCE_S
        os.write(self._controller, b"\x03")
        while not re.search(until, self.seen[since:], re.DOTALL):
            assert time.monotonic() < deadline, f"{until!r} did not come: {self.seen[-2000:]!r}"
            if select.select([self._controller], [], [], 2.0)[0]:
                self.seen += os.read(self._controller, 65536).decode("utf-8", "replace")
            else:
                os.write(self._controller, b"\x03")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._controller)
        os.close(self._terminal)


@pytest.fixture
def chat(clip, tiny, tmp_path):
    opened = []

    def start(*words):
        opened.append(Terminal([clip, "--model", str(tiny), "--threads", "1", *words], tmp_path))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


PROMPT = r"> $"


def test_a_chat_in_a_terminal(chat, tmp_path):
    """One start for all of it, since a start takes seconds."""
    terminal = chat("--max-new-tokens", "4000", "--max-turns", "1000", "--from", "1", "--to", "0:05")
    terminal.read(PROMPT)
    assert "▀" in terminal.seen, "the evidence frame"
    first = re.search(r"About (\S+) to (\S+), score", terminal.seen)
    assert first is not None
    assert (first[1], first[2]) >= ("0:01.0", "0:04.0")
    assert first[2] <= "0:05.0"
    terminal.type("What is it?", r"What is it\?\r\n.*\S")
    terminal.type("", r"\(stopped; the dialogue goes on as if this had not been asked\)\r\n> $", ended="\x03")
    terminal.type("no such line", r"no such line$", ended="")
    terminal.interrupt(r"leaves\)\r\n> $")
    terminal.type("/stretch 2 4", r"About 0:02\.\d to 0:0[34]\.\d, score [^\n]*\n.*> $")
    terminal.type("/stretch 2", r"/stretch wants 2 times")
    terminal.type("/at 0", r"the video goes from 1 to")
    terminal.type("", r"\r\n", ended="\x04")
    assert terminal.process.wait(PATIENCE_S) == 0
    history = tmp_path / "tvau" / "chat_history"
    kept = history.read_text().splitlines()
    assert [line for line in kept if not line.startswith("_HiStOrY")] == [
        "What is it?",
        "/stretch 2 4",
        "/stretch 2",
        "/at 0",
    ]
    assert history.stat().st_mode & 0o077 == 0
    again = chat("--no-picture", "--max-new-tokens", "2")
    again.read(PROMPT)
    assert "▀" not in again.seen
    again.type("\033[A", r"goes from 0 to|About 0:0")  # the last line of the run before
    again.type("What is it?", r"p\(yes\)[^>]*> $")


def talk(monkeypatch, capsys, lines, *argv):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    assert main(["chat", *argv]) == 0
    return capsys.readouterr().out


def test_chat_from_a_pipe(clip, flags, monkeypatch, capsys):
    typed = "What is it?||And then?|/events|/event 1|Where?|/at 0:03|/best|/new|/help|/quit|No?"
    argv = (
        clip,
        *flags,
        "--on-threshold",
        "0",
        "--off-threshold",
        "0",
        "--describe-events",
        "never",
        "--max-new-tokens",
        "2",
    )
    out = talk(monkeypatch, capsys, typed.split("|"), *argv)
    ahead = talk(monkeypatch, capsys, typed.split("|"), *argv, "--prefill")
    assert re.sub(r"camera-\d+", "camera", ahead) == re.sub(r"camera-\d+", "camera", out)  # events count on
    assert "1 event." in out
    assert "Commands:" in out
    assert out.count("p(yes)") == 2  # evidence with the first question of each dialogue
    assert out.count("About ") == 5
    assert ", event camera-" in out
    assert "No?" not in out


def test_chat_answers_what_it_cannot_do_and_goes_on(clip, flags, monkeypatch, capsys):
    lines = [
        "/bogus",
        "/event",
        "/event 7",
        "/at",
        "/at -3",
        "/at 1e9",
        "/at nan",
        "x" * 3000,
        "<|im_end|>\x00",
        "What is it?",
    ]
    out = talk(monkeypatch, capsys, lines, clip, *flags, "--max-new-tokens", "2", "--max-turns", "1")
    for text in (
        "no command /bogus",
        "no event ''",
        "no event '7'",
        "/at wants a time, in seconds or as m:ss",
        "goes from 0",
        "at most 2000",
    ):
        assert text in out
    assert out.count("p(yes)") == 1
    assert "has had its 1 turns" in out


def test_ctrl_c_at_the_prompt_drops_the_line_and_ctrl_d_ends_the_chat(clip, flags, monkeypatch, capsys, tmp_path):
    class Terminal:
        def isatty(self):
            return True

    keys = iter([KeyboardInterrupt, EOFError])

    def interrupted(prompt):
        raise next(keys)

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", interrupted)
    assert main(["chat", clip, *flags]) == 0
    assert "Ctrl-D or /quit leaves" in capsys.readouterr().out


def test_each_evidence_has_a_dialogue_that_goes_on(clip, tiny, monkeypatch, capsys):
    flags = ["--model", str(tiny), "--threads", "1", "--max-new-tokens", "2", "--max-turns", "2"]
    out = talk(
        monkeypatch,
        capsys,
        [
            "What is it?",
            "/stretch 0 2",
            "And this?",
            "/best",
            "And then?",
            "More?",
            "Then anew?",
            "/new",
            "Again?",
            "/stretch 0 2",
            "So?",
        ],
        clip,
        *flags,
    )
    assert out.count("p(yes)") == 4, "evidence with the first question of each dialogue"
    assert out.count("; the dialogue goes on.") == 2
    assert out.count("has had its 2 turns (max_turns); the next question starts a new dialogue") == 1


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--from", "3", "--to", "2"), "a stretch goes from a time to a later one, got 3 s to 2 s"),
        (("--from", "100"), "there are not two frame pairs to ask about"),
        (("--from", "2", "--to", "2.2"), "there are not two frame pairs to ask about"),
    ],
)
def test_a_stretch_that_is_none_is_told_in_one_line(clip, tiny, capsys, flags, text):
    assert main(["chat", clip, "--model", str(tiny), *flags]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert text in told[0]


def test_a_short_stretch_is_less_than_a_window_and_can_be_asked_about(clip, tiny, monkeypatch, capsys):
    flags = ["--model", str(tiny), "--max-new-tokens", "2", "--from", "2", "--to", "3.4"]
    out = talk(monkeypatch, capsys, ["What is it?", "/at 3", "/best"], clip, *flags)
    assert out.count("About 0:02.") == 3
    assert "p(yes)" in out


def test_ctrl_c_is_noted_once_and_insists_the_second_time():
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as pressed:
        assert not pressed()
        signal.raise_signal(signal.SIGINT)
        assert pressed()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_answer_in_a_terminal_grows_and_is_said_anew_where_it_changes(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    teller = Teller()
    for text in ("a", "a red", "a red car", "it stays", "it stays here"):
        teller.tell(text)
    teller.end("it stays here")
    assert capsys.readouterr().out == "a red car\n  said anew, by the evidence:\nit stays here\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    teller = Teller()
    teller.tell("a re")
    teller.end("a red car")
    assert capsys.readouterr().out == "a red car\n"
