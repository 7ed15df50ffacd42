"""Which samples a pilot keeps, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ffr_eval.benchmark import read_benchmark
from ffr_eval.errors import FfrError, InputError
from ffr_eval.markup import answer_text
from ffr_eval.types import Outcome, Prediction
from ffr_train.curriculum.pilot import Pilot, judge, read_pilot, write
from ffr_train.rewards import read_profile

from .conftest import GOLD, answered, failed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROLLOUTS = (
    # all right; all wrong; different; equal otherwise
    {
        "a#0": answer_text(*GOLD["a#0"]), "a#1": "garbage",
        "b#0": answer_text([3], []), "b#1": answer_text([0, 1], []),
    },
    {
        "a#0": answer_text([2, 1], [0]), "a#1": "more garbage",
        "b#0": answer_text([3, 4, 5], []), "b#1": answer_text([0, 2], []),
    },
)  # fmt: skip


def runs_of(write_run: Callable[..., Path], *rollouts: dict[str, Any]) -> list[Path]:
    return [
        write_run(
            [
                answered(name, given, None) if isinstance(given, str) else given
                for name, given in rollout.items()
            ],
            f"runs/{k}",
        )
        for k, rollout in enumerate(rollouts)
    ]


def judged(runs: list[Path], benchmark: Path, profile: str = "fixed", **more: Any) -> Pilot:
    return judge(runs, read_benchmark(benchmark), "train", read_profile(profile), **more)


def test_groups(write_run: Callable[..., Path], benchmark: Path) -> None:
    found = judged(runs_of(write_run, *ROLLOUTS), benchmark)
    assert found.sample_id == list(GOLD)
    assert found.keep.tolist() == [False, False, True, False]
    flags = {name: rows.tolist() for name, rows in found.groups().items()}
    assert flags == {
        "kept": [False, False, True, False],
        "all right": [True, False, False, False],
        "all wrong": [False, True, False, False],
        "equal otherwise": [False, False, False, True],
    }
    assert "without embeddings, order is left out" in found.notes[0]


def test_the_file(write_run: Callable[..., Path], benchmark: Path, tmp_path: Path) -> None:
    path = tmp_path / "pilot.jsonl"
    found = judged(runs_of(write_run, *ROLLOUTS), benchmark)
    write(found, path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["sample_id"] for line in lines] == list(GOLD)
    assert [line["keep"] for line in lines] == [False, False, True, False]
    third = lines[2]
    assert third["rewards"] == found.rewards[2].tolist()
    assert third["std"] == pytest.approx(abs(third["rewards"][0] - third["rewards"][1]) / 2)
    assert lines[0]["std"] == 0.0
    assert read_pilot(path) == {"a#0": False, "a#1": False, "b#0": True, "b#1": False}


def test_failed_rollouts_are_null(
    write_run: Callable[..., Path], benchmark: Path, tmp_path: Path
) -> None:
    third = dict(ROLLOUTS[1], **{"a#0": failed("a#0"), "a#1": failed("a#1")})
    second = dict(ROLLOUTS[1], **{"a#1": failed("a#1", Outcome.CONTEXT_OVERFLOW)})
    found = judged(runs_of(write_run, ROLLOUTS[0], second, third), benchmark)
    first, other = found.records()[:2]
    assert first.rewards[2] is None
    assert not first.keep  # the two that there are say the same
    assert first.std == 0.0
    assert other.rewards == (0.0, None, None)
    assert other.std is None
    assert other.keep  # one says nothing
    assert found.groups()["all right"].tolist()[0]
    notes = " ".join(found.notes)
    assert "3 of 12 rollouts failed" in notes
    assert "1 samples have fewer than two rewards" in notes
    path = tmp_path / "pilot.jsonl"
    write(found, path)
    assert '"rewards":[0.0,null,null],"std":null,"keep":true' in path.read_text()


def test_answers_of_windows_are_one_answer(write_run: Callable[..., Path], benchmark: Path) -> None:
    def step(number: int, utt_ids: list[int]) -> dict[str, Any]:
        return {
            "window": number, "merge": "union", "shown_utt_ids": [3, 4, 5], "shown_img_ids": [],
            "response": answer_text(utt_ids, []), "outcome": "ok",
        }  # fmt: skip

    whole = Prediction("b#0", Outcome.OK, steps=(step(0, [3]), step(1, [4, 5])))
    cut = Prediction(
        "b#1", Outcome.TRUNCATED, steps=({**step(0, []), "response": "x", "outcome": "truncated"},)
    )
    rollout = dict(ROLLOUTS[0], **{"b#0": whole, "b#1": cut})
    found = judged(runs_of(write_run, rollout, ROLLOUTS[1]), benchmark)
    assert found.f1[2].tolist() == [1.0, 1.0]
    assert found.f1[3, 0] == 0.0


def test_profiles_differ(write_run: Callable[..., Path], benchmark: Path) -> None:
    runs = runs_of(write_run, *ROLLOUTS)
    fixed, paper = (judged(runs, benchmark, name) for name in ("fixed", "paper"))
    assert paper.profile.name == "paper"
    assert not np.array_equal(fixed.rewards, paper.rewards)


def test_embeddings_bring_coherence_in(
    write_run: Callable[..., Path], benchmark: Path, tmp_path: Path
) -> None:
    runs = runs_of(write_run, *ROLLOUTS)
    rng = np.random.default_rng(0)
    vectors = tmp_path / "vectors"
    vectors.mkdir()
    for name in ("a", "b"):
        keys = [*(f"u{i}" for i in range(8)), *(["i0"] if name == "a" else [])]
        np.savez(vectors / f"{name}.npz", **{key: rng.normal(size=4) + 1.0 for key in keys})
    without = judged(runs, benchmark)
    found = judged(runs, benchmark, embeddings=str(vectors))
    assert not any("left out" in note for note in found.notes)
    assert (found.rewards[0] > without.rewards[0]).all()


def test_equal_up_to_rounding() -> None:
    rewards = np.array([[0.1 + 0.2, 0.3], [0.3, 0.3001]])
    found = Pilot(["a", "b"], read_profile("fixed"), rewards, rewards)
    assert found.keep.tolist() == [False, True]


def test_refused(write_run: Callable[..., Path], benchmark: Path, tmp_path: Path) -> None:
    part = {name: text for name, text in ROLLOUTS[0].items() if name != "b#0"}
    with pytest.raises(InputError, match="1 of 4 samples have no prediction"):
        judged(runs_of(write_run, ROLLOUTS[0], part), benchmark)
    nothing = {name: failed(name) for name in GOLD}
    gone = [write_run(list(nothing.values()), f"none/{k}") for k in range(2)]
    with pytest.raises(FfrError, match="no rollout has an answer"):
        judged(gone, benchmark)
    odd = tmp_path / "odd.jsonl"
    odd.write_text('{"sample_id": "a", "rewards": [], "std": null}\n')
    with pytest.raises(InputError) as caught:
        read_pilot(odd)
    assert caught.value.problem.field == "keep"
    odd.write_text("")
    with pytest.raises(InputError, match="no records"):
        read_pilot(odd)
