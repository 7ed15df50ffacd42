"""Prompts, gold and ids of a benchmark as each trainer reads them."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ffr_eval.benchmark.reader import NOTICE
from ffr_eval.dialogue_views import whole
from ffr_eval.exporters.source import image_file, root_of, source_dialogues
from ffr_eval.importers.image_files import folder_name
from ffr_eval.jsonl import encode_line
from ffr_eval.markup import answer_text
from ffr_eval.prompt import render, to_openai
from ffr_train.data.vectors import RowVectors
from ffr_train.rewards.columns import ids_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.exporters.source import SourceDialogue
    from ffr_eval.prompt import Prompt
    from ffr_train.export import ExportRequest

TRAIN = "train.jsonl"
PARQUET = "train.parquet"


def write_data(benchmark: Benchmark, folder: Path, request: ExportRequest) -> tuple[list[str], str]:
    """Write data and images; sentences about what a reader should know, and the data's name."""
    with ExitStack() as stack:
        vectors = None
        if request.encoder is not None:
            opened = RowVectors(benchmark, request.split, request.encoder, request.store)
            vectors = stack.enter_context(opened)
            rows = benchmark.rows(request.split)
            vectors.check(dict.fromkeys(benchmark.queries.dialogue[rows].tolist()))
        return _written(benchmark, folder, request, vectors)


def _written(
    benchmark: Benchmark, folder: Path, request: ExportRequest, vectors: RowVectors | None
) -> tuple[list[str], str]:
    notes: list[str] = []
    writer = _Rows(benchmark, folder, request, vectors)
    if request.trainer == "verl" and find_spec("pyarrow") is not None:
        arrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
        name = PARQUET
        rows = list(writer.rows())
        if not any(row["images"] for row in rows):
            rows = [{key: row[key] for key in row if key != "images"} for row in rows]
        parquet.write_table(arrow.Table.from_pylist(rows), folder / name)
    else:
        name = TRAIN
        with (folder / name).open("wb") as stream:
            for row in writer.rows():
                stream.write(encode_line(row))
        if request.trainer == "verl":
            notes.append(
                "verl reads JSON Lines as well as Parquet; for Parquet install pyarrow and export"
                " again"
            )
    notice = root_of(benchmark) / NOTICE
    if notice.is_file() and (folder / "images").is_dir():
        shutil.copyfile(notice, folder / "images" / NOTICE)
    if request.split is None:
        splits = ", ".join(benchmark.splits)
        notes.append(f"all splits are in it ({splits}); --split S takes one")
    if writer.without_pixels:
        notes.append(
            f"{writer.without_pixels} prompts have captions only, because images have no file"
        )
    return notes, name


class _Rows:
    """Rows of a benchmark in its order; image files are copied on the way."""

    def __init__(
        self,
        benchmark: Benchmark,
        folder: Path,
        request: ExportRequest,
        vectors: RowVectors | None,
    ) -> None:
        self._benchmark = benchmark
        self._folder = folder
        self._request = request
        self._vectors = vectors
        self.without_pixels = 0

    def rows(self) -> Iterator[dict[str, Any]]:
        for dialogue in source_dialogues(self._benchmark, self._request.split):
            if dialogue.rows:
                paths = self._place(dialogue)
                for row in dialogue.rows:
                    yield self._row(row, paths)

    def _place(self, dialogue: SourceDialogue) -> dict[int, str] | None:
        """The path of each image's copy; ``None`` if one has no file."""
        root = root_of(self._benchmark)
        images = dialogue.record.images
        sources = {image.img_id: image_file(root, image) for image in images}
        paths = {}
        for img_id, source in sources.items():
            if source is None:
                return None
            name = folder_name(dialogue.record.dialogue_id)
            path = f"images/{name}/{img_id}{source.suffix.lower()}"
            target = self._folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            paths[img_id] = path
        return paths

    def _row(self, row: int, paths: dict[int, str] | None) -> dict[str, Any]:
        sample = self._benchmark.sample(row)
        gold = sample.gold
        if gold is None:
            raise AssertionError("a benchmark's samples have their gold")
        language = self._request.language
        if paths is None:
            self.without_pixels += 1
            prompt = render(sample, language=language, images="text_only", captions=True)
        else:
            prompt = render(sample, language=language)
        known = ids_of(sample.dialogue)
        columns: dict[str, Any] = {
            "sample_id": sample.sample_id,
            "utt_ids": known.utt_ids,
            "img_ids": known.img_ids,
            "image_turn": [known.image_turns.get(i) for i in known.img_ids or ()],
        }
        if self._vectors is not None:
            dialogue = int(self._benchmark.queries.dialogue[row])
            columns["embeddings"] = self._vectors.write(self._folder, dialogue, whole(sample))
        shown = [(paths or {})[image.img_id] for image in prompt.images]
        solution = answer_text(gold.utt_ids, gold.img_ids)
        return _shaped(self._request.trainer, prompt, shown, solution, columns)


def _shaped(
    trainer: str, prompt: Prompt, shown: list[str], solution: str, columns: dict[str, Any]
) -> dict[str, Any]:
    """One row as a trainer reads it."""
    user = {"role": "user", "content": prompt.text}
    if trainer == "swift":
        return {"messages": [user], "images": shown, "solution": solution, **columns}
    if trainer == "trl":
        blocks = [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
            for part in prompt.parts
        ]
        return {
            "prompt": [{"role": "user", "content": blocks}],
            "images": shown,
            "solution": solution,
            **columns,
        }
    if trainer == "verl":
        return {
            "data_source": "ffr",
            "prompt": [user],
            "images": [{"image": path} for path in shown],
            "ability": "fragment retrieval",
            "reward_model": {"style": "rule", "ground_truth": solution},
            "extra_info": columns,
        }
    files = iter(shown)
    message = {"role": "user", "content": to_openai(prompt, lambda _: next(files))}
    return {"prompt": [message], "solution": solution, **columns}
