"""`ffr data export mswift`: what is exported can be imported again, whatever it says."""

from __future__ import annotations

import gzip
import json
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    check_benchmark,
    read_benchmark,
)
from ffr_eval.errors import InputError
from ffr_eval.exporters import ExportOptions
from ffr_eval.exporters.mswift import exporter
from ffr_eval.importers.mswift import importer
from ffr_eval.jsonl import encode_line
from ffr_eval.markup import MARKERS
from ffr_eval.prompt import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from ffr_eval.exporters import ImageMode
    from tests.conftest import Cli

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def again(file: Path, out: Path) -> str:
    """The content hash after importing."""
    with BenchmarkWriter(out, InfoRecord(name="again")) as writer:
        importer.convert([file], writer)
    return read_benchmark(out).content_hash


def records(file: Path) -> list[dict[str, Any]]:
    """The records of a file; the key ``ffr``, which is a string there, as an object."""
    found = [json.loads(line) for line in file.read_bytes().splitlines()]
    return [record | {"ffr": json.loads(record["ffr"])} for record in found]


def write_records(file: Path, found: list[dict[str, Any]], *, as_string: bool = True) -> None:
    lines = [
        record | {"ffr": json.dumps(record["ffr"]) if as_string else record["ffr"]}
        for record in found
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("mode", ["copy", "absolute"])
def test_the_sample_comes_back(cli: Cli, tmp_path: Path, mode: str) -> None:
    file = tmp_path / "new" / "sample.jsonl"
    said = cli("data", "export", "mswift", "ffr-sample", "--out", file, "--images", mode)
    cli("data", "import", "mswift", file, "--out", tmp_path / "back")
    problems, back = check_benchmark(tmp_path / "back")
    original = read_benchmark("ffr-sample")
    assert problems == []
    assert back is not None
    assert f"{len(original)} queries" in said.out
    assert back.content_hash == original.content_hash
    assert sorted(back.queries.sample_id) == sorted(original.queries.sample_id)
    names = {path.name for path in file.parent.iterdir()}
    assert names == {"sample.jsonl", *(["sample_images"] if mode == "copy" else [])}


def test_what_one_trains_on_is_what_one_evaluates_with(tmp_path: Path) -> None:
    benchmark = read_benchmark("ffr-sample")
    exporter.convert(benchmark, tmp_path / "a.jsonl", ExportOptions())
    texts = [(found["messages"], found["dialogue_id"]) for found in records(tmp_path / "a.jsonl")]
    expected = [
        ([{"role": "user", "content": render(sample).text}], sample.dialogue.dialogue_id)
        for sample in benchmark.samples()
    ]
    assert sorted(map(str, texts)) == sorted(map(str, expected))


def test_images_stand_in_the_order_of_their_placeholders(tmp_path: Path) -> None:
    benchmark = read_benchmark("ffr-sample")
    exporter.convert(benchmark, tmp_path / "a.jsonl", ExportOptions())
    for found in records(tmp_path / "a.jsonl"):
        assert len(found["images"]) == found["messages"][0]["content"].count("<image>")
        assert all((tmp_path / path).is_file() for path in found["images"])


def test_one_split(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "dev.jsonl"
    cli("data", "export", "mswift", "ffr-sample", "--split", "dev", "--out", file)
    again(file, tmp_path / "back")
    back = read_benchmark(tmp_path / "back")
    original = read_benchmark("ffr-sample")
    expected = [sample.sample_id for sample in original.samples("dev")]
    assert back.queries.sample_id == expected
    assert back.splits == ("dev",)
    assert len(back.dialogues) == len({name.split("#")[0] for name in expected})


def test_plain_dialogues_need_no_extra_but_the_sample_id(tmp_path: Path) -> None:
    with BenchmarkWriter(tmp_path / "plain", InfoRecord(name="plain")) as writer:
        writer.add_dialogue(DialogueRecord("d", (TurnRecord(0, "S", "a"), TurnRecord(1, "T", "b"))))
        writer.add_query(QueryRecord("d#0", "d", "q", (1,), ()))
        writer.add_query(QueryRecord("d#1", "d", "r", (), ()))
    exporter.convert(read_benchmark(tmp_path / "plain"), tmp_path / "a.jsonl", ExportOptions())
    found = records(tmp_path / "a.jsonl")
    assert [sorted(record) for record in found] == [
        ["dialogue_id", "ffr", "images", "messages", "solution"]
    ] * 2
    assert [record["ffr"] for record in found] == [{"sample_id": "d#0"}, {"sample_id": "d#1"}]


def test_records_may_be_shuffled_and_left_out(tmp_path: Path) -> None:
    original = read_benchmark("ffr-sample")
    exporter.convert(original, tmp_path / "a.jsonl", ExportOptions())
    lines = (tmp_path / "a.jsonl").read_bytes().splitlines(keepends=True)
    random.Random(1).shuffle(lines)
    (tmp_path / "shuffled.jsonl").write_bytes(b"".join(lines))
    assert again(tmp_path / "shuffled.jsonl", tmp_path / "whole") == original.content_hash

    kept = [line for line in lines if json.loads(line)["dialogue_id"] == "en-01"][2:]
    (tmp_path / "few.jsonl").write_bytes(b"".join(kept))
    again(tmp_path / "few.jsonl", tmp_path / "few")
    expected = {sample.sample_id: sample for sample in original.samples()}
    for sample in read_benchmark(tmp_path / "few").samples():
        there = expected[sample.sample_id]
        assert (sample.query, sample.gold, sample.split) == (there.query, there.gold, there.split)
        assert sample.dialogue.turns == there.dialogue.turns


def test_trainers_can_load_it_as_a_table(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    exporter.convert(read_benchmark("ffr-sample"), tmp_path / "a.jsonl", ExportOptions())
    table = datasets.Dataset.from_json(str(tmp_path / "a.jsonl"), cache_dir=str(tmp_path / "cache"))
    assert len(table) == len(read_benchmark("ffr-sample"))
    assert table.features["ffr"].dtype == "string"


def test_gzip(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    cli("data", "export", "mswift", "ffr-sample", "--out", file)
    assert len(gzip.decompress(file.read_bytes()).splitlines()) == len(read_benchmark("ffr-sample"))
    assert (tmp_path / "a_images").is_dir()
    assert again(file, tmp_path / "back") == read_benchmark("ffr-sample").content_hash


@pytest.mark.parametrize("name", ["a.jsonl", "a_images"])
def test_nothing_is_replaced(cli: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    error = cli.refused("data", "export", "mswift", "ffr-sample", "--out", tmp_path / "a.jsonl")
    assert "already exists" in error
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["mswift", "ffr-sample", "--split", "dve"], "no split 'dve'"),
        (["mswift", "nowhere"], "no such benchmark folder"),
        (["mswfit", "ffr-sample"], "did you mean 'mswift'"),
        (["mswift", "ffr-sample", "--images", "embed"], "--images"),
    ],
)
def test_mistakes_leave_nothing(cli: Cli, tmp_path: Path, args: list[str], said: str) -> None:
    assert said in cli.refused("data", "export", *args, "--out", tmp_path / "sub" / "a.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (tmp_path / "i.png").write_bytes(b"one")
    with BenchmarkWriter(folder, InfoRecord(name="in")) as writer:
        image = writer.add_image_file(ImageRecord(0), tmp_path / "i.png", "i.png")
        writer.add_dialogue(DialogueRecord("d", (TurnRecord(0, images=(0,)),), (image,)))
        writer.add_query(QueryRecord("d#0", "d", "q", (0,), ()))
    (folder / "images" / "i.png").write_bytes(b"another")
    out = tmp_path / "sub" / "deep" / "a.jsonl"
    with pytest.raises(InputError, match="sha256 differs"):
        exporter.convert(read_benchmark(folder), out, ExportOptions())
    assert not (tmp_path / "sub").exists()


def test_help_lists_formats(cli: Cli) -> None:
    text = cli("data", "export", "--help").out
    assert "mswift" in text
    assert "datasets" in text
    assert "Examples" in text


@pytest.mark.shared
@pytest.mark.parametrize(
    ("form", "source"),
    [
        ("qmsum", "qmsum/data/ALL/val"),
        ("vcsum", "vcsum/vcsum_data/short_dev.txt"),
        ("mem-gallery", "mem_gallery/benchmark/data/dialog"),
    ],
)
def test_real_dialogues_come_back(cli: Cli, tmp_path: Path, form: str, source: str) -> None:
    cli("data", "import", form, SHARED / source, "--out", tmp_path / "in")
    cli("data", "export", "mswift", tmp_path / "in", "--out", tmp_path / "a.jsonl")
    assert again(tmp_path / "a.jsonl", tmp_path / "back") == (
        read_benchmark(tmp_path / "in").content_hash
    )


# Odd benchmarks ---------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *MARKERS,
        *("<image>", "7", ":", "：", " ", "\n", "\t", "\u3000", "\0", "\u2028", "\x1b[31m"),
        *(
            "A",
            "b: c",
            "答案",
            "🙂",
            "<",
            "|",
            ";",
            "[1]",
            "< |utt_id_start|>",
            "<|utt_id_start|>3",
        ),
    ]
)
TEXT = st.one_of(st.lists(PIECES, max_size=5).map("".join), st.text(max_size=8))
META = st.none() | st.dictionaries(TEXT, st.none() | TEXT | st.integers(-9, 9), max_size=2)
IDS = st.lists(st.integers(0, 12) | st.just(2**31 - 1), unique=True, max_size=5)
PATHS = ["images/a.png", "images/d/0.png", "pics/x", "images/b.dat", "c.jpg", "images/E.JPEG"]


@dataclass
class Odd:
    dialogues: list[DialogueRecord]
    queries: list[QueryRecord]
    files: dict[str, bytes]


@st.composite
def odd_benchmarks(draw: Callable[..., Any]) -> Odd:
    files = {path: path.encode() for path in draw(st.sets(st.sampled_from(PATHS)))}
    names = draw(st.lists(TEXT.filter(bool), min_size=1, max_size=3, unique=True))
    dialogues = [draw(odd_dialogues(name, files)) for name in names]
    queries = []
    asked = draw(st.lists(st.sampled_from(dialogues), min_size=1, max_size=4))
    for index, record in enumerate(asked):
        utts = [turn.utt_id for turn in record.turns]
        imgs = [image.img_id for image in record.images]
        number = [each.dialogue_id for each in asked[:index]].count(record.dialogue_id)
        natural = f"{record.dialogue_id}#{number}"
        queries.append(
            QueryRecord(
                draw(st.sampled_from([natural, f"odd {index}"])),
                record.dialogue_id,
                draw(TEXT.filter(str.strip)),
                tuple(draw(st.lists(st.sampled_from(utts), max_size=3))),
                tuple(draw(st.lists(st.sampled_from(imgs), max_size=3))) if imgs else (),
                draw(st.sampled_from(["test", "dev", " odd"])),
                meta=draw(META),
            )
        )
    ids = [query.sample_id for query in queries]
    if len(set(ids)) < len(ids):
        queries = [
            msgspec.structs.replace(query, sample_id=f"odd {index}")
            for index, query in enumerate(queries)
        ]
    return Odd(dialogues, queries, files)


@st.composite
def odd_dialogues(draw: Callable[..., Any], name: str, files: dict[str, bytes]) -> DialogueRecord:
    from hashlib import sha256

    img_ids = draw(IDS)
    utt_ids = draw(IDS.filter(bool))
    images = []
    for img_id in img_ids:
        path = draw(st.none() | st.sampled_from(PATHS))
        digest = None
        if draw(st.booleans()):
            there = path is not None and path in files
            digest = sha256(files[path] if there else b"gone").hexdigest()
        url = draw(st.none() | st.sampled_from(["https://x.org/1.png", "ftp://x", ""]))
        images.append(ImageRecord(img_id, path, url, draw(st.none() | TEXT), digest))
    shown = [
        list(draw(st.lists(st.sampled_from(img_ids), max_size=2))) if img_ids else []
        for _ in utt_ids
    ]
    missing = set(img_ids) - {img_id for each in shown for img_id in each}
    shown[draw(st.integers(0, len(utt_ids) - 1))] += sorted(missing)
    turns = [
        TurnRecord(utt_id, draw(TEXT), draw(TEXT), tuple(each), draw(st.none() | TEXT))
        for utt_id, each in zip(utt_ids, shown, strict=True)
    ]
    language = draw(st.sampled_from([None, "zh", "en", "de", ""]))
    return DialogueRecord(name, tuple(turns), tuple(images), language, draw(META))


def write_folder(odd: Odd, folder: Path) -> None:
    """As someone else's program would: without the writer, which fills in hashes."""
    folder.mkdir()
    for path, data in odd.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    (folder / "benchmark.json").write_bytes(msgspec.json.encode(InfoRecord(name="odd")))
    (folder / "dialogues.jsonl").write_bytes(b"".join(map(encode_line, odd.dialogues)))
    (folder / "queries.jsonl").write_bytes(b"".join(map(encode_line, odd.queries)))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(odd=odd_benchmarks())
def test_any_benchmark_comes_back(odd: Odd) -> None:
    with tempfile.TemporaryDirectory() as place:
        write_folder(odd, Path(place, "in"))
        benchmark = read_benchmark(Path(place, "in"))
        modes: tuple[ImageMode, ...] = ("copy", "absolute")
        if {"pics/x", "images/b.dat"} & odd.files.keys():
            modes = ("copy",)  # the importer takes absolute paths of images only
        for mode in modes:
            file = Path(place, mode, "out.jsonl")
            exporter.convert(benchmark, file, ExportOptions(images=mode))
            assert again(file, Path(place, mode, "back")) == benchmark.content_hash
            for path, image in _files(Path(place, mode, "back")):
                assert image.sha256 is None or path.is_file() or image.path not in odd.files
            entries = {name.name for name in Path(place, mode).iterdir()}
            assert entries <= {"out.jsonl", "out_images", "back"}


def _files(folder: Path) -> list[tuple[Path, ImageRecord]]:
    lines = (folder / "dialogues.jsonl").read_bytes().splitlines()
    found = [msgspec.json.decode(line, type=DialogueRecord) for line in lines]
    return [(folder / (image.path or ""), image) for record in found for image in record.images]


# The key ffr of a record ------------------------------------------------------------------------


@pytest.fixture
def exported(tmp_path: Path) -> list[dict[str, Any]]:
    turns = (TurnRecord(4, "a:b", " text "), TurnRecord(2, "S", "x", (1, 0)))
    images = (ImageRecord(1, caption="one"), ImageRecord(0))
    with BenchmarkWriter(tmp_path / "odd", InfoRecord(name="odd")) as writer:
        writer.add_dialogue(DialogueRecord("d", turns, images, "en", {"a": 1}))
        writer.add_dialogue(DialogueRecord("alone", turns, images))
        writer.add_query(QueryRecord("first", "d", " q ", (4,), (), "dev"))
        writer.add_query(QueryRecord("second", "d", "r", (), (1,)))
    exporter.convert(read_benchmark(tmp_path / "odd"), tmp_path / "odd.jsonl", ExportOptions())
    return records(tmp_path / "odd.jsonl")


CHANGES: list[tuple[tuple[Any, ...], Any, str]] = [
    (("dialogue", "turns", 0, "utt_id"), 9, "dialogue.turns[0].utt_id"),
    (("dialogue", "turns", 0, "text"), "another text", "dialogue.turns[0]"),
    (("dialogue", "turns", 0, "speaker"), "another", "dialogue.turns[0]"),
    (("dialogue", "turns"), [{"utt_id": 4, "time": "1"}] * 2, "dialogue.turns[1].utt_id"),
    (("dialogue", "images", 0, "img_id"), 7, "dialogue.images[0].img_id"),
    (("dialogue", "images", 0, "path"), "../x.png", "images[0].path"),
    (("dialogue", "image_order"), [1], "dialogue.image_order"),
    (("dialogue", "meta"), 3, "dialogue.meta"),
    (("image_ids",), [0, 1], "image_ids"),
    (("image_ids",), [1], "image_ids"),
    (("query",), "another", "query"),
    (("split",), "", "split"),
    (("sample_id",), "", "sample_id"),
    (("unasked", 0, "images"), [], "unasked[0].images"),
    (("unasked", 0, "record", "dialogue_id"), "d", "dialogue_id"),
]


@pytest.mark.parametrize(("path", "value", "field"), CHANGES)
def test_an_extra_that_contradicts_its_record_is_refused(
    tmp_path: Path, exported: list[dict[str, Any]], path: tuple[Any, ...], value: Any, field: str
) -> None:
    place = exported[0]["ffr"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    file = tmp_path / "changed.jsonl"
    for as_string in (True, False):
        write_records(file, exported, as_string=as_string)
        with pytest.raises(InputError) as caught:
            again(file, tmp_path / "out")
        found = caught.value.problem
        assert (found.file, found.line, found.field) == (str(file), 1, f"ffr.{field}")
        assert found.remedy
        assert not (tmp_path / "out").exists()


def test_records_on_a_dialogue_say_the_same_of_it(
    tmp_path: Path, exported: list[dict[str, Any]]
) -> None:
    del exported[1]["ffr"]["dialogue"]["language"]
    file = tmp_path / "changed.jsonl"
    write_records(file, exported)
    with pytest.raises(InputError, match=r"in another way in .*changed.jsonl:1") as caught:
        again(file, tmp_path / "out")
    assert (caught.value.problem.line, caught.value.problem.field) == (2, "ffr.dialogue")


def test_an_extra_that_is_not_json_is_refused(
    tmp_path: Path, exported: list[dict[str, Any]]
) -> None:
    file = tmp_path / "changed.jsonl"
    file.write_text("".join(json.dumps(record | {"ffr": "{"}) + "\n" for record in exported))
    with pytest.raises(InputError) as caught:
        again(file, tmp_path / "out")
    assert (caught.value.problem.line, caught.value.problem.field) == (1, "ffr")


def test_two_samples_of_one_id_name_the_line(
    tmp_path: Path, exported: list[dict[str, Any]]
) -> None:
    exported[1]["ffr"]["sample_id"] = "first"
    file = tmp_path / "changed.jsonl"
    write_records(file, exported)
    with pytest.raises(InputError, match="occurs twice") as caught:
        again(file, tmp_path / "out")
    assert (caught.value.problem.line, caught.value.problem.field) == (2, "ffr.sample_id")
