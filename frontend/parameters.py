"""Named arrays in safetensors files, the format that checkpoints of all frameworks come in."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from graphc.arrays import from_safetensors, to_safetensors

from .creation import asarray
from .tensor import Tensor


def save_parameters(state: Mapping[str, Tensor], path: str | PathLike[str]) -> None:
    """Write tensors to a safetensors file."""
    Path(path).write_bytes(to_safetensors({name: tensor.numpy() for name, tensor in state.items()}))


def load_parameters(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file.

    Raises PackageError for a file that is none, DTypeError for elements that graphc does not have.
    """
    return {name: asarray(array) for name, array in from_safetensors(Path(path).read_bytes()).items()}
