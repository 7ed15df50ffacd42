"""BM25 and an embedding together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from baselines.embedding.cosines import Cosines, EmbeddedDialogues
from baselines.embedding.hybrid import Hybrid, HybridOptions, by_rank, by_weight
from baselines.machine import Machine
from baselines.model import create
from ffr_eval.benchmark import read_benchmark
from ffr_eval.errors import InputError, MissingExtraError
from ffr_eval.runs import read_run

if TYPE_CHECKING:
    from tests.conftest import Cli


def cosines(values: list[float], unknown: tuple[int, ...] = ()) -> Cosines:
    known = np.array([place not in unknown for place in range(len(values))], dtype=np.bool_)
    return Cosines(np.array(values), known)


def test_reciprocal_ranks_by_hand() -> None:
    lexical = np.array([3.0, 0.0, 5.0, 3.0])
    found = by_rank(lexical, cosines([0.1, 0.9, -0.2, 0.5], unknown=(3,)), 60)
    expected = [1 / 62 + 1 / 62, 0 + 1 / 61, 1 / 61 + 1 / 63, 1 / 62 + 0]  # 3.0 is second twice
    assert found.tolist() == pytest.approx(expected)


def test_ranks_after_a_tie_count_those_before() -> None:
    found = by_rank(np.zeros(4), cosines([0.5, 0.7, 0.5, 0.1]), 0)
    assert found.tolist() == pytest.approx([1 / 2, 1, 1 / 2, 1 / 4])


def test_weighted_by_hand() -> None:
    lexical = np.array([2.0, 0.0, 4.0])
    found = by_weight(lexical, cosines([0.1, 0.3, 0.2]), 0.25)
    assert found.tolist() == pytest.approx([0.75 * 0.5, 0.25, 0.75 + 0.25 * 0.5])


def test_weighted_lists_in_which_all_are_equal() -> None:
    assert by_weight(np.zeros(2), cosines([0.2, 0.4]), 0.5).tolist() == [0.0, 0.5]
    assert by_weight(np.array([3.0]), cosines([0.2]), 0.5).tolist() == [0.5]
    assert by_weight(np.array([0.0]), cosines([0.2]), 0.5).tolist() == [0.25]
    assert by_weight(np.zeros(0), cosines([]), 0.5).tolist() == []
    unknown = cosines([0.0, 0.0], unknown=(0, 1))
    assert by_weight(np.array([1.0, 0.0]), unknown, 0.5).tolist() == [0.5, 0.0]


@pytest.mark.parametrize(
    "fuse", [lambda a, b: by_rank(a, b, 60), lambda a, b: by_weight(a, b, 0.3)]
)
def test_without_a_shared_word_the_order_is_the_embeddings(fuse: Any) -> None:
    values = np.random.default_rng(3).standard_normal(30).tolist()
    found = fuse(np.zeros(30), cosines(values))
    assert np.argsort(-found).tolist() == np.argsort(-np.array(values)).tolist()


def hybrid(**options: Any) -> Hybrid:
    """A hybrid of the fake encoder."""
    model = Hybrid(HybridOptions(**options))
    model._embedded = EmbeddedDialogues("fake", {})
    model.use(Machine())
    return model


def test_the_weight_is_tuned_for_each_modality(colours: Path) -> None:
    model = hybrid(fusion="weighted")
    data = read_benchmark(colours)
    model.prepare(data, data.rows("dev"), False, print)
    learned = model.fit(list(data.samples("dev")))
    assert learned is not None
    assert learned["utterance"]["dev_f1"] == learned["image"]["dev_f1"] == 1.0
    assert 0 <= learned["weight"]["utterance"] <= 1
    assert learned["weight"]["image"] > 0  # the turns around are the same text for two pictures
    other = hybrid(fusion="weighted")
    other.restore(json.loads(json.dumps(learned)))
    assert (other.weights, other.policies) == (model.weights, model.policies)


def test_the_weight_is_tuned_for_a_policy_that_is_given(colours: Path) -> None:
    model = hybrid(fusion="weighted", policy="top-k", k=1)
    assert model.learns
    assert not hybrid(fusion="weighted", policy="top-k", weight=0.3).learns
    assert not hybrid(policy="top-k").learns
    data = read_benchmark(colours)
    model.prepare(data, data.rows("dev"), False, print)
    before = model.policies
    learned = model.fit(list(data.samples("dev")))
    assert learned is not None
    assert model.policies == before
    assert learned["utterance"]["policy"] == "top-k"


def test_a_record_without_weights_is_refused() -> None:
    model = hybrid(fusion="weighted")
    record = {"utterance": {"policy": "top-k", "k": 1}, "image": {"policy": "top-k", "k": 1}}
    with pytest.raises(InputError, match="not a weight that this model wrote"):
        model.restore(record)


def test_weights_out_of_place_are_refused(cli: Cli, colours: Path, tmp_path: Path) -> None:
    run = ("run", "hybrid", colours, "--out", tmp_path / "run")
    assert "add -o fusion=weighted" in cli.refused(*run, "-o", "weight=0.3")
    assert "option weight" in cli.refused(*run, "-o", "fusion=weighted", "-o", "weight=1.3")
    assert "one of rrf, weighted" in cli.refused(*run, "-o", "fusion=sum")


def test_another_interpreter_does_not_stand_in_for_bm25(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hybrid, "requires", ("no_such_package",))
    with pytest.raises(MissingExtraError, match=r"ffr-eval\[lexical\]"):
        create("hybrid", {}, Machine(python=Path("python")))


def test_a_tuned_run_goes_on_with_its_weights(
    cli: Cli, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("run", "hybrid", colours, "--out", tmp_path / "run", "--tune-on", "dev")
    options = ("-o", "fusion=weighted", "-o", "k1=1.2")
    cli(*run, *options)
    learned = read_run(tmp_path / "run").selection
    lines = (tmp_path / "run" / "predictions.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "run" / "predictions.jsonl").write_bytes(lines[0])
    monkeypatch.setattr(Hybrid, "fit", None)
    result = cli(*run, *options)
    assert "3 of 3 predictions (2 new)" in result.out
    assert read_run(tmp_path / "run").selection == learned
