"""Questions to answers: dialogue sessions over the evidence of one clip window.

A session holds the window it is about: the language model has read its visual tokens and the RAE's anomaly prompts
once, and every turn reads on from there (layout and positions: `chat`). A window may be read ahead of the first question
about it. Each answer carries the evidence it rests on, and is checked against it (`guard`). Knows no camera, no frame and no
clock: windows come from whoever owns them.
"""

from __future__ import annotations

import dataclasses
import threading
import time
import unicodedata
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from . import chat
from .backends.base import Backend
from .config import DialogueConfig
from .errors import QueryError, SessionError
from .floor import Floor
from .generation import END_TOKENS, Context, Sampling, generate, yes_logit, yes_or_no
from .grounding import evidence_of
from .guard import Finding, find_contradictions, is_contradicted
from .sessions import Session, SessionStore
from .types import Answer, Contradiction, Evidence, TrackPoint, Window

__all__ = ["DialogueEngine", "clean_question"]

MAX_LABEL_CHARS = 90
MAX_NAME_CHARS = 200
"""Of a session, a camera or an event in a question."""
MOST_ANEW = 3
"""How often an answer is said anew, at most."""
LOOK_S = 0.05
"""How often it is looked, while frames go first, whether the answer is still wanted."""
PATIENCE_S = 5.0
"""How long an event's description waits, before each pass, for a moment without frames."""


@dataclass
class _Listener:
    """Whoever the model speaks to: hears the answer as it comes, and may have it stopped."""

    on_text: Callable[[str], None] | None = None
    should_stop: Callable[[], bool] = lambda: False
    told: str = ""
    """The answer so far."""
    unhurried: bool = False
    """Whether frames and questions that wait go first, however long that takes."""


class DialogueEngine:
    """Answers questions about windows, one generation at a time; callers of several threads queue (`floor`).

    evidence: `(camera, event_id) -> Window`, asked for every new session; it raises `QueryError` for what it does not
    know. It is called before the question waits for its turn, so that the evidence is that of the moment the question was put,
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
        self._sessions = SessionStore()
        self._ahead: dict[str, tuple[Window, Context]] = {}
        """By camera, the one window that has been read ahead."""
        self._floor = Floor()
        self._listener = _Listener()
        """Of whoever has the floor."""
        self._closed = threading.Event()
        self.give_way: Callable[[float], bool] | None = None
        """Waits while frames wait for the device, at most so long (s); whether none does. Whoever runs a stream sets it."""

    def ask(
        self,
        question: str,
        *,
        session: str = "",
        camera: str = "",
        event_id: str = "",
        window: Window | None = None,
        on_text: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """Answers one question; waits for the answers before it.

        session: empty starts a dialogue about the camera's latest window or the named event, or about the `window` that is
        given; the `session` of an earlier answer goes on with that one and its evidence.
        on_text: called with the answer so far, after every token that adds to it; where a check has it said again, it begins
        anew. should_stop: asked after every token; once it is true, the answer ends there.

        Raises `QueryError` for a question, session, camera or event that cannot be answered, where too many wait already,
        and for one that was stopped; the session then stays as it was.
        """
        text = clean_question(question, self.config.max_question_chars)
        for name, given in (("session", session), ("camera", camera), ("event", event_id)):
            if len(given) > MAX_NAME_CHARS:
                raise QueryError(f"the name of a {name} has at most {MAX_NAME_CHARS} characters, got {len(given)}")
        track: Sequence[TrackPoint] = ()
        if session:
            self._resume(session, camera, event_id)  # refused now rather than after its turn has come
        else:
            window = window or self._evidence(camera, event_id)
            track = self._track(event_id) if event_id else ()
        with self._speaking(_Listener(on_text, should_stop), self.config.max_waiting):
            if session:
                dialogue = self._resume(session, camera, event_id)
            else:
                assert window is not None
                dialogue = self._start(window, track, event_id)
            answer, contradictions = self._turn(dialogue, text)
            dialogue.aside = None
            # A new session is kept only now: when its first answer fails, nobody knows its id.
            self._sessions.keep(dialogue, self.config.max_sessions, self.config.max_session_mb)
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

        Nobody waits for it: before every pass of the model, frames and questions that wait go first. Raises `TimeoutError`
        where frames leave no time for a pass within `PATIENCE_S`.
        """
        said = []
        with self._speaking(_Listener(unhurried=True)):
            self._rest(0.0)
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
        with self._floor.if_free() as free:
            ahead = self._ahead.get(window.camera)
            if free and not self._closed.is_set() and (ahead is None or ahead[0] is not window):
                self.forget(window.camera)
                self._ahead[window.camera] = window, self._read_evidence(window)

    def forget(self, camera: str | None = None) -> None:
        """Drops what was read ahead, of one camera or of all; never waits for an answer. Sessions stay."""
        if camera is None:
            self._ahead.clear()
        else:
            self._ahead.pop(camera, None)

    def close(self) -> None:
        """Stops the answer in progress and forgets all sessions; every later question raises `QueryError`."""
        self._closed.set()
        with self._floor.wait():
            self._sessions.clear()
            self.forget()

    @contextmanager
    def _speaking(self, listener: _Listener, most_waiting: int | None = None) -> Iterator[None]:
        """The model speaks to one listener meanwhile, whose turn it is."""

        def gone() -> bool:
            self._check_open()
            return listener.should_stop()

        with self._floor.wait(most_waiting, gone, hurried=not listener.unhurried):
            self._check_open()
            self._listener = listener
            try:
                yield
            finally:
                self._listener = _Listener()

    def _rest(self, spent_s: float) -> None:
        """Between two passes: lets frames that wait go first, and ends the answer where it is not wanted any more."""
        if self._listener.unhurried:
            self._wait_for_quiet()
            return
        rest_until = time.monotonic() + spent_s * (1 / self.config.share - 1)
        while True:
            self._check_open()
            if self._listener.should_stop():
                raise QueryError(
                    "stopped before the answer was complete; the dialogue is as it was before the question"
                )
            rest_s, give_way = rest_until - time.monotonic(), self.give_way  # another thread may take it away
            if give_way is None or rest_s <= 0 or give_way(min(rest_s, LOOK_S)):
                return

    def _wait_for_quiet(self) -> None:
        """Waits until no frame waits and no question does. Raises `TimeoutError` where that takes too long because of frames."""
        listener, give_up = self._listener, time.monotonic() + PATIENCE_S
        while True:
            self._check_open()
            give_way = self.give_way
            quiet = give_way is None or give_way(LOOK_S)
            if self._floor.waited_for:
                self._floor.step_aside()
                self._listener, give_up = listener, time.monotonic() + PATIENCE_S
            elif quiet:
                return
            elif time.monotonic() > give_up:
                raise TimeoutError(f"for {PATIENCE_S:g} s the stream left no time for it")

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise QueryError("the dialogue is closed; open a new pipeline to ask again")

    def _resume(self, session: str, camera: str, event_id: str) -> Session:
        dialogue = self._sessions.get(session)
        for name, wanted, held in (("camera", camera, dialogue.window.camera), ("event", event_id, dialogue.event_id)):
            if wanted and wanted != held:
                about = f"{name} {held!r}" if held else f"no particular {name}"
                raise QueryError(
                    f"session {session!r} is about {about}, the question names {name} {wanted!r}; leave session "
                    f"empty to ask about another {name}"
                )
        return dialogue

    def _start(self, window: Window, track: Sequence[TrackPoint], event_id: str) -> Session:
        """A session whose evidence the model has read, with its own yes or no, asked aside from the dialogue."""
        context = self._read_evidence(window)
        aside = context.fork()
        logits, evidence = self._begin(aside, window, track)
        return Session(uuid.uuid4().hex[:12], window, event_id, context, evidence, (aside, logits))

    def _begin(self, context: Context, window: Window, track: Sequence[TrackPoint]) -> tuple[np.ndarray, Evidence]:
        """Puts the first question about a window that has been read: the logits of its answer, and all that is known."""
        logits = self._put(context, chat.QUESTION_ANOMALY, first=True)
        certainty = yes_logit(logits, self._backend.tokenizer)
        return logits, evidence_of(window, certainty, self._backend.spec.calibration, track)

    def _turn(self, dialogue: Session, question: str) -> tuple[str, tuple[Contradiction, ...]]:
        """One more turn. It goes on a copy of the session's context, so that a failure leaves the session as it was."""
        if dialogue.turns >= self.config.max_turns:
            raise SessionError(
                f"session {dialogue.id!r} has had its {self.config.max_turns} turns (max_turns); leave session empty "
                "to start a new one"
            )
        if dialogue.aside is not None and question == chat.QUESTION_ANOMALY:
            context, logits = dialogue.aside  # this very question has just been read
        else:
            context = dialogue.context.fork()
            logits = self._put(context, question, first=dialogue.turns == 0)
        context, answer, contradictions = self._answer(context, logits, question, dialogue.evidence)
        self._tell(answer)  # where it was said anew and the first one stays
        dialogue.context, dialogue.turns = context, dialogue.turns + 1
        return answer, contradictions

    def _put(self, context: Context, question: str, *, first: bool) -> np.ndarray:
        """Has a turn read up to where its answer begins; the logits float32 [V] of that."""
        before, behind = chat.question_parts(first)
        if not first:
            before = chat.ANSWER_END + before
        encode_plain = self._backend.tokenizer.encode_plain
        return context.read([*self._encode(before), *encode_plain(question), *self._encode(behind)])

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
        text = self._text(ids)
        found = left = find_contradictions(question, text, evidence) if handling != "ignore" else []
        full_stop = ""
        for _ in range(MOST_ANEW if handling == "regenerate" else 0):
            if not left:
                break
            anew = start.fork()
            others = self._say(anew, *self._otherwise(left[0], full_stop, ids, logits))
            said = self._text(others)
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
        wrong = self.config.contradictions == "regenerate" and is_contradicted(evidence.anomaly, evidence)
        return dataclasses.replace(evidence, anomaly=evidence.anomaly != wrong, contradictions=contradictions)

    def _say(self, context: Context, logits: np.ndarray, opening: Sequence[int] = ()) -> list[int]:
        """An answer's token ids, which begin as given; the listener hears of each."""
        config, ids = self.config, []
        for token in generate(
            context,
            logits,
            self._backend.tokenizer,
            max_new_tokens=config.max_new_tokens,
            sampling=Sampling(config.temperature, config.top_p, config.seed),
            opening=opening,
        ):
            ids.append(token)
            if self._listener.on_text is not None:
                # What a token of a character's first bytes becomes, is not known before the next one.
                self._tell(self._text(ids).rstrip("\ufffd"))
        return ids

    def _tell(self, text: str) -> None:
        """Has the listener hear the answer so far, where it has not."""
        if self._listener.on_text is not None and text != self._listener.told:
            self._listener.told = text
            self._listener.on_text(text)

    def _text(self, ids: Sequence[int]) -> str:
        return _plain(self._backend.tokenizer.decode(list(ids))).strip()

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
        return Context(backend, embeddings.astype(np.float32, copy=False), positions, self._rest)

    def _encode(self, text: str) -> list[int]:
        return self._backend.tokenizer.encode(text)


def clean_question(question: str, max_chars: int) -> str:
    """A question as one line of text without control characters. Raises `QueryError` for one that cannot be used.

    Control tokens of the chat layout stay as they are written: they are encoded as the letters that they consist of.
    """
    if not isinstance(question, str):
        raise QueryError(f"a question must be text, got {type(question).__name__}")
    if len(question) > max_chars:
        raise QueryError(f"a question may have at most {max_chars} characters, got {len(question)}; ask a shorter one")
    plain = " ".join(_plain(question).split())
    if not plain:
        raise QueryError("the question is empty; ask something, for example 'Is there any anomaly in the video?'")
    return plain


def _plain(text: str) -> str:
    """Control characters but line breaks, which terminals would obey, and lone surrogates become spaces."""
    return "".join(" " if c != "\n" and unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


def _label(text: str) -> str:
    """The first sentence of an answer, or of a long one its first clause, short enough to stand beside a box."""
    clause = text.splitlines()[0] if text else ""
    for end in (". ", "; ", ", "):
        if end != ", " or len(clause) > MAX_LABEL_CHARS:
            clause = clause.split(end)[0].strip(" .,;:")
    if len(clause) <= MAX_LABEL_CHARS:
        return clause
    return clause[: MAX_LABEL_CHARS - 1].rsplit(" ", 1)[0].rstrip(" .,;:") + "…"


def _sentence(text: str) -> str:
    """An answer as one readable sentence: one line, a capital at its beginning, a full stop at its end."""
    line = " ".join(text.split())
    if not line:
        return ""
    return line[0].upper() + line[1:] + ("" if line[-1] in ".!?" else ".")
