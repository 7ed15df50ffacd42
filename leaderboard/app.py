"""The board: the script that Streamlit runs, with the folder of the runs as its only argument."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import streamlit as st

from ffr_eval.errors import InputError
from ffr_eval.scoring import INCOMPLETE_ABOVE
from leaderboard import charts, names
from leaderboard.board_table import deselect, show_export, show_table
from leaderboard.choices import choice, pick
from leaderboard.definitions import show_definitions
from leaderboard.details import FIGURE_NAMES, UNDEFINED, show_details
from leaderboard.library import Library
from leaderboard.other_tabs import show_reported, show_unscored
from leaderboard.runs_table import View, benchmarks_of, board_rows, groups_of, splits_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.metrics.protocols import ProtocolName
    from leaderboard.runs_table import Average, BoardRow, Figure, Modality, ScoredRun, UnscoredRun

TABS: Final = ("Runs", "Reported in papers", "Not scored", "What is computed")
PROTOCOLS: Final = ("strict", "official")

_MOST_BARS: Final = 40
_PROGRESS_AFTER: Final = 0.7  # seconds
_FIGURES: Final[dict[str, Figure]] = {
    "F1": "f1",
    "P": "precision",
    "R": "recall",
    "MCC": "mcc",
}
_PROTOCOL_HELP: Final = (
    "strict: ours, one documented answer for every undefined case. official: as the original"
    " release of F2RVLM computes it, for figures comparable with papers."
)
_AVERAGE_HELP: Final = (
    "micro: counts summed over samples. macro: figures of each sample, averaged; rewards silence."
)
_MODALITY_HELP: Final = "joint: both modalities together. The headline is the micro joint F1."
_FIGURE_HELP: Final = "F1, precision (P), recall (R), or Matthews correlation (MCC)."
_SAMPLES_HELP: Final = "All samples, or one group: by turns, by query kind, by language."


def main(root: Path) -> None:
    """Draw the page."""
    st.set_page_config(page_title="FFR board", layout="wide", initial_sidebar_state="auto")
    with st.sidebar:
        protocol = choice("Protocol", PROTOCOLS, "protocol", _PROTOCOL_HELP)
    st.title("FFR board", anchor=False)
    st.markdown(
        "Fine-grained fragment retrieval in long multimodal dialogues. Figures of runs are computed"
        " here, from the raw outputs in the run folders."
    )
    try:
        scored, unscored = _load(root, protocol)
    except InputError as error:
        st.error("The folder with the runs cannot be read any more.")
        st.text(names.line(str(error.problem)))
        st.stop()
    view = _filters(scored)
    runs_tab, reported_tab, unscored_tab, definitions_tab = st.tabs(
        TABS, key="tab", bind="query-params"
    )
    with runs_tab:
        if runs_tab.open:
            _runs(scored, unscored, view, protocol)
    with reported_tab:
        if reported_tab.open:
            show_reported()
    with unscored_tab:
        if unscored_tab.open:
            show_unscored(unscored)
    with definitions_tab:
        if definitions_tab.open:
            show_definitions()
    with st.sidebar:
        if st.button("Read the folder again", icon=":material/refresh:", width="stretch"):
            _library(str(root)).forget()
            st.rerun()
        st.caption("Runs in")
        st.text(names.line(str(root)))


@st.cache_resource(show_spinner=False)
def _library(root: str) -> Library:
    return Library(Path(root))


def _load(root: Path, protocol: ProtocolName) -> tuple[list[ScoredRun], list[UnscoredRun]]:
    """The runs as they are now; shows progress when it takes long."""
    bar = st.empty()
    began = time.monotonic()

    def progress(done: int, n_runs: int) -> None:
        if time.monotonic() - began > _PROGRESS_AFTER:
            bar.progress(done / n_runs, f"Scoring runs: {done} of {n_runs}")

    found = _library(str(root)).load(protocol, progress)
    bar.empty()
    return found


def _filters(scored: Sequence[ScoredRun]) -> View | None:
    """The filters in the sidebar; ``None`` if there is nothing to filter."""
    with st.sidebar:
        average = cast("Average", choice("Average", ("micro", "macro"), "average", _AVERAGE_HELP))
        modality = cast(
            "Modality",
            choice("Modality", ("joint", "utterance", "image"), "modality", _MODALITY_HELP),
        )
        figure = _FIGURES[choice("Rank by", tuple(_FIGURES), "figure", _FIGURE_HELP)]
        if not scored:
            return None
        benchmarks = benchmarks_of(scored)
        benchmark = benchmarks[pick("Benchmark", list(benchmarks), "benchmark")]
        splits = splits_of(scored, benchmark)
        split = splits[pick("Split", list(splits), "split")]
        view = View(benchmark, split, None, average, modality, figure)
        groups = groups_of(scored, view)
        group = groups[pick("Samples", list(groups), "samples", _SAMPLES_HELP)]
        return View(benchmark, split, group, average, modality, figure)


def _runs(
    scored: Sequence[ScoredRun],
    unscored: Sequence[UnscoredRun],
    view: View | None,
    protocol: ProtocolName,
) -> None:
    if unscored:
        count = "1 folder" if len(unscored) == 1 else f"{len(unscored)} folders"
        st.warning(
            f"{count} could not be scored: the tab “Not scored” has the reasons.",
            icon=":material/warning:",
        )
    if view is None:
        st.info("No run could be scored. Make one, then read the folder again:")
        st.code("ffr run bm25 ffr-sample --split test --out RUNS_DIR/bm25", language=None)
        return
    rows = board_rows(scored, view)
    _facts(rows, len(scored), protocol)
    if all(row.value is None for row in rows):
        st.info(
            f"“{UNDEFINED}”: with these filters nothing is there to be counted, so no run has a"
            " value or a rank. The tab “What is computed” says when that happens."
        )
    labels = [row.run.label for row in rows]
    show_table(rows, view)
    show_export(rows, view, protocol)
    index = 0 if len(rows) == 1 else None
    picked = st.selectbox(
        "Details of",
        labels,
        index=index,
        key="run",
        placeholder="Select a row above, or choose a run here",
        bind="query-params",
        on_change=deselect,
    )
    what = f"{view.modality.capitalize()} {FIGURE_NAMES[view.figure]} ({view.average})"
    if picked is not None:
        with st.container(border=True):
            show_details(rows[labels.index(picked)], len(rows), view, protocol)
    with st.container(border=True):
        _chart(rows, what, picked)


def _chart(rows: Sequence[BoardRow], what: str, picked: str | None) -> None:
    shown = [row for i, row in enumerate(rows) if i < _MOST_BARS or row.run.label == picked]
    which = "all runs" if len(rows) <= _MOST_BARS else f"the best {_MOST_BARS} of {len(rows)} runs"
    st.markdown(f"##### {what}, {which}")
    st.altair_chart(charts.run_bars(shown, what, picked), alt=f"{what} of {which}")


def _facts(rows: Sequence[BoardRow], n_scored: int, protocol: ProtocolName) -> None:
    samples = max((row.figures.n_samples for row in rows), default=0)
    dialogues = max((row.run.n_dialogues for row in rows), default=0)
    elsewhere = n_scored - len(rows)
    facts = [
        f"**{len(rows)}** run{'' if len(rows) == 1 else 's'}",
        f"**{samples}** samples",
        f"**{dialogues}** dialogue{'' if dialogues == 1 else 's'} in the split",
        f"protocol **{protocol}**",
    ]
    if elsewhere:
        facts.append(f"{elsewhere} more on other benchmarks or splits")
    st.markdown(" · ".join(facts))
    unfinished = sum(row.run.n_missing > 0 for row in rows)
    if unfinished:
        verb = "run is" if unfinished == 1 else "runs are"
        st.caption(
            f":material/hourglass_top: {unfinished} {verb} not complete: samples without a"
            " prediction stay in the denominator."
        )
    failed = sum(row.run.incomplete is not None for row in rows)
    if failed:
        which = "1 run has" if failed == 1 else f"{failed} runs have"
        st.caption(
            f":material/warning: {which} more than {INCOMPLETE_ABOVE:.0%} request errors and no"
            " rank: the figures say more of an outage than of the model."
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
