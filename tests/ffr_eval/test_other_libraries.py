"""Our official figures beside other libraries': where they agree, and exactly how they differ."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.ffr_eval import other_libraries
from tests.ffr_eval.other_libraries import (
    EXACT,
    FLOAT32,
    IR_MEASURES,
    SKLEARN,
    TORCHMETRICS,
    Row,
    Sample,
    by_ir_measures,
    by_torchmetrics,
    macro_rows,
    micro_rows,
    parity,
    setting_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MODALITIES = ("utterance", "image")


def found(rows: tuple[Row, ...], case: str, source: str, modality: str = "utterance") -> Row:
    """The only row of these."""
    (row,) = (
        row
        for row in rows
        if row.case.startswith(case) and row.source.endswith(source) and row.modality == modality
    )
    return row


# --- micro ---------------------------------------------------------------------------------------


def test_sklearn_agrees_in_every_case() -> None:
    rows = [row for row in micro_rows() if row.source == SKLEARN]
    assert len(rows) == 15
    for row in rows:
        assert row.theirs == pytest.approx(row.ours, abs=EXACT, rel=0), row.case


def test_torchmetrics_agrees_but_for_the_mcc_of_the_cases_explained() -> None:
    rows = [row for row in micro_rows() if row.source == TORCHMETRICS]
    for row in rows:
        assert row.differing == (["mcc"] if row.why else []), row.case
    agreeing = [(row.case, row.modality) for row in rows if not row.why]
    assert len(rows) == 15
    assert agreeing == [
        ("the 300 parity records", "utterance"),
        ("the 300 parity records", "image"),
        ("the 300 parity records", "joint"),
        ("gold 1, 2, 40 and answer 1, 40, 41 in a dialogue of 10", "utterance"),
        ("ids repeated in the answer", "utterance"),
    ]


@pytest.mark.parametrize(
    ("case", "modality", "mcc"),
    [
        ("3 gold of 60, nothing predicted", "utterance", 54 / math.sqrt(57 * 3 * 60)),
        ("the same 1000 times", "utterance", 54 / math.sqrt(57 * 3 * 60 * 1000)),
        ("3 gold of 60, all predicted", "utterance", -54 / math.sqrt(57 * 3 * 60)),
        ("no gold anywhere", "utterance", 50 / math.sqrt(55 * 5 * 60)),
        ("no image in the dialogue, none", "image", 1.0),
        ("no image in the dialogue, none", "joint", 1.0),
        ("no image in the dialogue, image 30", "image", 20 / math.sqrt(21 * 1 * 22)),
        ("all 60 gold, all predicted", "utterance", 1.0),
        ("all 60 gold, nothing predicted", "utterance", -1.0),
    ],
)
def test_mcc_of_torchmetrics_where_it_is_undefined(case: str, modality: str, mcc: float) -> None:
    row = found(micro_rows(), case, TORCHMETRICS, modality)
    assert row.theirs["mcc"] == pytest.approx(mcc, abs=FLOAT32)
    assert row.ours["mcc"] == (0.5 if modality == "joint" else 0.0)


@pytest.mark.parametrize(
    ("tp", "fp", "fn", "tn", "larger", "smaller"),
    [
        (0, 0, 7, 20, 20, 7),  # nothing predicted
        (7, 20, 0, 0, 7, 20),  # everything predicted
        (0, 4, 0, 9, 9, 4),  # nothing gold
        (4, 0, 9, 0, 4, 9),  # everything gold
    ],
)
def test_the_epsilon_of_torchmetrics_cancels(
    tp: int, fp: int, fn: int, tn: int, larger: int, smaller: int
) -> None:
    gold = np.array([1] * tp + [0] * fp + [1] * fn + [0] * tn)
    predicted = np.array([1] * (tp + fp) + [0] * (fn + tn))
    expected = (larger - smaller) / math.sqrt(larger * smaller * (larger + smaller))
    assert by_torchmetrics(gold, predicted)["mcc"] == pytest.approx(expected, abs=FLOAT32)
    assert other_libraries.by_sklearn(gold, predicted)["mcc"] == 0.0


def test_float32_of_torchmetrics_is_too_short_for_rare_ids() -> None:
    row = found(micro_rows(), "1 right, 1 wrong", TORCHMETRICS)
    assert row.ours["mcc"] == pytest.approx((99_997 - 1) / (2 * 99_998), abs=EXACT)
    assert row.theirs["mcc"] - row.ours["mcc"] == pytest.approx(0.00129, abs=1e-5)


def test_sklearn_with_zero_division_1() -> None:
    silent = found(setting_rows(), "3 gold of 60", "`zero_division=1`")
    assert [*silent.theirs.values()] == [1.0, 0.0, 0.0, 0.0]
    absent = found(setting_rows(), "no image", "`zero_division=1`", "image")
    assert [*absent.theirs.values()] == [1.0, 1.0, 1.0, 0.0]
    for row in (silent, absent):
        assert [*row.ours.values()] == [0.0] * 4


def test_sklearn_on_the_ids_of_the_universe_only() -> None:
    row = found(setting_rows(), "gold 1, 2, 40", "only")
    # Gold 1, 2 and answer 1 among 10.
    expected = [1.0, 1 / 2, 2 / 3, 8 / math.sqrt(1 * 2 * 9 * 8)]
    assert [*row.theirs.values()] == pytest.approx(expected, abs=EXACT)
    row = found(setting_rows(), "the 300", "only")
    scores = parity().score()
    utterance = scores.micro.utterance
    assert utterance is not None
    invented = int(scores.evaluation.utterance_counts.fp_outside.sum())
    assert invented > 0
    precision = utterance.tp / (utterance.tp + utterance.fp - invented)
    assert row.theirs["precision"] == pytest.approx(precision, abs=EXACT)
    assert row.theirs["recall"] == pytest.approx(utterance.recall, abs=EXACT)


def test_sklearn_on_both_modalities_at_once() -> None:
    row = found(setting_rows(), "the 300", "in one list", "joint")
    micro = parity().score().micro
    assert micro.utterance is not None
    assert micro.image is not None
    tp, fp, fn = (
        getattr(micro.utterance, name) + getattr(micro.image, name) for name in ("tp", "fp", "fn")
    )
    expected = {
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "f1": 2 * tp / (2 * tp + fp + fn),
    }
    assert {f: row.theirs[f] for f in expected} == pytest.approx(expected, abs=EXACT)
    assert row.differing == ["precision", "recall", "f1", "mcc"]


def test_sklearn_warns_where_nothing_can_be_divided() -> None:
    from sklearn.exceptions import UndefinedMetricWarning
    from sklearn.metrics import matthews_corrcoef, precision_score

    with pytest.warns(UndefinedMetricWarning, match="Precision is ill-defined"):
        assert precision_score([0, 1], [0, 0]) == 0.0
    with pytest.warns(UserWarning, match="A single label was found"):
        assert matthews_corrcoef([0, 0], [0, 0]) == 0.0


# --- macro ---------------------------------------------------------------------------------------


def share(modality: str, condition: Callable[[Sample], bool]) -> float:
    """The share of the parity samples of which something holds."""
    samples = parity().samples(modality)
    return sum(map(condition, samples)) / len(samples)


@pytest.mark.parametrize("modality", MODALITIES)
def test_what_agrees_with_macro_figures(modality: str) -> None:
    for source, figures, tolerance in (
        (IR_MEASURES, ["precision", "recall", "f1"], EXACT),
        ('Recall(empty_target_action="skip")`', ["recall"], FLOAT32),
    ):
        row = found(macro_rows(), "the ", source, modality)
        ours = {figure: row.ours[figure] for figure in figures}
        assert row.theirs == pytest.approx(ours, abs=tolerance, rel=0)
    row = found(macro_rows(), "all 300", "each sample's MCC", modality)
    assert row.theirs == pytest.approx({"mcc": row.ours["mcc"]}, abs=EXACT, rel=0)


def test_macro_mcc_keeps_right_ids_outside_the_universe() -> None:
    row = found(macro_rows(), "gold 1, 2, 40", "each sample's MCC")
    # Gold 1, 2, 40 and answer 1, 40 among 11: wrong and missed ids outside U are left out.
    assert row.theirs["mcc"] == pytest.approx(2 * 8 / math.sqrt(2 * 3 * 8 * 9), abs=EXACT)
    assert row.ours["mcc"] == pytest.approx(row.theirs["mcc"], abs=EXACT)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize(
    "source", ["`zero_division=0`", f"{IR_MEASURES}, all ids of U judged", "`RetrievalRecall()`"]
)
def test_neither_gold_nor_answer_is_0_elsewhere(modality: str, source: str) -> None:
    row = found(macro_rows(), "all 300", source, modality)
    nothing = share(modality, lambda sample: not sample.gold and not sample.predicted)
    assert nothing > 0
    expected = {figure: row.ours[figure] - nothing for figure in row.theirs}
    tolerance = FLOAT32 if row.source.startswith(TORCHMETRICS) else EXACT
    assert row.theirs == pytest.approx(expected, abs=tolerance, rel=0)


@pytest.mark.parametrize("modality", MODALITIES)
def test_sklearn_by_samples_with_zero_division_1_has_our_macro_f1(modality: str) -> None:
    row = found(macro_rows(), "all 300", "`zero_division=1`", modality)
    silent = share(modality, lambda sample: bool(sample.gold) and not sample.predicted)
    wordy = share(modality, lambda sample: bool(sample.predicted) and not sample.gold)
    assert min(silent, wordy) > 0
    expected = {
        "precision": row.ours["precision"] + silent,
        "recall": row.ours["recall"] + wordy,
        "f1": row.ours["f1"],
    }
    assert row.theirs == pytest.approx(expected, abs=EXACT, rel=0)


@pytest.mark.parametrize("modality", MODALITIES)
def test_retrieval_precision_of_torchmetrics_divides_by_all_ids(modality: str) -> None:
    row = found(macro_rows(), "the ", 'Precision(empty_target_action="skip")`', modality)
    shares = [
        len(sample.gold & sample.predicted) / len(sample.gold | sample.predicted | sample.universe)
        for sample in parity().samples(modality)
        if sample.gold
    ]
    assert row.theirs["precision"] == pytest.approx(sum(shares) / len(shares), abs=FLOAT32)
    assert row.ours["precision"] > row.theirs["precision"] + 0.3


def test_ir_measures_leaves_out_queries_without_gold_and_not_those_without_answer() -> None:
    right = Sample({1, 2}, {1, 2}, {*range(5)})
    silent = Sample({3}, set(), {*range(5)})
    goldless = Sample(set(), {3}, {*range(5)})
    nothing = Sample(set(), set(), {*range(5)})
    half = dict.fromkeys(("precision", "recall", "f1"), 0.5)
    assert by_ir_measures([right, silent]) == half
    assert by_ir_measures([right, silent, goldless, nothing]) == half
    judged = by_ir_measures([right, silent, goldless, nothing], judge_all=True)
    assert judged == dict.fromkeys(half, 0.25)
    assert all(map(math.isnan, by_ir_measures([goldless, nothing]).values()))


def test_ir_measures_counts_repeated_ids_once() -> None:
    import ir_measures
    from ir_measures import Qrel, ScoredDoc, SetP

    run = [ScoredDoc("q", "1", 1.0), ScoredDoc("q", "9", 1.0), ScoredDoc("q", "9", 0.5)]
    assert ir_measures.calc_aggregate([SetP], [Qrel("q", "1", 1)], run) == {SetP: 0.5}


# --- the page ------------------------------------------------------------------------------------


def test_every_difference_is_explained_and_nothing_else() -> None:
    for row in (*micro_rows(), *setting_rows(), *macro_rows()):
        assert bool(row.differing) == bool(row.why), row


def test_the_page_is_current() -> None:
    page = other_libraries.PAGE.read_text(encoding="utf-8")
    remedy = "run: python -m tests.ffr_eval.other_libraries"
    assert other_libraries.rendered(page) == page, remedy


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    page = other_libraries.PAGE.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="no place for the table 'macro'"):
        other_libraries.rendered(page.replace("<!-- begin macro -->", ""))
