"""The user's guide is true: its code runs, its tables name what exists."""

import re
from pathlib import Path

import numpy as np
import pytest

import graphc as gx
from graphc import nn, optim
from graphc.dataclass import field_names
from graphc.settings import Settings

GUIDE = (Path(__file__).parents[1] / "docs" / "guide.md").read_text()
README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def blocks(text: str) -> list[tuple[int, str]]:
    """The Python in a page, with the number of the line that each block starts at."""
    return [(text[: m.start(1)].count("\n"), m[1]) for m in re.finditer(r"```python\n(.*?)```", text, re.S)]


def run(text: str, name: str) -> None:
    names: dict[str, object] = {"__name__": "guide"}
    for line, source in blocks(text):
        exec(compile("\n" * line + source, name, "exec"), names)


def test_the_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    run(GUIDE, "guide.md")
    printed = capsys.readouterr().out
    assert "% right" in printed and printed.count("the sum is") == 2
    assert "RMSNorm()  # 32 parameters, 1 not trainable" in printed and "GFLOP/s" in printed


def test_the_code_of_the_first_page_runs() -> None:
    run(README, "README.md")


def test_the_tables_name_what_exists() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    named = {"gx": gx, "nn": nn, "optim": optim, "np": np, "model": model, "optimizer": optim.SGD(model),
             "fn": gx.compile(lambda x: x)}  # fmt: skip
    tables = GUIDE.partition("## From PyTorch")[2].splitlines()
    rows = [line.split(" | ")[-1] for line in tables if line.startswith("| ")]
    found = re.findall(r"\b(gx|nn|optim|np|model|optimizer|fn)((?:\.[a-zA-Z_]\w*)+)", " ".join(rows))
    assert len(found) > 40
    for root, path in found:
        value = named[root]
        for name in path[1:].split("."):
            assert hasattr(value, name), f"{root}{path}"
            value = getattr(value, name)


def test_every_setting_is_told() -> None:
    told = {name.lower() for name in re.findall(r"`GRAPHC_(\w+)`", GUIDE.partition("| setting |")[2])}
    assert told == set(field_names(Settings))
