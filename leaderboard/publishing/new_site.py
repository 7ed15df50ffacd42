"""Writing a site anew: all of it beside the one that is served, which it then replaces."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ffr_eval.benchmark.writer import write_json
from ffr_eval.pairs import ALPHA
from ffr_eval.provenance import git_record, package_versions
from ffr_eval.runs import RECORD
from ffr_eval.types import Outcome
from leaderboard.publishing import tables
from leaderboard.publishing.benchmarks import dialogue_part
from leaderboard.publishing.code_version import code_version, packages
from leaderboard.publishing.figure_tables import write_figures
from leaderboard.publishing.figures import protocols
from leaderboard.publishing.run_part import CUT_NOTE, RAW
from leaderboard.publishing.store import INDEX, PRIVATE, PUBLIC
from leaderboard.site import schema
from leaderboard.site.manifest import (
    MANIFEST,
    FileRecord,
    Manifest,
    PublishedRun,
    file_hash,
    wrong_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ffr_eval.uncertainty import Resampling
    from leaderboard.publishing.benchmarks import Benchmarks
    from leaderboard.publishing.store import Index, Store
    from leaderboard.publishing.tables import Board


@dataclass(slots=True)
class NewSite:
    """A site that is to be written.

    Attributes:
        before: The manifest that it had, if it was there.
        warnings: Sentences about what is left out.
    """

    store: Store
    before: Manifest | None
    resampling: Resampling
    benchmarks: Benchmarks
    index: Index
    progress: Callable[[str, int, int], None]
    warnings: list[str] = field(default_factory=list)
    _dialogues: set[str] = field(default_factory=set)

    def write(self, boards: Sequence[Board]) -> Manifest:
        """Write the tables and everything else beside the site, then replace what is there."""
        store = self.store
        pending = store.begin()

        def place(table: schema.Table) -> Path:
            return pending / table.file

        self.progress("tables", 0, 1)
        tables.write_boards(boards, place(schema.BOARDS))
        tables.write_runs(boards, place(schema.RUNS))
        write_figures(boards, place(schema.FIGURES), place(schema.PAIRS))
        tables.write_floors(boards, place(schema.FLOORS))
        tables.write_samples(boards, place(schema.SAMPLES))
        tables.write_answers(boards, place(schema.ANSWERS))
        tables.write_prompts(boards, place(schema.PROMPTS), store.private / "work")
        tables.write_queries(boards, place(schema.QUERIES))
        images = self._write_dialogues(boards, place(schema.DIALOGUES))
        for board in boards:
            self._write_raw(board, pending)
            self.warnings += _unfinished_runs(board)
        manifest = self._manifest(boards, self._files(boards, pending, images))
        same = self._same_as_before(manifest)
        if same is not None:
            manifest = same
            shutil.rmtree(pending)
            write_json(store.private / INDEX, self.index)
        else:
            write_json(pending / MANIFEST, manifest)
            write_json(pending / PRIVATE / INDEX, self.index)
            store.commit()
        self._remove_unused(boards, manifest)
        self.progress("tables", 1, 1)
        return manifest

    def _files(
        self, boards: Sequence[Board], pending: Path, images: Iterable[str]
    ) -> dict[str, FileRecord]:
        """The records of all files of the new site; images have their hash as name."""
        store = self.store
        found = _records(pending, (path for path in pending.rglob("*") if path.is_file()))
        for name in images:
            path = store.images / f"{name}.webp"
            place = path.relative_to(store.site).as_posix()
            found[place] = FileRecord(name, path.stat().st_size)
        return dict(sorted((found | _records(store.site, self._benchmark_files(boards))).items()))

    def _write_dialogues(self, boards: Sequence[Board], path: Path) -> set[str]:
        """``dialogues``; gives the hashes of the images that are served."""
        splits: dict[str, set[str | None]] = {}
        for board in boards:
            splits.setdefault(board.record.hash, set()).add(board.record.split)
        parts = []
        images: set[str] = set()
        for content_hash in sorted(splits):
            part = dialogue_part(
                self.benchmarks,
                content_hash,
                splits[content_hash],
                lambda done, total: self.progress("dialogues", done, total),
            )
            facts = part.facts()
            images.update(facts.images)
            if facts.problems:
                name = next(b.record.benchmark for b in boards if b.record.hash == content_hash)
                number = len(facts.problems)
                first = "; ".join(facts.problems[:3]) + ("; …" if number > 3 else "")
                self.warnings.append(f"{name}: {number} images are not shown: {first}")
            parts.append(part)
            self._dialogues.add(part.path.name)
        tables.write_dialogues((part.table() for part in parts), path)
        return images

    def _write_raw(self, board: Board, pending: Path) -> None:
        """The raw outputs of the runs of a board; private where the gold is hidden."""
        folder = pending / (PRIVATE if board.record.hidden_gold else PUBLIC) / "raw"
        for run in board.runs:
            run_id = run.entry.run_id
            shutil.copyfile(run.part.path / RAW, folder / f"{run_id}.jsonl.gz")
            shutil.copyfile(run.part.path / RECORD, folder / f"{run_id}.run.json")

    def _benchmark_files(self, boards: Sequence[Board]) -> list[Path]:
        hashes = sorted({board.record.hash for board in boards})
        return [path for each in hashes for path in sorted(self.store.benchmark(each).iterdir())]

    def _manifest(self, boards: Sequence[Board], files: dict[str, FileRecord]) -> Manifest:
        versions = package_versions(packages())
        return Manifest(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            protocols=tuple(protocol.name for protocol in protocols()),
            replicates=self.resampling.replicates,
            seed=self.resampling.seed,
            method=self.resampling.method,
            alpha=ALPHA,
            metrics=schema.BOARD_METRICS,
            boards=tuple(board.record for board in boards),
            runs=tuple(
                PublishedRun(entry.run_id, entry.board_id, entry.source)
                for entry in self.index.runs
            ),
            unscored=tuple(entry.record for entry in self.index.unscored),
            code={**versions, "source": code_version()[:16]},
            files=files,
            git=git_record(Path(schema.__file__).parent.parent),
        )

    def _same_as_before(self, manifest: Manifest) -> Manifest | None:
        """The manifest that is there, if nothing but the time has changed: readers keep theirs."""
        before = self.before
        if before is None or msgspec.structs.replace(manifest, created=before.created) != before:
            return None
        site, images = self.store.site, f"{PUBLIC}/images/"
        others = [name for name in manifest.files if not name.startswith(images)]  # found above
        return None if wrong_files(site, manifest, others) else before

    def _remove_unused(self, boards: Sequence[Board], manifest: Manifest) -> None:
        """Remove files that belong to nothing in the site, once its manifest is in place."""
        store = self.store
        for folder in (store.images, store.public / "raw", store.private / "raw"):
            for path in folder.iterdir() if folder.is_dir() else ():
                if path.relative_to(store.site).as_posix() not in manifest.files:
                    path.unlink()
        used = {
            "dialogues": self._dialogues,
            "runs": {entry.part for entry in self.index.runs},
            "boards": {board.part.path.name for board in boards},
            "pairs": {file.path.name for board in boards for file in board.pair_files},
        }
        for kind, names in used.items():
            folder = store.part(kind, "")
            for path in folder.iterdir() if folder.is_dir() else ():
                if path.name not in names:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        benchmarks = store.private / "benchmarks"
        hashes = {store.benchmark(board.record.hash) for board in boards}
        for path in benchmarks.iterdir() if benchmarks.is_dir() else ():
            if path not in hashes:
                shutil.rmtree(path)


def _unfinished_runs(board: Board) -> list[str]:
    """Sentences about the runs whose predictions end inside a line, or that lack samples."""
    found = []
    for run in board.runs:
        facts, label = run.part.facts(), run.entry.label
        cut = [note for note in facts.notes if CUT_NOTE in note]
        found += [f"{label}: {note}; what was in it is missing" for note in cut]
        missing = facts.outcomes[Outcome.MISSING]
        if missing and not cut:
            lack = f"{missing} of {facts.n_samples} samples have no prediction"
            found.append(f"{label}: {lack} and count as without an answer")
    return found


def _records(root: Path, paths: Iterable[Path]) -> dict[str, FileRecord]:
    return {
        path.relative_to(root).as_posix(): FileRecord(file_hash(path), path.stat().st_size)
        for path in paths
    }
