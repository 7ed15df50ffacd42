"""``ffr train difficulty`` and ``ffr train pilot`` with a tiny model of the real class."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.errors import FfrError, InputError
from ffr_eval.markup import answer_text
from ffr_eval.runs import read_run
from ffr_train.curriculum.difficulty_file import read
from ffr_train.curriculum.engine_run import RunPlan, complete
from ffr_train.curriculum.levels import assign

from .conftest import GOLD, answered, failed, right

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Cli

FEW = ("--device", "cpu", "-o", "max_tokens=6", "-o", "images=text_only")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_difficulty_of_a_real_model(cli: Cli, benchmark: Path, model: Path, tmp_path: Path) -> None:
    out, plot = tmp_path / "difficulty.jsonl", tmp_path / "plane.png"
    args = ("train", "difficulty", benchmark, "--model", model, *FEW, "--out", out)
    result = cli(*args, "--plot", plot)
    run = read_run(tmp_path / "difficulty.jsonl.run")
    assert (run.model, run.split, run.status) == ("hf", "train", "finished")
    assert (run.options["logprobs"], run.options["max_tokens"]) == (True, 6)
    found = read(out)
    assert found.sample_id == list(GOLD)
    assert found.entropy_kind == ["full"] * 4
    assert (found.entropy > 0).all()
    assert assign(found.f1, found.entropy).tolist() == found.level.tolist()
    predictions = lines(tmp_path / "difficulty.jsonl.run" / "predictions.jsonl")
    entropies = {
        line["sample_id"]: sum(line["logprobs"]["entropy"]) / len(line["logprobs"]["entropy"])
        for line in predictions
    }
    assert found.entropy == pytest.approx([entropies[name] for name in GOLD])
    assert "4 samples, levels by eq4" in result.out
    assert "confusing" in result.out
    assert plot.read_bytes().startswith(b"\x89PNG")
    before = out.read_bytes()
    again = cli(*args)  # the run is finished, and only read
    assert "(0 new)" in again.err
    assert out.read_bytes() == before
    other = cli.refused(*args[:-4], "--out", out)  # no longer the same run
    assert "option images" in other


def test_pilot_of_a_real_model(cli: Cli, benchmark: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "pilot.jsonl"
    args = ("train", "pilot", benchmark, "--model", model, *FEW, "--out", out)
    result = cli(*args, "--rollouts", 2)
    runs = [read_run(tmp_path / "pilot.jsonl.runs" / str(k)) for k in (0, 1)]
    assert [run.seed for run in runs] == [0, 1]
    assert {(run.options["temperature"], run.options["top_p"]) for run in runs} == {(1.0, 0.85)}
    texts = [
        [line["response"] for line in lines(tmp_path / f"pilot.jsonl.runs/{k}/predictions.jsonl")]
        for k in (0, 1)
    ]
    assert texts[0] != texts[1]  # the seed matters
    found = lines(out)
    assert [line["sample_id"] for line in found] == list(GOLD)
    assert all(len(line["rewards"]) == 2 for line in found)
    assert "4 samples × 2 rollouts" in result.out
    assert "order is left out" in result.err


def test_a_run_that_is_there(
    cli: Cli, benchmark: Path, write_run: Callable[..., Path], tmp_path: Path
) -> None:
    predictions = [*right({"a#0": 0.5, "a#1": 0.1, "b#0": 0.9}), failed("b#1")]
    out = tmp_path / "d.jsonl"
    run = write_run(predictions)
    result = cli("train", "difficulty", benchmark, "--run", run, "--out", out)
    assert lines(out)[3] == {
        "sample_id": "b#1",
        "f1": None,
        "entropy": None,
        "entropy_kind": None,
        "level": None,
    }
    assert "not measured" in result.out
    assert "1 samples without an answer" in result.err
    released = tmp_path / "r.jsonl"
    args = ("--run", run, "--rule", "released", "--out", released)
    assert "levels by released" in cli("train", "difficulty", benchmark, *args).out
    assert lines(released)[0]["entropy_kind"] == "released"


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_plots(
    cli: Cli, benchmark: Path, write_run: Callable[..., Path], tmp_path: Path, suffix: str
) -> None:
    run = write_run([*right({"a#0": 0.5, "a#1": 0.1, "b#0": 0.9}), failed("b#1")])
    made = []
    for k in range(2):
        plot = tmp_path / f"plane{k}{suffix}"
        args = ("--run", run, "--out", tmp_path / "d.jsonl", "--plot", plot)
        cli("train", "difficulty", benchmark, *args)
        made.append(plot.read_bytes())
    assert made[0] == made[1]
    if suffix == ".svg":
        text = made[0].decode()
        assert "confusing" in text
        assert "entropy of the answer, full, in nats" in text


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((), "no model is given"),
        (("--model", "m", "--split", "nix"), "no split 'nix'"),
        (("--model", "m", "-o", "model=n"), "set by the command"),
        (("--model", "m", "-o", "logprobs=false"), "set by the command"),
        (("--model", "m", "-o", "max_tokens"), "no option: 'max_tokens'"),
        (("--model", "m", "--engine", "vllm", "--batch-size", "2"), "vllm places and batches"),
        (("--model", "m", "--plot", "plane.gif"), "cannot draw a .gif"),
        (("--model", "m", "--out", "nowhere/d.jsonl"), "no such folder"),
        (("--run", "r", "--model", "m"), "no effect with --run"),
        (("--run", "r"), "no such file"),
    ],
)
def test_refused(cli: Cli, benchmark: Path, args: tuple[str, ...], text: str) -> None:
    assert text in cli.refused("train", "difficulty", benchmark, *args)


def test_a_model_that_is_not_there(cli: Cli, benchmark: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.jsonl"
    args = ("--model", tmp_path / "none", "--out", out)
    assert "option model" in cli.refused("train", "difficulty", benchmark, *args)
    assert not out.exists()


def test_pilot_by_level(
    cli: Cli, benchmark: Path, write_run: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The runs are there already; what starts them is left out."""
    texts = ([3], [3, 4])
    for k, utt_ids in enumerate(texts):
        answers = [answered(name, answer_text(*GOLD[name]), None) for name in GOLD]
        answers[2] = answered("b#0", answer_text(utt_ids, []), None)
        write_run(answers, f"p.jsonl.runs/{k}")
    plans = []
    monkeypatch.setattr(
        "ffr_train.curriculum.engine_run.complete",
        lambda plan, out, note: plans.append((plan, out)),
    )
    levels = tmp_path / "d.jsonl"
    run = write_run(right(dict.fromkeys(GOLD, 1.0)), "measured")
    cli("train", "difficulty", benchmark, "--run", run, "--out", levels)
    args = ("--model", "m", "--adapter", "x", "--engine", "vllm", "--rollouts", 2)
    more = ("--profile", "paper", "--difficulty", levels, "--out", tmp_path / "p.jsonl")
    result = cli("train", "pilot", benchmark, *args, *more)
    assert "1 kept, 3 without variance" in result.out
    (easy,) = (row.split() for row in result.out.splitlines() if row.strip().startswith("easy"))
    assert easy[:6] == ["easy", "4", "1", "3", "0", "0"]
    commands = [plan.arguments(out) for plan, out in plans]
    assert commands[1][:3] == ["run", "vllm", str(benchmark)]
    assert {"model=m", "adapter=x", "query=first", "temperature=1.0", "seed=1"} <= set(commands[1])
    assert commands[1][-1].endswith("p.jsonl.runs/1")


@pytest.mark.parametrize(
    ("program", "code"),
    [
        # some samples failed, and the run is finished: it is read
        ("r = open_run(OUT, RECORD); r.__enter__(); r.__exit__(None, None, None); exit(1)", None),
        # failed before it came to the run, which is finished: it is not read
        ("exit(1)", 1),
        ("exit(2)", 2),
        ("exit(130)", 130),
    ],
)
def test_how_the_run_ends(
    write_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, program: str, code: int | None
) -> None:
    out = write_run(right(dict.fromkeys(GOLD, 1.0)))
    head = (
        "from pathlib import Path; from ffr_eval.runs import open_run, read_run;"
        f" OUT = Path({str(out)!r}); RECORD = read_run(OUT); "
    )
    plan = RunPlan("hf", "b", "train", {})
    monkeypatch.setattr(RunPlan, "arguments", lambda *_: [])
    monkeypatch.setattr("ffr_train.curriculum.engine_run.PROGRAM", ("-c", head + program))
    if code is None:
        complete(plan, out, pytest.fail)
        assert len(read_run(out).sessions) == 2
        return
    with pytest.raises(SystemExit) as ended:
        complete(plan, out, pytest.fail)
    assert ended.value.code == code


def test_a_run_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = ("-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr("ffr_train.curriculum.engine_run.PROGRAM", program)
    with pytest.raises(FfrError, match="killed \\(SIGKILL\\)"):
        complete(RunPlan("hf", "b", "train", {}), tmp_path / "run", pytest.fail)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        complete(RunPlan("hf", "b", "train", {}), tmp_path / "file", pytest.fail)
