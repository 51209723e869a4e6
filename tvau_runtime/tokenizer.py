"""Text to token ids and back, from the `tokenizer.json` that every Qwen2.5-VL checkpoint carries. Needs no transformers."""

from __future__ import annotations

import json
from pathlib import Path

from .errors import BackendError, ModelError

__all__ = ["TextTokenizer"]


class TextTokenizer:
    """One `tokenizer.json`. Raises `ModelError` when the file is absent or damaged."""

    def __init__(self, path: Path) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise BackendError("the tokenizers package is missing: pip install tokenizers") from error
        if not path.is_file():
            raise ModelError(f"there is no tokenizer at {path}")
        try:
            written = path.read_text(encoding="utf-8")
            self._tokenizer = Tokenizer.from_str(written)
            # Without its control tokens, so that nothing that somebody wrote can be one.
            self._plain = Tokenizer.from_str(json.dumps({**json.loads(written), "added_tokens": []}))
        except Exception as error:  # the library raises the bare class
            raise ModelError(f"{path} is not a readable tokenizer.json: {error}") from error

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; special tokens written in it, such as <|im_end|>, become one id each."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_plain(self, text: str) -> list[int]:
        """Token ids of a text in which <|im_end|> and its like are letters, as everything is."""
        return self._plain.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """The text of token ids, without special tokens."""
        return self._tokenizer.decode(ids, skip_special_tokens=True)

    def token_id(self, token: str) -> int:
        """The id of one token. Raises `ModelError` when the vocabulary has no such token."""
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise ModelError(f"the tokenizer has no token {token!r}; a Qwen2.5-VL tokenizer is needed")
        return number

    def __len__(self) -> int:
        """Tokens in the vocabulary, special ones counted."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)
