"""DLPack: memory that is handed over between libraries, without a copy.

NumPy makes and reads the capsules, and frees what they hold. What it can't say, bfloat16 and memory of other devices,
is written into the capsule that it has made, and out of the one that it is to read: it never looks at elements.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from graphc.devices import CPU_CODE, Block, Device, memory_at, with_code
from graphc.errors import DTypeError
from graphc.storage import Replica, Storage
from graphc.types import TensorType, bfloat16, type_of, uint16

from .exchange import device_code

READ_ONLY = 1  # a flag of capsules from DLPack 1.0 on
_VERSIONED, _UNVERSIONED = b"dltensor_versioned", b"dltensor"
_UINT, _BFLOAT = 1, 4  # kinds of elements


class _Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("kind", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    )


_HEADER = 32  # bytes of DLManagedTensorVersioned before its DLTensor: version, context, deleter, flags


def _inside(capsule: Any) -> _Tensor:
    """What a capsule that nobody has taken yet says of its memory; to be read and changed."""
    api = ctypes.pythonapi
    name = _VERSIONED if api.PyCapsule_IsValid(ctypes.py_object(capsule), _VERSIONED) else _UNVERSIONED
    get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", api))
    return _Tensor.from_address(get(capsule, name) + (_HEADER if name == _VERSIONED else 0))


class _Given:
    """A capsule that is there already, for NumPy to take."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU_CODE


# In


def from_host(x: Any) -> np.ndarray:
    """The memory of something that exports DLPack, in the host's memory, as an array that keeps it alive.

    Raises DTypeError for what can't be had so.
    """
    try:
        try:
            return np.from_dlpack(x)
        except (BufferError, RuntimeError):  # perhaps only for its dtype, which NumPy does not know
            capsule = _exported(x)
            found = _inside(capsule)
            here = (found.device_type, found.device_id) == CPU_CODE
            if not here or (found.kind, found.bits, found.lanes) != (_BFLOAT, 16, 1):
                raise
            found.kind = _UINT
            return np.from_dlpack(_Given(capsule)).view(bfloat16.numpy)
    except (BufferError, TypeError, ValueError, RuntimeError) as error:
        raise DTypeError(
            "an array comes in through DLPack if it is in the host's memory and has numbers that graphc knows",
            got=f"{type(x).__module__}.{type(x).__qualname__}: {error}",
            hint="convert it to a NumPy array first; of a torch.Tensor that wants gradients, x.detach()",
        ) from error


def from_device(x: Any) -> Storage:
    """The memory of something that exports DLPack, where it is on a device that this process has open.

    Raises BufferError for another device, or where the elements do not lie one after the other.
    """
    code = device_code(x)
    device = with_code(code)
    if device is None:
        raise BufferError(f"no function has run on device {code}, from which an array was to be taken: copy it first")
    capsule = _exported(x, stream=device.stream)
    found = _inside(capsule)
    is_bfloat16 = (found.kind, found.bits) == (_BFLOAT, 16)
    found.kind = _UINT if is_bfloat16 else found.kind
    found.device_type, found.device_id = CPU_CODE
    array = np.from_dlpack(_Given(capsule))
    if is_bfloat16:
        array = array.view(bfloat16.numpy)
    if not array.flags.c_contiguous:
        raise BufferError("an array on a device is taken if its elements lie one after the other: make it contiguous")
    block = Block(array.ctypes.data, array.nbytes, array)
    return Storage.of_replica(Replica(device, block, 0), type_of(array))


def _exported(x: Any, **options: Any) -> Any:
    """A capsule; of DLPack 1.0 if the producer knows that."""
    try:
        return x.__dlpack__(max_version=(1, 0), **options)
    except TypeError:
        return x.__dlpack__(**options)


# Out


def exported(array: np.ndarray, versioned: bool) -> Any:
    """A capsule of an array's memory, read-only if the array is and it can say so."""
    is_bfloat16 = array.dtype == bfloat16.numpy
    plain = array.view(uint16.numpy) if is_bfloat16 else array
    capsule = plain.__dlpack__(max_version=(1, 0)) if versioned else plain.__dlpack__()
    if is_bfloat16:
        _inside(capsule).kind = _BFLOAT
    return capsule


def exported_from(device: Device, replica: Replica, type_: TensorType, versioned: bool) -> Any:
    """A capsule of a replica's memory, for readers on its device."""
    block = replica.block
    array = memory_at(block.address, max(1, block.nbytes), replica)[: type_.nbytes]
    array = array.view(type_.dtype.numpy).reshape(type_.shape)
    array.flags.writeable = not versioned
    capsule = exported(array, versioned)
    found = _inside(capsule)
    found.device_type, found.device_id = device.code
    return capsule
