"""Models that score turns and images by the cosine of their embedding with the query's.

To make one of another encoder, derive from :class:`EmbeddingModel`, set ``encoder`` to its
registered name and ``Options`` to ``with_encoder(EmbeddingOptions, ItsClass)``, and register it
under ``ffr.models``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from baselines.embedding.cosines import EmbeddedDialogues
from baselines.embedding.options import (
    EmbeddingOptions,
    InterleavedOptions,
    encoder_options,
    with_encoder,
)
from baselines.encoders.blip2 import Blip2
from baselines.encoders.e5v import E5V
from baselines.encoders.gme import Gme
from baselines.encoders.open_clip import OpenClip
from baselines.encoders.sentence_transformers import SentenceTransformers
from baselines.machine import EMBEDDING_SETTINGS
from baselines.model import Capabilities, Scores, ScoringModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from baselines.machine import Machine
    from ffr_eval.benchmark import Benchmark
    from ffr_eval.ragged import IntArray
    from ffr_eval.types import Sample

TEXT: Capabilities = Capabilities(text=True, captions=True, needs_tuning=True, answers="scores")
"""Of a model whose encoder reads text alone."""
TEXT_AND_IMAGES: Capabilities = Capabilities(
    text=True, images=True, captions=True, needs_tuning=True, answers="scores"
)


class EmbeddingModel(ScoringModel):
    """The cosine of the query with every turn and every image.

    Cosines of texts and of images lie in different ranges; a policy is tuned for each modality, so
    they are never compared. A turn or image without a vector (blank, no file, damaged) scores just
    below the lowest of its modality in the dialogue; if none has one, all score -1.

    Attributes:
        encoder: The registered name of the encoder.
    """

    encoder: ClassVar[str]
    settings: ClassVar[frozenset[str]] = EMBEDDING_SETTINGS
    min_score: ClassVar[float | None] = None
    Options: ClassVar[type[EmbeddingOptions]] = EmbeddingOptions

    def __init__(self, options: EmbeddingOptions) -> None:
        super().__init__(options)
        self._embedded = EmbeddedDialogues(
            self.encoder,
            encoder_options(options),
            context=options.context,
            captions=options.captions,
            interleaved=isinstance(options, InterleavedOptions) and options.interleaved,
        )

    def use(self, machine: Machine) -> None:
        """Take up the machine, and find the weights."""
        self.revision = self._embedded.use(machine)

    def prepare(
        self,
        benchmark: Benchmark,
        rows: IntArray,
        progress: bool,
        note: Callable[[str], None],
    ) -> None:
        """Embed what the store lacks."""
        self._embedded.prepare(benchmark, rows, progress, note)

    def score(self, sample: Sample) -> Scores:
        """The cosines, from the store."""
        utterance, image = self._embedded.cosines(sample)
        return Scores(utterance.scores(), image.scores())


class ClipModel(EmbeddingModel):
    """CLIP and SigLIP, by open_clip."""

    encoder: ClassVar[str] = OpenClip.name
    capabilities: ClassVar[Capabilities] = TEXT_AND_IMAGES
    extra: ClassVar[str | None] = OpenClip.extra
    requires: ClassVar[tuple[str, ...]] = OpenClip.requires
    Options: ClassVar[type[EmbeddingOptions]] = with_encoder(EmbeddingOptions, OpenClip)


class Blip2Model(EmbeddingModel):
    """BLIP-2 for retrieval."""

    encoder: ClassVar[str] = Blip2.name
    capabilities: ClassVar[Capabilities] = TEXT_AND_IMAGES
    extra: ClassVar[str | None] = Blip2.extra
    requires: ClassVar[tuple[str, ...]] = Blip2.requires
    Options: ClassVar[type[EmbeddingOptions]] = with_encoder(EmbeddingOptions, Blip2)


class E5VModel(EmbeddingModel):
    """E5-V."""

    encoder: ClassVar[str] = E5V.name
    capabilities: ClassVar[Capabilities] = TEXT_AND_IMAGES
    extra: ClassVar[str | None] = E5V.extra
    requires: ClassVar[tuple[str, ...]] = E5V.requires
    Options: ClassVar[type[EmbeddingOptions]] = with_encoder(EmbeddingOptions, E5V)


class GmeModel(EmbeddingModel):
    """GME."""

    encoder: ClassVar[str] = Gme.name
    capabilities: ClassVar[Capabilities] = TEXT_AND_IMAGES
    extra: ClassVar[str | None] = Gme.extra
    requires: ClassVar[tuple[str, ...]] = Gme.requires
    Options: ClassVar[type[EmbeddingOptions]] = with_encoder(InterleavedOptions, Gme)


class SentenceModel(EmbeddingModel):
    """Encoders of text, by sentence-transformers."""

    encoder: ClassVar[str] = SentenceTransformers.name
    capabilities: ClassVar[Capabilities] = TEXT
    extra: ClassVar[str | None] = SentenceTransformers.extra
    requires: ClassVar[tuple[str, ...]] = SentenceTransformers.requires
    Options: ClassVar[type[EmbeddingOptions]] = with_encoder(EmbeddingOptions, SentenceTransformers)
