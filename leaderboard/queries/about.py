"""What the page about a site shows: its record, and the files that can be downloaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from leaderboard import names
from leaderboard.server_options import base_path
from leaderboard.site.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leaderboard.site.manifest import Manifest
    from leaderboard.site.reader import Site

PUBLIC: Final = "public/"
F2RVLM: Final = """\
@article{bi2025f2rvlm,
  title = {{F2RVLM}: Boosting Fine-grained Fragment Retrieval for Multi-Modal Long-form
    Dialogue with Vision Language Model},
  author = {Bi, Hanbo and Yuan, Zhiqiang and Jia, Zexi and Zhang, Jiapei and Li, Chongyang and
    Luo, Peixiang and Deng, Ying and Duan, Xiaoyue and Zhang, Jinchao},
  journal = {arXiv preprint arXiv:2508.17714},
  year = {2025}
}"""
FFRS: Final = """\
@article{bi2026ffrs,
  title = {Fine-grained Fragment Retrieval in Multi-modal Long-form Dialogues},
  author = {Bi, Hanbo and Yuan, Zhiqiang and Li, Chongyang and Yan, Qiwei and Jia, Zexi and
    Zhang, Jiapei and Duan, Xiaoyue and Feng, Yingchao and Zhang, Jinchao and Zhou, Jie},
  journal = {arXiv preprint arXiv:2606.04591},
  year = {2026}
}"""
_YEAR: Final = re.compile(r"2[0-9]{3}")
_MOST_BOARDS: Final = 12
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_UNITS: Final = ("B", "kB", "MB", "GB")
_STEP: Final = 1000


@dataclass(frozen=True, slots=True)
class Download:
    """A table of the site.

    Attributes:
        name: Of the table.
        file: Below ``public``.
        sha256: In hexadecimal digits; empty if the manifest has none.
    """

    name: str
    file: str
    bytes: int
    sha256: str


def downloads(manifest: Manifest) -> list[Download]:
    """The tables that anybody may download, in the order of the schema."""
    found = []
    for name, table in TABLES.items():
        record = manifest.files.get(table.file)
        if record is not None and table.file.startswith(PUBLIC):
            digest = record.sha256 if _DIGEST.fullmatch(record.sha256) else ""
            found.append(Download(name, table.file.removeprefix(PUBLIC), record.bytes, digest))
    return found


def data_address(file: str, public_url: str) -> str:
    """Where the server serves a file that lies below ``public``."""
    return f"{base_path(public_url)}/data/{quote(file)}"


def listed(manifest: Manifest, file: str) -> bool:
    """Whether a file below ``public`` is served."""
    return f"{PUBLIC}{file}" in manifest.files


def size_text(n_bytes: int) -> str:
    """A size as people read it: ``12.3 kB``."""
    size = float(n_bytes)
    for unit in _UNITS[:-1]:
        if size < _STEP:
            return f"{size:.0f} {unit}" if unit == _UNITS[0] else f"{size:.1f} {unit}"
        size /= _STEP
    return f"{size:.1f} {_UNITS[-1]}"


def citations(site: Site, public_url: str) -> dict[str, str]:
    """BibTeX entries by what they are of: the papers, the toolkit, and this site as it is now."""
    manifest = site.manifest
    year = manifest.created[:4] if _YEAR.fullmatch(manifest.created[:4]) else ""
    version = manifest.code.get("ffr-eval", "")
    toolkit = [
        ("title", "{FFR}: Evaluation for Fine-grained Fragment Retrieval"),
        ("author", "{FFR contributors}"),
        ("version", _plain(version) if version else ""),
        ("year", year),
    ]
    boards = "; ".join(
        f"{_plain(board.benchmark)} {_plain(board.hash.removeprefix('sha256:'))}"
        for board in manifest.boards[:_MOST_BOARDS]
    )
    note = (
        f"Published {_plain(manifest.created[:10])}; manifest SHA-256 {site.key};"
        f" protocols {', '.join(map(_plain, manifest.protocols))}; benchmarks {boards}"
    )
    here = [
        ("title", "{FFR} Leaderboard"),
        ("author", "{FFR contributors}"),
        ("year", year),
        ("url", names.https_link(public_url) or ""),
        ("note", note),
    ]
    return {
        "task": F2RVLM,
        "corpus": FFRS,
        "toolkit": _entry("software", "ffr_eval", toolkit),
        "site": _entry("misc", "ffr_leaderboard", here),
    }


def _entry(kind: str, key: str, fields: Sequence[tuple[str, str]]) -> str:
    given = [f"  {name} = {{{value}}}" for name, value in fields if value]
    return f"@{kind}{{{key},\n" + ",\n".join(given) + "\n}"


def _plain(value: str) -> str:
    return names.latex(names.name(value))
