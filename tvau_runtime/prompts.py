"""Normal and abnormal text prompts on three levels: word, phrase and sentence.

The method's prompts nest: "person jumping" -> "surveillance video of (person jumping)" -> "A short surveillance clip where
(person jumping) occurs". A user gives words (or whole sentences) at run time; the templates make the rest. Knows no model.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ConfigError

__all__ = ["DEFAULT_PHRASE", "DEFAULT_SENTENCE", "MAX_CHARS", "MAX_PROMPTS", "Prompts"]

DEFAULT_PHRASE = "surveillance video of {}"
DEFAULT_SENTENCE = "A short surveillance clip where {} occurs"
MAX_PROMPTS = 64
"""Of each category. Their mean is what counts: in a longer list nothing stands out."""
ADDED = "+"
"""Begins a prompt that is added to those there are."""
MAX_CHARS = 200
"""Of a prompt, and of a template."""


@dataclass(frozen=True)
class Prompts:
    """What counts as normal and what as abnormal.

    normal, abnormal: at least one word prompt each. phrase, sentence: templates with one `{}`; an empty one leaves its level out.
    Raises `ConfigError` for an empty list or one of more than `MAX_PROMPTS`, a blank prompt, a template without `{}`, either
    of more than `MAX_CHARS` or with control characters, and for a prompt that is in both lists.
    """

    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    phrase: str = DEFAULT_PHRASE
    sentence: str = DEFAULT_SENTENCE

    def __post_init__(self) -> None:
        for name in ("normal", "abnormal"):
            words = tuple(getattr(self, name))
            if not words or not all(isinstance(w, str) and w.strip() for w in words):
                raise ConfigError(f"{name} prompts must be a list of at least one non-blank text, got {list(words)}")
            if len(words) > MAX_PROMPTS:
                raise ConfigError(f"there may be at most {MAX_PROMPTS} {name} prompts, got {len(words)}")
            words = tuple(w.strip() for w in words)
            for word in words:
                _check(f"a {name} prompt" if name == "normal" else f"an {name} prompt", word)
            object.__setattr__(self, name, words)
        if both := [word for word in self.normal if word in self.abnormal]:
            raise ConfigError(f"the same prompts cannot be both normal and abnormal: {', '.join(dict.fromkeys(both))}")
        for name in ("phrase", "sentence"):
            template = getattr(self, name)
            if template and template.count("{}") != 1:
                raise ConfigError(f"the {name} template must hold {{}} once, got {template!r}")
            _check(f"the {name} template", template)

    def changed(self, **given: Any) -> Prompts:
        """These prompts with some fields given anew. A list whose prompts begin with "+" is added to what there is. What a given
        list names leaves the other one, unless that is given too: who says that running is normal does not have to say as well
        that it is not abnormal. Raises `ConfigError`."""
        for name in {"normal", "abnormal"} & set(given):
            given[name] = self._with(name, given[name])
        for named, other in (("normal", "abnormal"), ("abnormal", "normal")):
            if named in given and other not in given:
                left = tuple(word for word in getattr(self, other) if word not in given[named])
                if not left:
                    raise ConfigError(
                        f"with {', '.join(given[named])} as {named}, nothing is left as {other}: give {other} prompts too"
                    )
                given[other] = left
        return dataclasses.replace(self, **given)

    def _with(self, name: str, words: Sequence[Any]) -> tuple[Any, ...]:
        """A list as it is meant, by what there is of its kind."""
        words = tuple(word.strip() if isinstance(word, str) else word for word in words)
        added = [isinstance(word, str) and word.startswith(ADDED) for word in words]
        if not any(added):
            return words
        if not all(added):
            raise ConfigError(
                f"either all {name} prompts begin with {ADDED}, to be added, or none: {', '.join(map(str, words))}"
            )
        return tuple(dict.fromkeys((*getattr(self, name), *(word.removeprefix(ADDED).strip() for word in words))))

    def texts(self, category: str) -> list[str]:
        """Every prompt of a category ("normal" or "abnormal") on every level."""
        templates = ["{}", *(t for t in (self.phrase, self.sentence) if t)]
        return [t.replace("{}", word) for word in getattr(self, category) for t in templates]


def _check(what: str, text: str) -> None:
    if len(text) > MAX_CHARS:
        raise ConfigError(f"{what} may have at most {MAX_CHARS} characters, got {len(text)}: {text[:40]!r}…")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        raise ConfigError(f"{what} must be one line of plain text without control characters, got {text!r}")
