"""What came of making training data: for people, and for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ffr_train.data.manifest import DataManifest

REPORT: Final = "report.md"
_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A sample that is in no row because of its length.

    Attributes:
        sample_id: Which.
        n_tokens: Of its prompt and answer.
        reason: Why.
    """

    sample_id: str
    n_tokens: int
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it.

    Attributes:
        folder: Where the data are.
        manifest: What ``data.json`` says.
        left_out: Samples that are too long, and were neither cut nor divided.
        notes: Sentences about what else a reader should know.
    """

    folder: Path
    manifest: DataManifest
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "out": str(self.folder),
            **msgspec.to_builtins(self.manifest),
            "left_out": [asdict(one) for one in self.left_out],
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """For a terminal."""
        manifest = self.manifest
        counts, lengths = manifest.counts, manifest.lengths
        rows, samples = f"{manifest.n_rows:,}", f"{counts['samples']:,}"
        lines = [
            f"rows      {rows} of {samples} samples of split {manifest.split!r}",
            f"tokens    {_span(lengths['total'])} with answer; at most {manifest.max_length:,}",
        ]
        if counts["windowed"]:
            gone = counts["windows_dropped"]
            lines.append(
                f"windows   {_plain(counts['windows'])} of {_plain(counts['windowed'])} samples"
                f" that were too long; {_plain(counts['windows_without_gold'])} of them show"
                " no gold" + (f", of which {_plain(gone)} are left out" if gone else "")
            )
        if self.left_out:
            lines.append(f"left out  {_plain(len(self.left_out))} samples that were too long")
        overlap = manifest.overlap
        if overlap["dialogues"]:
            lines.append(
                f"overlap   {_plain(overlap['samples'])} samples on {_plain(overlap['dialogues'])}"
                " dialogues that are in the evaluation data:"
                f" {'left out' if overlap['policy'] == 'drop' else 'kept'}"
            )
        if overlap["images"]:
            lines.append(
                f"images    {_plain(overlap['images'])} training images are in the evaluation"
                " data, too"
            )
        return lines

    def markdown(self) -> str:
        """``report.md``."""
        manifest = self.manifest
        counts, overlap = manifest.counts, manifest.overlap
        room = manifest.max_new_tokens
        parts = [
            f"# Training data: {_escaped(manifest.benchmark.name)}, {manifest.stage}",
            "",
            _table(
                ["", ""],
                [
                    [
                        "benchmark",
                        f"{_escaped(manifest.benchmark.name)} (`{manifest.benchmark.hash[:19]}…`)",
                    ],
                    ["split", _escaped(manifest.split)],
                    [
                        "model",
                        (
                            f"{_escaped(manifest.model.name)}"
                            f" (processor `{manifest.model.revision[:19]}…`)"
                        ),
                    ],
                    [
                        "limit",
                        f"{manifest.max_length:,} tokens of prompt and answer"
                        + (f", {room:,} of them for the answer" if room else ""),
                    ],
                    ["images", f"at most {manifest.max_pixels:,} pixels each"],
                    ["rows", _plain(manifest.n_rows)],
                ],
            ),
            "",
            "## Samples",
            "",
            _table(
                ["", "number"],
                [[text, _plain(counts[name])] for name, text in _COUNTS if name in counts],
            ),
            "",
            "Nothing is ever cut off.",
            "",
            "## Lengths in tokens",
            "",
            _table(
                ["of rows", "min", "median", "95%", "max"],
                [
                    [name, *(f"{values[key]:,.0f}" for key in ("min", "median", "p95", "max"))]
                    for name, values in manifest.lengths.items()
                ],
            ),
            "",
            *_left_out(self.left_out),
            "## Overlap with evaluation data",
            "",
            *_overlap(overlap),
        ]
        if self.notes:
            parts += ["", "## Notes", "", *(f"- {_escaped(note)}" for note in self.notes)]
        return "\n".join(parts) + "\n"


_COUNTS: Final = (
    ("samples", "samples of the split"),
    ("dropped_overlap", "left out: in the evaluation data"),
    ("filtered", "left out: too long"),
    ("dropped_turn", "left out: a single turn is too long"),
    ("whole", "whole dialogues: a row each"),
    ("windowed", "too long: divided into windows"),
    ("windows", "windows of these: a row each"),
    ("windows_without_gold", "windows that show no gold: the answer is two empty lists"),
    ("windows_dropped", "of these left out, for --empty-windows"),
    ("negative", "rows without gold in all"),
    ("images", "image files"),
)


def _left_out(left_out: Sequence[LeftOut]) -> list[str]:
    if not left_out:
        return []
    rows = [[_escaped(one.sample_id), f"{one.n_tokens:,}", one.reason] for one in left_out[:_NAMED]]
    lines = ["## Samples left out", "", _table(["sample", "tokens", "reason"], rows), ""]
    if len(left_out) > _NAMED:
        lines += [f"… and {len(left_out) - _NAMED:,} more; `--json FILE` names all.", ""]
    return lines


def _overlap(overlap: dict[str, Any]) -> list[str]:
    against = [
        f"{_escaped(one['benchmark'])} ({', '.join(map(_escaped, one['splits']))}:"
        f" {one['dialogues']:,} dialogues)"
        for one in overlap["against"]
    ]
    if not against:
        return ["Nothing to compare with: there are no other splits, and no `--check-against`."]
    found = f"{overlap['dialogues']:,} training dialogues with {overlap['samples']:,} samples"
    images = f"{overlap['images']:,} of {overlap['images_compared']:,} training images"
    lines = [
        f"Compared with {'; '.join(against)}.",
        f"Two dialogues count as the same from a similarity of {overlap['similarity']:g} on:",
        "the share of three-word pieces that they have in common.",
        "",
        f"- {found} are in the evaluation data (policy: {overlap['policy']}).",
        (
            f"- {images} have the very file of an image there; dialogues that were left out are not"
            " counted."
        ),
    ]
    if overlap["pairs"]:
        rows = [
            [
                _escaped(pair["dialogue_id"]),
                _escaped(pair["benchmark"]),
                ", ".join(map(_escaped, pair["splits"])),
                _escaped(pair["other_dialogue_id"]),
                f"{pair['similarity']:.3f}",
            ]
            for pair in overlap["pairs"]
        ]
        headings = ["training dialogue", "benchmark", "splits", "its dialogue", "similarity"]
        lines += ["", _table(headings, rows)]
        more = overlap["dialogues"] - len(rows)
        lines += ["", f"… and {more:,} more."] if more > 0 else []
    return lines


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: object) -> str:
    """Names of users in Markdown, on one line and without a meaning of their own."""
    shown = "".join(char if char.isprintable() else " " for char in str(text))
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#&" else char for char in shown)


def _plain(number: int) -> str:
    return f"{number:,}"


def _span(values: dict[str, float]) -> str:
    return f"{values['min']:,.0f} to {values['max']:,.0f}, median {values['median']:,.0f},"
