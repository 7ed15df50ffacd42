"""The answer as an object that a server or engine holds the model to."""

from __future__ import annotations

from typing import Any, Final

from ffr_eval.prompt import TOOL

ANSWER_NAME: Final = TOOL
"""Name of the schema, and of the tool."""


def _ids(what: str) -> dict[str, Any]:
    return {
        "type": "array",
        "items": {"type": "integer"},
        "description": f"Ids of the {what} that are relevant to the query; empty if there are none",
    }


ANSWER_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"utt_ids": _ids("utterances"), "img_ids": _ids("images")},
    "required": ["utt_ids", "img_ids"],
    "additionalProperties": False,
}
"""JSON schema of the answer, in the subset that strict structured output takes."""
