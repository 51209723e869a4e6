"""Decoding over the engine interface: greedy or sampled, free or opened with yes or no; and how likely "yes" is.

`Context` is what the language model has read so far; `generate` goes on from there and yields the answer token by token, so
that a caller may stream, stop or count. Knows nothing about chat layout, video or sessions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .backends.base import Backend
from .errors import ModelError
from .tokenizer import TextTokenizer

__all__ = ["END_TOKENS", "GREEDY", "Context", "Sampling", "generate", "yes_logit", "yes_or_no"]

END_TOKENS = ("<|im_end|>", "<|endoftext|>")
"""Either ends an answer."""
PIECE = 256
"""Positions read in one pass at most, so that long evidence does not keep others from the device for long."""
_WORDS = (("Yes", "yes"), ("No", "no"))


class Context:
    """What the language model has read: its key-value cache, how many positions that holds, and the next rotary
    position.

    embeddings: float32 [S, D] and positions: int64 [3, S] of all that is read first; text behind it counts up alike
    on the three rotary axes. rest: called after every pass, also of copies, with the time it took (s); what it raises
    ends the reading. Not safe for two threads at once.
    """

    def __init__(
        self,
        backend: Backend,
        embeddings: np.ndarray,
        positions: np.ndarray,
        rest: Callable[[float], None] = lambda spent_s: None,
    ) -> None:
        self._backend, self._rest = backend, rest
        self._cache: Any = None
        self._deferred: tuple[int, ...] = ()
        self.length = 0
        self.next_position = 0
        self._read(embeddings, positions)

    def read(self, token_ids: Sequence[int]) -> np.ndarray:
        """Reads further text, at least one token; returns the logits float32 [V] of what would come next."""
        ids = [*self._deferred, *token_ids]
        self._deferred = ()
        positions = np.arange(self.next_position, self.next_position + len(ids), dtype=np.int64)
        return self._read(self._backend.embed(ids), np.broadcast_to(positions, (3, len(ids))))

    def defer(self, token_id: int) -> None:
        """Has one token read with whatever is read next, in the same pass."""
        self._deferred += (token_id,)

    def fork(self) -> Context:
        """A copy to read on with; this one stays as it is. The two share what they have in common."""
        copy = Context.__new__(Context)
        copy._backend, copy._rest = self._backend, self._rest
        copy.length, copy.next_position = self.length, self.next_position
        copy._deferred = self._deferred
        copy._cache = self._backend.crop(self._cache, self.length)
        return copy

    @property
    def nbytes(self) -> int:
        """Memory of the keys and values; what is shared with copies counts as its own."""
        return self._backend.cache_bytes(self._cache)

    def _read(self, embeddings: np.ndarray, positions: np.ndarray) -> np.ndarray:
        logits = np.empty(0, np.float32)
        for start in range(0, len(embeddings), PIECE):
            piece = slice(start, start + PIECE)
            began = time.perf_counter()
            logits, self._cache = self._backend.decode(
                embeddings[piece], np.ascontiguousarray(positions[:, piece]), self._cache
            )
            self._rest(time.perf_counter() - began)
        self.length += positions.shape[1]
        self.next_position = int(positions.max()) + 1
        if not np.isfinite(logits.max()):  # also where any is not a number
            raise ModelError(
                f"the language model of '{self._backend.spec.name}' returned logits that are not numbers: its weights "
                f"are damaged, or '{self._backend.device}' computes with too little precision"
            )
        return logits


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen from logits.

    temperature: what they are divided by; 0 takes the most likely token, whatever else is said. top_p: only the most likely
    tokens are drawn from, as few as hold this share of the probability, and at least one (0..1). seed: 0 draws anew every
    time.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def chooser(self) -> Callable[[np.ndarray], int]:
        """A function from logits float32 [V] to a token id, for one answer: equal seeds give equal answers."""
        if self.temperature == 0:
            return lambda logits: int(logits.argmax())
        random = np.random.default_rng(self.seed or None)
        return lambda logits: self._draw(logits, random.random())

    def _draw(self, logits: np.ndarray, uniform: float) -> int:
        """uniform: where in the probability of the kept tokens, 0 up to but without 1."""
        wide = logits.astype(np.float64)
        with np.errstate(over="ignore"):  # the likeliest stays at 0, the others may fall as far as they can
            weights = np.exp((wide - wide.max()) / self.temperature)
        # Tokens below this hold less than 1 - top_p together; they need not be sorted.
        kept = np.flatnonzero(weights >= (1.0 - self.top_p) * weights.mean())
        if self.top_p < 1.0:
            kept = kept[np.argsort(-weights[kept], kind="stable")]
            enough = np.searchsorted(np.cumsum(weights[kept]), self.top_p * weights.sum())
            kept = kept[: enough + 1]
        mass = np.cumsum(weights[kept])
        return int(kept[np.searchsorted(mass, uniform * mass[-1], side="right")])


GREEDY = Sampling()


def generate(
    context: Context,
    logits: np.ndarray,
    tokenizer: TextTokenizer,
    *,
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    opening: Sequence[int] = (),
) -> Iterator[int]:
    """Yields an answer, one token id at a time, without the token that ends it.

    logits: float32 [V] of its first token, as the context gave them when it read the question. opening: token ids that the
    answer begins with, whatever the model would rather say. Ends at one of `END_TOKENS` or after `max_new_tokens`. A
    consumer that runs it to its end leaves the context with all that was yielded.
    """
    ends = {tokenizer.token_id(token) for token in END_TOKENS}
    choose = sampling.chooser()
    for number in range(max_new_tokens):
        if number:
            logits = context.read([])
        token = opening[number] if number < len(opening) else choose(logits)
        if token in ends:
            return
        context.defer(token)
        yield token


def yes_logit(logits: np.ndarray, tokenizer: TextTokenizer) -> float:
    """log(p(yes) / p(no)) from the logits float32 [V] of an answer's first token.

    Yes is the first token of "Yes" or "yes", no that of "No" or "no": either word may be several tokens. Raises
    `ModelError` for a tokenizer that begins both alike, since its first token then says nothing.
    """
    yes, no = ({tokenizer.encode(word)[0] for word in words} for words in _WORDS)
    if yes & no:
        raise ModelError(
            "the tokenizer begins 'Yes' and 'No' with the same token; expected a first token that tells them apart"
        )
    wide = logits.astype(np.float64)
    return float(np.logaddexp.reduce(wide[sorted(yes)]) - np.logaddexp.reduce(wide[sorted(no)]))


def yes_or_no(logits: np.ndarray, tokenizer: TextTokenizer, yes: bool) -> list[int]:
    """Token ids of "yes" or "no", for an answer to begin with, in whichever spelling is likelier by the logits float32 [V]."""
    words = _WORDS[0] if yes else _WORDS[1]
    return max((tokenizer.encode(word) for word in words), key=lambda ids: float(logits[ids[0]]))
