"""What `gx.compile` returns: a function that is traced and compiled once for each kind of call.

A call looks for a specialization of its key and hands it the arrays. The common case, the same types as last time,
goes through one loop of cheap comparisons; everything else may take its time.
"""

from __future__ import annotations

import copy
import functools
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from ..brief import brief
from ..collector import rare_collections
from ..dataclass import replace
from ..errors import UnsupportedError, option
from ..frontend.arguments import (
    Arguments,
    as_declared,
    bound_arguments,
    check_specs,
    declaration,
    is_same_static,
)
from ..frontend.context import Context, current_context
from ..frontend.interrupts import interrupts, run_outside
from ..frontend.location import present, stack_level, with_user_line
from ..frontend.signatures import check_call
from ..frontend.trace import trace_call
from ..frontend.words import Owner, leading_on, unknown
from ..hook import call_lock, tracing
from ..ir import Graph
from ..settings import Settings
from ..types import TensorType
from .compilation import Compilation, Stage, begin
from .specialization import MISS, FastCall, Specialization

if TYPE_CHECKING:
    from ..schedule import Schedule
    from .benchmark import Benchmark
    from .report import Report

RECENT = 4  # kinds of calls that are told apart the fast way: training and last batches, modes, …
MOST_TRACES = 32  # of one kind of call, which differ in what they read; the oldest is forgotten for another one
NUMBER_LIMIT = 8  # specializations that differ in one Python number only, from which on a warning is given


class Executable:
    """A compiled function; called like the function itself.

    Arrays (NumPy's, Tensors, anything with DLPack) and NumPy scalars are inputs; there is one trace for each
    combination of their types, of the exact values of all other arguments, and of what the trace has read around it:
    attributes of modules and optimizers, and the objects that functions find in globals and in functions around them.
    Called while another function is traced, it becomes part of that trace.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        backend: str | None = None,
        inputs: tuple[Any, ...] | None = None,
    ) -> None:
        self.__qualname__ = type(function).__qualname__  # replaced by the function's own, if it has one
        functools.update_wrapper(self, function)
        self.function = function
        self.backend = backend
        self.inputs = inputs
        self._specializations: dict[Any, list[Specialization]] = {}
        # The fast calls used last, and the context they were made for; replaced as a whole, so that threads agree.
        self._recent: tuple[Context | None, tuple[FastCall, ...]] = (None, ())
        self._warned: set[int] = set()  # numbers of arguments, and −1 for what was read otherwise

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            context = current_context()
            made_for, fast_calls = self._recent
            if context is made_for and not kwargs:
                for fast_call in fast_calls:
                    result = fast_call(args)
                    if result is not MISS:
                        if fast_call is not fast_calls[0]:
                            self._remember(context, fast_call)
                        return result
            if context.frame is not None:
                if interrupts(context.frame):
                    return run_outside(self, *args, **kwargs)
                return self._inlined(args, kwargs)
            return self._call(context, args, kwargs)
        except Exception as error:
            present(error)
            raise

    def _inlined(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call inside a trace. Raises ShapeError or DTypeError where it is not as the specs say."""
        if self.inputs is not None:
            args, kwargs = bound_arguments(self.function, args, kwargs)
            args = as_declared(args, self.inputs)
            check_specs(self.function, args, self.inputs)
        check_call(self.function, args, kwargs)
        return self.function(*args, **kwargs)

    def _call(self, context: Context, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The slow way, which ends in a fast call for arguments like these."""
        if self.inputs is not None:
            args, kwargs = bound_arguments(self.function, args, kwargs)
            args = as_declared(args, self.inputs)
        arguments = Arguments.of(self.function, args, kwargs)
        with rare_collections():
            begin(self.backend or context.settings.backend, context.settings)
            with tracing():
                found = self._specialize(arguments, context)
            with call_lock:
                self._remember(context, found.fast_call)
        return found(arguments.arrays)

    def _remember(self, context: Context, fast_call: FastCall) -> None:
        """Ask this one first from now on."""
        made_for, fast_calls = self._recent
        others = [c for c in fast_calls if c is not fast_call] if made_for is context else []
        self._recent = context, (fast_call, *others)[:RECENT]

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """A compiled function in a class is a method."""
        return self if instance is None else BoundExecutable(self, instance)

    if not TYPE_CHECKING:

        @leading_on
        def __getattr__(self, name: str) -> Any:
            unknown(Owner.FUNCTION, name, "a compiled function", functools.partial(dir, type(self)))

    def __deepcopy__(self, memo: dict[int, Any]) -> Executable:
        """The copied function, with no trace yet: a trace is about the Variables that it has met."""
        return Executable(copy.deepcopy(self.function, memo), backend=self.backend, inputs=self.inputs)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """By name, as functions are pickled; what is no function goes with the pickle."""
        if isinstance(self.function, FunctionType):
            return self.__qualname__
        return functools.partial(Executable, backend=self.backend, inputs=self.inputs), (self.function,)

    def __repr__(self) -> str:
        return f"<compiled {self.__qualname__}, {len(self.specializations)} specializations>"

    @property
    def specializations(self) -> list[Specialization]:
        """All traces made so far, oldest first."""
        return [s for group in self._specializations.values() for s in group]

    # Stages

    def graph(self, *args: Any, **kwargs: Any) -> Graph:
        """The optimized graph for a call like this; `gx.trace` gives it as traced. Arguments may be `gx.spec`s."""
        return self.specialize(*args, **kwargs).compilation.graph

    def schedule(self, *args: Any, **kwargs: Any) -> Schedule:
        """The kernels and buffers for a call like this."""
        return self.specialize(*args, **kwargs).compilation.schedule

    @with_user_line
    def source(self, *args: Any, stage: str = "graph", **kwargs: Any) -> str:
        """The text of a stage for a call like this: "graph", "dot" (for Graphviz), "schedule", "llvm-ir", "asm",
        "triton" or "ptx".

        All of them can be read on any machine. Raises OptionError for another name, UnsupportedError for a kernel that
        has no such text.
        """
        return self.specialize(*args, **kwargs).compilation.text(option(Stage, stage, "stage"))

    @with_user_line
    def report(self, *args: Any, timed: bool = False, **kwargs: Any) -> Report:
        """What the compiler did with a call like this: kernels and their work, memory, times, slow paths, and why
        things were or were not fused.

        timed: run each kernel for a while, and tell its time, its share of all, GFLOP/s and GB/s. Arguments are then as
        for `benchmark`, and Variables are as before afterwards. Raises UnsupportedError where a backend can't.
        """
        if timed:
            from .benchmark import timed_report

            return timed_report(self, args, kwargs)
        return self.specialize(*args, **kwargs).compilation.report()

    def benchmark(self, *args: Any, seconds: float = 1.0, **kwargs: Any) -> Benchmark:
        """How long a call like this takes, measured for about so many seconds. Variables are as before afterwards.
        A `gx.spec` stands for an array of normal random numbers, or of zeros for integers."""
        from .benchmark import measure

        return measure(self, args, kwargs, seconds)

    @with_user_line
    def build(
        self,
        path: str | PathLike[str],
        *,
        kind: str = "program",
        target: str | None = None,
        batch: int | Sequence[int] | None = None,
        sizes: Mapping[str, int] | None = None,
        inputs: Sequence[Any] | None = None,
    ) -> None:
        """Write a file that does what a call does now. `gx.build` puts several functions into one.

        kind: "program", an executable that needs no Python, reads and writes .npy files, and keeps no state; or
        "package", which `gx.load` opens, with the Variables as they are now. batch and sizes fix what the specs of the
        inputs leave open; a package may be for several batches, batch=[1, 32]. `inputs`, specs or examples, one for
        each argument, replaces the declared ones.

        Raises ShapeError that lists the sizes that are still open, TraceError where inputs are not known,
        UnsupportedError for what can't be built: kind="library" and other targets than this machine, in this version.
        """
        from .artifacts import ArtifactKind, of_one, write

        if target is not None:
            raise UnsupportedError("this version builds for this machine only", got=f"target={brief(target)}")
        made = option(ArtifactKind, kind, "kind of file")
        write(of_one(self, self.__qualname__, inputs, batch, sizes or {}), Path(path), made)

    @with_user_line
    def specialize(self, *args: Any, **kwargs: Any) -> Specialization:
        """The trace for a call like this, which is not run. Without arguments, for the declared inputs."""
        if not args and not kwargs and self.inputs is not None:
            args = self.inputs
        with tracing():
            return self._specialize(Arguments.of(self.function, args, kwargs), current_context())

    @property
    def settings(self) -> Settings:
        """The settings that a call has now."""
        return self._settings(current_context())

    def _settings(self, context: Context) -> Settings:
        return context.settings if self.backend is None else replace(context.settings, backend=self.backend)

    def _specialize(self, arguments: Arguments, context: Context) -> Specialization:
        """The specialization for these arguments, made if there is none that holds."""
        settings = self._settings(context)
        group = self._specializations.setdefault((settings, arguments.key), [])
        for known in group:
            if known.holds():
                return known
        args, kwargs = arguments.example
        declared = None if self.inputs is None else declaration(self.function, self.inputs)
        check_call(self.function, args, kwargs, f"its inputs are declared as {declared}" if declared else "")
        if self.inputs is not None:
            check_specs(self.function, args, self.inputs)
        self._tell_why(arguments, group, settings)
        trace = trace_call(self.function, arguments)
        compilation = Compilation(trace.graph, settings)
        made = Specialization(arguments, compilation, trace.variables, trace.guards, trace.result)
        del group[: max(0, len(group) + 1 - MOST_TRACES)]
        group.append(made)
        return made

    # Saying why there is another trace

    def _tell_why(self, arguments: Arguments, group: list[Specialization], settings: Settings) -> None:
        others = [s for s in self.specializations if len(s.arguments.leaves) == len(arguments.leaves)]
        changes = [_differences(s.arguments, arguments) for s in others]
        if "retrace" in settings.log:
            print(f"graphc: {self._reason(arguments, group, changes)}", file=sys.stderr)
        self._warn_of_numbers(arguments, changes)
        self._warn_of_values(group)

    def _reason(self, arguments: Arguments, group: list[Specialization], changes: list[list[str]]) -> str:
        name = self.__qualname__
        if not self.specializations:
            return f"trace {name}({', '.join(arguments.names)}): its first call"
        for known in group:
            if (broken := known.guards.broken()) is not None:
                return f"retrace {name}: {broken.told()}"
        named: list[list[str]] = [c for c in changes if c]
        if not named:
            return f"retrace {name}: other settings, or arguments of another structure"
        fewest: list[str] = min(reversed(named), key=len)
        return f"retrace {name}: {'; '.join(fewest)}"

    def _warn_of_numbers(self, arguments: Arguments, changes: list[list[str]]) -> None:
        """One warning for each argument whose many values each cost a trace."""
        for i, leaf in enumerate(arguments.leaves):
            if i in self._warned or isinstance(leaf, bool) or not isinstance(leaf, int | float):
                continue
            alike = sum(_differs_only_at(i, s.arguments, arguments) for s in self.specializations)
            if alike + 1 >= NUMBER_LIMIT:
                self._warned.add(i)
                warnings.warn(
                    f"{self.__qualname__} is traced and compiled for the {alike + 1}th value of {arguments.name(i)} "
                    f"({leaf!r}): a Python number is static. Pass np.float32({arguments.name(i)}) or a gx.Variable "
                    "to have one trace for all values.",
                    stacklevel=stack_level(),
                )

    def _warn_of_values(self, group: list[Specialization]) -> None:
        """One warning where a value that traces read is another one time after time."""
        if len(group) + 1 < NUMBER_LIMIT or -1 in self._warned:
            return
        if (broken := group[-1].guards.broken()) is not None:
            self._warned.add(-1)
            warnings.warn(
                f"{self.__qualname__} is traced and compiled for the {len(group) + 1}th time, since {broken.told()}: "
                "Python's values are static in a trace. To have one trace for all of them, pass an array, or keep it "
                "in a gx.Variable.",
                stacklevel=stack_level(),
            )


TAKE_ARGUMENTS = frozenset({"graph", "schedule", "source", "report", "benchmark", "specialize"})


class BoundExecutable:
    """A compiled method with its instance, which goes first wherever arguments are given."""

    def __init__(self, executable: Executable, instance: Any) -> None:
        self.__func__ = executable
        self.__self__ = instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__func__(self.__self__, *args, **kwargs)

    def build(self, path: str | PathLike[str], *, inputs: Sequence[Any], **options: Any) -> None:
        """See `Executable.build`. inputs: specs or examples of the arguments but the instance."""
        self.__func__.build(path, inputs=(self.__self__, *inputs), **options)

    def __deepcopy__(self, memo: dict[int, Any]) -> BoundExecutable:
        return BoundExecutable(self.__func__, copy.deepcopy(self.__self__, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.__self__, self.__func__.__qualname__.rpartition(".")[2])

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.__func__, name)
        return functools.partial(found, self.__self__) if name in TAKE_ARGUMENTS else found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundExecutable):
            return NotImplemented
        return self.__func__ is other.__func__ and self.__self__ is other.__self__

    def __hash__(self) -> int:
        return hash((id(self.__func__), id(self.__self__)))

    def __repr__(self) -> str:
        return f"<{self.__func__!r} of {self.__self__!r}>"


def _differences(old: Arguments, new: Arguments) -> list[str]:
    return [
        f"{name}: {before!s} → {after!s}"
        if isinstance(after, TensorType)
        else f"{name}: {brief(before)} → {brief(after)}"
        for name, before, after in zip(new.names, old.leaves, new.leaves, strict=True)
        if not is_same_static(before, after)
    ]


def _differs_only_at(number: int, old: Arguments, new: Arguments) -> bool:
    if old.structure != new.structure or type(old.leaves[number]) is not type(new.leaves[number]):
        return False
    return all(
        is_same_static(a, b) == (i != number)
        for i, (a, b) in enumerate(zip(old.leaves, new.leaves, strict=True))
    )
