"""What a submitter says about a submission, and what of that is taken."""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import msgspec

from ffr_eval import plugins
from ffr_eval.same_samples import CEILING_MODELS
from leaderboard import names

if TYPE_CHECKING:
    from collections.abc import Mapping

Weights: TypeAlias = Literal["open", "closed"]
Setting: TypeAlias = Literal["zero-shot", "tuned"]
Field: TypeAlias = Literal[
    "model", "team", "contact", "weights", "setting", "params_b", "link", "description"
]
Wrong: TypeAlias = Literal["name", "reserved", "empty", "too_long", "number", "link", "characters"]

LONGEST_CONTACT: Final = 200
LONGEST_DESCRIPTION: Final = 4_000
MOST_PARAMS_B: Final = 1_000_000.0

_Name = Annotated[str, msgspec.Meta(pattern=r"^[\w.\-/ ()+]{1,80}\Z")]


class Details(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the submitter says; what :func:`what_is_wrong` finds nothing in.

    Attributes:
        model: Its name, as the board is to show it.
        team: Who made it.
        contact: How the reviewer asks back; never published, never in a log.
        weights: Whether they can be had; ``None`` if the submitter does not know.
        setting: Whether the model was tuned on data of this kind; likewise.
        params_b: Parameters in 10^9, if they are known.
        link: Of a paper or a page; https only.
        description: Prompt, decoding, and what else a reader should know.
    """

    model: _Name
    team: _Name
    contact: Annotated[str, msgspec.Meta(max_length=LONGEST_CONTACT)]
    weights: Weights | None = None
    setting: Setting | None = None
    params_b: float | None = None
    link: Annotated[str, msgspec.Meta(max_length=names.LONGEST_LINK)] | None = None
    description: Annotated[str, msgspec.Meta(max_length=LONGEST_DESCRIPTION)] = ""


def composed(details: Details) -> Details:
    """The same with names in the one form that is shown (NFKC), and texts without outer space."""
    return msgspec.structs.replace(
        details,
        model=_composed(details.model),
        team=_composed(details.team),
        contact=details.contact.strip(),
        link=(details.link or "").strip() or None,
        description=details.description.strip(),
    )


def what_is_wrong(details: Details) -> Mapping[Field, Wrong]:
    """The fields that are not taken, and why; nothing if all is well.

    Args:
        details: As :func:`composed` gives them.
    """
    found: dict[Field, Wrong] = {}
    given: tuple[tuple[Field, str], ...] = (("model", details.model), ("team", details.team))
    for field, name in given:
        if not is_name(name):
            found[field] = "name"
    if "model" not in found and is_reserved(details.model):
        found["model"] = "reserved"
    if not details.contact:
        found["contact"] = "empty"
    texts: tuple[tuple[Field, str, int], ...] = (
        ("contact", details.contact, LONGEST_CONTACT),
        ("description", details.description, LONGEST_DESCRIPTION),
    )
    for field, text, longest in texts:
        if len(text) > longest:
            found[field] = "too_long"
        elif not _is_readable(text):
            found[field] = "characters"
    amount = details.params_b
    if amount is not None and not (math.isfinite(amount) and 0 < amount <= MOST_PARAMS_B):
        found["params_b"] = "number"
    if details.link is not None and names.https_link(details.link) is None:
        found["link"] = "link"
    return found


def is_name(name: str) -> bool:
    """Whether a name is shown exactly as it is."""
    return name != names.NOTHING and names.REPLACEMENT not in name and names.is_plain(name)


def is_reserved(model: str) -> bool:
    """Whether a name is that of a model of the toolkit, for whose run it could be taken."""
    known = {*plugins.registered(plugins.MODELS), *CEILING_MODELS}
    return model.casefold() in {name.casefold() for name in known}


def _composed(name: str) -> str:
    return unicodedata.normalize("NFKC", name[: 4 * names.LONGEST_NAME]).strip()


def _is_readable(text: str) -> bool:
    """Whether a text looks like what it is: no control, bidi and other invisible characters."""
    return all(
        character in "\n\t " or unicodedata.category(character)[0] != "C" for character in text
    )
