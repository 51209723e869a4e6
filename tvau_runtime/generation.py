"""Greedy decoding over the engine interface, and the probability of "yes" from the first answer token.

`Context` is what the language model has read so far; `greedy` lets it read a question and yields the answer token by
token, so that a caller may stream, stop or count. Knows nothing about chat layout, video or sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .backends.base import Backend
from .errors import ModelError
from .tokenizer import TextTokenizer

__all__ = ["END_TOKENS", "Context", "greedy", "yes_probability"]

END_TOKENS = ("<|im_end|>", "<|endoftext|>")
"""Either ends an answer."""


class Context:
    """What the language model has read: its key-value cache, how many positions that holds, and the next rotary
    position.

    embeddings: float32 [S, D] and positions: int64 [3, S] of all that is read first; text behind it counts up alike
    on the three rotary axes. Not safe for two threads at once.
    """

    def __init__(self, backend: Backend, embeddings: np.ndarray, positions: np.ndarray) -> None:
        self._backend = backend
        self._cache: Any = None
        self.length = 0
        self.next_position = 0
        self._read(embeddings, positions)

    def read(self, token_ids: list[int]) -> np.ndarray:
        """Reads further text, at least one token; returns the logits float32 [V] of what would come next."""
        positions = np.arange(self.next_position, self.next_position + len(token_ids), dtype=np.int64)
        return self._read(self._backend.embed(token_ids), np.broadcast_to(positions, (3, len(token_ids))))

    def fork(self) -> Context:
        """A copy to read on with; this one stays as it is."""
        copy = Context.__new__(Context)
        copy._backend, copy.length, copy.next_position = self._backend, self.length, self.next_position
        copy._cache = self._backend.crop(self._cache, self.length)
        return copy

    def _read(self, embeddings: np.ndarray, positions: np.ndarray) -> np.ndarray:
        logits, self._cache = self._backend.decode(embeddings, np.ascontiguousarray(positions), self._cache)
        self.length += positions.shape[1]
        self.next_position = int(positions.max()) + 1
        if np.isnan(logits).any():
            raise ModelError(
                f"the language model of '{self._backend.spec.name}' returned logits that are not numbers: its weights "
                f"are damaged, or '{self._backend.device}' computes with too little precision"
            )
        return logits


def greedy(
    context: Context,
    token_ids: list[int],
    tokenizer: TextTokenizer,
    *,
    max_new_tokens: int,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[int]:
    """Reads `token_ids` and yields the most likely answer, one token id at a time, without the token that ends it.

    Ends at one of `END_TOKENS`, after `max_new_tokens`, or before the next token once `should_stop()` is true. A
    consumer that runs it to its end leaves the context having read all that was yielded.
    """
    ends = {tokenizer.token_id(token) for token in END_TOKENS}
    logits = context.read(token_ids)
    for _ in range(max_new_tokens):
        if should_stop is not None and should_stop():
            return
        token = int(logits.argmax())
        if token in ends:
            return
        yield token
        logits = context.read([token])


def yes_probability(logits: np.ndarray, tokenizer: TextTokenizer) -> float:
    """p(yes) / (p(yes) + p(no)), 0..1, from the logits float32 [V] of an answer's first token.

    Yes is the first token of "Yes" or "yes", no that of "No" or "no": either word may be several tokens. Raises
    `ModelError` for a tokenizer that begins both alike, since its first token then says nothing.
    """
    yes = {tokenizer.encode(word)[0] for word in ("Yes", "yes")}
    no = {tokenizer.encode(word)[0] for word in ("No", "no")}
    if yes & no:
        raise ModelError(
            "the tokenizer begins 'Yes' and 'No' with the same token; expected a first token that tells them apart"
        )
    wide = logits.astype(np.float64)
    margin = np.logaddexp.reduce(wide[sorted(no)]) - np.logaddexp.reduce(wide[sorted(yes)])
    return float(1.0 / (1.0 + np.exp(np.clip(margin, -700.0, 700.0))))
