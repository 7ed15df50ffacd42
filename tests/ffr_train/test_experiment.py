"""The script of the training experiment: what it would do, and what it writes of results."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ffr_eval.benchmark import read_benchmark
from ffr_eval.embeddings import EmbeddingStore

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a module of ``scripts``."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module
    for name in [name for name in sys.modules if name.split(".")[0] == "experiment"]:
        del sys.modules[name]
    sys.modules.pop("training_experiment", None)


def test_plan_names_every_arm(
    script: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = script("training_experiment").main
    assert main(["--size", "tiny", "--out", str(tmp_path / "x"), "--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    arms = [line for line in lines if line.startswith("ffr train grpo")]
    assert len(arms) == 6
    assert sum("grpo.curriculum.difficulty=null" in line for line in arms) == 3
    assert sum("grpo.reward.profile=released" in line for line in arms) == 2
    assert sum(line.startswith("ffr run hf") for line in lines) == 7
    assert not (tmp_path / "x").exists()


def test_unknown_arm_is_refused(script: Callable[[str], Any], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as refused:
        script("training_experiment").main(["--out", str(tmp_path), "--arms", "f1,best"])
    assert refused.value.code == 2


@pytest.mark.parametrize("name", ["tiny", "cpu", "gpu"])
def test_configuration_can_be_read(script: Callable[[str], Any], tmp_path: Path, name: str) -> None:
    from ffr_train.config import check_trainer, read_config

    plan, sizes = script("experiment.plan"), script("experiment.sizes")
    size = sizes.SIZES[name]
    plan.write_config(tmp_path / "train.yaml", size, 3)
    text = yaml.safe_load((tmp_path / "train.yaml").read_text(encoding="utf-8"))
    text["model"]["dtype"] = "float32"  # there may be no GPU here
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    config = read_config(tmp_path / "train.yaml")
    for stage in ("sft", "grpo"):
        check_trainer(config, stage)
    assert size.grpo["per_device_train_batch_size"] % size.grpo["num_generations"] == 0


def test_vectors_of_one_thing_are_near(script: Callable[[str], Any], tmp_path: Path) -> None:
    inputs, sizes = script("experiment.inputs"), script("experiment.sizes")
    size = sizes.SIZES["tiny"]
    inputs.make_benchmark(tmp_path / "benchmark", size, 0)
    inputs.make_vectors(tmp_path / "store", tmp_path / "benchmark", 0)
    store = EmbeddingStore(tmp_path / "store")
    record = store.find(inputs.ENCODER)
    elements = script("ffr_eval.embeddings").BenchmarkElements(
        read_benchmark(tmp_path / "benchmark"), roles=False
    )
    cosines: dict[bool, list[float]] = {True: [], False: []}
    with store.open(record) as space:
        for row in range(30):
            found = elements.dialogue(row)
            vectors, there = space.read([*found.text_keys, *found.image_keys])
            assert there.all()
            things = [inputs._THING.search(text)[0] for text in found.texts]
            for a in range(len(things)):
                for b in range(a):
                    if found.texts[a] != found.texts[b]:
                        cosines[things[a] == things[b]].append(float(vectors[a] @ vectors[b]))
    assert min(cosines[True]) > max(cosines[False])


def test_a_step_is_done_once(script: Callable[[str], Any], tmp_path: Path) -> None:
    steps = script("experiment.steps")
    done: list[int] = []
    step = steps.Step("one", ("write", "it"), work=lambda: done.append(1))
    for _ in range(2):
        steps.perform(step, tmp_path)
    assert done == [1]
    assert json.loads((tmp_path / "steps" / "one.json").read_bytes())["command"] == "write it"
    with pytest.raises(steps.StepError, match="another folder"):
        steps.perform(steps.Step("one", ("write", "more"), work=lambda: None), tmp_path)
    with pytest.raises(steps.StepError, match="ended with 2"):
        steps.perform(steps.Step("two", ("score", "absent.jsonl")), tmp_path)
    assert not (tmp_path / "steps" / "two.json").exists()


def test_page_keeps_what_is_around(script: Callable[[str], Any], tmp_path: Path) -> None:
    page = script("experiment.page")
    file = tmp_path / "page.md"
    file.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n", encoding="utf-8")
    page.write_page(file, "new\n")
    text = file.read_text(encoding="utf-8")
    assert "old" not in text
    assert [part in text for part in ("before", "new", "after")] == [True] * 3
    assert text.count(page.BEGIN) == text.count(page.END) == 1
