"""Tensors whose elements are on a device until someone looks at them: what compiled functions give there."""

from __future__ import annotations

import numpy as np

from graphc.hook import call_lock
from graphc.storage import Storage
from graphc.types import DType, TensorType

from .tensor import Tensor, concrete


class DeviceTensor(Tensor):
    """A concrete tensor in a storage. Its type is known without waiting for the device; whoever wants its elements
    waits, and has them copied to the host once. Compiled functions on that device take it as it is."""

    __slots__ = ("_storage",)

    _storage: Storage

    @property
    def _array(self) -> np.ndarray:  # type: ignore[override]
        with call_lock:
            return self._storage.array

    @property
    def type(self) -> TensorType:
        return self._storage.type

    @property
    def dtype(self) -> DType:
        return self._storage.type.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self._storage.type.shape

    @property
    def device(self) -> str:
        """Where its elements are kept, also once they have been copied to the host."""
        found = self._storage.device
        assert found is not None
        return found.name

    def _held(self) -> Storage:
        return self._storage


def on_device(storage: Storage) -> DeviceTensor:
    """A tensor over the contents of a storage that nobody will write to."""
    tensor = object.__new__(DeviceTensor)
    tensor._storage = storage
    tensor._node = None
    return tensor


def given(value: np.ndarray | Storage) -> Tensor:
    """A tensor over what a program has given, wherever that is."""
    return on_device(value) if isinstance(value, Storage) else concrete(value)
