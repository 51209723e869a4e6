"""The street: a road and one or two walkways beside it, drawn in flat colours. The first and simplest version of the world.

Its clips stay as they are, to the bit: the shipped weights were trained and measured on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tvau_runtime.errors import ConfigError

from ..staging import Staging, WorldVersion
from ..types import SPLITS
from .anomalies import add_anomaly
from .background import ground_labels
from .cast import Cast
from .drawing import draw_street
from .kinds import ANOMALIES, KINDS, NORMALITIES
from .normal_life import add_normal_life
from .scene import random_scene
from .things import THINGS
from .words import STREET_WORDS

__all__ = ["STREET"]

_LEAST_AREA = 0.004
"""An anomaly must show at least this part of the image at its best."""


def _open_place(
    place: int, seed: int, split: str, size: tuple[int, int], aspect: float | None, themes: Sequence[str]
) -> Callable[[int, np.ndarray, Sequence[tuple[str, float | None]]], Staging | None]:
    if place != seed:
        raise ConfigError("a clip of the street has a place of its own; leave out place")

    def stage(attempt: int, times: np.ndarray, wanted: Sequence[tuple[str, float | None]]) -> Staging | None:
        rng = np.random.default_rng([SPLITS.index(split), seed, attempt])
        scene = random_scene(rng, size, aspect)
        cast = Cast(scene, times, rng)
        for anomaly, when in wanted:
            add_anomaly(cast, anomaly, when)
        add_normal_life(cast)
        plans = cast.plans
        if sum(bool(plan.anomaly) for plan in plans) < len(wanted) or not plans:
            return None
        side, light = scene.environment.partition(" beside ")[2].split(", ")
        return Staging(
            scene.camera,
            "street",
            scene.environment,
            (f"{side} {light}", f"road {light}", f"walkway {light}"),
            lambda: ground_labels(scene),
            plans,
            lambda: draw_street(scene, plans, rng),
            _LEAST_AREA,
        )

    return stage


STREET = WorldVersion("street", lambda split: ANOMALIES, STREET_WORDS, NORMALITIES, KINDS, THINGS, _open_place)
