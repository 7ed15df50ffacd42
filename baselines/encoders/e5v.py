"""E5-V: LLaVA-NeXT asked to say a text or an image in one word; the last token is the vector.

The prompts are those of the release ``royokong/e5-v``. It has none for a text together with an
image but an instruction to change the image, which is another task, so that this encoder takes
texts and images apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from baselines.encoders.backbone import fitted, last_states, load_model, loading, positions
from baselines.encoders.checkpoint import Kind, find_checkpoint, vector_options
from baselines.encoders.device import pick
from baselines.encoders.encoder import Encoder, LoadedEncoder
from baselines.encoders.prompts import PromptTokenizer
from baselines.encoders.registry import check_installed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL.Image import Image

    from baselines.encoders.device import Placement
    from baselines.encoders.encoder import FloatArray
    from ffr_eval.embeddings.keys import Role
    from ffr_eval.embeddings.space import SpaceRecord

KIND = Kind("llava_next", ("LlavaNextForConditionalGeneration",), "royokong/e5-v")
FRAME: Final = (
    "<|start_header_id|>user<|end_header_id|>\n\n{content}\n{prompt} <|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n \n"
)
"""The release's chat frame; the tokenizer puts its first token before it."""
IMAGE: Final = "<image>"
MAX_ASPECT: Final = 50
"""Narrower images are squashed: the model's own preparation leaves nothing of them."""


@dataclass(frozen=True, slots=True)
class E5VOptions:
    """Options of ``e5-v``.

    Attributes:
        model: A folder or a hub name.
        dtype: ``auto``, ``float32``, ``float16`` or ``bfloat16``.
        text_prompt: What follows a text.
        image_prompt: What follows an image.
        max_length: Of a text with its prompt, in tokens; never more than the model has positions.
    """

    model: str = KIND.example
    dtype: str = "auto"
    text_prompt: str = "Summary above sentence in one word:"
    image_prompt: str = "Summary above image in one word:"
    max_length: int = 8192


class E5V(Encoder):
    """E5-V."""

    name = "e5-v"
    extra = "hf"
    requires = ("torch", "torchvision", "transformers", "PIL")
    Options = E5VOptions
    options: E5VOptions

    def describe(self) -> SpaceRecord:
        """The space that the vectors are in."""
        from ffr_eval.embeddings.space import SpaceRecord

        return SpaceRecord(
            encoder=self.name,
            model=self.options.model,
            revision=find_checkpoint(self.options.model, KIND).revision,
            options=vector_options(self.options, frame=FRAME),
            modalities=("text", "image"),
            roles=False,
            max_tokens=self.options.max_length,
        )

    def load(self) -> LoadedE5V:
        """Load the model."""
        check_installed(type(self))
        checkpoint = find_checkpoint(self.options.model, KIND)
        placement = pick(self.machine.device, self.options.dtype)
        with loading(checkpoint.folder):
            return LoadedE5V(checkpoint.folder, self.options, placement)


class LoadedE5V(LoadedEncoder):
    """E5-V in memory."""

    def __init__(self, folder: Path, options: E5VOptions, placement: Placement) -> None:
        from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor

        self._model: Any = load_model(LlavaNextForConditionalGeneration, folder, placement)
        self._processor: Any = LlavaNextProcessor.from_pretrained(
            str(folder), local_files_only=True
        )
        _complete(self._processor, self._model.config)
        text = self._model.config.text_config
        self._options = options
        self.batch_size = 8
        self.dimension = text.hidden_size
        self.device, self.dtype = placement.device, placement.dtype
        self.max_tokens: int = min(options.max_length, text.max_position_embeddings)
        self._prompts = PromptTokenizer(self._processor.tokenizer, self.max_tokens)

    def lengths(self, texts: Sequence[str], role: Role) -> list[int]:  # noqa: ARG002
        """The length of each text in its prompt, in tokens."""
        return self._prompts.lengths(texts, self._text_prompt)

    def encode_texts(self, texts: Sequence[str], role: Role) -> FloatArray:  # noqa: ARG002
        """The word for each text."""
        prompts = self._prompts.prompts(texts, self._text_prompt)
        inputs = self._processor.tokenizer(prompts, padding=True, return_tensors="pt")
        return self._encode(inputs)

    def encode_images(self, images: Sequence[Image]) -> FloatArray:
        """The word for each image."""
        prompt = FRAME.format(content=IMAGE, prompt=self._options.image_prompt)
        inputs = self._processor(
            images=[fitted(image, max_aspect=MAX_ASPECT) for image in images],
            text=[prompt] * len(images),
            padding=True,
            return_tensors="pt",
        )
        inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
        return self._encode(inputs)

    def _text_prompt(self, text: str) -> str:
        return FRAME.format(content=text, prompt=self._options.text_prompt)

    def _encode(self, inputs: Any) -> FloatArray:
        inputs = {
            name: value.to(self.device)
            for name, value in inputs.items()
            if name in {"input_ids", "attention_mask", "pixel_values", "image_sizes"}
        }
        return last_states(self._model, inputs, positions(inputs["attention_mask"]))


def _complete(processor: Any, config: Any) -> None:
    """Tell the processor what the release's own settings leave out, from the model's.

    The release was made for a transformers in which the model, not the processor, made room for
    the parts of an image.
    """
    processor.tokenizer.padding_side = "left"
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    if processor.patch_size is None:
        processor.patch_size = config.vision_config.patch_size
        processor.num_additional_image_tokens = 1  # the class token of the CLIP model
    if processor.vision_feature_select_strategy is None:
        processor.vision_feature_select_strategy = config.vision_feature_select_strategy
