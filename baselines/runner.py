"""Runs a model over a benchmark into a run folder."""

from __future__ import annotations

import operator
import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from baselines.hindsight import Hindsight
from baselines.model import ScoringModel, answer, checked_scores, create, hidden
from ffr_eval.benchmark.reader import read_benchmark
from ffr_eval.errors import FfrError, InputError
from ffr_eval.prediction_file import encode_prediction
from ffr_eval.runs import BenchmarkRef, MachineRecord, RunRecord, open_run
from ffr_eval.types import ANSWERED, Fragment, Outcome, Prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from baselines.encoders.encoder import Machine
    from baselines.model import Model, Scores
    from ffr_eval.benchmark import Benchmark
    from ffr_eval.ragged import IntArray
    from ffr_eval.runs import RunFolder
    from ffr_eval.types import Sample

DEFAULT_SPLIT: Final = "test"
"""The split that is predicted if there is one to tune on and none is named."""

_LARGEST_ID: Final = 2**63 - 1


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
        machine: Where and how fast to compute; only for models that compute embeddings.
        save_scores: Keep the scores of scoring models in the predictions.
        progress: Show progress on stderr, if it is a terminal.
        note: Called with each note as it arises.

    Raises:
        InputError: If the arguments make no sense together, or the folder holds another run.
        FfrError: If the run folder cannot be written, or the model fails while it is made, prepares
            itself or is tuned.
        KeyboardInterrupt: After the run folder is brought in order; the same call goes on with it.
    """
    notes = _Notes(note)
    model = create(model_name, options, machine)
    if tune_on is None and model.must_learn:
        message = "'tuned' needs a split to tune on"
        remedy = "add --tune-on SPLIT, or name another policy"
        raise InputError(message, field="option policy", remedy=remedy)
    data = read_benchmark(benchmark)
    notes.extend(data.warnings)
    split = resolved_split(data, split, tune_on)
    rows = planned_rows(data, split, limit)
    if tune_on is not None and not model.learns:
        notes.add(f"{model_name} has nothing to tune with these options: --tune-on has no effect")
    record = RunRecord(
        model=model_name,
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
    with open_run(Path(out), record, model.requires, _machine_record(machine)) as folder:
        notes.extend(folder.notes)
        todo = [row for row in rows.tolist() if data.queries.sample_id[row] not in folder.done]
        hindsight = _hindsight(model, data, folder, rows)
        wanted = rows.tolist() if hindsight is not None else todo
        if tune_on is not None and model.learns and folder.record.selection is None:
            wanted = [*wanted, *data.rows(tune_on).tolist()]
        if wanted:
            _prepare(model, data, wanted, progress, notes.add)
        _learn(model, data, folder, progress)
        with _progress(progress, model_name, len(rows), len(rows) - len(todo)) as advance:
            for row in todo:
                folder.append(_predicted(model, data.sample(row), save_scores, hindsight))
                advance()
        if hindsight is not None:
            _look_back(hindsight, data, rows.tolist(), folder, progress, notes.add)
        planned = [data.queries.sample_id[row] for row in rows.tolist()]
        outcomes = {name: folder.outcomes[name] for name in planned if name in folder.done}
    return RunResult(
        path=Path(out),
        split=split,
        n_samples=len(rows),
        n_done=len(outcomes),
        n_new=len(todo),
        outcomes=Counter(outcomes.values()),
        failed=tuple(name for name in outcomes if outcomes[name] is Outcome.REQUEST_ERROR),
        notes=tuple(notes.all),
        record=folder.record,
    )


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


def _machine_record(machine: Machine | None) -> MachineRecord | None:
    """What was said of the machine; paths are left out, as they say nothing elsewhere."""
    if machine is None:
        return None
    device = None if machine.device == "auto" else machine.device
    record = MachineRecord(device, machine.batch_size, machine.python is not None)
    return None if record == MachineRecord() else record


def _prepare(
    model: Model,
    benchmark: Benchmark,
    rows: list[int],
    progress: bool,
    note: Callable[[str], None],
) -> None:
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
        with _progress(progress and bool(missing), "oracle gap", len(missing), 0) as advance:
            for _ in hindsight.complete(benchmark.sample(row) for row in missing):
                advance()
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
    try:
        with _waiting(progress, f"tuning on split {tune_on!r}"):
            learned = model.fit(list(benchmark.samples(tune_on)))
    except KeyboardInterrupt:
        raise
    except Exception as error:
        text = f"the model failed while it was tuned on split {tune_on!r}"
        hint = "run it without --tune-on, or mend the model; nothing was predicted yet"
        raise FfrError(f"{text}: {type(error).__name__}: {error}\n  → {hint}") from error
    folder.update(selection=learned)


def _predicted(
    model: Model, sample: Sample, save_scores: bool, hindsight: Hindsight | None = None
) -> Prediction:
    """The model's answer, or the record of its failure."""
    shown = sample if model.capabilities.needs_gold else hidden(sample)
    start = time.perf_counter()
    try:
        if isinstance(model, ScoringModel):
            scores = checked_scores(model.score(shown), sample)
            prediction = answer(sample, model.select(scores, sample.dialogue))
            if save_scores:
                prediction = replace(prediction, scores=_kept(scores))
            if hindsight is not None:
                hindsight.add(sample, scores)
        else:
            prediction = _checked(model.predict(shown), sample)
    except Exception as error:  # noqa: BLE001 - a bad rollout is data, not a crash
        text = f"{type(error).__name__}: {error}".encode(errors="replace").decode()
        prediction = Prediction(sample.sample_id, Outcome.REQUEST_ERROR, meta={"error": text})
    if prediction.latency_s is not None:
        return prediction
    return replace(prediction, latency_s=round(time.perf_counter() - start, 6))


def _kept(scores: Scores) -> dict[str, tuple[float, ...]]:
    return {
        "utterance": tuple(scores.utterance.tolist()),
        "image": tuple(scores.image.tolist()),
    }


def _checked(prediction: Prediction, sample: Sample) -> Prediction:
    """A model's own prediction, made fit for the prediction file.

    Raises:
        FfrError: If it is for another sample, or an id is not an integer.
        Exception: If it cannot be encoded.
    """
    if prediction.sample_id != sample.sample_id:
        raise FfrError(f"the model answered for sample {prediction.sample_id!r}")
    fragment = Fragment(
        _integers(prediction.payload.utt_ids), _integers(prediction.payload.img_ids)
    )
    outcome = prediction.outcome
    if prediction.response is None and outcome in ANSWERED:
        outcome = Outcome.OK if fragment.utt_ids or fragment.img_ids else Outcome.EMPTY
    checked = replace(prediction, payload=fragment, outcome=outcome)
    encode_prediction(checked)
    return checked


def _integers(ids: Iterable[Any]) -> tuple[int, ...]:
    integers = []
    for number in ids:
        if isinstance(number, (bool, np.bool_)) or not hasattr(number, "__index__"):
            raise FfrError(f"an id is {number!r}, not an integer")
        integers.append(operator.index(number))
        if not -_LARGEST_ID <= integers[-1] <= _LARGEST_ID:
            raise FfrError(f"an id is {number}, which does not fit into 64 bits")
    return tuple(integers)


@contextmanager
def _progress(
    wanted: bool, title: str, n_samples: int, n_before: int
) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr, if that is a terminal; gives the function that advances it."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    hide = not (wanted and console.is_terminal)
    with Progress(*columns, console=console, disable=hide) as bar:
        task = bar.add_task(title, total=n_samples, completed=n_before, rate="")
        start = time.monotonic()
        n_done = 0

        def advance() -> None:
            nonlocal n_done
            n_done += 1
            rate = n_done / max(time.monotonic() - start, 1e-9)
            bar.update(task, advance=1, rate=f"{rate:.3g}/s")

        yield advance
