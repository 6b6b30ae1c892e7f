"""Where concrete tensors are: in the CPU's memory. What the array API standard asks to be told and allowed."""

from __future__ import annotations

from graphc.errors import OptionError
from graphc.types import DTYPES, DType, float32, int64

# Of the array API standard; docs/array_api.md says what is left out.
API_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")

# As in NumPy, a device is its name.
CPU = "cpu"


def require_cpu(device: object) -> None:
    """Raise OptionError for any device but the CPU, or None, which means it too."""
    if device is not None and device != CPU:
        raise OptionError(
            "concrete tensors are in the CPU's memory",
            got=f"device={device!r}",
            hint=f'leave it out, or pass "{CPU}"; gx.using(backend=...) says where compiled functions run',
        )


class NamespaceInfo:
    """What `gx.__array_namespace_info__()` gives: the standard's way to ask what an array module can do."""

    def capabilities(self) -> dict[str, bool | int | None]:
        """Masks select, and `nonzero` and `unique_values` exist, outside of traces: inside, all shapes are static."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        return CPU

    def devices(self) -> list[str]:
        return [CPU]

    def default_dtypes(self, *, device: str | None = None) -> dict[str, DType]:
        """What Python's numbers become, and positions are given in. There are no complex numbers."""
        require_cpu(device)
        return {"real floating": float32, "integral": int64, "indexing": int64}

    def dtypes(
        self, *, device: str | None = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, DType]:
        """The dtypes of a kind, as for `gx.isdtype`, by name: those that the standard has, without 16-bit floats."""
        from .dtypes import isdtype

        require_cpu(device)
        standard = {name: dtype for name, dtype in DTYPES.items() if not (dtype.is_float and dtype.bits == 16)}
        return {n: d for n, d in standard.items() if kind is None or isdtype(d, kind)}


def namespace_info() -> NamespaceInfo:
    """What this module can do, as the array API standard asks it: `gx.__array_namespace_info__()`."""
    return NamespaceInfo()
