"""``ffr score`` on ms-swift inference files: defaults, odd lines, and files read in pieces."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ffr_eval
from ffr_eval import inference_file
from ffr_eval.inference_file import read_inference
from ffr_eval.markup import answer_text

if TYPE_CHECKING:
    from collections.abc import Callable

FIGURES = ("precision", "recall", "f1", "mcc")
PARITY = Path(__file__).resolve().parents[3] / "shared/data/official_parity"


def test_the_default_protocol_is_official(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    file = jsonl([inference(answer_text([2, 9], [])), inference(None), inference("prose")])
    official = cli("score", file, "--json", "-").json
    assert official["protocol"] == "official-1"
    assert official["micro"]["utterance"]["fp"] == 1
    assert official["micro"]["image"]["tn"] == 3 * 21  # nobody marked an image
    strict = cli("score", file, "--protocol", "strict", "--json", "-").json
    assert strict["protocol"] == "strict-1"
    assert strict["micro"]["image"] is None
    assert strict["outcomes"]["missing"] == 1
    assert strict["outcomes"]["parse_error"] == 1
    assert strict["rates"]["utterance"]["invented"] == 0.5


def test_a_record_without_a_response_is_left_out_as_the_original_does(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    silent = inference(None)
    del silent["response"]
    file = jsonl([inference(answer_text([1, 2], [])), silent])
    scores = cli("score", file, "--json", "-").json
    assert (scores["n_samples"], scores["left_out"]) == (1, 1)
    assert "left out" in scores["notes"][0]
    strict = cli("score", file, "--protocol", "strict", "--json", "-").json
    assert (strict["n_samples"], strict["outcomes"]["missing"]) == (2, 1)


def test_groups_need_no_benchmark(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    answer = answer_text([1, 2], [])
    file = jsonl([inference(answer, utts=range(n)) for n in (34, 35, 65, 66)])
    groups = cli("score", file, "--group-by", "turns, kind,language", "--json", "-").json["groups"]
    counts = {name: group["n_samples"] for name, group in groups["turns"].items()}
    assert counts == {"short": 1, "medium": 2, "long": 1}
    assert list(groups["kind"]) == ["utterance"]
    assert list(groups["language"]) == ["unknown"]


def test_odd_but_valid_lines_are_read(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    answer = answer_text([1, 2], [])
    scored = json.dumps(inference(answer)).replace(
        '"logprobs": null', '"logprobs": {"content": [{"token": "a", "logprob": NaN}, -Infinity]}'
    )
    parts = inference(answer)
    text = parts["messages"][0]["content"]
    parts["messages"][0]["content"] = [
        {"type": "image", "image": "x.png"},
        {"type": "text", "text": text[:20]},
        {"type": "text", "text": text[20:]},
    ]
    half_a_pair = json.dumps(inference(answer, query="cut \ud83d"))
    lines = [scored, "", "   ", parts, inference(answer, dialogue_id=7), half_a_pair]
    for end in ("\n", "\r\n"):
        scores = cli("score", jsonl(lines, end=end), "--json", "-").json
        assert scores["n_samples"] == 4
        assert scores["micro"]["utterance"]["tp"] == 8
        assert scores["micro"]["utterance"]["tn"] == 4 * 3


def test_a_byte_order_mark_is_no_part_of_the_first_record(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    file = jsonl(["\ufeff" + json.dumps(inference(answer_text([1, 2], []))), inference("x")])
    assert cli("score", file, "--json", "-").json["n_samples"] == 2


# Pieces ------------------------------------------------------------------------------------------


@pytest.fixture
def records(inference: Callable[..., Any]) -> list[Any]:
    """120 records of different answers, with blank and odd lines between."""
    lines: list[Any] = []
    for i in range(120):
        record = inference(answer_text([i % 5, 1], []), dialogue_id=f"d{i % 7}")
        lines += [json.dumps(record).replace("null", "NaN") if i % 9 == 4 else record]
        lines += [""] if i % 10 == 3 else []
    return lines


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_pieces_and_processes_give_the_same_result(
    monkeypatch: pytest.MonkeyPatch, jsonl: Callable[..., Path], records: list[Any], end: str
) -> None:
    file = jsonl(records, end=end)
    whole = ffr_eval.score(file)
    assert whole.n_samples == 120
    for n_pieces in (3, 7):
        monkeypatch.setattr(inference_file, "PIECE_BYTES", file.stat().st_size // n_pieces)
        for workers in (1, 2):
            parts = ffr_eval.score(file, workers=workers)
            assert parts.to_dict() == whole.to_dict()
            assert list(parts.table.sample_id) == list(whole.table.sample_id)


def test_a_packed_file_gives_the_same_result(
    jsonl: Callable[..., Path], records: list[Any], tmp_path: Path
) -> None:
    file = jsonl(records)
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert ffr_eval.score(packed).to_dict() == ffr_eval.score(file).to_dict()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("place", [0, 1, 60, 61, 118, 131])
def test_errors_name_the_line_whatever_the_piece(
    monkeypatch: pytest.MonkeyPatch,
    jsonl: Callable[..., Path],
    records: list[Any],
    place: int,
    workers: int,
) -> None:
    records.insert(place, '{"messages": [], "response": "no labels"}')
    records.append("not JSON, but later")
    file = jsonl(records)
    monkeypatch.setattr(inference_file, "PIECE_BYTES", file.stat().st_size // 6)
    with pytest.raises(ffr_eval.InputError) as caught:
        read_inference(file, "official", workers=workers)
    assert (caught.value.problem.line, caught.value.problem.field) == (place + 1, "labels")


def test_a_truncated_last_line_is_dropped_whatever_the_piece(
    monkeypatch: pytest.MonkeyPatch, jsonl: Callable[..., Path], records: list[Any]
) -> None:
    file = jsonl(records)
    file.write_bytes(file.read_bytes()[:-100])
    for pieces in (1, 3):
        monkeypatch.setattr(inference_file, "PIECE_BYTES", file.stat().st_size // pieces + 1)
        scores = ffr_eval.score(file)
        assert scores.n_samples == 119
        assert scores.notes == (f"{file}:{len(records)}: dropped a truncated last line",)


def test_a_truncated_line_before_the_last_is_an_error(
    cli: Any, jsonl: Callable[..., Path], records: list[Any]
) -> None:
    records[50] = '{"messages": ['
    assert ":51: " in cli.refused("score", jsonl(records))


# Parity with the original release ----------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize("name", ["parity_a", "quirks"])
def test_figures_agree_with_the_original_release(cli: Any, name: str) -> None:
    expected = json.loads((PARITY / f"{name}.expected.json").read_text())
    file = PARITY / f"{name}.jsonl"
    scores = cli("score", file, "--protocol", "official", "--json", "-").json
    for average, prefix, tolerance in (("micro", "global_", 5.1e-5), ("macro", "avg_", 1e-9)):
        assert scores["n_samples"] == expected[average]["num_samples"]
        for modality, theirs in (("utterance", "sentence"), ("image", "image"), ("joint", "joint")):
            figures = expected[average][f"{theirs}_metrics"]
            found = {prefix + f: scores[average][modality][f] for f in FIGURES}
            assert found == pytest.approx(figures, rel=0, abs=tolerance), (average, modality)


def test_two_records_on_one_line_are_refused(
    cli: Any, jsonl: Callable[..., Path], records: list[Any]
) -> None:
    file = jsonl(records[:20])
    line = file.read_text("utf-8").splitlines()[0]
    file.write_text(file.read_text("utf-8") + line + line + "\n", "utf-8")
    number = file.read_text("utf-8").count("\n")
    assert f"{file}:{number}: " in cli.refused("score", file)
