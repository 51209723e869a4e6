"""How evidence and a dialogue are laid out for the language model (eq. 14), and its rotary positions.

    <|im_start|>system ... <|im_end|> <|im_start|>user <|vision_start|> P_V <|vision_end|> P_An Q_1 <|im_end|>
    <|im_start|>assistant A_1 <|im_end|> <|im_start|>user Q_2 <|im_end|> <|im_start|>assistant ...

P_V are the window's visual tokens, P_An the anomaly prompts of the RAE. This is Qwen2.5-VL's own chat format, with P_An
behind the video. Training and every engine take it from here. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import ConfigError

__all__ = [
    "ANSWER_END",
    "HEAD",
    "QUESTION_ANOMALY",
    "QUESTION_ENVIRONMENT",
    "QUESTION_TARGET",
    "QUESTION_TRAJECTORY",
    "TAIL",
    "mrope_positions",
    "question_parts",
    "question_text",
]

HEAD = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
"""What stands before the visual tokens."""
TAIL = "<|vision_end|>"
"""What stands between the visual tokens and the anomaly prompts."""
ANSWER_END = "<|im_end|>"
"""The token that ends an answer."""

# The paper's questions, in its order.
QUESTION_ANOMALY = "Is there any anomaly in the video?"
"""The one whose answer begins with yes or no, always."""
QUESTION_TARGET = "Describe anomaly features in detail."
QUESTION_TRAJECTORY = "What is its movement trajectory?"
QUESTION_ENVIRONMENT = "Describe the environment."


def question_parts(first: bool) -> tuple[str, str]:
    """What stands before and behind a question, up to where the answer begins.

    The first turn follows the evidence, later ones an ANSWER_END.
    """
    return "" if first else "\n<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"


def question_text(question: str, first: bool) -> str:
    """The text of one turn up to where the answer begins, of a question that can be trusted to hold no control token."""
    return question.join(question_parts(first))


def mrope_positions(
    before: int,
    grid: tuple[int, int, int],
    after: int,
    *,
    seconds_per_step: float,
    tokens_per_second: float,
    numbers: Sequence[int] | None = None,
) -> np.ndarray:
    """Multimodal rotary positions of `before` text positions, one video, and `after` further positions.

    grid: (T', rows, columns) of merged visual tokens. Text counts up alike on all three axes; a visual token stands at
    (time, row, column), offset by the text before it, with time in units of `1 / tokens_per_second` cut to whole ones; the
    text behind the video resumes at the largest position so far + 1. That is the original rule of Qwen2.5-VL; the library's
    own `get_rope_index` departs from it for video.

    numbers: when each of the T' steps is, in units of seconds_per_step; 0, 1, 2 … where they follow each other evenly.
    Returns int64 [3, before + T' * rows * columns + after], axes (time, row, column).
    """
    steps, rows, columns = grid
    if min(before, after) < 0 or min(grid) < 1:
        raise ConfigError(
            f"positions need a video of at least 1 x 1 x 1 and no negative lengths, got {before}, {grid}, {after}"
        )
    time = (np.asarray(range(steps) if numbers is None else numbers) * (seconds_per_step * tokens_per_second)).astype(
        np.int64
    )
    video = np.stack(np.meshgrid(time, np.arange(rows), np.arange(columns), indexing="ij")).reshape(3, -1) + before
    resume = int(video.max()) + 1
    head = np.broadcast_to(np.arange(before), (3, before))
    tail = np.broadcast_to(np.arange(resume, resume + after), (3, after))
    return np.concatenate([head, video, tail], axis=1).astype(np.int64)
