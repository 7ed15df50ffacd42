"""Run folders to figures, and figures to the rows of the board; no user interface in here.

Figures come from the same calls as those of ``ffr score``, so they are the same to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from ffr_eval.errors import FfrError, InputError
from ffr_eval.runs import RunRecord, read_run
from ffr_eval.scoring import incomplete_mark, score_table
from ffr_eval.sources import Request, load_source
from leaderboard import names
from leaderboard.run_folders import irregular_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.metrics.protocols import ProtocolName
    from leaderboard.run_folders import RunPlace

Average: TypeAlias = Literal["micro", "macro"]
Modality: TypeAlias = Literal["joint", "utterance", "image"]
Figure: TypeAlias = Literal["f1", "precision", "recall", "mcc"]
Group: TypeAlias = tuple[str, str]
"""A grouping and one of its groups, such as ``("turns", "long")``."""

GROUPINGS: Final = ("turns", "kind", "language")
"""What the board can be filtered by."""

ALL_SAMPLES: Final = "all samples"
FAILURES: Final = ("parse_error", "refusal", "truncated", "context_overflow", "request_error")
_SHORT_HASH: Final = 8


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """A run with its figures under one protocol.

    Attributes:
        label: The folder's name as it is shown.
        path: The folder.
        record: What ``run.json`` says.
        scores: What ``ffr score --group-by turns,kind,language --json`` writes.
        n_dialogues: How many dialogues the samples are about.
    """

    label: str
    path: Path
    record: RunRecord
    scores: Mapping[str, Any]
    n_dialogues: int

    @property
    def n_missing(self) -> int:
        """How many samples have no prediction."""
        return int(self.scores["outcomes"]["missing"])

    @property
    def incomplete(self) -> str | None:
        """What is said of a run of which too many requests failed; it has no rank."""
        return incomplete_mark(self.scores["outcomes"], self.scores["n_samples"])

    def figures(self, average: Average, modality: Modality, group: Group | None) -> Figures:
        """The figures of one modality; without values where nothing is defined."""
        found: Any = self.scores
        if group is not None:
            found = found["groups"].get(group[0], {}).get(group[1])
        n_samples = 0 if found is None else int(found["n_samples"])
        values = None if found is None else found[average][modality]
        return Figures(n_samples, *((values or {}).get(name) for name in FIGURE_ORDER))


@dataclass(frozen=True, slots=True)
class UnscoredRun:
    """A folder that could not be scored, and why.

    Attributes:
        record: What ``run.json`` says, if it can be read.
    """

    label: str
    path: Path
    reason: str
    remedy: str
    record: RunRecord | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """Precision, recall, F1 and MCC; ``None`` where undefined."""

    n_samples: int
    precision: float | None
    recall: float | None
    f1: float | None
    mcc: float | None


FIGURE_ORDER: Final[tuple[Figure, ...]] = ("precision", "recall", "f1", "mcc")


@dataclass(frozen=True, slots=True)
class View:
    """What the board shows: which runs, which samples of them, and which figure.

    Attributes:
        benchmark: Name and content hash.
        split: ``None`` for runs over all samples.
        group: Only these samples; ``None`` for all.
    """

    benchmark: tuple[str, str]
    split: str | None
    group: Group | None = None
    average: Average = "micro"
    modality: Modality = "joint"
    figure: Figure = "f1"


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One line of the board; no ``rank`` if the value is undefined or the run incomplete."""

    rank: int | None
    run: ScoredRun
    figures: Figures
    value: float | None
    options: str


def score_run(
    place: RunPlace, protocol: ProtocolName, benchmark: Benchmark | None = None
) -> ScoredRun | UnscoredRun:
    """Score a run folder; whatever is wrong with it becomes the reason.

    Args:
        place: The run folder.
        protocol: ``official`` or ``strict``.
        benchmark: The benchmark that the run names, if it was read before.
    """
    record: RunRecord | None = None
    try:
        irregular = irregular_file(place.path)
        if irregular is not None:
            raise InputError("not an ordinary file", file=irregular, remedy="remove it")
        record = read_run(place.path)
        source = load_source(place.path, Request(benchmark=benchmark, protocol=protocol))
        scores = score_table(source.table, protocol, GROUPINGS)
    except InputError as error:
        problem = error.problem
        where = f"{problem.field}: " if problem.field else ""
        line = f" (line {problem.line} of {problem.file})" if problem.line is not None else ""
        if problem.line is None and problem.file is not None:
            line = f" ({problem.file})"
        remedy = problem.remedy or ""
        if (problem.field or "").startswith("benchmark."):
            remedy = "put that benchmark back, or score it with: ffr score RUN --benchmark DIR"
        return _unscored(place, f"{where}{problem.message}{line}", remedy, record)
    except (FfrError, OSError, ValueError, RecursionError) as error:
        return _unscored(place, f"{type(error).__name__}: {error}", "", record)
    n_dialogues = len(set(source.table.dialogue_id))
    return ScoredRun(place.label, place.path, record, scores.to_dict(), n_dialogues)


def benchmarks_of(runs: Iterable[ScoredRun]) -> dict[str, tuple[str, str]]:
    """The benchmarks of the runs, those with most runs first: what to show, to name and hash."""
    counts: dict[tuple[str, str], int] = {}
    versions: dict[tuple[str, str], str] = {}
    for run in runs:
        benchmark = run.record.benchmark
        key = (benchmark.name, benchmark.hash)
        counts[key] = counts.get(key, 0) + 1
        versions.setdefault(key, benchmark.version)
    keys = sorted(counts, key=lambda key: (-counts[key], key))
    labels = names.unique(
        names.name(f"{name[:40]} v{versions[name, content][:10]} ({short_hash(content)})")
        for name, content in keys
    )
    return dict(zip(labels, keys, strict=True))


def splits_of(runs: Iterable[ScoredRun], benchmark: tuple[str, str]) -> dict[str, str | None]:
    """The splits that runs on a benchmark were made on, those with most runs first."""
    counts: dict[str | None, int] = {}
    for run in runs:
        if _benchmark_key(run) == benchmark:
            counts[run.record.split] = counts.get(run.record.split, 0) + 1
    keys = sorted(counts, key=lambda key: (-counts[key], key or ""))
    labels = names.unique(ALL_SAMPLES if key is None else names.name(key) for key in keys)
    return dict(zip(labels, keys, strict=True))


def groups_of(runs: Iterable[ScoredRun], view: View) -> dict[str, Group | None]:
    """The groups of samples that the runs in view have, and all samples."""
    found: dict[Group, None] = {}
    for run in runs:
        if _in_view(run, view):
            for by, groups in run.scores["groups"].items():
                found.update(dict.fromkeys((by, name) for name in groups))
    labels = names.unique([ALL_SAMPLES, *(names.name(f"{by} / {name}") for by, name in found)])
    return dict(zip(labels, [None, *found], strict=True))


def board_rows(runs: Iterable[ScoredRun], view: View) -> list[BoardRow]:
    """The runs in view, best first; equal values share a rank, undefined ones come last.

    After them come incomplete runs, which have none.
    """
    shown = [run for run in runs if _in_view(run, view)]
    figures = [run.figures(view.average, view.modality, view.group) for run in shown]
    values: list[float | None] = [getattr(found, view.figure) for found in figures]
    incomplete = [run.incomplete is not None for run in shown]
    order = sorted(
        range(len(shown)), key=lambda i: (incomplete[i], _sort_key(values[i]), shown[i].label)
    )
    options = _telling_options(shown)
    rows, rank = [], 0
    for place, i in enumerate(order):
        value = values[i]
        if place == 0 or value != values[order[place - 1]]:
            rank = place + 1
        ranked = None if value is None or incomplete[i] else rank
        rows.append(BoardRow(ranked, shown[i], figures[i], value, options[i]))
    return rows


def last_used(record: RunRecord) -> str:
    """When the run last went on, to the minute; empty if ``run.json`` does not say."""
    if not record.sessions:
        return ""
    session = record.sessions[-1]
    try:
        return datetime.fromisoformat(session.ended or session.started).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return ""


def status_of(run: ScoredRun) -> str:
    """The status that ``run.json`` has, and how much is still missing or failed."""
    if run.incomplete is not None:
        return run.incomplete
    done = run.scores["n_samples"] - run.n_missing
    if run.n_missing:
        return f"{run.record.status}, {done} of {run.scores['n_samples']}"
    return run.record.status


def short_hash(content_hash: str) -> str:
    """The first digits of a content hash."""
    return names.name(content_hash.removeprefix("sha256:")[:_SHORT_HASH])


def option_text(options: Mapping[str, Any]) -> str:
    """Options as one line of plain text."""
    return names.line(", ".join(f"{key}={_value(value)}" for key, value in options.items()))


def _unscored(place: RunPlace, reason: str, remedy: str, record: RunRecord | None) -> UnscoredRun:
    return UnscoredRun(place.label, place.path, names.line(reason), names.line(remedy), record)


def _benchmark_key(run: ScoredRun) -> tuple[str, str]:
    return run.record.benchmark.name, run.record.benchmark.hash


def _in_view(run: ScoredRun, view: View) -> bool:
    return _benchmark_key(run) == view.benchmark and run.record.split == view.split


def _sort_key(value: float | None) -> tuple[bool, float]:
    return value is None, -(value or 0.0)


def _telling_options(runs: Sequence[ScoredRun]) -> list[str]:
    """Of each run the options in which runs of its model differ."""
    values: dict[str, dict[str, set[str]]] = {}
    for run in runs:
        of_model = values.setdefault(run.record.model, {})
        for key, value in run.record.options.items():
            of_model.setdefault(key, set()).add(_value(value))
    return [
        option_text(
            {
                key: value
                for key, value in run.record.options.items()
                if len(values[run.record.model][key]) > 1
            }
        )
        for run in runs
    ]


def _value(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
