"""Tensors whose elements are on a device until someone looks at them: what compiled functions give there."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.devices import CPU_CODE
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

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """See `Tensor.__dlpack__`. On whatever `stream` the reader works, what makes the elements is done before."""
        from .dlpack import exported_from

        with call_lock:
            device = self._storage.device
            assert device is not None
            if dl_device is not None and tuple(dl_device) == CPU_CODE:
                if copy is False:
                    raise BufferError(f"a tensor on {device.name} gets to the CPU by a copy: leave out copy=False")
                return super().__dlpack__(max_version=max_version, copy=copy)
            if dl_device is not None and tuple(dl_device) != device.code:
                raise BufferError(f"a tensor on {device.name} can't be given to device {tuple(dl_device)}")
            is_told = copy is False or (max_version or (0, 0)) >= (1, 0)
            found = self._storage.on(device)
            if copy or not is_told:
                found = found.copied()
            device.synchronize()
            return exported_from(device, found, self.type, is_told)

    def __dlpack_device__(self) -> tuple[int, int]:
        device = self._storage.device
        assert device is not None
        return device.code

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
