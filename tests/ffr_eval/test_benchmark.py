"""Benchmark folders: round trip, content hash, and errors for every kind of bad input."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffr_eval.benchmark import (
    Benchmark,
    BenchmarkWriter,
    ContentHash,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    check_benchmark,
    iter_dialogues,
    iter_queries,
    read_benchmark,
    split_benchmark,
)
from ffr_eval.benchmark.split import assign_splits, parse_fractions
from ffr_eval.benchmark.summary import summarise
from ffr_eval.errors import InputError
from ffr_eval.jsonl import read_array, read_json, read_lines, read_records
from ffr_eval.types import Kind

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

Content = tuple[list[DialogueRecord], list[QueryRecord]]


def write_folder(folder: Path, content: Content, name: str = "b") -> Benchmark:
    with BenchmarkWriter(folder, InfoRecord(name=name)) as writer:
        for dialogue in content[0]:
            writer.add_dialogue(dialogue)
        for query in content[1]:
            writer.add_query(query)
    return read_benchmark(folder)


def small(n_dialogues: int = 1, n_turns: int = 3, n_queries: int = 1) -> Content:
    dialogues = [
        DialogueRecord(
            f"d{d}",
            tuple(
                TurnRecord(i, "S", f"text {d}.{i}", images=(0,) if i == 0 else ())
                for i in range(n_turns)
            ),
            (ImageRecord(0, caption="a cat"),),
        )
        for d in range(n_dialogues)
    ]
    queries = [
        QueryRecord(f"d{d}#{k}", f"d{d}", f"query {k}", (k % n_turns,), ())
        for d in range(n_dialogues)
        for k in range(n_queries)
    ]
    return dialogues, queries


# Round trip and content hash --------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
maybe_meta = st.none() | st.dictionaries(texts, st.integers(-5, 5) | texts | st.none(), max_size=2)
numbers = st.lists(st.integers(0, 2**31 - 1), unique=True, max_size=5)


@st.composite
def contents(draw: st.DrawFn) -> Content:
    dialogues, queries = [], []
    for dialogue_id in draw(st.lists(ids, unique=True, min_size=1, max_size=3)):
        utt_ids = draw(numbers.filter(bool))
        img_ids = draw(numbers)
        shown: dict[int, list[int]] = {utt_id: [] for utt_id in utt_ids}
        for img_id in img_ids:
            shown[draw(st.sampled_from(utt_ids))].append(img_id)
        turns = tuple(
            TurnRecord(
                utt_id, draw(texts), draw(texts), tuple(shown[utt_id]), draw(st.none() | texts)
            )
            for utt_id in utt_ids
        )
        images = tuple(
            ImageRecord(img_id, url=draw(st.none() | texts), caption=draw(st.none() | texts))
            for img_id in img_ids
        )
        language = draw(st.sampled_from([None, "en", "zh"]))
        dialogues.append(DialogueRecord(dialogue_id, turns, images, language, draw(maybe_meta)))
        for k in range(draw(st.integers(1, 3))):
            gold = draw(st.lists(st.sampled_from(utt_ids), max_size=4))
            gold_images = draw(st.lists(st.sampled_from(img_ids), max_size=3)) if img_ids else []
            queries.append(
                QueryRecord(
                    f"{dialogue_id}#{k}",
                    dialogue_id,
                    draw(texts.filter(str.strip)),
                    tuple(gold),
                    tuple(gold_images),
                    split=draw(st.sampled_from(["dev", "test"])),
                    meta=draw(maybe_meta),
                )
            )
    # ids such as "a" and "a#0" would make one sample id of two
    if len({query.sample_id for query in queries}) < len(queries):
        queries = queries[:1]
    return dialogues, queries


def digest_of(content: Content) -> str:
    digest = ContentHash()
    for dialogue in content[0]:
        digest.add_dialogue(dialogue)
    for query in content[1]:
        digest.add_query(query)
    return digest.hexdigest()


@settings(deadline=None, max_examples=60)
@given(contents(), st.randoms(use_true_random=False))
def test_round_trip(content: Content, rng: random.Random) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "b")
        benchmark = write_folder(folder, content)
        assert benchmark.content_hash == benchmark.info.hash == digest_of(content)
        assert benchmark.warnings == ()
        assert [located.record for located in iter_dialogues(folder)] == content[0]
        assert [located.record for located in iter_queries(folder)] == content[1]
        assert check_benchmark(folder)[0] == []
        for sample, query in zip(benchmark.samples(), content[1], strict=True):
            dialogue = next(d for d in content[0] if d.dialogue_id == query.dialogue_id)
            assert [
                (t.utt_id, t.speaker, t.text, t.img_ids, t.time) for t in sample.dialogue.turns
            ] == [(t.utt_id, t.speaker, t.text, t.images, t.time) for t in dialogue.turns]
            assert [(i.img_id, i.url, i.caption) for i in sample.dialogue.images] == [
                (i.img_id, i.url, i.caption) for i in dialogue.images
            ]
            assert sample.gold is not None
            assert sample.gold.utt_ids == tuple(sorted(set(query.gold_utt_ids)))
            assert sample.gold.img_ids == tuple(sorted(set(query.gold_img_ids)))
            assert (sample.query, sample.split) == (query.query, query.split)

        shuffle_lines(folder, rng)
        again = read_benchmark(folder)
        assert again.content_hash == benchmark.content_hash


def shuffle_lines(folder: Path, rng: random.Random) -> None:
    for name in ("dialogues.jsonl", "queries.jsonl"):
        lines = (folder / name).read_bytes().splitlines(keepends=True)
        rng.shuffle(lines)
        (folder / name).write_bytes(b"".join(lines))


replace = msgspec.structs.replace
TURN = TurnRecord(1, "S", "t", (0,), "now")
IMAGE = ImageRecord(0, "images/0.png", "https://x.org", "a cat", None)
DIALOGUE = DialogueRecord("d", (TURN, TurnRecord(2, "S", "u")), (IMAGE,), "en", {"a": 1})
QUERY = QueryRecord("d#0", "d", "q", (1, 2), (0,), meta={"a": 1})


def with_turn(**changes: Any) -> DialogueRecord:
    return replace(DIALOGUE, turns=(replace(TURN, **changes), *DIALOGUE.turns[1:]))


def with_image(**changes: Any) -> DialogueRecord:
    return replace(DIALOGUE, images=(replace(IMAGE, **changes),))


@pytest.mark.parametrize(
    "changed",
    [
        replace(DIALOGUE, dialogue_id="e"),
        replace(DIALOGUE, language="zh"),
        replace(DIALOGUE, meta={"a": 2}),
        replace(DIALOGUE, turns=DIALOGUE.turns[::-1]),
        replace(DIALOGUE, turns=DIALOGUE.turns[:1]),
        replace(DIALOGUE, images=()),
        with_turn(utt_id=3),
        with_turn(speaker="T"),
        with_turn(text="t "),
        with_turn(images=()),
        with_turn(time=None),
        with_image(img_id=1),
        with_image(path="images/1.png"),
        with_image(path=None),
        with_image(caption="a dog"),
        with_image(sha256="0" * 64),
        replace(QUERY, sample_id="d#1"),
        replace(QUERY, dialogue_id="e"),
        replace(QUERY, query="r"),
        replace(QUERY, split="dev"),
        replace(QUERY, gold_utt_ids=(1,)),
        replace(QUERY, gold_img_ids=()),
        replace(QUERY, meta={"a": 2}),
    ],
)
def test_the_hash_covers_every_content_field(changed: DialogueRecord | QueryRecord) -> None:
    before = digest_of(([DIALOGUE], [QUERY]))
    if isinstance(changed, DialogueRecord):
        assert digest_of(([changed], [QUERY])) != before
    else:
        assert digest_of(([DIALOGUE], [changed])) != before


def test_the_hash_leaves_out_what_is_not_content() -> None:
    before = digest_of(([DIALOGUE], [QUERY]))
    same = replace(QUERY, gold_utt_ids=(2, 1, 1), kind="multimodal")
    assert digest_of(([DIALOGUE], [same])) == before
    with_file = with_image(sha256="0" * 64)
    moved = with_image(sha256="0" * 64, path="images/elsewhere.png")
    assert digest_of(([with_file], [QUERY])) == digest_of(([moved], [QUERY]))


def test_a_changed_folder_warns_and_check_says_so(tmp_path: Path) -> None:
    write_folder(tmp_path / "b", small())
    file = tmp_path / "b" / "queries.jsonl"
    file.write_text(file.read_text().replace("query 0", "query x"))
    assert "changed after it was written" in read_benchmark(tmp_path / "b").warnings[0]
    problems, _ = check_benchmark(tmp_path / "b")
    assert [(problem.file, problem.field) for problem in problems] == [
        (str(tmp_path / "b" / "benchmark.json"), "hash")
    ]


def test_texts_are_held_once(tmp_path: Path) -> None:
    benchmark = write_folder(tmp_path / "b", small(n_turns=600, n_queries=10))
    first, *others = benchmark.samples()
    assert len(others) == 9
    for other in others:
        assert other.dialogue is first.dialogue
    again = benchmark.sample(9).dialogue
    assert len(again.turns) == 600
    for turn, text in zip(again.turns, benchmark.dialogues.text, strict=True):
        assert turn.text is text
    assert (tmp_path / "b" / "dialogues.jsonl").read_text().count("text 0.599") == 1


def test_summary(tmp_path: Path) -> None:
    dialogues, queries = small(n_dialogues=2, n_queries=2)
    dialogues[0] = replace(dialogues[0], turns=(*dialogues[0].turns, TurnRecord(9)))
    queries[0] = replace(queries[0], gold_utt_ids=(0, 1, 1), gold_img_ids=(0,), split="dev")
    queries[1] = replace(queries[1], gold_utt_ids=())
    summary = summarise(write_folder(tmp_path / "b", (dialogues, queries)))
    assert (summary.n_dialogues, summary.n_queries, summary.n_images) == (2, 4, 2)
    assert summary.mean_turns == 3.5
    assert (summary.mean_gold_utts, summary.mean_gold_imgs) == (1.0, 0.25)
    assert summary.kinds == {"multimodal": 1, "utterance": 2, "negative": 1}
    assert summary.splits == {"dev": 1, "test": 3}


# Bad input --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good benchmark of two dialogues with an image file each, two queries a dialogue."""
    (tmp_path / "cat.png").write_bytes(b"cat")
    dialogues, queries = small(n_dialogues=2, n_queries=2)
    with BenchmarkWriter(tmp_path / "b", InfoRecord(name="b")) as writer:
        for dialogue in dialogues:
            image = writer.add_image_file(
                dialogue.images[0], tmp_path / "cat.png", f"{dialogue.dialogue_id}/0.png"
            )
            writer.add_dialogue(replace(dialogue, images=(image,)))
        for query in queries:
            writer.add_query(query)
    return tmp_path / "b"


def change(folder: Path, name: str, line: int, **changes: Any) -> None:
    """Change fields of a record; a name such as ``images.0.path`` leads inside."""
    lines = (folder / name).read_text().splitlines()
    record = json.loads(lines[line - 1])
    for path, value in changes.items():
        *way, last = path.split(".")
        place = record
        for step in way:
            place = place[int(step) if step.isdigit() else step]
        place[last] = value
    lines[line - 1] = json.dumps(record)
    (folder / name).write_text("\n".join(lines) + "\n")


def link_out(folder: Path) -> None:
    target = folder / "images" / "d1" / "0.png"
    target.unlink()
    target.symlink_to(folder.parent / "cat.png")


def replace_bytes(folder: Path, name: str, old: bytes, new: bytes) -> None:
    data = (folder / name).read_bytes()
    assert old in data
    (folder / name).write_bytes(data.replace(old, new))


D, Q = "dialogues.jsonl", "queries.jsonl"
BAD: dict[str, tuple[Callable[[Path], object], str, int | None, str | None, str]] = {
    "no info": (
        lambda f: (f / "benchmark.json").unlink(),
        *("benchmark.json", None, None, "no such file"),
    ),
    "malformed info": (
        lambda f: (f / "benchmark.json").write_text('{\n"name": oops}'),
        *("benchmark.json", 2, None, "malformed"),
    ),
    "no dialogues": (lambda f: (f / D).unlink(), D, None, None, "no such file"),
    "no queries file": (lambda f: (f / Q).unlink(), Q, None, None, "no such file"),
    "no queries": (lambda f: (f / Q).write_text("\n"), Q, None, None, "no queries"),
    "malformed JSON": (
        lambda f: replace_bytes(f, Q, b'"sample_id":"d0#1"', b'"sample_id":oops'),
        *(Q, 2, None, "malformed"),
    ),
    "cut line": (lambda f: (f / D).write_bytes((f / D).read_bytes()[:-9]), D, 2, None, "truncated"),
    "not an object": (lambda f: (f / Q).write_text("[1]\n"), Q, 1, None, "Expected `object`"),
    "too deep": (
        lambda f: (f / Q).write_text('{"meta": {"a":' + "[" * 10_000),
        *(Q, 1, None, "too deeply"),
    ),
    "wrong type": (
        lambda f: change(f, D, 2, **{"turns.1.utt_id": "1"}),
        *(D, 2, "turns[1].utt_id", "Expected `int`"),
    ),
    "missing field": (
        lambda f: replace_bytes(f, Q, b'"dialogue_id":"d1",', b""),
        *(Q, 3, "dialogue_id", "missing"),
    ),
    "not UTF-8": (lambda f: replace_bytes(f, D, b"text 1.2", b"\xff"), D, 2, None, "not UTF-8"),
    "duplicate sample": (
        lambda f: change(f, Q, 4, sample_id="d0#0"),
        *(Q, 4, "sample_id", "occurs twice, first in line 1"),
    ),
    "duplicate dialogue": (
        lambda f: change(f, D, 2, dialogue_id="d0"),
        *(D, 2, "dialogue_id", "occurs twice"),
    ),
    "duplicate turn": (
        lambda f: change(f, D, 1, **{"turns.2.utt_id": 0}),
        *(D, 1, "turns[2].utt_id", "occurs twice"),
    ),
    "huge turn id": (
        lambda f: change(f, D, 1, **{"turns.2.utt_id": 10**30}),
        *(D, 1, "turns[2].utt_id", "out of range"),
    ),
    "no turns": (lambda f: change(f, D, 2, turns=[], images=[]), D, 2, "turns", "without turns"),
    "unlisted image": (
        lambda f: change(f, D, 1, images=[]),
        *(D, 1, "turns[0].images[0]", "not among"),
    ),
    "image in no turn": (
        lambda f: change(f, D, 1, **{"turns.0.images": []}),
        *(D, 1, "images[0].img_id", "shown in no turn"),
    ),
    "gold turn": (
        lambda f: change(f, Q, 2, gold_utt_ids=[0, 7]),
        *(Q, 2, "gold_utt_ids[1]", "no utterance 7"),
    ),
    "gold image": (
        lambda f: change(f, Q, 2, gold_img_ids=[10**30]),
        *(Q, 2, "gold_img_ids[0]", "no image 1000"),
    ),
    "no such dialogue": (
        lambda f: change(f, Q, 3, dialogue_id="x"),
        *(Q, 3, "dialogue_id", "no dialogue 'x'"),
    ),
    "kind": (lambda f: change(f, Q, 1, kind="image"), Q, 1, "kind", "make it 'utterance'"),
    "empty query": (lambda f: change(f, Q, 1, query=" "), Q, 1, "query", "empty"),
    "path upwards": (
        lambda f: change(f, D, 2, **{"images.0.path": "../cat.png"}),
        *(D, 2, "images[0].path", "leaves the benchmark folder"),
    ),
    "path absolute": (
        lambda f: change(f, D, 2, **{"images.0.path": str(f.parent / "cat.png")}),
        *(D, 2, "images[0].path", "leaves the benchmark folder"),
    ),
    "path of Windows": (
        lambda f: change(f, D, 2, **{"images.0.path": r"C:\cat.png"}),
        *(D, 2, "images[0].path", "leaves the benchmark folder"),
    ),
    "path with NUL": (
        lambda f: change(f, D, 2, **{"images.0.path": "images/\0.png"}),
        *(D, 2, "images[0].path", "leaves the benchmark folder"),
    ),
    "link": (link_out, D, 2, "images[0].path", "leaves the benchmark folder"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_names_file_line_field_and_remedy(folder: Path, name: str) -> None:
    spoil, file, line, field, message = BAD[name]
    spoil(folder)
    with pytest.raises(InputError, match=r"→ ") as caught:
        read_benchmark(folder)
    found = caught.value.problem
    assert (found.file, found.line, found.field) == (str(folder / file), line, field)
    assert message in found.message
    assert found.remedy
    text = str(caught.value)
    assert text.startswith(f"{folder / file}" + (f":{line}: " if line else ": "))
    assert field is None or f" {field}: " in text
    problems, _ = check_benchmark(folder)
    assert any(problem == found for problem in problems)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such benchmark folder") as caught:
        read_benchmark(tmp_path / "nowhere")
    assert "ffr-sample" in str(caught.value)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="not a benchmark folder"):
        check_benchmark(tmp_path / "file")


def test_check_collects_everything(folder: Path) -> None:
    change(folder, D, 1, **{"turns.2.utt_id": 1, "images.0.path": "images/none.png"})
    change(folder, D, 2, **{"images.0.path": "../cat.png"})
    change(folder, Q, 1, gold_utt_ids=[8, 9])
    change(folder, Q, 2, sample_id="d0#0")
    change(folder, Q, 3, dialogue_id="x")
    change(folder, Q, 4, split="dev")
    replace_bytes(folder, "benchmark.json", b'"test"', b'"train"')
    problems, benchmark = check_benchmark(folder)
    found = [(Path(p.file or "").name, p.line, p.field) for p in problems]
    assert sorted(found, key=str) == sorted(
        [
            (D, 1, "turns[2].utt_id"),
            (D, 1, "images[0].path"),
            (D, 2, "images[0].path"),
            (Q, 1, "gold_utt_ids[0]"),
            (Q, 1, "gold_utt_ids[1]"),
            (Q, 2, "sample_id"),
            (Q, 3, "dialogue_id"),
        ],
        key=str,
    )
    assert all(problem.remedy for problem in problems)
    assert benchmark is not None
    assert len(benchmark) == 0  # no query is left whose dialogue and gold are good


def test_check_looks_at_image_files(folder: Path) -> None:
    (folder / "images" / "d0" / "0.png").unlink()
    (folder / "images" / "d1" / "0.png").write_bytes(b"dog")
    problems, benchmark = check_benchmark(folder)
    assert [(p.line, p.field) for p in problems] == [(1, "images[0].path"), (2, "images[0].path")]
    assert "there is no file" in problems[0].message
    assert "not the image that was recorded" in problems[1].message
    assert benchmark is not None
    assert len(benchmark) == 4


def test_a_loop_of_links_is_refused(folder: Path) -> None:
    target = folder / "images" / "d0" / "0.png"
    target.unlink()
    target.symlink_to(target)
    problems, _ = check_benchmark(folder)
    assert {problem.field for problem in problems} == {"images[0].path"}


@pytest.mark.parametrize("cut", ["truncated", "damaged", "not gzip"])
def test_bad_gzip(tmp_path: Path, cut: str) -> None:
    data = gzip.compress(b"".join(b'{"a": %d}\n' % (i * 7919 % 1_000_003) for i in range(5000)))
    middle = len(data) // 2
    spoilt = {
        "truncated": data[:middle],
        "damaged": data[:middle] + bytes(64) + data[middle + 64 :],
        "not gzip": b'{"a": 1}\n',
    }
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(spoilt[cut])
    for read in (lambda: list(read_lines(file)), lambda: read_json(file, dict[str, int])):
        with pytest.raises(InputError, match="damaged gzip data") as caught:
            read()
        assert caught.value.problem.file == str(file)
        assert caught.value.problem.remedy


def test_long_lines_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"a": 1}\n{"a": 1234567890}\n')
    assert [line.number for line in read_lines(file, max_bytes=20)] == [1, 2]
    with pytest.raises(InputError, match="longer than 10 bytes") as caught:
        list(read_lines(file, max_bytes=10))
    assert (caught.value.problem.file, caught.value.problem.line) == (str(file), 2)
    assert caught.value.problem.remedy


def test_odd_but_readable_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n  \n{"a": NaN}\n{"a": "\\ud83d\\ude00 \\uDE00"}')
    records = [(located.line, located.record) for located in read_records(file, dict[str, Any])]
    assert [line for line, _ in records] == [1, 4, 5]
    assert records[0][1] == {"a": 1}
    assert records[2][1] == {"a": "\U0001f600 \ufffd"}


def test_array_items_come_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('[1, {"a":\n 1},\n\n1,\n"]"]')
    assert [(line.number, line.data) for line in read_array(file)] == [
        (1, b"1"),
        (1, b'{"a":\n 1}'),
        (4, b"1"),
        (5, b'"]"'),
    ]


# Writing ----------------------------------------------------------------------------------------


class StopError(Exception):
    pass


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"cat")
    before = sorted(tmp_path.rglob("*"))

    def interrupted() -> None:
        with BenchmarkWriter(tmp_path / "new" / "b", InfoRecord(name="b")) as writer:
            writer.add_image_file(ImageRecord(0), tmp_path / "cat.png", "0.png")
            writer.add_dialogue(small()[0][0])
            assert len(list(tmp_path.rglob("*"))) > len(before)
            raise StopError

    with pytest.raises(StopError):
        interrupted()
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_left_when_the_place_is_taken_meanwhile(tmp_path: Path) -> None:
    def overtaken() -> None:
        with BenchmarkWriter(tmp_path / "b", InfoRecord(name="b")) as writer:
            writer.add_dialogue(small()[0][0])
            (tmp_path / "b").mkdir()
            (tmp_path / "b" / "mine").touch()

    with pytest.raises(InputError, match="not empty"):
        overtaken()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b", "mine"]


def test_an_existing_folder_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(InputError, match="not empty"):
        BenchmarkWriter(tmp_path, InfoRecord(name="b"))
    (tmp_path / "empty").mkdir()
    assert len(write_folder(tmp_path / "empty", small())) == 1


def test_the_writer_refuses_what_could_not_be_read(tmp_path: Path) -> None:
    dialogues, queries = small()
    with BenchmarkWriter(tmp_path / "b", InfoRecord(name="b")) as writer:
        with pytest.raises(InputError, match="no dialogue 'd0'"):
            writer.add_query(queries[0])
        writer.add_dialogue(dialogues[0])
        writer.add_query(replace(queries[0], sample_id="another"))
        with pytest.raises(InputError, match="dialogue 'd0' occurs twice"):
            writer.add_dialogue(dialogues[0])
        with pytest.raises(InputError, match="no utterance 77"):
            writer.add_query(replace(queries[0], gold_utt_ids=(77,)))
        with pytest.raises(InputError, match=r"\.\./0.png"):
            writer.add_image_file(ImageRecord(0), tmp_path / "cat.png", "../0.png")
        with pytest.raises(InputError, match="No such file"):
            writer.add_image_file(ImageRecord(0), tmp_path / "cat.png", "0.png")
    assert len(read_benchmark(tmp_path / "b")) == 1


# Splits -----------------------------------------------------------------------------------------


@given(st.integers(2, 200), st.integers(1, 99), st.integers(0, 5))
def test_fractions_are_honoured(count: int, percent: int, seed: int) -> None:
    names = [f"d{i}" for i in range(count)]
    fractions = {"dev": percent / 100, "test": 1 - percent / 100}
    splits = assign_splits(names, fractions, seed)
    assert set(splits) == set(names)
    n_dev = list(splits.values()).count("dev")
    assert 1 <= n_dev <= count - 1
    assert abs(n_dev - count * percent / 100) <= 1
    assert assign_splits(names[::-1], fractions, seed) == splits


def test_split(tmp_path: Path) -> None:
    before = write_folder(tmp_path / "b", small(n_dialogues=10, n_queries=3))
    counts = split_benchmark(tmp_path / "b", {"dev": 0.3, "test": 0.7}, seed=1)
    assert counts == {"dev": 3, "test": 7}
    after = read_benchmark(tmp_path / "b")
    assert check_benchmark(tmp_path / "b")[0] == []
    assert after.info.splits == ("dev", "test")
    assert after.content_hash != before.content_hash
    assert after.queries.sample_id == before.queries.sample_id
    of_dialogue: dict[str, set[str]] = {}
    for sample in after.samples():
        of_dialogue.setdefault(sample.dialogue.dialogue_id, set()).add(sample.split)
    assert all(len(splits) == 1 for splits in of_dialogue.values())
    assert len(after.rows("dev")) == 9
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["benchmark.json", D, Q]

    hashes = set()
    for seed in (1, 2):
        split_benchmark(tmp_path / "b", {"dev": 0.3, "test": 0.7}, seed)
        hashes.add(read_benchmark(tmp_path / "b").content_hash)
    assert after.content_hash in hashes
    assert len(hashes) == 2


def test_a_split_of_too_few_dialogues(tmp_path: Path) -> None:
    write_folder(tmp_path / "b", small(n_dialogues=1))
    before = (tmp_path / "b" / Q).read_bytes()
    with pytest.raises(InputError, match="1 dialogues cannot make 2 splits"):
        split_benchmark(tmp_path / "b", {"dev": 0.3, "test": 0.7}, seed=1)
    assert (tmp_path / "b" / Q).read_bytes() == before
    with pytest.raises(InputError, match="no such benchmark folder"):
        split_benchmark(Path("ffr-sample"), {"dev": 0.3, "test": 0.7}, seed=1)


@pytest.mark.parametrize(
    "text", ["", "dev", "dev=", "=1", "dev=x", "dev=0,test=1", "dev=nan", "dev=0.3,test=0.6"]
)
def test_bad_fractions(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_fractions(text)
    assert caught.value.problem.field == "--fractions"
    assert caught.value.problem.remedy


def test_fractions_may_have_spaces() -> None:
    assert parse_fractions("dev=0.3, test = 0.7") == {"dev": 0.3, "test": 0.7}


def test_an_unknown_split_names_the_known(tmp_path: Path) -> None:
    benchmark = write_folder(tmp_path / "b", small())
    assert benchmark.sample(0).kind is Kind.UTTERANCE
    with pytest.raises(InputError, match="splits here: test"):
        benchmark.rows("dev")
