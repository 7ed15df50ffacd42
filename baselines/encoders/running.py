"""An encoder ready to encode, in this interpreter or in the one that its machine names.

How whoever fills a store uses it::

    with open_encoder(encoder) as encode:      # loads the weights, or starts the worker that does
        encoded = encode(items, progress)      # as often as needed

``encoded`` is :class:`baselines.encoders.batches.Encoded`; ``encode`` also has ``dimension``,
``device``, ``dtype`` and ``max_tokens``.

Open it only once something must be encoded: loading may take minutes. ``encoder.describe()`` is
cheap, always runs here, and needs none of the encoder's packages. The worker, the memory and the
temporary files are given back when the block is left, however it is left.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from baselines.encoders.batches import encode_items
from baselines.encoders.registry import check_installed
from baselines.encoders.remote import RemoteEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from baselines.encoders.batches import Encoded
    from baselines.encoders.encoder import Encoder, Item, LoadedEncoder


class _Described(Protocol):
    dimension: int
    device: str
    dtype: str
    max_tokens: int | None


class RunningEncoder:
    """Encodes items; made by :func:`open_encoder`.

    Attributes:
        dimension: Of the vectors.
        device: Where the encoder runs, as torch names it.
        dtype: Of its weights.
        max_tokens: Longer texts are cut; ``None`` for no limit.
    """

    def __init__(
        self,
        described: _Described,
        encode: Callable[[Sequence[Item], Callable[[int], None] | None], Encoded],
    ) -> None:
        self.dimension, self.max_tokens = described.dimension, described.max_tokens
        self.device, self.dtype = described.device, described.dtype
        self._encode = encode

    def __call__(
        self, items: Sequence[Item], progress: Callable[[int], None] | None = None
    ) -> Encoded:
        """Encode items; the results are in their order.

        Args:
            items: Any mixture of texts, images and texts with images.
            progress: Called with the number of items that were just finished.

        Raises:
            FfrError: If a single item does not fit into memory, the encoder fails for every item,
                or its worker dies.
        """
        return self._encode(items, progress)


@contextmanager
def open_encoder(encoder: Encoder) -> Iterator[RunningEncoder]:
    """Load an encoder where its machine says, and give it back at the end.

    Args:
        encoder: With ``machine.python`` it runs in that interpreter, else in this one.

    Raises:
        MissingExtraError: If a package that it needs is not installed here.
        InputError: If there is no such model, device or interpreter, or the interpreter lacks a
            package.
    """
    size = encoder.machine.batch_size
    if encoder.machine.python is not None:
        with RemoteEncoder(encoder) as remote:
            yield RunningEncoder(remote, lambda items, done: remote.encode_items(items, size, done))
        return
    check_installed(type(encoder))
    loaded: LoadedEncoder = encoder.load()
    yield RunningEncoder(loaded, lambda items, done: encode_items(loaded, items, size, done))
