"""What an error of the server means for whoever sent the statement."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.storages.postgres.connecting.sqlstates import Reaction, reaction_to, translated


@pytest.mark.parametrize(
    ("error", "reaction"),
    [
        (errors.LockNotAvailable("x"), Reaction.RETRY),
        (errors.QueryCanceled("x"), Reaction.RETRY),
        (errors.DeadlockDetected("x"), Reaction.RETRY),
        (errors.SerializationFailure("x"), Reaction.RETRY),
        (errors.DiskFull("x"), Reaction.RETRY),
        (errors.TooManyConnections("x"), Reaction.RETRY),
        (errors.ReadOnlySqlTransaction("x"), Reaction.RECONNECT),
        (errors.AdminShutdown("x"), Reaction.LOST),
        (errors.CrashShutdown("x"), Reaction.LOST),
        (errors.ConnectionFailure("x"), Reaction.LOST),
        (psycopg.OperationalError("server closed the connection"), Reaction.LOST),
        (errors.InvalidSqlStatementName("x"), Reaction.UNPREPARED),
        (errors.DuplicatePreparedStatement("x"), Reaction.UNPREPARED),
        (errors.UniqueViolation("x"), Reaction.SINGLY),
        (errors.CheckViolation("x"), Reaction.SINGLY),
        (errors.CharacterNotInRepertoire("x"), Reaction.SINGLY),
        (errors.ProgramLimitExceeded("x"), Reaction.SINGLY),
        (psycopg.DataError("cannot dump"), Reaction.SINGLY),
        (errors.UndefinedTable("x"), Reaction.REFUSE),
        (errors.InvalidSchemaName("x"), Reaction.REFUSE),
        (errors.InsufficientPrivilege("x"), Reaction.DENIED),
        (errors.InvalidPassword("x"), Reaction.DENIED),
        (errors.InvalidAuthorizationSpecification("x"), Reaction.DENIED),
        (errors.InvalidCatalogName("x"), Reaction.DENIED),
        (errors.CannotConnectNow("x"), Reaction.RETRY),
    ],
)
def test_every_kind_of_error_has_its_reaction(error: psycopg.Error, reaction: Reaction) -> None:
    """G7, G25: one table says what may be sent again, and how."""
    assert reaction_to(error) is reaction


@pytest.mark.parametrize(
    ("error", "unavailable"),
    [
        (errors.LockNotAvailable("canceling statement due to lock timeout"), True),
        (errors.ReadOnlySqlTransaction("cannot execute INSERT"), True),
        (errors.UniqueViolation("duplicate key"), False),
        (errors.UndefinedTable("relation does not exist"), False),
    ],
)
def test_only_what_may_succeed_later_is_unavailable(
    error: psycopg.Error, unavailable: bool
) -> None:
    """G25: the type of our error says what to do."""
    ours = translated(error, "the append failed")
    assert isinstance(ours, StorageError)
    assert isinstance(ours, StorageUnavailableError) is unavailable
    assert ours.retryable is unavailable
    assert str(ours) == f"the append failed: {error}"


def test_no_password_gets_into_an_error() -> None:
    """G25, F39: whatever the driver puts into its own; nobody knows where a password ends."""
    error = psycopg.OperationalError("bad\n or\tworse postgresql://me:top@secret@host/db and more")
    assert (
        str(translated(error, "cannot connect")) == "cannot connect: bad or worse postgresql://***"
    )
