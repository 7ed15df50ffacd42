"""Benchmarks whose samples a fault server can tell apart."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
)

if TYPE_CHECKING:
    from pathlib import Path


def write_marked_benchmark(
    folder: Path, dialogues: int, queries: int = 1, images: int = 0, turns: int = 6
) -> Path:
    """Dialogues whose queries hold ``[[sample id]]``, the marker of the server's settings.

    Args:
        folder: Where it is written.
        dialogues: How many; sample ids are ``d0#0``, ``d0#1``, …
        queries: So many of each dialogue.
        images: So many of each dialogue, each another small picture.
        turns: So many of each dialogue; ids from 0.
    """
    rng = random.Random(0)
    source = folder.with_name(f"{folder.name}.png")
    with BenchmarkWriter(folder, InfoRecord(name="marked")) as writer:
        for number in range(dialogues):
            name = f"d{number}"
            records = []
            for k in range(images):
                source.write_bytes(picture(rng.randrange(2**24)))
                records.append(writer.add_image_file(ImageRecord(k), source, f"{name}-{k}.png"))
            spoken = tuple(
                TurnRecord(i, "AB"[i % 2], f"turn {i} of {name}", (i,) if i < images else ())
                for i in range(turns)
            )
            writer.add_dialogue(DialogueRecord(name, spoken, tuple(records), "en"))
            for k in range(queries):
                sample = f"{name}#{k}"
                writer.add_query(QueryRecord(sample, name, f"about [[{sample}]]", (1, 2), ()))
    source.unlink(missing_ok=True)
    return folder


def picture(colour: int, pixels: int = 16) -> bytes:
    """A small PNG of one colour."""
    from PIL import Image

    stream = io.BytesIO()
    red, green, blue = colour.to_bytes(3, "big")
    Image.new("RGB", (pixels, pixels), (red, green, blue)).save(stream, "PNG")
    return stream.getvalue()
