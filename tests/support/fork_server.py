"""A server that forks the processes of the tests from one that has imported everything.

To start an interpreter and import the library costs a third of a second of processor time; a fork
costs a few milliseconds. A fork runs a module like ``python -m``, and ends like an interpreter:
with its exit code, its output flushed, its exit handlers run. See `tests.support.forked`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import random
import runpy
import signal
import socket
import sys
import threading
import time
import warnings
from io import TextIOWrapper
from typing import Any, TextIO

import eventstore
import eventstore_actors

_PROGRAMS = ("tests.support.service", "tests.torture.readers", "tests.torture.writers")


def import_everything() -> None:
    """Import the library and the programs, so that no fork has to."""
    for package in (eventstore, eventstore_actors):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for program in _PROGRAMS:
        importlib.import_module(program)


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork once for each request.

    Returns:
        In a fork, the request. In the server, None when the other end of *requests* is closed.
    """
    while True:
        message, received, _, _ = socket.recv_fds(requests, 1, 5)
        if not message:
            return None
        assert threading.active_count() == 1, "only one thread survives a fork"
        request_file, status, *streams = received
        if os.fork() == 0:
            requests.close()
            with open(request_file, encoding="utf-8") as file:  # noqa: PTH123
                request: dict[str, Any] = json.load(file)
            _accompany(status)
            os.close(status)
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            return request
        for descriptor in received:
            os.close(descriptor)


def _accompany(status: int) -> None:
    """Fork the process that was asked for, and return in it.

    Its parent stays to write the process id and later the exit code to *status*.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        return
    os.write(status, b"%d\n" % pid)
    _, ended = os.waitpid(pid, 0)
    os.write(status, b"%d\n" % os.waitstatus_to_exitcode(ended))
    os._exit(0)


def become(request: dict[str, Any]) -> None:
    """Set this fork up as a freshly started interpreter."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    random.seed()
    if os.environ.get("PYTHONWARNINGS") == "default":
        warnings.simplefilter("default")
    sys.argv = request["arguments"]
    sys.stdin = _reopened(sys.stdin, "r")
    sys.stdout = _reopened(sys.stdout, "w")
    sys.stderr = _reopened(sys.stderr, "w")
    sys.stderr.reconfigure(line_buffering=True)


def _reopened(stream: TextIO, mode: str) -> TextIOWrapper:
    """Open the file that is behind *stream* now, with its encoding."""
    number = stream.fileno()
    reopened = open(  # noqa: SIM115 -- it stays open until the end
        number, mode, encoding=stream.encoding, errors=stream.errors, closefd=False
    )
    assert isinstance(reopened, TextIOWrapper)
    return reopened


def main() -> None:
    """Serve on the socket whose number is the argument, until its other end is closed."""
    import_everything()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        request = serve(requests)
    if request is not None:
        become(request)
        runpy.run_module(request["module"], run_name="__main__")


if __name__ == "__main__":
    main()
