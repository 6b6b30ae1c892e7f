"""Whatever is saved is there as a whole or not at all."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn
from graphc.files import destination, replacing

FUNCTION = gx.compile(lambda x: x * 2, backend="llvm", inputs=[gx.spec((4,))])
MODEL = nn.Linear(3, 4)
SAVERS: dict[str, Callable[[Any], None]] = {
    "parameters": lambda path: nn.save_parameters(MODEL.state_dict(), path),
    "module": MODEL.save,
    "package": lambda path: FUNCTION.build(path, kind="package"),
    "program": lambda path: FUNCTION.build(path),
}
savers = pytest.mark.parametrize("saver", SAVERS)


@savers
def test_devices_folders_and_pipes_are_not_replaced(saver: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/null")
    for path in ("/dev/null", tmp_path / "pipe", tmp_path / "folder", tmp_path / "link"):
        before = os.stat(path).st_mode
        with pytest.raises((gx.PathError, gx.OptionError), match=r"is not replaced by a file|is built"):
            SAVERS[saver](path)
        assert os.stat(path).st_mode == before


@pytest.mark.parametrize("load", [gx.load, nn.load_parameters, MODEL.load], ids=["package", "parameters", "module"])
def test_devices_folders_and_pipes_are_not_read(load: Callable[[Any], Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in ("/dev/zero", tmp_path / "pipe", tmp_path, tmp_path / "link"):
        with pytest.raises(gx.PathError, match="is no file that can be read") as error:
            load(path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("use", [*SAVERS.values(), gx.load, nn.load_parameters, MODEL.load])
def test_names_with_a_nul(use: Callable[[Any], Any]) -> None:
    with pytest.raises(gx.PathError, match="holds no NUL"):
        use("a\0b")


@savers
def test_links_are_followed(saver: str, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    for name in ("old", "new"):
        (tmp_path / name).symlink_to(f"real/{name}")
    (tmp_path / "real/old").write_text("old")
    for name in ("old", "new"):
        SAVERS[saver](tmp_path / name)
        assert (tmp_path / name).is_symlink() and (tmp_path / "real" / name).stat().st_size > 100
    assert sorted(os.listdir(tmp_path / "real")) == ["new", "old"], "and nothing else is left"


@savers
def test_a_full_disk_leaves_what_was_there(saver: str, tmp_path: Path) -> None:
    """A limit on the size of files does to a file what a full disk does."""
    path = tmp_path / "file"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    SAVERS[saver](tmp_path / "other")  # so that the limit meets nothing that is done only once
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises((OSError, gx.GraphcError)):
            SAVERS[saver](path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old" and sorted(os.listdir(tmp_path)) == ["file", "other"]


KILLED = """
import sys, numpy as np, graphc as gx
from graphc import nn
state = {f"p{i}": gx.asarray(np.full((1000, 100), float(i), np.float32)) for i in range(20)}
print("ready", flush=True)
while True:
    nn.save_parameters(state, sys.argv[1])
"""


def test_a_kill_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    for number in range(4):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while not path.exists():
                pass
            try:
                process.wait(0.02 * (1 + number))
            except subprocess.TimeoutExpired:
                process.kill()
        assert len(nn.load_parameters(path)) == 20


def test_an_exception_while_writing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "file") as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert (tmp_path / "file").read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_modes_and_names(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        with replacing(tmp_path / ("n" * 250)) as file:
            file.write(b"x")
    finally:
        os.umask(mask)
    assert (tmp_path / ("n" * 250)).stat().st_mode & 0o777 == 0o640
    assert destination(tmp_path / "new") == tmp_path / "new"


def test_names_that_safetensors_takes_for_itself(tmp_path: Path) -> None:
    """`__metadata__` is not the name of a tensor in its files."""
    v = gx.Variable(np.float32(3), name="__metadata__")
    f = gx.compile(lambda x: x * v, backend="llvm")
    f.build(tmp_path / "p", kind="package", inputs=[gx.spec((2,))])
    loaded = gx.load(tmp_path / "p")
    assert loaded(np.ones(2, np.float32)).tolist() == [3, 3]
    with pytest.raises(gx.GraphcError, match="__metadata__"):
        nn.save_parameters({"__metadata__": gx.asarray([1.0])}, tmp_path / "s")
