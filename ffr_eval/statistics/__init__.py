"""Uncertainty of additive metrics, with the dialogue as the unit that is drawn.

A metric is *additive* if each sample adds a row of ``k`` numbers, its terms, and the metric is a
function of the summed row: micro F1 of ``tp, fp, fn``, a macro mean of ``value, 1`` (and ``0, 0``
for samples that do not count). Resampling dialogues is then weighting the sums of each dialogue::

    def micro_f1(sums):              # (..., 3) -> (...), NaN where undefined
        return 2 * sums[..., 0] / (2 * sums[..., 0] + sums[..., 1] + sums[..., 2])

    clusters = Clusters.of(dialogue_ids)              # of each sample
    sums = clusters.sums(terms)                       # (n, 3) -> (dialogues, 3)
    value = float(micro_f1(sums.sum(axis=0)))
    replicates = bootstrap([(sums, micro_f1)])[:, 0]  # 10,000 resamples
    percentile_interval(replicates)                   # Interval(lo, hi, undefined)
    bca_interval(value, replicates, jackknife(sums, micro_f1))

Two runs on the same samples: ``bootstrap([(a, f), (b, f)])`` uses the same draws for both, so the
difference of its columns is a paired one. Several runs::

    sums_of_runs = np.stack([clusters.sums(terms) for terms in runs])     # (runs, dialogues, k)
    p = holm(sign_flip(sums_of_runs, micro_f1, [(0, 1), (0, 2), (1, 2)])) # adjusted p-values

From the pairs with ``p <= 0.05`` a matrix ``better`` is made; ``rank_intervals`` and ``tiers`` say
what it means for the order, ``dialogues_needed`` how large a benchmark would have to be.

Everything is seeded, streamed in chunks, and independent of the order of the samples. With fewer
than two dialogues there is no interval (None). Needs NumPy only.
"""

from ffr_eval.statistics.bootstrap import bootstrap, jackknife, resampled_sums, standard_error
from ffr_eval.statistics.clusters import Clusters
from ffr_eval.statistics.intervals import Interval, bca_interval, percentile_interval
from ffr_eval.statistics.multiple import holm
from ffr_eval.statistics.permutation import sign_flip
from ffr_eval.statistics.power import dialogues_needed
from ffr_eval.statistics.ranks import rank_intervals, tiers
from ffr_eval.statistics.values import Value

__all__ = [
    "Clusters",
    "Interval",
    "Value",
    "bca_interval",
    "bootstrap",
    "dialogues_needed",
    "holm",
    "jackknife",
    "percentile_interval",
    "rank_intervals",
    "resampled_sums",
    "sign_flip",
    "standard_error",
    "tiers",
]
