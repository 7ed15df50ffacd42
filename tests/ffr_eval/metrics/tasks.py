"""Benchmarks in memory, and tasks for hypothesis: a benchmark, predictions, and what counts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from ffr_eval.benchmark import (
    Benchmark,
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_eval.markup import answer_text
from ffr_eval.types import Fragment, Outcome, Prediction
from tests.reference import Judged

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILURES = (
    Outcome.REFUSAL,
    Outcome.TRUNCATED,
    Outcome.CONTEXT_OVERFLOW,
    Outcome.REQUEST_ERROR,
)


def make_benchmark(
    dialogues: Sequence[tuple[Sequence[int], Sequence[int]]],
    queries: Sequence[tuple[int, Sequence[int], Sequence[int]]],
    languages: Sequence[str | None] = (),
) -> Benchmark:
    """Dialogues as ids of utterances and images; queries as row of the dialogue and gold ids."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, "benchmark")
        with BenchmarkWriter(folder, InfoRecord(name="made")) as writer:
            for row, (utt_ids, img_ids) in enumerate(dialogues):
                first = TurnRecord(utt_ids[0], "A", "x", tuple(img_ids))
                turns = (first, *(TurnRecord(utt_id, "B", "y") for utt_id in utt_ids[1:]))
                images = tuple(ImageRecord(img_id) for img_id in img_ids)
                language = languages[row] if languages else None
                writer.add_dialogue(DialogueRecord(f"d{row}", turns, images, language))
            for number, (row, utts, imgs) in enumerate(queries):
                writer.add_query(
                    QueryRecord(f"s{number}", f"d{row}", "q", tuple(utts), tuple(imgs))
                )
        return read_benchmark(folder)


# --- the slow scorer -----------------------------------------------------------------------------

Task = tuple[Benchmark, list[Prediction], list[Judged]]
FEW = st.integers(0, 12)


@st.composite
def predictions(draw: st.DrawFn, sample_id: str, known: st.SearchStrategy[Fragment]) -> Any:
    """A prediction (or ``None``), and the outcome and ids that the rules leave of it."""
    ids = draw(known)
    nothing, how = Fragment(), draw(st.sampled_from(["ids", "text", "text", "failed", "missing"]))
    usable = Outcome.OK if ids.utt_ids or ids.img_ids else Outcome.EMPTY
    if how == "missing":
        return None, Outcome.MISSING, nothing
    if how == "failed":  # what was salvaged does not count
        outcome = draw(st.sampled_from(FAILURES))
        text = draw(st.sampled_from([None, answer_text(ids.utt_ids, ids.img_ids)]))
        return Prediction(sample_id, outcome, ids, text), outcome, nothing
    if how == "ids":
        told = draw(st.sampled_from([Outcome.OK, Outcome.EMPTY, usable]))
        return Prediction(sample_id, told, ids), usable, ids
    # The text is the truth, whatever the ids and the outcome beside it say.
    told = draw(st.sampled_from([Outcome.OK, Outcome.EMPTY, Outcome.PARSE_ERROR]))
    beside = draw(st.sampled_from([nothing, ids, Fragment((1,), (1,))]))
    if draw(st.booleans()):
        text = answer_text(ids.utt_ids, ids.img_ids)
        return Prediction(sample_id, told, beside, text), usable, ids
    return Prediction(sample_id, told, beside, "Sorry, no."), Outcome.PARSE_ERROR, nothing


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    shape = st.tuples(
        st.lists(FEW, min_size=1, max_size=5, unique=True), st.lists(FEW, max_size=3, unique=True)
    )
    dialogues = draw(st.lists(shape, min_size=1, max_size=3))
    queries, made, judged = [], [], []
    for number in range(draw(st.integers(1, 6))):
        row = draw(st.integers(0, len(dialogues) - 1))
        universe = tuple(map(set, dialogues[row]))
        gold = tuple(
            draw(st.sets(st.sampled_from(sorted(ids)))) if ids and draw(st.booleans()) else set()
            for ids in universe
        )
        if draw(st.integers(0, 4)) == 0:
            gold = universe  # all of U, where MCC is undefined
        guess = st.lists(st.one_of(FEW, *([st.sampled_from(sorted(g))] if (g := gold[0]) else [])))
        pictures = st.lists(FEW, max_size=4) if draw(st.booleans()) else st.just([])
        known = st.one_of(
            st.builds(lambda u, i: Fragment(tuple(u), tuple(i)), guess, pictures),
            st.just(Fragment(tuple(gold[0]), tuple(gold[1]))),
            st.just(Fragment()),
        )
        prediction, outcome, left = draw(predictions(f"s{number}", known))
        queries.append((row, sorted(gold[0]), sorted(gold[1])))
        made += [prediction] if prediction is not None else []
        predicted = (list(left.utt_ids), list(left.img_ids))
        judged.append(Judged(gold, predicted, universe, outcome.value))
    return make_benchmark(dialogues, queries), made, judged
