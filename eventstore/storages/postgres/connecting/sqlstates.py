"""One table of PostgreSQL's error codes, and how to react to each."""

from __future__ import annotations

from enum import Enum

import psycopg

from eventstore.model.dsn import scrubbed
from eventstore.model.errors import SchemaVersionError, StorageError, StorageUnavailableError

__all__ = [
    "FENCED",
    "LOCK_NOT_AVAILABLE",
    "Reaction",
    "at_once",
    "reaction_to",
    "refused",
    "translated",
    "unanswered",
]


LOCK_NOT_AVAILABLE = "55P03"

FENCED = "ES020"


class Reaction(Enum):
    """The reaction to an error. Nothing was written, except perhaps with LOST."""

    LOST = "lost"
    """The connection is gone, and whether the statement was done is unknown."""
    RETRY = "retry"
    """The same statement may succeed later."""
    RECONNECT = "reconnect"
    """The same statement may succeed on another connection: this server takes no writes."""
    UNPREPARED = "unprepared"
    """A pooler mixed up prepared statements: send it again, and prepare nothing any more."""
    SINGLY = "singly"
    """One of several items that were sent together may be the cause: try them one by one."""
    DENIED = "denied"
    """It may succeed later, but only if somebody lets us in, or gives us the right."""
    REFUSE = "refuse"
    """It cannot succeed until the server or the schema is changed."""


_REACTIONS = {
    # Exact codes first, classes of two characters after them.
    "57P01": Reaction.LOST,  # admin_shutdown, also a terminated backend
    "57P02": Reaction.LOST,  # crash_shutdown
    "57P03": Reaction.RETRY,  # cannot_connect_now: it is starting up
    "57P05": Reaction.RECONNECT,  # idle_session_timeout
    "25P03": Reaction.RECONNECT,  # idle_in_transaction_session_timeout
    "25006": Reaction.RECONNECT,  # read_only_sql_transaction: after a failover
    "26000": Reaction.UNPREPARED,  # invalid_sql_statement_name
    "42P05": Reaction.UNPREPARED,  # duplicate_prepared_statement
    "0A000": Reaction.UNPREPARED,  # cached plan must not change result type
    LOCK_NOT_AVAILABLE: Reaction.RETRY,
    "57014": Reaction.RETRY,  # query_canceled, by statement_timeout or by hand
    "55000": Reaction.RETRY,  # object_not_in_prerequisite_state
    "58030": Reaction.RETRY,  # io_error
    "42501": Reaction.DENIED,  # insufficient_privilege
    "ES010": Reaction.REFUSE,  # ours: not under read committed
    "ES011": Reaction.REFUSE,  # ours: the row of write_lock is missing
    "ES012": Reaction.REFUSE,  # ours: another store than the one that was connected to
    "ES013": Reaction.REFUSE,  # ours: fsync is off
    FENCED: Reaction.REFUSE,  # ours: the fence of a checkpoint does not match
    "08": Reaction.LOST,  # connection exceptions
    "0P": Reaction.DENIED,  # invalid role specification
    "22": Reaction.SINGLY,  # data exceptions
    "23": Reaction.SINGLY,  # integrity constraints
    "28": Reaction.DENIED,  # invalid authorization: password, role, pg_hba.conf
    "3D": Reaction.DENIED,  # invalid catalog name: no such database
    "40": Reaction.RETRY,  # transaction rollback: deadlock, serialization
    "53": Reaction.RETRY,  # insufficient resources: disk, memory, connections
    "54": Reaction.SINGLY,  # program limits: too large
}

_BEFORE_THE_STATEMENT = {"57P03", "57P05", "25P03"}
"""Codes that end a session only while it waits for a statement, and so before it reads ours."""

_NOT_OUR_SCHEMA = {
    "ES012",
    "3F000",  # invalid_schema_name
    "42P01",  # undefined_table
    "42883",  # undefined_function
}
"""The schema was renamed, made anew or dropped, or is being restored."""

_NOT_FOUND = {"42P01", "42883"}
"""Codes of what a session without the right to use a schema does not find in it."""


def reaction_to(error: psycopg.Error) -> Reaction:
    """Return the reaction to *error*. Without a code, the connection was lost."""
    code = error.sqlstate
    if code is None:
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return Reaction.LOST if lost else Reaction.SINGLY
    fatal = error.diag.severity_nonlocalized in {"FATAL", "PANIC"}
    if fatal and code not in _BEFORE_THE_STATEMENT:
        return Reaction.LOST
    if _lost_the_schema(error):
        return Reaction.DENIED
    return _REACTIONS.get(code) or _REACTIONS.get(code[:2]) or Reaction.REFUSE


def unanswered() -> psycopg.Error:
    """Say that a deadline closed a socket here. The driver blames the server for it."""
    return psycopg.OperationalError("no answer came before the deadline")


def translated(error: psycopg.Error, doing: str) -> StorageError:
    """Return *error* as an error of the library, to raise ``from error``.

    A store that has worked waits until it is let in again, so a denial is unavailability.

    Args:
        error: As psycopg raised it.
        doing: What failed, for the message.
    """
    text = f"{doing}: {scrubbed(_one_line(error))}"
    reaction = reaction_to(error)
    if reaction is Reaction.REFUSE and error.sqlstate in _NOT_OUR_SCHEMA:
        return SchemaVersionError(text, found=None, expected=None)
    match reaction:
        case Reaction.LOST | Reaction.RETRY | Reaction.RECONNECT | Reaction.DENIED:
            return StorageUnavailableError(text)
        case Reaction.UNPREPARED | Reaction.SINGLY | Reaction.REFUSE:
            return StorageError(text)


def refused(error: psycopg.Error, doing: str) -> StorageError:
    """Do what `translated` does for a call that is told of a denial instead of waiting."""
    ours = translated(error, doing)
    return StorageError(str(ours)) if reaction_to(error) is Reaction.DENIED else ours


def at_once(error: StorageUnavailableError) -> StorageError:
    """Return *error* for who opens the store: a denial is told instead of waited out."""
    cause = error.__cause__
    denied = isinstance(cause, psycopg.Error) and reaction_to(cause) is Reaction.DENIED
    return StorageError(str(error)) if denied else error


def _lost_the_schema(error: psycopg.Error) -> bool:
    """Return whether one of our functions was found, and then did not find the rest of its schema.

    PostgreSQL leaves a schema that the role may not use any more out of the search path. If it was
    dropped instead, the next call does not find the function either.
    """
    return error.sqlstate in _NOT_FOUND and bool(error.diag.context)


def _one_line(error: psycopg.Error) -> str:
    words = error.diag.message_primary or str(error) or type(error).__name__
    if (error.sqlstate or "").startswith("ES"):
        words = f"{words}. {error.diag.message_hint}"
    if error.sqlstate == "3F000":
        words = f"{words}. Was it renamed or dropped?"
    return " ".join(words.split())
