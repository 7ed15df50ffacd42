"""`ffr data show`: gold is marked, and text of users stays text."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_eval.report.dialogue_view import Gap, view
from ffr_eval.report.safe_text import visible, visible_lines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli

SCRIPT = "<script>alert(1)</script>"
QUOTES = "\"' onerror='alert(2)' x=\"><img src=https://evil.example/a.png>"
CONTROL = "\x1b]0;title\x07\x1b[31mred\u202e[bold]rich[/bold] :smile:"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """All that users may write, wherever they may write it."""
    pillow = pytest.importorskip("PIL.Image")
    pillow.new("RGB", (8, 6), "red").save(tmp_path / "i.png")
    (tmp_path / "text.png").write_text(SCRIPT)
    pillow.new("RGB", (3000, 10), "blue").save(tmp_path / "wide.jpg")
    with BenchmarkWriter(tmp_path / "in", InfoRecord(name=f"n {SCRIPT}")) as writer:
        images = (
            writer.add_image_file(ImageRecord(0, caption=QUOTES), tmp_path / "i.png", "i.png"),
            writer.add_image_file(ImageRecord(1), tmp_path / "text.png", "text.png"),
            ImageRecord(2, url="https://evil.example/b.png", caption="only a link"),
            writer.add_image_file(ImageRecord(3), tmp_path / "wide.jpg", "wide.jpg"),
            ImageRecord(4, path="images/gone.png", caption=CONTROL),
        )
        turns = (
            TurnRecord(3, f"A {SCRIPT}", f"{SCRIPT} {{{{ 7*7 }}}}", (0, 1, 2), SCRIPT),
            TurnRecord(1, "B\x1b[2J", f"first\n{CONTROL}", (3, 4, 0)),
            *(TurnRecord(i, "B", f"turn {i}") for i in range(10, 30)),
        )
        writer.add_dialogue(DialogueRecord(f"d{SCRIPT}", turns, images, 'en"><script>'))
        name = f"d{SCRIPT}"
        writer.add_query(QueryRecord("s#0", name, f"q {SCRIPT} {QUOTES}", (1, 20), (0,)))
        writer.add_query(QueryRecord(f"s{QUOTES}", name, CONTROL, (), (), SCRIPT))
    return tmp_path / "in"


class Page(HTMLParser):
    """Tags with attributes, and the text outside of the style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.source = text
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def by_class(self, name: str) -> list[str]:
        return [
            str(found.get("id"))
            for _, found in self.tags
            if name in str(found.get("class", "")).split()
        ]


@pytest.fixture
def page(cli: Cli, hostile: Path, tmp_path: Path) -> Page:
    pytest.importorskip("jinja2")
    cli("data", "show", hostile, "s#0", "--html", tmp_path / "page.html")
    return Page((tmp_path / "page.html").read_text(encoding="utf-8"))


def test_text_of_users_stays_text(page: Page) -> None:
    allowed = {"article", "b", "body", "div", "figcaption", "figure", "h1", "h2", "head", "header"}
    allowed |= {"html", "img", "input", "label", "main", "meta", "nav", "p", "section", "span"}
    assert {tag for tag, _ in page.tags} <= allowed | {"style", "title", "a"}
    names = {name for _, attributes in page.tags for name in attributes}
    assert not [name for name in names if name.startswith("on") or name == "style"]
    text = "".join(page.texts)
    assert text.count(SCRIPT) >= 5
    assert "{{ 7*7 }}" in text
    assert page.of("img")[0]["alt"] == QUOTES
    assert not set("\x1b\x07\u202e") & set(page.source)


def test_nothing_is_loaded(page: Page) -> None:
    links = [str(found["href"]) for found in page.of("a")]
    assert links
    assert all(re.fullmatch(r"#(utt|img)\d+", link) for link in links)
    assert all(str(found["src"]).startswith("data:image/") for found in page.of("img"))
    assert "https://evil.example/b.png" in "".join(page.texts)
    assert "url(" not in page.source
    assert "@import" not in page.source


def test_the_policy_allows_our_style_and_nothing_else(page: Page) -> None:
    metas = [str(found["content"]) for found in page.of("meta") if "http-equiv" in found]
    style = page.source.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert len(metas) == 1
    policy = dict(part.strip().split(" ", 1) for part in metas[0].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["style-src"] == f"'sha256-{digest}'"
    assert policy["img-src"] == "data:"


def test_only_sound_images_are_put_in(page: Page) -> None:
    sources = [str(found["src"]).split(";")[0] for found in page.of("img")]
    assert sources == ["data:image/png", "data:image/webp", "data:image/png"]
    widths = [found["width"] for found in page.of("img")]
    assert widths == ["8", "1280", "8"]  # the wide one was made smaller
    text = "".join(page.texts)
    assert "not a sound image" in text
    assert "the file is missing" in text


def test_gold_is_marked_for_each_query(page: Page) -> None:
    assert page.by_class("g0") == ["img0", "utt1", "None", "utt20"]  # image 0 again, without id
    assert page.by_class("g1") == []
    links = [found["href"] for found in page.of("a")]
    assert links == ["#utt1", "#utt20", "#img0"]
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(set(ids)) == len(ids)
    checked = [found["id"] for found in page.of("input") if "checked" in found]
    assert checked == ["q0"]


def test_a_dialogue_without_a_query(cli: Cli, lengths: Path, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    cli("data", "show", lengths, "a", "--html", tmp_path / "page.html")
    found = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert [each["id"] for each in found.of("input") if "checked" in each] == ["none"]
    assert len(found.by_class("query")) == 3  # its two queries, and none


def test_the_terminal_gets_no_control_characters(cli: Cli, hostile: Path) -> None:
    for name in ("s#0", f"d{SCRIPT}", f"s{QUOTES}"):
        out = cli("data", "show", hostile, name).out
        assert not {char for char in out if ord(char) < 32 or char == "\u202e"} - {"\n"}
        assert "\\x1b" in out
        assert "[bold]rich[/bold] :smile:" in out
        assert SCRIPT in out


def test_gold_has_a_mark_without_colour(cli: Cli, hostile: Path) -> None:
    out = cli("data", "show", hostile, "s#0").out
    marked = [line.split()[1] for line in out.splitlines() if line.startswith(">>")]
    assert marked == ["1", "20"]
    assert len(re.findall(r">> \[image 0\]", out)) == 2  # it is shown in two turns
    assert "gold: utterances 1, 20; image 0" in out


def test_context(cli: Cli, lengths: Path) -> None:
    out = cli("data", "show", lengths, "b#0", "--context", "1").out
    assert re.findall(r"… (\d+) turns? left out", out) == ["2", "33"]
    shown = re.findall(r"(?m)^(>>|  ) +(\d+) S", out)
    assert [int(number) for _, number in shown] == [2, 3, 4, 5, 6]
    assert [number for mark, number in shown if mark == ">>"] == ["3", "4", "5"]


def test_an_excerpt_of_a_negative_query_is_one_gap() -> None:
    benchmark = read_benchmark("ffr-sample")
    kinds = zip(benchmark.queries.sample_id, benchmark.queries.kind, strict=True)
    name = next(sample_id for sample_id, kind in kinds if kind == "negative")
    found = view(benchmark, name)
    assert list(found.excerpt(3)) == [Gap(len(found.turns))]
    assert list(found.excerpt(None)) == list(found.turns)


def test_a_dialogue_id_lists_its_queries(cli: Cli, lengths: Path) -> None:
    out = cli("data", "show", lengths, "a").out
    assert "a#0" in out
    assert "a#1" in out
    assert "b#0" not in out
    assert ">>" not in out


def test_an_unknown_name_gets_the_nearest(cli: Cli) -> None:
    error = cli.refused("data", "show", "ffr-sample", "zh-2#0")
    assert "'zh-02#0'" in error
    assert "sample ids here are such as" in cli.refused("data", "show", "ffr-sample", "@@@@@@")


def test_open_needs_a_page(cli: Cli, tmp_path: Path) -> None:
    assert "--html" in cli.refused("data", "show", "ffr-sample", "zh-02#0", "--open")
    nowhere = tmp_path / "no" / "page.html"
    assert "existing folder" in cli.refused(
        "data", "show", "ffr-sample", "zh-02#0", "--html", nowhere
    )


def test_the_page_is_opened(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jinja2")
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda uri: opened.append(uri) or True)
    cli("data", "show", "ffr-sample", "zh-02#0", "--html", tmp_path / "p.html", "--open")
    assert opened == [(tmp_path / "p.html").as_uri()]


def test_without_the_extra(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Any = None
    monkeypatch.setitem(sys.modules, "jinja2", missing)
    error = cli.refused("data", "show", "ffr-sample", "zh-02#0", "--html", tmp_path / "p.html")
    assert "ffr-eval[report]" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("你好 🙂 é", "你好 🙂 é"),
        ("👨\u200d👩", "👨\u200d👩"),
        ("a\x1b[0m", "a\\x1b[0m"),
        ("a\nb", "a\\nb"),
        ("\x9b", "\\x9b"),
        ("\u202eabc\u2028", "\\u202eabc\\u2028"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_visible_lines() -> None:
    assert visible_lines("a\r\nb\tc\rd") == "a\nb c\\rd"
