"""Decoding over a real engine with random weights, drawing from known logits, and the probability of yes."""

import numpy as np
import pytest

from tvau_runtime.backends import open_backend
from tvau_runtime.calibration import Scale
from tvau_runtime.config import EngineConfig
from tvau_runtime.errors import ModelError
from tvau_runtime.generation import END_TOKENS, GREEDY, Context, Sampling, generate, yes_logit, yes_or_no
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


def answer_of(backend, context, ids, **settings):
    """What is said once the context has read `ids`."""
    return list(generate(context, context.read(ids), backend.tokenizer, **settings))


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
    answer = answer_of(backend, context, ids[4:], max_new_tokens=12)
    assert answer == slow_answer(backend, ids, 12)
    assert answer  # else nothing was compared
    again = context_of(backend, ids + answer)
    np.testing.assert_allclose(context.read(ids[:2]), again.read(ids[:2]), atol=1e-4)
    assert context.length == context.next_position == len(ids) + len(answer) + 2


def test_a_fork_reads_on_without_changing_what_it_came_from(backend):
    ids = backend.tokenizer.encode(PROMPT)
    context = context_of(backend, ids)
    fork = context.fork()
    fork.read(ids[::-1])
    assert (context.length, fork.length) == (len(ids), 2 * len(ids))
    again = context_of(backend, ids)
    np.testing.assert_allclose(context.read(ids[:3]), again.read(ids[:3]), atol=1e-5)


def test_it_ends_after_max_new_tokens(backend):
    ids = backend.tokenizer.encode(PROMPT)
    assert len(slow_answer(backend, ids, 3)) == 3  # else the end token came first and the limit shows nothing
    assert len(answer_of(backend, context_of(backend, ids[:1]), ids[1:], max_new_tokens=3)) == 3


def test_a_token_that_is_deferred_is_read_in_one_pass_with_what_follows(backend, monkeypatch):
    ids = backend.tokenizer.encode(PROMPT)
    context, whole = context_of(backend, ids[:3]), context_of(backend, ids[:3])
    decode, passes = backend.decode, []
    monkeypatch.setattr(backend, "decode", lambda e, p, c=None: (passes.append(len(e)), decode(e, p, c))[1])
    context.defer(ids[3])
    fork = context.fork()
    expected = whole.read(ids[3:6])
    for one in (context, fork):
        np.testing.assert_allclose(one.read(ids[4:6]), expected, atol=1e-5)
    assert passes == [3, 3, 3]


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
    assert answer_of(backend, context_of(backend, ids[:1]), ids[1:], max_new_tokens=6) == free[:stop]


def test_an_opening_comes_first_and_the_answer_goes_on_from_it(backend):
    ids, opening = backend.tokenizer.encode(PROMPT), [7, 8]
    answer = answer_of(backend, context_of(backend, ids[:1]), ids[1:], max_new_tokens=6, opening=opening)
    assert answer == opening + slow_answer(backend, ids + opening, 4)
    assert answer[:1] != slow_answer(backend, ids, 1)
    assert answer_of(backend, context_of(backend, ids[:1]), ids[1:], max_new_tokens=1, opening=opening) == [7]


def test_logits_that_are_not_numbers_name_the_model(backend):
    ids = backend.tokenizer.encode(PROMPT)
    broken = np.full_like(backend.embed(ids), np.nan)
    with pytest.raises(ModelError, match="random"):
        Context(backend, broken, np.broadcast_to(np.arange(len(ids)), (3, len(ids))))


def test_infinite_logits_are_refused_too(backend, monkeypatch):
    context, decode = context_of(backend, [3]), backend.decode

    def overflowing(embeddings, positions, cache=None):
        logits, cache = decode(embeddings, positions, cache)
        return np.where(np.arange(len(logits)) == 5, np.inf, logits).astype(np.float32), cache

    monkeypatch.setattr(backend, "decode", overflowing)
    with pytest.raises(ModelError, match="too little precision"):
        context.read([4])


LOGITS = np.log(np.array([0.05, 0.4, 0.2, 0.3, 0.05], np.float32))


def shares(sampling, logits=LOGITS, draws=4000):
    choose = sampling.chooser()
    return np.bincount([choose(logits) for _ in range(draws)], minlength=len(logits)) / draws


@pytest.mark.parametrize(
    ("temperature", "top_p", "expected"),
    [
        (1.0, 1.0, [0.05, 0.4, 0.2, 0.3, 0.05]),
        (0.5, 1.0, np.array([0.05, 0.4, 0.2, 0.3, 0.05]) ** 2 / (np.array([0.05, 0.4, 0.2, 0.3, 0.05]) ** 2).sum()),
        (1.0, 0.69, [0, 4 / 7, 0, 3 / 7, 0]),  # 0.4 alone is too little, 0.4 + 0.3 is enough
        (1.0, 0.71, [0, 4 / 9, 2 / 9, 3 / 9, 0]),
        (2.0, 0.0, [0, 1, 0, 0, 0]),
    ],
)
def test_tokens_are_drawn_as_often_as_they_are_likely(temperature, top_p, expected):
    got = shares(Sampling(temperature, top_p, seed=1))
    np.testing.assert_allclose(got, expected, atol=0.03)  # 4 standard deviations of 4000 draws
    assert not got[np.asarray(expected) == 0].any()


def test_top_p_equals_the_obvious_way_on_a_large_vocabulary():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=20000).astype(np.float32)
    p = np.exp(logits.astype(np.float64))
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    for top_p in (0.1, 0.5, 0.9, 0.999):
        nucleus = order[: np.searchsorted(np.cumsum(p[order]), top_p) + 1]
        sampling = Sampling(1.0, top_p)
        drawn = [sampling._draw(logits, u) for u in (0.0, *rng.random(50), 1.0 - 2.0**-53)]
        assert (drawn[0], drawn[-1]) == (nucleus[0], nucleus[-1])
        assert set(drawn) <= set(nucleus)


def test_without_temperature_and_with_hardly_any_the_likeliest_is_taken():
    assert shares(GREEDY, draws=3).argmax() == 1
    for temperature in (0.0, 1e-3, 5e-324):
        for sampling in (Sampling(temperature, 0.9, seed=3), Sampling(temperature)):
            assert shares(sampling, draws=50)[1] == 1.0
    masked = LOGITS.copy()
    masked[1] = -np.inf  # as some models mark what must not be said
    assert shares(Sampling(1.0), masked, 500)[1] == 0.0


def test_a_seed_repeats_an_answer_and_none_does_not(backend):
    ids = backend.tokenizer.encode(PROMPT)
    answers = [
        answer_of(backend, context_of(backend, ids[:1]), ids[1:], max_new_tokens=12, sampling=Sampling(2.0, 1.0, seed))
        for seed in (5, 5, 6, 0, 0)
    ]
    assert answers[0] == answers[1]
    assert len({tuple(answer) for answer in answers[1:]}) == 4
    cold = answer_of(backend, context_of(backend, ids[:1]), ids[1:], max_new_tokens=12, sampling=Sampling(1e-6))
    assert cold == slow_answer(backend, ids, 12)


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
def test_the_logit_of_yes_is_of_its_share_whatever_the_pieces(tmp_path, merges, words):
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
    assert yes_logit(logits, tokenizer) == pytest.approx(np.log(yes / no), abs=1e-6)


def test_the_logit_of_extreme_logits_is_a_number_and_its_probability_one(backend):
    logits = np.zeros(512, np.float32)
    for word, sure in (("Yes", 1.0), ("No", 0.0)):
        extreme = logits.copy()
        extreme[backend.tokenizer.encode(word)[0]] = 1e6
        assert Scale().probability(yes_logit(extreme, backend.tokenizer)) == pytest.approx(sure)
    assert yes_logit(logits, backend.tokenizer) == pytest.approx(0.0)


def test_a_tokenizer_that_begins_yes_and_no_alike_is_refused(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    built = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
    built.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelError, match="same token"):
        yes_logit(np.zeros(1, np.float32), TextTokenizer(tmp_path / "tokenizer.json"))


@pytest.mark.parametrize(("merges", "words"), [WHOLE, ([], [])], ids=["one token a word", "one token a letter"])
def test_yes_or_no_is_the_likelier_side_in_its_likelier_spelling(tmp_path, merges, words):
    tokenizer = byte_tokenizer(tmp_path, merges, words)
    for values, word in (
        ((2.0, 1.0, 2.3, -9.0), "Yes"),  # yes in two spellings outweighs the likeliest, which is a no
        ((0.0, 1.0, 0.5, 0.5), "yes"),
        ((1.0, -9.0, 0.9, 0.8), "No"),
        ((1.0, -9.0, 0.8, 0.9), "no"),
    ):
        logits = np.full(len(tokenizer), 5.0, np.float32)  # anything else is likelier
        for each, value in zip(("Yes", "yes", "No", "no"), values, strict=True):
            logits[tokenizer.encode(each)[0]] = value
        assert tokenizer.decode(yes_or_no(logits, tokenizer, yes_logit(logits, tokenizer) >= 0)) == word
