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
    """Child processes that interpret, one for each request that is under way: a signal handler may come in the middle
    of one. The first starts with the first request; `close`, or leaving a `with`, ends all."""

    def __init__(self) -> None:
        self._idle: list[subprocess.Popen[bytes]] = []

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
        try:
            process = self._idle.pop()
        except IndexError:
            process = _start()
        answer: Any = None
        try:
            answer = _ask(process, Request(tuple(modules), tuple(launches), tuple(regions)))
        except (EOFError, BrokenPipeError) as error:
            raise CompileError("Triton's interpreter ended before it answered") from error
        finally:
            if answer is None:  # interrupted, or at its end: nobody else must be given this answer
                _end(process)
            else:
                self._idle.append(process)
        if isinstance(answer, str):
            raise CompileError("Triton's interpreter refused a source", got=answer)
        found: Sequence[np.ndarray] = answer
        return found

    def close(self) -> None:
        while self._idle:
            _end(self._idle.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _start() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "graphc.backends.triton.interpret"]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def _ask(process: subprocess.Popen[bytes], request: Request) -> Any:
    assert process.stdin and process.stdout
    _send(process.stdin, request)
    return _receive(process.stdout)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin and process.stdout
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    process.wait()


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
