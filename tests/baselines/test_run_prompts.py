"""What a run sent, rendered again from its folder, against what a server really received."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from baselines.api import limits
from baselines.api.images import Encoding, data_uri
from baselines.api.model import ApiOptions
from baselines.generative.prompts import PromptBuilder
from baselines.generative.request_hash import request_hash
from baselines.generative.structured import ANSWER_SCHEMA
from baselines.run_prompts import (
    NO_FILE,
    NOT_KNOWN,
    NOTHING_SENT,
    OTHER_FILE,
    OTHER_REQUESTS,
    OTHER_WORDING,
    RunPrompt,
    run_prompts,
)
from ffr_eval import plugins
from ffr_eval.benchmark import read_benchmark
from ffr_eval.prediction_file import read_predictions
from ffr_eval.runs import read_run
from tests.servers import FaultServer, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.runs import RunRecord
    from ffr_eval.types import Prediction
    from tests.conftest import Cli, Result

SAMPLE = "ffr-sample"
MAX_PIXELS = 602112
TEMPLATE = """\
Which of these are about {{ query_mark(query) }}? Answer like {{ example }}
{% for turn in turns %}
{{ utt(turn.utt_id) }} {{ turn.speaker }}: {{ turn.text }}
{%- for image in turn.images %} {{ img(image.img_id) }}{{ image.pixels }}{% endfor %}

{% endfor %}
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "FIRST_WAIT_S", 0.02)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody")
    monkeypatch.setenv("FFR_RESPONSES", str(tmp_path / "cache" / "responses.sqlite"))


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(keep_bodies=True) as running:
        yield running


class Run:
    """A run folder, and what is said of it."""

    def __init__(self, cli: Cli, url: str, out: Path) -> None:
        self._cli, self._url, self.out = cli, url, out

    def __call__(self, *flags: object, benchmark: object = SAMPLE, limit: int = 6) -> Result:
        arguments = ["run", "api", benchmark, "--out", self.out, "--limit", limit]
        arguments += ["-o", "model=test-model", "-o", f"base_url={self._url}", *flags]
        return self._cli(*arguments)

    @property
    def record(self) -> RunRecord:
        return read_run(self.out)

    @property
    def predictions(self) -> dict[str, Prediction]:
        found = read_predictions(self.out / "predictions.jsonl")
        return {located.record.sample_id: located.record for located in found}

    def prompts(self, benchmark: Benchmark | None = None) -> list[RunPrompt]:
        data = read_benchmark(SAMPLE) if benchmark is None else benchmark
        return list(run_prompts(self.record, data, self.predictions))


@pytest.fixture
def run(cli: Cli, server: FaultServer, tmp_path: Path) -> Run:
    return Run(cli, server.url, tmp_path / "run")


@pytest.fixture
def own_sample(tmp_path: Path) -> Path:
    """A copy of the bundled benchmark that may be changed."""
    folder = tmp_path / "own"
    shutil.copytree(Path(str(files("ffr_eval") / "data" / SAMPLE)), folder)
    return folder


def as_sent(prompt: RunPrompt, benchmark: Benchmark) -> Iterator[str]:
    """The messages as the protocol has them, the pictures of the places that are named."""
    for request in prompt["requests"]:
        pictures = iter(request["images"])
        messages = []
        for message in request["messages"]:
            parts = [
                {"type": "text", "text": part["text"]}
                if "text" in part
                else {"type": "image_url", "image_url": {"url": uri(next(pictures), benchmark)}}
                for part in message["parts"]
            ]
            plain = all(part["type"] == "text" for part in parts)
            content = "".join(part["text"] for part in parts) if plain else parts
            messages.append({"role": message["role"], "content": content})
        assert next(pictures, None) is None
        yield json.dumps(messages)


def uri(place: Mapping[str, Any], benchmark: Benchmark) -> str:
    dialogue = benchmark.dialogues.dialogue_id.index(place["dialogue_id"])
    row = benchmark.queries.dialogue.tolist().index(dialogue)
    images = {image.img_id: image for image in benchmark.sample(row).dialogue.images}
    file = images[place["img_id"]].file
    assert file is not None
    return data_uri(file, Encoding(MAX_PIXELS))


def received(server: FaultServer) -> list[str]:
    return [json.dumps(seen.body["messages"]) for seen in server.requests()]


def hashes(prompts: Iterable[RunPrompt]) -> list[list[str]]:
    return [
        [request_hash(request["messages"], prompt["schema"]) for request in prompt["requests"]]
        for prompt in prompts
    ]


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("query=last", "prompt=cot"),
        ("window=9", "stride=5"),
        ("images=text_only", "captions=true", "answer=tool"),
        ("images=images_first", "answer=json_schema", "system=Be brief."),
        ("language=zh", "window=30", "images=images_first"),
        ("template=mine.jinja", "system=@system.txt", "window=20"),
    ],
)
def test_what_is_rendered_again_is_what_the_server_got(
    run: Run,
    server: FaultServer,
    flags: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.jinja").write_text(TEMPLATE)
    Path("system.txt").write_text("Look closely.\n")
    run(*(part for flag in flags for part in ("-o", flag)))
    benchmark = read_benchmark(SAMPLE)
    prompts = run.prompts(benchmark)
    assert len(prompts) == 6
    sent = [text for prompt in prompts for text in as_sent(prompt, benchmark)]
    assert sorted(sent) == sorted(received(server))
    windows = any("window" in flag for flag in flags)
    assert windows == (len(sent) > 6)
    schema = ANSWER_SCHEMA if any("answer" in flag for flag in flags) else None
    for prompt in prompts:
        assert (prompt["exact"], prompt["reason"], prompt["schema"]) == (True, None, schema)
        turns = benchmark.sample(benchmark.row_of(prompt["sample_id"]) or 0).dialogue.turns
        assert prompt["requests"][0]["utt_ids"][0] == turns[0].utt_id
        assert prompt["requests"][-1]["utt_ids"][1] == turns[-1].utt_id
        assert [request["part"] for request in prompt["requests"]] == list(
            range(len(prompt["requests"]))
        )
    noted = [(run.predictions[prompt["sample_id"]].meta or {})["prompts"] for prompt in prompts]
    assert hashes(prompts) == noted
    msgspec.json.encode(prompts)


def test_examples_are_shown_and_their_pictures_are_those_of_their_dialogues(
    run: Run, server: FaultServer
) -> None:
    run("--tune-on", "dev", "-o", "shots=2", "-o", "window=30")
    benchmark = read_benchmark(SAMPLE)
    prompts = run.prompts(benchmark)
    sent = [text for prompt in prompts for text in as_sent(prompt, benchmark)]
    assert sorted(sent) == sorted(received(server))
    assert {prompt["exact"] for prompt in prompts} == {True}
    shots = (run.record.selection or {})["shots"]
    names = {name.partition("#")[0] for name in shots}
    for prompt in prompts:
        for request in prompt["requests"]:
            roles = [message["role"] for message in request["messages"]]
            assert roles == ["user", "assistant", "user", "assistant", "user"]
            assert names <= {place["dialogue_id"] for place in request["images"]}


def test_of_a_sample_that_is_asked_again_it_is_what_was_sent_last(
    run: Run, server: FaultServer
) -> None:
    server.plan(Rule("context", count=1))
    run("--concurrency", 1, limit=2)
    benchmark = read_benchmark(SAMPLE)
    prompts = run.prompts(benchmark)
    sent = [text for prompt in prompts for text in as_sent(prompt, benchmark)]
    refused, *answered = received(server)
    assert sorted(sent) == sorted(answered)
    assert refused not in sent
    assert sorted(len(prompt["requests"]) > 1 for prompt in prompts) == [False, True]
    assert {prompt["exact"] for prompt in prompts} == {True}


def test_what_was_refused_for_good_or_never_sent_is_told(run: Run, server: FaultServer) -> None:
    server.plan(Rule("context"))
    run("-o", "overflow=refuse", limit=1)
    (prompt,) = run.prompts()
    assert (prompt["exact"], len(prompt["requests"])) == (True, 1)
    old = {name: replace(each, meta={}) for name, each in run.predictions.items()}
    (prompt,) = run_prompts(run.record, read_benchmark(SAMPLE), old)
    assert (prompt["exact"], prompt["requests"], prompt["reason"]) == (None, [], NOT_KNOWN)

    run.out = run.out.with_name("small")
    run("-o", "overflow=refuse", "-o", "context=1025", limit=1)
    (prompt,) = run.prompts()
    assert (prompt["exact"], prompt["requests"], prompt["reason"]) == (True, [], NOTHING_SENT)

    run.out = run.out.with_name("again")
    run(limit=1)  # in smaller and smaller windows, all refused
    (prediction,) = run.predictions.values()
    assert prediction.outcome == "context_overflow"
    (prompt,) = run.prompts()
    kept = len((prediction.meta or {})["prompts"])
    assert kept > 1
    assert prompt["reason"] in {None, NOT_KNOWN}
    assert prompt["exact"] is (True if prediction.steps else None)
    assert len(prompt["requests"]) == (kept if prediction.steps else 0)


def test_answers_of_the_cache_and_of_a_later_session_have_the_same_hashes(
    run: Run, server: FaultServer
) -> None:
    run("-o", "window=20", limit=4)
    n_asked = len(received(server))
    first = {name: (each.meta or {})["prompts"] for name, each in run.predictions.items()}
    file = run.out / "predictions.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]))
    run("-o", "window=20", limit=4)  # goes on, with the answers of the cache
    assert {name: (each.meta or {})["prompts"] for name, each in run.predictions.items()} == first
    cached = [(each.meta or {}).get("cached") is True for each in run.predictions.values()]
    assert sorted(cached) == [False, False, True, True]
    assert len(received(server)) == n_asked
    assert {prompt["exact"] for prompt in run.prompts()} == {True}


# --- What is no longer as it was


def test_a_template_that_was_changed_is_not_shown(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.jinja"
    mine.write_text(TEMPLATE)
    run("-o", f"template={mine}", limit=2)
    mine.write_text("Another one.\n" + TEMPLATE)
    for prompt in run.prompts():
        assert (prompt["exact"], prompt["requests"], prompt["reason"]) == (False, [], OTHER_FILE)
    mine.unlink()
    for prompt in run.prompts():
        assert (prompt["exact"], prompt["requests"]) == (None, [])
        assert prompt["reason"] == f"mine.jinja: {NO_FILE}"


@pytest.mark.parametrize("field", ["template", "system"])
@pytest.mark.parametrize("place", ["secret.txt", "/dev/zero", "a\0b", "."])
def test_a_run_folder_of_others_cannot_publish_files_of_this_machine(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, place: str
) -> None:
    run(limit=1)
    monkeypatch.chdir(tmp_path)
    Path("secret.txt").write_text("the password is tulip")
    named = place if field == "template" else f"@{place}"
    options = {**run.record.options, field: named}
    record = msgspec.structs.replace(run.record, options=options)
    (prompt,) = run_prompts(record, read_benchmark(SAMPLE), run.predictions)
    assert prompt["requests"] == []
    assert prompt["reason"] is not None
    assert "tulip" not in json.dumps(prompt)


def test_other_wording_and_other_pictures_are_noticed(
    run: Run, own_sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(benchmark=own_sample, limit=1)
    (prompt,) = run.prompts(read_benchmark(own_sample))
    assert prompt["exact"] is True
    place = prompt["requests"][0]["images"][0]
    picture = read_benchmark(own_sample).sample(0).dialogue.images[place["img_id"]].file
    assert picture is not None
    data = picture.read_bytes()
    picture.write_bytes(data + b"\0")
    (prompt,) = run.prompts(read_benchmark(own_sample))
    assert (prompt["exact"], prompt["reason"]) == (False, OTHER_REQUESTS)
    picture.write_bytes(data)
    old = {name: replace(each, meta=None) for name, each in run.predictions.items()}
    wording = {"en": "Another task {utt}{img}{query}.", "zh": "{utt}{img}{query}"}
    monkeypatch.setattr("ffr_eval.prompt._TASK", wording)
    (prompt,) = run.prompts(read_benchmark(own_sample))
    assert (prompt["exact"], prompt["reason"]) == (False, OTHER_REQUESTS)
    assert "Another task" in prompt["requests"][0]["messages"][0]["parts"][0]["text"]
    (prompt,) = run_prompts(run.record, read_benchmark(own_sample), old)
    assert (prompt["exact"], prompt["reason"]) == (False, OTHER_WORDING)


def test_a_run_without_hashes_is_rendered_but_not_verified(run: Run, server: FaultServer) -> None:
    run("-o", "window=20", limit=3)
    benchmark = read_benchmark(SAMPLE)
    old = {
        name: replace(each, meta={k: v for k, v in (each.meta or {}).items() if k != "prompts"})
        for name, each in run.predictions.items()
    }
    prompts = list(run_prompts(run.record, benchmark, old))
    assert [(prompt["exact"], prompt["reason"]) for prompt in prompts] == [(None, None)] * 3
    sent = [text for prompt in prompts for text in as_sent(prompt, benchmark)]
    assert sorted(sent) == sorted(received(server))


@pytest.mark.parametrize("noted", [3, ["sha256:0"], [None], "sha256:0", []])
def test_hashes_that_were_tampered_with(run: Run, noted: Any) -> None:
    run(limit=1)
    changed = {
        name: replace(each, meta={"prompts": noted}) for name, each in run.predictions.items()
    }
    (prompt,) = run_prompts(run.record, read_benchmark(SAMPLE), changed)
    assert prompt["exact"] is {str(["sha256:0"]): False, "[]": True}.get(str(noted))
    assert len(prompt["requests"]) == (0 if noted == [] else 1)


# --- What cannot be rendered


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "of-somebody"}, "unknown model 'of-somebody'"),
        ({"options": {"colour": "red"}}, "option colour: unknown option"),
        ({"options": {"window": "wide"}}, "option window: 'wide' is not"),
        ({"options": {"shots": 2}}, "it is not recorded which examples were shown"),
        ({"options": {"shots": 1}, "selection": {"shots": ["x#0"]}}, "not all of the examples"),
        ({"options": {"stride": 2}}, "option stride: has no effect without windows"),
    ],
)
def test_what_is_wrong_with_a_run_is_a_reason(
    run: Run, change: dict[str, Any], reason: str
) -> None:
    run(limit=2)
    prompts = list(
        run_prompts(
            msgspec.structs.replace(run.record, **change), read_benchmark(SAMPLE), run.predictions
        )
    )
    assert len(prompts) == 2
    for prompt in prompts:
        assert (prompt["exact"], prompt["requests"]) == (None, [])
        assert reason in (prompt["reason"] or "")


def test_what_is_wrong_with_a_sample_is_a_reason_of_that_sample(run: Run) -> None:
    run("-o", "window=20", limit=3)
    broken = run.predictions
    first, second, third = broken
    steps = broken[first].steps or ()
    broken[first] = replace(broken[first], steps=({**steps[0], "shown_utt_ids": [5, 1]},))
    broken[second] = replace(broken[second], steps=({**steps[0], "outcome": "odd"},))
    broken["nobody#0"] = broken[third]
    found = {
        prompt["sample_id"]: prompt
        for prompt in run_prompts(run.record, read_benchmark(SAMPLE), broken)
    }
    assert found[third]["exact"] is True
    assert "not windows of the dialogue" in (found[first]["reason"] or "")
    assert "outcome" in (found[second]["reason"] or "")
    assert found["nobody#0"]["reason"] == "the benchmark has no such sample"
    for name in (first, second, "nobody#0"):
        assert (found[name]["exact"], found[name]["requests"]) == (None, [])


def test_a_template_that_fails_for_one_sample(run: Run, tmp_path: Path) -> None:
    mine = tmp_path / "mine.jinja"
    mine.write_text(TEMPLATE)
    run("-o", f"template={mine}", limit=2)
    first, second = run.predictions
    benchmark = read_benchmark(SAMPLE)
    query = benchmark.sample(benchmark.row_of(first) or 0).query
    mine.write_text("{{ 1 // (query | length - " + str(len(query)) + ") }}" + TEMPLATE)
    wording = PromptBuilder(msgspec.convert(run.record.options, ApiOptions)).hash
    record = msgspec.structs.replace(run.record, prompt_hash=wording)
    found = {each["sample_id"]: each for each in run_prompts(record, benchmark, run.predictions)}
    assert (found[first]["exact"], found[first]["requests"]) == (None, [])
    assert (found[first]["reason"] or "").startswith("mine.jinja: the template fails")
    assert (found[second]["exact"], found[second]["reason"]) == (False, OTHER_REQUESTS)
    assert len(found[second]["requests"]) == 1


@pytest.mark.parametrize("model", ["bm25", "all"])
def test_a_model_without_prompts_has_none(cli: Cli, tmp_path: Path, model: str) -> None:
    out = tmp_path / "run"
    cli("run", model, SAMPLE, "--out", out, "--limit", 2)
    found = {
        each.record.sample_id: each.record for each in read_predictions(out / "predictions.jsonl")
    }
    assert found
    assert list(run_prompts(read_run(out), read_benchmark(SAMPLE), found)) == []
    claimed = msgspec.structs.replace(read_run(out), prompt_hash="sha256:0")
    assert list(run_prompts(claimed, read_benchmark(SAMPLE), found)) == []


# --- As a plugin, and without what a model needs


def test_it_is_found_as_a_plugin(run: Run) -> None:
    run(limit=1)
    render: Callable[..., Iterator[RunPrompt]] = plugins.load(plugins.PROMPTS, "baselines")
    (prompt,) = render(run.record, read_benchmark(SAMPLE), run.predictions)
    assert prompt["exact"] is True


@pytest.mark.parametrize("model", ["api", "hf", "vllm"])
def test_no_engine_is_needed_and_hashes_do_not_depend_on_it(run: Run, model: str) -> None:
    run("-o", "query=last", "-o", "window=20", limit=1)
    record = json.loads((run.out / "run.json").read_text())
    names = ("query", "window") if model != "api" else tuple(record["options"])
    record["options"] = {name: record["options"][name] for name in names}
    (run.out / "run.json").write_text(json.dumps({**record, "model": model}))
    program = f"""
import socket, sys
socket.socket = socket.create_connection = None
from pathlib import Path
from ffr_eval.benchmark import read_benchmark
from ffr_eval.prediction_file import read_predictions
from ffr_eval.runs import read_run
from baselines.run_prompts import run_prompts
out = Path({str(run.out)!r})
(found,) = read_predictions(out / "predictions.jsonl")
given = {{found.record.sample_id: found.record}}
(prompt,) = run_prompts(read_run(out), read_benchmark({SAMPLE!r}), given)
assert prompt["exact"] is True, prompt["reason"]
heavy = {{"torch", "transformers", "vllm", "openai", "ray"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={"PATH": ""},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_hash_is_of_content_and_not_of_places(
    run: Run, own_sample: Path, tmp_path: Path
) -> None:
    run(limit=1)
    (here,) = run.prompts()
    (there,) = run_prompts(run.record, read_benchmark(own_sample), run.predictions)
    assert here == there
    assert here["requests"][0]["images"]
    assert str(tmp_path) not in json.dumps(there)


def test_the_hash_can_be_made_elsewhere() -> None:
    """The form is documented: this is what any other program would compute."""
    messages = [{"role": "user", "parts": [{"text": "naïve\n"}, {"img_id": 0, "sha256": None}]}]
    expected = "sha256:9f0795f0e78f5b35a3fabfc2e9ac598789472eadefb96a9aec6c7df90b182049"
    assert request_hash(messages, None) == expected
    assert request_hash(messages, {}) != expected
    assert request_hash([{**messages[0], "role": "system"}], None) != expected
