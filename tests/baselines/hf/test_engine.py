"""The engine, on tiny checkpoints of the real classes."""

from __future__ import annotations

import json
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest

from baselines.hf import engine as engine_module
from baselines.session import Session
from ffr_eval.errors import FfrError, InputError
from ffr_eval.markup import answer_text
from ffr_eval.types import Image, Outcome
from tests.baselines.hf.conftest import (
    MAX_PIXELS,
    VISION,
    complete,
    loaded,
    make,
    request,
    script,
    session_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from baselines.generative.chat import ChatRequest
    from baselines.hf.engine import HfEngine

LOOSE = 1e-4


@pytest.fixture(scope="module", params=VISION)
def vision(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> HfEngine:
    return make(checkpoints[request.param], logprobs=True)


@pytest.fixture(scope="module")
def qwen(checkpoints: dict[str, Path]) -> Path:
    return checkpoints["qwen2_5_vl"]


def test_an_answer_does_not_depend_on_the_batch(vision: HfEngine, mixed: list[ChatRequest]) -> None:
    together = complete(vision, mixed)
    assert list(together) != [each.sample_id for each in mixed]  # sorted by length
    texts = set()
    for each in mixed:
        alone, batched = complete(vision, [each])[each.sample_id], together[each.sample_id]
        assert alone.text == batched.text
        assert alone.usage == batched.usage
        assert alone.logprobs is not None
        assert batched.logprobs is not None
        for name in ("token_logprobs", "entropy"):
            assert alone.logprobs[name] == pytest.approx(batched.logprobs[name], abs=LOOSE)
        texts.add(alone.text)
    assert len(texts) == len(mixed)  # the prompts make a difference


def test_lengths_are_known_before_and_are_those_that_the_model_reads(
    vision: HfEngine, mixed: list[ChatRequest]
) -> None:
    counts = {each.sample_id: vision.count_tokens(each) for each in mixed}
    assert all(count.exact for count in counts.values())
    assert vision._preparation._shortcut is True  # no pixels were needed but for one check
    for name, completion in complete(vision, mixed).items():
        assert completion.usage is not None
        assert completion.usage["prompt_tokens"] == counts[name].tokens


def test_without_the_shortcut_lengths_are_the_same(
    vision: HfEngine, mixed: list[ChatRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = make(str(vision._source.folder))
    monkeypatch.setattr(
        type(slow._wording.processor),
        "_get_num_multimodal_tokens",
        lambda self, image_sizes: {"num_image_tokens": [1] * len(image_sizes)},
    )
    counts = [slow.count_tokens(each) for each in mixed]
    assert slow._preparation._shortcut is False  # it was found to be wrong
    monkeypatch.undo()
    assert counts == [vision.count_tokens(each) for each in mixed]


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl"])
def test_an_answer_is_that_of_transformers(
    checkpoints: dict[str, Path], name: str, mixed: list[ChatRequest]
) -> None:
    """The model card's own way: its processor, its template, its generate."""
    import torch
    from PIL import Image as Reader
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = str(checkpoints[name])
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor.size = {"shortest_edge": 3136, "longest_edge": MAX_PIXELS}
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    ours = complete(make(folder), mixed)
    for each in mixed:
        chat = [
            {
                "role": message.role,
                "content": [
                    {"type": "text", "text": part}
                    if isinstance(part, str)
                    else {"type": "image", "image": Reader.open(str(part.file)).convert("RGB")}
                    for part in message.parts
                ],
            }
            for message in each.messages
        ]
        inputs = processor.apply_chat_template(
            chat, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
        )
        with torch.inference_mode():
            written = model.generate(
                **inputs, max_new_tokens=8, do_sample=False, repetition_penalty=1.0
            )
        new = written[0, inputs["input_ids"].shape[1] :]
        assert ours[each.sample_id].text == processor.decode(new, skip_special_tokens=True)


def test_probabilities_are_those_of_a_forward_pass(
    vision: HfEngine, mixed: list[ChatRequest]
) -> None:
    """Of the whole distribution; of the model itself, also where tokens are drawn."""
    import torch

    folder = vision._source.folder
    drawing = make(folder, logprobs=True, temperature=3.0, top_p=0.5)
    for engine in (vision, drawing):
        kept: list[Any] = []
        model = loaded(engine)
        _never_writes_images(model)
        original = model.generate

        def keep(*, original: Any = original, kept: list[Any] = kept, **arguments: Any) -> Any:
            kept.append((arguments, original(**arguments)))
            return kept[-1][1]

        model.generate = keep
        done = complete(engine, mixed[1:2])["s1"]
        model.generate = original
        ((arguments, sequence),) = kept
        inputs = {
            key: value
            for key, value in arguments.items()
            if key not in {"generation_config", "logits_processor"}
        }
        n_prompt = inputs["input_ids"].shape[1]
        grown = sequence.shape[1] - n_prompt
        for key in ("attention_mask", "mm_token_type_ids"):
            if key in inputs:
                fill = int(key == "attention_mask")
                inputs[key] = torch.nn.functional.pad(inputs[key], (0, grown), value=fill)
        with torch.inference_mode():
            logits = model(**{**inputs, "input_ids": sequence}).logits[0, n_prompt - 1 : -1]
        expected = torch.log_softmax(logits.double(), dim=-1)
        chosen = expected.gather(1, sequence[0, n_prompt:, None])[:, 0]
        entropy = -(expected.exp() * expected).sum(dim=-1)
        assert done.logprobs is not None
        n_written = len(done.logprobs["entropy"])
        assert done.usage is not None
        assert n_written == done.usage["completion_tokens"] == len(done.logprobs["token_logprobs"])
        assert done.logprobs["entropy_kind"] == "full"
        assert done.logprobs["token_logprobs"] == pytest.approx(
            chosen[:n_written].tolist(), abs=LOOSE
        )
        assert done.logprobs["entropy"] == pytest.approx(entropy[:n_written].tolist(), abs=LOOSE)
        assert min(done.logprobs["entropy"]) > 0.01


def _never_writes_images(model: Any) -> None:
    """Random weights may; the pass over the whole text would look for more images."""
    image = model.config.image_token_id

    def without(module: Any, arguments: Any, logits: Any) -> Any:
        return logits.index_fill(-1, logits.new_tensor([image]).long(), -1e9)

    model.get_output_embeddings().register_forward_hook(without)


def test_probabilities_are_kept_only_when_asked_for(qwen: Path, mixed: list[ChatRequest]) -> None:
    assert complete(make(qwen), mixed[:1])["s0"].logprobs is None


def test_an_answer_that_ends_and_one_that_is_cut(
    qwen: Path, copied: Callable[[str], Path], mixed: list[ChatRequest]
) -> None:
    engine = make(qwen, max_tokens=6, logprobs=True)
    cut = complete(engine, mixed[:1])["s0"]
    assert (cut.outcome, cut.finish_reason) == (Outcome.TRUNCATED, "length")
    assert cut.text
    assert cut.usage is not None
    assert cut.usage["completion_tokens"] == 6
    folder = copied("qwen2_5_vl")
    end = engine._wording.tokenizer.convert_tokens_to_ids("<|im_end|>")
    ending = make(folder, max_tokens=6, logprobs=True)
    script(ending, [70, 71, end, 72])
    done = complete(ending, mixed[:1])["s0"]
    assert (done.outcome, done.finish_reason) == (None, "stop")
    assert done.text == engine._wording.tokenizer.decode([70, 71])
    assert done.usage is not None
    assert done.usage["completion_tokens"] == 3
    assert done.logprobs is not None
    assert len(done.logprobs["entropy"]) == 3


def test_ends_that_the_settings_of_generation_name(
    copied: Callable[[str], Path], mixed: list[ChatRequest]
) -> None:
    folder = copied("qwen2_5_vl")
    path = folder / "generation_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "eos_token_id": [70, 71]}))
    engine = make(folder, max_tokens=6)
    script(engine, [80, 81, 71, 82])
    done = complete(engine, mixed[:1])["s0"]
    assert (done.outcome, done.finish_reason) == (None, "stop")


def test_markers_survive_even_as_special_tokens(
    copied: Callable[[str], Path], mixed: list[ChatRequest]
) -> None:
    from transformers import AutoTokenizer

    answer = answer_text([1, 2], [0])
    for special in (None, False, True):
        folder = copied("qwen2_5_vl")
        if special is not None:
            tokenizer = AutoTokenizer.from_pretrained(str(folder))
            tokenizer.add_tokens(["<|utt_ids_start|>", "<|utt_ids_end|>"], special_tokens=special)
            tokenizer.save_pretrained(str(folder))
        engine = make(folder, max_tokens=200)
        tokenizer = engine._wording.tokenizer
        if special is not None:
            loaded(engine).resize_token_embeddings(len(tokenizer), mean_resizing=False)
        ids = tokenizer(answer)["input_ids"]
        script(engine, [*ids, tokenizer.eos_token_id])
        assert complete(engine, mixed[:1])["s0"].text == answer
        shutil.rmtree(folder)


def test_scores_that_are_no_numbers_are_a_failure(qwen: Path, mixed: list[ChatRequest]) -> None:
    import torch

    engine = make(qwen)

    def broken(module: Any, arguments: Any, logits: Any) -> Any:
        return torch.full_like(logits, float("nan"))

    loaded(engine).get_output_embeddings().register_forward_hook(broken)
    done = complete(engine, mixed[:1])["s0"]
    assert done.outcome is Outcome.REQUEST_ERROR
    assert done.error is not None
    assert "dtype=float32" in done.error


def test_drawn_answers_depend_on_seed_and_sample_only(qwen: Path, mixed: list[ChatRequest]) -> None:
    def texts(seed: int, requests: list[ChatRequest]) -> dict[str, str | None]:
        engine = make(qwen, temperature=0.7, top_p=0.9, seed=seed)
        return {name: done.text for name, done in complete(engine, requests).items()}

    together = texts(1, mixed)
    assert texts(1, mixed) == together
    assert texts(1, mixed[2:3]) == {"s2": together["s2"]}
    other = texts(2, mixed)
    assert all(other[name] != text for name, text in together.items())
    greedy = complete(make(qwen), mixed)
    assert any(greedy[name].text != text for name, text in together.items())
    # The windows of a sample, and samples with the same prompt, draw for themselves.
    same = [request(0, "Hello."), request(9, "Hello.")]
    assert len(set(texts(1, same).values())) == 2


def test_a_prompt_that_is_too_long_never_reaches_the_model(
    qwen: Path, mixed: list[ChatRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make(qwen)
    assert engine.context_tokens == 4096
    long = request(9, "word " * 1400)
    assert engine.count_tokens(long).tokens + 8 > 4096
    seen: list[str] = []
    generator = engine._loaded(Session())
    original = generator.complete
    monkeypatch.setattr(
        generator,
        "complete",
        lambda batch: seen.extend(each.request.sample_id for each in batch) or original(batch),
    )
    done = complete(engine, [long, *mixed])
    assert "s9" not in seen
    assert len(seen) == len(mixed)
    assert done["s9"].outcome is Outcome.CONTEXT_OVERFLOW
    assert done["s9"].error is not None
    assert "4096" in done["s9"].error
    # The user's own limit counts, and answers need room.
    exact = engine.count_tokens(mixed[0]).tokens
    for context, outcome in ((exact + 7, Outcome.CONTEXT_OVERFLOW), (exact + 8, Outcome.TRUNCATED)):
        assert complete(make(qwen, context=context), mixed[:1])["s0"].outcome is outcome


def test_a_length_that_was_counted_wrongly_is_noticed(
    qwen: Path, mixed: list[ChatRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make(qwen, context=60)
    monkeypatch.setattr(engine._preparation, "_length", lambda request: 10)
    done = complete(engine, mixed)
    assert done["s3"].outcome is Outcome.CONTEXT_OVERFLOW
    assert done["s0"].outcome is Outcome.TRUNCATED


def test_an_image_that_cannot_be_read_fails_its_request_only(
    qwen: Path, mixed: list[ChatRequest], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    bad = request(8, "Look: ", Image(5, broken))
    lost = request(9, "Look: ", Image(6, None))
    done = complete(make(qwen), [bad, *mixed, lost])
    assert len(done) == len(mixed) + 2
    assert done["s8"].outcome is done["s9"].outcome is Outcome.REQUEST_ERROR
    assert done["s8"].error is not None
    assert "image 5 (broken.png)" in done["s8"].error
    assert done["s9"].error == "image 6 has no file"
    assert done["s1"].outcome is Outcome.TRUNCATED


def failing(engine: HfEngine, fails: Callable[[list[str]], Exception | None]) -> list[list[str]]:
    """Make some batches fail; the samples of each batch that was tried."""
    tried: list[list[str]] = []
    generator = engine._loaded(Session())
    original = generator.complete

    def completed(batch: Any) -> Any:
        tried.append([each.request.sample_id for each in batch])
        error = fails(tried[-1])
        if error is not None:
            raise error
        return original(batch)

    generator.complete = completed  # type: ignore[method-assign]
    return tried


def test_short_memory_halves_the_batches(qwen: Path, mixed: list[ChatRequest]) -> None:
    import torch

    def short(batch: list[str]) -> Exception | None:
        return torch.OutOfMemoryError("CUDA out of memory") if len(batch) > 2 else None

    engine = make(qwen)
    tried = failing(engine, short)
    notes: list[str] = []
    done = complete(engine, mixed, session_of(notes))
    assert {name: each.text for name, each in done.items()} == {
        name: each.text for name, each in complete(make(qwen), mixed).items()
    }
    assert len(tried[0]) == 5
    assert len(notes) >= 1
    assert "smaller batches" in notes[0]
    n_tried = len(tried)
    complete(engine, mixed)
    assert len(tried[n_tried]) < 5  # it has learned


def test_a_request_too_large_for_memory(qwen: Path, mixed: list[ChatRequest]) -> None:
    def short(batch: list[str]) -> Exception | None:
        text = "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"
        return RuntimeError(text) if "s3" in batch else None

    engine = make(qwen)
    failing(engine, short)
    done = complete(engine, mixed)
    assert done["s3"].outcome is Outcome.REQUEST_ERROR
    assert done["s3"].error is not None
    assert all(word in done["s3"].error for word in ("max_pixels", "window", "allocate"))
    assert sum(each.outcome is Outcome.REQUEST_ERROR for each in done.values()) == 1


def test_an_error_fails_its_request_only(qwen: Path, mixed: list[ChatRequest]) -> None:
    engine = make(qwen)
    failing(engine, lambda batch: ValueError("odd shape") if "s1" in batch else None)
    done = complete(engine, mixed)
    assert done["s1"].outcome is Outcome.REQUEST_ERROR
    assert done["s1"].error == "ValueError: odd shape"
    assert sum(each.outcome is Outcome.REQUEST_ERROR for each in done.values()) == 1


@pytest.mark.parametrize("n_requests", [3, 40])
def test_a_broken_engine_ends_the_run_and_blames_no_sample(qwen: Path, n_requests: int) -> None:
    engine = make(qwen)
    failing(engine, lambda batch: RuntimeError("device-side assert"))
    done = engine.complete((request(k, f"text {k}") for k in range(n_requests)), Session())
    with pytest.raises(FfrError, match="device-side assert"):
        next(done)


def test_an_engine_that_breaks_later(qwen: Path) -> None:
    engine = make(qwen, batch_size=4)
    tried = failing(engine, lambda batch: RuntimeError("gone") if len(tried) > 3 else None)
    done = engine.complete((request(k, "text") for k in range(40)), Session())
    kept: list[Outcome | None] = []
    with pytest.raises(FfrError, match="8 requests in a row"):
        kept.extend(completion.outcome for _, completion in done)
    assert kept == [Outcome.TRUNCATED] * 12  # three batches; no failure is recorded


def test_a_few_failures_are_recorded(qwen: Path) -> None:
    engine = make(qwen)
    failing(engine, lambda batch: ValueError("odd"))
    done = complete(engine, [request(0, "a"), request(1, "b")])
    assert {each.outcome for each in done.values()} == {Outcome.REQUEST_ERROR}


def test_stopping_finishes_the_batch_and_draws_no_more(
    qwen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "CHUNK", 6)
    engine = make(qwen, batch_size=2)
    stop = threading.Event()
    drawn = []

    def requests() -> Iterator[ChatRequest]:
        for number in range(100):
            drawn.append(number)
            yield request(number, "text")

    done = []
    for each, _ in engine.complete(requests(), Session(stop=stop)):
        done.append(each.sample_id)
        if len(done) == 1:
            stop.set()
    assert len(done) == 2  # the batch that was under way
    assert len(drawn) == 6


def test_requests_are_drawn_as_they_are_needed(qwen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "CHUNK", 6)
    drawn = []

    def requests() -> Iterator[ChatRequest]:
        for number in range(20):
            drawn.append(number)
            yield request(number, "text")

    done = make(qwen).complete(requests(), Session())
    next(done)
    assert len(drawn) == 6
    assert len(list(done)) == 19


def test_a_model_that_reads_text(checkpoints: dict[str, Path], mixed: list[ChatRequest]) -> None:
    engine = make(checkpoints["qwen2_lm"])
    texts = [each for each in mixed if not each.images]
    together = complete(engine, texts)
    for each in texts:
        done = complete(engine, [each])[each.sample_id]
        assert done.text == together[each.sample_id].text
        assert done.usage is not None
        assert done.usage["prompt_tokens"] == engine.count_tokens(each).tokens
    engine.expect(0)
    with pytest.raises(InputError, match="reads text only") as refused:
        engine.expect(3)
    assert "images=text_only" in str(refused.value)
    with pytest.raises(InputError, match="reads text only"):
        complete(engine, mixed[1:2])


def test_what_is_known_without_loading(qwen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make(qwen)
    assert engine.revision is not None
    assert engine.revision.startswith("sha256-")
    assert engine.context_tokens == 4096
    assert "_wording" not in engine.__dict__
    engine.count_tokens(request(0, "a"))
    assert engine._generator is None  # the weights are still on the disk


def test_closing_forgets_the_model(qwen: Path, mixed: list[ChatRequest]) -> None:
    engine = make(qwen)
    first = complete(engine, mixed[:1])
    engine.close()
    assert engine._generator is None
    assert complete(engine, mixed[:1])["s0"].text == first["s0"].text
