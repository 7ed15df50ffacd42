"""The components, as Streamlit knows them. Their scripts and styles are ours and never vary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamlit.components.v2 import component

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamlit.components.v2.types import ComponentRenderer


def _made(name: str) -> ComponentRenderer:
    folder = Path(__file__).parent
    scripts = [folder / "elements.js", folder / f"{name}.js"]
    return component(
        f"ffr_{name}",
        html=f'<div class="ffr-{name}"></div>',
        css=(folder / f"{name}.css").read_text(encoding="utf-8"),
        js="\n".join(script.read_text(encoding="utf-8") for script in scripts),
    )


_dialogue = _made("dialogue")
_prompt = _made("prompt")


def show_dialogue(data: Mapping[str, Any], key: str) -> None:
    """Draw a dialogue, made by :func:`leaderboard.chat.data.dialogue_data`."""
    _dialogue(key=key, data=data)


def show_prompt(data: Mapping[str, Any], key: str) -> None:
    """Draw requests, made by :func:`leaderboard.chat.data.prompt_data`."""
    _prompt(key=key, data=data)
