"""95% intervals of scores: which figures get one, how they are drawn, and what has none."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import ffr_eval
from ffr_eval import Resampling
from ffr_eval.errors import InputError
from ffr_eval.metrics.named import ALL_FIGURES
from tests.ffr_eval.metrics.tasks import make_benchmark

if TYPE_CHECKING:
    from ffr_eval.benchmark import Benchmark

N_DIALOGUES, N_QUERIES = 30, 4


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    rng = random.Random(1)
    dialogues = [(range(20), range(3) if row % 3 else []) for row in range(N_DIALOGUES)]
    queries = []
    for row, (_, images) in enumerate(dialogues):
        for _ in range(N_QUERIES):
            gold = rng.sample(range(20), rng.randint(1, 4))
            queries.append((row, gold, rng.sample(range(3), 1) if len(images) else []))
    return make_benchmark(dialogues, queries)


@pytest.fixture(scope="module")
def predicted(benchmark: Benchmark) -> dict[str, Any]:
    """Better in some dialogues than in others."""
    rng = random.Random(2)
    given = {}
    for sample in benchmark.samples():
        assert sample.gold is not None
        skill = int(sample.dialogue.dialogue_id[1:]) % 4 / 4
        utts = [i if rng.random() < skill else rng.randrange(20) for i in sample.gold.utt_ids]
        given[sample.sample_id] = (sorted(set(utts)), sample.gold.img_ids if skill > 0.3 else ())
    return given


def test_every_figure_has_an_interval_that_holds_it(benchmark: Any, predicted: Any) -> None:
    for method in ("percentile", "bca"):
        resampling = Resampling(1_000, 0, method)
        scores = ffr_eval.score(
            predicted, benchmark, metrics=["exact", "tol_f1(1)"], resampling=resampling
        )
        assert list(scores.ci95) == [*ALL_FIGURES, "exact", "tol_f1(1)"]
        for name, interval in scores.ci95.items():
            value = scores.metric(name)
            assert interval is not None
            assert value is not None
            assert interval.lo <= value <= interval.hi, name
            assert interval.lo < interval.hi or name.endswith("image.precision"), name


def test_it_is_what_resampling_dialogues_by_hand_gives(benchmark: Any, predicted: Any) -> None:
    """Draw dialogues, score their samples again as they stand, take the quantiles."""
    scores = ffr_eval.score(predicted, benchmark, resampling=Resampling(2_000))
    rng = np.random.default_rng(5)
    dialogue_ids = np.array(scores.table.dialogue_id)
    rows_of = [np.flatnonzero(dialogue_ids == name) for name in sorted(set(dialogue_ids))]
    drawn: dict[str, list[float]] = {"micro.joint.f1": [], "macro.utterance.precision": []}
    for _ in range(1_000):
        rows = np.concatenate([rows_of[i] for i in rng.integers(0, len(rows_of), len(rows_of))])
        micro, macro = scores.evaluation.micro(rows).joint, scores.evaluation.macro(rows).utterance
        assert micro is not None
        assert macro.precision is not None
        drawn["micro.joint.f1"].append(micro.f1)
        drawn["macro.utterance.precision"].append(macro.precision)
    for name, values in drawn.items():
        interval = scores.ci95[name]
        assert interval is not None
        error = 0.4 * np.std(values)  # four times that of the two quantiles
        assert interval.lo == pytest.approx(np.quantile(values, 0.025), abs=error)
        assert interval.hi == pytest.approx(np.quantile(values, 0.975), abs=error)


def test_groups_draw_their_own_dialogues(benchmark: Any, predicted: Any) -> None:
    scores = ffr_eval.score(
        predicted, benchmark, group_by=["kind"], metrics=["exact"], resampling=Resampling(500)
    )
    for name, group in scores.groups["kind"].items():
        assert list(group.ci95) == ["micro.joint.f1", "exact"], name
        interval, joint = group.ci95["micro.joint.f1"], group.micro.joint
        assert interval is not None
        assert joint is not None
        assert interval.lo < joint.f1 < interval.hi
    alone = {
        name: answer
        for name, answer in predicted.items()
        if int(benchmark.sample(benchmark.row_of(name)).dialogue.dialogue_id[1:]) % 3 == 0
    }
    rows = np.flatnonzero(scores.table.kind == "utterance")
    assert [scores.table.sample_id[row] for row in rows] == list(alone)


def test_seeds_and_the_order_of_predictions(benchmark: Any, predicted: Any) -> None:
    def interval(given: Any, seed: int) -> Any:
        scores = ffr_eval.score(given, benchmark, resampling=Resampling(300, seed))
        return scores.ci95["micro.joint.f1"]

    shuffled = dict(random.Random(3).sample(sorted(predicted.items()), len(predicted)))
    assert interval(predicted, 0) == interval(predicted, 0) == interval(shuffled, 0)
    assert interval(predicted, 0) != interval(predicted, 1)


def test_one_dialogue_has_no_interval_and_no_nan() -> None:
    benchmark = make_benchmark([([0, 1], [])], [(0, [0], []), (0, [1], [])])
    scores = ffr_eval.score({"s0": ([0], [])}, benchmark, resampling=Resampling(100))
    assert set(scores.ci95.values()) == {None}
    assert "NaN" not in json.dumps(scores.to_dict())


def test_what_is_undefined_has_none_and_what_does_not_vary_has_a_point() -> None:
    benchmark = make_benchmark([([0, 1], [])] * 3, [(row, [0], []) for row in range(3)])
    answers: Any = {f"s{row}": ([0], []) for row in range(3)}
    for method in ("percentile", "bca"):
        scores = ffr_eval.score(answers, benchmark, resampling=Resampling(100, 0, method))
        assert scores.ci95["micro.image.f1"] is None
        interval = scores.ci95["micro.joint.f1"]
        assert interval is not None
        assert (interval.lo, interval.hi) == (1.0, 1.0)


def test_a_joint_figure_of_one_modality_is_no_replicate_of_one_of_two() -> None:
    """One of ten dialogues has images: a third of the resamples have none."""
    dialogues = [(range(4), range(2) if row == 0 else []) for row in range(10)]
    queries = [(row, [0, 1], [0] if row == 0 else []) for row in range(10)]
    benchmark = make_benchmark(dialogues, queries)
    answers: Any = {f"s{row}": ([0, row % 4], []) for row in range(10)}
    scores = ffr_eval.score(answers, benchmark, resampling=Resampling(2_000))
    joint, image = scores.ci95["micro.joint.f1"], scores.ci95["micro.image.f1"]
    assert scores.metric("micro.image.f1") == 0.0
    assert joint is not None
    assert image is not None
    assert joint.undefined == image.undefined == pytest.approx(0.9**10, abs=0.05)
    assert joint.hi <= 0.5  # never the figure of the utterances alone
    assert any("in some resamples of dialogues" in note for note in scores.notes)


def test_windows_and_records_without_a_dialogue(jsonl: Any, inference: Any) -> None:
    from ffr_eval.markup import answer_text

    def clusters(names: list[str | None]) -> int:
        records = []
        for name in names:
            record = inference(answer_text([1], []), ((1,), ()))
            record["dialogue_id"] = name
            records.append(record)
        scores = ffr_eval.score(jsonl(records))
        assert any("dialogues of their own" in note for note in scores.notes) == (None in names)
        return scores.n_dialogues

    assert clusters(["a_split_0", "a_split_1", "b_split_0", "b"]) == 2
    assert clusters(["_split_0", "a_split_x"]) == 2
    assert clusters([None, None, "a"]) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replicates": 0}, "--replicates: 0 replicates"),
        ({"seed": -1}, "--seed: "),
        ({"method": "student"}, "unknown method 'student'"),
    ],
)
def test_wrong_settings_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Resampling(**settings)


def test_score_prints_intervals_unless_told_not_to(cli: Any, answers_file: Any) -> None:
    file, folder = answers_file
    command = ("score", file, "--benchmark", folder, "--replicates", 200)
    shown = cli(*command).out
    assert "dialogues resampled" in shown
    assert cli(*command, "--json", "-").json["resampling"] == {
        "replicates": 200,
        "seed": 0,
        "method": "percentile",
    }
    plain = cli(*command, "--no-ci", "--json", "-").json
    assert plain["ci95"] == {}
    assert plain["resampling"] is None
    assert "resampled" not in cli(*command, "--no-ci").out
    bca = cli(*command, "--interval", "bca", "--json", "-").json
    assert (
        bca["ci95"]["micro.joint.f1"] != cli(*command, "--json", "-").json["ci95"]["micro.joint.f1"]
    )


@pytest.fixture
def answers_file(tmp_path: Any, jsonl: Any) -> Any:
    from ffr_eval.benchmark import (
        BenchmarkWriter,
        DialogueRecord,
        InfoRecord,
        QueryRecord,
        TurnRecord,
    )

    with BenchmarkWriter(tmp_path / "b", InfoRecord(name="b")) as writer:
        turns = tuple(TurnRecord(i, "A", "x") for i in range(20))
        for row in range(6):
            writer.add_dialogue(DialogueRecord(f"d{row}", turns))
            writer.add_query(QueryRecord(f"q{row}", f"d{row}", "q", (row, row + 1), ()))
    records = [
        {"sample_id": f"q{row}", "outcome": "ok", "utt_ids": [row, row * 2 + 1], "img_ids": []}
        for row in range(6)
    ]
    return jsonl(records), tmp_path / "b"
