"""Folders that a trainer starts from: data, plugin and run command."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from ffr_eval.errors import InputError
from ffr_eval.writing import cannot_write, work_folder

if TYPE_CHECKING:
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.prompt import Language
    from ffr_train.rewards import Profile

TRAINERS: Final = ("swift", "trl", "verifiers", "verl")
RUN: Final = "run.sh"

_NO_VECTORS: Final = (
    "the data has no embeddings: terms that need them (order, query_sim) are left out; --encoder"
    " puts those in that `ffr embed` made"
)


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What the user chose.

    Attributes:
        trainer: One of :data:`TRAINERS`.
        profile: Of the reward.
        split: Only this split; ``None`` is everything.
        language: Of the instruction in prompts; by default that of each dialogue.
        encoder: Whose embeddings rows get, as ``ffr embed`` takes it; ``None`` for none.
        store: The folder of the embedding store; by default that of the user.
    """

    trainer: str
    profile: Profile
    split: str | None = None
    language: Language | None = None
    encoder: str | None = None
    store: Path | None = None


def export(benchmark: Benchmark, out: Path, request: ExportRequest) -> list[str]:
    """Write a folder, whole or not at all.

    Returns:
        Sentences about what a reader should know.

    Raises:
        InputError: If there is something in the folder, or it cannot be written.
    """
    from ffr_train.export.data import write_data
    from ffr_train.rewards import term_named

    _refuse_full(out)
    with work_folder(out.resolve(), "export") as work:
        whole = work / "folder"
        whole.mkdir()
        notes, data = write_data(benchmark, whole, request)
        weights = request.profile.weights
        if request.encoder is None and any(term_named(name).embedded for name in weights):
            notes = [*notes, _NO_VECTORS]
        words = {
            "@PROFILE@": request.profile.name,
            "@DATA@": data,
            "@NAMES@": " ".join(f"ffr_{name}" for name in weights),
            "@WEIGHTS@": " ".join(f"{weight:g}" for weight in weights.values()),
        }
        templates = files("ffr_train.export").joinpath(f"templates/{request.trainer}")
        for template in templates.iterdir():
            text = template.read_text(encoding="utf-8")
            for word, value in words.items():
                text = text.replace(word, value)
            (whole / template.name.removesuffix(".txt")).write_text(text, encoding="utf-8")
        (whole / RUN).chmod(0o755)
        try:
            if out.is_dir():
                out.rmdir()  # empty, or this fails
            shutil.move(whole, out)
        except OSError as error:
            raise cannot_write(out, error) from None
    return notes


def _refuse_full(out: Path) -> None:
    remedy = "choose another place for --out, or remove what is there"
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError("already exists", file=out, remedy=remedy)
    if out.is_dir() and any(out.iterdir()):
        raise InputError("is not empty", file=out, remedy=remedy)
