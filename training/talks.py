"""Dialogues about a data set's clips, as they stand on disk. Knows no model.

`dialogues.jsonl` (written by `annotate/` and `make_world.py`) holds a JSON object a line, of which this reads `clip`, its name;
`turns`, a list of `question`, `answer` and `field`; `anomalous`; `kind`: narration, or else it is asked about the anomaly; and
`indices`, the numbers of the frames it is about; without these it is about the whole clip.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tvau_runtime.errors import ConfigError

from .world import Turn

__all__ = ["DIALOGUES", "Talk", "digest", "read_talks"]

DIALOGUES = "dialogues.jsonl"


@dataclass(frozen=True)
class Talk:
    """A line of `dialogues.jsonl`. frames: None for the whole clip."""

    clip: str
    turns: tuple[Turn, ...]
    anomalous: bool
    narrates: bool
    frames: tuple[int, ...] | None


def read_talks(path: Path) -> list[Talk]:
    """All lines of a `dialogues.jsonl`. Raises `ConfigError` naming the line that does not fit."""
    try:
        # Not splitlines(): an answer may hold a separator of Unicode's, which is none of JSON lines.
        text = path.read_text(encoding="utf-8")
        lines = text.removesuffix("\n").split("\n") if text else []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the dialogues {path} cannot be read: {error}; make_world.py and annotate/ write such"
        ) from error
    talks = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            turns = tuple(Turn(str(t["question"]), str(t["answer"]), str(t["field"])) for t in record["turns"])
            frames = record.get("indices")
            talks.append(
                Talk(
                    str(record["clip"]),
                    turns,
                    bool(record.get("anomalous")),
                    record.get("kind") == "narration",
                    None if frames is None else tuple(int(i) for i in frames),
                )
            )
            if not turns or frames == []:
                raise ValueError("it has no turns, or no frames")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            said = f"{error} is missing" if isinstance(error, KeyError) else error
            raise ConfigError(f"{path}, line {number} is no dialogue: {said}") from error
    return talks


def digest(talks: Sequence[Talk]) -> str | None:
    """Tells dialogues apart by what they say; None of none."""
    return hashlib.sha256(repr(list(talks)).encode()).hexdigest()[:16] if talks else None
