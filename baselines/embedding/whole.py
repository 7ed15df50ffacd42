"""Whole benchmarks and the store: filling it, and what of it they need."""

from __future__ import annotations

import dataclasses
import importlib.util
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from baselines.embedding.elements import (
    Reader,
    Reading,
    count_elements,
    dialogues_of,
    each_element,
    present,
)
from baselines.embedding.embedder import fill
from baselines.embedding.image_files import ImageCounts, ImageFiles
from baselines.encoders.registry import encoder_class
from ffr_eval.plugins import ENCODERS, registered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from baselines.embedding.report import FillReport
    from baselines.encoders.encoder import Encoder
    from ffr_eval.benchmark import Benchmark
    from ffr_eval.embeddings.space import SpaceRecord
    from ffr_eval.embeddings.store import EmbeddingStore
    from ffr_eval.ragged import IntArray

_TEXT_ALONE: Final = {"sentence-transformers", "static"}


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """A registered encoder.

    Attributes:
        name: Its registered name.
        reads: What it reads, in words; empty if it could not be imported.
        extra: The optional part of ``ffr-eval`` that it needs.
        installed: Whether everything that it requires is there.
        options: Its options with their defaults.
    """

    name: str
    reads: str
    extra: str | None
    installed: bool
    options: Mapping[str, Any]

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return dataclasses.asdict(self)


def embed_benchmarks(
    encoder: Encoder,
    benchmarks: Sequence[Benchmark],
    rows: Sequence[IntArray],
    store: EmbeddingStore,
    context: int = 0,
    *,
    progress: bool = False,
) -> tuple[FillReport, list[str]]:
    """Embed the utterances, images and queries of samples.

    For an encoder of text alone, the text that stands for an image is embedded too.

    Args:
        encoder: The encoder.
        benchmarks: The benchmarks.
        rows: The rows of the samples of each benchmark.
        store: The store.
        context: With a turn, so many turns before and after are embedded.
        progress: Show a progress bar on stderr, if that is a terminal and it takes long.

    Returns:
        The report, and what the user should know.

    Raises:
        InputError: If the encoder's model is not to be had, or the store has vectors of another
            dimension.
        FfrError: If the encoder fails.
    """
    reader = _reader(encoder.describe(), context)
    pairs = list(zip(benchmarks, rows, strict=True))
    notes = []
    if reader.reading.images:
        counts = [ImageCounts.of(data, dialogues_of(data, chosen)) for data, chosen in pairs]
        notes = [text for count in counts for text in count.notes()]
    elements = chain.from_iterable(each_element(data, chosen, reader) for data, chosen in pairs)
    total = sum(count_elements(data, chosen) for data, chosen in pairs)
    report = fill(encoder, elements, store, total=total, progress=progress, retry=True)
    return report, [*notes, *report.notes()]


def needed_keys(benchmarks: Sequence[Benchmark], record: SpaceRecord, context: int) -> set[bytes]:
    """The keys of a space under which something is kept that benchmarks need.

    With and without captions, and with turns and their images together.
    """
    keys: set[bytes] = set()
    for captions in (False, True):
        reader = _reader(record, context, captions=captions)
        for data in benchmarks:
            rows = data.rows()
            keys.update(key for key, _ in each_element(data, rows, reader))
            for row in dialogues_of(data, rows) if captions else ():
                dialogue = data.dialogue(row)
                usable = [True] * len(dialogue.images)
                mixed, texts = reader.interleaved(dialogue, usable), reader.captions(dialogue)
                keys.update(key for key, _ in present([*mixed, *texts]))
    return keys


def encoder_infos() -> list[EncoderInfo]:
    """All registered encoders by name; their dependencies are looked for, not imported."""
    infos = []
    for name in registered(ENCODERS):
        try:
            kind = encoder_class(name)
        except ImportError:
            infos.append(EncoderInfo(name, "", None, installed=False, options={}))
            continue
        installed = all(importlib.util.find_spec(package) for package in kind.requires)
        options = dataclasses.asdict(kind.Options())
        infos.append(EncoderInfo(name, _reads(kind), kind.extra, installed, options))
    return infos


def _reads(kind: type[Encoder]) -> str:
    parts = {"images": kind.name not in _TEXT_ALONE, "both together": kind.mixed}
    return ", ".join(["text", *(part for part, read in parts.items() if read)])


def _reader(record: SpaceRecord, context: int, *, captions: bool = False) -> Reader:
    images = "image" in record.modalities
    reading = Reading(images, record.roles, context, captions, interleaved=images)
    return Reader(reading, ImageFiles())
