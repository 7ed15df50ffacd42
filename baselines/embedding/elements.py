"""What of a dialogue an encoder is given, and under which keys its vectors are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from baselines.encoders.encoder import Item
from baselines.lexical import image_texts
from ffr_eval.embeddings.keys import Role, mixed_key, text_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from baselines.embedding.image_files import ImageFiles
    from ffr_eval.benchmark import Benchmark
    from ffr_eval.ragged import IntArray
    from ffr_eval.types import Dialogue, Image, Turn

    Element = tuple[bytes, Item]
    Elements = list[Element | None]


@dataclass(frozen=True, slots=True)
class Reading:
    """What an encoder reads of a dialogue.

    Attributes:
        images: It reads image files; otherwise a text stands for each image.
        roles: It encodes queries differently from passages.
        context: With a turn it reads so many turns before and after.
        captions: An image that it cannot read is found by its caption.
        interleaved: It reads a turn's text together with the turn's images.
    """

    images: bool
    roles: bool
    context: int = 0
    captions: bool = False
    interleaved: bool = False


class Reader:
    """Gives the elements of dialogues and queries; ``None`` stands where there is nothing to embed.

    Args:
        reading: What the encoder reads.
        files: The image files.
    """

    def __init__(self, reading: Reading, files: ImageFiles) -> None:
        self.reading = reading
        self.files = files

    def query(self, query: str) -> Element | None:
        """The element of a query."""
        return self._text(query, Role.QUERY)

    def turns(self, dialogue: Dialogue) -> Elements:
        """An element for each turn, of its text."""
        return [self._text(text) for text in self._texts(dialogue)]

    def images(self, dialogue: Dialogue) -> Elements:
        """An element for each image: its file, or for an encoder of text alone a text.

        That text is its caption if captions are read, else the turns around it.
        """
        if self.reading.images:
            return [self._image(image) for image in dialogue.images]
        return [self._text(text) for text in image_texts(dialogue, self.reading.captions)]

    def captions(self, dialogue: Dialogue) -> Elements:
        """An element for each image: its caption, for where its file is of no use."""
        if not (self.reading.images and self.reading.captions):
            return [None] * len(dialogue.images)
        return [self._text(image.caption or "") for image in dialogue.images]

    def interleaved(self, dialogue: Dialogue, usable: Sequence[bool]) -> Elements:
        """An element for each turn that shows usable images: its text together with them.

        Args:
            dialogue: The dialogue.
            usable: For each image of the dialogue, whether it has a vector of its own.
        """
        if not self.reading.interleaved:
            return [None] * len(dialogue.turns)
        files = {
            image.img_id: image.file
            for image, good in zip(dialogue.images, usable, strict=True)
            if good and image.file is not None
        }
        texts = self._texts(dialogue)
        return [
            self._mixed(turn, text, files) for turn, text in zip(dialogue.turns, texts, strict=True)
        ]

    def _texts(self, dialogue: Dialogue) -> list[str]:
        """The text of each turn with those around it."""
        texts, reach = [turn.text for turn in dialogue.turns], self.reading.context
        if not reach:
            return texts
        return [
            "\n".join(text for text in texts[max(i - reach, 0) : i + reach + 1] if text.strip())
            for i in range(len(texts))
        ]

    def _text(self, text: str, role: Role = Role.PASSAGE) -> Element | None:
        if not text.strip():
            return None
        role = role if self.reading.roles else Role.PASSAGE
        return text_key(text, role if self.reading.roles else None), Item(text, role=role)

    def _image(self, image: Image) -> Element | None:
        key = None if image.file is None else self.files.key(image.file)
        return None if key is None or image.file is None else (key, Item(images=(image.file,)))

    def _mixed(self, turn: Turn, text: str, files: Mapping[int, Path]) -> Element | None:
        shown = [files[img_id] for img_id in turn.img_ids if img_id in files]
        keyed = [(self.files.key(path), path) for path in shown]
        good = [(key, path) for key, path in keyed if key is not None]
        keys, paths = [key for key, _ in good], tuple(path for _, path in good)
        if not keys:
            return None
        if len(keys) == 1 and not text.strip():
            return keys[0], Item(images=paths)
        role = Role.PASSAGE if self.reading.roles else None
        return mixed_key(text, keys, role), Item(text, paths)


def dialogues_of(benchmark: Benchmark, rows: IntArray) -> list[int]:
    """The rows of the dialogues of samples, each once."""
    found: list[int] = np.unique(benchmark.queries.dialogue[rows]).tolist()
    return found


def count_elements(benchmark: Benchmark, rows: IntArray) -> int:
    """How many turns, images and queries samples have; those that are blank are counted too."""
    table, dialogues = benchmark.dialogues, dialogues_of(benchmark, rows)
    return len(rows) + sum(
        int(ids.lengths[dialogues].sum()) for ids in (table.utt_ids, table.img_ids)
    )


def each_element(benchmark: Benchmark, rows: IntArray, reader: Reader) -> Iterator[Element]:
    """The elements of samples: turns and images of their dialogues, then the queries."""
    for row in dialogues_of(benchmark, rows):
        dialogue = benchmark.dialogue(row)
        yield from present(reader.turns(dialogue))
        yield from present(reader.images(dialogue))
    queries = benchmark.queries.query
    yield from present(reader.query(queries[row]) for row in rows.tolist())


def present(elements: Iterable[Element | None]) -> Iterator[Element]:
    """Elements without the places where there is none."""
    return (element for element in elements if element is not None)
