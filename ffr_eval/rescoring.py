"""Figures of runs under a protocol, computed from their raw outputs and kept in their folders.

A run folder holds them as ``scores/PROTOCOL.json``, one file for each version of a protocol: those
of other versions stay as they are.
"""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ffr_eval.metrics.named import HEADLINE
from ffr_eval.scoring import ALSO, score_table
from ffr_eval.sources import Request, load_source
from ffr_eval.statistics.values import ROUNDING
from ffr_eval.uncertainty import UNASKED_DIALOGUES, Resampling
from ffr_eval.writing import cannot_write, replacing

if TYPE_CHECKING:
    from pathlib import Path

    from ffr_eval.metrics.protocols import Protocol
    from ffr_eval.sources import Source

SCORES: Final = "scores"
"""The folder in a run folder that holds its figures."""


@dataclass(frozen=True, slots=True)
class Rescored:
    """A run, or a file of predictions, under a protocol.

    Attributes:
        run: The path, as it was given.
        file: Where the figures were stored; ``None`` if it is no run folder.
        value: The headline; ``None`` where it is undefined.
        had_figures: Whether there were figures of the same protocol.
        old_value: The headline among these.
        note: How those figures differ, if they do.
        scores: All figures, as they are stored.
    """

    run: Path
    file: Path | None
    value: float | None
    had_figures: bool
    old_value: float | None
    note: str | None
    scores: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, as ``ffr rescore --json`` writes them."""
        return {
            "run": str(self.run),
            "file": None if self.file is None else str(self.file),
            "value": self.value,
            "old_value": self.old_value,
            "note": self.note,
            "scores": self.scores,
        }


class _Stored(msgspec.Struct, frozen=True):
    """What is read of stored figures."""

    micro: dict[str, dict[str, Any] | None]
    macro: dict[str, dict[str, Any]]
    outcomes: dict[str, int]
    ffr_version: str | None = None


def rescore(run: Path, protocol: Protocol, benchmark: str | Path | None = None) -> Rescored:
    """Score a run folder under a protocol and store the figures in it.

    Args:
        run: A run folder; or a file of predictions, for which nothing is stored.
        protocol: Any version of a protocol.
        benchmark: By default the one that the run folder names.

    Raises:
        InputError: If it cannot be read or written, or does not fit the benchmark.
        FfrError: If the disk is full.
    """
    source = load_source(run, Request(benchmark=benchmark, protocol=protocol.name))
    scores, value = _figures(source)
    if source.run is None:
        return Rescored(run, None, value, False, None, None, scores)
    file = run / SCORES / f"{protocol.name}.json"
    had_figures = file.exists()
    old_value, note = _compared(file, scores, value) if had_figures else (None, None)
    _write(file, scores)
    return Rescored(run, file, value, had_figures, old_value, note, scores)


def _figures(source: Source) -> tuple[dict[str, Any], float | None]:
    """All figures with what they are of, and the headline."""
    few = len(set(source.table.dialogue_id)) <= UNASKED_DIALOGUES
    resampling = Resampling() if few else None
    scores = score_table(source.table, source.protocol, (), ALSO, resampling)
    benchmark = source.benchmark
    figures = {
        **scores.to_dict(),
        "benchmark": None if benchmark is None else benchmark.name,
        "hash": None if benchmark is None else benchmark.content_hash,
        "split": source.split,
        "ffr_version": version("ffr-eval"),
    }
    return figures, scores.metric(HEADLINE)


def _compared(
    file: Path, scores: dict[str, Any], value: float | None
) -> tuple[float | None, str | None]:
    """The headline that is stored, and how what is stored differs."""
    try:
        stored = msgspec.json.decode(file.read_bytes(), type=_Stored)
    except OSError as error:
        raise cannot_write(file, error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return None, f"what was stored was not readable and is replaced ({error})"
    old_value = (stored.micro.get("joint") or {}).get("f1")
    if old_value is not None and not isinstance(old_value, float | int):
        return None, "what was stored was not readable and is replaced (micro.joint.f1)"
    of = "" if stored.ffr_version is None else f" by ffr-eval {stored.ffr_version}"
    if not _same(old_value, value):
        return old_value, f"what was stored{of} is replaced; other outputs or another way to score"
    names = ("micro", "macro", "outcomes")
    if not all(_same(getattr(stored, name), scores[name]) for name in names):
        return old_value, f"what was stored{of} is replaced: figures other than {HEADLINE} differ"
    return old_value, None


def _same(a: Any, b: Any) -> bool:
    """Whether figures are equal up to rounding."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    if isinstance(a, float | int) and isinstance(b, float | int):
        return math.isclose(a, b, rel_tol=ROUNDING, abs_tol=ROUNDING)
    return bool(a == b)


def _write(file: Path, scores: dict[str, Any]) -> None:
    folder = file.parent
    new = not folder.exists()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from None
    try:
        data = msgspec.json.encode(scores)
    except UnicodeEncodeError:  # half of a surrogate pair in a name
        data = json.dumps(scores, ensure_ascii=False).encode(errors="replace")
    data = msgspec.json.format(data, indent=2) + b"\n"
    try:
        with replacing(file) as temporary:
            temporary.write_bytes(data)
    finally:
        if new:
            with contextlib.suppress(OSError):  # it is not empty if all went well
                folder.rmdir()
