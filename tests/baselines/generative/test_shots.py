"""Examples: of every kind, of many dialogues, and the same ones whenever they are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.generative.options import GenerativeOptions
from baselines.generative.shots import KIND_ORDER, choose_shots
from ffr_eval.errors import InputError
from ffr_eval.types import Dialogue, Fragment, Image, Kind, Sample, Turn

GOLD = {
    Kind.MULTIMODAL: Fragment((0,), (0,)),
    Kind.UTTERANCE: Fragment((0,), ()),
    Kind.IMAGE: Fragment((), (0,)),
    Kind.NEGATIVE: Fragment(),
}


def sample(dialogue: str, kind: Kind, *, turns: int = 3, file: str | None = "a.png") -> Sample:
    images = (Image(0, None if file is None else Path(file), caption="c"),)
    spoken = tuple(Turn(i, "A", "x", (0,) if i == 0 else ()) for i in range(turns))
    name = f"{dialogue}#{kind.value}"
    return Sample(name, Dialogue(dialogue, spoken, images), "q", "dev", GOLD[kind])


def choose(samples: list[Sample], shots: int, **options: Any) -> list[str]:
    return choose_shots(samples, GenerativeOptions(shots=shots, **options))


def kinds(names: list[str]) -> list[str]:
    return [name.partition("#")[2] for name in names]


def dialogues(names: list[str]) -> list[str]:
    return [name.partition("#")[0] for name in names]


POOL = [sample(f"d{number}", kind) for number in range(6) for kind in KIND_ORDER]


def test_kinds_take_turns_and_dialogues_are_not_repeated() -> None:
    chosen = choose(POOL, 6)
    order = [kind.value for kind in KIND_ORDER]
    assert kinds(chosen) == [*order, *order[:2]]
    assert len(set(dialogues(chosen))) == 6
    again = choose(POOL, 12)
    assert len(set(again)) == 12
    assert all(dialogues(again).count(name) == 2 for name in dialogues(again))


def test_a_kind_that_is_not_there_is_passed_over() -> None:
    pool = [one for one in POOL if not one.sample_id.endswith(("image", "negative"))]
    assert kinds(choose(pool, 4)) == ["multimodal", "utterance", "multimodal", "utterance"]
    few = [*pool, sample("d9", Kind.NEGATIVE)]
    assert kinds(choose(few, 5)) == [
        *("multimodal", "utterance", "negative", "multimodal", "utterance")
    ]


@pytest.mark.parametrize("seed", range(8))
def test_a_rare_kind_gets_its_only_dialogue(seed: int) -> None:
    pool = [sample(f"d{number}", Kind.MULTIMODAL) for number in range(3)]
    pool += [sample("d0", Kind.NEGATIVE)]
    chosen = choose(pool, 2, seed=seed)
    assert kinds(chosen) == ["multimodal", "negative"]
    assert len(set(dialogues(chosen))) == 2


def test_one_dialogue_is_used_again_only_if_there_is_no_other() -> None:
    pool = [sample("d0", kind) for kind in KIND_ORDER]
    assert kinds(choose(pool, 4)) == [kind.value for kind in KIND_ORDER]


@given(order=st.permutations(POOL), shots=st.integers(1, 24), seed=st.integers(-3, 99))
def test_the_choice_depends_on_seed_and_samples_only(
    order: list[Sample], shots: int, seed: int
) -> None:
    chosen = choose(order, shots, seed=seed)
    assert chosen == choose(POOL, shots, seed=seed)
    assert chosen == choose(POOL, 24, seed=seed)[:shots]  # a few are the first of many
    assert len(set(chosen)) == shots


def test_another_seed_gives_other_examples() -> None:
    assert len({tuple(choose(POOL, 4, seed=seed)) for seed in range(10)}) > 5


def test_no_examples_of_long_dialogues() -> None:
    pool = [sample("long", Kind.MULTIMODAL, turns=9), sample("short", Kind.NEGATIVE, turns=8)]
    assert choose(pool, 1, shot_turns=8) == ["short#negative"]
    assert len(choose(pool, 2, shot_turns=9)) == 2


def test_no_examples_whose_pictures_cannot_be_shown() -> None:
    pool = [sample("d0", Kind.MULTIMODAL, file=None), sample("d1", Kind.UTTERANCE)]
    assert choose(pool, 1) == ["d1#utterance"]
    assert choose(pool, 2, images="text_only") == ["d0#multimodal", "d1#utterance"]


def test_too_few_examples_say_why_and_what_to_change() -> None:
    pool = [
        sample("a", Kind.UTTERANCE),
        *(sample("b", kind, turns=50) for kind in KIND_ORDER[:2]),
        sample("c", Kind.IMAGE, file=None),
    ]
    with pytest.raises(InputError) as refused:
        choose(pool, 3)
    problem = refused.value.problem
    assert problem.field == "option shots"
    assert problem.message.startswith("3 examples are wanted, and 1 of the 4 samples")
    assert "2 are in dialogues of more than 40 turns" in problem.message
    assert "1 are in dialogues with images that have no file" in problem.message
    assert problem.remedy is not None
    for hint in ("-o shots=1", "-o shot_turns", "-o images=text_only", "--tune-on"):
        assert hint in problem.remedy


def test_an_empty_split_has_no_examples() -> None:
    with pytest.raises(InputError, match="0 of the 0 samples") as refused:
        choose([], 1)
    assert "shots=0" not in str(refused.value)
