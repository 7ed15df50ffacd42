"""Runs a model over a benchmark into a run folder."""

from __future__ import annotations

import textwrap
from collections import Counter
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from baselines.hindsight import Hindsight
from baselines.interruption import stop_on_interrupt
from baselines.machine import Machine
from baselines.model import ScoringModel, create
from baselines.predicting import predictions
from baselines.progress import sample_progress
from baselines.session import Session
from ffr_eval.benchmark.reader import read_benchmark
from ffr_eval.errors import FfrError, InputError
from ffr_eval.runs import BenchmarkRef, MachineRecord, RunRecord, open_run
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping

    from baselines.model import Model
    from ffr_eval.benchmark import Benchmark
    from ffr_eval.ragged import IntArray
    from ffr_eval.runs import RunFolder
    from ffr_eval.types import Prediction

_LONGEST_REASON: Final = 160

DEFAULT_SPLIT: Final = "test"
"""The split that is predicted if there is one to tune on and none is named."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run folder holds now.

    Attributes:
        path: The run folder.
        split: The split that was predicted; ``None`` for all samples.
        n_samples: How many samples the run is to have.
        n_done: How many of them have a prediction.
        n_new: How many predictions this session made.
        outcomes: How often each outcome occurs among those done.
        failed: The ids of samples for which the model failed.
        notes: What the user should know.
        record: What ``run.json`` says.
    """

    path: Path
    split: str | None
    n_samples: int
    n_done: int
    n_new: int
    outcomes: Counter[Outcome]
    failed: tuple[str, ...]
    notes: tuple[str, ...]
    record: RunRecord


def run(
    model_name: str,
    options: Mapping[str, Any],
    benchmark: str | Path,
    out: str | Path,
    split: str | None = None,
    limit: int | None = None,
    tune_on: str | None = None,
    *,
    machine: Machine | None = None,
    retry_outcomes: Collection[Outcome] = (),
    scale_out: ScaleOut | None = None,
    save_scores: bool = False,
    progress: bool = False,
    note: Callable[[str], None] | None = None,
) -> RunResult:
    """Run a registered model over a benchmark; samples that the run folder has are not run again.

    A model that raises, or gives something that is not an answer, has failed that sample: the
    prediction has the outcome ``request_error`` and the run goes on.

    Args:
        model_name: The registered name.
        options: The model's options; values may be strings.
        benchmark: A benchmark folder, or the name of a bundled benchmark.
        out: The run folder: a new one, or one of the same run to go on with.
        split: The split to predict. Default: all samples; with ``tune_on``, the split ``test``.
        limit: Only the first so many samples.
        tune_on: The split whose gold the model may learn from.
        machine: Where, how fast and at what expense to compute; each model takes some settings.
        retry_outcomes: Ask again for samples that ended so; their last prediction counts.
        scale_out: Run replicas of the model over Ray Data.
        save_scores: Keep the scores of scoring models in the predictions.
        progress: Show progress on stderr, if it is a terminal.
        note: Called with each note as it arises.

    Raises:
        InputError: If the arguments make no sense together, or the folder holds another run.
        FfrError: If the run folder cannot be written, or the model fails while it is made, prepares
            itself or is tuned, or fails as a whole.
        Stopped: If the model ends early on purpose; the same call goes on with the run.
        KeyboardInterrupt: After what was under way is done (Ctrl-C) and the run folder is in order;
            the same call goes on with it.
    """
    notes = _Notes(note)
    if Outcome.PARSE_ERROR in retry_outcomes:  # the response cache knows just that answer
        machine = replace(machine or Machine(), refresh=True)
    model = create(model_name, options, machine)
    with closing(model):
        return _run(
            model,
            benchmark,
            Path(out),
            (split, limit, tune_on),
            machine,
            _Wish(frozenset(retry_outcomes), scale_out, save_scores, progress),
            notes,
        )


@dataclass(frozen=True, slots=True)
class ScaleOut:
    """Over what to spread a run.

    Attributes:
        address: Of the Ray cluster; ``None`` for this machine alone.
        replicas: How many replicas of the model; ``None`` for as many as there is room for.
    """

    address: str | None = None
    replicas: int | None = None


@dataclass(frozen=True, slots=True)
class _Wish:
    """How this session goes about the run."""

    retry: frozenset[Outcome]
    scale_out: ScaleOut | None
    save_scores: bool
    progress: bool


def _run(
    model: Model,
    benchmark: str | Path,
    out: Path,
    plan: tuple[str | None, int | None, str | None],
    machine: Machine | None,
    wish: _Wish,
    notes: _Notes,
) -> RunResult:
    split, limit, tune_on = plan
    data, split, rows = plan_run(model, benchmark, split, limit, tune_on, notes.add)
    record = RunRecord(
        model=model.name,
        model_version=model.version,
        model_revision=model.revision,
        options=msgspec.to_builtins(model.options),
        benchmark=BenchmarkRef(data.name, data.info.version, data.content_hash, _place(benchmark)),
        split=split,
        limit=limit,
        tune_on=tune_on,
        prompt_hash=model.prompt_hash,
        seed=getattr(model.options, "seed", None),
        n_samples=len(rows),
    )
    machine_record = _machine_record(machine, wish.scale_out)
    with open_run(out, record, model.requires, machine_record) as folder:
        notes.extend(folder.notes)
        names = {row: data.queries.sample_id[row] for row in rows.tolist()}
        todo = [
            row
            for row, name in names.items()
            if name not in folder.done or folder.outcomes[name] in wish.retry
        ]
        hindsight = _hindsight(model, data, folder, rows)
        wanted = rows.tolist() if hindsight is not None else todo
        if tune_on is not None and model.learns and folder.record.selection is None:
            wanted = [*wanted, *data.rows(tune_on).tolist()]
        if wanted:
            prepare(model, data, wanted, wish.progress, notes.add)
        _learn(model, data, folder, wish.progress)
        _predict(model, data, folder, todo, len(rows), hindsight, machine, wish, notes)
        if hindsight is not None:
            _look_back(hindsight, data, rows.tolist(), folder, wish.progress, notes.add)
        outcomes = {name: folder.outcomes[name] for name in names.values() if name in folder.done}
    return RunResult(
        path=out,
        split=split,
        n_samples=len(rows),
        n_done=len(outcomes),
        n_new=len(todo),
        outcomes=Counter(outcomes.values()),
        failed=tuple(name for name in outcomes if outcomes[name] is Outcome.REQUEST_ERROR),
        notes=tuple(notes.all),
        record=folder.record,
    )


def plan_run(
    model: Model,
    benchmark: str | Path,
    split: str | None,
    limit: int | None,
    tune_on: str | None,
    note: Callable[[str], None],
) -> tuple[Benchmark, str | None, IntArray]:
    """What is to be predicted: the benchmark, the split, and the rows.

    Raises:
        InputError: If the arguments make no sense together, or the benchmark cannot be read.
    """
    if tune_on is None and model.must_learn:
        option = model.learning_option
        message = f"{option}={getattr(model.options, option)} needs a split to learn from"
        remedy = f"add --tune-on SPLIT, or give another {option}"
        raise InputError(message, field=f"option {option}", remedy=remedy)
    data = read_benchmark(benchmark)
    for warning in data.warnings:
        note(warning)
    split = resolved_split(data, split, tune_on)
    rows = planned_rows(data, split, limit)
    if tune_on is not None and not model.learns:
        note(f"{model.name} has nothing to tune with these options: --tune-on has no effect")
    return data, split, rows


def resolved_split(benchmark: Benchmark, split: str | None, tune_on: str | None) -> str | None:
    """The split to predict.

    Raises:
        InputError: If a split does not exist, or is both tuned on and predicted.
    """
    if split is None and tune_on is not None and DEFAULT_SPLIT in benchmark.splits:
        split = DEFAULT_SPLIT
    for name in (split, tune_on):
        if name is not None:
            benchmark.rows(name)
    if tune_on is not None and split in {None, tune_on}:
        message = f"{tune_on!r} would be tuned on and predicted: the figures would flatter"
        remedy = "name another split with --split or --tune-on (`ffr data split` makes splits)"
        raise InputError(message, field="tune_on", remedy=remedy)
    return split


def planned_rows(benchmark: Benchmark, split: str | None, limit: int | None) -> IntArray:
    """The rows to predict: the first ``limit`` of the split, those of one dialogue together."""
    if limit is not None and limit < 1:
        raise InputError(f"at least 1, not {limit}", field="limit")
    rows = benchmark.rows(split)[:limit]
    return rows[np.argsort(benchmark.queries.dialogue[rows], kind="stable")]


class _Notes:
    def __init__(self, listener: Callable[[str], None] | None) -> None:
        self.all: list[str] = []
        self._listener = listener

    def add(self, text: str) -> None:
        self.all.append(text)
        if self._listener is not None:
            self._listener(text)

    def extend(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.add(text)


def _place(benchmark: str | Path) -> str:
    path = Path(benchmark)
    place = str(path.absolute()) if path.is_dir() else str(benchmark)
    try:
        place.encode()
    except UnicodeEncodeError:
        remedy = "rename the folder"
        raise InputError("the path is not UTF-8", file=repr(place), remedy=remedy) from None
    return place


def _machine_record(machine: Machine | None, scale_out: ScaleOut | None) -> MachineRecord | None:
    """What was said of the machine; paths are left out, as they say nothing elsewhere."""
    machine = machine or Machine()
    record = MachineRecord(
        device=None if machine.device == "auto" else machine.device,
        batch_size=machine.batch_size,
        other_python=machine.python is not None,
        concurrency=machine.concurrency,
        engine=None if scale_out is None else "ray",
    )
    return None if record == MachineRecord() else record


def _predict(
    model: Model,
    benchmark: Benchmark,
    folder: RunFolder,
    todo: list[int],
    n_samples: int,
    hindsight: Hindsight | None,
    machine: Machine | None,
    wish: _Wish,
    notes: _Notes,
) -> None:
    """Answer the samples that are left, each written as soon as it is there."""
    with sample_progress(wish.progress, model.name, n_samples, n_samples - len(todo)) as bar:
        session = Session(notes.add, bar.status, wish.progress, folder.spent, folder.pay)
        if wish.scale_out is None:
            answers = predictions(
                model,
                (benchmark.sample(row) for row in todo),
                session,
                save_scores=wish.save_scores,
                hindsight=hindsight,
            )
        else:
            answers = _over_ray(model, folder, todo, machine, wish, session)
        n_left, errors = len(todo), Counter[str]()
        with stop_on_interrupt(session.stop), closing(answers):
            try:
                for prediction in answers:
                    folder.append(prediction)
                    bar.advance()
                    n_left -= 1
                    if prediction.outcome is Outcome.REQUEST_ERROR:
                        errors[_reason(prediction)] += 1
            except (KeyboardInterrupt, FfrError):
                raise
            except Exception as error:
                text = f"the model failed: {type(error).__name__}: {error}"
                hint = "what was answered is kept; the same command goes on with the rest"
                raise FfrError(f"{text}\n  → {hint}") from error
    for text, count in errors.most_common(1):
        notes.add(f"{errors.total()} request errors, most often ({count}): {text}")
    if session.stop.is_set() and n_left:
        raise KeyboardInterrupt


def _reason(prediction: Prediction) -> str:
    """Why a request failed, in few words, so that equal reasons can be counted."""
    text = str((prediction.meta or {}).get("error", "no reason is known"))
    return textwrap.shorten(text.partition("\n")[0], _LONGEST_REASON, placeholder=" …")


def _over_ray(
    model: Model,
    folder: RunFolder,
    rows: list[int],
    machine: Machine | None,
    wish: _Wish,
    session: Session,
) -> Generator[Prediction, None, None]:
    from baselines.ray_data import RayJob, predict_with_ray

    assert wish.scale_out is not None  # noqa: S101 - checked by the only caller
    job = RayJob(
        model=model.name,
        options=folder.record.options,
        machine=machine or Machine(),
        benchmark=folder.record.benchmark.path,
        content_hash=folder.record.benchmark.hash,
        learned=folder.record.selection,
        model_version=folder.record.model_version,
        model_revision=folder.record.model_revision,
        prompt_hash=folder.record.prompt_hash,
        save_scores=wish.save_scores,
        address=wish.scale_out.address,
        replicas=wish.scale_out.replicas,
    )
    yield from predict_with_ray(job, rows, session)


def prepare(
    model: Model,
    benchmark: Benchmark,
    rows: list[int],
    progress: bool,
    note: Callable[[str], None],
) -> None:
    """Let the model do ahead what the answers to these rows need.

    Raises:
        FfrError: If it fails.
    """
    try:
        model.prepare(benchmark, np.array(rows, dtype=np.int64), progress, note)
    except (KeyboardInterrupt, FfrError):
        raise
    except Exception as error:
        text = f"the model failed while preparing: {type(error).__name__}: {error}"
        hint = "nothing was predicted; mend it and run the same command again"
        raise FfrError(f"{text}\n  → {hint}") from error


def _hindsight(
    model: Model, benchmark: Benchmark, folder: RunFolder, rows: IntArray
) -> Hindsight | None:
    """What gathers scores for the oracle gap, if policies are tuned and it is not known yet."""
    tuned = folder.record.tune_on is not None and model.learns
    if not (isinstance(model, ScoringModel) and tuned and folder.record.oracle_gap is None):
        return None
    gold = (benchmark.queries.gold_utt_ids, benchmark.queries.gold_img_ids)
    return Hindsight(model) if any(ids.lengths[rows].any() for ids in gold) else None


def _look_back(
    hindsight: Hindsight,
    benchmark: Benchmark,
    rows: list[int],
    folder: RunFolder,
    progress: bool,
    note: Callable[[str], None],
) -> None:
    """Record the oracle gap; samples that an earlier session answered are scored once more."""
    missing = [row for row in rows if benchmark.queries.sample_id[row] not in hindsight]
    try:
        with sample_progress(progress and bool(missing), "oracle gap", len(missing), 0) as bar:
            for _ in hindsight.complete(benchmark.sample(row) for row in missing):
                bar.advance()
    except Exception as error:  # noqa: BLE001 - the answers are there, and need no bound
        note(f"no oracle gap: the model gives no scores for some samples ({error})")
        return
    with _waiting(progress, "looking for the best policies in hindsight"):
        folder.update(oracle_gap=hindsight.oracle_gap())


@contextmanager
def _waiting(wanted: bool, message: str) -> Iterator[None]:
    """Say on the terminal what takes so long, if it takes long."""
    from ffr_eval.cli.output import progress

    with progress(message) if wanted else nullcontext():
        yield


def _learn(model: Model, benchmark: Benchmark, folder: RunFolder, progress: bool) -> None:
    """Let the model learn, or take up what it learned when the run was started."""
    tune_on, learned = folder.record.tune_on, folder.record.selection
    if tune_on is None or not model.learns:
        return
    if learned is not None:
        model.restore(learned)
        return
    folder.update(selection=learn(model, benchmark, tune_on, progress))


def learn(
    model: Model, benchmark: Benchmark, tune_on: str, progress: bool
) -> dict[str, Any] | None:
    """Let the model learn from a split.

    Raises:
        FfrError: If it fails.
    """
    try:
        with _waiting(progress, f"tuning on split {tune_on!r}"):
            return model.fit(list(benchmark.samples(tune_on)))
    except (KeyboardInterrupt, InputError):
        raise
    except Exception as error:
        text = f"the model failed while it was tuned on split {tune_on!r}"
        hint = "run it without --tune-on, or mend the model; nothing was predicted yet"
        raise FfrError(f"{text}: {type(error).__name__}: {error}\n  → {hint}") from error
