"""Policies that are played to see what a reward pays for: honest ones, and ones that cheat.

A policy is a function of a scene (a sample, and the vectors of its dialogue) and a generator of
random numbers, and gives a completion. The same scene and generator give the same completion. On a
query without gold, policies that need the gold's size name one utterance: they do not know it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from ffr_eval.markup import answer_text
from ffr_eval.types import Fragment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.types import Sample
    from ffr_train.rewards.embeddings import DialogueEmbeddings

Generator: TypeAlias = np.random.Generator


@dataclass(frozen=True, slots=True)
class Scene:
    """What a policy sees.

    Attributes:
        sample: With its gold.
        embeddings: The vectors of its dialogue, if there are any.
    """

    sample: Sample
    embeddings: DialogueEmbeddings | None = None

    @property
    def gold(self) -> Fragment:
        """The gold; empty where the sample comes without."""
        return self.sample.gold or Fragment()

    @property
    def utt_ids(self) -> tuple[int, ...]:
        """The utterance ids of the dialogue, in order."""
        return tuple(turn.utt_id for turn in self.sample.dialogue.turns)

    @property
    def img_ids(self) -> tuple[int, ...]:
        """The image ids of the dialogue, in order of appearance."""
        return tuple(image.img_id for image in self.sample.dialogue.images)

    @property
    def sizes(self) -> tuple[int, int]:
        """How many utterances and images the gold has; one utterance where it has none."""
        sizes = len(self.gold.utt_ids), len(self.gold.img_ids)
        return sizes if any(sizes) else (1, 0)


@dataclass(frozen=True, slots=True)
class Policy:
    """A way to answer.

    Attributes:
        name: What it is called in reports.
        summary: What it answers, in a sentence.
        play: A scene and a generator to a completion.
        honest: Whether its answers hold nothing but gold, each id once: no reward should call it
            a cheat.
    """

    name: str
    summary: str
    play: Callable[[Scene, Generator], str]
    honest: bool = False


def generator_of(seed: int, sample_id: str, policy: str) -> Generator:
    """The random numbers of a policy on a sample; other samples and policies do not matter."""
    text = f"{policy}\n{sample_id}".encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(text).digest()
    return np.random.default_rng(np.random.SeedSequence([seed, int.from_bytes(digest)]))


def gold(scene: Scene, _: Generator) -> str:
    """The gold."""
    return answer_text(scene.gold.utt_ids, scene.gold.img_ids)


def random_half(scene: Scene, rng: Generator) -> str:
    """A random half of the gold of each modality, rounded up."""
    utterances, images = scene.gold.utt_ids, scene.gold.img_ids
    return answer_text(
        _drawn(utterances, (len(utterances) + 1) // 2, rng),
        _drawn(images, (len(images) + 1) // 2, rng),
    )


def select_all(scene: Scene, _: Generator) -> str:
    """Every id of the dialogue."""
    return answer_text(scene.utt_ids, scene.img_ids)


def none(_: Scene, __: Generator) -> str:
    """The explicit empty answer."""
    return answer_text((), ())


def random(scene: Scene, rng: Generator) -> str:
    """As many ids as the gold has, drawn from the whole dialogue."""
    utterances, images = scene.sizes
    return answer_text(_drawn(scene.utt_ids, utterances, rng), _drawn(scene.img_ids, images, rng))


def one_repeated(scene: Scene, rng: Generator) -> str:
    """One right id, as often as the gold has ids, at least twice; without gold any id."""
    utterances, images = scene.gold.utt_ids, scene.gold.img_ids
    if images and not utterances:
        chosen = images[int(rng.integers(len(images)))]
        return answer_text((), (chosen,) * max(len(images), 2))
    among = utterances or scene.utt_ids
    if not among:
        return answer_text((), ())
    chosen = among[int(rng.integers(len(among)))]
    return answer_text((chosen,) * max(len(utterances), 2), ())


def with_duplicate(scene: Scene, rng: Generator) -> str:
    """The gold, and one of its ids again; without gold the empty answer."""
    utterances, images = scene.gold.utt_ids, scene.gold.img_ids
    again = _drawn(utterances or images, 1, rng)
    if utterances:
        return answer_text((*utterances, *again), images)
    return answer_text(utterances, (*images, *again))


def with_invented(scene: Scene, rng: Generator) -> str:
    """The gold, and an utterance id that the dialogue does not have."""
    return answer_text((*scene.gold.utt_ids, *_invented(scene.utt_ids, 1, rng)), scene.gold.img_ids)


def invented_only(scene: Scene, rng: Generator) -> str:
    """As many ids as the gold has, none of which the dialogue has."""
    utterances, images = scene.sizes
    return answer_text(
        _invented(scene.utt_ids, utterances, rng), _invented(scene.img_ids, images, rng)
    )


_PROSE: Final = (
    "The fragment that you are looking for is near the middle of the conversation.",
    "Sure! Let me think about which turns talk about this.",
    "I am sorry, but I cannot find it.",
    "Relevant utterances: the first few. Relevant images: all of them.",
)


def garbage(_: Scene, rng: Generator) -> str:
    """Prose without an answer."""
    return _PROSE[int(rng.integers(len(_PROSE)))]


def near_duplicates(scene: Scene, rng: Generator) -> str:
    """Elements that are most like each other, whatever the query; at least two.

    Without vectors: turns that follow each other.
    """
    size = max(len(scene.gold.utt_ids) + len(scene.gold.img_ids), 2)
    if scene.embeddings is None:
        size = min(size, len(scene.utt_ids))
        start = int(rng.integers(len(scene.utt_ids) - size + 1))
        return answer_text(scene.utt_ids[start : start + size], ())
    utterances, images = scene.utt_ids, scene.img_ids
    rows = [scene.embeddings.rows("utterance", np.array(utterances, dtype=np.int64))]
    rows += [scene.embeddings.rows("image", np.array(images, dtype=np.int64))]
    read = scene.embeddings.read(np.concatenate(rows))
    vectors = read.values / np.where(np.isnan(read.lengths), 1.0, read.lengths)[:, None]
    chosen = sorted(_most_alike(vectors, size))
    return answer_text(
        [utterances[place] for place in chosen if place < len(utterances)],
        [images[place - len(utterances)] for place in chosen if place >= len(utterances)],
    )


def disjoint(scene: Scene, rng: Generator) -> str:
    """As many ids as the gold has, all wrong."""
    utterances, images = scene.sizes
    wrong_utterances = [i for i in scene.utt_ids if i not in scene.gold.utt_ids]
    wrong_images = [i for i in scene.img_ids if i not in scene.gold.img_ids]
    return answer_text(_drawn(wrong_utterances, utterances, rng), _drawn(wrong_images, images, rng))


def off_by_one(scene: Scene, _: Generator) -> str:
    """For each gold id the next of the dialogue; for the last one that before it."""
    return answer_text(
        _shifted(scene.gold.utt_ids, scene.utt_ids), _shifted(scene.gold.img_ids, scene.img_ids)
    )


def shuffled(scene: Scene, rng: Generator) -> str:
    """The gold, its ids in random order."""
    return answer_text(
        rng.permutation(scene.gold.utt_ids).astype(np.int64).tolist(),
        rng.permutation(scene.gold.img_ids).astype(np.int64).tolist(),
    )


GOLD: Final = "gold"
HALF: Final = "random half of gold"

POLICIES: Final = (
    Policy(GOLD, "the gold", gold, honest=True),
    Policy(HALF, "half of the gold of each modality, rounded up", random_half, honest=True),
    Policy("shuffled order", "the gold, its ids in random order", shuffled, honest=True),
    Policy("gold plus a duplicate", "the gold, one id twice", with_duplicate),
    Policy("gold plus an invented id", "the gold and an id beyond the dialogue", with_invented),
    Policy("off-by-one turns", "the neighbours of the gold", off_by_one),
    Policy("one right id repeated", "one right id again and again", one_repeated),
    Policy("select-all", "every id of the dialogue", select_all),
    Policy("none", "the explicit empty answer", none),
    Policy("random", "as many ids as the gold, at random", random),
    Policy("disjoint same-size", "as many ids as the gold, all wrong", disjoint),
    Policy("near-duplicate spam", "what is most like each other", near_duplicates),
    Policy("invented only", "ids that the dialogue does not have", invented_only),
    Policy("garbage", "prose without an answer", garbage),
)


def reader(skill: float) -> Policy:
    """An honest policy of limited skill: each gold id with probability ``skill``, else a wrong one.

    On a query without gold it says so with that probability, and else names one utterance.
    """

    def play(scene: Scene, rng: Generator) -> str:
        if not (scene.gold.utt_ids or scene.gold.img_ids):
            return none(scene, rng) if rng.random() < skill else random(scene, rng)
        return answer_text(
            _partly(scene.gold.utt_ids, scene.utt_ids, skill, rng),
            _partly(scene.gold.img_ids, scene.img_ids, skill, rng),
        )

    return Policy(f"reader, {skill:.0%} right", "as many ids as the gold, some right", play)


def one_edit_sets(scene: Scene, rng: Generator, most: int) -> list[str]:
    """The gold, then sets with one id less, more, or another; nothing on a query without gold.

    All sets with one id less, and of the others as many, drawn at random, as make up ``most``.
    """
    gold = [("u", i) for i in scene.gold.utt_ids] + [("i", i) for i in scene.gold.img_ids]
    if not gold:
        return []
    others = [("u", i) for i in scene.utt_ids] + [("i", i) for i in scene.img_ids]
    others = [item for item in others if item not in set(gold)]
    less = [[kept for kept in gold if kept != item] for item in gold]
    changed = [[*gold, item] for item in others]
    changed += [[*kept, item] for kept in less for item in others]
    room = max(most - len(less), 0)
    chosen = sorted(rng.permutation(len(changed))[:room].tolist())
    sets = [gold, *less, *(changed[place] for place in chosen)]
    return [
        answer_text(
            (i for kind, i in items if kind == "u"), (i for kind, i in items if kind == "i")
        )
        for items in sets
    ]


def _drawn(ids: Sequence[int], size: int, rng: Generator) -> list[int]:
    """Some of the ids, in their order; all where there are not so many."""
    return [ids[place] for place in sorted(rng.permutation(len(ids))[:size].tolist())]


def _partly(gold: Sequence[int], ids: Sequence[int], skill: float, rng: Generator) -> list[int]:
    kept = {i for i, draw in zip(gold, rng.random(len(gold)), strict=True) if draw < skill}
    wrong = [i for i in ids if i not in set(gold)]
    chosen = kept | set(_drawn(wrong, len(gold) - len(kept), rng))
    return [i for i in ids if i in chosen]


def _invented(ids: Sequence[int], size: int, rng: Generator) -> list[int]:
    first = max(ids, default=-1) + 1 + int(rng.integers(5))
    return list(range(first, first + size))


def _shifted(chosen: Sequence[int], ids: Sequence[int]) -> list[int]:
    """The neighbours of ids; each once."""
    place_of = {value: place for place, value in enumerate(ids)}
    places = [place_of[i] for i in chosen]
    moved = [place + 1 if place + 1 < len(ids) else max(place - 1, 0) for place in places]
    return [ids[place] for place in dict.fromkeys(moved)]


def _most_alike(vectors: FloatArray, size: int) -> list[int]:
    """Places of vectors: the most alike pair, then one by one what is most like those chosen."""
    if len(vectors) <= size:
        return list(range(len(vectors)))
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    chosen = [int(place) for place in np.unravel_index(np.argmax(cosines), cosines.shape)]
    while len(chosen) < size:
        like = cosines[chosen].sum(axis=0)  # -inf for those chosen
        chosen.append(int(np.argmax(like)))
    return chosen[:size]
