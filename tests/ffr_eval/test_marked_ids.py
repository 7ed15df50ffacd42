"""Array work equals ``re.findall``."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffr_eval import marked_ids as module
from ffr_eval.marked_ids import marked_ids

FRAGMENTS = st.sampled_from(
    [
        *("<|utt_id_start|>", "<|utt_id_end|>", "<|img_id_start|>", "<|img_id_end|>"),
        *("<|utt_ids_start|>", "<|utt_ids_end|>", "<|query_start|>", "<|query_end|>", "<image>"),
        *(
            "<|utt_id_start|",
            "|utt_id_start|>",
            "utt_id_end|>",
            "<|utt_id_en",
            "<|",
            "|>",
            "|",
            "<",
        ),
        *("0", "7", "12", "007", "9" * 18, "1" * 19, "-1", " 3", "٥", "４", "²", "5a", "?", ""),
        *("A: text", "\n", "\r\n", "\0", "😀", "字", "é", "\ud83d", "\ude00", "\uffff"),
    ]
)
MARKED = st.builds(
    "<|{}_id_start|>{}<|{}_id_end|>".format,
    st.sampled_from(["utt", "img"]),
    st.integers(0, 10**20).map(str) | FRAGMENTS | st.just(""),
    st.sampled_from(["utt", "img"]),
)
PLAIN = st.builds(
    "<|{0}_id_start|>{1}<|{0}_id_end|>".format,
    st.sampled_from(["utt", "img"]),
    st.integers(0, 10**18 - 1),
)
MESSY = st.lists(FRAGMENTS | MARKED, max_size=12).map("".join)
BETWEEN = st.sampled_from(["", "|", "A: hi", "\n", "<|", "字😀", "\ud800", "<|utt_id_start|>"])
CLEAN = st.lists(PLAIN | BETWEEN, max_size=12).map("".join)

# Our own prompts name the markers without an id between them.
QUIET = ("|", "A: hi", "\n", "字😀", "<image>", "<|utt_id_start|><|utt_id_end|>")


def by_findall(texts: list[str], name: str) -> list[list[int]]:
    pattern = rf"<\|{name}_id_start\|>(\d+)<\|{name}_id_end\|>"
    return [[int(n) for n in re.findall(pattern, text) if len(n) <= 18] for text in texts]


@pytest.mark.parametrize("texts", [MESSY, CLEAN], ids=["messy", "clean"])
def test_equal_to_findall(texts: st.SearchStrategy[str]) -> None:
    @given(batch=st.lists(texts, max_size=5))
    @settings(deadline=None, max_examples=500)
    def check(batch: list[str]) -> None:
        utterances, images = marked_ids(batch)
        assert utterances.to_lists() == by_findall(batch, "utt")
        assert images.to_lists() == by_findall(batch, "img")

    check()


@pytest.mark.parametrize(
    ("texts", "utterances", "images"),
    [
        ([], [], []),
        (["", ""], [[], []], [[], []]),
        (["<|utt_id_start|>3<|utt_id_end|>"], [[3]], [[]]),
        # A marker across two texts is none.
        (["<|utt_id_start|>", "3<|utt_id_end|>"], [[], []], [[], []]),
        (["<|utt_id_start|>3", "<|utt_id_end|>"], [[], []], [[], []]),
        (["<|utt_id_start|>3<|utt_id_end|", ">"], [[], []], [[], []]),
        # Start and end of different kinds.
        (["<|utt_id_start|>3<|img_id_end|>"], [[]], [[]]),
        (["|utt_id_start|>3<|utt_id_end|>"], [[]], [[]]),
        # The inner start counts.
        (["<|utt_id_start|><|utt_id_start|>4<|utt_id_end|>"], [[4]], [[]]),
        (["😀<|img_id_start|>5<|img_id_end|>", "字<|img_id_start|>6<|img_id_end|>"],
         [[], []], [[5], [6]]),
        (["\uffff<|img_id_start|>5<|img_id_end|>"], [[]], [[5]]),
        (["\ud800<|utt_id_start|>1<|utt_id_end|>\udc00"], [[1]], [[]]),
        (["<|utt_id_start|>٣<|utt_id_end|><|utt_id_start|>4<|utt_id_end|>"], [[3, 4]], [[]]),
        ([f"<|utt_id_start|>{'1' * 19}<|utt_id_end|><|utt_id_start|>2<|utt_id_end|>"],
         [[2]], [[]]),
        ([f"<|utt_id_start|>{'9' * 18}<|utt_id_end|>"], [[10**18 - 1]], [[]]),
        # Our own prompts name the markers without an id.
        (["<|utt_id_start|><|utt_id_end|><|utt_id_start|>8<|utt_id_end|>"], [[8]], [[]]),
    ],
)  # fmt: skip
def test_cases(texts: list[str], utterances: list[list[int]], images: list[list[int]]) -> None:
    found = marked_ids(texts)
    assert [found[0].to_lists(), found[1].to_lists()] == [utterances, images]


@given(batch=st.lists(st.lists(PLAIN | st.sampled_from(QUIET)).map("".join), max_size=4))
@settings(deadline=None)
def test_usual_texts_are_not_read_one_by_one(batch: list[str]) -> None:
    def slow(*_: object) -> list[int]:
        raise AssertionError("read one by one")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_by_regex", slow)
        utterances, images = marked_ids(batch)
    assert utterances.to_lists() == by_findall(batch, "utt")
    assert images.to_lists() == by_findall(batch, "img")
