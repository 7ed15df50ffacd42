"""What filling the store came to, for people and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.embeddings.entries import FailureReason

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES: Final = 5
"""How many elements without a vector are kept by name."""

_IN_WORDS: Final = {
    FailureReason.UNREADABLE: ("image file cannot be read", "image files cannot be read"),
    FailureReason.TOO_LARGE: ("image has too many pixels", "images have too many pixels"),
    FailureReason.NO_DIRECTION: ("vector has no direction", "vectors have no direction"),
    FailureReason.NOT_ENCODED: (
        "element was refused by the encoder",
        "elements were refused by the encoder",
    ),
}


@dataclass(frozen=True, slots=True)
class FillReport:
    """What filling the store with a benchmark's elements came to.

    Attributes:
        encoder: The encoder with its model.
        space: The id of the space of its vectors.
        revision: Identifies its weights.
        dimension: Of the vectors; ``None`` if there is none yet.
        n_elements: How many elements there are, repetitions included.
        n_distinct: How many different ones.
        n_known: How many of them were in the store.
        n_new: How many of them were encoded now, with or without success.
        n_texts: How many of the different ones have a text.
        n_cut: How many of these are longer than what the model reads.
        max_tokens: What it reads; ``None`` for no limit.
        failures: How many elements have no vector, by reason, whenever that was found.
        examples: The first of these, each in a sentence.
        seconds: How long it took.
    """

    encoder: str
    space: str
    revision: str
    dimension: int | None
    n_elements: int
    n_distinct: int
    n_known: int
    n_new: int
    n_texts: int
    n_cut: int
    max_tokens: int | None
    failures: Mapping[FailureReason, int]
    examples: tuple[str, ...]
    seconds: float

    def notes(self) -> list[str]:
        """What the user should know: elements without a vector, and texts that were cut."""
        notes = [f"{n} {_IN_WORDS[reason][n > 1]}" for reason, n in self.failures.items()]
        if notes:
            more = ", …" if sum(self.failures.values()) > len(self.examples) else ""
            notes[-1] += f": {'; '.join(self.examples)}{more}"
        if self.n_cut:
            limit = "what" if self.max_tokens is None else f"the {self.max_tokens} tokens that"
            those = f"{self.n_cut} of {self.n_texts} texts"
            verb = "is" if self.n_cut == 1 else "are"
            notes.append(f"{those} {verb} longer than {limit} the model reads: cut")
        return notes

    def summary(self) -> str:
        """What was embedded, in a line."""
        speed = f" ({self.n_new / self.seconds:.3g} a second)" if self.n_new else ""
        return (
            f"{self.encoder}: {self.n_elements} elements, {self.n_distinct} distinct:"
            f" {self.n_known} were in the store, {self.n_new} are new; {self.seconds:.1f} s{speed}"
        )

    def record(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "encoder": self.encoder,
            "space": self.space,
            "revision": self.revision,
            "dimension": self.dimension,
            "n_elements": self.n_elements,
            "n_distinct": self.n_distinct,
            "n_known": self.n_known,
            "n_new": self.n_new,
            "failures": {reason.value: count for reason, count in self.failures.items()},
            "n_cut": self.n_cut,
            "max_tokens": self.max_tokens,
            "seconds": round(self.seconds, 3),
        }
