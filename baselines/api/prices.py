"""What answers cost: a dated table, the bundled one or the user's own."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from baselines.api.presets import read_toml
from baselines.generative.engine import Price
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_Amount: TypeAlias = Annotated[float, Meta(ge=0)]

_REMEDY: Final = "docs/api.md shows a price table"
_CACHED: Final = "cached_tokens"


class PriceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The price of some models.

    Attributes:
        model: Models whose names begin so; of several entries the longest counts.
        input, output, cached_input: Of a million tokens of each kind.
        currency, date, source: In the place of the table's.
    """

    model: Annotated[str, Meta(min_length=1)]
    input: _Amount
    output: _Amount
    cached_input: _Amount | None = None
    currency: str | None = None
    date: str | None = None
    source: str | None = None


class PriceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prices, and where they are from.

    Attributes:
        date: When they were read, as YYYY-MM-DD.
        source: Where.
        currency: What they are in.
    """

    date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    source: str
    currency: str = "USD"
    prices: tuple[PriceEntry, ...] = ()

    def price(self, model: str) -> Price | None:
        """The price of a model; ``None`` if the table has none.

        A name with its maker before it (``openai/gpt-4o``) is found by what stands after it, too.
        """
        for name in dict.fromkeys((model, model.rpartition("/")[2])):
            fitting = [entry for entry in self.prices if name.startswith(entry.model)]
            if fitting:
                return self._made(max(fitting, key=lambda entry: len(entry.model)))
        return None

    def _made(self, entry: PriceEntry) -> Price:
        return Price(
            input=entry.input,
            output=entry.output,
            cached_input=entry.cached_input,
            currency=entry.currency or self.currency,
            source=f"{entry.source or self.source}, {entry.date or self.date}",
        )


def load_prices(path: Path | None) -> PriceTable:
    """A price table; the bundled one if no file is given.

    Raises:
        InputError: If the file cannot be read or is malformed.
    """
    if path is None:
        data = (files(__package__) / "prices.toml").read_bytes()
        return msgspec.toml.decode(data, type=PriceTable)
    try:
        return read_toml(path, PriceTable, _REMEDY)
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise InputError(message, file=path, remedy="give a TOML file to --prices") from None


def cost_of(price: Price, usage: Mapping[str, int] | None) -> float | None:
    """What an answer cost; ``None`` if the server did not count its tokens.

    Tokens that the server had in its own cache cost less where the table says so. They are counted
    among those of the prompt, and tokens of reasoning among those of the answer: what the server
    counts in total beyond both is taken to be reasoning.
    """
    if not usage or "prompt_tokens" not in usage:
        return None
    prompt, answer = usage["prompt_tokens"], usage.get("completion_tokens", 0)
    answer = max(answer, usage.get("total_tokens", 0) - prompt)
    cached = 0 if price.cached_input is None else min(usage.get(_CACHED, 0), prompt)
    cost = (prompt - cached) * price.input + cached * (price.cached_input or 0.0)
    return round((cost + answer * price.output) / 1e6, 10)


def money(amount: float, currency: str) -> str:
    """An amount for people."""
    digits = 2 if amount >= 1 or amount == 0 else 4
    return f"${amount:.{digits}f}" if currency == "USD" else f"{amount:.{digits}f} {currency}"
