"""``ffr train rewards explain``: what it prints agrees with ``score``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.benchmark import read_benchmark
from ffr_eval.markup import answer_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EXTRAS = "mcc,pair_f1,query_sim"


@pytest.mark.parametrize("profile", ["fixed", "paper", "released"])
def test_numbers_equal_those_of_score(
    cli: Any, jsonl: Callable[..., Path], rows: Any, profile: str
) -> None:
    path = jsonl(rows)
    options = ("--profile", profile, "--terms", EXTRAS)
    scored = cli("train", "rewards", "score", path, "--json", "-", *options).json
    for number, line in enumerate(scored, 1):
        printed = cli("train", "rewards", "explain", "--line", number, path, *options).out
        for name, value in line.items():
            found = re.search(rf"^{name} = (\S+)", printed, re.MULTILINE)
            assert found, printed
            assert float(found[1]) == pytest.approx(value, abs=1e-6)


def test_factors_multiply_to_the_term(cli: Any, jsonl: Callable[..., Path], rows: Any) -> None:
    path = jsonl(rows)
    scored = cli("train", "rewards", "score", path, "--json", "-").json
    for number in (2, 3, 5):
        printed = cli("train", "rewards", "explain", "--line", number, path).out
        shares = re.findall(r"share 0\.5: ([\d.]+)$", printed, re.MULTILINE)
        assert sum(map(float, shares)) == pytest.approx(scored[number - 1]["f1"], abs=2e-6)
        gate = re.search(r"answer ([\d.]+) × clip\(answer/gold, [\d.]+, 1\) ([\d.]+)", printed)
        assert gate is not None
        product = float(gate[1]) * float(gate[2])
        assert product == pytest.approx(scored[number - 1]["order"], abs=2e-6)


def test_the_parse(cli: Any, jsonl: Callable[..., Path], row: Any, vectors: Path) -> None:
    path = jsonl([row(answer_text([1, 1, 99], [77])), row("I think\x1b[31m so")])
    printed = cli("train", "rewards", "explain", "--line", 1, path).out
    assert "repeated    utterance 1 (2 times)" in printed
    assert "invented    utterance 99, image 77" in printed
    printed = cli("train", "rewards", "explain", "--line", 2, path).out
    assert "parse       parse_error" in printed
    assert "\\x1b[31m so" in printed
    assert "\x1b" not in printed


def test_unknown_ids_are_said(cli: Any, jsonl: Callable[..., Path], row: Any) -> None:
    line = row(answer_text([1], []), utt_ids=None, img_ids=None, image_turn=None, embeddings=None)
    printed = cli("train", "rewards", "explain", "--line", 1, jsonl([line])).out
    assert "utterance and image ids of the dialogue are not known" in printed
    assert "left out of the total" in printed


def test_a_sample_of_a_benchmark(cli: Any, lengths: Path, tmp_path: Path) -> None:
    text = answer_text([1, 2], [0])
    name = ("train", "rewards", "explain", "--benchmark", lengths, "--sample", "a#0")
    printed = cli(*name, "--completion", text).out
    assert "f1 = 1.000000" in printed
    answer = tmp_path / "answer.txt"
    answer.write_text(text)
    assert cli(*name, "--completion-file", answer).out == printed
    negative = ("train", "rewards", "explain", "--benchmark", lengths, "--sample", "a#1")
    assert "no gold: 1 for the explicit empty answer" in cli(*negative, "--completion", text).out


def test_bundled_benchmark(cli: Any) -> None:
    benchmark = read_benchmark("ffr-sample")
    sample = next(iter(benchmark.samples()))
    assert sample.gold is not None
    gold = answer_text(sample.gold.utt_ids, sample.gold.img_ids)
    printed = cli(
        *("train", "rewards", "explain", "--benchmark", "ffr-sample"),
        *("--sample", sample.sample_id, "--completion", gold, "--profile", "paper"),
    ).out
    assert "f1 = 1.000000" in printed
    assert "format = 1.000000" in printed


def test_bad_calls(cli: Any, lengths: Path, jsonl: Callable[..., Path], row: Any) -> None:
    explain = ("train", "rewards", "explain")
    path = jsonl([row("x", embeddings=None)])
    sample = ("--benchmark", lengths, "--sample", "a#0")
    for call in ((), (path,), sample, (*sample, "--completion", "x", path)):
        assert "--line N FILE.jsonl" in cli.refused(*explain, *call)
    assert "no such line" in cli.refused(*explain, "--line", 9, path)
    said = cli.refused(*explain, "--benchmark", lengths, "--sample", "z", "--completion", "x")
    assert "no sample 'z'" in said
    assert json.dumps("x") not in said
