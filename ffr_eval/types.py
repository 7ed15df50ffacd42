"""The nouns of the task: frozen, without behaviour.

A turn, an utterance and a row of the dialogue are the same thing here: one speaker's message with
one utterance id. These objects are views that a :class:`~ffr_eval.benchmark.Benchmark` makes on
its columnar tables; they share its strings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEMA_VERSION: Final = 1
"""Version of the prediction line and of ``run.json``."""


class Outcome(StrEnum):
    """How asking a model for one sample ended."""

    OK = "ok"
    """An answer with at least one id."""
    EMPTY = "empty"
    """A parsed answer whose lists are both empty: the model said that nothing matches."""
    PARSE_ERROR = "parse_error"
    """Text without a usable answer, polite prose included."""
    REFUSAL = "refusal"
    """The server or engine said that the model refused."""
    TRUNCATED = "truncated"
    """The answer was cut at the length limit."""
    CONTEXT_OVERFLOW = "context_overflow"
    """The prompt did not fit into the model's context."""
    REQUEST_ERROR = "request_error"
    """The request failed, or the model raised."""
    MISSING = "missing"
    """There is no prediction for the sample (never written to a prediction file)."""


ANSWERED = frozenset({Outcome.OK, Outcome.EMPTY})
"""Outcomes of samples with a usable answer."""


class Kind(StrEnum):
    """Query kinds, by which gold sets are non-empty."""

    MULTIMODAL = "multimodal"
    UTTERANCE = "utterance"
    IMAGE = "image"
    NEGATIVE = "negative"


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a dialogue; it may have no file.

    Attributes:
        img_id: Its id; images have their own numbering in a dialogue.
        file: The image file, resolved inside the benchmark folder; ``None`` without a file.
        url: Where it can be had, if the benchmark says so.
        caption: A text that describes it.
    """

    img_id: int
    file: Path | None = None
    url: str | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker's message: text, images, or both.

    Attributes:
        utt_id: Its utterance id; ids need not be contiguous.
        img_ids: Ids of its images, in order.
        time: When it was said, as the source wrote it.
    """

    utt_id: int
    speaker: str
    text: str
    img_ids: tuple[int, ...] = ()
    time: str | None = None


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Turns in time order, and the images that they show in order of appearance."""

    dialogue_id: str
    turns: tuple[Turn, ...]
    images: tuple[Image, ...] = ()
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Fragment:
    """An answer: the utterance ids and image ids that belong to the query."""

    utt_ids: tuple[int, ...] = ()
    img_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """A query on a dialogue.

    ``gold`` and ``kind`` (which gives the gold's shape away) are ``None`` where they are hidden:
    models get samples without them.
    """

    sample_id: str
    dialogue: Dialogue
    query: str
    split: str = "test"
    gold: Fragment | None = None
    kind: Kind | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model answered to one sample, with how that came about.

    Attributes:
        response: The raw text; ``None`` from a model that gives ids only. If there is text, it is
            the truth: ids are parsed from it again when it is scored.
        payload: The answer; a tagged union, of which :class:`Fragment` is the member so far.
        scores: Per modality, a score for each turn or image of the dialogue, in its order.
        latency_s: Seconds.
        cost: In the currency of the price table, US dollars unless it says otherwise.
    """

    sample_id: str
    outcome: Outcome
    payload: Fragment = Fragment()
    response: str | None = None
    latency_s: float | None = None
    usage: Mapping[str, int] | None = None
    cost: float | None = None
    finish_reason: str | None = None
    model: str | None = None
    reached_utt_ids: tuple[int, ...] | None = None
    reached_img_ids: tuple[int, ...] | None = None
    steps: tuple[Mapping[str, Any], ...] | None = None
    scores: Mapping[str, tuple[float, ...]] | None = None
    logprobs: Any = None
    meta: Mapping[str, Any] | None = None
