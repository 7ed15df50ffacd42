"""A small simulation of training: which policy does a reward pull towards?

A bandit whose arms are policies (:mod:`ffr_train.rewards.policies`): one softmax over them, shared
by all samples, trained by REINFORCE with the advantages of GRPO (8 rollouts of a prompt, their mean
as baseline, divided by their standard deviation). A model in training cannot choose to answer with
the gold, so no arm has it; the honest arm is a *reader* that gets a share of the ids right.

What is measured at each step is hidden from the training, and exact: the expectation over arms and
all samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.metrics import retrieval
from ffr_eval.types import Dialogue, Fragment, Image, Sample, Turn
from ffr_train.rewards.batch import DialogueIds
from ffr_train.rewards.embeddings import DialogueEmbeddings
from ffr_train.rewards.laboratory import Stage, play
from ffr_train.rewards.policies import POLICIES, reader
from ffr_train.rewards.scoring import score

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.rewards.batch import Batch
    from ffr_train.rewards.policies import Policy
    from ffr_train.rewards.profile import Profile

ROLLOUTS: Final = 8
PROMPTS: Final = 16
LEARNING_RATE: Final = 0.5
SKILL: Final = 0.3
TOY_NOISE: Final = 1.5

METRICS: Final = ("strict_f1", "mcc", "empty_rate", "size_ratio")
"""``micro.joint.f1`` and ``micro.joint.mcc`` of protocol ``strict``; share of answers without ids;
number of ids answered over that of the gold."""

_KNOW_THE_GOLD: Final = frozenset(
    {"gold plus a duplicate", "gold plus an invented id", "off-by-one turns"}
)
_SKILLS: Final = tuple(np.round(np.arange(0.0, 1.01, 0.1), 1).tolist())


def arms(skill: float) -> tuple[Policy, ...]:
    """The reader, and all policies that cheat without knowing all of the gold."""
    cheats = (p for p in POLICIES if not p.honest and p.name not in _KNOW_THE_GOLD)
    return (reader(skill), *cheats)


@dataclass(frozen=True, slots=True)
class Course:
    """A training under one profile.

    Attributes:
        weights: Of the profile's terms.
        metrics: For each metric its values, shape ``(seeds, steps + 1)``.
        final: The probability of each arm at the end, mean over seeds.
        paid: The mean total of each arm; ``None`` where it could not be computed.
        honest_from: The least skill, in steps of a tenth, from which on the reader earns more than
            every other arm; ``None`` if not even with all ids right.
    """

    weights: Mapping[str, float]
    metrics: Mapping[str, FloatArray]
    final: Mapping[str, float]
    paid: Mapping[str, float | None]
    honest_from: float | None


@dataclass(frozen=True, slots=True)
class Simulation:
    """Trainings under several profiles, with the same random numbers."""

    stage: Stage
    skill: float
    steps: int
    seeds: int
    profiles: Mapping[str, Course]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "benchmark": self.stage.name,
            "split": self.stage.split,
            "embeddings": self.stage.vectors,
            "skill": self.skill,
            "steps": self.steps,
            "seeds": self.seeds,
            "rollouts": ROLLOUTS,
            "prompts": PROMPTS,
            "learning_rate": LEARNING_RATE,
            "profiles": {
                name: {
                    "weights": dict(course.weights),
                    "honest_from": course.honest_from,
                    "paid": dict(course.paid),
                    "final_arms": dict(course.final),
                    "metrics": {
                        metric: {
                            "mean": values.mean(axis=0).tolist(),
                            "min": values.min(axis=0).tolist(),
                            "max": values.max(axis=0).tolist(),
                        }
                        for metric, values in course.metrics.items()
                    },
                }
                for name, course in self.profiles.items()
            },
        }


def simulate(
    stage: Stage,
    profiles: Sequence[Profile],
    *,
    steps: int = 200,
    seeds: int = 5,
    skill: float = SKILL,
    progress: Callable[[float], None] = lambda _: None,
) -> Simulation:
    """Train a bandit under each profile, once for each seed."""
    played = arms(skill)
    completions = [text for seed in range(seeds) for text in play(stage, played, seed)]
    batch = stage.batch(completions)
    progress(0.2)
    ladder = stage.batch(play(stage, [reader(level) for level in _SKILLS], 0))
    shape = (seeds, len(played), len(stage.samples))
    hidden = _Hidden.of(batch, shape)
    courses = {}
    for place, profile in enumerate(profiles):
        total = score(batch, profile).total.reshape(shape)
        begin = 0.2 + 0.8 * place / len(profiles)

        def show(part: float, begin: float = begin) -> None:
            progress(begin + 0.8 * part / len(profiles))

        history = _train(total, steps, show)
        final = history[:, -1].mean(axis=0)
        paid = [_mean(total[:, arm]) for arm in range(len(played))]
        levels = score(ladder, profile).total.reshape(len(_SKILLS), -1)
        courses[profile.name] = Course(
            profile.weights,
            hidden.metrics(history),
            {policy.name: float(final[arm]) for arm, policy in enumerate(played)},
            {policy.name: paid[arm] for arm, policy in enumerate(played)},
            _honest_from([_mean(level) for level in levels], paid[1:]),
        )
    return Simulation(stage, skill, steps, seeds, courses)


def _train(total: FloatArray, steps: int, progress: Callable[[float], None]) -> FloatArray:
    """The probabilities of arms, shape ``(seeds, steps + 1, arms)``.

    Args:
        total: Of each seed, arm and sample; NaN is left out, as trainers leave out ``None``.
        steps: How many.
        progress: Called with the part that is done.
    """
    seeds, n_arms, n = total.shape
    generators = [np.random.default_rng(seed) for seed in range(seeds)]
    logits = np.zeros((seeds, n_arms))
    history = np.empty((seeds, steps + 1, n_arms))
    which = np.arange(seeds)[:, None, None]
    for step in range(steps + 1):
        exp = np.exp(logits - logits.max(axis=1, keepdims=True))
        probability = exp / exp.sum(axis=1, keepdims=True)
        history[:, step] = probability
        if step == steps:
            break
        if step % 20 == 0:
            progress(step / steps)
        prompts = np.stack([rng.integers(n, size=PROMPTS) for rng in generators])
        draws = np.stack([rng.random((PROMPTS, ROLLOUTS)) for rng in generators])
        edges = np.cumsum(probability, axis=1)[:, None, None, :-1]
        chosen = (draws[..., None] >= edges).sum(axis=-1)
        reward = total[which, chosen, prompts[..., None]]
        advantage = _advantages(reward)
        gradient = np.zeros_like(logits)
        np.add.at(gradient, (which, chosen), advantage)
        gradient -= advantage.sum(axis=(1, 2))[:, None] * probability
        logits = logits + LEARNING_RATE * gradient / (PROMPTS * ROLLOUTS)
    return history


def _advantages(reward: FloatArray) -> FloatArray:
    """Of each group of rollouts, as in GRPO; 0 for a rollout without a reward."""
    known = ~np.isnan(reward)
    number = np.maximum(known.sum(axis=-1, keepdims=True), 1)
    filled = np.where(known, reward, 0.0)
    centred = np.where(known, filled - filled.sum(axis=-1, keepdims=True) / number, 0.0)
    spread = np.sqrt((centred**2).sum(axis=-1, keepdims=True) / number)
    advantages: FloatArray = centred / (spread + 1e-4)
    return advantages


@dataclass(frozen=True, slots=True)
class _Hidden:
    """Sums over samples.

    Attributes:
        tp, fp, fn, tn: Of each modality, shape ``(2, seeds, arms)``.
        empty: Share of answers without ids, shape ``(seeds, arms)``.
    """

    tp: FloatArray
    fp: FloatArray
    fn: FloatArray
    tn: FloatArray
    empty: FloatArray

    @classmethod
    def of(cls, batch: Batch, shape: tuple[int, int, int]) -> _Hidden:
        tp, fp, fn, tn = (
            np.array(
                [
                    getattr(counts, name).reshape(shape).sum(axis=2)
                    for counts in batch.counts.values()
                ],
                dtype=np.float64,
            )
            for name in ("tp", "fp", "fn", "tn")
        )
        ids = batch.predicted("utterance").lengths + batch.predicted("image").lengths
        return cls(tp, fp, fn, tn, (ids == 0).reshape(shape).mean(axis=2))

    def metrics(self, history: FloatArray) -> dict[str, FloatArray]:
        """What is expected of policies, each of shape ``(seeds, steps + 1)``."""

        def expected(values: FloatArray) -> FloatArray:
            means: FloatArray = np.einsum("ksa,...ka->...ks", history, values)
            return means

        tp, fp, fn, tn, empty = map(expected, (self.tp, self.fp, self.fn, self.tn, self.empty))
        present = (tp + fp + fn > 0).astype(np.float64)
        number = present.sum(axis=0)
        return {
            "strict_f1": retrieval.ratio(retrieval.f1(tp, fp, fn).sum(axis=0), number),
            "mcc": retrieval.ratio(retrieval.mcc(tp, fp, fn, tn).sum(axis=0), number),
            "empty_rate": empty,
            "size_ratio": retrieval.ratio((tp + fp).sum(axis=0), (tp + fn).sum(axis=0)),
        }


def _honest_from(levels: Sequence[float | None], others: Sequence[float | None]) -> float | None:
    best = max((value for value in others if value is not None), default=None)
    found = None
    for skill, value in zip(reversed(_SKILLS), reversed(levels), strict=True):
        if best is None or value is None or value <= best:
            break
        found = skill
    return found


def _mean(values: FloatArray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def toy_stage(seed: int = 0, n_dialogues: int = 60, noise: float = TOY_NOISE) -> Stage:
    """Made-up dialogues of three topics with vectors to match, where gold is what is of one topic.

    A vector is its topic's of length 1 plus noise of length ``noise``; four turns are chatter, all
    but the same. A tenth of the queries have no gold, a quarter of the others no image.
    """
    rng = np.random.default_rng(seed)
    samples, dialogues = [], []
    for number in range(n_dialogues):
        dialogue, known, topics = _toy_dialogue(f"toy-{number}", rng, noise)
        topic = int(rng.integers(3))
        fragment = Fragment()
        if rng.random() >= 0.1:
            images = () if rng.random() < 0.25 else _of(topics["i"], topic, 2)
            fragment = Fragment(_of(topics["u"], topic, 8), images)
        samples.append(Sample(f"toy-{number}#0", dialogue, f"topic {topic}", gold=fragment))
        dialogues.append(known)
    return Stage("toy", None, tuple(samples), tuple(dialogues), "made-up topic vectors")


_CHATTER: Final = 3  # the topic of turns that say the same


def _toy_dialogue(
    name: str, rng: np.random.Generator, noise: float
) -> tuple[Dialogue, DialogueIds, dict[str, list[int]]]:
    n_turns, n_images, dimensions = 32, 6, 32
    topic_vectors = rng.normal(size=(_CHATTER + 1, dimensions))
    topic_vectors /= np.linalg.norm(topic_vectors, axis=1, keepdims=True)
    turn_topics = [*np.sort(rng.integers(_CHATTER, size=n_turns - 4)).tolist(), *[_CHATTER] * 4]
    image_topics = rng.integers(_CHATTER, size=n_images).tolist()
    topics = np.array([*turn_topics, *image_topics])
    own = rng.normal(size=(len(topics), dimensions)) * noise / np.sqrt(dimensions)
    own[topics == _CHATTER] *= 0.1
    vectors = topic_vectors[topics] + own
    embeddings = DialogueEmbeddings(
        vectors, {i: i for i in range(n_turns)}, {i: n_turns + i for i in range(n_images)}
    )
    shown = rng.integers(n_turns, size=n_images).tolist()
    turns = tuple(
        Turn(i, "AB"[i % 2], f"topic {topic}", tuple(k for k, t in enumerate(shown) if t == i))
        for i, topic in enumerate(turn_topics)
    )
    known = DialogueIds(
        tuple(range(n_turns)), tuple(range(n_images)), dict(enumerate(shown)), embeddings
    )
    dialogue = Dialogue(name, turns, tuple(Image(i) for i in range(n_images)))
    return dialogue, known, {"u": turn_topics, "i": image_topics}


def _of(topics: Sequence[int], topic: int, most: int) -> tuple[int, ...]:
    return tuple(place for place, found in enumerate(topics) if found == topic)[:most]
