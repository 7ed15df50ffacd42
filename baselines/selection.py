"""From scores to sets: which turns and images a scoring model answers with.

A policy is a value with a name and parameters; :func:`select` applies it to many samples at once.
Positions with equal scores are taken in dialogue order, so that results are deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta

from ffr_eval.errors import InputError
from ffr_eval.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ffr_eval.ragged import IntArray

    FloatArray = NDArray[np.float64]
    BoolArray = NDArray[np.bool_]

DEFAULT_UTTERANCES: Final = 5
DEFAULT_IMAGES: Final = 1

_MAX_K: Final = 30
_N_CUTS: Final = 100
_TOP_SHARE: Final = 0.1  # of scores without a floor: where finer thresholds are tried

Count = Annotated[int, Meta(ge=1)]
Ratio = Annotated[float, Meta(gt=0, le=1)]


class TopK(msgspec.Struct, frozen=True, tag="top-k", tag_field="policy"):
    """The ``k`` highest scores.

    Attributes:
        min_score: Only scores above it. 0 suits lexical models, where a turn of score 0 shares no
            word with the query; ``None`` for scores without such a zero, as of embeddings.
    """

    k: Count = DEFAULT_UTTERANCES
    min_score: float | None = 0.0


class Threshold(msgspec.Struct, frozen=True, tag="threshold", tag_field="policy"):
    """Scores of at least ``threshold`` (and above ``min_score``, as in :class:`TopK`)."""

    threshold: float
    min_score: float | None = 0.0


class Relative(msgspec.Struct, frozen=True, tag="relative", tag_field="policy"):
    """Scores of at least ``ratio`` times the sample's highest; nothing if that is not positive.

    ``min_score`` is as in :class:`TopK`.
    """

    ratio: Ratio
    min_score: float | None = 0.0


class Gap(msgspec.Struct, frozen=True, tag="gap", tag_field="policy"):
    """The highest scores, cut at the largest drop from one to the next, the first of equal drops.

    At most ``max_k`` are taken. Scores that are not above ``min_score`` (as in :class:`TopK`) count
    as being at it, and it also follows the last score; without it the drop after the last score
    counts as the smallest.
    """

    max_k: Count
    min_score: float | None = 0.0


Policy = TopK | Threshold | Relative | Gap


class Policies(msgspec.Struct, frozen=True):
    """A policy for each modality."""

    utterance: Policy = TopK(DEFAULT_UTTERANCES)
    image: Policy = TopK(DEFAULT_IMAGES)


class SelectionOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a scoring model turns scores into an answer.

    Attributes:
        policy: ``top-k``, ``threshold``, ``relative``, ``gap``, or ``tuned`` for the best of them
            on the tuning split. Default: ``tuned`` if there is a tuning split, else ``top-k``.
        k: How many utterances (``top-k``), or at most how many (``gap``).
        k_img: The same for images.
        threshold: Lowest score of an utterance that is selected (``threshold``).
        threshold_img: The same for images; default: as for utterances.
        ratio: Lowest share of the highest score that is selected (``relative``).
        ratio_img: The same for images; default: as for utterances.
    """

    policy: Literal["tuned", "top-k", "threshold", "relative", "gap"] | None = None
    k: Count = DEFAULT_UTTERANCES
    k_img: Count = DEFAULT_IMAGES
    threshold: float | None = None
    threshold_img: float | None = None
    ratio: Ratio | None = None
    ratio_img: Ratio | None = None


@dataclass(frozen=True, slots=True)
class ScoreLists:
    """Scores of many samples: list ``i`` is ``values[offsets[i]:offsets[i + 1]]``, all finite."""

    values: FloatArray
    offsets: IntArray

    @classmethod
    def from_arrays(cls, arrays: Sequence[FloatArray]) -> ScoreLists:
        """Pack one array a sample."""
        offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        values = np.concatenate([np.zeros(0), *arrays])
        return cls(values, offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> IntArray:
        """The number of scores of each sample, shape ``(n,)``."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True)
class Tuned:
    """A policy that was chosen on a tuning split.

    Attributes:
        f1: Its micro F1 there; ``None`` if there was no gold, and the policy is the default.
    """

    policy: Policy
    f1: float | None


def select(scores: ScoreLists, policy: Policy) -> Ragged:
    """The positions that a policy selects in each sample, in dialogue order."""
    return _Ranked.of(scores).select(policy)


def policies_of(options: SelectionOptions, min_score: float | None = 0.0) -> Policies:
    """The policies that options ask for; for a tunable policy, the default before tuning.

    Raises:
        InputError: If a parameter is missing, or given to a policy that has no use for it.
    """
    name = "top-k" if options.policy in {None, "tuned"} else options.policy
    for wanted, parameter in (("threshold", options.threshold), ("relative", options.ratio)):
        option = "threshold" if wanted == "threshold" else "ratio"
        image_parameter = getattr(options, f"{option}_img")
        if name == wanted and parameter is None:
            message = f"the policy {wanted!r} needs a value"
            raise InputError(message, field=f"option {option}", remedy=f"add -o {option}=…")
        if name != wanted and (parameter is not None or image_parameter is not None):
            message = f"has no effect with the policy {name!r}"
            raise InputError(message, field=f"option {option}", remedy=f"add -o policy={wanted}")
    if options.threshold is not None:
        other = options.threshold if options.threshold_img is None else options.threshold_img
        return Policies(Threshold(options.threshold, min_score), Threshold(other, min_score))
    if options.ratio is not None:
        other = options.ratio if options.ratio_img is None else options.ratio_img
        return Policies(Relative(options.ratio, min_score), Relative(other, min_score))
    make = Gap if name == "gap" else TopK
    return Policies(make(options.k, min_score), make(options.k_img, min_score))


def tune(scores: ScoreLists, gold: Ragged, default: Policy) -> Tuned:
    """The policy with the best micro F1 for one modality of a tuning split.

    Candidates are tried from simple to less simple (top-k, threshold, relative, gap; small
    parameters first), and the first of equally good ones is taken.

    Args:
        scores: The scores of each sample.
        gold: The gold positions of each sample.
        default: The policy to keep if no sample has gold; its ``min_score`` holds for all.
    """
    if not len(gold.values):
        return Tuned(default, None)
    ranked = _Ranked.of(scores)
    is_gold = _marked(scores, gold)
    best, best_f1 = default, -1.0
    for policy in _candidates(ranked, default.min_score):
        f1 = _micro_f1(ranked.chosen(policy), is_gold)
        if f1 > best_f1:
            best, best_f1 = policy, f1
    return Tuned(best, best_f1)


def micro_f1(scores: ScoreLists, gold: Ragged, policy: Policy) -> float | None:
    """The micro F1 of a policy for one modality; ``None`` if no sample has gold.

    Args:
        scores: The scores of each sample.
        gold: The gold positions of each sample.
        policy: The policy.
    """
    if not len(gold.values):
        return None
    return _micro_f1(_Ranked.of(scores).chosen(policy), _marked(scores, gold))


def described(policy: Policy) -> str:
    """A policy in words, such as ``top 5``."""
    match policy:
        case TopK(k=k):
            return f"top {k}"
        case Threshold(threshold=threshold):
            return f"scores from {threshold:.3g}"
        case Relative(ratio=ratio):
            return f"scores from {ratio:.0%} of the highest"
        case Gap(max_k=max_k):
            return f"down to the largest drop in the top {max_k}"


def _marked(scores: ScoreLists, gold: Ragged) -> BoolArray:
    """Which scores belong to gold."""
    marked = np.zeros(len(scores.values), dtype=np.bool_)
    marked[scores.offsets[gold.rows] + gold.values] = True
    return marked


def _micro_f1(chosen: BoolArray, is_gold: BoolArray) -> float:
    n_wanted, n_chosen = int(np.count_nonzero(is_gold)), int(np.count_nonzero(chosen))
    return 2 * int(np.count_nonzero(chosen & is_gold)) / (n_wanted + n_chosen)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Scores with what the policies need of them, worked out once.

    Attributes:
        values, rows, positions: Of each score: itself, its sample, its place in the dialogue.
        order: Sorts the scores by sample, falling score, position.
        ranks: The rank of each score in its sample, from 0, in dialogue order.
        highest: The highest score of each sample; minus infinity where there is none.
        starts: Where each sample starts.
    """

    values: FloatArray
    rows: IntArray
    positions: IntArray
    order: IntArray
    ranks: IntArray
    highest: FloatArray
    starts: IntArray

    @classmethod
    def of(cls, scores: ScoreLists) -> _Ranked:
        n, lengths = len(scores), scores.lengths
        rows = np.repeat(np.arange(n, dtype=np.int64), lengths)
        starts = scores.offsets[:-1]
        positions = np.arange(len(rows), dtype=np.int64) - starts[rows]
        order = np.lexsort((positions, -scores.values, rows))
        ranks = np.empty_like(positions)
        ranks[order] = positions  # sorted or not, a sample takes up the same stretch
        highest = np.full(n, -np.inf)
        filled = lengths > 0
        highest[filled] = scores.values[order[starts[filled]]]
        return cls(scores.values, rows, positions, order, ranks, highest, starts)

    def select(self, policy: Policy) -> Ragged:
        chosen = self.chosen(policy)
        lengths = np.bincount(self.rows[chosen], minlength=len(self.starts))
        return Ragged.from_lengths(self.positions[chosen], lengths)

    def chosen(self, policy: Policy) -> BoolArray:
        """Which scores a policy selects."""
        return self._chosen(policy) & self.above(policy.min_score)

    def above(self, min_score: float | None) -> BoolArray:
        """Which scores are above the floor."""
        if min_score is None:
            return np.ones(len(self.values), dtype=np.bool_)
        return self.values > min_score

    def shares(self) -> FloatArray:
        """Each score as a share of its sample's highest; 0 where that is not positive."""
        highest = self.highest[self.rows]
        shares = np.zeros(len(self.values))
        with np.errstate(over="ignore"):  # a highest score next to 0 above very negative ones
            np.divide(self.values, highest, out=shares, where=highest > 0)
        return shares

    def _chosen(self, policy: Policy) -> BoolArray:
        if isinstance(policy, TopK):
            return self.ranks < policy.k
        if isinstance(policy, Threshold):
            return self.values >= policy.threshold
        if isinstance(policy, Relative):
            return self.shares() >= policy.ratio
        return self.ranks < self._cuts(policy)[self.rows]

    def _cuts(self, policy: Gap) -> IntArray:
        """How many of its highest scores each sample keeps."""
        floor = policy.min_score
        values = self.values[self.order]
        if floor is not None:
            values = np.maximum(values, floor)
        n = len(self.starts)
        last = np.ones(len(values), dtype=np.bool_)
        last[:-1] = self.rows[1:] != self.rows[:-1]
        following = np.append(values[1:], 0.0)[: len(values)]
        drops = values - following
        drops[last] = -np.inf if floor is None else values[last] - floor
        within = np.flatnonzero(self.positions < policy.max_k)  # here the rank, as it is sorted
        cuts = np.zeros(n, dtype=np.int64)
        if not len(within):
            return cuts
        rows, drops, ranks = self.rows[within], drops[within], self.positions[within]
        firsts = np.flatnonzero(ranks == 0)
        largest = np.full(n, np.nan)
        largest[rows[firsts]] = np.maximum.reduceat(drops, firsts)
        at = np.flatnonzero(drops == largest[rows])[::-1]  # backwards: the first is written last
        cuts[rows[at]] = ranks[at] + 1
        return cuts


def _candidates(ranked: _Ranked, floor: float | None) -> Iterator[Policy]:
    longest = int(ranked.positions.max(initial=0)) + 1
    usable = ranked.above(floor)
    shares = ranked.shares()
    # Above a floor most scores may matter; without one, most belong to what does not match.
    levels = np.linspace(0, 1, _N_CUTS)
    if floor is None:
        levels = np.concatenate([levels, np.linspace(1 - _TOP_SHARE, 1, _N_CUTS)])
    thresholds = _cut_points(ranked.values[usable], levels)
    ratios = _cut_points(shares[usable & (shares > 0)], levels)
    for k in range(1, min(longest, _MAX_K) + 1):
        yield TopK(k, floor)
    for threshold in thresholds:
        yield Threshold(threshold, floor)
    for ratio in ratios:
        yield Relative(ratio, floor)
    for max_k in range(2, min(longest, _MAX_K) + 1):
        yield Gap(max_k, floor)


def _cut_points(values: FloatArray, levels: FloatArray) -> list[float]:
    """Observed values at these places of their distribution, rising."""
    if not len(values):
        return []
    quantiles = np.quantile(values, levels, method="inverted_cdf")
    points: list[float] = np.unique(quantiles).tolist()
    return points


def tuned_record(utterance: Tuned, image: Tuned, n_samples: int) -> dict[str, Any]:
    """What tuning chose, as ``run.json`` records it."""
    record: dict[str, Any] = {"n_samples": n_samples}
    for name, tuned in (("utterance", utterance), ("image", image)):
        record[name] = {**msgspec.to_builtins(tuned.policy), "dev_f1": tuned.f1}
    return record


def policies_from_record(record: dict[str, Any]) -> Policies:
    """The policies in a :func:`tuned_record`.

    Raises:
        InputError: If it is not such a record.
    """
    try:
        return msgspec.convert({name: record[name] for name in ("utterance", "image")}, Policies)
    except (KeyError, msgspec.ValidationError) as error:
        message = f"not a selection that this model wrote: {error}"
        raise InputError(message, field="selection", remedy="use another --out") from None
