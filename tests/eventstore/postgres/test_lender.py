"""What a call is told that was tried until its deadline."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from psycopg import errors

from eventstore.model.errors import StorageUnavailableError
from eventstore.storages.postgres.connecting.lender import Lender, Result, Work

NO_CONNECTION = StorageUnavailableError("no connection was opened before the deadline")
DENIED = errors.InsufficientPrivilege("permission denied for schema kept")
LOST = errors.AdminShutdown("terminating connection due to administrator command")


class Failing(Lender):
    """Fails once in each of the given ways, and then in the last one."""

    def __init__(self, *ways: Exception) -> None:
        super().__init__()
        self._ways: Iterator[Exception] = iter(ways)
        self._last = ways[-1]

    def close(self) -> None:
        self._closed.set()

    def run_once(self, work: Work[Result], deadline: float) -> Result:
        raise next(self._ways, self._last)


@pytest.mark.parametrize(
    ("ways", "told"),
    [
        ([DENIED, NO_CONNECTION], "permission denied"),
        ([LOST, NO_CONNECTION], "no connection was opened"),
        ([DENIED, LOST, NO_CONNECTION], "no connection was opened"),
    ],
)
def test_who_was_denied_is_told_so_though_the_last_attempt_found_no_connection(
    ways: list[Exception], told: str
) -> None:
    """F36: a right that is missing is what somebody can give."""
    with pytest.raises(StorageUnavailableError, match=f"reading failed: .*{told}"):
        Failing(*ways).run(lambda _: None, time.monotonic() + 0.2, "reading failed")
