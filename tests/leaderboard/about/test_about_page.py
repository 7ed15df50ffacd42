"""The page about a site: what it says is what the manifest says."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from ffr_eval.provenance import GitRecord
from leaderboard.queries import about as queries
from leaderboard.settings import Settings
from leaderboard.site.manifest import MANIFEST, FileRecord, read_manifest, wrong_files
from leaderboard.site.reader import Site
from leaderboard.site.schema import BOARD_METRICS, TABLES
from leaderboard.texts import catalog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    OpenPage = Callable[..., AppTest]

TABS = ("reading", "metrics", "data", "cite", "privacy", "record")
HOSTILE = "![x](https://tracker.example/p.png) <img src=x> :material/verified: \u202egnp }{"
MARKS = ("![x]", "https://tracker", "<img", ":material/verified", "\u202e")
PLAIN = {"text", "dataframe"}


@pytest.fixture(scope="module")
def site(synthetic_site: Path) -> Site:
    return Site(synthetic_site)


@pytest.fixture
def with_manifest(synthetic_site: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the site whose manifest says something else."""

    def change(**changes: Any) -> Path:
        path = tmp_path / "changed"
        shutil.copytree(synthetic_site, path)
        manifest = msgspec.structs.replace(read_manifest(path), **changes)
        (path / MANIFEST).write_bytes(msgspec.json.encode(manifest))
        return path

    return change


def open_tab(page: AppTest, tab: str, language: str = "en") -> AppTest:
    page.session_state[f"about.tab.{language}"] = catalog(language)[f"about.tab_{tab}"]
    page.run()
    assert not page.exception, page.exception
    return page


def words(page: AppTest) -> str:
    return "\n".join(element.value for element in (*page.markdown, *page.caption))


def test_all_tables_are_linked_with_their_size_and_hash(open_page: OpenPage, site: Site) -> None:
    page = open_tab(open_page("about"), "data")
    linked = dict(re.findall(r"\[([^]]+)]\(([^)]+)\)", words(page)))
    assert linked == {f"{name}.parquet": f"/data/{name}.parquet" for name in TABLES}
    assert page.code[0].value.splitlines() == [
        f"{site.manifest.files[table.file].sha256}  {name}.parquet"
        for name, table in TABLES.items()
    ]
    assert not wrong_files(site.path, site.manifest)
    size = queries.size_text((site.path / "public/figures.parquet").stat().st_size)
    assert f"[figures.parquet](/data/figures.parquet) · {size}" in words(page)
    assert "ffr publish --check" in words(page)


def test_links_stay_below_the_path_of_a_proxy(open_page: OpenPage, site: Site) -> None:
    settings = Settings(site=str(site.path), public_url="https://example.org/boards/ffr/")
    page = open_tab(open_page("about", settings=settings), "data")
    assert "(/boards/ffr/data/runs.parquet)" in words(page)


def test_the_lines_that_read_the_tables_work(
    open_page: OpenPage, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_tab(open_page("about"), "data")
    monkeypatch.chdir(site.path / "public")
    found: dict[str, Any] = {}
    lines = page.code[1].value.splitlines()
    exec("\n".join(lines[:-1]), found)  # noqa: S102
    assert len(found["figures"]) == site.query("SELECT count(*) AS n FROM figures")["n"][0].as_py()
    assert eval(lines[-1], found).fetchall()  # noqa: S307


def test_a_file_that_no_table_is_does_not_become_a_link(
    open_page: OpenPage, with_manifest: Callable[..., Path], site: Site
) -> None:
    bad = {"public/x](https://tracker.example).parquet": FileRecord(HOSTILE, 1)}
    files = {**site.manifest.files, **bad}
    path = with_manifest(files=files)
    page = open_tab(open_page("about", settings=Settings(site=str(path))), "data")
    assert "tracker" not in words(page)
    broken = {"public/boards.parquet": FileRecord(HOSTILE, 1)}
    manifest = msgspec.structs.replace(site.manifest, files={**site.manifest.files, **broken})
    assert queries.downloads(manifest)[0].sha256 == ""


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (10**13, "10000.0 GB")],
)
def test_sizes(n_bytes: int, text: str) -> None:
    assert queries.size_text(n_bytes) == text


def test_the_record_is_that_of_the_manifest(
    open_page: OpenPage, with_manifest: Callable[..., Path]
) -> None:
    path = with_manifest(
        replicates=1234,
        seed=77,
        alpha=0.01,
        encoder="clip:ViT-B-32",
        git=GitRecord("f" * 40, dirty=True),
    )
    site = Site(path)
    page = open_page("about", settings=Settings(site=str(path)))
    assert "1,234 times (seed 77, " in words(page)
    assert "at most 0.01" in words(page)
    open_tab(page, "record")
    frame, boards = (element.value for element in page.dataframe)
    shown = dict(zip(frame["field"], frame["value"], strict=True))
    assert shown["replicates"] == "1234"
    assert shown["seed"] == "77"
    assert shown["level of the tests, family-wise"] == "0.01"
    assert shown["protocols"] == "strict-1, official-1"
    assert shown["encoder of coherence"] == "clip:ViT-B-32"
    assert "f" * 40 in shown["git revision of the code"]
    assert "uncommitted" in shown["git revision of the code"]
    assert shown["hash of the manifest"] == f"sha256:{site.key}"
    assert shown["runs"] == str(len(site.manifest.runs))
    assert list(boards["hash"]) == [board.hash for board in site.manifest.boards]
    assert list(boards["gold"]) == ["public", "hidden"]
    assert list(boards["runs"]) == [12, 12]


def test_what_is_cited(open_page: OpenPage, site: Site) -> None:
    public = Settings(site=str(site.path), public_url="https://example.org/ffr")
    page = open_tab(open_page("about", settings=public), "cite")
    entries = [element.value for element in page.code]
    assert len(entries) == 4
    assert "arXiv:2508.17714" in entries[0]
    assert "arXiv:2606.04591" in entries[1]
    assert "version = {0.1.0}" in entries[2]
    assert site.key in entries[3]
    assert "https://example.org/ffr" in entries[3]
    for board in site.manifest.boards:
        assert board.hash.removeprefix("sha256:") in entries[3]
    for entry in entries:
        assert entry.count("{") == entry.count("}")
        assert re.fullmatch(r"@\w+\{\w+,\n(  \w+ = \{.*?\},?\n)+\}", entry, re.DOTALL)


def test_every_metric_and_protocol_is_explained(open_page: OpenPage) -> None:
    page = open_tab(open_page("about"), "metrics")
    said = words(page)
    assert len(BOARD_METRICS) == 27
    for name in (
        "micro.joint.f1",
        "micro.joint.adjusted_f1",
        "exact",
        "answered_rate",
        "27 figures",
    ):
        assert name in said
    assert "official" in said
    assert len(page.get("latex")) >= 5
    tables = [element.value for element in page.markdown if element.value.startswith("| |")]
    rows = tables[0].strip().splitlines()
    assert "No small number" in tables[0]
    assert {line.count("|") for line in rows if line.startswith("|")} == {4}


def test_languages_have_the_same_rows_of_undefined_cases() -> None:
    english, chinese = (catalog(code)["about.protocols"].splitlines() for code in ("en", "zh"))
    assert len(english) == len(chinese)
    for left, right in zip(english, chinese, strict=True):
        assert left.count("|") == right.count("|")


def test_hostile_manifests_arrive_in_plain_elements_only(
    open_page: OpenPage, with_manifest: Callable[..., Path], site: Site
) -> None:
    boards = tuple(
        msgspec.structs.replace(board, benchmark=HOSTILE, version=HOSTILE, split=HOSTILE)
        for board in site.manifest.boards
    )
    path = with_manifest(
        boards=boards,
        created=f"2026{HOSTILE}",
        method=HOSTILE,
        encoder=HOSTILE,
        protocols=("strict-1", HOSTILE),
        code={"ffr-eval": HOSTILE, HOSTILE: "1"},
        git=GitRecord(HOSTILE, dirty=True),
    )
    page = open_page("about", settings=Settings(site=str(path)))
    for tab in TABS:
        open_tab(page, tab)
        for node in page._tree:
            proto = getattr(node, "proto", None)
            data = b"" if proto is None else proto.SerializeToString()
            if any(mark.encode() in data for mark in MARKS):
                assert node.type in PLAIN, (tab, node.type, node)
        for element in page.code:
            assert element.value.count("{") == element.value.count("}")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_tab_opens(open_page: OpenPage, language: str) -> None:
    page = open_page("about", lang=language)
    assert page.title[0].value == catalog(language)["about.title"]
    for tab in TABS:
        open_tab(page, tab, language)
        assert len(page.markdown) > 1
