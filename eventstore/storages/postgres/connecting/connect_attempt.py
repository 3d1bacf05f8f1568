"""Attempts to connect to the servers of a connection string, each ended by its deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psycopg
from psycopg.pq.abc import PGconn

from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.storages.postgres.connecting.login import coded, log_in
from eventstore.storages.postgres.connecting.servers import Server, addresses, servers
from eventstore.storages.postgres.connecting.sqlstates import Reaction, reaction_to, translated

__all__ = ["Attempt", "Attempts", "Refusals", "Revive"]

Raw = TypeVar("Raw", bound=psycopg.Connection[Any])

Revive = Callable[[], bool]
"""Starts a server of our own again if it has died; returns whether it did."""

_MOST = 8
"""Attempts at once; more than a storage makes while each of them ends in time."""

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0


class Refusals:
    """Servers that refused our log-in, and until when not to ask them again. From any thread.

    Many connections want to log in at once, and servers lock an account after a few failures.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: dict[Server, _Refusal] = {}

    def check(self, server: Server, now: float) -> None:
        """Raise the last error of *server* while it must not be asked."""
        with self._lock:
            noted = self._noted.get(server)
        if noted is not None and now < noted.until:
            raise coded(noted.code, noted.text)

    def note(self, server: Server, error: psycopg.Error, now: float) -> None:
        """Note that *server* refused us at *now*. Each pause is twice as long as the one before."""
        with self._lock:
            noted = self._noted.get(server)
            # Others that asked at the same time were refused for the same reason.
            if noted is None or noted.until <= now:
                pause = _FIRST_PAUSE if noted is None else min(2 * noted.pause, _LONGEST_PAUSE)
                code = error.sqlstate or ""
                self._noted[server] = _Refusal(pause, now + pause, code, str(error))

    def forget(self, server: Server) -> None:
        with self._lock:
            self._noted.pop(server, None)


@dataclass(frozen=True, slots=True)
class _Refusal:
    pause: float
    until: float
    code: str
    text: str


class Attempts:
    """What the attempts of one connector share."""

    def __init__(self, refusals: Refusals | None = None) -> None:
        self.refusals = refusals or Refusals()
        self._places = threading.Semaphore(_MOST)

    def enter(self) -> None:
        """Take a place; `leave` frees it.

        Raises:
            StorageUnavailableError: Many attempts have not ended, long after their deadlines.
        """
        if not self._places.acquire(blocking=False):
            raise StorageUnavailableError(
                f"cannot connect: {_MOST} attempts have not ended; does name resolution hang?"
            )

    def leave(self) -> None:
        self._places.release()


class Attempt(threading.Thread, Generic[Raw]):
    """An attempt to connect, in a thread: the resolver of names obeys no deadline."""

    def __init__(
        self,
        kind: type[Raw],
        conninfo: str,
        deadline: float,
        attempts: Attempts,
        revive: Revive | None = None,
    ) -> None:
        super().__init__(name="eventstore-connect", daemon=True)
        self._kind = kind
        self._conninfo = conninfo
        self._deadline = deadline
        self._attempts = attempts
        self._revive = revive
        self._settled = threading.Lock()
        self._done = threading.Event()
        self._abandoned = False
        self._raw: Raw | None = None
        self._error: Exception | None = None

    def start(self) -> None:
        """Begin, unless many have not ended; see `Attempts.enter`."""
        self._attempts.enter()
        try:
            super().start()
        except RuntimeError as error:
            self._attempts.leave()
            raise StorageUnavailableError("cannot connect: no thread can be started") from error

    def run(self) -> None:
        try:
            self._hand_over(self._connect_or_revive())
        except Exception as error:  # noqa: BLE001 - raised again where the result is waited for
            self._error = error
        finally:
            self._attempts.leave()
            self._done.set()

    def result(self) -> Raw:
        """Return the connection. Raise at the deadline without one."""
        try:
            self._done.wait(max(0.0, self._deadline - time.monotonic()))
        except BaseException:
            # Ctrl-C, for instance: nobody will use the connection.
            if (raw := self._settle()) is not None:
                raw.close()
            raise
        if (raw := self._settle()) is not None:
            return raw
        match self._error:
            case psycopg.Error() as error:
                raise translated(error, "cannot connect") from error
            case StorageError() as error:
                raise error
            case Exception() as error:
                raise StorageUnavailableError(
                    f"cannot connect: unexpected {type(error).__name__}"
                ) from error
            case None:
                raise StorageUnavailableError("cannot connect: no answer before the deadline")

    def _settle(self) -> Raw | None:
        """Return the connection, if there is one; a later one is closed."""
        with self._settled:
            self._abandoned = True
            return self._raw

    def abandon(self) -> None:
        """Make `result` give up now."""
        self._done.set()

    def _hand_over(self, raw: Raw) -> None:
        with self._settled:
            if not self._abandoned:
                self._raw = raw
                return
        raw.close()

    # ── in the thread ────────────────────────────────────────────────────────────────────────────

    def _connect_or_revive(self) -> Raw:
        try:
            return self._connect()
        except psycopg.OperationalError:
            if self._revive is None or not self._revive():
                raise
            return self._connect()

    def _connect(self) -> Raw:
        named = servers(self._conninfo)
        errors: list[list[psycopg.Error]] = []
        for place, server in enumerate(named):
            errors.append([])
            until = self._share(len(named) - place, self._deadline)
            pgconn = self._try(server, until, errors[-1])
            if pgconn is not None:
                raw = self._kind(pgconn)
                raw.autocommit = True
                raw.prepare_threshold = None
                return raw
        raise _summary(errors)

    def _try(self, server: Server, until: float, errors: list[psycopg.Error]) -> PGconn | None:
        """Log in at one of the addresses of *server*. Note the errors of the others."""
        try:
            found = addresses(server)
        except psycopg.Error as error:
            errors.append(error)
            return None
        for place, address in enumerate(found):
            try:
                return self._log_in(address, self._share(len(found) - place, until))
            except psycopg.Error as error:
                errors.append(error)
        return None

    def _log_in(self, address: Server, until: float) -> PGconn:
        self._attempts.refusals.check(address, time.monotonic())
        try:
            pgconn = log_in(address.within(self._conninfo), until)
        except psycopg.Error as error:
            if reaction_to(error) is Reaction.DENIED:
                self._attempts.refusals.note(address, error, time.monotonic())
            raise
        self._attempts.refusals.forget(address)
        return pgconn

    @staticmethod
    def _share(count: int, until: float) -> float:
        """Return the deadline of the first of *count* tries that have to end by *until*."""
        now = time.monotonic()
        return now + (until - now) / count


def _summary(errors: Sequence[Sequence[psycopg.Error]]) -> psycopg.Error:
    """Return one error for those of every server: denied only if each server denied.

    One that did not answer, or that is starting, may take us later. The addresses of one server
    are ways to it, so one that denied stands for all.
    """
    denials = [[e for e in each if reaction_to(e) is Reaction.DENIED] for each in errors]
    telling = [found or each for found, each in zip(denials, errors, strict=True)]
    text = "; ".join(dict.fromkeys(str(error) for each in telling for error in each))
    passing = [each[-1] for each, found in zip(errors, denials, strict=True) if not found]
    chosen = passing[0] if passing else telling[0][0]
    code = chosen.sqlstate
    return psycopg.OperationalError(text) if code is None else coded(code, text)
