"""From samples to requests to predictions, with an engine that the test plays."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from baselines.generative.chat import ChatRequest, Completion
from baselines.generative.engine import Engine, Price, TokenCount
from baselines.generative.model import GenerativeModel
from baselines.preview import preview
from baselines.runner import run
from baselines.session import Session, Stopped
from ffr_eval.benchmark import read_benchmark
from ffr_eval.errors import InputError
from ffr_eval.markup import answer_text
from ffr_eval.prediction_file import read_predictions
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from baselines.machine import Machine
    from ffr_eval.types import Prediction

_MARK = re.compile(r"<\|(utt|img)_id_start\|>(\d+)<")


class Played(Engine):
    """Names every utterance that it was shown, and image 0; a token is a turn."""

    def __init__(self) -> None:
        self.asked: list[ChatRequest] = []
        self.max_images: int | None = None
        self.closed = 0
        self.failing: dict[int, Completion] = {}
        self.exact = True
        self.paid = False
        self.really: int | None = None  # turns that the server takes, whatever we think

    def expect(self, max_images: int) -> None:
        self.max_images = max_images

    def count_tokens(self, request: ChatRequest) -> TokenCount:
        return TokenCount(len(shown(request)), exact=self.exact)

    def complete(
        self, requests: Iterator[ChatRequest], session: Session
    ) -> Iterator[tuple[ChatRequest, Completion]]:
        waiting: list[ChatRequest] = []
        for request in requests:
            self.asked.append(request)
            waiting.append(request)
            if len(waiting) == 3:  # the order of the answers is not that of the requests
                yield from ((one, self.answer(one)) for one in reversed(waiting))
                waiting = []
        yield from ((one, self.answer(one)) for one in waiting)

    def answer(self, request: ChatRequest) -> Completion:
        if self.really is not None and len(shown(request)) > self.really:
            cost = 0.25 if self.paid else None
            return Completion(None, Outcome.CONTEXT_OVERFLOW, error="HTTP 400: too long", cost=cost)
        if request.part in self.failing:
            return self.failing[request.part]
        return Completion(
            answer_text(shown(request), [0]),
            finish_reason="stop",
            model="played-1",
            usage={"prompt_tokens": 10, "completion_tokens": 2},
            cost=0.25,
        )

    def close(self) -> None:
        self.closed += 1


class Chat(GenerativeModel):
    engines: ClassVar[list[Played]] = []
    played: ClassVar[dict[str, Any]] = {}

    def make_engine(self, machine: Machine) -> Engine:
        engine = Played()
        for name, value in self.played.items():
            setattr(engine, name, value)
        self.engines.append(engine)
        return engine


def shown(request: ChatRequest) -> list[int]:
    """The utterances of the last message's dialogue."""
    text = "".join(part for part in request.messages[-1].parts if isinstance(part, str))
    return [int(number) for kind, number in _MARK.findall(text) if kind == "utt"]


@pytest.fixture
def chat(register: Callable[..., None]) -> type[Chat]:
    kind = type("Fresh", (Chat,), {"engines": [], "played": {}})
    register(chat=kind)
    return kind


@pytest.fixture
def text(benchmark: Path) -> dict[str, Any]:
    """The options that a benchmark without pictures needs."""
    return {"images": "text_only"}


def predicted(out: Path) -> list[Prediction]:
    return [located.record for located in read_predictions(out / "predictions.jsonl")]


def test_a_dialogue_that_fits_is_one_request(
    chat: type[Chat], benchmark: Path, tmp_path: Path, text: dict[str, Any]
) -> None:
    result = run("chat", text, benchmark, tmp_path / "run")
    (engine,) = chat.engines
    assert (len(engine.asked), engine.closed, engine.max_images) == (12, 1, 0)
    assert result.outcomes == {Outcome.OK: 12}
    assert result.record.prompt_hash is not None
    for prediction in predicted(tmp_path / "run"):
        assert prediction.payload.utt_ids == tuple(range(10, 18))
        assert prediction.payload.img_ids == (0,)
        assert prediction.response == answer_text(range(10, 18), [0])
        assert prediction.reached_utt_ids == tuple(range(10, 18))
        assert prediction.reached_img_ids == (0, 1)
        assert (prediction.model, prediction.cost) == ("played-1", 0.25)


def test_windows_are_asked_one_by_one_and_merged(
    chat: type[Chat], benchmark: Path, tmp_path: Path, text: dict[str, Any]
) -> None:
    out = tmp_path / "run"
    run("chat", {**text, "window": 4, "stride": 4}, benchmark, out, limit=3)
    (engine,) = chat.engines
    assert [(request.part, shown(request)[0]) for request in engine.asked[:2]] == [(0, 10), (1, 14)]
    for prediction in predicted(out):
        assert sorted(prediction.payload.utt_ids) == list(range(10, 18))
        assert sorted(prediction.payload.img_ids) == [0, 1]  # 0 in each window is another image
        assert prediction.response is None
        assert prediction.steps is not None
        assert len(prediction.steps) == 2
        assert prediction.cost == 0.5
        assert prediction.reached_utt_ids == tuple(range(10, 18))
        assert prediction.reached_img_ids == (0, 1)


def test_what_does_not_fit_gets_windows_and_nothing_is_cut(
    chat: type[Chat], benchmark: Path, tmp_path: Path, text: dict[str, Any]
) -> None:
    chat.played = {"context_tokens": 105}
    run("chat", {**text, "max_tokens": 100}, benchmark, tmp_path / "run", limit=2)
    (engine,) = chat.engines
    assert max(len(shown(request)) for request in engine.asked) == 5
    for prediction in predicted(tmp_path / "run"):
        assert prediction.reached_utt_ids == tuple(range(10, 18))


@pytest.mark.parametrize("context", [None, 1000])
def test_what_the_server_refuses_as_too_long_is_asked_again_in_windows(
    chat: type[Chat], benchmark: Path, tmp_path: Path, text: dict[str, Any], context: int | None
) -> None:
    chat.played = {"exact": False, "really": 4, "context_tokens": context}
    result = run("chat", {**text, "max_tokens": 10}, benchmark, tmp_path / "run")
    assert result.outcomes == {Outcome.OK: 12}
    for prediction in predicted(tmp_path / "run"):
        assert sorted(prediction.payload.utt_ids) == list(range(10, 18))
        assert prediction.reached_utt_ids == tuple(range(10, 18))
        assert prediction.steps is not None
        assert {step["outcome"] for step in prediction.steps} == {"ok"}


@pytest.mark.parametrize(
    ("options", "really", "n_asked"),
    [({"overflow": "refuse"}, 4, 12), ({"window": 6}, 4, 24), ({}, 0, None)],
)
def test_what_the_server_refuses_for_good_is_an_overflow(
    chat: type[Chat],
    benchmark: Path,
    tmp_path: Path,
    text: dict[str, Any],
    options: dict[str, Any],
    really: int,
    n_asked: int | None,
) -> None:
    chat.played = {"exact": False, "really": really}
    result = run("chat", {**text, **options}, benchmark, tmp_path / "run")
    assert result.outcomes == {Outcome.CONTEXT_OVERFLOW: 12}
    assert n_asked in {None, len(chat.engines[0].asked)}
    for prediction in predicted(tmp_path / "run"):
        assert prediction.reached_utt_ids == ()


@pytest.mark.parametrize(
    ("options", "context", "why"),
    [({"overflow": "refuse"}, 105, "the prompt does not"), ({}, 100, "a single turn does not")],
)
def test_what_cannot_be_sent_is_an_overflow_that_nobody_was_asked_about(
    chat: type[Chat],
    benchmark: Path,
    tmp_path: Path,
    text: dict[str, Any],
    options: dict[str, Any],
    context: int,
    why: str,
) -> None:
    chat.played = {"context_tokens": context}
    run("chat", {**text, **options, "max_tokens": 100}, benchmark, tmp_path / "run")
    assert chat.engines[0].asked == []
    found = predicted(tmp_path / "run")
    assert len(found) == 12
    for prediction in found:
        assert prediction.outcome is Outcome.CONTEXT_OVERFLOW
        assert prediction.reached_utt_ids == prediction.reached_img_ids == ()
        assert prediction.meta is not None
        assert why in prediction.meta["error"]


def test_the_option_context_overrules_the_engine(
    chat: type[Chat], benchmark: Path, tmp_path: Path, text: dict[str, Any]
) -> None:
    chat.played = {"context_tokens": 105}
    options = {**text, "context": 108, "max_tokens": 100}
    run("chat", options, benchmark, tmp_path / "run", limit=1)
    assert len(chat.engines[0].asked) == 1


def test_an_outage_in_one_window_is_no_weaker_answer(
    chat: type[Chat], benchmark: Path, tmp_path: Path, text: dict[str, Any]
) -> None:
    out, options = tmp_path / "run", {**text, "window": 4, "stride": 4}
    chat.played = {"failing": {1: Completion(None, Outcome.REQUEST_ERROR, error="HTTP 500")}}
    result = run("chat", options, benchmark, out)
    assert result.outcomes == {Outcome.REQUEST_ERROR: 12}
    chat.played = {}
    again = run("chat", options, benchmark, out, retry_outcomes=[Outcome.REQUEST_ERROR])
    assert again.outcomes == {Outcome.OK: 12}


def test_examples_come_from_the_split_that_is_tuned_on(
    chat: type[Chat], benchmark: Path, tmp_path: Path, text: dict[str, Any]
) -> None:
    options = {**text, "shots": 2}
    with pytest.raises(InputError, match="shots=2 needs a split to learn from"):
        run("chat", options, benchmark, tmp_path / "none")
    result = run("chat", options, benchmark, tmp_path / "run", tune_on="dev")
    assert result.record.selection is not None
    names = result.record.selection["shots"]
    dev = {sample.sample_id for sample in read_benchmark(benchmark).samples("dev")}
    assert len(set(names)) == 2
    assert set(names) <= dev
    there = {name.partition("#")[0] for name in names}
    request = next(one for one in chat.engines[1].asked if one.dialogue_id not in there)
    assert [message.role for message in request.messages][-5:] == [
        *("user", "assistant", "user", "assistant", "user")
    ]
    first = chat.engines[1].asked
    again = run(
        "chat", options, benchmark, tmp_path / "run", tune_on="dev", retry_outcomes=[Outcome.OK]
    )
    assert again.record.selection == result.record.selection
    assert chat.engines[2].asked == first  # taken up, not chosen anew


def test_pictures_without_files_are_refused_before_anything_is_asked(
    chat: type[Chat], benchmark: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="8 images have no file") as refused:
        run("chat", {}, benchmark, tmp_path / "run")
    assert "images=text_only" in str(refused.value)
    assert chat.engines[0].asked == []


def test_the_engine_hears_how_many_pictures_there_will_be(chat: type[Chat], tmp_path: Path) -> None:
    run("chat", {}, "ffr-sample", tmp_path / "run", limit=3)
    (engine,) = chat.engines
    assert engine.max_images == max(len(request.images) for request in engine.asked)


def test_a_preview_asks_nothing(chat: type[Chat], benchmark: Path, text: dict[str, Any]) -> None:
    chat.played = {"price": Price(input=2.0, output=10.0, source="a table of today")}
    options = {**text, "max_tokens": 50}
    plan = preview("chat", options, benchmark, limit=3, note=lambda _: None)
    assert chat.engines[0].asked == []
    assert (plan.n_samples, plan.n_requests, plan.exact) == (3, 3, True)
    assert (plan.prompt_tokens, plan.max_completion_tokens) == (24, 150)
    assert plan.min_cost == pytest.approx(24 * 2e-6)
    assert plan.max_cost == pytest.approx(24 * 2e-6 + 150 * 10e-6)
    assert plan.notes == ("prices: a table of today",)
    assert plan.first_prompt.startswith("sample  d0#0 ")
    assert "the apple is here" in plan.first_prompt


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"stride": 2}, "stride"),
        ({"window": 4, "stride": 5}, "stride"),
        ({"merge": "score"}, "merge"),
        ({"context": 10}, "context"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"images": "some"}, "images"),
        ({"winow": 3}, "winow"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    chat: type[Chat], benchmark: Path, tmp_path: Path, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InputError, match=f"option {field}"):
        run("chat", options, benchmark, tmp_path / "run")


def test_memory_does_not_grow_with_what_is_waiting(
    chat: type[Chat], benchmark: Path, text: dict[str, Any]
) -> None:
    """Samples are drawn no further ahead than the engine draws requests."""
    data = read_benchmark(benchmark)
    model = chat(chat.Options(**text))
    model.use(None)  # type: ignore[arg-type]
    model.prepare(data, np.arange(12), progress=False, note=lambda _: None)
    drawn = 0

    def samples() -> Iterator[Any]:
        nonlocal drawn
        for row in range(12):
            drawn += 1
            yield data.sample(row)

    answers = model.predict_many(samples(), Session())
    assert answers is not None
    next(iter(answers))
    assert drawn == 3


def test_what_larger_windows_cost_is_counted_too(
    chat: type[Chat], benchmark: Path, tmp_path: Path, text: dict[str, Any]
) -> None:
    chat.played = {"exact": False, "really": 4, "paid": True}
    out = tmp_path / "run"
    run("chat", text, benchmark, out, limit=1)
    (prediction,) = predicted(out)
    n_asked = len(chat.engines[0].asked)
    assert prediction.cost == 0.25 * n_asked
    assert prediction.steps is not None
    assert prediction.meta is not None
    assert len(prediction.steps) + prediction.meta["asked_before_in_larger"] == n_asked


def test_the_next_session_knows_what_unfinished_samples_have_cost(
    chat: type[Chat], benchmark: Path, tmp_path: Path, text: dict[str, Any]
) -> None:
    """Windows that were paid, but of whose sample there is no prediction yet."""
    out, spent = tmp_path / "run", []

    class Broke(Played):
        def complete(
            self, requests: Iterator[ChatRequest], session: Session
        ) -> Iterator[tuple[ChatRequest, Completion]]:
            spent.append(session.spent)
            for number, request in enumerate(requests):
                if number == 3:
                    raise Stopped("the money is spent")
                yield request, self.answer(request)

    chat.make_engine = lambda _, __: Broke()  # type: ignore[method-assign]
    for _ in range(3):
        with pytest.raises(Stopped):
            run("chat", {**text, "window": 4, "stride": 4}, benchmark, out)
    assert spent == [0.0, 0.75, 1.5]
    assert len(predicted(out)) == 3  # one a session: two windows of each


def test_reach_of_templates_that_mark_ids_in_other_ways(
    chat: type[Chat], benchmark: Path, tmp_path: Path, text: dict[str, Any]
) -> None:
    template = tmp_path / "own.jinja"
    template.write_text(
        "{{ query_mark(query) }} as in {{ img(7) }}{% for turn in turns %}\n"
        "[{{ turn.utt_id }}] {{ turn.text }}{% for image in turn.images %} {{ img(image.img_id) }}"
        "{% endfor %}{% endfor %}"
    )
    run("chat", {**text, "template": str(template)}, benchmark, tmp_path / "run", limit=1)
    (prediction,) = predicted(tmp_path / "run")
    assert prediction.reached_utt_ids == tuple(range(10, 18))  # not known to be unmarked: all
    assert prediction.reached_img_ids == (0, 1)  # 7 is an example, which the dialogue does not have


def test_examples_are_never_of_the_dialogue_that_is_asked_about(
    chat: type[Chat], benchmark: Path, tmp_path: Path, text: dict[str, Any]
) -> None:
    run("chat", {**text, "shots": 4}, benchmark, tmp_path / "run", tune_on="dev")
    assert {len(request.messages) for request in chat.engines[0].asked} == {7}  # 4 less its own
