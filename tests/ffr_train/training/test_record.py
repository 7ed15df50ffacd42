"""What a killed training leaves behind, and where one goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ffr_train.training.record import forget_after, last_checkpoint

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("step", "kept"), [(0, []), (1, [0, 1]), (2, [0, 1, 2]), (9, [0, 1, 2, 3])]
)
def test_lines_after_the_checkpoint_are_dropped(tmp_path: Path, step: int, kept: list[int]) -> None:
    path = tmp_path / "evaluation.jsonl"
    whole = [json.dumps({"step": k}) for k in range(4)]
    path.write_text("\n".join([*whole, '{"step": 4, "f'])[:], encoding="utf-8")
    forget_after(path, step)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == kept


def test_nothing_is_made_where_nothing_was(tmp_path: Path) -> None:
    forget_after(tmp_path / "none.jsonl", 3)
    assert not any(tmp_path.iterdir())


def test_the_last_whole_checkpoint_is_taken(tmp_path: Path) -> None:
    for name, state in (
        ("checkpoint-5", '{"global_step": 5}'),
        ("checkpoint-10", '{"global_step": 10}'),
        ("checkpoint-15", '{"global_st'),
        ("checkpoint-20", None),
        ("checkpoint-old", '{"global_step": 99}'),
    ):
        (tmp_path / name).mkdir()
        if state is not None:
            (tmp_path / name / "trainer_state.json").write_text(state)
    found, broken = last_checkpoint(tmp_path)
    assert found == tmp_path / "checkpoint-10"
    assert broken == ["checkpoint-20", "checkpoint-15"]
    assert last_checkpoint(tmp_path / "nowhere") == (None, [])
