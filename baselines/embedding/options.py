"""Options of models that compare embeddings: of the selection, the model and the encoder."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

import msgspec
from msgspec import Meta

from baselines.selection import SelectionOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from baselines.encoders.encoder import Encoder


class EmbeddingOptions(SelectionOptions, frozen=True, forbid_unknown_fields=True):
    """Options of models that compare embeddings, beside those of the selection.

    Attributes:
        context: With a turn, so many turns before and after it are embedded.
        captions: An image without a usable file is found by its caption; for an encoder of text
            alone, every image that has a caption. Otherwise such an encoder finds an image by the
            text of its turn, the turn before and the turn after.
    """

    context: Annotated[int, Meta(ge=0)] = 0
    captions: bool = False


class InterleavedOptions(EmbeddingOptions, frozen=True, forbid_unknown_fields=True):
    """Options of models whose encoder reads text and images together.

    Attributes:
        interleaved: A turn is embedded as its text together with its images.
    """

    interleaved: bool = False


def with_encoder(base: type[EmbeddingOptions], encoder: type[Encoder]) -> type[EmbeddingOptions]:
    """The options of a model together with those of its encoder."""
    hints = get_type_hints(encoder.Options)
    defaults = encoder.Options()
    fields = [
        (field.name, hints[field.name], getattr(defaults, field.name))
        for field in dataclasses.fields(encoder.Options)
    ]
    name = f"{encoder.__name__}ModelOptions"
    made = msgspec.defstruct(name, fields, bases=(base,), frozen=True, forbid_unknown_fields=True)
    return cast("type[EmbeddingOptions]", made)


def encoder_options(options: EmbeddingOptions) -> Mapping[str, Any]:
    """Those of a model's options that are its encoder's."""
    names = [n for n in options.__struct_fields__ if n not in InterleavedOptions.__struct_fields__]
    return {name: getattr(options, name) for name in names}
