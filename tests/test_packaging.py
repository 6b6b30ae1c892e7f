"""graphc is importable, whole and alone, however it got there: wheel, editable install, or checkout.

The four source folders are one package through symlinks, so this is where a build tool that treats them
differently would show. Nothing is downloaded: the builds use this interpreter's setuptools, the environments
its packages.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("graphc", "frontend", "passes", "backends")

IMPORTS = """
import graphc
import graphc.nn as nn
from graphc import nn as nn_again, optim
import graphc.frontend, graphc.passes, graphc.backends
import importlib.util
assert nn is nn_again is graphc.nn and optim is graphc.optim
bare = [n for n in ("frontend", "passes", "backends") if importlib.util.find_spec(n)]
print(graphc.__file__, *bare)
"""


def run(*command: object, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_"))}
    environment.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INDEX="1")
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def environment_without_graphc(folder: Path) -> Path:
    """A fresh virtual environment with this interpreter's packages, its editable installs not among them."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    outside = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (packages / "outside.pth").write_text("".join(f"{path}\n" for path in outside))
    return folder


def python(environment: Path) -> Path:
    return environment / ("Scripts" if os.name == "nt" else "bin") / "python"


def install(environment: Path, *what: object, cwd: Path) -> None:
    run(sys.executable, "-m", "pip", "--python", python(environment), "install", "--quiet", "--no-deps",
        "--no-build-isolation", "--ignore-installed", *what, cwd=cwd)  # fmt: skip


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a commit holds, so that no build leaves anything in the working tree."""
    copy = tmp_path_factory.mktemp("packaging") / "checkout"
    copy.mkdir()
    for name in SOURCES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    """Built from the sdist, as a package index would have it, so both are tested."""
    built = checkout.parent / "dist"
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", built, cwd=checkout)
    (path,) = built.glob("*.whl")
    return path


def test_wheel_holds_every_source_file_and_nothing_but_graphc(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {Path(name) for name in archive.namelist()}
    assert {path.parts[0] for path in held if not path.parts[0].endswith(".dist-info")} == {"graphc"}
    expected = {
        Path(folder).relative_to(ROOT) / name
        for folder, _, names in os.walk(ROOT / "graphc", followlinks=True)
        for name in names
        if name.endswith((".py", ".c", ".h", "py.typed"))
    }
    assert expected - held == set()


def test_imports_from_wheel(wheel: Path, tmp_path: Path) -> None:
    environment = environment_without_graphc(tmp_path / "venv")
    install(environment, wheel, cwd=tmp_path)
    # From a wheel a second copy must be impossible: the folders' bare names are not importable at all.
    (path,) = run(python(environment), "-c", IMPORTS, cwd=tmp_path).split()
    assert Path(path).is_relative_to(environment)
    assert (python(environment).parent / "graphc").exists(), "the wheel declares the command graphc"


def test_imports_from_editable_install(checkout: Path, tmp_path: Path) -> None:
    environment = environment_without_graphc(tmp_path / "venv")
    install(environment, "--editable", checkout, cwd=tmp_path)
    (path,) = run(python(environment), "-c", IMPORTS, cwd=tmp_path).split()
    assert Path(path) == checkout / "graphc" / "__init__.py"


def test_imports_from_checkout_even_where_a_wheel_is_installed(
    checkout: Path, wheel: Path, tmp_path: Path
) -> None:
    environment = environment_without_graphc(tmp_path / "venv")
    alone = run(python(environment), "-c", IMPORTS, cwd=checkout).split()[0]
    install(environment, wheel, cwd=tmp_path)
    beside_wheel = run(python(environment), "-c", IMPORTS, cwd=checkout).split()[0]
    assert Path(alone) == Path(beside_wheel) == checkout / "graphc" / "__init__.py"
