"""A benchmark in memory: columnar tables, and frozen objects as views on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ffr_eval.errors import InputError
from ffr_eval.places import TurnIndex
from ffr_eval.types import Dialogue, Fragment, Image, Kind, Sample, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ffr_eval.benchmark.schema import InfoRecord
    from ffr_eval.ragged import IntArray, Ragged

_DIALOGUES_IN_VIEW = 4  # how many dialogues are kept as objects at a time


@dataclass(frozen=True, slots=True)
class DialogueTable:
    """All dialogues; one row a dialogue, turn or image.

    Attributes:
        dialogue_id, language, meta: One entry a dialogue.
        utt_ids: Ragged, the utterance ids of each dialogue in order.
        speaker, text, time: One entry a turn, over all dialogues (offsets as in ``utt_ids``).
        turn_images: Ragged, the image ids of each turn.
        img_ids: Ragged, the image ids of each dialogue in order.
        path, url, caption: One entry an image, over all dialogues (offsets as in ``img_ids``).
    """

    dialogue_id: Sequence[str]
    language: Sequence[str | None]
    meta: Sequence[dict[str, Any]]
    utt_ids: Ragged
    speaker: Sequence[str]
    text: Sequence[str]
    time: Sequence[str | None]
    turn_images: Ragged
    img_ids: Ragged
    path: Sequence[str | None]
    url: Sequence[str | None]
    caption: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.dialogue_id)


@dataclass(frozen=True, slots=True)
class QueryTable:
    """All queries; one row a sample.

    Attributes:
        dialogue: Row of the dialogue in the :class:`DialogueTable`, shape ``(n,)``.
        gold_utt_ids, gold_img_ids: Ragged, sorted and without repetition.
    """

    sample_id: Sequence[str]
    dialogue: IntArray
    split: Sequence[str]
    query: Sequence[str]
    kind: Sequence[Kind]
    gold_utt_ids: Ragged
    gold_img_ids: Ragged
    meta: Sequence[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.sample_id)


class Benchmark:
    """A benchmark: its tables, and samples as views on them.

    A dialogue is held once, however many queries it has: samples of one dialogue share its turns.

    Attributes:
        info: What ``benchmark.json`` says.
        root: The folder; ``None`` if it was not read from one.
        dialogues: The dialogue table.
        queries: The query table.
        content_hash: ``sha256:…`` over the content as read.
        warnings: Sentences about what is odd but not wrong.
    """

    def __init__(
        self,
        info: InfoRecord,
        dialogues: DialogueTable,
        queries: QueryTable,
        content_hash: str,
        root: Path | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        self.info = info
        self.dialogues = dialogues
        self.queries = queries
        self.content_hash = content_hash
        self.root = root
        self.warnings = tuple(warnings)
        self._rows = {sample_id: row for row, sample_id in enumerate(queries.sample_id)}
        self.dialogue = lru_cache(maxsize=_DIALOGUES_IN_VIEW)(self._dialogue)

    @property
    def name(self) -> str:
        """The benchmark's name."""
        return self.info.name

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have samples, in order of appearance."""
        return tuple(dict.fromkeys(self.queries.split))

    def __len__(self) -> int:
        return len(self.queries)

    def __repr__(self) -> str:
        return f"<Benchmark {self.name}: {len(self.dialogues)} dialogues, {len(self)} queries>"

    def rows(self, split: str | None = None) -> IntArray:
        """Rows of the samples of a split (all without one), in file order.

        Raises:
            InputError: If there is no such split.
        """
        if split is None:
            return np.arange(len(self.queries), dtype=np.int64)
        if split not in self.splits:
            known = ", ".join(self.splits) or "none"
            remedy = f"splits here: {known}; `ffr data split` makes others"
            raise InputError(f"no split {split!r}", file=self.root, field="split", remedy=remedy)
        return np.array(
            [row for row, name in enumerate(self.queries.split) if name == split], dtype=np.int64
        )

    @cached_property
    def turn_index(self) -> TurnIndex:
        """The turn of every id."""
        return TurnIndex(self.dialogues)

    def row_of(self, sample_id: str) -> int | None:
        """The row of a sample, ``None`` if there is no such sample."""
        return self._rows.get(sample_id)

    def samples(self, split: str | None = None) -> Iterator[Sample]:
        """The samples of a split (all without one), in file order."""
        for row in self.rows(split).tolist():
            yield self.sample(row)

    def sample(self, row: int) -> Sample:
        """The sample in a row of the query table."""
        queries = self.queries
        return Sample(
            sample_id=queries.sample_id[row],
            dialogue=self.dialogue(int(queries.dialogue[row])),
            query=queries.query[row],
            split=queries.split[row],
            gold=Fragment(
                tuple(queries.gold_utt_ids[row].tolist()), tuple(queries.gold_img_ids[row].tolist())
            ),
            kind=queries.kind[row],
            meta=queries.meta[row],
        )

    def _dialogue(self, row: int) -> Dialogue:
        table = self.dialogues
        first_turn, end_turn = table.utt_ids.offsets[row : row + 2].tolist()
        first_image, end_image = table.img_ids.offsets[row : row + 2].tolist()
        turns = tuple(
            Turn(
                utt_id=int(table.utt_ids.values[i]),
                speaker=table.speaker[i],
                text=table.text[i],
                img_ids=tuple(table.turn_images[i].tolist()),
                time=table.time[i],
            )
            for i in range(first_turn, end_turn)
        )
        images = tuple(
            Image(
                img_id=int(table.img_ids.values[i]),
                file=self._file(table.path[i]),
                url=table.url[i],
                caption=table.caption[i],
            )
            for i in range(first_image, end_image)
        )
        return Dialogue(table.dialogue_id[row], turns, images, table.language[row])

    def _file(self, path: str | None) -> Path | None:
        return None if path is None or self.root is None else self.root / path
