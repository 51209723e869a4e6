"""Raw answers of an annotator, asked for once and kept on disk under the hash of the question; and what it all cost.

A file per answer, written whole or not at all, so that a run that was stopped, however hard, asks only for what it has not got.
Knows no prompts and no schema.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tvau_runtime.errors import BackendError, ConfigError

from .annotator import Annotator, Reply, Request, RequestError

__all__ = ["AnswerCache", "Asker", "Cost"]


class AnswerCache:
    """A folder of answers. Several threads and processes may use it at once: the same question has the same answer."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"answers cannot be kept in {folder}: {error}") from error
        self.folder = folder

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> Reply | None:
        """The answer kept under a key, or None; a damaged file, as a power failure may leave it, counts as none."""
        try:
            return Reply(**json.loads(self._path(key).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def put(self, key: str, reply: Reply) -> None:
        """Keeps an answer. Raises `ConfigError` where it cannot be written."""
        path = self._path(key)
        try:
            path.parent.mkdir(exist_ok=True)
            handle, draft = tempfile.mkstemp(dir=path.parent, suffix=".part")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(dataclasses.asdict(reply), file)
            os.replace(draft, path)
        except OSError as error:
            raise ConfigError(f"an answer cannot be kept in {path}: {error}") from error


@dataclass
class Cost:
    """What was asked so far: requests answered by the model and from the cache, requests that failed, and the tokens of the
    former."""

    asked: int = 0
    cached: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class Asker:
    """Answers from the cache or, where it has none, from the annotator. Safe to use from several threads.

    patience: after so many failed requests in a row, with no answer between, the annotator counts as gone.
    """

    def __init__(self, annotator: Annotator, cache: AnswerCache, patience: int = 16) -> None:
        self.annotator, self.cache, self.patience = annotator, cache, patience
        self.cost = Cost()
        self._failed_in_a_row = 0
        self._lock = threading.Lock()

    def ask(self, requests: Sequence[Request]) -> list[Reply | RequestError]:
        """A reply or why there is none for each request, in order. What failed is not kept: another run asks again.

        Raises `BackendError` where the annotator is gone or refuses everything.
        """
        keys = [request.key(self.annotator.identity) for request in requests]
        found: dict[int, Reply | RequestError] = {}
        for place, key in enumerate(keys):
            if (kept := self.cache.get(key)) is not None:
                found[place] = kept
        missing = [place for place in range(len(keys)) if place not in found]
        with self._lock:
            self.cost.cached += len(found)
        if missing:
            try:
                replies = self.annotator.answer([requests[place] for place in missing])
            except RequestError as error:
                self._count_failure(error, len(missing))
                found.update(dict.fromkeys(missing, error))
            else:
                for place, reply in zip(missing, replies, strict=True):
                    self.cache.put(keys[place], reply)
                    found[place] = reply
                self._count(replies)
        return [found[place] for place in range(len(keys))]

    def _count(self, replies: Sequence[Reply]) -> None:
        with self._lock:
            self._failed_in_a_row = 0
            self.cost.asked += len(replies)
            self.cost.input_tokens += sum(reply.input_tokens for reply in replies)
            self.cost.output_tokens += sum(reply.output_tokens for reply in replies)

    def _count_failure(self, error: RequestError, count: int) -> None:
        with self._lock:
            self.cost.failed += count
            self._failed_in_a_row += 1
            over = self._failed_in_a_row >= self.patience
        if over:
            raise BackendError(f"{self.patience} requests failed in a row, the last one: {error}") from error
