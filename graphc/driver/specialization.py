"""A function compiled for one kind of call: arguments of exactly these types in, the function's result out.

In: what a trace, or a package, says of the function. Knows neither how kinds of calls are told apart nor where
specializations are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from numpy import asarray, generic, ndarray

from ..cached import cached_property
from ..errors import GraphcError
from ..frontend.arguments import Arguments, held, is_same_static
from ..frontend.device_tensor import given
from ..frontend.guards import Guard, Guards
from ..frontend.tensor import Adopted, Tensor, concrete
from ..frontend.trace import Result
from ..frontend.variable import Variable
from ..hook import call_lock
from ..storage import Storage
from ..types import TensorType
from .compilation import Compilation

if TYPE_CHECKING:
    from ..backends.backend import BoundProgram

MISS: Final = object()  # a call that is not for the one who was asked

FastCall: TypeAlias = Callable[[tuple[Any, ...]], Any]
AT_HAND: Final = frozenset({Tensor, Adopted})  # with elements that one need not wait for
ALIGNED_CONTIGUOUS: Final = 0x0101  # NumPy's flags: C-contiguous, aligned


class Specialization:
    """A function compiled for one kind of call, and its program bound to the Variables that it touches.

    `guards`: what its trace has read that may change. `result`: the structure of what it returns.
    """

    def __init__(
        self,
        arguments: Arguments,
        compilation: Compilation,
        variables: Sequence[Variable],
        guards: Sequence[Guard],
        result: Result,
    ) -> None:
        self.arguments = arguments.without_arrays()
        self.compilation = compilation
        self.variables = tuple(variables)
        self.guards = Guards(guards)
        self.result = result

    @cached_property
    def run(self) -> BoundProgram:
        """The program with the Variables' memory; built when it is first needed."""
        self.compilation.dump()
        storages = [v.storage for v in self.variables]
        run = self.compilation.program.bind(storages)
        if not self.compilation.settings.check_nan:
            return run
        from ..not_finite import CheckedProgram

        return CheckedProgram(run, self.compilation.traced, storages)

    @cached_property
    def restore(self) -> Callable[[Sequence[Any]], Any]:
        """From what the program gives to what the function returns."""
        return self.result.restore(given if self._is_on_device else concrete)

    @cached_property
    def _is_on_device(self) -> bool:
        from ..backends.backend import OnDevice

        return isinstance(self.run, OnDevice)

    def holds(self) -> bool:
        """Whether what the trace has read is as it was."""
        return self.guards.hold()

    def __call__(self, arrays: Sequence[ndarray | Storage]) -> Any:
        run = self.run
        with call_lock:
            outputs = run(arrays if self._is_on_device else [asarray(a) for a in arrays])
        return self.restore(outputs)

    @cached_property
    def fast_call(self) -> FastCall:
        """The call for positional arguments like the ones traced; gives MISS for others.

        What it accepts it accepts surely; what it refuses may still be the same key, found the slow way.
        """
        from ..backends.backend import ObjectCalls

        if not self.arguments.is_flat:
            return lambda args: MISS
        run = self.run
        attempt = run.try_call if isinstance(run, ObjectCalls) else self._checked_call(run)
        leaves = self.arguments.leaves
        count, restore, takes_storages = len(leaves), self.restore, self._is_on_device
        hold = self.guards.hold if self.guards.all else None
        statics = [(i, leaf) for i, leaf in enumerate(leaves) if not isinstance(leaf, TensorType)]
        dynamic = [i for i, leaf in enumerate(leaves) if isinstance(leaf, TensorType)]
        scalars = [k for k, i in enumerate(dynamic) if leaves[i].shape == ()]

        def call(args: tuple[Any, ...]) -> Any:
            if len(args) != count:
                return MISS
            for i, value in statics:
                if args[i] is not value and not is_same_static(args[i], value):
                    return MISS
            if hold is not None and not hold():
                return MISS
            given = [args[i] for i in dynamic] if statics else args
            objects = [x._array if type(x) in AT_HAND else x for x in given]
            for k in scalars:
                if isinstance(objects[k], generic):
                    objects[k] = asarray(objects[k])
            with call_lock:
                outputs = attempt(objects)
            if outputs is None and (found := _held_by(objects, takes_storages)) is not None:
                with call_lock:
                    outputs = attempt(found)
            return MISS if outputs is None else restore(outputs)

        return call

    def _checked_call(self, run: BoundProgram) -> Callable[[Sequence[Any]], Sequence[Any] | None]:
        """A call that looks at each object in Python."""
        types = [leaf for leaf in self.arguments.leaves if isinstance(leaf, TensorType)]
        expected = [(t, t.dtype.numpy, t.shape) for t in types]
        takes_storages = self._is_on_device

        def attempt(objects: Sequence[Any]) -> Sequence[Any] | None:
            found: list[Any] = []
            for x, (wanted, dtype, shape) in zip(objects, expected):  # noqa: B905 - lengths are equal
                if takes_storages and type(x) is Storage and x.type == wanted:
                    found.append(x)
                    continue
                if type(x) is not ndarray or x.dtype is not dtype or x.shape != shape:
                    return None
                if x.flags.num & ALIGNED_CONTIGUOUS != ALIGNED_CONTIGUOUS:
                    return None
                found.append(x)
            return run(found)

        return attempt


class Compiled(Protocol):
    """A compiled function, made here or loaded, as far as those must know it who do something else than call it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def specialize(self, *args: Any, **kwargs: Any) -> Specialization: ...


class Traceable(Compiled, Protocol):
    """One that is there as Python's function as well. `inputs`: what its arguments are declared to be."""

    function: Callable[..., Any]
    inputs: tuple[Any, ...] | None


def _held_by(objects: Sequence[Any], takes_storages: bool) -> list[Any] | None:
    """The elements of arrays that are not NumPy's, where a program takes them from; None if there are none, or the slow
    way has to tell."""
    if all(type(x) is ndarray for x in objects):
        return None
    try:
        found = [x if type(x) is ndarray else held(x) for x in objects]
    except (GraphcError, BufferError):
        return None
    if any(x is None for x in found):
        return None
    return found if takes_storages else [x if type(x) is ndarray else asarray(x) for x in found]
