"""Normal and abnormal text prompts on three levels: word, phrase and sentence.

The method's prompts nest: "person jumping" -> "surveillance video of (person jumping)" -> "A short surveillance clip where
(person jumping) occurs". A user gives words (or whole sentences) at run time; the templates make the rest. Knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import ConfigError

__all__ = ["DEFAULT_PHRASE", "DEFAULT_SENTENCE", "Prompts"]

DEFAULT_PHRASE = "surveillance video of {}"
DEFAULT_SENTENCE = "A short surveillance clip where {} occurs"


@dataclass(frozen=True)
class Prompts:
    """What counts as normal and what as abnormal.

    normal, abnormal: at least one word prompt each. phrase, sentence: templates with one `{}`; an empty one leaves its level out.
    Raises `ConfigError` for an empty list, a blank prompt or a template without `{}`.
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
            object.__setattr__(self, name, tuple(w.strip() for w in words))
        for name in ("phrase", "sentence"):
            template = getattr(self, name)
            if template and template.count("{}") != 1:
                raise ConfigError(f"the {name} template must hold {{}} once, got {template!r}")

    def texts(self, category: str) -> list[str]:
        """Every prompt of a category ("normal" or "abnormal") on every level."""
        templates = ["{}", *(t for t in (self.phrase, self.sentence) if t)]
        return [t.replace("{}", word) for word in getattr(self, category) for t in templates]
