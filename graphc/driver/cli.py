"""The command line: graphc show | build | bench | doctor, on FILE.py:FUNCTION.

In: words. Out: text, files, an exit code: 0, 1 where graphc refuses with an error of its own, 2 for wrong usage, which
is told in one line and in the command's words. Errors of the user's own file keep their traceback.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..errors import CommandError, GraphcError
from ..settings import BACKENDS

if TYPE_CHECKING:
    from ..frontend.spec import Spec
    from .executable import Executable

R = TypeVar("R")

STAGES = ("graph", "dot", "schedule", "llvm-ir", "asm", "triton", "ptx", "report")
_SPEC = re.compile(r"(?P<dtype>\w+)\[(?P<sizes>[^\]]*)\]")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(argv)
    try:
        options.run(options)
    except CommandError as error:
        print(f"graphc: {error}", file=sys.stderr)
        return 2
    except GraphcError as error:
        print(f"graphc: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
    except Exception as error:
        from ..frontend.location import present

        present(error)
        raise
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="graphc", description="Compile, look at and measure functions written with graphc.", allow_abbrev=False
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="tell graphc's version")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    show = _command(commands, "show", _show, "print a stage of the compilation")
    show.add_argument("--stage", choices=STAGES, default="graph", help="which stage (default: graph)")
    show.add_argument("--timed", action="store_true", help="with --stage report: measure each kernel")
    build = _command(commands, "build", _build, "make a standalone program or a package")
    build.add_argument("-o", "--output", type=Path, help="where to write it (default: the function's name)")
    build.add_argument("--kind", choices=("program", "package", "library"), default="program")
    bench = _command(commands, "bench", _bench, "measure a function, also on several backends")
    bench.add_argument("--backends", type=_backends, help="several, comma-separated, in place of --backend")
    doctor = commands.add_parser(
        "doctor", help="tell what this machine offers, and what each missing thing would bring"
    )
    doctor.set_defaults(run=_doctor)
    return parser


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    command.add_argument(
        "function", metavar="FILE.py:FUNCTION", help="a function or a module, compiled or not, at the file's top level"
    )
    command.add_argument("--input", action="append", default=[], metavar="DTYPE[SIZES]", dest="inputs",
                         help="an input, as in float32[128,64]: one for each argument")  # fmt: skip
    command.add_argument("--batch", type=_size, help="the size that a spec leaves open with None")
    command.add_argument(
        "--size", action="append", default=[], metavar="NAME=N", type=_named_size, help="a size that a spec names"
    )
    command.add_argument("--backend", choices=BACKENDS, help="the backend (default: the function's own, or llvm)")
    command.set_defaults(run=run)
    return command


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("graphc")
        except PackageNotFoundError:
            found = "(not installed: run from a checkout)"
        print(f"graphc {found}")
        parser.exit()


def _size(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a size is a whole number, not {text!r}")
    return int(text)


def _named_size(text: str) -> tuple[str, int]:
    name, equals, number = text.partition("=")
    if not equals or not name or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"a size is given as NAME=N, not {text!r}")
    return name, int(number)


def _backends(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in BACKENDS]:
        raise argparse.ArgumentTypeError(f"there is no backend {unknown[0]!r} (choose from {', '.join(BACKENDS)})")
    return names


class _Target(NamedTuple):
    """What a command is about: the function, the types it is compiled for, and where it stands."""

    function: Executable
    specs: list[Spec]
    path: Path
    name: str

    def do(self, work: Callable[[], R]) -> R:
        """What `work` gives, which traces the function."""
        from .user_file import at_definition

        return at_definition(self.path, self.name, work)


def _show(options: argparse.Namespace) -> None:
    is_report = options.stage == "report"
    if options.backend is not None and not is_report:
        raise CommandError(f"--backend does not apply to --stage {options.stage}, which is the same for all of them")
    if options.timed and not is_report:
        raise CommandError(f"--timed applies to --stage report, not to --stage {options.stage}")
    target = _target(options)
    function, specs = target.function, target.specs
    if is_report:
        print(target.do(lambda: function.report(*specs, timed=options.timed)))
    else:
        print(target.do(lambda: function.source(*specs, stage=options.stage)))


def _build(options: argparse.Namespace) -> None:
    target = _target(options)
    path = options.output or Path(target.name)
    if path.is_dir():
        raise CommandError(f"-o {path} is a directory: name a file")
    if not path.absolute().parent.is_dir():
        raise CommandError(f"-o {path}: there is no directory {path.absolute().parent}")
    try:
        target.do(lambda: target.function.build(path, kind=options.kind, inputs=target.specs))
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror or error}") from error
    print(f"{path}: {options.kind} of {target.name}({', '.join(map(str, target.specs))})")


def _bench(options: argparse.Namespace) -> None:
    from .bench import bench

    if options.backend is not None and options.backends is not None:
        raise CommandError("--backend and --backends exclude each other")
    target = _target(options)
    print(target.do(lambda: bench(target.function, target.specs, backends=options.backends)))


def _doctor(options: argparse.Namespace) -> None:
    from .doctor import examine

    for finding in examine():
        print(finding)


# The function


def _target(options: argparse.Namespace) -> _Target:
    """The function and the types it is to be compiled for. Raises CommandError for words that do not fit it."""
    from ..frontend.arguments import parameter_count
    from ..frontend.spec import Spec

    function, path, name = _function(options.function, options.backend)
    declared = [_parse_spec(t) for t in options.inputs] or list(function.inputs or ())
    count = parameter_count(function.function)
    if not declared and count:
        raise CommandError(f"{name} does not declare its inputs: give each with --input, as in 'float32[128,64]'")
    if not all(isinstance(s, Spec) for s in declared):
        raise CommandError(f"{name} declares inputs that are no single arrays: give each argument with --input")
    return _Target(function, _fixed(declared, options.batch, dict(options.size)), path, name)


def _function(place: str, backend: str | None) -> tuple[Executable, Path, str]:
    """The function at FILE.py:FUNCTION, compiled for `backend`."""
    from .compile import compile
    from .executable import Executable
    from .user_file import load_file

    file, colon, name = place.rpartition(":")
    if not colon or not name:
        raise CommandError(f"{place}: a function is named as FILE.py:FUNCTION")
    path = Path(file)
    if not path.is_file():
        raise CommandError(f"there is no file {file}")
    module = load_file(path)
    found = getattr(module, name, None)
    if not callable(found):
        compiled = [n for n, v in vars(module).items() if isinstance(v, Executable)]
        known = f"; it has {', '.join(compiled)}" if compiled else ""
        raise CommandError(f"{path} has no function {name}{known}")
    if isinstance(found, Executable) and backend in (None, found.backend):
        return found, path, name
    plain = found.function if isinstance(found, Executable) else found
    inputs = found.inputs if isinstance(found, Executable) else None
    return compile(plain, backend=backend, inputs=inputs), path, name


# Inputs


def _parse_spec(text: str) -> Spec:
    from ..frontend.spec import spec

    match = _SPEC.fullmatch(text.replace(" ", ""))
    if match is None:
        raise CommandError(f"--input {text}: an input is written as DTYPE[SIZES], as in float32[128,64] or int64[]")
    sizes: list[int | str | None] = [
        int(s) if s.isdecimal() else None if s == "batch" else s for s in match["sizes"].split(",") if s
    ]
    if wrong := [s for s in sizes if isinstance(s, str) and not s.isidentifier()]:
        raise CommandError(f"--input {text}: a size is a whole number, a name, or `batch`, not {wrong[0]}")
    try:
        return spec(sizes, match["dtype"])
    except GraphcError as error:
        raise CommandError(f"--input {text}: {error.rule}; {error.hint}") from None


def _fixed(specs: Sequence[Spec], batch: int | None, sizes: dict[str, int]) -> list[Spec]:
    """The specs with all their sizes. Raises CommandError for sizes that are still open, or that none leaves open."""
    from ..frontend.spec import spec

    left = list(dict.fromkeys(size for s in specs for size in s.open_sizes))
    described = ", ".join(map(str, specs)) or "there are none"
    given: dict[str | None, int] = {} if batch is None else {None: batch}
    given.update(sizes)
    if unknown := [size for size in given if size not in left]:
        raise CommandError(f"{_option(unknown[0], given[unknown[0]])} applies to no input: {described}")
    if missing := [size for size in left if size not in given]:
        options = " ".join(_option(size, 32) for size in missing)
        raise CommandError(f"the inputs leave sizes open: {described}; give {options}, or other numbers")
    return [spec([s if isinstance(s, int) else given[s] for s in x.shape], x.dtype) for x in specs]


def _option(size: str | None, number: int) -> str:
    """How a size is given in a command."""
    return f"--batch {number}" if size is None else f"--size {size}={number}"


if __name__ == "__main__":
    from graphc.driver import cli  # not this module, which now goes by a name that is not one of graphc's

    sys.exit(cli.main())
