"""``ffr train rewards score``: figures, output, and everything that can be wrong with a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ffr_eval.markup import answer_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RIGHT = answer_text([1, 2, 4, 5], [0, 1])
EMPTY = answer_text([], [])


def run(cli: Any, path: Path, *options: object) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = cli(
        "train", "rewards", "score", path, "--json", "-", *options
    ).json
    return result


def test_figures_by_hand(cli: Any, jsonl: Callable[..., Path]) -> None:
    gold = answer_text([1, 2], [0])
    half = answer_text([1], [])
    path = jsonl([{"completion": text, "solution": gold} for text in (gold, half, "none", EMPTY)])
    f1 = 0.5 * (2 / 3) * 0.8 ** (1 / 2)  # utterances; no image is found
    assert run(cli, path) == [
        {"format": 1.0, "f1": 1.0, "order": None, "total": 1.3},
        {
            "format": 1.0,
            "f1": pytest.approx(f1),
            "order": None,
            "total": pytest.approx(0.3 + f1),
        },
        {"format": 0.0, "f1": 0.0, "order": None, "total": 0.0},
        {"format": 1.0, "f1": 0.0, "order": None, "total": pytest.approx(0.3)},
    ]
    f1_paper = 0.5 * (2 / 3) * 0.95
    assert run(cli, path, "--profile", "paper")[1]["f1"] == pytest.approx(f1_paper)


def test_weights_and_terms(cli: Any, jsonl: Callable[..., Path], rows: Any) -> None:
    path = jsonl(rows)
    found = run(
        cli, path, "--weight", "order=0", "--weight", "mcc=2", "--terms", "pair_f1, query_sim"
    )
    assert list(found[0]) == ["format", "f1", "mcc", "pair_f1", "query_sim", "total"]
    for line in found:
        expected = 0.3 * line["format"] + line["f1"] + 2 * line["mcc"]
        assert line["total"] == pytest.approx(expected)


def test_table(cli: Any, jsonl: Callable[..., Path], rows: Any) -> None:
    printed = cli("train", "rewards", "score", jsonl(rows)).out
    assert "30 completions, profile fixed" in printed
    assert printed.count("weights: format 0.3, f1 1, order 1") == 1
    totals = [line["total"] for line in run(cli, jsonl(rows))]
    assert f"{np.mean(totals):.4f}" in printed
    assert f"{min(totals):.4f}" in printed
    assert f"{max(totals):.4f}" in printed


def test_json_file_and_table(cli: Any, jsonl: Callable[..., Path], rows: Any) -> None:
    path = jsonl(rows)
    out = path.parent / "out.json"
    printed = cli("train", "rewards", "score", path, "--json", out).out
    assert "weights:" in printed
    assert json.loads(out.read_text()) == run(cli, path)


def test_without_embeddings_order_is_left_out(
    cli: Any, jsonl: Callable[..., Path], row: Any
) -> None:
    path = jsonl([row(RIGHT, embeddings=None)])
    assert run(cli, path) == [{"format": 1.0, "f1": 1.0, "order": None, "total": 1.3}]
    assert "left out of the total" in cli("train", "rewards", "score", path).out


@pytest.mark.parametrize("kind", ["missing", "nan"])
def test_a_missing_vector_is_null_and_counted(
    cli: Any, jsonl: Callable[..., Path], row: Any, write_vectors: Any, kind: str
) -> None:
    if kind == "missing":
        write_vectors(without="u9")
    else:
        write_vectors(u9=np.full(8, np.nan, dtype=np.float32))
    path = jsonl([row(answer_text([1, 2, 9], [])), row(RIGHT)])
    first, second = run(cli, path)
    assert (first["order"], first["total"]) == (None, None)
    assert first["f1"] > 0
    assert second["total"] == pytest.approx(2.3)
    printed = cli("train", "rewards", "score", path).out
    assert "an id of the dialogue has no usable vector (1)" in printed
    assert "50.0%" in printed


def test_conversations_are_unwrapped(cli: Any, jsonl: Callable[..., Path], row: Any) -> None:
    talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": RIGHT}]
    found = run(cli, jsonl([row(talk, embeddings=None), row(RIGHT, embeddings=None)]))
    assert found[0] == found[1]


@pytest.mark.parametrize("form", ["list", "object", "no_ids"])
def test_forms_of_image_turn(
    cli: Any, jsonl: Callable[..., Path], row: Any, vectors: Path, form: str
) -> None:
    given: dict[str, Any] = {
        "list": {},
        "object": {"image_turn": {"0": 1, "1": 4, "3": 4}},
        "no_ids": {"img_ids": None, "image_turn": [1, 4, None, 4]},
    }[form]
    lines = [row(text) for text in (answer_text([1, 2], [0, 3]), RIGHT)]
    plain = run(cli, jsonl(lines), "--profile", "paper")
    changed = [line | given for line in lines]
    changed = [{k: v for k, v in line.items() if v is not None} for line in changed]
    assert run(cli, jsonl(changed, "changed.jsonl"), "--profile", "paper") == plain


def test_unknown_fields_are_passed_over(cli: Any, jsonl: Callable[..., Path], row: Any) -> None:
    assert run(cli, jsonl([row(RIGHT, embeddings=None, step=7)]))[0]["f1"] == 1


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "solution": ({"solution": "nothing"}, "solution", "is not the answer markup"),
    "no solution": ({"solution": None}, "solution", "missing"),
    "completion": ({"completion": 3}, "completion", "is int, neither text nor a conversation"),
    "no completion": ({"completion": None}, "completion", "missing"),
    "empty conversation": ({"completion": []}, "completion", "is list"),
    "image_turn length": ({"image_turn": [1, 4]}, "image_turn", "2 turns for 3 images"),
    "image_turn strange": ({"image_turn": [1, 4, 6]}, "image_turn", "image 3 is in turn 6"),
    "gold beyond": ({"utt_ids": [1, 2, 4, 7]}, "solution", "utterance 5 of the gold"),
    "gold image beyond": (
        {"img_ids": [1, 3], "image_turn": [4, 4]},
        "solution",
        "image 0 of the gold",
    ),
    "ids repeat": ({"utt_ids": [1, 1, 2, 4, 5]}, "utt_ids", "repeats the id 1"),
    "ids are text": ({"utt_ids": ["1"]}, "utt_ids", "Expected `int`"),
    "no npz": ({"embeddings": "other.npz"}, "embeddings", "no such file"),
    "not an npz": ({"embeddings": "file.jsonl"}, "embeddings", "is no .npz of vectors"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_lines(
    cli: Any, jsonl: Callable[..., Path], row: Any, vectors: Path, case: str
) -> None:
    change, field, message = BAD[case]
    line = {k: v for k, v in (row(RIGHT) | change).items() if v is not None}
    path = jsonl([row(RIGHT), row(EMPTY), line, row(RIGHT)])
    said = cli.refused("train", "rewards", "score", path, "--json", "-")
    assert f"{path}:3: " in said
    assert field in said
    assert message in said
    assert "→" in said


def test_vectors_of_two_dimensions(
    cli: Any, jsonl: Callable[..., Path], row: Any, write_vectors: Any
) -> None:
    write_vectors(u9=np.ones(5, dtype=np.float32))
    said = cli.refused("train", "rewards", "score", jsonl([row(RIGHT)]))
    assert "u9: 5 dimensions, others have 8" in said
    assert "vectors.npz" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--profile", "fixd"], "did you mean 'fixed'?"),
        (["--terms", "oder"], "did you mean 'order'?"),
        (["--weight", "oder=1"], "did you mean 'order'?"),
        (["--weight", "order"], "no weight: 'order'"),
        (["--weight", "order=-1"], "at least 0"),
        (["--weight", "order=nan"], "at least 0"),
    ],
)
def test_bad_options(
    cli: Any, jsonl: Callable[..., Path], row: Any, options: list[str], message: str
) -> None:
    assert message in cli.refused("train", "rewards", "score", jsonl([row(RIGHT)]), *options)


def test_empty_missing_and_broken_files(
    cli: Any, jsonl: Callable[..., Path], tmp_path: Path
) -> None:
    assert "has no completions" in cli.refused("train", "rewards", "score", jsonl(["\n"]))
    assert "no such file" in cli.refused("train", "rewards", "score", tmp_path / "none.jsonl")
    said = cli.refused("train", "rewards", "score", jsonl(['{"completion": "a"']))
    assert "file.jsonl:1:" in said


def test_lines_of_a_dialogue_share_it(jsonl: Callable[..., Path], rows: Any) -> None:
    from ffr_train.rewards.lines import read_completions

    assert len(read_completions(jsonl(rows)).dialogues) == 1


def test_commands_suggest(cli: Any) -> None:
    assert "did you mean 'score'?" in cli.refused("train", "rewards", "scor")
    assert "did you mean 'rewards'?" in cli.refused("train", "reward")
    assert {"bandit", "check", "explain", "score"} <= set(cli("train", "rewards", "-h").out.split())


def test_the_file_that_is_read_is_never_overwritten(cli: Any, jsonl: Any) -> None:
    gold = "<|utt_ids_start|>[1]<|utt_ids_end|>;<|img_ids_start|>[]<|img_ids_end|>"
    file = jsonl([{"completion": gold, "solution": gold}])
    before = file.read_bytes()
    told = cli.refused("train", "rewards", "score", file, "--json", file)
    assert "is the file that is read" in told
    assert file.read_bytes() == before
