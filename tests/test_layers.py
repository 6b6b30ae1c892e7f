"""Who may import whom: the tree in layers, each knowing some of those below it and nothing else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

import graphc

ROOT = Path(graphc.__file__).resolve().parent

LANGUAGE = ("", "ops", "text")
MACHINE = tuple(f"backends/llvm/{name}.py" for name in ("target", "features", "library", "native"))
EMIT = (*LANGUAGE, *MACHINE, "backends/llvm/emit")
NESTS = (*EMIT, "backends/kernels", "backends/llvm/nests")
PRODUCTS = (*NESTS, "backends/llvm/products")
ATTENTION = (*PRODUCTS, "backends/llvm/attention")
LOWERING = ("backends/llvm/calls.py", "backends/llvm/lower.py", "backends/llvm/stages.py")
RUN = (*EMIT, "backends/llvm/run")
LINK = (*RUN, *LOWERING, "backends/llvm/link")
SHIP = (*LINK, "backends", "backends/llvm/ship")

# Files, and folders with whatever is in them and not listed by itself; with the layers that each may import.
LAYERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(LANGUAGE, LANGUAGE),
    "frontend": (*LANGUAGE, "frontend"),
    "passes": (*LANGUAGE, "passes"),
    "backends": (*LANGUAGE, "backends"),
    "backends/reference": (*LANGUAGE, "backends"),
    "backends/kernels": (*LANGUAGE, "backends/kernels"),
    "backends/triton": (*LANGUAGE, "backends", "backends/kernels", "backends/triton"),
    **dict.fromkeys(MACHINE, (*LANGUAGE, *MACHINE)),
    "backends/llvm/emit": EMIT,
    "backends/llvm/nests": NESTS,
    "backends/llvm/products": PRODUCTS,
    "backends/llvm/attention": ATTENTION,
    "backends/llvm/sorting": (*EMIT, "backends/llvm/sorting"),
    **dict.fromkeys(LOWERING, (*ATTENTION, *LOWERING, "backends/llvm/sorting")),
    "backends/llvm/run": RUN,
    "backends/llvm/link": LINK,
    "backends/llvm/ship": SHIP,
    "backends/llvm": (*SHIP, *ATTENTION, "backends/llvm"),
}
# What users import from, and the driver: they may import everything.
FREE = ("driver", "__init__.py", "nn.py", "optim.py", "random.py", "linalg.py")


def layer_of(path: Path, layers: tuple[str, ...]) -> str:
    """The most special of the layers that a file, or a folder, is in."""
    names = [str(p) for p in (path, *path.parents)]
    return next(("" if name == "." else name for name in names if name in layers), "")


def imports(inside: Path, source: str, everywhere: bool = True) -> Iterator[tuple[int, Path]]:
    """The line and the file, or folder, of each import of a module of graphc, wherever in the file it is; or only of
    those that are carried out when the file is imported."""
    package = ["graphc", *inside.parent.parts]
    tree = ast.parse(source)
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            names = [name if is_module(name := f"{module}.{a.name}") else module for a in node.names]
        else:
            continue
        for name in filter(is_module, names):
            place = Path(*name.split(".")[1:])
            yield node.lineno, place if (ROOT / place).is_dir() else place.with_suffix(".py")


def is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split(".")[1:])
    return name.split(".")[0] == "graphc" and (place.is_dir() or place.with_suffix(".py").is_file())


def trespasses(inside: Path, source: str) -> Iterator[str]:
    """What the file imports, against the table."""
    layer = layer_of(inside, tuple(LAYERS))
    for line, imported in imports(inside, source):
        if layer_of(imported, (*LAYERS, *FREE)) not in LAYERS[layer]:
            yield f"{inside}:{line} imports {imported}, which {layer or 'the language'} is not to know"


def files() -> Iterator[Path]:
    for pattern in ("*.py", "*/*.py", "*/*/*.py", "*/*/*/*.py"):
        yield from (path.relative_to(ROOT) for path in ROOT.glob(pattern))


def test_no_layer_knows_what_is_above_it() -> None:
    listed = [f for f in files() if not layer_of(f, FREE)]
    assert not [t for f in listed for t in trespasses(f, (ROOT / f).read_text())]
    assert {layer_of(f, tuple(LAYERS)) for f in listed} == set(LAYERS), "a layer without files"


def circles(everywhere: bool) -> list[set[str]]:
    """The modules that import each other. Those of `ops` do: gradient rules speak of ops from everywhere, a sum's of
    a broadcast and a broadcast's of a sum."""
    found = nx.DiGraph()
    for file in files():
        if file.parts[0] == "ops":
            continue
        source = (ROOT / file).read_text()
        unseen = for_checkers(source)
        for line, imported in imports(file, source, everywhere):
            target = imported / "__init__.py" if (ROOT / imported).is_dir() else imported
            if target != file and line not in unseen:
                found.add_edge(str(file), str(target))
    return [c for c in nx.strongly_connected_components(found) if len(c) > 1]


def for_checkers(source: str) -> set[int]:
    """The lines of a module that only type checkers carry out."""
    ifs = [n for n in ast.parse(source).body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    return {line for n in ifs for line in range(n.lineno, (n.end_lineno or n.lineno) + 1)}


def test_modules_do_not_import_each_other_in_circles() -> None:
    assert not circles(everywhere=False)


# Modules that need each other, of which functions import one: each is part of what the other is.
PAIRS = (
    {"ir.py", "op.py", "text/__init__.py", "text/canonical.py", "text/parser.py", "text/printer.py"},  # a graph's text
    {"frontend/fields.py", "frontend/watch.py"},        # what a trace reads, and what notes that it does
    {"frontend/exchange.py", "frontend/dlpack.py"},     # arrays of others, which few programs have
    {"frontend/" + name + ".py" for name in (           # a tensor, and its operators on any device
        "arguments", "device_tensor", "devices", "dtypes", "emit", "guards", "operators", "tensor", "variable",
    )},
)  # fmt: skip


def test_hardly_any_modules_need_each_other_also_in_functions() -> None:
    """Functions import what few programs need, so that importing graphc is quick, but not to be above what is above
    them."""
    assert all(any(c <= pair for pair in PAIRS) for c in circles(everywhere=True))


WRONG = {
    "ops/x.py": ("from ..frontend.tensor import Tensor", "import graphc.passes.fuse", "from graphc import driver"),
    "passes/x.py": ("def f():\n    from graphc.backends.llvm import target",),
    "frontend/nn/x.py": ("from graphc.passes import cse",),
    "backends/triton/x.py": ("from ..llvm.emit.text import Code", "from graphc.driver.compile import Known"),
    "backends/llvm/emit/math/x.py": ("from ...nests import plan",),
    "backends/llvm/products/x.py": ("from ..run.jit import loaded", "from ..lower import lower"),
    "x.py": ("from .driver import report", "from graphc.frontend import emit"),
}


@pytest.mark.parametrize(("file", "source"), [(f, s) for f, sources in WRONG.items() for s in sources])
def test_a_wrong_import_is_found(file: str, source: str) -> None:
    assert len(list(trespasses(Path(file), source))) == 1
