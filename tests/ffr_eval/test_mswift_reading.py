"""The two fast ways of reading ms-swift files give what the plain way gives."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffr_eval.importers import mswift_turns
from ffr_eval.importers.record_frame import RecordFrame
from ffr_eval.markup import IMG_ID, QUERY, UTT_ID, answer_text, mark

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli

PIECES = [
    *(marker for pair in (UTT_ID, IMG_ID, QUERY) for marker in pair),
    *("0", "7", "12", " ", "\n", "\t", "\r", "\u3000", ":", "：", "<", "|", "Ann", "早", "<image>"),
]
PLAIN_TURN = st.builds(
    lambda number, speaker, text: f"{mark(UTT_ID, number)} {speaker}: {text}\n",
    st.integers(0, 99),
    st.sampled_from(["Ann", "小满", "A B", ""]),
    st.lists(st.sampled_from(["hi", "a: b", "<b>", "早\n", f"{mark(IMG_ID, 3)}<image>", " "])).map(
        "".join
    ),
)
SOUP = st.lists(st.one_of(st.sampled_from(PIECES), PLAIN_TURN), max_size=30).map("".join)


@given(SOUP)
def test_all_turns_at_once_are_the_turns_one_by_one(content: str) -> None:
    expected = mswift_turns.turns_by_marker(content)
    assert mswift_turns.read_turns(content) == expected


def test_plain_messages_are_read_at_once() -> None:
    content = f"找出{mark(QUERY, '票')}\n" + "".join(
        f"{mark(UTT_ID, n)} Ann: <b> 票{mark(IMG_ID, n)}<image>\n" for n in range(3)
    )
    assert mswift_turns.plain_turns(content) == mswift_turns.turns_by_marker(content)
    assert mswift_turns.plain_turns(content + mark(QUERY, "票")) is not None
    for odd in (f"{UTT_ID[0]}x{UTT_ID[1]} Ann: hi", f"{mark(UTT_ID, 9)} no colon"):
        assert mswift_turns.plain_turns(content + odd) is None


def record(query: str, solution: str, text: str = "票", **more: Any) -> dict[str, Any]:
    turns = "".join(f"{mark(UTT_ID, n)} Ann: {text} {n}\n" for n in range(4))
    user = f"找出与{mark(QUERY, query)}相关的内容。\n{turns}"
    return {
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": user}],
        "images": [],
        "solution": solution,
        "dialogue_id": "d",
        **more,
    }


def encoded(value: Any, *, ascii_only: bool = False) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only).encode()


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.lists(st.integers(0, 3), unique=True),
    st.sampled_from(["票", "other"]),
)
def test_a_filled_frame_says_what_the_record_says(query: str, gold: list[int], text: str) -> None:
    frame = RecordFrame.of(encoded(record("first", answer_text([0], []))))
    assert frame is not None
    other = record(query, answer_text(gold, []), text)
    filled = frame.fill(encoded(other))
    in_string = not set(query) & set('"\\\x7f<') and min(query) >= " "
    plain = text == "票" and query.strip() and in_string
    if filled is None:
        assert not plain
    else:
        assert text == "票"
        assert filled == (query.strip(), other["solution"])


@pytest.mark.parametrize(
    "line",
    [
        encoded(record("q", "a", "other")),
        encoded(record("q", "a", images=["x.png"])),
        encoded(record("q", "a", dialogue_id="e")),
        encoded(record("q", "a", labels="b")),
        encoded(record('a "quoted" one', "a")),
        encoded(record(" ", "a")),
        encoded(record(f"q{QUERY[1]}{QUERY[0]}r", "a")),
        encoded(record("q", 'a", "solution": "b')).replace(b'\\"', b'"'),
        encoded(record("q", "a")).replace(b'"a"', b'"a\t"'),
        encoded(record("q", "a")).replace(mark(QUERY, "q").encode(), mark(QUERY, "").encode()),
        encoded(record("q", "a"))[:-1],
        b"",
    ],
)
def test_another_record_does_not_fill_the_frame(line: bytes) -> None:
    frame = RecordFrame.of(encoded(record("first", "x")))
    assert frame is not None
    assert frame.fill(encoded(record("q", "a"))) == ("q", "a")
    assert frame.fill(line) is None


def plain_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecordFrame, "fill", lambda *_: None)


def escaped(line: bytes) -> bytes:
    """A record whose messages have escapes for ``<``."""
    messages, images, rest = line.partition(b'"images"')
    return messages.replace(b"<", b"\\u003c") + images + rest


ODD_PAIRS: dict[str, tuple[bytes, bytes]] = {
    "labels beside solution": (
        encoded(record("q", answer_text([0], []), labels=answer_text([0], []))),
        encoded(record("q", answer_text([1], []), labels=answer_text([0], []))),
    ),
    "solution of something else": (
        encoded(
            record("q", "", labels=answer_text([0], []), meta={"solution": answer_text([0], [])})
        ).replace(b'"solution": "", ', b""),
        encoded(
            record("q", "", labels=answer_text([0], []), meta={"solution": answer_text([1], [])})
        ).replace(b'"solution": "", ', b""),
    ),
    "query in the system message": tuple(
        escaped(encoded(record("real", answer_text([0], [])))).replace(
            b'"s"', encoded(mark(QUERY, query))
        )
        for query in ("real", "other")
    ),
    "solution twice, once escaped": tuple(
        encoded(record("q", answer_text([number], [])))[:-1]
        + b', "\\u0073olution": '
        + encoded(answer_text([0], []))
        + b"}"
        for number in (0, 1)
    ),
    "a query of wide spaces": (
        encoded(record("q", answer_text([0], []))),
        encoded(record("\u3000", answer_text([0], []))),
    ),
}


@pytest.mark.parametrize("name", ODD_PAIRS)
def test_odd_records_are_imported_as_by_decoding_each(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file = tmp_path / "odd.jsonl"
    file.write_bytes(b"\n".join(ODD_PAIRS[name]))
    found = []
    for out in (tmp_path / "fast", tmp_path / "plain"):
        code = cli.run("data", "import", "mswift", file, "--out", out)
        found.append((code.code, code.err, (out / "queries.jsonl").exists()))
        if out.exists():
            found[-1] += ((out / "queries.jsonl").read_bytes(),)
        plain_reading(monkeypatch)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "odd",
    [
        {"solution": "x", "messages": []},
        record(f"q{QUERY[0]}", "x"),
        record("q", "x", ffr={"solution": "y"}),
        record("票", "x") | {"solution": 3},
    ],
)
def test_odd_records_have_no_frame(odd: dict[str, Any]) -> None:
    assert RecordFrame.of(encoded(odd)) is None


def test_repeated_records_are_imported_as_others_are(cli: Cli, tmp_path: Path) -> None:
    records = [record(f"问题 {n} é", answer_text([n % 4], [])) for n in range(12)]
    records.insert(7, record("elsewhere", answer_text([3], []), dialogue_id="e"))
    hashes = []
    for name, ascii_only in (("plain", False), ("escaped", True)):  # escaped markers: no frames
        file = tmp_path / f"{name}.jsonl"
        lines = [encoded(value, ascii_only=ascii_only) for value in records]
        if ascii_only:
            lines = [line.replace(b"<", b"\\u003c") for line in lines]
        file.write_bytes(b"\n".join(lines))
        cli("data", "import", "mswift", file, "--out", tmp_path / name)
        hashes.append(json.loads((tmp_path / name / "benchmark.json").read_text())["hash"])
        written = (tmp_path / name / "queries.jsonl").read_bytes().splitlines()
        ids = [json.loads(line)["sample_id"] for line in written]
        assert ids == [*(f"d#{n}" for n in range(7)), "e#0", *(f"d#{n}" for n in range(7, 12))]
    assert hashes[0] == hashes[1]


def test_a_wrong_repeated_record_is_named(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "wrong.jsonl"
    records = [record("a", answer_text([0], [])), record("b", answer_text([9], []))]
    file.write_bytes(b"\n".join(map(encoded, records)))
    err = cli.refused("data", "import", "mswift", file, "--out", tmp_path / "out")
    assert f"{file}:2: solution: the dialogue has no utterance 9" in err
    assert not (tmp_path / "out").exists()


def test_records_on_a_dialogue_have_the_same_images(cli: Cli, tmp_path: Path) -> None:
    shown = f"票{mark(IMG_ID, 0)}<image>{mark(IMG_ID, 1)}<image>"
    turns = f"{mark(UTT_ID, 0)} Ann: {shown}\n"

    def asked(query: str, images: list[str]) -> dict[str, Any]:
        user = {"role": "user", "content": f"{mark(QUERY, query)}\n{turns}"}
        return record(query, answer_text([], [0]), messages=[user], images=images)

    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_bytes(encoded(asked("a", ["x/1.png", "x/2.png"])))
    out = tmp_path / "out"
    second.write_bytes(encoded(asked("b", ["/data/x/2.png", "/data/x/1.png"])))
    message = cli.refused("data", "import", "mswift", first, second, "--out", out)
    assert f"{second}:1: images: dialogue 'd' has other images here than in {first}:1" in message
    second.write_bytes(encoded(asked("b", ["/data/x/1.png", "/data/x/2.png"])))
    cli("data", "import", "mswift", first, second, "--out", out)
