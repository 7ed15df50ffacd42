"""Models without a method: bounds and sanity checks for those with one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
import numpy as np
from msgspec import Meta

from baselines.model import Capabilities, Model, answer
from baselines.selection import DEFAULT_IMAGES, DEFAULT_UTTERANCES
from ffr_eval.errors import FfrError
from ffr_eval.types import Fragment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.types import Prediction, Sample


class Nothing(Model):
    """Says that nothing matches: the best answer to a negative query, the worst to others."""

    capabilities: ClassVar[Capabilities] = Capabilities()

    def predict(self, sample: Sample) -> Prediction:
        """An empty answer."""
        return answer(sample, Fragment())


class All(Model):
    """Answers with the whole dialogue: recall 1, precision as bad as it gets."""

    capabilities: ClassVar[Capabilities] = Capabilities()

    def predict(self, sample: Sample) -> Prediction:
        """Every id of the dialogue."""
        dialogue = sample.dialogue
        utt_ids = tuple(turn.utt_id for turn in dialogue.turns)
        return answer(sample, Fragment(utt_ids, tuple(image.img_id for image in dialogue.images)))


class Oracle(Model):
    """Answers with the gold: what a perfect model scores."""

    capabilities: ClassVar[Capabilities] = Capabilities(needs_gold=True)

    def predict(self, sample: Sample) -> Prediction:
        """The gold of the sample.

        Raises:
            FfrError: If the sample comes without its gold.
        """
        if sample.gold is None:
            raise FfrError(f"sample {sample.sample_id!r} has no gold")
        return answer(sample, sample.gold)


class RandomOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of :class:`Random`.

    Attributes:
        seed: Another seed gives other answers.
    """

    seed: Annotated[int, Meta(ge=0)] = 0


class Random(Model):
    """Random ids, as many as the gold of the tuning split has on average.

    Without a tuning split: 5 utterances and 1 image. A sample's answer depends on the seed and
    its sample id only, not on the samples before it.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(needs_tuning=True)
    Options: ClassVar[type[RandomOptions]] = RandomOptions

    def __init__(self, options: RandomOptions) -> None:
        super().__init__(options)
        self._seed = options.seed
        self._sizes = {"utterance": DEFAULT_UTTERANCES, "image": DEFAULT_IMAGES}

    def fit(self, samples: Sequence[Sample]) -> dict[str, Any] | None:
        """Take up the average size of the gold sets."""
        golds = [sample.gold or Fragment() for sample in samples]
        self._sizes = {
            "utterance": typical_size([len(gold.utt_ids) for gold in golds]),
            "image": typical_size([len(gold.img_ids) for gold in golds]),
        }
        return dict(self._sizes)

    def restore(self, learned: dict[str, Any]) -> None:
        """Take up the sizes."""
        self._sizes = msgspec.convert(learned, dict[str, int])

    def predict(self, sample: Sample) -> Prediction:
        """Random ids of the dialogue, in dialogue order."""
        digest = hashlib.sha256(sample.sample_id.encode("utf-8", "surrogatepass")).digest()
        sequence = np.random.SeedSequence([self._seed, int.from_bytes(digest)])
        generator = np.random.default_rng(sequence)
        utt_ids = [turn.utt_id for turn in sample.dialogue.turns]
        img_ids = [image.img_id for image in sample.dialogue.images]
        fragment = Fragment(
            _drawn(utt_ids, self._sizes["utterance"], generator),
            _drawn(img_ids, self._sizes["image"], generator),
        )
        return answer(sample, fragment)


def typical_size(sizes: Sequence[int]) -> int:
    """The average, a half rounded up; at least 1 unless all are 0."""
    total, n = sum(sizes), len(sizes)
    return max((2 * total + n) // (2 * n), 1) if total else 0


def _drawn(ids: Sequence[int], size: int, generator: np.random.Generator) -> tuple[int, ...]:
    chosen = generator.permutation(len(ids))[:size]
    return tuple(ids[place] for place in sorted(chosen.tolist()))
