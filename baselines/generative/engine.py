"""The protocol of engines: what completes chats, whatever the way (a server, a model in memory)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from baselines.generative.chat import ChatRequest, Completion
    from baselines.session import Session


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How long a request is.

    Attributes:
        tokens: Of the whole prompt, images and chat template included.
        exact: Whether the model's own tokenizer counted them; else it is an estimate.
    """

    tokens: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Price:
    """What tokens cost.

    Attributes:
        input, output, cached_input: Of a million tokens of each kind.
        currency: For example ``USD``.
        source: Where and when the price was read, for people.
    """

    input: float
    output: float
    cached_input: float | None = None
    currency: str = "USD"
    source: str = ""


class Engine(ABC):
    """Completes chats. Made cheaply; what is heavy is loaded by the first call that needs it.

    Attributes:
        context_tokens: How many tokens prompt and answer may have together; ``None`` if unknown.
        revision: Identifies the weights; ``None`` if only the server knows.
        price: What its tokens cost; ``None`` if nothing, or if it is not known.
    """

    context_tokens: int | None = None
    revision: str | None = None
    price: Price | None = None

    def expect(self, max_images: int) -> None:  # noqa: B027 - needed only by engines that reserve
        """Take up how many images a request may have, before anything else is asked for."""

    @abstractmethod
    def count_tokens(self, request: ChatRequest) -> TokenCount:
        """The length of a request's prompt."""

    @abstractmethod
    def complete(
        self, requests: Iterator[ChatRequest], session: Session
    ) -> Iterator[tuple[ChatRequest, Completion]]:
        """Complete requests; each is yielded once, in any order, as soon as it is done.

        ``requests`` is drawn lazily, no further ahead than the engine has use for, so that memory
        does not grow with the run. What goes wrong with one request is a completion with an
        outcome. When ``session.stop`` is set no further request is begun, and the generator ends
        once those under way are done.

        Raises:
            InputError: If every request would fail for the same reason that is the user's to mend
                (no such model, a wrong key).
            FfrError: If the engine fails as a whole.
            Stopped: If it ends early on purpose, for example because the money is spent.
        """

    def close(self) -> None:  # noqa: B027 - needed only by engines that hold something
        """Give back what it holds; called once at the end, whatever happened."""
