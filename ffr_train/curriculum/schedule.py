"""The order in which a curriculum shows the rows of a data set: pools that grow, easiest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ffr_train.curriculum.levels import LEVELS, UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

UNMEASURED: Final = "unknown"
"""The name of the stage whose rows have no level."""


class Stage(NamedTuple):
    """A stretch of the order.

    Attributes:
        level: The level that is new in it.
        start, stop: Its bounds in the order; what fills up the order is in the last one.
        pool: How many rows have been new up to its end: what it may show.
    """

    level: str
    start: int
    stop: int
    pool: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """The order of a curriculum.

    Attributes:
        rows: Row numbers in the order of training; every row is among them, shape ``(m,)``.
        stages: Where each level begins; levels without rows have none.
        n_filled: How many rows stand at the end only to fill up the length.
    """

    rows: NDArray[np.int64]
    stages: tuple[Stage, ...]
    n_filled: int

    def __len__(self) -> int:
        return len(self.rows)


def order(
    levels: ArrayLike, *, replay: float = 1.0, multiple_of: int = 1, seed: int = 0
) -> Schedule:
    """The order of training: a stage for each level, easiest first, unmeasured rows last.

    A stage has all rows of its level, and ``replay`` times the number of all rows of the stages
    before, drawn without repetition; all of it shuffled. With 1 the pool grows by a level at each
    stage; with 0 each row comes once. The end is filled up with rows of the last stage, so that a
    trainer that drops an incomplete batch drops nothing.

    Args:
        levels: The code of each row's level (see :mod:`ffr_train.curriculum.levels`).
        replay: The share of the earlier rows that is shown again at each stage, 0 to 1.
        multiple_of: What the length is to be a multiple of.
        seed: The same seed makes the same order.

    Raises:
        ValueError: If a number is out of its range, or a code is unknown.
    """
    codes = np.asarray(levels)
    if codes.ndim != 1 or (len(codes) and not np.issubdtype(codes.dtype, np.integer)):
        raise ValueError(f"levels are codes of one dimension, not {codes.dtype} {codes.shape}")
    if not 0 <= replay <= 1:
        raise ValueError(f"replay is {replay}, not between 0 and 1")
    if multiple_of < 1:
        raise ValueError(f"multiple_of is {multiple_of}, less than 1")
    if len(codes) and not (codes.min() >= UNKNOWN and codes.max() < len(LEVELS)):
        raise ValueError(f"levels are {UNKNOWN} to {len(LEVELS) - 1}")
    rng = np.random.Generator(np.random.PCG64(seed))
    pool = np.empty(0, dtype=np.int64)
    parts: list[NDArray[np.int64]] = []
    stages: list[Stage] = []
    length = 0
    for code, name in [*enumerate(LEVELS), (UNKNOWN, UNMEASURED)]:
        new = np.flatnonzero(codes == code)
        if not len(new):
            continue
        again = rng.permutation(pool)[: round(replay * len(pool))]
        part = rng.permutation(np.concatenate([new, again]))
        pool = np.concatenate([pool, new])
        parts.append(part)
        stages.append(Stage(name, length, length + len(part), len(pool)))
        length += len(part)
    filled = -length % multiple_of
    if filled:
        parts.append(_filling(parts[-1], filled, rng))
        stages[-1] = stages[-1]._replace(stop=length + filled)
    rows = np.concatenate(parts) if parts else pool
    return Schedule(rows, tuple(stages), filled)


def _filling(stage: NDArray[np.int64], number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of a stage in another order, over and over if they are too few."""
    times = -(-number // len(stage))
    return np.concatenate([rng.permutation(stage) for _ in range(times)])[:number]
