"""The protocol of encoders.

An encoder is a subclass of :class:`Encoder` under the entry-point group ``ffr.encoders``. It first
says which space its vectors are in (:meth:`Encoder.describe`), which is cheap, and loads its
weights only when something must be encoded (:meth:`Encoder.load`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from baselines.machine import Machine
from ffr_eval.embeddings.keys import Role
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from ffr_eval.embeddings.space import SpaceRecord

    FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Item:
    """Something to encode: a text, one image, or a text with images (mixed).

    Attributes:
        text: ``None`` for an image alone.
        images: Their files.
        role: Whether it is searched for or searched in.
    """

    text: str | None = None
    images: tuple[Path, ...] = ()
    role: Role = Role.PASSAGE


class LoadedEncoder(ABC):
    """An encoder with its weights in memory.

    An encoder of text alone leaves :meth:`encode_images` as it is; :meth:`encode_mixed` is for
    encoders that read text and images together.

    Attributes:
        dimension: Of the vectors.
        device: Where it runs, as torch names it; ``cpu`` for one without torch.
        dtype: Of the weights.
        max_tokens: Longer texts are cut; ``None`` for no limit.
        batch_size: How many items it encodes at once if nobody says otherwise.
    """

    dimension: int
    device: str
    dtype: str
    max_tokens: int | None = None
    batch_size: int = 32

    @abstractmethod
    def lengths(self, texts: Sequence[str], role: Role) -> list[int]:
        """The length of each text in tokens, special ones included, before anything is cut."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str], role: Role) -> FloatArray:
        """Vectors of texts, one row each; they need not be normalised."""

    def encode_images(self, images: Sequence[Image]) -> FloatArray:  # noqa: ARG002 - an interface
        """Vectors of RGB images, one row each; they need not be normalised."""
        raise InputError(f"{type(self).__name__} encodes text alone, no images")

    def encode_mixed(
        self,
        items: Sequence[tuple[str, Sequence[Image]]],  # noqa: ARG002 - an interface
        role: Role,  # noqa: ARG002
    ) -> FloatArray:
        """Vectors of texts with their images, one row each; they need not be normalised."""
        raise InputError(f"{type(self).__name__} does not encode text and images together")


class Encoder(ABC):
    """An encoder that is configured but not loaded; the class attributes describe it.

    Attributes:
        name: Its registered name.
        extra: The optional part of ``ffr-eval`` that it needs.
        requires: Import names of the packages that it needs.
        mixed: Whether it encodes text and images together.
        Options: The type of its options: a frozen dataclass with a default for each.

    Args:
        options: An instance of ``Options``.
        machine: Where and how fast to encode.
    """

    name: ClassVar[str]
    extra: ClassVar[str | None] = None
    requires: ClassVar[tuple[str, ...]] = ()
    mixed: ClassVar[bool] = False
    Options: ClassVar[type]

    def __init__(self, options: Any, machine: Machine | None = None) -> None:
        self.options = options
        self.machine = Machine() if machine is None else machine

    @classmethod
    def options_of(cls, model: str) -> Mapping[str, str]:
        """The options that ``MODEL`` in a specification ``NAME:MODEL`` stands for."""
        return {"model": model}

    @abstractmethod
    def describe(self) -> SpaceRecord:
        """The space that the vectors are in, without loading anything heavy.

        Raises:
            InputError: If there is no such model, or its weights are neither here nor to be had.
        """

    @abstractmethod
    def load(self) -> LoadedEncoder:
        """Load the weights, in this interpreter.

        Raises:
            MissingExtraError: If a package that it needs is not installed.
            InputError: If there is no such model or device.
        """
