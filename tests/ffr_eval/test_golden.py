"""The golden vectors through the public API, and whether vectors, matrix and page are whole."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ffr_eval
from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
)
from ffr_eval.errors import InputError
from ffr_eval.markup import IMG_ID, QUERY, UTT_ID, answer_text, mark
from ffr_eval.types import Fragment, Outcome, Prediction

if TYPE_CHECKING:
    from collections.abc import Callable

    from ffr_eval.scoring import Scores

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "golden_vectors.py"
FILES = {path.stem: json.loads(path.read_text()) for path in (ROOT / "tests/golden").glob("*.json")}
IMPOSSIBLE = FILES.pop("impossible")["impossible"]
VECTORS = [vector for record in FILES.values() for vector in record["vectors"]]

PROTOCOLS = ("official-1", "strict-1")
MATRIX = {
    "of": ("image", "utterance"),
    "prediction": ("empty", "partial", "full", "invented", "duplicate"),
    "modality": ("present", "absent from the dialogue", "absent from the benchmark"),
    "gold": ("empty", "not empty"),
}
FIGURES = ("precision", "recall", "f1", "mcc")
WHOLE = {"micro": ("tp", "fp", "fn", "tn"), "macro": ("n", "n_mcc")}
READ_FROM_TEXT = {"ok", "empty", "parse_error", "missing"}


def cases(*sources: str) -> list[Any]:
    return [
        pytest.param(vector, protocol, id=f"{vector['name']}-{protocol}")
        for vector in VECTORS
        for protocol in vector["expected"]
        if vector["source"] in sources
    ]


def check(scores: Scores, vector: dict[str, Any], protocol: str) -> None:
    found = scores.to_dict()
    for average, modality in product(("micro", "macro"), ("utterance", "image", "joint")):
        expected, figures = (
            vector["expected"][protocol][average][modality],
            found[average][modality],
        )
        where = f"{average}.{modality}: {vector['reason']}"
        if expected is None:
            assert figures is None, where
            continue
        assert figures is not None, where
        for name in FIGURES:
            value = expected[name]
            close = None if value is None else pytest.approx(value, abs=1e-12, rel=0)
            assert figures[name] == close, f"{name} of {where}"
        for name in WHOLE[average]:
            assert figures.get(name) == expected.get(name), f"{name} of {where}"


# --- scoring -------------------------------------------------------------------------------------


def write_benchmark(folder: Path, samples: list[dict[str, Any]]) -> None:
    with BenchmarkWriter(folder, InfoRecord(name="golden")) as writer:
        for row, sample in enumerate(samples):
            first, *others = sample["utt_ids"]
            images = tuple(sample["img_ids"])
            turns = (TurnRecord(first, "A", "x", images), *(TurnRecord(i, "B") for i in others))
            shown = tuple(ImageRecord(img_id) for img_id in images)
            writer.add_dialogue(DialogueRecord(f"d{row}", turns, shown))
            utts, imgs = sample["gold"]["utt_ids"], sample["gold"]["img_ids"]
            writer.add_query(QueryRecord(f"s{row}", f"d{row}", "q", tuple(utts), tuple(imgs)))


def prediction(row: int, sample: dict[str, Any]) -> Prediction:
    ids = sample["predicted"]
    payload = Fragment(tuple(ids["utt_ids"]), tuple(ids["img_ids"]))
    return Prediction(f"s{row}", Outcome(sample["outcome"]), payload)


@pytest.mark.parametrize(("vector", "protocol"), cases("any", "benchmark"))
def test_on_a_benchmark_folder(vector: dict[str, Any], protocol: str, tmp_path: Path) -> None:
    samples = vector["samples"]
    write_benchmark(tmp_path / "golden", samples)
    made = [
        prediction(row, sample)
        for row, sample in enumerate(samples)
        if sample["outcome"] != "missing"
    ]
    scores = ffr_eval.score(made, tmp_path / "golden", protocol=protocol)
    check(scores, vector, protocol)
    assert scores.outcomes == {
        outcome: sum(sample["outcome"] == outcome for sample in samples)
        for outcome in scores.outcomes
    }


def inference_record(sample: dict[str, Any]) -> dict[str, Any]:
    lines = [f"{mark(UTT_ID, i)} A: x" for i in sample["utt_ids"]]
    shown = [f"{mark(IMG_ID, i)}<image>" for i in sample["img_ids"]]
    record: dict[str, Any] = {
        "messages": [{"role": "user", "content": "\n".join([mark(QUERY, "q"), *lines, *shown])}],
        "labels": answer_text(**sample["gold"]),
        "dialogue_id": "d",
    }
    outcome = sample["outcome"]
    if outcome in {"ok", "empty"}:
        record["response"] = answer_text(**sample["predicted"])
    elif outcome != "missing":
        record["response"] = "Sorry, no." if outcome == "parse_error" else None
    return record


def in_text() -> list[Any]:
    """Vectors that an inference file can hold: ``strict`` reads outcomes there out of the text."""

    def holds(vector: dict[str, Any], protocol: str) -> bool:
        outcomes = {sample["outcome"] for sample in vector["samples"]}
        return protocol == "official-1" or outcomes <= READ_FROM_TEXT

    return [case for case in cases("any", "inference file") if holds(*case.values)]


@pytest.mark.parametrize(("vector", "protocol"), in_text())
def test_on_an_inference_file(
    vector: dict[str, Any], protocol: str, jsonl: Callable[..., Path]
) -> None:
    path = jsonl(map(inference_record, vector["samples"]))
    scores = ffr_eval.score(path, protocol=protocol)
    check(scores, vector, protocol)
    assert scores.notes == () or vector["name"] == "record-without-response"


@pytest.mark.parametrize(
    "vector",
    [
        vector
        for vector in FILES["gold_outside"]["vectors"]
        if all(sample["utt_ids"] for sample in vector["samples"])
    ],
    ids=lambda vector: vector["name"],
)
def test_a_benchmark_folder_refuses_gold_that_the_dialogue_does_not_have(
    vector: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="the dialogue has no image"):
        write_benchmark(tmp_path / "golden", vector["samples"])


# --- the vectors themselves ----------------------------------------------------------------------


def test_every_combination_has_an_answer_or_a_reason_why_it_cannot_be() -> None:
    found: dict[tuple[str, ...], str] = {}
    for vector in VECTORS:
        for protocol in vector["expected"] if "cell" in vector else ():
            place = (*(vector["cell"][axis] for axis in MATRIX), protocol)
            found[place] = vector["reason"]
    excluded: dict[tuple[str, ...], str] = {}
    for entry in IMPOSSIBLE:
        axes = ([entry["of"]], *(entry[axis] for axis in list(MATRIX)[1:]), entry["protocols"])
        excluded |= dict.fromkeys(product(*axes), entry["reason"])
    assert not set(found) & set(excluded)
    assert set(product(*MATRIX.values(), PROTOCOLS)) <= set(found) | set(excluded)
    assert all(reason.endswith(".") for reason in (*found.values(), *excluded.values()))


def has_what_its_cell_says(sample: dict[str, Any], cell: dict[str, str]) -> bool:
    ids = "img_ids" if cell["of"] == "image" else "utt_ids"
    has, gold, named = set(sample[ids]), set(sample["gold"][ids]), sample["predicted"][ids]
    distinct = set(named)
    target = gold or has
    is_right = {
        "empty": not named,
        "partial": bool(distinct) and distinct < target,
        "full": distinct == target and len(named) == len(distinct),
        "invented": bool(distinct - has - gold),
        "duplicate": len(named) > len(distinct),
    }
    return (
        bool(has) == (cell["modality"] == "present")
        and bool(gold) == (cell["gold"] == "not empty")
        and is_right.get(cell["prediction"], True)
    )


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if "cell" in v], ids=lambda vector: vector["name"]
)
def test_a_vector_is_in_the_cell_that_it_names(vector: dict[str, Any]) -> None:
    first, *others = vector["samples"]
    assert has_what_its_cell_says(first, vector["cell"])
    elsewhere = any(sample["img_ids"] for sample in others)
    assert elsewhere == (vector["cell"]["modality"] == "absent from the dialogue")


def test_names_are_unique() -> None:
    names = [vector["name"] for vector in VECTORS]
    assert len(set(names)) == len(names)


def test_files_and_page_are_current() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_page_alone_is_current() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--docs", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
