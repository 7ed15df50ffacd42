"""Metrics: the kernel (:mod:`.counts`), figures from counts (:mod:`.retrieval`), protocols.

The functions here take plain collections of ids of one sample.
"""

from ffr_eval.metrics.sets import f1, mcc, precision, recall, set_counts

__all__ = ["f1", "mcc", "precision", "recall", "set_counts"]
