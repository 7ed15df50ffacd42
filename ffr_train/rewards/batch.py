"""Completions beside their gold, in columns: what every reward term is computed from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.answer import MAX_DIGITS, parse_answer
from ffr_eval.coding import Universe
from ffr_eval.errors import InputError
from ffr_eval.metrics.counts import Counts, count
from ffr_eval.ragged import Ragged
from ffr_eval.types import Outcome
from ffr_train.rewards.fragments import ListedIds, coherence
from ffr_train.rewards.reading import parse_strictly

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffr_eval.answer import Answer
    from ffr_eval.embeddings.dialogue_vectors import DialogueEmbeddings
    from ffr_eval.ragged import IntArray
    from ffr_train.rewards.fragments import Coherence

    BoolArray = NDArray[np.bool_]

MODALITIES: Final = ("utterance", "image")
_NO_ID: Final = 10**MAX_DIGITS


@dataclass(frozen=True, slots=True, eq=False)
class DialogueIds:
    """What a reward knows of a dialogue; samples of one dialogue share the object.

    Attributes:
        utt_ids: Its utterance ids in order; ``None`` where they are not known.
        img_ids: Its image ids; ``None`` where they are not known.
        image_turns: The utterance id of the turn that shows each image, by image id.
        embeddings: Its vectors.
    """

    utt_ids: tuple[int, ...] | None = None
    img_ids: tuple[int, ...] | None = None
    image_turns: Mapping[int, int] = field(default_factory=dict)
    embeddings: DialogueEmbeddings | None = None

    def __post_init__(self) -> None:
        turns = [turn for turn in self.image_turns.values() if turn is not None]
        named = (("utt_ids", self.utt_ids), ("img_ids", self.img_ids), ("image_turn", turns))
        for name, ids in named:
            if ids and not 0 <= min(ids) <= max(ids) < _NO_ID:
                remedy = f"ids are whole numbers of at most {MAX_DIGITS} digits"
                raise InputError("an id is out of range", field=name, remedy=remedy)


NOTHING_KNOWN: Final = DialogueIds()


class Batch:
    """A batch of ``n`` completions.

    Attributes:
        texts: The completions, as text.
        solutions: The gold as text.
        dialogues: The distinct dialogues.
        dialogue: The place of each sample's dialogue among them, shape ``(n,)``.
        parsed: Whether a completion is exactly the answer markup, shape ``(n,)``.
        reasons: For each term, why it could not be computed, and for how many samples.
    """

    def __init__(
        self,
        completions: Sequence[Any],
        solutions: Sequence[str],
        dialogues: Sequence[DialogueIds] | None = None,
    ) -> None:
        """Read completions and gold.

        Args:
            completions: Texts, or conversations ``[{"role", "content"}]`` whose last message is it.
            solutions: The gold as answer markup, one a completion.
            dialogues: What is known of each sample's dialogue.

        Raises:
            TypeError: If a completion is neither text nor a conversation.
            InputError: If the numbers differ, or a solution is not the answer markup.
        """
        given = dialogues if dialogues is not None else [NOTHING_KNOWN] * len(completions)
        if not len(completions) == len(solutions) == len(given):
            message = (
                f"{len(completions)} completions, {len(solutions)} solutions,"
                f" {len(given)} dialogues"
            )
            raise InputError(message, field="solution", remedy="give one of each for each sample")
        self.texts = [_text(completion, place) for place, completion in enumerate(completions)]
        self.solutions = list(solutions)
        distinct = {id(dialogue): dialogue for dialogue in given}
        place_of = {key: place for place, key in enumerate(distinct)}
        self.dialogues = list(distinct.values())
        self.dialogue: IntArray = np.fromiter(
            (place_of[id(dialogue)] for dialogue in given), np.int64, len(given)
        )
        self.answers = parse_strictly(self.texts)
        gold: dict[str, Answer] = {}
        for place, text in enumerate(self.solutions):
            if not isinstance(text, str) or text not in gold:
                gold[text] = _gold(text, place)
        self.gold_answers = [gold[text] for text in self.solutions]
        self.parsed: BoolArray = np.array(
            [answer.outcome is not Outcome.PARSE_ERROR for answer in self.answers], dtype=np.bool_
        )
        self.reasons: dict[str, Counter[str]] = {}
        self._predicted = _ragged(self.answers)
        self._gold = _ragged(self.gold_answers)

    def __len__(self) -> int:
        return len(self.texts)

    def predicted(self, modality: str) -> Ragged:
        """Predicted ids as given, repetitions kept; none where nothing could be parsed."""
        return self._predicted[modality]

    def gold(self, modality: str) -> Ragged:
        """Gold ids."""
        return self._gold[modality]

    @cached_property
    def counts(self) -> dict[str, Counts]:
        """The kernel's counts of each modality; all ids are outside where none are known."""
        found = {}
        for modality in MODALITIES:
            codes = self._codes(modality)
            gold = codes.take(len(self) + self._gold_place)
            sizes = self._universes[modality].sizes
            found[modality] = count(gold, _first(codes, len(self)), sizes[self.dialogue])
        return found

    @cached_property
    def coherence(self) -> tuple[Coherence, Coherence]:
        """Coherence of the answers, and of the gold.

        Both come of one call, so that an answer equal to the gold has exactly its figures.
        """
        found = coherence(
            self.dialogues, self._homes, self._known["utterance"], self._known["image"]
        )
        return found.take(np.arange(len(self))), found.take(len(self) + self._gold_place)

    def universe(self, modality: str) -> IntArray:
        """How many ids each sample's dialogue has, shape ``(n,)``; 0 where they are not known."""
        return self._universes[modality].sizes[self.dialogue]

    def ids_known(self, modality: str) -> BoolArray:
        """Whether the ids of each sample's dialogue are known, shape ``(n,)``."""
        known = np.array([_ids(d, modality) is not None for d in self.dialogues], dtype=np.bool_)
        flags: BoolArray = known[self.dialogue]
        return flags

    def invented(self, modality: str) -> BoolArray:
        """Which predicted ids the dialogue does not have; none where its ids are not known."""
        universe = self._universes[modality]
        ids = self.predicted(modality)
        codes = universe.encode(ids, self.dialogue)
        sizes = np.repeat(universe.sizes[self.dialogue], ids.lengths)
        outside = (codes.values < 0) | (codes.values >= sizes)
        return outside & np.repeat(self.ids_known(modality), ids.lengths)

    @property
    def negative(self) -> BoolArray:
        """Which samples have no gold, shape ``(n,)``."""
        flags: BoolArray = (self.gold("utterance").lengths + self.gold("image").lengths) == 0
        return flags

    @property
    def silent(self) -> BoolArray:
        """Which completions say explicitly that nothing matches, shape ``(n,)``."""
        return np.array(
            [answer.outcome is Outcome.EMPTY for answer in self.answers], dtype=np.bool_
        )

    def cannot(self, term: str, rows: BoolArray, reason: str) -> None:
        """Note why a term is not computed for some samples."""
        if number := int(rows.sum()):
            self.reasons.setdefault(term, Counter())[reason] += number

    @cached_property
    def _gold_place(self) -> IntArray:
        """The place of each sample's gold among the distinct ones: completions share a prompt."""
        places: dict[tuple[int, str], int] = {}
        keys = zip(self.dialogue.tolist(), self.solutions, strict=True)
        return np.array([places.setdefault(key, len(places)) for key in keys], dtype=np.int64)

    @cached_property
    def _gold_samples(self) -> IntArray:
        """A sample of each distinct gold."""
        samples = np.zeros(int(self._gold_place.max(initial=-1)) + 1, dtype=np.int64)
        samples[self._gold_place] = np.arange(len(self))
        return samples

    @cached_property
    def _homes(self) -> IntArray:
        """The dialogue of each answer, then of each distinct gold."""
        return np.concatenate([self.dialogue, self.dialogue[self._gold_samples]])

    @cached_property
    def _lists(self) -> dict[str, Ragged]:
        """The ids of each answer, then of each distinct gold."""
        return {
            modality: Ragged.concatenate(
                [self.predicted(modality), self.gold(modality).take(self._gold_samples)]
            )
            for modality in MODALITIES
        }

    @cached_property
    def _known(self) -> dict[str, ListedIds]:
        return {
            modality: ListedIds(
                [_ids(dialogue, modality) for dialogue in self.dialogues],
                self._homes,
                self._lists[modality],
            )
            for modality in MODALITIES
        }

    @cached_property
    def _universes(self) -> dict[str, Universe]:
        """Those of the known ids; empty where a dialogue's are not known."""
        return {
            modality: self._known[modality].universe
            if self._all_known(modality)
            else Universe(Ragged.from_lists(_ids(d, modality) or () for d in self.dialogues))
            for modality in MODALITIES
        }

    def _codes(self, modality: str) -> Ragged:
        if self._all_known(modality):
            return self._known[modality].codes
        return self._universes[modality].encode(self._lists[modality], self._homes)

    def _all_known(self, modality: str) -> bool:
        return all(_ids(dialogue, modality) is not None for dialogue in self.dialogues)


def _first(lists: Ragged, n: int) -> Ragged:
    return Ragged(lists.values[: lists.offsets[n]], lists.offsets[: n + 1])


def gold_outside(batch: Batch) -> tuple[int, str, str] | None:
    """The first sample whose gold the dialogue does not have, what is wrong, and what to do.

    No answer could find such gold.
    """
    for modality, name in zip(MODALITIES, ("utt_ids", "img_ids"), strict=True):
        counts = batch.counts[modality]
        outside = (counts.tp_outside + counts.fn_outside > 0) & batch.ids_known(modality)
        if outside.any():
            place = int(outside.argmax())
            known = set(getattr(batch.dialogues[batch.dialogue[place]], name) or ())
            strange = [i for i in batch.gold(modality)[place].tolist() if i not in known]
            message = f"{modality} {strange[0]} of the gold is not among the dialogue's {name}"
            remedy = f"complete {name}, or correct the gold; leave {name} out if not known"
            return place, message, remedy
    return None


def _ids(dialogue: DialogueIds, modality: str) -> tuple[int, ...] | None:
    return dialogue.utt_ids if modality == "utterance" else dialogue.img_ids


def _ragged(answers: Sequence[Answer]) -> dict[str, Ragged]:
    return {
        "utterance": Ragged.from_lists(answer.utt_ids for answer in answers),
        "image": Ragged.from_lists(answer.img_ids for answer in answers),
    }


def _text(completion: Any, place: int) -> str:
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Sequence) and completion and isinstance(completion[-1], Mapping):
        content = completion[-1].get("content")
        if isinstance(content, str):
            return content
    message = (
        f"completion {place} is {type(completion).__name__}, neither text nor a conversation"
        ' [{"role", "content"}] that ends in text'
    )
    raise TypeError(message)


def _gold(text: Any, place: int) -> Answer:
    if not isinstance(text, str):
        message = f"solution {place} is {type(text).__name__}, not text"
        raise InputError(message, field="solution", remedy="give the gold as answer markup")
    answer = parse_answer(text, "strict")
    if answer.outcome is Outcome.PARSE_ERROR:
        message = f"solution {place} is not the answer markup: {text[:80]!r}"
        remedy = (
            "<|utt_ids_start|>[1, 2]<|utt_ids_end|>;<|img_ids_start|>[]<|img_ids_end|>;"
            " `ffr train export` writes it"
        )
        raise InputError(message, field="solution", remedy=remedy)
    return answer
