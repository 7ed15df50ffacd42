"""``official`` against the original's figures, and against a slow scorer on odd records."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ffr_eval
from tests import reference

if TYPE_CHECKING:
    from ffr_eval.scoring import Scores

PARITY = Path(__file__).parents[2] / "data" / "official_parity"
ORIGINAL_NAMES = {"utterance": "sentence", "image": "image", "joint": "joint"}


@pytest.mark.parametrize("name", ["parity_a", "quirks"])
@pytest.mark.parametrize("average", ["micro", "macro"])
@pytest.mark.parametrize("modality", ["utterance", "image", "joint"])
def test_figures_are_the_originals(name: str, average: str, modality: str) -> None:
    everything = json.loads((PARITY / f"{name}.expected.json").read_text())[average]
    expected = everything[f"{ORIGINAL_NAMES[modality]}_metrics"]
    scores = ffr_eval.score(PARITY / f"{name}.jsonl")
    found = getattr(getattr(scores, average), modality)
    assert scores.protocol == "official-1"
    assert scores.n_samples == everything["num_samples"]
    for figure in reference.FIGURES:
        value = getattr(found, figure)
        if average == "micro":
            assert round(value, 4) == expected[f"global_{figure}"]
        else:
            assert value == pytest.approx(expected[f"avg_{figure}"], abs=1e-9, rel=0)


def test_a_record_without_response_is_left_out_and_the_file_says_so() -> None:
    scores = ffr_eval.score(PARITY / "quirks.jsonl")
    assert (scores.n_samples, scores.left_out) == (25, 1)
    assert any("1 records without a response" in note for note in scores.notes)


@pytest.mark.parametrize("name", ["parity_a", "quirks"])
def test_the_slow_scorer_agrees_with_the_original_too(name: str) -> None:
    lines = (PARITY / f"{name}.jsonl").read_text().splitlines()
    figures = reference.official([json.loads(line) for line in lines])
    expected = json.loads((PARITY / f"{name}.expected.json").read_text())
    for modality, original in ORIGINAL_NAMES.items():
        for figure in reference.FIGURES:
            micro = expected["micro"][f"{original}_metrics"][f"global_{figure}"]
            macro = expected["macro"][f"{original}_metrics"][f"avg_{figure}"]
            assert round(figures["micro"][modality][figure], 4) == micro
            assert figures["macro"][modality][figure] == pytest.approx(macro, abs=1e-9)


# --- odd records ---------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(-2, 30),
    st.sampled_from([0.0, -0.0, 1.0, 2.5, 1e2, 1e300, float("inf"), float("nan")]),
    st.sampled_from(
        [2**53, 2**53 + 1, 2**62 - 1, 2**62, -(2**62), 2**63, 2**64, 10**30, -(10**30)]
    ),
)
ITEMS = st.one_of(NUMBERS, st.booleans(), st.none(), st.sampled_from(["1", "2", "", "一", "a"]))
VALUES = st.one_of(
    st.lists(st.integers(0, 9), max_size=5).map(json.dumps),
    st.lists(ITEMS, max_size=5).map(json.dumps),
    st.lists(st.lists(ITEMS, max_size=2) | ITEMS, max_size=3).map(json.dumps),
    st.dictionaries(st.sampled_from(["1", "2", "a"]), ITEMS, max_size=3).map(json.dumps),
    ITEMS.map(json.dumps),
    st.sampled_from(["", "[1, 2", "[1,]", "[01]", "[1.0e0, 1]", '"12"', "[1] [2]", "[NaN, NaN]"]),
    st.sampled_from(["[١]", "\ufeff[1]", "[1,\u00a02]", '["\\ud800"]', "'1'", "nan", "[-0]"]),
)
SPACE = st.sampled_from(["", "", "", " ", "\n", "\u3000", "\r", "\u2028", "\t"])
PROSE = st.sampled_from(["", "", " or ", ";", "\n", "the answer:", "；", "<|utt_ids_start|>"])


@st.composite
def marked_lists(draw: st.DrawFn, name: str) -> str:
    content = draw(SPACE) + draw(VALUES) + draw(SPACE)
    if draw(st.integers(0, 7)) == 0:
        content = content.replace(",", ",\n")
    end = draw(st.sampled_from([f"<|{name}_ids_end|>"] * 7 + [""]))
    return f"<|{name}_ids_start|>{content}{end}"


@st.composite
def answers(draw: st.DrawFn) -> str:
    if draw(st.booleans()):
        gold = [draw(st.lists(st.integers(0, 12), max_size=5)) for _ in range(2)]
        return (
            f"<|utt_ids_start|>{gold[0]}<|utt_ids_end|>;<|img_ids_start|>{gold[1]}<|img_ids_end|>"
        )
    lists = [marked_lists(name) for name in ("utt", "img", "utt", "img")]
    parts = draw(st.lists(st.one_of(*lists), max_size=4))
    return draw(PROSE) + "".join(part + draw(PROSE) for part in parts)


@st.composite
def dialogues(draw: st.DrawFn) -> str:
    marks = st.sampled_from(["0", "1", "3", "7", "12", "٥", "４", "", "x", "007", "2 "])
    lines = [
        f"<|{draw(st.sampled_from(['utt', 'utt', 'img']))}_id_start|>{draw(marks)}"
        f"<|{draw(st.sampled_from(['utt', 'utt', 'img']))}_id_end|>: text"
        for _ in range(draw(st.integers(0, 6)))
    ]
    return "<|query_start|>q<|query_end|>\n" + "\n".join(lines)


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    user = [{"role": "user", "content": draw(dialogues())} for _ in range(draw(st.integers(1, 2)))]
    record = {
        "messages": [{"role": "system", "content": "<|utt_id_start|>90<|utt_id_end|>"}, *user],
        "labels": draw(answers()),
        "dialogue_id": "d",
    }
    how = draw(st.integers(0, 9))
    if how:  # without the key the record is left out
        record["response"] = None if how == 1 else draw(answers())
    return record


def score_records(rows: list[dict[str, Any]]) -> Scores:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "inference.jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return ffr_eval.score(path)


@given(rows=st.lists(records(), min_size=1, max_size=6))
@settings(deadline=None, max_examples=300)
def test_odd_records_score_as_the_slow_scorer_says(rows: list[dict[str, Any]]) -> None:
    kept = [row for row in rows if "response" in row]
    scores = score_records(rows)
    assert (scores.n_samples, scores.left_out) == (len(kept), len(rows) - len(kept))
    if not kept:
        assert scores.metric("macro.joint.f1") is None
        return
    expected = reference.official(rows)
    for average, modalities in expected.items():
        for modality, figures in modalities.items():
            for figure, value in figures.items():
                name = f"{average}.{modality}.{figure}"
                assert scores.metric(name) == pytest.approx(value, abs=1e-9), name


def record_of(response: str, labels: str, marked: str) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": marked}],
        "labels": labels,
        "response": response,
        "dialogue_id": "d",
    }


def test_enormous_ids_do_not_overflow_the_sums() -> None:
    # Twenty universes of 10**18 ids: their sum does not fit int64.
    marked = f"<|utt_id_start|>{10**18 - 1}<|utt_id_end|>A: x"
    both = "<|utt_ids_start|>[1]<|utt_ids_end|>;<|img_ids_start|>[0]<|img_ids_end|>"
    micro = score_records([record_of(both, both, marked)] * 20).micro
    assert micro.utterance is not None
    assert (micro.utterance.tp, micro.utterance.tn) == (20, 20 * (10**18 - 1))
    assert micro.utterance.mcc == pytest.approx(1.0)


def test_gold_outside_the_universe_counts_in_micro_and_vanishes_from_the_samples_mcc() -> None:
    marked = "".join(f"<|utt_id_start|>{i}<|utt_id_end|>A: x\n" for i in range(10))
    empty = "<|img_ids_start|>[]<|img_ids_end|>"
    gold = f"<|utt_ids_start|>[1, 40]<|utt_ids_end|>;{empty}"
    answer = f"<|utt_ids_start|>[1]<|utt_ids_end|>;{empty}"
    scores = score_records([record_of(answer, gold, marked)])
    assert scores.micro.utterance is not None
    assert (scores.micro.utterance.fn, scores.micro.utterance.tn) == (1, 9)
    assert scores.metric("macro.utterance.mcc") == 1.0  # 40 is not in {0 … 9}
    assert scores.metric("macro.utterance.recall") == 0.5
    # No image anywhere: P = R = F1 = 1 in macro, 0 in micro, on 21 phantom negatives.
    assert scores.micro.image is not None
    assert (scores.micro.image.f1, scores.micro.image.tn) == (0.0, 21)
    assert scores.metric("macro.image.f1") == 1.0
