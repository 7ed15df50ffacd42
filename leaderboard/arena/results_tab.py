"""The tab with what the votes say: strengths, counts, agreement, and the votes themselves."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import pyarrow as pa
import streamlit as st

from ffr_eval.errors import FfrError
from leaderboard import names
from leaderboard.arena.agreement import Agreement, agreement, agreement_of_kinds
from leaderboard.arena.ranking import MINIMUM, REPLICATES, Ranking, rank
from leaderboard.arena.results import RATERS, Raters
from leaderboard.arena.store import ArenaStore
from leaderboard.arena.top_choices import TopChoices, count_top_choices
from leaderboard.arena.vote_tab import trouble
from leaderboard.arena.votes import CRITERIA, FORMS
from leaderboard.arena.votes_file import jsonl_bytes, write_csv
from leaderboard.downloads import download_menu

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leaderboard.arena.votes import Criterion, Form, Vote
    from leaderboard.context import Context

FRESH: Final = 60
"""Seconds that results are kept: votes of others show within that time."""

_BLUE: Final = "#0072B2"  # of Okabe and Ito
_GREY: Final = "#808891"
_ROW: Final = 28  # pixels
_MOST_SHOWN: Final = 40
_Value: TypeAlias = Literal["strength", "share"]
_FORMATS: Final[dict[_Value, tuple[str, str]]] = {
    "strength": ("+.2f", "%+.2f"),
    "share": (".0%", "percent"),
}
"""Of figures, in Vega and in tables."""
_REPLICATES: Final = ((30, REPLICATES), (100, 200))
"""Resamples by the number of runs up to which there are so many."""
_TYPES: Final = {
    "run": pa.string(),
    "status": pa.string(),
    **dict.fromkeys(("strength", "share", "lo", "hi"), pa.float64()),
}


def show_results_tab(context: Context) -> None:
    """Draw the tab."""
    text, board_id = context.text, context.view.board
    state = context.settings.state_path
    if state is None:
        st.info(text("arena.read_only"), icon=":material/lock:")
        return
    try:
        votes = _votes(str(state), board_id) if ArenaStore(state).exists() else []
    except FfrError as error:
        trouble(error)
        st.error(text("arena.trouble"), icon=":material/error:")
        return
    if not votes:
        st.info(text("arena.no_votes"), icon=":material/how_to_vote:")
        return
    forms = [form for form in FORMS if any(vote.form == form for vote in votes)]
    kinds = {vote.rater_kind for vote in votes}
    offered: list[Raters] = [who for who in RATERS if kinds.issuperset(RATERS[who])]
    with st.container(horizontal=True):
        criterion = _choice(context, "criterion", list(CRITERIA), "arena.{}")
        form = _choice(context, "result_form", forms, "arena.form_{}")
        raters = _choice(context, "raters", offered, "arena.raters_{}")
    st.caption(text(f"arena.help_{criterion}"))
    with st.spinner(text("arena.computing"), show_time=True):
        found = _computed(str(state), board_id, len(votes), criterion, form, raters)
    _show_facts(context, found)
    if isinstance(found.result, Ranking):
        _show_ranking(context, found, found.result)
    else:
        _show_top_choices(context, found, found.result)
    _show_agreement(context, found)
    if not context.site.board(board_id).hidden_gold:  # of those only aggregates come back
        _downloads(context, state, board_id)


def _choice(context: Context, name: str, options: list[Any], words: str) -> Any:
    """A choice among our own words; nothing is asked where there is only one."""
    if len(options) == 1:
        return options[0]
    titles = {option: context.text(words.format(option)) for option in options}
    return (
        st.segmented_control(
            context.text(f"arena.{name}"),
            options,
            format_func=titles.__getitem__,
            default=options[0],
            required=True,
            key=f"arena.{name}",
        )
        or options[0]
    )


class _Found:
    """What is shown for one choice.

    Attributes:
        result: Of the votes by ``raters`` in this ``form`` by this ``criterion``.
        n_raters: Whose votes they are.
        agreement: Among them.
        people_and_judges: Agreement between the two kinds, whoever's votes are counted.
    """

    def __init__(self, votes: list[Vote], criterion: Criterion, form: Form, raters: Raters) -> None:
        self.criterion, self.form, self.raters = criterion, form, raters
        about = [vote for vote in votes if (vote.criterion, vote.form) == (criterion, form)]
        counted = [vote for vote in about if vote.rater_kind in RATERS[raters]]
        replicates = _replicates(len({run for vote in counted for run in vote.runs}))
        self.result: Ranking | TopChoices = (
            rank(counted, replicates=replicates) if form == "pair" else count_top_choices(counted)
        )
        self.n_raters = len({(vote.rater_kind, vote.rater) for vote in counted})
        self.agreement = agreement(counted)
        self.people_and_judges = agreement_of_kinds(about)


def _replicates(n_runs: int) -> int:
    """As many resamples as take a few seconds at most; for many runs none."""
    return next((number for most, number in _REPLICATES if n_runs <= most), 0)


@st.cache_resource(ttl=FRESH, max_entries=4, show_spinner=False)
def _votes(state: str, board_id: str) -> list[Vote]:
    return ArenaStore(Path(state)).votes(board_id)


@st.cache_resource(max_entries=64, show_spinner=False)
def _computed(
    state: str, board_id: str, n_votes: int, criterion: Criterion, form: Form, raters: Raters
) -> _Found:
    """Computed once for so many votes: they are only ever added to."""
    del n_votes
    return _Found(_votes(state, board_id), criterion, form, raters)


def _labels(context: Context) -> dict[str, str]:
    """The names of the board's runs, safe and all different."""
    labels = context.site.labels(context.view.board)
    shown = names.unique(map(names.name, labels.values()))
    return dict(zip(labels, shown, strict=True))


def _label(labels: Mapping[str, str], run_id: str) -> str:
    """A run's name; its id if it is not in the site any more."""
    return labels.get(run_id) or names.name(run_id)


def _show_facts(context: Context, found: _Found) -> None:
    text, result = context.text, found.result
    facts = [
        text(
            "arena.facts",
            n_votes=result.n_votes,
            n_raters=found.n_raters,
            n_dialogues=result.n_dialogues,
        )
    ]
    if isinstance(result, Ranking) and result.n_votes:
        bad = round(100 * result.n_both_bad / result.n_votes)
        ties = round(100 * result.n_ties / result.n_votes)
        facts.append(text("arena.facts_pairs", bad=bad, ties=ties))
    st.markdown(" · ".join(facts))


def _show_ranking(context: Context, found: _Found, ranking: Ranking) -> None:
    text, labels, runs = context.text, _labels(context), ranking.runs
    columns: dict[str, list[Any]] = {
        "run": [_label(labels, run.run_id) for run in runs],
        "strength": [run.strength for run in runs],
        "lo": [run.lo for run in runs],
        "hi": [run.hi for run in runs],
        "votes": [run.n_votes for run in runs],
        "wins": [run.wins for run in runs],
        "ties": [run.ties for run in runs],
        "losses": [run.losses for run in runs],
        "both_bad": [run.both_bad for run in runs],
        "status": [text(f"arena.status_{run.status}") for run in runs],
    }
    _show_table(context, found, columns, "strength")


def _show_top_choices(context: Context, found: _Found, choices: TopChoices) -> None:
    text, labels, runs = context.text, _labels(context), choices.runs
    status = ["few" if run.share is None else "ranked" for run in runs]
    columns: dict[str, list[Any]] = {
        "run": [_label(labels, run.run_id) for run in runs],
        "share": [run.share for run in runs],
        "lo": [run.lo for run in runs],
        "hi": [run.hi for run in runs],
        "chosen": [run.chosen for run in runs],
        "shown": [run.shown for run in runs],
        "status": [text(f"arena.status_{name}") for name in status],
    }
    _show_table(context, found, columns, "share")


def _show_table(
    context: Context, found: _Found, columns: dict[str, list[Any]], value: _Value
) -> None:
    """A chart of those that have a value, the table of all, and both to download."""
    text = context.text
    types = {name: _TYPES.get(name, pa.int64()) for name in columns}
    table = pa.table(columns, schema=pa.schema(types))
    valued = zip(columns["run"], columns[value], strict=True)
    order = [run for run, known in valued if known is not None][:_MOST_SHOWN]
    spec = chart(order, value, text(f"arena.{value}"))
    if order:
        st.vega_lite_chart(table, spec, alt=text("arena.chart_alt"))
        st.caption(text(f"arena.{value}_help"))
        if all(lo is None for lo in columns["lo"]):
            st.caption(text("arena.no_intervals"))
    else:
        st.info(text("arena.not_enough", n=MINIMUM), icon=":material/hourglass_top:")
    config: dict[str, Any] = {}
    for name, kind in types.items():
        title = text(f"arena.column_{name}")
        if kind == pa.string():
            config[name] = st.column_config.TextColumn(title, pinned=name == "run")
        else:
            form = _FORMATS[value][1] if kind == pa.float64() else None
            config[name] = st.column_config.NumberColumn(title, format=form)
    st.dataframe(
        table, hide_index=True, column_config=config, placeholder="–", alt=text("arena.table_alt")
    )
    about = {"protocol": f"arena-{found.form}", "metric": found.criterion, "samples_of": "all"}
    download_menu(
        "arena", table, about=about | {"raters": found.raters}, spec=spec if order else None
    )


def chart(order: Sequence[str], value: _Value, title: str) -> dict[str, Any]:
    """A point and its interval a run; the names are data, which Vega draws as plain text."""
    form = _FORMATS[value][0]
    x: dict[str, Any] = {"type": "quantitative", "title": title, "scale": {"zero": False}}
    x["axis"] = {"format": form, "tickCount": 6}
    y: dict[str, Any] = {"field": "run", "type": "nominal", "sort": [*order], "title": None}
    y["axis"] = {"labelLimit": 160, "labelOverlap": False}
    figures = [
        {"field": name, "type": "quantitative", "format": form} for name in (value, "lo", "hi")
    ]
    return {
        "height": {"step": _ROW},
        "transform": [{"filter": {"field": "run", "oneOf": [*order]}}],
        "encoding": {"y": y},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2, "color": _GREY},
                "encoding": {"x": {**x, "field": "lo"}, "x2": {"field": "hi"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90, "color": _BLUE},
                "encoding": {
                    "x": {**x, "field": value},
                    "tooltip": [{"field": "run", "type": "nominal"}, *figures],
                },
            },
        ],
    }


def _show_agreement(context: Context, found: _Found) -> None:
    text = context.text
    st.markdown(f"##### {text('arena.agreement')}")
    _agreement_line(context, "arena.agreement_of_raters", found.agreement)
    if found.people_and_judges.n_items:
        _agreement_line(context, "arena.agreement_of_kinds", found.people_and_judges)
    st.caption(text("arena.agreement_help"))


def _agreement_line(context: Context, key: str, found: Agreement) -> None:
    text = context.text
    if found.same is None:
        st.markdown(text("arena.no_agreement"))
        return
    alpha = text("arena.undefined") if found.alpha is None else f"{found.alpha:.2f}"
    same = round(100 * found.same)
    st.markdown(text(key, alpha=alpha, same=same, n_items=found.n_items))


def _downloads(context: Context, state: Path, board_id: str) -> None:
    text = context.text

    def as_csv() -> bytes:
        stream = io.StringIO(newline="")
        write_csv(_votes(str(state), board_id), stream)
        return stream.getvalue().encode()

    def as_jsonl() -> bytes:
        return jsonl_bytes(_votes(str(state), board_id))

    st.markdown(f"##### {text('arena.download')}")
    st.caption(text("arena.download_help"))
    with st.container(horizontal=True):
        for kind, mime, data in (
            ("csv", "text/csv", as_csv),
            ("jsonl", "application/jsonl", as_jsonl),
        ):
            st.download_button(
                kind.upper(),
                data,
                f"votes-{board_id}.{kind}",
                mime,
                key=f"arena.download.{kind}",
                on_click="ignore",
                icon=":material/download:",
            )
