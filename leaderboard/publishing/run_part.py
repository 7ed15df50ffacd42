"""What is computed of one run, and kept until the run, the settings or the code change."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import pyarrow.compute as pc

from ffr_eval.benchmark.writer import write_json
from ffr_eval.errors import InputError
from ffr_eval.jsonl import is_truncated, read_lines
from ffr_eval.metrics.named import HEADLINE, parse_metric
from ffr_eval.runs import PREDICTIONS, RECORD, RunRecord
from ffr_eval.scoring import incomplete_mark
from ffr_eval.sources import Request, load_source, load_under
from leaderboard.publishing.code_version import code_version, prompt_plugins
from leaderboard.publishing.figures import protocols, run_figures
from leaderboard.publishing.parquet import load, save
from leaderboard.publishing.private_text import path_free, public_line, public_record
from leaderboard.publishing.samples import answer_rows, render_prompts, sample_rows
from leaderboard.run_folders import CARD
from leaderboard.site.schema import ALL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.sources import Source
    from ffr_eval.uncertainty import Resampling
    from leaderboard.publishing.store import Store

_FORMAT: Final = 1
"""Raised whenever a part comes to hold something else."""

CUT_NOTE: Final = "dropped a truncated last line"
"""Said of raw outputs that end inside a line."""

RAW: Final = "predictions.jsonl.gz"
_STRICT: Final = "strict"
_RATES: Final = ("invented_rate", "duplicate_rate")


class RunFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``facts.json`` of a part: figures of a run that have no bucket, protocol strict."""

    n_samples: int
    n_dialogues: int
    n_answered: int
    outcomes: dict[str, int]
    incomplete: str | None
    invented_rate: float | None
    duplicate_rate: float | None
    latency_s: float | None
    cost: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunPart:
    """The folder of what was computed of a run."""

    path: Path

    @property
    def key(self) -> str:
        """Its name: equal inputs, settings and code have equal ones."""
        return self.path.name

    def record(self) -> RunRecord:
        """``run.json``, without paths of the machine that published it."""
        return msgspec.json.decode((self.path / RECORD).read_bytes(), type=RunRecord)

    def facts(self) -> RunFacts:
        """Figures of the run as a whole."""
        return msgspec.json.decode((self.path / "facts.json").read_bytes(), type=RunFacts)

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """One of ``figures``, ``samples``, ``answers`` and ``prompts``."""
        return load(self.path / f"{name}.parquet", columns)

    def headline(self) -> dict[str, float | None]:
        """The headline of all samples, by protocol."""
        columns = ["protocol", "metric", "grouping", "value"]
        figures = self.table("figures", columns)
        is_it = pc.and_(pc.equal(figures["metric"], HEADLINE), pc.equal(figures["grouping"], ALL))
        found = figures.filter(is_it)
        return dict(zip(found["protocol"].to_pylist(), found["value"].to_pylist(), strict=True))

    def sums(self) -> Sums:
        """What pairs are computed from."""
        return Sums(self.path)


class _Place(msgspec.Struct, frozen=True):
    """Where an array is in the file of sums."""

    key: tuple[str, ...]
    offset: int
    shape: tuple[int, ...]


class Sums:
    """What pairs are computed from, read as it is asked for; no file is kept open.

    Args:
        folder: The part that holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "sums.f64"
        places = msgspec.json.decode((folder / "sums.json").read_bytes(), type=list[_Place])
        self._places = {place.key: place for place in places}

    def __getitem__(self, key: tuple[str, ...]) -> FloatArray:
        place = self._places[key]
        count = int(np.prod(place.shape))
        found = np.fromfile(self._file, dtype="<f8", count=count, offset=place.offset)
        array: FloatArray = found.reshape(place.shape)
        return array


def save_sums(arrays: Mapping[tuple[str, ...], FloatArray], folder: Path) -> None:
    """Write what pairs are computed from."""
    places = []
    with (folder / "sums.f64").open("wb") as stream:
        for key, array in arrays.items():
            places.append(_Place(key, stream.tell(), array.shape))
            stream.write(np.ascontiguousarray(array, dtype="<f8").tobytes())
    (folder / "sums.json").write_bytes(msgspec.json.encode(places))


def part_key(source: str, benchmark_hash: str, split: str | None, resampling: Resampling) -> str:
    """The name of the part of a run: a hash of all that it depends on."""
    settings = [
        *(_FORMAT, source, benchmark_hash, split, [protocol.name for protocol in protocols()]),
        *(resampling.replicates, resampling.seed, resampling.method),
        *(code_version(), prompt_plugins()),
    ]
    return hashlib.sha256(msgspec.json.encode(settings)).hexdigest()


def source_hash(folder: Path) -> str:
    """A hash of all files of a run folder that are published."""
    digest = hashlib.sha256()
    for name in (RECORD, PREDICTIONS, CARD):
        file = folder / name
        digest.update(f"{name}\0".encode())
        if file.is_file():
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def make_part(
    store: Store,
    key: str,
    folder: Path,
    record: RunRecord,
    benchmark: Benchmark,
    resampling: Resampling,
) -> RunPart:
    """Compute the part of a run folder, or of what a former part has kept of one.

    Args:
        store: Where it goes.
        key: Its name.
        folder: The run folder, or the former part.
        record: What its ``run.json`` says.
        benchmark: The one of the run.
        resampling: How intervals are computed.

    Raises:
        InputError: If the run cannot be scored.
    """
    target = store.part("runs", key)
    with store.making(target) as work:
        notes = _write_raw(folder, work / RAW)  # figures are of what is kept, not of what grows
        if record.limit is not None:
            notes.append(f"the run was limited to {record.limit} samples; the others are missing")
        sources = load_raw(work / RAW, record, benchmark)
        found = run_figures(sources, resampling)
        strict = next(source for source in sources if source.protocol.family == _STRICT)
        scores = found.scores[_STRICT]
        save(found.table, work / "figures.parquet")
        save_sums(found.sums, work)
        save(sample_rows(strict, scores.evaluation), work / "samples.parquet")
        wanted = {
            sample_id: (strict.predictions or {})[sample_id]
            for sample_id in strict.table.sample_id
            if sample_id in (strict.predictions or {})
        }
        prompts, stored, note = render_prompts(record, benchmark, wanted)
        save(answer_rows(strict, prompts, note), work / "answers.parquet")
        save(stored, work / "prompts.parquet")
        write_json(work / RECORD, public_record(record))
        numbers = {name: parse_metric(name).of(scores.evaluation) for name in _RATES}
        table = strict.table
        facts = RunFacts(
            n_samples=scores.n_samples,
            n_dialogues=scores.n_dialogues,
            n_answered=scores.n_scored,
            outcomes=dict(scores.outcomes),
            incomplete=incomplete_mark(scores.outcomes, scores.n_samples),
            latency_s=_mean(table.latency_s),
            cost=_sum(table.cost),
            notes=tuple(dict.fromkeys(path_free(note) for note in (*notes, *scores.notes))),
            **numbers,
        )
        write_json(work / "facts.json", facts)
    return RunPart(target)


def load_raw(path: Path, record: RunRecord, benchmark: Benchmark) -> list[Source]:
    """Published raw outputs, coded for each protocol.

    Raises:
        InputError: If they cannot be read, or do not fit the benchmark.
    """
    if benchmark.content_hash != record.benchmark.hash:
        message = f"made on {record.benchmark.hash}, this is {benchmark.content_hash}"
        raise InputError(message, file=path, field="benchmark.hash")
    request = Request(benchmark=benchmark, split=record.split)
    if next(read_lines(path), None) is not None:
        return load_under(path, protocols(), request)
    return [
        load_source({}, replace(request, protocol=protocol.name, keep_predictions=True))
        for protocol in protocols()
    ]


def board_table_of(benchmark: Benchmark, split: str | None) -> list[Source]:
    """A board without predictions, coded for each protocol: its gold and its dialogues."""
    request = Request(benchmark=benchmark, split=split)
    return [load_source({}, replace(request, protocol=protocol.name)) for protocol in protocols()]


def figures_again(sources: list[Source], resampling: Resampling) -> tuple[pa.Table, Sums]:
    """The figures of a run once more, in memory."""
    found = run_figures(sources, resampling)
    return found.table, _InMemory(found.sums)


class _InMemory(Sums):
    def __init__(self, arrays: dict[tuple[str, ...], FloatArray]) -> None:
        self._found = arrays

    def __getitem__(self, key: tuple[str, ...]) -> FloatArray:
        return self._found[key]


def _write_raw(folder: Path, target: Path) -> list[str]:
    """Raw outputs, compressed so that equal ones give equal bytes; with sentences about them."""
    if (folder / RAW).exists() and not (folder / PREDICTIONS).exists():  # a former part
        shutil.copyfile(folder / RAW, target)
        return []
    source = folder / PREDICTIONS
    notes = []
    with (
        target.open("wb") as stream,
        gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed,
        io.BufferedWriter(packed, 2**20) as out,
    ):
        for line in read_lines(source) if source.exists() else ():
            if not line.complete and is_truncated(line.data):
                notes.append(f"{PREDICTIONS}: {CUT_NOTE}")
            else:
                out.write(public_line(line.data))
    return notes


def _mean(values: FloatArray | None) -> float | None:
    known = np.zeros(0) if values is None else values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _sum(values: FloatArray | None) -> float | None:
    known = np.zeros(0) if values is None else values[~np.isnan(values)]
    return float(known.sum()) if len(known) else None
