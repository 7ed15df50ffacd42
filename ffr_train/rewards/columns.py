"""A trainer's columns to a batch, and a profile on them: what all adapters are made of."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.errors import InputError
from ffr_train.rewards.batch import Batch, DialogueIds, gold_outside
from ffr_train.rewards.embeddings import DialogueEmbeddings, read_embeddings
from ffr_train.rewards.profile import DEFAULT, Profile, read_profile
from ffr_train.rewards.registry import term_named
from ffr_train.rewards.scoring import Rewards, score

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.types import Dialogue

IDS: Final = ("utt_ids", "img_ids")
COLUMNS: Final = (*IDS, "image_turn", "embeddings")
"""What a line or a trainer's column may say of a dialogue."""

_NEEDS: Final[dict[str, tuple[str, ...]]] = {"mcc": IDS}
_NEEDS_WITH_EMBEDDINGS: Final = {"order": (*IDS, "image_turn"), "query_sim": IDS}
_UNREADABLE: Final = DialogueEmbeddings(np.zeros((0, 0), dtype=np.float32), {}, {})
_log = logging.getLogger("ffr_train.rewards")


class TrainerReward:
    """A profile on a trainer's columns; keep one for the whole training.

    Columns: ``solution``, and ``utt_ids``, ``img_ids``, ``image_turn``, ``embeddings`` (path of an
    ``.npz``) or ``sample_id`` with a benchmark. Others are passed over.

    Attributes:
        profile: The profile, weights applied.
        terms: The names of its terms that are computed.
        reasons: Why terms could not be computed, and for how many completions so far.
    """

    def __init__(
        self,
        profile: str | Profile = DEFAULT,
        *,
        weights: Mapping[str, float] | None = None,
        terms: Sequence[str] = (),
        benchmark: Benchmark | str | Path | None = None,
        folder: str | Path = ".",
    ) -> None:
        """Set up.

        Args:
            profile: The profile or its name.
            weights: Other weights than its own.
            terms: Terms to compute besides those that have weight.
            benchmark: Where ``sample_id`` is looked up; a folder, or the name of a bundled one.
            folder: Where relative paths of embeddings begin.

        Raises:
            InputError: If the profile, a term or the benchmark is unknown or wrong.
        """
        chosen = read_profile(profile) if isinstance(profile, str) else profile
        self.profile = chosen.with_weights(weights or {})
        self.terms = tuple(dict.fromkeys((*self.profile.weights, *terms)))
        for name in self.terms:
            term_named(name)
        self.reasons: Counter[str] = Counter()
        self._folder = Path(folder).resolve()
        self._samples = None if benchmark is None else BenchmarkSamples(benchmark)
        self._started = False
        self._last: tuple[Any, ...] = ()

    @property
    def weights(self) -> list[float]:
        """The weight of each of the terms."""
        return [self.profile.settings(name).weight for name in self.terms]

    def check(self, names: Iterable[str]) -> None:
        """Check the names of columns; called with a data set's before training, it fails early.

        Raises:
            InputError: If a column is missing.
        """
        names = set(names)
        needed = ["solution"] if self._samples is None else ["sample_id"]
        if self._samples is None:
            more = _NEEDS | (_NEEDS_WITH_EMBEDDINGS if "embeddings" in names else {})
            needed += [column for name in self.terms for column in more.get(name, ())]
        for column in dict.fromkeys(needed):
            if column not in names:
                has = ", ".join(sorted(names)) or "none"
                remedy = f"keep the column {column!r} in the data set; it has: {has}"
                raise InputError("the column is missing", field=column, remedy=remedy)

    def rewards(
        self,
        completions: Sequence[Any],
        columns: Mapping[str, Any],
    ) -> Rewards:
        """The rewards of a batch of n completions.

        Asked again for the same lists (one call a term), it answers from memory.

        Args:
            completions: Texts or conversations.
            columns: By name, each of n entries.

        Raises:
            TypeError: If a completion is neither text nor a conversation.
            InputError: If a column is missing, or holds what it should not.
        """
        names = ("solution", "sample_id", *COLUMNS)
        given = {name: columns[name] for name in names if columns.get(name) is not None}
        # A column that is there says that there are vectors, also where this batch has none.
        embedded = "embeddings" in columns
        if self._is_last(completions, given):
            last: Rewards = self._last[-1]
            return last
        self.check(given)
        for name in given:
            if len(given[name]) != len(completions):
                message = f"{len(given[name])} entries for {len(completions)} completions"
                remedy = "give one entry for each completion, repeated for each generation"
                raise InputError(message, field=name, remedy=remedy)
        rows: list[dict[str, Any]] = [
            {name: given[name][row] for name in COLUMNS if name in given}
            for row in range(len(completions))
        ]
        if self._samples is None:
            dialogues = [self._dialogue(row) for row in rows]
            solutions = given["solution"]
        else:
            found = [self._samples.find(sample_id) for sample_id in given["sample_id"]]
            paths = [row.get("embeddings") for row in rows]
            dialogues = [
                known if path is None else self._with_embeddings(known, path)
                for (known, _), path in zip(found, paths, strict=True)
            ]
            solutions = given.get("solution") or [solution for _, solution in found]
        batch = Batch(completions, solutions, dialogues)
        outside = gold_outside(batch)
        if outside is not None:
            place, message, remedy = outside
            raise InputError(f"row {place}: {message}", field="solution", remedy=remedy)
        result = score(batch, self.profile, self.terms, embedded=embedded)
        self._started = True
        self._count(result)
        self._last = (completions, list(completions), given, result)
        return result

    def column(
        self, name: str, completions: Sequence[Any], columns: Mapping[str, Any]
    ) -> list[float | None]:
        """A term unweighted, or ``total``; ``None`` where the total could not be computed.

        So a completion that one term cannot judge is skipped whole by a trainer that adds up the
        terms; without the other terms' ``None`` it would pass for one with 0 in that term.
        """
        result = self.rewards(completions, columns)
        values, totals = result.column(name), result.column("total")
        return [
            None if total is None else value for value, total in zip(values, totals, strict=True)
        ]

    def floats(
        self, name: str, completions: Sequence[Any], columns: Mapping[str, Any]
    ) -> list[float]:
        """The same for trainers that have no way to skip a completion.

        A term that is left out (no embeddings anywhere) is 0 for all.

        Raises:
            UncomputableError: If a total could not be computed. A number would be trained on.
        """
        result = self.rewards(completions, columns)
        if None in result.column("total"):
            raise UncomputableError("; ".join(_sentences(result)))
        return [0.0 if value is None else value for value in result.column(name)]

    def one(self, completion: Any, columns: Mapping[str, Any]) -> dict[str, float]:
        """Unweighted terms and ``total`` of one completion, for trainers that take floats only.

        A term that is left out (no embeddings anywhere) is not among them.

        Raises:
            UncomputableError: If the total could not be computed. A number would train on it.
        """
        kept = {name: value for name, value in columns.items() if value is not None}
        if "embeddings" in columns:  # it is expected, also where this sample has none
            kept["embeddings"] = columns["embeddings"]
        given = {name: [value] for name, value in kept.items()}
        result = self.rewards([completion], given)
        values = result.to_dicts()[0]
        if values["total"] is None:
            raise UncomputableError("; ".join(_sentences(result)))
        return {name: value for name, value in values.items() if value is not None}

    def _is_last(self, completions: Sequence[Any], given: Mapping[str, Any]) -> bool:
        if not self._last:
            return False
        last, texts, columns, _ = self._last
        same = completions is last and list(completions) == texts and given.keys() == columns.keys()
        return same and all(given[name] is columns[name] for name in given)

    def _dialogue(self, row: Mapping[str, Any]) -> DialogueIds:
        known = known_ids(*(row.get(name) for name in (*IDS, "image_turn")))
        path = row.get("embeddings")
        return known if path is None else self._with_embeddings(known, path)

    def _with_embeddings(self, known: DialogueIds, path: str | Path) -> DialogueIds:
        """With vectors; with none that can be used where the file fails later than at the start."""
        try:
            found = read_embeddings(self._folder / path)
        except InputError as error:
            if not self._started:
                raise
            _log.warning("%s", error)
            found = _UNREADABLE
        return with_embeddings(known, found)

    def _count(self, result: Rewards) -> None:
        for sentence in _sentences(result):
            if sentence not in self.reasons:
                left_out = sentence.partition(":")[0] in result.left_out
                more = "; left out of the total" if left_out else ""
                _log.warning("%s%s", sentence, more)
        for term, reasons in result.reasons.items():
            for reason, number in reasons.items():
                self.reasons[f"{term}: {reason}"] += number


def shared_reward(**options: Any) -> TrainerReward:
    """One reward a process and configuration, for trainers that call a bare function."""

    def plain(value: Any) -> Any:  # a node of a configuration
        return dict(value) if isinstance(value, Mapping) else list(value)

    return _shared(json.dumps(options, sort_keys=True, default=plain))


@lru_cache(maxsize=8)
def _shared(options: str) -> TrainerReward:
    return TrainerReward(**json.loads(options))


class UncomputableError(RuntimeError):
    """A reward could not be computed, and the trainer has no way to skip the completion."""


def _sentences(result: Rewards) -> list[str]:
    return [f"{term}: {reason}" for term, found in result.reasons.items() for reason in found]


class BenchmarkSamples:
    """What a benchmark says of each sample; samples of one dialogue share it."""

    def __init__(self, benchmark: Benchmark | str | Path) -> None:
        from ffr_eval.benchmark import read_benchmark

        if isinstance(benchmark, str | Path):
            benchmark = read_benchmark(benchmark)
        self._benchmark = benchmark
        self._dialogues: dict[int, DialogueIds] = {}

    def find(self, sample_id: str) -> tuple[DialogueIds, str]:
        """What is known of the dialogue, and the gold as markup.

        Raises:
            InputError: If there is no such sample.
        """
        from ffr_eval.markup import answer_text

        benchmark = self._benchmark
        row = benchmark.row_of(sample_id)
        if row is None:
            message = f"no sample {sample_id!r} in benchmark {benchmark.name!r}"
            remedy = "set the reward up with the benchmark that the data were exported from"
            raise InputError(message, field="sample_id", remedy=remedy)
        place = int(benchmark.queries.dialogue[row])
        if place not in self._dialogues:
            self._dialogues[place] = ids_of(benchmark.dialogue(place))
        gold = (benchmark.queries.gold_utt_ids[row], benchmark.queries.gold_img_ids[row])
        return self._dialogues[place], answer_text(*(ids.tolist() for ids in gold))


def ids_of(dialogue: Dialogue) -> DialogueIds:
    """What a reward needs to know of a benchmark's dialogue."""
    turns: dict[int, int] = {}
    for turn in dialogue.turns:
        for img_id in turn.img_ids:
            turns.setdefault(img_id, turn.utt_id)
    return DialogueIds(
        tuple(turn.utt_id for turn in dialogue.turns),
        tuple(image.img_id for image in dialogue.images),
        turns,
    )


def known_ids(utt_ids: Any = None, img_ids: Any = None, image_turn: Any = None) -> DialogueIds:
    """What a reward needs to know of a dialogue; the same object for the same ids.

    Args:
        utt_ids: Its utterance ids in order.
        img_ids: Its image ids.
        image_turn: The utterance id of the turn of each image, in the order of ``img_ids`` or,
            without them, of the ids 0, 1, …; or a mapping from image id to it.

    Raises:
        InputError: If they are no ids, repeat, or do not fit each other.
    """
    utterances, images = _ids(utt_ids, "utt_ids"), _ids(img_ids, "img_ids")
    if isinstance(image_turn, Mapping):
        shown = {int(key): turn for key, turn in image_turn.items() if turn is not None}
        values = _ids(shown.values(), "image_turn", unique=False) or ()
        turns = tuple(zip(shown, values, strict=True))
    else:
        turns = _turns(images, image_turn)
    return _known(utterances, images, turns)


@lru_cache(maxsize=4096)
def with_embeddings(known: DialogueIds, embeddings: DialogueEmbeddings) -> DialogueIds:
    """The same with vectors; the same object for the same two."""
    return DialogueIds(known.utt_ids, known.img_ids, known.image_turns, embeddings)


@lru_cache(maxsize=4096)
def _known(
    utt_ids: tuple[int, ...] | None,
    img_ids: tuple[int, ...] | None,
    turns: tuple[tuple[int, int], ...],
) -> DialogueIds:
    for image, turn in turns:
        if utt_ids is not None and turn not in utt_ids:
            message = f"image {image} is in turn {turn}, which the dialogue does not have"
            remedy = "image_turn has the utterance id of the turn that shows each image"
            raise InputError(message, field="image_turn", remedy=remedy)
    return DialogueIds(utt_ids, img_ids, dict(turns))


def _turns(images: tuple[int, ...] | None, image_turn: Any) -> tuple[tuple[int, int], ...]:
    if image_turn is None:
        return ()
    given = list(image_turn)
    if images is not None and len(given) != len(images):
        message = f"{len(given)} turns for {len(images)} images"
        raise InputError(message, field="image_turn", remedy="give one turn for each of img_ids")
    shown = images if images is not None else range(len(given))
    pairs = [(image, turn) for image, turn in zip(shown, given, strict=True) if turn is not None]
    values = _ids([turn for _, turn in pairs], "image_turn", unique=False)
    return tuple(zip((image for image, _ in pairs), values or (), strict=True))


def _ids(value: Any, name: str, *, unique: bool = True) -> tuple[int, ...] | None:
    if value is None:
        return None
    try:
        ids = tuple(map(index, value))
    except TypeError:
        message = f"is no list of ids: {str(value)[:80]}"
        raise InputError(message, field=name, remedy="give whole numbers, as [0, 1, 2]") from None
    if unique and len(set(ids)) < len(ids):
        again = next(i for i, number in Counter(ids).items() if number > 1)
        raise InputError(f"repeats the id {again}", field=name, remedy="give each id once")
    return ids
