"""What was found in an upload: its problems first, then the private report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from ffr_eval.floors import FLOORS
from ffr_eval.metrics.named import HEADLINE
from ffr_eval.types import Outcome
from leaderboard import names
from leaderboard.figures import interval_text, value_text
from leaderboard.submissions.reading import ERRORS, LISTED
from leaderboard.submissions.scoring import HIDDEN_DECIMALS, SMALLEST_GROUP
from leaderboard.view import bucket_code
from leaderboard.view_bar import bucket_title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leaderboard.context import Context
    from leaderboard.submissions.checking import Checked
    from leaderboard.submissions.file_kinds import UploadRefused
    from leaderboard.submissions.limits import LimitReached
    from leaderboard.submissions.scoring import PrivateReport

_ROW_HEIGHT: Final = 35


def show_refusal(context: Context, error: UploadRefused) -> None:
    """Say that an upload is not read, and why."""
    st.error(context.text(f"submit.refused_{error.reason}"), icon=":material/block:")
    st.text(names.line(str(error)))


def show_limit(context: Context, error: LimitReached) -> None:
    """Say that a limit is reached, and when it ends."""
    words = context.text(f"submit.limit_{error.scope}", n=error.most, hours=error.hours)
    st.error(words, icon=":material/hourglass_top:")


def show(context: Context, checked: Checked) -> None:
    """Show what was found."""
    _problems(context, checked)
    if checked.report is not None:
        _report(context, checked, checked.report)


def _problems(context: Context, checked: Checked) -> None:
    text = context.text
    found = {trouble: number for trouble, number in checked.counts.items() if number}
    all_empty = checked.n_predictions and checked.n_empty == checked.n_predictions
    facts = {"lines": checked.n_lines, "samples": checked.n_predictions}
    if checked.n_errors:
        words = text("submit.has_errors", n=checked.n_errors, **facts)
        st.error(words, icon=":material/error:")
    elif not checked.n_predictions:
        st.error(text("submit.nothing", **facts), icon=":material/error:")
    elif found or checked.n_missing or all_empty:
        st.warning(text("submit.has_notes", **facts), icon=":material/info:")
    else:
        st.success(text("submit.all_well", **facts), icon=":material/check_circle:")
    lines = [
        f"- {text(f'submit.trouble_{trouble}', n=number)}"
        for trouble, number in sorted(found.items(), key=lambda item: item[0] not in ERRORS)
    ]
    if checked.n_missing and checked.n_predictions:
        lines.append(f"- {text('submit.trouble_missing', n=checked.n_missing)}")
    if all_empty:
        lines.append(f"- {text('submit.trouble_all_empty')}")
    if lines:
        st.markdown("\n".join(lines))
    if checked.problems:
        total = sum(found.values())
        if total > LISTED:
            st.caption(text("submit.first", n=LISTED, of=total))
        for problem in checked.problems:
            st.text(names.line(str(problem)))
    for note in checked.notes[:LISTED]:
        st.text(names.line(note))


def _report(context: Context, checked: Checked, report: PrivateReport) -> None:
    import msgspec

    text = context.text
    st.subheader(text("submit.report"), anchor=False)
    st.caption(text("submit.private"))
    headline = report.headline
    answered = report.n_samples - report.outcomes[Outcome.MISSING]
    with st.container(horizontal=True):
        interval = interval_text(headline.lo, headline.hi)
        st.metric(text("submit.headline"), value_text(headline.value), border=True)
        st.metric(text("submit.interval"), interval, border=True)
        if report.place is not None:
            place, of = report.place
            st.metric(text("submit.place"), f"{place} / {of}", border=True)
        st.metric(text("submit.answered"), f"{answered} / {report.n_samples}", border=True)
    if report.incomplete:
        st.warning(text("submit.incomplete"), icon=":material/warning:")
    if report.identical:
        said = text("submit.identical", label=report.identical[0])
        if len(report.identical) > 1:
            said += f" {text('submit.identical_more', n=len(report.identical) - 1)}"
        st.warning(said, icon=":material/content_copy:")
    _leader(context, report)
    _figures(context, report)
    _groups(context, report)
    _outcomes(context, report)
    if not report.hidden:
        _worst(context, report)
    else:
        words = {"decimals": HIDDEN_DECIMALS, "smallest": SMALLEST_GROUP}
        st.caption(text("submit.hidden_report", **words))
        if checked.left is not None:
            st.caption(text("submit.left", n=checked.left))
    for note in report.notes:
        st.text(names.line(note))
    st.download_button(
        text("submit.download"),
        # Made when it is asked for: until then it is nowhere but in the session.
        lambda: msgspec.json.format(msgspec.json.encode(report), indent=2),
        file_name=f"{report.board_id}.report.json",
        mime="application/json",
        icon=":material/download:",
        on_click="ignore",
        key="submit.download",
    )


def _leader(context: Context, report: PrivateReport) -> None:
    text, found = context.text, report.leader
    st.markdown(f"**{text('submit.compared')}**")
    if found is None:
        st.markdown(text("submit.no_leader"))
    else:
        leader = found.leader
        st.markdown(text("submit.leader", label=leader.label, value=leader.value))
        if found.delta is None:
            st.markdown(text("submit.no_difference"))
        elif found.lo is None or found.hi is None or found.p is None:
            st.markdown(text("submit.difference", delta=found.delta))
        else:
            figures = {"delta": found.delta, "lo": found.lo, "hi": found.hi, "p": found.p}
            st.markdown(text("submit.paired", **figures))
    rows = [
        {"name": text(f"submit.floor_{name}"), "value": value_text(report.floors[name])}
        for name in FLOORS
        if name in report.floors
    ]
    _table(rows, {"name": text("submit.floors"), "value": text("submit.headline")})


def _figures(context: Context, report: PrivateReport) -> None:
    text = context.text
    st.markdown(f"**{text('submit.figures')}**")
    strict, official = report.reports
    rows = [
        {
            "metric": ours.metric,
            "strict": value_text(ours.value),
            "strict_ci": interval_text(ours.lo, ours.hi),
            "official": value_text(theirs.value),
            "official_ci": interval_text(theirs.lo, theirs.hi),
        }
        for ours, theirs in zip(strict.figures, official.figures, strict=True)
    ]
    interval = text("submit.interval")
    _table(
        rows,
        {
            "metric": text("app.metric"),
            "strict": "strict",
            "strict_ci": interval,
            "official": "official",
            "official_ci": interval,
        },
        shown=12,
    )


def _groups(context: Context, report: PrivateReport) -> None:
    text = context.text
    groups = report.reports[0].groups
    if not groups:
        return
    st.markdown(f"**{text('submit.groups')}**")
    rows = [
        {
            "group": bucket_title(text, bucket_code(group.grouping, group.name)),
            "n": group.n_samples,
            "value": value_text(group.figure.value),
            "ci": interval_text(group.figure.lo, group.figure.hi),
        }
        for group in groups
    ]
    labels = {
        "group": text("app.bucket"),
        "n": text("submit.samples"),
        "value": HEADLINE,
        "ci": text("submit.interval"),
    }
    _table(rows, labels)


def _outcomes(context: Context, report: PrivateReport) -> None:
    text = context.text
    st.markdown(f"**{text('submit.outcomes')}**")
    rows = [
        {"outcome": outcome, "n": number} for outcome, number in report.outcomes.items() if number
    ]
    _table(rows, {"outcome": text("submit.outcome"), "n": text("submit.samples")})
    utterance, image = report.rates["utterance"], report.rates["image"]
    st.markdown(
        text(
            "submit.rates",
            utterance=utterance.invented,
            image=image.invented,
        )
    )


def _worst(context: Context, report: PrivateReport) -> None:
    text = context.text
    if not report.worst:
        return
    st.markdown(f"**{text('submit.worst')}**")
    rows = [
        {
            "sample": names.line(sample.sample_id),
            "outcome": sample.outcome,
            "f1": value_text(sample.f1),
            "tp": sample.tp,
            "fp": sample.fp,
            "fn": sample.fn,
        }
        for sample in report.worst
    ]
    labels = {
        "sample": text("submit.sample"),
        "outcome": text("submit.outcome"),
        "f1": "F1",
        "tp": text("submit.tp"),
        "fp": text("submit.fp"),
        "fn": text("submit.fn"),
    }
    _table(rows, labels)


def _table(rows: Sequence[Mapping[str, Any]], labels: Mapping[str, str], shown: int = 0) -> None:
    """A table of text and whole numbers."""
    import pyarrow as pa

    if not rows:
        return
    columns = {name: [row[name] for row in rows] for name in labels}
    st.dataframe(
        pa.table(columns),
        hide_index=True,
        width="stretch" if len(labels) > 3 else "content",
        height=(min(len(rows), shown or len(rows)) + 1) * _ROW_HEIGHT + 3,
        column_config={
            name: st.column_config.TextColumn(label)
            if isinstance(columns[name][0], str)
            else st.column_config.NumberColumn(label, format="%d")
            for name, label in labels.items()
        },
    )
