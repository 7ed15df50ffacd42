"""A tiny CLIP of open_clip's own classes, saved as open_clip saves a model for a hub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

CONFIGURATION: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 32,
        "patch_size": 8,
        "head_width": 16,
    },
    # The vocabulary is open_clip's own, which comes inside it: nearly all of the weights.
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 8,
        "heads": 2,
        "layers": 2,
    },
}
PREPARATION = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def build(folder: Path, seed: int = 0) -> Path:
    """Write ``open_clip_config.json`` and ``open_clip_model.safetensors`` into a folder.

    The weights are halves (0.8 MB) of random numbers, with the logit scale of a trained model.
    """
    import torch
    from open_clip import CLIP
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    model = CLIP(**json.loads(json.dumps(CONFIGURATION)))
    with torch.no_grad():
        # As it is initialised, the first layer hardly sees the picture.
        model.visual.conv1.weight.mul_(4)
        model.token_embedding.weight.mul_(50)
    weights = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    settings = {"model_cfg": CONFIGURATION, "preprocess_cfg": PREPARATION}
    (folder / "open_clip_config.json").write_text(json.dumps(settings, indent=2))
    return folder
