"""What a session may vote on: a signed token, good for one ballot of this session.

A token names the runs, so it stays on the server until the vote is cast: whoever reads it knows
whose fragments are shown. Its signature proves that the server drew this pair for this session.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from ffr_eval.errors import InputError
from ffr_eval.writing import cannot_write
from leaderboard.arena.store import Ballot, VoteRefused
from leaderboard.arena.votes import Criterion, Form, Vote, what_is_wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET: Final = "arena.secret"  # noqa: S105 - the name of its file
LIFETIME: Final = 3600
"""Seconds that a token is good for."""

_BYTES: Final = 32
_SALT: Final = "ffr-arena-pair-1"


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was drawn for a session.

    Attributes:
        session: Keyed hash of the session it was drawn for.
        runs: In the order they are shown, which was drawn as well.
        nonce: Random; a ballot with it is taken once.
    """

    session: str
    board_id: str
    sample_id: str
    dialogue_id: str
    form: Form
    runs: tuple[str, ...]
    criteria: tuple[Criterion, ...]
    nonce: str = msgspec.field(default_factory=lambda: secrets.token_hex(16))


class Tokens:
    """Signs and reads tokens, and hashes who votes, with the secret of a state folder.

    Args:
        secret: Random bytes that only the server knows.
    """

    def __init__(self, secret: bytes) -> None:
        from itsdangerous import URLSafeTimedSerializer

        self._secret = secret
        self._serializer = URLSafeTimedSerializer(
            secret, salt=_SALT, signer_kwargs={"digest_method": hashlib.sha256}
        )

    def voter(self, what: str, value: str) -> str:
        """A keyed hash of a session or an address: nobody can go back without the secret."""
        text = f"{what}\0{value}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:32]

    def issue(self, pair: Pair) -> str:
        """The token for what was drawn."""
        signed: str | bytes = self._serializer.dumps(msgspec.to_builtins(pair))
        return signed if isinstance(signed, str) else signed.decode()

    def read(self, token: str, session: str) -> tuple[Pair, float]:
        """What a session's token stands for, and when it expires.

        Raises:
            VoteRefused: If it was changed, is too old, or was issued to another session.
        """
        from itsdangerous import BadSignature, SignatureExpired

        try:
            found, signed = self._serializer.loads(token, LIFETIME, return_timestamp=True)
            pair = msgspec.convert(found, Pair)
        except SignatureExpired:
            raise VoteRefused("expired") from None
        except (BadSignature, msgspec.ValidationError):
            raise VoteRefused("tampered") from None
        if not hmac.compare_digest(pair.session, session):
            raise VoteRefused("foreign")
        return pair, signed.timestamp() + LIFETIME

    def ballot(
        self, token: str, session: str, address: str, choices: Mapping[Criterion, str]
    ) -> Ballot:
        """The ballot of a session with its choice for each criterion.

        Args:
            token: As it was issued.
            session: The keyed hash of the session that votes, not the one in the token.
            address: The keyed hash of the address it votes from.
            choices: A run, or ``tie`` or ``both_bad``, by criterion.

        Raises:
            VoteRefused: If the token is not good, or the choices are not those that it allows.
        """
        pair, expires = self.read(token, session)
        if set(choices) != set(pair.criteria):
            raise VoteRefused("tampered")
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        votes = tuple(
            Vote(
                vote_id=secrets.token_hex(16),
                time=now,
                board_id=pair.board_id,
                sample_id=pair.sample_id,
                dialogue_id=pair.dialogue_id,
                criterion=criterion,
                form=pair.form,
                runs=pair.runs,
                choice=choices[criterion],
                rater=session,
                rater_kind="human",
            )
            for criterion in pair.criteria
        )
        if any(map(what_is_wrong, votes)):
            raise VoteRefused("tampered")
        return Ballot(votes, pair.nonce, expires, (session, address))


def read_tokens(state: Path) -> Tokens:
    """Tokens under the secret of a state folder, which is made when it is first needed.

    Raises:
        InputError: If the secret cannot be made or read, or others may read it.
    """
    path = state / SECRET
    try:
        if not path.exists():
            _create(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        secret = path.read_bytes()
    except OSError as error:
        raise cannot_write(path, error) from None
    if mode & 0o077:
        message = f"others may read it (mode {mode:03o})"
        remedy = "delete it, and a new one is made; whoever read it can forge votes"
        raise InputError(message, file=path, remedy=remedy)
    if len(secret) < _BYTES:
        remedy = "delete it, and a new one is made"
        raise InputError(f"has {len(secret)} bytes, not {_BYTES}", file=path, remedy=remedy)
    return Tokens(secret)


def _create(path: Path) -> None:
    """Write a new secret; if two do so at once, both go on with the same one."""
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(".arena.lock")):
        if path.exists():
            return
        handle, name = tempfile.mkstemp(prefix=".arena-", suffix=".new", dir=path.parent)
        with os.fdopen(handle, "wb") as stream:  # mkstemp: mode 0600
            stream.write(secrets.token_bytes(_BYTES))
        Path(name).replace(path)
