"""One dialogue with gold and the answers of two runs beside its turns, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from rich import box
from rich.table import Table
from rich.text import Text

from ffr_eval.metrics.metric import MODALITIES
from ffr_eval.metrics.named import FIGURES
from ffr_eval.report.console import open_console
from ffr_eval.report.safe_text import visible, visible_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from ffr_eval.disagreement import RunAnswer
    from ffr_eval.report.dialogue_view import DialogueView, ImageView, TurnView

_GOLD: Final = "G"
_SIGNS: Final = {"right": "✓", "missed": "–", "wrong": "✗", "": ""}
_STYLES: Final = {"right": "green", "missed": "yellow", "wrong": "red", "": ""}
_LETTERS: Final = ("A", "B")
_HEADINGS: Final = ("P", "R", "F1", "MCC")
_SPEAKER_WIDTH: Final = 16

_Verdict: TypeAlias = Literal["right", "missed", "wrong", ""]
_Kind: TypeAlias = Literal["utterance", "image"]


def print_diff(
    view: DialogueView,
    answers: Sequence[RunAnswer],
    around: int | None = 2,
    console: Console | None = None,
) -> None:
    """Print the dialogue of a sample with gold and two answers marked.

    Args:
        view: The dialogue, with the sample as its query.
        answers: Of the two runs.
        around: Only marked turns and so many turns around each; all turns if it is ``None``.
        console: Where to; by default standard output.
    """
    console = console or open_console()
    for line in _head(view):
        console.print(line)
    console.print(_figures(answers))
    console.print(Text("G: gold.  A, B: ✓ right, – missed, ✗ wrong.", "dim"))
    console.print(_turns(view, answers, around))
    for letter, answer in zip(_LETTERS, answers, strict=True):
        for oddity in _oddities(view, letter, answer):
            console.print(Text(oddity, _STYLES["wrong"]))


def _head(view: DialogueView) -> Iterator[Text]:
    query = view.query
    place = f"{view.benchmark}, dialogue {view.dialogue_id}, {len(view.turns)} turns"
    yield Text(visible(place), "dim")
    if query is not None:
        yield Text(visible(f"{query.sample_id}  {query.kind}, split {query.split}"), "dim")
        yield Text(visible_lines(query.query), "bold")
        if query.kind == "negative":
            yield Text("gold: none (a negative query)")


def _figures(answers: Sequence[RunAnswer]) -> Table:
    table = Table(box=box.HORIZONTALS, pad_edge=False)
    for heading in ("", "run", "outcome", ""):
        table.add_column(heading, overflow="fold")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    for letter, answer in zip(_LETTERS, answers, strict=True):
        first = (letter, visible(answer.run), answer.outcome)
        for modality in MODALITIES:
            figures = [_number(answer.figures[modality][name]) for name in FIGURES]
            cells = (*first, modality, *figures)
            table.add_row(*map(Text, cells), end_section=modality == MODALITIES[-1])
            first = ("", "", "")
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


# Turns --------------------------------------------------------------------------------------------


def _turns(view: DialogueView, answers: Sequence[RunAnswer], around: int | None) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for letter in (_GOLD, *_LETTERS):
        table.add_column(letter, width=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(max_width=_SPEAKER_WIDTH, overflow="ellipsis", no_wrap=True)
    table.add_column(overflow="fold")
    shown = _shown(view, answers, around)
    skipped = 0
    for place, turn in enumerate(view.turns):
        if place not in shown:
            skipped += 1
            continue
        _add_gap(table, skipped)
        skipped = 0
        _add_turn(table, view, turn, answers)
    _add_gap(table, skipped)
    return table


def _shown(view: DialogueView, answers: Sequence[RunAnswer], around: int | None) -> set[int]:
    everyone = set(range(len(view.turns)))
    if around is None:
        return everyone
    utts = {utt_id for answer in answers for utt_id in answer.fragment.utt_ids}
    imgs = {img_id for answer in answers for img_id in answer.fragment.img_ids}
    marked = [
        place
        for place, turn in enumerate(view.turns)
        if turn.holds_gold(view.current)
        or turn.utt_id in utts
        or any(image.img_id in imgs for image in turn.images)
    ]
    near = {place + step for place in marked for step in range(-around, around + 1)}
    shown = near & everyone
    # A gap takes a line: one turn alone is shown rather than left out.
    return shown | {place for place in everyone - shown if {place - 1, place + 1} <= shown}


def _add_gap(table: Table, n_turns: int) -> None:
    if n_turns:
        plural = "" if n_turns == 1 else "s"
        table.add_row("", "", "", "", "", Text(f"… {n_turns} turn{plural} …", "dim"))


def _add_turn(
    table: Table, view: DialogueView, turn: TurnView, answers: Sequence[RunAnswer]
) -> None:
    marks, style = _marks(view.current in turn.gold_of, "utterance", turn.utt_id, answers)
    number = Text(str(turn.utt_id), "dim")
    table.add_row(
        *marks, number, Text(visible(turn.speaker)), Text(visible_lines(turn.text), style)
    )
    for image in turn.images:
        marks, style = _marks(view.current in image.gold_of, "image", image.img_id, answers)
        table.add_row(*marks, "", "", Text(_image(image), style or "dim"))


def _image(image: ImageView) -> str:
    caption = f" {visible(image.caption)}" if image.caption else ""
    return f"[image {image.img_id}]{caption} ({visible(image.path or image.url or 'no file')})"


def _marks(
    gold: bool, kind: _Kind, number: int, answers: Sequence[RunAnswer]
) -> tuple[list[Text], str]:
    """The cells of the three columns, and the style of the text beside them."""
    verdicts = [_verdict(gold, number in _ids(answer, kind)) for answer in answers]
    cells = [Text(_GOLD if gold else "", "bold")]
    cells += [Text(_SIGNS[verdict], _STYLES[verdict]) for verdict in verdicts]
    wrong = not gold and "wrong" in verdicts
    return cells, "bold" if gold else (_STYLES["wrong"] if wrong else "")


def _verdict(gold: bool, predicted: bool) -> _Verdict:
    if gold:
        return "right" if predicted else "missed"
    return "wrong" if predicted else ""


def _ids(answer: RunAnswer, kind: _Kind) -> tuple[int, ...]:
    return answer.fragment.utt_ids if kind == "utterance" else answer.fragment.img_ids


def _oddities(view: DialogueView, letter: str, answer: RunAnswer) -> Iterator[str]:
    """Ids that the dialogue does not have, and repeated ones."""
    known = {
        "utterance": {turn.utt_id for turn in view.turns},
        "image": {image.img_id for turn in view.turns for image in turn.images},
    }
    kinds: tuple[_Kind, ...] = ("utterance", "image")
    for kind in kinds:
        ids = _ids(answer, kind)
        invented = sorted(set(ids) - known[kind])
        repeated = sorted({number for number in ids if ids.count(number) > 1})
        if invented:
            yield f"{letter} invented {kind} ids: {', '.join(map(str, invented))}"
        if repeated:
            yield f"{letter} repeated {kind} ids: {', '.join(map(str, repeated))}"
