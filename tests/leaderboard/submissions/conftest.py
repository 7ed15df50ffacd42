"""A small site with its private benchmark: one board, one published run, gold public or hidden."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_eval.benchmark.writer import write_json
from ffr_eval.metrics.named import HEADLINE
from ffr_eval.scoring import score_table
from ffr_eval.sources import Request, load_source
from ffr_eval.uncertainty import Resampling
from leaderboard.site.manifest import MANIFEST, BoardRecord, FileRecord, Manifest, file_hash
from leaderboard.site.reader import Site
from leaderboard.site.schema import PROTOCOLS, TABLES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark

BOARD = "tiny-test"
FIRST_UTTERANCE, FIRST_IMAGE = 7_300_000, 8_400_000
REPLICATES = 200


@dataclass(frozen=True)
class Published:
    """A site and the benchmark of its only board."""

    site: Site
    board: BoardRecord
    benchmark: Benchmark
    sample_ids: tuple[str, ...]

    def gold(self, sample_id: str) -> tuple[list[int], list[int]]:
        queries = self.benchmark.queries
        row = self.benchmark.row_of(sample_id)
        assert row is not None
        return queries.gold_utt_ids[row].tolist(), queries.gold_img_ids[row].tolist()

    @property
    def gold_ids(self) -> set[str]:
        """All gold ids as text: 7 digits each, so that they are found wherever they turn up."""
        found: set[int] = set()
        for sample_id in self.sample_ids:
            utts, imgs = self.gold(sample_id)
            found |= {*utts, *imgs}
        return set(map(str, found))

    def predictions(self, right: int = 10) -> list[dict[str, Any]]:
        """Predictions: the first samples are right, the others have one turn that is wrong."""
        found = []
        for place, sample_id in enumerate(self.sample_ids):
            utts, imgs = self.gold(sample_id)
            if place >= right:
                utts, imgs = [FIRST_UTTERANCE + 1], []  # never gold
            found.append({"sample_id": sample_id, "utt_ids": utts, "img_ids": imgs})
        return found


def upload_of(records: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def write_benchmark(folder: Path) -> Benchmark:
    with BenchmarkWriter(folder, InfoRecord(name="tiny", version="1")) as writer:
        for number in range(8):
            name = f"d{number}"
            n_turns = (10, 40, 70)[number % 3]
            turns = tuple(
                TurnRecord(FIRST_UTTERANCE + i, "S", f"text {i}", (FIRST_IMAGE,) if not i else ())
                for i in range(n_turns)
            )
            writer.add_dialogue(DialogueRecord(name, turns, (ImageRecord(FIRST_IMAGE),), "en"))
            for k, (utts, imgs) in enumerate((((2, 3), (0,)), ((5,), ()), ((), (0,)))):
                gold = tuple(FIRST_UTTERANCE + i + number % 2 for i in utts)
                images = tuple(FIRST_IMAGE + i for i in imgs)
                writer.add_query(QueryRecord(f"{name}#{k}", name, f"query {k}", gold, images))
        writer.add_query(QueryRecord("d0#dev", "d0", "q", (FIRST_UTTERANCE,), (), "dev"))
    return read_benchmark(folder)


def write_site(folder: Path, *, hidden: bool = False) -> Published:
    work = folder / "private" / "made"
    content_hash = write_benchmark(work).content_hash
    home = folder / "private" / "benchmarks" / content_hash.removeprefix("sha256:")
    home.parent.mkdir(parents=True)
    work.rename(home)
    benchmark = read_benchmark(home)
    board = BoardRecord(BOARD, "tiny", "1", content_hash, "test", hidden)
    ids = [benchmark.queries.sample_id[row] for row in benchmark.rows("test")]
    rows = {name: [] for name in TABLES} | _leader(benchmark, board, ids)
    rows["queries"] = [
        {"board_id": BOARD, "row": row, "sample_id": name, "dialogue_id": name[:2], "query": "q"}
        for row, name in enumerate(ids)
    ]
    (folder / "public").mkdir()
    for name, table in TABLES.items():
        columns = {
            field.name: pa.array([row.get(field.name) for row in rows[name]], field.type)
            for field in table.schema
        }
        pq.write_table(pa.table(columns, schema=table.schema), folder / table.file)
    files = {
        table.file: FileRecord(file_hash(folder / table.file), (folder / table.file).stat().st_size)
        for table in TABLES.values()
    }
    manifest = Manifest(
        "2026-01-01T00:00:00Z",
        ("strict-1", "official-1"),
        REPLICATES,
        0,
        "percentile",
        0.05,
        (HEADLINE,),
        (board,),
        (),
        (),
        {},
        files,
    )
    write_json(folder / MANIFEST, manifest)
    return Published(Site(folder), board, benchmark, tuple(ids))


def _leader(benchmark: Benchmark, board: BoardRecord, ids: list[str]) -> dict[str, Any]:
    """A run that is right on every second sample, and a floor."""
    given = []
    for name in ids[::2]:
        row = benchmark.row_of(name)
        utts, imgs = (
            part[row].tolist()
            for part in (benchmark.queries.gold_utt_ids, benchmark.queries.gold_img_ids)
        )
        given.append({"sample_id": name, "utt_ids": utts, "img_ids": imgs})
    source = load_source(given, Request(benchmark=benchmark, split="test"))
    scores = score_table(source.table, source.protocol, resampling=Resampling(REPLICATES))
    ci95 = scores.ci95[HEADLINE]
    value = scores.metric(HEADLINE)
    place = {
        "board_id": BOARD,
        "protocol": PROTOCOLS[0],
        "metric": HEADLINE,
        "grouping": "all",
        "bucket": "all",
    }
    figure = place | {"run_id": "leader", "value": value, "rank": 1}
    found = figure | ({} if ci95 is None else {"lo": ci95.lo, "hi": ci95.hi})
    right = {record["sample_id"]: record for record in given}
    samples = [
        {
            "board_id": BOARD,
            "run_id": "leader",
            "row": row,
            "sample_id": name,
            "outcome": "ok" if name in right else "missing",
            "utt_ids": right.get(name, {}).get("utt_ids", []),
            "img_ids": right.get(name, {}).get("img_ids", []),
        }
        for row, name in enumerate(ids)
    ]
    run = {"board_id": BOARD, "run_id": "leader", "label": "Leader 7B", "ceiling": False}
    return {
        "runs": [run],
        "figures": [found],
        "floors": [place | {"name": "all", "value": 0.1}],
        "samples": [] if board.hidden_gold else samples,
    }


@pytest.fixture(scope="session")
def made_sites(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Published]:
    folder = tmp_path_factory.mktemp("sites")
    return {hidden: write_site(folder / str(hidden), hidden=hidden) for hidden in (False, True)}


@pytest.fixture
def published(made_sites: dict[bool, Published]) -> Published:
    """A site with public gold; read only."""
    return made_sites[False]


@pytest.fixture
def hidden(made_sites: dict[bool, Published]) -> Published:
    """A site with hidden gold; read only."""
    return made_sites[True]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """An empty state folder."""
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture
def details() -> Callable[..., Any]:
    """What a submitter says, with changes."""
    from leaderboard.submissions.metadata import Details

    def make(**changes: Any) -> Details:
        given: dict[str, Any] = {
            "model": "Mine 7B",
            "team": "Us",
            "contact": "me@secret.example",
            "weights": "open",
            "setting": "zero-shot",
            "params_b": 7.6,
            "link": "https://ours.example/paper?x=1",
            "description": "greedy",
        }
        return Details(**(given | changes))

    return make
