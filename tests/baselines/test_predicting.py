"""Models that answer many samples at once: order, failures, stopping, asking again."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from baselines.model import Capabilities, Model, answer
from baselines.predicting import predictions
from baselines.runner import run
from baselines.session import Session, Stopped
from ffr_eval.benchmark import read_benchmark
from ffr_eval.errors import FfrError, InputError
from ffr_eval.runs import read_run
from ffr_eval.types import Fragment, Outcome, Prediction, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Batched(Model):
    """Answers in pairs, the second first; what it does else is set on the class."""

    capabilities = Capabilities(text=True)
    closed = 0
    stops_after: int | None = None
    raises: Exception | None = None
    bad: Any = None
    outcome = Outcome.OK

    def predict(self, sample: Sample) -> Prediction:
        raise AssertionError("asked one by one")

    def predict_many(self, samples: Iterator[Sample], session: Session) -> Iterator[Prediction]:
        n_done = 0
        while pair := [sample for sample in (next(samples, None), next(samples, None)) if sample]:
            for sample in reversed(pair):
                assert sample.gold is None
                n_done += 1
                yield self._answer(sample)
                if n_done == self.stops_after:
                    raise Stopped("the money is spent")
                if self.raises is not None:
                    raise self.raises

    def _answer(self, sample: Sample) -> Prediction:
        if self.bad is not None:
            return Prediction(sample.sample_id, Outcome.OK, Fragment((self.bad,)))
        if self.outcome is not Outcome.OK:
            return Prediction(sample.sample_id, self.outcome, cost=0.5)
        return answer(sample, Fragment((sample.dialogue.turns[0].utt_id,)))

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def batched(register: Callable[..., None]) -> type[Batched]:
    kind = type("Fresh", (Batched,), {})
    register(batched=kind)
    return kind


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def test_predictions_are_written_as_they_come_and_the_model_is_closed(
    batched: type[Batched], benchmark: Path, tmp_path: Path
) -> None:
    result = run("batched", {}, benchmark, tmp_path / "run")
    names = [line["sample_id"] for line in lines(tmp_path / "run")]
    assert names[:4] == ["d0#1", "d0#0", "d1#0", "d0#2"]
    assert (result.n_done, result.n_new, batched.closed) == (12, 12, 1)


def test_an_answer_that_is_none_fails_its_sample_alone(
    batched: type[Batched], benchmark: Path, tmp_path: Path
) -> None:
    batched.bad = "seven"
    result = run("batched", {}, benchmark, tmp_path / "run", limit=2)
    assert result.outcomes == {Outcome.REQUEST_ERROR: 2}
    assert "'seven'" in lines(tmp_path / "run")[0]["meta"]["error"]


def test_a_model_that_stops_on_purpose_goes_on_later(
    batched: type[Batched], benchmark: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    batched.stops_after = 5
    with pytest.raises(Stopped, match="money"):
        run("batched", {}, benchmark, out)
    assert len(lines(out)) == 5
    assert read_run(out).status == "interrupted"
    assert batched.closed == 1
    batched.stops_after = None
    assert run("batched", {}, benchmark, out).n_new == 7
    assert len({line["sample_id"] for line in lines(out)}) == len(lines(out)) == 12


def test_a_model_that_fails_as_a_whole_keeps_what_it_answered(
    batched: type[Batched], benchmark: Path, tmp_path: Path
) -> None:
    batched.raises = ValueError("broken pipe")
    with pytest.raises(FfrError, match="ValueError: broken pipe"):
        run("batched", {}, benchmark, tmp_path / "run")
    assert len(lines(tmp_path / "run")) == 1
    assert read_run(tmp_path / "run").status == "failed"


def test_asked_again_by_outcome_the_last_line_counts(
    batched: type[Batched], benchmark: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    batched.outcome = Outcome.REQUEST_ERROR
    run("batched", {}, benchmark, out)
    batched.outcome = Outcome.OK
    assert run("batched", {}, benchmark, out).n_new == 0
    assert run("batched", {}, benchmark, out, retry_outcomes=[Outcome.TRUNCATED]).n_new == 0
    again = run("batched", {}, benchmark, out, retry_outcomes=[Outcome.REQUEST_ERROR])
    assert (again.n_new, again.n_done) == (12, 12)
    assert again.outcomes == {Outcome.OK: 12}
    assert len(lines(out)) == 24


def test_what_earlier_answers_cost_is_told_to_the_model(
    batched: type[Batched], benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, spent = tmp_path / "run", []
    batched.outcome = Outcome.TRUNCATED
    many = Batched.predict_many

    def watched(self: Batched, samples: Iterator[Sample], session: Session) -> Any:
        spent.append(session.spent)
        return many(self, samples, session)

    monkeypatch.setattr(batched, "predict_many", watched)
    batched.stops_after = 3
    for _ in range(2):
        with pytest.raises(Stopped):
            run("batched", {}, benchmark, out)
    assert spent == [0.0, 1.5]


def test_the_first_interrupt_finishes_what_is_under_way(
    batched: type[Batched],
    benchmark: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    first = Batched._answer

    def interrupted(self: Batched, sample: Sample) -> Prediction:
        if sample.sample_id == "d0#1":
            os.kill(os.getpid(), signal.SIGINT)
        return first(self, sample)

    monkeypatch.setattr(batched, "_answer", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run("batched", {}, benchmark, out)
    assert signal.getsignal(signal.SIGINT) == before
    assert [line["sample_id"] for line in lines(out)] == ["d0#1", "d0#0"]
    assert read_run(out).status == "interrupted"
    assert "Ctrl-C again" in capfd.readouterr().err
    monkeypatch.setattr(batched, "_answer", first)
    assert run("batched", {}, benchmark, out).n_new == 10


def test_the_second_interrupt_stops_at_once(
    batched: type[Batched], benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(self: Batched, sample: Sample) -> Prediction:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("went on")

    monkeypatch.setattr(batched, "_answer", twice)
    with pytest.raises(KeyboardInterrupt):
        run("batched", {}, benchmark, tmp_path / "run")
    assert lines(tmp_path / "run") == []
    assert batched.closed == 1


def test_answers_that_nobody_asked_for_and_answers_left_out(
    batched: type[Batched], benchmark: Path
) -> None:
    data = read_benchmark(benchmark)
    model = batched(batched.Options())
    stray = type("Stray", (Batched,), {"_answer": lambda _, __: Prediction("x", Outcome.OK)})
    with pytest.raises(FfrError, match="'x', which it was not asked for"):
        list(predictions(stray(stray.Options()), data.samples(), Session()))

    def lazy(samples: Iterator[Sample], session: Session) -> Iterator[Prediction]:
        list(samples)
        return iter(())

    model.predict_many = lazy  # type: ignore[method-assign]
    with pytest.raises(FfrError, match="12 samples without an answer, first 'd0#0'"):
        list(predictions(model, data.samples(), Session()))


def test_a_folder_without_a_single_prediction_is_taken_over(
    batched: type[Batched], benchmark: Path, tmp_path: Path
) -> None:
    """A run that ended before its first answer, say for want of a key, binds nobody."""
    out = tmp_path / "run"
    run("random", {"seed": 1}, benchmark, out, limit=1)
    (out / "predictions.jsonl").write_bytes(b"")
    result = run("batched", {}, benchmark, out)
    assert result.n_done == 12
    assert any("begun anew" in note for note in result.notes)
    assert len(read_run(out).sessions) == 1
    with pytest.raises(InputError, match="another run"):
        run("random", {"seed": 1}, benchmark, out, limit=1)


def test_why_requests_failed_is_said_once(
    batched: type[Batched], benchmark: Path, tmp_path: Path
) -> None:
    batched.bad = "seven"
    (note,) = run("batched", {}, benchmark, tmp_path / "run", limit=2).notes
    assert note.startswith("2 request errors, most often (2): FfrError: an id is 'seven'")
