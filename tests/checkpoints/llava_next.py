"""A tiny LLaVA-NeXT checkpoint: the classes and files of ``royokong/e5-v``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.checkpoints.parts import byte_level_tokenizer, randomise, save_processor

if TYPE_CHECKING:
    from pathlib import Path

TILE = 28
PATCH = 14
GRID = [[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]


def build(folder: Path) -> Path:
    """Write the checkpoint into a folder, and return the folder."""
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
        PreTrainedTokenizerFast,
    )

    start, end = "<|begin_of_text|>", "<|eot_id|>"
    frame = ["<|start_header_id|>", "<|end_header_id|>", "<image>", "<pad>"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level_tokenizer([start, end, *frame], start),
        bos_token=start,
        eos_token=end,
        pad_token="<pad>",  # noqa: S106
        padding_side="right",
        model_max_length=512,
    )
    processor = LlavaNextProcessor(
        LlavaNextImageProcessor(
            size={"shortest_edge": TILE},
            crop_size={"height": TILE, "width": TILE},
            image_grid_pinpoints=GRID,
        ),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=TILE,
            patch_size=PATCH,
        ).to_dict(),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=512,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ).to_dict(),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=GRID,
    )
    randomise(LlavaNextForConditionalGeneration(config), seed=2).save_pretrained(folder)
    _name_as_released(folder / "model.safetensors")
    save_processor(processor, folder)
    return folder


def _name_as_released(path: Path) -> None:
    """Give the weights of the vision model the names that they had before transformers 5."""
    from safetensors.numpy import load_file, save_file

    old, new = "vision_tower.", "vision_tower.vision_model."
    weights = {
        new + name.removeprefix(old) if name.startswith(old) else name: weight
        for name, weight in load_file(path).items()
    }
    save_file(weights, path, metadata={"format": "pt"})
