"""Windows over long dialogues, and one prediction of what was answered in them."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from baselines.generative.chat import Completion
from baselines.generative.windows import joined, merged_reach
from ffr_eval.dialogue_views import View, fitting, sliding, whole
from ffr_eval.errors import InputError
from ffr_eval.markup import answer_text
from ffr_eval.prediction_file import encode_prediction, read_predictions
from ffr_eval.types import Dialogue, Fragment, Image, Kind, Outcome, Sample, Turn
from ffr_eval.window_answers import read_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


def sample_of(n_turns: int, images: dict[int, tuple[int, ...]] | None = None) -> Sample:
    """Turn ``k`` has utterance id ``10 + 2k`` and the images given for it."""
    shown = images or {}
    turns = tuple(
        Turn(10 + 2 * k, "S", f"text {k}", shown.get(k, ()), f"{k}:00") for k in range(n_turns)
    )
    img_ids = dict.fromkeys(img_id for ids in shown.values() for img_id in ids)
    dialogue = Dialogue("d", turns, tuple(Image(i, caption=f"picture {i}") for i in img_ids), "en")
    return Sample("d#0", dialogue, "q", gold=Fragment((10,), ()), kind=Kind.UTTERANCE)


def places(view: View) -> tuple[int, int]:
    """The first turn of a window, and the turn after its last one."""
    first, *_, last = [(turn.utt_id - 10) // 2 for turn in view.sample.dialogue.turns] * 2
    assert [turn.utt_id for turn in view.sample.dialogue.turns] == [
        10 + 2 * k for k in range(first, last + 1)
    ]
    return first, last + 1


def check_windows(views: Sequence[View], n_turns: int) -> list[tuple[int, int]]:
    """Windows in order that leave no turn out, none of which holds another."""
    assert [view.part for view in views] == list(range(len(views)))
    found = [places(view) for view in views]
    assert found[0][0] == 0
    assert found[-1][1] == n_turns
    for (start, stop), (next_start, next_stop) in pairwise(found):
        assert start < next_start <= stop < next_stop
    return found


# --- what a window shows -------------------------------------------------------------------------


def test_images_are_numbered_anew_in_each_window() -> None:
    sample = sample_of(6, {0: (4,), 1: (7, 5), 4: (5, 9), 5: (5,)})
    first, second = sliding(sample, 4, 2)
    assert (first.img_ids, second.img_ids) == ((4, 7, 5), (5, 9))
    assert [turn.img_ids for turn in first.sample.dialogue.turns] == [(0,), (1, 2), (), ()]
    assert [turn.img_ids for turn in second.sample.dialogue.turns] == [(), (), (0, 1), (0,)]
    shown = [(image.img_id, image.caption) for image in second.sample.dialogue.images]
    assert shown == [(0, "picture 5"), (1, "picture 9")]
    assert [turn.utt_id for turn in second.sample.dialogue.turns] == [14, 16, 18, 20]
    assert second.sample.dialogue.turns[0] == sample.dialogue.turns[2]  # time, speaker, text
    assert (second.sample.sample_id, second.sample.dialogue.dialogue_id) == ("d#0", "d")


def test_a_window_has_no_gold() -> None:
    sample = sample_of(6)
    assert [(v.sample.gold, v.sample.kind) for v in sliding(sample, 4)] == [(None, None)] * 2
    assert whole(sample).sample is sample


def test_images_that_no_turn_shows_are_in_no_window() -> None:
    sample = sample_of(6, {0: (1,), 5: (2,)})
    dialogue = Dialogue("d", sample.dialogue.turns, (*sample.dialogue.images, Image(3)))
    sample = Sample("d#0", dialogue, "q")
    assert [view.img_ids for view in sliding(sample, 3)] == [(1,), (), (2,)]
    assert whole(sample).sample.dialogue.images[-1] == Image(3)


# --- windows of a fixed size ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_turns", "window", "stride", "starts"),
    [
        (10, 4, 3, [0, 3, 6]),
        (11, 4, 3, [0, 3, 6, 7]),
        (10, 4, 4, [0, 4, 6]),
        (5, 4, 1, [0, 1]),
        (3, 1, 1, [0, 1, 2]),
        (12, 8, None, [0, 4]),  # the default stride is 6; the last window is moved to the end
        (100, 40, None, [0, 30, 60]),
    ],
)
def test_sliding_windows(n_turns: int, window: int, stride: int | None, starts: list[int]) -> None:
    found = check_windows(sliding(sample_of(n_turns), window, stride), n_turns)
    assert found == [(start, start + window) for start in starts]


def test_every_sliding_window_is_sound() -> None:
    for n_turns in range(1, 14):
        for window in range(1, n_turns):
            for stride in range(1, window + 1):
                found = check_windows(sliding(sample_of(n_turns), window, stride), n_turns)
                assert {stop - start for start, stop in found} == {window}


@pytest.mark.parametrize("n_turns", [0, 1, 7, 8])
def test_a_dialogue_no_longer_than_a_window_stays_whole(n_turns: int) -> None:
    sample = sample_of(n_turns, {0: (3,)} if n_turns else {})
    assert sliding(sample, 8) == [View(0, sample, None)]


@pytest.mark.parametrize(
    ("window", "stride", "field"), [(0, None, "window"), (4, 5, "stride"), (4, 0, "stride")]
)
def test_windows_that_would_leave_turns_out_are_refused(
    window: int, stride: int | None, field: str
) -> None:
    with pytest.raises(InputError) as refused:
        sliding(sample_of(10), window, stride)
    assert refused.value.problem.field == f"option {field}"
    assert refused.value.problem.remedy


# --- windows that fit ----------------------------------------------------------------------------


def budget(sizes: Sequence[int], limit: int) -> tuple[Callable[[View], bool], list[int]]:
    """Fits if the turns' sizes are within the limit; and a list of one item a call."""
    calls: list[int] = []

    def fits(view: View) -> bool:
        calls.append(view.part)
        turns = view.sample.dialogue.turns
        return sum(sizes[(turn.utt_id - 10) // 2] for turn in turns) <= limit

    return fits, calls


def test_what_fits_stays_whole() -> None:
    sample = sample_of(50)
    fits, calls = budget([1] * 50, 50)
    assert fitting(sample, fits) == [whole(sample)]
    assert len(calls) == 1


def test_equal_turns_make_windows_that_overlap_by_a_quarter() -> None:
    fits, calls = budget([1] * 100, 40)
    views = fitting(sample_of(100), fits)
    assert views is not None
    assert check_windows(views, 100) == [(0, 40), (30, 70), (60, 100)]
    assert len(calls) <= 30  # of 5,050 windows that there are
    assert views[1].img_ids == ()


def test_the_last_window_reaches_back_as_far_as_fits() -> None:
    fits, _ = budget([1] * 75, 40)
    views = fitting(sample_of(75), fits)
    assert views is not None
    assert check_windows(views, 75) == [(0, 40), (30, 70), (35, 75)]


def test_a_long_turn_takes_the_room_of_the_overlap() -> None:
    sizes = [1] * 20 + [38] + [1] * 20
    fits, _ = budget(sizes, 40)
    views = fitting(sample_of(41), fits)
    assert views is not None
    found = check_windows(views, 41)
    assert all(sum(sizes[start:stop]) <= 40 for start, stop in found)
    assert any(start <= 20 < stop for start, stop in found)


def test_a_turn_that_does_not_fit_alone() -> None:
    for place in (0, 7, 19):
        sizes = [1] * 20
        sizes[place] = 11
        assert fitting(sample_of(20), budget(sizes, 10)[0]) is None
    assert fitting(sample_of(0), lambda _: False) is None


def test_fitting_windows_are_sound_whatever_the_turns() -> None:
    drawn = random.Random(7)
    for _ in range(300):
        n_turns = drawn.randint(1, 60)
        sizes = [drawn.choice((1, 1, 2, 3, 5, 30)) for _ in range(n_turns)]
        limit = drawn.randint(30, 80)
        fits, calls = budget(sizes, limit)
        views = fitting(sample_of(n_turns), fits)
        assert views is not None
        if len(views) == 1:
            assert sum(sizes) <= limit
            continue
        found = check_windows(views, n_turns)
        for start, stop in found:
            assert sum(sizes[start:stop]) <= limit
        for start, stop in found[:-1]:
            assert sum(sizes[start : stop + 1]) > limit  # as large as fits
        assert fitting(sample_of(n_turns), fits) == views
        assert len(calls) <= 2 * (1 + 14 * len(views))


# --- one prediction ------------------------------------------------------------------------------


def said(utts: Sequence[int], imgs: Sequence[int] = (), **more: Any) -> Completion:
    return Completion(answer_text(utts, imgs), **more)


def test_one_view_is_a_plain_prediction() -> None:
    sample = sample_of(3, {0: (4,)})
    done = said(
        (10, 99),
        (4,),
        finish_reason="stop",
        model="m-1",
        usage={"prompt_tokens": 5},
        latency_s=1.5,
        cost=0.25,
        logprobs={"token_logprobs": [-1.0]},
        meta={"attempts": 2, "cached": False},
    )
    found = joined(sample, [whole(sample)], [done], "vote", ((10, 12), ()))
    assert (found.sample_id, found.outcome) == ("d#0", Outcome.OK)
    assert found.payload == Fragment((10, 99), (4,))
    assert found.response == done.text
    assert found.steps is None
    assert (found.finish_reason, found.model, found.usage) == ("stop", "m-1", {"prompt_tokens": 5})
    assert (found.latency_s, found.cost) == (1.5, 0.25)
    assert found.logprobs == {"token_logprobs": [-1.0]}
    assert found.meta == {"attempts": 2, "cached": False}
    assert (found.reached_utt_ids, found.reached_img_ids) == ((10, 12), ())


@pytest.mark.parametrize(
    ("done", "outcome", "response"),
    [
        (Completion("I am not sure."), "parse_error", "I am not sure."),
        (Completion(""), "parse_error", ""),
        (Completion(None), "parse_error", None),
        (said((), ()), "empty", answer_text([], [])),
        (said((10,), outcome=Outcome.TRUNCATED), "truncated", answer_text([10], [])),
        (Completion(None, Outcome.REQUEST_ERROR, "503"), "request_error", None),
        (Completion(None, Outcome.REFUSAL), "refusal", None),
    ],
)
def test_a_failure_is_never_an_empty_answer(
    done: Completion, outcome: str, response: str | None
) -> None:
    sample = sample_of(3)
    found = joined(sample, [whole(sample)], [done], "union", None)
    assert (found.outcome, found.response) == (outcome, response)
    assert found.payload == Fragment()
    assert found.meta == ({"error": "503"} if done.error else None)
    assert found.reached_utt_ids is None
    assert found.reached_img_ids is None
    encode_prediction(found)


def windows_of(n_turns: int = 6, **images: Any) -> tuple[Sample, list[View]]:
    sample = sample_of(n_turns, {0: (0,), 2: (1,), 3: (2,), 5: (3,)} | images)
    return sample, sliding(sample, 4, 2)  # turns 0-3 with images 0 1 2, turns 2-5 with 1 2 3


def test_windows_answer_in_the_ids_of_the_dialogue() -> None:
    sample, views = windows_of()
    done = [
        said((10, 14), (0, 1), usage={"a": 1, "b": 2}, cost=0.5, latency_s=1.0, model="m"),
        said((14, 20), (0, 2), usage={"a": 10}, latency_s=2.0, model="m", finish_reason="stop"),
    ]
    found = joined(sample, views, done, "union", ((10,), (0,)))
    assert found.outcome is Outcome.OK
    assert found.payload == Fragment((10, 14, 20), (0, 1, 3))
    assert (found.response, found.logprobs, found.finish_reason) == (None, None, None)
    assert (found.usage, found.cost, found.latency_s) == ({"a": 11, "b": 2}, 0.5, 3.0)
    assert (found.model, found.meta) == ("m", {"windows": 2})
    assert found.reached_utt_ids == (10,)
    steps = json.loads(encode_prediction(found))["steps"]
    assert len(steps) == 2
    assert steps[1] == {
        "window": 1,
        "merge": "union",
        "shown_utt_ids": [14, 16, 18, 20],
        "shown_img_ids": [1, 2, 3],
        "response": done[1].text,
        "outcome": "ok",
        "finish_reason": "stop",
        "model": "m",
        "usage": {"a": 10},
        "latency_s": 2.0,
    }


def test_no_window_knows_what_it_took() -> None:
    sample, views = windows_of()
    found = joined(sample, views, [said((10,)), said((20,))], "union", None)
    assert (found.usage, found.cost, found.latency_s, found.model) == (None, None, None, None)


def test_one_window_that_is_not_the_whole_keeps_its_numbers_apart() -> None:
    sample, views = windows_of()
    found = joined(sample, views[1:], [said((20,), (0,))], "union", None)
    assert found.payload == Fragment((20,), (1,))
    assert found.response is None


@pytest.mark.parametrize(
    ("done", "outcome", "n_ids"),
    [
        ([said((10,)), Completion(None, Outcome.REQUEST_ERROR, "503")], "request_error", 0),
        ([Completion("?"), Completion(None, Outcome.REQUEST_ERROR)], "request_error", 0),
        ([said((10,)), Completion("cut", Outcome.TRUNCATED)], "ok", 1),
        ([said(()), Completion("cut", Outcome.TRUNCATED)], "truncated", 0),
        ([Completion("?"), Completion(None, Outcome.REFUSAL)], "parse_error", 0),
        ([said(()), said(())], "empty", 0),
    ],
)
def test_the_outcome_of_several_windows(done: list[Completion], outcome: str, n_ids: int) -> None:
    sample, views = windows_of()
    found = joined(sample, views, done, "union", None)
    assert found.outcome == outcome
    assert len(found.payload.utt_ids) == n_ids


def test_what_went_wrong_in_windows_is_told() -> None:
    sample, views = windows_of()
    done = [
        said((10,), meta={"attempts": 3, "cached": True}),
        Completion(None, Outcome.REFUSAL, "no", meta={"attempts": 1, "cached": False}),
    ]
    found = joined(sample, views, done, "union", None)
    assert found.meta == {
        "windows": 2,
        "windows_without_answer": [1],
        "error": "window 1: no",
        "attempts": 4,
        "cached": False,
    }
    assert found.steps is not None
    assert found.steps[1]["error"] == "no"
    assert found.steps[1]["meta"] == {"attempts": 1, "cached": False}
    both = [said((10,), meta={"cached": True}), said((20,), meta={"cached": True})]
    assert joined(sample, views, both, "union", None).meta == {"windows": 2, "cached": True}


def test_scores_need_log_probabilities() -> None:
    sample, views = windows_of()
    sure, unsure = {"token_logprobs": [-0.1]}, {"token_logprobs": [-3.0]}
    done = [said((14, 10), logprobs=sure), said((20,), logprobs=unsure)]
    assert joined(sample, views, done, "score", None).payload.utt_ids == (14, 10, 20)
    done = [said((10,), logprobs=unsure), said((20,), logprobs=sure)]
    assert joined(sample, views, done, "score", None).payload.utt_ids == (10, 20)
    done = [said((14,), logprobs=unsure), said((20,), logprobs=sure)]
    assert joined(sample, views, done, "score", None).payload.utt_ids == (20,)
    found = joined(sample, views, [done[0], said((20,))], "score", None)
    assert found.outcome is Outcome.REQUEST_ERROR
    assert found.meta is not None
    assert "without log-probabilities" in found.meta["error"]


def test_what_is_scored_is_what_was_joined(tmp_path: Path) -> None:
    """A prediction that went through the file is read as it was made, for any answers and rule."""
    drawn = random.Random(3)
    sample = sample_of(12, {k: (k // 2,) for k in range(0, 12, 2)})
    made = []
    for _ in range(200):
        views = sliding(sample, drawn.randint(2, 11), 2)
        done = []
        for _ in views:
            outcome = drawn.choice([None] * 8 + [Outcome.TRUNCATED] * 3 + [Outcome.REQUEST_ERROR])
            text = answer_text(
                drawn.sample(range(10, 40), drawn.randint(0, 5)), drawn.sample(range(7), 2)
            )
            logprobs = {"token_logprobs": [drawn.uniform(-3, 0) for _ in range(3)]}
            done.append(
                Completion(
                    drawn.choice((text, answer_text([], []), "?")), outcome, logprobs=logprobs
                )
            )
        made.append(joined(sample, views, done, drawn.choice(("union", "vote", "score")), None))
    file = tmp_path / "predictions.jsonl"
    file.write_bytes(b"".join(map(encode_prediction, made)))
    outcomes = set()
    for prediction, located in zip(made, read_predictions(file), strict=True):
        found = read_answer(located.record, "lenient")
        assert (found.utt_ids, found.img_ids) == (
            prediction.payload.utt_ids,
            prediction.payload.img_ids,
        )
        assert found.outcome is prediction.outcome
        outcomes.add(found.outcome)
    assert {"ok", "request_error", "truncated"} <= outcomes


def test_reach_is_put_together_in_the_ids_of_the_dialogue() -> None:
    sample, views = windows_of()
    assert merged_reach(views, [((10, 12), (0, 2)), ((12, 20), (2,))]) == ((10, 12, 20), (0, 2, 3))
    assert merged_reach(views, [((10,), (0,)), None]) is None
    assert merged_reach([whole(sample)], [((10,), (3,))]) == ((10,), (3,))
