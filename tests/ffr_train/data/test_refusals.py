"""What cannot be made training data of."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from ffr_eval.errors import InputError
from ffr_train.data import load_processor
from tests.ffr_train.data.conftest import picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result
    from tests.ffr_train.data.conftest import Dialogues

IMAGES_FIRST = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% for p in m.content if p.type == 'image' %}<|image_pad|>{% endfor %}"
    "{% for p in m.content if p.type == 'text' %}{{ p.text }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN = "{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}"


@pytest.fixture
def small(dialogues: Dialogues) -> Path:
    return dialogues("small", [("a", "train", ["hello there"]), ("b", "test", ["good bye"])])


@pytest.fixture
def refused(make: Callable[..., Result], tmp_path: Path) -> Callable[..., str]:
    """What is said; nothing is written."""

    def run(benchmark: Path, *more: object, stage: str = "sft", model: object = None) -> str:
        before = sorted(tmp_path.iterdir())
        result = make(benchmark, stage, *more, model=model)
        assert (result.code, result.out) == (2, "")
        assert sorted(tmp_path.iterdir()) == before
        return result.err

    return run


@pytest.mark.parametrize("split", ["test", "Test", "test_hard", "testing"])
def test_a_test_split(refused: Callable[..., str], small: Path, split: str) -> None:
    said = refused(small, "--split", split)
    assert f"{split!r} is a test split" in said
    assert "ffr data split" in said


def test_no_training_split(refused: Callable[..., str], dialogues: Dialogues) -> None:
    benchmark = dialogues("tests", [("a", "test", ["hello"]), ("b", "dev", ["bye"])])
    said = refused(benchmark)
    assert "no split 'train'" in said
    assert "splits here: test, dev" in said
    assert f"ffr data split {benchmark} --fractions train=" in said


def test_another_split_may_be_trained_on(make: Callable[..., Result], dialogues: Dialogues) -> None:
    benchmark = dialogues("tests", [("a", "test", ["hello"]), ("b", "dev", ["bye"])])
    assert make(benchmark, "sft", "--split", "dev").code == 0


def test_a_model_without_processor(
    refused: Callable[..., str], small: Path, copied: Callable[[str], Path]
) -> None:
    model = copied("qwen2_vl")
    (model / "preprocessor_config.json").unlink()
    (model / "processor_config.json").unlink(missing_ok=True)
    said = refused(small, model=model)
    assert "has no processor" in said
    assert "preprocessor_config.json" in said


def test_a_model_that_reads_text_only(
    refused: Callable[..., str], small: Path, copied: Callable[[str], Path]
) -> None:
    model = copied("qwen2_vl")
    (model / "config.json").write_text(json.dumps({"model_type": "qwen2"}), encoding="utf-8")
    said = refused(small, model=model)
    assert "reads text only" in said
    assert "dialogues without images too" in said


def _with_template(model: Path, template: str | None) -> None:
    """Replace a model's chat template, wherever it is."""
    for name in ("chat_template.jinja", "chat_template.json"):
        (model / name).unlink(missing_ok=True)
    for name in ("tokenizer_config.json", "processor_config.json"):
        path = model / name
        if path.is_file():
            settings = json.loads(path.read_text(encoding="utf-8"))
            settings.pop("chat_template", None)
            path.write_text(json.dumps(settings), encoding="utf-8")
    if template is not None:
        (model / "chat_template.jinja").write_text(template, encoding="utf-8")


@pytest.mark.parametrize("template", [IMAGES_FIRST, PLAIN])
def test_a_template_that_moves_images(
    refused: Callable[..., str], small: Path, copied: Callable[[str], Path], template: str
) -> None:
    model = copied("qwen2_vl")
    _with_template(model, template)
    said = refused(small, model=model)
    assert "does not keep images at their places" in said
    assert "chat_template.jinja" in said


def test_no_template(
    refused: Callable[..., str], small: Path, copied: Callable[[str], Path]
) -> None:
    model = copied("qwen2_vl")
    _with_template(model, None)
    assert "has no chat template" in refused(small, model=model)


def test_llavas_own_template_puts_images_first(
    refused: Callable[..., str], small: Path, checkpoints: dict[str, Path]
) -> None:
    assert "does not keep images" in refused(small, model=checkpoints["llava"])


def test_what_is_no_model(refused: Callable[..., str], small: Path, tmp_path: Path) -> None:
    assert "no hub name" in refused(small, model="nothing here")
    assert "no config.json" in refused(small, model=small)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert "is an adapter" in refused(small, model=adapter)


def test_a_damaged_tokenizer(
    refused: Callable[..., str], small: Path, copied: Callable[[str], Path]
) -> None:
    model = copied("qwen2_vl")
    (model / "tokenizer.json").write_text("{", encoding="utf-8")
    assert "cannot be loaded" in refused(small, model=model)


def test_a_hub_model_that_is_not_here(
    refused: Callable[..., str], small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def offline(*args: object, **options: object) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    said = refused(small, model="someone/some-model")
    assert "'someone/some-model' is not on this machine" in said
    assert "hf download someone/some-model" in said


def test_a_missing_image(refused: Callable[..., str], dialogues: Dialogues, tmp_path: Path) -> None:
    benchmark = dialogues("p", [("a", "train", ["hi"])], a=picture(tmp_path / "a.png", (60, 50)))
    file = next(benchmark.glob("images/*.png"))
    file.unlink()
    said = refused(benchmark)
    assert "sample 'a#0': image 0 cannot be used: no such file" in said
    assert str(file) in said


def test_an_image_without_file(refused: Callable[..., str], dialogues: Dialogues) -> None:
    benchmark = dialogues("p", [("a", "train", ["hi"])])
    path = benchmark / "dialogues.jsonl"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["images"] = [{"img_id": 4}]
    record["turns"][0]["images"] = [4]
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert "sample 'a#0': image 4 cannot be used: it has no file" in refused(benchmark)


def test_an_image_whose_pixels_are_damaged(
    refused: Callable[..., str], dialogues: Dialogues, tmp_path: Path
) -> None:
    """Its header is fine, so that lengths can be counted."""
    good = picture(tmp_path / "good.jpg", (300, 200))
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(good.read_bytes()[:5000])
    benchmark = dialogues("p", [("a", "train", ["hi"]), ("b", "train", ["ho"])], a=good, b=bad)
    said = refused(benchmark)
    assert "sample 'b#0': image 0 cannot be used" in said
    assert "b.jpg" in said


def test_something_is_there_already(
    make: Callable[..., Result], small: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    assert make(small).code == 0  # an empty folder may be there
    result = make(small)
    assert result.code == 2
    assert "is not empty" in result.err


def test_options_that_contradict_each_other(refused: Callable[..., str], small: Path) -> None:
    assert "--encoder" in refused(small, "--encoder", "static")
    assert "--store" in refused(small, "--store", small, stage="grpo")
    assert "max_pixels" in refused(small, "--min-pixels", 10**6)


def test_no_such_benchmark(refused: Callable[..., str], small: Path) -> None:
    assert "no such benchmark" in refused(small / "nowhere")
    assert "no such benchmark" in refused(small, "--check-against", small / "nowhere")


def test_the_context_of_the_processor_is_that_of_the_model(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    loaded = load_processor(checkpoints["qwen2_5_vl"], 50_000)
    assert loaded.context == 4096
    assert loaded.revision == load_processor(checkpoints["qwen2_5_vl"], 60_000).revision
    copy = tmp_path / "copy"
    shutil.copytree(checkpoints["qwen2_5_vl"], copy)
    (copy / "model.safetensors").unlink()
    assert load_processor(copy, 50_000).revision == loaded.revision  # weights are not in it
    with (copy / "chat_template.jinja").open("a", encoding="utf-8") as stream:
        stream.write(" ")
    assert load_processor(copy, 50_000).revision != loaded.revision
    with pytest.raises(InputError, match="max_pixels"):
        load_processor(copy, 50_000, 60_000)
