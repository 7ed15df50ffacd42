"""Training dialogues that are evaluation data as well, or nearly.

Dialogues are compared by what is said: the share of three-word pieces that two of them have in
common (Jaccard), a Chinese or Japanese character being a word. Candidates come from MinHash
signatures, and are then compared piece by piece. Who speaks, and ids, are not compared.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.benchmark.writer import sha256_of
from ffr_eval.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ffr_eval.benchmark import Benchmark

    Pieces = NDArray[np.uint64]

WORDS: Final = 3
"""Of a piece."""
_WORD: Final = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd]"
    "|[^\\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd]+"
)
_PERMUTATIONS: Final = 128
_MISSED: Final = (0.05, 0.95)
"""How much a false candidate counts, and how much a missed one: candidates are compared anyway."""


@dataclass(frozen=True, slots=True)
class DialogueSet:
    """Dialogues of a benchmark that are compared.

    Attributes:
        benchmark: The benchmark.
        rows: Of the dialogue table.
        splits: Where their samples are.
    """

    benchmark: Benchmark
    rows: tuple[int, ...]
    splits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A training dialogue and one of the evaluation data that is nearly the same."""

    dialogue_id: str
    benchmark: str
    other_dialogue_id: str
    splits: tuple[str, ...]
    similarity: float


@dataclass(frozen=True, slots=True)
class ImagePair:
    """A training image whose file is that of an image of the evaluation data, byte by byte."""

    dialogue_id: str
    img_id: int
    benchmark: str
    other_dialogue_id: str
    other_img_id: int


@dataclass(frozen=True, slots=True)
class Overlap:
    """What was found.

    Attributes:
        rows: Dialogues of the training data with a pair, as rows of the dialogue table.
        pairs: The most similar one for each of them and each set that they were compared with.
        images: Equal images, one for each of the training data.
        n_images: Images of the training data that were compared.
    """

    rows: frozenset[int]
    pairs: tuple[Pair, ...]
    images: tuple[ImagePair, ...]
    n_images: int


def training_set(benchmark: Benchmark, split: str) -> DialogueSet:
    """The dialogues of a split."""
    return _set_of(benchmark, lambda name: name == split)


def other_splits(benchmark: Benchmark, split: str) -> DialogueSet:
    """The dialogues of all splits but this one, and others whose names begin with ``train``."""
    return _set_of(
        benchmark, lambda name: name != split and not name.casefold().startswith("train")
    )


def evaluation_set(benchmark: Benchmark) -> DialogueSet:
    """The dialogues of a benchmark but for splits whose names begin with ``train``.

    All of them, if it has no other splits.
    """
    found = other_splits(benchmark, "")
    return found if found.rows else _set_of(benchmark, lambda _: True)


def find_overlap(
    train: DialogueSet,
    others: Sequence[DialogueSet],
    similarity: float,
    advance: Callable[[int], None] = lambda _: None,
) -> Overlap:
    """Compare training dialogues with evaluation data.

    Args:
        train: The training data.
        others: What they are compared with.
        similarity: From here on, two dialogues are taken to be the same.
        advance: Called with the number of dialogues that were just read.

    Raises:
        MissingExtraError: If datasketch is not installed.
    """
    found: dict[int, list[Pair]] = defaultdict(list)
    if any(other.rows for other in others):
        mine = _pieces_of(train, advance)
        signatures = {row: _signature(pieces) for row, pieces in mine.items()}
        for other in others:
            _compare(train, other, mine, signatures, similarity, found, advance)
    pairs = [pair for row in sorted(found) for pair in found[row]]
    images, n_images = _equal_images(train, others)
    return Overlap(frozenset(found), tuple(pairs), images, n_images)


def pieces_of(texts: Iterable[str]) -> Pieces:
    """Hashes of the distinct pieces of what is said, sorted; a text of few words is one piece."""
    joined = unicodedata.normalize("NFKC", "\n".join(texts)).casefold()
    words = _WORD.findall(joined)
    if not words:
        return np.zeros(0, dtype=np.uint64)
    hashes = np.fromiter(map(_hash_of, words), np.uint64, len(words))
    width = min(WORDS, len(words))
    code = np.full(len(words) - width + 1, width, dtype=np.uint64)
    for step in range(width):
        code = _mixed(code ^ hashes[step : step + len(code)])
    return np.unique(code)


def jaccard(one: Pieces, other: Pieces) -> float:
    """The share of pieces that two texts have in common."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    total = len(one) + len(other) - common
    return common / total if total else 0.0


def _set_of(benchmark: Benchmark, wanted: Callable[[str], bool]) -> DialogueSet:
    queries = benchmark.queries
    rows: dict[int, None] = {}
    splits: dict[str, None] = {}
    for row, split in zip(queries.dialogue.tolist(), queries.split, strict=True):
        if wanted(split):
            rows[row] = splits[split] = None
    return DialogueSet(benchmark, tuple(rows), tuple(splits))


def _pieces_of(known: DialogueSet, advance: Callable[[int], None]) -> dict[int, Pieces]:
    """The pieces of each dialogue that says anything."""
    table = known.benchmark.dialogues
    found = {}
    for row in known.rows:
        first, end = table.utt_ids.offsets[row : row + 2].tolist()
        pieces = pieces_of(table.text[i] for i in range(first, end))
        if len(pieces):
            found[row] = pieces
        advance(1)
    return found


def _compare(
    train: DialogueSet,
    other: DialogueSet,
    mine: dict[int, Pieces],
    signatures: dict[int, Any],
    similarity: float,
    found: dict[int, list[Pair]],
    advance: Callable[[int], None],
) -> None:
    """Add the pairs of one set."""
    datasketch = _datasketch()
    index = datasketch.MinHashLSH(threshold=similarity, num_perm=_PERMUTATIONS, weights=_MISSED)
    theirs = _pieces_of(other, advance)
    for row, pieces in theirs.items():
        index.insert(row, _signature(pieces))
    same = other.benchmark is train.benchmark
    splits = _splits_of(other)
    ids, other_ids = train.benchmark.dialogues.dialogue_id, other.benchmark.dialogues.dialogue_id
    for row in train.rows:
        best = (1.0, row) if same and row in splits else None
        if best is None and row in mine:
            candidates = sorted(index.query(signatures[row]))
            scored = [(jaccard(mine[row], theirs[each]), each) for each in candidates]
            best = max(scored, key=itemgetter(0), default=None)
        if best is not None and best[0] >= similarity:
            score, place = best
            name = other.benchmark.name
            found[row].append(Pair(ids[row], name, other_ids[place], splits[place], score))


def _splits_of(known: DialogueSet) -> dict[int, tuple[str, ...]]:
    queries = known.benchmark.queries
    found: dict[int, dict[str, None]] = {row: {} for row in known.rows}
    for row, split in zip(queries.dialogue.tolist(), queries.split, strict=True):
        if row in found and split in known.splits:
            found[row][split] = None
    return {row: tuple(splits) for row, splits in found.items()}


def _signature(pieces: Pieces) -> Any:
    signature = _datasketch().MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=_low_half)
    signature.update_batch(pieces.tolist())
    return signature


def _low_half(piece: int) -> int:
    return piece & 0xFFFFFFFF


def _datasketch() -> Any:
    try:
        import datasketch
    except ImportError as error:
        raise MissingExtraError("comparing training data with evaluation data", "train") from error
    return datasketch


class _Hashes(dict[str, int]):
    def __missing__(self, word: str) -> int:
        digest = hashlib.blake2b(word.encode(errors="surrogatepass"), digest_size=8).digest()
        self[word] = number = int.from_bytes(digest)
        return number


_HASHES: Final = _Hashes()


def _hash_of(word: str) -> int:
    return _HASHES[word]


def _mixed(code: Pieces) -> Pieces:
    """SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        mixed = code + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


# --- images --------------------------------------------------------------------------------------

_Place = tuple[int, int]  # row of the dialogue, image id


def _equal_images(
    train: DialogueSet, others: Sequence[DialogueSet]
) -> tuple[tuple[ImagePair, ...], int]:
    """Images whose files are equal; only files of one size are read."""
    mine = _image_files(train)
    theirs = [(other, _image_files(other)) for other in others]
    sizes = {size for _, files in theirs for _, _, size in files}
    candidates = {size for _, _, size in mine if size in sizes}
    known: dict[str, tuple[DialogueSet, _Place]] = {}
    for other, files in theirs:
        for path, place, size in files:
            if size in candidates:
                known.setdefault(sha256_of(path), (other, place))
    pairs = []
    for path, (row, img_id), size in mine:
        if size not in candidates:
            continue
        match = known.get(sha256_of(path))
        if match is not None:
            other, (other_row, other_img) = match
            ids, other_ids = (s.benchmark.dialogues.dialogue_id for s in (train, other))
            name = other.benchmark.name
            pairs.append(ImagePair(ids[row], img_id, name, other_ids[other_row], other_img))
    return tuple(pairs), len(mine)


def _image_files(known: DialogueSet) -> list[tuple[Path, _Place, int]]:
    root = known.benchmark.root
    table = known.benchmark.dialogues
    if root is None:
        return []
    found = []
    for row in known.rows:
        first, end = table.img_ids.offsets[row : row + 2].tolist()
        for i in range(first, end):
            path = table.path[i]
            if path is None:
                continue
            try:
                size = (root / path).stat().st_size
            except OSError:
                continue  # what is missing is refused later, where it is needed
            found.append((root / path, (row, int(table.img_ids.values[i])), size))
    return found
