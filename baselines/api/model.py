"""The model ``api``: any server that speaks the chat-completions protocol of OpenAI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, TypeAlias, cast

from msgspec import Meta

from baselines.generative.model import GenerativeModel
from baselines.generative.options import GenerativeOptions

if TYPE_CHECKING:
    from baselines.generative.engine import Engine
    from baselines.machine import Machine

_Pixels: TypeAlias = Annotated[int, Meta(ge=1)]
_Quality: TypeAlias = Annotated[int, Meta(ge=1, le=100)]
_Top: TypeAlias = Annotated[int, Meta(ge=1, le=20)]

API_SETTINGS: Final = frozenset(
    {
        *("concurrency", "requests_per_minute", "tokens_per_minute", "max_cost", "timeout_s"),
        *("max_retries", "prices", "cache", "no_cache", "refresh"),
    }
)


class ApiOptions(GenerativeOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of a server and of how images are sent to it.

    Attributes:
        preset: What is known of the server: a bundled preset, or a TOML file.
        base_url: Where it is, in the place of what the preset says.
        max_pixels: Larger images are made smaller, width and height alike.
        image_format: ``auto`` makes PNG of files without loss and JPEG of others, if they have to
            be made anew; else always the one named.
        jpeg_quality: Of the JPEG files that are made.
        image_detail: Sent with each image, to servers that take it.
        reasoning_effort: Sent as it is.
        top_logprobs: With ``logprobs``, how many of the most likely tokens the entropy is over.
        extra: A JSON object of further fields of each request.
    """

    preset: str | None = None
    base_url: str | None = None
    max_pixels: _Pixels = 602112
    image_format: Literal["auto", "png", "jpeg"] = "auto"
    jpeg_quality: _Quality = 95
    image_detail: Literal["low", "high", "auto"] | None = None
    reasoning_effort: str | None = None
    top_logprobs: _Top = 5
    extra: str | None = None


class ApiModel(GenerativeModel):
    """Asks a server."""

    Options: ClassVar[type[GenerativeOptions]] = ApiOptions
    settings: ClassVar[frozenset[str]] = API_SETTINGS
    extra: ClassVar[str | None] = "api"
    requires: ClassVar[tuple[str, ...]] = (
        *("aiolimiter", "jinja2", "keyring", "openai", "PIL", "tenacity"),
    )
    version: ClassVar[str] = "1"

    def make_engine(self, machine: Machine) -> Engine:
        """The engine; nothing is sent yet."""
        from baselines.api.engine import ApiEngine

        return ApiEngine(cast("ApiOptions", self.options), machine)
