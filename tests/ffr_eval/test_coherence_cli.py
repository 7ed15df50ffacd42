"""``ffr score --coherence``: figures from a store that the test fills with made-up vectors."""

from __future__ import annotations

import hashlib
import json
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.stats import kendalltau

import ffr_eval
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
from ffr_eval.embeddings import EmbeddingStore, Entry, Failure, FailureReason, SpaceRecord
from ffr_eval.embeddings.elements import BenchmarkElements
from ffr_eval.markup import answer_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ffr_eval.types import Sample

DIMENSION = 6
Vectors = dict[str, np.ndarray]
"""By text of an utterance or query, and by name of an image file."""


def made_up(content: bytes, seed: int) -> np.ndarray:
    digest = hashlib.sha256(content + bytes([seed])).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    gap = 1.5 if content.startswith(b"image") else 0.7
    return (rng.normal(size=DIMENSION) + gap).astype(np.float32)


def fill(
    store: Path,
    benchmark: Benchmark,
    *,
    name: str = "both",
    seed: int = 0,
    images: bool = True,
    leave_out: Sequence[str] = (),
    fail: Mapping[str, FailureReason] | None = None,
) -> Vectors:
    """Vectors of all elements and queries but some; what was written."""
    failing = fail or {}
    modalities = ("text", "image") if images else ("text",)
    record = SpaceRecord(name, "made-up", str(seed), {}, modalities, roles=False)
    vectors: Vectors = {}
    entries = []
    for element in BenchmarkElements(benchmark, roles=False).each(images=images):
        label = (
            element.text if element.text is not None else str(element.image and element.image.name)
        )
        if label in leave_out:
            continue
        if label in failing:
            failure = Failure(failing[label], "as the test wants it")
            entries.append(Entry(element.key, failure=failure))
            continue
        prefix = b"text " if element.text is not None else b"image "
        vectors[label] = made_up(prefix + label.encode(), seed)
        entries.append(Entry(element.key, vectors[label]))
    with EmbeddingStore(store).open(record, write=True) as space:
        space.write(entries)
    return vectors


# The reference ------------------------------------------------------------------------------------


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def elements_of(sample: Sample, ids: tuple[Sequence[int], Sequence[int]]) -> list[tuple[str, str]]:
    """Kind and label of each element in dialogue order; an image stands in its last turn."""
    placed = []
    shown = {i: place for place, turn in enumerate(sample.dialogue.turns) for i in turn.img_ids}
    for place, turn in enumerate(sample.dialogue.turns):
        if turn.utt_id in ids[0]:
            placed.append(((place, 0, turn.utt_id), ("u", turn.text)))
    for image in sample.dialogue.images:
        if image.img_id in ids[1]:
            label = image.file.name if image.file is not None else ""
            placed.append(((shown[image.img_id], 1, image.img_id), ("i", label)))
    return [element for _, element in sorted(placed)]


class Reference:
    """Figures written plainly from metrics.md; NaN where a sample does not count."""

    def __init__(self, benchmark: Benchmark, vectors: Vectors) -> None:
        self.samples = list(benchmark.samples())
        self.unit = {
            k: v.astype(float) / np.linalg.norm(v.astype(float)) for k, v in vectors.items()
        }
        sums: dict[str, list[np.ndarray]] = {"u": [], "i": [], "q": []}
        for dialogue in {s.dialogue.dialogue_id: s.dialogue for s in self.samples}.values():
            sums["u"] += [self.unit[t.text] for t in dialogue.turns if t.text in self.unit]
            names = [i.file.name for i in dialogue.images if i.file is not None]
            sums["i"] += [self.unit[name] for name in names if name in self.unit]
        queries = {s.query for s in self.samples}
        sums["q"] += [self.unit[query] for query in sorted(queries) if query in self.unit]
        self.means = {k: np.mean(v, axis=0) if v else np.zeros(DIMENSION) for k, v in sums.items()}

    def figures(
        self, sample: Sample, ids: tuple[Sequence[int], Sequence[int]], *, centre: bool
    ) -> tuple[float, float]:
        elements = elements_of(sample, ids)
        if not elements:
            return 0.0, 0.0
        found = [
            self.unit[label] - centre * self.means[kind]
            for kind, label in elements
            if label in self.unit
        ]
        found = [vector for vector in found if np.linalg.norm(vector) > 1e-6]  # not the mean
        query = self.unit.get(sample.query)
        order = [cosine(a, b) for a, b in pairwise(found)]
        similar = (
            [] if query is None else [cosine(v, query - centre * self.means["q"]) for v in found]
        )
        return (
            sum(order) / len(order) if order else float("nan"),
            sum(similar) / len(similar) if similar else float("nan"),
        )

    def report(self, answers: Mapping[str, tuple[Sequence[int], Sequence[int]]]) -> dict[str, Any]:
        rows: dict[str, list[float]] = {}
        for sample in self.samples:
            gold = sample.gold.utt_ids, sample.gold.img_ids
            if not any(gold):
                continue
            for suffix in ("", "_centered"):
                for before, ids in (("", answers.get(sample.sample_id, ((), ()))), ("gold_", gold)):
                    values = self.figures(sample, ids, centre=bool(suffix))
                    for measure, value in zip(("order", "query_sim"), values, strict=True):
                        rows.setdefault(f"{before}{measure}{suffix}", []).append(value)
        self.rows = {name: np.array(values) for name, values in rows.items()}
        found: dict[str, Any] = {name: float(np.nanmean(v)) for name, v in self.rows.items()}
        found["n"] = int((~np.isnan(self.rows["order"])).sum())
        found["n_query_sim"] = int((~np.isnan(self.rows["query_sim"])).sum())
        found["n_skipped"] = len(self.rows["order"]) - found["n"]
        found["n_no_gold"] = len(self.samples) - len(self.rows["order"])
        return found


def same(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


# The bundled sample -------------------------------------------------------------------------------


@pytest.fixture
def answers() -> dict[str, tuple[list[int], list[int]]]:
    """On the bundled sample, of all sizes, some with ids that the dialogue does not have."""
    rng = np.random.default_rng(3)
    found = {}
    for place, sample in enumerate(read_benchmark("ffr-sample").samples()):
        utts = [turn.utt_id for turn in sample.dialogue.turns]
        imgs = [image.img_id for image in sample.dialogue.images]
        n = int(rng.integers(0, 6))
        chosen = rng.choice(utts, n, replace=False).tolist()
        shown = rng.choice(imgs, min(len(imgs), int(rng.integers(0, 3))), replace=False).tolist()
        if place % 9 == 0:
            chosen.append(10_000)
        if place % 11:
            found[sample.sample_id] = chosen, shown
    return found


@pytest.fixture
def file(jsonl: Callable[..., Path], answers: dict[str, tuple[list[int], list[int]]]) -> Path:
    records = [{"sample_id": n, "utt_ids": u, "img_ids": i} for n, (u, i) in answers.items()]
    return jsonl(records, "answers.jsonl")


def test_figures_on_the_sample_are_as_the_reference_says(
    cli: Any, tmp_path: Path, file: Path, answers: dict[str, Any]
) -> None:
    benchmark, store = read_benchmark("ffr-sample"), tmp_path / "store"
    reference = Reference(benchmark, fill(store, benchmark))
    expected = reference.report(answers)
    options = ("--benchmark", "ffr-sample", "--coherence", "both", "--store", store)
    for protocol in ("strict", "official"):
        scores = cli("score", file, *options, "--protocol", protocol, "--json", "-").json
        found = scores["coherence"]["both"]
        same(found, expected)
        coverage = found["coverage"]
        assert coverage["elements"] == coverage["with_vector"] > 0
        assert (coverage["left_out"], coverage["invented"]) == ({}, _invented(answers, benchmark))
        assert found["space"]["model"] == "made-up"
        assert "coherence_agreement" not in scores
    # the random floor of a fragment is nearer to 0 information than the fragment, but no 0
    assert -1 < found["random_order"] < 1
    assert found["random_order"] != found["order"]
    printed = cli("score", file, *options, "--no-ci").out
    assert "coherence of fragments" in printed
    assert f"{found['gold_order']:.4f}" in printed
    assert f"{found['random_query_sim']:.4f}" in printed


def _invented(answers: Mapping[str, Any], benchmark: Benchmark) -> int:
    gold = {s.sample_id for s in benchmark.samples() if s.gold.utt_ids or s.gold.img_ids}
    return sum(10_000 in utts for name, (utts, _) in answers.items() if name in gold)


def test_two_encoders_also_give_kendalls_tau_between_the_samples_figures(
    cli: Any, tmp_path: Path, file: Path, answers: dict[str, Any]
) -> None:
    benchmark, store = read_benchmark("ffr-sample"), tmp_path / "store"
    one = Reference(benchmark, fill(store, benchmark))
    other = Reference(benchmark, fill(store, benchmark, name="words", seed=1, images=False))
    one.report(answers)
    expected = other.report(answers)
    options = ("--benchmark", "ffr-sample", "--store", store, "--coherence", "both,words")
    scores = cli("score", file, *options, "--json", "-").json
    assert list(scores["coherence"]) == ["both", "words"]
    same(scores["coherence"]["words"], expected)
    left_out = scores["coherence"]["words"]["coverage"]["left_out"]
    assert list(left_out) == ["image under a text-only encoder"]
    (pair,) = scores["coherence_agreement"]
    assert pair["encoders"] == ["both", "words"]
    for measure, n in (("order", "n"), ("query_sim", "n_query_sim")):
        a, b = one.rows[measure].round(9), other.rows[measure].round(9)
        count = ~np.isnan(a) & ~np.isnan(b)
        assert pair[n] == count.sum()
        assert pair[measure] == pytest.approx(kendalltau(a[count], b[count]).statistic, abs=1e-9)
    printed = cli("score", file, *options, "--no-ci").out
    assert "Kendall's tau-b between" in printed
    assert f"{pair['order']:.4f}" in printed
    assert "image under a text-only encoder" in printed


def test_an_encoder_named_with_its_model_stands_so_in_the_json_and_in_python(
    cli: Any, tmp_path: Path, file: Path
) -> None:
    fill(tmp_path / "store", read_benchmark("ffr-sample"))
    options = ("--benchmark", "ffr-sample", "--store", tmp_path / "store")
    spec = "both:made-up"
    scores = cli("score", file, *options, "--coherence", spec, "--json", "-").json
    found = ffr_eval.score(file, "ffr-sample", coherence=(spec,), store=tmp_path / "store")
    assert found.to_dict()["coherence"] == scores["coherence"]
    assert list(scores["coherence"]) == [spec]
    frame = found.to_frame()
    counted = frame[f"{spec}.order"].dropna()
    assert len(counted) == scores["coherence"][spec]["n"]
    assert counted.mean() == pytest.approx(scores["coherence"][spec]["order"], abs=1e-12)


# The rules ----------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Ids out of order, a blank turn, an image without a file, an image shown in two turns."""
    turns = (
        TurnRecord(5, "A", "five", (1,)),
        TurnRecord(2, "B", "two", (0, 3)),
        TurnRecord(9, "A", "  "),
        TurnRecord(4, "B", "four", (1,)),
        TurnRecord(7, "B", "seven"),
    )
    picture = tmp_path / "picture"
    with BenchmarkWriter(tmp_path / "small", InfoRecord(name="small")) as writer:
        images = []
        for i in (0, 1):
            picture.write_bytes(b"image %d" % i)
            images.append(writer.add_image_file(ImageRecord(i), picture, f"{i}.png"))
        writer.add_dialogue(DialogueRecord("d", turns, (*images, ImageRecord(3))))
        writer.add_dialogue(DialogueRecord("e", (TurnRecord(0, "A", "lone"), TurnRecord(1))))
        writer.add_query(QueryRecord("d#0", "d", "what", (5, 2), (1,)))
        writer.add_query(QueryRecord("d#1", "d", "which", (7,), ()))
        writer.add_query(QueryRecord("d#2", "d", "nothing", (), ()))
        writer.add_query(QueryRecord("d#3", "d", "what", (4,), (0,)))
        writer.add_query(QueryRecord("e#0", "e", "who", (0,), ()))
    return tmp_path / "small"


class Small:
    """Scores predictions on the small benchmark, and compares with the reference."""

    def __init__(self, cli: Any, jsonl: Callable[..., Path], folder: Path, **options: Any) -> None:
        self.cli, self.jsonl, self.folder = cli, jsonl, folder
        self.store = folder.parent / "store"
        self.benchmark = read_benchmark(folder)
        self.reference = Reference(self.benchmark, fill(self.store, self.benchmark, **options))

    def __call__(self, *records: dict[str, Any]) -> dict[str, Any]:
        file = self.jsonl(records, "answers.jsonl")
        options = ("--benchmark", self.folder, "--coherence", "both", "--store", self.store)
        found = self.cli("score", file, *options, "--json", "-").json["coherence"]["both"]
        given = {r["sample_id"]: (r.get("utt_ids", ()), r.get("img_ids", ())) for r in records}
        same(found, self.reference.report(given))
        assert isinstance(found, dict)
        return found


def answer(name: str, utts: Sequence[int], imgs: Sequence[int] = ()) -> dict[str, Any]:
    return {"sample_id": name, "utt_ids": list(utts), "img_ids": list(imgs)}


def test_elements_stand_in_dialogue_order_an_image_in_the_last_of_its_turns(
    cli: Any, jsonl: Callable[..., Path], small: Path
) -> None:
    scored = Small(cli, jsonl, small)
    found = scored(answer("d#0", (4, 2, 5, 5, 7, 99), (1, 0, 1)))
    unit = scored.reference.unit
    in_order = [unit[label] for label in ("five", "two", "0.png", "four", "1.png", "seven")]
    expected = np.mean([cosine(a, b) for a, b in pairwise(in_order)])
    assert found["order"] == pytest.approx(expected / 4, abs=1e-6)  # three others predict nothing
    assert (found["n"], found["n_empty"], found["n_no_gold"]) == (4, 3, 1)
    assert found["coverage"]["invented"] == 1


def test_no_element_is_0_one_is_left_out_and_no_gold_does_not_count(
    cli: Any, jsonl: Callable[..., Path], small: Path
) -> None:
    scored = Small(cli, jsonl, small)
    found = scored(
        answer("d#0", (5,)),  # one element
        {"sample_id": "d#1", "outcome": "request_error", "error": "no answer"},
        answer("d#2", (5, 2)),  # no gold
        answer("d#3", (77,), (55,)),  # invented ids only
        {"sample_id": "e#0", "response": "I do not know"},
    )
    assert (found["n"], found["n_skipped"], found["n_no_gold"]) == (3, 1, 1)
    assert (found["order"], found["random_order"], found["order_centered"]) == (0.0, 0.0, 0.0)
    assert (found["n_query_sim"], found["n_skipped_query_sim"]) == (4, 0)
    assert found["query_sim"] == pytest.approx(
        cosine(scored.reference.unit["five"], scored.reference.unit["what"]) / 4, abs=1e-6
    )
    assert found["coverage"]["invented"] == 2


def test_elements_that_can_have_no_vector_are_passed_over_and_counted(
    cli: Any, jsonl: Callable[..., Path], small: Path
) -> None:
    scored = Small(cli, jsonl, small, fail={"0.png": FailureReason.TOO_LARGE})
    found = scored(
        answer("d#0", (5, 2, 9, 4), (0, 3)),  # 9 is blank, image 0 too large, image 3 has no file
        answer("d#1", (9,), (3,)),  # elements, but none with a vector
        answer("d#3", (9, 5)),  # one with a vector
        answer("e#0", (0, 1)),
    )
    assert found["coverage"] == {
        "elements": 12,
        "with_vector": 5,
        "left_out": {"blank text": 4, "no file": 2, "too large": 1},
        "invented": 0,
    }
    assert (found["n"], found["n_skipped"], found["n_query_sim"]) == (1, 3, 3)
    unit = scored.reference.unit
    pairs = cosine(unit["five"], unit["two"]) + cosine(unit["two"], unit["four"])
    assert found["order"] == pytest.approx(pairs / 2, abs=1e-6)


def test_a_query_without_a_vector_leaves_its_sample_out_of_query_sim(
    cli: Any, jsonl: Callable[..., Path], small: Path
) -> None:
    store = small.parent / "store"
    benchmark = read_benchmark(small)
    fill(store, benchmark, fail={"what": FailureReason.NOT_ENCODED})
    file = jsonl([answer("d#0", (5, 2)), answer("d#1", (7, 4))])
    options = ("--benchmark", small, "--coherence", "both", "--store", store, "--json", "-")
    found = cli("score", file, *options).json["coherence"]["both"]
    # d#0 and d#3 ask "what"; e#0 predicts nothing
    assert (found["n"], found["n_query_sim"], found["n_skipped_query_sim"]) == (4, 2, 2)


def test_without_any_sample_that_counts_figures_are_null(
    cli: Any, jsonl: Callable[..., Path], small: Path
) -> None:
    scored = small.parent / "store"
    fill(scored, read_benchmark(small), fail={"lone": FailureReason.UNREADABLE})
    file = jsonl([answer(f"d#{i}", (9,)) for i in range(4)] + [answer("e#0", (0,))])
    options = ("--benchmark", small, "--coherence", "both", "--store", scored)
    found = cli("score", file, *options, "--json", "-").json["coherence"]["both"]
    assert found["order"] is found["query_sim"] is found["random_order_centered"] is None
    assert (found["n"], found["n_skipped"]) == (0, 4)
    assert "–" in cli("score", file, *options).out


def test_gold_predicted_exactly_has_exactly_its_figures_and_near_repetition_is_pointed_out(
    cli: Any, jsonl: Callable[..., Path], tmp_path: Path
) -> None:
    texts = ["alpha", "beta", "gamma", "same", "same", "same"]
    with BenchmarkWriter(tmp_path / "b", InfoRecord(name="b")) as writer:
        turns = tuple(TurnRecord(i, "A", text) for i, text in enumerate(texts))
        writer.add_dialogue(DialogueRecord("d", turns))
        writer.add_query(QueryRecord("d#0", "d", "what", (0, 1, 2), ()))
    store = tmp_path / "store"
    fill(store, read_benchmark(tmp_path / "b"))
    options = ("--benchmark", tmp_path / "b", "--coherence", "both", "--store", store)
    gold = jsonl([answer("d#0", (0, 1, 2))], "gold.jsonl")
    found = cli("score", gold, *options, "--json", "-").json["coherence"]["both"]
    for measure in ("order", "query_sim", "order_centered", "query_sim_centered"):
        assert found[measure] == found[f"gold_{measure}"]
    assert "more coherent than their gold" not in cli("score", gold, *options).out
    spam = jsonl([answer("d#0", (3, 4, 5))], "spam.jsonl")
    assert "more coherent than their gold" in cli("score", spam, *options).out
    found = cli("score", spam, *options, "--json", "-").json["coherence"]["both"]
    assert found["order"] == pytest.approx(1, abs=1e-6)


def test_a_negative_split_and_the_means_are_of_the_samples_scored(
    cli: Any, jsonl: Callable[..., Path], tmp_path: Path
) -> None:
    with BenchmarkWriter(tmp_path / "b", InfoRecord(name="b")) as writer:
        for name, split in (("d", "dev"), ("t", "test")):
            turns = tuple(TurnRecord(i, "A", f"{name} {i}") for i in range(4))
            writer.add_dialogue(DialogueRecord(name, turns))
            writer.add_query(QueryRecord(f"{name}#0", name, f"of {name}", (0, 1), (), split))
    benchmark, store = read_benchmark(tmp_path / "b"), tmp_path / "store"
    vectors = fill(store, benchmark, leave_out=[f"d {i}" for i in range(4)] + ["of d"])
    file = jsonl([answer("t#0", (0, 2, 3))])
    options = ("--benchmark", tmp_path / "b", "--coherence", "both", "--store", store)
    scores = cli("score", file, *options, "--split", "test", "--json", "-").json
    unit = {k: v / np.linalg.norm(v) for k, v in vectors.items()}
    mean = np.mean([unit[f"t {i}"] for i in range(4)], axis=0)
    a, b, c = (unit[f"t {i}"] - mean for i in (0, 2, 3))
    found = scores["coherence"]["both"]
    assert found["order_centered"] == pytest.approx((cosine(a, b) + cosine(b, c)) / 2, abs=1e-6)
    assert found["query_sim_centered"] is None  # the only query is the queries' mean
    assert "have no embedding" in cli.refused("score", file, *options)


# What is refused ----------------------------------------------------------------------------------


def test_embeddings_not_in_the_store_yet_are_named_with_the_command_that_makes_them(
    cli: Any, jsonl: Callable[..., Path], small: Path
) -> None:
    store = small.parent / "my store"
    fill(store, read_benchmark(small), leave_out=("five", "four", "1.png", "which"))
    file = jsonl([answer("d#0", (2,))])
    options = ("--benchmark", small, "--coherence", "both", "--store", store)
    message = cli.refused("score", file, *options)
    assert "2 utterances, 1 images, 1 queries of small have no embedding" in message
    assert f"ffr embed {small} --encoder both:made-up --store '{store}'" in message


def test_an_unknown_encoder_is_refused_before_predictions_are_read(
    cli: Any, tmp_path: Path, small: Path
) -> None:
    fill(tmp_path / "store", read_benchmark(small))
    options = ("--benchmark", small, "--store", tmp_path / "store")
    none = tmp_path / "no-such-file.jsonl"
    assert "ffr embed" in cli.refused("score", none, *options, "--coherence", "bot")
    assert "without a name" in cli.refused("score", none, *options, "--coherence", "both,")
    twice = cli.refused("score", none, *options, "--coherence", "both,both:made-up")
    assert "the same embeddings twice" in twice
    assert "--coherence ENCODER" in cli.refused("score", none, *options)


def test_inference_files_have_no_benchmark(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., dict[str, Any]], small: Path
) -> None:
    store = small.parent / "store"
    fill(store, read_benchmark(small))
    file = jsonl([inference(answer_text([1], []))])
    message = cli.refused("score", file, "--coherence", "both", "--store", store)
    assert "ms-swift" in message
    assert "ffr data import mswift" in message


def test_two_encoders_without_scipy_name_the_extra(
    cli: Any, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = small.parent / "store"
    for name in ("both", "other"):
        fill(store, read_benchmark(small), name=name)
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    options = ("--benchmark", small, "--store", store, "--coherence", "both,other")
    assert "ffr-eval[coherence]" in cli.refused("score", small / "none.jsonl", *options)


def test_json_has_no_nan(cli: Any, jsonl: Callable[..., Path], small: Path) -> None:
    store = small.parent / "store"
    fill(store, read_benchmark(small))
    options = ("--benchmark", small, "--coherence", "both", "--store", store)
    text = cli("score", jsonl([answer("d#0", (5,))]), *options, "--json", "-").out

    def refuse(name: str) -> float:
        raise AssertionError(name)

    json.loads(text, parse_constant=refuse)


# Many dialogues -----------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """150 dialogues, which are shared out among processes; every third asks the same."""
    with BenchmarkWriter(tmp_path / "many", InfoRecord(name="many")) as writer:
        for row in range(150):
            turns = tuple(TurnRecord(i, "A", f"turn {i} of {row}") for i in range(5))
            writer.add_dialogue(DialogueRecord(f"{row}", turns))
        for row in range(150):
            text = "the same" if row % 3 == 0 else f"query {row}"
            writer.add_query(QueryRecord(f"{row}#0", f"{row}", text, (0, row % 4 + 1), ()))
    return tmp_path / "many"


def test_several_processes_find_what_one_does(
    ffr: Callable[..., Any], jsonl: Callable[..., Path], many: Path
) -> None:
    store = many.parent / "store"
    reference = Reference(read_benchmark(many), fill(store, read_benchmark(many)))
    answers = {f"{row}#0": ([row % 5, 4, (row + 2) % 4], []) for row in range(150)}
    file = jsonl([{"sample_id": n, "utt_ids": u, "img_ids": i} for n, (u, i) in answers.items()])
    options = ("--benchmark", many, "--coherence", "both", "--store", store, "--json", "-")
    found = ffr("score", file, *options).json["coherence"]["both"]  # as many as there are cores
    same(found, reference.report(answers))
    alone = ffr_eval.score(file, many, coherence=("both",), store=store)
    expected = alone.to_dict()["coherence"]["both"]
    for figure, value in expected.items():
        if isinstance(value, float):
            assert found[figure] == pytest.approx(value, abs=1e-7), figure
        else:
            assert found[figure] == value, figure


def test_what_is_missing_in_all_processes_is_counted_together(
    ffr: Callable[..., Any], jsonl: Callable[..., Path], many: Path
) -> None:
    store = many.parent / "store"
    fill(store, read_benchmark(many), leave_out=("turn 1 of 0", "turn 1 of 149", "query 148"))
    file = jsonl([answer("0#0", (0, 1))])
    options = ("--benchmark", many, "--coherence", "both", "--store", store)
    result = ffr("score", file, *options)
    assert result.code == 2
    assert "2 utterances, 1 queries of many have no embedding" in result.err
