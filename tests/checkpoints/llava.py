"""A tiny LLaVA-1.5 checkpoint: the classes and files of ``llava-hf/llava-1.5-7b-hf``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.checkpoints.parts import byte_level_tokenizer, randomise, save_processor

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 56
PATCH = 14
# As that of the release, it puts images before all text, and has no words for a system message.
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m.role != 'system' %}{{ m.role.upper() + ': ' }}{% endif %}"
    "{% for part in m.content %}{% if part.type == 'image' %}<image>\n{% endif %}{% endfor %}"
    "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text + ' ' }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def build(folder: Path) -> Path:
    """Write the checkpoint into a folder, and return the folder."""
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    start, end = "<s>", "</s>"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level_tokenizer([start, end, "<image>", "<pad>"], start),
        bos_token=start,
        eos_token=end,
        pad_token="<pad>",  # noqa: S106
        padding_side="right",
        model_max_length=2048,
    )
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=SIDE,
            patch_size=PATCH,
        ).to_dict(),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=2048,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ).to_dict(),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    randomise(LlavaForConditionalGeneration(config), seed=6).save_pretrained(folder)
    save_processor(processor, folder)
    return folder
