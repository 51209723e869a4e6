"""Step 1: one structured question per frame to the annotator, and its answers as observations.

An answer that is not valid is asked for again, with the reason; what stays invalid is set aside with that reason. Several frames
are under way at once, and only so many are in memory. Knows no identities over time.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from .annotator import Reply, Request, RequestError, fit_image
from .answers import Asker
from .observations import Claim, Observation
from .prompts import frame_prompt
from .schema import AnswerError, FrameAnswer, parse_answer

__all__ = ["Extraction", "Extractor", "Sample"]


@dataclass(frozen=True, eq=False)
class Sample:
    """A frame to ask about. frame: its number in the clip, time_s: from the clip's first frame; rgb: uint8 [H, W, 3]; refined:
    whether its background is blurred."""

    frame: int
    time_s: float
    rgb: np.ndarray = field(repr=False)
    refined: bool = False


@dataclass(frozen=True)
class Extraction:
    """What came of one frame. attempts: how often it was asked about; repaired: whether the answer had to be; set_aside: why
    there is no answer, by kind, empty where there is one; reason: the same for people."""

    frame: int
    time_s: float
    refined: bool = False
    observations: tuple[Observation, ...] = ()
    environment: str = ""
    attempts: int = 1
    repaired: bool = False
    set_aside: str = ""
    reason: str = ""


class Extractor:
    """Asks about frames. max_pixels: of an image as the model sees it. attempts: at one frame, before it is set aside.

    counts: what happened so far: frames, targets, repaired, asked again (by reason) and set aside (by reason).
    """

    def __init__(self, asker: Asker, *, max_pixels: int, attempts: int = 3) -> None:
        self.asker, self.max_pixels, self.attempts = asker, max_pixels, attempts
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._under_way: list[Future[list[Extraction]]] = []
        self._pool = ThreadPoolExecutor(asker.annotator.concurrency, thread_name_prefix="tvau-annotate")

    def extract(self, samples: Iterable[Sample]) -> Iterator[Extraction]:
        """What comes of each frame, in order.

        Raises `BackendError` where the annotator is gone. When the caller goes away or is interrupted, nothing new is asked.
        """
        annotator, rest = self.asker.annotator, iter(samples)
        under_way: deque[Future[list[Extraction]]] = deque()
        try:
            while True:
                while len(under_way) < 2 * annotator.concurrency and (chunk := list(islice(rest, annotator.batch))):
                    under_way.append(self._pool.submit(self._extract, chunk))
                    self._under_way = list(under_way)
                if not under_way:
                    return
                yield from under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()

    def close(self, grace_s: float = 15.0) -> None:
        """Waits so long for the answers under way, so that they are kept; what still waits is not asked any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait([future for future in self._under_way if not future.cancelled()], grace_s)

    def _extract(self, samples: list[Sample]) -> list[Extraction]:
        images = [fit_image(sample.rgb, self.max_pixels) for sample in samples]
        done: dict[int, Extraction] = {}
        reasons = [""] * len(samples)
        for attempt in range(self.attempts):
            waiting = [place for place in range(len(samples)) if place not in done]
            if not waiting:
                break
            requests = [self._request(samples[i], images[i], attempt, reasons[i]) for i in waiting]
            for i, reply in zip(waiting, self.asker.ask(requests), strict=True):
                tried = attempt + 1
                try:
                    done[i] = self._read(samples[i], images[i], reply, tried)
                except AnswerError as error:
                    reasons[i] = str(error)
                    if tried == self.attempts:
                        done[i] = self._set_aside(samples[i], tried, error.kind, str(error))
                    else:
                        self._count(f"asked again: {error.kind}")
                except RequestError as error:
                    done[i] = self._set_aside(samples[i], tried, error.kind, str(error))
        self._count("frames", len(samples))
        return [done[i] for i in range(len(samples))]

    def _request(self, sample: Sample, image: np.ndarray, attempt: int, reason: str) -> Request:
        prompt = frame_prompt((image.shape[0], image.shape[1]), refined=sample.refined, reason=reason)
        return Request(image, prompt, attempt)

    def _set_aside(self, sample: Sample, tried: int, kind: str, reason: str) -> Extraction:
        self._count(f"set aside: {kind}")
        return Extraction(sample.frame, sample.time_s, sample.refined, attempts=tried, set_aside=kind, reason=reason)

    def _read(self, sample: Sample, image: np.ndarray, reply: Reply | RequestError, tried: int) -> Extraction:
        if isinstance(reply, RequestError):
            raise reply
        if reply.cut:
            raise AnswerError("cut off", "it did not end within the token limit")
        shown = image.shape[0], image.shape[1]
        parsed = parse_answer(reply.text, shown)
        found = _observations(parsed.answer, sample, shown)
        self._count("targets", len(found))
        self._count("repaired", parsed.repaired)
        return Extraction(
            sample.frame, sample.time_s, sample.refined, found, parsed.answer.environment, tried, parsed.repaired
        )

    def _count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] += number


def _observations(answer: FrameAnswer, sample: Sample, shown: tuple[int, int]) -> tuple[Observation, ...]:
    """An answer's targets, with their boxes in pixels of the clip's frame instead of those of the image that was shown."""
    sy, sx = sample.rgb.shape[0] / shown[0], sample.rgb.shape[1] / shown[1]
    return tuple(
        Observation(
            sample.frame,
            sample.time_s,
            (each.box[0] * sx, each.box[1] * sy, each.box[2] * sx, each.box[3] * sy),
            (Claim(each.category, each.appearance, each.action, each.confidence, sample.refined),),
        )
        for each in answer.targets
    )
