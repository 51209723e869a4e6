"""Normal and abnormal text prompts on three levels: word, phrase and sentence.

The method's prompts nest: "person jumping" -> "surveillance video of (person jumping)" -> "A short surveillance clip where
(person jumping) occurs". A user gives words (or whole sentences) at run time; the templates make the rest. Knows no model.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from .errors import ConfigError

__all__ = ["DEFAULT_PHRASE", "DEFAULT_SENTENCE", "MAX_CHARS", "MAX_PROMPTS", "Prompts"]

DEFAULT_PHRASE = "surveillance video of {}"
DEFAULT_SENTENCE = "A short surveillance clip where {} occurs"
MAX_PROMPTS = 64
"""Of each category. Their mean is what counts: in a longer list nothing stands out."""
MAX_CHARS = 200
"""Of a prompt, and of a template."""


@dataclass(frozen=True)
class Prompts:
    """What counts as normal and what as abnormal.

    normal, abnormal: at least one word prompt each. phrase, sentence: templates with one `{}`; an empty one leaves its level out.
    Raises `ConfigError` for an empty list or one of more than `MAX_PROMPTS`, a blank prompt, a template without `{}`, either
    of more than `MAX_CHARS` or with control characters, and for two lists that are the same.
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
        if set(self.normal) == set(self.abnormal):
            raise ConfigError(f"the same prompts cannot be both normal and abnormal: {', '.join(self.normal)}")
        for name in ("phrase", "sentence"):
            template = getattr(self, name)
            if template and template.count("{}") != 1:
                raise ConfigError(f"the {name} template must hold {{}} once, got {template!r}")
            _check(f"the {name} template", template)

    def texts(self, category: str) -> list[str]:
        """Every prompt of a category ("normal" or "abnormal") on every level."""
        templates = ["{}", *(t for t in (self.phrase, self.sentence) if t)]
        return [t.replace("{}", word) for word in getattr(self, category) for t in templates]


def _check(what: str, text: str) -> None:
    if len(text) > MAX_CHARS:
        raise ConfigError(f"{what} may have at most {MAX_CHARS} characters, got {len(text)}: {text[:40]!r}…")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        raise ConfigError(f"{what} must be one line of plain text without control characters, got {text!r}")
