"""Long dialogues in windows: one prediction of all their answers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ffr_eval.answer import parse_answer
from ffr_eval.types import ANSWERED, Fragment, Outcome, Prediction
from ffr_eval.window_answers import WindowRecord, merge_answers, weight_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from baselines.generative.chat import Completion
    from ffr_eval.dialogue_views import View
    from ffr_eval.types import Sample
    from ffr_eval.window_answers import Merge

    Reach = tuple[tuple[int, ...], tuple[int, ...]]

T = TypeVar("T")


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
