"""An annotator whose truth and faults are known: clips of the synthetic world, and a server that speaks OpenAI's chat completions
over real HTTP and tells what is on them, wrongly where it is told to.

An image is recognised by the hash of the bytes that come in. The same faults and seed give the same answers, in
whatever order they are asked for.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from tvau_runtime.report import jpeg
from tvau_runtime.types import Box, Frame
from tvau_training import data, world
from tvau_training.annotate.annotator import fit_image
from tvau_training.annotate.refinement import blur_background
from tvau_training.annotate.server import JPEG_QUALITY
from tvau_training.world.dialogue import RIDES, doing_of
from tvau_training.world.palette import COLORS

__all__ = ["FAULTS", "Fault", "Faults", "Footage", "ScriptedServer", "Seen", "footage"]

LEAST_AREA = 0.0015
"""What shows less of itself than this part of the image is not there, neither in the truth nor in the answers."""
MAX_PIXELS = 1280 * 28 * 28
FAULTS = ("color", "swap", "missed", "broken", "motion")


@dataclass(frozen=True)
class Seen:
    """What is true of one target in one frame. box in pixels of the frame."""

    actor: int
    category: str
    appearance: str
    action: str
    box: Box
    abnormal: bool


class _Frames(data.FrameSource):
    def __init__(self, clip: world.Clip, name: str) -> None:
        self.clip, self.path = clip, Path(name)

    @property
    def fps(self) -> float:
        return self.clip.rate_hz

    @property
    def length(self) -> int:
        return len(self.clip.frames)

    @property
    def size(self) -> tuple[int, int]:
        return self.clip.frames.shape[1], self.clip.frames.shape[2]

    def place(self, index: int) -> str:
        return f"{self.path} frame {index}"

    def read(self, start: int = 0, camera: str = "camera") -> Iterator[tuple[int, Frame]]:
        for index in range(start, self.length):
            yield index, Frame(self.clip.frames[index], round(index / self.fps * 1e9), camera)


class _Truth(data.Truth):
    def __init__(self, clip: world.Clip) -> None:
        self.masks = clip.anomaly_masks

    @property
    def length(self) -> int | None:
        return len(self.masks)

    def labels(self, count: int) -> np.ndarray:
        return np.array([mask.any() for mask in self.masks[:count]], bool)

    def mask(self, index: int, size: tuple[int, int]) -> np.ndarray | None:
        return self.masks[index]


@dataclass(frozen=True)
class Footage:
    """A clip of the world as a data set hands it out, and all that is true of it."""

    clip: data.Clip
    made: world.Clip

    @cached_property
    def seen(self) -> list[list[Seen]]:
        """Per frame, who is there."""
        least = LEAST_AREA * self.made.objects[0].size
        return [
            [_seen(actor, t) for actor in self.made.actors if actor.areas[t] >= least]
            for t in range(len(self.made.frames))
        ]


def _seen(actor: world.Actor, t: int) -> Seen:
    rider = actor.kind in RIDES
    color = actor.color or "grey"  # as smoke is, and everything where the camera has no colours
    top = f"a{'n' if color[0] in 'aeiou' else ''} {color} top"
    x0, y0, x1, y1 = (float(v) for v in actor.boxes[t])
    return Seen(
        actor=actor.id,
        category="person" if rider else actor.kind,
        appearance=top if rider or actor.kind == "person" else color,
        action=doing_of(actor.kind, actor.action),
        box=(x0, y0, x1, y1),
        abnormal=bool(actor.abnormal_frames[t]),
    )


def footage(count: int, seed: int, *, length: int = 24, size: tuple[int, int] = (336, 448)) -> list[Footage]:
    """Clips of the world's validation split at 4 Hz, every second one with an anomaly."""
    made = [
        world.make_clip(seed + i, size=size, length=length, rate_hz=4.0, anomaly=i % 2 == 0, split="validation")
        for i in range(count)
    ]
    return [
        Footage(data.Clip(f"clip{i:03d}", "validation", _Frames(clip, f"clip{i:03d}"), _Truth(clip)), clip)
        for i, clip in enumerate(made)
    ]


@dataclass(frozen=True)
class Faults:
    """How often the annotator errs, 0..1. color, missed: of all targets in all frames. swap: of all frames with two
    targets, which then have each other's looks and deeds. broken: of all answers, whose text is then no valid JSON;
    half of these can be repaired. motion: of all targets, which are said to stand although they move, or the other way
    round, for half of their time on end. jitter: standard deviation of a box's sides, in parts of its size."""

    color: float = 0.0
    swap: float = 0.0
    missed: float = 0.0
    broken: float = 0.0
    motion: float = 0.0
    jitter: float = 0.02
    seed: int = 0


@dataclass(frozen=True)
class Fault:
    """One thing that was said wrongly. actor: 0 where it concerns a whole answer."""

    kind: str
    clip: str
    frame: int
    actor: int
    refined: bool


@dataclass(frozen=True)
class _Shown:
    """An image as it is sent."""

    footage: Footage
    frame: int
    refined: bool
    scale: tuple[float, float]


class ScriptedServer:
    """Serves answers about clips at `url` while it is open (`with`).

    trouble: called with the number of each request, counted from 1; returns an HTTP status to fail with, "garbage" to answer
    something that is no chat completion, "hang" not to answer before the server is closed, or None. requests: how many came.
    faults_told: what was said wrongly so far.
    """

    def __init__(
        self, clips: list[Footage], faults: Faults, *, trouble: Callable[[int], int | str | None] = lambda number: None,
        token: str = "",
    ) -> None:  # fmt: skip
        self.faults, self.trouble, self.token = faults, trouble, token
        self.requests = 0
        self.faults_told: set[Fault] = set()
        self.closing = threading.Event()
        self.prompts: list[str] = []
        self._lock = threading.Lock()
        self._shown: dict[str, _Shown] = {}
        for each in clips:
            self._learn(each)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"scripted": self}))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, name="scripted", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _learn(self, each: Footage) -> None:
        masks = each.made.anomaly_masks
        for frame, rgb in enumerate(each.made.frames):
            for refined in (False, True)[: 1 + bool(masks[frame].any())]:
                image = fit_image(blur_background(rgb, masks[frame]) if refined else rgb, MAX_PIXELS)
                scale = image.shape[1] / rgb.shape[1], image.shape[0] / rgb.shape[0]
                digest = hashlib.sha256(jpeg(image, quality=JPEG_QUALITY)).hexdigest()
                self._shown[digest] = _Shown(each, frame, refined, scale)

    def count(self) -> int:
        """Notes a request and returns its number."""
        with self._lock:
            self.requests += 1
            return self.requests

    def answer(self, image: bytes, prompt: str) -> str:
        """What is said about an image; "I see nothing that I know." about one that is not of these clips."""
        shown = self._shown.get(hashlib.sha256(image).hexdigest())
        with self._lock:
            self.prompts.append(prompt)
        if shown is None:
            return "I see nothing that I know."
        told, faults = self._tell(shown)
        text = json.dumps({"environment": shown.footage.made.environment, "targets": told})
        rng = self._dice("broken", shown, prompt)
        if rng.random() < self.faults.broken:
            text = _broken(text, int(rng.integers(6)))
            faults.add(Fault("broken", shown.footage.clip.name, shown.frame, 0, shown.refined))
        with self._lock:
            self.faults_told |= faults
        return text

    def _dice(self, what: str, shown: _Shown, more: str = "") -> np.random.Generator:
        name = f"{what} {shown.footage.clip.name} {shown.frame} {shown.refined} {more}"
        return np.random.default_rng([self.faults.seed, zlib.crc32(name.encode("utf-8"))])

    def _tell(self, shown: _Shown) -> tuple[list[dict[str, Any]], set[Fault]]:
        rates, clip = self.faults, shown.footage.clip.name
        faults: set[Fault] = set()

        def note(kind: str, actor: int) -> None:
            faults.add(Fault(kind, clip, shown.frame, actor, shown.refined))

        told: dict[int, dict[str, Any]] = {}
        boxes: dict[int, list[float]] = {}
        rng = self._dice("frame", shown)
        height, width = shown.footage.clip.size
        for seen in shown.footage.seen[shown.frame]:
            if shown.refined and not seen.abnormal:
                continue
            draws = rng.random(2)
            other = [color for color in COLORS if color not in seen.appearance][rng.integers(len(COLORS) - 1)]
            x0, y0, x1, y1 = np.array(seen.box) + rng.standard_normal(4) * rates.jitter * np.tile(
                [seen.box[2] - seen.box[0], seen.box[3] - seen.box[1]], 2
            )
            confidence = round(float(rng.uniform(0.6, 1.0)), 2)
            if draws[0] < rates.missed:
                note("missed", seen.actor)
                continue
            looks, action = seen.appearance, seen.action
            if draws[1] < rates.color:
                note("color", seen.actor)
                looks = f"a{'n' if other[0] in 'aeiou' else ''} {other} top" if "top" in looks else other
            if self._misled(shown, seen):
                note("motion", seen.actor)
                action = _contrary(action)
            told[seen.actor] = {
                "category": seen.category, "appearance": looks, "action": action, "confidence": confidence
            }  # fmt: skip
            sx, sy = shown.scale
            boxes[seen.actor] = [
                round(max(0.0, x0) * sx, 1), round(max(0.0, y0) * sy, 1),
                round(min(width, max(x1, x0 + 1)) * sx, 1), round(min(height, max(y1, y0 + 1)) * sy, 1),
            ]  # fmt: skip
        actors = sorted(told)
        if len(actors) > 1 and rng.random() < rates.swap:
            first, second = (int(actor) for actor in rng.choice(actors, 2, replace=False))
            if told[first] != told[second]:
                told[first], told[second] = told[second], told[first]
                note("swap", first)
                note("swap", second)
        return [{**told[actor], "box": boxes[actor]} for actor in actors], faults

    def _misled(self, shown: _Shown, seen: Seen) -> bool:
        """Whether this frame is in the half of the target's time in which it is said to move otherwise."""
        frames = len(shown.footage.made.frames)
        name = f"motion {shown.footage.clip.name} {seen.actor}"
        rng = np.random.default_rng([self.faults.seed, zlib.crc32(name.encode("utf-8"))])
        chosen, start = rng.random() < self.faults.motion, int(rng.integers(frames // 2 + 1))
        return chosen and start <= shown.frame < start + frames // 2


def _contrary(action: str) -> str:
    """Something that stands is said to run or drive, something that moves to stand or park."""
    first, _, rest = action.partition(" ")
    still = {**dict.fromkeys(("standing", "talking", "sitting", "lying"), "running"), "parked": "driving"}
    return f"{still.get(first, 'standing')} {rest}".strip()


def _broken(text: str, how: int) -> str:
    """Three ways that can be repaired, and three that cannot."""
    return (
        f"```json\n{text}\n```",
        text.replace("}]", "},]").replace('"}', '",}'),
        f"Here is what I see: {text} I hope this helps!",
        "I am sorry, but I cannot describe this image.",
        text.replace('"appearance"', '"look"').replace('"targets"', '"objects"'),
        text.replace('"box": [', '"box": [-1000, '),
    )[how]


class _Handler(BaseHTTPRequestHandler):
    scripted: ScriptedServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        trouble = self.scripted.trouble(self.scripted.count())
        if trouble == "hang":
            self.scripted.closing.wait()
            self.close_connection = True
            return
        if trouble == "garbage":
            self._send(200, b'"all is well"')
        elif isinstance(trouble, int):
            self._send(trouble, json.dumps({"error": {"message": f"told to fail with {trouble}"}}).encode())
        elif self.scripted.token and self.headers.get("Authorization") != f"Bearer {self.scripted.token}":
            self._send(401, b'{"error": {"message": "no such key"}}')
        elif self.path != "/v1/chat/completions":
            self._send(404, b'{"error": {"message": "no such path"}}')
        else:
            self._send(200, self._completion(json.loads(body)))

    def _completion(self, asked: dict[str, Any]) -> bytes:
        parts = {part["type"]: part for part in asked["messages"][-1]["content"]}
        image = base64.b64decode(parts["image_url"]["image_url"]["url"].partition(",")[2])
        prompt = parts["text"]["text"]
        text = self.scripted.answer(image, prompt)
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
        usage["total_tokens"] = sum(usage.values())
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        answer = {"id": "scripted", "object": "chat.completion", "created": 0, "model": asked["model"]}
        return json.dumps({**answer, "choices": [choice], "usage": usage}).encode()

    def _send(self, status: int, body: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if status >= 400:
                self.send_header("retry-after-ms", "5")  # as servers do that know when to come back
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # whoever asked has gone
