"""The five properties that a reward to train with must have, for profile ``fixed``."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ffr_eval.markup import answer_text
from ffr_train.rewards import Batch, DialogueEmbeddings, DialogueIds, Rewards, score

if TYPE_CHECKING:
    from collections.abc import Sequence

TERMS = ("format", "f1", "order", "query_sim", "mcc", "pair_f1")
GARBAGE = ("", "I am sorry.", "[]", "<|utt_ids_start|>[]<|utt_ids_end|>;<|img_ids_start|>[]")
INVENTED = st.integers(1000, 1005)
Ids = tuple[list[int], list[int]]

many = settings(max_examples=150, deadline=None)


@dataclass(frozen=True)
class Case:
    """A dialogue and a gold fragment of it."""

    dialogue: DialogueIds
    gold: Ids

    @property
    def has(self) -> Ids:
        """The ids of the dialogue."""
        return list(self.dialogue.utt_ids or ()), list(self.dialogue.img_ids or ())

    def wrong(self) -> Ids:
        """The ids of the dialogue that are not gold."""
        utterances, images = (
            [i for i in has if i not in gold] for has, gold in zip(self.has, self.gold, strict=True)
        )
        return utterances, images

    def play(self, answers: Sequence[str | Ids], terms: Sequence[str] | None = TERMS) -> Rewards:
        texts = [answer if isinstance(answer, str) else answer_text(*answer) for answer in answers]
        n = len(texts)
        return score(
            Batch(texts, [answer_text(*self.gold)] * n, [self.dialogue] * n), "fixed", terms
        )


@st.composite
def dialogues(draw: st.DrawFn, most: int = 12, images: int = 4, least: int = 1) -> DialogueIds:
    """Ids with gaps, images in any turns, vectors of any length, all cosines from -1 to 1."""
    ids = st.lists(st.integers(0, 40), unique=True)
    utt_ids = draw(st.lists(st.integers(0, 60), unique=True, min_size=least, max_size=most))
    img_ids = sorted(draw(ids.filter(lambda found: len(found) <= images)))
    turns = {i: draw(st.sampled_from(utt_ids)) for i in img_ids}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dimension = draw(st.integers(1, 4))
    number = len(utt_ids) + len(img_ids) + 1
    vectors = rng.normal(size=(number, dimension)) * rng.uniform(0.1, 9.0, size=(number, 1))
    if draw(st.booleans()):  # alike: as real ones are
        vectors += 5.0 * vectors[:1]
    return DialogueIds(
        tuple(sorted(utt_ids)),
        tuple(img_ids),
        turns,
        DialogueEmbeddings(
            vectors.astype(np.float32),
            {i: place for place, i in enumerate(sorted(utt_ids))},
            {i: len(utt_ids) + place for place, i in enumerate(img_ids)},
            number - 1,
        ),
    )


def some(ids: Sequence[int]) -> st.SearchStrategy[list[int]]:
    return st.lists(st.sampled_from(ids), unique=True) if ids else st.just([])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    dialogue = draw(dialogues())
    return Case(dialogue, (draw(some(dialogue.utt_ids or ())), draw(some(dialogue.img_ids or ()))))


@st.composite
def answers(draw: st.DrawFn, case: Case) -> Ids:
    """Ids of the dialogue and invented ones, some repeated."""
    utterances, images = (
        draw(st.lists(st.one_of(st.sampled_from(ids), INVENTED) if ids else INVENTED, max_size=14))
        for ids in case.has
    )
    return utterances, images


@many
@given(st.data())
def test_1_the_gold_is_the_only_maximum_and_every_term_is_1_there(data: st.DataObject) -> None:
    case = data.draw(cases())
    answer = data.draw(st.one_of(answers(case), st.sampled_from(GARBAGE)))
    found = case.play([case.gold, answer])
    for term in TERMS:
        at_gold, at_answer = found.terms[term]
        assert at_gold == 1.0, term
        assert at_answer <= 1.0, term
    if isinstance(answer, str) or any(
        set(ids) != set(gold) for ids, gold in zip(answer, case.gold, strict=True)
    ):
        assert found.terms["f1"][1] < 1.0
        assert found.total[1] < found.total[0]


@many
@given(st.data())
def test_2_a_wrong_id_never_raises_f1_and_a_right_one_never_lowers_it(data: st.DataObject) -> None:
    case = data.draw(cases())
    answer = data.draw(answers(case))
    modality = data.draw(st.sampled_from((0, 1)))
    wrong = data.draw(
        st.one_of(INVENTED, some(case.wrong()[modality]).map(lambda x: x[0] if x else 9999))
    )
    longer = _with(answer, modality, wrong)
    played = [answer, longer]
    missing = [i for i in case.gold[modality] if i not in answer[modality]]
    if missing:
        played.append(_with(answer, modality, missing[0]))
    f1 = case.play(played).terms["f1"]
    assert f1[1] <= f1[0]
    if missing:
        assert f1[2] >= f1[0]  # at any size, so also while the answer is smaller than the gold


def _with(answer: Ids, modality: int, extra: int) -> Ids:
    lists = [list(ids) for ids in answer]
    lists[modality].append(extra)
    return lists[0], lists[1]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_3_degenerate_answers_earn_less_than_half_of_the_gold(data: st.DataObject) -> None:
    """The gold is at most a quarter of the dialogue; half of it is of each modality, rounded up."""
    dialogue = data.draw(dialogues(most=40, images=12, least=4))
    utt_ids, img_ids = dialogue.utt_ids or (), dialogue.img_ids or ()
    quarter = (len(utt_ids) + len(img_ids)) // 4
    gold_images = data.draw(some(img_ids))[:quarter]
    gold_utterances = data.draw(some(utt_ids))[: quarter - len(gold_images)]
    assume(gold_images or gold_utterances)
    case = Case(dialogue, (gold_utterances, gold_images))
    half = tuple(data.draw(st.permutations(ids))[: (len(ids) + 1) // 2] for ids in case.gold)
    modality = data.draw(st.sampled_from([place for place in (0, 1) if case.gold[place]]))
    right = data.draw(st.sampled_from(case.gold[modality]))
    repeated = _with(([], []), modality, right)
    repeated[modality].extend([right] * data.draw(st.integers(1, 6)))
    disjoint = tuple(
        data.draw(st.permutations(ids))[: len(gold)]
        for ids, gold in zip(case.wrong(), case.gold, strict=True)
    )
    invented = tuple([1000 + place for place, _ in enumerate(ids)] for ids in case.gold)
    played = {
        "none": ([], []),
        "garbage": data.draw(st.sampled_from(GARBAGE)),
        "one right id repeated": repeated,
        "invented only": invented,
        "disjoint": disjoint,
        "all": case.has,
    }
    total = case.play([half, *played.values()], None).total  # type: ignore[list-item]
    for name, earned in zip(played, total[1:], strict=True):
        assert earned < total[0], name


@many
@given(st.data())
def test_4_on_a_negative_query_only_the_empty_answer_earns(data: st.DataObject) -> None:
    case = Case(data.draw(dialogues()), ([], []))
    answer = data.draw(answers(case).filter(any))
    found = case.play([([], []), answer, *GARBAGE])
    for term in TERMS:
        assert found.terms[term][0] == 1.0, term
        assert not found.terms[term][1:].any(), term
    assert not found.total[1:].any()


@many
@given(st.data())
def test_5_a_missing_vector_is_none_unless_the_reward_does_not_depend_on_it(
    data: st.DataObject,
) -> None:
    case = data.draw(cases())
    answer = data.draw(answers(case))
    embeddings = case.dialogue.embeddings
    assert embeddings is not None
    lost = data.draw(st.sampled_from(range(len(embeddings.vectors) - 1)))
    by_nan = data.draw(st.booleans())
    vectors = embeddings.vectors.copy()
    vectors[lost] = np.nan
    kept = {
        name: {i: row for i, row in getattr(embeddings, name).items() if row != lost}
        for name in ("utterances", "images")
    }
    less = replace(embeddings, vectors=vectors) if by_nan else replace(embeddings, **kept)
    found = replace(case, dialogue=replace(case.dialogue, embeddings=less)).play([answer])
    others = []
    for seed in range(6):
        filled = embeddings.vectors.copy()
        filled[lost] = np.random.default_rng(seed).normal(size=filled.shape[1])
        other = replace(embeddings, vectors=filled)
        others.append(
            replace(case, dialogue=replace(case.dialogue, embeddings=other)).play([answer])
        )
    for term in TERMS:
        value = found.column(term)[0]
        would_be = [other.column(term)[0] for other in others]
        if value is None:
            assert found.reasons[term]
            assert found.column("total")[0] is None or term not in found.profile.weights
        else:
            assert all(value == other for other in would_be), term
    if term_depends := [t for t in TERMS if len({o.column(t)[0] for o in others}) > 1]:
        assert all(found.column(term)[0] is None for term in term_depends)
        assert set(term_depends) <= {"order", "query_sim"}


def test_5_an_invented_id_is_wrong_and_nothing_more() -> None:
    vectors = np.eye(3, dtype=np.float32) + 0.5
    dialogue = DialogueIds((1, 2, 3), (), {}, DialogueEmbeddings(vectors, {1: 0, 2: 1, 3: 2}, {}))
    found = Case(dialogue, ([1, 2], [])).play([([1, 2, 7], [])], ("f1", "order"))
    assert found.column("order")[0] is not None
    assert found.reasons == {}


def test_3_holds_where_half_of_the_gold_turns_away_from_itself() -> None:
    """The case that the least share of the coherence term is for: rare, so by hand."""
    angles = np.deg2rad([0, 60, 120, 150] + [150] * 12)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    everything = tuple(range(16))
    known = DialogueEmbeddings(vectors, {i: i for i in everything}, {})
    case = Case(DialogueIds(everything, (), {}, known), ([0, 1, 2, 3], []))
    half, all_of_it = case.play([([0, 2], []), (list(everything), [])], None).total
    assert all_of_it < half


# --- what the other profiles break ---------------------------------------------------------------

DATA = Path(__file__).resolve().parents[1] / "data" / "reward_counterexamples.json"


def script() -> Any:
    path = Path(__file__).resolve().parents[2] / "scripts" / "reward_properties.py"
    spec = importlib.util.spec_from_file_location("reward_properties", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reward_properties"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_counter_examples_of_the_documentation_are_some() -> None:
    module = script()
    found = json.loads(DATA.read_text(encoding="utf-8"))
    by_name = {check.name: check for check in module.checks()}
    assert {(row["property"], row["profile"]) for row in found} == {
        (name, profile) for name in by_name for profile in ("paper", "released", "fixed")
    }
    for row in found:
        if row["case"] is None:
            continue
        case = msgspec.convert(row["case"], module.Case)
        rewards = case.rewards(row["profile"])
        assert by_name[row["property"]].broken(rewards) is not None, row["property"]
        for got, wanted in zip(rewards, row["figures"], strict=True):
            assert got == {k: v if v is None else pytest.approx(v) for k, v in wanted.items()}
    broken = {profile: set[str]() for profile in ("paper", "released", "fixed")}
    for row in found:
        if row["case"] is not None:
            broken[row["profile"]].add(row["property"][0])
    assert broken["fixed"] == set()
    assert broken["released"] == {"1", "2", "3", "4", "5"}
    assert broken["paper"] == {"1", "2", "3", "4"}
