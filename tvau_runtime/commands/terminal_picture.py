"""Pictures in a terminal: by the protocol of kitty or iTerm2, as sixels, or as half blocks in 24-bit colour.

Which of them a terminal can, it is asked itself (kitty's query and the primary device attributes, which all terminals
answer), but for iTerm2's protocol, which is known by the environment. Knows nothing of what is drawn.
"""

from __future__ import annotations

import base64
import os
import re
import select
import shutil
import time
from collections.abc import Mapping
from typing import TextIO

import cv2
import numpy as np

from ..overlay import shrink

__all__ = ["find_protocol", "render"]

PATIENCE_S = 0.3
"""How long a terminal may take to answer; one on the other side of a slow line gets half blocks."""
WIDTH = 480
"""Of a picture in pixels, at most."""
MOST_COLUMNS = 60
"""Of a picture, in characters."""
CHUNK = 4096
"""Characters of one command of kitty's protocol, at most."""
LEVELS = 6
"""Of red, green and blue in sixels: 216 colours of the 256 that every such terminal has."""
QUERY = "\033_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\033\\\033[c"
"""Whether a kitty picture of one pixel would do, and then the device attributes: who does not know the first skips it."""
_ATTRIBUTES = re.compile(rb"\033\[\?([\d;]*)c")


def find_protocol(stream: TextIO, environment: Mapping[str, str] = os.environ, terminal: str = "/dev/tty") -> str:
    """kitty, iterm2, sixel, blocks, or nothing where no picture can be shown: not a terminal, or one without colours.

    stream: what pictures would be written to; terminal: the device behind it.
    """
    kind = environment.get("TERM", "")
    if not stream.isatty() or kind in ("", "dumb", "linux") or environment.get("NO_COLOR"):
        return ""
    if "iTerm" in environment.get("TERM_PROGRAM", "") or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    stream.flush()
    answer = _ask(terminal)
    if b"\033_Gi=31;OK" in answer:
        return "kitty"
    attributes = _ATTRIBUTES.search(answer)
    if attributes and b"4" in attributes[1].split(b";"):
        return "sixel"
    return "" if environment.get("TERM_PROGRAM") == "Apple_Terminal" else "blocks"


def render(rgb: np.ndarray, protocol: str) -> str:
    """An image uint8 [H, W, 3] as what is to be written to the terminal, with a line break at its end."""
    small = shrink(rgb, WIDTH)
    columns = min(MOST_COLUMNS, shutil.get_terminal_size().columns - 1)
    if protocol == "kitty":
        data = base64.b64encode(_png(small)).decode()
        chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
        commands = [f"m={int(number < len(chunks))};{chunk}" for number, chunk in enumerate(chunks, start=1)]
        return (
            "".join(f"\033_G{f'a=T,f=100,q=2,c={columns},' if not n else ''}{c}\033\\" for n, c in enumerate(commands))
            + "\n"
        )
    if protocol == "iterm2":
        png = _png(small)
        data = base64.b64encode(png).decode()
        return f"\033]1337;File=inline=1;width={columns};size={len(png)}:{data}\a\n"
    if protocol == "sixel":
        return _sixels(small) + "\n"
    return _blocks(small, columns)


def _ask(device: str) -> bytes:
    """What the terminal answers to `QUERY`; empty where it does not, or it cannot be asked."""
    try:
        import termios
        import tty

        terminal = os.open(device, os.O_RDWR | os.O_NOCTTY)
    except (ImportError, OSError):  # no POSIX system, or no terminal of our own
        return b""
    try:
        before = termios.tcgetattr(terminal)
        tty.setcbreak(terminal, termios.TCSANOW)
        try:
            os.write(terminal, QUERY.encode())
            answer, deadline = b"", time.monotonic() + PATIENCE_S
            while not _ATTRIBUTES.search(answer):
                if not select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    break
                answer += os.read(terminal, 1024)
            return answer
        finally:
            termios.tcsetattr(terminal, termios.TCSANOW, before)
    except (OSError, termios.error):
        return b""
    finally:
        os.close(terminal)


def _png(rgb: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def _blocks(rgb: np.ndarray, columns: int) -> str:
    """Each character is two pixels, the upper one its foreground."""
    height, width = rgb.shape[:2]
    rows = max(1, round(columns * height / width / 2))
    pixels = cv2.resize(rgb, (columns, 2 * rows), interpolation=cv2.INTER_AREA)
    lines = []
    for upper, lower in zip(pixels[0::2].tolist(), pixels[1::2].tolist(), strict=True):
        cells = [
            f"\033[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m▀" for a, b in zip(upper, lower, strict=True)
        ]
        lines.append("".join(cells) + "\033[0m\n")
    return "".join(lines)


def _sixels(rgb: np.ndarray) -> str:
    """Six rows of pixels at a time; of each of their colours, which of the six has it, column by column."""
    levels = (rgb.astype(np.uint16) * LEVELS // 256).astype(np.uint8)
    colors = levels[..., 0] * LEVELS * LEVELS + levels[..., 1] * LEVELS + levels[..., 2]  # H W
    percent = [round(100 * level / (LEVELS - 1)) for level in range(LEVELS)]
    used = np.unique(colors).tolist()
    palette = "".join(
        f"#{color};2;{percent[color // LEVELS**2]};{percent[color // LEVELS % LEVELS]};{percent[color % LEVELS]}"
        for color in used
    )
    height, width = colors.shape
    bands = []
    for top in range(0, height, 6):
        band = colors[top : top + 6]
        bits = (1 << np.arange(len(band), dtype=np.uint8))[:, None]
        rows = [f"#{color}{_runs(((band == color) * bits).sum(axis=0))}" for color in np.unique(band).tolist()]
        bands.append("$".join(rows))
    return f'\033P0;1q"1;1;{width};{height}{palette}{"-".join(bands)}\033\\'


def _runs(bits: np.ndarray) -> str:
    """Sixel characters, equal ones in a row as a count."""
    starts = np.flatnonzero(np.diff(bits, prepend=-1))
    counts = np.diff(starts, append=len(bits))
    return "".join(
        f"!{count}{chr(63 + value)}" if count > 3 else chr(63 + value) * count
        for value, count in zip(bits[starts].tolist(), counts.tolist(), strict=True)
    )
