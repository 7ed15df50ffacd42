"""What a report computes: groups, intervals, floors, and what is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ffr_eval.errors import InputError
from ffr_eval.metrics.named import parse_metric
from ffr_eval.report.run_report.build import Options, build_report
from ffr_eval.report.run_report.charts import draw_curve, frontier
from ffr_eval.report.run_report.contents import Calibration, metric_label
from ffr_eval.report.run_report.sections import turn_edges
from ffr_eval.report.run_report.text import number, p_value, signed
from ffr_eval.scoring import score_table
from ffr_eval.sources import Request, load_source
from ffr_eval.uncertainty import Method, Resampling, intervals

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli

FEW = Resampling(replicates=300, seed=3)


@pytest.fixture
def sample_runs(cli: Cli, tmp_path: Path) -> list[Path]:
    """Four runs on the split ``test`` of ffr-sample."""
    models = ("all", "oracle", "random", "bm25")
    for model in models:
        cli("run", model, "ffr-sample", "--split", "test", "--out", tmp_path / model)
    return [tmp_path / model for model in models]


def test_trivial_models_are_ranked_and_the_oracle_is_not(sample_runs: list[Path]) -> None:
    report = build_report(sample_runs, Options(resampling=FEW))
    assert [(row.name, row.role) for row in report.rows] == [
        ("bm25", "run"),
        ("all", "trivial"),
        ("random", "trivial"),
    ]
    assert [(row.name, row.tier, row.headline.value) for row in report.ceilings] == [
        ("oracle", None, 1.0)
    ]
    assert len(report.pairs) == 3
    assert [floor.name for floor in report.floors] == ["none", "random", "window"]  # `all` is there


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_intervals_are_those_of_every_other_command(
    sample_runs: list[Path], method: Method
) -> None:
    resampling = Resampling(300, 3, method)
    report = build_report(sample_runs, Options(resampling=resampling, group_by=("kind", "turns")))
    for row in report.everyone:
        source = load_source(next(run for run in sample_runs if run.name == row.name), Request())
        scores = score_table(source.table, source.protocol, ("kind", "turns"), (), resampling)
        place = report.everyone.index(row)
        expected = scores.ci95["micro.joint.f1"]
        assert row.headline.value == scores.metric("micro.joint.f1")
        assert row.headline.ci is not None
        assert expected is not None
        assert (row.headline.ci.lo, row.headline.ci.hi) == pytest.approx((expected.lo, expected.hi))
        metric = {"f1": parse_metric("micro.joint.f1")}
        for grouping in report.groupings:
            for group in grouping.groups:
                found = group.values[place]
                other = scores.groups[grouping.by][group.name]
                joint = other.micro.joint
                assert found.value == (None if joint is None else joint.f1)
                assert group.n_samples == other.n_samples
                ci = other.ci95["micro.joint.f1"]
                assert (found.ci is None) == (ci is None)
                if found.ci is not None and ci is not None:
                    assert (found.ci.lo, found.ci.hi) == pytest.approx((ci.lo, ci.hi))
        assert intervals(scores.evaluation, metric, None, resampling)["f1"] is not None


def test_order_of_runs_changes_nothing_but_the_command(sample_runs: list[Path]) -> None:
    a = build_report(sample_runs, Options(resampling=FEW), " ".join)
    b = build_report(sample_runs[::-1], Options(resampling=FEW), " ".join)
    assert a.command == "all oracle random bm25"
    assert b.command == "bm25 random oracle all"
    assert [row.headline for row in a.everyone] == [row.headline for row in b.everyone]
    assert a.floors == b.floors
    assert [(g.name, g.values) for group in a.groupings for g in group.groups] == [
        (g.name, g.values) for group in b.groupings for g in group.groups
    ]


def test_default_groups_are_those_that_divide(sample_runs: list[Path]) -> None:
    report = build_report(sample_runs[:1], Options(resampling=FEW))
    assert [found.by for found in report.groupings] == [
        "turns",
        "kind",
        "language",
        "position",
        "dispersion",
    ]
    assert "no gold" not in {group.name for found in report.groupings for group in found.groups}
    one = build_report(sample_runs[:1], Options(resampling=FEW, group_by=("position",)))
    assert "no gold" in {group.name for group in one.groupings[0].groups}


def test_notes_of_the_comparison_are_there(sample_runs: list[Path]) -> None:
    report = build_report(sample_runs, Options(resampling=Resampling(20)))
    assert any("no difference can be significant" in note for note in report.notes)
    report = build_report(sample_runs, Options(resampling=FEW))
    assert not any("no difference can be significant" in note for note in report.notes)


def test_only_oracles_are_ranked_among_themselves(sample_runs: list[Path]) -> None:
    report = build_report([sample_runs[1]], Options(resampling=FEW))
    assert [row.name for row in report.rows] == ["oracle"]
    assert not report.ceilings


def test_nothing_is_refused(sample_runs: list[Path]) -> None:
    with pytest.raises(InputError, match="nothing to report on"):
        build_report([], Options())


def test_official_protocol_has_no_error_classes(sample_runs: list[Path]) -> None:
    report = build_report(sample_runs, Options(protocol="official", resampling=FEW))
    assert report.protocol == "official-1"
    assert not report.errors
    assert "strict only" in report.left_out["errors"]


@pytest.mark.parametrize(
    ("points", "lower", "expected"),
    [
        ([(1.0, 0.1), (2.0, 0.3), (3.0, 0.2), (4.0, 0.4)], False, [0, 1, 3]),
        ([(1.0, 0.1), (1.0, 0.3)], False, [1]),
        ([(2.0, 0.3), (1.0, 0.3)], False, [1]),
        ([(1.0, 0.4), (2.0, 0.3), (3.0, 0.35)], True, [0, 1]),
        ([], False, []),
    ],
)
def test_frontier(points: list[tuple[float, float]], lower: bool, expected: list[int]) -> None:
    assert frontier(points, lower) == expected


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([300, 400, 500, 600, 700, 800], [450, 650]),
        ([70, 70, 70], []),
        ([3, 4, 5, 6, 7, 8, 9], [5, 7]),
        ([100, 100, 100, 900], []),
    ],
)
def test_edges_for_dialogues_of_other_lengths(turns: list[int], expected: list[int]) -> None:
    edges = turn_edges(np.array(turns))
    assert all(min(turns) < edge <= max(turns) for edge in edges)
    assert len(edges) == len(expected)


def test_numbers() -> None:
    assert number(None) == "–"
    assert number(-0.0004) == "0.000"
    assert number(-0.5) == "−0.500"
    assert signed(0.25) == "+0.250"
    assert signed(-0.0001) == "0.000"
    assert p_value(0.0005) == "< 0.001"
    assert p_value(None) == "–"
    assert metric_label("micro.joint.f_beta(0.5)") == "micro joint f beta(0.5)"


def test_thinned_curve_keeps_its_ends_its_best_and_its_leaps() -> None:
    from matplotlib.figure import Figure

    thresholds = np.sort(np.random.default_rng(0).exponential(size=5000))[::-1]
    f1 = np.full(5000, 0.3)
    f1[2500] = 0.9  # between points of any even grid
    f1[-1] = 0.1
    best = float(thresholds[2500])
    curve = Calibration("a", "utterance", thresholds, f1, best, 0.9, 0.5)
    axes = Figure().subplots()
    draw_curve(axes, curve)
    x, y = (np.asarray(part) for part in axes.lines[0].get_data())
    assert len(x) < 200
    assert (x[0], y[0]) == (thresholds[-1], 0.1)
    assert x[-1] == thresholds[0]
    assert y[list(x).index(best)] == 0.9
    assert np.diff(x).min() > 0
    assert set(zip(x.tolist(), y.tolist(), strict=True)) <= set(
        zip(thresholds.tolist(), f1.tolist(), strict=True)
    )
