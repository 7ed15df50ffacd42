"""The tabs beside the runs: what papers report, and what could not be scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from ffr_eval.published import published_papers
from leaderboard import names
from leaderboard.choices import choice
from leaderboard.details import UNDEFINED
from leaderboard.reported import DATASETS, reported_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leaderboard.runs_table import UnscoredRun


def show_reported() -> None:
    """Results that papers report, apart from everything that is computed."""
    st.markdown(":gray-badge[:material/menu_book: Reported by the authors, not computed here]")
    dataset = choice("Dataset", tuple(DATASETS), "dataset", width="content")
    for paper in published_papers():
        with st.container(border=True):
            rows = reported_rows(paper, dataset)
            st.text(f"Source: {names.line(paper.source)}")
            st.caption(
                "Copied from the paper's main table, joint figures, divided by 100 to read like"
                " those of runs. Nobody ran these models here, so they have no rank and stand in no"
                " chart with runs, and the filters of the runs do not apply. A run can be held"
                " against them only on the same data, under protocol official, micro average."
            )
            st.text(f"Protocol: {names.line(paper.protocol)}. {names.line(_in_words(paper.notes))}")
            frame = pd.DataFrame(
                {
                    "model": [names.name(row.model) for row in rows],
                    "f1": [row.f1 for row in rows],
                    "precision": [row.precision for row in rows],
                    "recall": [row.recall for row in rows],
                    "mcc": [row.mcc for row in rows],
                    "setting": ["zero-shot" if row.zero_shot else "tuned" for row in rows],
                    "windows": ["yes" if row.sliding_window else "no" for row in rows],
                }
            )
            _reported_table(frame)
            left_out = len(paper.table2_main) - len(rows)
            if left_out:
                st.caption(f"{left_out} models of the paper have no figures for this dataset.")


def _in_words(notes: str) -> str:
    """The paper's notes with the columns named as they are shown."""
    return notes.replace("zero_shot", "Zero-shot").replace("sliding_window", "Sliding windows")


def _reported_table(frame: pd.DataFrame) -> None:
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    config: dict[str, Any] = {
        "model": text("Model", pinned=True, width=170),
        "f1": st.column_config.ProgressColumn(
            "Reported F1", format="%.4f", min_value=0, max_value=1, color="gray"
        ),
        "precision": number("Precision", format="%.4f"),
        "recall": number("Recall", format="%.4f"),
        "mcc": number("MCC", format="%.4f"),
        "setting": text("Setting", help="zero-shot: not tuned on MLDR."),
        "windows": text("Sliding windows", help="Dialogues cut into windows, answers merged."),
    }
    st.dataframe(
        frame,
        hide_index=True,
        height="content",
        column_config=config,
        placeholder=UNDEFINED,
        alt="Results as the paper reports them",
    )


def show_unscored(unscored: Sequence[UnscoredRun]) -> None:
    """The folders without figures, each with its reason."""
    if not unscored:
        st.success("Every run folder could be scored.", icon=":material/check_circle:")
        return
    st.markdown(
        "These folders look like runs but have no figures. None of them counts as zero, and none is"
        " ranked."
    )
    frame = pd.DataFrame(
        {
            "run": [run.label for run in unscored],
            "model": [names.name(run.record.model) if run.record else "" for run in unscored],
            "reason": [run.reason for run in unscored],
            "remedy": [run.remedy for run in unscored],
        }
    )
    text = st.column_config.TextColumn
    config = {
        "run": text("Folder", pinned=True, width=150),
        "model": text("Model", width=90),
        "reason": text("Why it could not be scored", width="large"),
        "remedy": text("What to do", width="large"),
    }
    st.dataframe(
        frame, hide_index=True, column_config=config, alt="Folders that could not be scored"
    )
    picked = st.selectbox("The whole reason for", list(frame["run"]), key="reason")
    run = next(run for run in unscored if run.label == picked)
    st.text(run.reason)
    if run.remedy:
        st.text(f"→ {run.remedy}")
