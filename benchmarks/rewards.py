"""Rewards of a training step against a loop over its samples, as a plain plugin has it."""

from __future__ import annotations

import json
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measure import Result, best_of
from ffr_eval.markup import IMG_IDS, UTT_IDS, answer_text
from ffr_train.rewards import Batch, DialogueEmbeddings, DialogueIds, score

PROMPTS = 1000
COMPLETIONS = 8
DIMENSION = 512
UTTERANCES, IMAGES = 110, 10
IN_FRAGMENT = 45, 5
LOOPED = 20  # prompts that the loop is measured on: it is slow
TERMS = ("format", "f1", "order")
_ANSWER = re.compile(
    rf"\s*{re.escape(UTT_IDS[0])}(\[[\d,\s]*\]){re.escape(UTT_IDS[1])};"
    rf"{re.escape(IMG_IDS[0])}(\[[\d,\s]*\]){re.escape(IMG_IDS[1])}\s*"
)


@dataclass(frozen=True)
class Step:
    """Completions with their gold, and the dialogue of each."""

    completions: list[str]
    solutions: list[str]
    dialogues: list[DialogueIds]


def generate(folder: Path) -> Step:
    """A step; vectors in one array, and for the first prompts also a file for each vector."""
    rng = np.random.default_rng(0)
    per_dialogue = UTTERANCES + IMAGES
    vectors = rng.normal(size=(PROMPTS * per_dialogue, DIMENSION)).astype(np.float32)
    vectors[:] += 1.5  # cosines like those of an encoder: mostly above 0
    np.save(folder / "vectors.npy", vectors)
    mapped = np.load(folder / "vectors.npy", mmap_mode="r")
    step = Step([], [], [])
    for prompt in range(PROMPTS):
        rows = mapped[prompt * per_dialogue : (prompt + 1) * per_dialogue]
        dialogue = DialogueIds(
            tuple(range(UTTERANCES)),
            tuple(range(IMAGES)),
            {i: i * (UTTERANCES // IMAGES) for i in range(IMAGES)},
            DialogueEmbeddings(
                rows,
                {i: i for i in range(UTTERANCES)},
                {i: UTTERANCES + i for i in range(IMAGES)},
            ),
        )
        gold = [np.sort(_draw(rng, place)).tolist() for place in (0, 1)]
        for _ in range(COMPLETIONS):
            step.completions.append(answer_text(*(_draw(rng, place).tolist() for place in (0, 1))))
            step.solutions.append(answer_text(*gold))
            step.dialogues.append(dialogue)
        if prompt < LOOPED:
            home = folder / str(prompt)
            home.mkdir()
            for i in range(per_dialogue):
                kind, number = ("u", i) if i < UTTERANCES else ("i", i - UTTERANCES)
                np.save(home / f"{kind}{number}.npy", rows[i])
    return step


def _draw(rng: np.random.Generator, modality: int) -> np.ndarray:
    return rng.choice((UTTERANCES, IMAGES)[modality], IN_FRAGMENT[modality], replace=False)


def ours(step: Step) -> np.ndarray:
    """Terms × samples."""
    rewards = score(Batch(step.completions, step.solutions, step.dialogues), "fixed", TERMS)
    return np.stack([rewards.terms[term] for term in TERMS])


def loop(step: Step, folder: Path) -> np.ndarray:
    """The same, one sample after the other: JSON lists, sets, and a file for each element."""
    rows = []
    for place in range(LOOPED * COMPLETIONS):
        home = folder / str(place // COMPLETIONS)
        turns = step.dialogues[place].image_turns
        answer, gold = _lists(step.completions[place]), _lists(step.solutions[place])
        if answer is None or gold is None:
            rows.append((0.0, 0.0, 0.0))
            continue
        repeats = any(len(set(ids)) < len(ids) for ids in answer)
        f1 = sum(0.5 * _f1(set(p), set(g)) for p, g in zip(answer, gold, strict=True))
        wanted = _order(gold, home, turns)
        ratio = _order(answer, home, turns) / wanted if wanted > 0 else 1.0
        rows.append((float(not repeats), f1, f1 * min(max(ratio, 0.25), 1.0)))
    return np.array(rows).T


def _lists(text: str) -> tuple[list[int], list[int]] | None:
    match = _ANSWER.fullmatch(text)
    return (json.loads(match[1]), json.loads(match[2])) if match else None


def _f1(predicted: set[int], gold: set[int]) -> float:
    if not predicted and not gold:
        return 1.0
    penalty = 0.8 ** (abs(len(predicted) - len(gold)) / max(len(gold), 1))
    return float(2 * len(predicted & gold) / (len(predicted) + len(gold)) * penalty)


def _order(ids: tuple[list[int], list[int]], home: Path, turns: dict[int, int]) -> float:
    placed = [(i, 0, i) for i in ids[0]] + [(turns[i], 1, i) for i in ids[1]]
    if len(placed) < 2:
        return 0.5
    vectors = np.stack([np.load(home / f"{'ui'[kind]}{i}.npy") for _, kind, i in sorted(placed)])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return float((unit[1:] * unit[:-1]).sum(axis=1).mean())


def run() -> list[Result]:
    """Measure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        step = generate(folder)
        first = ours(step)[:, : LOOPED * COMPLETIONS]
        # the two must agree before they are timed (the loop's cosines are of single precision)
        np.testing.assert_allclose(first, loop(step, folder), rtol=0, atol=1e-5)
        batched = best_of(lambda: ours(step))
        start = time.perf_counter()
        loop(step, folder)
        looped = (time.perf_counter() - start) * PROMPTS / LOOPED
    samples = PROMPTS * COMPLETIONS
    return [
        Result(
            what=f"format, f1 and order of {COMPLETIONS} completions × {PROMPTS:,} prompts",
            ours=f"{batched:.2f} s ({samples / batched:,.0f} a second)",
            peer_name=f"loop over samples, a file an element (on {LOOPED} prompts, scaled)",
            peer=f"{looped:.0f} s ({samples / looped:,.0f} a second)",
            ratio=f"{looped / batched:.0f}",
            wanted="≥ 100",
        )
    ]
