"""Samples that are too long: windows, and what is left out."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffr_eval.answer import parse_answer
from ffr_eval.dialogue_views import fitting, sliding, view_of, whole
from ffr_eval.types import Dialogue, Fragment, Image, Sample, Turn
from ffr_train.data import Wording, read_manifest
from ffr_train.data.fitting import Fitter, Limits
from ffr_train.data.lengths import Item, Length, Lengths
from ffr_train.data.rows import gold_in
from tests.ffr_train.data.test_equality import Made

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.conftest import Result
    from tests.ffr_train.data.conftest import Dialogues

_IMAGE = 40


class LettersAsTokens(Lengths):
    """Counts letters, and so much for each image; ``odd`` makes sums of turns tell less."""

    def __init__(self, odd: int = 0) -> None:
        self._odd = odd
        self.n_measured = 0

    def measure(self, items: Sequence[Item]) -> list[Length]:
        self.n_measured += len(items)
        return [
            Length(
                sum(len(part.get("text", "")) for part in item.prompt[0]["content"])
                + _IMAGE * len(item.images)
                + self._odd * (len(item.images) % 3),
                len(item.completion[0]["content"][0]["text"]),
            )
            for item in items
        ]

    def text_tokens(self, texts: Sequence[str]) -> list[int]:
        return list(map(len, texts))

    def tokens_in_place(self, image: Image) -> int:
        return _IMAGE


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """A dialogue of up to 30 turns, with images that may be shown twice, and any gold."""
    n_turns = draw(st.integers(1, 30))
    ids = draw(st.lists(st.integers(0, 99), unique=True, min_size=n_turns, max_size=n_turns))
    img_ids = draw(st.lists(st.integers(0, 50), unique=True, max_size=8))
    places = [draw(st.integers(0, n_turns - 1)) for _ in img_ids]
    again = [draw(st.integers(0, n_turns - 1)) for _ in img_ids]
    turns = tuple(
        Turn(
            utt_id,
            "S",
            "x" * draw(st.integers(0, 60)),
            tuple(i for i, *shown in zip(img_ids, places, again, strict=True) if place in shown),
        )
        for place, utt_id in enumerate(ids)
    )
    images = tuple(map(Image, img_ids))
    gold = Fragment(
        tuple(sorted(draw(st.sets(st.sampled_from(ids))))),
        tuple(sorted(draw(st.sets(st.sampled_from(img_ids))))) if img_ids else (),
    )
    return Sample("d#0", Dialogue("d", turns, images, "en"), "q", "train", gold)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(samples(), st.integers(600, 1600), st.sampled_from([0, 100]), st.sampled_from([0, 25]))
def test_all_gold_is_in_some_window_and_all_windows_fit(
    sample: Sample, total: int, room: int, odd: int
) -> None:
    fitter = Fitter(LettersAsTokens(odd), Wording("en"), Limits(total, room))
    (found,) = fitter.measured([sample])
    if fitter.fits(found):
        return
    windows = fitter.windows(sample, found)
    if windows is None:
        return
    utterances: set[int] = set()
    images: set[int] = set()
    for number, window in enumerate(windows):
        shown, img_ids = window.view.sample.dialogue, window.view.img_ids
        assert window.view.part == number
        assert window.length.prompt + max(room, window.length.completion) <= total
        assert window.length == LettersAsTokens(odd).measure([window.item])[0]
        assert set(window.gold.utt_ids) <= {turn.utt_id for turn in shown.turns}
        assert img_ids is not None
        assert [image.img_id for image in shown.images] == list(range(len(img_ids)))
        utterances |= set(window.gold.utt_ids)
        images |= {img_ids[i] for i in window.gold.img_ids}
    assert sample.gold is not None
    assert utterances == set(sample.gold.utt_ids)
    assert images == set(sample.gold.img_ids)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(samples(), st.integers(600, 1600))
def test_windows_are_as_few_as_when_all_are_measured(sample: Sample, total: int) -> None:
    fitter = Fitter(LettersAsTokens(), Wording("en"), Limits(total))
    (found,) = fitter.measured([sample])
    if fitter.fits(found):
        return
    exact = fitting(sample, lambda view: fitter.fits(fitter.measure([(sample, view)])[0]))
    windows = fitter.windows(sample, found)
    assert (windows is None) == (exact is None)
    assert len(windows or ()) == len(exact or ())


def test_gold_is_that_of_the_window_in_its_ids() -> None:
    shown = {0: (4,), 1: (7, 5), 4: (5, 9)}
    turns = tuple(Turn(10 + i, "S", "", shown.get(i, ())) for i in range(6))
    dialogue = Dialogue("d", turns, tuple(map(Image, (4, 7, 5, 9))))
    sample = Sample("d#0", dialogue, "q", gold=Fragment((10, 14), (5, 7, 9)))
    first, second = sliding(sample, 4, 2)  # turns 0-3 with images 4 7 5, turns 2-5 with 5 9
    assert gold_in(sample, whole(sample)) == sample.gold
    assert gold_in(sample, first) == Fragment((10,), (1, 2))
    assert gold_in(sample, second) == Fragment((14,), (0, 1))
    nowhere = Sample("d#1", dialogue, "q", gold=Fragment((15,), ()))
    assert gold_in(nowhere, first) == Fragment()


def _rows(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_windows_are_those_of_inference_and_fit_the_trainers_batch(
    make: Callable[..., Result], mixed: Path, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    import torch

    assert make(mixed, "sft", "--max-length", 620).code == 0
    made = Made(tmp_path / "out", mixed, checkpoints["qwen2_vl"])
    counts = made.manifest.counts
    assert counts["windowed"] >= 4
    assert counts["windows"] == sum(row["window"] is not None for row in made.rows)
    batch = made.in_training(made.rows)
    lengths = batch["attention_mask"].sum(1).tolist()
    assert lengths == [row["n_prompt_tokens"] + row["n_completion_tokens"] for row in made.rows]
    assert max(lengths) <= 620
    seen: dict[str, list[int | None]] = {}
    for row in made.rows:
        seen.setdefault(row["sample_id"], []).append(row["window"])
    assert all(found in ([None], list(range(len(found)))) for found in seen.values())
    # Each window is asked as inference asks the window with the same turns.
    ids_of_rows = batch["input_ids"].tolist()
    for row, ids in zip(made.rows, ids_of_rows, strict=True):
        sample = made.samples[row["sample_id"]]
        text = "".join(part["text"] or "" for part in row["prompt"][0]["content"])
        marks = [f"<|utt_id_start|>{turn.utt_id}<|utt_id_end|> " for turn in sample.dialogue.turns]
        places = [place for place, mark in enumerate(marks) if mark in text]
        view = whole(sample)
        if row["window"] is not None:
            view = view_of(sample, row["window"], places[0], places[-1] + 1)
        inputs = made.at_inference(view.sample)
        assert ids[: row["n_prompt_tokens"]] == inputs["input_ids"][0].tolist()
        if row["images"]:
            assert torch.equal(made.in_training([row])["pixel_values"], inputs["pixel_values"])
        answer = parse_answer(row["completion"][0]["content"][0]["text"], "strict")
        assert Fragment(answer.utt_ids, answer.img_ids) == gold_in(sample, view)


def test_windows_of_grpo_have_their_own_ids(
    make: Callable[..., Result], mixed: Path, tmp_path: Path
) -> None:
    options = ("--max-length", 680, "--max-completion", 128)
    assert make(mixed, "grpo", *options).code == 0
    rows = _rows(tmp_path / "out")
    windows = [row for row in rows if row["sample_id"] == "three#0" and row["window"] is not None]
    assert windows
    for row in windows:
        text = "".join(part.get("text", "") for part in row["prompt"][0]["content"])
        assert row["img_ids"] == list(range(len(row["img_ids"])))
        assert len(row["image_turn"]) == len(row["img_ids"])
        assert all(f"<|utt_id_start|>{i}<|utt_id_end|> " in text for i in row["utt_ids"])
        answer = parse_answer(row["solution"], "strict")
        assert set(answer.utt_ids) == {10, 14} & set(row["utt_ids"])
        assert row["n_prompt_tokens"] + 128 <= 680
    assert read_manifest(tmp_path / "out").max_new_tokens == 128


def test_a_turn_too_long_for_any_window_is_named(
    make: Callable[..., Result], dialogues: Dialogues, tmp_path: Path
) -> None:
    long = "word " * 900
    benchmark = dialogues(
        "long",
        [
            ("short", "train", ["hello there", "how are you"]),
            ("hopeless", "train", ["hello", long, "bye"]),
            ("many", "train", ["the rain falls on the window again"] * 60),
        ],
    )
    assert make(benchmark, "sft", "--max-length", 900, "--json", tmp_path / "r.json").code == 0
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [one["sample_id"] for one in report["left_out"]] == ["hopeless#0"]
    assert report["left_out"][0]["n_tokens"] > 900
    assert report["counts"]["dropped_turn"] == 1
    assert report["counts"]["windowed"] == 1
    assert report["counts"]["whole"] == 1
    assert "hopeless\\#0" in (tmp_path / "out/report.md").read_text(encoding="utf-8")
    many = [row for row in _rows(tmp_path / "out") if row["sample_id"] == "many#0"]
    empty = [row for row in many if "[]" in row["completion"][0]["content"][0]["text"][:25]]
    assert report["counts"]["windows_without_gold"] == len(empty) == len(many) - 1


def test_too_long_samples_can_be_left_out(
    make: Callable[..., Result], dialogues: Dialogues, tmp_path: Path
) -> None:
    benchmark = dialogues(
        "long",
        [
            ("short", "train", ["hello there", "how are you"]),
            ("many", "train", ["the rain falls on the window again"] * 60),
        ],
    )
    result = make(benchmark, "sft", "--max-length", 900, "--overlong", "filter")
    assert result.code == 0
    assert "left out  1 sample" in result.out
    manifest = read_manifest(tmp_path / "out")
    assert (manifest.counts["filtered"], manifest.n_rows) == (1, 1)
    assert manifest.overlong == "filter"


def test_where_nothing_fits_nothing_is_written(
    make: Callable[..., Result], dialogues: Dialogues, tmp_path: Path
) -> None:
    benchmark = dialogues("small", [("short", "train", ["hello there"])])
    result = make(benchmark, "sft", "--max-length", 50)
    assert result.code == 2
    assert "no row is left" in result.err
    assert not (tmp_path / "out").exists()
    refused = make(benchmark, "grpo", "--max-length", 900, "--max-completion", 900)
    assert refused.code == 2
    assert "--max-completion" in refused.err


def test_the_models_context_is_a_limit(
    make: Callable[..., Result], dialogues: Dialogues, tmp_path: Path
) -> None:
    text = "the rain falls on the window again and again until the morning"
    benchmark = dialogues("long", [("many", "train", [text] * 200)])
    result = make(benchmark, "sft")
    assert result.code == 0
    assert "reads 4,096 tokens at most" in result.out
    assert read_manifest(tmp_path / "out").max_length == 4096
    assert len(_rows(tmp_path / "out")) > 1


def test_sums_of_turns_save_measuring() -> None:
    turns = tuple(Turn(i, "S", "x" * 40) for i in range(300))
    sample = Sample("d#0", Dialogue("d", turns, (), "en"), "q", "train", Fragment((3,), ()))
    lengths = LettersAsTokens()
    fitter = Fitter(cast("Lengths", lengths), Wording("en"), Limits(2000))
    (found,) = fitter.measured([sample])
    windows = fitter.windows(sample, found)
    assert windows is not None
    assert len(windows) < lengths.n_measured < 4 * len(windows)


@pytest.mark.parametrize("length", [(700, 20), (601, 100)])
def test_room_for_the_answer(length: tuple[int, int]) -> None:
    assert Limits(720).allow(Length(*length)) == (sum(length) <= 720)
    assert Limits(720, 100).allow(Length(620, 100))
    assert not Limits(720, 100).allow(Length(621, 5))
    assert not Limits(720, 100).allow(Length(100, 101))


def test_windows_without_gold_can_be_fewer(
    make: Callable[..., Result], dialogues: Dialogues, tmp_path: Path
) -> None:
    benchmark = dialogues(
        "many",
        [(f"many{k}", "train", [f"the rain falls on window {k} again"] * 60) for k in range(3)],
    )
    small = ("--max-length", 900)

    def answers(*more: object) -> list[tuple[str, bool]]:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        result = make(benchmark, "sft", *small, *more)
        assert result.code == 0
        said.append(result.out)
        return [
            (row["sample_id"], "[]" in row["completion"][0]["content"][0]["text"][:25])
            for row in _rows(tmp_path / "out")
        ]

    said: list[str] = []
    every = answers()
    assert sum(not empty for _, empty in every) == 3
    assert "--empty-windows 1" in said[-1]
    one = answers("--empty-windows", 1)
    assert [empty for _, empty in one].count(True) == 3
    assert [row for row in every if not row[1]] == [row for row in one if not row[1]]
    assert f"{len(every) - 6:,} are left out" in said[-1].replace("of which ", "")
    assert one == answers("--empty-windows", 1)
    assert all(not empty for _, empty in answers("--empty-windows", 0))
    assert answers("--empty-windows", 1000) == every
