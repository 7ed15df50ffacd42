"""What a run found, as people see it: utterances and images of the dialogue, in its order.

Everything is looked up in the site by id: nothing of an answer is shown but what the dialogue has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leaderboard.site.reader import Site

_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a fragment.

    Attributes:
        sha256: Of its file in the site; ``None`` without one.
    """

    img_id: int
    sha256: str | None
    caption: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """An utterance of a fragment, or images of one whose text is not part of it.

    Attributes:
        utt_id: ``None`` for images that no turn has.
        text: ``None`` if only images are part of the fragment.
    """

    utt_id: int | None
    speaker: str
    text: str | None
    pictures: tuple[Picture, ...]


Fragment = tuple[Part, ...]


def fragment(
    turns: Sequence[Mapping[str, Any]],
    images: Sequence[Mapping[str, Any]],
    utt_ids: Sequence[int],
    img_ids: Sequence[int],
) -> Fragment:
    """The parts of a dialogue with these ids, in its order; ids that it does not have are left out.

    Args:
        turns: Of a row of the table ``dialogues``.
        images: Of the same row.
        utt_ids: Of an answer.
        img_ids: Of an answer.
    """
    utterances, wanted = set(utt_ids), set(img_ids)
    known = {image["img_id"]: image for image in images}
    left = {img_id for img_id in known if img_id in wanted}
    parts = []
    for turn in turns:
        shown = [img_id for img_id in turn["img_ids"] or () if img_id in left]
        left.difference_update(shown)
        if turn["utt_id"] in utterances or shown:
            text = (turn["text"] or "") if turn["utt_id"] in utterances else None
            pictures = tuple(_picture(known[img_id]) for img_id in dict.fromkeys(shown))
            parts.append(Part(turn["utt_id"], turn["speaker"] or "", text, pictures))
    if left:
        parts.append(Part(None, "", None, tuple(_picture(known[i]) for i in sorted(left))))
    return tuple(parts)


def image_bytes(site: Site, sha256: str | None) -> bytes | None:
    """The file of an image; ``None`` if there is none by that name in the site's folder."""
    if sha256 is None or not _HASH.fullmatch(sha256):
        return None
    name = f"public/images/{sha256}.webp"
    path = site.path / name
    if name not in site.manifest.files or path.resolve() != path:  # a link leads elsewhere
        return None
    try:
        return path.read_bytes()
    except OSError:
        return None


def _picture(image: Mapping[str, Any]) -> Picture:
    return Picture(image["img_id"], image["sha256"], image["caption"])
