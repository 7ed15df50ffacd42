"""The engine of the model ``api``: completes chats by asking a server."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from baselines.api.body import BodyBuilder
from baselines.api.images import Encoding, ImageStore, data_uri
from baselines.api.keys import checked_base_url, find_key, key_advice
from baselines.api.presets import load_preset, preset_names
from baselines.api.prices import load_prices
from baselines.api.stops import Server
from baselines.api.tokens import request_tokens
from baselines.generative.engine import Engine, Price, TokenCount
from ffr_eval.errors import InputError
from ffr_eval.model_files import content_hash
from ffr_eval.plugins import close_match

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from baselines.api.asking import Asker
    from baselines.api.model import ApiOptions
    from baselines.api.work import Account
    from baselines.generative.chat import ChatRequest, Completion
    from baselines.machine import Machine
    from baselines.response_cache import ResponseCache
    from baselines.session import Session

CONCURRENCY: Final = 8
TIMEOUT_S: Final = 120.0
MAX_RETRIES: Final = 5


class ApiEngine(Engine):
    """Asks a server; made without sending anything and without looking for a key.

    Args:
        options: The model's.
        machine: Limits, prices and the cache.

    Raises:
        InputError: If options or settings contradict each other, or what is known of the server.
    """

    def __init__(self, options: ApiOptions, machine: Machine) -> None:
        self._options, self._machine = options, machine
        self._preset_name = options.preset
        self._preset = preset = load_preset(options.preset)
        self._model = _required_model(options, preset.example)
        self._base_url = _base_url(options.base_url or preset.base_url)
        self._builder = BodyBuilder(options, preset)
        self._bundled = options.preset if options.preset in preset_names() else None
        if options.preset is not None and self._bundled is None:
            self.revision = f"preset sha256:{content_hash(Path(options.preset))}"
        own = self._bundled is not None and self._base_url == (preset.base_url or "").rstrip("/")
        self._provider = self._bundled if own else self._base_url.partition("://")[2]
        self._table = load_prices(machine.prices)
        self._priced = preset.priced or machine.prices is not None
        self.price = self._price_of(self._model)
        self.context_tokens = options.context or preset.context_of(self._model)
        self._image_rule = preset.image_tokens_of(self._model)
        self._account: Account | None = None
        _check(machine)
        if machine.max_cost is not None and self.price is None:
            message = f"--max-cost needs a price, and there is none for {self._model!r}"
            raise InputError(message, remedy="give a table with --prices FILE.toml")

    def expect(self, max_images: int) -> None:
        """Refuse images if the model takes none."""
        if max_images and not self._preset.has("images", self._model):
            message = f"{self._preset.title} takes no images for {self._model!r}"
            raise InputError(message, field="option images", remedy="-o images=text_only")

    def count_tokens(self, request: ChatRequest) -> TokenCount:
        """An estimate: only the server has the model's tokenizer."""
        return TokenCount(self._count(request), exact=False)

    def complete(
        self, requests: Iterator[ChatRequest], session: Session
    ) -> Iterator[tuple[ChatRequest, Completion]]:
        """Complete requests, many at once."""
        from baselines.api.work import Drive, Limits, Work
        from baselines.response_cache import ResponseCache

        key = find_key(self._preset, self._key_name, self._base_url)
        account = self._account_of(session)
        if self._builder.left_out:
            fields = ", ".join(self._builder.left_out)
            account.note("fields", f"{self._model} takes no {fields}: not sent")
        concurrency = self._machine.concurrency or CONCURRENCY
        limits = Limits(
            outstanding=concurrency + max(2, concurrency // 4),
            concurrency=concurrency,
            max_cost=self._machine.max_cost,
            currency="USD" if self.price is None else self.price.currency,
            estimate=self._estimate,
        )
        cache = None if self._machine.no_cache else ResponseCache(self._machine.cache)
        executor = ThreadPoolExecutor(min(4, (os.cpu_count() or 1) + 1), "ffr-api")
        keeping = ThreadPoolExecutor(min(16, concurrency), "ffr-api-cache")
        try:
            work = Work(self._opening(key, cache, executor, keeping, concurrency))
            try:
                yield from Drive(work, limits, session, account, self._model).run(requests)
            finally:
                work.close()
        finally:
            for threads in (executor, keeping):
                threads.shutdown(wait=True, cancel_futures=True)
            if cache is not None:
                cache.close()

    def _account_of(self, session: Session) -> Account:
        """What the session has come to so far: a model may call :meth:`complete` again in it."""
        from baselines.api.work import Account

        if self._account is None or self._account.session is not session:
            self._account = Account(session)
        return self._account

    def _opening(
        self,
        key: str | None,
        cache: ResponseCache | None,
        executor: ThreadPoolExecutor,
        keeping: ThreadPoolExecutor,
        concurrency: int,
    ) -> Callable[[], AbstractAsyncContextManager[Asker]]:
        """Makes what completes requests, on the event loop."""
        from baselines.api.asking import Asker, Terms
        from baselines.api.client import open_client
        from baselines.api.keys import Redactor
        from baselines.api.limits import Gate, Rates

        options, machine = self._options, self._machine
        retries = machine.max_retries
        terms = Terms(
            server=Server(
                name=self._preset.title if self._preset_name else self._host,
                base_url=self._base_url,
                model=self._model,
                keys=key_advice(self._preset, self._key_name, self._base_url),
                example=self._preset.example,
            ),
            provider=self._provider or self._host,
            max_tokens=options.max_tokens,
            max_retries=MAX_RETRIES if retries is None else retries,
            n_top=options.top_logprobs if options.logprobs else None,
            tool=options.answer == "tool",
            refresh=machine.refresh,
            price_of=self._price_of,
            count=self._count if machine.tokens_per_minute else _nothing,
        )
        encoding = Encoding(options.max_pixels, options.image_format, options.jpeg_quality)

        @asynccontextmanager
        async def opened() -> AsyncIterator[Asker]:
            async with open_client(
                self._base_url,
                key,
                timeout_s=machine.timeout_s or TIMEOUT_S,
                connections=concurrency,
            ) as client:
                yield Asker(
                    client,
                    terms,
                    self._builder,
                    ImageStore(partial(data_uri, encoding=encoding)),
                    Gate(concurrency),
                    Rates(machine.requests_per_minute, machine.tokens_per_minute),
                    Redactor(key),
                    cache,
                    executor,
                    keeping,
                )

        return opened

    @property
    def _host(self) -> str:
        return urlsplit(self._base_url).netloc

    @property
    def _key_name(self) -> str | None:
        """The name under which the keyring holds the key; ``None`` for the host's."""
        return self._bundled or (self._preset.title if self._preset_name else None)

    def _count(self, request: ChatRequest) -> int:
        options = self._options
        return request_tokens(request, self._image_rule, options.max_pixels, options.image_detail)

    def _estimate(self, request: ChatRequest) -> float:
        """What a request will cost at most, about."""
        if self.price is None:
            return 0.0
        most = self._options.max_tokens * self.price.output
        return (self._count(request) * self.price.input + most) / 1e6

    def _price_of(self, answered: str | None) -> Price | None:
        """The price of the model that answered, if that is a version of the one asked for."""
        if not self._priced:
            return None
        version = answered is not None and answered.startswith(self._model)
        return self._table.price(answered if answered and version else self._model)


def _nothing(_: ChatRequest) -> int:
    return 0


def _required_model(options: ApiOptions, example: str | None) -> str:
    if options.model:
        return options.model
    remedy = f"-o model=NAME, for example -o model={example or 'gpt-4o'}"
    close = close_match(options.preset or "", preset_names())
    if options.preset is None:
        remedy += f"; and the server: -o preset={close or 'openai'}, or -o base_url="
    raise InputError("which model is asked must be said", field="option model", remedy=remedy)


def _base_url(given: str | None) -> str:
    if given is None:
        remedy = f"-o preset=NAME ({', '.join(preset_names())}), or -o base_url=http://…/v1"
        raise InputError("which server is asked must be said", field="option preset", remedy=remedy)
    return checked_base_url(given)


def _check(machine: Machine) -> None:
    """Refuse limits that let nothing through.

    Raises:
        InputError: With the flag.
    """
    least = {"concurrency": 1, "requests_per_minute": 1, "tokens_per_minute": 1, "max_retries": 0}
    flags = machine.given()
    for name, minimum in least.items():
        value = getattr(machine, name)
        if value is not None and value < minimum:
            raise InputError(f"{value} is less than {minimum}", field=flags[name])
    for name in ("timeout_s", "max_cost"):
        value = getattr(machine, name)
        if value is not None and not value > 0:
            raise InputError(f"{value:g} is not more than 0", field=flags[name])
