"""Models that match words or characters: BM25, TF-IDF, and the best window of turns by BM25."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Protocol

import msgspec
import numpy as np
from msgspec import Meta

from baselines.model import Capabilities, Model, Scores, ScoringModel, answer
from baselines.selection import DEFAULT_UTTERANCES, SelectionOptions
from baselines.simple import typical_size
from baselines.tokenizer import tokenize
from ffr_eval.types import Fragment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from baselines.selection import FloatArray
    from ffr_eval.types import Dialogue, Prediction, Sample

_KEPT_DIALOGUES: Final = 8
_SHORTEST_RUN: Final = 2
_LONGEST_RUN: Final = 4
_SAME: Final = 1e-12  # window totals that differ by less (relatively) are equal


class Index(Protocol):
    """Documents that can be scored against a query."""

    def score(self, query: str) -> FloatArray:
        """The score of each document, at least 0; 0 if it shares no term with the query."""


class Bm25Index:
    """BM25 as Lucene computes it, over a few documents.

    Args:
        documents: Their texts.
        k1: How slowly repetitions of a term saturate.
        b: How much long documents are held back, 0 to 1.
    """

    def __init__(self, documents: Sequence[str], k1: float, b: float) -> None:
        import bm25s

        terms = [tokenize(document) for document in documents]
        names = dict.fromkeys(term for document in terms for term in document)
        vocabulary = {term: number for number, term in enumerate(names)}
        self._n = len(documents)
        self._vocabulary = vocabulary
        self._bm25 = bm25s.BM25(k1=k1, b=b, method="lucene", dtype="float64")
        if vocabulary:
            ids = [[vocabulary[term] for term in document] for document in terms]
            self._bm25.index((ids, vocabulary), create_empty_token=False, show_progress=False)

    def score(self, query: str) -> FloatArray:
        """The BM25 score of each document."""
        terms = [self._vocabulary[term] for term in tokenize(query) if term in self._vocabulary]
        if not terms:
            return np.zeros(self._n)
        return np.asarray(self._bm25.get_scores_from_ids(terms), dtype=np.float64)


class TfIdfIndex:
    """Cosine of TF-IDF vectors over runs of two to four characters, over a few documents.

    Texts are normalised (NFKC) and lowercased; nothing is stemmed or left out, so that the model is
    the same for every language.
    """

    def __init__(self, documents: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = [_normal(document) for document in documents]
        self._n = len(documents)
        self._empty = max(map(len, texts), default=0) < _SHORTEST_RUN
        if not self._empty:
            runs = (_SHORTEST_RUN, _LONGEST_RUN)
            self._vectorizer = TfidfVectorizer(analyzer="char", ngram_range=runs)
            self._matrix = self._vectorizer.fit_transform(texts)

    def score(self, query: str) -> FloatArray:
        """The cosine of each document with the query."""
        if self._empty:
            return np.zeros(self._n)
        vector = self._vectorizer.transform([_normal(query)])
        return np.asarray((self._matrix @ vector.T).toarray()[:, 0], dtype=np.float64)


class LexicalOptions(SelectionOptions, frozen=True, forbid_unknown_fields=True):
    """Options of lexical models, beside those of the selection.

    Attributes:
        captions: Find an image by its caption; otherwise, and where it has none, by the text of
            its turn, the turn before and the turn after.
    """

    captions: bool = False


class Bm25Options(LexicalOptions, frozen=True, forbid_unknown_fields=True):
    """Options of :class:`Bm25`, beside those of all lexical models.

    Attributes:
        k1: How slowly repetitions of a term saturate.
        b: How much long turns are held back, 0 to 1.
    """

    k1: Annotated[float, Meta(ge=0)] = 1.5
    b: Annotated[float, Meta(ge=0, le=1)] = 0.75


class _Lexical(ScoringModel):
    """Scores turns and images by two indexes, which are built once for each dialogue."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        text=True, captions=True, needs_tuning=True, answers="scores"
    )
    extra: ClassVar[str | None] = "lexical"
    requires: ClassVar[tuple[str, ...]] = ("bm25s", "Stemmer")

    def __init__(self, options: LexicalOptions, index: Callable[[Sequence[str]], Index]) -> None:
        super().__init__(options)
        self._turns = _PerDialogue(lambda dialogue: index(turn_texts(dialogue)))
        self._images = _PerDialogue(lambda dialogue: index(image_texts(dialogue, options.captions)))

    def score(self, sample: Sample) -> Scores:
        """Match the query with the text of each turn and what stands for each image."""
        turns, images = self._turns(sample.dialogue), self._images(sample.dialogue)
        return Scores(turns.score(sample.query), images.score(sample.query))


class Bm25(_Lexical):
    """BM25 over the turns of the sample's dialogue, and over its images by text."""

    Options: ClassVar[type[Bm25Options]] = Bm25Options

    def __init__(self, options: Bm25Options) -> None:
        super().__init__(options, lambda texts: Bm25Index(texts, options.k1, options.b))


class TfIdf(_Lexical):
    """Cosine of character TF-IDF over the turns of the sample's dialogue, and over its images."""

    version: ClassVar[str] = "2"
    requires: ClassVar[tuple[str, ...]] = ("sklearn",)
    Options: ClassVar[type[LexicalOptions]] = LexicalOptions

    def __init__(self, options: LexicalOptions) -> None:
        super().__init__(options, TfIdfIndex)


class WindowOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of :class:`Window`.

    Attributes:
        size: How many turns; default: the average number of gold utterances of the tuning split,
            and 5 without one.
        k1: As for BM25.
        b: As for BM25.
    """

    size: Annotated[int, Meta(ge=1)] | None = None
    k1: Annotated[float, Meta(ge=0)] = 1.5
    b: Annotated[float, Meta(ge=0, le=1)] = 0.75


class Window(Model):
    """The run of turns with the highest total BM25 score, with the images in them.

    Of equally good runs it takes the first; if no turn matches the query, it answers nothing.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(text=True, needs_tuning=True)
    extra: ClassVar[str | None] = "lexical"
    requires: ClassVar[tuple[str, ...]] = ("bm25s", "Stemmer")
    Options: ClassVar[type[WindowOptions]] = WindowOptions

    def __init__(self, options: WindowOptions) -> None:
        super().__init__(options)
        self._given = options.size
        self._size = options.size or DEFAULT_UTTERANCES
        self._turns = _PerDialogue(
            lambda dialogue: Bm25Index(turn_texts(dialogue), options.k1, options.b)
        )

    @property
    def learns(self) -> bool:
        """Whether the size is left to the tuning split."""
        return self._given is None

    def fit(self, samples: Sequence[Sample]) -> dict[str, Any] | None:
        """Take up the average number of gold utterances, unless the size is given."""
        if not self.learns:
            return None
        sizes = [len(sample.gold.utt_ids) if sample.gold else 0 for sample in samples]
        self._size = max(typical_size(sizes), 1)
        return {"size": self._size}

    def restore(self, learned: dict[str, Any]) -> None:
        """Take up the size."""
        self._size = int(learned["size"])

    def predict(self, sample: Sample) -> Prediction:
        """The ids of the best run of turns."""
        dialogue = sample.dialogue
        scores = self._turns(dialogue).score(sample.query)
        if not (scores > 0).any():
            return answer(sample, Fragment())
        start = best_window(scores, self._size)
        turns = dialogue.turns[start : start + self._size]
        img_ids = dict.fromkeys(img_id for turn in turns for img_id in turn.img_ids)
        return answer(sample, Fragment(tuple(turn.utt_id for turn in turns), tuple(img_ids)))


def best_window(scores: FloatArray, size: int) -> int:
    """Where the run of ``size`` scores (all, if there are fewer) with the highest total starts."""
    size = min(size, len(scores))
    totals = np.lib.stride_tricks.sliding_window_view(scores, size).sum(axis=1)
    return int(np.flatnonzero(totals >= totals.max() * (1 - _SAME))[0])


def turn_texts(dialogue: Dialogue) -> list[str]:
    """The text of each turn."""
    return [turn.text for turn in dialogue.turns]


def image_texts(dialogue: Dialogue, captions: bool) -> list[str]:
    """A text for each image: its caption if asked for, else the turns around it."""
    texts = turn_texts(dialogue)
    around: dict[int, dict[int, None]] = {}
    for place, turn in enumerate(dialogue.turns):
        for img_id in turn.img_ids:
            near = range(max(place - 1, 0), min(place + 2, len(texts)))
            around.setdefault(img_id, {}).update(dict.fromkeys(near))
    return [
        image.caption
        if captions and image.caption
        else "\n".join(texts[place] for place in around.get(image.img_id, ()))
        for image in dialogue.images
    ]


class _PerDialogue:
    """Builds an index for a dialogue and keeps it for the dialogue's other queries."""

    def __init__(self, build: Callable[[Dialogue], Index]) -> None:
        self._build = build
        self._kept: dict[str, tuple[Dialogue, Index]] = {}

    def __call__(self, dialogue: Dialogue) -> Index:
        kept = self._kept.pop(dialogue.dialogue_id, None)
        if kept is None or (kept[0] is not dialogue and kept[0] != dialogue):
            kept = (dialogue, self._build(dialogue))
        self._kept[dialogue.dialogue_id] = kept
        if len(self._kept) > _KEPT_DIALOGUES:
            del self._kept[next(iter(self._kept))]
        return kept[1]


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip()
