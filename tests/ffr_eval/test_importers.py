"""Importers: counts on real data, and every way in which source files can be wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.benchmark import Benchmark, BenchmarkWriter, check_benchmark, read_benchmark
from ffr_eval.benchmark.summary import summarise
from ffr_eval.errors import InputError
from ffr_eval.importers import mswift, qmsum
from ffr_eval.markup import IMG_ID, QUERY, UTT_ID, answer_text, mark
from ffr_eval.types import Kind

if TYPE_CHECKING:
    from ffr_eval.importers import Importer

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
MEETINGS = SHARED / "qmsum" / "data" / "ALL" / "val"
EVIDENCE = SHARED / "qmsum_evidence" / "val"
needs_shared = [
    pytest.mark.shared,
    pytest.mark.skipif(not SHARED.is_dir(), reason="no development data beside the checkout"),
]


def convert(importer: Importer, out: Path, *sources: Path) -> tuple[Benchmark, list[str]]:
    with BenchmarkWriter(out, importer.info) as writer:
        notes = importer.convert(sources, writer)
    assert check_benchmark(out)[0] == []
    return read_benchmark(out), notes


def refused(importer: Importer, tmp_path: Path, *sources: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        convert(importer, tmp_path / "out", *sources)
    assert not (tmp_path / "out").exists()
    assert caught.value.problem.remedy
    return caught.value


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


# QMSum ------------------------------------------------------------------------------------------


class TestRealMeetings:
    pytestmark = needs_shared

    @pytest.mark.parametrize(
        ("importer", "sources", "gold"),
        [
            (qmsum.importer, (MEETINGS,), 56.7),
            (qmsum.evidence_importer, (MEETINGS, EVIDENCE), 6.2),
        ],
        ids=["qmsum", "qmsum-evidence"],
    )
    def test_counts(
        self, tmp_path: Path, importer: Importer, sources: tuple[Path, ...], gold: float
    ) -> None:
        benchmark, notes = convert(importer, tmp_path / "out", *sources)
        summary = summarise(benchmark)
        assert (summary.n_dialogues, summary.n_queries) == (35, 237)
        assert round(summary.mean_turns, 1) == 574.9
        assert round(summary.mean_gold_utts, 1) == gold
        assert summary.n_images == 0
        assert summary.kinds == {"utterance": 237}
        assert notes == []
        assert (benchmark.info.language, benchmark.info.licence) == ("en", "MIT")

    def test_both_have_the_same_dialogues_queries_and_ids(self, tmp_path: Path) -> None:
        coarse, _ = convert(qmsum.importer, tmp_path / "coarse", MEETINGS)
        fine, _ = convert(qmsum.evidence_importer, tmp_path / "fine", MEETINGS, EVIDENCE)
        assert coarse.queries.sample_id == fine.queries.sample_id
        assert coarse.queries.query == fine.queries.query
        assert coarse.dialogues.text == fine.dialogues.text

    def test_gold_turns_hold_the_words_of_the_answer(self, tmp_path: Path) -> None:
        """The converter's turn numbers are the right ones: off by one, and this drops to chance."""
        fine, _ = convert(qmsum.evidence_importer, tmp_path / "fine", MEETINGS, EVIDENCE)
        exact = shifted = 0
        for sample in fine.samples():
            stem, position = sample.sample_id.split("#")
            source = json.loads((EVIDENCE / f"{stem}.json").read_text(encoding="utf-8"))
            query = source["qmsum"]["specific_query_list"][int(position)]
            assert sample.gold is not None
            gold = sorted(sample.gold.utt_ids)
            turns = sample.dialogue.turns
            sentences = [sentence["content"] for group in query["evidence"] for sentence in group]
            at_gold = " ".join(turns[i].text for i in gold)
            beside = " ".join(turns[max(i - 1, 0)].text for i in gold)
            exact += sum(sentence in at_gold for sentence in sentences)
            shifted += sum(sentence in beside for sentence in sentences)
        assert exact == 2262  # every evidence sentence of the release
        assert shifted < exact / 2


def meeting(queries: list[tuple[str, list[list[Any]]]], n_turns: int = 6) -> dict[str, Any]:
    return {
        "topic_list": [],
        "odd key": None,
        "specific_query_list": [
            {"query": query, "answer": "…", "relevant_text_span": spans} for query, spans in queries
        ],
        "meeting_transcripts": [
            {"speaker": f"S{i % 2}", "content": f"turn {i}"} for i in range(n_turns)
        ],
    }


def evidence(queries: list[tuple[str, list[int]]]) -> dict[str, Any]:
    return {
        "ami": None,
        "qmsum": {
            "specific_query_list": [
                {
                    "query": query,
                    "evidence": [
                        [{"type": "CES", "turn_index": i, "content": f"turn {i}"}] for i in turns
                    ],
                }
                for query, turns in queries
            ]
        },
    }


def test_spans_are_inclusive_and_may_have_spaces_or_overlap(tmp_path: Path) -> None:
    write(tmp_path / "in" / "m.json", meeting([("q", [["0", "1 "], [" 1", "2"], [4, 4]])]))
    benchmark, _ = convert(qmsum.importer, tmp_path / "out", tmp_path / "in")
    assert benchmark.queries.sample_id == ["m#0"]
    assert benchmark.queries.gold_utt_ids.to_lists() == [[0, 1, 2, 4]]
    turn = benchmark.sample(0).dialogue.turns[3]
    assert (turn.utt_id, turn.speaker, turn.text) == (3, "S1", "turn 3")


def test_a_query_without_span_is_left_out_and_keeps_its_number(tmp_path: Path) -> None:
    source = meeting([("q0", []), ("q1", [["0", "0"]])])
    source["meeting_transcripts"][2]["content"] = ""
    write(tmp_path / "in" / "m.json", source)
    write(tmp_path / "in" / ".hidden.json", "not a meeting")
    benchmark, notes = convert(qmsum.importer, tmp_path / "out", tmp_path / "in")
    assert benchmark.queries.sample_id == ["m#1"]
    assert notes == ["left out 1 queries without a text span: m#0"]


@pytest.mark.parametrize(
    "span",
    [["0", "6"], ["-1", "2"], ["3", "2"], ["", ""], ["a", "b"]],
    ids=["past the end", "negative", "backwards", "empty", "words"],
)
def test_a_span_outside_the_meeting_is_refused(tmp_path: Path, span: list[str]) -> None:
    file = write(tmp_path / "in" / "m.json", meeting([("q", [["0", "5"]]), ("r", [span])]))
    found = refused(qmsum.importer, tmp_path, tmp_path / "in").problem
    assert found.file == str(file)
    assert found.field == "specific_query_list[1].relevant_text_span[0]"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"meeting_transcripts": []}, "meeting_transcripts"),
        (
            {"meeting_transcripts": [{"speaker": "S", "content": 3}]},
            "meeting_transcripts[0].content",
        ),
        ({"meeting_transcripts": [{"speaker": "S"}]}, "meeting_transcripts[0].content"),
        (
            {"specific_query_list": [{"query": " ", "relevant_text_span": []}]},
            "specific_query_list[0].query",
        ),
        (
            {"specific_query_list": [{"query": "q", "relevant_text_span": [["1"]]}]},
            "specific_query_list[0].relevant_text_span[0]",
        ),
    ],
)
def test_wrong_meetings_name_file_and_field(
    tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    file = write(tmp_path / "in" / "m.json", meeting([("q", [["0", "1"]])]) | change)
    found = refused(qmsum.importer, tmp_path, tmp_path / "in").problem
    assert (found.file, found.field) == (str(file), field)


def test_malformed_json_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "in" / "m.json"
    file.parent.mkdir()
    file.write_text('{\n "specific_query_list": [],\n oops\n}', encoding="utf-8")
    found = refused(qmsum.importer, tmp_path, tmp_path / "in").problem
    assert (found.file, found.line) == (str(file), 3)


def test_a_folder_too_high_names_the_one_below(tmp_path: Path) -> None:
    write(tmp_path / "in" / "ALL" / "val" / "m.json", meeting([]))
    error = refused(qmsum.importer, tmp_path, tmp_path / "in")
    assert str(Path("ALL", "val")) in str(error)
    assert "no such folder" in str(refused(qmsum.importer, tmp_path, tmp_path / "nowhere"))
    assert "not a folder" in str(
        refused(qmsum.importer, tmp_path, tmp_path / "in" / "ALL" / "val" / "m.json")
    )


class TestEvidence:
    def run(
        self,
        tmp_path: Path,
        queries: list[tuple[str, list[list[Any]]]],
        annotated: list[tuple[str, list[int]]],
    ) -> tuple[Benchmark, list[str]]:
        write(tmp_path / "in" / "m.json", meeting(queries))
        write(tmp_path / "ev" / "m.json", evidence(annotated))
        return convert(qmsum.evidence_importer, tmp_path / "out", tmp_path / "in", tmp_path / "ev")

    def refuse(
        self,
        tmp_path: Path,
        queries: list[tuple[str, list[list[Any]]]],
        annotated: list[tuple[str, list[int]]],
    ) -> InputError:
        write(tmp_path / "in" / "m.json", meeting(queries))
        write(tmp_path / "ev" / "m.json", evidence(annotated))
        return refused(qmsum.evidence_importer, tmp_path, tmp_path / "in", tmp_path / "ev")

    def test_equal_queries_are_matched_by_position(self, tmp_path: Path) -> None:
        benchmark, notes = self.run(
            tmp_path, [("same", []), ("same ", [])], [("same", [1, 1, 0]), ("same", [5])]
        )
        assert benchmark.queries.gold_utt_ids.to_lists() == [[0, 1], [5]]
        assert notes == []

    def test_other_orders_are_matched_by_text(self, tmp_path: Path) -> None:
        benchmark, notes = self.run(
            tmp_path, [("a  b", []), ("c", []), ("d", [])], [("c", [2]), ("a b", [1])]
        )
        assert benchmark.queries.sample_id == ["m#0", "m#1"]
        assert benchmark.queries.gold_utt_ids.to_lists() == [[1], [2]]
        assert notes == ["left out 1 queries without evidence: m#2"]

    def test_no_evidence_is_left_out_not_negative(self, tmp_path: Path) -> None:
        benchmark, notes = self.run(tmp_path, [("a", []), ("b", [])], [("a", []), ("b", [3])])
        assert benchmark.queries.sample_id == ["m#1"]
        assert notes == ["left out 1 queries without evidence: m#0"]

    def test_evidence_of_no_query_is_refused(self, tmp_path: Path) -> None:
        error = self.refuse(tmp_path, [("a", [])], [("another", [1])])
        assert error.problem.file == str(tmp_path / "ev" / "m.json")
        assert error.problem.field == "qmsum.specific_query_list[0].query"

    def test_ambiguous_text_is_refused(self, tmp_path: Path) -> None:
        error = self.refuse(tmp_path, [("a", []), ("a", []), ("b", [])], [("a", [1])])
        assert "not unique" in str(error)

    @pytest.mark.parametrize("turn", [6, -1])
    def test_a_turn_outside_the_meeting_is_refused(self, tmp_path: Path, turn: int) -> None:
        error = self.refuse(tmp_path, [("a", [])], [("a", [0, turn])])
        assert error.problem.file == str(tmp_path / "ev" / "m.json")
        assert error.problem.field == "qmsum.specific_query_list[0].evidence[1][0].turn_index"

    def test_a_sentence_that_is_elsewhere_is_noted(self, tmp_path: Path) -> None:
        write(tmp_path / "in" / "m.json", meeting([("a", [])]))
        source = evidence([("a", [1, 2])])
        source["qmsum"]["specific_query_list"][0]["evidence"][1][0]["content"] = "turn 4"
        write(tmp_path / "ev" / "m.json", source)
        _, notes = convert(
            qmsum.evidence_importer, tmp_path / "out", tmp_path / "in", tmp_path / "ev"
        )
        assert len(notes) == 1
        assert notes[0].startswith("1 evidence sentences are not in the turn they name")

    def test_files_of_one_folder_only(self, tmp_path: Path) -> None:
        write(tmp_path / "in" / "other.json", meeting([("q", [])]))
        benchmark, notes = self.run(tmp_path, [("a", [])], [("a", [1])])
        assert benchmark.dialogues.dialogue_id == ["m"]
        assert notes == ["left out 1 meetings without evidence: other"]
        (tmp_path / "in" / "m.json").unlink()
        error = refused(
            qmsum.evidence_importer, tmp_path / "again", tmp_path / "in", tmp_path / "ev"
        )
        assert error.problem.file == str(tmp_path / "ev" / "m.json")
        assert "there is no meeting m.json" in str(error)


# ms-swift ---------------------------------------------------------------------------------------


def content(query: str = "q", n_turns: int = 3, images: tuple[int, ...] = ()) -> str:
    lines = [f"{mark(UTT_ID, i)} S{i % 2}: text {i}" for i in range(n_turns)]
    for img_id in images:
        lines[img_id % n_turns] += f" {mark(IMG_ID, img_id)}<image>"
    return f"Find {mark(QUERY, query)} here.\n" + "\n".join(lines)


def record(dialogue_id: str = "d", **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": "You find things."},
            {"role": "user", "content": content()},
        ],
        "images": [],
        "solution": answer_text([1], []),
        "dialogue_id": dialogue_id,
    }
    return base | changes


def user(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def lines(path: Path, *records: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in records).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def import_mswift(tmp_path: Path, *sources: Path) -> tuple[Benchmark, list[str]]:
    return convert(mswift.importer, tmp_path / "out", *sources)


def test_a_dialogue_is_stored_once_and_samples_are_numbered_over_files(tmp_path: Path) -> None:
    first = lines(tmp_path / "a.jsonl.gz", record("d"), record("e_split_0"), record("d"))
    second = write(tmp_path / "b.json", [record("d", **user(content("other")))])
    benchmark, notes = import_mswift(tmp_path, first, second)
    assert benchmark.queries.sample_id == ["d#0", "e_split_0#0", "d#1", "d#2"]
    assert benchmark.queries.query == ["q", "q", "q", "other"]
    assert benchmark.dialogues.dialogue_id == ["d", "e_split_0"]
    assert benchmark.splits == ("test",)
    assert notes == []


def test_the_markup_of_turns(tmp_path: Path) -> None:
    text = (
        f"Find {mark(QUERY, ' what? ')}\n"
        f"{mark(UTT_ID, 7)} Ann: one: two\nthree\n"
        f"{mark(UTT_ID, 8)} 小明：你好 {mark(IMG_ID, 1)}<image>吗\n"
        f"{mark(UTT_ID, 10)} Bob: {mark(IMG_ID, 0)}<image>\n"
        f"{mark(UTT_ID, 12)} no speaker\n\n"
        f"{mark(UTT_ID, 13)} {mark(IMG_ID, 2)}<image> at 10:30\n"
        f"{mark(QUERY, 'what?')} Answer now."
    )
    source = record(
        **user(text), images=["a.png", "b.png", "c.png"], solution=answer_text([12, 8], [2])
    )
    benchmark, notes = import_mswift(tmp_path, lines(tmp_path / "a.jsonl", source))
    sample = benchmark.sample(0)
    assert sample.query == "what?"
    assert [(t.utt_id, t.speaker, t.text, t.img_ids) for t in sample.dialogue.turns] == [
        (7, "Ann", "one: two\nthree", ()),
        (8, "小明", "你好 吗", (1,)),
        (10, "Bob", "", (0,)),
        (12, "", "no speaker", ()),
        (13, "", "at 10:30", (2,)),
    ]
    assert [image.img_id for image in sample.dialogue.images] == [0, 1, 2]
    assert sample.gold is not None
    assert (sample.gold.utt_ids, sample.gold.img_ids) == ((8, 12), (2,))
    assert sample.kind is Kind.MULTIMODAL
    assert notes == ["3 images have no file: none was found at their paths (for example 'a.png')"]


def test_an_inference_output(tmp_path: Path) -> None:
    source = record(
        **user(content(images=(0,))),
        images=[{"bytes": None, "path": "i.png"}],
        labels=answer_text([], [0]),
        response="…",
    )
    del source["solution"]
    file = tmp_path / "a.jsonl"
    file.write_text(
        json.dumps(source | {"logprobs": {"content": [{"logprob": float("-inf")}]}}) + "\n"
    )
    benchmark, _ = import_mswift(tmp_path, file)
    assert benchmark.queries.kind == [Kind.IMAGE]


def test_half_an_emoji_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    text = content().replace("text 1", "cut \ud83d, whole \ud83d\ude00, written \\ud83d")
    file.write_text(json.dumps(record(**user(text))) + "\n")
    benchmark, _ = import_mswift(tmp_path, file)
    assert benchmark.dialogues.text[1] == "cut \ufffd, whole \U0001f600, written \\ud83d"


def test_images_are_copied_in_order_of_their_ids(tmp_path: Path) -> None:
    source = tmp_path / "in"
    outside = tmp_path / "elsewhere.png"
    paths = ["img/zero.PNG", str(outside), "img/none.png", "../elsewhere.png", "https://x.org/4"]
    for path in (source / paths[0], outside):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    (source / "img" / "link.png").symlink_to(outside)
    paths.append("img/link.png")
    zero, one = mark(IMG_ID, 0), mark(IMG_ID, 1)
    text = content(n_turns=6, images=(0, 1, 2, 3, 4, 5))
    text = text.replace(zero, "@").replace(one, zero).replace("@", one)  # 1 is shown before 0
    file = lines(source / "a.jsonl", record(**user(text), images=paths))
    benchmark, notes = import_mswift(tmp_path, file)
    images = benchmark.sample(0).dialogue.images
    read = [None if image.file is None else image.file.read_bytes() for image in images]
    assert read == [b"zero.PNG", b"elsewhere.png", None, None, None, None]
    assert images[4].url == "https://x.org/4"
    assert [note.split(" image")[0] for note in notes] == ["1", "1", "2"]
    assert "web address" in notes[1]
    assert "lead out of the folder" in notes[2]


def test_an_absolute_path_brings_in_only_images(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    file = lines(tmp_path / "a.jsonl", record(**user(content(images=(0,))), images=[str(secret)]))
    benchmark, notes = import_mswift(tmp_path, file)
    assert benchmark.sample(0).dialogue.images[0].file is None
    assert len(notes) == 1


def test_dialogues_with_alike_names_keep_their_own_images(tmp_path: Path) -> None:
    names = ["a/b", "a b", "a_b", "A_b", "a.b", "../a", "..", "群", "x" * 300]
    records = []
    for index in range(len(names)):
        (tmp_path / f"{index}.png").write_bytes(bytes([index]))
        text = content(images=(0,))
        records.append(record(names[index], **user(text), images=[f"{index}.png"]))
    benchmark, _ = import_mswift(tmp_path, lines(tmp_path / "a.jsonl", *records))
    files = [sample.dialogue.images[0].file for sample in benchmark.samples()]
    assert [None if file is None else file.read_bytes() for file in files] == [
        bytes([index]) for index in range(len(names))
    ]
    assert len({str(file).casefold() for file in files}) == len(names)


@pytest.mark.parametrize("form", ["jsonl", "array"])
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dialogue_id": None}, "dialogue_id"),
        ({"dialogue_id": ""}, "dialogue_id"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "messages[0].content"),
        (user("no markers"), "messages[0].content"),
        (user(mark(QUERY, "q")), "messages[0].content"),
        (user(content(" ")), "messages[0].content"),
        (user(content() + mark(QUERY, "another")), "messages[0].content"),
        (user(content() + mark(UTT_ID, 1)), "messages[0].content"),
        ({"solution": None}, "solution"),
        ({"solution": "I do not know"}, "solution"),
        ({"solution": answer_text([1], [])[:-20]}, "solution"),
        ({"solution": answer_text([1], []).replace("1", "true")}, "solution"),
        ({"solution": answer_text([1], []).replace("1", '"1"')}, "solution"),
        ({"solution": answer_text([1], []).replace("1", "1.0")}, "solution"),
        ({"solution": answer_text([1], []).replace("1", "9" * 5000)}, "solution"),
        ({"solution": answer_text([9], [])}, "solution"),
        ({"solution": answer_text([], [0])}, "solution"),
        ({"solution": None, "labels": answer_text([9], [])}, "labels"),
        ({"images": ["a.png"]}, "images"),
        ({"images": [3]}, "images[0]"),
        (user(content(images=(0,))), "images"),
    ],
)
def test_wrong_records_name_line_and_field(
    tmp_path: Path, form: str, changes: dict[str, Any], field: str
) -> None:
    wrong = record("e") | changes
    if form == "jsonl":
        file, prefix = lines(tmp_path / "a.jsonl", record(), wrong), ""
    else:
        file, prefix = tmp_path / "a.json", "[1]."
        file.write_text(f"[\n{json.dumps(record())},\n{json.dumps(wrong)}\n]")
    found = refused(mswift.importer, tmp_path, file).problem
    assert found.file == str(file)
    assert found.line == (2 if form == "jsonl" else 3)
    assert found.field == prefix + field


@pytest.mark.parametrize("missing", ["dialogue_id", "messages", "solution"])
def test_missing_fields_are_named(tmp_path: Path, missing: str) -> None:
    wrong = record()
    del wrong[missing]
    found = refused(mswift.importer, tmp_path, lines(tmp_path / "a.jsonl", wrong)).problem
    assert (found.line, found.field) == (1, missing)


def test_one_dialogue_id_for_two_dialogues_names_both_lines(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", record(), record(**user(content(n_turns=4))))
    error = refused(mswift.importer, tmp_path, file)
    assert error.problem.line == 2
    assert f"{file}:1" in str(error)


def test_an_array_that_is_cut_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps([record(), record()])[:-5])
    assert refused(mswift.importer, tmp_path, file).problem.file == str(file)
