"""The engine against a server: what is sent, how far ahead, what it costs, how it ends."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from baselines.api import limits
from baselines.api.engine import ApiEngine
from baselines.api.model import ApiOptions
from baselines.api.work import same_model
from baselines.generative.chat import ChatRequest, Completion, Message
from baselines.generative.structured import ANSWER_NAME, ANSWER_SCHEMA
from baselines.machine import Machine
from baselines.response_cache import ResponseCache
from baselines.session import Session
from ffr_eval.errors import FfrError, InputError, Stopped
from ffr_eval.types import Image, Outcome
from tests.servers import FaultServer, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = "sk-a-key-of-nobody-0123456789"
OK = "<|utt_ids_start|>[7]<|utt_ids_end|>;<|img_ids_start|>[]<|img_ids_end|>"
PRICES = """
date = "2025-01-02"
source = "test"
[[prices]]
model = "test-model"
input = 1000.0
output = 0.0
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(limits, "FIRST_WAIT_THROTTLED_S", 0.02)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(answer=OK, keep_bodies=True) as running:
        yield running


@pytest.fixture
def engine(server: FaultServer, tmp_path: Path) -> Callable[..., ApiEngine]:
    """Makes an engine; names of machine settings go there, others are options."""

    def make(**given: Any) -> ApiEngine:
        names = {name for name in given if name in Machine.__dataclass_fields__}
        machine = {name: given.pop(name) for name in names}
        machine.setdefault("no_cache", "cache" not in machine)
        options = {"model": "test-model", "base_url": server.url, **given}
        return ApiEngine(ApiOptions(**options), Machine(**machine))

    return make


def request(name: str = "s0", *parts: Any, dialogue: str | None = None) -> ChatRequest:
    texts = (Message("user", (f"Find it [[{name}]]", *parts)),)
    return ChatRequest(name, 0, texts, dialogue or name)


def requests(n: int, drawn: list[str] | None = None) -> Iterator[ChatRequest]:
    for number in range(n):
        if drawn is not None:
            drawn.append(f"s{number}")
        yield request(f"s{number}")


def complete(
    engine: ApiEngine, asked: Any = None, session: Session | None = None
) -> dict[str, Completion]:
    given = iter([request()] if asked is None else asked)
    return {r.sample_id: c for r, c in engine.complete(given, session or Session())}


def body_of(server: FaultServer) -> dict[str, Any]:
    body: dict[str, Any] = server.requests()[-1].body
    return body


def png(path: Path) -> Path:
    from PIL import Image as Picture

    Picture.new("RGB", (8, 8), "red").save(path)
    return path


# --- What is sent, and what comes back


def test_a_completion_has_all_that_is_known_of_it(
    engine: Callable[..., ApiEngine], server: FaultServer, tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text(PRICES)
    got = complete(engine(prices=tmp_path / "p.toml"))["s0"]
    assert (got.text, got.outcome, got.error, got.finish_reason) == (OK, None, None, "stop")
    assert got.model == "test-model"
    assert got.usage is not None
    assert got.usage["prompt_tokens"] > 10
    assert got.cost == pytest.approx(got.usage["prompt_tokens"] / 1000)
    assert got.latency_s is not None
    assert 0 < got.latency_s < 10
    assert got.meta == {"attempts": 1, "request_id": "req-0", "price": "test, 2025-01-02"}
    assert server.requests()[0].key == KEY


def test_the_body(engine: Callable[..., ApiEngine], server: FaultServer, tmp_path: Path) -> None:
    extra = '{"top_k": 3}'
    made = engine(seed=5, top_p=0.9, max_tokens=77, image_detail="low", extra=extra)
    image = Image(0, png(tmp_path / "a.png"))
    asked = ChatRequest(
        "s0", 0, (Message("system", ("Be brief",)), Message("user", ("see ", image, "?"))), "d"
    )
    complete(made, [asked])
    body = body_of(server)
    url = body["messages"][1]["content"][1]["image_url"].pop("url")
    assert url.startswith("data:image/png;base64,")
    assert body == {
        "model": "test-model",
        "messages": [
            {"role": "system", "content": "Be brief"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "see "},
                    {"type": "image_url", "image_url": {"detail": "low"}},
                    {"type": "text", "text": "?"},
                ],
            },
        ],
        "max_tokens": 77,
        "temperature": 0.0,
        "top_p": 0.9,
        "seed": 5,
        "top_k": 3,
    }


def test_a_schema_and_a_tool(engine: Callable[..., ApiEngine], server: FaultServer) -> None:
    answered = complete(engine(answer="json_schema"))["s0"]
    schema = body_of(server)["response_format"]["json_schema"]
    assert schema == {"name": ANSWER_NAME, "strict": True, "schema": ANSWER_SCHEMA}
    assert json.loads(answered.text or "") == {"utt_ids": [0], "img_ids": []}
    called = complete(engine(answer="tool"))["s0"]
    body = body_of(server)
    assert body["tools"][0]["function"]["parameters"] == ANSWER_SCHEMA
    assert body["tool_choice"] == {"type": "function", "function": {"name": ANSWER_NAME}}
    assert json.loads(called.text or "") == {"utt_ids": [1], "img_ids": []}
    assert called.finish_reason == "tool_calls"


def test_the_name_of_the_length_limit_is_the_presets(
    engine: Callable[..., ApiEngine], server: FaultServer
) -> None:
    notes: list[str] = []
    made = engine(preset="openai", model="gpt-5-mini")
    complete(made, session=Session(note=notes.append))
    body = body_of(server)
    assert body["max_completion_tokens"] == 1024
    assert not {"max_tokens", "temperature", "seed"} & set(body)
    assert notes == ["gpt-5-mini takes no temperature: not sent"]


def test_texts_that_are_no_unicode_are_sent_all_the_same(
    engine: Callable[..., ApiEngine], server: FaultServer
) -> None:
    got = complete(engine(), [request("s0", "half \ud83d of a pair")])["s0"]
    assert got.outcome in {None, Outcome.REQUEST_ERROR}


def test_an_image_that_cannot_be_read_is_not_sent(
    engine: Callable[..., ApiEngine], server: FaultServer, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    asked = [request("bad", Image(3, broken)), request("none", Image(4)), request("fine")]
    got = complete(engine(), asked)
    assert got["bad"].outcome is Outcome.REQUEST_ERROR
    assert "image 3 (broken.png)" in (got["bad"].error or "")
    assert str(tmp_path) not in (got["bad"].error or "")
    assert got["none"].error == "image 4 has no file"
    assert got["fine"].outcome is None
    assert [seen.marker for seen in server.requests()] == ["fine"]


def test_images_of_a_dialogue_are_encoded_once(
    engine: Callable[..., ApiEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []

    def encode(path: Path, encoding: Any) -> str:
        encoded.append(path.name)
        return "data:image/png;base64,AAAA"

    monkeypatch.setattr("baselines.api.engine.data_uri", encode)
    images = [Image(k, tmp_path / f"{k}.png") for k in range(2)]
    complete(engine(), [request(f"s{k}", *images, dialogue="d") for k in range(12)])
    assert sorted(encoded) == ["0.png", "1.png"]


# --- Keys


def test_nothing_of_the_environment_is_sent_along(
    engine: Callable[..., ApiEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[bytes] = []
    answer = json.dumps(
        {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
    ).encode()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            data = b""
            while b"\r\n\r\n" not in data or not data.endswith(b"}"):
                data += connection.recv(65536)
            heads.append(data)
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer)
            connection.sendall(head + answer)

    for name in ("ORG_ID", "PROJECT_ID", "ADMIN_KEY", "WEBHOOK_SECRET"):
        monkeypatch.setenv(f"OPENAI_{name}", f"secret-{name}")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Secret: secret-header\nAuthorization: secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://secret.example.org")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("OPENAI_API_KEY")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1?api-version=7"
        assert complete(engine(base_url=url))["s0"].text == "x"
        thread.join()
    head, _, _ = heads[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions?api-version=7 HTTP/1.1")
    assert b"secret" not in head
    assert b"authorization" not in head.lower()


def test_the_client_logs_nothing(
    engine: Callable[..., ApiEngine], caplog: pytest.LogCaptureFixture
) -> None:
    before = logging.getLogger("openai").level
    with caplog.at_level(logging.DEBUG):
        complete(engine(), requests(3))
    assert not [record for record in caplog.records if "asyncio" not in record.name]
    assert logging.getLogger("openai").level == before


def test_a_redirect_is_not_followed(engine: Callable[..., ApiEngine], server: FaultServer) -> None:
    to = {"Location": "http://127.0.0.1:1/v1/chat/completions"}
    server.plan(Rule("status", status=307, headers=to))
    with pytest.raises(InputError, match="option base_url"):
        complete(engine())


# --- How far ahead, and how it ends


def test_requests_are_drawn_lazily_and_memory_is_bounded(
    engine: Callable[..., ApiEngine], server: FaultServer
) -> None:
    drawn: list[str] = []
    answers = engine(concurrency=4).complete(requests(200, drawn), Session())
    next(answers)
    time.sleep(0.3)  # nobody takes what is completed meanwhile
    assert len(drawn) <= 4 + 2
    assert len(list(answers)) == 199
    assert server.server.max_in_flight <= 4


def test_all_of_the_concurrency_is_used(
    engine: Callable[..., ApiEngine], server: FaultServer
) -> None:
    server.plan(latency=0.1)
    assert len(complete(engine(concurrency=10), requests(40))) == 40
    assert server.server.max_in_flight == 10
    assert server.server.stats()["connections"] <= 10  # kept for the next request


def test_when_asked_to_stop_what_is_on_its_way_is_finished(
    engine: Callable[..., ApiEngine], server: FaultServer
) -> None:
    server.plan(Rule("unavailable", marker="s1"), latency=0.1)  # one waits for its next try
    limits.FIRST_WAIT_S = 60.0  # restored by the fixture
    session = Session()
    got: list[str] = []
    start = time.monotonic()
    for asked, completion in engine(concurrency=4).complete(requests(1000), session):
        assert completion.outcome is None
        got.append(asked.sample_id)
        if len(got) == 8:
            session.stop.set()
    assert time.monotonic() - start < 20
    answered = [seen.marker for seen in server.requests() if seen.status == 200]
    assert sorted(got) == sorted(answered)  # each answer that was paid for, and nothing else
    assert 8 <= len(got) <= 8 + 4 + 2
    assert "s1" not in got


def test_closing_gives_up_at_once(engine: Callable[..., ApiEngine], server: FaultServer) -> None:
    server.plan(Rule("hang", skip=1))
    answers = engine(concurrency=4).complete(requests(100), Session())
    next(answers)
    threads = threading.active_count()
    start = time.monotonic()
    answers.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 5
    assert threading.active_count() < threads


def test_an_error_of_the_source_ends_it_all(engine: Callable[..., ApiEngine]) -> None:
    def source() -> Iterator[ChatRequest]:
        yield request("s0")
        raise FfrError("no more")

    with pytest.raises(FfrError, match="no more"):
        complete(engine(concurrency=1), source())
    assert not [t for t in threading.enumerate() if t.name.startswith("ffr-api")]


def test_a_server_that_cannot_be_reached_ends_the_run(engine: Callable[..., ApiEngine]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    with pytest.raises(FfrError, match="cannot be reached") as raised:
        complete(engine(base_url=url, max_retries=1), requests(20))
    assert not isinstance(raised.value, InputError)
    assert "the same command goes on" in str(raised.value)


def test_settings_that_let_nothing_through(engine: Callable[..., ApiEngine]) -> None:
    for name, flag in (("concurrency", "--concurrency"), ("timeout_s", "--timeout")):
        with pytest.raises(InputError, match=flag):
            engine(**{name: 0})
    with pytest.raises(InputError, match="--max-retries"):
        engine(max_retries=-1)
    engine(max_retries=0)


def test_rates(engine: Callable[..., ApiEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MINUTE", 1.0)
    start = time.monotonic()
    complete(engine(requests_per_minute=10), requests(6))
    assert time.monotonic() - start >= 0.5
    start = time.monotonic()
    complete(engine(tokens_per_minute=4000, max_tokens=1000), requests(5))
    assert time.monotonic() - start >= 0.4


# --- Money


def test_the_limit_ends_the_run_and_says_how_to_go_on(
    engine: Callable[..., ApiEngine], server: FaultServer, tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text(PRICES)
    each = complete(engine(prices=tmp_path / "p.toml"))["s0"].cost
    assert each is not None
    earlier = 3 * each
    made = engine(prices=tmp_path / "p.toml", max_cost=earlier + 10.5 * each, concurrency=4)
    session = Session(spent=earlier)
    got: list[Completion] = []
    with pytest.raises(Stopped, match="--max-cost") as raised:
        got.extend(c for _, c in made.complete(requests(100), session))
    assert 10 <= len(got) <= 12
    assert len(server.requests()) == 1 + len(got)  # nothing was paid for in vain
    assert "of it now" in str(raised.value)
    # A model may ask for more in the same session: it is spent all the same.
    with pytest.raises(Stopped):
        next(iter(made.complete(requests(5), session)))
    assert len(server.requests()) == 1 + len(got)


def test_a_limit_that_is_not_reached_does_not_show(
    engine: Callable[..., ApiEngine], tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text(PRICES)
    each = complete(engine(prices=tmp_path / "p.toml"))["s0"].cost or 0.0
    made = engine(prices=tmp_path / "p.toml", max_cost=5.0 * each)
    assert len(complete(made, requests(5))) == 5  # it is reached with the last one


def test_the_status_says_what_happens(
    engine: Callable[..., ApiEngine], server: FaultServer, tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text(PRICES)
    server.plan(Rule("unavailable", of_each=1), latency=0.05)
    shown: list[str] = []
    made = engine(prices=tmp_path / "p.toml", concurrency=2)
    complete(made, requests(20), Session(status=shown.append))
    assert any("2 in flight" in text for text in shown)
    assert "$" in shown[-1]
    assert "retried" in shown[-1]
    assert len(shown) < 40


# --- The cache


def test_an_answer_is_paid_for_once(
    engine: Callable[..., ApiEngine], server: FaultServer, tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text(PRICES)
    settings = {"cache": tmp_path / "c.sqlite", "prices": tmp_path / "p.toml"}
    image = Image(0, png(tmp_path / "a.png"))
    asked = [request("s0", image), request("s1")]
    first = complete(engine(**settings), asked)
    again = complete(engine(**settings), asked)
    assert len(server.requests()) == 2
    for name in ("s0", "s1"):
        assert again[name].text == first[name].text
        assert again[name].usage == first[name].usage
        assert again[name].cost == 0.0
        assert again[name].meta["cached"] is True
    # What decides on the answer asks anew; where and how fast does not.
    complete(engine(**settings, temperature=0.5), asked)
    assert len(server.requests()) == 4
    complete(engine(**settings, concurrency=1, timeout_s=9.0), asked)
    assert len(server.requests()) == 4
    png(tmp_path / "a.png").write_bytes(png(tmp_path / "b.png").read_bytes() + b"\0")
    complete(engine(**settings), asked)  # another picture under the same name
    assert len(server.requests()) == 5
    complete(engine(**settings, refresh=True), asked)
    assert len(server.requests()) == 7


@pytest.mark.parametrize("fault", ["length", "refusal", "empty", "bad_request", "content_filter"])
def test_what_is_no_answer_is_not_kept(
    engine: Callable[..., ApiEngine], server: FaultServer, tmp_path: Path, fault: str
) -> None:
    server.plan(Rule(fault, count=1))
    for n_requests in (1, 2, 2):
        complete(engine(cache=tmp_path / "c.sqlite"))
        assert len(server.requests()) == n_requests


def test_the_key_is_not_in_the_cache(engine: Callable[..., ApiEngine], tmp_path: Path) -> None:
    complete(engine(cache=tmp_path / "c.sqlite"))
    data = b"".join(file.read_bytes() for file in tmp_path.glob("c.sqlite*"))
    assert OK.encode() in data
    assert KEY.encode() not in data


def test_an_answer_that_cannot_be_kept_is_there_all_the_same(
    engine: Callable[..., ApiEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: ResponseCache, key: str, response: Any) -> None:
        raise FfrError("the disk is full")

    monkeypatch.setattr(ResponseCache, "put", full)
    notes: list[str] = []
    got = complete(engine(cache=tmp_path / "c.sqlite"), requests(9), Session(note=notes.append))
    assert len(got) == 9
    assert {completion.text for completion in got.values()} == {OK}
    assert notes == ["answers are no longer kept in the cache: the disk is full"]


# --- Names of models


@pytest.mark.parametrize(
    ("asked", "answered", "same"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("models/gemini-2.5-flash", "gemini-2.5-flash", True),
        ("Qwen/Qwen2-VL", "qwen2-vl", True),
        ("gpt-4o", "gpt-3.5-turbo", False),
    ],
)
def test_names_of_the_same_model(asked: str, answered: str, same: bool) -> None:
    assert same_model(asked, answered) is same
