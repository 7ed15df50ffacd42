"""Benchmark folders: read, write, check, split and hash (task-format: Our own benchmark folder)."""

from ffr_eval.benchmark.check import check_benchmark
from ffr_eval.benchmark.content_hash import ContentHash
from ffr_eval.benchmark.reader import iter_dialogues, iter_queries, read_benchmark
from ffr_eval.benchmark.schema import (
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
)
from ffr_eval.benchmark.split import split_benchmark
from ffr_eval.benchmark.tables import Benchmark, DialogueTable, QueryTable
from ffr_eval.benchmark.writer import BenchmarkWriter

__all__ = [
    "Benchmark",
    "BenchmarkWriter",
    "ContentHash",
    "DialogueRecord",
    "DialogueTable",
    "ImageRecord",
    "InfoRecord",
    "QueryRecord",
    "QueryTable",
    "TurnRecord",
    "check_benchmark",
    "iter_dialogues",
    "iter_queries",
    "read_benchmark",
    "split_benchmark",
]
