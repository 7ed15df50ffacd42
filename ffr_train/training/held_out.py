"""Held-out samples that are asked while a model is trained, and the figures of its answers."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ffr_eval import score
from ffr_eval.answer import parse_answer
from ffr_eval.benchmark import Benchmark, read_benchmark
from ffr_eval.image_reading import ImageProblem
from ffr_eval.picture_size import picture_of
from ffr_eval.types import Fragment, Outcome, Prediction
from ffr_eval.uncertainty import Resampling
from ffr_train.data import messages_of, wording_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ffr_eval.types import Sample
    from ffr_train.config.schema import EvaluationSection, TrainConfig
    from ffr_train.data import DataManifest, LoadedProcessor, Wording

PROTOCOLS: Final = ("strict", "official")
FIGURES: Final = (
    "micro.joint.f1",
    "micro.utterance.f1",
    "micro.image.f1",
    "macro.joint.f1",
)
"""What is reported of each evaluation; the first is the headline."""
_CHOSEN: Final = "held-out"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The samples of an evaluation.

    Attributes:
        benchmark: With the samples in a split of their own.
        samples: In the order of the benchmark; the gold is theirs.
        section: How they are asked.
    """

    benchmark: Benchmark
    samples: tuple[Sample, ...]
    section: EvaluationSection


@dataclass(frozen=True, slots=True)
class _Request:
    """A sample as the processor takes it."""

    sample: Sample
    text: str
    pictures: list[Any]


def held_out(config: TrainConfig, manifest: DataManifest) -> HeldOut | None:
    """The samples that a configuration asks for; the same ones for the same configuration.

    Raises:
        InputError: If the benchmark or split is not there, or the model is trained on it.
    """
    section = config.evaluation
    if section is None or section.benchmark is None:
        return None
    benchmark = read_benchmark(section.benchmark)
    if benchmark.content_hash == manifest.benchmark.hash and section.split == manifest.split:
        message = f"the model is trained on the split {section.split!r} of this benchmark"
        others = ", ".join(name for name in benchmark.splits if name != section.split) or "none"
        raise config.problem("evaluation.split", message, f"hold another out; there are: {others}")
    rows = benchmark.rows(section.split).tolist()
    if section.samples is not None and section.samples < len(rows):
        rows = sorted(random.Random(0).sample(rows, section.samples))  # noqa: S311 - repeatable
    chosen = set(rows)
    splits = [
        _CHOSEN if row in chosen else split for row, split in enumerate(benchmark.queries.split)
    ]
    marked = Benchmark(
        benchmark.info,
        benchmark.dialogues,
        replace(benchmark.queries, split=splits),
        benchmark.content_hash,
        benchmark.root,
    )
    return HeldOut(marked, tuple(map(marked.sample, rows)), section)


def figures(held: HeldOut, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Strict and official figures of predictions with 95% intervals, in 0-1.

    A sample without a prediction is a missing answer, and counts as one.
    """
    found: dict[str, Any] = {}
    for protocol in PROTOCOLS:
        scores = score(
            predictions,
            held.benchmark,
            protocol=protocol,
            split=_CHOSEN,
            resampling=Resampling(),
        )
        found[protocol] = {
            "protocol": scores.protocol,
            **{name: scores.metric(name) for name in FIGURES},
            "ci95": {
                name: None if interval is None else [interval.lo, interval.hi]
                for name, interval in ((name, scores.ci95.get(name)) for name in FIGURES)
            },
        }
        found["outcomes"] = {name: n for name, n in scores.outcomes.items() if n}
    return found


class Asker:
    """Asks a model for its answers, greedily, in the words that it is trained with.

    Args:
        processor: The model's.
        section: How many samples at a time, and how long answers may be.
    """

    def __init__(self, processor: LoadedProcessor, section: EvaluationSection) -> None:
        self._loaded = processor
        self._wording: Wording = wording_of(processor.processor)
        self._section = section

    def answers(self, model: Any, samples: Sequence[Sample]) -> Iterator[Prediction]:
        """The model's answers, samples in the order given.

        Args:
            model: Of transformers or peft, in evaluation mode.
            samples: Their gold is not read. One whose images cannot be read has no answer, as in
                ``ffr run hf``.
        """
        # Batches of one length waste no padding; the order of the answers is that of the samples.
        ordered = sorted(samples, key=lambda sample: len(sample.dialogue.turns))
        size = self._section.batch_size
        found: dict[str, Prediction] = {}
        for start in range(0, len(ordered), size):
            asked = []
            for sample in ordered[start : start + size]:
                try:
                    asked.append(self._request(sample))
                except ImageProblem as problem:
                    found[sample.sample_id] = Prediction(
                        sample.sample_id, Outcome.REQUEST_ERROR, meta={"error": problem.message}
                    )
            for prediction in self._batch(model, asked) if asked else ():
                found[prediction.sample_id] = prediction
        for sample in samples:
            yield found[sample.sample_id]

    def _request(self, sample: Sample) -> _Request:
        messages, images = messages_of(sample, self._wording)
        text = self._loaded.processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return _Request(sample, text, [picture_of(image, self._loaded.fit) for image in images])

    def _batch(self, model: Any, asked: Sequence[_Request]) -> list[Prediction]:
        import torch

        processor, tokenizer = self._loaded.processor, self._loaded.tokenizer
        texts = [each.text for each in asked]
        pictures = [each.pictures for each in asked]
        inputs: dict[str, Any] = dict(
            processor(
                text=texts,
                **({"images": pictures} if any(pictures) else {}),
                padding=True,
                padding_side="left",
                return_tensors="pt",
                add_special_tokens=False,
            )
        )
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        most = self._section.max_new_tokens
        limit = self._loaded.context
        if limit is not None and max(lengths) + most > limit:
            return self._without_long(model, asked, lengths, limit - most)
        placed = {
            name: value.to(model.device, model.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
            if name != "token_type_ids"
        }
        with torch.no_grad():
            written = model.generate(
                **placed,
                max_new_tokens=most,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                repetition_penalty=None,
                pad_token_id=tokenizer.pad_token_id,
            )[:, inputs["input_ids"].shape[1] :]
        ends = _ends(model, tokenizer)
        return [
            _prediction(each.sample, row, tokenizer, ends)
            for each, row in zip(asked, written.tolist(), strict=True)
        ]

    def _without_long(
        self, model: Any, asked: Sequence[_Request], lengths: Sequence[int], limit: int
    ) -> list[Prediction]:
        """The answers where some prompts do not fit: those are a context overflow each."""
        short = [each for each, n in zip(asked, lengths, strict=True) if n <= limit]
        found = {each.sample_id: each for each in (self._batch(model, short) if short else [])}
        return [
            found.get(each.sample.sample_id)
            or Prediction(
                each.sample.sample_id, Outcome.CONTEXT_OVERFLOW, usage={"prompt_tokens": n}
            )
            for each, n in zip(asked, lengths, strict=True)
        ]


def _prediction(
    sample: Sample, tokens: Sequence[int], tokenizer: Any, ends: frozenset[int]
) -> Prediction:
    end = next((place for place, token in enumerate(tokens) if token in ends), None)
    kept = tokens if end is None else tokens[:end]
    text = tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    answer = parse_answer(text)
    return Prediction(
        sample.sample_id,
        Outcome.TRUNCATED if end is None else answer.outcome,
        Fragment(answer.utt_ids, answer.img_ids),
        response=text,
        usage={"completion_tokens": len(kept) + (end is not None)},
        finish_reason="length" if end is None else "stop",
    )


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer."""
    ends: set[int] = set()
    for owner in (model.generation_config, tokenizer):
        found = getattr(owner, "eos_token_id", None)
        if found is not None:
            ends |= {found} if isinstance(found, int) else set(found)
    return frozenset(ends)
