"""Models that answer in text: samples become prompts, completions become predictions."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from baselines.generative.chat import ChatRequest
from baselines.generative.options import GenerativeOptions, check_options
from baselines.generative.prompts import PromptBuilder, reached_ids
from baselines.generative.shots import choose_shots
from baselines.generative.windows import View, fitting, joined, sliding, whole
from baselines.model import Capabilities, Model, Preview, hidden
from baselines.session import Session
from ffr_eval.errors import FfrError, InputError
from ffr_eval.types import Outcome, Prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from baselines.generative.chat import Completion, Message
    from baselines.generative.engine import Engine
    from baselines.machine import Machine
    from ffr_eval.benchmark import Benchmark
    from ffr_eval.ragged import IntArray
    from ffr_eval.types import Image, Sample
    from ffr_eval.window_answers import Merge

ESTIMATE_MARGIN: Final = 1.15
"""Estimated lengths of prompts are taken to be so much longer where they must fit."""


class GenerativeModel(Model):
    """A model behind an engine; subclasses say which.

    Args:
        options: An instance of ``Options``.

    Raises:
        InputError: If options contradict each other, or name files that cannot be used.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        text=True, images=True, captions=True, needs_tuning=True, answers="text"
    )
    Options: ClassVar[type[GenerativeOptions]] = GenerativeOptions
    learning_option: ClassVar[str] = "shots"

    def __init__(self, options: GenerativeOptions) -> None:
        super().__init__(options)
        check_options(options)
        self._asked = options
        self._prompts = PromptBuilder(options)
        self.prompt_hash = self._prompts.hash
        self._engine: Engine | None = None
        self._benchmark: Benchmark | None = None
        self._shot_ids: tuple[str, ...] = ()
        self._shots: tuple[Sample, ...] | None = None

    @abstractmethod
    def make_engine(self, machine: Machine) -> Engine:
        """The engine; what is heavy must wait until it is needed.

        Raises:
            InputError: If options or settings make no sense for it.
        """

    @property
    def engine(self) -> Engine:
        """The engine in use.

        Raises:
            FfrError: Before :meth:`use` was called.
        """
        if self._engine is None:
            raise FfrError("the model has no engine yet: it was not made by baselines.model.create")
        return self._engine

    def use(self, machine: Machine) -> None:
        """Make the engine, and learn which weights it has."""
        self._engine = self.make_engine(machine)
        self.revision = self._engine.revision

    def close(self) -> None:
        """Give back what the engine holds."""
        if self._engine is not None:
            self._engine.close()

    # --- Examples

    @property
    def learns(self) -> bool:
        """Whether examples are wanted."""
        return self._asked.shots > 0

    @property
    def must_learn(self) -> bool:
        """Whether examples are wanted: they come from a tuning split."""
        return self.learns

    def fit(self, samples: Sequence[Sample]) -> dict[str, Any] | None:
        """Choose the examples."""
        if not self.learns:
            return None
        learned = {"shots": choose_shots(samples, self._asked)}
        self.restore(learned)
        return learned

    def restore(self, learned: dict[str, Any]) -> None:
        """Take up the examples that were chosen."""
        self._shot_ids = tuple(learned["shots"])
        self._shots = None

    def _examples(self) -> tuple[Sample, ...]:
        if self._shots is None:
            if self._shot_ids and self._benchmark is None:
                raise FfrError("the examples are not known before the model was prepared")
            self._shots = tuple(_sample(self._benchmark, name) for name in self._shot_ids)
        return self._shots

    # --- Before the first request

    def prepare(
        self,
        benchmark: Benchmark,
        rows: IntArray,
        progress: bool,
        note: Callable[[str], None],
    ) -> None:
        """Look whether all images have files, and how many a request may have."""
        del progress
        self._benchmark = benchmark
        self._shots = None
        if self._asked.images == "text_only":
            self.engine.expect(0)
            with_images = sum(map(len, _images(benchmark, rows)))
            if with_images:
                note("images=text_only: the model does not see the pictures")
            return
        most, without = 0, []
        for images in _images(benchmark, rows):
            most = max(most, len(images))
            without += [image for image in images if image.file is None]
        if without:
            message = f"{len(without)} images have no file, first image {without[0].img_id}"
            remedy = "add the files, or leave pictures out: -o images=text_only -o captions=true"
            raise InputError(message, file=benchmark.root, field="images.path", remedy=remedy)
        self.engine.expect(most * (1 + self._asked.shots))

    def preview(self, benchmark: Benchmark, rows: IntArray, session: Session) -> Preview:
        """What would be sent, by the engine's own count of tokens or its estimate."""
        from ffr_eval.cli.output import progress

        n_requests = n_tokens = n_unsent = 0
        exact, first = True, ""
        with progress("counting tokens") if session.progress else nullcontext():
            for row in rows.tolist():
                parts = self.requests_of(hidden(benchmark.sample(row)))
                if parts is None:
                    n_unsent += 1
                for _, request in parts or ():
                    first = first or as_text(request.messages)
                    count = self.engine.count_tokens(request)
                    n_requests, n_tokens = n_requests + 1, n_tokens + count.tokens
                    exact = exact and count.exact
        notes = [f"{n_unsent} samples do not fit into the context: not sent"] if n_unsent else []
        most = n_requests * self._asked.max_tokens
        price = self.engine.price
        plan = Preview(first, len(rows), n_requests, n_tokens, exact, most, notes=tuple(notes))
        if price is None:
            return plan
        least_cost = n_tokens * price.input / 1e6
        return replace(
            plan,
            min_cost=least_cost,
            max_cost=least_cost + most * price.output / 1e6,
            currency=price.currency,
            notes=(*notes, *([f"prices: {price.source}"] if price.source else [])),
        )

    # --- Requests

    def requests_of(self, sample: Sample) -> list[tuple[View, ChatRequest]] | None:
        """The requests that ask about a sample: one, or one a window.

        Returns:
            ``None`` if nothing can be sent, because it does not fit into the model's context.
        """
        views = self._views(sample)
        return None if views is None else [(view, self._request(view)) for view in views]

    def _views(self, sample: Sample) -> list[View] | None:
        options = self._asked
        if options.window is not None:
            return sliding(sample, options.window, stride_of(options))
        view = whole(sample)
        if self._fits(view):
            return [view]
        return None if options.overflow == "refuse" else fitting(sample, self._fits)

    def _fits(self, view: View) -> bool:
        limit = self._asked.context or self.engine.context_tokens
        if limit is None:
            return True
        count = self.engine.count_tokens(self._request(view))
        tokens = count.tokens if count.exact else count.tokens * ESTIMATE_MARGIN
        return tokens + self._asked.max_tokens <= limit

    def _request(self, view: View) -> ChatRequest:
        messages = self._prompts.messages(view.sample, self._examples())
        sample = view.sample
        return ChatRequest(sample.sample_id, view.part, messages, sample.dialogue.dialogue_id)

    # --- Predictions

    def predict(self, sample: Sample) -> Prediction:
        """Answer one sample."""
        return next(self.predict_many(iter([sample]), Session()))

    def predict_many(self, samples: Iterator[Sample], session: Session) -> Iterator[Prediction]:
        """Answer samples as the engine completes their requests."""
        pending: dict[str, _Pending] = {}
        unsent: deque[Prediction] = deque()

        def requests() -> Iterator[ChatRequest]:
            for sample in samples:
                parts = self.requests_of(sample)
                if parts is None:
                    unsent.append(_overflow(sample, self._asked.overflow))
                    continue
                views = [view for view, _ in parts]
                pending[sample.sample_id] = _Pending(sample, views, [None] * len(views))
                yield from (request for _, request in parts)

        for request, completion in self.engine.complete(requests(), session):
            while unsent:
                yield unsent.popleft()
            waiting = pending[request.sample_id]
            waiting.take(request, completion)
            if waiting.complete:
                del pending[request.sample_id]
                yield waiting.prediction(self._asked.merge)
        yield from unsent


@dataclass(slots=True)
class _Pending:
    """A sample of which not all requests are completed."""

    sample: Sample
    views: list[View]
    completions: list[Completion | None]
    reached: tuple[set[int], set[int]] | None = None

    def take(self, request: ChatRequest, completion: Completion) -> None:
        self.completions[request.part] = completion
        ids = reached_ids(request.messages)
        if ids is None:
            return
        if self.reached is None:
            self.reached = (set(), set())
        names = self.views[request.part].img_ids
        self.reached[0].update(ids[0])
        self.reached[1].update(ids[1] if names is None else (names[k] for k in ids[1]))

    @property
    def complete(self) -> bool:
        return None not in self.completions

    def prediction(self, merge: Merge) -> Prediction:
        completions = [completion for completion in self.completions if completion is not None]
        return joined(self.sample, self.views, completions, merge, self._reached())

    def _reached(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """What reached the model, in the order of the dialogue."""
        if self.reached is None:
            return None
        dialogue = self.sample.dialogue
        return (
            tuple(turn.utt_id for turn in dialogue.turns if turn.utt_id in self.reached[0]),
            tuple(image.img_id for image in dialogue.images if image.img_id in self.reached[1]),
        )


def as_text(messages: Sequence[Message]) -> str:
    """Messages for people, each image named in its place."""
    lines = []
    for message in messages:
        parts = [
            part if isinstance(part, str) else f"<image {part.img_id}: {_name(part)}>"
            for part in message.parts
        ]
        lines += [f"--- {message.role}", "".join(parts)]
    return "\n".join(lines)


def _name(image: Image) -> str:
    return image.file.name if image.file is not None else "no file"


def _sample(benchmark: Benchmark | None, sample_id: str) -> Sample:
    row = None if benchmark is None else benchmark.row_of(sample_id)
    if benchmark is None or row is None:
        raise FfrError(f"the example {sample_id!r} is not in the benchmark")
    return benchmark.sample(row)


def _images(benchmark: Benchmark, rows: IntArray) -> Iterator[Sequence[Image]]:
    """The images of each dialogue of these rows."""
    _, first = np.unique(benchmark.queries.dialogue[rows], return_index=True)
    return (benchmark.sample(row).dialogue.images for row in rows[first].tolist())


def stride_of(options: GenerativeOptions) -> int:
    """Turns from the start of a window to that of the next."""
    assert options.window is not None  # noqa: S101 - asked only where there are windows
    return options.stride or max(1, options.window * 3 // 4)


def _overflow(sample: Sample, overflow: str) -> Prediction:
    what = "the prompt" if overflow == "refuse" else "a single turn"
    return Prediction(
        sample.sample_id,
        Outcome.CONTEXT_OVERFLOW,
        reached_utt_ids=(),
        reached_img_ids=(),
        meta={"error": f"{what} does not fit into the model's context; nothing was sent"},
    )
