"""Codes stand for ids: one to one in each dialogue, inside the universe where the id is known."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ffr_eval.coding import Universe
from ffr_eval.ragged import Ragged

IDS = st.one_of(
    st.integers(-3, 20),
    st.integers(-(2**62), 2**62),
    st.sampled_from([-(2**62), 2**62 - 1, 2**62, 2**31, 10**18 - 1]),
)
UNIVERSES = st.lists(st.lists(IDS, max_size=8), min_size=1, max_size=5)


@given(universes=UNIVERSES, data=st.data())
@settings(deadline=None, max_examples=300)
def test_codes_are_one_to_one_and_inside_iff_known(
    universes: list[list[int]], data: st.DataObject
) -> None:
    known = st.sampled_from([number for ids in universes for number in ids] or [0])
    lists = data.draw(st.lists(st.lists(IDS | known, max_size=8), max_size=6))
    rows = [data.draw(st.integers(0, len(universes) - 1)) for _ in lists]
    universe = Universe(Ragged.from_lists(universes))
    assert universe.sizes.tolist() == [len(set(ids)) for ids in universes]

    coded = universe.encode(Ragged.from_lists(lists), np.array(rows, dtype=np.int64))
    codes_of: dict[tuple[int, int], int] = {}
    for row, ids, codes in zip(rows, lists, coded.to_lists(), strict=True):
        assert len(ids) == len(codes)
        for number, code in zip(ids, codes, strict=True):
            assert codes_of.setdefault((row, number), code) == code
            assert (0 <= code < len(set(universes[row]))) == (number in universes[row])
    for row in range(len(universes)):
        codes = [code for (where, _), code in codes_of.items() if where == row]
        assert len(set(codes)) == len(codes)


@given(universes=UNIVERSES)
@settings(deadline=None)
def test_sample_i_belongs_to_dialogue_i_unless_it_is_said(universes: list[list[int]]) -> None:
    ids = Ragged.from_lists(universes)
    everyone = np.arange(len(universes), dtype=np.int64)
    universe = Universe(ids)
    by_default = universe.encode(ids).to_lists()
    assert by_default == universe.encode(ids, everyone).to_lists()
    # A dialogue's own ids take up its codes, all of them.
    for codes, size in zip(by_default, universe.sizes.tolist(), strict=True):
        assert set(codes) == set(range(size))


def test_no_ids_at_all() -> None:
    universe = Universe(Ragged.from_lists([[], []]))
    assert universe.sizes.tolist() == [0, 0]
    coded = universe.encode(Ragged.from_lists([[0, -1], [5]]), np.array([1, 0]))
    assert all(code < 0 or code >= 2**62 for codes in coded.to_lists() for code in codes)
    assert len({*coded.values.tolist()}) == 3
