"""Where a run's figures come from, its raw outputs, and the command that scores them again."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pyarrow as pa
import streamlit as st

from leaderboard import names
from leaderboard.downloads import download_menu
from leaderboard.queries.about import data_address, listed
from leaderboard.queries.model import entries
from leaderboard.site.schema import GROUPINGS, PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leaderboard.context import Context

    Run = Mapping[str, Any]

_RUN_ID: Final = re.compile(r"[A-Za-z0-9._()+-]{1,80}")
_PLAIN_FIELDS: Final = (
    "run_id",
    "label",
    "model",
    "model_version",
    "model_revision",
    "team",
    "link",
)


def show(context: Context, run: Run) -> None:
    """All that is known of a run, as plain text."""
    text = context.text
    _link(context, run)
    rows = [
        {"field": names.line(field), "value": names.line(value)}
        for field, value in _fields(context, run)
    ]
    table = pa.Table.from_pylist(rows)
    column = st.column_config.TextColumn
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "field": column(text("model.field"), pinned=True, width=170),
            "value": column(text("model.value"), width="large"),
        },
        height="content",
        alt=text("model.tab_record"),
    )
    st.caption(text("model.record_help"))
    download_menu("model-record", table)
    for note in run["notes"] or ():
        st.text(f"{text('model.note')}: {names.line(note)}")
    st.subheader(text("model.again"), anchor=False)
    parts = [text("model.again_help"), _raw(context, run)]
    if _local_folder(context, run):
        parts[0] = text("model.again_local")
    elif not _public_files(context, run):
        parts = [_raw(context, run), text("model.again_hidden")]
    st.markdown("\n\n".join(parts))
    st.code(command(context, run), language="bash", wrap_lines=True)


def _raw(context: Context, run: Run) -> str:
    """Links that download the raw outputs; a sentence where they are not public."""
    text = context.text
    here = _public_files(context, run)
    if not here:
        hidden = context.site.board(run["board_id"]).hidden_gold
        return text("model.raw_hidden" if hidden else "model.raw_absent")
    addresses = {
        text(key): data_address(file, context.settings.public_url) for key, file in here.items()
    }
    return " · ".join(f"[{title}]({address})" for title, address in addresses.items())


def _public_files(context: Context, run: Run) -> dict[str, str]:
    """What is public of a run's raw outputs: keys of words, and files below ``public``."""
    hidden = context.site.board(run["board_id"]).hidden_gold
    if hidden or not _RUN_ID.fullmatch(run["run_id"]):
        return {}
    files = {
        "model.raw": f"raw/{run['run_id']}.jsonl.gz",
        "model.raw_record": f"raw/{run['run_id']}.run.json",
    }
    return {key: file for key, file in files.items() if listed(context.site.manifest, file)}


def _local_folder(context: Context, run: Run) -> str | None:
    """The run's folder on this machine, if the board is for local use."""
    folders = [path for path in context.settings.runs if _is_folder_of(path, run["label"])]
    return folders[0] if len(folders) == 1 else None


def command(context: Context, run: Run) -> str:
    """What scores the run again: its folder on this machine, or its downloaded outputs."""
    board = context.site.board(run["board_id"])
    options = ""
    if context.view.protocol != PROTOCOLS[0]:
        options = f" --protocol {context.view.protocol}"
    options += f" --group-by {','.join(GROUPINGS)}"
    local = _local_folder(context, run)
    if local is not None:
        return f"ffr score {shlex.quote(local)}{options}"
    plain = names.is_plain(board.benchmark)
    benchmark = shlex.quote(board.benchmark) if plain else "BENCHMARK"
    run_id = run["run_id"] if _RUN_ID.fullmatch(run["run_id"]) else "RUN"
    folder = shlex.quote(run_id)
    if "model.raw_record" in _public_files(context, run):
        raw, record = shlex.quote(f"{run_id}.jsonl.gz"), shlex.quote(f"{run_id}.run.json")
        return (
            f"mkdir {folder} && gzip -dc {raw} > {folder}/predictions.jsonl"
            f" && cp {record} {folder}/run.json\n"
            f"ffr score {folder} --benchmark {benchmark}{options}"
        )
    split = ""
    if board.split is not None:
        name = shlex.quote(board.split) if names.is_plain(board.split) else "SPLIT"
        split = f" --split {name}"
    return f"ffr score {shlex.quote(f'{run_id}.jsonl.gz')} --benchmark {benchmark}{split}{options}"


def _is_folder_of(path: str, label: str) -> bool:
    return f"/{path}".endswith(f"/{label}") and names.line(path) == path


def _link(context: Context, run: Run) -> None:
    """The link of a run, if it may be followed; the words beside it say where it leads."""
    link = names.https_link(run["link"])
    if link is not None:
        host = urlsplit(link).hostname or ""
        label = context.text("model.open_link", host=host)
        st.link_button(label, link, icon=":material/open_in_new:", type="tertiary")


def _fields(context: Context, run: Run) -> list[tuple[str, str]]:
    """Field and value, in words; values are untrusted."""
    text, manifest = context.text, context.site.manifest
    board = context.site.board(run["board_id"])

    def said(value: object, absent: str = "unknown") -> str:
        return text(f"model.{absent}") if value is None or value == "" else str(value)

    rows = [(name, said(run[name], "not_given")) for name in _PLAIN_FIELDS]
    params = None if run["params_b"] is None else f"{run['params_b']:g} B"
    rows += [
        ("params_b", said(params)),
        *((name, said(run[name])) for name in ("setting", "weights", "provenance")),
        ("prompt_hash", said(run["prompt_hash"], "no_prompt")),
        *_of_object("options", run["options"], text("model.none")),
        ("seed", said(run["seed"], "none")),
        ("tune_on", said(run["tune_on"], "none")),
        *_of_object("selection", run["selection"], text("model.none")),
        ("split", said(run["split"], "all")),
        ("limit", said(run["limit"], "none")),
        ("status", said(run["status"])),
        ("date", said(run["date"])),
        ("benchmark", f"{board.benchmark} {board.version}"),
        ("benchmark_hash", board.hash),
        ("protocols", ", ".join(manifest.protocols)),
        ("source_hash", said(run["source_hash"])),
        *_of_object("versions", run["versions"], text("model.unknown")),
        ("git", said(run["git"])),
        ("published", manifest.created),
        ("computed", ", ".join(f"{name} {found}" for name, found in manifest.code.items())),
    ]
    return [(_named(text, name), value) for name, value in rows]


def _of_object(name: str, value: str | None, absent: str) -> list[tuple[str, str]]:
    found = [(f"{name}\0{key}" if key else name, part) for key, part in entries(value)]
    return found or [(name, absent)]


def _named(text: Any, name: str) -> str:
    field, _, key = name.partition("\0")
    title: str = text(f"model.field_{field}")
    return f"{title}: {key}" if key else title
