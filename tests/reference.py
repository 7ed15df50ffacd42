"""Slow scorers written from metrics.md alone: Python sets, one sample at a time.

They share no code with what they check.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

FIGURES = ("precision", "recall", "f1", "mcc")
MODALITIES = ("utterance", "image")


def fraction(above: float, below: float) -> float:
    return above / below if below else 0.0


def harmonic(a: float, b: float) -> float:
    return fraction(2 * a * b, a + b)


def correlation(tp: int, fp: int, fn: int, tn: int) -> float:
    """MCC with integers of any size under the root."""
    margins = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / math.sqrt(margins) if margins else 0.0


@dataclass
class Cells:
    """The four counts of one sample and modality."""

    tp: int
    fp: int
    fn: int
    tn: int

    @classmethod
    def of(cls, gold: set[Any], predicted: set[Any], universe: set[Any]) -> Cells:
        return cls(
            tp=len(gold & predicted),
            fp=len(predicted - gold),
            fn=len(gold - predicted),
            tn=len(universe - gold - predicted),
        )

    def __add__(self, other: Cells) -> Cells:
        return Cells(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    def figures(self) -> dict[str, float]:
        return {
            "precision": fraction(self.tp, self.tp + self.fp),
            "recall": fraction(self.tp, self.tp + self.fn),
            "f1": fraction(2 * self.tp, 2 * self.tp + self.fp + self.fn),
            "mcc": correlation(self.tp, self.fp, self.fn, self.tn),
        }


def joint_of(a: dict[str, float], b: dict[str, float]) -> dict[str, float]:
    return {
        "precision": harmonic(a["precision"], b["precision"]),
        "recall": harmonic(a["recall"], b["recall"]),
        "f1": (a["f1"] + b["f1"]) / 2,
        "mcc": (a["mcc"] + b["mcc"]) / 2,
    }


# --- official ------------------------------------------------------------------------------------


def official_ids(text: str, name: str) -> set[Any]:
    found = re.search(rf"<\|{name}_ids_start\|>(.*?)<\|{name}_ids_end\|>", text)
    if found is None:
        return set()
    try:
        value = json.loads(found.group(1).strip())
    except (ValueError, RecursionError):
        return set()
    try:
        return set(value)  # of an object the keys, of a string the characters
    except TypeError:  # a bare number, null, or a nested list
        return set()


def official_universe(text: str, name: str) -> set[int]:
    marked = re.findall(rf"<\|{name}_id_start\|>(\d+)<\|{name}_id_end\|>", text)
    return set(range(max(map(int, marked), default=20) + 1))


def official(records: list[dict[str, Any]]) -> dict[str, Any]:
    """``micro`` and ``macro`` of inference records, each modality and ``joint``."""
    totals = {name: Cells(0, 0, 0, 0) for name in MODALITIES}
    samples: dict[str, list[dict[str, float]]] = {"utterance": [], "image": [], "joint": []}
    for record in records:
        if "response" not in record:
            continue
        user = next(m["content"] for m in record["messages"] if m["role"] == "user")
        both = []
        for modality, name in (("utterance", "utt"), ("image", "img")):
            gold = official_ids(record["labels"], name)
            predicted = official_ids(record["response"] or "", name)
            universe = official_universe(user, name)
            totals[modality] += Cells.of(gold, predicted, universe)
            both.append(_official_sample(gold, predicted, universe))
            samples[modality].append(both[-1])
        samples["joint"].append(joint_of(*both))
    micro = {name: cells.figures() for name, cells in totals.items()}
    micro["joint"] = joint_of(micro["utterance"], micro["image"])
    macro = {
        name: {figure: sum(s[figure] for s in rows) / len(rows) for figure in FIGURES}
        for name, rows in samples.items()
    }
    return {"micro": micro, "macro": macro}


def _official_sample(gold: set[Any], predicted: set[Any], universe: set[int]) -> dict[str, float]:
    right = len(gold & predicted)
    if gold:
        precision, recall = fraction(right, len(predicted)), right / len(gold)
    else:
        precision = recall = 0.0 if predicted else 1.0
    wrong, missed = (predicted - gold) & universe, (gold - predicted) & universe
    rest = universe - gold - predicted
    mcc = correlation(right, len(wrong), len(missed), len(rest))
    return {
        "precision": precision,
        "recall": recall,
        "f1": harmonic(precision, recall),
        "mcc": mcc,
    }


# --- strict --------------------------------------------------------------------------------------


@dataclass
class Judged:
    """One sample: per modality (utterance, image) gold, what is predicted, and the universe.

    ``predicted`` is what the outcome leaves of the answer, repetitions kept.
    """

    gold: tuple[set[int], set[int]]
    predicted: tuple[list[int], list[int]]
    universe: tuple[set[int], set[int]]
    outcome: str

    @property
    def answered(self) -> bool:
        return self.outcome in {"ok", "empty"}


def strict(samples: list[Judged]) -> dict[str, Any]:
    """``micro`` (``None`` where null) and ``macro`` (with ``n`` and ``n_mcc``) of some samples."""
    micro: dict[str, Any] = {}
    for place, name in enumerate(MODALITIES):
        cells = Cells(0, 0, 0, 0)
        for s in samples:
            cells += Cells.of(s.gold[place], set(s.predicted[place]), s.universe[place])
        micro[name] = cells.figures() if cells.tp + cells.fp + cells.fn else None
    counted = [figures for figures in micro.values() if figures is not None]
    micro["joint"] = joint_of(*counted) if len(counted) == 2 else next(iter(counted), None)

    rows: dict[str, list[dict[str, float]]] = {"utterance": [], "image": [], "joint": []}
    for s in samples:
        utterance, image = _strict_sample(s, 0), _strict_sample(s, 1)
        both = {}
        for figure in FIGURES:
            values = [part[figure] for part in (utterance, image) if figure in part]
            mean = harmonic if figure in {"precision", "recall"} else lambda a, b: (a + b) / 2
            if values:
                both[figure] = mean(*values) if len(values) == 2 else values[0]
        for name, part in (("utterance", utterance), ("image", image), ("joint", both)):
            rows[name].append(part)
    macro = {}
    for name, parts in rows.items():
        values = {figure: [p[figure] for p in parts if figure in p] for figure in FIGURES}
        macro[name] = {f: sum(v) / len(v) if v else None for f, v in values.items()}
        macro[name] |= {"n": len(values["f1"]), "n_mcc": len(values["mcc"])}
    return {"micro": micro, "macro": macro}


def _strict_sample(sample: Judged, place: int) -> dict[str, float]:
    """The figures of one modality that count; those that do not are left out."""
    gold, universe = sample.gold[place], sample.universe[place]
    predicted = set(sample.predicted[place])
    if not universe and not predicted:
        return {}
    figures = Cells.of(gold, predicted, universe).figures()
    if not gold and not predicted:
        figures |= dict.fromkeys(("precision", "recall", "f1"), float(sample.answered))
    if not gold or gold == universe:
        del figures["mcc"]
    return figures


def strict_rates(samples: list[Judged], place: int) -> dict[str, float]:
    """Invented ids among the distinct ones, repetitions among all that were written."""
    items = [s.predicted[place] for s in samples]
    distinct = sum(len(set(ids)) for ids in items)
    written = sum(map(len, items))
    invented = sum(len(set(ids) - s.universe[place]) for ids, s in zip(items, samples, strict=True))
    return {
        "invented": fraction(invented, distinct),
        "duplicate": fraction(written - distinct, written),
    }
