"""What `gx.load` gives: a package in; a function like the one that was built, with Variables of its own, out.

The machine code in the package runs as it is where this machine can run it; elsewhere the package's graph is compiled
again. Either way nothing is traced, and nothing but the machine code is executed of what the file holds.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .backends.backend import Assembler, Program, Signature
from .brief import brief
from .cached import cached_property
from .compile import Compilation, Stage, alone, find_backend
from .dataclass import replace
from .driver import call_lock
from .errors import PackageError, ShapeError, TraceError, UnsupportedError, option
from .frontend import pytree
from .frontend.arguments import Arguments, as_declared, bound_arguments, is_same_static
from .frontend.context import Context, current_context
from .frontend.emit import as_tensor
from .frontend.exchange import is_foreign_array
from .frontend.inline import inline
from .frontend.interrupts import interrupts, run_outside
from .frontend.location import present, stack_level, with_user_line
from .frontend.signatures import check_call
from .frontend.spec import Spec
from .frontend.tensor import Tensor, concrete
from .frontend.trace import Result
from .frontend.variable import Variable
from .ir import Graph
from .package import Manifest, Package
from .report import Report
from .settings import Settings
from .specialization import MISS, FastCall, Specialization
from .text import parse
from .trees import decode_tree
from .types import TensorType

if TYPE_CHECKING:
    from .benchmark import Benchmark
    from .schedule import Schedule

_P = inspect.Parameter
KINDS = {
    kind.name: kind
    for kind in (_P.POSITIONAL_ONLY, _P.POSITIONAL_OR_KEYWORD, _P.VAR_POSITIONAL, _P.KEYWORD_ONLY, _P.VAR_KEYWORD)
}


class Loaded:
    """A function from a package. It takes the arguments that it was built for, and keeps the state that it then had.

    variables: its Variables by name; calls update them, and they can be assigned to.
    """

    def __init__(self, package: Package, title: str, backend: str | None = None) -> None:
        """`title`: what to call the package in messages."""
        manifest = package.manifest
        self.package = package
        self.title = title
        self.backend = backend or manifest.backend
        self.__name__ = self.__qualname__ = manifest.name
        self.variables = {
            s.name: Variable(package.values[s.name], s.trainable, name=s.name) for s in manifest.state
        }
        self.example = _example(manifest)
        stand_in = _stand_in(manifest)
        self.__signature__ = inspect.signature(stand_in)
        self.arguments = Arguments.of(stand_in, *self.example)
        self._result, self._outputs = _result(manifest)
        self._specializations: dict[Settings, Specialization] = {}
        found = self._specialize(current_context())
        self._recent: tuple[Context, FastCall] = current_context(), found.fast_call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            context = current_context()
            made_for, fast_call = self._recent
            if context is made_for and not kwargs:
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
        arguments = self._arguments(args, kwargs)
        found = self._specialize(context)
        self._recent = context, found.fast_call
        return found(arguments.arrays)

    def _inline(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Become part of the trace that called."""
        args, kwargs = bound_arguments(self.arguments.function, args, kwargs)
        leaves = pytree.leaves((args, kwargs))
        arrays = [i for i, x in enumerate(leaves) if isinstance(x, Tensor | Variable) or is_foreign_array(x)]
        tensors = {i: as_tensor(leaves[i]) for i in arrays}
        for i, tensor in tensors.items():
            leaves[i] = Spec(tensor.shape, tensor.dtype)
        self._arguments(*pytree.unflatten((args, kwargs), leaves))
        return self._result.filled(inline(self.graph(), list(tensors.values()), list(self.variables.values())))

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """The arguments of a call, a Variable's value in place of the Variable.

        Raises ShapeError, DTypeError or TraceError for others than the function was built for.
        """
        leaves = [x.value if isinstance(x, Variable) else x for x in pytree.leaves((args, kwargs))]
        args, kwargs = pytree.unflatten((args, kwargs), leaves)
        args, kwargs = bound_arguments(self.arguments.function, args, kwargs)
        check_call(self.arguments.function, args, kwargs, f"{self.title} takes {self._signature_text}")
        args = as_declared(args, self.example[0])
        found = Arguments.of(self.arguments.function, args, kwargs)
        self._check(found)
        return found

    def __repr__(self) -> str:
        return f"<{self.title}: {self._signature_text}>"

    # Stages

    def graph(self) -> Graph:
        """The optimized graph."""
        return self._compilation.graph

    def schedule(self) -> Schedule:
        """The kernels and buffers, as this version plans them."""
        return self._compilation.schedule

    def source(self, stage: str = "graph") -> str:
        """The text of a stage, made from the graph by this version; see `Executable.source`."""
        return self._compilation.text(option(Stage, stage, "stage"))

    def report(self) -> Report:
        """What the compiler did when the package was built, or when it was loaded if it was compiled again then."""
        return self._compilation.report()

    def benchmark(self, *args: Any, seconds: float = 1.0, **kwargs: Any) -> Benchmark:
        """How long a call takes, with random arguments if none are given; see `Executable.benchmark`."""
        from .benchmark import measure

        if not args and not kwargs:
            args, kwargs = self.example
        return measure(self, args, kwargs, seconds)

    @with_user_line
    def specialize(self, *args: Any, **kwargs: Any) -> Specialization:
        """The one specialization, if the arguments are those it was built for."""
        self._arguments(args, kwargs)
        return self._specialize(current_context())

    @property
    def _compilation(self) -> Compilation:
        return self._specialize(current_context()).compilation

    def _specialize(self, context: Context) -> Specialization:
        """The specialization for these settings: threads differ, the backend is ours."""
        settings = replace(context.settings, backend=self.backend)
        with call_lock:
            found = self._specializations.get(settings)
            if found is None:
                inputs = tuple(t for t in self.arguments.leaves if isinstance(t, TensorType))
                variables = tuple(self.variables.values())
                signature = Signature(inputs, tuple(v.type for v in variables), self._outputs)
                compilation = PackagedCompilation(self.package, self.title, signature, settings)
                found = Specialization(self.arguments, compilation, variables, (), self._result)
                found.run  # noqa: B018 - so that what is wrong with the package is found when it is loaded
                self._specializations[settings] = found
        return found

    @property
    def _signature_text(self) -> str:
        pairs = zip(self.arguments.names, self.arguments.leaves, strict=True)
        described = (f"{n}: {x}" if isinstance(x, TensorType) else f"{n}={brief(x)}" for n, x in pairs)
        return f"{self.__name__}({', '.join(described)})"

    def _check(self, got: Arguments) -> None:
        """Raise ShapeError, DTypeError or TraceError for other arguments than those it was built for."""
        if got.structure != self.arguments.structure:
            raise ShapeError(
                f"{self.title} takes {self._signature_text}", got=f"{len(got.names)} values: {', '.join(got.names[:6])}"
            )
        for name, wanted, leaf in zip(self.arguments.names, self.arguments.leaves, got.leaves, strict=True):
            if isinstance(wanted, TensorType) and isinstance(leaf, TensorType):
                Spec(wanted.shape, wanted.dtype).check(leaf, name, {})
            elif not is_same_static(wanted, leaf):
                raise TraceError(f"{self.title} takes {self._signature_text}", got=f"{name}={brief(leaf)}")


class PackagedCompilation(Compilation):
    """A compilation that starts from a package's graph, and need not go down to code that the package holds."""

    def __init__(self, package: Package, title: str, signature: Signature, settings: Settings) -> None:
        super().__init__(None, settings)
        self.package = package
        self.title = title
        self.signature = signature
        self.origin = f"machine code from {title}, built by graphc {package.manifest.graphc}"

    @cached_property
    @alone
    def graph(self) -> Graph:
        """The package's graph, which was optimized when the package was built."""
        graph = parse(self.package.graph, self.package.constants)
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
        made_with = self.package.manifest.backend
        if self.settings.backend != made_with:
            return f"it was built for the {made_with} backend"
        if not self.package.files:
            return f"the {made_with} backend keeps no machine code in packages"
        return None

    def _put_together(self) -> Program:
        backend = find_backend(self.settings.backend)
        if not isinstance(backend, Assembler):
            raise UnsupportedError(f"the {backend.name} backend of this version takes no packages")
        with self._timed("load"):
            return backend.put_together(self.package.parts, self.signature, self.settings)

    def report(self) -> Report:
        is_from_package = "load" in self.seconds
        found = replace(self.package.manifest.report, seconds=self.seconds) if is_from_package else super().report()
        return replace(found, remarks=(self.origin,))


def _example(manifest: Manifest) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """args and kwargs of the call that was built, with a spec for each array."""
    match decode_tree(manifest.arguments, lambda t: Spec(t.shape, t.dtype)):
        case (tuple() as args, dict() as kwargs) if all(isinstance(name, str) for name in kwargs):
            return args, kwargs
    raise PackageError("the arguments of a package are (args, kwargs)", got=brief(manifest.arguments))


def _result(manifest: Manifest) -> tuple[Result, tuple[TensorType, ...]]:
    """The structure of the result, and the types of its arrays."""
    leaves = pytree.leaves(decode_tree(manifest.result, lambda t: t))
    order = [i for i, _ in pytree.written_order(decode_tree(manifest.result, lambda t: t))]
    places = tuple(i for i in order if isinstance(leaves[i], TensorType))
    placeholder = concrete(np.zeros((), np.bool_))
    return Result(decode_tree(manifest.result, lambda t: placeholder), places), tuple(leaves[i] for i in places)


def _stand_in(manifest: Manifest) -> Callable[..., Any]:
    """A function with the signature of the one that was built; it is never called."""

    def stand_in(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    if manifest.parameters is not None:
        try:
            parameters = [
                _P(p.name, KINDS[p.kind], default=... if p.has_default else _P.empty)
                for p in manifest.parameters
            ]
            stand_in.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        except (LookupError, TypeError, ValueError) as error:
            raise PackageError("the parameters in a package are no signature", got=str(error)) from None
    stand_in.__qualname__ = manifest.name
    return stand_in
