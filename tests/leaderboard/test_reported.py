"""Figures of papers, as the board shows them: apart, and no more digits than the paper has."""

from __future__ import annotations

import pytest

from ffr_eval.published import published_papers
from leaderboard.reported import DATASETS, reported_rows


@pytest.mark.parametrize("dataset", DATASETS)
def test_reported_figures_are_the_papers_over_100(dataset: str) -> None:
    (paper,) = published_papers()
    rows = reported_rows(paper, dataset)
    there = [getattr(row, DATASETS[dataset]) for row in paper.table2_main]
    assert len(rows) == sum(scores is not None for scores in there)
    assert sorted(row.f1 * 100 for row in rows) == pytest.approx(
        sorted(scores.f1 for scores in there if scores is not None)
    )
    assert all(0 <= row.precision <= 1 for row in rows)
