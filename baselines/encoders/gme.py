"""GME: Qwen2-VL fine-tuned for retrieval; texts, images, or both; the last token is the vector.

The frame, the limits and the positions are those of the release's own code, which differs from
Qwen2-VL as transformers runs it in one respect: the tokens of an image have the plain positions of
a text, and not the rows and columns of the picture (``positions=grid`` gives these).

The system message of a passage is always the same; that of a query says what is wanted. Give
``query_instruction`` the words of ``passage_instruction`` to treat both alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from baselines.encoders.backbone import fitted, last_states, load_model, loading, positions
from baselines.encoders.checkpoint import Kind, find_checkpoint, vector_options
from baselines.encoders.device import pick
from baselines.encoders.encoder import Encoder, LoadedEncoder
from baselines.encoders.prompts import PromptTokenizer
from baselines.encoders.registry import check_installed
from ffr_eval.embeddings.keys import Role
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from PIL.Image import Image

    from baselines.encoders.device import Placement
    from baselines.encoders.encoder import FloatArray
    from ffr_eval.embeddings.space import SpaceRecord

KIND = Kind(
    "qwen2_vl",
    ("Qwen2VLForConditionalGeneration", "GmeQwen2VL", "GmeQwen2VLForVision"),
    "Alibaba-NLP/gme-Qwen2-VL-2B-Instruct",
)
FRAME: Final = (
    "<|im_start|>system\n{instruction}<|im_end|>\n<|im_start|>user\n{content}<|im_end|>\n"
    "<|im_start|>assistant\n<|endoftext|>"
)
IMAGE: Final = "<|vision_start|>{tokens}<|vision_end|>"
IMAGE_TOKEN: Final = "<|image_pad|>"  # noqa: S105 - a token of a text
TOKEN_SIDE: Final = 28
"""A token of an image is a square of so many pixels."""
MAX_ASPECT: Final = 200
"""Narrower images are squashed, as Qwen2-VL takes none."""


@dataclass(frozen=True, slots=True)
class GmeOptions:
    """Options of ``gme``.

    Attributes:
        model: A folder or a hub name.
        dtype: ``auto``, ``float32``, ``float16`` or ``bfloat16``.
        query_instruction: The system message of a query.
        passage_instruction: The system message of what is searched in.
        max_length: Of a text in its frame, in tokens, images not counted.
        min_image_tokens: Smaller images are enlarged.
        max_image_tokens: Larger images are reduced.
        positions: ``sequential``, as in the release, or ``grid``, as in Qwen2-VL.
    """

    model: str = KIND.example
    dtype: str = "auto"
    query_instruction: str = (
        "Find the utterances and images of a dialogue that match the given text."
    )
    passage_instruction: str = "You are a helpful assistant."
    max_length: int = 1800
    min_image_tokens: int = 256
    max_image_tokens: int = 1280
    positions: Literal["sequential", "grid"] = "sequential"


class Gme(Encoder):
    """GME."""

    name = "gme"
    extra = "hf"
    requires = ("torch", "torchvision", "transformers", "PIL")
    mixed = True
    Options = GmeOptions
    options: GmeOptions

    def describe(self) -> SpaceRecord:
        """The space that the vectors are in."""
        from ffr_eval.embeddings.space import SpaceRecord

        options = self.options
        _check(options)
        return SpaceRecord(
            encoder=self.name,
            model=options.model,
            revision=find_checkpoint(options.model, KIND).revision,
            options=vector_options(options, frame=FRAME),
            modalities=("text", "image"),
            roles=options.query_instruction != options.passage_instruction,
            max_tokens=options.max_length,
        )

    def load(self) -> LoadedGme:
        """Load the model."""
        check_installed(type(self))
        _check(self.options)
        checkpoint = find_checkpoint(self.options.model, KIND)
        placement = pick(self.machine.device, self.options.dtype)
        with loading(checkpoint.folder):
            return LoadedGme(checkpoint.folder, self.options, placement)


class LoadedGme(LoadedEncoder):
    """GME in memory."""

    def __init__(self, folder: Path, options: GmeOptions, placement: Placement) -> None:
        from transformers import Qwen2VLForConditionalGeneration, Qwen2VLProcessor

        processor: Any = Qwen2VLProcessor.from_pretrained(str(folder), local_files_only=True)
        self._image_processor = processor.image_processor
        _bound_pixels(
            self._image_processor,
            options.min_image_tokens * TOKEN_SIDE**2,
            options.max_image_tokens * TOKEN_SIDE**2,
        )
        self._tokenizer = processor.tokenizer
        self._tokenizer.padding_side = "left"
        self._model: Any = load_model(Qwen2VLForConditionalGeneration, folder, placement)
        self._options = options
        # Before transformers 4.52 the settings of the text model were those of the whole.
        text = getattr(self._model.config, "text_config", self._model.config)
        self.batch_size = 8
        self.dimension = text.hidden_size
        self.device, self.dtype = placement.device, placement.dtype
        self.max_tokens: int = min(options.max_length, text.max_position_embeddings)
        self._prompts = PromptTokenizer(self._tokenizer, self.max_tokens)

    def lengths(self, texts: Sequence[str], role: Role) -> list[int]:
        """The length of each text in its frame, in tokens."""
        return self._prompts.lengths(texts, self._frame(role))

    def encode_texts(self, texts: Sequence[str], role: Role) -> FloatArray:
        """Vectors of texts."""
        return self._encode(self._prompts.prompts(texts, self._frame(role)), [])

    def encode_images(self, images: Sequence[Image]) -> FloatArray:
        """Vectors of images, as passages."""
        return self.encode_mixed([("", [image]) for image in images], Role.PASSAGE)

    def encode_mixed(self, items: Sequence[tuple[str, Sequence[Image]]], role: Role) -> FloatArray:
        """Vectors of texts with their images, which come before the text."""
        prompts = self._prompts.prompts([text for text, _ in items], self._frame(role))
        head = self._frame(role)("\0").partition("\0")[0]
        images = []
        with_images = []
        for prompt, (_, own) in zip(prompts, items, strict=True):
            images += [fitted(image, TOKEN_SIDE, MAX_ASPECT) for image in own]
            marks = IMAGE.format(tokens=IMAGE_TOKEN) * len(own)
            with_images.append(head + marks + prompt.removeprefix(head))
        return self._encode(with_images, images)

    def _frame(self, role: Role) -> Callable[[str], str]:
        options = self._options
        query = role is Role.QUERY
        instruction = options.query_instruction if query else options.passage_instruction

        def framed(text: str) -> str:
            return FRAME.format(instruction=instruction, content=text)

        return framed

    def _encode(self, prompts: list[str], images: list[Image]) -> FloatArray:
        vision: dict[str, Any] = {}
        if images:
            prepared = self._image_processor(images=images, return_tensors="pt")
            vision = {
                "pixel_values": prepared["pixel_values"].to(self.device, self._model.dtype),
                "image_grid_thw": prepared["image_grid_thw"].to(self.device),
            }
            merged = self._image_processor.merge_size**2
            counts = (prepared["image_grid_thw"].prod(dim=-1) // merged).tolist()
            prompts = _with_room(prompts, counts)
        inputs = self._tokenizer(prompts, padding=True, return_tensors="pt").to(self.device)
        text = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        return last_states(self._model, {**text, **vision}, self._positions(text, vision))

    def _positions(self, text: dict[str, Any], vision: dict[str, Any]) -> Any:
        mask = text["attention_mask"]
        if self._options.positions == "sequential" or not vision:
            return positions(mask).expand(3, -1, -1)
        ids = text["input_ids"]
        model = self._model
        index = getattr(model, "get_rope_index", None) or model.model.get_rope_index
        grid = {"image_grid_thw": vision["image_grid_thw"], "attention_mask": mask}
        if "mm_token_type_ids" in index.__code__.co_varnames:
            grid["mm_token_type_ids"] = (ids == model.config.image_token_id).int()
        return index(ids, **grid)[0]


def _bound_pixels(image_processor: Any, least: int, most: int) -> None:
    """Bound the size that images are brought to; what it is called depends on the version."""
    image_processor.size = {"shortest_edge": least, "longest_edge": most}
    for name, value in (("min_pixels", least), ("max_pixels", most)):
        if hasattr(image_processor, name):
            setattr(image_processor, name, value)


def _with_room(prompts: Iterable[str], counts: Iterable[int]) -> list[str]:
    """Prompts in which each image has as many tokens as it needs, in order."""
    numbers = iter(counts)
    roomy = []
    for prompt in prompts:
        first, *rest = prompt.split(IMAGE_TOKEN)
        roomy.append(first + "".join(IMAGE_TOKEN * next(numbers) + part for part in rest))
    return roomy


def _check(options: GmeOptions) -> None:
    if not 1 <= options.min_image_tokens <= options.max_image_tokens:
        raise InputError(
            f"{options.min_image_tokens} is not between 1 and max_image_tokens "
            f"({options.max_image_tokens})",
            field="option min_image_tokens",
        )
