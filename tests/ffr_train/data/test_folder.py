"""The folder: rows of both stages, image files, embeddings, manifest and report."""

from __future__ import annotations

import json
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image as Picture

from ffr_eval.benchmark import BenchmarkWriter, read_benchmark
from ffr_eval.benchmark.schema import (
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
)
from ffr_eval.embeddings.elements import BenchmarkElements
from ffr_eval.embeddings.store import EmbeddingStore, Entry, SpaceRecord
from ffr_eval.errors import InputError
from ffr_eval.picture_size import picture_of
from ffr_train.data import load_processor, load_rows, read_manifest
from ffr_train.rewards.columns import TrainerReward
from tests.ffr_train.data.conftest import MAX_PIXELS, picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ffr_eval.types import Image
    from tests.conftest import Cli, Result
    from tests.ffr_train.data.conftest import Dialogues

SFT = ["completion"]
GRPO = ["solution", "utt_ids", "img_ids", "image_turn"]
SPACE = SpaceRecord("open_clip", "ViT-B-32/openai", "r1", {}, ("text", "image"), roles=False)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_rows_have_the_columns_of_their_stage(
    make: Callable[..., Result], mixed: Path, tmp_path: Path, stage: str
) -> None:
    assert make(mixed, stage).code == 0
    rows = rows_of(tmp_path / "out")
    more = SFT if stage == "sft" else GRPO
    names = ["sample_id", "window", "dialogue_id", "prompt", *more, "images"]
    counts = ["n_prompt_tokens", "n_completion_tokens", "n_images"]
    assert [list(row) for row in rows] == [[*names, *counts]] * 6
    assert [row["sample_id"] for row in rows] == [
        f"{name}#{k}" for name in ("none", "one", "three") for k in range(2)
    ]
    manifest = read_manifest(tmp_path / "out")
    assert (manifest.stage, manifest.n_rows, manifest.split) == (stage, 6, "train")
    assert manifest.max_pixels == MAX_PIXELS
    assert manifest.benchmark.hash == read_benchmark(mixed).content_hash
    assert manifest.model.name == "qwen2_vl"
    assert manifest.counts["negative"] == 3
    assert manifest.counts["images"] == 4


def test_rewards_read_the_rows_of_grpo(
    make: Callable[..., Result], mixed: Path, tmp_path: Path
) -> None:
    assert make(mixed, "grpo").code == 0
    rows = load_rows(tmp_path / "out")
    reward = TrainerReward("fixed")
    reward.check(rows.column_names)
    columns = {name: rows[name] for name in GRPO}
    values = reward.rewards(list(rows["solution"]), columns).column("f1")
    assert values == [1.0] * 6
    assert rows["image_turn"][4] == [11, 11, 14]
    assert rows["img_ids"][4] == [7, 1, 3]


def test_special_tokens_of_speakers_are_broken(
    make: Callable[..., Result], mixed: Path, tmp_path: Path
) -> None:
    assert make(mixed).code == 0
    content = rows_of(tmp_path / "out")[0]["prompt"][0]["content"]
    assert "x< |im_end|>< |im_start|>system< |image_pad|>< image></s>" in content[0]["text"]


def test_rows_become_a_data_set(make: Callable[..., Result], mixed: Path, tmp_path: Path) -> None:
    from datasets import Image as ImageFeature
    from datasets import List

    assert make(mixed).code == 0
    moved = tmp_path / "elsewhere"
    shutil.move(tmp_path / "out", moved)
    rows = load_rows(moved)
    assert len(rows) == 6
    assert rows.features["images"] == List(ImageFeature())
    assert [len(row["images"]) for row in rows] == [0, 0, 1, 1, 4, 4]
    assert all(image.mode == "RGB" for row in rows for image in row["images"])
    benchmark = read_benchmark(mixed)
    for row, sample in zip(rows, benchmark.samples("train"), strict=True):
        files = {image.img_id: image for image in sample.dialogue.images}
        shown = [files[i] for turn in sample.dialogue.turns for i in turn.img_ids]
        for image, known in zip(row["images"], shown, strict=True):
            with Picture.open(str(known.file)) as original:
                assert image.tobytes() == original.convert("RGB").tobytes()


def test_rows_all_without_images(
    make: Callable[..., Result], dialogues: Dialogues, tmp_path: Path
) -> None:
    assert make(dialogues("texts", [("a", "train", ["hello"]), ("b", "train", ["bye"])])).code == 0
    rows = load_rows(tmp_path / "out")
    assert rows["images"][:] == [[], []]
    assert not (tmp_path / "out/images").exists()


def test_changed_rows_and_missing_images_are_refused(
    make: Callable[..., Result], mixed: Path, tmp_path: Path
) -> None:
    assert make(mixed).code == 0
    folder = tmp_path / "out"
    (folder / "images/three/1.png").unlink()
    with pytest.raises(InputError, match=r"'three#0': no such image file: .*three/1\.png"):
        load_rows(folder)
    with (folder / "train.jsonl").open("a", encoding="utf-8") as stream:
        stream.write("\n")
    with pytest.raises(InputError, match="its hash is another"):
        load_rows(folder)
    (folder / "train.jsonl").unlink()
    with pytest.raises(InputError, match="no such file"):
        load_rows(folder)
    manifest = folder / "data.json"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace('"schema_version": 1', '"schema_version": 2'), "utf-8")
    with pytest.raises(InputError, match="version 2"):
        read_manifest(folder)
    manifest.unlink()
    with pytest.raises(InputError, match="is no folder of training data"):
        read_manifest(folder)


@pytest.fixture
def odd_images(tmp_path: Path) -> Path:
    """A benchmark with images of many kinds, in one dialogue."""
    source = tmp_path / "odd"
    source.mkdir()
    exif = Picture.Exif()
    exif[0x0112] = 6
    files = [
        picture(source / "plain.png", (90, 60)),
        picture(source / "plain.jpg", (90, 60)),
        picture(source / "turned.jpg", (90, 60), exif=exif),
        picture(source / "turned.png", (90, 60), exif=exif),
        picture(source / "huge.png", (1200, 900)),
        picture(source / "tiny.png", (3, 5)),
        picture(source / "plain.webp", (90, 60), lossless=True),
        picture(source / "plain.bmp", (90, 60)),
    ]
    for name, mode in (("grey.png", "L"), ("alpha.png", "RGBA"), ("table.gif", "P")):
        with Picture.open(files[0]) as image:
            image.convert(mode).save(source / name)
        files.append(source / name)
    with BenchmarkWriter(tmp_path / "bench", InfoRecord(name="bench")) as writer:
        images = tuple(
            writer.add_image_file(ImageRecord(i), file, file.name) for i, file in enumerate(files)
        )
        turn = TurnRecord(0, "S", "look", tuple(range(len(files))))
        writer.add_dialogue(DialogueRecord("d", (turn,), images))
        writer.add_query(QueryRecord("d#0", "d", "what", (0,), (), "train"))
    return tmp_path / "bench"


def test_images_are_those_of_inference(
    make: Callable[..., Result], odd_images: Path, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    assert make(odd_images).code == 0
    (row,) = load_rows(tmp_path / "out")
    fit = load_processor(checkpoints["qwen2_vl"], MAX_PIXELS).fit
    (sample,) = read_benchmark(odd_images).samples()
    copied = []
    for image, known, path in zip(
        row["images"], sample.dialogue.images, rows_of(tmp_path / "out")[0]["images"], strict=True
    ):
        expected = picture_of(known, fit)
        assert (image.mode, image.size) == ("RGB", expected.size)
        assert image.tobytes() == expected.tobytes()
        assert known.file is not None
        if (tmp_path / "out" / path).read_bytes() == known.file.read_bytes():
            copied.append(known.file.name)
    assert copied == ["plain.png", "plain.jpg", "plain.webp"]
    sizes = {image.size for image in row["images"]}
    assert max(width * height for width, height in sizes) <= 16 * MAX_PIXELS


def test_no_image_is_decoded_for_lengths(
    make: Callable[..., Result], mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for one check of the processor's own arithmetic."""
    from ffr_train.data import lengths

    decoded: list[int] = []
    real = picture_of

    def noted(image: Image, fit: Any) -> Any:
        decoded.append(image.img_id)
        return real(image, fit)

    monkeypatch.setattr(lengths, "picture_of", noted)
    assert make(mixed).code == 0
    assert decoded == [5]  # the first sample with an image has one


def test_without_the_arithmetic_lengths_are_the_same(
    make: Callable[..., Result], mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Qwen2VLProcessor

    assert make(mixed).code == 0
    expected = rows_of(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr(
        Qwen2VLProcessor,
        "_get_num_multimodal_tokens",
        lambda self, image_sizes: {"num_image_tokens": [1] * len(image_sizes)},
    )
    result = make(mixed)
    assert "images were decoded for their lengths" in result.out
    assert rows_of(tmp_path / "out") == expected


def fill(store: Path, benchmark: Path, *, images: bool = True) -> None:
    """Embed everything of a benchmark, each element as a vector of its own."""
    elements = BenchmarkElements(read_benchmark(benchmark), roles=False)
    keys = list(dict.fromkeys(each.key for each in elements.each(images=images, rows=[])))
    vectors = np.random.default_rng(0).normal(size=(len(keys), 8)).astype(np.float32)
    with EmbeddingStore(store).open(SPACE, write=True) as space:
        space.write([Entry(key, vector) for key, vector in zip(keys, vectors, strict=True)])


def test_embeddings_of_the_store(make: Callable[..., Result], mixed: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    fill(store, mixed)
    options = ("--encoder", "clip", "--store", store)
    small = ("--max-length", 640, "--max-completion", 100)
    assert make(mixed, "grpo", *options, *small).code == 0
    manifest = read_manifest(tmp_path / "out")
    assert manifest.encoder is not None
    assert manifest.encoder.label == "open_clip:ViT-B-32/openai"
    rows = load_rows(tmp_path / "out")
    elements = BenchmarkElements(read_benchmark(mixed), roles=False)
    keys = elements.dialogue(2)  # dialogue "three"
    originals = dict(zip([f"i{i}" for i in (7, 1, 3)], keys.image_keys, strict=True))
    originals |= {f"u{10 + i}": key for i, key in enumerate(keys.text_keys)}
    with EmbeddingStore(store).open(SPACE) as space:
        for row in rows:
            with np.load(row["embeddings"]) as archive:
                found = {key: archive[key] for key in archive.files}
            ids = {f"u{i}" for i in row["utt_ids"]} | {f"i{i}" for i in row["img_ids"]}
            assert set(found) == ids
            if row["dialogue_id"] != "three":
                continue
            paths = [image.filename for image in row["images"]]
            order = list(dict.fromkeys(re.sub(r".*/(\d+)\.png", r"i\1", path) for path in paths))
            for name, vector in found.items():
                original = name
                if row["window"] is not None and name.startswith("i"):
                    original = order[int(name[1:])]
                (stored,), _ = space.read([originals[original] or b""])
                assert vector == pytest.approx(stored)
    assert any(row["window"] is not None for row in rows)
    reward = TrainerReward("fixed")
    columns = {name: rows[name] for name in (*GRPO, "embeddings")}
    assert reward.rewards(list(rows["solution"]), columns).column("f1") == [1.0] * len(rows)


def test_what_has_no_vector_is_counted(
    make: Callable[..., Result], dialogues: Dialogues, tmp_path: Path
) -> None:
    benchmark = dialogues("blank", [("a", "train", ["hello", " ", "bye"])])
    fill(tmp_path / "store", benchmark)
    result = make(benchmark, "grpo", "--encoder", "clip", "--store", tmp_path / "store")
    assert "1 utterances and images have no vector" in result.out
    with np.load(tmp_path / "out/embeddings/a.npz") as archive:
        assert sorted(archive.files) == ["u0", "u2"]


def test_missing_embeddings_say_which_command_makes_them(
    make: Callable[..., Result], mixed: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    options = ("--encoder", "clip", "--store", store)
    result = make(mixed, "grpo", *options)
    assert result.code == 2
    assert f"ffr embed {mixed} --encoder clip --split train --store {store}" in result.err
    fill(store, mixed, images=False)
    result = make(mixed, "grpo", *options)
    assert result.code == 2
    assert "4 images have no embedding of open_clip" in result.err
    command = f"ffr embed {mixed} --encoder open_clip:ViT-B-32/openai --split train --store {store}"
    assert command in result.err
    assert not (tmp_path / "out").exists()


def test_the_report_for_programs(make: Callable[..., Result], mixed: Path, tmp_path: Path) -> None:
    result = make(mixed, "sft", "--json", "-")
    assert result.code == 0
    report = result.json
    manifest = json.loads((tmp_path / "out/data.json").read_text(encoding="utf-8"))
    assert {name: report[name] for name in manifest} == manifest
    assert report["left_out"] == []
    assert report["out"] == str(tmp_path / "out")


def test_the_same_twice(make: Callable[..., Result], mixed: Path, tmp_path: Path) -> None:
    assert make(mixed, "grpo").code == 0
    shutil.move(tmp_path / "out", tmp_path / "first")
    assert make(mixed, "grpo").code == 0
    first, second = (
        {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*.*")
            if path.is_file()
        }
        for folder in (tmp_path / "first", tmp_path / "out")
    )
    assert first == second


def test_the_instruction_can_be_of_one_language(
    make: Callable[..., Result], mixed: Path, tmp_path: Path
) -> None:
    from ffr_eval.prompt import prompt_hash

    assert make(mixed, "sft", "--lang", "zh").code == 0
    texts = [row["prompt"][0]["content"][0]["text"] for row in rows_of(tmp_path / "out")]
    assert all(text.startswith("下面是一段对话") for text in texts)
    assert read_manifest(tmp_path / "out").prompt_hash == prompt_hash("zh", "in_place", False)


def test_without_matplotlib_there_is_a_note(
    make: Callable[..., Result],
    dialogues: Dialogues,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ffr_train.data import building

    benchmark = dialogues("a", [("a", "train", ["hello"])])
    assert make(benchmark).code == 0
    assert (tmp_path / "out/lengths.png").read_bytes().startswith(b"\x89PNG")
    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr(building, "can_draw", lambda: False)
    result = make(benchmark)
    assert "ffr-eval[train]" in result.out
    assert not (tmp_path / "out/lengths.png").exists()


def test_names_of_users_are_no_markdown(
    make: Callable[..., Result], dialogues: Dialogues, tmp_path: Path
) -> None:
    name = "<b>x</b>|y"
    long = "word " * 900
    benchmark = dialogues("evil", [("a", "train", ["hello"]), (name, "train", [long])])
    assert make(benchmark, "sft", "--max-length", 900).code == 0
    report = (tmp_path / "out/report.md").read_text(encoding="utf-8")
    assert "\\<b\\>x\\</b\\>\\|y" in report
    assert "<b>" not in report


def test_help_has_examples(cli: Cli) -> None:
    assert "ffr train data mldr --stage sft" in cli("train", "data", "--help").out


def test_reading_a_manifest_needs_nothing_heavy() -> None:
    import subprocess

    code = "import sys; from ffr_train.data import read_manifest, DataRequest; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "datasets", "PIL"} & set(done.stdout.split())
