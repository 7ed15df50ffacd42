"""A tiny BLIP-2 retrieval checkpoint: the classes and files of ``Salesforce/blip2-itm-vit-g``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.checkpoints.parts import randomise, save_processor, word_piece_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

IMAGE_SIZE = 28
N_QUERY_TOKENS = 4


def build(folder: Path) -> Path:
    """Write the checkpoint into a folder, and return the folder."""
    from transformers import (
        BertTokenizerFast,
        Blip2Config,
        Blip2ForImageTextRetrieval,
        Blip2Processor,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        BlipImageProcessor,
    )

    tokenizer = BertTokenizerFast(
        tokenizer_object=word_piece_tokenizer(["[DEC]", "<image>"]),
        bos_token="[DEC]",  # noqa: S106
        model_max_length=64,
    )
    image_processor = BlipImageProcessor(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    processor = Blip2Processor(image_processor, tokenizer, num_query_tokens=N_QUERY_TOKENS)
    config = Blip2Config(
        vision_config=Blip2VisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=IMAGE_SIZE,
            patch_size=14,
        ).to_dict(),
        qformer_config=Blip2QFormerConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
            encoder_hidden_size=32,
            use_qformer_text_input=True,
        ).to_dict(),
        num_query_tokens=N_QUERY_TOKENS,
        image_text_hidden_size=16,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    randomise(Blip2ForImageTextRetrieval(config), seed=1).save_pretrained(folder)
    save_processor(processor, folder)
    return folder
