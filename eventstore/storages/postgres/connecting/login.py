"""Logs in to one server by a deadline, and says by a code why it was refused.

libpq keeps the server's error code of a refused log-in to itself, and its words may be in any
language. At its most verbose it writes the code into them. psycopg has no function for that, so it
is called in the library that psycopg uses, as psycopg documents it for `PGconn.pgconn_ptr`. Without
the function a refused log-in is an error without a code.
"""

from __future__ import annotations

import ctypes
import re
import selectors
import sys
import time
from collections.abc import Callable

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGconn
from psycopg.pq.misc import find_libpq_full_path

__all__ = ["coded", "log_in"]

_USUAL, _VERBOSE = 1, 2
"""PQERRORS_DEFAULT, PQERRORS_VERBOSE"""

_INVALID_AUTHORIZATION = "28P01"

# libpq writes "FATAL:  28P01: words", the severity translated, and in the end where in the source.
_CODE = re.compile(r"(?<=:  )([0-9A-Z]{5}): ")
_SOURCE = re.compile(r"\n\S+:  \w+, \S+:\d+$", re.MULTILINE)

_Selector = getattr(selectors, "PollSelector", selectors.DefaultSelector)


def _found_setter() -> Callable[[int, int], object] | None:
    """Return libpq's PQsetErrorVerbosity; None if it is not found."""
    try:
        path = sys.modules[pq.PGconn.__module__].__file__
        if pq.__impl__ == "python":
            path = find_libpq_full_path()
        function = ctypes.CDLL(path).PQsetErrorVerbosity
    except (AttributeError, KeyError, OSError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return function


_set_verbosity = _found_setter()


def log_in(conninfo: str, deadline: float) -> PGconn:
    """Return a connection to the one server of *conninfo*. An address in it is not looked up.

    Raises:
        psycopg.Error: It was refused; with the code, if the server gave one.
    """
    pgconn = pq.PGconn.connect_start(conninfo.encode())
    try:
        _finish(pgconn, deadline)
    except BaseException:
        pgconn.finish()
        raise
    pgconn.nonblocking = 1
    return pgconn


def _finish(pgconn: PGconn, deadline: float) -> None:
    _be(_VERBOSE, pgconn)
    status = pq.PollingStatus.WRITING
    while status != pq.PollingStatus.OK:
        if status == pq.PollingStatus.FAILED or pgconn.status == pq.ConnStatus.BAD:
            raise _refusal(pgconn)
        if not _is_ready(pgconn.socket, status, deadline):
            raise psycopg.errors.ConnectionTimeout("no answer before the deadline")
        status = pq.PollingStatus(pgconn.connect_poll())
    _be(_USUAL, pgconn)


def _be(verbosity: int, pgconn: PGconn) -> None:
    """Set how much the errors of *pgconn* say, if that can be done."""
    if _set_verbosity is not None:
        # Documented, but not in the protocol that psycopg declares.
        _set_verbosity(pgconn.pgconn_ptr, verbosity)  # type: ignore[attr-defined]


def _is_ready(fileno: int, status: pq.PollingStatus, deadline: float) -> bool:
    reading = status == pq.PollingStatus.READING
    with _Selector() as selector:
        selector.register(fileno, selectors.EVENT_READ if reading else selectors.EVENT_WRITE)
        return bool(selector.select(max(0.0, deadline - time.monotonic())))


def _refusal(pgconn: PGconn) -> psycopg.Error:
    text = pgconn.error_message.decode(errors="replace").strip()
    found = _CODE.search(text)
    if found is not None:
        return coded(found[1], _SOURCE.sub("", text[: found.start()] + text[found.end() :]))
    if pgconn.needs_password:
        return coded(_INVALID_AUTHORIZATION, text)
    return psycopg.OperationalError(text)


def coded(code: str, text: str) -> psycopg.Error:
    """Return the error that psycopg has for *code*."""
    try:
        kind = psycopg.errors.lookup(code)
    except KeyError:
        kind = psycopg.OperationalError
    error = kind(text)
    error.sqlstate = code
    return error
