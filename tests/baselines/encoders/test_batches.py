"""Batches: order, lengths, pixels, memory that runs out, items that are refused."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from baselines.encoders import batches
from baselines.encoders.batches import encode_items
from baselines.encoders.encoder import Item, LoadedEncoder
from ffr_eval.embeddings.keys import Role
from ffr_eval.errors import FfrError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Words(LoadedEncoder):
    """Says of a text how long it is and of an image how bright; keeps what it was asked."""

    dimension = 3
    device = "cpu"
    dtype = "float32"
    max_tokens = 6
    batch_size = 4

    def __init__(self, fits: int = 1000, error: Callable[[], Exception] = MemoryError) -> None:
        self.fits = fits
        self.error = error
        self.calls: list[list[str]] = []
        self.sizes: list[int] = []
        self.held: list[weakref.ref[Any]] = []

    def lengths(self, texts: Sequence[str], role: Role) -> list[int]:
        return [len(text.split()) for text in texts]

    def rows(self, values: list[tuple[float, float, float]]) -> np.ndarray:
        self.sizes.append(len(values))
        if len(values) > self.fits:
            raise self.error()
        return np.array(values, dtype=np.float32)

    def encode_texts(self, texts: Sequence[str], role: Role) -> np.ndarray:
        self.calls.append(list(texts))
        for text in texts:
            if "refuse" in text:
                raise ValueError(f"cannot take {text!r}")
            text.encode()
        return self.rows([(len(text), 0, role is Role.QUERY) for text in texts])

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        assert {image.mode for image in images} == {"RGB"}
        assert all(held() is None for held in self.held), "an earlier batch is still in memory"
        self.held = [weakref.ref(image) for image in images]
        return self.rows([(np.asarray(image).mean(), image.width, 0) for image in images])


class Everything(Words):
    def encode_mixed(
        self, items: Sequence[tuple[str, Sequence[Image.Image]]], role: Role
    ) -> np.ndarray:
        return self.rows([(len(text), len(images), 2) for text, images in items])


def texts(n: int) -> list[Item]:
    draw = np.random.default_rng(3)
    return [Item("w " * int(count)) for count in draw.integers(1, 12, size=n)]


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = []
    for number in range(10):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", (10 + number, 10), (number, number, number)).save(paths[-1])
    return paths


def test_results_are_in_the_order_of_the_items(pictures: list[Path]) -> None:
    items = [*texts(9), Item(images=(pictures[3],)), Item("hello", role=Role.QUERY)]
    items += [Item(images=(pictures[1],)), Item("", ())]
    order = np.random.default_rng(1).permutation(len(items))

    vectors = encode_items(Words(), items).vectors
    mixed_up = encode_items(Words(), [items[i] for i in order]).vectors

    assert vectors.dtype == np.float32
    assert vectors[9].tolist() == [3, 13, 0]
    assert vectors[10].tolist() == [5, 0, 1]
    assert vectors[11].tolist() == [1, 11, 0]
    assert (mixed_up == vectors[order]).all()


def test_batches_go_by_length_and_are_of_the_given_size() -> None:
    loaded = Words()
    encode_items(loaded, texts(30), batch_size=7)

    lengths = [[len(text) for text in call] for call in loaded.calls]
    assert [len(call) for call in lengths] == [7, 7, 7, 7, 2]
    flat = [length for call in lengths for length in call]
    assert flat == sorted(flat, reverse=True)


def test_the_encoders_own_batch_size() -> None:
    loaded = Words()
    encode_items(loaded, texts(9))
    assert loaded.sizes == [4, 4, 1]


def test_nothing_to_encode() -> None:
    encoded = encode_items(Words(), [])
    assert encoded.vectors.shape == (0, 3)


def test_cut_texts_are_counted_with_their_full_length() -> None:
    items = [Item("a b c d e f"), Item("a b c d e f g h"), Item("x")]
    assert encode_items(Words(), items).cut == {1: 8}
    loaded = Words()
    loaded.max_tokens = None
    assert encode_items(loaded, items).cut == {}


def test_progress_comes_to_the_number_of_items(pictures: list[Path], tmp_path: Path) -> None:
    seen: list[int] = []
    items = [*texts(10), *(Item(images=(path,)) for path in pictures)]
    items.append(Item(images=(tmp_path / "none.png",)))
    encode_items(Words(fits=3), items, progress=seen.append)
    assert sum(seen) == len(items)
    assert len(seen) > 5


@pytest.mark.parametrize(
    "error",
    [
        MemoryError,
        lambda: RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"),
        lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
@pytest.mark.parametrize("fits", [1, 2, 5])
def test_out_of_memory_halves_the_batch(fits: int, error: Any) -> None:
    items = texts(40)
    expected = encode_items(Words(), items)
    loaded = Words(fits, error)

    encoded = encode_items(loaded, items, batch_size=32)

    assert (encoded.vectors == expected.vectors).all()
    assert encoded.failures == {}
    first = next(place for place, size in enumerate(loaded.sizes) if size <= fits)
    assert max(loaded.sizes[first:]) <= fits  # it stays at what fits
    assert loaded.sizes[: first + 1] == [32 // 2**i for i in range(first + 1)]


def test_torchs_own_error_halves_the_batch() -> None:
    torch = pytest.importorskip("torch")
    loaded = Words(2, torch.cuda.OutOfMemoryError)
    assert not encode_items(loaded, texts(8), batch_size=8).failures
    assert loaded.sizes[:3] == [8, 4, 2]


def test_images_out_of_memory(pictures: list[Path]) -> None:
    items = [Item(images=(path,)) for path in pictures]
    encoded = encode_items(Words(fits=2), items, batch_size=8)
    assert encoded.vectors[:, 0].tolist() == list(range(10))


def test_one_item_that_does_not_fit_is_a_failure_with_a_remedy(pictures: list[Path]) -> None:
    with pytest.raises(FfrError, match=r"a text of 2 characters\n  → .*smaller model"):
        encode_items(Words(fits=0), [Item("hi"), Item("yo")])
    with pytest.raises(FfrError, match=r"0\.png"):
        encode_items(Words(fits=0), [Item(images=(pictures[0],))])


def test_memory_that_runs_out_while_reading(
    pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    real = batches.read_image

    def at_most_three(path: Path) -> Image.Image:
        read.append(path)
        if len(read) > 3:
            read.clear()
            raise MemoryError
        return real(path)

    class Forgets(Words):
        def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
            read.clear()
            return super().encode_images(images)

    monkeypatch.setattr(batches, "read_image", at_most_three)
    loaded = Forgets()
    encoded = encode_items(loaded, [Item(images=(path,)) for path in pictures], batch_size=8)
    assert encoded.vectors[:, 0].tolist() == list(range(10))
    assert loaded.sizes == [2] * 5


def test_one_refused_item_does_not_lose_the_others() -> None:
    items = [Item("one"), Item("please refuse"), Item("two two"), Item("refuse")]
    encoded = encode_items(Words(), items)
    assert encoded.failures == {
        1: ("not_encoded", "ValueError: cannot take 'please refuse'"),
        3: ("not_encoded", "ValueError: cannot take 'refuse'"),
    }
    assert encoded.vectors[:, 0].tolist() == [3, 0, 7, 0]


def test_an_encoder_that_always_fails_is_an_error() -> None:
    items = [Item("refuse a"), Item("refuse")]
    with pytest.raises(FfrError, match="the encoder fails: ValueError: cannot take 'refuse a'"):
        encode_items(Words(), items)


def test_an_encoder_with_another_shape_is_an_error() -> None:
    class Wrong(Words):
        def encode_texts(self, texts: Sequence[str], role: Role) -> np.ndarray:
            return np.zeros((len(texts), 2), dtype=np.float32)

    with pytest.raises(FfrError, match=r"shape \(1, 2\) for \(1, 3\)"):
        encode_items(Wrong(), [Item("a")])


def test_an_interrupt_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        encode_items(Words(0, KeyboardInterrupt), texts(3))


def test_bad_images_are_outcomes_of_their_own(pictures: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(pictures[0].read_bytes()[:40])
    items = [Item(images=(path,)) for path in (pictures[1], broken, pictures[2])]

    encoded = encode_items(Words(), items)

    assert list(encoded.failures) == [1]
    assert encoded.failures[1][0] == "unreadable"
    assert encoded.vectors[:, 0].tolist() == [1, 0, 2]


def test_only_bad_images_are_no_error(tmp_path: Path) -> None:
    encoded = encode_items(Words(), [Item(images=(tmp_path / "none",))])
    assert encoded.failures == {0: ("unreadable", "no such file")}


def test_a_batch_holds_a_bounded_number_of_pixels(
    pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_BATCH_PIXELS", 300)  # they have 100, 110, 120 … 190
    loaded = Words()
    encode_items(loaded, [Item(images=(path,)) for path in pictures], batch_size=8)
    assert loaded.sizes == [2, 2, 2, 1, 1, 1, 1]


def test_images_are_read_when_their_batch_is_due(
    pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    real = batches.read_image
    monkeypatch.setattr(batches, "read_image", lambda path: events.append("read") or real(path))

    class Watched(Words):
        def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
            events.append("encode")
            return super().encode_images(images)

    encode_items(Watched(), [Item(images=(path,)) for path in pictures[:4]], batch_size=2)
    assert events == ["read", "read", "encode"] * 2


def test_mixed_items(pictures: list[Path]) -> None:
    items = [
        Item("a b", (pictures[0], pictures[1])),
        Item("a b c d e f g", (pictures[0],)),
        Item(None, (pictures[0], pictures[1])),
        Item("a"),
    ]
    encoded = encode_items(Everything(), items)
    assert encoded.vectors.tolist() == [[3, 2, 2], [13, 1, 2], [0, 2, 2], [1, 0, 0]]
    assert encoded.cut == {1: 7}


def test_mixed_items_for_an_encoder_without(pictures: list[Path]) -> None:
    with pytest.raises(InputError, match="does not encode text and images together"):
        encode_items(Words(), [Item("a", (pictures[0],))])


def test_an_item_with_nothing() -> None:
    with pytest.raises(ValueError, match="neither text nor images"):
        encode_items(Words(), [Item()])


def test_halves_of_surrogate_pairs() -> None:
    """JSON may hold them; no tokenizer takes them."""
    encoded = encode_items(Words(), [Item("ab\ud800"), Item("\ud83d\ude00")])
    assert encoded.failures == {}
    assert encoded.vectors[:, 0].tolist() == [3, 1]
