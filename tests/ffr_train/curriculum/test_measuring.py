"""F1 and entropy of runs, and runs that are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ffr_eval.benchmark import read_benchmark
from ffr_eval.errors import FfrError, InputError
from ffr_eval.markup import answer_text
from ffr_eval.runs import BenchmarkRef
from ffr_eval.types import Outcome, Prediction
from ffr_train.curriculum.levels import LEVELS, UNKNOWN
from ffr_train.curriculum.measuring import measure

from .conftest import GOLD, answered, failed, right

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENTROPIES = {"a#0": 1.0, "a#1": 2.0, "b#0": 3.0, "b#1": 4.0}


def measured(path: Path, benchmark: Path, rule: Any = "eq4", split: str | None = "train") -> Any:
    return measure(path, read_benchmark(benchmark), split, rule)


def test_f1_is_the_mean_of_the_modalities(write_run: Callable[..., Path], benchmark: Path) -> None:
    predictions = [
        answered("a#0", answer_text([1, 2, 7], [])),  # 0.8 and 0
        answered("a#1", answer_text([], []), outcome=Outcome.EMPTY),  # both empty: 1 and 1
        answered("b#0", answer_text([3, 3, 4, 99], [])),  # 2/3 (99 is invented) and 1
        answered("b#1", f"I think: {answer_text([0], [])}"),  # read strictly: nothing
    ]
    found = measured(write_run(predictions), benchmark).difficulty
    assert found.sample_id == list(GOLD)
    np.testing.assert_allclose(found.f1, [0.4, 1.0, (2 / 3 + 1) / 2, 0.0], rtol=1e-15)


def test_what_counts_as_wrong(write_run: Callable[..., Path], benchmark: Path) -> None:
    """Silence is right on a negative query only if it is the explicit empty answer."""
    predictions = [
        answered("a#0", answer_text([1, 2], [0]), outcome=Outcome.TRUNCATED),
        answered("a#1", "nothing matches", outcome=Outcome.PARSE_ERROR),
        answered("b#0", answer_text([3, 4, 5], [9])),
        answered("b#1", answer_text([0], [])),
    ]
    found = measured(write_run(predictions), benchmark)
    assert found.difficulty.f1.tolist() == [0.0, 0.0, 0.5, 1.0]
    assert "1 answers were cut off" in " ".join(found.notes)


def test_levels_and_kinds(write_run: Callable[..., Path], benchmark: Path) -> None:
    predictions = right(ENTROPIES)
    predictions[0] = answered("a#0", "no", 1.0)
    predictions[3] = answered("b#1", "no", 4.0)
    found = measured(write_run(predictions), benchmark).difficulty
    assert found.entropy.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert found.entropy_kind == ["full"] * 4
    # quartiles: F1 0, 0.5, 1; entropy 1.75, 2.5, 3.25
    assert [LEVELS[code] for code in found.level] == ["hard", "medium", "medium", "confusing"]


def test_released_is_another_entropy(write_run: Callable[..., Path], benchmark: Path) -> None:
    long = {"token_logprobs": [-0.1] * 9, "entropy": [0.0] * 9, "entropy_kind": "full"}
    predictions = right(ENTROPIES)
    predictions[0] = answered("a#0", answer_text(*GOLD["a#0"]), logprobs=long)
    found = measured(write_run(predictions), benchmark, "released").difficulty
    assert found.entropy_kind == ["released"] * 4
    assert found.entropy[0] == pytest.approx(np.log(9))
    assert LEVELS[found.level[0]] == "hard"  # long, so "uncertain", though right


def test_samples_without_an_answer(write_run: Callable[..., Path], benchmark: Path) -> None:
    predictions = right(ENTROPIES)
    predictions[1] = failed("a#1")
    predictions[2] = failed("b#0", Outcome.CONTEXT_OVERFLOW)
    found = measured(write_run(predictions), benchmark)
    assert np.isnan(found.difficulty.f1).tolist() == [False, True, True, False]
    assert np.isnan(found.difficulty.entropy).tolist() == [False, True, True, False]
    assert found.difficulty.level[1:3].tolist() == [UNKNOWN, UNKNOWN]
    assert found.failed == 1
    notes = " ".join(found.notes)
    assert "2 samples without an answer" in notes
    assert "1 request_error, 1 context_overflow" in notes


def test_all_tokens_of_windows(write_run: Callable[..., Path], benchmark: Path) -> None:
    def step(number: int, text: str, entropy: float, n: int) -> dict[str, Any]:
        logprobs = {
            "token_logprobs": [-0.5] * n,
            "entropy": [entropy] * n,
            "entropy_kind": "full",
        }
        return {
            "window": number, "merge": "union", "shown_utt_ids": [3, 4, 5], "shown_img_ids": [],
            "response": text, "outcome": "ok", "logprobs": logprobs,
        }  # fmt: skip

    steps = (step(0, answer_text([3], []), 1.0, 3), step(1, answer_text([4, 5], []), 5.0, 1))
    predictions = right(ENTROPIES)
    predictions[2] = Prediction("b#0", Outcome.OK, steps=steps)
    found = measured(write_run(predictions), benchmark).difficulty
    assert found.f1[2] == 1.0
    assert found.entropy[2] == 2.0


def test_the_last_prediction_of_a_sample_counts(
    write_run: Callable[..., Path], benchmark: Path
) -> None:
    predictions = [failed("a#0"), *right(ENTROPIES)]
    found = measured(write_run(predictions), benchmark)
    assert found.failed == 0
    assert found.difficulty.f1.tolist() == [1.0] * 4
    assert "F1 1.000" in " ".join(found.notes)  # the thresholds of F1 are one


def test_some_answers_without_log_probabilities(
    write_run: Callable[..., Path], benchmark: Path
) -> None:
    found = measured(write_run(right(ENTROPIES | {"b#1": None})), benchmark)
    assert found.difficulty.f1[3] == 1.0
    assert found.difficulty.level[3] == UNKNOWN
    assert "1 answers have no log-probabilities" in " ".join(found.notes)


def refused(path: Path, benchmark: Path, split: str | None = "train") -> Any:
    with pytest.raises(InputError) as caught:
        measured(path, benchmark, split=split)
    return caught.value.problem


def test_a_run_without_log_probabilities(write_run: Callable[..., Path], benchmark: Path) -> None:
    path = write_run(right(dict.fromkeys(GOLD)), options={"model": "m", "adapter": "out/my sft"})
    problem = refused(path, benchmark)
    assert "no log-probabilities" in problem.message
    command = f"ffr run hf {benchmark} -o model=m -o 'adapter=out/my sft' --split train --logprobs"
    assert command in (problem.remedy or "")


def test_a_run_of_another_benchmark(write_run: Callable[..., Path], benchmark: Path) -> None:
    other = BenchmarkRef("other", "1", "sha256:0", "elsewhere")
    problem = refused(write_run(right(ENTROPIES), benchmark=other), benchmark)
    assert "made on other sha256:0" in problem.message
    assert f"ffr run hf {benchmark} -o model=some/model" in (problem.remedy or "")


def test_a_run_of_another_split(write_run: Callable[..., Path], benchmark: Path) -> None:
    path = write_run(right(ENTROPIES))
    assert "made on split 'train'" in refused(path, benchmark, "test").message
    assert "asked for are all samples" in refused(path, benchmark, None).message


def test_a_run_of_all_samples_serves_a_split(
    write_run: Callable[..., Path], benchmark: Path
) -> None:
    path = write_run([*right(ENTROPIES), answered("b#2", answer_text([1], []))], split=None)
    assert measured(path, benchmark).difficulty.sample_id == list(GOLD)


def test_a_run_that_is_not_complete(write_run: Callable[..., Path], benchmark: Path) -> None:
    problem = refused(write_run(right({"a#0": 1.0, "b#0": 1.0})), benchmark)
    assert "2 of 4 samples have no prediction" in problem.message
    assert "goes on with the run" in (problem.remedy or "")
    limited = refused(write_run(right({"a#0": 1.0}), "limited", limit=1), benchmark)
    assert "limited to 1" in limited.message
    assert "--logprobs" in (limited.remedy or "")


def test_a_run_without_any_answer(write_run: Callable[..., Path], benchmark: Path) -> None:
    path = write_run([failed(name) for name in GOLD])
    with pytest.raises(FfrError, match="no sample has an answer"):
        measured(path, benchmark)


def test_what_is_no_run(tmp_path: Path, benchmark: Path) -> None:
    assert "no such file" in refused(tmp_path, benchmark).message
