"""The runs that a site is to have: those given, those it has, and those that cannot be scored."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ffr_eval.errors import FfrError, InputError
from ffr_eval.runs import RunRecord, read_run
from leaderboard import names
from leaderboard.publishing.card import Card, read_card
from leaderboard.publishing.identities import run_id_of
from leaderboard.publishing.private_text import path_free
from leaderboard.publishing.run_part import RunPart, source_hash
from leaderboard.run_folders import RunPlace, find_runs, irregular_file
from leaderboard.site.manifest import UnscoredRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from leaderboard.publishing.store import RunEntry, Store

MISTAKES: Final = (FfrError, OSError, ValueError, RecursionError)
"""What reading a folder that anybody may have written can raise."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run that the site is to have.

    Attributes:
        folder: The run folder, or what the site has kept of it.
        path: The run folder.
        place: What it is called without a card.
        source: Hash of its files.
        record: ``run.json``, as it stands in ``folder``.
        benchmark_path: Where its benchmark was.
        known: What the site knows of it.
    """

    folder: Path
    path: Path
    place: str
    source: str
    card: Card
    record: RunRecord
    benchmark_path: str
    known: RunEntry | None

    @property
    def board(self) -> tuple[str, str | None]:
        """The content hash of its benchmark, and its split."""
        return self.record.benchmark.hash, self.record.split


def given_runs(roots: Sequence[Path]) -> list[RunPlace]:
    """The run folders in some folders, each once.

    Raises:
        InputError: If a folder cannot be listed, or there is no run in any.
    """
    found: dict[Path, RunPlace] = {}
    for root in roots:
        for place in find_runs(root):
            path = place.path.resolve()
            found.setdefault(path, RunPlace(path, place.label))
    if not found:
        where = ", ".join(map(str, roots)) or "nowhere"
        first = roots[0] if roots else "runs"
        remedy = f"make one: ffr run bm25 ffr-sample --split test --out {first}/bm25 (or: ffr demo)"
        raise InputError("no run folders in here", file=where, remedy=remedy)
    return list(found.values())


def read_candidate(place: RunPlace, entries: Sequence[RunEntry]) -> Candidate:
    """What a run folder says of itself.

    Raises:
        FfrError, OSError, ValueError, RecursionError: If it cannot be read.
    """
    irregular = irregular_file(place.path)
    if irregular is not None:
        raise InputError("not an ordinary file", file=irregular, remedy="remove it")
    record, card = read_run(place.path), read_card(place.path)
    source = source_hash(place.path)
    known = _known(place, source, entries)
    return Candidate(
        folder=place.path,
        path=place.path,
        place=place.label if known is None else known.place,
        source=source,
        card=card,
        record=record,
        benchmark_path=record.benchmark.path,
        known=known,
    )


def kept_candidate(entry: RunEntry, store: Store) -> Candidate:
    """A run that the site has and that was not given, from what is kept of it.

    Raises:
        FfrError, OSError, ValueError: If that is not there any more.
    """
    path, part = Path(entry.path), RunPart(store.part("runs", entry.part))
    folder = part.path
    try:
        if _is_unchanged(path, entry.source):  # says more than what is kept: paths in options
            folder, record = path, read_run(path)
        else:
            record = part.record()
    except FileNotFoundError:
        remedy = "give its run folder again"
        raise InputError("what was kept of it is gone", remedy=remedy) from None
    return Candidate(
        folder=folder,
        path=path,
        place=entry.place,
        source=entry.source,
        card=entry.card,
        record=record,
        benchmark_path=entry.benchmark_path,
        known=entry,
    )


def _is_unchanged(path: Path, source: str) -> bool:
    return path.is_dir() and irregular_file(path) is None and source_hash(path) == source


def path_text(path: Path) -> str:
    """A path as it can be written down, also if its name is no UTF-8."""
    return str(path).encode(errors="backslashreplace").decode()


def _known(place: RunPlace, source: str, entries: Sequence[RunEntry]) -> RunEntry | None:
    """What the site knows of a run folder: by its path, or by its name if it has moved.

    A folder of the same name elsewhere is another run, unless the one that is known is gone or has
    the same content.
    """
    for entry in entries:
        if entry.path == path_text(place.path):
            return entry
    for entry in entries:
        gone = not Path(entry.path).exists()
        if entry.place == place.label and (gone or entry.source == source):
            return entry
    return None


def unscored(label: str, error: Exception) -> UnscoredRecord:
    """What is said of a run that cannot be scored, without paths of this machine."""
    if not isinstance(error, InputError):
        text = path_free(
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        )
        return UnscoredRecord(label, names.line(text))
    problem = error.problem
    parts = []
    if problem.file is not None:
        name = Path(problem.file).name.removesuffix(".gz")
        parts.append(name if problem.line is None else f"{name}, line {problem.line}")
    if problem.field is not None:
        parts.append(problem.field)
    reason = ": ".join([*parts, path_free(problem.message)])
    remedy = path_free(problem.remedy or "")
    if (problem.field or "").startswith("benchmark."):
        remedy = "put that benchmark back, then publish again"
    return UnscoredRecord(label, names.line(reason), names.line(remedy))


def labels_and_ids(candidates: Sequence[Candidate]) -> list[tuple[str, str]]:
    """The label and the id of each run, unlike those of all others; known runs keep theirs."""
    order = sorted(
        range(len(candidates)),
        key=lambda n: (
            candidates[n].known is None,
            "" if (known := candidates[n].known) is None else known.run_id,
            candidates[n].place,
            str(candidates[n].path),
        ),
    )
    labels: dict[int, str] = {}
    ids: dict[int, str] = {}
    for number in order:
        candidate = candidates[number]
        wanted = name = candidate.card.label or candidate.place
        known = candidate.known
        if known is not None and _is_numbered(known.label, wanted):
            wanted = known.label
        labels[number] = _free_label(wanted, labels.values())
        taken = ids.values()
        if known is not None and known.run_id not in set(taken):
            ids[number] = known.run_id
        else:
            ids[number] = run_id_of(name, list(taken))
    return [(labels[number], ids[number]) for number in range(len(candidates))]


def _is_numbered(label: str, wanted: str) -> bool:
    return label == wanted or re.fullmatch(re.escape(wanted) + r" \(\d+\)", label) is not None


def _free_label(wanted: str, taken: Iterable[str]) -> str:
    known = {label.casefold() for label in taken}
    label, number = wanted, 1
    while label.casefold() in known:
        number += 1
        suffix = f" ({number})"
        label = wanted[: names.LONGEST_NAME - len(suffix)].rstrip() + suffix
    return label
