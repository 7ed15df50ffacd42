"""Drawing tokens."""

from __future__ import annotations

from collections import Counter

import pytest

from baselines.hf.steps import Draws, Notes, seed_of


def drawn(scores: list[float], temperature: float, top_p: float, times: int) -> Counter[int]:
    import torch

    logits = torch.tensor([scores])
    draws = Draws(["seed"], temperature, top_p)
    found: Counter[int] = Counter()
    for _ in range(times):
        left = draws(torch.zeros(1, 1), logits)
        assert int(torch.isfinite(left).sum()) == 1
        found[int(left.argmax())] += 1
    return found


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_by_their_probabilities(temperature: float) -> None:
    import torch

    scores, times = [0.3, 2.0, -1.0, 1.0, -30.0], 20_000
    expected = torch.softmax(torch.tensor(scores) / temperature, dim=-1).tolist()
    found = drawn(scores, temperature, 1.0, times)
    for token, probability in enumerate(expected):
        deviation = (probability * (1 - probability) / times) ** 0.5
        assert found[token] / times == pytest.approx(probability, abs=5 * deviation + 1e-9)


def test_top_p_leaves_the_most_likely() -> None:
    scores = [0.0, 5.0, 4.0, -9.0]  # 0.73 and 0.27, nearly
    assert set(drawn(scores, 1.0, 0.5, 200)) == {1}
    assert set(drawn(scores, 1.0, 0.8, 500)) == {1, 2}
    assert set(drawn(scores, 1.0, 1e-9, 50)) == {1}


def test_seeds_differ_between_samples_and_windows() -> None:
    assert (
        len({seed_of(0, "a", 0), seed_of(0, "a", 1), seed_of(0, "b", 0), seed_of(1, "a", 0)}) == 4
    )


def test_entropies_of_known_distributions() -> None:
    import math

    import torch

    notes = Notes(logprobs=True)
    impossible = float("-inf")
    notes(torch.zeros(2, 3).long(), torch.tensor([[1.0, 1.0, 1.0, 1.0], [5.0, *[impossible] * 3]]))
    notes(torch.tensor([[2], [0]]), torch.tensor([[3.0, 3.0, *[impossible] * 2], [0.0] * 4]))
    flat, certain = notes.rows(torch.tensor([1, 3]))
    assert flat.entropy == pytest.approx([math.log(4), math.log(2)])
    assert flat.token_logprobs == pytest.approx([-math.log(4), -math.log(2)])
    assert certain.entropy == pytest.approx([0.0, math.log(4)])
    assert certain.token_logprobs == pytest.approx([0.0, -math.log(4)])
    assert flat.usable == [True, True]
