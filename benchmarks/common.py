"""What benchmarks share: interleaved timing, medians of ratios, tables and JSON.

Machines are noisy. Whatever is compared is timed in turn, round by round, within one process, and a ratio is the median of the
rounds' own ratios. Knows no model.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["interleave", "ratio", "table", "write"]


def interleave(calls: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 2) -> dict[str, list[float]]:
    """Times every call once a round, in turn, beginning one further on each time. Milliseconds per call, by round."""
    names = list(calls)
    spent: dict[str, list[float]] = {name: [0.0] * rounds for name in names}
    for name in names * warm_up:
        calls[name]()
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            began = time.perf_counter()
            calls[name]()
            spent[name][number] = (time.perf_counter() - began) * 1e3
    return spent


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the rounds' own ratios."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints rows under their columns; the first column is text."""
    shown = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    print(f"\n{title}")
    for first, *rest in shown:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        print("  " + "  ".join(cells), flush=True)


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
