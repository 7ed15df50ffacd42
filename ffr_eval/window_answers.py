"""The answer of a sample that was asked in windows, read from the raw answers of its windows.

A long dialogue may not fit into a model's context. It is then shown in overlapping windows, and
each window has a record among the ``steps`` of the prediction. The records are the truth: whatever
the line says else, ids and outcome are derived from them again when it is scored.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import msgspec

from ffr_eval.answer import Answer, parse_answer
from ffr_eval.errors import InputError
from ffr_eval.types import ANSWERED, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ffr_eval.answer import ParseMode
    from ffr_eval.types import Prediction

READ_AGAIN: Final = frozenset({Outcome.OK, Outcome.EMPTY, Outcome.PARSE_ERROR})
"""Outcomes that follow from the text; the others come from what the server or engine said."""

Merge: TypeAlias = Literal["union", "vote", "score"]

_INVENTED: Final = 2**40  # ids that a window did not show move here
_STEP: Final = "window"
"""The field that tells the record of a window from other steps."""

_Id: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class WindowRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked and answered in one window; a record among the ``steps`` of a prediction.

    Attributes:
        window: Its number, from 0 in the order of the dialogue.
        merge: How the answers of all windows become one.
        shown_utt_ids: The utterances that it showed.
        shown_img_ids: The images that it showed; the window's own image id ``k`` stands for the
            ``k``-th of them.
        response: The raw text, in the window's own image ids.
        outcome: How asking ended; followed if the server or engine said so, otherwise the response
            decides.
        logprobs: Has the ``token_logprobs`` that ``score`` weighs by.
    """

    window: Annotated[int, msgspec.Meta(ge=0)]
    merge: Merge
    shown_utt_ids: tuple[_Id, ...]
    shown_img_ids: tuple[_Id, ...]
    response: str | None
    outcome: Outcome
    finish_reason: str | None = None
    model: str | None = None
    usage: dict[str, int] | None = None
    latency_s: float | None = None
    cost: float | None = None
    logprobs: dict[str, Any] | None = None
    error: str | None = None
    meta: dict[str, Any] | None = None


def window_records(
    prediction: Prediction, file: Path | None = None, line: int | None = None
) -> tuple[WindowRecord, ...]:
    """The windows that a sample was asked in, by their numbers; none if it was asked at once.

    Args:
        prediction: A prediction; one with a response was asked at once, whatever steps it has.
        file: Where it is from.
        line: Its line there.

    Raises:
        InputError: If the record of a window is malformed, or they do not belong together.
    """
    if prediction.response is not None or not prediction.steps:
        return ()
    found: dict[int, WindowRecord] = {}
    for place, step in enumerate(prediction.steps):
        if _STEP not in step:
            continue
        record = _record(step, place, file, line)
        where = f"steps[{place}]"
        if record.window in found:
            message, field = f"window {record.window} stands twice", f"{where}.window"
        elif any(record.merge != other.merge for other in found.values()):
            message, field = "not the same in all windows of the sample", f"{where}.merge"
        elif record.outcome is Outcome.MISSING:
            message, field = "'missing' is not written", f"{where}.outcome"
        elif record.merge == "score" and _has_text(record) and weight_of(record.logprobs) is None:
            message = "no token_logprobs, by which the merge rule 'score' weighs"
            field = f"{where}.logprobs"
        else:
            found[record.window] = record
            continue
        remedy = "leave the steps as `ffr run` wrote them"
        raise InputError(message, file=file, line=line, field=field, remedy=remedy)
    return tuple(record for _, record in sorted(found.items()))


def _record(
    step: Mapping[str, Any], place: int, file: Path | None, line: int | None
) -> WindowRecord:
    from ffr_eval.jsonl import problem

    try:
        return msgspec.convert(dict(step), WindowRecord)
    except msgspec.ValidationError as error:
        found = problem(error, file, line).problem
        field = f"steps[{place}].{found.field}" if found.field else f"steps[{place}]"
        raise InputError(
            found.message, file=file, line=line, field=field, remedy=found.remedy
        ) from None


def merge_answers(windows: Sequence[WindowRecord], parse: ParseMode) -> Answer:
    """What the answers of the windows say together.

    Ids come in the order of the windows, each once. Under ``union`` all are kept. Under ``vote``
    an id is kept if more than half of the windows that showed it chose it, and under ``score``
    likewise, each window counting as much as the mean probability of its tokens. Windows without a
    usable answer have no vote.

    An id that a window did not show, but named, is invented, also if another window showed it. It
    becomes a number that no dialogue has, and is kept under every rule.

    The outcome is ``request_error`` if a window ended so: an outage must not look like a weaker
    answer. Else it is ``ok`` if there are ids, else that of the first window without a usable
    answer, else ``empty``.

    Args:
        windows: The windows of one sample.
        parse: How responses are read.
    """
    answers = [_answer(window, parse) for window in windows]
    failed = [answer.outcome for answer in answers if answer.outcome not in ANSWERED]
    if Outcome.REQUEST_ERROR in failed:
        return Answer((), (), Outcome.REQUEST_ERROR)
    voters = [
        (window, answer)
        for window, answer in zip(windows, answers, strict=True)
        if answer.outcome in ANSWERED
    ]
    weights = None if windows[0].merge == "union" else [_weight(window) for window, _ in voters]
    utt_ids = _kept(
        [_utterances(answer, window) for window, answer in voters],
        [window.shown_utt_ids for window, _ in voters],
        weights,
    )
    img_ids = _kept(
        [_images(answer, window) for window, answer in voters],
        [window.shown_img_ids for window, _ in voters],
        weights,
    )
    if utt_ids or img_ids:
        return Answer(utt_ids, img_ids, Outcome.OK)
    return Answer((), (), failed[0] if failed else Outcome.EMPTY)


def read_answer(prediction: Prediction, parse: ParseMode) -> Answer:
    """The answer that a prediction counts as: the raw text is the truth where there is some.

    Args:
        prediction: Its ids count only if it has neither a response nor records of windows.
        parse: How responses are read.

    Raises:
        InputError: If the record of a window is malformed.
    """
    outcome = prediction.outcome
    windows = window_records(prediction)
    if windows and (outcome in READ_AGAIN or any(w.outcome is outcome for w in windows)):
        return merge_answers(windows, parse)
    if outcome not in READ_AGAIN:
        return Answer((), (), outcome)
    if prediction.response is not None:
        return parse_answer(prediction.response, parse)
    if outcome not in ANSWERED:
        return Answer((), (), outcome)
    fragment = prediction.payload
    found = Outcome.OK if fragment.utt_ids or fragment.img_ids else Outcome.EMPTY
    return Answer(tuple(fragment.utt_ids), tuple(fragment.img_ids), found)


def weight_of(logprobs: Mapping[str, Any] | None) -> float | None:
    """The mean probability of an answer's tokens: ``exp`` of their mean log-probability.

    Tokens without a finite one are left out; ``None`` if there are no others.
    """
    values = (logprobs or {}).get("token_logprobs")
    if not isinstance(values, list | tuple):
        return None
    known = [
        float(value) for value in values if isinstance(value, float | int) and math.isfinite(value)
    ]
    return math.exp(min(math.fsum(known) / len(known), 0.0)) if known else None


def apart(local: int, window: int) -> int:
    """An id for what a window does not have; equal ones only of the same window."""
    return local if local < 0 else local % _INVENTED + _INVENTED * (window + 1)


def _has_text(window: WindowRecord) -> bool:
    return window.outcome in READ_AGAIN and bool(window.response)


def _answer(window: WindowRecord, parse: ParseMode) -> Answer:
    if window.outcome not in READ_AGAIN:
        return Answer((), (), window.outcome)
    return parse_answer(window.response or "", parse)


def _weight(window: WindowRecord) -> float:
    weight = weight_of(window.logprobs) if window.merge == "score" else 1.0
    return 0.0 if weight is None else weight


def _utterances(answer: Answer, window: WindowRecord) -> list[int]:
    """Utterance ids keep their numbers in windows, so an invented one is the same in all."""
    shown = frozenset(window.shown_utt_ids)
    return [utt_id if utt_id in shown else apart(utt_id, 0) for utt_id in answer.utt_ids]


def _images(answer: Answer, window: WindowRecord) -> list[int]:
    """The dialogue's image ids of those of the window; an invented one stands for itself only."""
    shown = window.shown_img_ids
    return [
        shown[local] if 0 <= local < len(shown) else apart(local, window.window)
        for local in answer.img_ids
    ]


def _kept(
    chosen: Sequence[Sequence[int]],
    shown: Sequence[Sequence[int]],
    weights: Sequence[float] | None,
) -> tuple[int, ...]:
    """The ids that have most of the weight of the windows that showed them; else all."""
    every = tuple(dict.fromkeys(number for ids in chosen for number in ids))
    if weights is None:
        return every
    windows = [
        (frozenset(ids), frozenset(seen), weight)
        for ids, seen, weight in zip(chosen, shown, weights, strict=True)
    ]

    def is_kept(number: int) -> bool:
        for_it = math.fsum(weight for ids, _, weight in windows if number in ids)
        return 2 * for_it > math.fsum(weight for _, seen, weight in windows if number in seen)

    return tuple(number for number in every if is_kept(number))
