"""``card.json``: what a run folder says of itself that ``run.json`` does not."""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from ffr_eval import plugins
from ffr_eval.errors import InputError
from ffr_eval.jsonl import decode, problem
from leaderboard import names
from leaderboard.allowed_values import with_allowed
from leaderboard.run_folders import CARD

if TYPE_CHECKING:
    from pathlib import Path

    from ffr_eval.runs import RunRecord

Setting: TypeAlias = Literal["zero-shot", "tuned"]
Weights: TypeAlias = Literal["open", "closed"]
Provenance: TypeAlias = Literal["verified", "submitted"]

_MOST_BYTES: Final = 65_536
_MOST_BILLIONS: Final = 1_000_000
_WEIGHT_OPTIONS: Final = ("model", "pretrained", "encoder")


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is shown of a run beside its record; all of it may be left out.

    Attributes:
        label: Its name on the board; by default the folder's.
        team: Who made it.
        params_b: Parameters of the model, in 10^9.
        weights: Whether everyone can have them.
        setting: Whether it was tuned for the task.
        link: Where more is said, https only.
        provenance: ``submitted`` for predictions that somebody else made.
    """

    label: str | None = None
    team: str | None = None
    params_b: float | None = None
    weights: Weights | None = None
    setting: Setting | None = None
    link: str | None = None
    provenance: Provenance | None = None


def read_card(folder: Path) -> Card:
    """The card of a run folder; an empty one if it has none.

    Raises:
        InputError: If it cannot be read, has unknown fields, or a value that is not allowed.
    """
    file = folder / CARD
    try:
        with file.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return Card()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=file) from None
    if len(data) > _MOST_BYTES:
        raise InputError(f"larger than {_MOST_BYTES // 1024} KiB", file=file)
    try:
        card = decode(data, msgspec.json.Decoder(Card))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        known = ", ".join(Card.__struct_fields__)
        refused = problem(error, file, None, f"one JSON object with some of: {known}")
        raise with_allowed(refused, Card) from None
    return msgspec.structs.replace(
        card,
        label=_name(card.label, "label", file),
        team=_name(card.team, "team", file),
        params_b=_billions(card.params_b, file),
        link=_link(card.link, file),
    )


def setting_of(card: Card, record: RunRecord) -> str:
    """``zero-shot``, ``tuned`` or ``unknown``, from what is recorded.

    The card decides. Else a run with a tuning split or an adapter is tuned; one with weights or a
    prompt is unknown, as nothing says what its weights were trained on, and so is one of a model
    that is not FFR's or a plugin's, as uploaded answers are; any other has learned nothing.
    """
    if card.setting is not None:
        return card.setting
    options = record.options
    if record.tune_on is not None or options.get("adapter"):
        return "tuned"
    has_weights = record.model_revision is not None or record.prompt_hash is not None
    if has_weights or any(options.get(name) for name in _WEIGHT_OPTIONS):
        return "unknown"
    return "zero-shot" if record.model in plugins.registered(plugins.MODELS) else "unknown"


def _name(text: str | None, field: str, file: Path) -> str | None:
    if text is None:
        return None
    composed = unicodedata.normalize("NFKC", text).strip()
    if not composed or names.REPLACEMENT in composed or not names.is_plain(composed):
        message = "not a name that can be shown"
        remedy = (
            f"give 1 to {names.LONGEST_NAME} letters, digits, spaces and . - _ / ( ) +, and no"
            " characters that cannot be seen"
        )
        raise InputError(message, file=file, field=field, remedy=remedy)
    return composed


def _billions(value: float | None, file: Path) -> float | None:
    if value is None:
        return None
    if not math.isfinite(value) or not 0 <= value <= _MOST_BILLIONS:
        remedy = "give the number of parameters in billions, for example 7.6"
        raise InputError(
            f"{value} is no number of parameters", file=file, field="params_b", remedy=remedy
        )
    return float(value)


def _link(text: str | None, file: Path) -> str | None:
    if text is None:
        return None
    if names.https_link(text) is None:
        message = "not a link that is shown"
        remedy = f"give an https:// address in ASCII, up to {names.LONGEST_LINK} characters"
        raise InputError(message, file=file, field="link", remedy=remedy)
    return text
