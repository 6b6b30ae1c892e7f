"""`gx.compile`, `gx.build` and `gx.load`: from functions to executables, files, and back.

It also installs the driver, through which the frontend differentiates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import hook
from ..brief import brief
from ..devices import Device
from ..errors import OptionError, TraceError, option
from ..frontend import pytree
from ..frontend.location import with_user_line
from ..frontend.spec import Spec
from ..ir import Node
from .executable import Executable

if TYPE_CHECKING:
    from .loaded import Loaded


@with_user_line
def compile(
    function: Callable[..., Any] | None = None,
    *,
    backend: str | None = None,
    inputs: Sequence[Any] | None = None,
) -> Any:
    """Make a function an executable: `@gx.compile`, `@gx.compile(backend=...)` or `gx.compile(fn)`.

    It is traced and compiled when it is first called with arguments of new types (see `Executable`).
    backend: "llvm" unless `gx.using` says otherwise. inputs: a `gx.spec` for each positional argument, or None for
    one that may be anything; then calls with other dtypes or shapes raise DTypeError or ShapeError.
    """
    if isinstance(inputs, Spec):
        raise TraceError("inputs is a list with a spec for each argument", got=str(inputs), hint=f"inputs=[{inputs}]")

    for declared in inputs or ():
        for leaf in pytree.leaves(declared):
            if not isinstance(leaf, Spec):
                raise TraceError(
                    "inputs has a gx.spec for each argument, or None for one that may be anything",
                    got=brief(leaf),
                    hint='gx.spec((None, 3), "float32")',
                )

    @with_user_line
    def make(f: Callable[..., Any]) -> Executable:
        if not callable(f):
            raise TraceError("gx.compile takes a function", got=brief(f))
        return Executable(f, backend=backend, inputs=None if inputs is None else tuple(inputs))

    return make if function is None else make(function)


@with_user_line
def build(
    path: str | PathLike[str],
    functions: Mapping[str, Executable],
    *,
    kind: str = "package",
    batch: int | Sequence[int] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> None:
    """Write several compiled functions into one package, by name; Variables that they share stay one.

    functions: such as {"train_step": train_step, "predict": predict}, each compiled with `inputs=`. batch and sizes fix
    what their specs leave open, in those that do; with batch=[1, 32], a function that leaves it open is built for both,
    and calls find the one for their arguments. `gx.load(path)["predict"]` is then one of them.

    Raises as `Executable.build`.
    """
    from .artifacts import ArtifactKind, of_all, write

    if not isinstance(functions, Mapping) or not functions:
        hint = 'gx.build(path, {"predict": predict})'
        raise OptionError("functions are given by name", got=brief(functions), hint=hint)
    for name, function in functions.items():
        if not isinstance(name, str) or not name:
            raise OptionError("a function's name is a string", got=brief(name))
        if not isinstance(function, Executable):
            raise OptionError(
                "what is built are compiled functions",
                got=f"{name}={brief(function)}",
                hint="gx.compile(function, inputs=[gx.spec(...), ...])",
            )
    made = option(ArtifactKind, kind, "kind of file")
    write(of_all(functions, batch, sizes or {}), Path(path), made)


@with_user_line
def load(path: str | PathLike[str], *, backend: str | None = None) -> Loaded:
    """What a package holds that `build(path, kind="package")` or `gx.build` wrote: its function, or several by name.

    `load(path)["predict"]` is the function of that name either way.

    backend: another one than it was built with; then it is compiled again, from the package's graph. That also happens,
    with a warning, where the machine code in the package does not suit this machine.

    A package holds machine code, and loading it means to run that: load only files that you trust. Raises PackageError
    for a file that is no package, or is damaged; OSError for one that can't be read.
    """
    from .loaded import unpack
    from .package import Package

    path = Path(path)
    return unpack(Package.read(path), path.name, backend)


def thread_count() -> int:
    """How many threads a call may use here and now: what the process may use, or less where `gx.using(threads=...)`
    or GRAPHC_THREADS says so."""
    from ..backends.llvm.run.team import usable_threads
    from ..frontend.context import current_settings

    return min(usable_threads(), current_settings().threads or usable_threads())


class _Driver:
    """The frontend's hook into passes and backends."""

    def differentiate(
        self, outputs: Sequence[Node], wrt: Sequence[Node], cotangents: Sequence[Node], *, wide: bool = False
    ) -> list[Node | None]:
        from ..passes.differentiate import differentiate

        return differentiate(outputs, wrt, cotangents, wide=wide)

    def gpu(self) -> Device:
        from ..backends.triton.cuda import first_device

        return first_device()

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any] = compile(function)
        return compiled


hook.install(_Driver())
