"""What can be scored, and the prediction table of it.

A run folder, a prediction file, an ms-swift inference file, or predictions in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from ffr_eval.benchmark.reader import read_benchmark
from ffr_eval.benchmark.tables import Benchmark
from ffr_eval.errors import InputError
from ffr_eval.inference_file import read_inference
from ffr_eval.jsonl import Located, decode, is_truncated, problem, read_lines
from ffr_eval.metrics.protocols import OFFICIAL_1, protocol_named
from ffr_eval.prediction_file import PredictionRecord, prediction_of, read_predictions
from ffr_eval.predictions import OUTCOME_CODE
from ffr_eval.runs import PREDICTIONS, RECORD, read_run
from ffr_eval.table import last_predictions, table_of, table_of_inference
from ffr_eval.types import Fragment, Outcome, Prediction
from ffr_eval.windows import merge_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ffr_eval.answer import ParseMode
    from ffr_eval.inference_columns import InferenceColumns
    from ffr_eval.metrics.protocols import Protocol, ProtocolName
    from ffr_eval.predictions import PredictionTable
    from ffr_eval.runs import RunRecord

SourceKind: TypeAlias = Literal["run", "predictions", "inference"]
PredictionsLike: TypeAlias = (
    "str | Path | Iterable[Prediction | Mapping[str, Any]]"
    " | Mapping[str, tuple[Iterable[int], Iterable[int]]]"
)


@dataclass(frozen=True, slots=True)
class Request:
    """How to score.

    Attributes:
        benchmark: A benchmark, its folder, or the name of a bundled one; by default the one that a
            run folder names.
        split: Only this split; by default the split of a run, else all samples.
        protocol: By default ``official`` for inference files, else ``strict``.
        parse: How responses are read under ``strict``; ``lenient`` by default.
        merge_windows: Merge the windows of split dialogues (inference files only).
        workers: Processes for large inference files.
        keep_predictions: Keep what was predicted beside the table (not for inference files).
        progress: Called with the part that is done, 0 to 1.
    """

    benchmark: Benchmark | str | Path | None = None
    split: str | None = None
    protocol: ProtocolName | None = None
    parse: Literal["strict", "lenient"] | None = None
    merge_windows: bool = False
    workers: int = 1
    keep_predictions: bool = False
    progress: Callable[[float], None] | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A prediction table and where it comes from.

    Attributes:
        name: A run's folder name or a file's name.
        model: The model, where it is known.
        benchmark: The benchmark; ``None`` for inference files, which carry their own gold.
        split: The split that is scored; ``None`` for all samples.
        run: What ``run.json`` says, of a run folder.
        predictions: By sample id, if they were to be kept; those of other splits among them.
    """

    table: PredictionTable
    protocol: Protocol
    name: str
    model: str | None = None
    benchmark: Benchmark | None = None
    split: str | None = None
    run: RunRecord | None = None
    predictions: Mapping[str, Prediction] | None = None


def load_source(predictions: PredictionsLike, request: Request) -> Source:
    """Read what is to be scored.

    Raises:
        InputError: If it cannot be read, is of no known format, or does not fit the benchmark.
    """
    if not isinstance(predictions, str | Path):
        return _from_memory(predictions, request)
    path = Path(predictions)
    kind = source_kind(path)
    if kind == "inference":
        return _from_inference(path, request)
    if request.merge_windows:
        message = "only ms-swift inference files have windows"
        raise InputError(message, file=path, field="--merge-windows", remedy="leave it out")
    return _from_run(path, request) if kind == "run" else _from_file(path, request)


def load_under(path: Path, protocols: Sequence[Protocol], request: Request) -> list[Source]:
    """Read what is to be scored once, and code it for several protocols.

    Args:
        path: A run folder, a prediction file, or an inference file.
        protocols: Also ones of no name; each reads answers as it says.
        request: Without protocol and parse, and without merging windows.

    Raises:
        InputError: As :func:`load_source`.
    """
    first = load_source(path, replace(request, protocol=OFFICIAL_1.name, keep_predictions=True))
    tables: dict[tuple[ParseMode, bool, bool], PredictionTable] = {
        (OFFICIAL_1.parse, OFFICIAL_1.real_ids, OFFICIAL_1.unanswered_counts): first.table
    }
    columns: dict[ParseMode, tuple[InferenceColumns, list[str]]] = {}

    def coded(protocol: Protocol) -> PredictionTable:
        parse = protocol.parse
        if first.benchmark is not None:
            rows = first.benchmark.rows(first.split)
            table = table_of(first.benchmark, first.predictions or {}, protocol, parse, rows)
            return table.with_notes(*first.table.notes)
        if parse == OFFICIAL_1.parse and protocol.real_ids:
            raise ValueError("read so, an inference file keeps only the largest ids")
        if parse not in columns:
            columns[parse] = read_inference(
                path, parse, workers=request.workers, progress=request.progress
            )
        found, notes = columns[parse]
        return table_of_inference(found, protocol).with_notes(*notes)

    sources = []
    for protocol in protocols:
        key = protocol.parse, protocol.real_ids, protocol.unanswered_counts
        if key not in tables:
            tables[key] = coded(protocol)
        sources.append(replace(first, table=tables[key], protocol=protocol))
    return sources


def source_kind(path: Path) -> SourceKind:
    """What a path holds, by its files or its first record.

    Raises:
        InputError: If there is nothing, or nothing that can be scored.
    """
    if path.is_dir():
        if (path / RECORD).exists():
            return "run"
        remedy = "give a run folder (made by `ffr run`), or a prediction file"
        raise InputError(f"a folder without {RECORD}", file=path, remedy=remedy)
    if path.name == RECORD and path.is_file():
        raise InputError("the record of a run", file=path, remedy=f"give its folder, {path.parent}")
    if path.exists() and not path.is_file():  # the second reading would miss what the first took
        message = "a pipe: predictions are read twice"
        raise InputError(message, file=path, remedy="save them to a file first")
    if str(path) == "-":
        raise InputError("standard input is not read", file=path, remedy="give a file")
    for line in read_lines(path):
        try:
            record = decode(line.data, msgspec.json.Decoder(Any))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if not line.complete and is_truncated(line.data):  # a file of one truncated line
                break
            raise problem(error, path, line.number) from None
        keys = set(record) if isinstance(record, dict) else set()
        if "messages" in keys and "solution" in keys and not keys & {"labels", "response"}:
            message = "an ms-swift dataset: it has gold, but no responses"
            remedy = "give inference output, or `ffr data import mswift` it as a benchmark"
            raise InputError(message, file=path, line=line.number, remedy=remedy)
        if "messages" in keys:
            return "inference"
        if "sample_id" in keys:
            return "predictions"
        message = "neither a prediction nor an ms-swift inference record"
        remedy = (
            'one JSON object a line, with "sample_id" (a prediction) or "messages", "labels" and'
            ' "response" (ms-swift inference output)'
        )
        raise InputError(message, file=path, line=line.number, remedy=remedy)
    raise InputError("no records", file=path, remedy="give a file with one record a line")


def _from_inference(path: Path, request: Request) -> Source:
    if request.benchmark is not None or request.split is not None:
        field = "--benchmark" if request.benchmark is not None else "--split"
        message = "an ms-swift inference file carries its own gold"
        raise InputError(message, file=path, field=field, remedy="leave the option out")
    protocol, parse = _protocol_and_parse(request, "official")
    columns, notes = read_inference(
        path,
        parse,
        windows=request.merge_windows,
        workers=request.workers,
        progress=request.progress,
    )
    if request.merge_windows:
        columns, more = merge_windows(columns)
        notes += more
    table = table_of_inference(columns, protocol).with_notes(*notes)
    return Source(table, protocol, path.name)


def _from_run(path: Path, request: Request) -> Source:
    run = read_run(path)
    if request.benchmark is None:
        benchmark = _benchmark_of_run(path, run.benchmark.path)
    else:
        benchmark = _benchmark(request.benchmark)
    if benchmark.content_hash != run.benchmark.hash:
        message = (
            f"the run was made on {run.benchmark.name} {run.benchmark.hash}, this is"
            f" {benchmark.name} {benchmark.content_hash}"
        )
        remedy = "give the benchmark of the run with --benchmark, or run again on this one"
        raise InputError(message, file=path / RECORD, field="benchmark.hash", remedy=remedy)
    notes: list[str] = []
    if run.limit is not None:
        notes.append(f"the run was limited to {run.limit} samples; the others count as missing")
    if request.split is not None and run.split is not None and request.split != run.split:
        notes.append(f"the run was made on split {run.split!r}, not on {request.split!r}")
    file = path / PREDICTIONS
    predictions = read_predictions(file, notes) if file.exists() else iter(())
    split = request.split if request.split is not None else run.split
    source = _from_predictions(predictions, benchmark, split, request, file)
    return replace(
        source,
        table=source.table.with_notes(*notes),
        name=path.resolve().name,
        model=run.model,
        run=run,
    )


def _benchmark_of_run(path: Path, recorded: str) -> Benchmark:
    try:
        return read_benchmark(recorded)
    except InputError as error:
        if Path(recorded).is_dir():
            raise
        raise InputError(
            f"the run's benchmark is not at {recorded} any more ({error.problem.message})",
            file=path / RECORD,
            field="benchmark.path",
            remedy="say where it is: --benchmark DIR",
        ) from None


def _from_file(path: Path, request: Request) -> Source:
    if request.benchmark is None:
        message = "a prediction file has no gold of its own"
        remedy = "name the benchmark: --benchmark DIR"
        raise InputError(message, file=path, field="--benchmark", remedy=remedy)
    notes: list[str] = []
    benchmark = _benchmark(request.benchmark)
    records = read_predictions(path, notes)
    source = _from_predictions(records, benchmark, request.split, request, path)
    notes += _slips(source)
    return replace(source, table=source.table.with_notes(*notes), name=path.name)


def _from_memory(predictions: Any, request: Request) -> Source:
    if request.benchmark is None:
        remedy = "pass the benchmark, its folder, or the name of a bundled one"
        raise InputError("predictions need a benchmark", field="benchmark", remedy=remedy)
    benchmark = _benchmark(request.benchmark)
    records = (Located(place, item) for place, item in enumerate(_predictions(predictions), 1))
    source = _from_predictions(records, benchmark, request.split, request, None)
    return replace(source, table=source.table.with_notes(*_slips(source)))


def _predictions(predictions: Any) -> Iterator[Prediction]:
    """Predictions of a mapping or iterable in memory.

    Raises:
        InputError: For an item that is no prediction; ``line`` is its place, counted from 1.
    """
    if isinstance(predictions, Mapping):
        for place, (sample_id, ids) in enumerate(predictions.items(), 1):
            fragment = _fragment(sample_id, ids, place)
            outcome = Outcome.OK if fragment.utt_ids or fragment.img_ids else Outcome.EMPTY
            yield Prediction(sample_id, outcome, fragment)
        return
    for place, item in enumerate(predictions, 1):
        if isinstance(item, Prediction):
            yield item
            continue
        try:
            yield prediction_of(msgspec.convert(item, PredictionRecord))
        except msgspec.ValidationError as error:
            raise problem(error, "predictions", place) from None


def _fragment(sample_id: str, ids: Any, place: int) -> Fragment:
    try:
        utt_ids, img_ids = ids
        return Fragment(tuple(map(index, utt_ids)), tuple(map(index, img_ids)))
    except (TypeError, ValueError):
        message = f"{sample_id!r} has {ids!r}"
        remedy = "give (utt_ids, img_ids), two collections of whole numbers"
        raise InputError(message, file="predictions", line=place, remedy=remedy) from None


def _from_predictions(
    predictions: Iterator[Located[Prediction]],
    benchmark: Benchmark,
    split: str | None,
    request: Request,
    file: Path | None,
) -> Source:
    protocol, parse = _protocol_and_parse(request, "strict")
    rows = benchmark.rows(split)
    found = last_predictions(predictions, benchmark, file)
    table = table_of(benchmark, found, protocol, parse, rows)
    name = file.name if file is not None else "predictions"
    return Source(
        table.with_notes(*benchmark.warnings),
        protocol,
        name,
        benchmark=benchmark,
        split=split,
        predictions=found if request.keep_predictions else None,
    )


def _slips(source: Source) -> list[str]:
    """A note if all samples are scored, but only those of one split have predictions."""
    benchmark, table = source.benchmark, source.table
    if benchmark is None or source.split is not None:
        return []
    missing = OUTCOME_CODE[Outcome.MISSING]
    given = (
        name for name, code in zip(table.sample_id, table.outcome, strict=True) if code != missing
    )
    splits = {benchmark.queries.split[benchmark.row_of(name) or 0] for name in given}
    if len(splits) != 1 or len(benchmark.splits) == 1:
        return []
    only = splits.pop()
    return [f"all predictions are of split {only!r}: did you mean --split {only}?"]


def _protocol_and_parse(request: Request, default: ProtocolName) -> tuple[Protocol, ParseMode]:
    protocol = protocol_named(request.protocol or default)
    if protocol.fixed_parse and request.parse is not None:
        message = f"protocol {protocol.family} reads answers in its own way"
        remedy = "leave --parse out, or use --protocol strict"
        raise InputError(message, field="--parse", remedy=remedy)
    return protocol, request.parse or protocol.parse


def _benchmark(benchmark: Benchmark | str | Path) -> Benchmark:
    return benchmark if isinstance(benchmark, Benchmark) else read_benchmark(benchmark)
