"""What `gx.load` gives: a package in; functions like those that were built, with Variables of their own, out.

The machine code in the package runs as it is where this machine can run it; elsewhere the package's graph is compiled
again. Either way nothing is traced, and nothing but the machine code is executed of what the file holds.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, KeysView, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends.backend import Assembler, Program, Signature
from ..brief import brief
from ..cached import cached_property
from ..dataclass import replace
from ..errors import DTypeError, PackageError, ShapeError, TraceError, UnsupportedError, option
from ..frontend import pytree
from ..frontend.arguments import Arguments, as_declared, bound_arguments, is_same_static
from ..frontend.context import Context, current_context
from ..frontend.emit import as_tensor
from ..frontend.exchange import is_foreign_array
from ..frontend.inline import inline
from ..frontend.interrupts import interrupts, run_outside
from ..frontend.location import present, stack_level, with_user_line
from ..frontend.signatures import check_call
from ..frontend.spec import Spec
from ..frontend.tensor import Tensor, concrete
from ..frontend.trace import Result
from ..frontend.variable import Variable
from ..hook import call_lock
from ..ir import Graph
from ..settings import Settings
from ..text import parse
from ..trees import decode_tree
from ..types import TensorType
from .compilation import Compilation, Stage, alone, find_backend
from .package import Entry, Package
from .report import Report
from .specialization import MISS, FastCall, Specialization

if TYPE_CHECKING:
    from ..schedule import Schedule
    from .benchmark import Benchmark

_P = inspect.Parameter
KINDS = {
    kind.name: kind
    for kind in (_P.POSITIONAL_ONLY, _P.POSITIONAL_OR_KEYWORD, _P.VAR_POSITIONAL, _P.KEYWORD_ONLY, _P.VAR_KEYWORD)
}


class Loaded:
    """What a package holds: a function, or several by name, as in loaded["predict"]. A function takes the arguments
    that it was built for, and keeps the state that it then had.

    variables: the package's Variables by name, which its functions share; calls update them, and they can be assigned
    to. A function that was built for several kinds of calls finds the entry that is for the types of its arguments.
    """

    __name__: str

    def __init__(
        self,
        title: str,
        entries: Sequence[LoadedEntry],
        variables: Mapping[str, Variable],
        several: Sequence[Loaded] = (),
    ) -> None:
        """`title`: what to call the package in messages. Either `entries`, of one name, or `several` functions."""
        self.title = title
        self.entries = tuple(entries)
        self.variables = dict(variables)
        self._functions = {f.__name__: f for f in several}
        if not several:
            self.__name__ = self.__qualname__ = entries[0].entry.name
            self.__signature__ = inspect.signature(entries[0].stand_in)
            self._functions = {self.__name__: self}
        self._recent: tuple[Context, tuple[FastCall, ...]] = (current_context(), ())

    def __getitem__(self, name: str) -> Loaded:
        """The function of that name. Raises KeyError that lists those that there are."""
        if name not in self._functions:
            raise KeyError(f"{self.title} holds {', '.join(self._functions)}, and no {brief(name)}")
        return self._functions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)

    def keys(self) -> KeysView[str]:
        """The functions' names."""
        return self._functions.keys()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            context = current_context()
            made_for, fast_calls = self._recent
            if context is made_for and not kwargs:
                for fast_call in fast_calls:
                    result = fast_call(args)
                    if result is not MISS:
                        return result
            return self._call(context, args, kwargs)
        except Exception as error:
            present(error)
            raise

    def _call(self, context: Context, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The slow way, and the way to an error."""
        if context.frame is not None:
            if interrupts(context.frame):
                return run_outside(self, *args, **kwargs)
            return self._inline(args, kwargs)
        entry, arguments = self._entry(args, kwargs)
        found = entry.specialize(context)
        made_for, fast_calls = self._recent
        others = fast_calls if made_for is context else ()
        self._recent = context, (found.fast_call, *(call for call in others if call is not found.fast_call))
        return found(arguments.arrays)

    def _inline(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Become part of the trace that called."""
        self._require_one()
        args, kwargs = bound_arguments(self.entries[0].arguments.function, args, kwargs)
        leaves = pytree.leaves((args, kwargs))
        arrays = [i for i, x in enumerate(leaves) if isinstance(x, Tensor | Variable) or is_foreign_array(x)]
        tensors = {i: as_tensor(leaves[i]) for i in arrays}
        for i, tensor in tensors.items():
            leaves[i] = Spec(tensor.shape, tensor.dtype)
        entry, _ = self._entry(*pytree.unflatten((args, kwargs), leaves))
        graph = entry.specialize(current_context()).compilation.graph
        return entry.result.filled(inline(graph, list(tensors.values()), entry.variables))

    def _entry(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[LoadedEntry, Arguments]:
        """The entry for these arguments, and them as it takes them.

        Raises ShapeError, DTypeError or TraceError for others than the function was built for.
        """
        self._require_one()
        if len(self.entries) == 1:
            return self.entries[0], self.entries[0].accept(args, kwargs)
        for entry in self.entries:
            try:
                return entry, entry.accept(args, kwargs)
            except (ShapeError, DTypeError, TraceError):
                continue
        wanted = "; or ".join(e.signature_text for e in self.entries)
        given = Arguments.of(self.entries[0].arguments.function, args, kwargs)
        raise ShapeError(f"{self.title} takes {wanted}", got=described(given))

    def _require_one(self) -> None:
        if not self.entries:
            raise TraceError(
                f"{self.title} holds several functions: {', '.join(self._functions)}",
                hint=f"name one, as in loaded[{next(iter(self._functions))!r}]",
            )

    def __repr__(self) -> str:
        if not self.entries:
            return "\n".join(map(repr, self._functions.values()))
        return f"<{self.title}: {'; or '.join(e.signature_text for e in self.entries)}>"

    # Stages. `args` say which kind of call is meant, where there are several.

    @with_user_line
    def graph(self, *args: Any, **kwargs: Any) -> Graph:
        """The optimized graph."""
        return self.specialize(*args, **kwargs).compilation.graph

    @with_user_line
    def schedule(self, *args: Any, **kwargs: Any) -> Schedule:
        """The kernels and buffers, as this version plans them."""
        return self.specialize(*args, **kwargs).compilation.schedule

    @with_user_line
    def source(self, *args: Any, stage: str = "graph", **kwargs: Any) -> str:
        """The text of a stage, made from the graph by this version; see `Executable.source`."""
        return self.specialize(*args, **kwargs).compilation.text(option(Stage, stage, "stage"))

    @with_user_line
    def report(self, *args: Any, **kwargs: Any) -> Report:
        """What the compiler did when the package was built, or when it was loaded if it was compiled again then."""
        return self.specialize(*args, **kwargs).compilation.report()

    def benchmark(self, *args: Any, seconds: float = 1.0, **kwargs: Any) -> Benchmark:
        """How long a call takes, with random arguments if none are given; see `Executable.benchmark`."""
        from .benchmark import measure

        if not args and not kwargs:
            args, kwargs = self._only.example
        return measure(self, args, kwargs, seconds)

    @with_user_line
    def specialize(self, *args: Any, **kwargs: Any) -> Specialization:
        """The specialization for these arguments, or specs of them; without any, for those it was built for."""
        entry = self._entry(args, kwargs)[0] if args or kwargs else self._only
        return entry.specialize(current_context())

    @property
    def _only(self) -> LoadedEntry:
        self._require_one()
        if len(self.entries) > 1:
            raise TraceError(
                f"{self.title} has several entries for {self.__name__}; arguments, or specs, say which is meant",
                got="; ".join(e.signature_text for e in self.entries),
            )
        return self.entries[0]


def unpack(package: Package, title: str, backend: str | None = None) -> Loaded:
    """What a package holds, ready to be called."""
    variables = {s.name: Variable(package.values[s.name], s.trainable, name=s.name) for s in package.manifest.state}
    entries: dict[str, list[LoadedEntry]] = {}
    for number, entry in enumerate(package.manifest.entries):
        own = [variables[name] for name in entry.variables]
        entries.setdefault(entry.name, []).append(LoadedEntry(package, number, title, own, backend))
    functions = [Loaded(title, found, variables) for found in entries.values()]
    return functions[0] if len(functions) == 1 else Loaded(title, (), variables, functions)


class LoadedEntry:
    """A function for one kind of call, from a package."""

    def __init__(
        self, package: Package, number: int, title: str, variables: Sequence[Variable], backend: str | None
    ) -> None:
        self.package = package
        self.number = number
        self.title = title
        self.variables = list(variables)
        self.entry = package.manifest.entries[number]
        self.backend = backend or self.entry.backend
        self.example = _example(self.entry)
        self.stand_in = _stand_in(self.entry)
        self.arguments = Arguments.of(self.stand_in, *self.example)
        self.result, self.outputs = _result(self.entry)
        self._specializations: dict[Settings, Specialization] = {}
        self.specialize(current_context())

    def accept(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """The arguments of a call, a Variable's value in place of the Variable.

        Raises ShapeError, DTypeError or TraceError for others than the function was built for.
        """
        leaves = [x.value if isinstance(x, Variable) else x for x in pytree.leaves((args, kwargs))]
        args, kwargs = pytree.unflatten((args, kwargs), leaves)
        args, kwargs = bound_arguments(self.arguments.function, args, kwargs)
        check_call(self.arguments.function, args, kwargs, f"{self.title} takes {self.signature_text}")
        args = as_declared(args, self.example[0])
        found = Arguments.of(self.arguments.function, args, kwargs)
        self._check(found)
        return found

    def specialize(self, context: Context) -> Specialization:
        """The specialization for these settings: threads differ, the backend is ours."""
        settings = replace(context.settings, backend=self.backend)
        with call_lock:
            found = self._specializations.get(settings)
            if found is None:
                inputs = tuple(t for t in self.arguments.leaves if isinstance(t, TensorType))
                signature = Signature(inputs, tuple(v.type for v in self.variables), self.outputs)
                compilation = PackagedCompilation(self, signature, settings)
                found = Specialization(self.arguments, compilation, self.variables, (), self.result)
                found.run  # noqa: B018 - so that what is wrong with the package is found when it is loaded
                self._specializations[settings] = found
        return found

    @property
    def signature_text(self) -> str:
        """The function's name with the arguments that it takes."""
        return f"{self.entry.name}({described(self.arguments)})"

    def _check(self, got: Arguments) -> None:
        """Raise ShapeError, DTypeError or TraceError for other arguments than those it was built for."""
        if got.structure != self.arguments.structure:
            raise ShapeError(
                f"{self.title} takes {self.signature_text}", got=f"{len(got.names)} values: {', '.join(got.names[:6])}"
            )
        for name, wanted, leaf in zip(self.arguments.names, self.arguments.leaves, got.leaves, strict=True):
            if isinstance(wanted, TensorType) and isinstance(leaf, TensorType):
                Spec(wanted.shape, wanted.dtype).check(leaf, name, {})
            elif not is_same_static(wanted, leaf):
                raise TraceError(f"{self.title} takes {self.signature_text}", got=f"{name}={brief(leaf)}")


def described(arguments: Arguments) -> str:
    """Arguments in a few words: arrays by their types, others by their values."""
    pairs = zip(arguments.names, arguments.leaves, strict=True)
    return ", ".join(f"{n}: {x}" if isinstance(x, TensorType) else f"{n}={brief(x)}" for n, x in pairs)


class PackagedCompilation(Compilation):
    """A compilation that starts from a package's graph, and need not go down to code that the package holds."""

    def __init__(self, loaded: LoadedEntry, signature: Signature, settings: Settings) -> None:
        super().__init__(None, settings)
        self.package = loaded.package
        self.number = loaded.number
        self.entry = loaded.entry
        self.title = loaded.title
        self.signature = signature
        self.origin = f"machine code from {self.title}, built by graphc {self.package.manifest.graphc}"

    @cached_property
    @alone
    def graph(self) -> Graph:
        """The package's graph, which was optimized when the package was built."""
        graph = parse(self.package.graphs[self.number], self.package.constants)
        if Signature.of(graph) != self.signature:
            raise PackageError(f"the graph in {self.title} has another signature", got=str(Signature.of(graph)))
        return graph

    @cached_property
    @alone
    def program(self) -> Program:
        """The package's own program if it can run here."""
        reason = self._reason_to_compile()
        if reason is None:
            try:
                return self._put_together()
            except UnsupportedError as error:
                reason = f"{error.rule} (got: {error.got})"
                warnings.warn(
                    f"{self.title} is compiled again from its graph, and may round differently: {reason}",
                    RuntimeWarning,
                    stacklevel=stack_level(),
                )
        self.origin = f"compiled again from the graph in {self.title}: {reason}"
        return self.built

    def _reason_to_compile(self) -> str | None:
        """Why the package's program is of no use from the start, if it is not."""
        made_with = self.entry.backend
        if self.settings.backend != made_with:
            return f"it was built for the {made_with} backend"
        if not self.entry.files:
            return f"the {made_with} backend keeps no machine code in packages"
        return None

    def _put_together(self) -> Program:
        backend = find_backend(self.settings.backend)
        if not isinstance(backend, Assembler):
            raise UnsupportedError(f"the {backend.name} backend of this version takes no packages")
        with self._timed("load"):
            return backend.put_together(self.package.parts(self.entry), self.signature, self.settings)

    def report(self) -> Report:
        is_from_package = "load" in self.seconds
        found = replace(self.entry.report, seconds=self.seconds) if is_from_package else super().report()
        return replace(found, remarks=(self.origin,))


def _example(entry: Entry) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """args and kwargs of the call that was built, with a spec for each array."""
    match decode_tree(entry.arguments, lambda t: Spec(t.shape, t.dtype)):
        case (tuple() as args, dict() as kwargs) if all(isinstance(name, str) for name in kwargs):
            return args, kwargs
    raise PackageError("the arguments of a package are (args, kwargs)", got=brief(entry.arguments))


def _result(entry: Entry) -> tuple[Result, tuple[TensorType, ...]]:
    """The structure of the result, and the types of its arrays."""
    leaves = pytree.leaves(decode_tree(entry.result, lambda t: t))
    order = [i for i, _ in pytree.written_order(decode_tree(entry.result, lambda t: t))]
    places = tuple(i for i in order if isinstance(leaves[i], TensorType))
    placeholder = concrete(np.zeros((), np.bool_))
    return Result(decode_tree(entry.result, lambda t: placeholder), places), tuple(leaves[i] for i in places)


def _stand_in(entry: Entry) -> Callable[..., Any]:
    """A function with the signature of the one that was built; it is never called."""

    def stand_in(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    if entry.parameters is not None:
        try:
            parameters = [
                _P(p.name, KINDS[p.kind], default=... if p.has_default else _P.empty)
                for p in entry.parameters
            ]
            stand_in.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        except (LookupError, TypeError, ValueError) as error:
            raise PackageError("the parameters in a package are no signature", got=str(error)) from None
    stand_in.__qualname__ = entry.name
    return stand_in
