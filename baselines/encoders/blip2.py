"""BLIP-2 with its image-text contrastive heads (``Blip2ForImageTextRetrieval`` of transformers).

A text's vector is the projection of its first token. An image has a vector for each query token
of the Q-Former (32 in the released models), and the model's own score of a pair is the *maximum*
over these of the cosine with the text. No single vector gives that maximum; the vectors of the
query tokens, each of length 1, are therefore pooled: their mean (the default; its inner product
with a text is the mean of the cosines), or the first one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from baselines.encoders.backbone import as_array, fitted, load_model, loading
from baselines.encoders.checkpoint import Kind, find_checkpoint, vector_options
from baselines.encoders.device import pick
from baselines.encoders.encoder import Encoder, LoadedEncoder
from baselines.encoders.registry import check_installed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL.Image import Image

    from baselines.encoders.device import Placement
    from baselines.encoders.encoder import FloatArray
    from ffr_eval.embeddings.keys import Role
    from ffr_eval.embeddings.space import SpaceRecord

KIND = Kind("blip-2", ("Blip2ForImageTextRetrieval",), "Salesforce/blip2-itm-vit-g")


@dataclass(frozen=True, slots=True)
class Blip2Options:
    """Options of ``blip2``.

    Attributes:
        model: A folder or a hub name.
        dtype: ``auto``, ``float32``, ``float16`` or ``bfloat16``.
        pooling: How the vectors of an image's query tokens become one.
    """

    model: str = KIND.example
    dtype: str = "auto"
    pooling: Literal["mean", "first"] = "mean"


class Blip2(Encoder):
    """BLIP-2 for retrieval."""

    name = "blip2"
    extra = "hf"
    requires = ("torch", "torchvision", "transformers", "PIL")
    Options = Blip2Options
    options: Blip2Options

    def describe(self) -> SpaceRecord:
        """The space that the vectors are in."""
        from ffr_eval.embeddings.space import SpaceRecord

        return SpaceRecord(
            encoder=self.name,
            model=self.options.model,
            revision=find_checkpoint(self.options.model, KIND).revision,
            options=vector_options(self.options),
            modalities=("text", "image"),
            roles=False,
        )

    def load(self) -> LoadedBlip2:
        """Load the model."""
        check_installed(type(self))
        checkpoint = find_checkpoint(self.options.model, KIND)
        placement = pick(self.machine.device, self.options.dtype)
        with loading(checkpoint.folder):
            return LoadedBlip2(checkpoint.folder, self.options, placement)


class LoadedBlip2(LoadedEncoder):
    """BLIP-2 in memory."""

    def __init__(self, folder: Path, options: Blip2Options, placement: Placement) -> None:
        from transformers import Blip2ForImageTextRetrieval, Blip2Processor

        self._processor: Any = Blip2Processor.from_pretrained(str(folder), local_files_only=True)
        self._model: Any = load_model(Blip2ForImageTextRetrieval, folder, placement)
        self._pooling = options.pooling
        self.dimension = self._model.config.image_text_hidden_size
        self.device, self.dtype = placement.device, placement.dtype
        self.max_tokens = min(
            self._model.config.qformer_config.max_position_embeddings,
            self._processor.tokenizer.model_max_length,
        )

    def lengths(self, texts: Sequence[str], role: Role) -> list[int]:  # noqa: ARG002
        """The length of each text in tokens, with the two that enclose it."""
        if not texts:
            return []
        return [
            len(ids) for ids in self._processor.tokenizer(list(texts), verbose=False)["input_ids"]
        ]

    def encode_texts(self, texts: Sequence[str], role: Role) -> FloatArray:  # noqa: ARG002
        """The projection of each text's first token."""
        import torch

        inputs = self._processor.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        ).to(self.device)
        model = self._model
        with torch.inference_mode():
            embedded = model.embeddings(input_ids=inputs["input_ids"])
            states = model.qformer(
                query_embeds=embedded,
                query_length=0,
                attention_mask=inputs["attention_mask"],
                return_dict=True,
            ).last_hidden_state
            head = model.text_projection
            projected = head(states[:, 0].to(head.weight.dtype)).float()
            return as_array(torch.nn.functional.normalize(projected, dim=-1))

    def encode_images(self, images: Sequence[Image]) -> FloatArray:
        """The pooled query tokens of each image."""
        tokens = self.image_tokens(images)
        return as_array(tokens.mean(dim=1) if self._pooling == "mean" else tokens[:, 0])

    def image_tokens(self, images: Sequence[Image]) -> Any:
        """The vectors of each image's query tokens: images × query tokens × dimension, on torch."""
        import torch

        model = self._model
        fit = [fitted(image) for image in images]
        pixels = self._processor.image_processor(images=fit, return_tensors="pt")
        with torch.inference_mode():
            seen = model.vision_model(
                pixel_values=pixels["pixel_values"].to(self.device, model.dtype), return_dict=True
            ).last_hidden_state
            # In float16 the Q-Former is kept in float32.
            seen = seen.to(model.query_tokens.dtype)
            states = model.qformer(
                query_embeds=model.query_tokens.expand(len(images), -1, -1),
                encoder_hidden_states=seen,
                encoder_attention_mask=torch.ones(
                    seen.shape[:-1], dtype=torch.long, device=seen.device
                ),
                return_dict=True,
            ).last_hidden_state
            head = model.vision_projection
            projected = head(states.to(head.weight.dtype)).float()
            return torch.nn.functional.normalize(projected, dim=-1)
