"""The command line: graphc show | build | bench | doctor, on FILE.py:FUNCTION.

In: words. Out: text, files, an exit code: 0, 1 where graphc refuses with an error of its own, 2 for wrong usage.
Errors of the user's own file keep their traceback.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import GraphcError, TraceError

if TYPE_CHECKING:
    from .executable import Executable
    from .frontend.spec import Spec

STAGES = ("graph", "schedule", "llvm-ir", "asm", "triton", "ptx", "report")
_SPEC = re.compile(r"(?P<dtype>\w+)\[(?P<sizes>[^\]]*)\]")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(argv)
    try:
        options.run(options)
    except GraphcError as error:
        print(f"graphc: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="graphc", description="Compile, look at and measure functions written with graphc."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    show = _command(commands, "show", _show, "print a stage of the compilation")
    show.add_argument("--stage", choices=STAGES, default="graph", help="which stage (default: graph)")
    build = _command(commands, "build", _build, "make a standalone program or a package")
    build.add_argument("-o", "--output", type=Path, help="where to write it (default: the function's name)")
    build.add_argument("--kind", choices=("program", "package", "library"), default="program")
    bench = _command(commands, "bench", _bench, "measure a function, also on several backends")
    bench.add_argument("--backends", default="", help="comma-separated; default: the function's own")
    doctor = commands.add_parser(
        "doctor", help="tell what this machine offers, and what each missing thing would bring"
    )
    doctor.set_defaults(run=_doctor)
    return parser


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.add_argument(
        "function", metavar="FILE.py:FUNCTION", help="a function, compiled or not, at the file's top level"
    )
    command.add_argument("--input", action="append", default=[], metavar="DTYPE[SIZES]", dest="inputs",
                         help="an input, as in float32[128,64]: one for each argument")  # fmt: skip
    command.add_argument("--batch", type=int, help="the size that a spec leaves open with None")
    command.add_argument(
        "--size", action="append", default=[], metavar="NAME=N", help="a size that a spec names"
    )
    command.add_argument("--backend", help="the backend (default: the function's own, or llvm)")
    command.set_defaults(run=run)
    return command


def _show(options: argparse.Namespace) -> None:
    function, specs = _load(options)
    if options.stage == "report":
        print(function.report(*specs))
    else:
        print(function.source(*specs, stage=options.stage))


def _build(options: argparse.Namespace) -> None:
    function, specs = _load(options)
    path = options.output or Path(function.__qualname__)
    function.build(path, kind=options.kind, inputs=specs)
    print(f"{path}: {options.kind} of {function.__qualname__}({', '.join(map(str, specs))})")


def _bench(options: argparse.Namespace) -> None:
    from .benchmark import bench

    function, specs = _load(options)
    backends = [b for b in options.backends.split(",") if b]
    print(bench(function, specs, backends=backends or None))


def _doctor(options: argparse.Namespace) -> None:
    from .doctor import examine

    for finding in examine():
        print(finding)


def _load(options: argparse.Namespace) -> tuple[Executable, list[Spec]]:
    """The function and the types it is to be compiled for.

    Raises TraceError where the file or the function is missing, ShapeError where a size is still open.
    """
    function = _function(options.function, options.backend)
    declared = [_parse_spec(t) for t in options.inputs] or list(function.inputs or ())
    if any(s is None for s in declared) or (not declared and _takes_arguments(function)):
        raise TraceError(
            f"{function.__qualname__} does not declare its inputs",
            hint="give each with --input, as in --input 'float32[128,64]', or declare them: @gx.compile(inputs=[...])",
        )
    from .frontend.spec import spec

    sizes = dict(_parse_size(text) for text in options.size)
    resolved = [s.resolve(options.batch, sizes) for s in declared]
    return function, [spec(t.shape, t.dtype) for t in resolved]


def _takes_arguments(function: Executable) -> bool:
    import inspect

    return bool(inspect.signature(function.function).parameters)


def _function(place: str, backend: str | None) -> Executable:
    """The function at FILE.py:FUNCTION, compiled for `backend`."""
    from .compile import compile
    from .executable import Executable

    name, colon, attribute = place.rpartition(":")
    path = Path(name)
    if not colon or not path.is_file():
        raise TraceError("the function is named as FILE.py:FUNCTION, with a file that exists", got=place)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise TraceError("the file is no Python module", got=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    found = getattr(module, attribute, None)
    if not callable(found):
        compiled = [n for n, v in vars(module).items() if isinstance(v, Executable)]
        hint = f"it has {', '.join(compiled)}" if compiled else None
        raise TraceError(f"{path} has no function {attribute}", hint=hint)
    if isinstance(found, Executable) and backend in (None, found.backend):
        return found
    plain = found.function if isinstance(found, Executable) else found
    inputs = found.inputs if isinstance(found, Executable) else None
    made: Executable = compile(plain, backend=backend, inputs=inputs)
    return made


def _parse_spec(text: str) -> Spec:
    from .frontend.spec import spec

    match = _SPEC.fullmatch(text.replace(" ", ""))
    if match is None:
        raise TraceError(
            "an input is written as DTYPE[SIZES]", got=text, hint="float32[128,64], or int64[] for a scalar"
        )
    sizes: list[int | str | None] = [
        int(s) if s.isdigit() else None if s == "batch" else s for s in match["sizes"].split(",") if s
    ]
    return spec(sizes, match["dtype"])


def _parse_size(text: str) -> tuple[str, int]:
    name, equals, number = text.partition("=")
    if not equals or not number.isdigit():
        raise TraceError("a size is written as NAME=N", got=text)
    return name, int(number)


if __name__ == "__main__":
    sys.exit(main())
