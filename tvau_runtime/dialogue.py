"""Questions to answers: dialogue sessions over the evidence of one clip window.

A session holds the window it is about: the language model has read its visual tokens and the RAE's anomaly prompts
once, and every turn reads on from there (layout and positions: `chat`). A window may be read ahead of the first question
about it. Each answer carries the evidence it rests on, and is checked against it (`guard`). Knows no camera, no frame and no
clock: windows come from whoever owns them.
"""

from __future__ import annotations

import dataclasses
import threading
import unicodedata
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from . import chat
from .backends.base import Backend
from .config import DialogueConfig
from .errors import QueryError
from .generation import END_TOKENS, Context, Sampling, generate, yes_logit, yes_or_no
from .grounding import evidence_of
from .guard import Finding, find_contradictions, is_contradicted
from .types import Answer, Contradiction, Evidence, TrackPoint, Window

__all__ = ["DialogueEngine", "clean_question"]

MAX_LABEL_CHARS = 60
MOST_ANEW = 3
"""How often an answer is said anew, at most."""


@dataclass
class _Session:
    """A dialogue about one window. `context` has read the evidence and all turns so far: it is the history."""

    id: str
    window: Window
    event_id: str
    context: Context
    evidence: Evidence
    aside: tuple[Context, np.ndarray] | None
    """The evidence and QUESTION_ANOMALY, with the logits of its answer, until the first turn is over."""
    turns: int = 0


class DialogueEngine:
    """Answers questions about windows, one generation at a time; callers of several threads queue.

    evidence: `(camera, event_id) -> Window`, asked for every new session; it raises `QueryError` for what it does not
    know. It is called outside of the engine's lock, so that the evidence is that of the moment the question was put,
    and so that nothing that feeds it ever waits for an answer.
    track: event id -> where that event's target was, oldest first; empty where nothing is known.
    process_rate_hz: frames per second of the windows; 0 is the rate the model was trained at. Where a window's steps are
    further apart, their positions in time are so too.
    config may be replaced while the engine runs; it is read at every question.
    """

    def __init__(
        self,
        backend: Backend,
        config: DialogueConfig,
        evidence: Callable[[str, str], Window],
        *,
        track: Callable[[str], Sequence[TrackPoint]] = lambda event_id: (),
        process_rate_hz: float = 0.0,
    ) -> None:
        self.config = config
        self._backend = backend
        self._evidence, self._track = evidence, track
        self._seconds_per_step = backend.spec.temporal_patch_size / (process_rate_hz or backend.spec.process_rate_hz)
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._ahead: dict[str, tuple[Window, Context]] = {}
        """By camera, the one window that has been read ahead."""
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def ask(self, question: str, *, session: str = "", camera: str = "", event_id: str = "") -> Answer:
        """Answers one question; waits for the answers before it.

        session: empty starts a dialogue about the camera's latest window or the named event; the `session` of an
        earlier answer goes on with that one and its evidence. Raises `QueryError` for a question, session, camera or
        event that cannot be answered; the session then stays as it was.
        """
        text = clean_question(question, self.config.max_question_chars)
        window = None if session else self._evidence(camera, event_id)
        track = self._track(event_id) if window and event_id else ()
        with self._lock:
            self._check_open()
            dialogue = self._start(window, track, event_id) if window else self._resume(session, camera, event_id)
            answer, contradictions = self._turn(dialogue, text)
            dialogue.aside = None
            # A new session is kept only now: when its first answer fails, nobody knows its id.
            self._sessions[dialogue.id] = dialogue
            self._sessions.move_to_end(dialogue.id)
            while len(self._sessions) > self.config.max_sessions:
                self._sessions.popitem(last=False)
        return Answer(
            question=text,
            text=answer,
            session=dialogue.id,
            camera=dialogue.window.camera,
            evidence=self._checked(dialogue.evidence, contradictions),
            event_id=dialogue.event_id,
        )

    def describe(self, window: Window, track: Sequence[TrackPoint] = ()) -> tuple[str, str]:
        """What the model says of a window's abnormal target: a short label, and one or two sentences with its movement.

        track: where the target was, as far as is known; else that is read off the window's heat maps.
        Asks the paper's questions in its order: whether, what, how it moves. Both may be empty where the model says
        nothing. Leaves no session behind.
        """
        said = []
        with self._lock:
            self._check_open()
            context = self._read_evidence(window)
            logits, evidence = self._begin(context, window, track)
            for question in (chat.QUESTION_ANOMALY, chat.QUESTION_TARGET, chat.QUESTION_TRAJECTORY):
                if said:
                    logits = self._put(context, question, first=False)
                context, text, _ = self._answer(context, logits, question, evidence)
                said.append(text)
        _, target, movement = said
        sentences = dict.fromkeys(_sentence(said) for said in (target, movement))  # what is said twice is written once
        return _label(target), " ".join(s for s in sentences if s)

    def prefill(self, window: Window) -> None:
        """Reads a window ahead, so that the first answer about it need not; the camera's earlier one is forgotten.

        Does nothing where it has been read, and while the model speaks: whoever asks goes before.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            ahead = self._ahead.get(window.camera)
            if not self._closed.is_set() and (ahead is None or ahead[0] is not window):
                self.forget(window.camera)
                self._ahead[window.camera] = window, self._read_evidence(window)
        finally:
            self._lock.release()

    def forget(self, camera: str | None = None) -> None:
        """Drops what was read ahead, of one camera or of all; never waits for an answer. Sessions stay."""
        if camera is None:
            self._ahead.clear()
        else:
            self._ahead.pop(camera, None)

    def close(self) -> None:
        """Stops the answer in progress and forgets all sessions; every later question raises `QueryError`."""
        self._closed.set()
        with self._lock:
            self._sessions.clear()
            self.forget()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise QueryError("the dialogue is closed; open a new pipeline to ask again")

    def _resume(self, session: str, camera: str, event_id: str) -> _Session:
        dialogue = self._sessions.get(session)
        if dialogue is None:
            raise QueryError(
                f"there is no session {session!r}: at most {self.config.max_sessions} are kept, and the least recently "
                "used is forgotten; leave session empty to start a new one"
            )
        for name, wanted, held in (("camera", camera, dialogue.window.camera), ("event", event_id, dialogue.event_id)):
            if wanted and wanted != held:
                about = f"{name} {held!r}" if held else f"no particular {name}"
                raise QueryError(
                    f"session {session!r} is about {about}, the question names {name} {wanted!r}; leave session "
                    f"empty to ask about another {name}"
                )
        return dialogue

    def _start(self, window: Window, track: Sequence[TrackPoint], event_id: str) -> _Session:
        """A session whose evidence the model has read, with its own yes or no, asked aside from the dialogue."""
        context = self._read_evidence(window)
        aside = context.fork()
        logits, evidence = self._begin(aside, window, track)
        return _Session(uuid.uuid4().hex[:12], window, event_id, context, evidence, (aside, logits))

    def _begin(self, context: Context, window: Window, track: Sequence[TrackPoint]) -> tuple[np.ndarray, Evidence]:
        """Puts the first question about a window that has been read: the logits of its answer, and all that is known."""
        logits = self._put(context, chat.QUESTION_ANOMALY, first=True)
        certainty = yes_logit(logits, self._backend.tokenizer)
        return logits, evidence_of(window, certainty, self._backend.spec.calibration, track)

    def _turn(self, dialogue: _Session, question: str) -> tuple[str, tuple[Contradiction, ...]]:
        """One more turn. It goes on a copy of the session's context, so that a failure leaves the session as it was."""
        if dialogue.turns >= self.config.max_turns:
            raise QueryError(
                f"session {dialogue.id!r} has had its {self.config.max_turns} turns (max_turns); leave session empty "
                "to start a new one"
            )
        if dialogue.aside is not None and question == chat.QUESTION_ANOMALY:
            context, logits = dialogue.aside  # this very question has just been read
        else:
            context = dialogue.context.fork()
            logits = self._put(context, question, first=dialogue.turns == 0)
        dialogue.context, answer, contradictions = self._answer(context, logits, question, dialogue.evidence)
        dialogue.turns += 1
        return answer, contradictions

    def _put(self, context: Context, question: str, *, first: bool) -> np.ndarray:
        """Has a turn read up to where its answer begins; the logits float32 [V] of that."""
        text = chat.question_text(question, first=first)
        return context.read(self._encode(text if first else chat.ANSWER_END + text))

    def _answer(
        self, context: Context, logits: np.ndarray, question: str, evidence: Evidence
    ) -> tuple[Context, str, tuple[Contradiction, ...]]:
        """What is said to a question that has been put, the context that has it then too, and what it said wrongly."""
        handling, tokenizer, opening = self.config.contradictions, self._backend.tokenizer, []
        if question == chat.QUESTION_ANOMALY:
            # Not drawn: what is said and how sure the model is of it must not contradict each other.
            opening = yes_or_no(logits, tokenizer, evidence.anomaly)
        start = context.fork()
        ids = self._say(context, logits, opening)
        text = tokenizer.decode(ids).strip()
        found = left = find_contradictions(question, text, evidence) if handling != "ignore" else []
        full_stop = ""
        for _ in range(MOST_ANEW if handling == "regenerate" else 0):
            if not left:
                break
            anew = start.fork()
            others = self._say(anew, *self._otherwise(left[0], full_stop, ids, logits))
            said = tokenizer.decode(others).strip()
            still = find_contradictions(question, said, evidence)
            if len(still) < len(left):
                context, ids, text, left, full_stop = anew, others, said, still, ""
            elif left[0].opening and not full_stop:
                full_stop = "."  # "from the top" must not go on as "left"
            else:
                break  # no better: what was said stays
        kinds = {finding.contradiction.kind for finding in left}
        told = (dataclasses.replace(f.contradiction, mended=f.contradiction.kind not in kinds) for f in found)
        return context, text, tuple(told)

    def _otherwise(
        self, finding: Finding, full_stop: str, ids: Sequence[int], logits: np.ndarray
    ) -> tuple[np.ndarray, Sequence[int]]:
        """What `_say` needs so as not to repeat `ids`: logits of the first token, and the opening."""
        if finding.opening:
            return logits, self._encode(finding.opening + full_stop)
        other = logits.copy()
        other[[*ids[:1], *(self._backend.tokenizer.token_id(token) for token in END_TOKENS)]] = -np.inf
        return other, ()

    def _checked(self, evidence: Evidence, contradictions: tuple[Contradiction, ...]) -> Evidence:
        """The evidence of one answer. Its verdict is the one that answers are held to."""
        wrong = self.config.contradictions == "regenerate" and is_contradicted(evidence.anomaly, evidence.probability)
        return dataclasses.replace(evidence, anomaly=evidence.anomaly != wrong, contradictions=contradictions)

    def _say(self, context: Context, logits: np.ndarray, opening: Sequence[int] = ()) -> list[int]:
        """An answer's token ids, which begin as given."""
        config = self.config
        ids = list(
            generate(
                context,
                logits,
                self._backend.tokenizer,
                max_new_tokens=config.max_new_tokens,
                sampling=Sampling(config.temperature, config.top_p, config.seed),
                opening=opening,
                should_stop=self._closed.is_set,
            )
        )
        self._check_open()  # closed meanwhile: half an answer is none
        return ids

    def _read_evidence(self, window: Window) -> Context:
        """The model has read [HEAD, visual tokens, TAIL, anomaly prompts] of a window (eq. 14)."""
        ahead = self._ahead.get(window.camera)
        if ahead is not None and ahead[0] is window:
            return ahead[1].fork()
        backend = self._backend
        head, tail = self._encode(chat.HEAD), self._encode(chat.TAIL)
        visual = np.concatenate([step.visual_tokens for step in window.steps])  # T' x [P/4, D] -> [T' * P/4, D]
        prompts = backend.anomaly_prompts(np.stack([step.class_maps for step in window.steps]))
        embeddings = np.concatenate([backend.embed(head), visual, backend.embed(tail), prompts])
        # By the stamps, for pairs may have been left out between them; whole steps, for cameras stamp with jitter.
        step_ns = self._seconds_per_step * 1e9
        positions = chat.mrope_positions(
            len(head),
            (len(window.steps), *backend.spec.merged_grid),
            len(tail) + len(prompts),
            seconds_per_step=self._seconds_per_step,
            tokens_per_second=backend.spec.tokens_per_second,
            numbers=[round((step.stamps_ns[0] - window.start_ns) / step_ns) for step in window.steps],
        )
        return Context(backend, embeddings.astype(np.float32, copy=False), positions)

    def _encode(self, text: str) -> list[int]:
        return self._backend.tokenizer.encode(text)


def clean_question(question: str, max_chars: int) -> str:
    """A question as one line of plain text that cannot pose as another turn. Raises `QueryError` for one that cannot
    be used.

    Control characters and lone surrogates become spaces; then `<|` and `|>`, which enclose every token of the chat
    layout, are pulled apart. In that order: a character removed later could put a token back together.
    """
    if not isinstance(question, str):
        raise QueryError(f"a question must be text, got {type(question).__name__}")
    if len(question) > max_chars:
        raise QueryError(f"a question may have at most {max_chars} characters, got {len(question)}; ask a shorter one")
    plain = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in question)
    plain = " ".join(plain.split()).replace("<|", "< |").replace("|>", "| >")
    if not plain:
        raise QueryError("the question is empty; ask something, for example 'Is there any anomaly in the video?'")
    return plain


def _label(text: str) -> str:
    """The first clause of an answer, short enough to stand beside a box."""
    clause = text.splitlines()[0] if text else ""
    for end in (". ", "; ", ", "):
        clause = clause.split(end)[0]
    clause = clause.strip(" .,;:")
    if len(clause) <= MAX_LABEL_CHARS:
        return clause
    return clause[: MAX_LABEL_CHARS - 1].rsplit(" ", 1)[0].rstrip(" .,;:") + "…"


def _sentence(text: str) -> str:
    """An answer as one readable sentence: one line, a capital at its beginning, a full stop at its end."""
    line = " ".join(text.split())
    if not line:
        return ""
    return line[0].upper() + line[1:] + ("" if line[-1] in ".!?" else ".")
