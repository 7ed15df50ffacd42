"""A tiny Qwen2.5-VL checkpoint: the classes and files of ``Qwen/Qwen2.5-VL-7B-Instruct``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.checkpoints.parts import byte_level_tokenizer, randomise, save_processor
from tests.checkpoints.qwen2_vl import CHAT_TEMPLATE

if TYPE_CHECKING:
    from pathlib import Path


def build(folder: Path) -> Path:
    """Write the checkpoint into a folder, and return the folder."""
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vision = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level_tokenizer([*special, *vision]),
        eos_token="<|im_end|>",  # noqa: S106
        pad_token="<|endoftext|>",  # noqa: S106
        padding_side="left",
        model_max_length=4096,
    )
    identify = tokenizer.convert_tokens_to_ids
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor(), chat_template=CHAT_TEMPLATE
    )
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": 64,
            "num_heads": 4,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "bos_token_id": identify("<|endoftext|>"),
            "eos_token_id": identify("<|im_end|>"),
            "pad_token_id": identify("<|endoftext|>"),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 3, 3],
            },
        },
        image_token_id=identify("<|image_pad|>"),
        video_token_id=identify("<|video_pad|>"),
        vision_start_token_id=identify("<|vision_start|>"),
        vision_end_token_id=identify("<|vision_end|>"),
        tie_word_embeddings=False,
    )
    model = randomise(Qwen2_5_VLForConditionalGeneration(config), seed=5)
    # The released checkpoints bring such settings; greedy answers must not depend on them.
    model.generation_config.update(do_sample=True, repetition_penalty=1.5, temperature=0.1, top_k=1)
    model.save_pretrained(folder)
    save_processor(processor, folder)
    return folder
