"""Batches that mix samples with and without images: each is computed as if it were alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ffr_train.config import read_config
from ffr_train.data import load_processor, load_rows

if TYPE_CHECKING:
    from tests.ffr_train.training.conftest import World


@pytest.mark.parametrize("passes", [1, 2])
def test_log_probabilities_are_those_of_each_sample_alone(
    fresh: World, monkeypatch: pytest.MonkeyPatch, passes: int
) -> None:
    """What GRPO trains on, after TRL has shuffled and divided what was generated."""
    import torch

    from ffr_train.training.grpo import train_grpo
    from ffr_train.training.grpo_trainer import FragmentGRPOTrainer

    rows = load_rows(fresh.folder / "data-grpo")
    numbers = list(rows["n_images"])
    assert 0 in numbers
    assert max(numbers) > 1
    loaded = load_processor(fresh.folder / "model", 602112)
    processor = loaded.processor
    by_prompt: dict[tuple[int, ...], Any] = {}
    for row in rows:
        text = processor.apply_chat_template(
            row["prompt"], tokenize=False, add_generation_prompt=True
        )
        images = {"images": [row["images"]]} if row["images"] else {}
        inputs = processor(text=[text], return_tensors="pt", add_special_tokens=False, **images)
        by_prompt.setdefault(tuple(inputs["input_ids"][0].tolist()), []).append(inputs)
    seen: list[int] = []
    compute = FragmentGRPOTrainer._compute_loss

    def compared(self: Any, model: Any, inputs: dict[str, Any]) -> Any:
        names = ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids")
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        kept = inputs["completion_ids"].size(1)
        with torch.no_grad():
            together, *_ = self._get_per_token_logps_and_entropies(
                model, ids, mask, kept, **{n: inputs[n] for n in names if inputs.get(n) is not None}
            )
        for place in range(len(ids)):
            prompt = inputs["prompt_ids"][place][inputs["prompt_mask"][place].bool()]
            answer = inputs["completion_ids"][place][inputs["completion_mask"][place].bool()]
            candidates = []
            for alone in by_prompt[tuple(prompt.tolist())]:
                whole = torch.cat([prompt, answer])[None]
                types = torch.zeros_like(whole)
                types[0, : len(prompt)] = alone["mm_token_type_ids"][0]
                with torch.no_grad():
                    logits = model(
                        input_ids=whole,
                        attention_mask=torch.ones_like(whole),
                        mm_token_type_ids=types,
                        **{
                            name: alone[name]
                            for name in ("pixel_values", "image_grid_thw")
                            if name in alone
                        },
                    ).logits[0, len(prompt) - 1 : -1]
                logps = torch.log_softmax(logits / self.temperature, dim=-1)
                candidates.append(logps.gather(1, answer[:, None])[:, 0])
                seen.append(len(alone.get("image_grid_thw", ())))
            # Two samples may have the same words and other pictures.
            found = together[place, : len(answer)]
            assert min((found - one).abs().max().item() for one in candidates) < 1e-3
        return compute(self, model, inputs)

    monkeypatch.setattr(FragmentGRPOTrainer, "_compute_loss", compared)
    settings = ["grpo.out=mixed", "grpo.trainer.max_steps=2", "evaluation=null"]
    settings += ["grpo.trainer.num_generations=2", "grpo.curriculum.difficulty=null"]
    settings += [f"grpo.trainer.per_device_train_batch_size={16 // passes}"]
    settings += [f"grpo.trainer.gradient_accumulation_steps={passes}"]
    train_grpo(read_config(fresh.config, settings), note=lambda _: None)
    assert {0, 1} <= set(seen)
    assert max(seen) > 1
