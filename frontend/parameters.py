"""Named arrays in safetensors files, the format that checkpoints of all frameworks come in."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

from graphc.arrays import from_safetensors, to_safetensors
from graphc.files import reading, replace_file

from .creation import asarray
from .location import with_user_line
from .tensor import Tensor


@with_user_line
def save_parameters(state: Mapping[str, Tensor], path: str | PathLike[str]) -> None:
    """Write tensors to a safetensors file, which replaces what is there once it is complete and on the disk.

    Raises PathError for a path that holds a folder or a device, OSError where the file can't be written.
    """
    replace_file(path, to_safetensors({name: tensor.numpy() for name, tensor in state.items()}))


@with_user_line
def load_parameters(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file.

    Raises PackageError for a file that is none, DTypeError for elements that graphc does not have, OSError for what is
    no file or can't be read.
    """
    with reading(path) as file:
        data = file.read()
    return {name: asarray(array) for name, array in from_safetensors(data).items()}
