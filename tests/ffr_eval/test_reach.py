"""What of the gold reached the model: the metric, the line and the JSON of ``ffr score``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import ffr_eval
from ffr_eval import plugins
from ffr_eval.markup import answer_text
from ffr_eval.metrics.builtin import REACHABLE_RECALL
from ffr_eval.types import Fragment, Outcome, Prediction
from ffr_eval.uncertainty import Resampling, intervals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from ffr_eval.scoring import Scores


def prediction(sample_id: str, outcome: str = "ok", **more: Any) -> Prediction:
    return Prediction(sample_id, Outcome(outcome), Fragment((0,), ()), **more)


def reached(sample_id: str, utts: Iterable[int], imgs: Iterable[int] | None) -> Prediction:
    return prediction(
        sample_id,
        reached_utt_ids=tuple(utts),
        reached_img_ids=None if imgs is None else tuple(imgs),
    )


@pytest.fixture
def scored(lengths: Path) -> Callable[..., Scores]:
    """Scores on all five samples: gold 1 2 / 0, nothing, 3 4 5, image 0, and 69 (``lengths``)."""

    def score(*predictions: Prediction, **more: Any) -> Scores:
        return ffr_eval.score(predictions, lengths, metrics=(), **more)

    return score


def value(scores: Scores, average: str = "micro", modality: str = "joint") -> float | None:
    return REACHABLE_RECALL.metric(average, modality).of(scores.evaluation)


# --- the metric ----------------------------------------------------------------------------------


def test_the_share_of_gold_that_reached_the_model(scored: Callable[..., Scores]) -> None:
    scores = scored(
        reached("a#0", range(2), (1,)),  # utterance 1 of 1 2, no gold image
        reached("a#1", range(10), (0, 1)),
        reached("b#0", [3, 3, 5, 77], ()),  # 2 of 3
        prediction("c#0", reached_img_ids=(0,)),
    )
    # c#1 is missing, which counts as reached: 1 + 2 + 1 of 6 utterances, 1 of 2 images.
    assert value(scores, modality="utterance") == 4 / 6
    assert value(scores, modality="image") == 0.5
    assert value(scores) == 2 * (4 / 6) * 0.5 / (4 / 6 + 0.5)
    # Of each sample; without gold it is right to find nothing, without images nothing counts.
    assert value(scores, "macro", "utterance") == pytest.approx((0.5 + 1 + 2 / 3 + 1 + 1) / 5)
    assert value(scores, "macro", "image") == (0 + 1 + 1 + 1) / 4
    assert value(scores, "macro") == pytest.approx((0 + 1 + 2 / 3 + 1 + 1) / 5)


def test_nothing_said_is_everything_reached(scored: Callable[..., Scores]) -> None:
    scores = scored(prediction("a#0"), prediction("b#0", "request_error"))
    assert scores.table.reached_gold is None
    assert (value(scores), value(scores, "macro")) == (1.0, 1.0)
    assert scores.reach is None
    assert scores.to_dict()["reach"] is None


def test_it_bounds_the_recall_of_what_was_shown(scored: Callable[..., Scores]) -> None:
    """A perfect answer within what reached the model has just this recall."""
    shown = {"a#0": ((1,), (0,)), "b#0": ((3, 4), ()), "c#0": ((), ()), "c#1": ((69,), ())}
    answers = [
        Prediction(
            name, Outcome.OK, Fragment(utts, imgs), reached_utt_ids=utts, reached_img_ids=imgs
        )
        for name, (utts, imgs) in shown.items()
    ]
    scores = scored(Prediction("a#1", Outcome.EMPTY, Fragment()), *answers)
    for average in ("micro", "macro"):
        for modality in ("utterance", "image", "joint"):
            recall = scores.metric(f"{average}.{modality}.recall")
            assert value(scores, average, modality) == recall, (average, modality)


@pytest.mark.parametrize("protocol", ["strict", "official"])
def test_it_is_undefined_without_gold(scored: Callable[..., Scores], protocol: str) -> None:
    scores = scored(reached("a#1", (), ()), reached("c#1", (), ()), protocol=protocol, split="dev")
    assert value(scores, modality="image") is None
    assert value(scores, modality="utterance") == value(scores) == 0.0


def test_what_did_not_fit_did_not_reach_the_model(scored: Callable[..., Scores]) -> None:
    for more in ({}, {"reached_utt_ids": (3, 4, 5), "reached_img_ids": ()}):
        scores = scored(prediction("b#0", "context_overflow", **more))
        assert value(scores, modality="utterance") == 3 / 6
        assert value(scores, modality="image") == 1.0


def test_a_window_that_did_not_fit_was_not_read(scored: Callable[..., Scores]) -> None:
    def step(number: int, utts: range, **more: Any) -> dict[str, Any]:
        return {
            "window": number,
            "merge": "union",
            "shown_utt_ids": list(utts),
            "shown_img_ids": [],
            "response": answer_text([], []),
            "outcome": "ok",
        } | more

    over: dict[str, Any] = {"response": None, "outcome": "context_overflow"}
    steps = (step(0, range(4)), step(1, range(3, 6), **over))
    for more, expected in (({}, 1), ({"reached_utt_ids": (4, 5)}, 0)):
        given = Prediction("b#0", Outcome.EMPTY, steps=steps, **more)
        found = scored(given).table.reached_gold
        assert found is not None
        assert found.utterance.tolist()[2] == expected
    both = (step(0, range(4)), step(1, range(3, 6)))
    assert scored(Prediction("b#0", Outcome.EMPTY, steps=both)).table.reached_gold is None


def test_it_has_groups_and_intervals(scored: Callable[..., Scores]) -> None:
    scores = scored(reached("a#0", (1,), ()), reached("c#1", (), ()))
    metric = REACHABLE_RECALL.metric("micro", "utterance")
    rows = np.array([0, 4])
    assert metric.of(scores.evaluation, rows) == 1 / 3
    assert metric.of(scores.evaluation, np.array([2])) == 1.0
    found = intervals(scores.evaluation, {"x": metric}, resampling=Resampling(200))["x"]
    assert found is not None
    assert found.lo < 4 / 6 < found.hi
    part = scores.table.take(rows)
    assert part.reached_gold is not None
    assert part.reached_gold.utterance.tolist() == [1, 0]


def test_the_floors_are_shown_everything(scored: Callable[..., Scores]) -> None:
    from ffr_eval.floors import floors
    from ffr_eval.metrics.protocols import STRICT_1

    scores = scored(reached("a#0", (), ()))
    metric = REACHABLE_RECALL.metric("micro", "joint")
    assert metric.of(scores.evaluation) != 1
    assert {floor.value for floor in floors(scores.table, STRICT_1, metric)} == {1.0}


def test_it_is_registered(cli: Any) -> None:
    if "reachable_recall" not in plugins.registered(plugins.METRICS):
        pytest.skip("the package is not installed anew yet")
    (line,) = [line for line in cli("metrics").out.splitlines() if "reachable_recall" in line]
    assert "micro, macro" in line
    listed = {metric["name"]: metric for metric in cli("metrics", "--json", "-").json}
    assert listed["reachable_recall"]["better"] == "none"


# --- ffr score -----------------------------------------------------------------------------------


@pytest.fixture
def file(jsonl: Callable[..., Path]) -> Path:
    def line(sample_id: str, **more: Any) -> dict[str, Any]:
        return {"sample_id": sample_id, "utt_ids": [], "img_ids": [], **more}

    return jsonl(
        [
            line("a#0", reached_utt_ids=list(range(10)), reached_img_ids=[0, 1]),
            line("b#0", reached_utt_ids=[3, 4], reached_img_ids=[]),
            line("c#0", outcome="context_overflow"),
        ]
    )


def test_the_json_has_it_over_all_and_by_length(cli: Any, file: Path, lengths: Path) -> None:
    scores = cli("score", file, "--benchmark", lengths, "--split", "test", "--json", "-").json
    assert scores["reach"] == {
        "utterance": 4 / 5,
        "image": 1 / 2,
        "joint": 2 * 0.8 * 0.5 / 1.3,
        "turns": {
            "short": {"utterance": 1.0, "image": 1.0, "joint": 1.0},
            "medium": {"utterance": 2 / 3, "image": None, "joint": 2 / 3},
            "long": {"utterance": None, "image": 0.0, "joint": 0.0},
        },
    }


def test_one_line_tells_what_did_not_reach_the_model(
    cli: Any, file: Path, jsonl: Callable[..., Path], lengths: Path
) -> None:
    options = ("--benchmark", lengths, "--split", "test")
    shown = cli("score", file, *options).out
    line = "reached: 80% of gold utterances, 50% of gold images; by bucket: short 100%,"
    assert f"{line} medium 66.7%, long 0%" in " ".join(shown.split())
    everything = {"reached_utt_ids": list(range(10)), "reached_img_ids": [0, 1]}
    full = jsonl([{"sample_id": "a#0", "utt_ids": [], "img_ids": [], **everything}], "full.jsonl")
    assert "reached" not in cli("score", full, *options).out
    assert cli("score", full, *options, "--json", "-").json["reach"]["joint"] == 1.0


def test_almost_all_is_not_all() -> None:
    from ffr_eval.report.terminal import _share

    assert [_share(share) for share in (1.0, 0.9999, 0.931, 0.0001, 0.0)] == [
        "100%",
        "99.9%",
        "93.1%",
        "0.1%",
        "0%",
    ]
