from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.selection import (
    Gap,
    Policies,
    Policy,
    Relative,
    ScoreLists,
    SelectionOptions,
    Threshold,
    TopK,
    described,
    policies_from_record,
    policies_of,
    select,
    tune,
    tuned_record,
)
from baselines.selection import micro_f1 as selection_f1
from ffr_eval.errors import InputError
from ffr_eval.ragged import Ragged

SCORES = st.lists(
    st.one_of(
        st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0]),
        st.floats(-1e6, 1e6, allow_subnormal=False),
    ),
    max_size=12,
)
FLOORS = st.sampled_from([None, 0.0, 0.5])
POLICIES = st.one_of(
    st.builds(TopK, st.integers(1, 6), FLOORS),
    st.builds(Threshold, st.sampled_from([-1.0, 0.0, 0.5, 1.5]), FLOORS),
    st.builds(Relative, st.sampled_from([0.1, 0.5, 1.0]), FLOORS),
    st.builds(Gap, st.integers(1, 6), FLOORS),
)


def packed(lists: list[list[float]]) -> ScoreLists:
    return ScoreLists.from_arrays([np.array(scores, dtype=np.float64) for scores in lists])


def reference(scores: list[float], policy: Policy) -> list[int]:
    """The policy by its definition, for one sample."""
    floor = -math.inf if policy.min_score is None else policy.min_score
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
    match policy:
        case TopK(k=k):
            chosen = order[:k]
        case Threshold(threshold=threshold):
            chosen = [place for place in order if scores[place] >= threshold]
        case Relative(ratio=ratio):
            highest = max(scores, default=0.0)
            chosen = [p for p in order if highest > 0 and scores[p] / highest >= ratio]
        case Gap(max_k=max_k):
            chosen = order[: reference_cut([scores[p] for p in order], max_k, policy.min_score)]
    return sorted(place for place in chosen if scores[place] > floor)


def reference_cut(falling: list[float], max_k: int, floor: float | None) -> int:
    values = falling if floor is None else [max(score, floor) for score in falling]
    best, cut = -math.inf, min(1, len(values))
    for j in range(min(max_k, len(values))):
        if j + 1 < len(values):
            drop = values[j] - values[j + 1]
        else:
            drop = -math.inf if floor is None else values[j] - floor
        if drop > best:
            best, cut = drop, j + 1
    return cut


@given(st.lists(SCORES, max_size=6), POLICIES)
def test_select_is_the_definition(lists: list[list[float]], policy: Policy) -> None:
    assert select(packed(lists), policy).to_lists() == [reference(s, policy) for s in lists]


@given(st.lists(SCORES, min_size=1, max_size=5), POLICIES)
def test_samples_do_not_touch_each_other(lists: list[list[float]], policy: Policy) -> None:
    together = select(packed(lists), policy).to_lists()
    assert together == [select(packed([scores]), policy).to_lists()[0] for scores in lists]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (TopK(2), [[0, 1]]),
        (TopK(9), [[0, 1, 3]]),
        (TopK(9, None), [[0, 1, 2, 3, 4]]),
        (Threshold(2.0), [[0, 1, 3]]),
        (Threshold(-9.0), [[0, 1, 3]]),
        (Relative(1.0), [[0, 1]]),
        (Relative(0.5), [[0, 1, 3]]),
        (Gap(5), [[0, 1, 3]]),
        (Gap(2), [[0, 1]]),
    ],
)
def test_examples(policy: Policy, expected: list[list[int]]) -> None:
    assert select(packed([[3.0, 3.0, 0.0, 2.0, -1.0]]), policy).to_lists() == expected


@given(POLICIES, POLICIES)
def test_policies_survive_json(utterance: Policy, image: Policy) -> None:
    policies = Policies(utterance, image)
    assert msgspec.json.decode(msgspec.json.encode(policies), type=Policies) == policies


def candidates(lists: list[list[float]], floor: float | None) -> list[Policy]:
    """A small grid of the reference tuning, coarse on purpose."""
    observed = sorted({score for scores in lists for score in scores})
    policies: list[Policy] = [TopK(k, floor) for k in range(1, 13)]
    policies += [Threshold(threshold, floor) for threshold in observed]
    return policies


@given(
    st.lists(
        SCORES.filter(bool).flatmap(
            lambda s: st.tuples(st.just(s), st.sets(st.integers(0, len(s) - 1)))
        ),
        min_size=1,
        max_size=5,
    ),
    FLOORS,
)
def test_tuned_policy_has_the_f1_it_claims_and_none_is_better(
    samples: list[tuple[list[float], set[int]]], floor: float | None
) -> None:
    lists = [scores for scores, _ in samples]
    golds = [gold for _, gold in samples]
    tuned = tune(packed(lists), Ragged.from_lists(map(sorted, golds)), TopK(5, floor))
    if not any(golds):
        assert tuned.policy == TopK(5, floor)
        assert tuned.f1 is None
        return
    assert tuned.f1 == pytest.approx(micro_f1(lists, golds, tuned.policy))
    assert tuned.policy.min_score == floor
    best = max(micro_f1(lists, golds, policy) for policy in candidates(lists, floor))
    assert tuned.f1 >= best - 1e-12


def micro_f1(lists: list[list[float]], golds: list[set[int]], policy: Policy) -> float:
    answers = [set(reference(scores, policy)) for scores in lists]
    tp = sum(len(answer & gold) for answer, gold in zip(answers, golds, strict=True))
    total = sum(len(answer) + len(gold) for answer, gold in zip(answers, golds, strict=True))
    return 2 * tp / total


def test_ties_go_to_the_simpler_and_smaller_policy() -> None:
    tuned = tune(packed([[5.0, 0.0], [4.0, 0.0]]), Ragged.from_lists([[0], [0]]), TopK(5))
    assert tuned.policy == TopK(1)
    assert tuned.f1 == 1.0


def test_tuning_finds_a_threshold_where_sizes_differ() -> None:
    lists = [[9.0, 8.0, 1.0], [1.0, 1.5, 2.0], [9.5, 0.5, 0.1]]
    tuned = tune(packed(lists), Ragged.from_lists([[0, 1], [], [0]]), TopK(5))
    assert isinstance(tuned.policy, Threshold)
    assert tuned.f1 == 1.0
    record = tuned_record(tuned, tuned, 3)
    assert policies_from_record(msgspec.json.decode(msgspec.json.encode(record))) == Policies(
        tuned.policy, tuned.policy
    )


# --- Scores without a zero, such as cosines

COSINES = st.lists(
    st.one_of(
        st.sampled_from([-1.0, -0.25, 0.0, 0.25, 1.0, 5e-324, -5e-324, 2.3e-308]),
        st.floats(-1, 1),
        st.floats(0.25, 0.375, width=32),
    ),
    max_size=12,
)


@given(
    st.lists(COSINES, max_size=6),
    st.one_of(
        st.builds(TopK, st.integers(1, 6), st.none()),
        st.builds(Threshold, st.sampled_from([-1.0, -0.1, 0.0, 0.25]), st.none()),
        st.builds(Relative, st.sampled_from([0.01, 0.9, 1.0]), st.none()),
        st.builds(Gap, st.integers(1, 6), st.none()),
    ),
)
def test_cosines_are_selected_by_the_definition(lists: list[list[float]], policy: Policy) -> None:
    selected = select(packed(lists), policy).to_lists()
    for scores, chosen in zip(lists, selected, strict=True):
        assert chosen == reference(scores, policy)
        match policy:
            case TopK(k=k):
                assert len(chosen) == min(k, len(scores))
            case Gap(max_k=max_k):
                assert min(1, len(scores)) <= len(chosen) <= max_k
            case Relative():
                assert bool(chosen) == (max(scores, default=0.0) > 0)


@given(st.lists(COSINES, min_size=1, max_size=5), st.data())
def test_tuning_on_cosines_is_at_least_as_good_as_a_search_by_hand(
    lists: list[list[float]], data: st.DataObject
) -> None:
    golds = [
        data.draw(st.sets(st.integers(0, len(scores) - 1))) if scores else set() for scores in lists
    ]
    tuned = tune(packed(lists), Ragged.from_lists(map(sorted, golds)), TopK(1, None))
    if tuned.f1 is None:
        assert not any(golds)
        return
    assert tuned.policy.min_score is None
    assert tuned.f1 == micro_f1(lists, golds, tuned.policy)
    assert tuned.f1 >= max(micro_f1(lists, golds, policy) for policy in candidates(lists, None))


def test_thresholds_are_fine_where_few_of_many_scores_match() -> None:
    rng = np.random.default_rng(0)
    lists, golds = [], []
    for n_gold in rng.integers(0, 3, size=60):
        scores = rng.uniform(-0.1, 0.25, size=200)
        gold = np.sort(rng.choice(200, n_gold, replace=False))
        scores[gold] = rng.uniform(0.26, 0.3, size=n_gold)
        lists.append(scores.tolist())
        golds.append(gold.tolist())
    tuned = tune(packed(lists), Ragged.from_lists(golds), TopK(1, None))
    assert isinstance(tuned.policy, Threshold)
    assert tuned.f1 is not None
    assert tuned.f1 > 0.9  # of 12,000 scores about 60 match: a hundredth of them is twice too much


def test_micro_f1_is_that_of_tuning() -> None:
    scores, gold = packed([[0.3, -0.2, 0.1], [-0.5, -0.4], []]), Ragged.from_lists([[0], [1], []])
    tuned = tune(scores, gold, TopK(2, None))
    assert selection_f1(scores, gold, tuned.policy) == tuned.f1
    assert selection_f1(scores, gold, TopK(2, None)) == pytest.approx(4 / 6)
    assert selection_f1(scores, Ragged.from_lists([[], [], []]), TopK(2, None)) is None


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (TopK(5), "top 5"),
        (Threshold(0.25731), "scores from 0.257"),
        (Threshold(-1.5, None), "scores from -1.5"),
        (Relative(0.8), "scores from 80% of the highest"),
        (Gap(8, None), "down to the largest drop in the top 8"),
    ],
)
def test_policies_in_words(policy: Policy, words: str) -> None:
    assert described(policy) == words


# --- Options


@pytest.mark.parametrize(
    ("options", "policies"),
    [
        ({}, Policies(TopK(5), TopK(1))),
        ({"policy": "tuned", "k": 3}, Policies(TopK(3), TopK(1))),
        ({"policy": "threshold", "threshold": 2.0}, Policies(Threshold(2.0), Threshold(2.0))),
        (
            {"policy": "relative", "ratio": 0.5, "ratio_img": 0.9},
            Policies(Relative(0.5), Relative(0.9)),
        ),
        ({"policy": "gap", "k_img": 2}, Policies(Gap(5), Gap(2))),
    ],
)
def test_policies_of_options(options: dict[str, Any], policies: Policies) -> None:
    assert policies_of(SelectionOptions(**options)) == policies


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"policy": "threshold"}, "option threshold"),
        ({"policy": "relative", "threshold": 1.0}, "option threshold"),
        ({"ratio": 0.5}, "option ratio"),
        ({"policy": "gap", "ratio_img": 0.5}, "option ratio"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        policies_of(SelectionOptions(**options))


def test_a_record_of_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="selection"):
        policies_from_record({"size": 3})
