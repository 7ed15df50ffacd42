"""The file keeps what is written, and says where it is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ffr_eval.errors import InputError
from ffr_train.curriculum.difficulty_file import Difficulty, read, write
from ffr_train.curriculum.levels import UNKNOWN, assign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def line(sample_id: str = "a", **more: Any) -> dict[str, Any]:
    entries = {"f1": 0.5, "entropy": 0.25, "entropy_kind": "full", "level": "medium"}
    return {"sample_id": sample_id, **entries, **more}


def made(n: int = 200) -> Difficulty:
    rng = np.random.default_rng(3)
    f1, entropy = rng.integers(0, 6, n) / 5, rng.gamma(2.0, 0.1, n)
    f1[:3] = entropy[:3] = np.nan
    kinds = [None] * 3 + ["full"] * (n - 3)
    return Difficulty([f"d{i} ü#0" for i in range(n)], f1, entropy, kinds, assign(f1, entropy))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    wanted, path = made(), tmp_path / "difficulty.jsonl"
    write(wanted, path)
    found = read(path)
    assert found.sample_id == wanted.sample_id
    assert found.entropy_kind == wanted.entropy_kind
    np.testing.assert_array_equal(found.f1, wanted.f1)
    np.testing.assert_array_equal(found.entropy, wanted.entropy)  # to the last bit
    np.testing.assert_array_equal(found.level, wanted.level)
    np.testing.assert_array_equal(assign(found.f1, found.entropy), found.level)
    keys = {tuple(json.loads(text)) for text in path.read_text().splitlines()}
    assert keys == {("sample_id", "f1", "entropy", "entropy_kind", "level")}
    assert json.loads(path.read_text().splitlines()[0])["level"] is None


def test_levels_of_samples(tmp_path: Path, jsonl: Callable[..., Path]) -> None:
    found = read(jsonl([line("a", level="hard"), line("b", level=None, entropy=None)]))
    assert found.levels_of(["b", "a", "new", "a"]).tolist() == [UNKNOWN, 3, UNKNOWN, 3]


def test_blank_lines_do_not_matter(jsonl: Callable[..., Path]) -> None:
    assert len(read(jsonl([line("a"), "", line("b")]))) == 2


@pytest.mark.parametrize(
    ("lines", "place", "field", "text"),
    [
        ([line("a"), line("b", level="middle")], 2, "level", "Invalid enum value 'middle'"),
        ([line("a"), {"sample_id": "b"}], 2, "f1", "missing"),
        ([line("a"), "{"], 2, None, "truncated"),
        ([line("a", f1="x")], 1, "f1", "Expected"),
        ([line("a"), line("b"), line("a")], 3, "sample_id", "'a' stands twice"),
    ],
)
def test_wrong_lines(
    jsonl: Callable[..., Path], lines: list[Any], place: int, field: str | None, text: str
) -> None:
    path = jsonl(lines)
    with pytest.raises(InputError) as caught:
        read(path)
    problem = caught.value.problem
    assert (problem.file, problem.line, problem.field) == (str(path), place, field)
    assert text in problem.message
    assert problem.remedy


def test_no_file_and_no_records(tmp_path: Path, jsonl: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="no records"):
        read(jsonl([]))


def test_a_file_stays_if_it_cannot_be_replaced(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        write(made(5), tmp_path)
    broken = Difficulty(["a"], np.array([1.0]), np.array([1.0]), [], np.array([0], dtype=np.int8))
    path = tmp_path / "difficulty.jsonl"
    write(made(5), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="zip"):
        write(broken, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
