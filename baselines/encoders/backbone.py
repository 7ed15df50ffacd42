"""Running a vision-language model of transformers up to the state of its last tokens."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from baselines.encoders.side_effects import no_loading_bars
from ffr_eval.errors import FfrError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from PIL.Image import Image

    from baselines.encoders.device import Placement
    from baselines.encoders.encoder import FloatArray

_LOADING_ERRORS: Final = (
    ImportError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
)
_UNUSED: Final = ("lm_head", "itm_head", "language_model.lm_head")


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """While the parts of a checkpoint are loaded: no progress bars, and plain errors.

    Raises:
        InputError: In the place of what transformers raises.
    """
    from safetensors import SafetensorError

    try:
        with no_loading_bars():
            yield
    except FfrError:
        raise
    except (SafetensorError, *_LOADING_ERRORS) as error:
        text = " ".join(str(error).split())
        raise InputError(f"cannot be loaded: {text}", file=folder) from error


def load_model(kind: Any, folder: Path, placement: Placement) -> Any:
    """A model of transformers, ready to run.

    Args:
        kind: Its class.
        folder: Where its files are.
        placement: Where and in which number format it runs.

    Raises:
        InputError: If the checkpoint lacks weights.
    """
    import transformers

    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    dtype = "dtype" if version >= (4, 56) else "torch_dtype"
    model, loading = kind.from_pretrained(
        str(folder),
        local_files_only=True,
        output_loading_info=True,
        **{dtype: placement.torch_dtype},
    )
    missing = sorted(key for key in loading["missing_keys"] if not key.startswith(_UNUSED))
    if missing:
        # transformers fills them with random numbers, and goes on.
        raise InputError(
            f"the weights of {len(missing)} parts are missing, first {missing[0]}",
            file=folder,
            remedy=f"the checkpoint does not fit {kind.__name__} of transformers "
            f"{transformers.__version__}; try the version that it was saved with, in an "
            "interpreter of its own (--python)",
        )
    return model.to(placement.device).eval()


def last_states(model: Any, inputs: Mapping[str, Any], position_ids: Any) -> FloatArray:
    """The last layer's state of each row's last token, one row each.

    Args:
        model: A ``…ForConditionalGeneration``.
        inputs: Its inputs, padded on the left.
        position_ids: The positions of the tokens.
    """
    import torch

    inner = getattr(model, "model", None)
    with torch.inference_mode():
        if inner is not None and "pixel_values" in _parameters(inner):
            states = inner(
                **inputs, position_ids=position_ids, use_cache=False, return_dict=True
            ).last_hidden_state
        else:  # transformers before 4.52: what reads images also has the language model's head
            one = {"logits_to_keep": 1} if "logits_to_keep" in _parameters(model) else {}
            states = model(
                **inputs,
                **one,
                position_ids=position_ids,
                use_cache=False,
                output_hidden_states=True,
                return_dict=True,
            ).hidden_states[-1]
        return as_array(states[:, -1])


def positions(attention_mask: Any) -> Any:
    """Positions counted from each row's first token that is no padding.

    Without them a row's numbers would depend on the padding, that is on its company in the batch.
    """
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)


def fitted(image: Image, smallest: int = 4, max_aspect: int | None = None) -> Image:
    """An image that a model's own preparation can take.

    A side of fewer than ``smallest`` pixels is enlarged (one of up to three may be taken for the
    colours), and what is more than ``max_aspect`` times as long as wide is squashed.
    """
    width, height = (max(side, smallest) for side in image.size)
    if max_aspect is not None:
        longest = max_aspect * min(width, height)
        width, height = min(width, longest), min(height, longest)
    return image if (width, height) == image.size else image.resize((width, height))


def as_array(tensor: Any) -> FloatArray:
    """A tensor as float32 in NumPy."""
    return np.asarray(tensor.detach().float().cpu().numpy(), dtype=np.float32)


def _parameters(module: Any) -> Mapping[str, Any]:
    return inspect.signature(module.forward).parameters
