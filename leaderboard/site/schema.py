"""The tables of a site: their columns, and the order of their rows.

All tables lie in ``SITE/public`` as Parquet. Rows are sorted as said here, so that a reader who
asks for one board or one run reads only the row groups that hold it. Values are 0-1 (MCC and
differences -1 to 1), never percent; null where a figure is undefined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from ffr_eval.metrics.named import ADJUSTED, ALL_FIGURES, HEADLINE

if TYPE_CHECKING:
    from collections.abc import Mapping

BOARD_METRICS: Final = (*ALL_FIGURES, ADJUSTED, "exact", "answered_rate")
"""The figures that every run has, by protocol, for all samples and for each bucket."""

PAIR_METRICS: Final = (HEADLINE, "micro.utterance.f1", "micro.image.f1", "macro.joint.f1")
"""Those by which every two runs are compared: they have rank intervals and tiers."""

PROTOCOLS: Final = ("strict", "official")
ALL: Final = "all"
"""The grouping, and the bucket, of all samples."""
GROUPINGS: Final = ("turns", "kind", "language")

_TEXT, _INT, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_IDS: Final = pa.list_(pa.int64())
_TURN: Final = pa.struct(
    {"utt_id": _INT, "speaker": _TEXT, "text": _TEXT, "time": _TEXT, "img_ids": _IDS}
)
_IMAGE: Final = pa.struct(
    {
        "img_id": _INT,
        "sha256": _TEXT,  # of SITE/public/images/<sha256>.webp; null without a file
        "width": _INT,
        "height": _INT,
        "caption": _TEXT,
    }
)
_OUTCOMES: Final = (
    "ok",
    "empty",
    "parse_error",
    "refusal",
    "truncated",
    "context_overflow",
    "request_error",
    "missing",
)
_COUNTS: Final = tuple(
    f"{modality}_{count}" for modality in ("utt", "img") for count in ("tp", "fp", "fn")
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the site.

    Attributes:
        name: Of its file, without ``.parquet``.
        schema: Its columns.
        order: The columns by which it is sorted.
        row_group: So many rows a row group.
    """

    name: str
    schema: pa.Schema
    order: tuple[str, ...]
    row_group: int = 16_384

    @property
    def file(self) -> str:
        """Its place below the site."""
        return f"public/{self.name}.parquet"


BOARDS: Final = Table(
    "boards",
    pa.schema(
        {
            "board_id": _TEXT,
            "benchmark": _TEXT,
            "version": _TEXT,
            "hash": _TEXT,
            "split": _TEXT,  # null: all samples
            "hidden_gold": _FLAG,
            "n_samples": _INT,
            "n_dialogues": _INT,
            "n_runs": _INT,
            "languages": pa.list_(_TEXT),
        }
    ),
    ("board_id",),
)
"""One row a board: a benchmark by content hash, and a split."""

RUNS: Final = Table(
    "runs",
    pa.schema(
        {
            "board_id": _TEXT,
            "run_id": _TEXT,
            "label": _TEXT,
            "model": _TEXT,
            "model_version": _TEXT,
            "model_revision": _TEXT,
            "prompt_hash": _TEXT,
            "options": _TEXT,  # JSON object
            "split": _TEXT,
            "limit": _INT,
            "seed": _INT,
            "tune_on": _TEXT,
            "selection": _TEXT,  # JSON object
            "status": _TEXT,
            "date": _TEXT,  # ISO 8601 UTC, of the last session
            "versions": _TEXT,  # JSON object
            "git": _TEXT,
            "params_b": _REAL,  # 10^9 parameters
            "weights": _TEXT,  # open, closed, unknown
            "setting": _TEXT,  # zero-shot, tuned, unknown
            "provenance": _TEXT,  # verified, submitted
            "ceiling": _FLAG,  # a model that knows the gold
            "link": _TEXT,  # https only
            "team": _TEXT,
            "source_hash": _TEXT,
            "n_samples": _INT,
            "n_dialogues": _INT,
            "n_answered": _INT,
            **{f"n_{outcome}": _INT for outcome in _OUTCOMES},
            "incomplete": _TEXT,  # why it has no rank; null if it has
            "invented_rate": _REAL,
            "duplicate_rate": _REAL,
            "latency_s": _REAL,  # mean seconds an answer; null where it was not recorded
            "cost": _REAL,  # of all answers, in the currency of the price table
            "notes": pa.list_(_TEXT),
        }
    ),
    ("board_id", "run_id"),
)
"""One row a run."""

FIGURES: Final = Table(
    "figures",
    pa.schema(
        {
            "board_id": _TEXT,
            "protocol": _TEXT,
            "metric": _TEXT,
            "grouping": _TEXT,
            "bucket": _TEXT,
            "run_id": _TEXT,
            "n_samples": _INT,
            "value": _REAL,
            "lo": _REAL,  # the 95% interval; null without one
            "hi": _REAL,
            "rank": _INT,  # by value; null if undefined, incomplete, or the metric ranks nothing
            "rank_lo": _INT,  # the rank interval; null where the metric is not compared in pairs
            "rank_hi": _INT,
            "tier": _INT,
        }
    ),
    ("board_id", "protocol", "metric", "grouping", "bucket", "run_id"),
)
"""One row a run, protocol, metric and bucket."""

FLOORS: Final = Table(
    "floors",
    pa.schema(
        {
            "board_id": _TEXT,
            "protocol": _TEXT,
            "metric": _TEXT,
            "grouping": _TEXT,
            "bucket": _TEXT,
            "name": _TEXT,
            "value": _REAL,
        }
    ),
    ("board_id", "protocol", "metric", "grouping", "bucket", "name"),
)
"""What predictions without a model are worth, for the metrics compared in pairs; never ranked."""

PAIRS: Final = Table(
    "pairs",
    pa.schema(
        {
            "board_id": _TEXT,
            "protocol": _TEXT,
            "metric": _TEXT,
            "grouping": _TEXT,
            "bucket": _TEXT,
            "a": _TEXT,
            "b": _TEXT,
            "delta": _REAL,  # a less b
            "lo": _REAL,  # its 95% interval
            "hi": _REAL,
            "p": _REAL,  # of this pair alone
            "p_holm": _REAL,  # adjusted for all pairs of this board, metric and bucket
            "wins": _INT,  # samples on which a is better, by the metric of one sample
            "ties": _INT,
            "losses": _INT,
            "n_samples": _INT,
            "n_dialogues": _INT,
            "dialogues_needed": _INT,
        }
    ),
    ("board_id", "a", "b", "protocol", "metric", "grouping", "bucket"),
)
"""One row a pair of runs, ``a`` before ``b`` in the order of their ids."""

SAMPLES: Final = Table(
    "samples",
    pa.schema(
        {
            "board_id": _TEXT,
            "run_id": _TEXT,
            "row": pa.int32(),
            "sample_id": _TEXT,
            "dialogue_id": _TEXT,
            "kind": _TEXT,
            "turns": _INT,
            "bucket": _TEXT,  # by turns: short, medium, long
            "language": _TEXT,
            "outcome": _TEXT,
            "f1": _REAL,  # of this sample, both modalities; null where it does not count
            "precision": _REAL,
            "recall": _REAL,
            "utt_f1": _REAL,
            "img_f1": _REAL,
            **dict.fromkeys(_COUNTS, _INT),
            "utt_ids": _IDS,  # as predicted, repetitions and invented ids kept
            "img_ids": _IDS,
            "latency_s": _REAL,
            "cost": _REAL,
        }
    ),
    ("board_id", "run_id", "row"),
)
"""One row a run and sample, protocol strict; none of boards with hidden gold."""

ANSWERS: Final = Table(
    "answers",
    pa.schema(
        {
            "board_id": _TEXT,
            "run_id": _TEXT,
            "sample_id": _TEXT,
            "response": _TEXT,  # the raw text; null from a model that gives ids only
            "finish_reason": _TEXT,
            "error": _TEXT,
            "prompt_id": _TEXT,  # null from a model without a prompt, or if it cannot be made again
            "prompt_exact": _FLAG,  # its hash is the one that the run recorded; null: none recorded
            "prompt_note": _TEXT,  # why there is no prompt
        }
    ),
    ("board_id", "run_id", "sample_id"),
    8_192,
)
"""What the model wrote, and what it was asked."""

PROMPTS: Final = Table(
    "prompts", pa.schema({"prompt_id": _TEXT, "requests": _TEXT}), ("prompt_id",), 64
)
"""Requests as JSON, each once: ``[{"part", "utt_ids", "messages", "images", "schema"?}]``."""

QUERIES: Final = Table(
    "queries",
    pa.schema(
        {
            "board_id": _TEXT,
            "row": pa.int32(),
            "sample_id": _TEXT,
            "dialogue_id": _TEXT,
            "query": _TEXT,
            "kind": _TEXT,  # null where gold is hidden, as are the gold ids
            "gold_utt_ids": _IDS,
            "gold_img_ids": _IDS,
        }
    ),
    ("board_id", "row"),
)
"""One row a sample of a board."""

DIALOGUES: Final = Table(
    "dialogues",
    pa.schema(
        {
            "hash": _TEXT,
            "dialogue_id": _TEXT,
            "language": _TEXT,
            "turns": pa.list_(_TURN),
            "images": pa.list_(_IMAGE),
        }
    ),
    ("hash", "dialogue_id"),
    32,
)
"""One row a dialogue of a benchmark."""

TABLES: Final[Mapping[str, Table]] = {
    table.name: table
    for table in (
        BOARDS,
        RUNS,
        FIGURES,
        FLOORS,
        PAIRS,
        SAMPLES,
        ANSWERS,
        PROMPTS,
        QUERIES,
        DIALOGUES,
    )
}
