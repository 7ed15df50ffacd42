"""The device and the number format to run a model in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ffr_eval.errors import InputError

DTYPES: Final = ("float32", "float16", "bfloat16")
"""The number formats that can be asked for."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and in which number format a model runs.

    Attributes:
        device: As torch names it.
        dtype: One of ``DTYPES``.
    """

    device: str
    dtype: str

    @property
    def torch_dtype(self) -> Any:
        """The number format as torch has it."""
        import torch

        return getattr(torch, self.dtype)


def check_dtype(dtype: str) -> None:
    """Check the name of a number format, without torch.

    Raises:
        InputError: If it is none.
    """
    if dtype != "auto" and dtype not in DTYPES:
        known = ", ".join(("auto", *DTYPES))
        raise InputError(f"{dtype!r} is not one of {known}", field="option dtype")


def pick(device: str = "auto", dtype: str = "auto") -> Placement:
    """Choose where to run.

    Args:
        device: ``auto`` takes the first of CUDA, Apple's MPS and the CPU that is there.
        dtype: ``auto`` is float32 on a CPU; elsewhere bfloat16 where the device has it, or float16.

    Raises:
        InputError: If there is no such device or number format.
    """
    check_dtype(dtype)
    place = _automatic_device() if device == "auto" else _checked_device(device)
    return Placement(place, _automatic_dtype(place) if dtype == "auto" else dtype)


def _automatic_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _checked_device(device: str) -> str:
    import torch

    try:
        kind, index = torch.device(device).type, torch.device(device).index or 0
    except RuntimeError:
        kind, index = "", 0
    counts = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if index >= counts.get(kind, 0):
        there = [
            f"{name}:{number}" if name == "cuda" else name
            for name, count in counts.items()
            for number in range(count)
        ]
        remedy = f"one of: auto, {', '.join(there)}"
        raise InputError(f"there is no device {device!r} here", remedy=remedy)
    return device


def _automatic_dtype(device: str) -> str:
    import torch

    if device == "cpu":
        return "float32"
    if device.startswith("cuda") and torch.cuda.is_bf16_supported():
        return "bfloat16"
    return "float16"
