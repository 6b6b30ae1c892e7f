"""Runs Triton sources on NumPy arrays in Triton's interpreter: no GPU, no PyTorch.

Triton decides at import whether it interprets, so that happens in a child process, `python -m` this module, which
takes requests over a pipe. It is exact about what a kernel computes and slow: for tests, and to try things out.
"""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from graphc.dataclass import dataclass
from graphc.errors import CompileError

from .control import BoundLaunch


@dataclass(frozen=True)
class Request:
    """Launches to carry out in order on regions of memory, which are arrays of bytes."""

    modules: tuple[str, ...]
    launches: tuple[BoundLaunch, ...]
    regions: tuple[np.ndarray, ...]


class Interpreter:
    """A child process that interprets. Starts at the first request; `close`, or leaving a `with`, ends it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def run(
        self, modules: Sequence[str], launches: Sequence[BoundLaunch], regions: Sequence[np.ndarray]
    ) -> None:
        """Carry out launches; what they change in the regions is changed here. Regions are one-dimensional, uint8.

        Raises CompileError with Triton's own text where a source fails."""
        for region, result in zip(regions, self.results(modules, launches, regions), strict=True):
            region[:] = result

    def results(
        self, modules: Sequence[str], launches: Sequence[BoundLaunch], regions: Sequence[np.ndarray]
    ) -> Sequence[np.ndarray]:
        """What `run` would leave in the regions."""
        answer: Any = None
        try:
            answer = self._ask(Request(tuple(modules), tuple(launches), tuple(regions)))
        except (EOFError, BrokenPipeError) as error:
            raise CompileError("Triton's interpreter ended before it answered") from error
        finally:
            if answer is None:  # interrupted, or at its end: the next request must not read this one's answer
                self.close()
        if isinstance(answer, str):
            raise CompileError("Triton's interpreter refused a source", got=answer)
        found: Sequence[np.ndarray] = answer
        return found

    def _ask(self, request: Request) -> Any:
        if self._process is None:
            command = [sys.executable, "-m", "graphc.backends.triton.interpret"]
            environment = {**os.environ, "TRITON_INTERPRET": "1"}
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            )
        assert self._process.stdin and self._process.stdout
        _send(self._process.stdin, request)
        return _receive(self._process.stdout)

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin and self._process.stdout
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _send(pipe: IO[bytes], message: object) -> None:
    data = pickle.dumps(message, protocol=5)
    pipe.write(struct.pack("<q", len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    head = pipe.read(8)
    if len(head) < 8:
        raise EOFError("the other side of the pipe has gone")
    return pickle.loads(pipe.read(struct.unpack("<q", head)[0]))


def serve() -> None:
    """The child process: answer requests until the pipe closes. Prints go to stderr, the pipe carries answers."""
    from .interpreter import run_launches

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            request: Request = _receive(sys.stdin.buffer)
        except EOFError:
            return
        regions = [np.array(r) for r in request.regions]
        try:
            run_launches(request.modules, request.launches, regions)
        except Exception as error:  # whatever a source provokes is the caller's to see
            _send(answers, f"{type(error).__name__}: {error}")
        else:
            _send(answers, regions)


if __name__ == "__main__":
    serve()
