"""A benchmark's statistics in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table

from ffr_eval.published import PublishedDataset, published_papers
from ffr_eval.report.console import open_console
from ffr_eval.report.safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.benchmark.statistics import Spread, Statistics

_SPREADS: Final = (
    ("turns per dialogue", "turns_per_dialogue"),
    ("images per dialogue", "images_per_dialogue"),
    ("speakers per dialogue", "speakers_per_dialogue"),
    ("topics per dialogue", "topics_per_dialogue"),
    ("words per turn", "words_per_turn"),
    ("characters per turn", "characters_per_turn"),
    ("gold utterances per query", "gold_utterances_per_query"),
    ("gold images per query", "gold_images_per_query"),
    ("gold dispersion (span / size)", "gold_dispersion"),
    ("gold position (0 begin, 1 end)", "gold_position"),
)
_WECHAT: Final = ("WeChat-MDR", "zh", "75.38", "", "580", "1,250")


def print_statistics(statistics: Statistics, benchmark: Benchmark, split: str | None) -> None:
    """Print statistics, beside the datasets of the papers."""
    console = open_console()
    part = f", split {split}" if split is not None else ""
    console.print(visible(f"{benchmark.name}{part}"), style="bold")
    console.print(
        f"{statistics.n_dialogues:,} dialogues, {statistics.n_queries:,} queries,"
        f" {statistics.n_turns:,} turns, {statistics.n_images:,} images"
    )
    console.print(_spreads(statistics))
    console.print(
        f"length     {_shares(statistics.lengths)}   (short < 35 turns, medium 35-65, long > 65)"
    )
    console.print(f"kinds      {_shares(statistics.kinds)}")
    console.print(f"splits     {_shares(statistics.splits)}")
    console.print(f"languages  {_shares(statistics.languages)}")
    console.print()
    console.print(_comparison(statistics, benchmark))


def _spreads(statistics: Statistics) -> Table:
    table = _table(("", "mean", "median", "min", "max", "n"), n_texts=1)
    for name, attribute in _SPREADS:
        spread: Spread | None = getattr(statistics, attribute)
        if spread is None:
            table.add_row(name, "not tagged", "", "", "", "")
            continue
        figures = (spread.mean, spread.median, spread.min, spread.max)
        table.add_row(name, *map(_figure, figures), f"{spread.n:,}")
    return table


def _comparison(statistics: Statistics, benchmark: Benchmark) -> Table:
    headings = ("dataset", "language", "mean turns", "mean topics", "dialogues", "queries")
    table = _table(headings, n_texts=2)
    topics = statistics.topics_per_dialogue
    table.add_row(
        visible(benchmark.name),
        visible(", ".join(statistics.languages)),
        _figure(statistics.turns_per_dialogue.mean),
        "not tagged" if topics is None else _figure(topics.mean),
        f"{statistics.n_dialogues:,}",
        f"{statistics.n_queries:,}",
        style="bold",
    )
    table.add_row(*_WECHAT)
    datasets = [found for paper in published_papers() for found in paper.table1_datasets]
    for found in sorted(datasets, key=_by_turns):
        table.add_row(
            found.dataset, found.language, f"{found.avg_turns:.2f}", f"{found.avg_topics:.2f}"
        )
    return table


def _by_turns(found: PublishedDataset) -> float:
    return -found.avg_turns


def _table(headings: tuple[str, ...], n_texts: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index < n_texts else "right", overflow="fold")
    return table


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}"


def _shares(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    parts = [f"{visible(name)} {n:,} ({n / max(total, 1):.0%})" for name, n in counts.items()]
    return ", ".join(parts) or "none"
