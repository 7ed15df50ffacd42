"""Results as papers report them; never computed here, never ranked among runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ffr_eval.published import PublishedPaper, PublishedScores

DATASETS: Final = {"MLDR val": "mldr_val", "WeChat test": "wechat_test"}
"""Datasets of the papers' main tables, as shown and as the field is called."""

_PERCENT: Final = 100.0


@dataclass(frozen=True, slots=True)
class ReportedRow:
    """One model of a paper's table; values in 0-1 (MCC in -1 to 1), as everywhere on the board."""

    model: str
    zero_shot: bool
    sliding_window: bool
    precision: float
    recall: float
    f1: float
    mcc: float


def reported_rows(paper: PublishedPaper, dataset: str) -> list[ReportedRow]:
    """The models that have figures for a dataset, by F1."""
    rows = []
    for row in paper.table2_main:
        scores: PublishedScores | None = getattr(row, DATASETS[dataset])
        if scores is not None:
            # Rounded, because 45.35 / 100 has digits that the paper does not.
            values = (scores.precision, scores.recall, scores.f1, scores.mcc)
            parts = (round(value / _PERCENT, 6) for value in values)
            rows.append(ReportedRow(row.model, row.zero_shot, row.sliding_window, *parts))
    return sorted(rows, key=lambda row: -row.f1)
