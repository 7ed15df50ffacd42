"""Groupings beside turns, kind and language: dispersion, position, meta, edges, crossings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import ffr_eval
from ffr_eval.benchmark import (
    Benchmark,
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_eval.errors import InputError
from ffr_eval.places import places_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Made = Callable[..., Benchmark]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A benchmark of queries ``(gold utterances, gold images, meta)`` on one dialogue of 12 turns.

    Utterance ids count down from 110 by ten; turns 3 and 9 show images 7 and 2.
    """

    def make(queries: list[tuple[list[int], list[int], dict[str, Any]]], **more: Any) -> Benchmark:
        images = {3: (7,), 9: (2,)}
        turns = tuple(
            TurnRecord(110 - 10 * place, "A", "x", images.get(place, ())) for place in range(12)
        )
        with BenchmarkWriter(tmp_path / "made", InfoRecord(name="made")) as writer:
            pictures = (ImageRecord(7), ImageRecord(2))
            writer.add_dialogue(DialogueRecord("d", turns, pictures, meta=more.get("meta")))
            for number, (utts, imgs, meta) in enumerate(queries):
                record = QueryRecord(f"s{number}", "d", "q", tuple(utts), tuple(imgs), meta=meta)
                writer.add_query(record)
        return read_benchmark(tmp_path / "made")

    return make


def turn(place: int) -> int:
    return 110 - 10 * place


def groups(benchmark: Benchmark, by: str, **more: Any) -> dict[str, int]:
    scores = ffr_eval.score({}, benchmark, group_by=[by], **more)
    return {name: group.n_samples for name, group in scores.groups[by].items()}


def test_places_are_turns_of_the_dialogue_whatever_the_ids(made: Made) -> None:
    benchmark = made([([turn(0), turn(11)], [2, 7], {}), ([], [], {})])
    scores = ffr_eval.score({"s0": ([turn(4), 999, turn(4)], [2, 5])}, benchmark)
    for protocol in ("strict", "official"):
        scores = ffr_eval.score(
            {"s0": ([turn(4), 999, turn(4)], [2, 5])}, benchmark, protocol=protocol
        )
        places = places_of(scores.table)
        assert places.gold_utterance.to_lists() == [[11, 0], []]  # gold ids stand sorted
        assert places.predicted_utterance.to_lists() == [[4, -1, 4], []]
        assert places.gold_image.to_lists() == [[9, 3], []]
        assert places.predicted_image.to_lists() == [[9, -1], []]
        assert places.gold.to_lists() == [[0, 3, 9, 11], []]
        assert places.predicted.to_lists() == [[4, 9], []]


def test_dispersion_is_the_span_over_the_number_of_gold_turns(made: Made) -> None:
    golds = [
        ([turn(5)], []),  # 1
        ([turn(5), turn(6)], []),  # 1: the span is as long as the gold
        ([turn(5), turn(7)], []),  # 1.5
        ([turn(0)], [2]),  # turns 0 and 9: 5
        ([turn(0), turn(11)], []),  # 6
        ([], [7]),  # 1
        ([], []),
    ]
    by = groups(made([(*gold, {}) for gold in golds]), "dispersion")
    # Quartiles of 1, 1, 1, 1.5, 5, 6: 1, 1.25, 4.125.
    assert by == {"q1": 3, "q3": 1, "q4": 2, "no gold": 1}


def test_position_is_the_third_of_the_mean_gold_turn(made: Made) -> None:
    golds = [
        ([turn(0)], []),
        ([turn(3)], []),
        ([turn(4)], []),
        ([turn(0), turn(11)], []),  # in the middle on average
        ([turn(8)], []),
        ([turn(11)], [2]),
        ([], []),
    ]
    benchmark = made([(*gold, {}) for gold in golds])
    assert groups(benchmark, "position") == {"start": 2, "middle": 2, "end": 2, "no gold": 1}
    assert groups(benchmark, "position(2)") == {"1/2": 3, "2/2": 3, "no gold": 1}
    assert groups(benchmark, "position", protocol="official") == groups(benchmark, "position")


def test_edges_of_turns_are_a_parameter(made: Made) -> None:
    benchmark = made([([turn(0)], [], {})])
    for by, name in {
        "turns": "short",
        "turns(12,20)": "12-19",
        "turns(11, 12, 13)": "12",
        "turns(12)": ">=12",
        "turns(13)": "<13",
    }.items():
        assert groups(benchmark, by) == {name: 1}, by


def test_any_meta_field_of_query_or_dialogue(made: Made) -> None:
    metas = [{"topic": "a"}, {"topic": "b", "n": 1}, {"n": [1, 2]}, {"from": "query"}]
    benchmark = made(
        [([turn(0)], [], meta) for meta in metas], meta={"from": "dialogue", "room": "x"}
    )
    assert groups(benchmark, "meta.topic") == {"(none)": 2, "a": 1, "b": 1}
    assert groups(benchmark, "meta.n") == {"(none)": 2, "1": 1, "[1,2]": 1}
    assert groups(benchmark, "meta.from") == {"dialogue": 3, "query": 1}
    assert groups(benchmark, "meta.room") == {"x": 4}


def test_two_groupings_cross_and_empty_cells_are_left_out(made: Made) -> None:
    benchmark = made(
        [
            ([turn(0)], [], {"topic": "a"}),
            ([turn(11)], [2], {"topic": "a"}),
            ([turn(11)], [], {"topic": "b"}),
        ]
    )
    assert groups(benchmark, "meta.topic*position") == {"a*start": 1, "a*end": 1, "b*end": 1}
    crossed = ffr_eval.score({"s1": ([turn(11)], [2])}, benchmark, group_by=["kind*meta.topic"])
    group = crossed.groups["kind*meta.topic"]["multimodal*a"]
    assert group.micro.joint is not None
    assert group.micro.joint.f1 == 1.0


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("turn", r"unknown grouping 'turn'\n.*did you mean 'turns'"),
        ("meta.topci", r"no sample has meta.topci\n.*did you mean 'topic'"),
        ("turns*kind*language", "crosses 3 groupings"),
        ("turns*nothing", "unknown grouping 'nothing'"),
        ("kind(2)", "kind takes no parameters"),
        ("position(1)", "at least 2 parts"),
        ("position(2,3)", "position takes one parameter"),
        ("turns(20,10)", "do not rise"),
        ("turns(0)", "do not rise"),
        ("turns(a)", "whole numbers"),
        ("turns()", "whole numbers"),
        ("", "unknown grouping ''"),
    ],
)
def test_a_wrong_grouping_is_refused_with_what_to_do(made: Made, by: str, message: str) -> None:
    benchmark = made([([turn(0)], [], {"topic": "a"})])
    with pytest.raises(InputError, match=message):
        groups(benchmark, by)


def test_groups_of_other_values_never_fall_together(made: Made) -> None:
    values = [("x*y", "z"), ("x", "y*z"), ("1", "p"), (1, "p"), ("(none)", "p"), (None, "p")]
    metas = [{"a": a, "b": b} for a, b in values] + [{"b": "p"}]
    benchmark = made([([turn(0)], [], meta) for meta in metas])
    alone = groups(benchmark, "meta.a")
    assert alone == {'"(none)"': 1, '"1"': 1, "(none)": 1, "1": 1, "null": 1, "x": 1, "x*y": 1}
    crossed = groups(benchmark, "meta.a*meta.b")
    assert set(crossed.values()) == {1}
    assert len(crossed) == 7
    assert {'"x*y"*z', 'x*"y*z"'} <= set(crossed)


def test_a_crossing_of_many_values_names_only_what_occurs(made: Made) -> None:
    metas = [{"a": str(i), "b": str(-i)} for i in range(60)]
    benchmark = made([([turn(0)], [], meta) for meta in metas])
    assert len(groups(benchmark, "meta.a*meta.b")) == 60
