"""``ffr train rewards check``: who is paid what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import ffr_eval
from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_train.rewards import laboratory
from ffr_train.rewards.policies import POLICIES
from ffr_train.rewards.vectors import LABEL

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli

NAMES = [policy.name for policy in POLICIES]
CHECK = ("train", "rewards", "check")


def checked(cli: Any, *args: object) -> Any:
    return cli(*CHECK, *args, "--json", "-").json


def test_what_is_written(cli: Cli) -> None:
    found = checked(cli, "ffr-sample")
    assert (found["benchmark"], found["split"], found["seed"]) == ("ffr-sample", None, 0)
    assert found["embeddings"] == LABEL
    assert list(found["profiles"]) == ["fixed", "paper", "released"]
    assert (found["n_with_gold"], found["n_negative"]) == (130, 14)
    for profile in found["profiles"].values():
        assert list(profile["policies"]) == NAMES
        for result in profile["policies"].values():
            assert result["n"] == 144
            assert result["n_null"] == 0
            expected = sum(w * result["terms"][t] for t, w in profile["weights"].items())
            assert result["total"] == pytest.approx(expected)
            both = (130 * result["total_with_gold"] + 14 * result["total_negative"]) / 144
            assert result["total"] == pytest.approx(both)


def test_the_fixed_profile_pays_for_right_ids_only(cli: Cli) -> None:
    fixed = checked(cli, "ffr-sample", "--profile", "fixed")["profiles"]["fixed"]
    assert fixed["pays_for"] == []
    assert fixed["beaten_by_one_edit"] == 0
    policies = fixed["policies"]
    gold = policies["gold"]
    assert gold["total"] == pytest.approx(sum(fixed["weights"].values()))
    assert gold["strict_f1"] == 1
    half = policies["random half of gold"]["total_with_gold"]
    for name in ("select-all", "none", "one right id repeated", "invented only", "garbage"):
        assert policies[name]["total_with_gold"] < half
    assert policies["garbage"]["total"] == 0


def test_what_the_others_pay_for(cli: Cli) -> None:
    found = checked(cli, "ffr-sample", "--profile", "paper", "--profile", "released")["profiles"]
    released, paper = found["released"], found["paper"]
    assert released["policies"]["garbage"]["total_negative"] == 1
    assert "paid_on_negative" in released["policies"]["garbage"]["flags"]
    assert released["constant"] == {"format": 0}
    assert "paid_on_negative" in paper["policies"]["random"]["flags"]
    assert paper["policies"]["none"]["flags"] == []
    assert paper["beaten_by_one_edit"] > 0
    assert any("without gold" in text for text in paper["pays_for"])


def test_strict_f1_is_that_of_the_scores(cli: Cli) -> None:
    found = checked(cli, "ffr-sample", "--split", "test", "--profile", "fixed")
    policies = found["profiles"]["fixed"]["policies"]
    benchmark = read_benchmark("ffr-sample")
    stage = laboratory.stage_of(benchmark, "test", "none", queries=False)
    for policy in POLICIES:
        if policy.name == "near-duplicate spam":  # depends on the vectors
            continue
        texts = laboratory.play(stage, [policy], 0)
        predictions = [
            {"sample_id": sample.sample_id, "outcome": "ok", "response": text}
            for sample, text in zip(stage.samples, texts, strict=True)
        ]
        scores = ffr_eval.score(
            predictions, benchmark=benchmark, split="test", protocol="strict", parse="strict"
        )
        assert policies[policy.name]["strict_f1"] == pytest.approx(scores.metric("micro.joint.f1"))


def test_more_than_gold(cli: Cli, tmp_path: Path) -> None:
    """Turns that say the same earn more than the gold under the paper's order."""
    texts = ["red apples", "stock markets fell", "yes", "yes", "yes", "quite another thing"]
    with BenchmarkWriter(tmp_path / "in", InfoRecord(name="in")) as writer:
        turns = tuple(TurnRecord(i, "S", text) for i, text in enumerate(texts))
        writer.add_dialogue(DialogueRecord("d", turns))
        writer.add_query(QueryRecord("q", "d", "?", (0, 1, 5), ()))
    found = checked(cli, tmp_path / "in")["profiles"]
    spam = found["paper"]["policies"]["near-duplicate spam"]
    assert {"undeserved", "more_than_gold"} <= set(spam["flags"])
    assert "near-duplicate spam (more than gold)" in found["paper"]["pays_for"]
    assert spam["total_negative"] is None
    assert found["fixed"]["policies"]["near-duplicate spam"]["flags"] == []
    shown = cli(*CHECK, tmp_path / "in").out
    assert "near-duplicate spam (more than gold)" in shown
    assert LABEL in shown


def test_without_vectors(cli: Cli) -> None:
    found = checked(cli, "ffr-sample", "--profile", "fixed", "--embeddings", "none")
    fixed = found["profiles"]["fixed"]
    assert fixed["left_out"] == ["order"]
    assert fixed["policies"]["gold"]["terms"]["order"] is None
    assert fixed["policies"]["gold"]["total"] == pytest.approx(1.3)
    assert "not computed, no embeddings" in cli(*CHECK, "ffr-sample", "--embeddings", "none").out


def test_vectors_of_a_folder(cli: Cli, lengths: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "vectors"
    folder.mkdir()
    for name, turns, images in (("a", 10, 2), ("b", 40, 0)):
        keys = [*(f"u{i}" for i in range(turns)), *(f"i{i}" for i in range(images))]
        np.savez(folder / name, **{key: rng.normal(size=4) for key in keys})  # type: ignore[arg-type]
    said = cli.refused(*CHECK, lengths, "--embeddings", folder)
    assert "c.npz" in said
    partly = {f"u{i}": rng.normal(size=4) for i in range(70) if i != 69}
    np.savez(folder / "c", **partly)  # type: ignore[arg-type]
    found = checked(cli, lengths, "--embeddings", folder, "--weight", "format=0")
    assert set(found["profiles"]["fixed"]["weights"]) == {"f1", "order"}
    all_ids = found["profiles"]["paper"]["policies"]["select-all"]
    assert all_ids["n_null"] == 2  # the queries on c, whose last turn and image have no vector
    assert str(found["embeddings"]).endswith("*.npz")


@pytest.mark.parametrize(("suffix", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_the_figure(cli: Cli, tmp_path: Path, suffix: str, begin: bytes) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / f"a.{suffix}"
    cli(*CHECK, "ffr-sample", "--profile", "released", "--plot", file)
    assert file.read_bytes().startswith(begin)
    if suffix == "svg":
        text = file.read_text(encoding="utf-8")
        assert "near-duplicate spam" in text
        assert LABEL in text


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["ffr-sample", "--profile", "fixd"], "did you mean 'fixed'"),
        (["ffr-sample", "--weight", "ordr=1"], "did you mean 'order'"),
        (["ffr-sample", "--weight", "order"], "TERM=W"),
        (["ffr-sample", "--weight", "order=-1"], "at least 0"),
        (["ffr-sample", "--split", "none"], "no split 'none'"),
        (["ffr-sample", "--embeddings", "nowhere"], "no such folder"),
        (["ffr-sample", "--plot", "a.gif"], ".gif"),
        (["ffr-sample", "--toy"], "in place of BENCH"),
        (["--toy", "--split", "test"], "no splits"),
        ([], "no benchmark"),
    ],
)
def test_mistakes(cli: Cli, args: list[str], said: str) -> None:
    assert said in cli.refused(*CHECK, *args)
