"""Vectors of utterances and images for the rewards of rows, from the embedding store."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import numpy as np

from ffr_eval.embeddings.elements import BenchmarkElements
from ffr_eval.embeddings.store import EmbeddingStore, short_name
from ffr_eval.errors import InputError
from ffr_eval.importers.image_files import folder_name
from ffr_train.data.manifest import EMBEDDINGS, EncoderRecord

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.dialogue_views import View


class RowVectors:
    """Writes an ``.npz`` for each dialogue, or window of one; use it as a context manager.

    What could not be embedded (a blank text, a damaged image) has no vector there; rewards know
    how to do without.

    Args:
        benchmark: The benchmark.
        split: The samples; ``None`` for all.
        spec: The encoder, as ``ffr embed`` takes it.
        store: The folder of the store; by default that of the user.

    Attributes:
        record: The encoder, for the manifest.
        n_without: Elements that have no vector, of the dialogues that were checked.

    Raises:
        InputError: If there are no embeddings of that encoder.
    """

    def __init__(
        self, benchmark: Benchmark, split: str | None, spec: str, store: Path | None
    ) -> None:
        self._benchmark = benchmark
        self._split = split
        self._given_store = store
        opened = EmbeddingStore(store)
        if not opened.matching(spec):
            remedy = f"compute them: `{self._command(spec)}`"
            message = f"no embeddings of {spec!r}"
            raise InputError(message, file=opened.root, field="--encoder", remedy=remedy)
        self._record = opened.find(spec)
        self._space = opened.open(self._record)
        self._elements = BenchmarkElements(benchmark, self._record.roles)
        self._reads_images = "image" in self._record.modalities
        self._written: set[str] = set()
        self.n_without = 0
        self.record = EncoderRecord(self._record.label, self._record.id)

    def __enter__(self) -> RowVectors:
        self._space.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._space.__exit__(kind, error, trace)

    def check(self, rows: Iterable[int]) -> None:
        """Look whether everything of some dialogues was given to the encoder.

        Args:
            rows: Of the dialogue table.

        Raises:
            InputError: If not; the message says which command does that.
        """
        missing = {"utterances": 0, "images": 0}
        for row in rows:
            found = self._elements.dialogue(row)
            missing["utterances"] += self._missing(found.text_keys)
            if self._reads_images:
                missing["images"] += self._missing(found.image_keys)
            else:
                self.n_without += len(found.image_keys)
        lacking = [f"{number:,} {what}" for what, number in missing.items() if number]
        if not lacking:
            return
        raise InputError(
            f"{' and '.join(lacking)} have no embedding of {short_name(self._record)} yet",
            field="--encoder",
            remedy=f"compute them: `{self._command(self._record.label)}`",
        )

    def write(self, folder: Path, row: int, view: View) -> str:
        """Write the vectors of a view, unless they are there.

        Args:
            folder: Of the data.
            row: Of the dialogue.
            view: The whole of it, or a window; ids are those that it shows.

        Returns:
            The path of the file, relative to the folder.
        """
        dialogue = view.sample.dialogue
        name = folder_name(dialogue.dialogue_id)
        if view.img_ids is not None:
            name += f"~{dialogue.turns[0].utt_id}-{dialogue.turns[-1].utt_id}"
        path = f"{EMBEDDINGS}/{name}.npz"
        if path not in self._written:
            self._written.add(path)
            (folder / EMBEDDINGS).mkdir(exist_ok=True)
            arrays: dict[str, Any] = self._vectors(row, view)
            np.savez(folder / path, **arrays)
        return path

    def _command(self, encoder: str) -> str:
        """What computes embeddings."""
        where = str(self._benchmark.root or self._benchmark.name)
        command = ["ffr", "embed", where, "--encoder", encoder]
        command += [] if self._split is None else ["--split", self._split]
        command += [] if self._given_store is None else ["--store", str(self._given_store)]
        return shlex.join(command)

    def _vectors(self, row: int, view: View) -> dict[str, NDArray[Any]]:
        found = self._elements.dialogue(row)
        table = self._benchmark.dialogues
        text_keys = dict(zip(table.utt_ids[row].tolist(), found.text_keys, strict=True))
        image_keys = dict(zip(table.img_ids[row].tolist(), found.image_keys, strict=True))
        dialogue = view.sample.dialogue
        wanted = [(f"u{turn.utt_id}", text_keys[turn.utt_id]) for turn in dialogue.turns]
        if self._reads_images:
            shown = view.img_ids
            for image in dialogue.images:
                original = image.img_id if shown is None else shown[image.img_id]
                wanted.append((f"i{image.img_id}", image_keys[original]))
        known = [(name, key) for name, key in wanted if key is not None]
        vectors, there = self._space.read([key for _, key in known])
        return {name: vectors[place] for place, (name, _) in enumerate(known) if there[place]}

    def _missing(self, keys: Iterable[bytes | None]) -> int:
        """How many were never given to the encoder."""
        every = list(keys)
        asked = [key for key in every if key is not None]
        _, there = self._space.read(asked)
        self.n_without += len(every) - int(there.sum())
        absent = [key for key, found in zip(asked, there.tolist(), strict=True) if not found]
        failed = self._space.failures(absent) if absent else {}
        return sum(key not in failed for key in absent)
