"""Which samples of the tuning split are shown as examples."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Final

from ffr_eval.benchmark.validation import kind_of
from ffr_eval.errors import InputError
from ffr_eval.types import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.generative.options import GenerativeOptions
    from ffr_eval.types import Sample

KIND_ORDER: Final = (Kind.MULTIMODAL, Kind.UTTERANCE, Kind.IMAGE, Kind.NEGATIVE)
"""Kinds take turns in this order."""


def choose_shots(samples: Sequence[Sample], options: GenerativeOptions) -> list[str]:
    """The ids of ``options.shots`` examples, in the order in which they are shown.

    Kinds take turns, as far as there are any; within a kind, the dialogue that has given the fewest
    examples so far comes first. Which samples these are depends on the seed and on what is in the
    samples' split, not on its order, and the first of many examples are those of a few.

    Args:
        samples: Of the tuning split, with gold.
        options: ``shots``, ``shot_turns`` and ``seed`` decide, and ``images``: where pictures are
            shown, an example's images need files.

    Raises:
        InputError: If there are not so many.
    """
    unfit: Counter[str] = Counter()
    usable: dict[Kind, list[Sample]] = {}
    for sample in sorted(samples, key=lambda each: _draw(options.seed, each.sample_id)):
        problem = _why_not(sample, options)
        if problem is not None:
            unfit[problem] += 1
        else:
            usable.setdefault(_kind(sample), []).append(sample)
    n_usable = sum(map(len, usable.values()))
    if n_usable < options.shots:
        raise _too_few(n_usable, unfit, options)
    chosen: list[str] = []
    given: Counter[str] = Counter()  # examples by dialogue
    while len(chosen) < options.shots:
        chosen += _round(usable, given)
    return chosen[: options.shots]


def shots_for(sample: Sample, shots: Sequence[Sample]) -> list[Sample]:
    """The examples that a sample is asked with: one on its dialogue would give answers away."""
    own = sample.dialogue.dialogue_id
    return [shot for shot in shots if shot.dialogue.dialogue_id != own]


def _draw(seed: int, sample_id: str) -> bytes:
    return hashlib.sha256(f"{seed} {sample_id}".encode("utf-8", "surrogatepass")).digest()


def _kind(sample: Sample) -> Kind:
    gold = sample.gold
    return Kind.NEGATIVE if gold is None else kind_of(gold.utt_ids, gold.img_ids)


def _why_not(sample: Sample, options: GenerativeOptions) -> str | None:
    """Why a sample is no example, as its count is told to the user."""
    if sample.gold is None:
        return "without gold"
    if len(sample.dialogue.turns) > options.shot_turns:
        return f"in dialogues of more than {options.shot_turns} turns"
    files = [image.file for image in sample.dialogue.images]
    if options.images != "text_only" and None in files:
        return "in dialogues with images that have no file"
    return None


def _too_few(n_usable: int, unfit: Counter[str], options: GenerativeOptions) -> InputError:
    left_out = "; ".join(f"{count} are {why}" for why, count in unfit.items())
    total = n_usable + sum(unfit.values())
    message = (
        f"{options.shots} examples are wanted, and {n_usable} of the {total} samples of the tuning"
        f" split can be one{': ' if left_out else ''}{left_out}"
    )
    remedies = [f"-o shots={n_usable} or fewer"] if n_usable else []
    if any("turns" in why for why in unfit):
        remedies.append("a larger -o shot_turns")
    if any("file" in why for why in unfit):
        remedies.append("-o images=text_only -o captions=true")
    remedies.append("a --tune-on split with more samples")
    return InputError(message, field="option shots", remedy=", or ".join(remedies))


def _round(usable: dict[Kind, list[Sample]], given: Counter[str]) -> list[str]:
    """One example of each kind that is left; they are taken out of ``usable``.

    The kind of the fewest dialogues chooses first, so that another does not take its only one.
    """
    left = [kind for kind in KIND_ORDER if usable.get(kind)]
    found: dict[Kind, str] = {}
    for kind in sorted(left, key=lambda each: _n_fresh(usable[each], given)):
        sample = min(usable[kind], key=lambda each: given[each.dialogue.dialogue_id])
        usable[kind].remove(sample)
        given[sample.dialogue.dialogue_id] += 1
        found[kind] = sample.sample_id
    return [found[kind] for kind in left]


def _n_fresh(samples: list[Sample], given: Counter[str]) -> int:
    """How many dialogues without an example so far a kind could take one of."""
    names = {sample.dialogue.dialogue_id for sample in samples}
    return sum(not given[name] for name in names)
