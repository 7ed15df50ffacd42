"""The engine, with a stand-in for vLLM: chunks, failures, stopping."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from baselines.session import Session
from baselines.vllm.engine import sampling_arguments
from baselines.vllm.options import VllmOptions
from ffr_eval.errors import FfrError, InputError
from ffr_eval.types import Image, Outcome
from tests.baselines.vllm.conftest import request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from baselines.generative.chat import ChatRequest
    from baselines.vllm.engine import VllmEngine
    from tests.baselines.vllm.conftest import FakeLLM

    Make = Callable[..., VllmEngine]


def sizes(llm: FakeLLM) -> list[int]:
    return [len(call) for call in llm.calls]


def outcomes(engine: VllmEngine, requests: list[ChatRequest], **session: Any) -> dict[str, Any]:
    done = engine.complete(iter(requests), Session(**session))
    return {each.sample_id: completion.outcome for each, completion in done}


def test_requests_go_in_chunks_and_are_drawn_no_further(make: Make, fake_vllm: FakeLLM) -> None:
    drawn = []

    def requests() -> Iterator[ChatRequest]:
        for number in range(5):
            drawn.append(number)
            yield request(f"s{number}", "Hello")

    done = make(batch_size=2).complete(requests(), Session())
    first, completion = next(done)
    assert (first.sample_id, drawn) == ("s0", [0, 1])
    assert completion.outcome is None
    assert completion.text is not None
    assert [each.sample_id for each, _ in done] == ["s1", "s2", "s3", "s4"]
    assert sizes(fake_vllm) == [2, 2, 1]


def test_a_chunk_ends_where_its_pictures_become_too_many(
    make: Make, fake_vllm: FakeLLM, images: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baselines.vllm.engine.CHUNK_PIXELS", 2 * 28 * 28 * 4)
    shared = [request(f"a{k}", images[0], "?", dialogue="a") for k in range(3)]
    own = [request(f"b{k}", images[k], "?", dialogue=f"b{k}") for k in (1, 2)]
    assert len(outcomes(make(), [*shared, *own])) == 5
    assert sizes(fake_vllm) == [4, 1]


def test_no_chunk_is_begun_after_a_stop(make: Make, fake_vllm: FakeLLM) -> None:
    stop = threading.Event()
    fake_vllm.before = stop.set
    requests = [request(f"s{k}", "Hello") for k in range(6)]
    assert len(outcomes(make(batch_size=2), requests, stop=stop)) == 2


def test_a_bad_request_does_not_sink_the_others(make: Make, fake_vllm: FakeLLM) -> None:
    requests = [request(f"s{k}", "BAD" if k == 5 else "Hello") for k in range(8)]
    done = outcomes(make(), requests)
    assert {name for name, outcome in done.items() if outcome} == {"s5"}
    assert done["s5"] is Outcome.REQUEST_ERROR
    assert len(done) == 8
    assert sizes(fake_vllm) == [8, 4, 4, 2, 1, 1, 2]


def test_a_few_bad_requests_alone_are_failures(make: Make) -> None:
    assert outcomes(make(), [request("s0", "BAD")]) == {"s0": Outcome.REQUEST_ERROR}


@pytest.mark.parametrize("number", [5, 40])
def test_if_all_fail_the_engine_is_broken_and_nothing_is_recorded(
    make: Make, fake_vllm: FakeLLM, number: int
) -> None:
    requests = [request(f"s{k}", "BAD") for k in range(number)]
    done = make().complete(iter(requests), Session())
    with pytest.raises(FfrError, match=r"in a row.*no such thing"):
        next(done)
    assert len(fake_vllm.calls) < 30


def test_a_dead_engine_ends_the_run(make: Make) -> None:
    requests = [request("s0", "Hello"), request("s1", "DEAD")]
    with pytest.raises(FfrError, match="broke down"):
        outcomes(make(), requests)


def test_an_engine_that_ctrl_c_ended_is_no_failure(make: Make, fake_vllm: FakeLLM) -> None:
    stop = threading.Event()
    fake_vllm.before = stop.set
    assert outcomes(make(), [request("s0", "DEAD")], stop=stop) == {}


def test_what_ctrl_c_aborted_is_not_recorded(make: Make, fake_vllm: FakeLLM) -> None:
    stop = threading.Event()
    fake_vllm.finish = "abort"
    assert outcomes(make(), [request("s0", "Hello")]) == {"s0": Outcome.REQUEST_ERROR}
    fake_vllm.before = stop.set
    assert outcomes(make(), [request("s0", "Hello")], stop=stop) == {}


def test_a_prompt_that_is_too_long_is_not_sent(make: Make, fake_vllm: FakeLLM) -> None:
    requests = [request("s0", "Hello " * 100), request("s1", "Hello")]
    engine = make(context=100)
    done = {each.sample_id: c for each, c in engine.complete(iter(requests), Session())}
    assert done["s0"].outcome is Outcome.CONTEXT_OVERFLOW
    assert "100 are possible" in (done["s0"].error or "")
    assert done["s1"].outcome is None
    assert sizes(fake_vllm) == [1]
    assert fake_vllm.started_with["max_model_len"] == 100  # type: ignore[attr-defined]


def test_what_vllm_finds_too_long_is_an_overflow_too(make: Make) -> None:
    requests = [request("s0", "LONG"), request("s1", "Hello")]
    assert outcomes(make(), requests) == {"s0": Outcome.CONTEXT_OVERFLOW, "s1": None}


def test_an_image_that_cannot_be_read_fails_its_requests_only(
    make: Make, images: list[Image], tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    requests = [
        request("s0", Image(7, tmp_path / "bad.png"), "?", dialogue="a"),
        request("s1", images[0], "?", dialogue="b"),
    ]
    done = {each.sample_id: c for each, c in make().complete(iter(requests), Session())}
    assert done["s0"].outcome is Outcome.REQUEST_ERROR
    assert "image 7 (bad.png)" in (done["s0"].error or "")
    assert done["s1"].outcome is None


def test_the_same_windows_of_a_dialogue_stand_together(make: Make, fake_vllm: FakeLLM) -> None:
    asked = [
        request(f"{dialogue}{k}", f"{dialogue} window {part}", dialogue=dialogue, part=part)
        for dialogue in "ba"
        for k in range(2)
        for part in range(2)
    ]
    list(make().complete(iter(asked), Session()))
    sent = [prompt["prompt"].split("\n")[1][:10] for prompt in fake_vllm.calls[0]]
    assert sent == [f"{d} window {part}" for d in "ba" for part in (0, 0, 1, 1)]


def test_pictures_are_read_once_a_dialogue_and_stand_in_the_prompt(
    make: Make, fake_vllm: FakeLLM, images: list[Image]
) -> None:
    parts = ("See ", images[0], " and ", images[2], " and ")
    list(make().complete(iter([request("s0", *parts, "q"), request("s1", *parts, "r")]), Session()))
    one, two = fake_vllm.calls[0]
    assert one["multi_modal_data"]["image"] is two["multi_modal_data"]["image"]
    assert len(one["multi_modal_data"]["image"]) == 2
    assert one["prompt"].count("<|image_pad|>") == 2
    assert one["prompt"].endswith("and q<|im_end|>\n<|im_start|>assistant\n")
    assert fake_vllm.arguments[0]["use_tqdm"] is False


def test_special_tokens_in_a_dialogue_are_broken(make: Make, fake_vllm: FakeLLM) -> None:
    list(make().complete(iter([request("s0", "he wrote <|im_end|>")]), Session()))
    assert fake_vllm.calls[0][0]["prompt"].count("<|im_end|>") == 1


def test_notes_say_how_much_was_shared(make: Make) -> None:
    notes: list[str] = []
    requests = [request(f"s{k}", "Hello") for k in range(20)]
    outcomes(make(), requests, note=notes.append)
    assert notes == ["prefix cache: 75% of 2,000 prompt tokens were shared"]
    notes.clear()
    outcomes(make(query="first"), requests, note=notes.append)
    assert "query=first" in notes[0]


def test_images_are_reserved_for_before_the_start(make: Make, fake_vllm: FakeLLM) -> None:
    engine = make()
    engine.expect(3)
    list(engine.complete(iter([request("s0", "Hello")]), Session()))
    started: Any = fake_vllm.started_with  # type: ignore[attr-defined]
    assert started["limit_mm_per_prompt"] == {"image": 3, "video": 0}
    assert started["mm_processor_kwargs"]["size"]["longest_edge"] == 28 * 28 * 4
    assert started["enable_prefix_caching"] is True
    engine.expect(2)
    with pytest.raises(FfrError, match="up to 3 images"):
        engine.expect(4)


def test_lengths_are_exact(make: Make, images: list[Image]) -> None:
    engine = make()
    plain = engine.count_tokens(request("s0", "Hello"))
    shown = engine.count_tokens(request("s0", images[0], "Hello"))
    assert plain.exact
    assert shown.exact
    # The image is enlarged to the least size: 3 × 2 patches of 28; with a mark before and after.
    assert shown.tokens - plain.tokens == 6 + 2


def test_what_is_sampled_does_not_depend_on_other_requests() -> None:
    greedy = sampling_arguments(VllmOptions(), request("a", "x"))
    assert greedy == {"temperature": 0.0, "top_p": 1.0, "max_tokens": 1024}
    options = VllmOptions(temperature=0.7, logprobs=True, top_logprobs=5)
    seeds = {
        sampling_arguments(options, request(name, "x", part=part))["seed"]
        for name, part in (("a", 0), ("b", 0), ("a", 1), ("a", 0))
    }
    assert len(seeds) == 3
    assert sampling_arguments(options, request("a", "x"))["logprobs"] == 5


def test_structured_output_asks_for_the_schema(make: Make, fake_vllm: FakeLLM) -> None:
    list(make(answer="json_schema").complete(iter([request("s0", "Hello")]), Session()))
    (params,) = fake_vllm.arguments[0]["sampling_params"]
    assert set(params.structured_outputs.json["properties"]) == {"utt_ids", "img_ids"}


def test_the_processes_are_ended_once(make: Make, fake_vllm: FakeLLM) -> None:
    ended = []

    def shutdown(timeout: float | None = None) -> None:
        ended.append(timeout)

    core = SimpleNamespace(shutdown=shutdown)
    fake_vllm.llm_engine = SimpleNamespace(engine_core=core)  # type: ignore[attr-defined]
    engine = make()
    engine.close()
    assert ended == []
    list(engine.complete(iter([request("s0", "Hello")]), Session()))
    engine.close()
    engine.close()
    assert ended == [30]


def test_a_model_that_does_not_exist_is_refused(make: Make) -> None:
    with pytest.raises(InputError, match="option model"):
        _ = make(model="nowhere").revision
