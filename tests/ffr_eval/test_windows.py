"""``--merge-windows``: the windows of split dialogues, merged by union."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import ffr_eval
from ffr_eval.markup import answer_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Ids = tuple["Sequence[int]", "Sequence[int]"]


@pytest.fixture
def merged(
    jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> Callable[..., ffr_eval.Scores]:
    """Scores windows given as ``(dialogue id, answer, gold, more fields)``."""

    def score(
        *windows: tuple[str, Ids | str | None, Ids, dict[str, Any]],
    ) -> ffr_eval.Scores:
        records = []
        for dialogue_id, answer, gold, more in windows:
            text = answer_text(*answer) if isinstance(answer, tuple) else answer
            records.append(inference(text, gold, dialogue_id=dialogue_id, **more))
        return ffr_eval.score(jsonl(records), merge_windows=True)

    return score


def counts(scores: ffr_eval.Scores, modality: str) -> tuple[int, int, int, int]:
    figures = getattr(scores.micro, modality)
    return figures.tp, figures.fp, figures.fn, figures.tn


def test_answers_and_gold_are_merged_by_union(merged: Callable[..., ffr_eval.Scores]) -> None:
    scores = merged(
        ("d_split_0", ([1, 2], []), ([1, 2, 4], []), {"utts": range(5)}),
        ("d_split_1", ([4, 6], []), ([4, 5], []), {"utts": range(4, 10)}),
    )
    assert list(scores.table.sample_id) == ["d#0"]
    assert scores.n_samples == 1
    assert counts(scores, "utterance") == (3, 1, 1, 5)  # gold 1 2 4 5, answer 1 2 4 6, of 0 to 9
    assert scores.notes == ("2 windows merged: 2 records make 1 samples",)


def test_without_the_option_each_window_is_a_sample(
    jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    records = [inference(answer_text([1, 2], []), dialogue_id=f"d_split_{k}") for k in range(2)]
    assert ffr_eval.score(jsonl(records)).n_samples == 2


def test_images_are_the_same_where_their_paths_are(merged: Callable[..., ffr_eval.Scores]) -> None:
    scores = merged(
        ("d_split_0", ([], [0, 1]), ([], [1]), {"images": ["a.png", "b.png"]}),
        ("d_split_1", ([], [0]), ([], [0, 1]), {"images": ["b.png", "c.png"]}),
    )
    assert counts(scores, "image") == (1, 1, 1, 0)  # gold b c, answer a b, of a b c


def test_different_images_with_the_same_local_id_stay_apart(
    merged: Callable[..., ffr_eval.Scores],
) -> None:
    scores = merged(
        ("d_split_0", ([], [0]), ([], [0]), {"images": ["a.png"]}),
        ("d_split_1", ([], []), ([], [0]), {"images": ["b.png"]}),
    )
    assert counts(scores, "image") == (1, 0, 1, 0)


def test_a_path_used_twice_in_a_window_is_two_images(
    merged: Callable[..., ffr_eval.Scores],
) -> None:
    scores = merged(
        ("d_split_0", ([], [0]), ([], [0, 1]), {"images": ["a.png", "a.png"]}),
        ("d_split_1", ([], [0]), ([], [0]), {"images": ["a.png"]}),
    )
    assert counts(scores, "image") == (1, 0, 1, 0)


def test_paths_may_be_plain_strings(merged: Callable[..., ffr_eval.Scores]) -> None:
    windows = [
        (f"d_split_{k}", ([], [0]), ([], [0]), {"images": [path]})
        for k, path in enumerate(["a.png", "b.png"])
    ]
    for window, path in zip(windows, ["x.png", "x.png"], strict=True):
        window[3]["images"] = [path]
    assert counts(merged(*windows), "image") == (1, 0, 0, 0)


def test_without_paths_windows_are_taken_not_to_overlap(
    jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    records = [
        inference(answer_text([], [0]), ([], [0]), dialogue_id=f"d_split_{k}", images=["a", "b"])
        for k in range(2)
    ]
    for images in (None, [], [{"path": None}, {"bytes": "…"}], ["only one"]):
        for record in records:
            record["images"] = images
        scores = ffr_eval.score(jsonl(records), merge_windows=True)
        assert counts(scores, "image") == (2, 0, 0, 2), images


def test_an_image_that_a_window_lacks_is_wrong_and_hits_no_other(
    merged: Callable[..., ffr_eval.Scores],
) -> None:
    scores = merged(
        ("d_split_0", ([], [1]), ([], [0]), {"images": ["a.png"]}),
        ("d_split_1", ([], [1]), ([], [1]), {"images": ["b.png", "c.png"]}),
    )
    assert counts(scores, "image") == (1, 1, 1, 1)  # gold a c, answer c and one invented


def test_queries_of_one_dialogue_stay_apart(merged: Callable[..., ffr_eval.Scores]) -> None:
    scores = merged(
        ("d_split_0", ([1], []), ([1], []), {"query": "first"}),
        ("d_split_0", ([2], []), ([3], []), {"query": "second"}),
        ("d_split_1", ([2], []), ([2], []), {"query": "first"}),
        ("d_split_1", ([4], []), ([4], []), {"query": "second"}),
        ("d_split_0", ([0], []), ([0], []), {"query": "first"}),  # asked again
    )
    assert scores.n_samples == 3
    assert list(scores.table.sample_id) == ["d#0", "d#1", "d#2"]
    predicted = [row.tolist() for row in scores.table.utterance.predicted]
    assert predicted == [[1, 2], [2, 4], [0]]


def test_windows_may_come_in_any_order_among_other_records(
    merged: Callable[..., ffr_eval.Scores],
) -> None:
    scores = merged(
        ("e", ([1], []), ([1], []), {}),
        ("d_split_10", ([4], []), ([4], []), {}),
        ("d_split_2", ([1], []), ([1], []), {}),
    )
    assert list(scores.table.sample_id) == ["e#0", "d#0"]
    assert [row.tolist() for row in scores.table.utterance.gold] == [[1], [1, 4]]


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ((([1], []), None), "ok"),
        ((([], []), ([], [])), "empty"),
        ((([], []), None), "missing"),
        ((([], []), "no idea"), "parse_error"),
        (("no idea", None), "parse_error"),
        ((None, "no idea"), "missing"),
    ],
)
def test_a_failed_window_is_not_silence(
    jsonl: Callable[..., Path],
    inference: Callable[..., Any],
    answers: Sequence[Any],
    outcome: str,
) -> None:
    records = [
        inference(
            answer_text(*answer) if isinstance(answer, tuple) else answer,
            ([], []),
            dialogue_id=f"d_split_{k}",
        )
        for k, answer in enumerate(answers)
    ]
    scores = ffr_eval.score(jsonl(records), merge_windows=True, protocol="strict")
    assert {name for name, n in scores.outcomes.items() if n} == {outcome}


def test_a_file_without_windows_is_refused(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    file = jsonl([inference(None, dialogue_id="a_split_"), inference(None, dialogue_id="_split_1")])
    error = cli.refused("score", file, "--merge-windows")
    assert "dialogue_id: no record is a window" in error
    assert "leave --merge-windows out" in error


def test_other_formats_have_no_windows(cli: Any, jsonl: Callable[..., Path], lengths: Path) -> None:
    file = jsonl([{"sample_id": "a#0", "utt_ids": [], "img_ids": []}])
    error = cli.refused("score", file, "--benchmark", lengths, "--merge-windows")
    assert "--merge-windows: only ms-swift inference files have windows" in error


def test_the_command_line_merges(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    file = jsonl([inference(answer_text([1], []), dialogue_id=f"d_split_{k}") for k in range(3)])
    scores = cli("score", file, "--merge-windows", "--json", "-").json
    assert (scores["n_samples"], scores["notes"][0][:16]) == (1, "3 windows merged")
