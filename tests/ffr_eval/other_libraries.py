"""Our figures beside those of scikit-learn, torchmetrics and ir_measures, on the same data.

``test_other_libraries.py`` checks the rows; ``python -m tests.ffr_eval.other_libraries`` writes
them into the tables of ``docs/other-libraries.md``. Gold, answers and universes are read by
``tests/reference.py``, so that the libraries get nothing that our own code has touched.
"""

# The libraries are imported where they are used: torch alone would double the time of collection.

from __future__ import annotations

import json
import math
import tempfile
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

import ffr_eval
from ffr_eval.markup import IMG_ID, UTT_ID, answer_text, mark
from tests import reference

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from ffr_eval.scoring import Scores

    Figures = Mapping[str, float]
    IntArray = NDArray[np.int64]

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "other-libraries.md"
PARITY: Final = ROOT / "tests" / "data" / "official_parity" / "parity_a.jsonl"

FIGURES: Final = reference.FIGURES
MARKED_AS: Final = {"utterance": "utt", "image": "img"}

EXACT: Final = 1e-12
FLOAT32: Final = 1e-6
"""What counts as agreement: torchmetrics computes in float32, the others in float64."""


# --- the data ------------------------------------------------------------------------------------


class Sample(NamedTuple):
    """One sample and modality as sets."""

    gold: set[Any]
    predicted: set[Any]
    universe: set[int]

    def labels(self, *, outside: Collection[Any] | None = None) -> tuple[IntArray, IntArray]:
        """0/1 labels, gold and predicted: one for each id of U, then one for each id outside it.

        Args:
            outside: The ids outside U that get a label; by default all that occur.
        """
        if outside is None:
            outside = (self.gold | self.predicted) - self.universe
        ids = [*self.universe, *outside]
        gold, predicted = ([int(i in found) for i in ids] for found in (self.gold, self.predicted))
        return np.array(gold), np.array(predicted)


@dataclass(frozen=True)
class Case:
    """Some inference records.

    Attributes:
        title: What they are.
        records: The records.
        shown: The modalities that have a row; with why a library differs there, where one does.
    """

    title: str
    records: list[dict[str, Any]]
    shown: Mapping[str, str] = field(default_factory=dict)

    def samples(self, modality: str) -> list[Sample]:
        """The sets of all records, by the rules of ``official``."""
        name = MARKED_AS[modality]
        return [
            Sample(
                reference.official_ids(record["labels"], name),
                reference.official_ids(record["response"] or "", name),
                reference.official_universe(asked, name),
            )
            for record in self.records
            for asked in [next(m["content"] for m in record["messages"] if m["role"] == "user")]
        ]

    def score(self) -> Scores:
        """Our figures."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "inference.jsonl")
            path.write_text("".join(json.dumps(row) + "\n" for row in self.records))
            return ffr_eval.score(path, protocol="official")


Ids = tuple["Iterable[int]", "Iterable[int]"]
FOUND: Final = (range(3), ())


def record(gold: Ids, predicted: Ids, sizes: tuple[int, int] = (60, 0)) -> dict[str, Any]:
    """A record; gold and answer have utterance ids and image ids, ``sizes`` says how many exist.

    Only the last id is marked: ``official`` takes 0 up to it.
    """
    marks = zip((UTT_ID, IMG_ID), sizes, strict=True)
    return {
        "messages": [
            {"role": "user", "content": "".join(mark(m, n - 1) for m, n in marks if n)},
        ],
        "labels": answer_text(*gold),
        "response": answer_text(*predicted),
        "dialogue_id": "d",
    }


EPSILON: Final = "MCC is 0/0; the ε of torchmetrics makes it"

TINY: Final = Case(
    "3 gold of 60, nothing predicted",
    [record(FOUND, ((), ()))],
    {"utterance": f"{EPSILON} (tn − fn) / √(tn · fn · (tn + fn))"},
)
ABSENT: Final = Case(
    "no image in the dialogue, none predicted; the utterances are right",
    [record(FOUND, FOUND)],
    {
        "image": "21 true negatives (U is 0 … 20) and nothing else: MCC is 0/0. torchmetrics "
        "gives 1 where nothing is wrong",
        "joint": "follows from the images",
    },
)
OUTSIDE: Final = Case(
    "gold 1, 2, 40 and answer 1, 40, 41 in a dialogue of 10",
    [record(((1, 2, 40), ()), ((1, 40, 41), ()), (10, 0))],
    {"utterance": ""},
)
GOLDLESS: Final = Case(
    "no gold anywhere, 5 of 60 predicted",
    [record(((), ()), (range(5), ()))],
    {"utterance": f"{EPSILON} (tn − fp) / √(tn · fp · (tn + fp))"},
)


@cache
def parity() -> Case:
    """The 300 records on which we have the original's figures."""
    records = [json.loads(line) for line in PARITY.read_text(encoding="utf-8").splitlines()]
    return Case(
        "the 300 parity records", records, dict.fromkeys(("utterance", "image", "joint"), "")
    )


@cache
def cases() -> tuple[Case, ...]:
    """All cases, in the order of the page."""
    every, none = range(60), ()
    shrinks = "as above; it shrinks with the root of the number of samples"
    positive = f"{EPSILON} (tp − fp) / √(tp · fp · (tp + fp))"
    like_goldless = "as with no gold anywhere, for tn = 21 and fp = 1"
    all_right = "no negatives: MCC is 0/0. torchmetrics gives 1 where nothing is wrong"
    all_wrong = "no negatives: MCC is 0/0. torchmetrics gives −1 where nothing is right"
    short = (
        "torchmetrics takes the difference of two numbers near 10¹⁰ in float32, whose steps are "
        "1024 there"
    )

    def utterances(
        title: str, gold: Iterable[int], answer: Iterable[int], why: str, size: int = 60
    ) -> Case:
        records = [record((gold, none), (answer, none), (size, 0))]
        return Case(title, records, {"utterance": why})

    invented = [record(FOUND, (range(3), (30,)))]
    return (
        parity(),
        OUTSIDE,
        utterances("ids repeated in the answer", range(3), (0, 0, 0, 9, 9), ""),
        TINY,
        Case("the same 1000 times", TINY.records * 1000, {"utterance": shrinks}),
        utterances("3 gold of 60, all predicted", range(3), every, positive),
        GOLDLESS,
        ABSENT,
        Case("no image in the dialogue, image 30 predicted", invented, {"image": like_goldless}),
        utterances("all 60 gold, all predicted", every, every, all_right),
        utterances("all 60 gold, nothing predicted", every, none, all_wrong),
        utterances("1 right, 1 wrong, 1 missed of 100 000", (0, 1), (1, 2), short, 100_000),
    )


# --- the libraries -------------------------------------------------------------------------------


def flattened(samples: Iterable[Sample], *, inside: bool = False) -> tuple[IntArray, IntArray]:
    """The labels of all samples in one row; with ``inside`` only those of ids in U."""
    pairs = [sample.labels(outside=() if inside else None) for sample in samples]
    gold, predicted = zip(*pairs, strict=True)
    return np.concatenate(gold), np.concatenate(predicted)


def by_sklearn(gold: IntArray, predicted: IntArray, zero_division: int = 0) -> dict[str, float]:
    """Figures of flattened labels."""
    from sklearn import metrics

    values = [
        function(gold, predicted, zero_division=zero_division)
        for function in (metrics.precision_score, metrics.recall_score, metrics.f1_score)
    ]
    return dict(zip(FIGURES, map(float, (*values, sklearn_mcc(gold, predicted))), strict=True))


def sklearn_mcc(gold: IntArray, predicted: IntArray) -> float:
    """MCC of flattened labels."""
    from sklearn.metrics import matthews_corrcoef

    with warnings.catch_warnings():
        # It warns if all labels are the same, which is what some cases are about.
        warnings.filterwarnings("ignore", "A single label was found", UserWarning)
        return float(matthews_corrcoef(gold, predicted))


def by_torchmetrics(gold: IntArray, predicted: IntArray) -> dict[str, float]:
    """Figures of flattened labels."""
    import torch
    from torchmetrics.functional import classification

    functions = (
        classification.binary_precision,
        classification.binary_recall,
        classification.binary_f1_score,
        classification.binary_matthews_corrcoef,
    )
    target, preds = torch.from_numpy(gold), torch.from_numpy(predicted)
    values = [float(function(preds, target)) for function in functions]
    return dict(zip(FIGURES, values, strict=True))


def by_sklearn_samples(samples: Sequence[Sample], zero_division: int) -> dict[str, float]:
    """Means of per-sample figures: ``average="samples"`` on samples padded to one length."""
    from sklearn import metrics

    pairs = [sample.labels() for sample in samples]
    shape = len(pairs), max(len(gold) for gold, _ in pairs)
    gold, predicted = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, (labels, answers) in enumerate(pairs):
        gold[row, : len(labels)], predicted[row, : len(answers)] = labels, answers
    values = metrics.precision_recall_fscore_support(
        gold, predicted, average="samples", zero_division=zero_division
    )
    return dict(zip(FIGURES, map(float, values[:3]), strict=False))


def by_sklearn_each(samples: Iterable[Sample]) -> dict[str, float]:
    """The mean of per-sample MCCs; outside U only right ids get a label, as the original has it."""
    found = [
        sklearn_mcc(*sample.labels(outside=(sample.gold & sample.predicted) - sample.universe))
        for sample in samples
    ]
    return {"mcc": math.fsum(found) / len(found)}


def by_ir_measures(samples: Sequence[Sample], *, judge_all: bool = False) -> dict[str, float]:
    """Set measures, averaged over queries.

    Args:
        samples: The samples, each a query.
        judge_all: Judge all ids of U, those that are not gold with 0; a query without gold is
            unknown to ir_measures otherwise.
    """
    import ir_measures
    from ir_measures import Qrel, ScoredDoc, SetF, SetP, SetR

    qrels = [
        Qrel(str(query), str(i), int(i in sample.gold))
        for query, sample in enumerate(samples)
        for i in (sample.gold | sample.universe if judge_all else sample.gold)
    ]
    run = [
        ScoredDoc(str(query), str(i), 1.0)
        for query, sample in enumerate(samples)
        for i in sample.predicted
    ]
    found = ir_measures.calc_aggregate([SetP, SetR, SetF], qrels, run)
    return {"precision": found[SetP], "recall": found[SetR], "f1": found[SetF]}


def by_torchmetrics_retrieval(samples: Sequence[Sample], empty: str) -> tuple[Figures, Figures]:
    """Its retrieval precision and recall without ``top_k``, predicted ids scored 1, others 0."""
    import torch
    from torchmetrics.retrieval import RetrievalPrecision, RetrievalRecall

    gold, predicted = map(torch.from_numpy, flattened(samples))
    lengths = [len(sample.labels()[0]) for sample in samples]
    queries = torch.from_numpy(np.repeat(np.arange(len(samples)), lengths))
    precision, recall = (
        float(metric(empty_target_action=empty)(predicted.float(), gold, indexes=queries))
        for metric in (RetrievalPrecision, RetrievalRecall)
    )
    return {"precision": precision}, {"recall": recall}


# --- the rows ------------------------------------------------------------------------------------

SKLEARN, TORCHMETRICS, IR_MEASURES = "scikit-learn", "torchmetrics", "ir_measures"


@dataclass(frozen=True)
class Row:
    """Figures of a library beside ours.

    Attributes:
        case: What is scored.
        modality: ``utterance``, ``image`` or ``joint``.
        source: The library, and how it is called.
        ours: Our figures.
        theirs: Those of its figures that overlap with ours.
        why: Why they differ; empty where they agree.
    """

    case: str
    modality: str
    source: str
    ours: Figures
    theirs: Figures
    why: str = ""

    @property
    def differing(self) -> list[str]:
        """The figures that differ; NaN differs from everything."""
        tolerance = FLOAT32 if self.source.startswith(TORCHMETRICS) else EXACT
        pairs = {figure: (value, self.ours[figure]) for figure, value in self.theirs.items()}
        return [figure for figure, (a, b) in pairs.items() if not abs(a - b) <= tolerance]


@cache
def micro_rows() -> tuple[Row, ...]:
    """Micro figures: scikit-learn and torchmetrics for each case and modality shown.

    The explanation is torchmetrics'; with scikit-learn there is nothing to explain.
    """
    rows = []
    for case in cases():
        scores = case.score()
        labels = {m: flattened(case.samples(m)) for m in MARKED_AS if {m, "joint"} & {*case.shown}}
        for library, function in ((SKLEARN, by_sklearn), (TORCHMETRICS, by_torchmetrics)):
            found = {modality: function(*pair) for modality, pair in labels.items()}
            if "joint" in case.shown:
                found["joint"] = reference.joint_of(found["utterance"], found["image"])
            for modality, why in case.shown.items():
                ours = figures_of(scores, "micro", modality)
                explained = why if library == TORCHMETRICS else ""
                rows.append(Row(case.title, modality, library, ours, found[modality], explained))
    return tuple(rows)


@cache
def setting_rows() -> tuple[Row, ...]:
    """Micro figures of scikit-learn, asked in another way."""
    rows = []

    def add(case: Case, modality: str, how: str, theirs: Figures, why: str) -> None:
        ours = figures_of(case.score(), "micro", modality)
        rows.append(Row(case.title, modality, f"{SKLEARN}, {how}", ours, theirs, why))

    for case, modality in ((TINY, "utterance"), (ABSENT, "image")):
        labels = flattened(case.samples(modality))
        why = "an undefined fraction becomes 1; ours, like `zero_division=0`, makes it 0"
        add(case, modality, "`zero_division=1`", by_sklearn(*labels, zero_division=1), why)
    for case in (OUTSIDE, parity()):
        labels = flattened(case.samples("utterance"), inside=True)
        why = "ids outside U are not looked at; in ours they are right, wrong or missed like others"
        add(case, "utterance", "labels for the ids of U only", by_sklearn(*labels), why)
    together = [sample for modality in MARKED_AS for sample in parity().samples(modality)]
    why = "the modality with more ids weighs more; our joint is a mean over the two modalities"
    how = "the labels of both modalities in one list"
    add(parity(), "joint", how, by_sklearn(*flattened(together)), why)
    return tuple(rows)


@cache
def macro_rows() -> tuple[Row, ...]:
    """Means of per-sample figures; the case says which of our samples they are set against."""
    one = "where just one of gold and answer is empty, the fraction over it is 1; ours is 0"
    zero = "samples with neither gold nor answer are 0; they are 1 in ours"
    unknown = "a sample without gold has no judgements and is left out"
    judged = "samples without gold are 0, also where nothing is predicted; that is 1 in ours"
    share = "divides by the number of all ids; `top_k` would be one number for all samples"
    each = f"{SKLEARN}, mean of each sample's MCC"
    mean, retrieval = f'{SKLEARN}, `average="samples"`', f"{TORCHMETRICS}, `Retrieval"
    skip = '(empty_target_action="skip")`'
    rows = []
    for modality in MARKED_AS:
        samples = parity().samples(modality)
        pairs = zip(parity().records, samples, strict=True)
        with_gold = Case("", [record for record, sample in pairs if sample.gold])
        every = f"all {len(samples)}", modality
        some = f"the {len(with_gold.records)} with gold", modality
        ours = figures_of(parity().score(), "macro", modality)
        ours_some = figures_of(with_gold.score(), "macro", modality)
        sets, judged_sets = by_ir_measures(samples), by_ir_measures(samples, judge_all=True)
        precision, recall = by_torchmetrics_retrieval(samples, "skip")
        recall_of_all = by_torchmetrics_retrieval(samples, "neg")[1]
        rows += [
            Row(*every, f"{mean}, `zero_division=1`", ours, by_sklearn_samples(samples, 1), one),
            Row(*every, f"{mean}, `zero_division=0`", ours, by_sklearn_samples(samples, 0), zero),
            Row(*every, each, ours, by_sklearn_each(samples)),
            Row(*some, IR_MEASURES, ours_some, sets),
            Row(*every, IR_MEASURES, ours, sets, unknown),
            Row(*every, f"{IR_MEASURES}, all ids of U judged", ours, judged_sets, judged),
            Row(*some, f"{retrieval}Recall{skip}", ours_some, recall),
            Row(*every, f"{retrieval}Recall()`", ours, recall_of_all, judged),
            Row(*some, f"{retrieval}Precision{skip}", ours_some, precision, share),
        ]
    samples = OUTSIDE.samples("utterance")
    ours = figures_of(OUTSIDE.score(), "macro", "utterance")
    rows.append(Row(OUTSIDE.title, "utterance", each, ours, by_sklearn_each(samples)))
    samples = GOLDLESS.samples("utterance")
    ours = figures_of(GOLDLESS.score(), "macro", "utterance")
    none = "the mean over no sample; ours is 0 for each sample whose answer is not empty"
    rows.append(Row(GOLDLESS.title, "utterance", IR_MEASURES, ours, by_ir_measures(samples), none))
    return tuple(rows)


def figures_of(scores: Scores, average: str, modality: str) -> dict[str, float]:
    """Our figures by name."""
    found = {figure: scores.metric(f"{average}.{modality}.{figure}") for figure in FIGURES}
    return {figure: value for figure, value in found.items() if value is not None}


# --- the page ------------------------------------------------------------------------------------


def rendered(page: str) -> str:
    """The page with its tables made anew; a table stands between two comments that name it."""
    tables = {
        "micro": _side_by_side(),
        "settings": _table(setting_rows()),
        "macro": _table(macro_rows()),
    }
    for name, lines in tables.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            message = f"{PAGE.name} has no place for the table {name!r}"
            raise ValueError(message)
        page = before + "\n".join([begin, *lines, end]) + after
    return page


def _side_by_side() -> list[str]:
    lines = _header("case", "modality", "ours", SKLEARN, TORCHMETRICS, "why")
    rows = {(row.case, row.modality, row.source): row for row in micro_rows()}
    for (case, modality, library), row in rows.items():
        if library == TORCHMETRICS:
            theirs = (_theirs(rows[case, modality, SKLEARN]), _theirs(row))
            lines.append(_line(case, modality, _ours(row), *theirs, row.why or "agree"))
    return lines


def _table(rows: Iterable[Row]) -> list[str]:
    lines = _header("samples", "modality", "ours", "library", "its figures", "why")
    for row in rows:
        cells = (row.case, row.modality, _ours(row), row.source, _theirs(row))
        lines.append(_line(*cells, row.why or "agree"))
    return lines


def _header(*names: str) -> list[str]:
    return [_line(*names), "|" + "---|" * len(names)]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _ours(row: Row) -> str:
    return " / ".join(_number(row.ours[figure]) for figure in FIGURES)


def _theirs(row: Row) -> str:
    cells = [_number(row.theirs[f]) if f in row.theirs else "–" for f in FIGURES]
    differing = row.differing
    return " / ".join(
        f"**{cell}**" if figure in differing else cell
        for figure, cell in zip(FIGURES, cells, strict=True)
    )


def _number(value: float) -> str:
    return f"{round(value, 4) + 0.0:.4f}"  # adding 0 makes 0 of −0


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
