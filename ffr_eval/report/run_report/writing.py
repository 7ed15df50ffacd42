"""Writing a report and its figures: all of it is made before any of it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ffr_eval.errors import InputError, MissingExtraError
from ffr_eval.writing import cannot_write, replacing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ffr_eval.report.run_report.contents import Report
    from ffr_eval.report.run_report.drawing import Kind

Format: TypeAlias = Literal["html", "md", "tex"]

_FORMATS: Final[dict[str, Format]] = {".html": "html", ".md": "md", ".tex": "tex"}
_KINDS: Final[tuple[Kind, ...]] = ("png", "svg", "pdf")


def expect_report_file(path: Path) -> Format:
    """Check a report's file name before work is done for it, and find its format.

    Raises:
        InputError: If its suffix is none that a report has, or there is no such folder.
        MissingExtraError: If Jinja2, matplotlib or Pillow is not installed.
    """
    found = _FORMATS.get(path.suffix.lower())
    if found is None:
        message = f"cannot write a report as {path.suffix or 'a file without suffix'}"
        remedy = f"end its name in one of {', '.join(_FORMATS)}"
        raise InputError(message, file=path, field="--out", remedy=remedy)
    if path.is_dir():
        remedy = "give the name of a file"
        raise InputError("is a folder", file=path, field="--out", remedy=remedy)
    if not path.absolute().parent.is_dir():
        remedy = "give a file in an existing folder"
        raise InputError("there is no such folder", file=path, field="--out", remedy=remedy)
    folder = figures_folder(path)
    if folder.exists() and not folder.is_dir():
        message = "is no folder, and the figures would go there"
        raise InputError(message, file=folder, field="--out", remedy="give the report another name")
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
        import PIL  # noqa: F401
    except ImportError:
        raise MissingExtraError("ffr report", "report") from None
    return found


def figures_folder(path: Path) -> Path:
    """Where the figures of a report are."""
    return path.with_name(f"{path.stem}-figures")


def write_report(
    report: Report, path: Path, step: Callable[[float], None] = lambda _: None
) -> list[str]:
    """Draw and write a report; each file is replaced in one step, the report last.

    Figures of an older report that are no longer drawn are removed; other files stay.

    Args:
        report: What is shown.
        path: Where to, with the suffix that says how.
        step: Called with the part that is done, 0 to 1.

    Returns:
        The names of the figures.

    Raises:
        InputError: If it cannot be written there.
        FfrError: If the disk is full.
        MissingExtraError: If a library is not installed.
    """
    kind = expect_report_file(path)
    from ffr_eval.report.run_report.drawing import render
    from ffr_eval.report.run_report.figures import NAMES, report_figures

    figures, why = report_figures(report)
    files: dict[str, bytes] = {}
    for place, figure in enumerate(figures):
        for suffix in _KINDS:
            files[f"{figure.name}.{suffix}"] = render(figure.draw, suffix)
        step((place + 1) / len(figures))
    folder = figures_folder(path)
    if kind == "html":
        from ffr_eval.report.run_report.html_page import html_page

        drawn = {figure.name: files[f"{figure.name}.svg"] for figure in figures}
        page = html_page(report, figures, why, drawn)
    elif kind == "md":
        from ffr_eval.report.run_report.markdown import markdown_page

        page = markdown_page(report, figures, why, folder.name)
    else:
        from ffr_eval.report.run_report.latex import latex_table

        page = latex_table(report, figures, folder.name)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from None
    for name, data in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(data)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    for name in NAMES:
        for suffix in _KINDS:
            if f"{name}.{suffix}" not in files:
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    return [figure.name for figure in figures]
