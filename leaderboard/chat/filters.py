"""What is chosen on the samples page beside the view: it stands in the address too.

``&kind=image&outcome=ok&answers=a_right&find=car&sort=low&p=2&show=prompt``
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import streamlit as st

from ffr_eval.types import Outcome
from leaderboard.queries.samples import KINDS, LONGEST_TEXT, Filters, answers_of, sorts_of
from leaderboard.view_bar import address, remember

if TYPE_CHECKING:
    from collections.abc import Collection

    from leaderboard.view import View

SHOWN: Final = ("dialogue", "prompt", "answers")
"""The parts of an opened sample, the default first."""
_PAGE: Final = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices; ``None`` is the default of each.

    Attributes:
        kind, outcome, answers, sort: As in :class:`leaderboard.queries.samples.Filters`.
        find: What queries contain.
        page: Of the list, from 1.
        show: Which part of the opened sample: one of :data:`SHOWN`.
    """

    kind: str | None = None
    outcome: str | None = None
    answers: str | None = None
    sort: str | None = None
    find: str = ""
    page: int = 1
    show: str | None = None

    def parameters(self) -> dict[str, str]:
        """The address's parameters; defaults are left out."""
        found = {
            name: getattr(self, name)
            for name in ("kind", "outcome", "answers", "sort", "find", "show")
        }
        return {name: value for name, value in found.items() if value} | (
            {"p": str(self.page)} if self.page > 1 else {}
        )

    def filters(self, view: View) -> Filters:
        """The filters for the first two models of a view that has one."""
        a, b = (*view.models, None)[:2]
        if a is None:
            raise ValueError("no model is picked")
        two = b is not None
        return Filters(
            board=view.board,
            a=a,
            b=b,
            grouping=view.grouping,
            bucket=view.bucket,
            kind=self.kind if view.grouping != "kind" else None,
            outcome=self.outcome,
            answers=self.answers if self.answers in answers_of(two) else None,
            text=self.find,
            sort=self.sort if self.sort in sorts_of(two) else sorts_of(two)[0],
        )


def read_choices() -> Choices:
    """The choices in the address; what there is not is left out."""
    parameters = st.query_params

    def one_of(name: str, known: Collection[str]) -> str | None:
        value = parameters.get(name)
        return value if value in known else None

    page = parameters.get("p", "")
    return Choices(
        kind=one_of("kind", KINDS),
        outcome=one_of("outcome", [outcome.value for outcome in Outcome]),
        answers=one_of("answers", answers_of(two=True)),
        sort=one_of("sort", sorts_of(two=True)),
        find=parameters.get("find", "")[:LONGEST_TEXT],
        page=max(int(page), 1) if _PAGE.fullmatch(page) else 1,
        show=one_of("show", SHOWN),
    )


def write_choices(view: View, choices: Choices) -> None:
    """Make the address that of a view with these choices."""
    wanted = address(view) | choices.parameters()
    if dict(st.query_params) != wanted:
        st.query_params.from_dict(wanted)
    remember(view)
