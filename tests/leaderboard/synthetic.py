"""A published site without runs and benchmarks: for tests of pages, and for benchmarks.

Predictions are drawn, counts are those of the predictions against the gold, and figures those of
the counts, so that pages agree with each other. Intervals, tests and official figures only stand
in for real ones.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ffr_eval.markup import QUERY, UTT_ID, mark
from leaderboard.site.manifest import (
    MANIFEST,
    BoardRecord,
    FileRecord,
    Manifest,
    PublishedRun,
    UnscoredRecord,
    file_hash,
)
from leaderboard.site.schema import (
    ANSWERS,
    BOARD_METRICS,
    BOARDS,
    DIALOGUES,
    FIGURES,
    FLOORS,
    PAIRS,
    PROMPTS,
    QUERIES,
    RUNS,
    SAMPLES,
)
from tests.leaderboard import synthetic_dialogues as dialogues
from tests.leaderboard import synthetic_figures as figures

if TYPE_CHECKING:
    from pathlib import Path

    from leaderboard.site.schema import Table
    from tests.leaderboard.synthetic_dialogues import Gold

BENCHMARKS: Final = (("ffr-sample", "test"), ("qmsum-evidence", "test"), ("mem-gallery", None))
PAIRED: Final = 50
"""So many runs, the best, are in the table of pairs."""
RAW_UP_TO: Final = 50
"""Raw files are written for boards with at most so many runs."""
_FAMILIES: Final = (
    ("qwen2.5-vl-7b", 7.6, "open"),
    ("internvl3-8b", 7.9, "open"),
    ("gpt-4o", None, "closed"),
    ("bm25", 0.0, "open"),
    ("sentence-minilm", 0.023, "open"),
    ("llava-next-13b", 13.4, "open"),
    ("clip-vit-b32", 0.15, "open"),
)
_CHUNK: Final = 16
_COUNTS: Final = ("tp", "fp", "fn")


def write_site(
    path: Path,
    *,
    n_boards: int = 1,
    n_runs: int = 12,
    n_samples: int = 40,
    n_dialogues: int = 8,
    seed: int = 0,
    images: bool = True,
    hidden: bool = False,
    long_dialogue_turns: int | None = None,
) -> Path:
    """Write a site.

    Of each board's runs one is a ceiling (``oracle``), one is incomplete (``outage``), one was
    submitted, one was stopped half-way, and some have neither prompts, costs nor latencies.

    Args:
        path: Its folder, made if it is missing.
        n_boards: Up to three benchmarks.
        images: Whether dialogues have images; every seventh has no file.
        hidden: Whether the gold of the last board is hidden.
        long_dialogue_turns: The turns of one dialogue of each board, the third.

    Returns:
        ``path``.
    """
    rng = np.random.default_rng(seed)
    public = path / "public"
    public.mkdir(parents=True)
    names = dialogues.make_images(path, 5, rng) if images else []
    writers = _Writers(path)
    boards, published = [], []
    for number, (benchmark, split) in enumerate(BENCHMARKS[:n_boards]):
        content = hashlib.sha256(f"{benchmark}-{seed}".encode()).hexdigest()
        record = BoardRecord(
            f"{benchmark}-{split or 'all'}-{content[:8]}",
            benchmark,
            "1.0",
            f"sha256:{content}",
            split,
            hidden_gold=hidden and number == n_boards - 1,
        )
        boards.append(record)
        said = dialogues.make_dialogues(record.hash, n_dialogues, names, long_dialogue_turns, rng)
        published += _write_board(writers, record, said, n_runs, n_samples, rng)
    writers.close()
    manifest = Manifest(
        created="2026-06-01T12:00:00Z",
        protocols=("strict-1", "official-1"),
        replicates=10_000,
        seed=seed,
        method="cluster bootstrap over dialogues",
        alpha=figures.ALPHA,
        metrics=BOARD_METRICS,
        boards=tuple(sorted(boards, key=lambda board: board.board_id)),
        runs=tuple(sorted(published, key=lambda run: (run.board_id, run.run_id))),
        unscored=(
            UnscoredRecord(
                "broken/half-written",
                "run.json is not JSON: unexpected end of input at line 3",
                "run it again, or remove the folder",
            ),
        ),
        code={"ffr-eval": "0.1.0", "numpy": np.__version__, "python": "3.11"},
        files={
            file.relative_to(path).as_posix(): FileRecord(file_hash(file), file.stat().st_size)
            for file in sorted(path.rglob("*"))
            if file.is_file()
        },
    )
    (path / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    return path


class _Writers:
    """Parquet files that grow board by board; small tables wait, to be sorted as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: dict[str, pq.ParquetWriter] = {}
        self._waiting: dict[str, list[pa.Table]] = {}
        for table in (BOARDS, RUNS, FIGURES, FLOORS, PAIRS, PROMPTS, QUERIES, DIALOGUES):
            self._waiting[table.name] = [table.schema.empty_table()]
        for table in (SAMPLES, ANSWERS):
            self._writer(table)

    @property
    def path(self) -> Path:
        return self._path

    def _writer(self, table: Table) -> pq.ParquetWriter:
        if table.name not in self._open:
            place = self._path / table.file
            self._open[table.name] = pq.ParquetWriter(place, table.schema, compression="zstd")
        return self._open[table.name]

    def stream(self, table: Table, rows: pa.Table) -> None:
        """Rows that are in order already."""
        self._writer(table).write_table(rows, row_group_size=table.row_group)

    def add(self, table: Table, rows: pa.Table) -> None:
        """Rows that are sorted at the end."""
        self._waiting[table.name].append(rows)

    def close(self) -> None:
        by_name = {t.name: t for t in (BOARDS, RUNS, FIGURES, FLOORS, PAIRS, PROMPTS, QUERIES)}
        by_name[DIALOGUES.name] = DIALOGUES
        for name, parts in self._waiting.items():
            table = by_name[name]
            rows = pa.concat_tables(parts)
            if len(parts) > 2 or table in (BOARDS, RUNS, PROMPTS, DIALOGUES):
                keys = rows.select(list(table.order))
                order = [(column, "ascending") for column in table.order]
                rows = rows.take(pc.sort_indices(keys, order))
            self.stream(table, rows)
        for writer in self._open.values():
            writer.close()


@dataclass(frozen=True)
class _Run:
    """What is decided about a run before its predictions are drawn."""

    run_id: str
    label: str
    model: str
    params_b: float | None
    weights: str
    skill: float
    role: str  # "", oracle, outage, submitted, stopped


def _runs(number: int, rng: np.random.Generator) -> list[_Run]:
    found = []
    for at in range(number):
        model, params, weights = _FAMILIES[at % len(_FAMILIES)]
        variant = ("zero-shot", "tuned", "long-prompt")[at // len(_FAMILIES) % 3]
        role = {1: "submitted", 3: "outage", 4: "oracle", 5: "stopped"}.get(at, "")
        label = f"{model}/{variant}" if at < 3 * len(_FAMILIES) else f"{model}/{variant}-{at:04d}"
        if role in ("outage", "oracle"):
            label, model, params = role, role if role == "oracle" else model, None
        run_id = label.replace("/", "-")
        skill = float(rng.uniform(0.1, 0.92))
        found.append(_Run(run_id, label, model, params, weights, skill, role))
    return sorted(found, key=lambda run: run.run_id)


def _write_board(
    writers: _Writers,
    record: BoardRecord,
    said: pa.Table,
    n_runs: int,
    n_samples: int,
    rng: np.random.Generator,
) -> list[PublishedRun]:
    gold = dialogues.make_gold(said, n_samples, rng)
    runs = _runs(n_runs, rng)
    utts = _Ids(gold.turns, gold.utt_ids)
    imgs = _Ids(gold.n_images, gold.img_ids)
    drawn = [_Drawn(run, gold, utts, imgs, rng) for run in runs]
    scored = _scored(drawn)
    unranked = np.array([run.role in ("oracle", "outage") for run in runs])
    run_ids = [run.run_id for run in runs]
    found = figures.tables(record.board_id, gold, scored, run_ids, unranked, PAIRED)
    for table, rows in zip((FIGURES, FLOORS, PAIRS), found, strict=True):
        writers.add(table, rows)
    writers.add(DIALOGUES, said)
    writers.add(QUERIES, dialogues.query_table(record.board_id, gold, record.hidden_gold))
    writers.add(RUNS, _run_table(record, drawn, gold))
    languages = sorted(set(gold.language.tolist()))
    row = {
        **{name: getattr(record, name) for name in ("board_id", "benchmark", "version", "hash")},
        "split": record.split,
        "hidden_gold": record.hidden_gold,
        "n_samples": n_samples,
        "n_dialogues": len(np.unique(gold.dialogue)),
        "n_runs": n_runs,
        "languages": languages,
    }
    writers.add(BOARDS, pa.Table.from_pylist([row], BOARDS.schema))
    if not record.hidden_gold:
        prompts = _prompts(record, gold, said)
        writers.add(PROMPTS, prompts)
        ids = prompts["prompt_id"]
        for start in range(0, n_runs, _CHUNK):
            some = range(start, min(start + _CHUNK, n_runs))
            rows = [_sample_rows(record, drawn[at], gold, scored, at) for at in some]
            writers.stream(SAMPLES, pa.concat_tables(rows))
            rows = [_answer_rows(record, drawn[at], gold, ids) for at in some]
            writers.stream(ANSWERS, pa.concat_tables(rows))
    if n_runs <= RAW_UP_TO:
        _write_raw(writers.path, drawn, gold, record.hidden_gold)
    return [
        PublishedRun(run_id, record.board_id, _digest(record.board_id, run_id))
        for run_id in run_ids
    ]


class _Ids:
    """All ids that samples may answer, laid end to end."""

    def __init__(self, lengths: np.ndarray[Any, Any], gold: list[list[int]]) -> None:
        self.n = len(lengths)
        self.sample = np.repeat(np.arange(self.n), lengths)
        starts = np.cumsum(lengths) - lengths
        self.id = np.arange(len(self.sample)) - np.repeat(starts, lengths)
        self.gold = np.zeros(len(self.sample), bool)
        for row, ids in enumerate(gold):
            self.gold[starts[row] + np.array(ids, int)] = True

    def sums(self, mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.bincount(self.sample[mask], minlength=self.n).astype(float)

    def lists(self, mask: np.ndarray[Any, Any]) -> pa.ListArray:
        lengths = np.bincount(self.sample[mask], minlength=self.n)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(offsets, self.id[mask])


class _Drawn:
    """The predictions of a run."""

    def __init__(
        self, run: _Run, gold: Gold, utts: _Ids, imgs: _Ids, rng: np.random.Generator
    ) -> None:
        n = utts.n
        self.run = run
        skill = np.clip(run.skill - 0.002 * (np.minimum(gold.turns, 100) - 40), 0.05, 0.95)
        fails = {"oracle": 0.0, "outage": 0.12, "stopped": 0.0}.get(run.role, 0.03)
        self.outcome = np.full(n, "ok", dtype="<U16")
        failed = rng.random(n) < fails
        other = ("parse_error", "refusal", "truncated", "context_overflow")
        self.outcome[failed] = rng.choice(other, failed.sum())
        if run.role == "outage":
            self.outcome[: max(1, n // 8)] = "request_error"
        if run.role == "stopped":
            self.outcome[n - max(1, n // 4) :] = "missing"
        failed = self.outcome != "ok"
        self.masks = []
        for ids, wrong in ((utts, 0.012), (imgs, 0.04)):
            chance = np.where(ids.gold, skill[ids.sample], (wrong * (1.2 - skill))[ids.sample])
            if run.role == "oracle":
                chance = ids.gold.astype(float)
            mask = (rng.random(len(ids.gold)) < chance) & ~failed[ids.sample]
            self.masks.append(mask)
        tps = [
            ids.sums(mask & ids.gold) for ids, mask in zip((utts, imgs), self.masks, strict=True)
        ]
        self.counts = []
        for ids, mask, tp in zip((utts, imgs), self.masks, tps, strict=True):
            all_gold, predicted = ids.sums(ids.gold), ids.sums(mask)
            everything = ids.sums(np.ones(len(mask), bool))
            fp, fn = predicted - tp, all_gold - tp
            self.counts.append((tp, fp, fn, everything - tp - fp - fn))
        self.ids = [ids.lists(mask) for ids, mask in zip((utts, imgs), self.masks, strict=True)]
        self.masks = []
        nothing = ~failed & (np.array(pc.list_value_length(self.ids[0])) == 0)
        nothing &= np.array(pc.list_value_length(self.ids[1])) == 0
        self.outcome[nothing] = "empty"
        self.answered = np.isin(self.outcome, ("ok", "empty"))
        remote = run.weights == "closed"
        seconds = rng.gamma(4, 0.1 + (run.params_b or 3) / 20, n)
        self.latency = None if run.model.startswith(("bm25", "oracle")) else seconds
        self.cost = rng.gamma(3, 0.0004, n) if remote else None


def _scored(drawn: list[_Drawn]) -> figures.Scored:
    parts = []
    for modality in (0, 1):
        stacked = [np.stack([run.counts[modality][at] for run in drawn]) for at in range(4)]
        parts.append(figures.Counts(*stacked))
    answered = np.stack([run.answered for run in drawn])
    found = [figures.of_samples(part, answered) for part in parts]
    both = figures.joint(*found)
    by_modality = {"utterance": found[0], "image": found[1], "joint": both}
    return figures.Scored(parts[0], parts[1], by_modality, answered)


def _run_table(record: BoardRecord, drawn: list[_Drawn], gold: Gold) -> pa.Table:
    outcomes = [name[2:] for name in RUNS.schema.names if name.startswith("n_")]
    rows = []
    for at, one in enumerate(drawn):
        run = one.run
        submitted = run.role == "submitted"
        tuned = run.label.endswith("/tuned") or "/tuned-" in run.label
        counts = {f"n_{name}": int((one.outcome == name).sum()) for name in outcomes}
        n_bad = counts["n_request_error"]
        incomplete = f"{n_bad / len(one.outcome):.1%} request errors"
        rows.append(
            {
                **counts,
                "board_id": record.board_id,
                "run_id": run.run_id,
                "label": run.label,
                "model": run.model,
                "model_version": "1",
                "model_revision": None if at % 3 else _digest(run.model)[:40],
                "prompt_hash": None if _promptless(run) else "sha256:" + "ab" * 32,
                "options": json.dumps({"temperature": 0, "top_p": 1.0}),
                "split": record.split,
                "limit": None,
                "seed": 0,
                "tune_on": "val" if tuned else None,
                "selection": None,
                "status": "stopped" if run.role == "stopped" else "complete",
                "date": None if at % 11 == 10 else f"2026-05-{1 + at % 28:02d}T09:00:00Z",
                "versions": json.dumps({"ffr-eval": "0.1.0", "python": "3.11"}),
                "git": None if submitted else "0123456789abcdef0123456789abcdef01234567",
                "params_b": run.params_b,
                "weights": "unknown" if run.role == "oracle" else run.weights,
                "setting": "unknown" if submitted else "tuned" if tuned else "zero-shot",
                "provenance": "submitted" if submitted else "verified",
                "ceiling": run.role == "oracle",
                "link": "https://example.org/model" if submitted else None,
                "team": "Team 北京" if submitted else None,
                "source_hash": _digest(record.board_id, run.run_id),
                "n_samples": len(one.outcome),
                "n_dialogues": len(np.unique(gold.dialogue)),
                "n_answered": int(one.answered.sum()),
                "incomplete": incomplete if run.role == "outage" else None,
                "invented_rate": 0.0,
                "duplicate_rate": 0.0,
                "latency_s": None if one.latency is None else float(one.latency.mean()),
                "cost": None if one.cost is None else float(one.cost.sum()),
                "notes": ["Stopped before the last samples."] if run.role == "stopped" else [],
            }
        )
    return pa.Table.from_pylist(rows, RUNS.schema)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _promptless(run: _Run) -> bool:
    return run.model in ("bm25", "oracle", "clip-vit-b32", "sentence-minilm")


def _constant(text: str | None, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), n)


def _reals(values: np.ndarray[Any, Any] | None, n: int) -> pa.Array:
    if values is None:
        return pa.nulls(n, pa.float64())
    return pa.array(values, pa.float64(), mask=np.isnan(values))


def _sample_rows(
    record: BoardRecord, one: _Drawn, gold: Gold, scored: figures.Scored, at: int
) -> pa.Table:
    n = len(gold.sample_ids)
    of = scored.of_samples
    columns: dict[str, Any] = {
        "board_id": _constant(record.board_id, n),
        "run_id": _constant(one.run.run_id, n),
        "row": np.arange(n),
        "sample_id": gold.sample_ids,
        "dialogue_id": gold.dialogue_ids,
        "kind": gold.kind,
        "turns": gold.turns,
        "bucket": gold.bucket,
        "language": gold.language,
        "outcome": one.outcome,
        **{name: _reals(of["joint"][name][at], n) for name in ("f1", "precision", "recall")},
        "utt_f1": _reals(of["utterance"]["f1"][at], n),
        "img_f1": _reals(of["image"]["f1"][at], n),
        "utt_ids": one.ids[0],
        "img_ids": one.ids[1],
        "latency_s": _reals(one.latency, n),
        "cost": _reals(one.cost, n),
    }
    for modality, counts in zip(("utt", "img"), one.counts, strict=True):
        for name, count in zip(_COUNTS, counts, strict=False):
            columns[f"{modality}_{name}"] = count.astype(np.int64)
    return _as_table(SAMPLES, columns)


def _as_table(table: Table, columns: dict[str, Any]) -> pa.Table:
    arrays = []
    for field in table.schema:
        column = columns[field.name]
        column = column if isinstance(column, (pa.Array, pa.ChunkedArray)) else pa.array(column)
        arrays.append(column.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=table.schema)


def _answer_rows(
    record: BoardRecord, one: _Drawn, gold: Gold, prompt_ids: pa.ChunkedArray
) -> pa.Table:
    n = len(gold.sample_ids)
    marked = [pc.binary_join(ids.cast(pa.list_(pa.string())), ", ") for ids in one.ids]
    text = pc.binary_join_element_wise(
        "<|utt_ids_start|>[",
        marked[0],
        "]<|utt_ids_end|>;<|img_ids_start|>[",
        marked[1],
        "]<|img_ids_end|>",
        "",
    )
    outcome = pa.array(one.outcome)
    text = pc.if_else(pc.equal(outcome, "refusal"), "Sorry, I cannot help with that.", text)
    text = pc.if_else(pc.equal(outcome, "parse_error"), "抱歉，没有找到相关内容。", text)
    asked = pc.is_in(outcome, pa.array(["request_error", "missing", "context_overflow"]))
    nothing = pa.nulls(n, pa.string())
    promptless = _promptless(one.run)
    finish = pc.if_else(pc.equal(outcome, "truncated"), "length", "stop")
    order = pc.sort_indices(pa.array(gold.sample_ids))
    # Every third sample's prompt cannot be shown to be the very one.
    exact = pa.array([None if row % 3 == 2 else True for row in range(n)], pa.bool_())
    columns = {
        "board_id": _constant(record.board_id, n),
        "run_id": _constant(one.run.run_id, n),
        "sample_id": pa.array(gold.sample_ids),
        "response": nothing if promptless else pc.if_else(asked, nothing, text),
        "finish_reason": nothing if promptless else pc.if_else(asked, nothing, finish),
        "error": pc.if_else(pc.equal(outcome, "request_error"), "503 from the server", nothing),
        "prompt_id": nothing if promptless else prompt_ids,
        "prompt_exact": pa.nulls(n, pa.bool_()) if promptless else exact,
        "prompt_note": _constant(f"{one.run.model} has no prompt" if promptless else None, n),
    }
    return _as_table(ANSWERS, columns).take(order)


def _prompts(record: BoardRecord, gold: Gold, said: pa.Table) -> pa.Table:
    """One prompt a sample, in the order of the samples."""
    lines = []
    for turns in said["turns"].to_pylist():
        parts = [
            f"{mark(UTT_ID, turn['utt_id'])} {turn['speaker']}: {turn['text'] or ''}"
            for turn in turns
        ]
        lines.append("\n".join(parts))
    texts = []
    for sample, at in zip(gold.sample_ids, gold.dialogue.tolist(), strict=True):
        user = f"Find what fits {mark(QUERY, sample)}.\n{lines[at]}"
        messages = [
            {"role": "system", "parts": [{"type": "text", "text": "You retrieve fragments."}]},
            {"role": "user", "parts": [{"type": "text", "text": user}]},
        ]
        requests = [{"part": None, "utt_ids": None, "messages": messages}]
        texts.append(json.dumps(requests, ensure_ascii=False))
    ids = [_digest(record.board_id, text) for text in texts]
    return pa.table({"prompt_id": ids, "requests": texts}, schema=PROMPTS.schema)


def _write_raw(path: Path, drawn: list[_Drawn], gold: Gold, hidden: bool) -> None:
    raw = path / "public" / "raw"
    raw.mkdir(exist_ok=True)
    for one in drawn:
        name = one.run.run_id
        (raw / f"{name}.run.json").write_text(json.dumps({"model": one.run.model}) + "\n")
        if hidden:
            continue
        utts, imgs = (ids.to_pylist() for ids in one.ids)
        lines = [
            json.dumps(
                {
                    "schema_version": 1,
                    "sample_id": sample,
                    "response": None,
                    "utt_ids": utts[row],
                    "img_ids": imgs[row],
                    "outcome": str(one.outcome[row]),
                }
            )
            for row, sample in enumerate(gold.sample_ids)
            if one.outcome[row] != "missing"
        ]
        content = gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)
        (raw / f"{name}.jsonl.gz").write_bytes(content)
