"""An opened sample: its dialogue, the exact prompt of each model, and what it answered."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from ffr_eval.report.safe_text import visible_lines
from ffr_eval.types import Outcome
from leaderboard import names
from leaderboard.chat.component import show_dialogue, show_prompt
from leaderboard.chat.data import Column, dialogue_data, prompt_data
from leaderboard.chat.filters import SHOWN, read_choices, write_choices
from leaderboard.context import current
from leaderboard.figures import value_text
from leaderboard.queries import sample_record as records
from leaderboard.queries.samples import KINDS
from leaderboard.texts import texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leaderboard.chat.filters import Choices
    from leaderboard.context import Context
    from leaderboard.queries.sample_record import Request, RunAnswer, RunFacts, SampleRecord
    from leaderboard.site.reader import Site
    from leaderboard.texts import Text

    Named = tuple[str, str, str]
    """``A`` or ``B``, the id of the run, and its name as it is shown."""

OUTCOMES: Final = frozenset(outcome.value for outcome in Outcome)


def outcome_word(text: Text, outcome: str) -> str:
    """How asking ended, in words; safe in every widget."""
    return text(f"samples.outcome_{outcome}") if outcome in OUTCOMES else names.name(outcome)


def record_of(context: Context) -> SampleRecord | None:
    """The sample of the view."""
    site, view = context.site, context.view
    return _record(site, site.key, view.board, view.sample or "")


def show(context: Context, models: Sequence[Named], choices: Choices) -> None:
    """Draw the sample of the view, with what up to two models answered."""
    text, site, view = context.text, context.site, context.view
    record = record_of(context)
    if record is None:
        st.warning(text("app.unknown_sample"))
        return
    columns = [
        Column(name, label, _answer(site, site.key, view.board, record.sample_id, run_id))
        for name, run_id, label in models
    ]
    with st.container(border=True, gap="xsmall"):
        st.caption(text("samples.query"))
        st.text(visible_lines(record.query))
        st.text(_facts(text, record))
        for column in columns:
            st.text(_score(text, column))
    part = _parts(text, choices.show) if columns else SHOWN[0]
    if part == "prompt":
        _show_prompts(context, record, columns, {name: run for name, run, _ in models})
    elif part == "answers":
        _show_answers(text, columns)
    elif not record.turns:
        st.info(text("samples.no_dialogue"), icon=":material/forum:")
    else:
        runs = tuple(models)
        data = _dialogue(site, site.key, view.board, record.sample_id, runs, current().language)
        show_dialogue(data, key="samples.dialogue")


def _facts(text: Text, record: SampleRecord) -> str:
    parts = [names.line(record.sample_id)]
    if record.kind in KINDS:
        parts.append(text(f"samples.kind_{record.kind}"))
    parts.append(text("samples.n_turns", n=len(record.turns)))
    if record.images:
        parts.append(text("samples.n_images", n=len(record.images)))
    if record.language:
        parts.append(names.line(record.language))
    return " · ".join(parts)


def _score(text: Text, column: Column) -> str:
    answer = column.answer
    if answer is None:
        return f"{column.name} · {column.label}: {text('samples.not_asked')}"
    parts = ", ".join(
        f"{text(f'samples.{name}')} {value_text(value)}"
        for name, value in (("utts", answer.utt_f1), ("imgs", answer.img_f1))
    )
    figures = f"F1 {value_text(answer.f1)} ({parts})"
    return f"{column.name} · {column.label}: {figures} · {outcome_word(text, answer.outcome)}"


def _parts(text: Text, chosen: str | None) -> str:
    """Which part of the sample is shown."""
    key = "samples.show"
    st.session_state[key] = chosen or SHOWN[0]

    def changed() -> None:
        value = st.session_state[key]
        choices = replace(read_choices(), show=None if value == SHOWN[0] else value)
        write_choices(current().view, choices)

    st.segmented_control(
        text("samples.show"),
        SHOWN,
        format_func=lambda part: text(f"samples.show_{part}"),
        key=key,
        required=True,
        label_visibility="collapsed",
        on_change=changed,
    )
    return chosen or SHOWN[0]


def _show_prompts(
    context: Context, record: SampleRecord, columns: Sequence[Column], runs: dict[str, str]
) -> None:
    text, site, view = context.text, context.site, context.view
    drawn: dict[str, str] = {}
    for column in columns:
        st.markdown(f"##### {column.name} · {column.label}")
        answer = column.answer
        if answer is None:
            st.text(text("samples.not_asked"))
            continue
        same = drawn.get(answer.prompt_id or "")
        requests = None
        if answer.prompt_id is not None:
            requests = _requests(site, site.key, answer.prompt_id)
        if not requests:
            _without_prompt(context, record, answer, runs[column.name])
            continue
        _say_exact(text, answer)
        if same is not None:
            st.info(text("samples.prompt_same", model=same), icon=":material/content_copy:")
            continue
        drawn[answer.prompt_id or ""] = column.name
        files = records.image_files(site, view.board, record, requests)
        data = prompt_data(requests, record.dialogue_id, files, text)
        show_prompt(data, key=f"samples.prompt.{column.name}")


def _say_exact(text: Text, answer: RunAnswer) -> None:
    if answer.prompt_exact:
        st.success(text("samples.prompt_exact"), icon=":material/fingerprint:")
    elif answer.prompt_exact is None:
        st.info(text("samples.prompt_unproven"), icon=":material/help:")
    else:
        st.warning(text("samples.prompt_other"), icon=":material/warning:")
    if answer.prompt_note:
        st.text(names.line(answer.prompt_note))


def _without_prompt(context: Context, record: SampleRecord, answer: RunAnswer, run_id: str) -> None:
    """What a model got that has no prompt: the query, the dialogue, and its options."""
    text, site, view = context.text, context.site, context.view
    facts = _facts_of_run(site, site.key, view.board, run_id)
    if answer.outcome == Outcome.MISSING:
        why = "missing"
    elif facts.ceiling:
        why = "ceiling"
    elif answer.prompt_exact:
        why = "nothing"
    else:
        why = "lost" if facts.has_prompt else "none"
    st.info(text(f"samples.prompt_{why}"), icon=":material/info:")
    if answer.prompt_note and facts.has_prompt:
        st.text(names.line(answer.prompt_note))
    if why not in ("lost", "none"):
        return
    st.caption(text("samples.query"))
    st.text(visible_lines(record.query))
    st.caption(text("samples.options"))
    st.text(names.line(facts.options))


def _show_answers(text: Text, columns: Sequence[Column]) -> None:
    for place, column in zip(st.columns(len(columns)), columns, strict=True):
        with place:
            st.markdown(f"##### {column.name} · {column.label}")
            if column.answer is None:
                st.text(text("samples.not_asked"))
            else:
                _show_answer(text, column.answer)


def _show_answer(text: Text, answer: RunAnswer) -> None:
    facts = {
        "ended": f"{outcome_word(text, answer.outcome)} ({names.line(answer.outcome)})",
        "finish_reason": answer.finish_reason,
        "error": answer.error,
        "utts": _ids(answer.utt_ids),
        "imgs": _ids(answer.img_ids),
        "latency": None if answer.latency_s is None else f"{answer.latency_s:.2f} s",
        "cost": None if answer.cost is None else f"{answer.cost:.6f}",
    }
    lines = [
        f"{text(f'samples.{name}')}: {names.line(value)}"
        for name, value in facts.items()
        if value is not None
    ]
    st.text("\n".join(lines))
    st.caption(text("samples.response"))
    if answer.response is None:
        st.text(text("samples.no_response"))
    elif not answer.response:
        st.text(text("samples.empty_response"))
    else:
        with st.container(border=True):
            st.text(visible_lines(answer.response))


def _ids(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids)) if ids else "–"


@lru_cache(maxsize=32)
def _record(_site: Site, key: str, board: str, sample: str) -> SampleRecord | None:
    del key
    return records.sample_record(_site, board, sample)


@lru_cache(maxsize=64)
def _answer(_site: Site, key: str, board: str, sample: str, run_id: str) -> RunAnswer | None:
    record = _record(_site, key, board, sample)
    return None if record is None else records.run_answer(_site, board, record, run_id)


@lru_cache(maxsize=16)
def _dialogue(
    _site: Site, key: str, board: str, sample: str, models: tuple[Named, ...], language: str
) -> dict[str, Any]:
    record = _record(_site, key, board, sample)
    if record is None:
        raise AssertionError("the sample was there a moment ago")
    columns = [
        Column(name, label, _answer(_site, key, board, sample, run_id))
        for name, run_id, label in models
    ]
    return dialogue_data(record, columns, texts(language))


@lru_cache(maxsize=32)
def _requests(_site: Site, key: str, prompt_id: str) -> tuple[Request, ...] | None:
    del key
    return records.prompt_requests(_site, prompt_id)


@lru_cache(maxsize=64)
def _facts_of_run(_site: Site, key: str, board: str, run_id: str) -> RunFacts:
    del key
    return records.run_facts(_site, board, run_id)
