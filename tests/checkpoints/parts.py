"""What the builders of transformers checkpoints share: vocabularies and random weights."""

from __future__ import annotations

import json
from string import ascii_lowercase, digits, punctuation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

SENTENCES = (
    "The cat sleeps on the red sofa while the rain falls on the window.",
    "Shall we meet at the station at nine and take the train to the sea?",
    "Here is the photograph of the mountain that I promised to send you.",
    "You are a helpful assistant. Summary above sentence in one word: summary above image",
    "Find the parts of a dialogue that match the given text, system user assistant",
    "我们明天去看电影吧，你觉得怎么样？",
)


def byte_level_tokenizer(special: Sequence[str], start: str | None = None) -> Tokenizer:
    """Byte pairs learnt from :data:`SENTENCES`, as Llama 3 and Qwen 2 have them.

    Args:
        special: Tokens that are never split.
        start: The special token that is put before every text.
    """
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
        processors,
        trainers,
    )

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in special]
    )
    if start is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{start} $A",
            pair=f"{start} $A $B",
            special_tokens=[(start, tokenizer.token_to_id(start))],
        )
    return tokenizer


def word_piece_tokenizer(special: Sequence[str]) -> Tokenizer:
    """Word pieces of :data:`SENTENCES`, as BERT has them: the words, and the single characters."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    text = " ".join(SENTENCES).lower()
    words = sorted({"".join(filter(str.isalnum, word)) for word in text.split()} - {""})
    characters = sorted(set(text + ascii_lowercase + digits + punctuation) - {" "})
    pieces = [*characters, *(f"##{character}" for character in characters), *words]
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *special, *dict.fromkeys(pieces)]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return tokenizer


def randomise(model: Any, seed: int) -> Any:
    """Give a model random weights that are large enough for inputs to be told apart."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.ndim > 1 or name.endswith(("class_embedding", "image_newline")):
                width = parameter.shape[-1] if "embed" not in name else 1
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(noise * (1.5 / width) ** 0.5)
    return model.eval()


def save_processor(processor: Any, folder: Path) -> None:
    """Save a processor in the files that the releases have.

    They were saved by older versions of transformers, which keep the image processor in a file of
    its own.
    """
    processor.save_pretrained(folder)
    path = folder / "processor_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    for part in ("image_processor", "video_processor"):
        settings.pop(part, None)
    path.write_text(json.dumps(settings, indent=2), encoding="utf-8")
    processor.image_processor.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    if settings["tokenizer_class"] == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(settings, indent=2), encoding="utf-8")
