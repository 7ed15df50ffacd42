"""What a run offers a model that computes ahead: the machine, preparation, weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from baselines import cli as commands
from baselines import models_cli
from baselines.machine import EMBEDDING_SETTINGS, Machine
from baselines.model import Capabilities, Model, Scores, ScoringModel, answer, create
from baselines.runner import run
from ffr_eval.errors import FfrError, InputError, MissingExtraError
from ffr_eval.runs import read_run
from ffr_eval.types import Fragment, Prediction, Sample

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("register")


class Embedding(ScoringModel):
    """Can answer only what it was prepared for."""

    capabilities = Capabilities(text=True, needs_tuning=True, answers="scores")
    settings = EMBEDDING_SETTINGS
    min_score = None
    weights = "weights-1"
    fails: BaseException | None = None
    machines: list[Machine]
    prepared: list[list[str]]

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        type(self).machines, type(self).prepared = [], []
        self._ready: set[str] = set()

    def use(self, machine: Machine) -> None:
        type(self).machines.append(machine)
        self.revision = self.weights

    def prepare(self, benchmark: Any, rows: Any, progress: bool, note: Any) -> None:
        if self.fails is not None:
            raise self.fails
        assert rows.dtype == np.int64
        ids = [benchmark.queries.sample_id[row] for row in rows.tolist()]
        type(self).prepared.append(ids)
        self._ready |= set(ids)
        note(f"prepared {len(ids)} samples")

    def score(self, sample: Sample) -> Scores:
        if sample.sample_id not in self._ready:
            raise LookupError(f"{sample.sample_id} was not prepared")
        dialogue = sample.dialogue
        match = [-1.0 - (turn.text.split()[1] in sample.query) for turn in dialogue.turns]
        return Scores(-np.array(match) - 2.5, np.linspace(-0.2, -0.1, len(dialogue.images)))


@pytest.fixture
def model(register: Callable[..., None]) -> type[Embedding]:
    kind = type("Once", (Embedding,), {})
    register(embedding=kind)
    return kind


# --- The machine


def test_a_model_gets_the_machine_even_if_nothing_was_given(model: type[Embedding]) -> None:
    create("embedding", {})
    assert model.machines == [Machine()]
    machine = Machine("cpu", 4, Path("python"), Path("store"))
    create("embedding", {}, machine)
    assert model.machines == [machine]


@pytest.mark.parametrize(
    ("machine", "flags"),
    [
        (Machine(device="cpu"), ["--device"]),
        (Machine(batch_size=1), ["--batch-size"]),
        (Machine(python=Path("p")), ["--python"]),
        (Machine(store=Path("s")), ["--store"]),
        (Machine(device="cpu", store=Path("s")), ["--device", "--store"]),
    ],
)
def test_a_model_without_embeddings_refuses_the_machine(machine: Machine, flags: list[str]) -> None:
    with pytest.raises(InputError, match="no effect on the model 'bm25'") as e:
        create("bm25", {}, machine)
    assert e.value.exit_code == 2
    assert f"leave out {' and '.join(flags)}" in str(e.value)
    create("bm25", {}, Machine())


def test_what_a_model_requires_is_looked_for_in_its_own_interpreter(
    model: type[Embedding], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "requires", ("no_such_package",))
    monkeypatch.setattr(model, "extra", "clip")
    with pytest.raises(MissingExtraError, match="clip"):
        create("embedding", {})
    create("embedding", {}, Machine(python=Path("elsewhere/bin/python")))


def test_the_command_passes_the_machine_and_the_run_records_it(
    model: type[Embedding], benchmark: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = ["embedding", str(benchmark), "--out", str(out)]
    given = ["--device", "cpu", "--batch-size", "4", "--python", "p/python", "--store", "s"]
    done = CliRunner().invoke(commands.run, [*command, *given])
    assert done.exit_code == 0, done.output
    assert model.machines == [Machine("cpu", 4, Path("p/python"), Path("s"))]
    again = CliRunner().invoke(commands.run, command)  # another machine is no other run
    assert again.exit_code == 0, again.output
    record = json.loads((out / "run.json").read_text())
    machines = [session["machine"] for session in record["sessions"]]
    assert machines == [{"device": "cpu", "batch_size": 4, "other_python": True}, None]
    assert "device" not in record["options"]
    assert "p/python" not in (out / "run.json").read_text()
    refused = CliRunner().invoke(
        commands.run, ["bm25", str(benchmark), "--device", "cpu", "--out", "x"]
    )
    assert isinstance(refused.exception, InputError)
    assert CliRunner().invoke(commands.run, [*command, "--batch-size", "0"]).exit_code == 2


# --- Preparing


def test_preparing_is_told_every_sample_that_is_asked_for(
    model: type[Embedding], benchmark: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    result = run("embedding", {}, benchmark, out)
    assert (result.failed, result.notes) == ((), ("prepared 12 samples",))
    assert [len(ids) for ids in model.prepared] == [12]
    kept = (out / "predictions.jsonl").read_bytes().splitlines(keepends=True)
    (out / "predictions.jsonl").write_bytes(b"".join(kept[:9]))
    assert run("embedding", {}, benchmark, out).failed == ()
    assert model.prepared == [["d3#0", "d3#1", "d3#2"]]
    run("embedding", {}, benchmark, out)
    assert model.prepared == []


def test_preparing_covers_the_tuning_split_and_the_oracle_gap(
    model: type[Embedding], benchmark: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert run("embedding", {}, benchmark, out, tune_on="dev").failed == ()
    (ids,) = model.prepared
    assert len(ids) == len(set(ids)) == 12
    assert ids[-4:] == ["d0#1", "d1#1", "d2#1", "d3#1"]  # the tuning split
    gap = read_run(out).oracle_gap
    record = json.loads((out / "run.json").read_text())
    kept = (out / "predictions.jsonl").read_bytes().splitlines(keepends=True)

    (out / "predictions.jsonl").write_bytes(b"".join(kept[:6]))  # with the gap known
    assert run("embedding", {}, benchmark, out, tune_on="dev").n_new == 2
    assert model.prepared == [["d3#0", "d3#2"]]
    assert read_run(out).oracle_gap == gap

    (out / "run.json").write_text(json.dumps(record | {"oracle_gap": None}))
    assert run("embedding", {}, benchmark, out, tune_on="dev").n_new == 0
    assert [len(ids) for ids in model.prepared] == [8]  # the split, not what it was tuned on
    assert read_run(out).oracle_gap == gap


@pytest.mark.parametrize(
    ("error", "kind", "code", "complaint"),
    [
        (RuntimeError("no memory"), FfrError, 1, "failed while preparing: RuntimeError: no memory"),
        (FfrError("the worker died"), FfrError, 1, "^the worker died$"),
        (InputError("no weights"), InputError, 2, "^no weights$"),
        (KeyboardInterrupt(), KeyboardInterrupt, None, None),
    ],
)
def test_nothing_is_predicted_if_preparing_fails_and_the_next_try_goes_on(
    model: type[Embedding],
    benchmark: Path,
    tmp_path: Path,
    error: BaseException,
    kind: type[BaseException],
    code: int | None,
    complaint: str | None,
) -> None:
    out = tmp_path / "run"
    model.fails = error
    with pytest.raises(kind, match=complaint) as caught:
        run("embedding", {}, benchmark, out, tune_on="dev")
    assert getattr(caught.value, "exit_code", None) == code
    assert (out / "predictions.jsonl").read_bytes() == b""
    record = read_run(out)
    assert record.status == ("failed" if code else "interrupted")
    assert record.selection is None
    model.fails = None
    assert run("embedding", {}, benchmark, out, tune_on="dev").n_new == 8


# --- Weights


def test_other_weights_are_another_run(
    model: type[Embedding], benchmark: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run("embedding", {}, benchmark, out)
    assert read_run(out).model_revision == "weights-1"
    model.weights = "weights-2"
    named = r'model_revision is "weights-1" there, now "weights-2"'
    with pytest.raises(InputError, match=named):
        run("embedding", {}, benchmark, out)
    assert read_run(out).model_revision == "weights-1"


def test_a_run_of_an_older_version_is_read_and_goes_on(benchmark: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run("bm25", {}, benchmark, out, tune_on="dev")
    record = json.loads((out / "run.json").read_text())
    for name in ("model_revision", "oracle_gap"):
        del record[name]
    del record["sessions"][0]["machine"]
    (out / "run.json").write_text(json.dumps(record))
    older = read_run(out)
    assert (older.model_revision, older.oracle_gap, older.sessions[0].machine) == (None, None, None)
    assert run("bm25", {}, benchmark, out, tune_on="dev").n_new == 0
    assert read_run(out).oracle_gap is not None


# --- The oracle gap


def oracle_gap(folder: Path) -> dict[str, Any]:
    gap = read_run(folder).oracle_gap
    assert gap is not None
    return gap


def test_the_oracle_gap_is_what_ffr_score_says(tmp_path: Path, ffr: Any) -> None:
    out = tmp_path / "run"
    run("bm25", {}, "ffr-sample", out, tune_on="dev")
    gap = oracle_gap(out)
    assert gap["n_samples"] == 104
    micro = ffr("score", out, "--no-ci", "--json", "-").json["micro"]
    for name in ("utterance", "image"):
        assert gap[name]["f1"] == micro[name]["f1"]
        assert gap[name]["gap"] == gap[name]["best_f1"] - gap[name]["f1"] > 0
    best, image = gap["utterance"]["best_policy"], gap["image"]["best_policy"]
    assert (best["policy"], image["policy"]) == ("top-k", "relative")
    for options, name in (
        ({"k": best["k"]}, "utterance"),
        ({"policy": "relative", "ratio": 1.0, "ratio_img": image["ratio"]}, "image"),
    ):
        fixed = tmp_path / name
        run("bm25", options, "ffr-sample", fixed, "test")
        figures = ffr("score", fixed, "--no-ci", "--json", "-").json["micro"]
        assert gap[name]["best_f1"] == figures[name]["f1"]


def test_the_oracle_gap_does_not_touch_the_answers(benchmark: Path, tmp_path: Path) -> None:
    run("bm25", {}, benchmark, tmp_path / "a", tune_on="dev")
    assert oracle_gap(tmp_path / "a")["utterance"]["best_policy"]["k"] == 2
    used = oracle_gap(tmp_path / "a")["utterance"]["policy"]
    assert used["k"] == 1  # each query of dev has one utterance, those of test two or none
    for line in (tmp_path / "a" / "predictions.jsonl").read_bytes().splitlines():
        assert len(json.loads(line)["utt_ids"]) <= 1


def test_a_run_that_goes_on_has_the_oracle_gap_of_a_whole_one(
    benchmark: Path, tmp_path: Path
) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    run("tfidf", {}, benchmark, whole, tune_on="dev")
    shutil.copytree(whole, part)
    record = json.loads((part / "run.json").read_text())
    (part / "run.json").write_text(json.dumps(record | {"oracle_gap": None}))
    kept = (part / "predictions.jsonl").read_bytes().splitlines(keepends=True)
    (part / "predictions.jsonl").write_bytes(b"".join(kept[:3]))
    assert run("tfidf", {}, benchmark, part, tune_on="dev").n_new == 5
    assert oracle_gap(part) == oracle_gap(whole)


def test_no_oracle_gap_without_tuning_or_gold(
    benchmark: Path, tmp_path: Path, model: type[Embedding]
) -> None:
    for name, arguments in (
        ("untuned", {}),
        ("fixed", {"tune_on": "dev", "options": {"policy": "gap"}}),
    ):
        out = tmp_path / name
        run("bm25", arguments.pop("options", {}), benchmark, out, **arguments)
        assert read_run(out).oracle_gap is None
    run("random", {}, benchmark, tmp_path / "random", tune_on="dev")  # learns, but has no policy
    assert read_run(tmp_path / "random").oracle_gap is None
    # The first query of dev has gold among the utterances alone.
    run("bm25", {}, benchmark, tmp_path / "back", "dev", tune_on="test")
    assert set(oracle_gap(tmp_path / "back")) == {"n_samples", "utterance"}


def test_a_model_that_fails_for_a_sample_has_no_oracle_gap(
    benchmark: Path, tmp_path: Path, register: Callable[..., None]
) -> None:
    class Failing(ScoringModel):
        capabilities = Capabilities(answers="scores", needs_tuning=True)

        def score(self, sample: Sample) -> Scores:
            if sample.sample_id == "d1#0":
                raise ValueError("no idea")
            return Scores(np.ones(len(sample.dialogue.turns)), np.ones(len(sample.dialogue.images)))

    register(failing=Failing)
    result = run("failing", {}, benchmark, tmp_path / "run", tune_on="dev")
    assert result.failed == ("d1#0",)
    assert read_run(tmp_path / "run").oracle_gap is None
    assert read_run(tmp_path / "run").status == "finished"
    assert "no oracle gap" in result.notes[-1]
    assert "no idea" in result.notes[-1]


def test_the_command_prints_what_was_tuned_and_the_oracle_gap(
    benchmark: Path, tmp_path: Path
) -> None:
    command = ["bm25", str(benchmark), "--out", str(tmp_path / "run"), "--tune-on", "dev"]
    done = CliRunner().invoke(commands.run, command)
    figures = oracle_gap(tmp_path / "run")["utterance"]
    expected = (
        f"selection of utterances: top 1 (F1 1.000 on 'dev', {figures['f1']:.3f} here; "
        f"best in hindsight: top 2, {figures['best_f1']:.3f})"
    )
    assert expected in done.stdout
    assert "selection of images: top 1 (no gold on 'dev', " in done.stdout
    untuned = CliRunner().invoke(commands.run, [*command[:3], str(tmp_path / "b")])
    assert untuned.exit_code == 0
    assert "hindsight" not in untuned.stdout


# --- The list of models


def test_models_with_many_options_are_listed_whole(register: Callable[..., None]) -> None:
    from baselines.selection import SelectionOptions

    class Many(SelectionOptions, frozen=True, forbid_unknown_fields=True):
        model: str = "some-architecture-with-a-long-name/and_a_long_tag_that_cannot_be_broken"
        context: int = 2
        calibrate: bool = True
        prompt: str = "Find what fits."
        k: int = 3

    class Wide(Model):
        capabilities = Capabilities(text=True, images=True, captions=True)
        Options = Many

        def predict(self, sample: Sample) -> Prediction:
            return answer(sample, Fragment())

    class WideScores(Wide):
        capabilities = Capabilities(text=True, images=True, answers="scores")

    register(wide=Wide, scores=WideScores)
    text = CliRunner().invoke(models_cli.models).stdout
    assert max(map(len, text.splitlines())) <= 80
    squeezed = "".join(text.split())
    assert "text,images" in squeezed
    for part in ("context=2", "calibrate=true", "k=3", "prompt='Findwhatfits.'"):
        assert part in squeezed
    assert squeezed.count("k_img=1") == 2  # of the model with ids, and once for all with scores
    assert "all with scores  policy= k=5 k_img=1" in text
