"""Policies that the laboratory plays, and the vectors that it makes on the spot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffr_eval.answer import Answer, parse_answer
from ffr_eval.types import Dialogue, Fragment, Image, Outcome, Sample, Turn
from ffr_train.rewards.embeddings import embeddings_of
from ffr_train.rewards.policies import POLICIES, Scene, generator_of, reader
from ffr_train.rewards.vectors import DIMENSIONS, hashed_embeddings, hashed_vectors

UTTERANCES = tuple(range(10, 30))
IMAGES = (0, 3, 5)
BY_NAME = {policy.name: policy for policy in POLICIES}


def scene(gold: tuple[tuple[int, ...], tuple[int, ...]], **more: Any) -> Scene:
    turns = tuple(Turn(i, "S", f"text {i}", ((3,) if i == 12 else ())) for i in UTTERANCES)
    dialogue = Dialogue("d", turns, tuple(Image(i) for i in IMAGES))
    return Scene(Sample("d#0", dialogue, "q", gold=Fragment(*gold)), **more)


def played(
    name: str, gold: tuple[tuple[int, ...], tuple[int, ...]], seed: int = 0, **more: Any
) -> Answer:
    policy = BY_NAME[name]
    text = policy.play(scene(gold, **more), generator_of(seed, "d#0", name))
    return parse_answer(text, "strict")


GOLD = ((11, 12, 13, 20, 29), (3, 5))
TEXT_ONLY: tuple[tuple[int, ...], tuple[int, ...]] = ((11, 12, 13), ())
IMAGE_ONLY: tuple[tuple[int, ...], tuple[int, ...]] = ((), (3,))
NOTHING: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("gold", [GOLD, TEXT_ONLY, IMAGE_ONLY, NOTHING])
def test_the_same_seed_the_same_answer(
    name: str, gold: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    first = played(name, gold, 3)
    assert first == played(name, gold, 3)
    assert (first.outcome is Outcome.PARSE_ERROR) == (name == "garbage")


def test_honest_policies() -> None:
    answer = played("gold", GOLD)
    assert (answer.utt_ids, answer.img_ids) == GOLD
    answer = played("random half of gold", GOLD)
    assert (len(answer.utt_ids), len(answer.img_ids)) == (3, 1)
    assert set(answer.utt_ids) < set(GOLD[0])
    orders = {played("shuffled order", GOLD, seed).utt_ids for seed in range(5)}
    assert len(orders) > 1
    assert {tuple(sorted(order)) for order in orders} == {GOLD[0]}


def test_cheats() -> None:
    everything = played("select-all", GOLD)
    assert (everything.utt_ids, everything.img_ids) == (UTTERANCES, IMAGES)
    assert played("none", GOLD).outcome is Outcome.EMPTY
    one = played("one right id repeated", GOLD)
    assert (len(one.utt_ids), len(set(one.utt_ids)), one.img_ids) == (5, 1, ())
    assert one.utt_ids[0] in GOLD[0]
    image = played("one right id repeated", IMAGE_ONLY)
    assert (image.utt_ids, image.img_ids) == ((), (3, 3))
    again = played("gold plus a duplicate", GOLD)
    assert len(again.utt_ids) == 6
    assert set(again.utt_ids) == set(GOLD[0])
    more = played("gold plus an invented id", GOLD)
    assert set(more.utt_ids) - set(UTTERANCES) == set(more.utt_ids) - set(GOLD[0])
    assert len(more.utt_ids) == 6
    invented = played("invented only", GOLD)
    assert (len(invented.utt_ids), len(invented.img_ids)) == (5, 2)
    assert not set(invented.utt_ids) & set(UTTERANCES)
    assert not set(invented.img_ids) & set(IMAGES)
    wrong = played("disjoint same-size", GOLD)
    assert (len(wrong.utt_ids), wrong.img_ids) == (5, (0,))  # one wrong image is all there is
    assert not set(wrong.utt_ids) & set(GOLD[0])
    assert played("off-by-one turns", GOLD).utt_ids == (12, 13, 14, 21, 28)
    assert len(played("random", GOLD).utt_ids) == 5


@pytest.mark.parametrize("name", ["random", "disjoint same-size", "invented only"])
def test_without_gold_they_name_something(name: str) -> None:
    assert len(played(name, NOTHING).utt_ids) == 1


def test_spam_is_what_is_most_alike() -> None:
    rng = np.random.default_rng(0)
    vectors = {f"u{i}": rng.normal(size=16) for i in UTTERANCES}
    vectors |= {f"i{i}": rng.normal(size=16) for i in IMAGES}
    vectors["u15"] = vectors["u27"] * 2
    vectors["i5"] = vectors["u27"] + 0.01
    spam = played("near-duplicate spam", TEXT_ONLY, embeddings=embeddings_of(vectors))
    assert (spam.utt_ids, spam.img_ids) == ((15, 27), (5,))
    block = played("near-duplicate spam", TEXT_ONLY).utt_ids
    assert np.diff(block).tolist() == [1, 1]


@given(st.floats(0, 1), st.integers(0, 50))
def test_a_reader(skill: float, seed: int) -> None:
    policy = reader(skill)
    answer = parse_answer(policy.play(scene(GOLD), generator_of(seed, "d#0", "r")), "strict")
    assert len(answer.utt_ids) == len(set(answer.utt_ids)) == 5
    assert set(answer.utt_ids) <= set(UTTERANCES)
    if skill == 1:
        assert (answer.utt_ids, answer.img_ids) == GOLD


def test_a_readers_share() -> None:
    policy = reader(0.3)
    right = [
        len(
            {*parse_answer(policy.play(scene(GOLD), generator_of(s, "d", "r"))).utt_ids}
            & {*GOLD[0]}
        )
        for s in range(400)
    ]
    assert np.mean(right) / 5 == pytest.approx(0.3, abs=0.05)


def test_hashed_vectors() -> None:
    texts = ["the cat sat on the mat", "the cat sat on a mat", "quarterly figures", "", "我喜欢猫",
             "我喜欢狗", "\ud800"]  # fmt: skip
    vectors = hashed_vectors(texts)
    assert vectors.shape == (7, DIMENSIONS)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(7), abs=1e-5)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > 0.5 > abs(cosines[0, 2])
    assert cosines[4, 5] > 0.3
    assert (hashed_vectors(texts) == vectors).all()
    assert (hashed_vectors(texts, 1) != vectors).any()
    assert (hashed_vectors(["THE  cat\n"]) == hashed_vectors(["the cat"])).all()
    assert hashed_vectors([]).shape == (0, DIMENSIONS)


def test_what_images_are() -> None:
    turns = (Turn(7, "S", "a red kite over the hill", (0, 1)), Turn(9, "S", "the budget"))
    dialogue = Dialogue("d", turns, (Image(0), Image(1, caption="the budget")))
    first, second = hashed_embeddings(dialogue, ["the budget", "red kite"])
    vectors = np.asarray(first.vectors)
    assert (vectors[first.images[0]] == vectors[first.utterances[7]]).all()
    assert (vectors[first.images[1]] == vectors[first.utterances[9]]).all()
    assert first.query is not None
    assert (vectors[first.query] == vectors[first.utterances[9]]).all()
    assert second.query == first.query + 1
    assert hashed_embeddings(dialogue)[0].query is None
