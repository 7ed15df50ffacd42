"""Sites like the synthetic one with other rows in some tables."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leaderboard.site.manifest import MANIFEST, FileRecord, file_hash, read_manifest
from leaderboard.site.reader import Site
from leaderboard.site.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Row = dict[str, Any]


@pytest.fixture(scope="module")
def site(synthetic_site: Path) -> Site:
    return Site(synthetic_site)


@pytest.fixture
def changed_site(synthetic_site: Path, tmp_path: Path) -> Callable[..., Path]:
    """``changed_site(runs=change)``: a copy; ``change`` gets and changes each row of a table."""

    def change(**changes: Callable[[Row], None]) -> Path:
        path = tmp_path / "changed"
        shutil.copytree(synthetic_site, path)
        manifest = read_manifest(path)
        files = dict(manifest.files)
        for name, of_row in changes.items():
            file = TABLES[name].file
            rows = pq.read_table(path / file).to_pylist()
            for row in rows:
                of_row(row)
            table = pa.Table.from_pylist(rows, TABLES[name].schema)
            pq.write_table(table, path / file)
            files[file] = FileRecord(file_hash(path / file), (path / file).stat().st_size)
        manifest = msgspec.structs.replace(manifest, files=files)
        (path / MANIFEST).write_bytes(msgspec.json.encode(manifest))
        return path

    return change
