"""Errors a user can act on: what is wrong, where, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input.

    Attributes:
        message: What is wrong, as a sentence.
        file: The file it is in, if it is in one.
        line: The line, counted from 1.
        field: The field, as a path such as ``turns[3].utt_id``.
        remedy: What the user can do about it.
    """

    message: str
    file: str | None = None
    line: int | None = None
    field: str | None = None
    remedy: str | None = None

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}"
        head = f"{place}: " if place else ""
        field = f"{self.field}: " if self.field else ""
        remedy = f"\n  → {self.remedy}" if self.remedy else ""
        return f"{head}{field}{self.message}{remedy}"


class FfrError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the CLI ends with."""

    exit_code = 1


class InputError(FfrError):
    """The user's input is wrong (CLI exit code 2)."""

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        file: object = None,
        line: int | None = None,
        field: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem = Problem(message, None if file is None else str(file), line, field, remedy)
        super().__init__(str(self.problem))


class MissingExtraError(FfrError, ImportError):
    """An optional dependency is not installed; the message names the extra to install."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part: pip install 'ffr-eval[{extra}]'")
        self.extra = extra


class Stopped(FfrError):  # noqa: N818 - not wrong, but over
    """A run ends on purpose before all samples are answered; the same command goes on with it."""
