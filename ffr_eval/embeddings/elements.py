"""What of a benchmark is embedded, and under which keys: utterances, images and queries."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ffr_eval.embeddings.keys import Role, image_key, text_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark

_DIALOGUES_KEPT: Final = 64


class Absence(StrEnum):
    """Why an image has no key."""

    NO_FILE = "no file"  # the benchmark names none
    MISSING = "missing file"
    UNREADABLE = "file cannot be read"


@dataclass(frozen=True, slots=True)
class DialogueElements:
    """The elements of a dialogue, in the order of the benchmark's tables.

    Attributes:
        texts: What is embedded of each utterance; ``None`` where that is blank.
        text_keys: Their keys; ``None`` where there is no text.
        images: The file of each image; ``None`` where the benchmark names none.
        image_keys: Their keys; ``None`` where there is no file to read.
        absences: Why an image has no key; ``None`` where it has one.
    """

    texts: tuple[str | None, ...]
    text_keys: tuple[bytes | None, ...]
    images: tuple[Path | None, ...]
    image_keys: tuple[bytes | None, ...]
    absences: tuple[Absence | None, ...]


@dataclass(frozen=True, slots=True)
class Element:
    """Something to embed; either ``text`` or ``image`` is given."""

    key: bytes
    text: str | None = None
    image: Path | None = None
    role: Role = Role.PASSAGE


class BenchmarkElements:
    """The elements of a benchmark, for one dialogue or query at a time.

    Memory grows with the number of image files (a key each), not with dialogues or queries.

    Args:
        benchmark: The benchmark.
        roles: Whether the encoder treats queries differently from passages, as the record of its
            space says.
        context: How many turns before and after a turn are embedded together with it.
    """

    def __init__(self, benchmark: Benchmark, roles: bool, context: int = 0) -> None:
        if context < 0:
            raise ValueError("a context has 0 turns or more")
        self._benchmark = benchmark
        self._query_role = Role.QUERY if roles else None
        self._passage_role = Role.PASSAGE if roles else None
        self._context = context
        self._image_keys: dict[str, bytes | Absence] = {}
        self.dialogue = lru_cache(maxsize=_DIALOGUES_KEPT)(self._dialogue)

    def __len__(self) -> int:
        """How many dialogues there are."""
        return len(self._benchmark.dialogues)

    def dialogues(self) -> Iterator[DialogueElements]:
        """The elements of each dialogue, in order of the table."""
        for row in range(len(self)):
            yield self._dialogue(row)

    def query(self, row: int) -> tuple[str | None, bytes | None]:
        """The query of a sample and its key; ``None`` for both if it is blank."""
        text = self._benchmark.queries.query[row]
        if not text.strip():
            return None, None
        return text, text_key(text, self._query_role)

    def queries(
        self, rows: Iterable[int] | None = None
    ) -> Iterator[tuple[str | None, bytes | None]]:
        """The queries of samples and their keys; of all samples without ``rows``."""
        for row in range(len(self._benchmark.queries)) if rows is None else rows:
            yield self.query(int(row))

    def each(
        self, *, texts: bool = True, images: bool = True, rows: Iterable[int] | None = None
    ) -> Iterator[Element]:
        """Everything to embed: utterances and images of the dialogues, then queries.

        What has no key is left out. The same content comes as often as the benchmark has it.

        Args:
            texts: Whether utterances and queries are wanted.
            images: Whether images are wanted.
            rows: Samples whose queries are wanted; all without.
        """
        for found in self.dialogues():
            if texts:
                for text, key in zip(found.texts, found.text_keys, strict=True):
                    if key is not None:
                        yield Element(key, text=text)
            if images:
                for image, key in zip(found.images, found.image_keys, strict=True):
                    if key is not None:
                        yield Element(key, image=image)
        if texts:
            for text, key in self.queries(rows):
                if key is not None:
                    yield Element(key, text=text, role=Role.QUERY)

    def _dialogue(self, row: int) -> DialogueElements:
        """The elements of the dialogue in a row of the table."""
        table = self._benchmark.dialogues
        first, end = table.utt_ids.offsets[row : row + 2].tolist()
        texts = self._with_context([table.text[i] for i in range(first, end)])
        first, end = table.img_ids.offsets[row : row + 2].tolist()
        paths = [table.path[i] for i in range(first, end)]
        root = self._benchmark.root
        keys = [self._image_key(path) for path in paths]
        return DialogueElements(
            texts=texts,
            text_keys=tuple(
                None if text is None else text_key(text, self._passage_role) for text in texts
            ),
            images=tuple(None if p is None or root is None else root / p for p in paths),
            image_keys=tuple(None if isinstance(key, Absence) else key for key in keys),
            absences=tuple(key if isinstance(key, Absence) else None for key in keys),
        )

    def _with_context(self, texts: list[str]) -> tuple[str | None, ...]:
        width = self._context
        kept = [text if text.strip() else None for text in texts]
        if not width:
            return tuple(kept)
        windows = (kept[max(i - width, 0) : i + width + 1] for i in range(len(kept)))
        return tuple(
            "\n".join(text for text in window if text is not None) or None for window in windows
        )

    def _image_key(self, path: str | None) -> bytes | Absence:
        if path is None or self._benchmark.root is None:
            return Absence.NO_FILE
        known = self._image_keys.get(path)
        if known is None:
            known = self._image_keys[path] = _key_of_file(self._benchmark.root / path)
        return known


def _key_of_file(path: Path) -> bytes | Absence:
    try:
        if not path.is_file():
            return Absence.UNREADABLE if path.exists() else Absence.MISSING
        with open(path, "rb") as stream:  # noqa: PTH123 - a benchmark may have many
            return image_key(stream.read())
    except FileNotFoundError:
        return Absence.MISSING
    except OSError:
        return Absence.UNREADABLE
