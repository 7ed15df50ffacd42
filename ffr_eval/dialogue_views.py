"""What is shown of a long dialogue at once: the whole of it, or windows of its turns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ffr_eval.errors import InputError
from ffr_eval.types import Dialogue

if TYPE_CHECKING:
    from collections.abc import Callable

    from ffr_eval.types import Sample


@dataclass(frozen=True, slots=True)
class View:
    """What is shown of a sample at once: to a model in one request, or in one row of training data.

    Attributes:
        part: Its number, from 0.
        sample: The sample with only the turns of the window, and only the images that they show,
            numbered from 0 in order of appearance. Utterance ids stay, and so do all turns and
            images of a sample that is not split.
        img_ids: The dialogue's image id of each image id of the window; ``None`` if images are not
            renumbered.
    """

    part: int
    sample: Sample
    img_ids: tuple[int, ...] | None


def whole(sample: Sample) -> View:
    """The whole dialogue, untouched: images that no turn shows are still there."""
    return View(0, sample, None)


def sliding(sample: Sample, window: int, stride: int | None = None) -> list[View]:
    """Windows of ``window`` turns, one every ``stride`` turns, the last one aligned to the end.

    Every turn is in at least one window, and none holds another. Images that no turn shows are in
    none. A dialogue of at most ``window`` turns stays whole.

    Args:
        sample: With its dialogue.
        window: Turns of a window.
        stride: Turns from the start of a window to that of the next; by default three quarters of
            the window.

    Raises:
        InputError: If there is no window, or if turns would be between windows.
    """
    if stride is None:
        stride = max(1, window * 3 // 4)
    if window < 1:
        message = f"a window has at least 1 turn, not {window}"
        raise InputError(message, field="option window", remedy="give the number of turns")
    if not 1 <= stride <= window:
        message = f"a stride of {stride} with a window of {window}"
        remedy = f"give 1 to {window}: otherwise some turns would be in no window"
        raise InputError(message, field="option stride", remedy=remedy)
    last = len(sample.dialogue.turns) - window
    if last <= 0:
        return [whole(sample)]
    starts = [*range(0, last, stride), last]
    return [view_of(sample, part, start, start + window) for part, start in enumerate(starts)]


def fitting(sample: Sample, fits: Callable[[View], bool]) -> list[View] | None:
    """As few windows as possible, each as large as fits, sharing about a quarter with the next.

    The last window reaches back from the end as far as fits. The overlap is smaller where a long
    turn leaves no room for it. Windows are looked for as if a window never fits where a part of it
    does not; those returned have all been seen to fit.

    Args:
        sample: With its dialogue.
        fits: Whether a view fits into the context; it may be costly. It is called a few times for
            each window.

    Returns:
        The windows, or the whole dialogue if it fits; ``None`` if some turn alone does not,
        or the prompt without any.
    """
    if fits(whole(sample)):
        return [whole(sample)]
    n_turns = len(sample.dialogue.turns)
    known: dict[tuple[int, int], bool] = {(0, n_turns): False}
    bounds: list[tuple[int, int]] = []

    def fit(start: int, stop: int) -> bool:
        if (start, stop) not in known:
            known[start, stop] = fits(view_of(sample, len(bounds), start, stop))
        return known[start, stop]

    def fits_from(start: int, length: int) -> bool:
        return fit(start, start + length)

    def fits_with(turn: int, overlap: int) -> bool:
        return fit(turn - overlap, turn + 1)

    before, stop, size = -1, 0, max(n_turns // 2, 1)
    while stop < n_turns:
        begin = stop - (size // 4 if bounds else 0)
        least = stop - begin + 1
        found = _largest(partial(fits_from, begin), least, n_turns - begin, size)
        if found is None:  # a long turn: as much overlap as leaves room for it
            overlap = _largest(partial(fits_with, stop), 0, stop - begin - 1, stop - begin - 1)
            if overlap is None:
                return None
            begin, least = stop - overlap, overlap + 1
            found = _largest(partial(fits_from, begin), least, n_turns - begin, least) or least
        if bounds and begin + found == n_turns:
            most = n_turns - before - 1
            found = _largest(lambda n: fit(n_turns - n, n_turns), found, most, size) or found
            begin = n_turns - found
        before, stop, size = begin, begin + found, found
        bounds.append((begin, stop))
    return [view_of(sample, part, *bound) for part, bound in enumerate(bounds)] or None


def view_of(sample: Sample, part: int, start: int, stop: int) -> View:
    """The turns ``start … stop - 1``; gold is left out, as its ids are of the whole dialogue."""
    turns = sample.dialogue.turns[start:stop]
    img_ids = tuple(dict.fromkeys(img_id for turn in turns for img_id in turn.img_ids))
    local = {img_id: place for place, img_id in enumerate(img_ids)}
    images = {image.img_id: image for image in sample.dialogue.images}
    dialogue = Dialogue(
        sample.dialogue.dialogue_id,
        tuple(
            replace(turn, img_ids=tuple(local[img_id] for img_id in turn.img_ids)) for turn in turns
        ),
        tuple(replace(images[img_id], img_id=place) for img_id, place in local.items()),
        sample.dialogue.language,
    )
    return View(part, replace(sample, dialogue=dialogue, gold=None, kind=None), img_ids)


def _largest(good: Callable[[int], bool], least: int, most: int, guess: int) -> int | None:
    """The largest number from ``least`` to ``most`` that is good; ``None`` if ``least`` is not.

    Numbers above one that is not good are taken for not good. From a guess it goes in growing
    steps until it is between two bounds, then by halves.
    """
    low, high, step = least - 1, most + 1, max(guess // 8, 1)
    while high - low > 1:
        bounded = low >= least and high <= most
        number = (low + high) // 2 if bounded else min(max(guess, low + 1), high - 1)
        if good(number):
            low, guess = number, number + step
        else:
            high, guess = number, number - step
        step *= 2
    return low if low >= least else None
