"""Reading a benchmark folder: one pass over each file, each record validated as it comes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.benchmark.content_hash import ContentHash
from ffr_eval.benchmark.schema import DialogueRecord, InfoRecord, QueryRecord
from ffr_eval.benchmark.tables import Benchmark, DialogueTable, QueryTable
from ffr_eval.benchmark.validation import Validator, kind_of
from ffr_eval.errors import InputError, Problem
from ffr_eval.jsonl import read_json, read_records
from ffr_eval.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ffr_eval.benchmark.validation import Finding
    from ffr_eval.jsonl import Located

INFO: Final = "benchmark.json"
DIALOGUES: Final = "dialogues.jsonl"
QUERIES: Final = "queries.jsonl"
IMAGES: Final = "images"
NOTICE: Final = "NOTICE.md"
"""What else a benchmark folder may say of its origin and its licences."""

BUNDLED: Final = Path(__file__).parent.parent / "data"
"""Benchmarks that come with the package, found by name."""


def resolve(benchmark: str | Path) -> Path:
    """The folder of a benchmark given by path, or by name for a bundled one.

    Raises:
        InputError: If there is no such folder.
    """
    path = Path(benchmark)
    if path.is_dir():
        return path
    bundled = sorted(folder.name for folder in BUNDLED.iterdir() if (folder / INFO).exists())
    if str(benchmark) in bundled:
        return BUNDLED / str(benchmark)
    remedy = f"give a benchmark folder, or a bundled benchmark by name: {', '.join(bundled)}"
    what = "not a benchmark folder" if path.exists() else "no such benchmark folder"
    raise InputError(what, file=path, remedy=remedy)


def read_info(folder: Path) -> InfoRecord:
    """Read ``benchmark.json``.

    Raises:
        InputError: If it is missing or malformed.
    """
    path = folder / INFO
    if not path.exists():
        remedy = "a benchmark folder has benchmark.json, dialogues.jsonl and queries.jsonl"
        raise InputError("no such file", file=path, remedy=remedy)
    return read_json(path, InfoRecord)


def iter_dialogues(folder: Path) -> Iterator[Located[DialogueRecord]]:
    """Stream the dialogues of a benchmark folder; memory holds one at a time."""
    return read_records(folder / DIALOGUES, DialogueRecord)


def iter_queries(folder: Path) -> Iterator[Located[QueryRecord]]:
    """Stream the queries of a benchmark folder; memory holds one at a time."""
    return read_records(folder / QUERIES, QueryRecord)


def read_benchmark(benchmark: str | Path) -> Benchmark:
    """Read a benchmark folder (or a bundled benchmark by its name) into memory.

    Raises:
        InputError: For the first thing that is wrong, with file, line, field and remedy.
    """
    folder = resolve(benchmark)

    def refuse(found: Problem) -> None:
        raise InputError(
            found.message,
            file=found.file,
            line=found.line,
            field=found.field,
            remedy=found.remedy,
        )

    info = read_info(folder)
    builder = BenchmarkBuilder(folder, refuse)
    builder.add_dialogues(iter_dialogues(folder))
    builder.add_queries(iter_queries(folder))
    return builder.build(info)


class BenchmarkBuilder:
    """Turns streams of records into a :class:`Benchmark`, reporting problems as it goes.

    Args:
        root: The folder that image paths are relative to, if there is one.
        report: Called for each problem; it may raise. Records with problems are left out.
    """

    def __init__(self, root: Path | None, report: Callable[[Problem], None]) -> None:
        self._root = root
        self._report = report
        self._validator = Validator(root)
        self._hash = ContentHash()
        self._rows: dict[str, int] = {}
        self._dialogues: dict[str, list[Any]] = {name: [] for name in _DIALOGUE_COLUMNS}
        self._queries: dict[str, list[Any]] = {name: [] for name in _QUERY_COLUMNS}
        self._problems = 0

    def add_dialogues(self, records: Iterable[Located[DialogueRecord]]) -> None:
        """Add dialogues; all of them come before the queries."""
        for located in records:
            findings = self._validator.dialogue(located.record)
            if not self._reported(findings, DIALOGUES, located.line):
                self._add_dialogue(located.record)

    def add_queries(self, records: Iterable[Located[QueryRecord]]) -> None:
        """Add queries on the dialogues added before."""
        for located in records:
            findings = self._validator.query(located.record, located.line)
            row = self._rows.get(located.record.dialogue_id)
            if not self._reported(findings, QUERIES, located.line) and row is not None:
                self._add_query(located.record, row)

    def build(self, info: InfoRecord) -> Benchmark:
        """The benchmark of what was added."""
        dialogues, queries = self._dialogues, self._queries
        if not queries["sample_id"] and not self._problems:
            remedy = "a benchmark needs at least one"
            self._report(Problem("no queries", self._file(QUERIES), remedy=remedy))
        table = DialogueTable(
            dialogue_id=dialogues["dialogue_id"],
            language=dialogues["language"],
            meta=dialogues["meta"],
            utt_ids=Ragged.from_lists(dialogues["utt_ids"]),
            speaker=dialogues["speaker"],
            text=dialogues["text"],
            time=dialogues["time"],
            turn_images=Ragged.from_lists(dialogues["turn_images"]),
            img_ids=Ragged.from_lists(dialogues["img_ids"]),
            path=dialogues["path"],
            url=dialogues["url"],
            caption=dialogues["caption"],
        )
        query_table = QueryTable(
            sample_id=queries["sample_id"],
            dialogue=np.array(queries["dialogue"], dtype=np.int64),
            split=queries["split"],
            query=queries["query"],
            kind=queries["kind"],
            gold_utt_ids=Ragged.from_lists(queries["gold_utt_ids"]),
            gold_img_ids=Ragged.from_lists(queries["gold_img_ids"]),
            meta=queries["meta"],
        )
        digest = self._hash.hexdigest()
        warnings = []
        if info.hash is not None and info.hash != digest:
            warnings.append(
                "the content differs from the hash in benchmark.json: it was changed after it was"
                " written (`ffr data check` says more)"
            )
        return Benchmark(info, table, query_table, digest, self._root, warnings)

    def _reported(self, findings: Sequence[Finding], name: str, line: int) -> bool:
        for finding in findings:
            self._problems += 1
            file = self._file(name)
            self._report(Problem(finding.message, file, line, finding.field, finding.remedy))
        return bool(findings)

    def _file(self, name: str) -> str:
        return str(self._root / name) if self._root is not None else name

    def _add_dialogue(self, record: DialogueRecord) -> None:
        self._rows[record.dialogue_id] = len(self._rows)
        self._hash.add_dialogue(record)
        columns = self._dialogues
        columns["utt_ids"].append([turn.utt_id for turn in record.turns])
        columns["img_ids"].append([image.img_id for image in record.images])
        columns["dialogue_id"].append(record.dialogue_id)
        columns["language"].append(record.language)
        columns["meta"].append(record.meta or {})
        columns["speaker"].extend(turn.speaker for turn in record.turns)
        columns["text"].extend(turn.text for turn in record.turns)
        columns["time"].extend(turn.time for turn in record.turns)
        columns["turn_images"].extend(turn.images for turn in record.turns)
        columns["path"].extend(image.path for image in record.images)
        columns["url"].extend(image.url for image in record.images)
        columns["caption"].extend(image.caption for image in record.images)

    def _add_query(self, record: QueryRecord, row: int) -> None:
        self._hash.add_query(record)
        columns = self._queries
        columns["sample_id"].append(record.sample_id)
        columns["dialogue"].append(row)
        columns["split"].append(record.split)
        columns["query"].append(record.query)
        columns["kind"].append(kind_of(record.gold_utt_ids, record.gold_img_ids))
        columns["gold_utt_ids"].append(sorted(set(record.gold_utt_ids)))
        columns["gold_img_ids"].append(sorted(set(record.gold_img_ids)))
        columns["meta"].append(record.meta or {})


_DIALOGUE_COLUMNS: Final = (
    *("dialogue_id", "language", "meta", "utt_ids", "speaker", "text", "time", "turn_images"),
    *("img_ids", "path", "url", "caption"),
)
_QUERY_COLUMNS: Final = (
    *("sample_id", "dialogue", "split", "query", "kind"),
    *("gold_utt_ids", "gold_img_ids", "meta"),
)
