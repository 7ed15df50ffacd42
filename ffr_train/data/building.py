"""Making a folder of training data."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.benchmark.reader import NOTICE
from ffr_eval.benchmark.writer import write_json
from ffr_eval.errors import InputError
from ffr_eval.jsonl import encode_line
from ffr_eval.markup import answer_text
from ffr_eval.prompt import prompt_hash
from ffr_eval.provenance import package_versions
from ffr_eval.writing import cannot_write, work_folder
from ffr_train.data.choosing import rows_of_split, without_overlap
from ffr_train.data.figure import FIGURE, can_draw, draw_lengths
from ffr_train.data.fitting import Fitter, Limits
from ffr_train.data.images import ImageWriter
from ffr_train.data.lengths import Lengths
from ffr_train.data.manifest import (
    IMAGES,
    MANIFEST,
    ROWS,
    BenchmarkRecord,
    DataManifest,
    ModelRecord,
)
from ffr_train.data.processor import load_processor
from ffr_train.data.progress import Quiet
from ffr_train.data.report import REPORT, LeftOut, Report
from ffr_train.data.rows import wording_of
from ffr_train.data.thinning import Row, has_no_gold, thinned
from ffr_train.data.vectors import RowVectors
from ffr_train.rewards.columns import ids_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark
    from ffr_train.data.fitting import Measured
    from ffr_train.data.images import Placed
    from ffr_train.data.processor import LoadedProcessor
    from ffr_train.data.progress import Progress
    from ffr_train.data.request import DataRequest

_AT_ONCE: Final = 128


def build(benchmark: Benchmark, request: DataRequest, progress: Progress | None = None) -> Report:
    """Write a folder of training data, whole or not at all.

    Raises:
        InputError: If the benchmark, the model or the request cannot be used, or there is
            something in the folder already.
        MissingExtraError: If what training needs is not installed.
        FfrError: If the disk is full.
    """
    progress = progress or Quiet()
    _refuse_full(request.out)
    rows = rows_of_split(benchmark, request.split)
    with work_folder(request.out.resolve(), "data") as work, ExitStack() as stack:
        whole = work / "folder"
        whole.mkdir()
        vectors = None
        if request.encoder is not None:
            opened = RowVectors(benchmark, request.split, request.encoder, request.store)
            vectors = stack.enter_context(opened)
        loaded = load_processor(request.model, request.max_pixels, request.min_pixels)
        builder = _Builder(benchmark, request, loaded, vectors, progress)
        try:
            report = builder.build(rows, whole)
            if request.out.is_dir():
                request.out.rmdir()  # empty, or this fails
            shutil.move(whole, request.out)
        except OSError as error:
            raise cannot_write(request.out, error) from None
    return report


class _Builder:
    """Makes the content of a folder.

    Args:
        benchmark: The benchmark.
        request: What is wanted.
        loaded: The processor.
        vectors: The embeddings, if rows get some.
        progress: Shows how far it is.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        request: DataRequest,
        loaded: LoadedProcessor,
        vectors: RowVectors | None,
        progress: Progress,
    ) -> None:
        self._benchmark = benchmark
        self._request = request
        self._loaded = loaded
        self._vectors = vectors
        self._progress = progress
        self._notes: list[str] = list(benchmark.warnings)
        self._counts: Counter[str] = Counter()
        self._left_out: list[LeftOut] = []
        self._prompts: tuple[list[int], list[int]] = ([], [])  # that fit, and that do not
        limits = self._limits()
        self._lengths = Lengths(loaded)
        wording = wording_of(loaded.processor, request.language)
        self._fitter = Fitter(self._lengths, wording, limits)

    def build(self, rows: Sequence[int], folder: Path) -> Report:
        """Write the folder; the manifest comes last."""
        benchmark, request = self._benchmark, self._request
        self._counts["samples"] = len(rows)
        chosen = without_overlap(benchmark, request, rows, self._progress)
        self._counts["dropped_overlap"] = chosen.n_dropped
        if self._vectors is not None:
            dialogues = benchmark.queries.dialogue[np.asarray(chosen.rows, dtype=np.int64)]
            self._vectors.check(dict.fromkeys(dialogues.tolist()))
            if self._vectors.n_without:
                self._notes.append(
                    f"{self._vectors.n_without:,} utterances and images have no vector (nothing to"
                    " embed, or nothing that the encoder reads): coherence of answers with one of"
                    " them cannot be rewarded"
                )
        planned = self._thinned(list(self._plan(chosen.rows)))
        if not planned:
            self._refuse_nothing()
        paths = self._write_images(planned, folder)
        digest, lengths = self._write_rows(planned, paths, folder)
        self._counts["images"] = len(set(paths.values()))
        self._notes += self._remarks()
        drawn = can_draw()
        if drawn:
            limit = self._fitter.limits
            draw_lengths(*self._prompts, limit.total - limit.room, folder / FIGURE)
        else:
            self._notes.append(f"no {FIGURE}: it needs matplotlib (pip install 'ffr-eval[train]')")
        manifest = DataManifest(
            stage=request.stage,
            benchmark=BenchmarkRecord(benchmark.name, benchmark.content_hash),
            split=request.split,
            model=ModelRecord(self._loaded.name, self._loaded.revision),
            max_pixels=request.max_pixels,
            min_pixels=request.min_pixels,
            max_length=self._fitter.limits.total,
            max_new_tokens=self._fitter.limits.room or None,
            language=request.language,
            prompt_hash=prompt_hash(request.language, "in_place", captions=False),
            overlong=request.overlong,
            counts={name: self._counts[name] for name in _COUNTED},
            lengths=lengths,
            overlap=chosen.overlap,
            encoder=None if self._vectors is None else self._vectors.record,
            versions=package_versions(["transformers"]),
            n_rows=len(planned),
            hash=digest,
        )
        report = Report(request.out, manifest, tuple(self._left_out), tuple(self._notes))
        (folder / REPORT).write_text(report.markdown(), encoding="utf-8")
        write_json(folder / MANIFEST, manifest)
        return report

    def _limits(self) -> Limits:
        request, context = self._request, self._loaded.context
        total = request.max_length
        if context is not None and total > context:
            self._notes.append(
                f"the model reads {context:,} tokens at most: that is the limit, and not {total:,}"
            )
            total = context
        room = request.max_completion if request.stage == "grpo" else 0
        if room >= total:
            message = f"{room:,} tokens for the answer leave no room for a prompt in {total:,}"
            raise InputError(message, field="--max-completion", remedy="give a smaller number")
        return Limits(total, room)

    # --- Lengths

    def _plan(self, rows: Sequence[int]) -> Iterator[Row]:
        """What becomes a row, in the order of the benchmark."""
        benchmark = self._benchmark
        self._progress.begin("counting tokens", len(rows))
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            samples = [benchmark.sample(row) for row in part]
            for row, sample, found in zip(
                part, samples, self._fitter.measured(samples), strict=True
            ):
                dialogue = int(benchmark.queries.dialogue[row])
                fits = self._fitter.fits(found)
                self._prompts[0 if fits else 1].append(found.length.prompt)
                if fits:
                    self._counts["whole"] += 1
                    yield Row(dialogue, found, None)
                elif self._request.overlong == "filter":
                    self._leave_out(found, "filtered", "too long")
                else:
                    windows = self._fitter.windows(sample, found)
                    if windows is None:
                        self._leave_out(found, "dropped_turn", "a single turn is too long")
                        continue
                    self._counts["windowed"] += 1
                    self._counts["windows"] += len(windows)
                    gold = sample.gold
                    some = gold is not None and bool(gold.utt_ids or gold.img_ids)
                    for window in windows:
                        spare = some and has_no_gold(window)
                        yield Row(dialogue, window, window.view.part, spare)
            self._progress.advance(len(part))

    def _thinned(self, planned: list[Row]) -> list[Row]:
        """Without some of the windows that show no gold, if they are to be fewer."""
        n_empty = sum(row.spare for row in planned)
        self._counts["windows_without_gold"] = n_empty
        wanted = self._request.empty_windows
        if wanted is not None:
            kept = thinned(planned, wanted)
            self._counts["windows_dropped"] = len(planned) - len(kept)
            return kept
        if n_empty > len(planned) / 2:
            self._notes.append(
                f"{n_empty / len(planned):.0%} of the rows are windows without gold, answered by"
                " two empty lists: --empty-windows 1 keeps one for each window with gold"
            )
        return planned

    def _leave_out(self, found: Measured, name: str, reason: str) -> None:
        self._counts[name] += 1
        sample_id = found.view.sample.sample_id
        self._left_out.append(LeftOut(sample_id, found.length.total, reason))

    def _refuse_nothing(self) -> None:
        counts = self._counts
        why = f"{counts['dropped_overlap']} samples are in the evaluation data"
        why += f", {len(self._left_out)} are too long"
        remedies = ["train on another split"]
        if counts["dropped_overlap"]:
            remedies.append("use --overlap keep")
        if self._left_out:
            limits, context = self._fitter.limits, self._loaded.context
            if context is None or limits.total < context:
                remedies.append(f"raise --max-length (it comes to {limits.total:,})")
            answers = f"--max-completion ({limits.room:,}), which gold answers must fit into"
            remedies += [f"raise {answers}"] if limits.room else []
        remedy = ", or ".join(remedies)
        raise InputError(f"no row is left: {why}", file=self._benchmark.root, remedy=remedy)

    def _remarks(self) -> list[str]:
        notes = []
        if self._lengths.decodes_images:
            notes.append(
                "images were decoded for their lengths: the processor's own arithmetic"
                " does not give what it does"
            )
        tokenizer = self._loaded.tokenizer
        first, plain = (
            tokenizer("a", add_special_tokens=adds)["input_ids"] for adds in (True, False)
        )
        start = tokenizer.bos_token
        template = str(self._loaded.processor.chat_template)
        if first != plain and (start is None or start not in template):
            notes.append(
                "at inference this model's tokenizer adds tokens to a prompt that trainers"
                " do not add"
            )
        return notes

    # --- Writing

    def _write_images(self, planned: Sequence[Row], folder: Path) -> dict[tuple[str, int], str]:
        """The path of each image that rows show, by dialogue id and the dialogue's image id."""
        wanted: dict[tuple[str, int], Placed] = {}
        for row in planned:
            sample = row.found.view.sample
            name = sample.dialogue.dialogue_id
            for image in row.found.item.images:
                img_id = _original(row.found, image.img_id)
                wanted.setdefault((name, img_id), (name, img_id, image, sample.sample_id))
        self._progress.begin("writing images", len(wanted))
        writer = ImageWriter(folder, self._loaded.fit)
        paths = writer.write(list(wanted.values()), self._progress.advance)
        root = self._benchmark.root
        if paths and root is not None and (root / NOTICE).is_file():
            shutil.copyfile(root / NOTICE, folder / IMAGES / NOTICE)
        return paths

    def _write_rows(
        self, planned: Sequence[Row], paths: dict[tuple[str, int], str], folder: Path
    ) -> tuple[str, dict[str, dict[str, float]]]:
        """The hash of the rows, and statistics of their lengths."""
        self._progress.begin("writing rows", len(planned))
        digest = hashlib.sha256()
        record = self._sft_row if self._request.stage == "sft" else self._grpo_row
        with (folder / ROWS).open("wb") as stream:
            for row in planned:
                found = row.found
                name = found.view.sample.dialogue.dialogue_id
                images = [
                    paths[name, _original(found, image.img_id)] for image in found.item.images
                ]
                self._counts["negative"] += has_no_gold(found)
                line = encode_line(record(row, images, folder))
                digest.update(line)
                stream.write(line)
                self._progress.advance(1)
        prompts = [row.found.length.prompt for row in planned]
        completions = [row.found.length.completion for row in planned]
        totals = [row.found.length.total for row in planned]
        lengths = {
            "prompt": _statistics(prompts),
            "completion": _statistics(completions),
            "total": _statistics(totals),
        }
        return f"sha256:{digest.hexdigest()}", lengths

    def _sft_row(self, row: Row, images: list[str], folder: Path) -> dict[str, Any]:
        del folder
        return self._row(row, images, {"completion": row.found.item.completion})

    def _grpo_row(self, row: Row, images: list[str], folder: Path) -> dict[str, Any]:
        found = row.found
        known = ids_of(found.view.sample.dialogue)
        more: dict[str, Any] = {
            "solution": answer_text(found.gold.utt_ids, found.gold.img_ids),
            "utt_ids": known.utt_ids,
            "img_ids": known.img_ids,
            "image_turn": [known.image_turns.get(i) for i in known.img_ids or ()],
        }
        if self._vectors is not None:
            more["embeddings"] = self._vectors.write(folder, row.dialogue, found.view)
        return self._row(row, images, more)

    def _row(self, row: Row, images: list[str], more: dict[str, Any]) -> dict[str, Any]:
        found = row.found
        sample = found.view.sample
        return {
            "sample_id": sample.sample_id,
            "window": row.window,
            "dialogue_id": sample.dialogue.dialogue_id,
            "prompt": found.item.prompt,
            **more,
            "images": images,
            "n_prompt_tokens": found.length.prompt,
            "n_completion_tokens": found.length.completion,
            "n_images": len(images),
        }


_COUNTED: Final = (
    "samples",
    "dropped_overlap",
    "filtered",
    "dropped_turn",
    "whole",
    "windowed",
    "windows",
    "windows_without_gold",
    "windows_dropped",
    "negative",
    "images",
)


def _original(found: Measured, img_id: int) -> int:
    """The dialogue's id of an image that a view shows."""
    return img_id if found.view.img_ids is None else found.view.img_ids[img_id]


def _statistics(values: Sequence[int]) -> dict[str, float]:
    array = np.asarray(values)
    low, median, high, top = np.percentile(array, [0, 50, 95, 100]).tolist()
    return {"min": low, "median": median, "p95": high, "max": top}


def _refuse_full(out: Path) -> None:
    remedy = "choose another place for --out, or remove what is there"
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError("already exists", file=out, remedy=remedy)
    if out.is_dir() and any(out.iterdir()):
        raise InputError("is not empty", file=out, remedy=remedy)
