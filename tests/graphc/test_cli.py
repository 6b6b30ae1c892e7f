"""The command line: what it prints, and what it says of words that do not fit, in those words and on one line."""

import sys
from pathlib import Path

import pytest

from graphc.driver import cli

SOURCE = """
import numpy as np
import graphc as gx
from graphc import nn

model = nn.Sequential(nn.Linear(3, 4), nn.relu)

@gx.compile(inputs=[gx.spec((None, 3))])
def predict(x):
    return nn.softmax(model(x))

@gx.compile(inputs=[gx.spec(("time", 3)), None])
def partly(x, y):
    return x + y

def plain(x, y):
    return x + y
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "users.py"
    path.write_text(SOURCE)
    return str(path)


REFUSED = [
    (["show", "{}"], "a function is named as FILE.py:FUNCTION"),
    (["show", "{}x:f"], "there is no file"),
    (["show", "{}:nothing"], "has no function nothing; it has predict, partly"),
    (["show", "{}:predict"], "the inputs leave sizes open: float32[batch, 3]; give --batch 32"),
    (["show", "{}:predict", "--batch", "2", "--size", "t=3"], "--size t=3 applies to no input: float32[batch, 3]"),
    (["show", "{}:plain"], "plain does not declare its inputs: give each with --input"),
    (["show", "{}:partly"], "give each argument with --input"),
    (["show", "{}:plain", "--input", "float32"], "--input float32: an input is written as DTYPE[SIZES]"),
    (["show", "{}:plain", "--input", "float99[3]"], "--input float99[3]: graphc has no such dtype"),
    (["show", "{}:plain", "--input", "float32[-3]"], "--input float32[-3]: a size is a whole number"),
    (["show", "{}:plain", "--input", "float32[3]", "--batch", "3"], "--batch 3 applies to no input: float32[3]"),
    (["show", "{}:predict", "--batch", "2", "--backend", "llvm"], "--backend does not apply to --stage graph"),
    (["show", "{}:predict", "--batch", "2", "--timed"], "--timed applies to --stage report"),
    (["build", "{}:predict", "--batch", "2", "-o", "."], "-o . is a directory: name a file"),
    (["build", "{}:predict", "--batch", "2", "-o", "/none/x"], "-o /none/x: there is no directory /none"),
    (["build", "{}:predict", "--batch", "2", "--backend", "llvm", "-o", "/proc/x"], "/proc/x can't be written"),
    (["bench", "{}:predict", "--backend", "llvm", "--backends", "llvm"], "--backend and --backends exclude each other"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_words_that_do_not_fit(words: list[str], message: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([word.replace("{}", file) for word in words]) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.startswith("graphc: ") and text.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "x.py:f", "--backend", "nonsense"], "invalid choice: 'nonsense'"),
        (["show", "x.py:f", "--batch", "many"], "a size is a whole number, not 'many'"),
        (["show", "x.py:f", "--batch", "-1"], "argument --batch"),
        (["show", "x.py:f", "--size", "3"], "a size is given as NAME=N, not '3'"),
        (["bench", "x.py:f", "--backends", "llvm,cuda"], "there is no backend 'cuda'"),
        (["show", "x.py:f", "--batches", "3"], "unrecognized arguments"),
    ],
)
def test_words_that_no_command_has(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_ptx_without_triton_says_what_to_install(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    assert cli.main(["show", f"{file}:predict", "--batch", "2", "--stage", "ptx"]) == 1
    assert "pip install 'graphc[gpu]'" in capsys.readouterr().err
    assert cli.main(["show", f"{file}:predict", "--batch", "2", "--stage", "triton"]) == 0


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert not ended.value.code and capsys.readouterr().out.startswith("graphc ")


@pytest.mark.parametrize("stage", ["graph", "dot", "schedule"])
def test_lines_are_the_users(stage: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also of a module whose layers are all graphc's: the line that defines it."""
    assert cli.main(["show", f"{file}:model", "--input", "float32[2,3]", "--stage", stage]) == 0
    assert "users.py:6" in capsys.readouterr().out
    assert cli.main(["show", f"{file}:predict", "--batch", "2", "--stage", stage]) == 0
    assert "users.py:10" in capsys.readouterr().out
    assert cli.main(["show", f"{file}:model", "--input", "float32[2,5]"]) == 1
    assert "line 6:  model = nn.Sequential" in capsys.readouterr().err


def test_a_package_is_built(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.gx"
    assert cli.main(["build", f"{file}:predict", "--batch", "2", "--kind", "package", "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: package of predict(float32[2, 3])\n" and path.exists()


def test_a_file_may_be_called_like_a_module_of_pythons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("random", "platform", "ctypes"):
        (tmp_path / f"{name}.py").write_text(SOURCE)
        assert cli.main(["show", f"{tmp_path}/{name}.py:predict", "--batch", "2", "--stage", "llvm-ir"]) == 0
    import platform
    import random

    assert platform.system() and random.random() < 1


def test_an_error_of_the_users_file_keeps_its_frames(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def f(x):\n    return [][1]\n")
    with pytest.raises(IndexError) as raised:
        cli.main(["show", f"{path}:f", "--input", "float32[2]"])
    entry, files = raised.value.__traceback__, []
    while entry is not None:
        files.append(Path(entry.tb_frame.f_code.co_filename).name)
        entry = entry.tb_next
    assert files == ["test_cli.py", "broken.py", "broken.py"]  # of the definition, and of what it does
