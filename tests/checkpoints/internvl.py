"""A tiny InternVL3 checkpoint: the classes and files of ``OpenGVLab/InternVL3-8B-hf``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.checkpoints.parts import byte_level_tokenizer, randomise

if TYPE_CHECKING:
    from pathlib import Path

TILE = 56
PATCH = 14
TOKENS_A_TILE = 4
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<IMG_CONTEXT>\n{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build(folder: Path) -> Path:
    """Write the checkpoint into a folder, and return the folder."""
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLForConditionalGeneration,
        InternVLProcessor,
        InternVLVideoProcessor,
        PreTrainedTokenizerFast,
    )

    names = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *names.values()]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level_tokenizer(special),
        eos_token="<|im_end|>",  # noqa: S106
        pad_token="<|endoftext|>",  # noqa: S106
        extra_special_tokens=names,
        model_max_length=4096,
    )
    size = {"height": TILE, "width": TILE}
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(size=size, crop_to_patches=True, min_patches=1, max_patches=6),
        tokenizer,
        InternVLVideoProcessor(size=size),
        image_seq_length=TOKENS_A_TILE,
        chat_template=CHAT_TEMPLATE,
    )
    config = InternVLConfig(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": [TILE, TILE],
            "patch_size": [PATCH, PATCH],
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": False,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=TOKENS_A_TILE,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
    )
    randomise(InternVLForConditionalGeneration(config), seed=9).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
