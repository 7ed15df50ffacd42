"""What each fault of a server comes to; :func:`table` is the table in docs/api.md."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from baselines.api import limits
from baselines.machine import Machine
from baselines.model import create
from baselines.predicting import predictions
from baselines.session import Session
from ffr_eval.benchmark import read_benchmark
from ffr_eval.errors import FfrError, InputError
from ffr_eval.prediction_file import encode_prediction
from ffr_eval.types import Outcome, Prediction
from tests.servers import FaultServer, Rule
from tests.servers.replies import ERRORS, FAULTS
from tests.servers.samples import write_marked_benchmark

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark

KEY: Final = "sk-a-key-of-nobody-0123456789"
FAULTY: Final = "d1#0"  # the sample whose requests are disturbed
RETRIES: Final = 2
STOPS: Final = "the run ends"
PATIENT_S: Final = 30.0
IMPATIENT_S: Final = 1.0
SKIP: Final = frozenset({"ok", "status"})  # no faults


@dataclass(frozen=True)
class Case:
    """A fault that stays, as long as somebody asks.

    Attributes:
        fault: As the server names it.
        injected: As the table names it.
        outcome: Of the sample; ``None`` if the run ends.
        retried: Whether it is tried again.
        sees: What the user is told: in the prediction's ``meta.error``, or as the run's error.
        shown: How the table says that.
        answer: The model's option of this name.
        overflow: The model's option of this name.
        given: Whether the prediction has a text of the model.
        error: What ends the run.
    """

    fault: str
    injected: str
    outcome: Outcome | None
    retried: bool
    sees: str
    shown: str = ""
    answer: str = "markup"
    overflow: str = "window"
    given: bool = False
    error: type[FfrError] = InputError

    @property
    def timeout_s(self) -> float:
        """What the others, which are not disturbed, need on a busy machine; or soon enough."""
        return IMPATIENT_S if self.fault in {"hang", "trickle"} else PATIENT_S

    @property
    def options(self) -> dict[str, str]:
        return {"answer": self.answer, "overflow": self.overflow}

    @property
    def id(self) -> str:
        return self.fault if self.answer == "markup" else f"{self.fault}-{self.answer}"


FAILED, REFUSED = Outcome.REQUEST_ERROR, Outcome.REFUSAL
CASES: Final = (
    # --- Of a moment: tried again
    Case("rate_limit", "429, too many requests", FAILED, True, "HTTP 429: Rate limit reached"),
    Case("server_error", "500", FAILED, True, "HTTP 500: The server had an error"),
    Case("bad_gateway", "502", FAILED, True, "HTTP 502: Bad gateway"),
    Case("unavailable", "503", FAILED, True, "HTTP 503: The engine is currently overloaded"),
    Case("gateway_timeout", "504", FAILED, True, "HTTP 504: Gateway timeout"),
    Case("overloaded", "529", FAILED, True, "HTTP 529: Overloaded"),
    Case("request_timeout", "408", FAILED, True, "HTTP 408: Request timeout"),
    Case("conflict", "409", FAILED, True, "HTTP 409: Conflict"),
    Case("hang", "no answer, ever", FAILED, True, "no whole answer within 1 s"),
    Case(
        "trickle", "a byte now and then, beyond --timeout", FAILED, True, "no whole answer within"
    ),
    Case("reset", "connection reset before the answer", FAILED, True, "the connection broke"),
    Case("reset_in_body", "connection reset within the answer", FAILED, True, "connection broke"),
    Case("cut", "connection closed within the answer", FAILED, True, "the connection broke"),
    Case("invalid_json", "200 with half of its JSON", FAILED, True, "cannot be read: not JSON"),
    Case("html", "200 with a web page", FAILED, True, "the server's answer cannot be read"),
    Case("no_body", "200 with nothing", FAILED, True, "the server's answer cannot be read"),
    Case("list", "200 with a list", FAILED, True, "the server's answer cannot be read"),
    Case("error_200", "200 with an error object", FAILED, True, "Upstream failed"),
    Case("no_choices", "200 without choices", FAILED, True, "has no choices"),
    # --- Of a request: its outcome
    Case(
        "length", "answer cut (finish_reason length)", Outcome.TRUNCATED, False, "cut", given=True
    ),
    Case("refusal", "field refusal", REFUSED, False, "I cannot help with that"),
    Case("content_filter", "finish_reason content_filter", REFUSED, False, "content_filter"),
    Case("filtered", "400, code content_filter", REFUSED, False, "The prompt was filtered"),
    Case("policy", "400, content policy", REFUSED, False, "Against our policy"),
    Case(
        "context",
        "400, context_length_exceeded, with `-o overflow=refuse`",
        Outcome.CONTEXT_OVERFLOW,
        False,
        "8192 tokens",
        overflow="refuse",
    ),
    Case(
        "context_vllm",
        "400, the same in words only, with `-o overflow=refuse`",
        Outcome.CONTEXT_OVERFLOW,
        False,
        "8192 tokens",
        overflow="refuse",
    ),
    Case("bad_request", "400, another one", FAILED, False, "HTTP 400: Invalid image"),
    Case("too_large", "413", FAILED, False, "HTTP 413: Request too large"),
    Case("unprocessable", "422", FAILED, False, "HTTP 422: Unknown parameter"),
    # --- Of every request: the run ends
    Case("unauthorized", "401", None, False, "refuses the key"),
    Case("forbidden", "403", None, False, "refuses to answer"),
    Case("no_model", "404, no such model", None, False, "has no model 'test-model'"),
    Case("quota", "429, insufficient_quota", None, False, "quota or credit", error=FfrError),
    # --- Of the model: what it wrote counts
    Case("empty", "empty text", Outcome.PARSE_ERROR, False, "", "an empty raw `response`"),
    Case(
        "null", "no text, finish_reason stop", Outcome.PARSE_ERROR, False, "", "an empty `response`"
    ),
    Case(
        "wrong_model",
        "the name of another model",
        Outcome.OK,
        False,
        "",
        "a note; predictions name the model that answered",
        given=True,
    ),
    Case("no_usage", "no count of tokens", Outcome.OK, False, "", "`cost` is unknown", given=True),
    Case(
        "bad_json_answer",
        "tool call cut within its JSON",
        Outcome.PARSE_ERROR,
        False,
        "",
        answer="tool",
        given=True,
    ),
    Case(
        "wrong_schema_answer",
        "tool call with other fields",
        Outcome.PARSE_ERROR,
        False,
        "",
        answer="tool",
        given=True,
    ),
    Case(
        "text_instead",
        "text in the place of a tool call",
        Outcome.OK,
        False,
        "",
        answer="tool",
        given=True,
    ),
    Case(
        "bad_json_answer",
        "json_schema cut within its JSON",
        Outcome.PARSE_ERROR,
        False,
        "",
        answer="json_schema",
        given=True,
    ),
    Case(
        "wrong_schema_answer",
        "json_schema with other fields",
        Outcome.PARSE_ERROR,
        False,
        "",
        answer="json_schema",
        given=True,
    ),
)
RETRIED: Final = [case for case in CASES if case.retried]
RECORDED: Final = [case for case in CASES if case.outcome is not None]
STOPPING: Final = [case for case in CASES if case.outcome is None]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that tests can wait for, and a key that must not show."""
    monkeypatch.setattr(limits, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(limits, "FIRST_WAIT_THROTTLED_S", 0.02)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    folder = tmp_path_factory.mktemp("faults") / "benchmark"
    return read_benchmark(write_marked_benchmark(folder, 4, images=1))


class Asking:
    """Asks the server about the whole benchmark, once each time it is called."""

    def __init__(self, server: FaultServer, benchmark: Benchmark, cache: Path) -> None:
        self._server, self._benchmark, self.cache = server, benchmark, cache
        self.notes: list[str] = []
        self.predictions: dict[str, Prediction] = {}

    def __call__(self, options: dict[str, Any] | None = None, **machine: Any) -> Prediction:
        """The prediction of the sample that is disturbed; the others have none of it."""
        settings = {"max_retries": RETRIES, "timeout_s": PATIENT_S, **machine}
        settings["no_cache"] = "cache" not in settings
        named = {"model": "test-model", "base_url": self._server.url, **(options or {})}
        model = create("api", named, Machine(**settings))
        self.predictions = {}
        rows = self._benchmark.rows(None)
        try:
            model.prepare(self._benchmark, rows, False, self.notes.append)
            samples = (self._benchmark.sample(row) for row in rows.tolist())
            for prediction in predictions(model, samples, Session(self.notes.append)):
                self.predictions[prediction.sample_id] = prediction
        finally:
            model.close()
        return self.predictions[FAULTY]


@pytest.fixture
def ask(server: FaultServer, benchmark: Benchmark, tmp_path: Path) -> Asking:
    return Asking(server, benchmark, tmp_path / "cache.sqlite")


def error_of(prediction: Prediction) -> str:
    return str((prediction.meta or {}).get("error", ""))


def rule(case: Case, **more: Any) -> Rule:
    return (
        Rule(case.fault, marker=FAULTY, seconds=5.0, **more)
        if case.fault == "trickle"
        else (Rule(case.fault, marker=FAULTY, **more))
    )


def test_every_fault_of_the_server_has_a_case() -> None:
    assert {case.fault for case in CASES} == set(FAULTS) - SKIP


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case.id)
def test_a_fault_that_stays(case: Case, ask: Asking, server: FaultServer) -> None:
    server.plan(rule(case))
    prediction = ask(case.options, timeout_s=case.timeout_s)
    assert prediction.outcome is case.outcome
    assert len(server.requests(FAULTY)) == (RETRIES + 1 if case.retried else 1)
    assert case.sees in error_of(prediction)
    assert (prediction.response is not None) is (case.given or case.fault in {"empty", "null"})
    meta = prediction.meta or {}
    assert meta["attempts"] == len(server.requests(FAULTY))
    if case.retried:
        assert "(3 tries)" in error_of(prediction)
    if case.outcome is not Outcome.OK:
        assert prediction.payload.utt_ids == ()
    # The others are not disturbed, and asked for once.
    others = [name for name in ask.predictions if name != FAULTY]
    assert len(others) == 3
    assert {ask.predictions[name].outcome for name in others} == {Outcome.OK}
    assert all(len(server.requests(name)) == 1 for name in others)


@pytest.mark.parametrize("case", RETRIED, ids=lambda case: case.id)
def test_a_fault_that_passes(case: Case, ask: Asking, server: FaultServer) -> None:
    server.plan(rule(case, count=1))
    prediction = ask(timeout_s=case.timeout_s)
    assert prediction.outcome is Outcome.OK
    assert server.faults(FAULTY) == [case.fault, "ok"]
    number = server.requests(FAULTY)[1].number
    assert prediction.payload.utt_ids == (number,)
    assert prediction.meta is not None
    assert prediction.meta["attempts"] == 2
    assert prediction.meta["request_id"] == f"req-{number}"
    assert error_of(prediction) == ""


@pytest.mark.parametrize("case", STOPPING, ids=lambda case: case.id)
def test_a_fault_of_every_request_ends_the_run(
    case: Case, ask: Asking, server: FaultServer
) -> None:
    server.plan(Rule(case.fault))
    with pytest.raises(case.error, match=case.sees) as caught:
        ask(concurrency=1)
    assert type(caught.value) is case.error
    assert "→" in str(caught.value)
    assert ask.predictions == {}  # none of them counts as an answer of the model
    assert len(server.requests()) <= 3  # few of the others were on their way
    server.plan()
    assert ask().outcome is Outcome.OK


@pytest.mark.parametrize("case", STOPPING, ids=lambda case: case.id)
def test_a_run_that_ends_keeps_what_is_under_way(
    case: Case, ask: Asking, server: FaultServer
) -> None:
    server.plan(Rule(case.fault, marker=FAULTY), Rule(seconds=0.2))
    with pytest.raises(case.error, match=case.sees):
        ask(concurrency=4)
    assert set(ask.predictions) == {seen.marker for seen in server.requests()} - {FAULTY}
    assert len(ask.predictions) == 3


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_is_cached_is_an_answer(case: Case, ask: Asking, server: FaultServer) -> None:
    """The second time only those are asked about that have no whole answer of the model."""
    server.plan(rule(case))
    try:
        ask(case.options, max_retries=0, timeout_s=case.timeout_s, cache=ask.cache)
    except case.error:
        ask.predictions = {}
    server.plan()
    before = len(server.requests(FAULTY))
    prediction = ask(case.options, cache=ask.cache)
    again = len(server.requests(FAULTY)) - before
    assert again == (0 if case.given and case.outcome is not Outcome.TRUNCATED else 1)
    if again:
        assert prediction.outcome is Outcome.OK
    else:
        assert prediction.meta is not None
        assert prediction.meta["cached"] is True
        assert prediction.outcome is case.outcome


@pytest.mark.parametrize("fault", ["context", "context_vllm"])
def test_what_is_too_long_for_the_server_is_asked_in_windows(
    ask: Asking, server: FaultServer, fault: str
) -> None:
    server.plan(Rule(fault, marker=FAULTY, count=1))
    prediction = ask()
    assert prediction.outcome is Outcome.OK
    assert prediction.steps is not None
    assert len(prediction.steps) == len(server.requests(FAULTY)) - 1 > 1
    server.plan(Rule(fault, marker=FAULTY))
    prediction = ask()
    assert prediction.outcome is Outcome.CONTEXT_OVERFLOW
    assert len(ask.predictions) == 4
    assert len(server.requests(FAULTY)) < 60


# --- Waits


@pytest.mark.parametrize("http_date", [False, True], ids=["seconds", "date"])
def test_retry_after_is_waited_for(ask: Asking, server: FaultServer, http_date: bool) -> None:
    asked = 2.0 if http_date else 0.5
    server.plan(Rule("rate_limit", marker=FAULTY, count=1, retry_after=asked, http_date=http_date))
    assert ask(concurrency=1).outcome is Outcome.OK
    first, second = server.requests(FAULTY)
    waited = second.arrived - (first.answered or 0.0)
    least = 1.0 if http_date else 0.5  # a date has whole seconds only
    assert least - 0.05 < waited < asked + 1.0


def test_milliseconds_go_before_seconds(ask: Asking, server: FaultServer) -> None:
    server.plan(
        Rule(
            "rate_limit",
            marker=FAULTY,
            count=1,
            retry_after=30.0,
            headers={"retry-after-ms": "300"},
        )
    )
    start = time.monotonic()
    assert ask().outcome is Outcome.OK
    assert time.monotonic() - start < 5


def test_a_server_that_takes_few_at_once_is_asked_more_slowly(
    ask: Asking, server: FaultServer
) -> None:
    """It refuses all but two at a time; nothing is lost, and few requests are refused."""
    server.plan(max_in_flight=2, latency=0.05)
    ask(concurrency=16, max_retries=20)
    assert {p.outcome for p in ask.predictions.values()} == {Outcome.OK}


def test_no_more_requests_at_once_than_asked_for(tmp_path: Path, server: FaultServer) -> None:
    benchmark = read_benchmark(write_marked_benchmark(tmp_path / "many", 20))
    server.plan(latency=0.3)
    ask = Asking(server, benchmark, tmp_path / "cache.sqlite")
    ask(concurrency=5)
    assert server.server.max_in_flight == 5
    assert set(server.counts().values()) == {1}


# --- What is recorded


def test_the_model_that_answered_is_named_and_noted(ask: Asking, server: FaultServer) -> None:
    server.plan(Rule("wrong_model"))
    assert ask().model == "another-model"
    (note,) = [note for note in ask.notes if "another-model" in note]
    assert note.startswith("the server answers as 'another-model', though 'test-model' was asked")


def test_log_probabilities(ask: Asking, server: FaultServer) -> None:
    prediction = ask({"logprobs": True, "top_logprobs": 3}, cache=ask.cache)
    assert prediction.logprobs is not None
    kept = prediction.logprobs
    assert kept["entropy_kind"] == "top-3"
    assert len(kept["token_logprobs"]) == len(kept["entropy"]) > 5
    assert set(kept["token_logprobs"]) == {-0.125}
    assert kept["entropy"][0] == pytest.approx(0.8324, abs=1e-3)  # of weights 1, 1/e, 1/e²
    again = ask({"logprobs": True, "top_logprobs": 3}, cache=ask.cache)
    assert again.logprobs == kept
    assert len(server.requests(FAULTY)) == 1


def test_an_answer_that_lost_its_usage_costs_an_unknown_amount(
    ask: Asking, server: FaultServer, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(
        'date = "2026-01-01"\nsource = "a test"\n'
        '[[prices]]\nmodel = "test-model"\ninput = 1000.0\noutput = 2000.0\n'
    )
    server.plan(Rule("no_usage", marker=FAULTY))
    assert ask(prices=prices).cost is None
    other = ask.predictions["d0#0"]
    assert other.usage is not None
    expected = other.usage["prompt_tokens"] * 1e-3 + other.usage["completion_tokens"] * 2e-3
    assert other.cost == pytest.approx(expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_key_shows_nowhere(
    case: Case, ask: Asking, server: FaultServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Even if the server repeats it: 401 quotes it here, and so do the others."""
    quoting = f"no, {KEY}, and Authorization: Bearer {KEY}"
    server.plan(rule(case, text=quoting))
    shown = ""
    try:
        ask(case.options, max_retries=0, timeout_s=case.timeout_s, cache=ask.cache)
    except FfrError as error:
        shown = str(error)
    shown += "".join(ask.notes)
    if not case.given:  # what the model itself writes is kept as it is
        shown += "".join(encode_prediction(p).decode() for p in ask.predictions.values())
        shown += cached(ask.cache)
    captured = capfd.readouterr()
    assert server.requests(FAULTY)[0].key == KEY
    assert KEY not in shown + captured.out + captured.err
    assert KEY[3:20] not in shown


def cached(path: Path) -> str:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT * FROM responses").fetchall()
    connection.close()
    return repr(rows)


# --- The table


def table() -> str:
    """The table of docs/api.md."""
    lines = [
        "| injected fault | outcome | tried again | what the user sees | the original release |",
        "|---|---|---|---|---|",
    ]
    for case in CASES:
        outcome = STOPS if case.outcome is None else f"`{case.outcome}`"
        tried = "yes" if case.retried else "no"
        cells = (case.injected, outcome, tried, _seen(case), _original(case))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _seen(case: Case) -> str:
    if case.outcome is None:
        return f"exit code {case.error('').exit_code}: “… {case.sees} …”, and what to do"
    if case.sees:
        return f"`meta.error`: “{case.sees}…”" + (
            " and the number of tries" if case.retried else ""
        )
    return case.shown or "the raw `response`"


def _original(case: Case) -> str:
    request_failed = case.retried or case.fault in ERRORS
    return "an empty answer: “the model found nothing”" if request_failed else "–"
