"""`gx.spec`: what an input of a compiled function must be, with sizes that may be left open."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from graphc.brief import brief
from graphc.dataclass import dataclass
from graphc.errors import DTypeError, ShapeError
from graphc.types import DType, DTypeLike, TensorType, as_dtype, require_size

from .location import with_user_line

Size = int | str | None


@dataclass(frozen=True)
class Spec:
    """dtype and shape of an input. A size is a number, a name, or None, the batch; see `spec`."""

    shape: tuple[Size, ...]
    dtype: DType

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join('batch' if s is None else str(s) for s in self.shape)}]"

    @property
    def open_sizes(self) -> Iterator[str | None]:
        """The sizes that are no numbers."""
        return (s for s in self.shape if not isinstance(s, int))

    def check(self, got: TensorType, name: str, sizes: dict[str | None, int]) -> None:
        """Compare an input with the spec; `sizes` remembers the open sizes met in this call.

        Raises DTypeError unless it has exactly that dtype, ShapeError unless all sizes agree.
        """
        if got.dtype is not self.dtype:
            raise DTypeError(
                f"input {name} is declared as {self}", got=str(got),
                hint=f"convert it: {name}.astype(np.{self.dtype}), or gx.astype({name}, gx.{self.dtype})",
            )  # fmt: skip
        fits = len(got.shape) == len(self.shape) and all(
            known == size if isinstance(known, int) else sizes.setdefault(known, size) == size
            for known, size in zip(self.shape, got.shape, strict=True)
        )
        if not fits:
            met = ", ".join(f"{'batch' if k is None else k} = {v}" for k, v in sizes.items())
            raise ShapeError(
                f"input {name} is declared as {self}", got=f"{got}" + (f" with {met}" if met else "")
            )

    def resolve(self, batch: int | None, sizes: Mapping[str, int]) -> TensorType:
        """The type with all sizes filled in. Raises ShapeError that lists those that are still open."""
        known: dict[str | None, int] = dict(sizes.items())
        if batch is not None:
            known[None] = batch
        missing = [s for s in self.open_sizes if s not in known]
        if missing:
            raise ShapeError(
                "every size must be fixed here",
                got=f"{self}, open: {', '.join('batch' if m is None else m for m in missing)}",
                hint='give batch=32 for None, and sizes={"name": 10} for names',
            )
        return TensorType(self.dtype, tuple(s if isinstance(s, int) else known[s] for s in self.shape))


@with_user_line
def spec(shape: Sequence[Size], dtype: DTypeLike = "float32") -> Spec:
    """Describe an input. Sizes are ints, None (the batch: the same wherever it appears) or names ("time").

    A function compiled with specs takes arrays of exactly that dtype. Raises ShapeError for any other size.
    """
    if isinstance(shape, str) or not isinstance(shape, Iterable):
        raise ShapeError("a spec has a sequence of sizes", got=brief(shape), hint="gx.spec((n,)) for a vector")
    sizes, chosen = tuple(_size(s) for s in shape), as_dtype(dtype)
    require_size(TensorType(chosen, tuple(s if isinstance(s, int) else 1 for s in sizes)))
    return Spec(sizes, chosen)


def _size(size: Size) -> Size:
    if size is None or isinstance(size, str):
        return size
    return fixed_size(size, "a size in a spec is a number ≥ 0, a name, or None for the batch")


def fixed_size(size: object, rule: str) -> int:
    """A size as a number. Raises ShapeError with the rule for anything but a whole number ≥ 0."""
    is_whole = not isinstance(size, bool | np.bool_) and hasattr(size, "__index__")
    number = operator.index(size) if is_whole else -1  # type: ignore[arg-type]
    if number < 0:
        raise ShapeError(rule, got=brief(size))
    return number
