"""Requests to a model for people and programs: what ``ffr prompt`` shows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from ffr_eval.fetch.disk import readable_size
from ffr_eval.report.safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from baselines.generative.chat import Message
    from ffr_eval.dialogue_views import View
    from ffr_eval.types import Image, Sample

_OPEN, _CLOSE = "⟦", "⟧"
_INDENT: Final = "  "


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what it shows.

    Attributes:
        view: The window, or the whole dialogue.
        messages: What is sent.
    """

    view: View
    messages: tuple[Message, ...]

    @property
    def n_characters(self) -> int:
        """Of all texts."""
        return sum(len(part) for part in self._parts() if isinstance(part, str))

    @property
    def images(self) -> list[Image]:
        """All images in their order."""
        return [part for part in self._parts() if not isinstance(part, str)]

    def _parts(self) -> Iterator[str | Image]:
        return (part for message in self.messages for part in message.parts)


@dataclass(frozen=True, slots=True)
class PromptView:
    """What is sent for a sample.

    Attributes:
        sample: The sample.
        prompt_hash: As ``run.json`` has it.
        shots: The ids of the examples.
        requests: One, or one a window.
        schema: The answer's schema, where it is sent beside the messages.
        root: The benchmark's folder.
    """

    sample: Sample
    prompt_hash: str
    shots: tuple[str, ...]
    requests: tuple[Asked, ...]
    schema: dict[str, Any] | None
    root: Path | None

    def record(self) -> dict[str, Any]:
        """As plain JSON: the texts are exact, images are named."""
        record: dict[str, Any] = {
            "sample_id": self.sample.sample_id,
            "prompt_hash": self.prompt_hash,
            "shots": list(self.shots),
            "requests": [_request_record(asked) for asked in self.requests],
        }
        if self.schema is not None:
            record["schema"] = self.schema
        return record


def prompt_lines(view: PromptView) -> Iterator[str]:
    """What is sent, for people, with the terminal's colours.

    All text of a message is indented, and nothing else is: a speaker cannot write what looks like a
    heading. Characters that control the terminal are shown as escapes, and so is the bracket that
    images are named in.
    """
    sample = view.sample
    place = f"{sample.sample_id} (split {sample.split}), dialogue {sample.dialogue.dialogue_id}"
    yield f"sample  {visible(place)}"
    yield f"prompt  {view.prompt_hash}"
    if view.schema is not None:
        yield "answer  an object, whose schema is sent beside the messages (--json shows it)"
    for asked in view.requests:
        if len(view.requests) > 1:
            turns = asked.view.sample.dialogue.turns
            place = f"{asked.view.part + 1} of {len(view.requests)}"
            shown = f"utterances {turns[0].utt_id} to {turns[-1].utt_id}"
            yield f"\nwindow  {place}: {len(turns)} turns, {shown}"
        yield f"size    {_size(asked)}"
        for title, message in zip(_titles(asked.messages, view.shots), asked.messages, strict=True):
            yield ""
            yield click.style(f"{title}:", bold=True)
            numbered_anew = asked.view.img_ids if message is asked.messages[-1] else None
            yield _shown(message, view.root, numbered_anew)


def _size(asked: Asked) -> str:
    counts = [f"{len(asked.messages)} message{_s(len(asked.messages))}"]
    counts.append(f"{asked.n_characters:,} characters")
    images = asked.images
    sizes = [_facts(image).get("bytes") or 0 for image in images]
    total = f" ({readable_size(sum(sizes))})" if images else ""
    return ", ".join([*counts, f"{len(images)} image{_s(len(images))}{total}"])


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _titles(messages: Sequence[Message], shots: Sequence[str]) -> Iterator[str]:
    """The role of each message, and of which example it is."""
    names = [visible(name) for name in shots for _ in ("user", "assistant")]
    number = 0
    for message in messages:
        if message.role == "system" or number >= len(names):
            yield message.role
            continue
        yield f"{message.role}, example {number // 2 + 1} ({names[number]})"
        number += 1


def _shown(message: Message, root: Path | None, img_ids: tuple[int, ...] | None) -> str:
    text = "".join(
        _safe(part) if isinstance(part, str) else _named(part, root, img_ids)
        for part in message.parts
    )
    return "\n".join(_INDENT + line for line in text.removesuffix("\n").split("\n"))


def _safe(text: str) -> str:
    lines = "\n".join(map(visible, text.split("\n")))
    for bracket in (_OPEN, _CLOSE):
        lines = lines.replace(bracket, bracket.encode("unicode_escape").decode("ascii"))
    return lines


def _named(image: Image, root: Path | None, img_ids: tuple[int, ...] | None) -> str:
    """An image in its place.

    Args:
        image: The image, by its id in the message.
        root: The benchmark's folder, which its path is shown from.
        img_ids: The dialogue's image ids, if the window has ids of its own.
    """
    facts = _facts(image)
    details = [facts["problem"]] if "problem" in facts else []
    if image.file is not None:
        inside = root is not None and image.file.is_relative_to(root)
        path = image.file.relative_to(root).as_posix() if root and inside else str(image.file)
        details.insert(0, _safe(path))
    if "width" in facts:
        details.append(f"{facts['width']} × {facts['height']} pixels")
    if "bytes" in facts:
        details.append(readable_size(facts["bytes"]))
    own = "" if img_ids is None else f" (image {img_ids[image.img_id]} of the dialogue)"
    named = f"{_OPEN}image {image.img_id}{own}: {', '.join(details)}{_CLOSE}"
    return click.style(named, fg="cyan")


def _facts(image: Image) -> dict[str, Any]:
    """What is known of an image's file: its size in pixels and bytes, or what is wrong with it."""
    if image.file is None:
        return {"problem": "no file"}
    try:
        facts: dict[str, Any] = {"bytes": image.file.stat().st_size}
    except OSError:
        return {"problem": "the file is missing"}
    try:
        from PIL import Image as Pictures
    except ImportError:
        return facts
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # only the header is read
            with Pictures.open(image.file) as picture:
                facts["width"], facts["height"] = picture.size
    except (OSError, SyntaxError, ValueError, Pictures.DecompressionBombError):
        facts["problem"] = "not an image that can be read"
    return facts


def _request_record(asked: Asked) -> dict[str, Any]:
    view = asked.view
    record: dict[str, Any] = {
        "part": view.part,
        "messages": [
            {"role": message.role, "content": [_part_record(part) for part in message.parts]}
            for message in asked.messages
        ],
        "n_characters": asked.n_characters,
        "n_images": len(asked.images),
    }
    if view.img_ids is not None:
        record["img_ids"] = list(view.img_ids)
    return record


def _part_record(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    file = None if part.file is None else str(part.file)
    return {"type": "image", "image": part.img_id, "file": file, **_facts(part)}
