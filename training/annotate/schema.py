"""What a vision-language model must answer about one frame, as a JSON schema, and how its text becomes that, repaired if need be.

Boxes are in pixels of the image that was shown. Knows no model, no time and no file.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Annotated

import json_repair
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

__all__ = ["MAX_TARGETS", "AnswerError", "FrameAnswer", "Parsed", "TargetAnswer", "parse_answer"]

MAX_TARGETS = 64
"""More than these in one frame is a model that repeats itself."""
OVERHANG = 0.05
"""A box may reach this part of the image's side out of it, and is cut to it; one that reaches further is not believed."""


def _on_one_line(text: object) -> object:
    return " ".join(text.split()) if isinstance(text, str) else text


_Said = Annotated[str, BeforeValidator(_on_one_line), StringConstraints(to_lower=True, max_length=200)]
_Words = Annotated[_Said, StringConstraints(min_length=1)]


class AnswerError(ValueError):
    """An answer that cannot be used. kind: one of a few words to count by; str(): for people, and for the model that is
    asked again."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class TargetAnswer(BaseModel):
    """One target in one frame. box: (x_min, y_min, x_max, y_max); confidence: the model's own, 0..1."""

    model_config = ConfigDict(frozen=True)

    category: _Words
    appearance: _Words
    action: _Words
    # Qwen2.5-VL learned its boxes under the name of bbox_2d and falls back to it.
    box: tuple[float, float, float, float] = Field(validation_alias=AliasChoices("box", "bbox_2d", "bbox"))
    confidence: float = Field(ge=0, le=1)

    @field_validator("box")
    @classmethod
    def _has_an_area(cls, box: tuple[float, ...]) -> tuple[float, ...]:
        if not all(map(math.isfinite, box)) or box[0] >= box[2] or box[1] >= box[3]:
            raise ValueError("must be [x_min, y_min, x_max, y_max] with x_min < x_max and y_min < y_max")
        return box


class FrameAnswer(BaseModel):
    """All of one answer. environment: the place in a few words, empty where the model does not say."""

    model_config = ConfigDict(frozen=True)

    environment: _Said = ""
    targets: list[TargetAnswer] = Field(max_length=MAX_TARGETS)


@dataclass(frozen=True)
class Parsed:
    """answer: valid, its boxes within the image. repaired: whether the text was no JSON as it stood."""

    answer: FrameAnswer
    repaired: bool


def parse_answer(text: str, size: tuple[int, int]) -> Parsed:
    """A model's text about an image of (height, width), repaired (code fences, trailing commas, a missing end, a bare list)
    and validated.

    Raises `AnswerError` of kind "no JSON", "schema" (the first thing that does not fit) or "box outside the image".
    """
    try:
        value, repaired = json.loads(text), False
    except ValueError:
        value, repaired = json_repair.loads(text), True
    if isinstance(value, list) and all(isinstance(each, dict) for each in value) and (value or not repaired):
        value, repaired = {"targets": value}, True
    if not isinstance(value, dict):
        raise AnswerError("no JSON", "there is no JSON object in it")
    try:
        answer = FrameAnswer.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise AnswerError("schema", f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    inside = [each.model_copy(update={"box": _cut(each.box, size)}) for each in answer.targets]
    return Parsed(answer.model_copy(update={"targets": inside}), repaired)


def _cut(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    height, width = size
    x0, y0, x1, y1 = max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height))
    over = max((x0 - box[0], box[2] - x1)) / width, max((y0 - box[1], box[3] - y1)) / height
    if max(over) > OVERHANG or x0 >= x1 or y0 >= y1:
        raise AnswerError(
            "box outside the image",
            f"the box {[round(v) for v in box]} reaches out of the image of {width} x {height} pixels",
        )
    return x0, y0, x1, y1
