"""Long dialogues in windows: what each request shows, and one prediction of all answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ffr_eval.answer import parse_answer
from ffr_eval.errors import InputError
from ffr_eval.types import ANSWERED, Dialogue, Fragment, Outcome, Prediction
from ffr_eval.window_answers import WindowRecord, merge_answers, weight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from baselines.generative.chat import Completion
    from ffr_eval.types import Sample
    from ffr_eval.window_answers import Merge

    Reach = tuple[tuple[int, ...], tuple[int, ...]]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class View:
    """What one request shows of a sample.

    Attributes:
        part: Its number, from 0.
        sample: The sample with only the turns of the window, and only the images that they show,
            numbered from 0 in order of appearance. Utterance ids stay, and so do all turns and
            images of a sample that is not split.
        img_ids: The dialogue's image id of each image id of the window; ``None`` if images are not
            renumbered.
    """

    part: int
    sample: Sample
    img_ids: tuple[int, ...] | None


def whole(sample: Sample) -> View:
    """The whole dialogue, untouched: images that no turn shows are still there."""
    return View(0, sample, None)


def sliding(sample: Sample, window: int, stride: int | None = None) -> list[View]:
    """Windows of ``window`` turns, one every ``stride`` turns, the last one aligned to the end.

    Every turn is in at least one window, and none holds another. Images that no turn shows are in
    none. A dialogue of at most ``window`` turns stays whole.

    Args:
        sample: With its dialogue.
        window: Turns of a window.
        stride: Turns from the start of a window to that of the next; by default three quarters of
            the window.

    Raises:
        InputError: If there is no window, or if turns would be between windows.
    """
    if stride is None:
        stride = max(1, window * 3 // 4)
    if window < 1:
        message = f"a window has at least 1 turn, not {window}"
        raise InputError(message, field="option window", remedy="give the number of turns")
    if not 1 <= stride <= window:
        message = f"a stride of {stride} with a window of {window}"
        remedy = f"give 1 to {window}: otherwise some turns would be in no window"
        raise InputError(message, field="option stride", remedy=remedy)
    last = len(sample.dialogue.turns) - window
    if last <= 0:
        return [whole(sample)]
    starts = [*range(0, last, stride), last]
    return [view_of(sample, part, start, start + window) for part, start in enumerate(starts)]


def fitting(sample: Sample, fits: Callable[[View], bool]) -> list[View] | None:
    """As few windows as possible, each as large as fits, sharing about a quarter with the next.

    The last window reaches back from the end as far as fits. The overlap is smaller where a long
    turn leaves no room for it. Windows are looked for as if a window never fits where a part of it
    does not; those returned have all been seen to fit.

    Args:
        sample: With its dialogue.
        fits: Whether a view fits into the context; it may be costly. It is called a few times for
            each window.

    Returns:
        The windows, or the whole dialogue if it fits; ``None`` if some turn alone does not,
        or the prompt without any.
    """
    if fits(whole(sample)):
        return [whole(sample)]
    n_turns = len(sample.dialogue.turns)
    known: dict[tuple[int, int], bool] = {(0, n_turns): False}
    bounds: list[tuple[int, int]] = []

    def fit(start: int, stop: int) -> bool:
        if (start, stop) not in known:
            known[start, stop] = fits(view_of(sample, len(bounds), start, stop))
        return known[start, stop]

    def fits_from(start: int, length: int) -> bool:
        return fit(start, start + length)

    def fits_with(turn: int, overlap: int) -> bool:
        return fit(turn - overlap, turn + 1)

    before, stop, size = -1, 0, max(n_turns // 2, 1)
    while stop < n_turns:
        begin = stop - (size // 4 if bounds else 0)
        least = stop - begin + 1
        found = _largest(partial(fits_from, begin), least, n_turns - begin, size)
        if found is None:  # a long turn: as much overlap as leaves room for it
            overlap = _largest(partial(fits_with, stop), 0, stop - begin - 1, stop - begin - 1)
            if overlap is None:
                return None
            begin, least = stop - overlap, overlap + 1
            found = _largest(partial(fits_from, begin), least, n_turns - begin, least) or least
        if bounds and begin + found == n_turns:
            most = n_turns - before - 1
            found = _largest(lambda n: fit(n_turns - n, n_turns), found, most, size) or found
            begin = n_turns - found
        before, stop, size = begin, begin + found, found
        bounds.append((begin, stop))
    return [view_of(sample, part, *bound) for part, bound in enumerate(bounds)] or None


def merged_reach(views: Sequence[View], found: Sequence[Reach | None]) -> Reach | None:
    """What reached the model in all windows together, in the dialogue's ids.

    Args:
        views: The windows.
        found: Utterance ids and image ids that each window's prompt shows, images in the window's
            own ids; ``None`` where that is not known.

    Returns:
        ``None`` if it is not known of a window.
    """
    utt_ids: dict[int, None] = {}
    img_ids: dict[int, None] = {}
    for view, reach in zip(views, found, strict=True):
        if reach is None:
            return None
        utt_ids.update(dict.fromkeys(reach[0]))
        of = view.img_ids
        img_ids.update(dict.fromkeys(reach[1] if of is None else (of[local] for local in reach[1])))
    return tuple(utt_ids), tuple(img_ids)


def joined(
    sample: Sample,
    views: Sequence[View],
    completions: Sequence[Completion],
    merge: Merge,
    reached: Reach | None,
) -> Prediction:
    """The prediction of a sample whose views were all asked.

    One view of the whole dialogue gives a prediction with its raw text. Windows give one without:
    the raw texts are in its ``steps`` (see :class:`ffr_eval.window_answers.WindowRecord`), from
    which ids and outcome are derived here as when it is scored. ``usage``, ``cost`` and
    ``latency_s`` are sums over the windows, as far as they are known: what the sample took, however
    many windows are asked at once.

    Args:
        sample: Before it was split.
        views: What was shown.
        completions: What came of each view.
        merge: How the answers of windows become one. ``score`` needs log-probabilities: a window
            that was answered without them is a ``request_error``.
        reached: Utterance and image ids of the dialogue that reached the model, if that is known.
    """
    utts, imgs = (None, None) if reached is None else reached
    if len(views) == 1 and views[0].img_ids is None:
        prediction = _plain(sample, completions[0])
    else:
        prediction = _of_windows(sample, views, completions, merge)
    return replace(prediction, reached_utt_ids=utts, reached_img_ids=imgs)


def _plain(sample: Sample, completion: Completion) -> Prediction:
    outcome, fragment = completion.outcome, Fragment()
    if outcome is None:
        answer = parse_answer(completion.text or "")
        outcome, fragment = answer.outcome, Fragment(answer.utt_ids, answer.img_ids)
    return Prediction(
        sample.sample_id,
        outcome,
        fragment,
        completion.text,
        latency_s=completion.latency_s,
        usage=completion.usage,
        cost=completion.cost,
        finish_reason=completion.finish_reason,
        model=completion.model,
        logprobs=completion.logprobs,
        meta=_meta(completion) or None,
    )


def _of_windows(
    sample: Sample, views: Sequence[View], completions: Sequence[Completion], merge: Merge
) -> Prediction:
    windows = [
        _window(view, completion, merge)
        for view, completion in zip(views, completions, strict=True)
    ]
    answer = merge_answers(windows, "lenient")
    return Prediction(
        sample.sample_id,
        answer.outcome,
        Fragment(answer.utt_ids, answer.img_ids),
        latency_s=_sum(window.latency_s for window in windows),
        usage=_sums(window.usage for window in windows),
        cost=_sum(window.cost for window in windows),
        finish_reason=_common(window.finish_reason for window in windows),
        model=_common(window.model for window in windows),
        steps=tuple(msgspec.to_builtins(window) for window in windows),
        meta=_meta_of_windows(windows),
    )


def _window(view: View, completion: Completion, merge: Merge) -> WindowRecord:
    outcome, error = completion.outcome, completion.error
    if outcome is None:
        outcome = parse_answer(completion.text or "").outcome
        if merge == "score" and completion.text and weight_of(completion.logprobs) is None:
            outcome = Outcome.REQUEST_ERROR
            error = "answered without log-probabilities, by which merge=score weighs"
    dialogue, img_ids = view.sample.dialogue, view.img_ids
    if img_ids is None:
        img_ids = tuple(image.img_id for image in dialogue.images)
    return WindowRecord(
        window=view.part,
        merge=merge,
        shown_utt_ids=tuple(turn.utt_id for turn in dialogue.turns),
        shown_img_ids=img_ids,
        response=completion.text,
        outcome=outcome,
        finish_reason=completion.finish_reason,
        model=completion.model,
        usage=None if completion.usage is None else dict(completion.usage),
        latency_s=completion.latency_s,
        cost=completion.cost,
        logprobs=None if completion.logprobs is None else dict(completion.logprobs),
        error=error,
        meta=dict(completion.meta) or None,
    )


def _meta(completion: Completion) -> dict[str, Any]:
    error = {} if completion.error is None else {"error": completion.error}
    return {**completion.meta, **error}


def _meta_of_windows(windows: Sequence[WindowRecord]) -> dict[str, Any]:
    """What is worth knowing of all windows together; the rest is in their records."""
    meta: dict[str, Any] = {"windows": len(windows)}
    without = [window.window for window in windows if window.outcome not in ANSWERED]
    if without:
        meta["windows_without_answer"] = without
    errors = [f"window {window.window}: {window.error}" for window in windows if window.error]
    if errors:
        meta["error"] = "; ".join(errors)
    known = [window.meta or {} for window in windows]
    attempts = [found["attempts"] for found in known if isinstance(found.get("attempts"), int)]
    if attempts:
        meta["attempts"] = sum(attempts)
    if any("cached" in found for found in known):
        meta["cached"] = all(found.get("cached") is True for found in known)
    return meta


def view_of(sample: Sample, part: int, start: int, stop: int) -> View:
    """The turns ``start … stop - 1``; gold is left out, as its ids are of the whole dialogue."""
    turns = sample.dialogue.turns[start:stop]
    img_ids = tuple(dict.fromkeys(img_id for turn in turns for img_id in turn.img_ids))
    local = {img_id: place for place, img_id in enumerate(img_ids)}
    images = {image.img_id: image for image in sample.dialogue.images}
    dialogue = Dialogue(
        sample.dialogue.dialogue_id,
        tuple(
            replace(turn, img_ids=tuple(local[img_id] for img_id in turn.img_ids)) for turn in turns
        ),
        tuple(replace(images[img_id], img_id=place) for img_id, place in local.items()),
        sample.dialogue.language,
    )
    return View(part, replace(sample, dialogue=dialogue, gold=None, kind=None), img_ids)


def _largest(good: Callable[[int], bool], least: int, most: int, guess: int) -> int | None:
    """The largest number from ``least`` to ``most`` that is good; ``None`` if ``least`` is not.

    Numbers above one that is not good are taken for not good. From a guess it goes in growing
    steps until it is between two bounds, then by halves.
    """
    low, high, step = least - 1, most + 1, max(guess // 8, 1)
    while high - low > 1:
        bounded = low >= least and high <= most
        number = (low + high) // 2 if bounded else min(max(guess, low + 1), high - 1)
        if good(number):
            low, guess = number, number + step
        else:
            high, guess = number, number - step
        step *= 2
    return low if low >= least else None


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None


def _sums(values: Iterable[Mapping[str, int] | None]) -> dict[str, int] | None:
    known = [usage for usage in values if usage is not None]
    if not known:
        return None
    names = dict.fromkeys(name for usage in known for name in usage)
    return {name: sum(usage.get(name, 0) for usage in known) for name in names}


def _common(values: Iterable[T | None]) -> T | None:
    """The value that all windows have; ``None`` where they differ."""
    different = set(values)
    return different.pop() if len(different) == 1 else None
