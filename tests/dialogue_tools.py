"""What the tests of dialogues share: windows of noise, records of what was decoded, and the obvious way to answer."""

import numpy as np

from tvau_runtime import chat
from tvau_runtime.generation import END_TOKENS
from tvau_runtime.types import Heatmap, Step, Window

FRAME_SIZE = (240, 320)
QUESTIONS = ("Is there any anomaly in the video?", "What is its colour?", "Where does it go?")


def make_window(backend, camera="gate", seed=0, step_ns=500_000_000):
    spec = backend.spec
    steps = spec.clip_length // 2
    pixels = np.random.default_rng(seed).normal(size=(steps, spec.grid[0] * spec.grid[1], spec.patch_dim))
    tokens, maps = backend.encode(pixels.astype(np.float32))
    heat = 1 / (1 + np.exp(maps[:, 0] - maps[:, 1]))
    made = [
        Step(
            i,
            (i * step_ns, i * step_ns + step_ns // 2),
            FRAME_SIZE,
            "optical",
            tokens[i],
            maps[i],
            Heatmap(heat[i]),
        )
        for i in range(steps)
    ]
    return Window(camera, tuple(made))


class Recorder:
    """What every answer was made of: its token ids, and the logits that each of them was chosen from."""

    def __init__(self, backend, monkeypatch):
        self.ids, self.logits, self.read, self.limit = [], [], [], 8
        self._passes = []
        self._decode, self._text = backend.decode, backend.tokenizer.decode
        monkeypatch.setattr(backend, "decode", self._on_decode)
        monkeypatch.setattr(backend.tokenizer, "decode", self._on_text)

    def _on_decode(self, embeddings, positions, cache=None):
        logits, cache = self._decode(embeddings, positions, cache)
        self._passes.append(logits)
        self.read.append(len(embeddings))
        return logits, cache

    def _on_text(self, ids):
        # A pass over the question, and one over each token but the last; over that too where the answer ended by itself.
        ended = len(ids) < self.limit
        self.ids.append(list(ids))
        self.logits.append(np.stack(self._passes[len(self._passes) - len(ids) - ended : len(self._passes) - ended]))
        return self._text(ids)


def recompute(backend, window, ids, count=8, *, yes_no=False):
    """The obvious way: evidence and dialogue in one piece, read anew for every token. The answer's ids and logits.

    yes_no: the answer begins with one of these.
    """
    spec, tokenizer = backend.spec, backend.tokenizer
    head, tail = tokenizer.encode(chat.HEAD), tokenizer.encode(chat.TAIL)
    ends = {tokenizer.token_id(token) for token in END_TOKENS}
    visual = [step.visual_tokens for step in window.steps]
    prompts = backend.anomaly_prompts(np.stack([step.class_maps for step in window.steps]))
    answer, seen, forced = [], [], []
    while len(answer) < count:
        text = [*ids, *answer]
        rows = np.concatenate([backend.embed(head), *visual, backend.embed(tail), prompts, backend.embed(text)])
        positions = chat.mrope_positions(
            len(head),
            (len(window.steps), *spec.merged_grid),
            len(rows) - len(head) - sum(map(len, visual)),
            seconds_per_step=2 / spec.process_rate_hz,
            tokens_per_second=spec.tokens_per_second,
        )
        logits, _ = backend.decode(rows, positions)
        if yes_no and not answer:
            p = np.exp(logits.astype(np.float64))
            words = {word: tokenizer.encode(word) for word in ("Yes", "yes", "No", "no")}
            yes, no = ([p[words[word][0]] for word in pair] for pair in (("Yes", "yes"), ("No", "no")))
            side, likely = (("Yes", "yes"), yes) if sum(yes) >= sum(no) else (("No", "no"), no)
            forced = list(words[side[int(np.argmax(likely))]])
        token = forced.pop(0) if forced else int(logits.argmax())
        if token in ends:
            break
        answer.append(token)
        seen.append(logits)
    return answer, np.stack(seen)


def assert_same(recorder, turn, slow):
    """The answer number `turn` is `slow`'s: the same tokens, chosen from the same logits."""
    ids, logits = slow
    assert recorder.ids[turn] == ids
    np.testing.assert_allclose(recorder.logits[turn], logits, atol=2e-4)


def question_ids(backend, question, first):
    text = chat.question_text(question, first=first)
    return backend.tokenizer.encode(text if first else chat.ANSWER_END + text)
