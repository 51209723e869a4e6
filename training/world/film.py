"""What camera and recorder make of a clean picture: shake, lens, sensor noise, rain, colour, the burnt-in clock, compression.

Knows nothing about the place. Labels are read with the same shake.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from .camera import SCALE

__all__ = ["FilmSettings", "SurveillanceFilm", "random_film"]

_MARGIN = 64


@dataclass(frozen=True)
class FilmSettings:
    """noise: standard deviation (0..255). blur: of the lens, in pixels. shake: in canvas pixels. quality: of JPEG, 0 for none.
    gain: per RGB channel. grey: no colours. contrast: 1 for the usual. clock: the second at which the burnt-in clock starts, -1
    for none. rain: strength, 0..1."""

    noise: float = 3.0
    blur: float = 0.5
    shake: int = 0
    quality: int = 0
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    grey: bool = False
    contrast: float = 1.0
    clock: int = -1
    rain: float = 0.0
    vignette: float = 0.0


def random_film(rng: np.random.Generator, light: str, rain: bool) -> FilmSettings:
    """What cameras do, now and then badly."""
    dark = light in ("night", "evening")
    cast = rng.normal(1.0, 0.05, 3) if rng.random() < 0.4 else np.ones(3)
    r, g, b = (float(v) for v in cast / cast.mean())
    return FilmSettings(
        noise=float(rng.uniform(1.5, 5.0) + 3.0 * dark),
        blur=float(rng.uniform(0.4, 0.9)),
        shake=int(rng.integers(1, 3)) if rng.random() < 0.12 else 0,
        quality=int(rng.integers(28, 80)) if rng.random() < 0.6 else 0,
        gain=(r, g, b),
        grey=bool(rng.random() < (0.45 if light == "night" else 0.07)),
        contrast=float(rng.uniform(0.86, 1.14)),
        clock=int(rng.integers(86_400)) if rng.random() < 0.4 else -1,
        rain=float(rng.uniform(0.4, 1.0)) if rain else 0.0,
        vignette=float(rng.uniform(0.0, 0.3)),
    )


@functools.lru_cache(maxsize=8)
def _noise_bank(height: int, width: int) -> np.ndarray:
    """int8-like float noise of deviation 1, a little larger than the picture and slightly soft, as sensors' is."""
    noise = np.random.default_rng([height, width]).standard_normal((height + _MARGIN, width + _MARGIN, 3), np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 0.55)
    return noise / noise.std()


@functools.lru_cache(maxsize=64)
def _steps(height: int, width: int, level: int) -> tuple[np.ndarray, np.ndarray]:
    """The positive and the negative part of noise of deviation `level` / 4, uint8."""
    noise = _noise_bank(height, width) * (level / 4)
    return np.clip(noise, 0, 255).astype(np.uint8), np.clip(-noise, 0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=8)
def _streaks(height: int, width: int) -> np.ndarray:
    """uint8: rain, a little larger than the picture."""
    rng = np.random.default_rng([7, height, width])
    sheet = np.zeros((height + _MARGIN, width + _MARGIN), np.uint8)
    for x, y, long, bright in zip(
        rng.integers(0, sheet.shape[1], height * width // 260),
        rng.integers(0, sheet.shape[0], height * width // 260),
        rng.uniform(0.02, 0.075, height * width // 260) * height,
        rng.integers(14, 60, height * width // 260),
    ):
        cv2.line(sheet, (int(x), int(y)), (int(x - long * 0.14), int(y + long)), int(bright), 1, cv2.LINE_AA)
    return cv2.cvtColor(sheet, cv2.COLOR_GRAY2RGB)


class SurveillanceFilm:
    """Turns canvases into frames."""

    def __init__(
        self, settings: FilmSettings, size: tuple[int, int], count: int, rate_hz: float, rng: np.random.Generator
    ):
        self._settings, self._size, self._rate_hz = settings, size, rate_hz
        self._cuts = rng.integers(0, _MARGIN, (count, 2))
        moves = np.cumsum(rng.integers(-1, 2, (count, 2)), axis=0)
        self._moves = np.clip(moves, -settings.shake, settings.shake) if settings.shake else np.zeros((count, 2), int)
        ramp = np.arange(256)
        level = 128 + (ramp[:, None] * np.array(settings.gain) - 128) * settings.contrast
        self._table = np.clip(np.rint(level), 0, 255).astype(np.uint8)[None]
        height, width = size
        y, x = np.mgrid[0:height, 0:width]
        far = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) * 2
        self._corners = np.repeat((255 * (1 - settings.vignette * far))[..., None], 3, axis=2).astype(np.uint8)
        # Rain falls by a fixed step a frame: far more than a drop's length, so where it starts hardly matters.
        self._sky = rng.integers(0, _MARGIN, (count, 2))

    def _steady(self, canvas: np.ndarray, t: int) -> np.ndarray:
        """The canvas, moved by the shake of frame `t`."""
        dx, dy = (int(v) for v in self._moves[t])
        if not (dx or dy):
            return canvas
        reach = self._settings.shake
        padded = cv2.copyMakeBorder(canvas, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
        return padded[reach + dy : reach + dy + canvas.shape[0], reach + dx : reach + dx + canvas.shape[1]]

    def labels(self, canvas: np.ndarray, t: int) -> np.ndarray:
        """The id of each pixel."""
        return self._steady(canvas, t)[::SCALE, ::SCALE, 3]

    def expose(self, canvas: np.ndarray, t: int) -> np.ndarray:
        """The frame uint8 [h, w, 3]."""
        settings, (height, width) = self._settings, self._size
        small = cv2.resize(self._steady(canvas, t), (width, height), interpolation=cv2.INTER_AREA)
        small = cv2.cvtColor(small, cv2.COLOR_RGBA2RGB)
        small = cv2.GaussianBlur(small, (3, 3), settings.blur)
        if settings.vignette > 0.05:
            cv2.multiply(small, self._corners, dst=small, scale=1 / 255)
        y0, x0 = (int(v) for v in self._cuts[t])
        if settings.rain:
            dy, dx = (int(v) for v in self._sky[t])
            drops = _streaks(height, width)[dy : dy + height, dx : dx + width]
            cv2.scaleAdd(drops, settings.rain, small, dst=small)
        if settings.noise >= 0.25:
            plus, minus = _steps(height, width, round(settings.noise * 4))
            cv2.add(small, plus[y0 : y0 + height, x0 : x0 + width], dst=small)
            cv2.subtract(small, minus[y0 : y0 + height, x0 : x0 + width], dst=small)
        cv2.LUT(small, self._table, dst=small)
        if settings.grey:
            small = cv2.cvtColor(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if settings.clock >= 0:
            self._stamp(small, t)
        if settings.quality:
            _, packed = cv2.imencode(".jpg", small, (cv2.IMWRITE_JPEG_QUALITY, settings.quality))
            small = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))
        return small

    def _stamp(self, small: np.ndarray, t: int) -> None:
        seconds = self._settings.clock + int(t / self._rate_hz)
        text = (
            f"CAM{self._settings.clock % 16:02d} {seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        )
        scale = self._size[0] / 252 * 0.36
        spot = (int(self._size[1] * 0.02), int(self._size[0] * 0.06))
        cv2.putText(small, text, spot, cv2.FONT_HERSHEY_SIMPLEX, scale, (20, 20, 20), 2, cv2.LINE_AA)
        cv2.putText(small, text, spot, cv2.FONT_HERSHEY_SIMPLEX, scale, (240, 240, 240), 1, cv2.LINE_AA)
