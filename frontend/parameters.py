"""Named arrays in safetensors files, the format that checkpoints of all frameworks come in."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath

from .creation import asarray
from .tensor import Tensor


def save_parameters(state: Mapping[str, Tensor], path: str | PathLike[str]) -> None:
    """Write tensors to a safetensors file."""
    from safetensors.numpy import save_file

    save_file({name: tensor.numpy() for name, tensor in state.items()}, fspath(path))


def load_parameters(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file. Raises DTypeError for elements that graphc does not have."""
    from safetensors.numpy import load_file

    return {name: asarray(array) for name, array in load_file(fspath(path)).items()}
