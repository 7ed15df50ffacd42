"""The laboratory: policies play a benchmark, and one sees what a reward pays whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.errors import InputError
from ffr_eval.markup import answer_text
from ffr_eval.metrics import retrieval
from ffr_train.rewards.batch import Batch, DialogueIds
from ffr_train.rewards.embeddings import read_embeddings
from ffr_train.rewards.policies import GOLD, HALF, POLICIES, Scene, generator_of, one_edit_sets
from ffr_train.rewards.profile import PROFILES, read_profile
from ffr_train.rewards.scoring import score
from ffr_train.rewards.vectors import LABEL, hashed_embeddings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.types import Dialogue, Sample
    from ffr_train.rewards.batch import BoolArray
    from ffr_train.rewards.embeddings import DialogueEmbeddings
    from ffr_train.rewards.policies import Policy
    from ffr_train.rewards.profile import Profile
    from ffr_train.rewards.scoring import Rewards

AT_LEAST_HALF: Final = "at_least_half"
"""Earns at least as much as a random half of the gold, with a strict F1 at least as good."""
UNDESERVED: Final = "undeserved"
"""Earns at least as much as a random half of the gold, with a lower strict F1."""
MORE_THAN_GOLD: Final = "more_than_gold"
"""Earns more than the gold."""
PAID_ON_NEGATIVE: Final = "paid_on_negative"
"""Earns something on queries without gold for another answer than the empty one."""

NO_VECTORS: Final = "none: terms of embeddings are left out"

_EDITS: Final = 64  # at most, for each sample
_EPSILON: Final = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Samples to play on.

    Attributes:
        name: Of the benchmark.
        split: Of the samples; ``None`` for all.
        samples: With their gold.
        dialogues: What rewards know of each sample's dialogue.
        vectors: What its vectors are.
    """

    name: str
    split: str | None
    samples: tuple[Sample, ...]
    dialogues: tuple[DialogueIds, ...]
    vectors: str

    @property
    def negative(self) -> BoolArray:
        """Which samples have no gold."""
        golds = [sample.gold for sample in self.samples]
        return np.array([not (g and (g.utt_ids or g.img_ids)) for g in golds], dtype=np.bool_)

    def batch(self, completions: Sequence[str]) -> Batch:
        """Completions to all samples, one policy after the other."""
        times = len(completions) // len(self.samples)
        solutions = [
            answer_text(sample.gold.utt_ids, sample.gold.img_ids)
            if sample.gold
            else answer_text((), ())
            for sample in self.samples
        ]
        return Batch(completions, solutions * times, list(self.dialogues) * times)


def stage_of(
    benchmark: Benchmark, split: str | None, embeddings: Path | str, *, queries: bool, seed: int = 0
) -> Stage:
    """A benchmark to play on.

    Args:
        benchmark: The benchmark.
        split: Only its samples of this split.
        embeddings: ``hashed``, ``none``, or a folder with ``DIALOGUE_ID.npz`` for each dialogue.
        queries: Whether a term needs the vector of the query.
        seed: Of the hashing.

    Raises:
        InputError: If there is no such split, no sample, or vectors that cannot be read.
    """
    samples = tuple(benchmark.samples(split))
    if not samples:
        raise InputError("has no queries", file=benchmark.name, remedy="give one that has some")
    by_dialogue: dict[str, list[int]] = {}
    for row, sample in enumerate(samples):
        by_dialogue.setdefault(sample.dialogue.dialogue_id, []).append(row)
    known: dict[int, DialogueIds] = {}
    for rows in by_dialogue.values():
        dialogue = samples[rows[0]].dialogue
        base = _ids_of(dialogue)
        asked = [samples[row].query for row in rows] if queries else []
        found = _embeddings_of(dialogue, asked, embeddings, seed)
        each = [replace(base, embeddings=vectors) for vectors in found] or [base]
        known |= {row: each[place % len(each)] for place, row in enumerate(rows)}
    dialogues = tuple(known[row] for row in range(len(samples)))
    return Stage(benchmark.name, split, samples, dialogues, _label(embeddings))


def _ids_of(dialogue: Dialogue) -> DialogueIds:
    return DialogueIds(
        utt_ids=tuple(turn.utt_id for turn in dialogue.turns),
        img_ids=tuple(image.img_id for image in dialogue.images),
        image_turns={i: turn.utt_id for turn in dialogue.turns for i in turn.img_ids},
    )


def _label(embeddings: Path | str) -> str:
    return {"hashed": LABEL, "none": NO_VECTORS}.get(str(embeddings), f"{embeddings}/*.npz")


def _embeddings_of(
    dialogue: Dialogue, queries: Sequence[str], embeddings: Path | str, seed: int
) -> tuple[DialogueEmbeddings, ...]:
    if embeddings == "none":
        return ()
    if embeddings == "hashed":
        return hashed_embeddings(dialogue, queries, seed)
    from pathlib import Path

    folder, name = Path(embeddings), f"{dialogue.dialogue_id}.npz"
    if not folder.is_dir():
        remedy = "give hashed, none, or a folder with DIALOGUE_ID.npz for each dialogue"
        raise InputError("no such folder", file=folder, field="--embeddings", remedy=remedy)
    if (folder / name).resolve().parent != folder.resolve():
        message = f"the id {dialogue.dialogue_id!r} is no name of a file"
        raise InputError(message, file=folder, field="--embeddings", remedy="use --embeddings none")
    return (read_embeddings(folder / name),)


def play(stage: Stage, policies: Sequence[Policy], seed: int) -> list[str]:
    """The completions of policies to all samples, one policy after the other."""
    return [
        policy.play(
            Scene(sample, dialogue.embeddings), generator_of(seed, sample.sample_id, policy.name)
        )
        for policy in policies
        for sample, dialogue in zip(stage.samples, stage.dialogues, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """What a policy is paid: means over samples where it could be computed, ``None`` without any.

    Attributes:
        n: How many samples.
        n_null: For how many of them the total could not be computed.
        terms: Unweighted.
        total: Of all samples.
        total_with_gold, total_negative: Of samples with gold, and of those without.
        strict_f1: ``micro.joint.f1`` of protocol ``strict``: the mean of the modalities' micro F1.
        beats_gold: Share of the samples on which it earns more than the gold.
        flags: What is suspicious.
    """

    n: int
    n_null: int
    terms: Mapping[str, float | None]
    total: float | None
    total_with_gold: float | None
    total_negative: float | None
    strict_f1: float
    beats_gold: float | None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProfileResult:
    """What a profile pays for.

    Attributes:
        weights: Of its terms.
        left_out: Terms that could not be computed for want of vectors.
        policies: By name.
        constant: Terms that pay the same whatever is answered, and how much.
        one_edit: Share of the samples with gold on which a set one id away from the gold earns more
            than the gold.
    """

    weights: Mapping[str, float]
    left_out: tuple[str, ...]
    policies: Mapping[str, PolicyResult]
    constant: Mapping[str, float]
    one_edit: float | None

    @property
    def pays_for(self) -> tuple[str, ...]:
        """What it pays for besides right ids, for a reader; nothing if there is nothing."""
        found = [
            f"{name} (more than gold)" if MORE_THAN_GOLD in result.flags else name
            for name, result in self.policies.items()
            if {MORE_THAN_GOLD, UNDESERVED} & set(result.flags)
        ]
        negative = [
            result.total_negative or 0.0
            for result in self.policies.values()
            if PAID_ON_NEGATIVE in result.flags
        ]
        if negative:
            found.append(
                f"wrong answers to queries without gold (up to {max(negative):.2f}, {len(negative)}"
                " policies)"
            )
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Check:
    """What profiles pay on a benchmark."""

    stage: Stage
    seed: int
    profiles: Mapping[str, ProfileResult]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "benchmark": self.stage.name,
            "split": self.stage.split,
            "seed": self.seed,
            "embeddings": self.stage.vectors,
            "n_with_gold": int((~self.stage.negative).sum()),
            "n_negative": int(self.stage.negative.sum()),
            "profiles": {
                name: {
                    "weights": dict(found.weights),
                    "left_out": list(found.left_out),
                    "beaten_by_one_edit": found.one_edit,
                    "constant": dict(found.constant),
                    "pays_for": list(found.pays_for),
                    "policies": {
                        policy: {
                            key: getattr(result, key) for key in PolicyResult.__dataclass_fields__
                        }
                        for policy, result in found.policies.items()
                    },
                }
                for name, found in self.profiles.items()
            },
        }


def profiles_of(names: Sequence[str], weights: Mapping[str, float]) -> tuple[Profile, ...]:
    """Profiles by name, all three without one, with other weights if some are given.

    Raises:
        InputError: If a profile or a term is unknown.
    """
    chosen = dict.fromkeys(names or PROFILES)
    return tuple(read_profile(name).with_weights(weights) for name in chosen)


def check(
    stage: Stage,
    profiles: Sequence[Profile],
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
) -> Check:
    """Play all policies on a stage, and pay them by each profile."""
    batch = stage.batch(play(stage, POLICIES, seed))
    progress(0.2)
    edits = _OneEdit(stage, seed)
    results = {}
    for place, profile in enumerate(profiles):
        progress(0.4 + 0.6 * place / len(profiles))
        results[profile.name] = _paid(stage, batch, profile, edits)
    return Check(stage, seed, results)


def strict_f1(batch: Batch, rows: BoolArray | slice = slice(None)) -> float:
    """``micro.joint.f1`` of some completions; what does not parse strictly is empty."""
    found = []
    for counts in batch.counts.values():
        tp, fp, fn = (int(getattr(counts, name)[rows].sum()) for name in ("tp", "fp", "fn"))
        if tp + fp + fn:
            found.append(float(retrieval.f1(tp, fp, fn)))
    return sum(found) / len(found) if found else 0.0


def _paid(stage: Stage, batch: Batch, profile: Profile, edits: _OneEdit) -> ProfileResult:
    rewards = score(batch, profile)
    n, negative = len(stage.samples), stage.negative
    silent = batch.silent
    gold = rewards.total[_part(GOLD, n)]
    results = {}
    for policy in POLICIES:
        part = _part(policy.name, n)
        total = rewards.total[part]
        results[policy.name] = PolicyResult(
            n=n,
            n_null=int(np.isnan(total).sum()),
            terms={name: _mean(values[part]) for name, values in rewards.terms.items()},
            total=_mean(total),
            total_with_gold=_mean(total[~negative]),
            total_negative=_mean(total[negative]),
            strict_f1=strict_f1(batch, part),
            beats_gold=_mean(_where_known(total > gold + _EPSILON, total + gold)),
        )
    for policy in POLICIES:
        wrong = rewards.total[_part(policy.name, n)][negative & ~silent[_part(policy.name, n)]]
        paid = bool((np.nan_to_num(wrong) > _EPSILON).any())
        found = results[policy.name]
        flags = _flags(policy, found, results[GOLD], results[HALF])
        flags += (PAID_ON_NEGATIVE,) if paid else ()
        results[policy.name] = replace(found, flags=flags)
    return ProfileResult(
        profile.weights,
        rewards.left_out,
        results,
        _constant(rewards),
        edits.share_that_beats_gold(profile),
    )


def _constant(rewards: Rewards) -> dict[str, float]:
    known = {name: values[~np.isnan(values)] for name, values in rewards.terms.items()}
    return {
        name: float(values[0])
        for name, values in known.items()
        if len(values) and float(np.ptp(values)) < _EPSILON
    }


def _flags(
    policy: Policy, found: PolicyResult, gold: PolicyResult, half: PolicyResult
) -> tuple[str, ...]:
    """Compared on all samples, and on those with gold alone."""
    if policy.name in {GOLD, HALF}:
        return (MORE_THAN_GOLD,) if _earns_more(found, gold) else ()
    flags: tuple[str, ...] = ()
    if _earns_more(found, half, -_EPSILON):
        deserved = found.strict_f1 >= half.strict_f1
        flags += (AT_LEAST_HALF,) if deserved else (AT_LEAST_HALF, UNDESERVED)
    return flags + ((MORE_THAN_GOLD,) if _earns_more(found, gold) else ())


def _earns_more(found: PolicyResult, other: PolicyResult, by: float = _EPSILON) -> bool:
    pairs = ((found.total, other.total), (found.total_with_gold, other.total_with_gold))
    return any(a is not None and b is not None and a > b + by for a, b in pairs)


class _OneEdit:
    """The gold of each sample beside sets that have one id more, less, or another."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self._sample: list[int] = []
        completions: list[str] = []
        for row, sample in enumerate(stage.samples):
            rng = generator_of(seed, sample.sample_id, "one edit")
            texts = one_edit_sets(Scene(sample), rng, _EDITS)
            completions += texts
            self._sample += [row] * len(texts)
        solutions = stage.batch([""] * len(stage.samples)).solutions
        self._batch = Batch(
            completions,
            [solutions[row] for row in self._sample],
            [stage.dialogues[row] for row in self._sample],
        )

    def share_that_beats_gold(self, profile: Profile) -> float | None:
        """On how many samples with gold one of the sets earns more than the gold."""
        if not self._sample:
            return None
        total = score(self._batch, profile).total
        sample = np.array(self._sample)
        first = np.flatnonzero(np.diff(sample, prepend=-1))
        best = np.fmax.reduceat(np.where(np.isnan(total), -np.inf, total), first)
        return _mean(_where_known(best > total[first] + _EPSILON, total[first]))


def _part(policy: str, n: int) -> slice:
    place = [known.name for known in POLICIES].index(policy)
    return slice(place * n, (place + 1) * n)


def _where_known(flags: BoolArray, values: FloatArray) -> FloatArray:
    return np.where(np.isnan(values), np.nan, flags.astype(np.float64))


def _mean(values: FloatArray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
