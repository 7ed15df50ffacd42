"""``ffr publish --check`` finds what does not follow from the raw outputs."""

from __future__ import annotations

import gzip
import json
import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow.parquet as pq
import pytest

from ffr_eval.errors import InputError
from leaderboard.publishing.check import check_site
from leaderboard.site.manifest import MANIFEST, FileRecord, file_hash, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Cli
    from tests.leaderboard.publishing.conftest import World


@pytest.fixture
def published(world: World) -> World:
    world.publish()
    return world


def _rehash(world: World, name: str) -> None:
    """Write the hash of a file that was changed into the manifest."""
    manifest = read_manifest(world.site)
    path = world.site / name
    files = manifest.files | {name: FileRecord(file_hash(path), path.stat().st_size)}
    new = msgspec.structs.replace(manifest, files=files)
    (world.site / MANIFEST).write_bytes(msgspec.json.encode(new))


def _change(world: World, table: str, pick: Callable[[dict[str, Any]], bool], **new: Any) -> None:
    name = f"public/{table}.parquet"
    file = pq.read_table(world.site / name)
    rows = file.to_pylist()
    (row,) = [row for row in rows if pick(row)]
    for key, value in new.items():
        row[key] = value(row[key]) if callable(value) else value
    pq.write_table(type(file).from_pylist(rows, schema=file.schema), world.site / name)
    _rehash(world, name)


def _is(**where: Any) -> Callable[[dict[str, Any]], bool]:
    return lambda row: all(row[key] == value for key, value in where.items())


_HEADLINE = {"protocol": "strict", "metric": "micro.joint.f1", "bucket": "long"}


def test_a_sound_site_passes(published: World, cli: Cli) -> None:
    shutil.rmtree(published.runs)
    shutil.rmtree(published.bench)  # nothing but the site is needed
    for run in ("run-0", "run-1", "run-2"):
        out = cli("publish", "--check", "--site", published.site, "--run", run).out
        assert f"486 figures of {run} derived again" in out
        assert "72 of its pair with run-" in out
        assert out.endswith("all as published\n")
    seeded = [check_site(published.site, seed=4) for _ in range(2)]
    assert seeded[0] == seeded[1]


@pytest.mark.parametrize("column", ["value", "lo", "hi", "n_samples"])
def test_a_figure_that_was_changed_is_found(published: World, cli: Cli, column: str) -> None:
    _change(published, "figures", _is(**_HEADLINE, run_id="run-1"), **{column: lambda v: v + 1})
    result = cli.run("publish", "--check", "--site", published.site, "--run", "run-1")
    assert result.code == 1
    assert f"run-1: strict, micro.joint.f1, turns, long: {column} is" in result.err


def test_a_rank_that_was_changed_is_found(published: World) -> None:
    _change(published, "figures", _is(**_HEADLINE, run_id="run-1"), rank=9)
    (wrong,) = check_site(published.site, "run-1").wrong
    assert "run-1: strict, micro.joint.f1, turns, long: rank 9 in the site" in wrong


def test_a_missing_figure_is_found(published: World) -> None:
    name = "public/figures.parquet"
    file = pq.read_table(published.site / name)
    rows = [row for row in file.to_pylist() if not _is(**_HEADLINE, run_id="run-1")(row)]
    pq.write_table(type(file).from_pylist(rows, schema=file.schema), published.site / name)
    _rehash(published, name)
    assert any("long is missing" in wrong for wrong in check_site(published.site, "run-1").wrong)


@pytest.mark.parametrize("column", ["delta", "lo", "p", "p_holm", "wins", "dialogues_needed"])
def test_a_pair_that_was_changed_is_found(published: World, column: str) -> None:
    found: list[str] = []
    add = {"wins": 1, "dialogues_needed": 1, "p": -0.001}.get(column, 0.5)
    for other in ("run-0", "run-2"):
        a, b = sorted(("run-1", other))
        where = {**_HEADLINE, "a": a, "b": b}
        _change(published, "pairs", _is(**where), **{column: lambda v: (v or 0) + add})
    for seed in range(3):
        found += check_site(published.site, "run-1", seed).wrong
    assert any(f"micro.joint.f1, turns, long: {column} is" in wrong for wrong in found)


def test_another_answer_is_found(published: World) -> None:
    name = "public/raw/run-1.jsonl.gz"
    path = published.site / name
    lines = gzip.decompress(path.read_bytes()).splitlines()
    first = json.loads(lines[0]) | {"utt_ids": [0], "img_ids": []}
    path.write_bytes(gzip.compress(b"\n".join([json.dumps(first).encode(), *lines[1:]]) + b"\n"))
    (wrong,) = check_site(published.site).wrong  # whichever run is drawn: the hash
    assert wrong.startswith(name)
    _rehash(published, name)
    assert check_site(published.site, "run-1").wrong


@pytest.mark.parametrize("place", ["private/benchmarks", "public/images", "public/raw"])
def test_every_file_is_compared(published: World, place: str) -> None:
    file = next(path for path in sorted((published.site / place).rglob("*")) if path.is_file())
    file.write_bytes(file.read_bytes() + b" ")
    (wrong,) = check_site(published.site).wrong
    assert file.name in wrong
    file.unlink()
    (wrong,) = check_site(published.site).wrong
    assert wrong.endswith("is missing")


def test_what_cannot_be_checked(published: World, cli: Cli) -> None:
    assert "did you mean 'run-1'" in cli.refused(
        "publish", "--check", "--site", published.site, "--run", "run-11"
    )
    assert "no manifest" in cli.refused("publish", "--check", "--site", published.runs)
    assert "takes no RUNS" in cli.refused("publish", "x", "--check", "--site", published.site)
    with pytest.raises(InputError):
        check_site(published.path)


def test_a_publish_again_repairs_what_was_changed(published: World) -> None:
    _change(published, "figures", _is(**_HEADLINE, run_id="run-1"), value=0.99)
    done = published.publish()
    assert done.computed == ()
    for run in ("run-0", "run-1", "run-2"):
        assert check_site(published.site, run).wrong == ()


def test_a_damaged_table_is_replaced_by_publishing_again(world: World) -> None:
    world.publish()
    table = world.site / "public" / "figures.parquet"
    data = table.read_bytes()
    table.write_bytes(data[:-8] + bytes(8))
    assert check_site(world.site).wrong
    done = world.publish()
    assert done.computed == ()
    assert table.read_bytes() == data
    assert check_site(world.site).wrong == ()


def test_a_site_that_is_not_there(cli: Any, world: World) -> None:
    said = cli.refused("publish", "--check", "--site", world.path / "nosuch")
    assert "--site: no such folder" in said


def test_a_damaged_manifest_is_no_reason_to_publish_into_it(cli: Any, world: World) -> None:
    world.publish()
    for text in ("{", "{}"):
        (world.site / "manifest.json").write_text(text)
        said = cli.refused("publish", world.runs, "--site", world.site)
        assert "restore manifest.json, or move the folder away" in said
    said = cli("publish", "--help").out
    assert "Exit codes" in said
    assert "needs no RUNS" in said
