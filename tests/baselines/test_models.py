from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from baselines import lexical
from baselines.lexical import Bm25Index, TfIdfIndex, best_window, image_texts
from baselines.model import (
    Model,
    Scores,
    checked_scores,
    create,
    hidden,
    registered_models,
)
from baselines.options import parse_pairs
from baselines.simple import typical_size
from baselines.tokenizer import tokenize
from ffr_eval.benchmark import read_benchmark
from ffr_eval.errors import FfrError, InputError, MissingExtraError
from ffr_eval.types import Dialogue, Fragment, Image, Sample, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("register")


@pytest.fixture
def sample(benchmark: Path) -> Sample:
    """The first sample: its gold is utterances 10 and 13, and image 0."""
    return read_benchmark(benchmark).sample(0)


def ids(model: Model, sample: Sample) -> tuple[tuple[int, ...], tuple[int, ...]]:
    payload = model.predict(hidden(sample)).payload
    return payload.utt_ids, payload.img_ids


def dialogue(texts: Sequence[str], images: Sequence[Image] = (), shown_in: int = 0) -> Dialogue:
    shown = tuple(image.img_id for image in images)
    turns = tuple(
        Turn(place, "A", text, shown if place == shown_in else ())
        for place, text in enumerate(texts)
    )
    return Dialogue("d", turns, tuple(images))


def ask(texts: Sequence[str], query: str) -> Sample:
    return Sample("s", dialogue(texts), query)


# --- Simple models


def test_none_and_all(sample: Sample) -> None:
    assert ids(create("none", {}), sample) == ((), ())
    assert create("none", {}).predict(sample).outcome == "empty"
    assert ids(create("all", {}), sample) == (tuple(range(10, 18)), (0, 1))


def test_oracle_gives_the_gold_and_needs_it(sample: Sample) -> None:
    oracle = create("oracle", {})
    assert oracle.predict(sample).payload == sample.gold
    with pytest.raises(FfrError, match="no gold"):
        oracle.predict(hidden(sample))


def test_random_depends_on_seed_and_sample_only(benchmark: Path) -> None:
    samples = list(read_benchmark(benchmark).samples())
    forwards = {s.sample_id: ids(create("random", {}), s) for s in samples}
    model = create("random", {"seed": "0"})
    backwards = {s.sample_id: ids(model, s) for s in reversed(samples)}
    assert forwards == backwards
    assert all((len(utt), len(img)) == (5, 1) for utt, img in forwards.values())
    assert len(set(forwards.values())) > 1
    assert forwards != {s.sample_id: ids(create("random", {"seed": 1}), s) for s in samples}


def test_random_takes_sizes_from_the_tuning_split(benchmark: Path) -> None:
    data = read_benchmark(benchmark)
    model = create("random", {})
    learned = model.fit(list(data.samples("dev")))
    assert learned == {"utterance": 1, "image": 0}
    fresh = create("random", {})
    fresh.restore(learned)
    assert ids(fresh, data.sample(0)) == ids(model, data.sample(0))
    assert [len(found) for found in ids(fresh, data.sample(0))] == [1, 0]


@pytest.mark.parametrize(
    ("sizes", "size"), [([0, 0], 0), ([0, 0, 1], 1), ([1, 2], 2), ([1, 1, 2], 1), ([2, 3], 3)]
)
def test_typical_size_rounds_half_up(sizes: list[int], size: int) -> None:
    assert typical_size(sizes) == size


# --- Lexical models


def bm25_by_hand(documents: Sequence[str], query: str, k1: float, b: float) -> list[float]:
    terms = [tokenize(document) for document in documents]
    average = sum(map(len, terms)) / len(terms)
    scores = []
    for document in terms:
        score = 0.0
        for term in tokenize(query):
            df = sum(term in other for other in terms)
            tf = Counter(document)[term]
            if not tf:
                continue
            idf = math.log(1 + (len(terms) - df + 0.5) / (df + 0.5))
            score += idf * tf / (tf + k1 * (1 - b + b * len(document) / average))
        scores.append(score)
    return scores


@pytest.mark.parametrize(("k1", "b"), [(1.5, 0.75), (0.9, 0.4), (0.0, 0.0)])
def test_bm25_is_the_formula(k1: float, b: float) -> None:
    documents = ["red bike broken", "bike bike shop", "", "自行车坏了", "red red shop red tea"]
    for query in ("red bike", "自行车", "bike bike", "tea"):
        expected = bm25_by_hand(documents, query, k1, b)
        assert Bm25Index(documents, k1, b).score(query) == pytest.approx(expected)


def test_tfidf_is_a_cosine() -> None:
    documents = ["red bike", "Ｒｅｄ bikes ", "tuna, no", "自行车坏了"]
    same, near, nothing, chinese = TfIdfIndex(documents).score("RED bike")
    assert same == pytest.approx(1.0)
    assert 0.5 < near < 1.0
    assert (nothing, chinese) == (0.0, 0.0)
    assert TfIdfIndex(documents).score("自行车")[3] > 0.5


def test_tfidf_is_scikit_learns_on_runs_of_characters() -> None:
    from sklearn.feature_extraction.text import TfidfTransformer

    documents = ["the boiler knocks", "boiler man came", "mild soup"]
    runs = [[t[i : i + n] for n in (2, 3, 4) for i in range(len(t) - n + 1)] for t in documents]
    terms = sorted({run for document in runs for run in document})
    counts = np.array([[document.count(term) for term in terms] for document in runs])
    weights = TfidfTransformer().fit_transform(counts).toarray()
    expected = weights @ weights[0]
    assert TfIdfIndex(documents).score(documents[0]) == pytest.approx(expected)


@pytest.mark.parametrize("make", [lambda texts: Bm25Index(texts, 1.5, 0.75), TfIdfIndex])
@pytest.mark.parametrize(
    ("documents", "query"),
    [([], "red"), (["", "a"], "red"), (["red"], ""), (["red", "tea"], "42 为何")],
)
def test_nothing_to_match_scores_zero(
    make: Callable[[list[str]], Any], documents: list[str], query: str
) -> None:
    assert make(documents).score(query).tolist() == [0.0] * len(documents)


def test_turns_that_share_no_word_are_not_selected(sample: Sample) -> None:
    assert ids(create("bm25", {}), sample) == ((10, 13), (0,))
    assert ids(create("bm25", {"k": 1}), sample)[0] == (10,)


def test_captions_are_used_if_asked_for() -> None:
    images = [Image(0, caption="a red sunset"), Image(1)]
    talk = dialogue(["first", "second", "third", "fourth"], images, shown_in=2)
    around = "second\nthird\nfourth"
    assert image_texts(talk, captions=False) == [around, around]
    assert image_texts(talk, captions=True) == ["a red sunset", around]
    sample = Sample("s", talk, "the sunset")
    assert ids(create("bm25", {}), sample) == ((), ())
    assert ids(create("bm25", {"captions": "true"}), sample) == ((), (0,))


def test_an_index_is_built_once_for_a_dialogue(
    benchmark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    class Counting(Bm25Index):
        def __init__(self, *arguments: Any) -> None:
            built.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(lexical, "Bm25Index", Counting)
    model = create("bm25", {})
    for sample in read_benchmark(benchmark).samples():
        model.predict(sample)
    assert len(built) == 4 * 2


def test_another_dialogue_of_the_same_name_has_its_own_index() -> None:
    model = create("bm25", {})
    assert ids(model, ask(["apple", "pear"], "pear"))[0] == (1,)
    assert ids(model, ask(["pear", "apple"], "pear"))[0] == (0,)


def test_window_takes_the_best_run_and_its_images(sample: Sample) -> None:
    assert ids(create("window", {"size": 4}), sample) == ((10, 11, 12, 13), (0,))
    assert ids(create("window", {"size": 99}), sample) == (tuple(range(10, 18)), (0, 1))
    assert ids(create("window", {}), ask(["apple"], "pear")) == ((), ())


def test_window_takes_its_size_from_the_tuning_split(benchmark: Path) -> None:
    samples = list(read_benchmark(benchmark).samples("dev"))
    assert create("window", {}).fit(samples) == {"size": 1}
    assert create("window", {"size": 3}).fit(samples) is None


def test_best_window_ties_go_to_the_first() -> None:
    assert best_window(np.array([0.0, 0.1, 0.2, 0.0, 0.2, 0.1]), 2) == 1
    shifted = np.tile([0.1, 0.7, 0.3, 0.0, 0.0], 12)
    assert best_window(shifted, 20) == 0


@pytest.mark.parametrize("name", ["bm25", "tfidf"])
def test_tuning_is_recorded_and_restored(name: str, benchmark: Path) -> None:
    data = read_benchmark(benchmark)
    model = create(name, {})
    learned = model.fit(list(data.samples("dev")))
    assert learned is not None
    assert learned["n_samples"] == 4
    assert learned["utterance"]["policy"] == "top-k"
    assert (learned["utterance"]["k"], learned["utterance"]["dev_f1"]) == (1, 1.0)
    assert (learned["image"]["k"], learned["image"]["dev_f1"]) == (1, None)
    fresh = create(name, {})
    fresh.restore(learned)
    assert ids(fresh, data.sample(0)) == ids(model, data.sample(0))
    assert [len(found) for found in ids(model, data.sample(0))] == [1, 1]
    assert create(name, {"policy": "gap"}).fit(list(data.samples("dev"))) is None


@pytest.mark.parametrize(
    ("utterance", "complaint"),
    [([0.0] * 7, "shape"), ([0.0] * 7 + [math.nan], "is nan"), ([math.inf] * 8, "is inf")],
)
def test_scores_that_are_none_are_refused(
    sample: Sample, utterance: list[float], complaint: str
) -> None:
    with pytest.raises(FfrError, match=complaint):
        checked_scores(Scores(np.array(utterance), np.zeros(2)), sample)


# --- Registry and options


def test_registered_models_say_what_they_need(
    register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    infos = {info.name: info for info in registered_models()}
    assert infos["bm25"].installed
    assert infos["bm25"].extra == "lexical"
    assert infos["bm25"].options["k1"] == 1.5
    assert infos["oracle"].capabilities is not None
    assert infos["oracle"].capabilities.needs_gold
    monkeypatch.setattr("baselines.model._missing", lambda requires: list(requires))
    infos = {info.name: info for info in registered_models()}
    assert not infos["bm25"].installed
    assert infos["none"].installed
    with pytest.raises(MissingExtraError, match="lexical"):
        create("bm25", {})


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("bm52", {}, r"did you mean 'bm25'"),
        ("bm25", {"k_one": 1}, r"option k_one: unknown option"),
        ("bm25", {"captoins": "true"}, r"did you mean 'captions'"),
        ("none", {"k": 1}, r"no options"),
        ("bm25", {"k": "many"}, r"option k: 'many' is not a whole number"),
        ("bm25", {"k": "0"}, r"option k: '0' is not a whole number >= 1"),
        ("bm25", {"k1": "nan"}, r"option k1"),
        ("bm25", {"k1": "inf"}, r"option k1: 'inf' is not a finite number"),
        ("bm25", {"policy": "best"}, r"one of tuned, top-k"),
        ("random", {"seed": "-1"}, r"option seed"),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        create(name, options)
    assert caught.value.exit_code == 2


def test_pairs() -> None:
    assert parse_pairs(["k=1", "a = b=c"]) == {"k": "1", "a": "b=c"}
    for pairs in (["k"], ["=1"], ["k=1", "k=2"]):
        with pytest.raises(InputError):
            parse_pairs(pairs)


def test_a_plugin_that_is_no_model_is_refused(register: Callable[..., None]) -> None:
    register(odd=Fragment)
    with pytest.raises(InputError, match="not a subclass"):
        create("odd", {})
