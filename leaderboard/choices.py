"""Filters that are part of the page's address, so that a link shows what was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Sequence


def choice(
    label: str,
    options: Sequence[str],
    key: str,
    about: str | None = None,
    width: Literal["stretch", "content"] = "stretch",
) -> str:
    """A choice among our own words; not for text from run folders, which could be Markdown."""
    chosen = st.segmented_control(
        label,
        options,
        default=options[0],
        required=True,
        key=key,
        help=about,
        width=width,
        bind="query-params",
    )
    return chosen or options[0]


def pick(label: str, options: Sequence[str], key: str, about: str | None = None) -> str:
    """A choice among names from run folders: a select box shows them as plain text."""
    chosen = st.selectbox(label, options, key=key, help=about, bind="query-params")
    return options[0] if chosen is None else chosen
