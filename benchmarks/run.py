"""Runs all benchmarks, or one, each in a process of its own; prints tables and writes one JSON file."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from common import ROOT, Skipped, describe_input, describe_machine, parser, write

from tvau_runtime import TvauError

__all__ = ["PARTS", "main"]

EXAMPLES = """\
examples:
  python benchmarks/run.py                          everything, in about a quarter of an hour; out/benchmarks.json
  python benchmarks/run.py --quick                  whether everything works, in about a minute
  python benchmarks/run.py --only vision --threads 1
"""
PARTS = ("vision", "stream", "language", "dialogue", "peers", "node", "memory", "archive", "drawing")
"""Modules beside this one, each with `run(options) -> dict`."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code: 1 where a part failed."""
    there = [name for name in PARTS if importlib.util.find_spec(name)]
    made = parser(__doc__)
    made.epilog = EXAMPLES
    made.add_argument("--only", choices=there, action="append", help="this part alone; may be given several times")
    made.set_defaults(json=ROOT / "out" / "benchmarks.json")
    options = made.parse_args(arguments)
    try:
        result: dict[str, Any] = {
            "machine": describe_machine(),
            "input": describe_input(options.model),
            "quick": options.quick,
            "threads": options.threads,
            "parts": {},
        }
    except TvauError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    machine = result["machine"]
    print(f"{machine['cpu']}, {machine['logical_cores']} cores, {machine['busy_percent']:.0f} % busy with other work")
    failed = []
    for name in options.only or there:
        began = time.monotonic()
        part = _run(name, options)
        failed += [name] if "error" in part else []
        result["parts"][name] = {**part, "took_s": round(time.monotonic() - began, 1)}
        write(options.json, result)  # after each, so that a later one costs nothing that was measured
    result["machine_afterwards"] = describe_machine()
    write(options.json, result)
    print(f"\nwritten: {options.json}")
    for name in failed:
        print(f"error: {name}: {result['parts'][name]['error']}", file=sys.stderr)
    return 1 if failed else 0


def _run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One part in a process of its own, which leaves no threads, caches and memory behind."""
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            return alone.submit(_call, name, options).result()
    except (TvauError, BrokenProcessPool) as error:
        return {"error": str(error)}


def _call(name: str, options: argparse.Namespace) -> dict[str, Any]:
    module = importlib.import_module(name)
    if not hasattr(module, "run"):
        raise Skipped(f"benchmarks/{name}.py has no run(options)")
    return module.run(options)


if __name__ == "__main__":
    sys.exit(main())
