"""``static``: word vectors from a package, without torch and without a network."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

import numpy as np
import pytest

from baselines.encoders.batches import encode_items
from baselines.encoders.encoder import Item
from baselines.encoders.registry import make_encoder
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

TEXTS = ["A cat sits on the sofa.", "A kitten lies on the couch.", "Shares fell on Monday."]


def test_similar_texts_are_close() -> None:
    vectors = encode_items(make_encoder("static").load(), [Item(text) for text in TEXTS]).vectors
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert vectors.shape == (3, 256)
    assert vectors[0] @ vectors[1] > 0.4 > vectors[0] @ vectors[2]


def test_texts_of_any_length_are_whole() -> None:
    loaded = make_encoder("static").load()
    long = "sea " * 20_000
    encoded = encode_items(loaded, [Item(long), Item(long + "cat " * 20_000), Item("sea")])
    assert (loaded.max_tokens, encoded.cut) == (None, {})
    assert np.abs(encoded.vectors[0] - encoded.vectors[1]).max() > 0.1
    assert loaded.lengths(["sea", "sea sky"], Item().role) == [1, 2]


def test_batches_change_nothing() -> None:
    loaded = make_encoder("static").load()
    items = [Item("the sea and the sky " * (i % 7 + 1) + str(i)) for i in range(50)]
    together = encode_items(loaded, items).vectors
    assert np.abs(together - encode_items(loaded, items, batch_size=1).vectors).max() < 1e-5


def test_no_torch_is_imported(modules_after: Callable[..., set[str]]) -> None:
    code = (
        "from baselines.encoders.registry import make_encoder\n"
        "from baselines.encoders.batches import encode_items\n"
        "from baselines.encoders.encoder import Item\n"
        "encoder = make_encoder('static')\n"
        "encoder.describe()\n"
        "assert 'wordllama' not in sys.modules\n"
        "assert encode_items(encoder.load(), [Item('sea')]).vectors.any()\n"
    )
    assert not modules_after(code) & {"torch", "transformers", "sentence_transformers", "PIL"}


def test_no_network_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert encode_items(make_encoder("static").load(), [Item("sea")]).vectors.any()


def test_the_root_logger_stays_as_it_was(modules_after: Callable[..., set[str]]) -> None:
    code = (
        "import logging\n"
        "from baselines.encoders.registry import make_encoder\n"
        "make_encoder('static').load()\n"
        "root = logging.getLogger()\n"
        "assert (root.handlers, root.level) == ([], logging.WARNING)\n"
    )
    assert "wordllama" in modules_after(code)
    assert logging.getLogger().level == logging.WARNING


@pytest.mark.parametrize("options", [{"model": "l3_supercat"}, {"dtype": "float16"}])
def test_what_there_is_not(options: dict[str, str]) -> None:
    with pytest.raises(InputError, match=f"option {next(iter(options))}"):
        make_encoder("static", options).describe()
