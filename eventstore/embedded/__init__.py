"""A private PostgreSQL server in a folder. Knows nothing of events and streams."""

from __future__ import annotations

import sys

from eventstore.model.errors import StorageError

if sys.platform == "win32":
    raise StorageError(
        "the embedded server needs Linux or macOS: use WSL, or connect to a server by its DSN"
    )

from eventstore.embedded.home import NoServerError
from eventstore.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer", "NoServerError"]
