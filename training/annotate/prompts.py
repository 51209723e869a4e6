"""What the annotator is asked about a frame: one structured prompt for all frames, and what is added for refined frames and when
an answer was not valid.

The words an answer may use are those that the synthetic world and the dialogues use, so that answers of different models fit
together. Knows no model.
"""

from __future__ import annotations

import json

__all__ = ["CATEGORIES", "FORMAT_EXAMPLE", "frame_prompt"]

CATEGORIES = (
    "person", "bicycle", "motorcycle", "car", "van", "truck", "bus", "skateboard", "cart", "stroller", "bag", "box",
    "animal", "fire", "smoke", "other",
)  # fmt: skip

FORMAT_EXAMPLE = {
    "environment": "a road with a walkway beside grass, cloudy day",
    "targets": [
        {
            "category": "person",
            "appearance": "a red top and dark trousers",
            "action": "walking on the walkway",
            "box": [112, 64, 139, 140],
            "confidence": 0.9,
        },
        {
            "category": "car",
            "appearance": "white",
            "action": "parked on the road",
            "box": [10, 80, 101, 131],
            "confidence": 0.8,
        },
    ],
}

_TASK = """\
This is a frame of {width} x {height} pixels from a fixed surveillance camera. List every person, vehicle and thing that could \
matter to someone who watches over the place, whether what it does is usual or not.
Answer with one JSON object and nothing else, in this form:
{example}
environment: the place and its light in a few words, without the targets.
category: one of {categories}. Whoever rides something is a person, whose action says what is ridden.
appearance: of a person, clothes and what is carried, so that it could follow the word "with"; of anything else, its colour.
action: what it does and where, in words that could follow its name: "walking on the walkway", "parked on the road".
box: [x_min, y_min, x_max, y_max] in pixels of this image, tight around what can be seen of it.
confidence: how sure you are of all this, 0 to 1.
An empty place has an empty list of targets."""

_REFINED = "Everything but one region has been blurred on purpose. List only the targets in the sharp region."

_AGAIN = "Your last answer could not be used: {reason}. Answer again, with the JSON object alone."


def frame_prompt(size: tuple[int, int], *, refined: bool = False, reason: str = "") -> str:
    """The prompt for an image of (height, width). refined: whether its background is blurred. reason: why the last answer to it
    was not valid."""
    task = _TASK.format(
        width=size[1], height=size[0], example=json.dumps(FORMAT_EXAMPLE), categories=", ".join(CATEGORIES)
    )
    return "\n".join([task, *[_REFINED] * refined, *[_AGAIN.format(reason=reason)] * bool(reason)])
