"""Adapters: the same numbers through all, what they do without a figure, and bad batches."""

from __future__ import annotations

import ast
import asyncio
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import ffr_train.rewards.adapters
from ffr_eval.benchmark import read_benchmark
from ffr_eval.errors import InputError
from ffr_eval.markup import answer_text
from ffr_train.rewards.adapters import easyr1, openrlhf, swift, trl, verifiers, verl
from ffr_train.rewards.columns import TrainerReward, UncomputableError

if TYPE_CHECKING:
    from collections.abc import Callable

RIGHT = answer_text([1, 2, 4, 5], [0, 1])
PROFILES = ("fixed", "paper", "released")
ADAPTERS = Path(ffr_train.rewards.adapters.__file__).parent


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths of vectors begin in the working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Puts an empty module in place of a trainer's."""

    def put(name: str) -> Any:
        module: Any = ModuleType(name)
        for parent in name.split(".")[:-1]:
            monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return put


def label(row: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in row.items() if name != "completion"})


def totals_by_trainer(profile: str, rows: list[dict[str, Any]], fake: Any) -> dict[str, list[Any]]:
    """The totals of rows through each adapter, as each trainer calls it."""
    texts = [row["completion"] for row in rows]
    columns = {n: [row[n] for row in rows] for n in rows[0] if n != "completion"}
    talks = [[{"role": "assistant", "content": text}] for text in texts]
    conversation = {"completions": talks, "prompts": texts, "completion_ids": texts, **columns}
    functions, weights = trl.reward_functions(profile)
    by_term = [function(**conversation) for function in functions]
    found: dict[str, list[Any]] = {
        "trl": trl.total_function(profile)(**conversation),
        "trl by term": [
            sum(weight * value for weight, value in zip(weights, values, strict=True))
            for values in zip(*by_term, strict=True)
        ],
        "verl": [
            verl.compute_score("ffr", row["completion"], row["solution"], row, profile=profile)[
                "score"
            ]
            for row in rows
        ],
        "easyr1": [
            score["overall"]
            for score in easyr1.compute_score(
                [{"response": row["completion"], "ground_truth": label(row)} for row in rows],
                profile=profile,
            )
        ],
    }
    plugin = fake("swift.rewards")
    plugin.ORM, plugin.orms = object, {}
    swift.register(profile)
    found["swift"] = plugin.orms["ffr_total"]()(texts, **columns)
    vf = fake("verifiers.v1")
    vf.reward = lambda weight: lambda function: function
    score = verifiers.reward_method(profile)
    found["verifiers"] = [
        sum(asyncio.run(score(task(row), SimpleNamespace(last_reply=row["completion"]))).values())
        for row in rows
    ]
    return found


def task(row: dict[str, Any]) -> Any:
    return SimpleNamespace(data=SimpleNamespace(**row))


@pytest.mark.parametrize("profile", PROFILES)
def test_same_numbers_through_all(
    cli: Any, jsonl: Any, rows: Any, fake: Any, here: None, profile: str
) -> None:
    scored = cli("train", "rewards", "score", jsonl(rows), "--profile", profile, "--json", "-").json
    expected = [line["total"] for line in scored]
    assert len(set(expected)) > 5
    for trainer, totals in totals_by_trainer(profile, rows, fake).items():
        assert totals == pytest.approx(expected, abs=1e-6), trainer


def test_openrlhf_takes_the_prompt_off(rows: Any, here: None) -> None:
    torch = pytest.importorskip("torch")
    chosen = rows[:4]
    queries = [f"prompt{row['completion']}" for row in chosen]
    found = openrlhf.reward_func(queries, ["prompt"] * 4, [label(row) for row in chosen])
    expected = [TrainerReward().one(row["completion"], row)["total"] for row in chosen]
    assert torch.allclose(found["rewards"], torch.tensor(expected))
    assert openrlhf.columns_of(RIGHT) == {"solution": RIGHT}


def test_terms_by_function(rows: Any, columns: Any, here: None) -> None:
    texts = [row["completion"] for row in rows]
    functions, weights = trl.reward_functions("fixed", terms=["pair_f1"])
    assert [function.__name__ for function in functions] == [
        *("ffr_format", "ffr_f1", "ffr_order", "ffr_pair_f1")
    ]
    assert weights == [0.3, 1.0, 1.0, 0.0]
    assert functions[0](texts, **columns(rows))[0] == 1.0


def test_missing_vector_skips_the_whole_completion(
    rows: Any, columns: Any, here: None, write_vectors: Any
) -> None:
    """A trainer that adds up terms must not take a missing term for 0."""
    write_vectors(without="u4")
    texts = [row["completion"] for row in rows]
    functions, _ = trl.reward_functions("fixed")
    by_term = [function(texts, **columns(rows)) for function in functions]
    skipped = [values.count(None) for values in by_term]
    assert skipped[0] == skipped[1] == skipped[2] > 0
    reward = TrainerReward()
    with pytest.raises(UncomputableError, match="no usable vector"):
        reward.floats("f1", texts, columns(rows))
    with pytest.raises(UncomputableError, match="no usable vector"):
        reward.one(texts[0], rows[0])
    assert sum(reward.reasons.values()) > 0


def test_a_file_that_fails_later_is_none(
    rows: Any, columns: Any, here: None, caplog: pytest.LogCaptureFixture
) -> None:
    reward = TrainerReward()
    texts = [row["completion"] for row in rows[:2]]
    lost = [row | {"embeddings": "lost.npz"} for row in rows[:2]]
    with pytest.raises(InputError, match=r"lost\.npz"):  # at the start, it is a mistake
        TrainerReward().column("total", texts, columns(lost))
    assert None not in reward.column("total", texts, columns(rows[:2]))
    assert reward.column("total", texts, columns(lost)) == [None, None]
    assert "lost.npz" in caplog.text


def test_without_embeddings_it_says_so_once(
    rows: Any, columns: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bare = [{n: v for n, v in row.items() if n != "embeddings"} for row in rows]
    texts = [row["completion"] for row in bare]
    reward = TrainerReward()
    for _ in range(3):
        totals = reward.column("total", list(texts), columns(bare))
        assert None not in totals
    assert caplog.text.count("order: no embeddings; left out of the total") == 1


def test_samples_of_a_benchmark(lengths: Path) -> None:
    reward = TrainerReward(benchmark=lengths, terms=["mcc"])
    names = ["a#0", "a#1", "b#0"]
    texts = [answer_text([1, 2], [0]), answer_text([], []), answer_text([3], [])]
    result = reward.rewards(texts, {"sample_id": names})
    assert result.column("f1")[:2] == [1.0, 1.0]
    assert result.column("mcc")[0] == pytest.approx(1.0)
    benchmark = read_benchmark(lengths)
    again = TrainerReward(benchmark=benchmark).rewards(texts, {"sample_id": names})
    assert again.column("f1") == result.column("f1")
    with pytest.raises(InputError, match="no sample 'z'"):
        reward.rewards(texts[:1], {"sample_id": ["z"]})
    with pytest.raises(InputError, match="sample_id: the column is missing"):
        reward.rewards(texts, {"solution": texts})


def test_arrays_as_columns(rows: Any, columns: Any, here: None) -> None:
    """Parquet gives NumPy arrays."""
    texts = [row["completion"] for row in rows]
    given = columns(rows)
    plain = TrainerReward().column("total", texts, given)
    for name in ("utt_ids", "img_ids", "image_turn"):
        given[name] = [np.array(value) for value in given[name]]
    assert TrainerReward().column("total", texts, given) == plain


def test_missing_columns_are_named(rows: Any, columns: Any) -> None:
    given = columns(rows)
    texts = [row["completion"] for row in rows]
    with pytest.raises(InputError, match=r"solution: the column is missing[\s\S]*it has: utt_ids"):
        TrainerReward().rewards(texts, {"utt_ids": given["utt_ids"]})
    with pytest.raises(InputError, match="image_turn: the column is missing"):
        TrainerReward().check(["solution", "utt_ids", "img_ids", "embeddings"])
    with pytest.raises(InputError, match="utt_ids: the column is missing"):
        TrainerReward(terms=["mcc"]).check(["solution"])
    TrainerReward().check(["solution"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"solution": ["nothing"]}, "solution 0 is not the answer markup"),
        ({"utt_ids": [["1"]]}, "utt_ids: is no list of ids"),
        ({"utt_ids": [[1, 1]]}, "utt_ids: repeats the id 1"),
        ({"image_turn": [[1]]}, "image_turn: 1 turns for 3 images"),
        ({"utt_ids": [[1], [2]]}, "utt_ids: 2 entries for 1 completions"),
    ],
)
def test_bad_columns(row: Any, columns: Any, change: Any, message: str) -> None:
    given = columns([row(RIGHT, embeddings=None)]) | change
    with pytest.raises(InputError, match=message):
        TrainerReward().rewards([RIGHT], given)


def test_bad_completions_and_options(row: Any, columns: Any) -> None:
    given = columns([row(RIGHT, embeddings=None)] * 2)
    with pytest.raises(TypeError, match="completion 1 is int"):
        TrainerReward().rewards([RIGHT, 3], given)
    with pytest.raises(InputError, match="did you mean 'fixed'"):
        TrainerReward("fixd")
    with pytest.raises(InputError, match="unknown reward term"):
        TrainerReward(terms=["oder"])


def test_changed_lists_are_computed_again(row: Any, columns: Any) -> None:
    reward = TrainerReward()
    texts = [RIGHT]
    given = columns([row(RIGHT, embeddings=None)])
    assert reward.rewards(texts, given) is reward.rewards(texts, given)
    texts[0] = "nothing"
    assert reward.column("f1", texts, given) == [0.0]


@pytest.mark.parametrize("path", sorted(ADAPTERS.glob("*.py")), ids=lambda path: path.stem)
def test_adapters_are_small(path: Path) -> None:
    """At most 30 lines of code; blank lines and docstrings are not counted."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    prose = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                prose |= set(range(first.lineno, (first.end_lineno or 0) + 1))
    lines = enumerate(source.splitlines(), 1)
    assert sum(bool(line.strip()) and number not in prose for number, line in lines) <= 30


def test_a_sample_gets_the_same_alone_and_in_company(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Where others have vectors, one without is not computable, however few are scored at once."""
    row = rows[0]
    reward = TrainerReward()
    text = row["completion"]
    pair = {name: [row[name]] * 2 for name in ("solution", "utt_ids", "img_ids", "image_turn")}
    assert reward.column("total", [text] * 2, pair | {"embeddings": [None, None]}) == [None, None]
    alone = {name: values[0] for name, values in pair.items()}
    assert "order" not in reward.one(text, alone)
    with pytest.raises(UncomputableError, match="no embeddings"):
        reward.one(text, alone | {"embeddings": None})


def test_gold_beyond_the_dialogue_is_refused(rows: list[dict[str, Any]]) -> None:
    gold = "<|utt_ids_start|>[50]<|utt_ids_end|>;<|img_ids_start|>[]<|img_ids_end|>"
    ids = {"utt_ids": [[0, 1]], "img_ids": [[]], "image_turn": [[]]}
    with pytest.raises(InputError, match="row 0: utterance 50 of the gold is not among"):
        TrainerReward().rewards([gold], {"solution": [gold], **ids})


def test_ids_that_no_column_holds_and_empty_files_are_refused(tmp_path: Path) -> None:
    gold = "<|utt_ids_start|>[1]<|utt_ids_end|>;<|img_ids_start|>[]<|img_ids_end|>"
    columns = {"solution": [gold], "utt_ids": [[1, 2**63]], "img_ids": [[]], "image_turn": [[]]}
    with pytest.raises(InputError, match="utt_ids: an id is out of range"):
        TrainerReward().rewards([gold], columns)
    (tmp_path / "empty.npz").touch()
    columns |= {"utt_ids": [[1]], "embeddings": [str(tmp_path / "empty.npz")]}
    with pytest.raises(InputError, match=r"is no \.npz of vectors"):
        TrainerReward().rewards([gold], columns)
