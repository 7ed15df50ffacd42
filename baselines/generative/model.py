"""Models that answer in text: samples become prompts, completions become predictions."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter, deque
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from baselines.generative.chat import ChatRequest
from baselines.generative.options import GenerativeOptions, check_options
from baselines.generative.prompts import PromptBuilder, reached_ids
from baselines.generative.request_hash import PROMPTS, plain_messages, request_hash, schema_of
from baselines.generative.shots import choose_shots, shots_for
from baselines.generative.windows import joined, merged_reach
from baselines.model import Capabilities, Model, Preview, hidden
from baselines.session import Session
from ffr_eval.dialogue_views import View, fitting, sliding, whole
from ffr_eval.errors import FfrError, InputError
from ffr_eval.types import Outcome, Prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from baselines.generative.chat import Completion
    from baselines.generative.engine import Engine
    from baselines.machine import Machine
    from ffr_eval.benchmark import Benchmark
    from ffr_eval.ragged import IntArray
    from ffr_eval.types import Image, Sample
    from ffr_eval.window_answers import Merge

    Reach = tuple[tuple[int, ...], tuple[int, ...]]

ESTIMATE_MARGIN: Final = 1.15
"""Estimated lengths of prompts are taken to be so much longer where they must fit."""

MAX_ROUNDS: Final = 6
"""So often a sample is divided anew."""

SHRINK: Final = 0.75
"""After a server has refused a prompt as too long, the next ones are at most so much of it."""


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
        self._most_images = 0

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
        if self._benchmark is not None and self._asked.images != "text_only":
            in_shots = sum(len(shot.dialogue.images) for shot in self._examples())
            self.engine.expect(self._most_images + in_shots)

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
        self._most_images = most
        self.engine.expect(most)  # and more for examples, once they are known

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
                first = first or self._as_text(benchmark, row, parts or [])
                for _, request in parts or ():
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

    def _as_text(
        self, benchmark: Benchmark, row: int, parts: Sequence[tuple[View, ChatRequest]]
    ) -> str:
        from baselines.prompt_view import Asked, PromptView, prompt_lines

        asked = tuple(Asked(view, request.messages) for view, request in parts[:1])
        view = PromptView(
            sample=benchmark.sample(row),
            prompt_hash=self._prompts.hash,
            shots=tuple(sample.sample_id for sample in self._examples()),
            requests=asked,
            schema=schema_of(self._asked),
            root=benchmark.root,
        )
        return "\n".join(prompt_lines(view))

    # --- Requests

    def requests_of(
        self, sample: Sample, most: float | None = None
    ) -> list[tuple[View, ChatRequest]] | None:
        """The requests that ask about a sample: one, or one a window.

        Args:
            sample: Without its gold.
            most: Tokens of a prompt at most, by the engine's count, beside what is known of its
                context; for a sample of which a longer one was refused.

        Returns:
            ``None`` if nothing can be sent, because it does not fit into the model's context.
        """
        views = self._views(sample, most)
        return None if views is None else [(view, self._request(view)) for view in views]

    def _views(self, sample: Sample, most: float | None) -> list[View] | None:
        options = self._asked
        if options.window is not None:
            return sliding(sample, options.window, stride_of(options))
        view = whole(sample)
        if self._fits(view, most):
            return [view]
        if options.overflow == "refuse":
            return None
        return fitting(sample, partial(self._fits, most=most))

    def _fits(self, view: View, most: float | None) -> bool:
        limit = self._asked.context or self.engine.context_tokens
        if limit is None and most is None:
            return True
        count = self.engine.count_tokens(self._request(view))
        if most is not None and count.tokens > most:
            return False
        tokens = count.tokens if count.exact else count.tokens * ESTIMATE_MARGIN
        return limit is None or tokens + self._asked.max_tokens <= limit

    def _request(self, view: View) -> ChatRequest:
        sample = view.sample
        messages = self._prompts.messages(sample, shots_for(sample, self._examples()))
        return ChatRequest(sample.sample_id, view.part, messages, sample.dialogue.dialogue_id)

    # --- Predictions

    def predict(self, sample: Sample) -> Prediction:
        """Answer one sample."""
        return next(self.predict_many(iter([sample]), Session()))

    def predict_many(self, samples: Iterator[Sample], session: Session) -> Iterator[Prediction]:
        """Answer samples as the engine completes their requests.

        A prompt that the server refuses as too long, although by the estimate it would fit, is
        asked again in smaller windows.
        """
        pending: dict[str, _Pending] = {}
        again: deque[_Pending] = deque()
        unsent: deque[Prediction] = deque()

        def planned() -> Iterator[_Pending]:
            for sample in samples:
                while again:
                    yield again.popleft()
                yield _Pending(sample)
            while again:
                yield again.popleft()

        def requests() -> Iterator[ChatRequest]:
            for waiting in planned():
                parts = self.requests_of(waiting.sample, waiting.most)
                if parts is None:
                    unsent.append(waiting.overflow(self._asked.overflow))
                    continue
                waiting.views = [view for view, _ in parts]
                pending[waiting.sample.sample_id] = waiting
                for _, request in parts:
                    waiting.sent.append(self._hash(request))
                    yield request

        n_answers = n_cached = 0

        while True:
            for request, completion in self.engine.complete(requests(), session):
                while unsent:
                    yield unsent.popleft()
                n_answers += 1
                n_cached += completion.meta.get("cached") is True
                session.paid(completion.cost or 0.0)
                waiting = pending[request.sample_id]
                waiting.take(request, completion)
                if not waiting.complete:
                    continue
                del pending[request.sample_id]
                most = self._smaller(waiting)
                if most is None:
                    yield waiting.prediction(self._asked.merge)
                else:
                    again.append(waiting.in_smaller(most))
            yield from unsent
            unsent.clear()
            if not again or session.stop.is_set():
                break
        if n_cached:
            text = f"{n_cached} of {n_answers} answers are from the response cache"
            session.note(f"{text} (--refresh asks again)")

    def _hash(self, request: ChatRequest) -> str:
        return request_hash(plain_messages(request.messages), schema_of(self._asked))

    def _smaller(self, pending: _Pending) -> float | None:
        """Tokens that a prompt of the sample may have after some were refused as too long.

        ``None`` if none was, or if windows are not ours to choose, or after too many rounds.
        """
        if self._asked.window is not None or self._asked.overflow == "refuse":
            return None
        if pending.n_rounds >= MAX_ROUNDS:
            return None
        counts = [self.engine.count_tokens(self._request(view)) for view in pending.refused]
        inexact = [count.tokens for count in counts if not count.exact]
        return SHRINK * min(inexact) if inexact else None


class _Pending:
    """A sample of which not all requests are completed.

    Attributes:
        sent: The hash of each request that was handed to the engine, in the order of the views.
    """

    def __init__(
        self, sample: Sample, most: float | None = None, earlier: tuple[Completion, ...] = ()
    ) -> None:
        self.sample = sample
        self.most = most
        self.n_rounds = 0
        self.views: list[View] = []
        self.sent: list[str] = []
        self._earlier = earlier
        self._sent_before: list[str] = []
        self._completions: dict[int, Completion] = {}
        self._reached: dict[int, Reach | None] = {}

    def in_smaller(self, most: float) -> _Pending:
        """The same sample, to be asked again in windows of so many tokens."""
        again = _Pending(self.sample, most, (*self._earlier, *self._completions.values()))
        again.n_rounds = self.n_rounds + 1
        again._sent_before = self.sent
        return again

    def take(self, request: ChatRequest, completion: Completion) -> None:
        """Take up what came of a view."""
        self._completions[request.part] = completion
        refused = completion.outcome is Outcome.CONTEXT_OVERFLOW
        reached = ((), ()) if refused else reached_ids(request.messages)
        self._reached[request.part] = reached and self._of_view(request.part, reached, refused)

    def _of_view(self, part: int, reached: Reach, refused: bool) -> Reach:
        """Of marked ids those that the view shows; all of a modality that is never marked.

        A template of the user's may mark ids as an example, and write turns in a way of its own.
        """
        dialogue = self.views[part].sample.dialogue
        shown = (
            [turn.utt_id for turn in dialogue.turns],
            [image.img_id for image in dialogue.images],
        )
        utts, imgs = (
            () if refused else tuple(n for n in there if not marked or n in marked)
            for there, marked in zip(shown, map(set, reached), strict=True)
        )
        return utts, imgs

    @property
    def complete(self) -> bool:
        """Whether every view has its completion."""
        return len(self._completions) == len(self.views)

    @property
    def refused(self) -> list[View]:
        """Views that were too long for the server."""
        return [
            view
            for view in self.views
            if self._completions[view.part].outcome is Outcome.CONTEXT_OVERFLOW
        ]

    def prediction(self, merge: Merge) -> Prediction:
        """The prediction of all views together."""
        completions = [self._completions[view.part] for view in self.views]
        reached = merged_reach(self.views, [self._reached[view.part] for view in self.views])
        if reached is not None:
            reached = self._in_order(reached)
        prediction = joined(self.sample, self.views, completions, merge, reached)
        noted = {**(prediction.meta or {}), PROMPTS: self.sent}
        return self._with_earlier(replace(prediction, meta=noted))

    def overflow(self, overflow: str) -> Prediction:
        """The prediction if nothing, or nothing smaller, can be sent."""
        if self._earlier:
            n = len(self._earlier)
            said = next((c.error for c in reversed(self._earlier) if c.error), "too long")
            error = f"{said}; {n} requests were sent, in smaller and smaller windows"
        else:
            what = "the prompt" if overflow == "refuse" else "a single turn"
            error = f"{what} does not fit into the model's context; nothing was sent"
        prediction = Prediction(
            self.sample.sample_id,
            Outcome.CONTEXT_OVERFLOW,
            reached_utt_ids=(),
            reached_img_ids=(),
            meta={"error": error, PROMPTS: self._sent_before},
        )
        return self._with_earlier(prediction)

    def _with_earlier(self, prediction: Prediction) -> Prediction:
        """With what was spent on larger windows, some of which were refused."""
        if not self._earlier:
            return prediction
        usage = Counter(prediction.usage or {})
        for completion in self._earlier:
            usage.update(completion.usage or {})
        costs = [prediction.cost, *(completion.cost for completion in self._earlier)]
        known = [cost for cost in costs if cost is not None]
        return replace(
            prediction,
            usage=dict(usage) or None,
            cost=math.fsum(known) if known else None,
            meta={**(prediction.meta or {}), "asked_before_in_larger": len(self._earlier)},
        )

    def _in_order(self, reached: Reach) -> Reach:
        """What reached the model, in the order of the dialogue."""
        utt_ids, img_ids = set(reached[0]), set(reached[1])
        dialogue = self.sample.dialogue
        return (
            tuple(turn.utt_id for turn in dialogue.turns if turn.utt_id in utt_ids),
            tuple(image.img_id for image in dialogue.images if image.img_id in img_ids),
        )


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
