"""Everything about one run: figures, groups, outcomes, provenance."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import streamlit as st

from ffr_eval.scoring import ASK_AGAIN
from leaderboard import charts, names
from leaderboard.runs_table import FIGURE_ORDER, last_used, option_text

if TYPE_CHECKING:
    from pathlib import Path

    from ffr_eval.metrics.protocols import ProtocolName
    from leaderboard.runs_table import BoardRow, ScoredRun, View

FIGURE_NAMES: Final = {"f1": "F1", "precision": "Precision", "recall": "Recall", "mcc": "MCC"}
UNDEFINED: Final = "–"

_COUNTS: Final = {"tp": "TP", "fp": "FP", "fn": "FN", "tn": "TN", "n": "n", "n_mcc": "n MCC"}
_COUNTS_HELP: Final = (
    "TP, FP, FN and TN belong to micro figures of one modality; n is the number of samples that"
    " count in a macro figure."
)
_MODALITIES: Final = ("joint", "utterance", "image")
_AVERAGES: Final = ("micro", "macro")


def show_details(row: BoardRow, n_runs: int, view: View, protocol: ProtocolName) -> None:
    """The details of a run, below its name."""
    run = row.run
    _headline(row, n_runs)
    st.markdown("##### All figures")
    _figures_table(run)
    st.markdown(f"##### {view.modality.capitalize()} {FIGURE_NAMES[view.figure]} by group")
    st.caption(f"{view.average} average; the number of samples in parentheses")
    _groups(run, view)
    st.markdown("##### Outcomes")
    _outcomes_table(run)
    if run.scores["outcomes"]["request_error"]:
        st.caption(f"{run.scores['outcomes']['request_error']} request_error: {ASK_AGAIN}")
    for note in run.scores["notes"]:
        st.text(f"Note: {names.line(note)}")
    with st.expander("Provenance: where these figures come from", icon=":material/fingerprint:"):
        _provenance(run)
    st.markdown("##### Score it again")
    _command(run.path, protocol)


def _headline(row: BoardRow, n_runs: int) -> None:
    if row.run.incomplete is not None:
        st.badge(row.run.incomplete, icon=":material/warning:", color="orange")
    with st.container(horizontal=True):
        rank = UNDEFINED if row.rank is None else f"{row.rank} of {n_runs}"
        st.metric("Rank", rank, border=True, width=140)
        for name in FIGURE_NAMES:
            value = getattr(row.figures, name)
            shown = UNDEFINED if value is None else f"{value:.3f}"
            st.metric(FIGURE_NAMES[name], shown, border=True, width=140)


def _figures_table(run: ScoredRun) -> None:
    records = []
    for average in _AVERAGES:
        for modality in _MODALITIES:
            found = run.scores[average][modality] or {}
            record: dict[str, Any] = {"figures": f"{average} {modality}"}
            record |= {name: found.get(name) for name in (*FIGURE_ORDER, *_COUNTS)}
            records.append(record)
    types = dict.fromkeys(FIGURE_ORDER, "float64") | dict.fromkeys(_COUNTS, "Int64")
    frame = pd.DataFrame(records).astype(types)
    number = st.column_config.NumberColumn
    config: dict[str, Any] = {"figures": st.column_config.TextColumn("", pinned=True, width=115)}
    config |= {name: number(FIGURE_NAMES[name], format="%.4f", width=70) for name in FIGURE_ORDER}
    config |= {name: number(shown, width=52, help=_COUNTS_HELP) for name, shown in _COUNTS.items()}
    st.dataframe(
        frame,
        hide_index=True,
        column_config=config,
        placeholder=UNDEFINED,
        alt="All figures of the run by average and modality",
    )
    answered = run.scores["answered"]["micro"]["joint"]
    if run.scores["n_scored"] < run.scores["n_samples"]:
        value = UNDEFINED if answered is None else f"{answered['f1']:.4f}"
        st.caption(
            f"micro joint F1 over the {run.scores['n_scored']} answered samples only: {value}"
        )
    rates = run.scores["rates"]
    st.caption(
        "Invented ids: "
        + ", ".join(f"{m} {rates[m]['invented']:.1%}" for m in ("utterance", "image"))
        + " of predicted ids. Repeated: "
        + ", ".join(f"{m} {rates[m]['duplicate']:.1%}" for m in ("utterance", "image"))
        + "."
    )


def _outcomes_table(run: ScoredRun) -> None:
    n_samples = max(run.scores["n_samples"], 1)
    found = {name: number for name, number in run.scores["outcomes"].items() if number}
    frame = pd.DataFrame(
        {
            "outcome": list(found),
            "samples": list(found.values()),
            "share": [number / n_samples for number in found.values()],
        }
    )
    config = {
        "outcome": st.column_config.TextColumn("Outcome", width=90),
        "samples": st.column_config.NumberColumn("n", width=60),
        "share": st.column_config.ProgressColumn(
            "Share", min_value=0, max_value=1, format="percent"
        ),
    }
    st.dataframe(frame, width=420, hide_index=True, column_config=config, alt="Outcomes of the run")


def _groups(run: ScoredRun, view: View) -> None:
    columns = st.columns(3)
    for column, (by, groups) in zip(columns, run.scores["groups"].items(), strict=False):
        bars = []
        for name in groups:
            found = run.figures(view.average, view.modality, (by, name))
            bars.append((names.line(name), found, getattr(found, view.figure)))
        with column:
            st.caption(f"by {by}")
            chart = charts.group_bars(bars, FIGURE_NAMES[view.figure])
            st.altair_chart(chart, alt=f"Figures by {by}")


def _provenance(run: ScoredRun) -> None:
    record = run.record
    session = record.sessions[-1] if record.sessions else None
    git = session.git if session is not None else None
    versions = session.versions if session is not None else {}
    rows = {
        "run": run.label,
        "model": f"{record.model}, version {record.model_version}",
        "options": option_text(record.options) or "none",
        "tuned on": record.tune_on or "nothing",
        "selected by tuning": option_text(record.selection or {}) or "nothing",
        "prompt hash": record.prompt_hash or "no prompt",
        "seed": "none" if record.seed is None else str(record.seed),
        "benchmark": f"{record.benchmark.name}, version {record.benchmark.version}",
        "benchmark hash": record.benchmark.hash,
        "benchmark path": record.benchmark.path,
        "split": record.split or "all samples",
        "limit": "none" if record.limit is None else str(record.limit),
        "status": record.status,
        "last used": last_used(record) or "unknown",
        "sessions": str(len(record.sessions)),
        "versions": option_text(versions) or "unknown",
        "git revision": "unknown"
        if git is None
        else git.commit + (" and uncommitted changes" if git.dirty else ""),
    }
    frame = pd.DataFrame(
        {"field": list(rows), "value": [names.line(value) for value in rows.values()]}
    )
    config = {
        "field": st.column_config.TextColumn("Field", width=140),
        "value": st.column_config.TextColumn("What run.json says", width="large"),
    }
    st.dataframe(
        frame, hide_index=True, column_config=config, height="content", alt="Provenance of the run"
    )


def _command(path: Path, protocol: ProtocolName) -> None:
    shown = str(path)
    if names.line(shown) != shown:
        st.text("The folder's name has characters that are not shown here: use a file manager.")
        return
    option = "" if protocol == "strict" else f" --protocol {protocol}"
    grouping = " --group-by turns,kind,language"
    st.code(f"ffr score {shlex.quote(shown)}{option}{grouping}", language=None)
