"""What the figures mean, what they were computed with, and how to get and cite them.

Room: a tab on retrieval from a corpus, when there is a page for it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import streamlit as st

from leaderboard import names
from leaderboard.context import current
from leaderboard.downloads import download_menu
from leaderboard.queries import about as queries

if TYPE_CHECKING:
    from collections.abc import Callable

    from leaderboard.context import Context

FORMULAS: Final = (
    r"tp = |G \cap P| \qquad fp = |P \setminus G|",
    r"fn = |G \setminus P| \qquad tn = |U \setminus (G \cup P)|",
    r"\mathrm{precision} = \frac{tp}{tp+fp} \qquad \mathrm{recall} = \frac{tp}{tp+fn}",
    r"F_1 = \frac{2\,tp}{2\,tp + fp + fn}",
    r"\mathrm{MCC} = \frac{tp \cdot tn - fp \cdot fn}{\sqrt{D}}",
    r"D = (tp+fp)\,(tp+fn)\,(tn+fp)\,(tn+fn)",
)
READING: Final = """\
import duckdb, pandas

figures = pandas.read_parquet("figures.parquet")
duckdb.sql("SELECT run_id, value, lo, hi FROM 'figures.parquet' WHERE metric = 'micro.joint.f1'")
"""


def page() -> None:
    """Draw the page."""
    context = current()
    text = context.text
    st.title(text("about.title"), anchor=False)
    st.markdown(text("about.intro", date=context.site.manifest.created[:10]))
    parts: dict[str, Callable[[Context], None]] = {
        "reading": _reading,
        "metrics": _metrics,
        "data": _data,
        "cite": _cite,
        "privacy": _privacy,
        "record": _record,
    }
    titles = [text(f"about.tab_{name}") for name in parts]
    tabs = st.tabs(titles, key=f"about.tab.{context.language}", on_change="rerun")
    for tab, part in zip(tabs, parts.values(), strict=True):
        if tab.open:
            with tab:
                part(context)


def _reading(context: Context) -> None:
    """What stands beside a figure, and beside a name."""
    text, manifest = context.text, context.site.manifest
    st.subheader(text("about.reading_sure"), anchor=False)
    words = {
        "replicates": manifest.replicates,
        "seed": manifest.seed,
        "method": manifest.method,
        "alpha": f"{manifest.alpha:g}",
    }
    said = [text(f"about.{name}", **words) for name in ("rank", "tier", "interval", "p", "holm")]
    st.markdown("\n\n".join(said))
    st.caption(text("about.reading_few"))
    st.subheader(text("about.reading_badges"), anchor=False)
    st.markdown(text("about.badges"))
    st.subheader(text("about.reading_reported"), anchor=False)
    st.markdown(text("about.reported"))


def _metrics(context: Context) -> None:
    """Formulas, the two protocols, and the cases in which nothing is defined."""
    text = context.text
    st.markdown(text("about.metrics_intro"))
    for formula in FORMULAS:
        st.latex(formula)
    st.markdown(text("about.metrics_27"))
    st.subheader(text("about.metrics_protocols"), anchor=False)
    st.markdown(text("about.protocols"))
    for name in ("dash", "outcomes", "groups"):
        st.markdown(text(f"about.metrics_{name}"))


def _data(context: Context) -> None:
    """All tables, their hashes, how to read them and how to derive them again."""
    text = context.text
    found = queries.downloads(context.site.manifest)
    if not found:
        st.info(text("about.data_none"), icon=":material/inbox:")
        return
    st.markdown(text("about.data_intro"))
    lines = [
        f"* [{table.file}]({queries.data_address(table.file, context.settings.public_url)})"
        f" · {queries.size_text(table.bytes)} · {text(f'about.data_{table.name}')}"
        for table in found
    ]
    st.markdown("\n".join(lines))
    st.markdown(text("about.data_check"))
    hashes = [f"{table.sha256}  {table.file}" for table in found if table.sha256]
    st.code("\n".join(hashes), language=None)
    st.markdown(text("about.data_read"))
    st.code(READING, language="python")
    st.markdown(text("about.data_raw"))
    st.markdown(text("about.data_derive"))


def _cite(context: Context) -> None:
    text = context.text
    st.markdown(text("about.cite_intro"))
    entries = queries.citations(context.site, context.settings.public_url)
    for name, entry in entries.items():
        st.markdown(f"**{text(f'about.cite_{name}')}**")
        st.code(entry, language="latex", wrap_lines=True)


def _privacy(context: Context) -> None:
    st.markdown(context.text("about.privacy"))


def _record(context: Context) -> None:
    """The manifest: protocols, benchmarks, code, and how intervals were drawn."""
    text, manifest, site = context.text, context.site.manifest, context.site
    st.markdown(text("about.record_intro"))
    git = manifest.git
    commit = text("about.unknown") if git is None else git.commit
    if git is not None and git.dirty:
        commit = text("about.changed", commit=commit)
    values = {
        "created": manifest.created,
        "protocols": ", ".join(manifest.protocols),
        "metrics": f"{len(manifest.metrics)}",
        "method": manifest.method,
        "replicates": f"{manifest.replicates}",
        "seed": f"{manifest.seed}",
        "alpha": f"{manifest.alpha:g}",
        "encoder": manifest.encoder or text("about.no_encoder"),
        "code": ", ".join(f"{name} {version}" for name, version in manifest.code.items()),
        "git": commit,
        "runs": f"{len(manifest.runs)}",
        "unscored": f"{len(manifest.unscored)}",
        "key": f"sha256:{site.key}",
    }
    rows = [
        {"field": text(f"about.field_{name}"), "value": names.line(value)}
        for name, value in values.items()
    ]
    column: Any = st.column_config.TextColumn
    st.dataframe(
        pa.Table.from_pylist(rows),
        hide_index=True,
        column_config={
            "field": column(text("about.field"), pinned=True, width=200),
            "value": column(text("about.value"), width="large"),
        },
        height="content",
        alt=text("about.tab_record"),
    )
    st.subheader(text("about.record_boards"), anchor=False)
    n_runs = Counter(run.board_id for run in manifest.runs)
    boards = [
        {
            "benchmark": names.line(board.benchmark),
            "version": names.line(board.version),
            "split": names.line(board.split or text("about.all")),
            "gold": text("about.gold_hidden" if board.hidden_gold else "about.gold_public"),
            "runs": n_runs[board.board_id],
            "hash": names.line(board.hash),
        }
        for board in manifest.boards
    ]
    table = pa.Table.from_pylist(boards)
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "benchmark": column(text("app.benchmark"), pinned=True, width=150),
            "version": column(text("about.version"), width="small"),
            "split": column(text("about.split"), width="small"),
            "gold": column(text("about.gold"), width="small"),
            "runs": st.column_config.NumberColumn(text("about.runs"), width="small"),
            "hash": column(text("about.hash"), width="large"),
        },
        height="content",
        alt=text("about.record_boards"),
    )
    download_menu("site-boards", table)
