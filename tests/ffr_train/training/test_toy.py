"""The toy: the same folder for the same seed, and a vocabulary that keeps answers whole."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from ffr_eval.answer import parse_answer
from ffr_eval.benchmark import read_benchmark
from ffr_eval.markup import MARKERS, answer_text
from ffr_train.toy.benchmark import ToyOptions, build_benchmark
from ffr_train.toy.model import ToySize, build_model

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli
    from tests.ffr_train.training.conftest import World

SMALL = {"train": 30, "validation": 4, "test": 4}


def made(folder: Path, seed: int) -> dict[str, bytes]:
    """The files of a small toy."""
    build_benchmark(folder / "benchmark", ToyOptions(splits=SMALL, seed=seed))
    build_model(folder / "model", folder / "benchmark", ToySize(width=64, layers=1, seed=seed))
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_for_the_same_seed(tmp_path: Path) -> None:
    import torch

    state = torch.random.get_rng_state()
    one, same, other = (
        made(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert torch.equal(torch.random.get_rng_state(), state)  # drawn apart from everything else
    assert one == same
    assert one["model/model.safetensors"] != other["model/model.safetensors"]
    hashes = [read_benchmark(tmp_path / name / "benchmark").content_hash for name in "abc"]
    assert hashes[0] == hashes[1] != hashes[2]


def test_answers_survive_the_tokenizer(world: World) -> None:
    from ffr_train.data import load_processor

    tokenizer = load_processor(world.folder / "model", 602_112).tokenizer
    assert not set(MARKERS) & set(tokenizer.all_special_tokens)
    for utt_ids, img_ids in (((), ()), ((0,), ()), ((1, 12, 99), (0, 3)), ((2, 3), ())):
        text = answer_text(utt_ids, img_ids)
        ids = tokenizer(text)["input_ids"]
        back = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert back == text
        parsed = parse_answer(back, "strict")
        assert (parsed.utt_ids, parsed.img_ids) == (utt_ids, img_ids)
        # Markers and numbers are a token each; so is what stands between them.
        assert len(ids) <= len(re.findall(r"<\|\w+\|>|\d+|[^<\d]+", text))
    # A number of the answer is the one that stands in the prompt.
    for number in (0, 7, 10, 99):
        assert len(tokenizer(str(number))["input_ids"]) == 1


def test_the_benchmark_has_all_that_training_has_to_do_with(world: World) -> None:
    benchmark = read_benchmark(world.folder / "benchmark")
    samples = list(benchmark.samples("train"))
    golds = [sample.gold for sample in samples]
    assert any(gold and not gold.utt_ids and not gold.img_ids for gold in golds)  # negative
    assert any(gold and gold.utt_ids and not gold.img_ids for gold in golds)
    assert any(gold and gold.img_ids and not gold.utt_ids for gold in golds)
    assert any(gold and gold.img_ids and gold.utt_ids for gold in golds)
    counts = {len(sample.dialogue.images) for sample in samples}
    assert {0, 1, 3} <= counts
    splits = [
        {sample.dialogue.dialogue_id for sample in benchmark.samples(name)}
        for name in ("train", "validation", "test")
    ]
    assert not splits[0] & splits[1]
    assert not splits[0] & splits[2]


def test_the_command(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ffr_train.toy.benchmark.SPLITS", SMALL)
    out = tmp_path / "toy"
    done = cli("train", "toy", "--out", out, "--seed", 3)
    assert "next: ffr train init --recipe toy-cpu" in done.out
    assert read_benchmark(out / "benchmark").splits
    assert (out / "model" / "model.safetensors").is_file()
    said = cli.refused("train", "toy", "--out", out)
    assert "already exists" in said
    assert "\n  → " in said
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    said = cli.refused("train", "toy", "--out", file)
    assert f"{file}: " in said


@pytest.mark.parametrize("package", ["torch", "transformers", "tokenizers", "PIL"])
def test_a_part_that_is_not_installed(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    # Imported before, whole: half of it would stay for the tests that come after this one.
    from transformers import PreTrainedTokenizerFast, Qwen2VLProcessor

    assert PreTrainedTokenizerFast is not Qwen2VLProcessor
    monkeypatch.setattr("ffr_train.toy.benchmark.SPLITS", SMALL)
    monkeypatch.setitem(sys.modules, package, None)
    assert "pip install 'ffr-eval[train]'" in cli.refused("train", "toy", "--out", tmp_path / "toy")
    assert list(tmp_path.iterdir()) == []
