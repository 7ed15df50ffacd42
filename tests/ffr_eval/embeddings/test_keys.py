"""Keys: the same content has the same key, other content another, in any interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffr_eval.embeddings.keys import (
    Content,
    Role,
    content_of,
    image_key,
    mixed_key,
    require_key,
    text_key,
)

_ROOT = Path(__file__).parents[3]
_ANY_TEXT = st.text(st.characters(exclude_categories=()))  # with lone surrogates
_ROLES = st.sampled_from([None, *Role])
_IMAGES = st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(tuple)
_CONTENTS = st.one_of(
    st.tuples(st.just("text"), _ANY_TEXT, _ROLES),
    st.tuples(st.just("image"), st.binary()),
    st.tuples(st.just("mixed"), _ANY_TEXT, _IMAGES, _ROLES),
)
EXPECTED_TEXT = "744f8f4f984a383ccd1ddb68a084a7c2757f2a852b64248a48b68cae3946d7f1"
EXPECTED_IMAGE = "69dfb7bc8ecaa271410da11cb33896605d6cc7ace85c70235dfeba3555402f80"
EXPECTED_MIXED = "6de6f7613c67663fdf382063e413eb0a5c9dac6eb2c21bcfe88e13a73847b975"
_MAKE = {"text": text_key, "image": image_key, "mixed": mixed_key}


def key(content: tuple[object, ...]) -> bytes:
    return _MAKE[str(content[0])](*content[1:])  # type: ignore[operator]


@given(_CONTENTS, _CONTENTS)
def test_contents_are_equal_exactly_where_keys_are(
    one: tuple[object, ...], other: tuple[object, ...]
) -> None:
    assert (key(one) == key(other)) == (one == other)
    assert len(key(one)) == 32
    assert content_of(key(one)) == Content(str(one[0]))
    require_key(key(one))


@given(st.binary(), st.integers(0, 5), _ROLES)
def test_where_one_part_ends_and_the_next_begins_counts(
    content: bytes, cut: int, role: Role | None
) -> None:
    text = content.decode("latin-1")
    cut = min(cut, len(text))
    head, tail = text[:cut], text[cut:].encode("latin-1")
    keys = {
        text_key(text, role),
        image_key(text.encode()),
        mixed_key(text, [], role),
        mixed_key(text, [b""], role),
        mixed_key(text, [b"", b""], role),
        mixed_key(head, [tail, b"x"], role),
        mixed_key(head, [tail + b"x"], role),
    }
    assert len(keys) == 7


def test_roles_are_told_apart() -> None:
    assert len({text_key("a"), text_key("a", Role.QUERY), text_key("a", Role.PASSAGE)}) == 3
    assert text_key("query", Role.QUERY) != text_key("queryquery")


def test_keys_do_not_change() -> None:  # stores out there have them
    assert text_key("Hallo").hex() == EXPECTED_TEXT
    assert image_key(b"\x89PNG").hex() == EXPECTED_IMAGE
    assert mixed_key("Hallo", [image_key(b"")], Role.QUERY).hex() == EXPECTED_MIXED


@pytest.mark.parametrize("wrong", [b"", b"t", b"x" * 32, b"t" * 33])
def test_what_is_no_key(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="key"):
        require_key(wrong)


def test_needs_the_standard_library_only() -> None:
    program = (
        "import sys\n"
        "from ffr_eval.embeddings.keys import text_key\n"
        "print(text_key('Hallo').hex(), sorted({'numpy', 'msgspec', 'lmdb'} & set(sys.modules)))"
    )
    command = [sys.executable, "-S", "-c", program]  # -S: no site-packages
    printed = subprocess.run(
        command, capture_output=True, text=True, cwd=_ROOT, check=True
    ).stdout.split()
    assert printed == [EXPECTED_TEXT, "[]"]
