"""A user's file as a module: a path in, what stands at its top level out, and lines in it for what has none.

The standard library stays what it is, whatever the file and its neighbours are called.
"""

from __future__ import annotations

import ast
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from ..errors import CommandError

R = TypeVar("R")


def load_file(path: Path) -> ModuleType:
    """Run the file. Its neighbours can be imported, after the standard library and before installed packages.

    Raises CommandError for a file that is no Python; errors of the file's own keep their traceback.
    """
    name = path.stem if path.stem not in sys.stdlib_module_names and path.stem not in sys.modules else f"{path.stem}_"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CommandError(f"{path} is no Python file: its name does not end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _let_import(path.parent)
    exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    return module


def _let_import(folder: Path) -> None:
    text = str(folder.resolve())
    if text in sys.path:
        return
    installed = {*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("purelib")}
    first = next((i for i, entry in enumerate(sys.path) if entry in installed), len(sys.path))
    sys.path.insert(first, text)


def at_definition(path: Path, name: str, work: Callable[[], R]) -> R:
    """What `work` gives, called from the line of the file that defines `name`.

    So that is the user's line of all that graphc's own layers do, where the user calls them nowhere, and only names a
    model that is made of them.
    """
    found: dict[str, Any] = {"__name__": "user", "work": work}
    call = ast.parse("result = work()")
    for node in ast.walk(call):
        if isinstance(node, ast.stmt | ast.expr):
            node.lineno = node.end_lineno = _defining_line(path, name)
    exec(compile(call, str(path), "exec"), found)
    result: R = found["result"]
    return result


def _defining_line(path: Path, name: str) -> int:
    """The last line at the file's top level that gives this name a value; 1 where none is found."""
    line = 1
    for node in ast.parse(path.read_bytes()).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        named = {n.id for target in targets if target for n in ast.walk(target) if isinstance(n, ast.Name)}
        if name in named or getattr(node, "name", None) == name:
            line = node.lineno
    return line
