"""BM25 and an embedding together."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta

from baselines.embedding.cosines import Cosines, EmbeddedDialogues
from baselines.embedding.models import TEXT_AND_IMAGES
from baselines.embedding.options import EmbeddingOptions
from baselines.lexical import Bm25, Bm25Options
from baselines.machine import EMBEDDING_SETTINGS
from baselines.model import Capabilities, Scores, ScoringModel, gold_positions, hidden
from baselines.selection import ScoreLists, Tuned, micro_f1, tune, tuned_record
from ffr_eval.errors import InputError, MissingExtraError
from ffr_eval.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from baselines.machine import Machine
    from baselines.selection import FloatArray, Policy
    from ffr_eval.benchmark import Benchmark
    from ffr_eval.ragged import IntArray
    from ffr_eval.types import Sample

    Fuse = Callable[[FloatArray, Cosines], FloatArray]

WEIGHTS: Final = tuple(tenths / 10 for tenths in range(11))
"""The weights of the embedding that are tried when it is tuned."""

_UNTUNED: Final = 0.5
_NO_CHOICE: Final = 0.5  # where all of a list are equal, they are neither the best nor the worst

Weight = Annotated[float, Meta(ge=0, le=1)]


class HybridOptions(EmbeddingOptions, frozen=True, forbid_unknown_fields=True):
    """Options of :class:`Hybrid`, beside those of all embedding models.

    Attributes:
        encoder: Which embedding.
        model: The encoder's model; default: the encoder's own default.
        pretrained: The weights of an architecture (``clip`` only).
        dtype: The encoder's number format.
        fusion: ``rrf``: the sum over both lists of 1 / (``rrf_k`` + rank). ``weighted``: the
            weighted mean of the scores, each spread over 0 to 1 in its list.
        rrf_k: How little the first ranks stand out.
        weight: Of the embedding in ``weighted``. Default: for each modality the best on the tuning
            split, and 0.5 without one.
        k1, b: As for BM25.
    """

    encoder: Literal["sentence", "clip", "blip2", "e5-v", "gme"] = "sentence"
    model: str | None = None
    pretrained: str | None = None
    dtype: str | None = None
    fusion: Literal["rrf", "weighted"] = "rrf"
    rrf_k: Annotated[float, Meta(ge=0)] = 60
    weight: Weight | None = None
    k1: Annotated[float, Meta(ge=0)] = 1.5
    b: Annotated[float, Meta(ge=0, le=1)] = 0.75


class Weights(msgspec.Struct, frozen=True):
    """The weight of the embedding for each modality."""

    utterance: Weight
    image: Weight


@dataclass(frozen=True, slots=True)
class _Pair:
    """Both scores of a sample's turns, and of its images."""

    lexical: Scores
    utterance: Cosines
    image: Cosines


class Hybrid(ScoringModel):
    """BM25 and the cosine of embeddings, by rank or by weight.

    A turn that shares no word with the query has no rank by BM25, and one without a vector none by
    its embedding. If no turn shares a word, the order is the embedding's.
    """

    capabilities: ClassVar[Capabilities] = TEXT_AND_IMAGES
    extra: ClassVar[str | None] = "lexical"
    requires: ClassVar[tuple[str, ...]] = Bm25.requires
    settings: ClassVar[frozenset[str]] = EMBEDDING_SETTINGS
    min_score: ClassVar[float | None] = None
    Options: ClassVar[type[HybridOptions]] = HybridOptions

    def __init__(self, options: HybridOptions) -> None:
        super().__init__(options)
        if options.weight is not None and options.fusion != "weighted":
            message = f"has no effect with the fusion {options.fusion!r}"
            raise InputError(message, field="option weight", remedy="add -o fusion=weighted")
        self._fusion = options.fusion
        self._rrf_k = options.rrf_k
        self._given = options.weight
        self.weights = _same(_UNTUNED if options.weight is None else options.weight)
        lexical = Bm25Options(k1=options.k1, b=options.b, captions=options.captions)
        self._bm25 = Bm25(lexical)
        given = {name: getattr(options, name) for name in ("model", "pretrained", "dtype")}
        self._embedded = EmbeddedDialogues(
            options.encoder,
            {name: value for name, value in given.items() if value is not None},
            context=options.context,
            captions=options.captions,
        )

    @property
    def learns(self) -> bool:
        """Whether the policy or the weight is left to tuning."""
        return super().learns or self._weight_is_open

    @property
    def _weight_is_open(self) -> bool:
        return self._fusion == "weighted" and self._given is None

    def use(self, machine: Machine) -> None:
        """Take up the machine, and find the weights."""
        if any(importlib.util.find_spec(name) is None for name in self.requires):
            raise MissingExtraError("the model 'hybrid'", "lexical")  # --python has no say in this
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

    def fit(self, samples: Sequence[Sample]) -> dict[str, Any] | None:
        """Choose policy and weight of each modality, as far as the options leave them open."""
        if not self._weight_is_open:
            return super().fit(samples)
        pairs = [self._pair(hidden(sample)) for sample in samples]
        utterance, utterance_weight = self._tuned(
            [(pair.lexical.utterance, pair.utterance) for pair in pairs],
            Ragged.from_lists([gold_positions(sample, "utt_ids") for sample in samples]),
            self.policies.utterance,
        )
        image, image_weight = self._tuned(
            [(pair.lexical.image, pair.image) for pair in pairs],
            Ragged.from_lists([gold_positions(sample, "img_ids") for sample in samples]),
            self.policies.image,
        )
        weights = Weights(utterance_weight, image_weight)
        learned = tuned_record(utterance, image, len(samples))
        learned["weight"] = msgspec.to_builtins(weights)
        self.restore(learned)
        return learned

    def restore(self, learned: dict[str, Any]) -> None:
        """Take up what was chosen."""
        super().restore(learned)
        if not self._weight_is_open:
            return
        try:
            self.weights = msgspec.convert(learned["weight"], Weights)
        except (KeyError, msgspec.ValidationError) as error:
            message = f"not a weight that this model wrote: {error}"
            raise InputError(message, field="selection", remedy="use another --out") from None

    def score(self, sample: Sample) -> Scores:
        """Both scores of each turn and image, fused."""
        pair = self._pair(sample)
        return Scores(
            self._fuse(self.weights.utterance)(pair.lexical.utterance, pair.utterance),
            self._fuse(self.weights.image)(pair.lexical.image, pair.image),
        )

    def _pair(self, sample: Sample) -> _Pair:
        return _Pair(self._bm25.score(sample), *self._embedded.cosines(sample))

    def _fuse(self, weight: float) -> Fuse:
        if self._fusion == "rrf":
            return lambda lexical, cosines: by_rank(lexical, cosines, self._rrf_k)
        return lambda lexical, cosines: by_weight(lexical, cosines, weight)

    def _tuned(
        self, lists: Sequence[tuple[FloatArray, Cosines]], gold: Ragged, policy: Policy
    ) -> tuple[Tuned, float]:
        """The best policy with the best weight; of equally good weights the most even one."""
        best, best_weight = Tuned(policy, None), _UNTUNED
        for weight in sorted(WEIGHTS, key=lambda weight: abs(weight - _UNTUNED)):
            fuse = self._fuse(weight)
            scores = ScoreLists.from_arrays([fuse(lexical, cosines) for lexical, cosines in lists])
            found = (
                tune(scores, gold, policy)
                if super().learns
                else Tuned(policy, micro_f1(scores, gold, policy))
            )
            if found.f1 is not None and (best.f1 is None or found.f1 > best.f1):
                best, best_weight = found, weight
        return best, best_weight


def by_rank(lexical: FloatArray, cosines: Cosines, rrf_k: float) -> FloatArray:
    """Reciprocal rank fusion: the sum over both lists of 1 / (``rrf_k`` + rank).

    Ranks count from 1; equal scores share the best of their ranks. What a list has nothing to say
    of has no rank in it: by BM25 a score of 0, by embedding one without a vector.

    Args:
        lexical: BM25 scores, shape ``(n,)``, at least 0.
        cosines: Of ``n`` elements.
        rrf_k: How little the first ranks stand out.
    """
    return _reciprocal(lexical, lexical > 0, rrf_k) + _reciprocal(
        cosines.values, cosines.known, rrf_k
    )


def by_weight(lexical: FloatArray, cosines: Cosines, weight: float) -> FloatArray:
    """The weighted mean of two scores, each spread over 0 to 1 in its list.

    Elements without a vector are taken to be at the lower end of the embedding's list. Where all
    are equal, they are all in the middle; where no word is shared at all, at the lower end.

    Args:
        lexical: BM25 scores, shape ``(n,)``, at least 0.
        cosines: Of ``n`` elements.
        weight: Of the cosines, 0 to 1.
    """
    words = np.ones(len(lexical), dtype=np.bool_) if (lexical > 0).any() else lexical > 0
    return (1 - weight) * _spread(lexical, words) + weight * _spread(cosines.values, cosines.known)


def _reciprocal(values: FloatArray, ranked: Any, rrf_k: float) -> FloatArray:
    scores = np.zeros(len(values))
    falling = np.sort(-values[ranked])
    scores[ranked] = 1 / (rrf_k + 1 + np.searchsorted(falling, -values[ranked], side="left"))
    return scores


def _spread(values: FloatArray, known: Any) -> FloatArray:
    spread = np.zeros(len(values))
    some = values[known]
    if len(some):
        width = some.max() - some.min()
        spread[known] = (some - some.min()) / width if width > 0 else _NO_CHOICE
    return spread


def _same(weight: float) -> Weights:
    return Weights(weight, weight)
