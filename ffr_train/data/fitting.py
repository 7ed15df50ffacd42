"""What of a sample becomes rows: the whole of it, or windows that fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from ffr_eval.dialogue_views import View, fitting, whole
from ffr_eval.markup import IMG_ID, UTT_ID, mark
from ffr_eval.types import Fragment
from ffr_train.data.images import UnusableImage, refused
from ffr_train.data.lengths import Item
from ffr_train.data.rows import completion_of, gold_in, messages_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffr_eval.types import Dialogue, Sample
    from ffr_train.data.lengths import Length, Lengths
    from ffr_train.data.rows import Wording

_SLACK: Final = 8
"""By so many tokens, and one more for four turns left out, a sum of turns may differ from the
length of a prompt. What becomes a row is always measured."""
_DIALOGUES_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What a row may be.

    Attributes:
        total: Tokens of a prompt and its answer, at most.
        room: Tokens of the answer that are left free, however short the gold is; 0 leaves none.
    """

    total: int
    room: int = 0

    def allow(self, length: Length) -> bool:
        """Whether a row may be so long."""
        if not self.room:
            return length.total <= self.total
        return length.prompt + self.room <= self.total and length.completion <= self.room


@dataclass(frozen=True, slots=True)
class Measured:
    """A sample, or a window of it, with its messages and their length."""

    view: View
    gold: Fragment
    item: Item
    length: Length


class Fitter:
    """Measures samples, and divides those that are too long into windows.

    Args:
        lengths: Measures.
        wording: Of prompts.
        limits: Of rows.
    """

    def __init__(self, lengths: Lengths, wording: Wording, limits: Limits) -> None:
        self._lengths = lengths
        self._wording = wording
        self.limits = limits
        self.turn_tokens = lru_cache(maxsize=_DIALOGUES_KEPT)(self._turn_tokens)

    def measured(self, samples: Sequence[Sample]) -> list[Measured]:
        """Samples as they are.

        Raises:
            InputError: If an image cannot be used.
        """
        return self.measure([(sample, whole(sample)) for sample in samples])

    def fits(self, measured: Measured) -> bool:
        """Whether it may be a row."""
        return self.limits.allow(measured.length)

    def windows(self, sample: Sample, found: Measured) -> list[Measured] | None:
        """A sample in as few windows as fit.

        Args:
            sample: One that does not fit.
            found: The whole of it.

        Returns:
            The windows; ``None`` if some turn alone does not fit.

        Raises:
            InputError: If an image cannot be used.
        """
        for exact in (False, True):
            search = _Search(self, sample, found, exact=exact)
            views = fitting(sample, search.fits)
            if views is not None:
                done = search.measured(views)
                if all(map(self.fits, done)):
                    return done
        return None

    def measure(self, wanted: Sequence[tuple[Sample, View]]) -> list[Measured]:
        """Views of samples.

        Raises:
            InputError: If an image cannot be used.
        """
        golds, items = [], []
        for sample, view in wanted:
            gold = gold_in(sample, view)
            prompt, images = messages_of(view, self._wording)
            golds.append(gold)
            items.append(Item(prompt, completion_of(gold), images))
        try:
            lengths = self._lengths.measure(items)
        except UnusableImage as problem:
            sample = next(
                sample
                for (sample, _), item in zip(wanted, items, strict=True)
                if problem.image in item.images
            )
            raise refused(sample.sample_id, problem) from None
        return [
            Measured(view, gold, item, length)
            for (_, view), gold, item, length in zip(wanted, golds, items, lengths, strict=True)
        ]

    @cached_property
    def least_answer(self) -> int:
        """The tokens of an answer without ids."""
        message = {"role": "user", "content": [{"type": "text", "text": "?"}]}
        (length,) = self._lengths.measure([Item([message], completion_of(Fragment()), ())])
        return length.completion

    def _turn_tokens(self, dialogue: Dialogue) -> tuple[int, ...]:
        """About how many tokens the turns before each turn, and all, add to a prompt."""
        images = {image.img_id: image for image in dialogue.images}
        texts = [
            f"{mark(UTT_ID, turn.utt_id)} {turn.speaker}: {turn.text}"
            + "".join(mark(IMG_ID, img_id) for img_id in turn.img_ids)
            + "\n"
            for turn in dialogue.turns
        ]
        counts = self._lengths.text_tokens(texts)
        added = [
            count + sum(self._lengths.tokens_in_place(images[img_id]) for img_id in turn.img_ids)
            for count, turn in zip(counts, dialogue.turns, strict=True)
        ]
        return tuple(accumulate(added, initial=0))


class _Search:
    """Looks for the windows of one sample.

    Args:
        fitter: Measures.
        sample: The sample.
        found: The whole of it, which does not fit.
        exact: Whether each window that is looked at is measured, and not only those of which the
            lengths of their turns do not tell.
    """

    def __init__(self, fitter: Fitter, sample: Sample, found: Measured, *, exact: bool) -> None:
        self._fitter, self._sample, self._found, self._exact = fitter, sample, found, exact
        self._known: dict[tuple[int, int], Measured] = {}
        turns = sample.dialogue.turns
        self._places = {turn.utt_id: place for place, turn in enumerate(turns)}
        self._before = () if exact else fitter.turn_tokens(sample.dialogue)

    def fits(self, view: View) -> bool:
        """Whether a window may be a row, or is likely to."""
        if view.img_ids is None:
            return False
        likely = None if self._exact else self._about(view)
        return self._fitter.fits(self.measured([view])[0]) if likely is None else likely

    def measured(self, views: Sequence[View]) -> list[Measured]:
        """Windows with their lengths."""
        new = [view for view in views if self._key(view) not in self._known]
        found = self._fitter.measure([(self._sample, view) for view in new])
        self._known.update((self._key(each.view), each) for each in found)
        return [replace(self._known[self._key(view)], view=view) for view in views]

    def _about(self, view: View) -> bool | None:
        """Whether a window fits, as far as the lengths of turns can tell; ``None`` if they cannot.

        In nearly all tokenizers, a line begins with a new token: then they tell all but exactly.
        """
        start, number = self._key(view)
        outside = self._before[-1] - self._before[start + number] + self._before[start]
        prompt = self._found.length.prompt - outside
        slack = _SLACK + (len(self._places) - number) // 4
        answer, limits = self._found.length.completion, self._fitter.limits
        if limits.room and answer > limits.room:
            return None
        if prompt + slack + (limits.room or answer) <= limits.total:
            return True
        least = limits.room or min(answer, self._fitter.least_answer)
        return False if prompt - slack + least > limits.total else None

    def _key(self, view: View) -> tuple[int, int]:
        """Where a window begins, and how many turns it has."""
        turns = view.sample.dialogue.turns
        return self._places[turns[0].utt_id], len(turns)
