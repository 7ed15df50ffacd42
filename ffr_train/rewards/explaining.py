"""One reward taken apart: the parse, the counts and every factor, as lines to read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ffr_eval.metrics import retrieval
from ffr_train.rewards.batch import MODALITIES
from ffr_train.rewards.terms.f1 import answered_f1, relative_excess
from ffr_train.rewards.terms.gate import LEAST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ffr_train.rewards.batch import Batch
    from ffr_train.rewards.profile import Profile
    from ffr_train.rewards.scoring import Rewards

_SHOWN = 400  # characters of a completion


def explain(batch: Batch, rewards: Rewards) -> list[str]:
    """Lines on the rewards of a batch of one completion."""
    lines = _parse(batch)
    for name in rewards.terms:
        lines += ["", f"{name} = {_number(rewards.column(name)[0])}"]
        describe = _DESCRIBED.get(name)
        if describe is not None:
            lines += [f"  {line}" for line in describe(batch, rewards.profile)]
        for reason in rewards.reasons.get(name, {}):
            left_out = name in rewards.left_out
            more = "; the term is left out of the total" if left_out else ""
            lines.append(f"  cannot be computed: {reason}{more}")
    return [*lines, "", _total(rewards)]


def _total(rewards: Rewards) -> str:
    parts = [
        f"{weight:g} × {name} {_number(rewards.column(name)[0])}"
        for name, weight in rewards.profile.weights.items()
        if name in rewards.terms and name not in rewards.left_out
    ]
    return f"total = {_number(rewards.column('total')[0])} = {' + '.join(parts) or 'no terms'}"


def _parse(batch: Batch) -> list[str]:
    answer, gold = batch.answers[0], batch.gold_answers[0]
    text = batch.texts[0]
    cut = "" if len(text) <= _SHOWN else f" … ({len(text):,} characters)"
    outcome = answer.outcome.value
    problem = f": {answer.problem}" if answer.problem else ""
    lines = [f"completion  {text[:_SHOWN]}{cut}", f"parse       {outcome}{problem}"]
    if batch.parsed[0]:
        lines.append(f"answer      {_fragment(answer.utt_ids, answer.img_ids)}")
    lines.append(f"gold        {_fragment(gold.utt_ids, gold.img_ids)}")
    if batch.parsed[0]:
        lines.append(f"repeated    {_repeated(batch)}")
        lines.append(f"invented    {_invented(batch)}")
    return lines


def _fragment(utt_ids: Sequence[int], img_ids: Sequence[int]) -> str:
    if not utt_ids and not img_ids:
        return "empty: nothing matches"
    return f"utterances {_listed(utt_ids)}; images {_listed(img_ids)}"


def _listed(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids)) or "none"


def _repeated(batch: Batch) -> str:
    found = [
        f"{modality} {i} ({number} times)"
        for modality in MODALITIES
        for i, number in Counter(batch.predicted(modality)[0].tolist()).items()
        if number > 1
    ]
    return ", ".join(found) or "none"


def _invented(batch: Batch) -> str:
    found, unknown = [], []
    for modality in MODALITIES:
        if not batch.ids_known(modality)[0]:
            unknown.append(modality)
        ids = batch.predicted(modality)[0][batch.invented(modality)]
        found += [f"{modality} {i}" for i in dict.fromkeys(ids.tolist())]
    more = f" ({' and '.join(unknown)} ids of the dialogue are not known)" if unknown else ""
    return (", ".join(found) or "none") + more


def _format(batch: Batch, profile: Profile) -> list[str]:
    if profile.released:
        return ["1 only for <think>…</think><answer>…</answer>, which no answer markup is (a bug)"]
    repeats = sum(int(counts.duplicates[0]) for counts in batch.counts.values())
    parsed = "exactly the markup" if batch.parsed[0] else "not exactly the markup"
    return [f"{parsed}; {repeats} repeated ids"]


def _f1(batch: Batch, profile: Profile) -> list[str]:
    settings = profile.settings("f1")
    if profile.released:
        return ["as the original plugin: list lengths, so that a repeated id counts again"]
    if not batch.parsed[0]:
        return ["0, because the completion does not parse"]
    if settings.negative_all_or_nothing and batch.negative[0]:
        return ["no gold: 1 for the explicit empty answer, 0 for any other"]
    lines = []
    for share, (name, counts) in zip(settings.lambdas, batch.counts.items(), strict=True):
        tp, fp, fn = (int(getattr(counts, part)[0]) for part in ("tp", "fp", "fn"))
        predicted, gold = tp + fp, tp + fn
        if predicted + gold == 0:
            lines.append(f"{name}: both empty, 1; share {share:g}")
            continue
        precision, recall, f1 = (
            float(figure(counts.tp, counts.fp, counts.fn)[0]) for figure in _RETRIEVAL
        )
        apart: float = abs(predicted - gold)
        shown = f"{apart:g}"
        if settings.relative:
            shown, apart = f"({apart:g}/{max(gold, 1)})", apart / max(gold, 1)
            excess = float(relative_excess(batch)[0])
            if excess > apart:
                shown, apart = f"{excess:.4g} (excess of the whole fragment)", excess
        penalty = settings.gamma**apart
        lines.append(
            f"{name}: {tp} right, {fp} wrong, {fn} missed: P {precision:.4f}, R {recall:.4f},"
            f" F1 {f1:.6f}; sizes {predicted} and {gold}, penalty {settings.gamma:g}^{shown} ="
            f" {penalty:.6f}; share {share:g}: {share * f1 * penalty:.6f}"
        )
    return lines


_RETRIEVAL: tuple[Callable[..., Any], ...] = (
    lambda tp, fp, fn: retrieval.ratio(tp, tp + fp),  # noqa: ARG005
    lambda tp, fp, fn: retrieval.ratio(tp, tp + fn),  # noqa: ARG005
    retrieval.f1,
)


def _order(batch: Batch, profile: Profile) -> list[str]:
    if profile.released:
        return ["as the original plugin: the gold matters only where one of the two is empty"]
    answer, gold = batch.coherence
    lines = [f"answer: {_coherence(answer.order, answer.size, 2)}"]
    if profile.gated:
        lines.append(f"gold: {_coherence(gold.order, gold.size, 2)}")
        few = profile.settings("order").few
        value = answer.order if answer.size[0] >= 2 else np.array([few])
        lines += _gate(batch, profile, value, gold.order, bool(gold.size[0] >= 2))
    elif answer.size[0] < 2:
        lines.append(f"below two elements: {profile.settings('order').few:g}")
    return lines


def _query_sim(batch: Batch, profile: Profile) -> list[str]:
    answer, gold = batch.coherence
    lines = [f"answer: {_coherence(answer.query, answer.size, 1)}"]
    if profile.gated:
        lines.append(f"gold: {_coherence(gold.query, gold.size, 1)}")
        both = bool(gold.size[0] > 0 and answer.size[0] > 0)
        lines += _gate(batch, profile, answer.query, gold.query, both)
    return lines


def _gate(batch: Batch, profile: Profile, value: Any, gold: Any, both: bool) -> list[str]:
    f1 = float(answered_f1(batch, profile)[0])
    of = "f1 of the modalities with gold or answer"
    if f1 == 0:
        return [f"{of}: 0, and so is this"]
    if not both:
        return [f"too few elements to compare: {of}, {f1:.6f}"]
    if gold[0] <= 0:
        return [f"the gold's is not above 0: {of}, {f1:.6f}"]
    share = np.clip(value[0] / gold[0], LEAST, 1)
    return [f"{of} {f1:.6f} × clip(answer/gold, {LEAST:g}, 1) {_number(share)}"]


def _coherence(values: Any, size: Any, least: int) -> str:
    elements = f"{int(size[0])} elements"
    if size[0] < least:
        return f"{elements}, too few for a cosine"
    return f"mean cosine {_number(values[0])} over {elements}"


def _mcc(batch: Batch, profile: Profile) -> list[str]:  # noqa: ARG001
    return [
        f"{name}: tp {int(counts.tp[0])}, fp {int(counts.fp[0])}, fn {int(counts.fn[0])},"
        f" tn {int(counts.tn[0])}"
        for name, counts in batch.counts.items()
    ]


def _pair_f1(batch: Batch, profile: Profile) -> list[str]:  # noqa: ARG001
    tp, fp, fn = (
        sum(int(getattr(counts, name)[0]) for counts in batch.counts.values())
        for name in ("tp", "fp", "fn")
    )
    both, predicted, gold = (n * (n - 1) // 2 for n in (tp, tp + fp, tp + fn))
    return [f"pairs of ids: {both} in both, {predicted} in the answer, {gold} in the gold"]


_DESCRIBED: dict[str, Callable[[Batch, Profile], list[str]]] = {
    "format": _format,
    "f1": _f1,
    "order": _order,
    "query_sim": _query_sim,
    "mcc": _mcc,
    "pair_f1": _pair_f1,
}


def _number(value: Any) -> str:
    return "null" if value is None or np.isnan(value) else f"{float(value):.6f}"
