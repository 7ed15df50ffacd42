"""Write the golden vectors of the edge-case contract, and the page that shows them.

    python scripts/golden_vectors.py          # writes tests/golden/*.json
    python scripts/golden_vectors.py --docs   # writes docs/edge-cases.md from them
    python scripts/golden_vectors.py --check  # writes nothing; exit code 1 if files are stale

The answers are worked out here with Python sets and fractions, from the definitions in
docs/metrics.md alone: nothing of `ffr_eval` is imported, so that the vectors can prove it wrong.
To add a vector, add its case to one of the functions under "The vectors" and its reason to REASONS.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import astuple, dataclass, replace
from fractions import Fraction
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
DOCS = ROOT / "docs" / "edge-cases.md"
FIGURES = ("precision", "recall", "f1", "mcc")
FAILED = (*("parse_error", "refusal", "truncated", "context_overflow", "request_error", "missing"),)

# --- The rules -----------------------------------------------------------------------------------

ROOT_SCALE = 10**40  # square roots are taken to 40 digits; those of square numbers are exact

Ids = tuple[int, ...]
Figures = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """A query on a dialogue, its gold and the answer; pairs are (utterances, images)."""

    ids: tuple[Ids, Ids]
    gold: tuple[Ids, Ids]
    predicted: tuple[Ids, Ids]
    outcome: str = ""

    @property
    def ended(self) -> str:
        """The outcome; by default what the ids say."""
        return self.outcome or ("ok" if any(self.predicted) else "empty")

    @property
    def answered(self) -> bool:
        """Whether there is a usable answer."""
        return self.ended in {"ok", "empty"}

    def sets(self, place: int) -> tuple[set[int], set[int]]:
        """Gold and predicted ids of a modality; what is not answered predicts nothing."""
        return set(self.gold[place]), set(self.predicted[place]) if self.answered else set()


@dataclass(frozen=True)
class Counts:
    """The four counts, and how many ids of fp and fn lie outside U."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0
    fp_outside: int = 0
    fn_outside: int = 0

    @classmethod
    def of(cls, gold: set[int], predicted: set[int], universe: Collection[int]) -> Counts:
        """Count one sample and modality."""
        wrong, missed = predicted - gold, gold - predicted
        return cls(
            tp=len(gold & predicted),
            fp=len(wrong),
            fn=len(missed),
            tn=len(universe) - sum(i in universe for i in gold | predicted),
            fp_outside=sum(i not in universe for i in wrong),
            fn_outside=sum(i not in universe for i in missed),
        )

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def nothing(self) -> bool:
        """Whether nothing was to be found and nothing was named."""
        return self.tp + self.fp + self.fn == 0

    def figures(self) -> Figures:
        """Precision, recall, F1 and MCC, 0 where undefined."""
        precision, recall = divide(self.tp, self.tp + self.fp), divide(self.tp, self.tp + self.fn)
        return {
            "precision": precision,
            "recall": recall,
            "f1": harmonic(precision, recall),
            "mcc": correlation(self.tp, self.fp, self.fn, self.tn),
        }


def divide(above: int | Fraction, below: int | Fraction) -> Fraction:
    """A fraction, 0 where it is undefined."""
    return Fraction(above) / Fraction(below) if below else Fraction(0)


def harmonic(a: Fraction, b: Fraction) -> Fraction:
    """``2ab / (a + b)``."""
    return divide(2 * a * b, a + b)


def arithmetic(a: Fraction, b: Fraction) -> Fraction:
    """``(a + b) / 2``."""
    return (a + b) / 2


def correlation(tp: int, fp: int, fn: int, tn: int) -> Fraction:
    """MCC, 0 where it is undefined."""
    margins = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return divide((tp * tn - fp * fn) * ROOT_SCALE, isqrt(margins * ROOT_SCALE**2))


MEANS: Mapping[str, Callable[[Fraction, Fraction], Fraction]] = {
    "precision": harmonic,
    "recall": harmonic,
    "f1": arithmetic,
    "mcc": arithmetic,
}


def joint(a: Figures, b: Figures) -> Figures:
    """Of two modalities, each figure over those that have it."""
    both: Figures = {}
    for name, mean in MEANS.items():
        known = [figures[name] for figures in (a, b) if name in figures]
        if known:
            both[name] = mean(*known) if len(known) == 2 else known[0]
    return both


def official_universe(ids: Ids) -> Collection[int]:
    """0 … the largest id of the dialogue; 0 … 20 where it has none."""
    return range(max(ids, default=20) + 1)


def official_sample(sample: Sample, place: int) -> Figures:
    """One sample and modality under ``official``."""
    gold, predicted = sample.sets(place)
    counts = Counts.of(gold, predicted, official_universe(sample.ids[place]))
    figures = counts.figures()
    if counts.nothing:
        figures |= dict.fromkeys(("precision", "recall", "f1"), Fraction(1))
    # Wrong and missed ids outside U are dropped, a right one is kept: of the eight ways to drop
    # ids, only this gives the original's figures on tests/data/official_parity/quirks.jsonl.
    wrong, missed = counts.fp - counts.fp_outside, counts.fn - counts.fn_outside
    figures["mcc"] = correlation(counts.tp, wrong, missed, counts.tn)
    return figures


def strict_sample(sample: Sample, place: int) -> Figures:
    """The figures that count; none of a modality that the dialogue lacks and the answer too."""
    gold, predicted = sample.sets(place)
    universe = set(sample.ids[place])
    if not universe and not predicted:
        return {}
    counts = Counts.of(gold, predicted, universe)
    figures = counts.figures()
    if counts.nothing:  # silence that is right, or an answer that failed
        figures |= dict.fromkeys(("precision", "recall", "f1"), Fraction(sample.answered))
    if not gold or gold == universe:
        del figures["mcc"]
    return figures


def total(samples: Sequence[Sample], place: int, universe: Callable[[Ids], Any]) -> Counts:
    """The summed counts of a modality."""
    counts = (Counts.of(*s.sets(place), universe(s.ids[place])) for s in samples)
    return sum(counts, Counts())


def micro(samples: Sequence[Sample], *, strict: bool) -> Figures:
    """Figures of summed counts; ``None`` where ``strict`` has nothing to count."""
    universe: Callable[[Ids], Any] = set if strict else official_universe
    parts = [total(samples, place, universe) for place in (0, 1)]
    counted = [{} if strict and part.nothing else part.figures() for part in parts]
    result: Figures = {}
    for name, part, figures in zip(("utterance", "image"), parts, counted, strict=True):
        cells = {"tp": part.tp, "fp": part.fp, "fn": part.fn, "tn": part.tn}
        result[name] = {**figures, **cells} if figures else None
    result["joint"] = joint(*counted) or None
    return result


def macro(samples: Sequence[Sample], of_sample: Callable[[Sample, int], Figures]) -> Figures:
    """Means of per-sample figures, over the samples that have them."""
    pairs = [(of_sample(sample, 0), of_sample(sample, 1)) for sample in samples]
    columns = {
        "utterance": [utterance for utterance, _ in pairs],
        "image": [image for _, image in pairs],
        "joint": [joint(*pair) for pair in pairs],
    }
    result: Figures = {}
    for name, rows in columns.items():
        values = {figure: [row[figure] for row in rows if figure in row] for figure in FIGURES}
        result[name] = {
            figure: sum(known) / len(known) if known else None for figure, known in values.items()
        }
        result[name] |= {"n": len(values["f1"]), "n_mcc": len(values["mcc"])}
    return result


def official(samples: Sequence[Sample]) -> Figures:
    """All figures under ``official``."""
    return {"micro": micro(samples, strict=False), "macro": macro(samples, official_sample)}


def strict(samples: Sequence[Sample]) -> Figures:
    """All figures under ``strict``."""
    return {"micro": micro(samples, strict=True), "macro": macro(samples, strict_sample)}


# --- The vectors ---------------------------------------------------------------------------------

BOTH = ("official-1", "strict-1")
PRESENT = "present"
NO_DIALOGUE, NO_BENCHMARK = "absent from the dialogue", "absent from the benchmark"
PREDICTIONS = ("empty", "partial", "full", "invented", "duplicate")
GOLD, NO_GOLD = "not empty", "empty"

TEN = tuple(range(10))  # utterances of the usual dialogue
SIX = tuple(range(6))  # its images
NOTHING: tuple[Ids, Ids] = ((), ())

# A key to a line, its reason below it. A key is a vector's name, or what several have in common.
REASONS = """
present-gold-empty
    Images were to be found and none was named: recall is 0, and a precision over no ids counts as
    0 too, so that silence earns nothing.
present-gold-empty-silent-utterances
    The silence is right for the utterances and wrong for the images: per query the mean of the two
    F1 is a half and a harmonic mean with 0 is 0; micro has only what was missed.
present-gold-partial
    All that is named is right, half of the gold is missing.
present-gold-full
    The answer is the gold and nothing else.
present-gold-invented
    An id that no image has is wrong, but it is no image that could have been left out: it adds to
    fp and takes nothing from tn; official drops it from the MCC per query.
present-gold-duplicate
    An answer is a set: an id counts once, however often it is written.
present-gold-silent-utterances
    No utterance was to be found or named: strict micro takes the joint from the images alone,
    while official's 0 for the utterances pulls its joint down.
present-gold-only-invented
    Nothing right was named; strict's MCC sees the wrong id beside the four images rightly left
    out, official's MCC per query does not see it at all.
present-gold-all
    Naming all there is finds all gold: recall is 1, precision the share of gold; as no image is
    left out, a margin of MCC is 0 and so is MCC.
present-gold-half-right
    One of the two that are named is right, and one of the two gold ids is found.
present-no-gold-empty
    No image was to be found and none was named: per query that is right, hence 1; summed counts
    leave 0/0, which strict leaves out of the joint and official takes as 0.
present-no-gold-empty-silent-utterances
    The model says that nothing matches, and is right: 1 per query; micro has nothing to divide, so
    strict gives no figure rather than a 0 for a flawless answer.
present-no-gold-false-alarm
    Nothing was to be found, so any id is a false alarm: one is as wrong as all of them.
present-no-gold-false-alarm-silent-utterances
    A false alarm spoils the image half of a negative query; the silence about utterances stays
    right per query, which lifts the mean of the two F1 but not a harmonic mean with 0.
absent-from-dialogue-empty
    To name no image is no merit where there is none: strict leaves the images of this query out;
    official calls it right and adds 21 images that do not exist to tn.
absent-from-dialogue-empty-silent-utterances
    Strict judges this negative query by its utterances alone, and they are right; official credits
    the images as well.
absent-from-benchmark-empty
    No dialogue has an image: strict judges by utterances alone; official takes 0/0 as 0 in micro
    and as right per query in macro, so its joint has an image half all the same.
absent-from-benchmark-empty-silent-utterances
    The model rightly says that nothing matches; strict micro has nothing to count in either
    modality, so there is no joint.
absent-invented
    Images were named where there is none: the one case in which strict counts the images of such a
    query, as 0 (without MCC, as the gold is empty); to official it is a false alarm as any other.
absent-invented-silent-utterances
    For this query the silence about utterances is right and the invented image wrong: strict
    counts both, so that the mean of the two F1 is a half and the harmonic means are 0.
absent-invented-beyond-20
    Official assumes the images 0 to 20, so that 25 takes nothing from its tn; to strict any id is
    invented.
absent-gold-empty
    Gold that no prompt marks is missed as any other.
absent-gold-partial
    What is named of the gold is right, though no prompt marks it.
absent-gold-full
    The ids 0 to 20 are assumed, so the answer is as right as on marked images.
absent-gold-invented
    25 is wrong and lies beyond the assumed ids: it adds to fp, and vanishes from the MCC per
    query.
absent-gold-duplicate
    An answer is a set: an id counts once, however often it is written.
gold-outside-missed
    9 is marked nowhere: micro and the recall per query count it as missed, but the MCC per query
    looks at marked ids, and there the answer is flawless.
gold-outside-found
    A right id counts as right wherever it lies, in the MCC per query too: no other reading of the
    original gives its figures on the parity records.
gold-outside-found-alone
    As the right id stays in the MCC per query, there is something to correlate.
gold-outside-missed-alone
    The missed id vanishes from the MCC per query, which is then undefined, hence 0.
gold-and-prediction-outside-apart
    A miss and a false alarm outside the marked ids take nothing from tn, and both vanish from the
    MCC per query.
gold-beyond-20-unmarked
    Without a marked image the assumed ids end at 20, so 25 lies outside.
nothing-marked
    A prompt that marks no utterance either is taken to have the utterances 0 to 20.
empty-on-negative
    The model said that nothing matches, and nothing does.
empty-on-ordinary
    The model said that nothing matches where something does.
failed-on-negative
    An outage must not look like wise silence, so strict credits only a model that said: nothing;
    official knows no outcomes and reads an empty answer.
failed-on-ordinary
    A failed sample counts and predicts nothing, so all of its gold is missed.
failed-on-negative-without-images
    A modality that the dialogue lacks is left out of a failed sample as of any other, so strict
    has the 0 of the utterances alone.
refusal-without-image-gold
    A failed sample scores 0 in each modality, also where nothing was to be found; official reads
    an empty answer, which is right there.
truncated-with-salvaged-ids
    Ids salvaged from an answer that was cut off are no answer: the sample predicts nothing. What
    official reads depends on the text, which is not given here.
record-without-response
    The original drops a record that has no response, so official looks at the other one only;
    strict counts both, since dropping failures would reward them.
one-answered-one-failed
    A failure among answers lowers micro by its missed gold, and macro by a 0 in the mean.
micro-weighs-ids-macro-weighs-queries
    Four images found in one query outweigh one missed in the other when counts are summed; a mean
    over queries gives both the same weight.
silence-on-the-four-kinds
    A model that never answers is right about every empty gold: macro credits that with a joint F1
    of 0.5, which is why the headline is micro.
outage-on-the-four-kinds
    The same silence as a failure of the server earns nothing in strict.
all-samples-missing
    A submission without a line is scored like one that fails on every query, neither refused nor
    left out.
only-negative-queries-answered-empty
    Micro has nothing to count in a group of negative queries; macro sees that all are right.
null-only-if-no-sample-has-anything
    One false alarm in one query is enough for strict micro to count the images: they are null only
    if no sample has gold or a prediction there.
mcc-has-its-own-n
    In a negative query and in one whose gold is everything there is nothing to tell apart: strict
    leaves both out of the mean of MCC, and no query out of P, R and F1.
dialogues-with-and-without-images
    The joint of a query is over the modalities that count in it, so both queries count in the
    joint and one in the images.
phantom-images-in-the-sum
    Each dialogue without images adds 21 to official's tn: its micro MCC rises with them, strict's
    does not.
large-universe
    One large id makes official's universe 2^31 ids, and the product under the root exceeds 64-bit
    integers: it must be taken in floating point.
large-universe-perfect
    Rounding must not lead away from 1 where the answer is the gold.
large-id-invented
    An id far beyond those of the dialogue is one wrong id, and widens no universe.
negative-id
    An id below 0 is one wrong id: no dialogue has it, and official's universe starts at 0.
ids-with-gaps
    Strict has the three ids that there are, so 7 is invented; official has 0 to 10, so 7 is an
    utterance as any other.
ids-with-gaps-unsorted
    The universe is the set of the dialogue's ids, and official's M the largest of them, whatever
    their order.
order-of-ids
    Gold and prediction are sets: their order says nothing.
order-of-ids-sorted
    Sorted or not, the sets are the same.
irrational-mcc
    The root of 2520 is no fraction: the last digits show how it was taken.
all-wrong
    What is named is exactly what is not gold: the opposite of the gold correlates with it by -1.
as-good-as-chance
    tp times tn is fp times fn: a true 0, not an undefined one.
none-of-sixty
    Silence about 3 gold of 60 does not correlate with the gold: 0, where torchmetrics 1.9, which
    adds an epsilon, has 0.53.
all-predicted
    Nothing is left out, so that a margin of MCC is 0 and so is MCC.
gold-is-everything
    Where all ids are gold there is nothing to tell apart: strict leaves MCC out of the mean over
    queries; micro and official have 0 for the fraction 0/0, even for the perfect answer.
gold-is-everything-partial
    The gold alone decides that MCC is left out, whatever was answered.
gold-is-everything-and-invented
    The invented id is no negative that the dialogue has, so MCC stays left out.
gold-is-everything-but-one
    One negative is enough for MCC to be defined.
one-utterance
    The one id of the smallest dialogue is all of U, so strict has no MCC for this query.
"""


def reasons() -> dict[str, str]:
    """The reasons by key, each on one line."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in REASONS.strip().splitlines():
        if line.startswith(" "):
            lines.append(line.strip())
        else:
            lines = found.setdefault(line, [])
    return {key: " ".join(lines) for key, lines in found.items()}


WHY = reasons()


@dataclass(frozen=True)
class Vector:
    """A case with the reason for its answer.

    Attributes:
        samples: The queries, which are all of the benchmark.
        cell: The place in the matrix, if it has one.
        why: The key of the reason; by default the name.
        source: What can hold the case: ``benchmark`` (a benchmark folder), ``inference file`` (an
            ms-swift inference file, whose prompts and gold nobody checks), or ``any``.
        protocols: Those that have an answer.
    """

    name: str
    samples: tuple[Sample, ...]
    cell: Mapping[str, str] | None = None
    why: str = ""
    source: str = "any"
    protocols: tuple[str, ...] = BOTH

    @property
    def reason(self) -> str:
        """Why the answer is what it is."""
        return WHY[self.why or self.name]

    def plain(self) -> dict[str, Any]:
        """The vector as it is written."""
        expected: dict[str, Any] = {}
        # The original drops a record without a response; a benchmark keeps its sample.
        kept = [s for s in self.samples if s.ended != "missing" or self.source != INFERENCE]
        if "official-1" in self.protocols:
            expected["official-1"] = official(kept)
        if "strict-1" in self.protocols:
            expected["strict-1"] = strict(self.samples)
        return {
            "name": self.name,
            "reason": self.reason,
            **({"cell": dict(self.cell)} if self.cell else {}),
            "source": self.source,
            "samples": [plain_sample(sample) for sample in self.samples],
            "expected": expected,
        }


INFERENCE = "inference file"


def plain_sample(sample: Sample) -> dict[str, Any]:
    """A sample as it is written."""

    def ids(pair: tuple[Ids, Ids]) -> dict[str, list[int]]:
        return {"utt_ids": list(pair[0]), "img_ids": list(pair[1])}

    return {
        **ids(sample.ids),
        "gold": ids(sample.gold),
        "outcome": sample.ended,
        "predicted": ids(sample.predicted),
    }


def cell(prediction: str, modality: str, gold: str, of: str = "image") -> dict[str, str]:
    """A place in the matrix."""
    return {"of": of, "prediction": prediction, "modality": modality, "gold": gold}


def image_case(images: Ids, gold: Ids, predicted: Ids, *, silent: bool = False) -> Sample:
    """Images as given, beside utterances half right, or rightly silent about utterances."""
    if silent:
        return Sample((TEN, images), ((), gold), ((), predicted))
    return Sample((TEN, images), ((2, 3), gold), ((2, 4), predicted))


# Of six images, gold 1 and 3 or none: what each prediction names, and the reasons beside ordinary
# utterances and beside none.
FALSE_ALARM = ("present-no-gold-false-alarm", "present-no-gold-false-alarm-silent-utterances")
NO_UTTERANCES = "present-gold-silent-utterances"
IN_DIALOGUE: Mapping[tuple[str, str], tuple[Ids, tuple[str, str]]] = {
    (GOLD, "empty"): ((), ("present-gold-empty", "present-gold-empty-silent-utterances")),
    (GOLD, "partial"): ((1,), ("present-gold-partial", NO_UTTERANCES)),
    (GOLD, "full"): ((1, 3), ("present-gold-full", NO_UTTERANCES)),
    (GOLD, "invented"): ((1, 3, 8), ("present-gold-invented", NO_UTTERANCES)),
    (GOLD, "duplicate"): ((1, 3, 3, 1), ("present-gold-duplicate", NO_UTTERANCES)),
    (NO_GOLD, "empty"): (
        *((), ("present-no-gold-empty", "present-no-gold-empty-silent-utterances")),
    ),
    (NO_GOLD, "partial"): ((1,), FALSE_ALARM),
    (NO_GOLD, "full"): (SIX, FALSE_ALARM),
    (NO_GOLD, "invented"): ((8,), FALSE_ALARM),
    (NO_GOLD, "duplicate"): ((1, 1), FALSE_ALARM),
}


def present() -> Iterator[Vector]:
    """Images in a dialogue that has some."""
    for (gold, prediction), (predicted, (ordinary, silent)) in IN_DIALOGUE.items():
        wanted: Ids = (1, 3) if gold == GOLD else ()
        name = f"image-present-{'gold' if wanted else 'no-gold'}-{prediction}"
        where = cell(prediction, PRESENT, gold)
        yield Vector(name, (image_case(SIX, wanted, predicted),), where, ordinary)
        alone = image_case(SIX, wanted, predicted, silent=True)
        yield Vector(f"{name}{SILENT}", (alone,), where, silent)
    for prediction, ids in (("only invented", (8,)), ("all", SIX), ("half right", (1, 4))):
        key = f"present-gold-{prediction.replace(' ', '-')}"
        where = cell(prediction, PRESENT, GOLD)
        yield Vector(f"image-{key}", (image_case(SIX, (1, 3), ids),), where, key)


SILENT = "-silent-utterances"
STATES = {NO_DIALOGUE: "absent-from-dialogue", NO_BENCHMARK: "absent-from-benchmark"}


def beside(modality: str, sample: Sample, *, silent: bool = False) -> tuple[Sample, ...]:
    """The sample, and unless no dialogue has images a flawless one on a dialogue that has."""
    if modality == NO_BENCHMARK:
        return (sample,)
    gold: tuple[Ids, Ids] = ((), (1, 3)) if silent else ((5,), (1, 3))
    return (sample, Sample((TEN, SIX), gold, gold))


def absent(modality: str) -> Iterator[Vector]:
    """Images in a dialogue that has none; the gold is empty."""
    state = STATES[modality]
    cases: Sequence[tuple[str, Ids, str]] = (
        ("empty", (), f"{state}-empty"),
        ("invented", (3,), "absent-invented"),
        ("duplicate", (3, 3), "absent-invented"),
    )
    for prediction, predicted, why in cases:
        name = f"image-{state}-no-gold-{prediction}"
        where = cell(prediction, modality, NO_GOLD)
        samples = beside(modality, image_case((), (), predicted))
        yield Vector(name, samples, where, why)
        alone = image_case((), (), predicted, silent=True)
        samples = beside(modality, alone, silent=True)
        yield Vector(f"{name}{SILENT}", samples, where, f"{why}{SILENT}")
    where = cell("invented beyond 20", modality, NO_GOLD)
    samples = beside(modality, image_case((), (), (25,)))
    name = f"image-{state}-no-gold-invented-beyond-20"
    yield Vector(name, samples, where, "absent-invented-beyond-20")


def utterances() -> Iterator[Vector]:
    """The cells of :func:`present` with the modalities exchanged."""
    for (gold, prediction), (predicted, (why, _)) in IN_DIALOGUE.items():
        wanted: Ids = (1, 3) if gold == GOLD else ()
        name = f"utterance-present-{'gold' if wanted else 'no-gold'}-{prediction}"
        sample = Sample((SIX, TEN), (wanted, (2, 3)), (predicted, (2, 4)))
        yield MirroredVector(name, (sample,), cell(prediction, PRESENT, gold, of="utterance"), why)


class MirroredVector(Vector):
    """A vector whose reason was written for images."""

    @property
    def reason(self) -> str:
        """As for images."""
        text = super().reason.replace("Images", "Utterances").replace("image", "utterance")
        return f"As for images: {text[0].lower()}{text[1:]}"


def gold_outside() -> Iterator[Vector]:
    """Gold that the prompt does not mark: what ``official`` reads in inference files."""
    only: Any = {"source": INFERENCE, "protocols": ("official-1",)}
    for modality, state in STATES.items():
        for prediction in PREDICTIONS:
            predicted, _ = IN_DIALOGUE[GOLD, prediction]
            if prediction == "invented":
                predicted = (1, 3, 25)
            samples = beside(modality, image_case((), (1, 3), predicted))
            where = cell(prediction, modality, GOLD)
            name, why = f"image-{state}-gold-{prediction}", f"absent-gold-{prediction}"
            yield Vector(name, samples, where, why, **only)
    cases = {
        "gold-outside-missed": image_case(SIX, (1, 9), (1,)),
        "gold-outside-found": image_case(SIX, (1, 9), (1, 9)),
        "gold-outside-found-alone": image_case(SIX, (9,), (9,)),
        "gold-outside-missed-alone": image_case(SIX, (9,), ()),
        "gold-and-prediction-outside-apart": image_case(SIX, (9,), (8,)),
        "gold-beyond-20-unmarked": image_case((), (25,), (25, 26)),
        "nothing-marked": Sample(((), ()), ((2, 3), ()), ((2, 4), ())),
    }
    for name, sample in cases.items():
        yield Vector(name, (sample,), **only)


def outcomes() -> Iterator[Vector]:
    """What each outcome without an answer is worth, beside ``empty``."""
    ordinary: tuple[Ids, Ids] = ((2, 3), (1, 3))
    for outcome in ("empty", *FAILED):
        kind = "empty" if outcome == "empty" else "failed"
        source = "benchmark" if outcome == "missing" else "any"
        cases = [
            ("on-negative", SIX, NOTHING, cell(outcome, PRESENT, NO_GOLD)),
            ("on-ordinary", SIX, ordinary, cell(outcome, PRESENT, GOLD)),
            ("on-negative-without-images", (), NOTHING, cell(outcome, NO_BENCHMARK, NO_GOLD)),
        ]
        for on, images, gold, where in cases[:2] if outcome == "empty" else cases:
            sample = Sample((TEN, images), gold, NOTHING, outcome)
            name = f"{outcome.replace('_', '-')}-{on}"
            yield Vector(name, (sample,), where, f"{kind}-{on}", source)
    sample = Sample((TEN, SIX), ((2, 3), ()), NOTHING, "refusal")
    yield Vector("refusal-without-image-gold", (sample,))
    sample = Sample((TEN, SIX), ordinary, ((2, 3), (1,)), "truncated")
    name = "truncated-with-salvaged-ids"
    yield Vector(name, (sample,), source="benchmark", protocols=("strict-1",))
    answered = Sample((TEN, SIX), ordinary, ((2, 4), (1,)))
    failed = Sample((TEN, SIX), ordinary, NOTHING, "missing")
    yield Vector("record-without-response", (failed, answered), source=INFERENCE)
    yield Vector("one-answered-one-failed", (answered, replace(failed, outcome="refusal")))


def several_samples() -> Iterator[Vector]:
    """Sums and means."""

    def on(gold: tuple[Ids, Ids], predicted: tuple[Ids, Ids], outcome: str = "") -> Sample:
        return Sample((TEN, SIX), gold, predicted, outcome)

    four: Sequence[tuple[Ids, Ids]] = (((2, 3), (1, 3)), ((2, 3), ()), ((), (1, 3)), NOTHING)
    ordinary = on(four[0], ((2, 4), (1,)))
    much = ((2,), (0, 1, 2, 3))
    yield Vector(
        "micro-weighs-ids-macro-weighs-queries", (on(much, much), on(((3,), (5,)), ((3,), (4,))))
    )
    yield Vector("silence-on-the-four-kinds", tuple(on(gold, NOTHING) for gold in four))
    failed = tuple(on(gold, NOTHING, "request_error") for gold in four)
    yield Vector("outage-on-the-four-kinds", failed)
    missing = tuple(replace(sample, outcome="missing") for sample in failed)
    yield Vector("all-samples-missing", missing, source="benchmark")
    yield Vector("only-negative-queries-answered-empty", (on(NOTHING, NOTHING),) * 2)
    alarm, right = on(four[1], ((2, 4), (1,))), on(four[1], four[1])
    yield Vector("null-only-if-no-sample-has-anything", (alarm, right))
    everything = (TEN, SIX)
    samples = (on(NOTHING, NOTHING), on(everything, everything), ordinary)
    yield Vector("mcc-has-its-own-n", samples)
    imageless = image_case((), (), ())
    yield Vector("dialogues-with-and-without-images", (imageless, ordinary))
    imageless = Sample((TEN, ()), ((2, 3), ()), ((2, 3), ()))
    half = on(((2,), (1, 3)), ((2,), (1, 4)))
    yield Vector("phantom-images-in-the-sum", (*[imageless] * 3, half))


def numbers() -> Iterator[Vector]:
    """One query on utterances alone: ids of the dialogue, gold, prediction."""
    last = 2**31 - 1
    huge = (0, 1, 2, 3, last)
    sixty, seventeen = tuple(range(60)), tuple(range(17))
    cases: Mapping[str, tuple[Ids, Ids, Ids]] = {
        "large-universe": (huge, (0, 1), (0, 2)),
        "large-universe-perfect": (huge, (0, 1, 3, last), (0, 1, 3, last)),
        "large-id-invented": (TEN, (2, 3), (2, 3, last)),
        "negative-id": (TEN, (2, 3), (2, 3, -1)),
        "ids-with-gaps": ((0, 5, 10), (0, 5), (0, 7)),
        "ids-with-gaps-unsorted": ((10, 0, 5), (10, 5), (5, 0)),
        "order-of-ids": (TEN, (7, 2, 5), (5, 9, 2)),
        "order-of-ids-sorted": (TEN, (2, 5, 7), (2, 5, 9)),
        "irrational-mcc": (seventeen, (0, 1, 2, 3, 4), (0, 1, 9)),
        "all-wrong": (TEN, TEN[:5], TEN[5:]),
        "as-good-as-chance": (TEN[:4], (0, 1), (0, 2)),
        "none-of-sixty": (sixty, (3, 4, 5), ()),
        "all-predicted": (TEN, (2, 3), TEN),
        "gold-is-everything": (TEN, TEN, TEN),
        "gold-is-everything-partial": (TEN, TEN, (0, 1)),
        "gold-is-everything-and-invented": (TEN, TEN, (*TEN, 30)),
        "gold-is-everything-but-one": (TEN, TEN[1:], TEN[1:]),
        "one-utterance": ((0,), (0,), (0,)),
    }
    for name, (ids, gold, predicted) in cases.items():
        yield Vector(name, (Sample((ids, ()), (gold, ()), (predicted, ())),))


PARTLY = (
    "The dialogue has no image, so an answer cannot name some of them or all: any id there is"
    " invented."
)
REFUSED = (
    "A benchmark folder cannot have it: `ffr data check` refuses gold ids that the dialogue does"
    " not have. Inference files can: gold_outside.json says what official makes of it."
)
WITHOUT = [NO_DIALOGUE, NO_BENCHMARK]


def impossible(
    of: str, predictions: Sequence[str], gold: Sequence[str], protocols: Sequence[str], reason: str
) -> dict[str, Any]:
    """An entry that stands for all combinations of its lists."""
    return {
        "of": of,
        "prediction": predictions,
        "modality": WITHOUT,
        "gold": gold,
        "protocols": protocols,
        "reason": reason,
    }


IMPOSSIBLE = (
    impossible("image", ("partial", "full"), (NO_GOLD,), BOTH, PARTLY),
    impossible("image", PREDICTIONS, (GOLD,), ("strict-1",), REFUSED),
    impossible(
        *("utterance", PREDICTIONS, (NO_GOLD, GOLD), BOTH, "A dialogue always has utterances.")
    ),
)

THEMES: Mapping[str, tuple[str, Callable[[], Iterable[Vector]]]] = {
    "present": ("Images in a dialogue that has them", present),
    "absent_from_dialogue": (
        "Images in a dialogue that has none, in a benchmark that has some",
        lambda: absent(NO_DIALOGUE),
    ),
    "absent_from_benchmark": (
        "Images in a benchmark that has none",
        lambda: absent(NO_BENCHMARK),
    ),
    "utterance": ("Utterances: the same as images in a dialogue that has them", utterances),
    "outcomes": ("Answers that failed", outcomes),
    "several_samples": ("Several queries", several_samples),
    "numbers": ("Numbers, order of ids, gaps, and gold that is everything", numbers),
    "gold_outside": ("Gold ids that the prompt does not mark (inference files)", gold_outside),
}


def golden_files() -> dict[str, str]:
    """The vector files by name."""
    files = {}
    for name, (theme, vectors) in THEMES.items():
        record = {"version": 1, "theme": theme, "vectors": [vector.plain() for vector in vectors()]}
        files[f"{name}.json"] = pretty(record) + "\n"
    record = {"version": 1, "theme": "Cells that no case can have", "impossible": IMPOSSIBLE}
    files["impossible.json"] = pretty(record) + "\n"
    return files


def pretty(value: Any, indent: int = 0) -> str:
    """JSON in which what fits a line stands on one; fractions as the nearest float."""
    line = json.dumps(value, default=float, ensure_ascii=False)
    if not isinstance(value, dict | list | tuple) or len(line) + indent <= 150:
        return line
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {pretty(item, indent + 2)}" for key, item in value.items()]
    else:
        parts = [pretty(item, indent + 2) for item in value]
    start, end = "{}" if isinstance(value, dict) else "[]"
    return f"{start}\n{inner}" + f",\n{inner}".join(parts) + f"\n{' ' * indent}{end}"


# --- The page ------------------------------------------------------------------------------------

INTRO = """\
# Edge cases

<!-- Generated by `python scripts/golden_vectors.py --docs`: change the script, not this page. -->

A cell gives precision, recall, F1 and MCC: in its first line those of the images (in the table on
numbers those of the utterances), in its second those of the joint. `null` means that there is
nothing to count, `left out` that no query counts, "1 of 2" how many queries count where not all do
(for MCC apart, where that differs), and `not defined` that the rules give no answer. A row is one
or more vectors of [tests/golden](../tests/golden/README.md), which say which ids there are and give
the figures in full; [metrics.md](metrics.md) has the rules.
"""
HEAD = ("official, micro", "official, macro", "strict, micro", "strict, macro")
ORDINARY = (
    "The dialogue has 10 utterances and {images}. Beside the images the answer names utterances 2"
    " and 4 where 2 and 3 are right (0.5, 0.5, 0.5, 0.375)."
)
# file: what stands above its table
ABOUT = {
    "present": ORDINARY.format(images="the images 0 to 5; the gold is images 1 and 3, or none"),
    "absent_from_dialogue": ORDINARY.format(images="no image")
    + " A second query, answered perfectly, is on a dialogue with images.",
    "absent_from_benchmark": ORDINARY.format(images="no image") + " There is no other query.",
    "outcomes": "One query on 10 utterances and, unless it says otherwise, 6 images.",
    "several_samples": "On 10 utterances and, unless it says otherwise, 6 images.",
    "numbers": "One query on utterances alone.",
    "gold_outside": "`ffr data check` refuses such gold in a benchmark folder, and `strict` is not"
    " defined on it; `official` takes inference files as they come.",
}


def docs_page(files: Mapping[str, str]) -> str:
    """The page, from the text of the vector files."""
    records = {name: json.loads(text) for name, text in files.items()}
    parts = [INTRO]
    for name, about in ABOUT.items():
        record = records[f"{name}.json"]
        vectors = [v for v in record["vectors"] if not v["name"].endswith(SILENT)]
        shown = "utterance" if name == "numbers" else "image"
        parts.append(f"## {record['theme']}\n\n{about}\n\n{table(vectors, shown)}\n")
        silent = [v for v in record["vectors"] if v["name"].endswith(SILENT)]
        if silent:
            about = "The same, where no utterance was to be found and none was named:"
            parts.append(f"{about}\n\n{table(silent, shown)}\n")
    parts.append("## What cannot be\n")
    entries = records["impossible.json"]["impossible"]
    parts += [f"* {impossible_cells(entry)}: {entry['reason']}" for entry in entries]
    parts.append(
        "\nUtterances that are present follow the rules of images that are (utterance.json).\n"
    )
    return "\n".join(parts)


def impossible_cells(entry: Mapping[str, Any]) -> str:
    """The cells of an entry of impossible.json, in words."""
    of, modality = entry["of"], " or ".join(entry["modality"])
    which = "any prediction" if len(entry["prediction"]) == 5 else " or ".join(entry["prediction"])
    gold = "any gold" if len(entry["gold"]) == 2 else f"gold {entry['gold'][0]}"
    protocols = "" if len(entry["protocols"]) == 2 else f", {entry['protocols'][0].split('-')[0]}"
    return f"{of} {modality}, {which}, {gold}{protocols}"


def table(vectors: Sequence[Mapping[str, Any]], shown: str) -> str:
    """A Markdown table; vectors with the same answer share a row, those with gold come first."""
    cells = [vector["cell"] for vector in vectors if "cell" in vector]
    several = len({where["modality"] for where in cells}) > 1
    rows: dict[tuple[str, ...], tuple[list[str], list[str]]] = {}
    for vector in vectors:
        gold = gold_of(vector, with_modality=several)
        labels, reasons = rows.setdefault((gold, *answers(vector, shown)), ([], []))
        label = vector["cell"]["prediction"] if "cell" in vector else in_words(vector["name"])
        for text, texts in ((label, labels), (vector["reason"], reasons)):
            if text not in texts:
                texts.append(text)
    lines = []
    for (gold, *figures), (labels, reasons) in sorted(rows.items(), key=by_gold):
        first = [", ".join(labels), *([gold] if cells else [])]
        lines.append([*first, *figures, " ".join(reasons)])
    head = ["prediction", "gold"] if cells else ["case"]
    lines = [[*head, *HEAD, "why"], ["---"] * (len(head) + len(HEAD) + 1), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_gold(row: tuple[tuple[str, ...], Any]) -> int:
    """Gold that is not empty, gold that is, and cases outside the matrix."""
    gold = row[0][0]
    return 2 if not gold else 0 if gold.startswith(GOLD) else 1


def in_words(name: str) -> str:
    """A name as words."""
    return name.replace("-", " ").replace("mcc", "MCC")


def gold_of(vector: Mapping[str, Any], *, with_modality: bool) -> str:
    """What a row says of the gold, and where images are absent."""
    where = vector.get("cell")
    if where is None:
        return ""
    absent = with_modality and where["modality"] != PRESENT
    return f"{where['gold']}; images {where['modality']}" if absent else str(where["gold"])


def answers(vector: Mapping[str, Any], shown: str) -> Iterator[str]:
    """The four cells of a row."""
    for protocol in BOTH:
        for average in ("micro", "macro"):
            if protocol not in vector["expected"]:
                yield "not defined"
                continue
            figures = vector["expected"][protocol][average]
            n = len(vector["samples"])
            yield f"{compact(figures[shown], n)}<br>{compact(figures['joint'], n)}"


def compact(figures: Mapping[str, Any] | None, n_samples: int) -> str:
    """Figures for a cell of a table."""
    if figures is None:
        return "null"
    if all(figures[name] is None for name in FIGURES):
        return "left out"
    text = ", ".join(number(figures[name]) for name in FIGURES)
    n, n_mcc = figures.get("n", n_samples), figures.get("n_mcc", n_samples)
    notes = [f"{n} of {n_samples}"] if n != n_samples else []
    notes += [f"MCC {n_mcc} of {n_samples}"] if n_mcc not in (0, n) else []
    return f"{text} ({', '.join(notes)})" if notes else text


def number(value: float | None) -> str:
    """Up to three digits behind the point."""
    if value is None:
        return "left out"
    text = f"{value:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def main() -> int:
    """Write or check what the options say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--docs", action="store_true", help="the page only")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    options = parser.parse_args()
    files = golden_files()
    vectors = {GOLDEN / name: text for name, text in files.items()}
    page = {DOCS: docs_page(files)}
    if not options.check:
        for path, text in (page if options.docs else vectors).items():
            path.write_text(text, encoding="utf-8")
        return 0
    wanted = page if options.docs else vectors | page
    stale = [
        path
        for path, text in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if not options.docs:
        stale += [path for path in GOLDEN.glob("*.json") if path not in vectors]
    for path in stale:
        print(f"{path.relative_to(ROOT)} is stale: run scripts/golden_vectors.py, then with --docs")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
