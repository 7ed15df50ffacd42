"""What a fault server does to which request, and what it writes down of each."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import msgspec


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What happens to some of the requests; the first rule that applies to a request decides.

    Attributes:
        fault: A name from :data:`tests.servers.replies.FAULTS`.
        marker: Only requests with this marker.
        skip: Leave alone so many of the requests that match.
        count: Then apply to so many of them; ``None`` for all.
        of_each: Only to the first so many requests of each marker.
        probability: Of applying to a request that matches; the server's seed decides.
        retry_after: Seconds in the header ``Retry-After``; ``None`` for no such header.
        http_date: Give ``Retry-After`` as a date.
        seconds: How long ``trickle`` takes, or how much later the answer comes.
        text: The answer in the place of the usual one.
        status: Of the fault ``status``.
        headers: Further headers of the answer.
    """

    fault: str = "ok"
    marker: str | None = None
    skip: int = 0
    count: int | None = None
    of_each: int | None = None
    probability: float = 1.0
    retry_after: float | None = None
    http_date: bool = False
    seconds: float = 0.0
    text: str | None = None
    status: int = 418
    headers: dict[str, str] = {}


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a server behaves.

    Attributes:
        port: 0 for a free one.
        latency: Seconds from the whole request to the answer.
        jitter: Up to so many seconds more, by chance.
        max_in_flight: With more requests at once it answers 429.
        model: The names of the models it has; the first is the one that answers if a request
            names another and ``any_model`` is set.
        any_model: Answer to every model name, under that name.
        key: The key that requests must carry; ``None`` for any or none.
        answer: What it answers: ``{number}`` stands for the number of the request, ``{marker}``
            for its marker.
        ids: What structured answers hold: utterance ids and image ids; -1 stands for the number
            of the request.
        marker: A regular expression whose last match in a request's texts, group 1, is the
            marker of the request.
        seed: Of probabilities and jitter.
        rules: The fault plan.
        keep_bodies: Keep the bodies of requests in what is written down.
    """

    port: int = 0
    latency: float = 0.0
    jitter: float = 0.0
    max_in_flight: int | None = None
    model: tuple[str, ...] = ("test-model",)
    any_model: bool = True
    key: str | None = None
    answer: str = "<|utt_ids_start|>[{number}]<|utt_ids_end|>;<|img_ids_start|>[]<|img_ids_end|>"
    ids: tuple[tuple[int, ...], tuple[int, ...]] = ((-1,), ())
    marker: str = r"\[\[(.+?)\]\]"
    seed: int = 0
    rules: tuple[Rule, ...] = ()
    keep_bodies: bool = False


class Seen(msgspec.Struct, omit_defaults=True):
    """A request.

    Attributes:
        number: Counted from 0.
        path: What was asked for.
        marker: Which sample it is about; empty if it has no marker.
        fault: What was done to it.
        arrived: When the whole request was there, on the clock that all processes share.
        answered: When the whole answer was handed to the system; ``None`` if it was not.
        gone: When the client closed the connection without waiting for the answer.
        status: Of the answer.
        in_flight: How many requests, with this one, had no answer when it arrived.
        n_bytes: Of the body.
        n_images: Images in it.
        key: The key that it carried.
        body: The body, if it is kept.
    """

    number: int
    path: str
    marker: str
    fault: str
    arrived: float
    answered: float | None = None
    gone: float | None = None
    status: int | None = None
    in_flight: int = 1
    n_bytes: int = 0
    n_images: int = 0
    key: str | None = None
    body: Any = None


class Plan:
    """Applies rules to requests, in the order in which they arrive."""

    def __init__(self, rules: tuple[Rule, ...], seed: int = 0) -> None:
        self.rules = rules
        self._random = random.Random(seed)
        self._matched: Counter[int] = Counter()
        self._of_marker: Counter[tuple[int, str]] = Counter()

    def rule(self, marker: str) -> Rule:
        """The rule for the next request."""
        for place, rule in enumerate(self.rules):
            if self._applies(place, rule, marker):
                return rule
        return Rule()

    def chance(self) -> float:
        """A random number from 0 to 1."""
        return self._random.random()

    def _applies(self, place: int, rule: Rule, marker: str) -> bool:
        if rule.marker is not None and rule.marker != marker:
            return False
        if rule.of_each is not None:
            self._of_marker[place, marker] += 1
            if self._of_marker[place, marker] > rule.of_each:
                return False
        if rule.probability < 1.0 and self._random.random() >= rule.probability:
            return False
        self._matched[place] += 1
        matched = self._matched[place] - rule.skip
        return matched > 0 and (rule.count is None or matched <= rule.count)
