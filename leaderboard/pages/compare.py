"""Up to four models beside each other: what differs, whether it is real, and where to look."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import streamlit as st

from ffr_eval.types import Kind
from ffr_eval.uncertainty import FEW_DIALOGUES
from leaderboard import charts, names
from leaderboard.context import current
from leaderboard.downloads import download_menu
from leaderboard.figures import UNDEFINED, interval_text, p_text, value_text
from leaderboard.queries import compare as queries
from leaderboard.texts import texts
from leaderboard.view import MOST_MODELS
from leaderboard.view_bar import bucket_title, link, show_view_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from leaderboard.context import Context
    from leaderboard.queries.compare import Difference, Disagreement
    from leaderboard.site.reader import Site
    from leaderboard.texts import Text
    from leaderboard.view import View

ENOUGH: Final = 2
"""So many models are needed to compare."""


def page() -> None:
    """Draw the page."""
    context = current()
    text, view = context.text, context.view
    st.title(text("compare.title"), anchor=False)
    show_view_bar(models=MOST_MODELS)
    if len(view.models) < ENOUGH:
        _suggest(context)
        return
    labels = _labels(context.site, view)
    content = _content(context.site, context.language, view)
    here = [row for row in content.differences if row.bucket == view.bucket_code]
    _verdicts(context, here, labels)
    _by_bucket(context, content)
    _examples(context, content, labels)


@dataclass(frozen=True, slots=True)
class _Content:
    """What the page shows of a view, computed once for all who look at it.

    Attributes:
        table: The differences as they are shown.
        forest, curves: Charts: data and spec.
        examples: ``None`` where the gold is hidden.
    """

    differences: Sequence[Difference]
    table: pa.Table
    forest: charts.Chart
    curves: charts.Chart | None
    examples: Sequence[Disagreement] | None


@lru_cache(maxsize=200)
def _content(site: Site, language: str, view: View) -> _Content:
    """Kept by what it is of; Streamlit's own cache takes a hundred times as long to look up."""
    text, labels = texts(language), _labels(site, view)
    found = queries.differences(site, view)
    rows = [_row(text, view.metric, site.manifest.alpha, each, labels) for each in found]
    curve = [
        row | {"model": labels[row["run_id"]]}
        for row in queries.curve(site, view, view.models)
        if row["value"] is not None
    ]
    words = {code: bucket_title(text, code) for code in charts.LENGTHS}
    hidden = site.board(view.board).hidden_gold
    return _Content(
        differences=found,
        table=pa.Table.from_pylist(rows, schema=_COLUMNS),
        forest=charts.difference_forest(rows, text("compare.difference"), site.manifest.alpha),
        curves=charts.bucket_curves(curve, view.metric, words) if curve else None,
        examples=None if hidden else queries.disagreements(site, view, *view.models[:ENOUGH]),
    )


def _labels(site: Site, view: View) -> dict[str, str]:
    """The names of the picked models, safe and all different."""
    labels = site.shown_labels(view.board)
    return {run_id: labels[run_id] for run_id in view.models}


def _suggest(context: Context) -> None:
    text, view = context.text, context.view
    st.info(text("compare.pick_two"), icon=":material/balance:")
    best = queries.leaders(context.site, view)
    pair = tuple(dict.fromkeys((*view.models, *best)))[:ENOUGH]
    if len(pair) == ENOUGH:
        labels = _labels(context.site, replace(view, models=pair))
        label = text("compare.suggestion", a=labels[pair[0]], b=labels[pair[1]])
        link("compare", replace(view, models=pair), label, icon=":material/arrow_forward:")


def _verdicts(context: Context, here: Sequence[Difference], labels: Mapping[str, str]) -> None:
    """The difference of each pair in the chosen bucket, in words first."""
    text, view = context.text, context.view
    st.subheader(bucket_title(text, view.bucket_code), anchor=False)
    for difference in here:
        with st.container(border=True):
            st.markdown(f"**{verdict(context, difference, labels)}**")
            with st.container(horizontal=True):
                for run_id, value in (
                    (difference.a, difference.value_a),
                    (difference.b, difference.value_b),
                ):
                    st.metric(labels[run_id], value_text(value), width=150)
                st.metric(
                    text("compare.difference"),
                    value_text(difference.delta, signed=True),
                    interval_text(difference.lo, difference.hi, signed=True),
                    delta_color="off",
                    delta_arrow="off",
                    width=210,
                )
                if difference.p_holm is not None:
                    st.metric(
                        text("compare.p_holm"),
                        p_text(difference.p_holm),
                        text("compare.p_alone", p=p_text(difference.p)),
                        delta_color="off",
                        delta_arrow="off",
                        help=text("compare.p_help"),
                        width=190,
                    )
            st.caption(_counts(context, difference, labels))
    if not queries.is_tested(view.metric):
        st.caption(text("compare.not_tested", metric=view.metric))


def verdict(context: Context, difference: Difference, labels: Mapping[str, str]) -> str:
    """Which of two is better, and whether that is significant, in a sentence."""
    text = context.text
    a, b = labels[difference.a], labels[difference.b]
    if difference.delta is None:
        return text("compare.undefined", a=a, b=b)
    if says_nothing(difference, context.view.metric):
        return text("compare.says_nothing")
    if difference.delta == 0:
        return text("compare.equal", a=a, b=b)
    ahead, behind = (a, b) if difference.delta > 0 else (b, a)
    by = value_text(abs(difference.delta))
    if difference.p_holm is None:
        return text("compare.ahead_untested", a=ahead, b=behind, by=by)
    alpha = context.site.manifest.alpha
    if difference.better(alpha):
        return text("compare.significant", a=ahead, b=behind, by=by, p=p_text(difference.p_holm))
    if difference.p is not None and difference.p <= alpha:
        alone, p = p_text(difference.p), p_text(difference.p_holm)
        return text("compare.only_alone", a=ahead, b=behind, by=by, p=p, alone=alone)
    return text("compare.not_significant", a=ahead, b=behind, by=by, p=p_text(difference.p_holm))


def says_nothing(difference: Difference, metric: str) -> bool:
    """Whether the metric cannot tell runs apart here.

    Of queries without an answer any id is wrong, and without ids there is nothing to count.
    """
    none_right = not difference.value_a and not difference.value_b
    return difference.bucket == Kind.NEGATIVE and metric.startswith("micro.") and none_right


def _counts(context: Context, difference: Difference, labels: Mapping[str, str]) -> str:
    """Wins by sample, on how much both were compared, and how much it would take."""
    text = context.text
    said = []
    if difference.wins is not None:
        a, b = labels[difference.a], labels[difference.b]
        wins, ties, losses = difference.wins, difference.ties, difference.losses
        said.append(text("compare.wins", a=a, b=b, wins=wins, ties=ties, losses=losses))
    if difference.n_dialogues is not None:
        n_samples, n_dialogues = difference.n_samples, difference.n_dialogues
        said.append(text("compare.counts", n_samples=n_samples, n_dialogues=n_dialogues))
        if n_dialogues < FEW_DIALOGUES:
            said.append(text("compare.few", n=FEW_DIALOGUES))
    needed = difference.dialogues_needed
    if needed is not None and not difference.better(context.site.manifest.alpha):
        said.append(text("compare.needed", n=needed))
    return "  \n".join(said)


def _by_bucket(context: Context, content: _Content) -> None:
    """What differs where: as a chart, as a table, as curves; what is not open is not drawn."""
    text = context.text
    st.subheader(text("compare.by_bucket"), anchor=False, help=text("compare.chart_help"))
    parts: dict[str, Callable[[], None]] = {
        "chart": lambda: _chart("ffr-compare-chart", content.forest),
        "table": lambda: _table(context, content.table),
    }
    if content.curves is not None:
        curves = content.curves
        parts["curves"] = lambda: _chart("ffr-compare-curves", curves)
    titles = [text(f"compare.{name}") for name in parts]
    tabs = st.tabs(titles, key=f"compare.tab.{context.language}", on_change="rerun")
    for tab, part in zip(tabs, parts.values(), strict=True):
        if tab.open:
            with tab:
                part()


def _chart(name: str, chart: charts.Chart) -> None:
    data, spec = chart
    st.vega_lite_chart(data, spec, width="stretch")
    download_menu(name, data, spec=spec)


def _table(context: Context, table: pa.Table) -> None:
    text, view = context.text, context.view
    shown = [*_FIRST, *(name for name in _COLUMNS.names if name not in _FIRST)]
    if len(view.models) == ENOUGH:
        shown.remove("pair")
    column = st.column_config
    signed = "%+.4f"
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "bucket": column.TextColumn(text("app.bucket"), pinned=True, width="medium"),
            "pair": column.TextColumn(text("compare.pair"), width="medium"),
            "delta": column.NumberColumn(text("compare.difference"), format=signed),
            "lo": column.NumberColumn(text("compare.lo"), format=signed),
            "hi": column.NumberColumn(text("compare.hi"), format=signed),
            "p_holm": column.NumberColumn("p (Holm)", format="%.4f", help=text("compare.p_help")),
            "p": column.NumberColumn("p", format="%.4f", help=text("compare.p_help")),
            "wins": column.NumberColumn(text("compare.n_wins")),
            "ties": column.NumberColumn(text("compare.n_ties")),
            "losses": column.NumberColumn(text("compare.n_losses")),
            "verdict": column.TextColumn(text("compare.verdict"), width="medium"),
        },
        column_order=shown,
        placeholder=UNDEFINED,
        height="content",
    )
    download_menu("ffr-compare", table, about={"models": ",".join(view.models)})


_COLUMNS: Final = pa.schema(
    {
        "bucket": pa.string(),
        "pair": pa.string(),
        "delta": pa.float64(),
        "lo": pa.float64(),
        "hi": pa.float64(),
        "p_holm": pa.float64(),
        "p": pa.float64(),
        "wins": pa.int64(),
        "ties": pa.int64(),
        "losses": pa.int64(),
        "verdict": pa.string(),
    }
)


_FIRST: Final = ("bucket", "pair", "verdict")


def _row(
    text: Text, metric: str, alpha: float, difference: Difference, labels: Mapping[str, str]
) -> dict[str, Any]:
    if says_nothing(difference, metric):
        difference = replace(
            difference, delta=None, lo=None, hi=None, p=None, p_holm=None, wins=None, losses=None
        )
    winner = difference.better(alpha)
    if winner is not None:
        word = text("compare.better", a=labels[winner])
    elif difference.p_holm is None:
        word = text("compare.untested")
    else:
        word = text("compare.inseparable")
    return {
        "bucket": bucket_title(text, difference.bucket),
        "pair": f"{labels[difference.a]} − {labels[difference.b]}",
        "verdict": word,
        **{
            name: getattr(difference, name)
            for name in ("delta", "lo", "hi", "p_holm", "p", "wins", "ties", "losses")
        },
    }


def _examples(context: Context, content: _Content, labels: Mapping[str, str]) -> None:
    """The samples on which the first two models disagree most, each a link."""
    text, view = context.text, context.view
    a, b, *_ = view.models
    title = text("compare.disagreements", a=labels[a], b=labels[b])
    st.subheader(title, anchor=False, help=text("compare.disagreements_help"))
    if content.examples is None:
        st.info(text("compare.hidden"), icon=":material/lock:")
        return
    if not content.examples:
        st.info(text("compare.agree"), icon=":material/check:")
        return
    with st.container(border=True):
        for sample in content.examples:
            _example(context, sample, labels[a], labels[b])


def _example(context: Context, sample: Disagreement, a: str, b: str) -> None:
    text, view = context.text, context.view
    first_wins = sample.f1_a > sample.f1_b
    st.text(names.line(sample.query))
    label = text(
        "compare.open",
        a=b if first_wins else a,
        b=a if first_wins else b,
        f1_a=value_text(min(sample.f1_a, sample.f1_b)),
        f1_b=value_text(max(sample.f1_a, sample.f1_b)),
        turns=sample.turns,
    )
    link("samples", replace(view, sample=sample.sample_id), label, icon=":material/forum:")
