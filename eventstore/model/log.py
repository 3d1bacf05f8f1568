"""The library's logger: structlog over the standard logger ``eventstore``, silent by default.

An application that has configured structlog receives the log entries in its own processors.
Otherwise they are plain lines on `logging.getLogger("eventstore")`, shown once the application
configures logging. Nothing is logged per event of a stream.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, cast

import structlog
from structlog.typing import FilteringBoundLogger

__all__ = ["get_logger"]

_standard = logging.getLogger("eventstore")
_standard.addHandler(logging.NullHandler())


def _rendered(logger: logging.Logger, method: str, fields: MutableMapping[str, Any]) -> Any:
    """Pass the entry to the application's processors, or render ``event key=value …``."""
    if structlog.is_configured():
        return _through(structlog.get_config()["processors"], logger, method, fields)
    event, exc_info = str(fields.pop("event")), fields.pop("exc_info", None)
    line = " ".join([event, *(f"{key}={value!r}" for key, value in fields.items())])
    return (line,), {"exc_info": exc_info}


def _through(processors: Any, logger: Any, method: str, fields: Any) -> Any:
    for process in processors:
        fields = process(logger, method, fields)
    return fields


def get_logger(**context: Any) -> FilteringBoundLogger:
    """Return a logger that adds *context* to every entry."""
    logger = structlog.wrap_logger(
        _standard,
        processors=[structlog.stdlib.filter_by_level, _rendered],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return cast(FilteringBoundLogger, logger.bind(**context))
