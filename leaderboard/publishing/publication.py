"""Publishing runs into a site: what is new is computed, the tables are written anew."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ffr_eval.errors import FfrError, InputError
from ffr_eval.writing import cannot_write
from leaderboard.publishing.benchmarks import Benchmarks, board_part
from leaderboard.publishing.candidates import (
    MISTAKES,
    Candidate,
    given_runs,
    kept_candidate,
    labels_and_ids,
    path_text,
    read_candidate,
    unscored,
)
from leaderboard.publishing.figures import protocols
from leaderboard.publishing.hidden import HiddenGold, by_content, has_examples, require_known
from leaderboard.publishing.identities import board_id_of
from leaderboard.publishing.new_site import NewSite
from leaderboard.publishing.pairs import Paired, pair_files, paired_runs
from leaderboard.publishing.run_part import RunPart, part_key
from leaderboard.publishing.store import (
    Index,
    RunEntry,
    Store,
    UnscoredEntry,
    refuse_foreign,
    removed_if_refused,
    resampling_of,
)
from leaderboard.publishing.tables import Board, BoardRun
from leaderboard.publishing.work import Worker, Workers
from leaderboard.site.manifest import MANIFEST, BoardRecord, Manifest, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ffr_eval.uncertainty import Resampling
    from leaderboard.run_folders import RunPlace

    Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing came to; runs by their ids.

    Attributes:
        computed: Those whose figures were computed now.
        unchanged: Those whose figures were known.
        removed: Those that are no longer in the site.
        pairs_computed: How many pairs were, counted for each protocol, metric and bucket.
        warnings: Sentences about what is left out.
    """

    manifest: Manifest
    computed: tuple[str, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]
    pairs_computed: int
    warnings: tuple[str, ...]


def publish_site(
    runs: Sequence[Path],
    site: Path,
    *,
    hidden_gold: Sequence[str] = (),
    resampling: Resampling | None = None,
    workers: int = 1,
    prune: bool = False,
    progress: Progress | None = None,
) -> Published:
    """As :func:`leaderboard.publishing.publish`, and says what was done."""
    try:
        return _publish_site(
            runs, site, hidden_gold, resampling, workers, progress or (lambda *_: None), prune=prune
        )
    except OSError as error:  # what is wrong with a run has become its reason before
        raise cannot_write(site, error) from None


def _publish_site(
    runs: Sequence[Path],
    site: Path,
    hidden_gold: Sequence[str],
    resampling: Resampling | None,
    workers: int,
    progress: Progress,
    *,
    prune: bool,
) -> Published:
    places = given_runs(runs)
    refuse_foreign(site)
    hidden = tuple(HiddenGold.of(text) for text in hidden_gold)
    store, new = Store(site.resolve()), not site.exists()
    with store.locked(), removed_if_refused(store.site, new=new):
        store.finish()
        store.clear_work()
        index = store.read_index()
        before = read_manifest(store.site) if (store.site / MANIFEST).is_file() else None
        if resampling is None:
            resampling = resampling_of(before)
        publication = _Publication(store, index, before, resampling, hidden, progress)
        publication.read(places, prune=prune)
        with Workers(workers, publication.benchmarks) as pool:
            publication.compute(pool)
            boards = publication.boards()
            publication.pair(boards, pool)
        return publication.write(boards)


@dataclass(slots=True)
class _Publication:
    """One publish, step by step.

    Attributes:
        candidates: The runs that the site is to have.
        failed: Folders without figures.
    """

    store: Store
    index: Index
    before: Manifest | None
    resampling: Resampling
    hidden: tuple[HiddenGold, ...]
    progress: Progress
    candidates: list[Candidate] = field(default_factory=list)
    failed: list[UnscoredEntry] = field(default_factory=list)
    computed: set[str] = field(default_factory=set)
    pairs_computed: int = 0
    warnings: list[str] = field(default_factory=list)
    entries: list[RunEntry] = field(default_factory=list)
    benchmarks: Benchmarks = field(init=False)

    def __post_init__(self) -> None:
        self.benchmarks = Benchmarks(self.store)

    def read(self, places: Sequence[RunPlace], *, prune: bool) -> None:
        """Find out which runs the site is to have.

        Raises:
            InputError: If a benchmark is to be hidden that no run is of.
        """
        given = {path_text(place.path) for place in places}
        claimed = set()
        for place in places:
            try:
                candidate = read_candidate(place, self.index.runs)
            except MISTAKES as error:
                self._fail(place.path, place.label, error)
                continue
            known = candidate.known
            if known is not None and known.run_id in claimed:
                candidate = replace(candidate, known=None, place=place.label)
            elif known is not None:
                claimed.add(known.run_id)
            self.candidates.append(candidate)
        if not prune:
            for entry in self.index.runs:
                if entry.run_id in claimed or entry.path in given:
                    continue
                try:
                    self.candidates.append(kept_candidate(entry, self.store))
                except MISTAKES as error:
                    self._fail(Path(entry.path), entry.label, error)
            self.failed += [
                entry
                for entry in self.index.unscored
                if entry.path not in given and Path(entry.path).exists()
            ]
        hidden = tuple(HiddenGold.of(text) for text in self.index.hidden)
        boards = {
            (candidate.record.benchmark.name, *candidate.board) for candidate in self.candidates
        }
        require_known(self.hidden, boards)
        self.hidden = by_content((*hidden, *self.hidden), boards)

    def compute(self, pool: Workers) -> None:
        """Compute the parts of new and changed runs; what cannot be scored is set apart."""
        work: list[tuple[Candidate, str]] = []
        ready: list[tuple[Candidate, str]] = []
        for candidate in self.candidates:
            record = candidate.record
            self.benchmarks.known_at(record.benchmark.hash, candidate.benchmark_path)
            key = part_key(candidate.source, record.benchmark.hash, record.split, self.resampling)
            there = self.store.part("runs", key).is_dir()
            copied = self.store.benchmark(record.benchmark.hash).is_dir()
            (ready if there and copied else work).append((candidate, key))
        tasks = []
        for candidate, key in work:
            if self._copy_benchmark(candidate):
                tasks.append((candidate, key))
        outcomes = pool.each(
            Worker.run_part,
            [
                (key, candidate.folder, candidate.record, candidate.benchmark_path, self.resampling)
                for candidate, key in tasks
            ],
        )
        done = []
        for number, (candidate, key) in enumerate(tasks):
            self.progress("runs", number, len(tasks))
            mistake = next(outcomes)
            if mistake is not None:
                self._fail(candidate.path, candidate.place, mistake)
            else:
                self.computed.add(path_text(candidate.path))
                done.append((candidate, key))
        self.progress("runs", len(tasks), len(tasks))
        self._register([*ready, *done])

    def _copy_benchmark(self, candidate: Candidate) -> bool:
        """Copy the benchmark of a run, if it was not; without it the run fails."""
        reference = msgspec.structs.replace(
            candidate.record.benchmark, path=candidate.benchmark_path
        )
        try:
            self.benchmarks.of(reference)
        except MISTAKES as error:
            self._fail(candidate.path, candidate.place, error)
            return False
        try:
            self.benchmarks.ensure_copy(reference.hash)
        except FfrError as error:
            self._fail(candidate.path, candidate.place, error)
            return False
        return True

    def _register(self, found: Sequence[tuple[Candidate, str]]) -> None:
        if not found:
            reasons = [f"{entry.record.label}: {entry.record.reason}" for entry in self.failed]
            message = "none of the runs can be scored: " + "; ".join(reasons[:3])
            remedy = next((e.record.remedy for e in self.failed if e.record.remedy), None)
            raise InputError(message, remedy=remedy)
        names = labels_and_ids([candidate for candidate, _ in found])
        board_ids = self._board_ids(candidate for candidate, _ in found)
        for (candidate, key), (label, run_id) in zip(found, names, strict=True):
            self.entries.append(
                RunEntry(
                    run_id=run_id,
                    board_id=board_ids[candidate.board],
                    label=label,
                    place=candidate.place,
                    path=path_text(candidate.path),
                    source=candidate.source,
                    part=key,
                    benchmark_path=candidate.benchmark_path,
                    card=candidate.card,
                )
            )
        self.entries.sort(key=lambda entry: (entry.board_id, entry.run_id))

    def _board_ids(self, candidates: Iterable[Candidate]) -> dict[tuple[str, str | None], str]:
        names: dict[tuple[str, str | None], str] = {}
        for candidate in candidates:
            name = candidate.record.benchmark.name
            names[candidate.board] = min(name, names.get(candidate.board, name))
        old = () if self.before is None else self.before.boards
        found = {(b.hash, b.split): b.board_id for b in old if (b.hash, b.split) in names}
        taken = {board.board_id for board in old}
        for board in sorted(names, key=lambda key: (key[0], key[1] or "")):
            if board not in found:
                found[board] = board_id_of(names[board], *board, taken)
                taken.add(found[board])
        return found

    def boards(self) -> list[Board]:
        """The boards of the site, with what is known of them without their runs."""
        by_board: dict[str, list[BoardRun]] = {}
        for entry in self.entries:
            part = RunPart(self.store.part("runs", entry.part))
            by_board.setdefault(entry.board_id, []).append(BoardRun(entry, part))
        boards = []
        for number, (board_id, runs) in enumerate(sorted(by_board.items())):
            self.progress("boards", number, len(by_board))
            boards.append(self._board(board_id, runs))
        self.progress("boards", len(boards), len(boards))
        return boards

    def _board(self, board_id: str, runs: Sequence[BoardRun]) -> Board:
        records = {run.entry.run_id: run.part.record() for run in runs}
        first = min(records.values(), key=lambda record: record.benchmark.name)
        content_hash, split = first.benchmark.hash, first.split
        old = () if self.before is None else self.before.boards
        known = next((board for board in old if board.board_id == board_id), None)
        record = BoardRecord(
            board_id=board_id,
            benchmark=first.benchmark.name if known is None else known.benchmark,
            version=first.benchmark.version,
            hash=content_hash,
            split=split,
            hidden_gold=any(each.hides("", content_hash, split) for each in self.hidden),
        )
        partly = any(each.concerns_benchmark("", content_hash) for each in self.hidden)
        examples = {name for name, of_run in records.items() if partly and has_examples(of_run)}
        figures = runs[0].part.table("figures", ["grouping", "bucket"])
        columns = (figures[name].to_pylist() for name in ("grouping", "bucket"))
        buckets = sorted(set(zip(*columns, strict=True)))
        return Board(
            record=record,
            part=board_part(self.benchmarks, content_hash, split, self.resampling),
            runs=tuple(runs),
            pair_files=tuple(pair_files(self.store, content_hash, split, buckets, self.resampling)),
            paired=_paired(runs),
            shows_hidden=frozenset(examples),
        )

    def pair(self, boards: Sequence[Board], pool: Workers) -> None:
        """Compute the pairs that are not known."""
        tasks = []
        for board in boards:
            places = _incomplete(board)
            for file in board.pair_files:
                runs = tuple(
                    Paired(run.entry.run_id, run.part.key, places[run.part.key])
                    for run in board.runs
                    if run.entry.run_id in board.paired[file.protocol]
                )
                tasks.append((file, runs, self.resampling))
        for number, done in enumerate(pool.each(Worker.pairs, tasks), 1):
            self.pairs_computed += done
            self.progress("pairs", number, len(tasks))

    def write(self, boards: Sequence[Board]) -> Published:
        """Write the site anew, and say what was done."""
        new_site = NewSite(
            store=self.store,
            before=self.before,
            resampling=self.resampling,
            benchmarks=self.benchmarks,
            index=Index(
                runs=tuple(self.entries),
                unscored=tuple(self.failed),
                hidden=tuple(str(spec) for spec in self.hidden),
            ),
            progress=self.progress,
        )
        manifest = new_site.write(boards)
        self.warnings += new_site.warnings
        return self._published(manifest)

    def _published(self, manifest: Manifest) -> Published:
        now = {entry.run_id for entry in self.entries}
        computed = {entry.run_id for entry in self.entries if entry.path in self.computed}
        removed = {entry.run_id for entry in self.index.runs} - now
        warnings = [
            f"{entry.record.label} is not scored: {entry.record.reason}"
            + (f" → {entry.record.remedy}" if entry.record.remedy else "")
            for entry in self.failed
        ]
        return Published(
            manifest=manifest,
            computed=tuple(sorted(computed)),
            unchanged=tuple(sorted(now - computed)),
            removed=tuple(sorted(removed)),
            pairs_computed=self.pairs_computed,
            warnings=(*warnings, *self.warnings),
        )

    def _fail(self, path: Path, label: str, error: Exception) -> None:
        self.failed.append(UnscoredEntry(path_text(path), unscored(label, error)))


def _paired(runs: Sequence[BoardRun]) -> Mapping[str, frozenset[str]]:
    """By protocol, the runs that are compared in pairs."""
    names = [protocol.family for protocol in protocols()]
    headlines: dict[str, dict[str, float | None]] = {name: {} for name in names}
    for run in runs:
        if run.ceiling:
            continue
        for protocol, value in run.part.headline().items():
            headlines[protocol][run.entry.run_id] = value
    return {name: frozenset(paired_runs(found)) for name, found in headlines.items()}


def _incomplete(board: Board) -> dict[str, dict[tuple[str, str, str], bool]]:
    """By part, then by protocol, grouping and bucket, whether a run is incomplete."""
    found: dict[str, dict[tuple[str, str, str], bool]] = {}
    columns = ["protocol", "grouping", "bucket", "incomplete"]
    for run in board.runs:
        rows = run.part.table("figures", columns).to_pydict()
        found[run.part.key] = {
            (protocol, grouping, bucket): incomplete
            for protocol, grouping, bucket, incomplete in zip(
                *(rows[name] for name in columns), strict=True
            )
        }
    return found
