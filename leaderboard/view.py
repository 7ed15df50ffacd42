"""What is looked at, as it stands in the address: every view is a link that can be sent.

``?board=…&protocol=strict&metric=micro.joint.f1&bucket=long&models=a,b&sample=…``; what is left out
has its default. Whatever an address asks for is looked up in the site before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ffr_eval.metrics.named import HEADLINE
from leaderboard.site.schema import ALL, BOARD_METRICS, PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leaderboard.site.reader import Site

MOST_MODELS: Final = 4
"""So many models are compared at a time."""
_PLAIN_GROUPINGS: Final = ("turns", "kind")


@dataclass(frozen=True, slots=True)
class View:
    """A view of the site.

    Attributes:
        board: The id of a board.
        protocol: ``strict`` or ``official``.
        metric: One of :data:`leaderboard.site.schema.BOARD_METRICS`.
        grouping, bucket: Which samples; both ``all`` for all of them.
        models: Ids of the runs that are picked, in the order in which they were.
        sample: The id of the sample that is open.
    """

    board: str
    protocol: str = PROTOCOLS[0]
    metric: str = HEADLINE
    grouping: str = ALL
    bucket: str = ALL
    models: tuple[str, ...] = ()
    sample: str | None = None

    @property
    def bucket_code(self) -> str:
        """The bucket as it stands in the address."""
        return bucket_code(self.grouping, self.bucket)

    def with_bucket(self, code: str) -> View:
        """The view of another bucket, by its code."""
        grouping, bucket = bucket_of(code)
        return replace(self, grouping=grouping, bucket=bucket)

    def parameters(self) -> dict[str, str]:
        """The address's parameters; defaults are left out, the board is not."""
        found = {"board": self.board}
        if self.protocol != PROTOCOLS[0]:
            found["protocol"] = self.protocol
        if self.metric != HEADLINE:
            found["metric"] = self.metric
        if self.bucket_code != ALL:
            found["bucket"] = self.bucket_code
        if self.models:
            found["models"] = ",".join(self.models)
        if self.sample is not None:
            found["sample"] = self.sample
        return found


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something in an address that the site does not have.

    Attributes:
        key: Of the sentence that says so, in the texts of ``app``.
        value: What was asked for; untrusted.
    """

    key: str
    value: str


def bucket_code(grouping: str, bucket: str) -> str:
    """A bucket as it stands in addresses: ``long``, ``image``, ``language.en``."""
    if grouping == ALL:
        return ALL
    return bucket if grouping in _PLAIN_GROUPINGS else f"{grouping}.{bucket}"


def bucket_of(code: str) -> tuple[str, str]:
    """Grouping and bucket of a code; of an unknown one too."""
    if code == ALL:
        return ALL, ALL
    if code in ("short", "medium", "long"):
        return "turns", code
    grouping, dot, bucket = code.partition(".")
    return (grouping, bucket) if dot else ("kind", code)


def read_view(parameters: Mapping[str, str], site: Site) -> tuple[View, list[Unknown]]:
    """The view that an address asks for, and what of it there is not.

    Args:
        parameters: Of the address; untrusted.
        site: A site with at least one board.
    """
    unknown: list[Unknown] = []
    boards = site.board_ids
    board = parameters.get("board", boards[0])
    if board not in boards:
        unknown.append(Unknown("app.unknown_board", board))
        board = boards[0]
    protocol = _one_of(parameters.get("protocol"), PROTOCOLS, PROTOCOLS[0], unknown)
    metric = _one_of(parameters.get("metric"), BOARD_METRICS, HEADLINE, unknown)
    codes = [bucket_code(*found) for found in site.buckets(board)]
    code = _one_of(parameters.get("bucket"), codes, ALL, unknown)
    labels = site.labels(board)
    wanted = list(dict.fromkeys(filter(None, parameters.get("models", "").split(","))))
    unknown += [Unknown("app.unknown_model", name) for name in wanted if name not in labels]
    models = tuple(name for name in wanted if name in labels)[:MOST_MODELS]
    sample = parameters.get("sample")
    if sample is not None and not site.has_sample(board, sample):
        unknown.append(Unknown("app.unknown_sample", sample))
        sample = None
    grouping, bucket = bucket_of(code)
    return View(board, protocol, metric, grouping, bucket, models, sample), unknown


def _one_of(wanted: str | None, known: Sequence[str], default: str, unknown: list[Unknown]) -> str:
    if wanted is None or wanted in known:
        return default if wanted is None else wanted
    unknown.append(Unknown("app.unknown_choice", wanted))
    return default
