"""The requests of a run once more, from what its folder says: plugin of the group ``ffr.prompts``.

No engine is started and nothing is sent: ``run.json`` has the options, the benchmark has the
samples, and predictions have the windows and the hashes of what was sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict

from baselines.generative.options import GenerativeOptions, check_options
from baselines.generative.prompts import PromptBuilder
from baselines.generative.request_hash import PROMPTS, plain_messages, request_hash, schema_of
from baselines.generative.shots import shots_for
from baselines.model import hidden
from baselines.options import make_options
from ffr_eval.dialogue_views import sliding, view_of, whole
from ffr_eval.errors import FfrError, InputError
from ffr_eval.plugins import MODELS, load
from ffr_eval.types import Outcome
from ffr_eval.window_answers import window_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from baselines.generative.chat import Message
    from ffr_eval.benchmark import Benchmark
    from ffr_eval.dialogue_views import View
    from ffr_eval.runs import RunRecord
    from ffr_eval.types import Prediction, Sample
    from ffr_eval.window_answers import WindowRecord

NOTHING_SENT: Final = "nothing was sent: the prompt does not fit into the model's context"
NOT_KNOWN: Final = "it is not recorded what was sent of a prompt that did not fit"
NO_FILE: Final = "there is no such file any more, or it cannot be read"
OTHER_FILE: Final = "the template or system file is no longer what it was when the run was made"
OTHER_WORDING: Final = "the wording is no longer what it was when the run was made"
OTHER_REQUESTS: Final = "these are not the requests that were sent: their hashes differ"


class ImagePlace(TypedDict):
    """Which image of the benchmark a picture in a request is."""

    dialogue_id: str
    img_id: int


class Request(TypedDict):
    """A request.

    Attributes:
        part: Which window, from 0.
        utt_ids: The first and the last utterance that it shows.
        messages: ``{"role": …, "parts": [{"text": …} | {"img_id": …, "sha256": …}]}``; an image
            has its id in the message, which in windows and examples is not the dialogue's.
        images: For each image of the messages, in their order, which one of the benchmark it is.
    """

    part: int
    utt_ids: list[int]
    messages: list[dict[str, Any]]
    images: list[ImagePlace]


class RunPrompt(TypedDict):
    """What a run sent for a sample.

    Attributes:
        requests: One, or one a window; none if they cannot be made, or if nothing was sent.
        schema: The answer's schema, where it was sent beside the messages.
        exact: Whether they are what was sent: true if their hashes are those of the prediction,
            false if they are known to be others, ``None`` if that cannot be told.
        reason: Why there are no requests, or why they are not exact.
    """

    sample_id: str
    requests: list[Request]
    schema: dict[str, Any] | None
    exact: bool | None
    reason: str | None


def run_prompts(
    record: RunRecord, benchmark: Benchmark, predictions: Mapping[str, Prediction]
) -> Iterator[RunPrompt]:
    """Render again what a run sent for some samples.

    Only the wording is made again. Windows are those that the prediction recorded, as they may
    depend on an engine's own count of tokens. What a file in the options says (``template``,
    ``system=@FILE``) is shown only if it is what the run recorded: a run folder of others cannot
    name any file of this machine and have it published.

    Args:
        record: ``run.json``.
        benchmark: The benchmark of the run.
        predictions: The samples that are wanted, by their ids.

    Yields:
        One for each prediction, in their order; none at all for a model that sends no prompts.
        What goes wrong is a ``reason``.
    """
    if record.prompt_hash is None:
        return
    rendering: _Rendering | _Failed | None
    try:
        rendering = _rendering(record, benchmark)
    except FfrError as error:
        rendering = _Failed(_in_words(error))
    if rendering is None:
        return
    for sample_id, prediction in predictions.items():
        if isinstance(rendering, _Failed):
            yield _without(sample_id, None, rendering)
        else:
            yield rendering.prompt(sample_id, prediction)


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why there are no requests to show."""

    reason: str
    exact: bool | None = None


@dataclass(frozen=True, slots=True)
class _Rendering:
    """What makes the requests of a run.

    Attributes:
        same_wording: Whether the prompt hash is the run's.
    """

    benchmark: Benchmark
    options: GenerativeOptions
    builder: PromptBuilder
    shots: tuple[Sample, ...]
    same_wording: bool

    def prompt(self, sample_id: str, prediction: Prediction) -> RunPrompt:
        schema = schema_of(self.options)
        row = self.benchmark.row_of(sample_id)
        if row is None:
            return _without(sample_id, schema, _Failed("the benchmark has no such sample"))
        sent = _sent(prediction)
        try:
            views = self._views(hidden(self.benchmark.sample(row)), prediction, sent)
            if isinstance(views, _Failed):
                return _without(sample_id, schema, views)
            requests = [self._request(view) for view in views]
        except FfrError as error:
            return _without(sample_id, schema, _Failed(_in_words(error)))
        exact: bool | None = None
        reason = None
        if sent is not None:
            exact = sent == [request_hash(each["messages"], schema) for each in requests]
            reason = None if exact else OTHER_REQUESTS
        elif not self.same_wording:
            exact, reason = False, OTHER_WORDING
        return RunPrompt(
            sample_id=sample_id, requests=requests, schema=schema, exact=exact, reason=reason
        )

    def _views(
        self, sample: Sample, prediction: Prediction, sent: Sequence[str] | None
    ) -> list[View] | _Failed:
        """What each request showed of a sample."""
        windows = window_records(prediction)
        if windows:
            return [_recorded(sample, window) for window in windows]
        if self.options.window is not None:
            return sliding(sample, self.options.window, self.options.stride)
        if sent is not None and not sent:
            return _Failed(NOTHING_SENT, exact=True)
        refused = sent is None and prediction.outcome is Outcome.CONTEXT_OVERFLOW
        if refused or (sent is not None and len(sent) > 1):
            return _Failed(NOT_KNOWN)
        return [whole(sample)]

    def _request(self, view: View) -> Request:
        shots = shots_for(view.sample, self.shots)
        messages = self.builder.messages(view.sample, shots)
        turns = view.sample.dialogue.turns
        return Request(
            part=view.part,
            utt_ids=[turns[0].utt_id, turns[-1].utt_id] if turns else [],
            messages=plain_messages(messages),
            images=_places(messages, view, shots),
        )


def _rendering(record: RunRecord, benchmark: Benchmark) -> _Rendering | _Failed | None:
    """What makes the requests of a run; ``None`` if its model sends none.

    Raises:
        FfrError: If the model is not known here, or its options cannot be used.
    """
    kind = load(MODELS, record.model).Options
    if not issubclass(kind, GenerativeOptions):
        return None
    options = make_options(kind, record.options)
    assert isinstance(options, GenerativeOptions)  # noqa: S101 - of the type that was asked for
    check_options(options)
    files = _files(options)
    gone = next((file for file in files if not _is_file(file)), None)
    if gone is not None:
        return _Failed(f"{gone.name}: {NO_FILE}")
    builder = PromptBuilder(options)
    same = builder.hash == record.prompt_hash
    if files and not same:
        return _Failed(OTHER_FILE, exact=False)
    return _Rendering(benchmark, options, builder, _examples(record, benchmark, options), same)


def _files(options: GenerativeOptions) -> list[Path]:
    """The files that are part of the wording."""
    template, system = options.template, options.system
    named = [template, system[1:] if system is not None and system.startswith("@") else None]
    return [Path(name) for name in named if name is not None]


def _is_file(path: Path) -> bool:
    """Whether there is a plain file, and no device that never ends."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _examples(
    record: RunRecord, benchmark: Benchmark, options: GenerativeOptions
) -> tuple[Sample, ...]:
    """The examples of a run.

    Raises:
        InputError: If it is not recorded which ones, or they are not in the benchmark.
    """
    if not options.shots:
        return ()
    names = (record.selection or {}).get("shots")
    if not isinstance(names, list):
        raise InputError("it is not recorded which examples were shown")
    rows = [benchmark.row_of(str(name)) for name in names]
    found = tuple(benchmark.sample(row) for row in rows if row is not None)
    if len(found) < len(rows):
        raise InputError("the benchmark has not all of the examples")
    return found


def _recorded(sample: Sample, window: WindowRecord) -> View:
    """A window as a prediction recorded it.

    Raises:
        InputError: If it is no window of this dialogue.
    """
    utt_ids = [turn.utt_id for turn in sample.dialogue.turns]
    shown = list(window.shown_utt_ids)
    start = utt_ids.index(shown[0]) if shown and shown[0] in utt_ids else len(utt_ids)
    view = view_of(sample, window.window, start, start + len(shown))
    same = utt_ids[start : start + len(shown)] == shown and view.img_ids == window.shown_img_ids
    if not shown or not same:
        raise InputError("the windows of the prediction are not windows of the dialogue")
    return view


def _places(messages: Sequence[Message], view: View, shots: Sequence[Sample]) -> list[ImagePlace]:
    """Which images the pictures are; questions are those of the examples, then the sample's."""
    *examples, asked = (message for message in messages if message.role == "user")
    places = [
        ImagePlace(dialogue_id=shot.dialogue.dialogue_id, img_id=part.img_id)
        for shot, message in zip(shots, examples, strict=True)
        for part in message.parts
        if not isinstance(part, str)
    ]
    for part in asked.parts:
        if not isinstance(part, str):
            own = part.img_id if view.img_ids is None else view.img_ids[part.img_id]
            places.append(ImagePlace(dialogue_id=view.sample.dialogue.dialogue_id, img_id=own))
    return places


def _sent(prediction: Prediction) -> list[str] | None:
    """The hashes that a prediction recorded."""
    found = (prediction.meta or {}).get(PROMPTS)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        return None
    return found


def _without(sample_id: str, schema: dict[str, Any] | None, failed: _Failed) -> RunPrompt:
    return RunPrompt(
        sample_id=sample_id,
        requests=[],
        schema=schema,
        exact=failed.exact,
        reason=failed.reason,
    )


def _in_words(error: FfrError) -> str:
    """What went wrong, without paths of this machine."""
    if not isinstance(error, InputError):
        return str(error)
    problem = error.problem
    places = (None if problem.file is None else Path(problem.file).name, problem.field)
    return ": ".join([*(place for place in places if place), problem.message])
