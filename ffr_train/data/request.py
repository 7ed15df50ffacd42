"""What a user asks ``ffr train data`` for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.prompt import Language
    from ffr_train.data.manifest import Stage

Overlong: TypeAlias = Literal["window", "filter"]
OnOverlap: TypeAlias = Literal["drop", "keep", "refuse"]

MAX_LENGTH: Final = 15536
MAX_COMPLETION: Final = 1024
MAX_PIXELS: Final = 602112
"""As ``ffr run hf`` has it."""
SIMILARITY: Final = 0.8


@dataclass(frozen=True, slots=True)
class DataRequest:
    """What the user chose.

    Attributes:
        stage: ``sft`` has the gold as answer; ``grpo`` has what rewards need.
        model: A folder or hub name; its processor counts the tokens.
        out: The folder to write.
        split: The samples to train on.
        max_length: Tokens of a prompt and its answer, at most.
        max_completion: Tokens of the room for an answer (``grpo``).
        max_pixels, min_pixels: Bounds of images.
        overlong: What is done with longer samples.
        empty_windows: At most so many windows without gold for each window with some, of samples
            that have gold; by default all.
        language: Of the instruction; by default that of each dialogue.
        check_against: Evaluation data, besides the other splits of the benchmark.
        overlap: What is done with samples that are in the evaluation data.
        similarity: From here on, two dialogues are taken to be the same.
        encoder: Whose embeddings rows get (``grpo``).
        store: Where embeddings are kept; by default in the user's cache.
    """

    stage: Stage
    model: str
    out: Path
    split: str = "train"
    max_length: int = MAX_LENGTH
    max_completion: int = MAX_COMPLETION
    max_pixels: int = MAX_PIXELS
    min_pixels: int | None = None
    overlong: Overlong = "window"
    empty_windows: float | None = None
    language: Language | None = None
    check_against: tuple[Benchmark, ...] = ()
    overlap: OnOverlap = "drop"
    similarity: float = SIMILARITY
    encoder: str | None = None
    store: Path | None = None
