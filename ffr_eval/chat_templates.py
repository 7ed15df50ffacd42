"""What chat templates of transformers do with the parts of a message."""

from __future__ import annotations

from typing import Any, Final

PROBE: Final = ("first3f7", "second3f7", "third3f7")
"""Words that no template has."""


def template_of(owner: Any) -> str | None:
    """The chat template of a processor or tokenizer, if it has one."""
    template = getattr(owner, "chat_template", None)
    if isinstance(template, dict):
        template = template.get("default")
    return template if isinstance(template, str) else None


def in_order(text: str) -> bool:
    """Whether the same something stands between each two words of the probe, in a prompt of them.

    A template that keeps images in their places puts the same there if there is an image between
    each two.
    """
    places = [text.find(word) for word in PROBE]
    if places != sorted(places) or places[0] < 0:
        return False
    gaps = [
        text[place + len(word) : following].strip()
        for place, word, following in zip(places, PROBE, places[1:], strict=False)
    ]
    return bool(gaps[0]) and gaps[0] == gaps[1]
