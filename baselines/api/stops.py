"""Errors that end a run: what is wrong with every request, and what the user can do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from baselines.api.prices import money
from ffr_eval.errors import FfrError, InputError, Stopped

if TYPE_CHECKING:
    from baselines.api.outcomes import Cause

_KEPT: Final = "what was answered is kept; the same command goes on with the rest"


@dataclass(frozen=True, slots=True)
class Server:
    """Who is asked, for people.

    Attributes:
        name: The server's.
        base_url: Where it is.
        model: The model that is asked for.
        keys: Where its key is looked for.
        example: A model that it has.
    """

    name: str
    base_url: str
    model: str
    keys: str
    example: str | None = None


def stopping(cause: Cause, said: str, server: Server) -> FfrError:
    """The error for a cause that every request would meet; ``said`` is fit to be shown."""
    if cause == "quota":
        what = f"{server.name} does not answer: the account's quota or credit is used up ({said})"
        return FfrError(f"{what}\n  → top it up, or raise its limit; {_KEPT}")
    if cause == "key":
        message = f"{server.name} refuses the key ({said})"
        return InputError(message, remedy=f"check {server.keys}; {_KEPT}")
    if cause == "forbidden":
        message = f"{server.name} refuses to answer ({said})"
        remedy = f"check what the key in {server.keys} may use, and from where; {_KEPT}"
        return InputError(message, remedy=remedy)
    if cause == "model":
        message = f"{server.name} has no model {server.model!r} for this key ({said})"
        example = f", for example -o model={server.example}" if server.example else ""
        remedy = f"name one that {server.base_url}/models lists{example}"
        return InputError(message, field="option model", remedy=remedy)
    if cause == "address":
        message = f"nothing answers chats at {server.base_url} ({said})"
        remedy = "check the address: most end in /v1"
        return InputError(message, field="option base_url", remedy=remedy)
    message = f"{server.name} does not take a field of the request for {server.model!r} ({said})"
    remedy = "leave the option out, or say so in a preset of your own: -o preset=FILE.toml"
    return InputError(message, field="option preset", remedy=remedy)


def unreachable(why: str, server: Server) -> FfrError:
    """The error for a server that could not be connected to for all tries of a request."""
    message = f"{server.base_url} cannot be reached ({why})"
    return FfrError(f"{message}\n  → check that the server is up and the address right; {_KEPT}")


def out_of_money(limit: float, total: float, here: float, currency: str) -> Stopped:
    """The end of a run that would cost more than it may."""
    spent = f"{money(total, currency)} spent"
    if here < total:
        spent += f", {money(here, currency)} of it now"
    message = f"the limit of {money(limit, currency)} is reached: {spent}"
    return Stopped(f"{message}\n  → give a higher --max-cost; {_KEPT}")
