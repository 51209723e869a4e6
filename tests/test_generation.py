"""Greedy decoding over a real engine with random weights, and the probability of yes."""

import numpy as np
import pytest

from tvau_runtime.backends import open_backend
from tvau_runtime.config import EngineConfig
from tvau_runtime.errors import ModelError
from tvau_runtime.generation import END_TOKENS, Context, greedy, yes_probability
from tvau_runtime.tokenizer import TextTokenizer

PROMPT = "Is there any anomaly in the video?"


@pytest.fixture(scope="module")
def backend(tiny):
    engine = open_backend(EngineConfig(model=str(tiny), threads=1))
    yield engine
    engine.close()


def context_of(backend, ids):
    positions = np.broadcast_to(np.arange(len(ids)), (3, len(ids)))
    return Context(backend, backend.embed(ids), positions)


def slow_answer(backend, ids, count):
    """The obvious way: read everything anew for every token."""
    ids = list(ids)
    ends = {backend.tokenizer.token_id(token) for token in END_TOKENS}
    answer = []
    for _ in range(count):
        positions = np.broadcast_to(np.arange(len(ids)), (3, len(ids)))
        token = int(backend.decode(backend.embed(ids), positions)[0].argmax())
        if token in ends:
            break
        answer.append(token)
        ids.append(token)
    return answer


def test_greedy_equals_reading_everything_anew_for_every_token(backend):
    ids = backend.tokenizer.encode(PROMPT)
    context = context_of(backend, ids[:4])
    answer = list(greedy(context, ids[4:], backend.tokenizer, max_new_tokens=12))
    assert answer == slow_answer(backend, ids, 12)
    assert answer  # else nothing was compared
    assert context.length == context.next_position == len(ids) + len(answer)


def test_a_fork_reads_on_without_changing_what_it_came_from(backend):
    ids = backend.tokenizer.encode(PROMPT)
    context = context_of(backend, ids)
    fork = context.fork()
    fork.read(ids[::-1])
    assert (context.length, fork.length) == (len(ids), 2 * len(ids))
    again = context_of(backend, ids)
    np.testing.assert_allclose(context.read(ids[:3]), again.read(ids[:3]), atol=1e-5)


def test_it_ends_after_max_new_tokens_and_when_it_should_stop(backend):
    ids = backend.tokenizer.encode(PROMPT)
    asked = []

    def should_stop():
        asked.append(True)
        return len(asked) > 2

    assert len(slow_answer(backend, ids, 3)) == 3  # else the end token came first and the limit shows nothing
    limited = greedy(context_of(backend, ids[:1]), ids[1:], backend.tokenizer, max_new_tokens=3)
    assert len(list(limited)) == 3
    stopped = greedy(
        context_of(backend, ids[:1]), ids[1:], backend.tokenizer, max_new_tokens=9, should_stop=should_stop
    )
    assert len(list(stopped)) == 2


@pytest.mark.parametrize("end", END_TOKENS)
def test_an_end_token_ends_the_answer_and_is_not_part_of_it(backend, monkeypatch, end):
    ids = backend.tokenizer.encode(PROMPT)
    free = slow_answer(backend, ids, 6)
    stop = len(set(free[:2]))  # at the first token that differs from the one before it, or at the second
    decode, number = backend.decode, backend.tokenizer.token_id(end)
    passes = []

    def ending(embeddings, positions, cache=None):
        logits, cache = decode(embeddings, positions, cache)
        passes.append(positions.shape[1])
        if len(passes) == stop + 2:  # the passes of the context, the question and `stop` tokens
            logits = logits.copy()
            logits[number] = logits.max() + 1
        return logits, cache

    monkeypatch.setattr(backend, "decode", ending)
    answer = list(greedy(context_of(backend, ids[:1]), ids[1:], backend.tokenizer, max_new_tokens=6))
    assert answer == free[:stop]


def test_logits_that_are_not_numbers_name_the_model(backend):
    ids = backend.tokenizer.encode(PROMPT)
    broken = np.full_like(backend.embed(ids), np.nan)
    with pytest.raises(ModelError, match="random"):
        Context(backend, broken, np.broadcast_to(np.arange(len(ids)), (3, len(ids))))


def byte_tokenizer(tmp_path, merges, words):
    """A byte-level tokenizer.json as Qwen has them, with only these merges, so that words fall into chosen pieces."""
    tokenizers = pytest.importorskip("tokenizers")
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*letters, *words])}
    built = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    built.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = tokenizers.decoders.ByteLevel()
    built.save(str(tmp_path / "tokenizer.json"))
    return TextTokenizer(tmp_path / "tokenizer.json")


WHOLE = (
    [("Y", "e"), ("Ye", "s"), ("y", "e"), ("ye", "s"), ("N", "o"), ("n", "o")],
    ["Ye", "Yes", "ye", "yes", "No", "no"],
)


@pytest.mark.parametrize(("merges", "words"), [WHOLE, ([], [])], ids=["one token a word", "one token a letter"])
def test_yes_probability_is_the_share_of_yes_whatever_the_pieces(tmp_path, merges, words):
    tokenizer = byte_tokenizer(tmp_path, merges, words)
    size = len(tokenizer)
    logits = np.full(size, -3.0, np.float32)
    first = {word: tokenizer.encode(word)[0] for word in ("Yes", "yes", "No", "no")}
    assert len(set(first.values())) == 4
    for word, value in zip(first, (2.0, 0.5, 1.0, -1.0), strict=True):
        logits[first[word]] = value
    logits[tokenizer.encode("?")[0]] = 9.0  # what else might be said does not count
    p = np.exp(logits.astype(np.float64)) / np.exp(logits.astype(np.float64)).sum()
    yes, no = p[first["Yes"]] + p[first["yes"]], p[first["No"]] + p[first["no"]]
    assert yes_probability(logits, tokenizer) == pytest.approx(yes / (yes + no), abs=1e-6)


def test_yes_probability_of_extreme_logits_stays_a_probability(backend):
    logits = np.zeros(512, np.float32)
    for word, sure in (("Yes", 1.0), ("No", 0.0)):
        extreme = logits.copy()
        extreme[backend.tokenizer.encode(word)[0]] = 1e6
        assert yes_probability(extreme, backend.tokenizer) == pytest.approx(sure)
    assert yes_probability(logits, backend.tokenizer) == pytest.approx(0.5)


def test_a_tokenizer_that_begins_yes_and_no_alike_is_refused(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    built = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
    built.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelError, match="same token"):
        yes_probability(np.zeros(1, np.float32), TextTokenizer(tmp_path / "tokenizer.json"))
