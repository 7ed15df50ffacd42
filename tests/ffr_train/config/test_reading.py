"""Reading a training configuration: what it comes to, and what is refused where."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.errors import InputError, MissingExtraError
from ffr_train.config import read_config, reading

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ffr_eval.errors import Problem

    Refused = Callable[..., Problem]


def test_paths_are_relative_to_the_file_and_hub_names_stay(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = config_file.parent
    monkeypatch.chdir(folder.parent)
    config = read_config(
        f"{folder.name}/train.yaml",
        [
            "grpo.start=../out/./sft",
            "grpo.pilot=pilot.jsonl",
            "grpo.curriculum.difficulty=/elsewhere/difficulty.jsonl",
            "evaluation.benchmark=ffr-sample",
        ],
    )
    assert config.sft is not None
    assert config.grpo is not None
    assert config.evaluation is not None
    assert config.sft.data == folder / "data" / "sft"
    assert config.grpo.start == folder.parent / "out" / "sft"
    assert config.grpo.pilot == folder / "pilot.jsonl"
    assert str(config.grpo.curriculum.difficulty) == "/elsewhere/difficulty.jsonl"
    assert config.model.path == "Qwen/Qwen2-VL-2B-Instruct"
    assert config.evaluation.benchmark == "ffr-sample"


def test_a_folder_wins_over_a_name(config_file: Path) -> None:
    folder = config_file.parent
    (folder / "Qwen" / "Qwen2-VL-2B-Instruct").mkdir(parents=True)
    (folder / "ffr-sample").mkdir()
    config = read_config(config_file, ["evaluation.benchmark=ffr-sample"])
    assert config.model.path == str(folder / "Qwen" / "Qwen2-VL-2B-Instruct")
    assert config.evaluation is not None
    assert config.evaluation.benchmark == str(folder / "ffr-sample")
    config = read_config(config_file, ["model.path=./toy/model", "evaluation.benchmark=./toy"])
    assert config.model.path == str(folder / "toy" / "model")
    assert config.evaluation is not None
    assert config.evaluation.benchmark == str(folder / "toy")


def test_defaults(config_file: Path) -> None:
    config = read_config(config_file)
    assert config.lora is not None
    assert (config.lora.r, config.lora.alpha, config.lora.target) == (8, 32, "language")
    assert (config.model.max_pixels, config.model.freeze_vision) == (602_112, True)
    assert config.grpo is not None
    assert config.grpo.start is None
    assert (config.grpo.reward.profile, config.grpo.curriculum.rule) == ("fixed", "eq4")
    assert config.evaluation is None
    assert config.to_dict()["sft"]["data"] == str(config_file.parent / "data" / "sft")


def test_null_means_no_adapters_and_no_evaluation_and_empty_sections_their_defaults(
    config_file: Path,
) -> None:
    config_file.write_text(
        config_file.read_text() + "  reward:\n  trainer:\nlora: null\nevaluation: null\n"
    )
    config = read_config(config_file)
    assert config.lora is None
    assert config.evaluation is None
    assert config.grpo is not None
    assert (config.grpo.reward.profile, config.grpo.trainer) == ("fixed", {})
    assert read_config(config_file, ["evaluation.every=5"]).evaluation is None


def test_scalars_are_those_of_yaml_1_2(config_file: Path) -> None:
    config_file.write_text(
        config_file.read_text().replace(
            "learning_rate: 1e-4",
            "{a: 1e-4, b: no, c: 1E3, d: .5, e: -7, f: true, g: ~, h: 010, i: '1e-4',"
            " j: 2026-01-01, k: 1_000, l: off, m: null, n: +1.5e+2}",
        )
    )
    config = read_config(config_file)
    assert config.sft is not None
    found = config.sft.trainer
    assert found == {
        "a": 1e-4,
        "b": "no",
        "c": 1000.0,
        "d": 0.5,
        "e": -7,
        "f": True,
        "g": None,
        "h": 10.0,
        "i": "1e-4",
        "j": "2026-01-01",
        "k": "1_000",
        "l": "off",
        "m": None,
        "n": 150.0,
    }


def test_a_number_is_text_where_text_is_wanted(config_file: Path) -> None:
    config_file.write_text(config_file.read_text().replace('"1.16"', "1.16"))
    config = read_config(config_file, ["sft.out=2026", "grpo.out=1.10"])
    assert config.trl == "1.16"
    assert config.sft is not None
    assert config.sft.out.name == "2026"
    assert config.grpo is not None
    assert config.grpo.out.name == "1.10"


def test_an_alias_stands_for_its_values(config_file: Path) -> None:
    text = config_file.read_text().replace("  trainer:", "  trainer: &t")
    config_file.write_text(f"{text}  trainer: *t\n")
    config = read_config(config_file)
    assert config.grpo is not None
    assert config.grpo.trainer == {"learning_rate": 1e-4}


def test_overrides_come_last_and_may_make_sections(config_file: Path) -> None:
    config = read_config(
        config_file,
        [
            "sft.trainer.learning_rate=1e-5",
            "sft.trainer.seed=3",
            "grpo.reward.weights={f1: 2, order: 0}",
            "grpo.reward.weights.format=0.5",
            "lora=null",
        ],
    )
    assert config.sft is not None
    assert config.sft.trainer == {"learning_rate": 1e-5, "seed": 3}
    assert config.grpo is not None
    assert config.grpo.reward.weights == {"f1": 2, "order": 0, "format": 0.5}
    assert config.lora is None


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "says"),
    [
        ("path: Qwen", "pth: Qwen", 4, "model.pth", "did you mean 'path'?"),
        ("sft:", "sfd:", 5, "sfd", "did you mean 'sft'?"),
        ("", "  curiculum: {}\n", 13, "grpo.curiculum", "did you mean 'curriculum'?"),
        ("  path: Qwen/Qwen2-VL-2B-Instruct\n", "  dtype: auto\n", 3, "model.path", "is missing"),
        ("schema_version: 1\n", "", 1, "schema_version", "is missing"),
        ("schema_version: 1", "schema_version: 2", 1, "schema_version", "known: 1"),
        ('"1.16"', '"1.15"', 2, "trl", "ffr train init"),
        ('"1.16"', '"1.16.0"', 2, "trl", 'write trl: "1.16"'),
        ("", "lora: {r: 0}\n", 13, "lora.r", "0 is not a whole number >= 1"),
        ("", "lora:\n  alpha: many\n", 14, "lora.alpha", "'many' is not a number"),
        ("", "lora: {target: all-linear}\n", 13, "lora.target", "vision tower"),
        ("", "lora: {target: '('}\n", 13, "lora.target", "no regular expression"),
        ("", "lora: {target: []}\n", 13, "lora.target", "is empty"),
        ("", "lora: 8\n", 13, "lora", "8 is no section"),
        ("model:\n", "model:\n  dtype: bf16\n", 4, "model.dtype", "did you mean 'bfloat16'?"),
        ("model:\n", "model:\n  freeze_vision: no\n", 4, "model.freeze_vision", "true or false"),
        ("model:\n", "model:\n  max_pixels: 602,112\n", 4, "model.max_pixels", "digits only"),
        ("model:\n", "model:\n  min_pixels: 602113\n", 4, "model.min_pixels", "602112"),
        ("model:\n", "model:\n  kernels: 1\n", 4, "model.kernels", "auto, true, false"),
        ("model:\n  path: Qwen/Qwen2-VL-2B-Instruct", "model: [a]", 3, "model", "a list"),
        ("out: out/grpo", "out: out/sft", 12, "grpo.out", "sft.out"),
        ("out: out/sft", "out: data/sft", 7, "sft.out", "folder of its own"),
        ("", "  reward: {profile: fixd}\n", 13, "grpo.reward.profile", "mean 'fixed'?"),
        ("", "  reward:\n    weights: {f2: 1}\n", 14, "grpo.reward.weights.f2", "f1"),
        ("", "  reward: {weights: {f1: -1}}\n", 13, "grpo.reward.weights", ">= 0"),
        ("", "  reward: {terms: [mccc]}\n", 13, "grpo.reward.terms.0", "did you mean 'mcc'?"),
        (
            "",
            "  reward: {weights: {f1: 0, order: 0, format: 0}}\n",
            13,
            "grpo.reward.weights",
            "above 0",
        ),
        ("", "  curriculum: {replay: 1.5}\n", 13, "grpo.curriculum.replay", "<= 1"),
        ("", "  curriculum: {rule: eq3}\n", 13, "grpo.curriculum.rule", "eq4, released"),
        ("", "evaluation: {benchmark: ''}\n", 13, "evaluation.benchmark", "is empty"),
        ("", "evaluation: {every: -1}\n", 13, "evaluation.every", ">= 0"),
        ("data: data/sft", "data: ''", 6, "sft.data", "a path"),
        ("learning_rate: 1e-4", "learning_rate: 1e999", 9, "sft.trainer.learning_rate", "large"),
    ],
)
def test_mistakes_name_line_field_and_remedy(
    refused: Refused, old: str, new: str, line: int, field: str, says: str
) -> None:
    problem = refused(old, new)
    assert (problem.line, problem.field) == (line, field)
    assert says in f"{problem.message} {problem.remedy}"


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("", "model: {path: x}\n", 13, "given twice, first in line 3"),
        ("  data: data/sft\n", "  data: a\n  data: b\n", 7, "given twice, first in line 6"),
        ("  data: data/sft", "\tdata: data/sft", 6, "spaces"),
        ("", "lora: [\n", 14, "not valid YAML"),
        ("", "lora: !!python/object:os.system {}\n", 13, "has the tag"),
        ("", "lora: !!int x\n", 13, "invalid literal"),
        ("", "lora: *nowhere\n", 13, "undefined alias"),
        ("", "lora: &a {r: *a}\n", 13, "within itself"),
        ("", f"lora: {'[' * 5000}\n", None, "nested too deeply"),
        ("", "? [a]\n: b\n", 13, "key is no text"),
        ("", "---\nlora: null\n", 13, "single document"),
        ("", "lora: \x00\n", None, "not valid YAML"),
        ("model:", f"model: [{'9' * 5000}]\nx:", 3, "Exceeds the limit"),
    ],
)
def test_what_is_no_plain_yaml(
    refused: Refused, old: str, new: str, line: int | None, says: str
) -> None:
    problem = refused(old, new)
    assert problem.line == line
    assert says in f"{problem.message} {problem.remedy}"


def test_aliases_cannot_fill_the_memory(refused: Refused) -> None:
    lists = ["x0: &x0 [a, a, a, a, a, a, a, a, a, a]"]
    lists += [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "too many values" in refused("", "\n".join(lists)).message


@pytest.mark.parametrize(
    ("override", "field", "says"),
    [
        ("lora.rr=8", "lora.rr", "did you mean 'r'?"),
        ("lora.r=x", "lora.r", "'x' is not a whole number"),
        ("sft.out.x=1", "sft.out", "no section that has 'x'"),
        ("model.path=[", "model.path", "not valid YAML"),
        ("grpo.reward.profile=x", "grpo.reward.profile", "unknown profile"),
        ("sft.trainer=3", "sft.trainer", "3 is not a section"),
        ("model=null", "model.path", "is missing"),
        ("trl=1.15", "trl", "written for trl 1.15"),
    ],
)
def test_a_wrong_override_is_named(refused: Refused, override: str, field: str, says: str) -> None:
    problem = refused("", "", override)
    assert problem.field == field
    assert f"override {override!r}" in problem.message
    assert says in f"{problem.message} {problem.remedy}"


@pytest.mark.parametrize("override", ["lora.r", "=3", "lora..r=3", ""])
def test_an_override_has_a_key_and_a_value(config_file: Path, override: str) -> None:
    with pytest.raises(InputError, match=r"section\.key=VALUE"):
        read_config(config_file, [override])


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "is empty"), (b"# only\n", "is empty"), (b"- a\n", "no mapping"), (b"\xff", "UTF-8")],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "train.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_config(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path / "no.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path)


def test_another_trainer_than_the_files(refused: Refused, monkeypatch: Any) -> None:
    monkeypatch.setattr(reading, "version", lambda name: "1.17.2")
    problem = refused()
    assert (problem.field, problem.line) == ("trl", 2)
    assert "trl 1.17 is installed" in problem.message
    assert "pip install 'trl==1.16.*'" in str(problem.remedy)


def test_without_pyyaml_the_extra_is_named(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ffr_train.config.yaml_tree.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="train"):
        read_config(config_file)


def test_a_stage_that_is_not_there(config_file: Path) -> None:
    text = config_file.read_text()
    config_file.write_text(text[: text.index("grpo:")])
    config = read_config(config_file)
    assert config.stage("sft") is config.sft
    with pytest.raises(InputError, match="no section 'grpo'"):
        config.stage("grpo")


def test_reading_imports_nothing_heavy(config_file: Path) -> None:

    code = (
        "import sys; from ffr_train.config import read_config;"
        f" read_config({str(config_file)!r});"
        " print(sorted({'torch', 'trl', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
