"""What of a benchmark is embedded, and under which keys."""

from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from ffr_eval.benchmark import (
    Benchmark,
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_eval.embeddings import elements as module
from ffr_eval.embeddings.elements import Absence, BenchmarkElements, DialogueElements, Element
from ffr_eval.embeddings.keys import Role, image_key, text_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXTS = ["Hallo", " \n\t", "Welt ", "", "\u3000", "Hallo"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Dialogue ``d`` has :data:`TEXTS` and images with and without file; ``e`` shares a file."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    with BenchmarkWriter(tmp_path / "benchmark", InfoRecord(name="b")) as writer:
        images = (
            ImageRecord(5),
            writer.add_image_file(ImageRecord(3), tmp_path / "a.png", "a.png"),
            ImageRecord(4, path="images/gone.png"),
            writer.add_image_file(ImageRecord(9), tmp_path / "b.png", "b.png"),
        )
        turns = tuple(TurnRecord(i + 10, "S", text) for i, text in enumerate(TEXTS))
        last = TurnRecord(16, "S", "", (5, 3, 4, 9))
        writer.add_dialogue(DialogueRecord("d", (*turns, last), images))
        one = (TurnRecord(0, "T", "Hallo", (0,)),)
        writer.add_dialogue(DialogueRecord("e", one, (ImageRecord(0, path="images/a.png"),)))
        writer.add_query(QueryRecord("e#0", "e", "Hallo", (0,), ()))
        writer.add_query(QueryRecord("d#0", "d", "What 😀", (10,), (), "dev"))
    return tmp_path / "benchmark"


def elements(folder: Path, roles: bool = False, context: int = 0) -> BenchmarkElements:
    return BenchmarkElements(read_benchmark(folder), roles=roles, context=context)


@pytest.mark.parametrize("roles", [False, True])
def test_texts_and_their_keys(folder: Path, roles: bool) -> None:
    found = elements(folder, roles).dialogue(0)
    role = Role.PASSAGE if roles else None
    assert found.texts == ("Hallo", None, "Welt ", None, None, "Hallo", None)
    hallo, welt = text_key("Hallo", role), text_key("Welt ", role)
    assert found.text_keys == (hallo, None, welt, None, None, hallo, None)


@pytest.mark.parametrize("roles", [False, True])
def test_queries(folder: Path, roles: bool) -> None:
    found = elements(folder, roles)
    role = Role.QUERY if roles else None
    assert found.query(0) == ("Hallo", text_key("Hallo", role))
    assert list(found.queries()) == [found.query(0), found.query(1)]
    assert list(found.queries([1])) == [found.query(1)]
    assert (found.query(0)[1] == found.dialogue(0).text_keys[0]) is (not roles)


@pytest.mark.parametrize(
    ("context", "texts"),
    [
        (1, ("Hallo", "Hallo\nWelt ", "Welt ", "Welt ", "Hallo", "Hallo", "Hallo")),
        (
            2,
            (
                "Hallo\nWelt ",
                "Hallo\nWelt ",
                "Hallo\nWelt ",
                "Welt \nHallo",
                "Welt \nHallo",
                "Hallo",
                "Hallo",
            ),
        ),
        (99, ("Hallo\nWelt \nHallo",) * 7),
    ],
)
def test_context(folder: Path, context: int, texts: tuple[str, ...]) -> None:
    found = elements(folder, context=context).dialogue(0)
    assert found.texts == texts
    assert found.text_keys == tuple(map(text_key, texts))
    assert found.image_keys == elements(folder).dialogue(0).image_keys


def test_context_stays_in_the_dialogue_and_may_be_blank(folder: Path) -> None:
    assert elements(folder, context=3).dialogue(1).texts == ("Hallo",)
    blank = elements(folder, context=1)._with_context(["a", "", " ", "\n"])
    assert blank == ("a", "a", None, None)
    with pytest.raises(ValueError, match="0 turns or more"):
        elements(folder, context=-1)


def test_images_and_why_they_have_no_key(folder: Path) -> None:
    found = elements(folder).dialogue(0)
    root = read_benchmark(folder).root
    assert root is not None
    assert found.images == (
        None,
        *(root / f"images/{name}.png" for name in ("a", "gone", "b")),
    )
    assert found.image_keys == (None, image_key(b"a"), None, image_key(b"b"))
    assert found.absences == (Absence.NO_FILE, None, Absence.MISSING, None)


@pytest.mark.parametrize("what", ["folder", "link to itself", "link to nothing", "pipe"])
def test_what_is_no_file(folder: Path, what: str) -> None:
    path = folder / "images" / "gone.png"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    benchmark = read_benchmark(folder)
    if what.startswith("link"):
        path.symlink_to(path if what == "link to itself" else folder / "images" / "nothing")
    found = BenchmarkElements(benchmark, roles=False).dialogue(0)
    expected = Absence.MISSING if what.startswith("link") else Absence.UNREADABLE
    assert found.absences[2] is expected
    assert found.image_keys[2] is None


def test_without_a_folder_no_image_has_a_file(folder: Path) -> None:
    read = read_benchmark(folder)
    benchmark = Benchmark(read.info, read.dialogues, read.queries, read.content_hash)
    found = BenchmarkElements(benchmark, roles=False).dialogue(0)
    assert set(found.absences) == {Absence.NO_FILE}
    assert set(found.images) == {None}


def test_a_file_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    key_of_file: Callable[[Path], bytes | Absence] = module._key_of_file

    def counted(path: Path) -> bytes | Absence:
        read.append(path.name)
        return key_of_file(path)

    monkeypatch.setattr(module, "_key_of_file", counted)
    found = elements(folder)
    for _ in range(2):
        dialogues = list(found.dialogues())
    assert sorted(read) == ["a.png", "b.png", "gone.png"]
    assert dialogues[1].image_keys == (image_key(b"a"),)
    assert dialogues == [found.dialogue(0), found.dialogue(1)]
    assert len(found) == 2


def test_each(folder: Path) -> None:
    found = elements(folder, roles=True)
    root = read_benchmark(folder).root
    assert root is not None
    passages = [
        Element(text_key(text, Role.PASSAGE), text=text) for text in ("Hallo", "Welt ", "Hallo")
    ]
    images = [Element(image_key(name.encode()), image=root / f"images/{name}.png") for name in "ab"]
    queries = [
        Element(text_key(text, Role.QUERY), text=text, role=Role.QUERY)
        for text in ("Hallo", "What 😀")
    ]
    assert list(found.each()) == [*passages, *images, passages[0], images[0], *queries]
    assert list(found.each(texts=False)) == [*images, images[0]]
    assert list(found.each(images=False, rows=[1])) == [*passages, passages[0], queries[1]]


def test_memory_does_not_grow_with_dialogues_and_queries(tmp_path: Path) -> None:
    with BenchmarkWriter(tmp_path / "large", InfoRecord(name="large")) as writer:
        for number in range(2000):
            turns = tuple(TurnRecord(i, "S", f"{number} {i} " + "x" * 100) for i in range(20))
            writer.add_dialogue(DialogueRecord(f"d{number}", turns))
            for query in range(5):
                writer.add_query(
                    QueryRecord(f"{number}#{query}", f"d{number}", f"q {number} {query}", (), ())
                )
    benchmark = read_benchmark(tmp_path / "large")
    found = BenchmarkElements(benchmark, roles=True, context=1)
    tracemalloc.start()
    n = sum(1 for _ in found.each())
    for row in range(2000):
        assert isinstance(found.dialogue(row), DialogueElements)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 2000 * 25
    assert peak < 2_000_000  # all texts with context are 13 MB
