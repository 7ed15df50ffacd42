"""Whether several sets of predictions are on the same samples, and which row is which."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from ffr_eval.errors import InputError
from ffr_eval.metrics.groups import group_rows
from ffr_eval.metrics.protocols import evaluate
from ffr_eval.plugins import nearest
from ffr_eval.predictions import OUTCOME_CODE
from ffr_eval.runs import read_run
from ffr_eval.sources import Request, load_source, source_kind
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.metrics.protocols import Evaluation
    from ffr_eval.predictions import ModalityColumns, PredictionTable
    from ffr_eval.ragged import IntArray
    from ffr_eval.sources import Source
    from ffr_eval.types import Prediction

Action: TypeAlias = Literal["rank", "compare"]

CEILING_MODELS: Final = frozenset({"oracle"})
"""Models that answer with the gold: a check of the pipeline, and the ceiling of a ranking."""

_SAME: Final = "compare predictions on the same samples"
_LACKING: Final = (
    "records without a response are left out under official: --protocol strict counts them as"
    " without an answer, --common compares the samples that all have"
)
_MISSING: Final = OUTCOME_CODE[Outcome.MISSING]


@dataclass(frozen=True, slots=True)
class LoadedRuns:
    """Runs on the same samples, read and counted.

    Attributes:
        names: As they are shown, all different.
        ceilings: Those of them that know the gold.
        repeatable: Those of them that are run folders, so that samples can be asked again.
        evaluations: Of each run.
        predictions: Of each run by sample id, if they were to be kept.
        benchmark: ``None`` for inference files, which carry their own gold.
        split: The split that is compared; ``None`` for all samples.
        notes: Sentences about what was read.
    """

    names: tuple[str, ...]
    ceilings: frozenset[str]
    repeatable: frozenset[str]
    evaluations: tuple[Evaluation, ...]
    predictions: tuple[Mapping[str, Prediction] | None, ...]
    benchmark: Benchmark | None
    split: str | None
    notes: tuple[str, ...]

    def query_of(self, sample_id: str) -> str | None:
        """The query of a sample, where a benchmark says it."""
        row = None if self.benchmark is None else self.benchmark.row_of(sample_id)
        if self.benchmark is None or row is None:
            return None
        return self.benchmark.queries.query[row]

    def chosen(self, group: str | None, common: bool) -> tuple[list[str] | None, list[str]]:
        """The samples to be compared, and notes about the others.

        Args:
            group: Only samples of this group, such as ``kind=image``.
            common: Only samples that no run lacks; otherwise they count as without an answer.

        Returns:
            Sample ids (``None`` for all) and notes.

        Raises:
            InputError: If there is no such group, or no sample is left.
        """
        tables = [evaluation.table for evaluation in self.evaluations]
        chosen = None if group is None else _of_group(tables[0], group)
        if common:
            return self._common(tables[0].sample_id if chosen is None else chosen)
        notes = []
        compared = set(tables[0].sample_id if chosen is None else chosen)
        for name, table in zip(self.names, tables, strict=True):
            there = np.flatnonzero(table.outcome == _MISSING).tolist()
            if lacking := sum(table.sample_id[row] in compared for row in there):
                notes.append(
                    f"{name} lacks {lacking} of {len(compared)} samples, which count as without an"
                    " answer (--common leaves them out)"
                )
        return chosen, notes

    def _common(self, wanted: Sequence[str]) -> tuple[list[str], list[str]]:
        given = set(wanted)
        for evaluation in self.evaluations:
            table = evaluation.table
            there = np.flatnonzero(table.outcome != _MISSING).tolist()
            given &= {table.sample_id[row] for row in there}
        if not given:
            message = "there is no sample that all runs have a prediction of"
            remedy = "leave --common out: what a run lacks then counts as without an answer"
            raise InputError(message, field="--common", remedy=remedy)
        left_out = len(wanted) - len(given)
        note = (
            f"{left_out} of {len(wanted)} samples are left out because a run lacks them (--common)"
            if left_out
            else "no run lacks a sample: --common changes nothing"
        )
        return [sample_id for sample_id in wanted if sample_id in given], [note]


def load_runs(runs: Sequence[Path], request: Request) -> LoadedRuns:
    """Read runs that are to be compared, one after the other.

    Args:
        runs: Run folders or prediction files on one benchmark and split, or inference files with
            the same gold.
        request: How they are read.

    Raises:
        InputError: If one cannot be read, is given twice, or is of another benchmark or split.
    """
    require_different(runs)
    sources: list[Source] = []
    evaluations: list[Evaluation] = []
    for run in runs:
        known = sources[0].benchmark if sources else None
        source = load_source(run, with_benchmark(run, request, known))
        if sources and not (source.benchmark is None and known is None):
            require_same_samples(runs[0], sources[0], run, source, "compare")
        sources.append(source)
        evaluations.append(evaluate(source.table, source.protocol))
    names = short_names(runs, sources)
    notes = _notes(names, [evaluation.table for evaluation in evaluations])
    first = sources[0]
    return LoadedRuns(
        names=tuple(names),
        ceilings=frozenset(
            name
            for name, source in zip(names, sources, strict=True)
            if source.model in CEILING_MODELS
        ),
        repeatable=frozenset(
            name for name, source in zip(names, sources, strict=True) if source.run is not None
        ),
        evaluations=tuple(evaluations),
        predictions=tuple(source.predictions for source in sources),
        benchmark=first.benchmark,
        split=first.split,
        notes=notes,
    )


def require_different(runs: Sequence[Path]) -> None:
    """Refuse a run that is given twice.

    Raises:
        InputError: If two paths lead to one run.
    """
    seen: set[Path] = set()
    for run in runs:
        if run.resolve() in seen:
            message = "is given twice"
            raise InputError(message, file=run.resolve(), remedy="give different runs")
        seen.add(run.resolve())


def with_benchmark(run: Path, request: Request, known: Benchmark | None) -> Request:
    """The request with a benchmark that is read already, if it is the one of the run."""
    if known is None:
        return request
    kind = source_kind(run)
    if kind == "run" and request.benchmark is None:
        recorded = read_run(run).benchmark
        same = (recorded.name, recorded.hash) == (known.name, known.content_hash)
        return replace(request, benchmark=known) if same else request
    if kind == "inference" or request.benchmark is None:
        return request
    return replace(request, benchmark=known)


def _notes(names: Sequence[str], tables: Sequence[PredictionTable]) -> tuple[str, ...]:
    """The notes of all tables; those that all have are said once."""
    shared = [note for note in tables[0].notes if all(note in table.notes for table in tables)]
    own = [
        f"{name}: {note}"
        for name, table in zip(names, tables, strict=True)
        for note in table.notes
        if note not in shared
    ]
    return (*dict.fromkeys(shared), *dict.fromkeys(own))


def _of_group(table: PredictionTable, group: str) -> list[str]:
    by, equals, name = group.partition("=")
    if not equals:
        remedy = "name the grouping and the group: kind=image, turns=long, meta.topic=travel"
        raise InputError(f"{group!r} names no group", field="--group", remedy=remedy)
    groups = group_rows(table, by.strip())
    if name.strip() not in groups:
        message = f"{by.strip()} has no group {name.strip()!r} here"
        raise InputError(message, field="--group", remedy=nearest(name.strip(), groups))
    return [table.sample_id[row] for row in groups[name.strip()].tolist()]


def short_names(runs: Sequence[Path], sources: Sequence[Source]) -> list[str]:
    """Short names, or whole paths where short ones would be the same."""
    short = [source.name for source in sources]
    return short if len(set(short)) == len(short) else [str(run) for run in runs]


def require_same_samples(
    first: Path, reference: Source, other: Path, source: Source, action: Action = "rank"
) -> None:
    """Check that two sources are of one benchmark, content and split.

    Args:
        first: Where ``reference`` comes from.
        reference: What the others are to agree with.
        other: Where ``source`` comes from.
        source: What is checked.
        action: What is to be done with them, for the message.

    Raises:
        InputError: If they differ, naming the difference, or one is an inference file.
    """
    if reference.benchmark is None or source.benchmark is None:
        done = "ranked" if action == "rank" else "compared with runs of a benchmark"
        file = other if source.benchmark is None else first
        remedy = f"{action} run folders or prediction files; `ffr score` scores inference files"
        raise InputError(f"an inference file cannot be {done}", file=file, remedy=remedy)
    pairs = (
        ("benchmark", reference.benchmark.name, source.benchmark.name),
        ("hash", reference.benchmark.content_hash, source.benchmark.content_hash),
        ("split", reference.split, source.split),
    )
    for field, a, b in pairs:
        if a != b:
            message = f"{first} is of {field} {a or '(all)'}, this is of {field} {b or '(all)'}"
            remedy = f"{action} runs of one benchmark and split (--split picks one)"
            raise InputError(message, file=other, field=field, remedy=remedy)


def aligned_rows(
    names: Sequence[str],
    tables: Sequence[PredictionTable],
    sample_ids: Sequence[str] | None = None,
) -> list[IntArray]:
    """The rows of the same samples in each table, in the order of their sorted ids.

    Sorted, so that sums of fractions do not depend on the order in which the samples come.

    Args:
        names: What the tables are called, for messages.
        tables: One or more.
        sample_ids: Only these samples; by default all, which must then be the same in all tables.

    Returns:
        One array for each table, all of the same length.

    Raises:
        InputError: If a table lacks one of the samples, or has other gold, another dialogue or
            another number of ids to choose from.
    """
    wanted = sorted(tables[0].sample_id if sample_ids is None else sample_ids)
    found: list[IntArray] = []
    for name, table in zip(names, tables, strict=True):
        if found and table.sample_id == tables[0].sample_id:
            rows = found[0]
        else:
            if sample_ids is None:
                _require_no_more(names[0], tables[0], name, table)
            rows = _rows_of(wanted, name, table)
        if found:
            _require_same_gold(names[0], tables[0], found[0], name, table, rows)
        found.append(rows)
    return found


def _require_no_more(
    first: str, reference: PredictionTable, name: str, table: PredictionTable
) -> None:
    more = set(table.sample_id) - set(reference.sample_id)
    if more:
        message = f"has sample {min(more)!r}, which {first} lacks ({len(more)} such samples)"
        raise InputError(message, file=name, field="sample_id", remedy=_LACKING)


def _rows_of(wanted: Sequence[str], name: str, table: PredictionTable) -> IntArray:
    place = {sample_id: row for row, sample_id in enumerate(table.sample_id)}
    if len(place) < len(table):
        message = "has two predictions of one sample"
        raise InputError(message, file=name, field="sample_id", remedy="leave one out")
    lacking = [sample_id for sample_id in wanted if sample_id not in place]
    if lacking:
        message = f"lacks sample {lacking[0]!r} ({len(lacking)} such samples)"
        raise InputError(message, file=name, field="sample_id", remedy=_LACKING)
    return np.array([place[sample_id] for sample_id in wanted], dtype=np.int64)


def _require_same_gold(
    first: str,
    reference: PredictionTable,
    reference_rows: IntArray,
    name: str,
    table: PredictionTable,
    rows: IntArray,
) -> None:
    for modality in ("utterance", "image"):
        a: ModalityColumns = getattr(reference, modality).take(reference_rows)
        b: ModalityColumns = getattr(table, modality).take(rows)
        other = np.flatnonzero(a.gold.lengths != b.gold.lengths)
        if not len(other) and not np.array_equal(a.gold.values, b.gold.values):
            other = np.unique(a.gold.rows[a.gold.values != b.gold.values])
        what = f"other gold ({modality} ids)"
        if not len(other):
            other = np.flatnonzero(a.universe != b.universe)
            what = f"a dialogue with another number of {modality} ids"
        if len(other):
            sample = reference.sample_id[reference_rows[other[0]]]
            message = f"sample {sample!r} has {what} than in {first} ({len(other)} such samples)"
            raise InputError(message, file=name, field="sample_id", remedy=_SAME)
    dialogues = [table.dialogue_id[row] for row in rows.tolist()]
    if dialogues != [reference.dialogue_id[row] for row in reference_rows.tolist()]:
        message = f"its samples are of other dialogues than in {first}"
        raise InputError(message, file=name, field="dialogue_id", remedy=_SAME)
