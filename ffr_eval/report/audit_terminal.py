"""An audit in the terminal; rounded for reading, the JSON has all digits."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table

from ffr_eval.audit import ALSO
from ffr_eval.error_classes import CLASSES
from ffr_eval.metrics.named import HEADLINE
from ffr_eval.report.console import open_console
from ffr_eval.report.safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.audit import Audit
    from ffr_eval.error_classes import ErrorClass

_HALF: Final = 6  # cells of a signed bar, on each side
_WHOLE: Final = 16  # cells of a bar
_SHORT: Final = 6  # cells of a bar where there is little room
_WIDE: Final = 115  # columns that a terminal needs for all of it


def print_audit(audit: Audit) -> None:
    """Print the waterfall, the errors, and how to look at one."""
    console = open_console()
    of = f" on {audit.benchmark}" if audit.benchmark is not None else ""
    split = f", split {audit.split}" if audit.split is not None else ""
    console.print(visible(f"{audit.file}{of}{split}"))
    console.print(f"\n{audit.metric} from official to strict", style="bold")
    wide = console.width >= _WIDE
    console.print(_waterfall(audit, wide=wide))
    console.print(f"errors under strict, {HEADLINE} = {_number(audit.headline)}", style="bold")
    if any(found.n_wrong + found.n_missed for found in audit.errors):
        console.print(_error_table(audit.errors, wide=wide))
        for line in _hints(audit):
            console.print(visible(line), soft_wrap=True)
    else:
        console.print("none: every id is right")
    for note in audit.notes:
        console.print(visible(f"note: {note}"))


def _waterfall(audit: Audit, *, wide: bool) -> Table:
    others = [name for name in ALSO if name != audit.metric]
    folded = [name.replace(".", ".\n", 1) for name in (audit.metric, *others)]
    bars = [""] if wide else []
    table = _table("rule", *_right([folded[0], "change"]), *bars, *_right([*folded[1:], "touches"]))
    table.add_column("why 0", overflow="fold")
    largest = max((abs(step.change or 0.0) for step in audit.steps), default=0.0)
    for step in audit.steps:
        values = [_number(step.also[name]) for name in others]
        start = step.rule == "official"
        change = "" if start else _signed(step.change)
        touched = "" if start else f"{step.n_touched} of {step.n_samples}"
        bars = [_signed_bar(step.change, largest)] if wide else []
        table.add_row(step.rule, _number(step.value), change, *bars, *values, touched, step.why)
    table.add_section()
    first, last = audit.steps[0].value, audit.steps[-1].value
    total = None if first is None or last is None else last - first
    values = [_number(audit.steps[-1].also[name]) for name in others]
    bars = [""] if wide else []
    table.add_row("strict", _number(last), _signed(total), *bars, *values, "", "")
    return table


def _error_table(errors: Sequence[ErrorClass], *, wide: bool) -> Table:
    headings = ("wrong", "invented", "missed", "samples", "gain")
    table = _table("class", *_right(headings), "")
    for heading in ("for example", "what")[: 2 if wide else 1]:
        table.add_column(heading, overflow="fold")
    largest = max((found.gain or 0.0 for found in errors), default=0.0)
    for found in errors:
        table.add_row(
            found.name,
            *map(str, (found.n_wrong, found.n_invented, found.n_missed, found.n_samples)),
            _signed(found.gain),
            _bar(found.gain, largest, _WHOLE if wide else _SHORT),
            visible(found.example or ""),
            *([CLASSES[found.name]] if wide else []),
        )
    return table


def _hints(audit: Audit) -> list[str]:
    """What the gains are, and how to look at an example of the class with the largest."""
    if audit.headline is None or all(found.gain is None for found in audit.errors):
        return ["no gain: there is no gold, so without its errors the metric is undefined"]
    lines = [f"gain: how far {HEADLINE} would rise if only the errors of that class were put right"]
    most = max(audit.errors, key=lambda found: found.gain or 0.0)
    if audit.folder is not None and most.example is not None:
        shown = shlex.join(["ffr", "data", "show", audit.folder, most.example])
        beside = shlex.join(["ffr", "diff", audit.file])
        lines.append(f"look at one: {shown}   (beside another run: {beside} OTHER)")
    return lines


def _right(names: Sequence[str]) -> list[str]:
    return [f">{name}" for name in names]


def _table(*headings: str) -> Table:
    """A table of columns that are not folded; ``>`` before a heading puts one to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in headings:
        right = heading.startswith(">")
        name = heading.removeprefix(">")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    if value is None:
        return "–"
    return "0" if value == 0 else f"{value:+.4f}"


def _bar(value: float | None, largest: float, width: int) -> str:
    return "█" * _cells(value, largest, width)


def _signed_bar(value: float | None, largest: float) -> str:
    """Losses to the left of a line, gains to its right."""
    cells = "█" * _cells(value, largest, _HALF)
    left, right = (cells, "") if (value or 0.0) < 0 else ("", cells)
    return f"{left:>{_HALF}}│{right}"


def _cells(value: float | None, largest: float, width: int) -> int:
    """Of a bar whose longest has ``width``; at least one for what is not 0."""
    if not value or not largest:
        return 0
    return max(round(abs(value) / largest * width), 1)
