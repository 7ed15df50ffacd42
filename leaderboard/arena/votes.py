"""A vote: which run's fragment is better for one sample, by one criterion."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias, get_args

import msgspec

Criterion: TypeAlias = Literal["coverage", "relevance", "coherence"]
Form: TypeAlias = Literal["pair", "best_of"]
RaterKind: TypeAlias = Literal["human", "judge"]

CRITERIA: Final[tuple[Criterion, ...]] = get_args(Criterion)
"""Those of the human study of F2RVLM: is it complete, is it on the query, does it hang together."""
FORMS: Final[tuple[Form, ...]] = get_args(Form)
RATER_KINDS: Final[tuple[RaterKind, ...]] = get_args(RaterKind)

TIE: Final = "tie"
BOTH_BAD: Final = "both_bad"
RESERVED: Final = frozenset({TIE, BOTH_BAD})
"""Runs of these names cannot take part: a choice could not be told from a tie."""

FEWEST: Final = 3
"""Runs in a choice of the best; two are a pair."""
MOST: Final = 12

_RUN_ID: Final = r"^[A-Za-z0-9._()+-]{1,80}\Z"
_RATER: Final = r"^[A-Za-z0-9._()+/:@-]{1,120}\Z"
_TIME: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z"

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
_RunId = Annotated[str, msgspec.Meta(pattern=_RUN_ID)]
_Rater = Annotated[str, msgspec.Meta(pattern=_RATER)]


class Vote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A vote, as it is stored and as it stands in a file.

    Attributes:
        vote_id: Random, so that it tells nothing and nobody can guess it.
        time: When it was cast, UTC.
        board_id: The board; it stands for a benchmark by content and a split.
        sample_id: The sample that the fragments answer.
        dialogue_id: The sample's dialogue; found in the site when it is left out of a file.
        criterion: What the choice is about.
        form: Two runs (``pair``), or the best of several (``best_of``).
        runs: In the order they were shown, left to right.
        choice: The better run; of a pair also ``tie`` or ``both_bad``.
        rater: A keyed hash of a person's session, or the name of a judge model.
        rater_kind: Whether a person or a model judged.
        source: Where the vote comes from.
    """

    vote_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{16,64}\Z")]
    time: Annotated[str, msgspec.Meta(pattern=_TIME)]
    board_id: _RunId
    sample_id: _Id
    dialogue_id: Annotated[str, msgspec.Meta(max_length=400)] = ""
    criterion: Criterion
    form: Form
    runs: tuple[_RunId, ...]
    choice: _RunId
    rater: _Rater
    rater_kind: RaterKind
    source: _Rater = "arena"
    schema_version: Literal[1] = 1

    @property
    def run_set(self) -> tuple[str, ...]:
        """The runs in the order of their ids: the same however they were shown."""
        return tuple(sorted(self.runs))


class Wrong(msgspec.Struct, frozen=True):
    """What is wrong with a vote whose fields have the right types."""

    field: str
    message: str
    remedy: str


def what_is_wrong(vote: Vote) -> Wrong | None:
    """Whether the fields of a vote fit together; ``None`` if they do."""
    n_runs = len(vote.runs)
    if len(set(vote.runs)) < n_runs:
        return Wrong("runs", "a run is listed twice", "list each run once")
    taken = RESERVED.intersection(vote.runs)
    if taken:
        remedy = "publish the run under another name"
        return Wrong("runs", f"{min(taken)!r} is a choice and cannot be a run", remedy)
    if vote.form == "pair" and n_runs != 2:
        return Wrong("runs", f"{n_runs} runs in a pair", "list two, or make it form best_of")
    if vote.form == "best_of" and not FEWEST <= n_runs <= MOST:
        message = f"{n_runs} runs to choose the best of"
        return Wrong("runs", message, f"list {FEWEST} to {MOST}, or make it form pair")
    allowed = (*vote.runs, *sorted(RESERVED)) if vote.form == "pair" else vote.runs
    if vote.choice not in allowed:
        message = f"{vote.choice!r} was not there to be chosen"
        return Wrong("choice", message, f"write one of {', '.join(allowed)}")
    return None
