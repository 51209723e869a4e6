"""Pictures in a terminal, read back as a terminal would; and what each terminal is taken to be able to do."""

import base64
import io
import os
import re
import threading

import cv2
import numpy as np
import pytest

from tvau_runtime.commands.terminal_picture import find_protocol, render

pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")

COLORTERM = {"TERM": "xterm-256color"}


@pytest.fixture
def image():
    """A smooth image, uint8 [90, 120, 3], with a red square."""
    rows, columns = np.mgrid[0:90, 0:120]
    rgb = np.stack([columns * 2, rows * 2, np.full_like(rows, 60)], axis=-1).astype(np.uint8)
    rgb[30:60, 30:60] = (250, 10, 10)
    return rgb


def decoded(png):
    bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def test_kitty(image):
    commands = re.findall(r"\033_G([^;]*);([^\033]*)\033\\", render(image, "kitty"))
    assert commands[0][0].startswith("a=T,f=100,")
    assert all(len(data) <= 4096 for _, data in commands)
    assert [keys.endswith("m=1") for keys, _ in commands] == [True] * (len(commands) - 1) + [False]
    np.testing.assert_array_equal(decoded(base64.b64decode("".join(data for _, data in commands))), image)
    noise = np.random.default_rng(0).integers(0, 255, image.shape, np.uint8)
    assert len(re.findall(r"\033_G", render(noise, "kitty"))) > 2, "in pieces"


def test_iterm2(image):
    found = re.fullmatch(r"\033\]1337;File=([^:]*):([^\a]*)\a\n", render(image, "iterm2"))
    assert found is not None
    head, data = found.groups()
    assert "inline=1" in head
    assert f"size={len(base64.b64decode(data))}" in head
    np.testing.assert_array_equal(decoded(base64.b64decode(data)), image)


def test_half_blocks(image):
    text = render(image, "blocks")
    rows = [
        [[int(v) for v in cell] for cell in re.findall(r"38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀", line)]
        for line in text.splitlines()
    ]
    cells = np.array(rows)  # rows columns 6
    pixels = cells.reshape(len(rows), -1, 2, 3).transpose(0, 2, 1, 3).reshape(2 * len(rows), -1, 3)
    height, width = pixels.shape[:2]
    assert width <= 60
    assert abs(height / width - 90 / 120) < 0.05, "pixels are square where characters are twice as high as wide"
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(pixels, small)
    assert text.endswith("\033[0m\n")


def read_sixels(text):
    """What a terminal would show: uint8 [H, W, 3]."""
    found = re.fullmatch(r'\033P0;1q"1;1;(\d+);(\d+)(.*)\033\\\n', text, re.DOTALL)
    assert found is not None
    width, height, body = int(found[1]), int(found[2]), found[3]
    palette, canvas, (x, top, color) = {}, np.zeros((height + 6, width, 3), np.uint8), (0, 0, 0)
    for define, number, run, one, move in re.findall(r"#(\d+;2;[\d;]+)|#(\d+)|!(\d+[?-~])|([?-~])|([$-])", body):
        if define:
            name, _, *levels = map(int, define.split(";"))
            palette[name] = np.array(levels) * 255 / 100
        elif number:
            color = int(number)
        elif move:
            x, top = 0, top + 6 * (move == "-")
        else:
            count, bits = (int(run[:-1]), ord(run[-1]) - 63) if run else (1, ord(one) - 63)
            for row in range(6):
                if bits >> row & 1:
                    canvas[top + row, x : x + count] = palette[color]
            x += count
    return canvas[:height]


def test_sixels(image):
    shown = read_sixels(render(image, "sixel"))
    assert shown.shape == image.shape
    assert np.abs(shown.astype(int) - image).max() <= 256 / 6, "as near as six levels of each colour come"


def ask(answer, environment):
    """What is found at a terminal that answers a query so."""
    controller, terminal = pty.openpty()
    found = []

    def reply():
        got = b""
        while not got.endswith(b"\033[c"):
            got += os.read(controller, 100)
        os.write(controller, answer)

    thread = threading.Thread(target=reply, daemon=True)
    thread.start()
    with os.fdopen(terminal, "r+b", buffering=0) as raw, io.TextIOWrapper(io.BufferedWriter(raw)) as stream:
        found.append(find_protocol(stream, environment, terminal=os.ttyname(raw.fileno())))
    thread.join(10)
    os.close(controller)
    return found[0]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"\033_Gi=31;OK\033\\\033[?62;c", "kitty"),
        (b"\033[?62;4;22c", "sixel"),
        (b"\033[?64;1;2;14;22c", "blocks"),
        (b"\033_Gi=31;ENOTSUP\033\\\033[?6c", "blocks"),
    ],
)
def test_a_terminal_is_asked_what_it_can(answer, expected):
    assert ask(answer, COLORTERM) == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "dumb"}, ""),
        ({"TERM": "linux"}, ""),
        ({}, ""),
        ({"TERM": "xterm", "NO_COLOR": "1"}, ""),
    ],
)
def test_what_the_environment_says(environment, expected):
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stream:
        assert find_protocol(stream, environment) == expected
    os.close(controller)


def test_no_picture_where_there_is_no_terminal():
    assert find_protocol(io.StringIO(), {"TERM": "xterm-kitty"}) == ""
