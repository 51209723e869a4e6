"""A data set opened with all its inner parts in reach, and what was written into a copy."""

import json
from typing import Any

from tvau_training.data import open_data


def opened(name, folder) -> Any:
    """A data set, whose parts a test may look into."""
    return open_data(name, folder)


def records(folder):
    return [json.loads(line) for line in next(folder.rglob("dialogues.jsonl")).read_text().splitlines()]


def clip_named(data, name) -> Any:
    (clip,) = (clip for clip in data.clips if clip.name == name)
    return clip
