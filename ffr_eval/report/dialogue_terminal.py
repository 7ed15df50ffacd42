"""A dialogue in the terminal."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ffr_eval.report.console import open_console
from ffr_eval.report.dialogue_view import Gap
from ffr_eval.report.safe_text import visible, visible_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.console import Console, RenderableType

    from ffr_eval.report.dialogue_view import DialogueView, ImageView, QueryView, TurnView

MARK: Final = ">>"
"""Before gold turns and gold images, also where there is no colour."""
_GOLD: Final = "bold yellow"
_VOICES: Final = ("cyan", "green", "magenta", "blue")
_SPEAKER_WIDTH: Final = 16
_PICTURE_WIDTH: Final = 48  # cells
_NOT_DRAWN: Final = (ArithmeticError, LookupError, OSError, RuntimeError, ValueError)
"""A picture that fails is left out: its caption and file are there."""


def print_dialogue(view: DialogueView, context: int | None, pictures: bool) -> None:
    """Print a dialogue, with the gold of its current query marked.

    Args:
        view: What is shown.
        context: Only gold turns and so many turns around each.
        pictures: Draw the images where the terminal can.
    """
    console = open_console()
    picture = _pictures(console) if pictures else None
    for line in _head(view):
        console.print(line)
    console.print()
    speakers = (visible(turn.speaker) for turn in view.turns)
    width = min(max((Text(name).cell_len for name in speakers), default=0), _SPEAKER_WIDTH)
    digits = max(len(str(turn.utt_id)) for turn in view.turns)
    indent = len(MARK) + digits + width + 3
    for turn in view.excerpt(context):
        if isinstance(turn, Gap):
            plural = "" if turn.n_turns == 1 else "s"
            console.print(Text(f"   … {turn.n_turns} turn{plural} left out", style="dim"))
            continue
        console.print(_row(turn, view.current, digits, width))
        for image in turn.images:
            console.print(Padding.indent(_image_line(image, view.current), indent))
            if picture is not None and image.file is not None:
                picture(image.file, indent)


def _head(view: DialogueView) -> Iterator[Text]:
    query = view.query
    place = f"{view.benchmark}, dialogue {view.dialogue_id}, {len(view.turns)} turns"
    yield Text(visible(place), style="dim")
    if query is not None:
        yield Text(visible(f"{query.sample_id}  {query.kind}, split {query.split}"), style="dim")
        yield Text(visible_lines(query.query), style="bold")
        yield Text(f"gold: {_gold(query)}", style=_GOLD)
        return
    for each in view.queries:
        yield Text(visible(f"{each.sample_id}  {each.kind}, split {each.split}"), style="dim")
        yield Text(f"  {visible(each.query)}", style="bold")
        yield Text(f"  gold: {_gold(each)}")
    if not view.queries:
        yield Text("no queries", style="dim")


def _gold(query: QueryView) -> str:
    parts = [
        f"{noun}{'' if len(ids) == 1 else 's'} {', '.join(map(str, ids))}"
        for noun, ids in (("utterance", query.gold_utt_ids), ("image", query.gold_img_ids))
        if ids
    ]
    return "; ".join(parts) or "none (a negative query)"


def _row(turn: TurnView, current: int | None, digits: int, width: int) -> RenderableType:
    gold = current in turn.gold_of
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=len(MARK))
    grid.add_column(width=digits, justify="right")
    grid.add_column(width=width, overflow="ellipsis", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(
        Text(MARK if gold else "", style=_GOLD),
        Text(str(turn.utt_id), style=_GOLD if gold else "dim"),
        Text(visible(turn.speaker), style=_VOICES[turn.voice % len(_VOICES)]),
        Text(visible_lines(turn.text), style=_GOLD if gold else ""),
    )
    return grid


def _image_line(image: ImageView, current: int | None) -> Text:
    gold = current in image.gold_of
    source = image.path or image.url or "no file"
    caption = f" {visible(image.caption)}" if image.caption else ""
    mark = f"{MARK} " if gold else ""
    text = f"{mark}[image {image.img_id}]{caption} ({visible(source)})"
    return Text(text, _GOLD if gold else "")


def _pictures(console: Console) -> Callable[[Path, int], None] | None:
    """What draws an image file at an indent; ``None`` where nothing can.

    It is the optional library textual-image, which asks the terminal what it can do: so both ends
    of the terminal must be there, and it must know its size.
    """
    if not (console.is_terminal and sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    try:
        if 0 in os.get_terminal_size(sys.stdout.fileno()):
            return None
        image_type: Any = importlib.import_module("textual_image.renderable").Image
    except (ImportError, OSError):
        return None
    from ffr_eval.report.image_files import problem_of

    def draw(file: Path, indent: int) -> None:
        if problem_of(file) is None:
            with contextlib.suppress(*_NOT_DRAWN):
                picture = image_type(file, width=_PICTURE_WIDTH, height="auto")
                console.print(Padding.indent(picture, indent))

    return draw
