"""The Submit page, by Streamlit's own test driver: check, private report, form, confirmation."""

from __future__ import annotations

import gzip
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from leaderboard.settings import Settings
from leaderboard.submissions.queue import Queue
from leaderboard.submissions.store import FOLDER
from leaderboard.submissions.template import template
from tests.leaderboard.submissions.conftest import BOARD, Published, upload_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    Open = Callable[..., AppTest]

EVIL = "![x](https://evil.example/a.png) <script>:material/verified:"


@pytest.fixture
def submit_page(open_page: Open, published: Published, state: Path) -> Open:
    """Opens the page on the site with public gold, or on another one."""

    def opened(on: Published = published, *, read_only: bool = False, **query: str) -> AppTest:
        folder = None if read_only else str(state)
        return open_page("submit", settings=Settings(str(on.site.path), folder), **query)

    return opened


def uploaded(app: AppTest, data: bytes, name: str = "mine.jsonl") -> AppTest:
    app.file_uploader[0].set_value((name, data, "application/octet-stream"))
    return ran(app)


def ran(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception, app.exception
    return app


def checked(app: AppTest, data: bytes, name: str = "mine.jsonl", team: str = "") -> AppTest:
    uploaded(app, data, name)
    if team:
        app.text_input(key="submit.team").set_value(team)
        ran(app)
    app.button(key="submit.check").click()
    return ran(app)


def nodes(block: Any) -> Iterator[Any]:
    for child in block.children.values():
        yield child
        if hasattr(child, "children"):
            yield from nodes(child)


def said(app: AppTest) -> str:
    """All that the page sends to the browser."""
    parts = []
    for node in nodes(app._tree):
        proto = getattr(node, "proto", None)
        parts.append(str(proto))
        if node.type == "arrow_data_frame":
            parts.append(node.value.to_csv())
    return "\n".join(parts)


def markdown_of(app: AppTest) -> str:
    """What the browser reads as Markdown; plain text is left out."""
    kinds = ("markdown", "caption", "success", "warning", "error", "info", "metric", "subheader")
    return "\n".join(str(node.proto) for node in nodes(app._tree) if node.type in kinds)


def filled(app: AppTest, **changes: Any) -> AppTest:
    given = {"model": "Mine 7B", "contact": "me@secret.example", "form.team": "Us"} | changes
    choices = {name: given.pop(name, "unknown") for name in ("weights", "setting")}
    for key, value in given.items():
        app.text_input(key=f"submit.{key}").set_value(value)
    for key, value in choices.items():
        app.selectbox(key=f"submit.{key}").set_value(value)
    app.button(key="submit.send").click()
    return ran(app)


def test_the_way_from_a_file_to_the_queue(
    submit_page: Open, published: Published, state: Path
) -> None:
    app = submit_page()
    assert app.button(key="submit.check").disabled
    assert not Queue(state).all()
    checked(app, upload_of(published.predictions(right=1_000)))
    assert [metric.value for metric in app.metric][:1] == ["1.000"]
    assert app.success[0].value.startswith("Lines read: 24 ")
    assert "Leader 7B" in markdown_of(app)
    assert not Queue(state).all()  # a check keeps nothing
    filled(app)
    (submission,) = Queue(state).all()
    assert (submission.status, submission.details.model) == ("pending", "Mine 7B")
    assert submission.board_id == BOARD
    assert (submission.details.weights, submission.details.setting) == (None, None)
    shown = [
        "number" if node.type == "code" and node.value == submission.id else node.type
        for node in nodes(app._tree)
    ]
    assert shown.count("number") == 2  # at the top, and where it was sent
    last = {kind: place for place, kind in enumerate(shown)}
    assert last["number"] > last["metric"]
    assert not [button for button in app.button if button.key == "submit.send"]  # not twice


def test_problems_come_first_and_nothing_is_scored(
    submit_page: Open, published: Published, state: Path
) -> None:
    records = [*published.predictions(), {"sample_id": EVIL, "utt_ids": [], "img_ids": []}]
    app = checked(submit_page(), upload_of(records) + b"not json\n")
    assert "must be corrected: 2 of 26;" in app.error[0].value
    assert not app.metric
    assert not app.text_input
    listed = [text.value for text in app.text]
    assert any("mine.jsonl:25" in line for line in listed)
    assert any("mine.jsonl:26" in line for line in listed)


def test_twelve_bad_lines_are_counted_and_ten_listed(submit_page: Open) -> None:
    app = checked(submit_page(), b'{"sample_id": "no", "outcome": "refusal"}\n' * 12)
    assert "12 of 12" in app.error[0].value
    assert sum("mine.jsonl:" in text.value for text in app.text) == 10
    assert any("first 10 of 12" in caption.value for caption in app.caption)


@pytest.mark.parametrize(
    "data",
    [
        b"PK\3\4",
        pickle.dumps({"a": 1}),
        b"<html>",
        b"",
        gzip.compress(b"{" + bytes(10**7), mtime=0),
    ],
)
def test_what_is_not_taken_is_told(submit_page: Open, data: bytes) -> None:
    app = checked(submit_page(), data)
    assert len(app.error) == 1
    assert not app.metric
    assert any("mine.jsonl" in text.value for text in app.text)


def test_uploaded_text_is_never_markdown(
    submit_page: Open, published: Published, state: Path
) -> None:
    records = published.predictions()
    records[0] |= {"response": EVIL, "finish_reason": EVIL}
    bad = {"sample_id": EVIL, "utt_ids": [], "img_ids": []}
    for data in (upload_of([*records, bad]), upload_of(records), EVIL.encode()):
        app = checked(submit_page(), data, f"{EVIL}.jsonl")
        shown = markdown_of(app)
        assert "![" not in shown
        assert "evil.example/" not in shown
        assert ":material/verified:" not in shown
        assert "<script>" not in said(app).replace(EVIL, "")
    app = checked(submit_page(), upload_of(records))
    filled(app, model=EVIL)
    assert not Queue(state).all()
    assert "evil.example" not in markdown_of(app)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": ""}, "Model name"),
        ({"model": "oracle"}, "toolkit"),
        ({"contact": " "}, "is needed"),
        ({"weights": None}, "Weights: is needed"),
        ({"setting": None}, "Setting: is needed"),
        ({"link": "http://a.example"}, "https://"),
        ({"link": "javascript:alert(1)"}, "https://"),
    ],
)
def test_the_form_says_what_is_wrong(
    submit_page: Open, published: Published, state: Path, changes: dict[str, str], words: str
) -> None:
    app = checked(submit_page(), upload_of(published.predictions()))
    filled(app, **changes)
    assert any(words in error.value for error in app.error)
    assert not Queue(state).all()
    filled(app, link="https://a.example/x")
    assert len(Queue(state).all()) == 1


def test_nothing_is_claimed_for_the_submitter(submit_page: Open, published: Published) -> None:
    app = checked(submit_page(), upload_of(published.predictions()))
    for name in ("weights", "setting"):
        box = app.selectbox(key=f"submit.{name}")
        assert box.value is None
        assert "unknown" in box.options


def test_an_unfilled_template_is_said_to_be_empty(submit_page: Open, published: Published) -> None:
    app = checked(submit_page(), template(published.site, BOARD))
    assert not app.success
    assert "All answers are empty" in markdown_of(app)
    assert "identical" not in markdown_of(app)
    app = checked(submit_page(), upload_of(published.predictions()))
    assert "All answers are empty" not in markdown_of(app)


def test_answers_of_a_run_are_recognised(
    submit_page: Open, published: Published, hidden: Published
) -> None:
    for on, known in ((published, True), (hidden, False)):
        records = on.predictions(right=1_000)[::2]  # as the leader has them
        records[0]["utt_ids"] = [*records[0]["utt_ids"][::-1], *records[0]["utt_ids"]]
        team = "" if known else "Us"
        app = checked(submit_page(on), upload_of(records), team=team)
        assert any("identical to those of Leader 7B" in box.value for box in app.warning) == known
    records = published.predictions(right=1_000)[1::2]
    app = checked(submit_page(), upload_of(records))
    assert "identical" not in markdown_of(app)


def test_another_file_needs_another_check(submit_page: Open, published: Published) -> None:
    app = checked(submit_page(), upload_of(published.predictions()))
    assert app.metric
    uploaded(app, upload_of(published.predictions(right=0)))
    assert not app.metric
    assert not [button for button in app.button if button.key == "submit.send"]


def test_every_word_that_a_code_asks_for_is_there() -> None:
    from typing import get_args

    from leaderboard.submissions import file_kinds, limits, metadata, reading
    from leaderboard.texts import texts

    text = texts("en")
    for reason in get_args(file_kinds.Reason):
        assert text(f"submit.refused_{reason}")
    for scope in get_args(limits.Scope):
        assert text(f"submit.limit_{scope}", n=1, hours=1)
    for field in get_args(metadata.Field):
        assert text(f"submit.field_{field}")
    for wrong in get_args(metadata.Wrong):
        assert text(f"submit.wrong_{wrong}")
    for trouble in reading.Trouble:
        assert text(f"submit.trouble_{trouble}", n=1)


def test_sessions_do_not_see_each_other(submit_page: Open, published: Published) -> None:
    first = checked(submit_page(), upload_of(published.predictions()))
    assert first.metric
    second = submit_page()
    assert not second.metric
    uploaded(second, upload_of(published.predictions()))
    assert not second.metric
    assert "submit.checked" not in second.session_state


def test_read_only_explains(submit_page: Open, published: Published) -> None:
    app = submit_page(read_only=True)
    assert "read-only" in app.info[0].value
    assert not app.file_uploader
    assert [button.label for button in app.get("download_button")] or "Template" in said(app)


def test_chinese(submit_page: Open, published: Published) -> None:
    app = checked(submit_page(lang="zh"), upload_of(published.predictions()))
    assert app.title[0].value == "提交"
    assert "私人报告" in said(app)


def test_a_site_without_its_private_folder_says_so(
    submit_page: Open, published: Published, tmp_path: Path
) -> None:
    import shutil

    from leaderboard.site.reader import Site

    copy = tmp_path / "copy"
    shutil.copytree(published.site.path, copy, ignore=shutil.ignore_patterns("private"))
    moved = Published(Site(copy), published.board, published.benchmark, published.sample_ids)
    manifest = copy / "manifest.json"
    manifest.write_text(manifest.read_text().replace("2026-01-01", "2026-01-02"))
    app = checked(submit_page(moved), upload_of(published.predictions()))
    assert "cannot be read on the server" in app.error[0].value
    assert str(copy) not in said(app)  # no path of ours


def test_a_state_folder_that_fails_says_so_without_its_path(
    submit_page: Open, published: Published, state: Path
) -> None:
    (state / FOLDER).write_text("a file in its place")
    app = checked(submit_page(), upload_of(published.predictions()))
    assert "right now" in app.error[0].value
    assert not app.metric
    assert str(state) not in said(app)


# --- hidden gold ---------------------------------------------------------------------------------


def test_hidden_gold_stays_hidden(
    submit_page: Open, hidden: Published, published: Published, state: Path
) -> None:
    """Neither the page nor a file of the state folder holds gold, or a figure of one sample."""
    records = [
        {"sample_id": name, "utt_ids": [7_300_001], "img_ids": [], "latency_s": 0.125}
        for name in hidden.sample_ids
    ]
    app = checked(submit_page(hidden), upload_of(records), team="Us")
    assert app.metric
    filled(app)
    (submission,) = Queue(state).all()
    shown = said(app)
    files = {file: file.read_bytes() for file in (state / FOLDER).rglob("*") if file.is_file()}
    assert len(files) > 3
    for number in hidden.gold_ids:
        assert number not in shown
        assert not [file for file, data in files.items() if number.encode() in data]
    app = checked(submit_page(hidden), upload_of(records), team="Us")
    shown = said(app)
    for name in hidden.sample_ids:
        assert name not in shown
    assert "0.125" not in shown
    assert submission.benchmark.hash == hidden.board.hash
    open_page = said(checked(submit_page(published), upload_of(records)))
    assert any(name in open_page for name in hidden.sample_ids)  # it would be seen


def test_hidden_gold_needs_a_team_and_has_a_daily_limit(
    submit_page: Open, hidden: Published
) -> None:
    app = submit_page(hidden)
    uploaded(app, upload_of(hidden.predictions()))
    assert app.button(key="submit.check").disabled
    for left in (4, 3, 2, 1, 0):
        app = checked(submit_page(hidden), upload_of(hidden.predictions()), team="Us")
        assert any(f"Reports left today: {left}." in caption.value for caption in app.caption)
    app = checked(submit_page(hidden), upload_of(hidden.predictions()), team="Us")
    assert "limit of 5 reports" in app.error[0].value
    assert not app.metric
    app = checked(submit_page(hidden), upload_of(hidden.predictions()), team="Others")
    assert app.metric


def test_drawing_the_page_again_asks_nothing_again(submit_page: Open, hidden: Published) -> None:
    app = checked(submit_page(hidden), upload_of(hidden.predictions()), team="Us")
    for _ in range(8):
        ran(app)
    assert any("Reports left today: 4." in caption.value for caption in app.caption)
