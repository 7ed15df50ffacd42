"""``ffr train export``: folders that a trainer starts from."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ffr_eval.benchmark import read_benchmark
from ffr_eval.markup import answer_text
from ffr_train.rewards.columns import TrainerReward

if TYPE_CHECKING:
    from pathlib import Path

TRAINERS = ("swift", "trl", "verifiers", "verl")
SETTINGS = {  # as rewards.md has them, and how each trainer's files write them
    "swift": (
        "--learning_rate 2e-6",
        "--num_generations 8",
        "--top_p 0.85",
        "--beta 0.02",
        "--epsilon_high 0.28",
        "--dynamic_sample true",
        "--max_completion_length 1024",
        "--dataset_shuffle false",
        "--reward_funcs ffr_format ffr_f1 ffr_order",
        "--reward_weights 0.3 1 1",
        "--max_length 15536",
        "MAX_PIXELS=602112",
    ),
    "trl": (
        "learning_rate=2e-6",
        "num_generations=8",
        "top_p=0.85",
        "beta=0.02",
        "epsilon_high=0.28",
        "max_completion_length=1024",
        "shuffle_dataset=False",
        "max_pixels=602112",
    ),
    "verl": (
        "optim.lr=2e-6",
        "rollout.n=8",
        "top_p=0.85",
        "kl_loss_coef=0.02",
        "clip_ratio_high=0.28",
        "max_response_length=1024",
        "shuffle=False",
        "filter_groups.enable=True",
        "reward_kwargs.profile=fixed",
    ),
    "verifiers": ("--sampling.top_p 0.85", "max_tokens 1024", "-r 8"),
}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    if (folder / "train.parquet").exists():
        parquet = pytest.importorskip("pyarrow.parquet")
        found: list[dict[str, Any]] = parquet.read_table(folder / "train.parquet").to_pylist()
        return found
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_folder(cli: Any, tmp_path: Path, trainer: str) -> None:
    out = tmp_path / "out"
    out.mkdir()  # empty: not in the way
    cli("train", "export", "--to", trainer, "ffr-sample", "--split", "dev", "--out", out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    rows = rows_of(out)
    benchmark = read_benchmark("ffr-sample")
    assert len(rows) == len(benchmark.rows("dev"))
    text = "".join(path.read_text() for path in out.iterdir() if path.suffix in {".py", ".sh"})
    for setting in SETTINGS[trainer]:
        assert setting in text
    assert "@" not in text.replace("$@", "")
    assert str(tmp_path) not in text
    assert (out / "run.sh").stat().st_mode & 0o100
    if shutil.which("bash"):
        subprocess.run(["bash", "-n", out / "run.sh"], check=True)
    for script in out.glob("*.py"):
        compile(script.read_text(), script, "exec")
    assert (out / "images" / "NOTICE.md").exists()


@pytest.mark.parametrize("trainer", TRAINERS)
def test_rows_earn_what_the_benchmark_says(cli: Any, tmp_path: Path, trainer: str) -> None:
    """The gold earns the most; columns and images are those of each sample."""
    out = tmp_path / "out"
    cli("train", "export", "--to", trainer, "ffr-sample", "--out", out, "--lang", "en")
    benchmark = read_benchmark("ffr-sample")
    for row, sample in zip(rows_of(out), benchmark.samples(), strict=True):
        columns = row["extra_info"] if trainer == "verl" else row
        solution = row["reward_model"]["ground_truth"] if trainer == "verl" else row["solution"]
        assert sample.gold is not None
        assert solution == answer_text(sample.gold.utt_ids, sample.gold.img_ids)
        assert columns["sample_id"] == sample.sample_id
        assert columns["utt_ids"] == [turn.utt_id for turn in sample.dialogue.turns]
        shown = dict(zip(columns["img_ids"], columns["image_turn"], strict=True))
        assert shown == {i: turn.utt_id for turn in sample.dialogue.turns for i in turn.img_ids}
        values = TrainerReward(terms=["mcc"]).one(solution, {**columns, "solution": solution})
        assert (values["f1"], values["mcc"], values["total"]) == pytest.approx((1.0, 1.0, 1.3))
        message = (row["prompt"] if trainer != "swift" else row["messages"])[0]
        written = json.dumps(message["content"], ensure_ascii=False)
        assert "Below is a dialogue" in written
        paths = images_of(row, trainer)
        for path in paths:
            assert (out / path).is_file()
        assert len(paths) == len(sample.dialogue.images)
        if trainer in {"swift", "verl"}:
            assert message["content"].count("<image>") == len(paths)


def images_of(row: dict[str, Any], trainer: str) -> list[str]:
    if trainer == "verl":
        return [image["image"] for image in row["images"]]
    if trainer == "verifiers":
        parts = row["prompt"][0]["content"]
        return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    images: list[str] = row["images"]
    if trainer == "trl":
        parts = row["prompt"][0]["content"]
        assert [part["type"] for part in parts].count("image") == len(images)
    return images


def test_images_without_a_file_become_captions(cli: Any, lengths: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = cli("train", "export", "--to", "trl", lengths, "--out", out).out
    assert "4 prompts have captions only" in said
    assert "all splits are in it (test, dev)" in said
    assert all(row["images"] == [] for row in rows_of(out))


def test_profile(cli: Any, lengths: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cli("train", "export", "--to", "swift", lengths, "--out", out, "--profile", "paper")
    assert 'register("paper")' in (out / "plugin.py").read_text()


def test_verl_without_pyarrow(
    cli: Any, lengths: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ffr_train.export.data.find_spec", lambda _: None)
    out = tmp_path / "out"
    said = cli("train", "export", "--to", "verl", lengths, "--out", out).out
    assert "install pyarrow" in said
    assert (out / "train.jsonl").exists()
    assert "train.jsonl" in (out / "run.sh").read_text()


def test_refusals(cli: Any, lengths: Path, tmp_path: Path) -> None:
    export = ("train", "export", "--to", "trl", lengths, "--out")
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").touch()
    assert "is not empty" in cli.refused(*export, full)
    assert "already exists" in cli.refused(*export, full / "mine")
    assert "no split 'nope'" in cli.refused(*export, tmp_path / "out", "--split", "nope")
    assert "did you mean 'fixed'" in cli.refused(*export, tmp_path / "out", "--profile", "fixd")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"full", "lengths"}
    assert [path.name for path in full.iterdir()] == ["mine"]


@pytest.mark.parametrize("trainer", TRAINERS)
def test_embeddings_of_the_store(cli: Any, tmp_path: Path, trainer: str) -> None:
    store, out = tmp_path / "store", tmp_path / "out"
    asked = ("train", "export", "--to", trainer, "ffr-sample", "--split", "dev", "--out", out)
    given = ("--encoder", "static", "--store", store)
    assert "ffr embed" in cli.refused(*asked, *given)
    assert not out.exists()
    cli("embed", "ffr-sample", *given, "--split", "dev")
    said = cli(*asked, *given)
    assert "no embeddings" not in said.out
    for row, sample in zip(rows_of(out), read_benchmark("ffr-sample").samples("dev"), strict=True):
        columns = row["extra_info"] if trainer == "verl" else row
        solution = row["reward_model"]["ground_truth"] if trainer == "verl" else row["solution"]
        said_something = {f"u{turn.utt_id}" for turn in sample.dialogue.turns if turn.text}
        with np.load(out / columns["embeddings"]) as archive:
            assert set(archive.files) == said_something  # this encoder reads no images
        if "[]" in solution.partition(";")[2]:
            reward = TrainerReward(folder=out)
            values = reward.one(solution, {**columns, "solution": solution})
            assert values["order"] == pytest.approx(1.0)


def test_a_store_without_an_encoder(cli: Any, tmp_path: Path) -> None:
    said = cli.refused("train", "export", "--to", "trl", "ffr-sample", "--store", tmp_path / "s",
                       "--out", tmp_path / "out")  # fmt: skip
    assert "--store" in said
