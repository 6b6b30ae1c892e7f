"""Where concrete tensors are: on the CPU, or on a device. What the array API standard asks to be told and allowed."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

from graphc.brief import brief
from graphc.devices import CPU, Device, opened
from graphc.errors import OptionError, UnsupportedError
from graphc.hook import call_lock, driver
from graphc.storage import Storage
from graphc.types import DTYPES, DType, float32, int64

from .context import current_frame
from .location import with_user_line

if TYPE_CHECKING:
    from .tensor import Tensor

# Of the array API standard; docs/array_api.md says what is left out.
API_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")

# As in NumPy, a device is its name.
GPU = "cuda:0"

P = ParamSpec("P")


def find_device(name: object) -> Device | None:
    """The device of that name, which is opened if need be; None for the CPU, or None, which means wherever it is.

    Raises OptionError for a name that no device has, UnsupportedError where this machine has none of the kind.
    """
    if name is None or name == CPU:
        return None
    if not isinstance(name, str) or (name != GPU and opened(name) is None):
        raise OptionError(
            "a tensor is in the CPU's memory or on a GPU",
            got=f"device={brief(name)}",
            hint=f'"{CPU}" or "{GPU}"; gx.using(backend=...) says where compiled functions run',
        )
    return opened(name) or driver().gpu()


def placed(x: Tensor, device: object) -> Tensor:
    """The tensor on a device; wherever it is for None. A graph does not say where it will run."""
    if device is None:
        return x
    found = find_device(device)
    if current_frame() is not None or x.device == device:
        return x
    from .device_tensor import on_device
    from .tensor import concrete

    if found is None:
        return concrete(x._packed())
    with call_lock:
        storage = Storage.over(x._packed())
        return on_device(Storage.of_replica(storage.on(found), storage.type))


def anywhere(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """An array function that takes a `device` for its result, which it need not know of."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        device = kwargs.pop("device", None)
        found = function(*args, **kwargs)
        return found if device is None else _placed(found, device)

    return call


@with_user_line
def _placed(x: Tensor, device: object) -> Tensor:
    return placed(x, device)


class NamespaceInfo:
    """What `gx.__array_namespace_info__()` gives: the standard's way to ask what an array module can do."""

    def capabilities(self) -> dict[str, bool | int | None]:
        """Masks select, and `nonzero` and `unique_values` exist, outside of traces: inside, all shapes are static."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        return CPU

    def devices(self) -> list[str]:
        """The CPU, and the GPU where there is one."""
        try:
            return [CPU, driver().gpu().name]
        except UnsupportedError:
            return [CPU]

    def default_dtypes(self, *, device: str | None = None) -> dict[str, DType]:
        """What Python's numbers become, and positions are given in. There are no complex numbers."""
        find_device(device)
        return {"real floating": float32, "integral": int64, "indexing": int64}

    def dtypes(
        self, *, device: str | None = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, DType]:
        """The dtypes of a kind, as for `gx.isdtype`, by name: those that the standard has, without 16-bit floats."""
        from .dtypes import isdtype

        find_device(device)
        standard = {name: dtype for name, dtype in DTYPES.items() if not (dtype.is_float and dtype.bits == 16)}
        return {n: d for n, d in standard.items() if kind is None or isdtype(d, kind)}


def namespace_info() -> NamespaceInfo:
    """What this module can do, as the array API standard asks it: `gx.__array_namespace_info__()`."""
    return NamespaceInfo()
