"""The benchmarks of a site: copies of them, their boards, and their dialogues with images."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ffr_eval.benchmark import Benchmark, read_benchmark
from ffr_eval.benchmark.reader import DIALOGUES, INFO, QUERIES, resolve
from ffr_eval.benchmark.writer import write_json
from ffr_eval.errors import FfrError, InputError
from leaderboard.publishing.code_version import code_version
from leaderboard.publishing.floors import floor_rows
from leaderboard.publishing.images import PublishedImage, publish_image
from leaderboard.publishing.kept_images import (
    KeptImages,
    has_images,
    kept_images,
    lacks_images,
)
from leaderboard.publishing.parquet import from_rows, load, save, without
from leaderboard.publishing.run_part import board_table_of
from leaderboard.site import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    import pyarrow as pa

    from ffr_eval.runs import BenchmarkRef
    from ffr_eval.uncertainty import Resampling
    from leaderboard.publishing.store import Store

_FORMAT: Final = 1
_KEPT: Final = 2
_FILES: Final = (INFO, DIALOGUES, QUERIES)
QUERY_SCHEMA: Final = without(schema.QUERIES.schema, "board_id")
_UNKNOWN: Final = "unknown"


class BoardFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a board without its runs."""

    n_samples: int
    n_dialogues: int
    languages: tuple[str, ...]


class DialogueFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of the images of a benchmark.

    Attributes:
        paths: Of all image files, relative to the benchmark.
        stamp: Changes when the image files do.
        images: The hashes of those that are published.
        problems: Why others are not, a sentence each.
    """

    paths: tuple[str, ...]
    stamp: str
    images: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(slots=True)
class Benchmarks:
    """Benchmarks of runs by content hash, read when they are needed.

    Attributes:
        store: Has the copies.
    """

    store: Store
    _read: dict[str, Benchmark] = field(default_factory=dict)
    _places: dict[str, dict[str, None]] = field(default_factory=dict)

    def known_at(self, content_hash: str, path: str) -> None:
        """Remember where a benchmark may be; the first place that has its images counts."""
        self._places.setdefault(content_hash, {})[path] = None

    def of(self, reference: BenchmarkRef) -> Benchmark:
        """The benchmark of a run: at the place that the run names, else its copy.

        Raises:
            InputError: If it is at neither, or is another one now.
        """
        content_hash = reference.hash
        if content_hash not in self._read:
            self._keep(content_hash, self._find(reference))
        return self._read[content_hash]

    def copied(self, content_hash: str) -> Benchmark:
        """The copy of a benchmark in the site.

        Raises:
            InputError: If there is none, or it is not what it was.
        """
        found = read_benchmark(self.store.benchmark(content_hash))
        if found.content_hash != content_hash:
            message = f"has the content {found.content_hash}"
            raise InputError(message, file=self.store.benchmark(content_hash))
        return found

    def ensure_copy(self, content_hash: str) -> None:
        """Make the copy of a benchmark that was read."""
        target = self.store.benchmark(content_hash)
        if target.exists():
            return
        root = self._read[content_hash].root
        assert root is not None  # noqa: S101 - it was read from a folder
        with self.store.making(target) as work:
            for name in _FILES:
                shutil.copyfile(root / name, work / name)
            if read_benchmark(work).content_hash != content_hash:
                remedy = "publish it again when nothing writes to it"
                raise InputError("changed while it was copied", file=root, remedy=remedy)

    def original(self, content_hash: str) -> Benchmark:
        """The benchmark with its images, if it is at one of its places, else one without."""
        found = self._read.get(content_hash)
        if found is not None and not lacks_images(found):
            return found
        for root in self.roots(content_hash):
            try:
                other = read_benchmark(root)
            except (FfrError, OSError, ValueError):
                continue
            if other.content_hash == content_hash:
                found = found or other
                if not lacks_images(other):
                    found = other
                    break
        if found is None:
            found = self.copied(content_hash)
        self._keep(content_hash, found)
        return found

    def roots(self, content_hash: str) -> list[Path]:
        """The folders where the benchmark with its images may be."""
        found: dict[Path, None] = {}
        for place in self._places.get(content_hash, ()):
            try:
                found[resolve(place)] = None
            except (InputError, OSError, ValueError):
                continue
        return list(found)

    def _find(self, reference: BenchmarkRef) -> Benchmark:
        try:
            found = read_benchmark(reference.path)
        except InputError:
            if self.store.benchmark(reference.hash).is_dir():
                return self.copied(reference.hash)
            raise
        if found.content_hash == reference.hash:
            return found
        if self.store.benchmark(reference.hash).is_dir():
            return self.copied(reference.hash)
        message = (
            f"the run was made on {reference.name} {reference.hash}, there is {found.name}"
            f" {found.content_hash} now"
        )
        remedy = "put that benchmark back, or run again on this one"
        raise InputError(message, field="benchmark.hash", remedy=remedy)

    def _keep(self, content_hash: str, benchmark: Benchmark) -> None:
        self._read.pop(content_hash, None)
        while len(self._read) >= _KEPT:
            del self._read[next(iter(self._read))]
        self._read[content_hash] = benchmark


@dataclass(frozen=True, slots=True)
class BoardPart:
    """What is computed of a board without its runs: queries and floors."""

    path: Path

    def facts(self) -> BoardFacts:
        """How large it is."""
        return msgspec.json.decode((self.path / "facts.json").read_bytes(), type=BoardFacts)

    def queries(self) -> pa.Table:
        """The queries with their gold, without the board's id."""
        return load(self.path / "queries.parquet")

    def floors(self) -> pa.Table:
        """The floors, without the board's id."""
        return load(self.path / "floors.parquet")


def board_part(
    benchmarks: Benchmarks, content_hash: str, split: str | None, resampling: Resampling
) -> BoardPart:
    """The part of a board, computed if it was not."""
    settings = [_FORMAT, content_hash, split, resampling.seed, code_version()]
    key = hashlib.sha256(msgspec.json.encode(settings)).hexdigest()
    target = benchmarks.store.part("boards", key)
    if target.exists():
        return BoardPart(target)
    benchmark = benchmarks.original(content_hash)
    rows = benchmark.rows(split)
    with benchmarks.store.making(target) as work:
        save(_queries(benchmark, split), work / "queries.parquet")
        save(
            floor_rows(board_table_of(benchmark, split), benchmark, resampling.seed),
            work / "floors.parquet",
        )
        dialogues = sorted(set(benchmark.queries.dialogue[rows].tolist()))
        languages = {benchmark.dialogues.language[row] or _UNKNOWN for row in dialogues}
        facts = BoardFacts(len(rows), len(dialogues), tuple(sorted(languages)))
        write_json(work / "facts.json", facts)
    return BoardPart(target)


def _queries(benchmark: Benchmark, split: str | None) -> pa.Table:
    queries, dialogue_ids = benchmark.queries, benchmark.dialogues.dialogue_id
    return from_rows(
        QUERY_SCHEMA,
        (
            {
                "row": place,
                "sample_id": queries.sample_id[row],
                "dialogue_id": dialogue_ids[int(queries.dialogue[row])],
                "query": queries.query[row],
                "kind": queries.kind[row].value,
                "gold_utt_ids": queries.gold_utt_ids[row].tolist(),
                "gold_img_ids": queries.gold_img_ids[row].tolist(),
            }
            for place, row in enumerate(benchmark.rows(split).tolist())
        ),
    )


@dataclass(frozen=True, slots=True)
class DialoguePart:
    """The dialogues of a benchmark as they are published."""

    path: Path

    def facts(self) -> DialogueFacts:
        """What became of the images."""
        return msgspec.json.decode((self.path / "facts.json").read_bytes(), type=DialogueFacts)

    def table(self) -> pa.Table:
        """The dialogues, sorted by id."""
        return load(self.path / "dialogues.parquet")


def dialogue_part(
    benchmarks: Benchmarks,
    content_hash: str,
    splits: Collection[str | None],
    progress: Callable[[int, int], None],
) -> DialoguePart:
    """The dialogues of some splits of a benchmark; images go into the site.

    Images are looked at again when their files have changed, as the content of a benchmark may
    name them without saying what is in them. Where none of them is there (a run that was made on a
    copy without them, a benchmark that has moved), those that the site has are kept.
    """
    store = benchmarks.store
    wanted = sorted(splits, key=lambda split: (split is not None, split or ""))
    key = hashlib.sha256(msgspec.json.encode([_FORMAT, content_hash, wanted])).hexdigest()
    target = store.part("dialogues", key)
    roots = benchmarks.roots(content_hash)
    if target.exists():
        there = DialoguePart(target)
        facts = there.facts()
        whole = all((store.images / f"{name}.webp").is_file() for name in facts.images)
        stamps = [_stamp(root, facts.paths) for root in roots if has_images(root, facts.paths)]
        if whole and (not stamps or facts.stamp in stamps):
            return there
    benchmark = benchmarks.original(content_hash)
    rows = sorted(
        {
            int(row)
            for split in wanted
            for row in benchmark.queries.dialogue[benchmark.rows(split)].tolist()
        },
        key=benchmark.dialogues.dialogue_id.__getitem__,
    )
    lacking = lacks_images(benchmark)
    kept = kept_images(store, content_hash) if lacking else {}
    store.images.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    problems: list[str] = []
    images: dict[str, None] = {}
    for done, row in enumerate(rows):
        record = _dialogue(benchmark, row, store.images, kept, problems)
        images.update(dict.fromkeys(i["sha256"] for i in record["images"] if i["sha256"]))
        records.append({"hash": content_hash, **record})
        progress(done + 1, len(rows))
    table = from_rows(schema.DIALOGUES.schema, records)
    paths = _image_paths(benchmark, rows)
    stamp = "" if lacking or benchmark.root is None else _stamp(benchmark.root, paths)
    with store.making(target) as work:
        save(table, work / "dialogues.parquet")
        facts = DialogueFacts(paths, stamp, tuple(images), tuple(problems))
        write_json(work / "facts.json", facts)
    return DialoguePart(target)


def _image_paths(benchmark: Benchmark, rows: Sequence[int]) -> tuple[str, ...]:
    offsets = benchmark.dialogues.img_ids.offsets
    found = (
        path
        for row in rows
        for path in benchmark.dialogues.path[int(offsets[row]) : int(offsets[row + 1])]
        if path is not None
    )
    return tuple(dict.fromkeys(found))


def _stamp(root: Path, paths: Sequence[str]) -> str:
    """Sizes and times of image files; other for those that are not there."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            found = (root / path).stat()
            digest.update(f"{found.st_size} {found.st_mtime_ns}\0".encode())
        except (OSError, ValueError):
            digest.update(b"-\0")
    return digest.hexdigest()


def _dialogue(
    benchmark: Benchmark, row: int, folder: Path, kept: KeptImages, problems: list[str]
) -> dict[str, Any]:
    table, dialogue = benchmark.dialogues, benchmark.dialogue(row)
    first = int(table.img_ids.offsets[row])
    images = []
    for place, image in enumerate(dialogue.images):
        path = table.path[first + place]
        found = PublishedImage()
        if path is not None and benchmark.root is not None:
            found = kept.get((dialogue.dialogue_id, image.img_id)) or publish_image(
                benchmark.root, path, folder
            )
        if found.problem is not None:
            problems.append(f"{dialogue.dialogue_id}, image {image.img_id}: {found.problem}")
        images.append(
            {
                "img_id": image.img_id,
                "sha256": found.sha256,
                "width": found.width,
                "height": found.height,
                "caption": image.caption,
            }
        )
    return {
        "dialogue_id": dialogue.dialogue_id,
        "language": dialogue.language,
        "turns": [
            {
                "utt_id": turn.utt_id,
                "speaker": turn.speaker,
                "text": turn.text,
                "time": turn.time,
                "img_ids": list(turn.img_ids),
            }
            for turn in dialogue.turns
        ],
        "images": images,
    }
