"""The street in words, for dialogues that belong to no clip."""

from __future__ import annotations

import numpy as np

from ..staging import Words
from .scene import LIGHTS, SIDES

__all__ = ["STREET_WORDS"]

_LIFE = tuple(
    [("person", f"{doing} on the walkway") for doing in ("walking", "standing")]
    + [(kind, f"{doing} on the road") for kind in ("car", "van") for doing in ("driving", "parked")]
    + [(kind, "driving on the walkway") for kind in ("car", "van")]
    + [("bicycle", f"riding on the {ground}") for ground in ("road", "walkway")]
    + [("box", "standing on the walkway")]
    + [("person", action) for action in ("running", "lying on the ground", "walking on the road")]
)


def _environment(rng: np.random.Generator) -> str:
    walkways = ("a walkway", "two walkways")[rng.integers(2)]
    side, light = SIDES[rng.integers(len(SIDES))], tuple(LIGHTS)[rng.integers(len(LIGHTS))]
    return f"a road with {walkways} beside {side}, {light}"


def _deed(rng: np.random.Generator) -> tuple[str, str]:
    return _LIFE[rng.integers(len(_LIFE))]


STREET_WORDS = Words(_LIFE, _deed, ("person", "car", "van", "box"), _environment, lambda rng: {}, {})
