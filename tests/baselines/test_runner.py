from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner
from filelock import FileLock

from baselines import cli, models_cli
from baselines.model import Capabilities, Model, Scores, ScoringModel, answer, hidden
from baselines.runner import run
from ffr_eval.benchmark import read_benchmark
from ffr_eval.errors import FfrError, InputError
from ffr_eval.prediction_file import read_predictions
from ffr_eval.runs import open_run, read_run
from ffr_eval.types import Fragment, Outcome, Prediction, Sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("register")


def predictions(folder: Path) -> list[Prediction]:
    return [located.record for located in read_predictions(folder / "predictions.jsonl")]


def lines(folder: Path) -> list[bytes]:
    return (folder / "predictions.jsonl").read_bytes().splitlines(keepends=True)


def ids_of(folder: Path) -> list[str]:
    return [prediction.sample_id for prediction in predictions(folder)]


class Raising(Model):
    """Raises for every third sample."""

    capabilities = Capabilities()

    def predict(self, sample: Sample) -> Prediction:
        if sample.sample_id.endswith("#1"):
            raise ValueError(f"no idea \ud800 about {sample.query}")
        return answer(sample, Fragment())


class Interrupting(Model):
    """Ctrl-C at the fourth sample, once."""

    capabilities = Capabilities()
    left = 3

    def predict(self, sample: Sample) -> Prediction:
        type(self).left -= 1
        if type(self).left == -1:
            raise KeyboardInterrupt
        return answer(sample, Fragment())


class Numbers(ScoringModel):
    """Scores that may not be numbers."""

    capabilities = Capabilities(answers="scores")
    value = 1.0

    def score(self, sample: Sample) -> Scores:
        utterance = np.full(len(sample.dialogue.turns), self.value)
        return Scores(utterance, np.zeros(len(sample.dialogue.images)))


class Odd(Model):
    """Gives whatever is set as its answer."""

    capabilities = Capabilities()
    given: Callable[[Sample], Any]

    def predict(self, sample: Sample) -> Prediction:
        prediction: Prediction = type(self).given(sample)
        return prediction


# --- A whole run


def test_a_run_predicts_every_sample_and_says_what_it_was(benchmark: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run("bm25", {"k": "3"}, benchmark, out)
    assert (result.n_samples, result.n_done, result.n_new, result.failed) == (12, 12, 12, ())
    assert result.outcomes == {Outcome.OK: 8, Outcome.EMPTY: 4}
    assert len(set(ids_of(out))) == 12
    assert all(p.latency_s is not None and p.scores is None for p in predictions(out))
    record = read_run(out)
    assert (record.model, record.status, record.n_samples) == ("bm25", "finished", 12)
    assert record.options["k"] == 3
    assert record.options["b"] == 0.75
    assert record.benchmark.path == str(benchmark)
    assert record.benchmark.hash.startswith("sha256:")
    assert record.split is None
    (session,) = record.sessions
    assert session.ended is not None
    assert {"python", "numpy", "bm25s", "PyStemmer"} <= set(session.versions)


def test_scores_are_kept_on_request(benchmark: Path, tmp_path: Path) -> None:
    run("bm25", {}, benchmark, tmp_path / "run", save_scores=True)
    for prediction in predictions(tmp_path / "run"):
        assert prediction.scores is not None
        assert [len(prediction.scores[name]) for name in ("utterance", "image")] == [8, 2]


def test_limit_and_split(benchmark: Path, tmp_path: Path) -> None:
    assert run("none", {}, benchmark, tmp_path / "a", limit=5).n_done == 5
    assert ids_of(tmp_path / "a") == ["d0#0", "d0#1", "d0#2", "d1#0", "d1#1"]
    run("none", {}, benchmark, tmp_path / "b", "dev", limit=2)
    assert ids_of(tmp_path / "b") == ["d0#1", "d1#1"]
    with pytest.raises(InputError, match="limit"):
        run("none", {}, benchmark, tmp_path / "c", limit=0)


def test_gold_is_hidden(benchmark: Path, tmp_path: Path, echo: Any) -> None:
    run("echo", {}, benchmark, tmp_path / "run")
    assert len(echo.seen) == 12
    assert all(sample.gold is None and sample.kind is None for sample in echo.seen)


def test_what_a_data_set_says_of_a_query_is_hidden(benchmark: Path) -> None:
    sample = replace(read_benchmark(benchmark).sample(0), meta={"answer": "the red bike"})
    assert sample.gold is not None
    shown = hidden(sample)
    assert (shown.gold, shown.kind, shown.meta) == (None, None, {})
    assert (shown.query, shown.dialogue) == (sample.query, sample.dialogue)


def test_oracle_gives_the_gold(benchmark: Path, tmp_path: Path) -> None:
    run("oracle", {}, benchmark, tmp_path / "run")
    first, second, third = (p.payload for p in predictions(tmp_path / "run")[:3])
    assert (first, second, third) == (Fragment((10, 13), (0,)), Fragment((15,)), Fragment())


# --- Tuning


def test_tuning_is_recorded_and_not_repeated(
    benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    result = run("bm25", {}, benchmark, out, tune_on="dev")
    assert result.split == "test"
    assert result.n_samples == 8
    selection = read_run(out).selection
    assert selection is not None
    assert selection["utterance"]["dev_f1"] == 1.0
    kept = lines(out)
    (out / "predictions.jsonl").write_bytes(b"".join(kept[:3]))
    monkeypatch.setattr("baselines.model.tune", None)  # another tuning would fail
    assert run("bm25", {}, benchmark, out, tune_on="dev").n_new == 5
    assert [json.loads(line)["utt_ids"] for line in lines(out)] == [
        json.loads(line)["utt_ids"] for line in kept
    ]
    assert read_run(out).selection == selection


def test_tuning_on_what_is_predicted_is_refused(benchmark: Path, tmp_path: Path) -> None:
    for split, tune_on in (("dev", "dev"), ("test", "test"), (None, "test")):
        with pytest.raises(InputError, match="tuned on and predicted"):
            run("bm25", {}, benchmark, tmp_path / "run", split, tune_on=tune_on)
    for split, tune_on in (("tset", None), (None, "tset")):
        with pytest.raises(InputError, match="no split 'tset'"):
            run("bm25", {}, benchmark, tmp_path / "run", split, tune_on=tune_on)
    with pytest.raises(InputError, match="--tune-on"):
        run("bm25", {"policy": "tuned"}, benchmark, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_split_to_tune_on_that_has_no_use_is_noted(benchmark: Path, tmp_path: Path) -> None:
    for name, options in (("none", {}), ("bm25", {"policy": "gap"}), ("window", {"size": 2})):
        result = run(name, options, benchmark, tmp_path / name, tune_on="dev")
        assert "no effect" in result.notes[0]
        assert read_run(tmp_path / name).selection is None


# --- Resuming


def test_resuming_repeats_nothing_and_loses_nothing(benchmark: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    run("random", {}, benchmark, whole)
    run("random", {}, benchmark, part)
    kept = lines(part)
    (part / "predictions.jsonl").write_bytes(b"".join(kept[:4]))
    result = run("random", {}, benchmark, part)
    assert (result.n_done, result.n_new) == (12, 8)
    assert lines(part)[:4] == kept[:4]
    assert ids_of(part) == ids_of(whole)
    assert [p.payload for p in predictions(part)] == [p.payload for p in predictions(whole)]
    assert run("random", {}, benchmark, part).n_new == 0
    assert len(read_run(part).sessions) == 3


@pytest.mark.parametrize("cut", [1, 2, 20, 60, -1])
def test_a_truncated_last_line_is_done_again(benchmark: Path, tmp_path: Path, cut: int) -> None:
    out = tmp_path / "run"
    run("none", {}, benchmark, out)
    kept = lines(out)
    (out / "predictions.jsonl").write_bytes(b"".join(kept[:4]) + kept[4][: cut or None])
    result = run("none", {}, benchmark, out)
    assert sorted(ids_of(out)) == sorted({json.loads(line)["sample_id"] for line in kept})
    assert lines(out)[:4] == kept[:4]
    whole = cut == -1  # only the newline was missing
    assert result.n_new == (7 if whole else 8)
    assert ("truncated" in "".join(result.notes)) is not whole


def test_a_long_truncated_line_is_cut_off(benchmark: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run("none", {}, benchmark, out, limit=2)
    kept = lines(out)
    tail = b'{"sample_id": "d0#2", "response": "' + b"x" * 200_000
    (out / "predictions.jsonl").write_bytes(kept[0] + tail)
    assert run("none", {}, benchmark, out, limit=2).n_new == 1
    (out / "predictions.jsonl").write_bytes(tail)
    assert run("none", {}, benchmark, out, limit=2).n_new == 2


def test_a_damaged_line_in_the_middle_is_named(benchmark: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run("none", {}, benchmark, out)
    kept = lines(out)
    (out / "predictions.jsonl").write_bytes(kept[0] + b'{"sample_id\n' + kept[2])
    with pytest.raises(InputError, match=r"predictions\.jsonl:2"):
        run("none", {}, benchmark, out)


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("tfidf", {}, r'model is "bm25" there, now "tfidf"'),
        ("bm25", {"options": {"k": 3}}, r"option k is 5 there, now 3"),
        ("bm25", {"split": "dev"}, r'split is null there, now "dev"'),
        ("bm25", {"limit": 7}, r"limit is null there, now 7"),
        ("bm25", {"split": "test", "tune_on": "dev"}, r'tune_on is null there, now "dev"'),
    ],
)
def test_another_run_in_the_folder_is_refused(
    benchmark: Path, tmp_path: Path, name: str, arguments: dict[str, Any], named: str
) -> None:
    out = tmp_path / "run"
    run("bm25", {}, benchmark, out)
    before = (out / "run.json").read_bytes(), lines(out)
    with pytest.raises(InputError, match=named) as caught:
        run(name, arguments.pop("options", {}), benchmark, out, **arguments)
    assert "use another --out" in str(caught.value)
    assert ((out / "run.json").read_bytes(), lines(out)) == before


def test_a_changed_benchmark_and_seed_are_refused(
    benchmark: Path, tmp_path: Path, make_benchmark: Callable[..., Path]
) -> None:
    out = tmp_path / "run"
    run("random", {}, benchmark, out)
    with pytest.raises(InputError, match="benchmark hash"):
        run("random", {}, make_benchmark(tmp_path / "other", 3), out)
    with pytest.raises(InputError, match="seed is 0 there, now 1"):
        run("random", {"seed": 1}, benchmark, out)


def test_a_run_that_was_killed_before_its_record_was_there_starts(
    benchmark: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".run.json.4711.new").write_text("{")
    assert run("none", {}, benchmark, out).n_done == 12
    assert {path.name for path in out.iterdir()} <= {"run.json", "predictions.jsonl", ".lock"}
    assert read_run(out).status == "finished"


def test_folders_that_are_no_run_are_refused(benchmark: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        run("none", {}, benchmark, benchmark)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        run("none", {}, benchmark, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert run("none", {}, benchmark, tmp_path / "empty").n_done == 12
    (tmp_path / "empty" / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json"):
        run("none", {}, benchmark, tmp_path / "empty")


def test_only_one_process_writes(benchmark: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run("none", {}, benchmark, out, limit=1)
    with FileLock(out / ".lock"), pytest.raises(InputError, match="another process writes"):
        run("none", {}, benchmark, out, limit=1)
    run("none", {}, benchmark, out, limit=1)


# --- Failures


def test_a_model_that_raises_is_data(
    benchmark: Path, tmp_path: Path, register: Callable[..., None]
) -> None:
    register(raising=Raising)
    out = tmp_path / "run"
    result = run("raising", {}, benchmark, out)
    assert result.failed == ("d0#1", "d1#1", "d2#1", "d3#1")
    assert result.outcomes == {Outcome.REQUEST_ERROR: 4, Outcome.EMPTY: 8}
    failed = predictions(out)[1]
    assert failed.outcome is Outcome.REQUEST_ERROR
    assert failed.payload == Fragment()
    assert failed.meta == {"error": "ValueError: no idea ? about about the forest"}
    assert read_run(out).status == "finished"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_scores_that_are_no_numbers_are_failures(
    benchmark: Path, tmp_path: Path, register: Callable[..., None], value: float
) -> None:
    register(numbers=type("Bad", (Numbers,), {"value": value}))
    result = run("numbers", {}, benchmark, tmp_path / "run")
    assert result.outcomes == {Outcome.REQUEST_ERROR: 12}
    meta = predictions(tmp_path / "run")[0].meta
    assert meta is not None
    assert "the utterance score at position 0" in meta["error"]


def ok(sample: Sample, utt_ids: Any = (), **more: Any) -> Prediction:
    return Prediction(sample.sample_id, Outcome.OK, Fragment(utt_ids), **more)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (lambda sample: ok(sample, ("10",)), "'10', not an integer"),
        (lambda sample: ok(sample, (1.0,)), "1.0, not an integer"),
        (lambda sample: ok(sample, (True,)), "True, not an integer"),
        (lambda sample: ok(sample, (2**70,)), "64 bits"),
        (lambda sample: Prediction("other", Outcome.OK), "answered for sample 'other'"),
        (lambda sample: ok(sample, meta={"x": object()}), "TypeError"),
        (lambda sample: ok(sample, response="\ud800"), "Error"),
        (lambda sample: None, "AttributeError"),
    ],
)
def test_answers_that_are_none_are_failures(
    benchmark: Path,
    tmp_path: Path,
    register: Callable[..., None],
    given: Callable[[Sample], Any],
    complaint: str,
) -> None:
    register(odd=type("Given", (Odd,), {"given": staticmethod(given)}))
    result = run("odd", {}, benchmark, tmp_path / "run", limit=1)
    assert result.failed == ("d0#0",)
    meta = predictions(tmp_path / "run")[0].meta
    assert meta is not None
    assert complaint in meta["error"]


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (lambda sample: ok(sample), Outcome.EMPTY),
        (lambda sample: ok(sample, (np.int64(10),)), Outcome.OK),
        (lambda sample: ok(sample, [10, 10, 99]), Outcome.OK),
        (lambda sample: ok(sample, response="text"), Outcome.OK),
        (lambda sample: Prediction(sample.sample_id, Outcome.REFUSAL), Outcome.REFUSAL),
    ],
)
def test_outcome_follows_from_ids_unless_the_model_knows_better(
    benchmark: Path,
    tmp_path: Path,
    register: Callable[..., None],
    given: Callable[[Sample], Any],
    outcome: Outcome,
) -> None:
    register(odd=type("Given", (Odd,), {"given": staticmethod(given)}))
    assert run("odd", {}, benchmark, tmp_path / "run", limit=1).outcomes == {outcome: 1}


def test_ctrl_c_leaves_a_run_to_go_on_with(
    benchmark: Path, tmp_path: Path, register: Callable[..., None]
) -> None:
    register(interrupting=type("Once", (Interrupting,), {}))
    out = tmp_path / "run"
    command = ["interrupting", str(benchmark), "--out", str(out)]
    first = CliRunner().invoke(cli.run, command)
    assert first.exit_code == 130
    assert "run the same command again" in first.stderr
    assert read_run(out).status == "interrupted"
    assert len(lines(out)) == 3
    second = CliRunner().invoke(cli.run, command)
    assert second.exit_code == 0
    assert "12 of 12 predictions (9 new)" in second.stdout
    assert len(set(ids_of(out))) == len(lines(out)) == 12


def test_a_full_disk_loses_nothing(
    benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    written = []

    def full(run_folder: Any, line: bytes) -> None:
        if len(written) == 5:
            raise OSError(28, "No space left on device")
        written.append(line)
        write(run_folder, line)

    with monkeypatch.context() as patch:
        from ffr_eval.runs import RunFolder

        write = RunFolder._write
        patch.setattr(RunFolder, "_write", full)
        with pytest.raises(FfrError, match="No space left on device") as caught:
            run("none", {}, benchmark, out)
    assert caught.value.exit_code == 1
    assert "5 predictions written so far are safe" in str(caught.value)
    assert read_run(out).status == "failed"
    assert lines(out) == written
    assert run("none", {}, benchmark, out).n_new == 7


def test_a_part_of_a_line_is_taken_back(benchmark: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run("none", {}, benchmark, out, limit=2)
    before = lines(out)

    class Full:
        """A stream on a disk with room for ten bytes."""

        def __init__(self, stream: Any) -> None:
            self.stream, self.room = stream, 10

        def write(self, data: memoryview) -> int:
            if not self.room:
                raise OSError(28, "No space left on device")
            n_written: int = self.stream.write(data[: self.room])
            self.room -= n_written
            return n_written

        def __getattr__(self, name: str) -> Any:
            return getattr(self.stream, name)

    def fill() -> None:
        with open_run(out, read_run(out)) as folder:
            folder._stream = Full(folder._stream)  # type: ignore[assignment]
            folder.append(Prediction("d9", Outcome.EMPTY))

    with pytest.raises(FfrError, match="No space left"):
        fill()
    assert lines(out) == before


def test_a_folder_that_cannot_be_made_is_an_error(benchmark: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FfrError):
        run("none", {}, benchmark, tmp_path / "file" / "run")


# --- Commands


def test_run_command(benchmark: Path, tmp_path: Path, register: Callable[..., None]) -> None:
    register(raising=Raising)
    out = tmp_path / "run"
    done = CliRunner().invoke(cli.run, ["bm25", str(benchmark), "--out", str(out), "-o", "k=2"])
    assert done.exit_code == 0
    assert f"ffr score {out}" in done.stdout
    assert "8 ok, 4 empty" in done.stdout
    failing = ["raising", str(benchmark), "--out", str(tmp_path / "b")]
    done = CliRunner().invoke(cli.run, failing)
    assert done.exit_code == 1
    assert "the model failed for 4 samples" in done.stderr
    done = CliRunner().invoke(cli.run, ["bm25", str(benchmark), "--out", str(out), "-o", "k=9"])
    assert isinstance(done.exception, InputError)


def test_models_command() -> None:
    listed = json.loads(CliRunner().invoke(models_cli.models, ["--json"]).stdout)
    bm25 = next(record for record in listed if record["name"] == "bm25")
    assert set(bm25) == {"name", "capabilities", "extra", "installed"}
    assert bm25["capabilities"]["answers"] == "scores"
    assert "bm25" in CliRunner().invoke(models_cli.models).stdout


def test_a_model_that_fails_while_it_is_tuned_is_a_failed_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr("baselines.simple.Random.fit", fail)
    with pytest.raises(FfrError, match="tuned on split 'dev': RuntimeError: no memory") as caught:
        run("random", {}, "ffr-sample", tmp_path / "run", tune_on="dev")
    assert caught.value.exit_code == 1


def test_a_model_that_cannot_be_made_is_a_failed_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no weights")

    monkeypatch.setattr("baselines.simple.Random.__init__", fail)
    with pytest.raises(FfrError, match="cannot be made: OSError: no weights"):
        run("random", {}, "ffr-sample", tmp_path / "run")
    assert not (tmp_path / "run").exists()
