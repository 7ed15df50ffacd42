"""A Qwen2-VL checkpoint with heads of 64 dimensions: vLLM crashes on the 16 of the tiny one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.checkpoints import qwen2_vl
from tests.checkpoints.parts import randomise

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 128
HEADS = 2


def build(folder: Path) -> Path:
    """Write the checkpoint into a folder, and return the folder."""
    import torch
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    qwen2_vl.build(folder)
    settings = Qwen2VLConfig.from_pretrained(folder).to_dict()
    settings["text_config"].update(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=8192,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [8, 12, 12],
        },
    )
    settings["vision_config"].update(embed_dim=WIDTH, hidden_size=WIDTH, num_heads=HEADS)
    model = randomise(Qwen2VLForConditionalGeneration(Qwen2VLConfig(**settings)), seed=4)
    # As output weights are tied to the embeddings, it would say its last token again and again.
    norm = model.model.language_model.norm.weight
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        norm.copy_(0.1 * (2.0 * torch.randint(2, norm.shape, generator=generator) - 1.0))
    model.save_pretrained(folder)
    return folder
