"""The library's log: structlog if the application configured it, else the logger ``eventstore``.

An application that configured structlog receives the entries as those of its own loggers, through
its processors, wrapper class and logger factory. Otherwise they are plain lines of the standard
library; without any configuration, warnings and errors appear on stderr. Nothing is logged per
event of a stream.
"""

from __future__ import annotations

import inspect
import logging
import threading
from typing import Any

import structlog

__all__ = ["Logger", "get_logger"]

_NAME = "eventstore"

_standard = logging.getLogger(_NAME)

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_CALLER = 4
"""Frames from `Logger.log` in the standard library to the line that logs."""


class Logger:
    """Writes entries with a context. Nothing that a configured log does is raised to the caller.

    A field named ``exception`` holds the text of a traceback.
    """

    def __init__(self, context: dict[str, Any]) -> None:
        self._context = context

    def bind(self, **context: Any) -> Logger:
        """Return a logger that also adds *context* to every entry."""
        return Logger({**self._context, **context})

    def debug(self, event: str, **fields: Any) -> None:
        self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write("error", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Log an error with the traceback of the exception that is being handled."""
        self._write("error", event, {"exc_info": True, **fields})

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        """Write to structlog; to the standard library without it, or if that fails."""
        entry = {**self._context, **fields}
        try:
            if structlog.is_configured():
                _to_structlog(level, event, entry)
                return
        except BaseException as error:  # noqa: BLE001 - a log must not end the thread that logs
            _let_interrupts_pass(error)
        try:
            _to_standard(level, event, entry)
        except BaseException as error:  # noqa: BLE001 - the same
            _let_interrupts_pass(error)


def _to_structlog(level: str, event: str, entry: dict[str, Any]) -> None:
    # A new one each time: the application may configure it, or configure it anew, at any time.
    written = getattr(structlog.get_logger(_NAME), level)(event, **entry)
    if inspect.iscoroutine(written):
        written.close()
        raise TypeError("the configured wrapper class is for coroutines")


def _to_standard(level: str, event: str, entry: dict[str, Any]) -> None:
    if not _standard.isEnabledFor(_LEVELS[level]):
        return
    shown = dict(entry)
    exc_info, text = shown.pop("exc_info", None), shown.pop("exception", None)
    line = " ".join([event, *(f"{key}={value!r}" for key, value in shown.items())])
    if text is not None:
        line = f"{line}\n{text}"
    _standard.log(_LEVELS[level], line, exc_info=exc_info, stacklevel=_CALLER)


def _let_interrupts_pass(error: BaseException) -> None:
    """Raise *error* if it is a Ctrl-C, or another end, that the main thread has to hear of."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and not isinstance(error, Exception):
        raise error


def get_logger(**context: Any) -> Logger:
    """Return a logger that adds *context* to every entry."""
    return Logger(context)
