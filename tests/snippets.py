"""What a user sees of an error: a few lines of a user's program in, the message and the frames that are shown out."""

import linecache
import traceback
from dataclasses import dataclass

import numpy as np

import graphc as gx
from graphc import nn, optim

FILE = "user.py"


@dataclass(frozen=True)
class Seen:
    """`frames`: the files of the traceback's frames, outermost first."""

    error: Exception
    text: str
    frames: list[str]


def seen(source: str) -> Seen:
    """Run lines that fail. Fails itself if they do not."""
    linecache.cache[FILE] = (len(source), None, source.splitlines(keepends=True), FILE)
    names = {"np": np, "gx": gx, "nn": nn, "optim": optim, "__name__": "user"}
    try:
        exec(compile(source, FILE, "exec"), names)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[1:]  # without our own
        return Seen(error, f"{type(error).__name__}: {error}", [f.filename for f in frames])
    raise AssertionError(f"nothing was raised by\n{source}")
