"""A small model of the real Qwen2-VL classes with random weights, and a vocabulary of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.benchmark import read_benchmark
from ffr_eval.markup import MARKERS, answer_text
from ffr_eval.prompt import render
from ffr_train.toy.benchmark import THINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark

CHAT_TEMPLATE: Final = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.text %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_VISION: Final = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_LARGEST_ID: Final = 99
_CERTAINTY: Final = 4.0
_TEXTS: Final = 400
"""Dialogues that the vocabulary is learnt from."""


@dataclass(frozen=True, slots=True)
class ToySize:
    """How large the model is.

    Attributes:
        width: Of the language model's layers; a multiple of ``heads`` times 16.
        layers: Of the language model.
        heads: Of its attention.
        vocabulary: Tokens, at most.
        context: Tokens of prompt and answer, at most.
        seed: Of the weights.
    """

    width: int = 64
    layers: int = 4
    heads: int = 4
    vocabulary: int = 1200
    context: int = 2048
    seed: int = 0


def build_model(folder: Path, benchmark: Path, size: ToySize | None = None) -> None:
    """Write a checkpoint: weights, configuration, processor, tokenizer and chat template.

    Args:
        folder: Where it goes; files of the same names are replaced.
        benchmark: The vocabulary is learnt from the prompts of its dialogues.
        size: How large it is.

    Raises:
        InputError: If the benchmark cannot be read.
    """
    import torch
    import transformers

    library: Any = transformers

    size = size or ToySize()
    words = _tokenizer(list(_texts(read_benchmark(benchmark))), size.vocabulary)
    tokenizer: Any = library.PreTrainedTokenizerFast(
        tokenizer_object=words,
        eos_token="<|im_end|>",  # noqa: S106
        pad_token="<|endoftext|>",  # noqa: S106
        padding_side="left",
        model_max_length=size.context,
    )
    identify = tokenizer.convert_tokens_to_ids
    pixels = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
    processor = library.Qwen2VLProcessor(
        library.Qwen2VLImageProcessor(size=pixels),
        tokenizer,
        library.Qwen2VLVideoProcessor(),
        chat_template=CHAT_TEMPLATE,
    )
    part = size.width // size.heads // 8
    config = library.Qwen2VLConfig(
        vision_config={
            "depth": 2,
            "embed_dim": 64,
            "hidden_size": size.width,
            "num_heads": 4,
            "mlp_ratio": 2,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": size.width,
            "intermediate_size": 2 * size.width,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.heads,
            "max_position_embeddings": size.context,
            "initializer_range": size.width**-0.5,
            "bos_token_id": identify("<|endoftext|>"),
            "eos_token_id": identify("<|im_end|>"),
            "pad_token_id": identify("<|endoftext|>"),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2 * part, part, part],
            },
        },
        image_token_id=identify("<|image_pad|>"),
        video_token_id=identify("<|video_pad|>"),
        vision_start_token_id=identify("<|vision_start|>"),
        vision_end_token_id=identify("<|vision_end|>"),
        tie_word_embeddings=False,
    )
    generator = torch.random.get_rng_state()
    try:
        torch.manual_seed(size.seed)
        model: Any = library.Qwen2VLForConditionalGeneration(config)
    finally:
        torch.random.set_rng_state(generator)
    with torch.no_grad():
        # Large enough for a model to be certain of a token, also where only adapters are trained.
        model.lm_head.weight.mul_(_CERTAINTY)
    model.generation_config.eos_token_id = identify("<|im_end|>")
    model.generation_config.pad_token_id = identify("<|endoftext|>")
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _texts(benchmark: Benchmark) -> Iterator[str]:
    for row in range(min(len(benchmark.queries), _TEXTS)):
        sample = benchmark.sample(row)
        yield render(sample).text
        if sample.gold is not None:
            yield answer_text(sample.gold.utt_ids, sample.gold.img_ids)


def _tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """Byte pairs of the texts; markers and numbers are tokens of their own."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer: Any = Tokenizer(models.BPE())
    # Not divided into words, so that the instruction is a few tokens and prompts are short.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer: Any = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Not special: a marker must survive decoding without special tokens.
    whole = (*MARKERS, *map(str, range(_LARGEST_ID + 1)), *THINGS)
    parted = re.compile("|".join(map(re.escape, sorted(whole, key=len, reverse=True))))
    tokenizer.train_from_iterator((part for text in texts for part in parted.split(text)), trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in whole])
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in (*_SPECIAL, *_VISION)]
    )
    return tokenizer
