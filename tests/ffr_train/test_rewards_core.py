"""The core of the rewards: against a slow oracle, by its invariances, and on bad input."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffr_eval.answer import parse_answer
from ffr_eval.errors import FfrError, InputError
from ffr_eval.markup import answer_text
from ffr_train.rewards import (
    Batch,
    DialogueEmbeddings,
    DialogueIds,
    Term,
    embeddings_of,
    read_embeddings,
    read_profile,
    registry,
    score,
    term_named,
    term_names,
)
from ffr_train.rewards.reading import parse_strictly

TERMS = ("format", "f1", "order", "query_sim", "mcc", "pair_f1")
GARBAGE = ("", "none", "<|utt_ids_start|>[1]<|utt_ids_end|>")
Sample = tuple[str, str, DialogueIds]


# --- a slow oracle, from rewards.md alone: sets and lists, one sample at a time ------------------

Answer = tuple[list[int], list[int]]


class Oracle:
    """All terms of one sample under ``paper`` or ``fixed``; ``None`` where not computable."""

    def __init__(self, profile: str, answer: Answer | None, gold: Answer, d: DialogueIds) -> None:
        self.fixed = profile == "fixed"
        self.parsed = answer is not None
        self.answer = answer or ([], [])
        self.gold = gold
        self.dialogue = d
        self.ids = (list(d.utt_ids or ()), list(d.img_ids or ()))
        self.negative = not gold[0] and not gold[1]
        self.silent = self.parsed and not self.answer[0] and not self.answer[1]

    def terms(self) -> dict[str, float | None]:
        names = ("format", "f1", "order", "query_sim", "mcc", "pair_f1")
        return {name: getattr(self, name)() if self.parsed else 0.0 for name in names}

    def format(self) -> float:
        repeats = any(len(ids) > len(set(ids)) for ids in self.answer)
        if self.fixed and self.negative and not self.silent:
            return 0.0
        return 0.0 if repeats else 1.0

    def _f1s(self) -> list[float]:
        found = []
        sizes = [sum(len(set(ids)) for ids in part) for part in (self.answer, self.gold)]
        excess = max(0, sizes[0] - sizes[1]) / max(sizes[1], 1)
        for ids, gold_ids in zip(self.answer, self.gold, strict=True):
            p, g = set(ids), set(gold_ids)
            if not p and not g:
                found.append(1.0)
                continue
            apart = abs(len(p) - len(g))
            base = 0.8 ** max(apart / max(len(g), 1), excess) if self.fixed else 0.95**apart
            found.append(2 * len(p & g) / (len(p) + len(g)) * base)
        return found

    def f1(self) -> float:
        if self.fixed and self.negative:
            return float(self.silent)
        return sum(self._f1s()) / 2

    def _factor(self) -> float:
        """F1 over the modalities with gold or answer."""
        if self.negative:
            return float(self.silent)
        live = [
            value
            for value, ids, gold in zip(self._f1s(), self.answer, self.gold, strict=True)
            if ids or gold
        ]
        return sum(live) / len(live)

    def _vectors(self, ids: Answer) -> list[np.ndarray | None]:
        d = self.dialogue
        assert d.embeddings is not None
        turns = {i: place for place, i in enumerate(self.ids[0])}
        placed: list[tuple[tuple[int, int, int], int | None]] = []
        placed += [
            ((turns[i], 0, i), d.embeddings.utterances.get(i)) for i in set(ids[0]) & set(turns)
        ]
        placed += [
            ((turns[d.image_turns[i]], 1, i), d.embeddings.images.get(i))
            for i in set(ids[1]) & set(self.ids[1])
        ]
        vectors: list[np.ndarray | None] = []
        for _, row in sorted(placed):
            vector = None if row is None else np.asarray(d.embeddings.vectors[row], dtype=float)
            usable = vector is not None and np.isfinite(vector).all() and vector.any()
            vectors.append(vector if usable else None)
        return vectors

    def _order(self, ids: Answer) -> float | None:
        vectors = self._vectors(ids)
        if len(vectors) < 2:
            return 0.5
        if any(vector is None for vector in vectors):
            return None
        pairs = pairwise(vectors)
        return float(np.mean([_cosine(a, b) for a, b in pairs]))

    def _relative(self, value: float | None, gold: float | None) -> float | None:
        factor = self._factor()
        if factor == 0.0:
            return 0.0
        if value is None or gold is None:
            return None
        return factor * (min(max(value / gold, 0.25), 1.0) if gold > 0 else 1.0)

    def order(self) -> float | None:
        value = self._order(self.answer)
        if not self.fixed:
            return value
        if len(self._vectors(self.gold)) < 2:
            return self._factor()
        return self._relative(value, self._order(self.gold))

    def _query(self, ids: Answer) -> float | None:
        assert self.dialogue.embeddings is not None
        query = self.dialogue.embeddings.vectors[self.dialogue.embeddings.query]
        vectors = self._vectors(ids)
        if any(vector is None for vector in vectors):
            return None
        return float(np.mean([_cosine(vector, query) for vector in vectors]))

    def query_sim(self) -> float | None:
        some, wanted = self._vectors(self.answer), self._vectors(self.gold)
        if not self.fixed:
            return self._query(self.answer) if some else float(not wanted)
        if not some or not wanted:
            return self._factor()
        return self._relative(self._query(self.answer), self._query(self.gold))

    def mcc(self) -> float:
        if self.fixed and self.negative:
            return float(self.silent)
        found = []
        for ids, gold_ids, has in zip(self.answer, self.gold, self.ids, strict=True):
            p, g, u = set(ids), set(gold_ids), set(has)
            if not u and not p:
                continue
            if not g or g == u:
                found.append(float(p == g))
                continue
            tp, fp, fn, tn = len(p & g), len(p - g), len(g - p), len(u - p - g)
            below = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
            found.append((tp * tn - fp * fn) / below if below else 0.0)
        return sum(found) / len(found) if found else 1.0

    def pair_f1(self) -> float:
        p, g = (
            {("u", i) for i in ids[0]} | {("i", i) for i in ids[1]}
            for ids in (self.answer, self.gold)
        )
        if not p and not g:
            return 1.0
        if len(g) < 2:
            return 2 * len(p & g) / (len(p) + len(g))
        pairs = [{(a, b) for a in ids for b in ids if a < b} for ids in (p, g)]
        return 2 * len(pairs[0] & pairs[1]) / (len(pairs[0]) + len(pairs[1]))


def _cosine(a: Any, b: Any) -> float:
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return float(a @ b / math.sqrt(a @ a) / math.sqrt(b @ b))


# --- batches -------------------------------------------------------------------------------------


@st.composite
def dialogues(draw: st.DrawFn) -> DialogueIds:
    """Ids with gaps in any order, images in any turns; some vectors missing, some without use."""
    utt_ids = draw(st.lists(st.integers(0, 30), unique=True, min_size=1, max_size=8))
    img_ids = draw(st.lists(st.integers(0, 30), unique=True, max_size=4))
    turns = {i: draw(st.sampled_from(utt_ids)) for i in img_ids}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    number = len(utt_ids) + len(img_ids) + 1
    vectors = rng.normal(size=(number, 3)) * rng.uniform(0.1, 9.0, size=(number, 1))
    flaw = draw(st.sampled_from(["no flaw", "no flaw", "nan", "zero", "missing"]))
    spoilt = draw(st.integers(0, number - 2))
    if flaw in {"nan", "zero"}:
        vectors[spoilt] = np.nan if flaw == "nan" else 0.0
    rows = list(range(number - 1))
    placed = (
        dict(zip(utt_ids, rows, strict=False)),
        dict(zip(img_ids, rows[len(utt_ids) :], strict=False)),
    )
    if flaw == "missing":
        placed = tuple({i: row for i, row in p.items() if row != spoilt} for p in placed)  # type: ignore[assignment]
    found = DialogueEmbeddings(vectors, *placed, number - 1)
    return DialogueIds(tuple(utt_ids), tuple(img_ids), turns, found)


def _ids(known: tuple[int, ...] | None, *, invented: bool) -> st.SearchStrategy[list[int]]:
    some: list[st.SearchStrategy[int]] = [st.sampled_from(known)] if known else []
    if invented:
        return st.lists(st.one_of(*some, st.integers(100, 103)), max_size=10)
    return st.lists(some[0], unique=True) if some else st.just([])


Drawn = tuple[Answer | None, Answer, DialogueIds]


@st.composite
def batches(draw: st.DrawFn) -> list[Drawn]:
    drawn: list[Drawn] = []
    for dialogue in draw(st.lists(dialogues(), min_size=1, max_size=3)):
        gold = (
            draw(_ids(dialogue.utt_ids, invented=False)),
            draw(_ids(dialogue.img_ids, invented=False)),
        )
        for _ in range(draw(st.integers(1, 4))):
            kind = draw(st.integers(0, 5))
            answer: Answer | None = (
                draw(_ids(dialogue.utt_ids, invented=True)),
                draw(_ids(dialogue.img_ids, invented=True)),
            )
            if kind == 0:
                answer = None
            elif kind == 1:
                answer = gold
            drawn.append((answer, gold, dialogue))
    return draw(st.permutations(drawn))


def texts(drawn: list[Drawn]) -> list[Sample]:
    return [
        (
            GARBAGE[place % 3] if answer is None else answer_text(*answer),
            answer_text(*gold),
            dialogue,
        )
        for place, (answer, gold, dialogue) in enumerate(drawn)
    ]


def batch_of(samples: list[Sample]) -> Batch:
    completions, solutions, known = (list(column) for column in zip(*samples, strict=True))
    return Batch(completions, solutions, known)  # type: ignore[arg-type]


@pytest.mark.parametrize("profile", ["fixed", "paper"])
@settings(max_examples=100, deadline=None)
@given(drawn=batches())
def test_all_terms_are_those_of_the_oracle(profile: str, drawn: list[Drawn]) -> None:
    found = score(batch_of(texts(drawn)), profile, TERMS)
    for place, (answer, gold, dialogue) in enumerate(drawn):
        expected = Oracle(profile, answer, gold, dialogue).terms()
        for term in TERMS:
            got, wanted = found.column(term)[place], expected[term]
            if wanted is None:
                assert got is None, (term, place)
            else:
                assert got == pytest.approx(wanted, abs=1e-9), (term, place)
        weights = {"format": 0.3, "f1": 1.0, "order": 1.0}
        parts = [None if (v := expected[t]) is None else w * v for t, w in weights.items()]
        total = found.column("total")[place]
        if None in parts:
            assert total is None
        else:
            assert total == pytest.approx(sum(p for p in parts if p is not None), abs=1e-9)
    for term in TERMS:
        missing = sum(value is None for value in found.column(term))
        counted = found.reasons.get(term, {})
        assert (sum(counted.values()) >= missing) if missing else not counted


@pytest.mark.parametrize("profile", ["fixed", "paper", "released"])
@settings(max_examples=30, deadline=None)
@given(drawn=batches())
def test_a_sample_gets_the_same_alone_and_in_any_company(profile: str, drawn: list[Drawn]) -> None:
    samples = texts(drawn)
    together = score(batch_of(samples), profile, TERMS).to_dicts()
    alone = [score(batch_of([sample]), profile, TERMS).to_dicts()[0] for sample in samples]
    backwards = score(batch_of(samples[::-1]), profile, TERMS).to_dicts()[::-1]
    for one, other, third in zip(together, alone, backwards, strict=True):
        expected = {name: v if v is None else pytest.approx(v, abs=1e-9) for name, v in one.items()}
        assert other == expected
        assert third == expected


# --- completions and solutions -------------------------------------------------------------------

GOLD = answer_text((1, 2), ())


def test_conversations_are_unwrapped() -> None:
    spoken = [{"role": "user", "content": "?"}, {"role": "assistant", "content": GOLD}]
    assert (
        score(Batch([spoken, GOLD, spoken[1:]], [GOLD] * 3), "fixed", ["f1"]).total.tolist()
        == [1.0] * 3
    )


@pytest.mark.parametrize(
    "completion", [None, 3, [], ["text"], {"content": GOLD}, [{"role": "assistant"}], b"text"]
)
def test_any_other_completion_is_a_type_error_that_names_its_place(completion: object) -> None:
    with pytest.raises(TypeError, match="completion 1 is"):
        Batch([GOLD, completion], [GOLD, GOLD])


@pytest.mark.parametrize("solution", ["[1, 2]", "", GOLD + "!", None, [1, 2]])
def test_a_solution_that_does_not_parse_is_refused(solution: Any) -> None:
    with pytest.raises(InputError, match="solution 1 is"):
        Batch([GOLD, GOLD], [GOLD, solution])


@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    "[1 2]",
                    "[01]",
                    "[1,,2]",
                    "[ 1 , 2 ]",
                    "[]",
                    "[ ]",
                    f"[{10**18 - 1}]",
                    f"[{10**18}]",
                    f"[{10**30}]",
                    "[1\n]",
                    "[-1]",
                    "[１]",
                    "[3, 4]",
                ]
            ),
            st.lists(st.integers(0, 99)).map(str),
        ),
        max_size=5,
    )
)
def test_many_completions_are_read_as_each_alone(lists: list[str]) -> None:
    """Those of the usual form are decoded together, until one of them is odd."""
    texts = [
        f"<|utt_ids_start|>{ids}<|utt_ids_end|>;<|img_ids_start|>{other}<|img_ids_end|>"
        for ids, other in zip(lists, reversed(lists), strict=True)
    ]
    assert parse_strictly([*texts, "no"]) == [parse_answer(t, "strict") for t in [*texts, "no"]]


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="2 completions, 1 solutions"):
        Batch([GOLD, GOLD], [GOLD])


def test_an_empty_batch_has_no_rewards() -> None:
    for profile in ("fixed", "paper", "released"):
        assert score(Batch([], []), profile, TERMS).to_dicts() == []


# --- vectors -------------------------------------------------------------------------------------


def dialogue(**changed: Any) -> DialogueIds:
    vectors = np.array([[1.0, 0], [1, 1], [0, 1], [2, 1], [1, 3]], dtype=np.float32)
    known: dict[str, Any] = {
        "utt_ids": (1, 2, 3),
        "img_ids": (0,),
        "image_turns": {0: 2},
        "embeddings": DialogueEmbeddings(vectors, {1: 0, 2: 1, 3: 2}, {0: 3}, 4),
    }
    return DialogueIds(**{**known, **changed})


def one(answer: Answer, gold: Answer, known: DialogueIds, terms: Any = ("order",)) -> Any:
    return score(Batch([answer_text(*answer)], [answer_text(*gold)], [known]), "fixed", terms)


def test_a_missing_vector_is_null_with_a_counted_reason() -> None:
    found = dialogue().embeddings
    assert found is not None
    less = DialogueEmbeddings(found.vectors, {1: 0, 3: 2}, found.images)
    rewards = one(([1, 2], []), ([1, 3], []), dialogue(embeddings=less), None)
    assert rewards.to_dicts()[0]["order"] is None
    assert rewards.to_dicts()[0]["total"] is None
    assert rewards.reasons == {"order": {"an id of the dialogue has no usable vector": 1}}
    of_gold = one(([1, 3], []), ([1, 2], []), dialogue(embeddings=less))
    assert of_gold.reasons == {"order": {"an id of the dialogue has no usable vector (gold)": 1}}


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 1e200])
def test_a_vector_without_direction_is_a_missing_one(bad: float) -> None:
    found = dialogue().embeddings
    assert found is not None
    vectors = found.vectors.astype(np.float64)
    vectors[1] = bad
    spoilt = DialogueEmbeddings(vectors, found.utterances, found.images, found.query)
    rewards = one(
        ([1, 2], []), ([1, 2, 3], []), dialogue(embeddings=spoilt), ("order", "query_sim")
    )
    assert rewards.column("order") == [None]
    assert rewards.column("query_sim") == [None]
    assert one(([1, 3], []), ([1, 3], []), dialogue(embeddings=spoilt)).column("order") == [1.0]


def test_without_any_embeddings_their_terms_are_null_and_not_in_the_total() -> None:
    batch = Batch([GOLD, "garbage"], [GOLD, GOLD], [dialogue(embeddings=None)] * 2)
    rewards = score(batch)
    assert rewards.column("order") == [None, None]
    assert rewards.column("total") == [1.3, 0.0]
    assert rewards.left_out == ("order",)


def test_one_dialogue_without_embeddings_among_others_is_null() -> None:
    batch = Batch([GOLD, GOLD], [GOLD, GOLD], [dialogue(), dialogue(embeddings=None)])
    rewards = score(batch)
    assert rewards.column("total") == [2.3, None]
    assert rewards.reasons == {"order": {"no embeddings": 1, "no embeddings (gold)": 1}}
    assert rewards.left_out == ()


def test_without_a_vector_of_the_query_its_term_is_null() -> None:
    found = dialogue().embeddings
    assert found is not None
    asked = DialogueEmbeddings(found.vectors, found.utterances, found.images)
    rewards = one(([1], []), ([1, 2], []), dialogue(embeddings=asked), ("query_sim", "order"))
    assert rewards.column("query_sim") == [None]
    assert rewards.column("order") != [None]
    assert "no usable vector of the query" in rewards.reasons["query_sim"]


def test_an_image_whose_turn_is_not_known_is_null_beside_another_element() -> None:
    unknown = dialogue(image_turns={})
    rewards = one(([1, 2], [0]), ([1, 2], []), unknown)
    assert rewards.column("order") == [None]
    assert rewards.reasons == {"order": {"the turn of an image is not known": 1}}
    assert one(([], [0]), ([1, 2], [0]), unknown, ("f1",)).column("f1") != [None]
    beyond = dialogue(image_turns={0: 99})  # a turn that the dialogue does not have
    assert one(([1, 2], [0]), ([1, 2], []), beyond).column("order") == [None]


def test_without_ids_of_the_dialogue_those_with_vectors_are_in_order_of_id() -> None:
    unknown = dialogue(utt_ids=None, img_ids=None)
    for answer, gold in ((([3, 1], [0]), ([1, 2, 3], [])), (([2], [0]), ([1, 2], [0]))):
        got = one(answer, gold, unknown).column("order")
        assert got == one(answer, gold, dialogue()).column("order")
    assert one(([1], []), ([1], []), unknown, ("mcc",)).column("mcc") == [None]


def test_other_dimensions_and_keys_are_refused(tmp_path: Any) -> None:
    a, b = np.ones(3, dtype=np.float32), np.ones(4, dtype=np.float32)
    with pytest.raises(InputError, match="4 dimensions, others have 3"):
        embeddings_of({"u1": a, "i1": b})
    with pytest.raises(InputError, match="unknown key 'x1'"):
        embeddings_of({"x1": a})
    with pytest.raises(InputError, match="no vector of floats"):
        embeddings_of({"u1": np.ones(3, dtype=np.int64)})
    np.savez(tmp_path / "other.npz", u1=a, u2=b)
    with pytest.raises(InputError, match="4 dimensions"):
        read_embeddings(tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InputError, match=r"is no \.npz of vectors"):
        read_embeddings(tmp_path / "text.npz")
    with pytest.raises(InputError, match="no such file"):
        read_embeddings(tmp_path / "none.npz")


def test_a_memory_mapped_matrix_of_half_floats_serves(tmp_path: Any) -> None:
    found = dialogue().embeddings
    assert found is not None
    np.save(tmp_path / "v.npy", found.vectors.astype(np.float16))
    mapped = DialogueEmbeddings(
        np.load(tmp_path / "v.npy", mmap_mode="r"), found.utterances, found.images, found.query
    )
    answer, gold = ([1, 3], [0]), ([1, 2, 3], [])
    expected = one(answer, gold, dialogue(), TERMS).to_dicts()
    assert one(answer, gold, dialogue(embeddings=mapped), TERMS).to_dicts() == expected


@settings(max_examples=40, deadline=None)
@given(
    number=st.integers(3, 60),
    dimension=st.integers(1, 300),
    density=st.floats(0.05, 1.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_single_precision_serves_and_every_way_to_multiply_gives_the_same(
    number: int, dimension: int, density: float, seed: int
) -> None:
    """Sparse and dense fragments, of one sample and of many, in float32 and float64."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(number, dimension)).astype(np.float32)
    drawn = [np.flatnonzero(rng.random(number) < density).tolist() for _ in range(6)]
    expected = [
        np.mean([_cosine(vectors[a], vectors[b]) for a, b in pairwise(ids)])
        if len(ids) > 1
        else 0.5
        for ids in drawn
    ]
    rows = {i: i for i in range(number)}
    for dtype, error in ((np.float32, 1e-6), (np.float64, 1e-12)):
        known = DialogueEmbeddings(vectors.astype(dtype), rows, {})
        one = DialogueIds(tuple(rows), (), {}, known)
        answers = [answer_text(ids, ()) for ids in drawn]
        found = score(Batch(answers, answers[::-1], [one] * 6), "paper", ["order"]).terms["order"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=error)


# --- profiles and terms --------------------------------------------------------------------------


def test_unknown_names_are_refused() -> None:
    batch = Batch([GOLD], [GOLD])
    with pytest.raises(InputError, match="unknown profile 'fixd'"):
        score(batch, "fixd")
    with pytest.raises(InputError, match="unknown reward term 'orders'"):
        score(batch, "fixed", ["orders"])
    with pytest.raises(InputError, match="unknown reward term"):
        read_profile("fixed").with_weights({"orders": 1.0})


def test_weights_make_the_total_and_nothing_else() -> None:
    answer = answer_text((1,), ())
    batch = Batch([answer], [GOLD], [dialogue()])
    heavy = read_profile("fixed").with_weights({"format": 2.0, "f1": 0.5, "order": 0, "mcc": 3})
    rewards = score(batch, heavy)
    assert set(rewards.terms) == {"format", "f1", "mcc"}
    parts = {name: rewards.terms[name][0] for name in rewards.terms}
    expected = 2.0 * parts["format"] + 0.5 * parts["f1"] + 3.0 * parts["mcc"]
    assert rewards.total[0] == pytest.approx(expected)
    assert rewards.terms["f1"][0] == score(batch).terms["f1"][0]


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_a_weight_is_a_number_of_at_least_0(weight: float) -> None:
    with pytest.raises(InputError, match="the weight of f1 is"):
        read_profile("fixed").with_weights({"f1": weight})


class Point:
    """An entry point of another package."""

    def __init__(self, found: object) -> None:
        self.found = found

    def load(self) -> object:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def test_a_term_of_another_package_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    length = Term(
        "length", "characters", lambda batch, _: np.array([float(len(t)) for t in batch.texts])
    )
    points = {**registry._registered(), "length": Point(length), "bad": Point(3)}
    points["gone"] = Point(ImportError("no module"))
    monkeypatch.setattr(registry, "_registered", lambda: points)
    assert "length" in term_names()
    profile = read_profile("fixed").with_weights({"length": 0.5, "order": 0})
    rewards = score(Batch([GOLD], [GOLD]), profile)
    assert rewards.to_dicts()[0]["length"] == len(GOLD)
    assert rewards.total[0] == pytest.approx(1.3 + 0.5 * len(GOLD))
    for name in ("bad", "gone"):
        with pytest.raises(FfrError, match=name):
            term_named(name)


def test_the_built_in_terms_are_registered() -> None:
    assert set(TERMS) <= set(term_names())
    for name in TERMS:
        assert term_named(name).name == name


def test_importing_and_scoring_load_nothing_heavy() -> None:
    code = (
        "import sys, ffr_train.rewards as r\n"
        f"r.score(r.Batch([{GOLD!r}], [{GOLD!r}]))\n"
        "heavy = {'torch', 'pandas', 'scipy', 'sklearn', 'transformers', 'rich', 'click', 'PIL'}\n"
        "print(sorted(heavy & {n.partition('.')[0] for n in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
