"""Which of the five properties each reward profile breaks, with the smallest counter-example.

    python scripts/reward_properties.py [--data FILE] > table.md

Searches small cases in order of size (ids of the dialogue, then of the gold, then of the answer):
all answers on dialogues of up to four ids with vectors of three directions for properties 1, 4 and
5; all sizes of gold and answer up to 16 for property 2; for property 3, golds of a quarter of the
dialogue with vectors in four patterns. ``--data`` writes the counter-examples as JSON, by which
tests/ffr_train/test_rewards_properties.py checks the table.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ffr_eval.markup import answer_text
from ffr_train.rewards import Batch, DialogueEmbeddings, DialogueIds, score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROFILES: Final = ("paper", "released", "fixed")
TERMS: Final = ("format", "f1", "order")
GARBAGE: Final = "I cannot tell."
INVENTED: Final = 99
DIRECTIONS: Final = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0))
Ids = tuple[tuple[int, ...], tuple[int, ...]]


class Case(msgspec.Struct, frozen=True):
    """A dialogue, a gold and answers; image ``i`` is shown in turn ``i``, or the last.

    Attributes:
        directions: Of the vectors, utterances first; ``None`` for one that is missing.
        gold: Gold ids.
        answers: Ids, or text that is no answer.
    """

    utterances: int
    images: int
    directions: tuple[tuple[float, float] | None, ...]
    gold: Ids
    answers: tuple[Ids | str, ...]

    def rewards(self, profile: str) -> list[dict[str, Any]]:
        """Terms and total of each answer."""
        n = len(self.answers)
        vectors = [(0.0, 0.0) if v is None else v for v in self.directions]
        rows = [place for place, v in enumerate(self.directions) if v is not None]
        dialogue = DialogueIds(
            tuple(range(self.utterances)),
            tuple(range(self.images)),
            {i: min(i, self.utterances - 1) for i in range(self.images)},
            DialogueEmbeddings(
                np.array(vectors),
                {i: i for i in rows if i < self.utterances},
                {i - self.utterances: i for i in rows if i >= self.utterances},
            ),
        )
        texts = [
            answer if isinstance(answer, str) else answer_text(*answer) for answer in self.answers
        ]
        batch = Batch(texts, [answer_text(*self.gold)] * n, [dialogue] * n)
        return score(batch, profile, TERMS).to_dicts()


Violation = tuple[int, ...]
"""The answers of a case that show it: the last one against those before it."""


@dataclass(frozen=True)
class Check:
    """A statement of rewards.md.

    Attributes:
        name: Number of the property and what is looked at.
        cases: Cases in order of size.
        broken: The rewards of a case's answers to the places of answers that break it.
    """

    name: str
    cases: Callable[[], Iterator[Case]]
    broken: Callable[[list[dict[str, Any]]], Violation | None]


def subsets(n: int) -> list[tuple[int, ...]]:
    """All subsets of the first n ids, the smallest first."""
    return [c for k in range(n + 1) for c in itertools.combinations(range(n), k)]


def small_cases(*, negative: bool) -> Iterator[Case]:
    """The gold first, then every other answer, one invented id and garbage."""
    shapes = sorted(
        ((u, i) for u in range(1, 5) for i in range(min(u, 2) + 1) if u + i <= 4), key=sum
    )
    for utterances, images in shapes:
        golds = (
            [((), ())]
            if negative
            else list(itertools.product(subsets(utterances), subsets(images)))
        )
        answers = sorted(itertools.product(subsets(utterances), subsets(images)), key=_size)
        extra: list[Ids | str] = [((INVENTED,), ()), ((), (INVENTED,)), GARBAGE]
        for gold in sorted(golds, key=_size):
            others = [a for a in answers if a != gold]
            for directions in itertools.product(DIRECTIONS, repeat=utterances + images):
                yield Case(utterances, images, directions, gold, (gold, *others, *extra))


def _size(ids: Ids) -> int:
    return len(ids[0]) + len(ids[1])


def not_1_at_gold(term: str) -> Callable[[list[dict[str, Any]]], Violation | None]:
    """The gold itself."""
    return lambda found: None if abs(found[0][term] - 1) < 1e-9 else (0,)


def above_1(found: list[dict[str, Any]]) -> Violation | None:
    """An answer with a term above 1."""
    for place, row in enumerate(found):
        if any(row[term] > 1 + 1e-9 for term in TERMS):
            return (place,)
    return None


def as_good_as_gold(found: list[dict[str, Any]]) -> Violation | None:
    """An answer with at least the total of the gold."""
    for place, row in enumerate(found[1:], 1):
        if row["total"] >= found[0]["total"] - 1e-9:
            return 0, place
    return None


def sized_cases(*, right: bool) -> Iterator[Case]:
    """An answer, and it with an id more: a wrong one, or a right one while it is too small."""
    sizes = itertools.product(range(1, 17), range(17), range(17))
    for gold, hits, wrong in sorted(sizes, key=lambda s: (s[0] + s[2] + (not right), s)):
        fits = hits < gold and hits + wrong < gold if right else hits <= gold
        if fits and wrong <= 8:
            utterances = gold + wrong + 1
            before = (*range(hits), *range(gold, gold + wrong))
            after = tuple(sorted((*before, hits if right else gold + wrong)))
            flat = ((1.0, 0.0),) * utterances
            yield Case(utterances, 0, flat, (tuple(range(gold)), ()), ((before, ()), (after, ())))


def f1_rises(found: list[dict[str, Any]]) -> Violation | None:
    """The second answer has more F1."""
    return (0, 1) if found[1]["f1"] > found[0]["f1"] + 1e-9 else None


def f1_falls(found: list[dict[str, Any]]) -> Violation | None:
    """The second answer has less F1."""
    return (0, 1) if found[1]["f1"] < found[0]["f1"] - 1e-9 else None


def quarter_cases(policy: str) -> Iterator[Case]:
    """Half of the gold (every other id, rounded up), and a degenerate answer."""
    for u, i in sorted(itertools.product(range(9), range(3)), key=lambda s: (sum(s), s)):
        if u + i == 0:
            continue
        utterances, images = max(4 * u, 1), 4 * i
        gold: Ids = (tuple(range(u)), tuple(range(i)))
        half: Ids = (gold[0][::2], gold[1][::2])
        other: Ids = (tuple(range(u, 2 * u)), tuple(range(i, 2 * i)))
        first: Ids = (gold[0][:1] * 2, ()) if u else ((), gold[1][:1] * 2)
        answer: Ids | str = {
            "none": ((), ()),
            "garbage": GARBAGE,
            "one right id repeated": first,
            "invented only": (tuple(range(90, 90 + u)), tuple(range(90, 90 + i))),
            "disjoint": other,
            "all": (tuple(range(utterances)), tuple(range(images))),
        }[policy]
        for directions in _patterns(u, utterances, i, images):
            yield Case(utterances, images, directions, gold, (half, answer))


def _patterns(
    gold_utterances: int, utterances: int, gold_images: int, images: int
) -> Iterator[tuple[tuple[float, float], ...]]:
    """All alike; turning by a right angle, or half a turn, at every other gold id; 60° steps."""
    for name in ("alike", "right angle", "opposite", "steps"):
        vectors = []
        for gold, number in ((gold_utterances, utterances), (gold_images, images)):
            for i in range(number):
                at = i if i < gold else 0
                angle = {"alike": 0.0, "right angle": 90.0, "opposite": 180.0, "steps": 60.0}[name]
                turn = np.deg2rad(angle * (at if name == "steps" else at // 2 % 2))
                vectors.append((round(float(np.cos(turn)), 6), round(float(np.sin(turn)), 6)))
        yield tuple(vectors)


def half_earns_no_more(found: list[dict[str, Any]]) -> Violation | None:
    """The second answer has at least the total of the first."""
    return (0, 1) if found[1]["total"] >= found[0]["total"] - 1e-9 else None


def negative_pays(found: list[dict[str, Any]]) -> Violation | None:
    """An answer other than the first that earns something."""
    for place, row in enumerate(found[1:], 1):
        if row["total"] > 1e-9:
            return 0, place
    return None


def negative_garbage_pays(found: list[dict[str, Any]]) -> Violation | None:
    """The last answer earns something."""
    return (len(found) - 1,) if found[-1]["total"] > 1e-9 else None


def lost_cases() -> Iterator[Case]:
    """The gold, of which a vector is missing, where the order needs it."""
    for utterances, images in ((2, 0), (1, 1), (2, 1), (2, 2)):
        gold: Ids = (tuple(range(utterances)), tuple(range(images)))
        directions = (None, *((1.0, 0.0),) * (utterances + images - 1))
        yield Case(utterances, images, directions, gold, (gold,))


def not_none(found: list[dict[str, Any]]) -> Violation | None:
    """The order of the first answer is a number."""
    return None if found[0]["order"] is None else (0,)


def checks() -> list[Check]:
    """In order of the properties."""
    policies = ("none", "garbage", "one right id repeated", "invented only", "disjoint", "all")

    def small() -> Iterator[Case]:
        return small_cases(negative=False)

    return [
        Check("1: no term is above 1", small, above_1),
        *(Check(f"1: {term} is 1 at the gold", small, not_1_at_gold(term)) for term in TERMS),
        Check("1: nothing earns what the gold earns", small, as_good_as_gold),
        Check("2: a wrong id never raises F1", lambda: sized_cases(right=False), f1_rises),
        Check("2: a right id never lowers F1", lambda: sized_cases(right=True), f1_falls),
        *(
            Check(
                f"3: less than half of the gold: {policy}",
                lambda policy=policy: quarter_cases(policy),
                half_earns_no_more,
            )
            for policy in policies
        ),
        Check("4: ids earn nothing", lambda: small_cases(negative=True), negative_pays),
        Check(
            "4: garbage earns nothing", lambda: small_cases(negative=True), negative_garbage_pays
        ),
        Check("5: a missing vector is None", lost_cases, not_none),
    ]


def smallest(check: Check, profile: str) -> Case | None:
    """The first case that breaks the statement, with only the answers that show it."""
    for case in check.cases():
        found = check.broken(case.rewards(profile))
        if found is not None:
            shown = tuple(case.answers[place] for place in found)
            return msgspec.structs.replace(case, answers=shown)
    return None


def describe(case: Case, profile: str) -> str:
    """Gold, answers and figures, for a cell of a table."""
    size = f"{case.utterances} utterances" + (f", {case.images} images" if case.images else "")
    parts = [f"{size}; gold {_written(case.gold)}"]
    for answer, row in zip(case.answers, case.rewards(profile), strict=True):
        figures = ", ".join(
            f"{name} {'null' if row[name] is None else format(row[name], '.4g')}"
            for name in (*TERMS, "total")
        )
        parts.append(f"{_written(answer)}: {figures}")
    if any(v is None for v in case.directions):
        parts.append("u0 has no vector")
    elif len({*case.directions}) > 1:
        angles = [
            round(float(np.degrees(np.arctan2(v[1], v[0]))) % 360) for v in case.directions if v
        ]
        parts.append(f"directions {', '.join(f'{a}°' for a in angles)}")
    return "<br>".join(parts)


def _written(answer: Ids | str) -> str:
    if isinstance(answer, str):
        return f"“{answer}”"
    names = [f"u{i}" for i in answer[0]] + [f"i{i}" for i in answer[1]]
    if len(names) > 12:
        names = [*names[:4], f"… {len(names)} in all"]
    return " ".join(names) or "(empty)"


def main() -> None:
    """Search, print the table, write the data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--data", type=Path, help="write the counter-examples as JSON")
    chosen = parser.parse_args()
    print("| property | " + " | ".join(f"`{profile}`" for profile in PROFILES) + " |")
    print("|---" * (len(PROFILES) + 1) + "|")
    found: list[dict[str, Any]] = []
    for check in checks():
        cells = []
        for profile in PROFILES:
            case = smallest(check, profile)
            cells.append("holds" if case is None else f"**broken**<br>{describe(case, profile)}")
            record = None if case is None else msgspec.to_builtins(case)
            figures = None if case is None else case.rewards(profile)
            found.append(
                {"property": check.name, "profile": profile, "case": record, "figures": figures}
            )
        print(f"| {check.name} | " + " | ".join(cells) + " |")
    if chosen.data:
        lines = ",\n".join(json.dumps(record) for record in found)
        chosen.data.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
