"""Settings of a store: one frozen object, every value checked, secrets masked in its repr."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from eventstore.model.checks import (
    SHORTEST,
    check_bool,
    check_duration,
    check_int,
    check_text,
    shown,
)
from eventstore.model.dsn import masked, misplaced_at
from eventstore.model.payload_types import registered
from eventstore.model.safe_text import text_of
from eventstore.model.serializer import JsonSerializer, Serializer, Types, check_serializer

__all__ = ["MAX_SCHEMA_BYTES", "Config"]

MIB = 1024 * 1024

MAX_SCHEMA_BYTES = 56
"""The notification channel is ``SCHEMA_events``, and a name has at most 63 bytes in PostgreSQL."""


_MOST_SHOWN = 1_000
"""Characters of one value in the repr: serializer and types are the application's own."""


@dataclass(frozen=True)
class Config:
    """Settings of a store. Durations are in seconds.

    Attributes:
        dsn: A libpq connection string or URL, ``embedded:PATH`` or ``memory:``.
        schema: PostgreSQL schema that holds the store, 1 to 56 bytes. Defaults to ``eventstore``.
        pool_size: Most connections for reads and subscriptions, beside the four of the runtime.
            A read waits for a free one. Defaults to 10.
        connect_timeout: Time to reach the database and to check its schema; then
            `StorageUnavailableError`. Also the deadline of reads. Defaults to 5.
        append_timeout: Deadline of an append without a timeout of its own; then
            `StorageUnavailableError` or `OutcomeUnknownError`. Defaults to 15.
        caller_transaction_timeout: How long a transaction of the caller's own may be idle after an
            append with ``connection=``, and since PostgreSQL 17 how long it may last from there on;
            then the server ends its session. A shorter time that is set stays. Defaults to 10.
        max_queued_appends: Most appends waiting in the writer; then `TooManyAppendsError`.
            Defaults to 10,000.
        max_queued_bytes: Most bytes waiting in the writer; then `TooManyAppendsError`. A single
            larger append is accepted while nothing else waits. Defaults to 256 MiB.
        max_commit_bytes: Most bytes that share one commit; a larger append goes alone.
            Defaults to 8 MiB.
        migration_lock_timeout: Longest wait of a migration for a lock, and so the longest time
            that it holds up appends. Defaults to 5.
        allow_unsafe_durability: Accept a server with ``fsync`` off, and commit with whatever
            ``synchronous_commit`` a session has. Otherwise the former is refused, and every commit
            is at least as durable as with ``on``. Defaults to False.
        poll_interval: Time between two reads of head and pauses without a notification, and so
            the longest delay by a lost notification. Defaults to 1.
        lease: How long an owner keeps a subscription without a renewal, and so the longest
            takeover after a crash. Renewed every third of that time. Defaults to 10.
        stop_timeout: Longest wait for outstanding acknowledgements while closing. Defaults to 10.
        max_restarts: Crashes of one part within `restart_window` before the runtime stops.
            Defaults to 5.
        restart_window: Period over which `max_restarts` counts. Defaults to 30.
        listen_dsn: Connection string for LISTEN when `dsn` goes through a pooler. It must lead to
            the same database, and nothing is read through it: what is announced there only makes
            the store look through `dsn`. Defaults to `dsn`.
        enable_hard_deletes: Whether streams may be deleted for good. Defaults to False.
        types: Payload classes, by event type or as a list; unregistered types stay dicts.
            Defaults to none.
        serializer: Turns payloads into bytes and back. Defaults to JSON.

    Raises:
        TypeError, ValueError: A value is invalid; the message names it and shows the value.
    """

    dsn: str = field(repr=False)
    schema: str = field(default="eventstore", kw_only=True)
    pool_size: int = field(default=10, kw_only=True)
    connect_timeout: float = field(default=5.0, kw_only=True)
    append_timeout: float = field(default=15.0, kw_only=True)
    caller_transaction_timeout: float = field(default=10.0, kw_only=True)
    max_queued_appends: int = field(default=10_000, kw_only=True)
    max_queued_bytes: int = field(default=256 * MIB, kw_only=True)
    max_commit_bytes: int = field(default=8 * MIB, kw_only=True)
    migration_lock_timeout: float = field(default=5.0, kw_only=True)
    allow_unsafe_durability: bool = field(default=False, kw_only=True)
    poll_interval: float = field(default=1.0, kw_only=True)
    lease: float = field(default=10.0, kw_only=True)
    stop_timeout: float = field(default=10.0, kw_only=True)
    max_restarts: int = field(default=5, kw_only=True)
    restart_window: float = field(default=30.0, kw_only=True)
    listen_dsn: str | None = field(default=None, kw_only=True, repr=False)
    enable_hard_deletes: bool = field(default=False, kw_only=True)
    types: Types = field(default=(), kw_only=True)
    serializer: Serializer = field(default_factory=JsonSerializer, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.types, Mapping):
            # It is read more than once, and an iterator can be read only once.
            object.__setattr__(self, "types", tuple(self.types))
        _check_dsn("dsn", self.dsn)
        if self.listen_dsn is not None:
            _check_dsn("listen_dsn", self.listen_dsn)
        _check_schema(self.schema)
        for name in ("pool_size", "max_queued_appends", "max_queued_bytes", "max_commit_bytes"):
            check_int(name, getattr(self, name), least=1)
        check_int("max_restarts", self.max_restarts, least=0)
        for name in _DURATIONS:
            check_duration(name, getattr(self, name), least=_LEAST.get(name, SHORTEST))
        for name in ("allow_unsafe_durability", "enable_hard_deletes"):
            check_bool(name, getattr(self, name))
        check_serializer(self.serializer)
        registered(self.types, self.serializer)

    def __repr__(self) -> str:
        shown_fields = [f"dsn={masked(self.dsn)!r}"]
        if self.listen_dsn is not None:
            shown_fields.append(f"listen_dsn={masked(self.listen_dsn)!r}")
        others = ((f.name, getattr(self, f.name)) for f in fields(self) if f.repr)
        shown_fields += [f"{name}={text_of(value, _MOST_SHOWN)}" for name, value in others]
        return f"Config({', '.join(shown_fields)})"

    @classmethod
    def from_env(
        cls,
        prefix: str = "EVENTSTORE_",
        environ: Mapping[str, str] | None = None,
        **overrides: Any,
    ) -> Config:
        """Return the settings found in environment variables, ``EVENTSTORE_DSN`` and so on.

        Args:
            prefix: Start of the variables' names; the rest is the field in upper case.
            environ: Read instead of `os.environ`.
            overrides: Fields that take precedence, and fields that text cannot express.

        Raises:
            ValueError: The DSN is missing, or a variable cannot be read; the message names it.
        """
        source = os.environ if environ is None else environ
        values: dict[str, Any] = {
            name: _parsed(f"{prefix}{name.upper()}", source[f"{prefix}{name.upper()}"], parse)
            for name, parse in _PARSERS.items()
            if f"{prefix}{name.upper()}" in source
        }
        values.update(overrides)
        if "dsn" not in values:
            raise ValueError(f"{prefix}DSN is not set, and no dsn was given")
        return cls(**values)


_LEAST = {"lease": 3 * SHORTEST}
"""A lease is renewed every third of it."""

_DURATIONS = (
    "connect_timeout",
    "append_timeout",
    "caller_transaction_timeout",
    "migration_lock_timeout",
    "poll_interval",
    "lease",
    "stop_timeout",
    "restart_window",
)


def _flag(text: str) -> bool:
    match text.strip().lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off" | "":
            return False
    raise ValueError("not one of true, false")


_PARSERS: dict[str, Callable[[str], object]] = {
    "dsn": str,
    "schema": str,
    "listen_dsn": str,
    "pool_size": int,
    "max_queued_appends": int,
    "max_queued_bytes": int,
    "max_commit_bytes": int,
    "max_restarts": int,
    "allow_unsafe_durability": _flag,
    "enable_hard_deletes": _flag,
    **dict.fromkeys(_DURATIONS, float),
}


def _parsed(variable: str, text: str, parse: Callable[[str], object]) -> object:
    try:
        return parse(text)
    except ValueError as error:
        shown_text = "a secret" if variable.endswith("DSN") else repr(text)
        raise ValueError(f"{variable} cannot be read: {shown_text} ({error})") from None


def _check_dsn(name: str, value: object) -> None:
    """Refuse what is not text, without showing it: it may hold a password."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if not value or "\x00" in value:
        raise ValueError(f"{name} must be text without NUL, not empty")
    if misplaced_at(value):
        raise ValueError(
            f"{name} has more than one '@' before its options, or one in its path: write '%40' for"
            " '@' and '%2F' for '/' in a password"
        )


def _check_schema(value: object) -> None:
    schema = check_text("schema", value, most_bytes=MAX_SCHEMA_BYTES)
    if schema.startswith("pg_") or schema == "information_schema":
        raise ValueError(f"schema must not be one of PostgreSQL's own: {shown(schema)}")
