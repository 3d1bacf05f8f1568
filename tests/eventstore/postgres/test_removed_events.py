"""What a hard delete leaves behind: versions stay used, and every process is told to forget."""

from __future__ import annotations

from tests.conformance.port.conftest import User
from tests.eventstore.postgres.conftest import Psql


def remove(psql: Psql, schema: str, position: int, floor: int) -> None:
    """Remove one event, as a hard delete will do, from a stream that had reached *floor*."""
    with psql.connection.transaction():
        psql("SELECT {}.lock_head(1000)")
        psql(
            "SELECT set_config('eventstore.hard_delete', %s || ':' || pg_current_xact_id(), true)",
            schema,
        )
        psql(
            "INSERT INTO {}.tombstones SELECT global_position, global_position, stream_id, now()"
            " FROM {}.events JOIN {}.streams USING (stream_no) WHERE global_position = %s",
            position,
        )
        psql("DELETE FROM {}.events WHERE global_position = %s", position)
        psql("UPDATE {}.streams SET version_floor = %s", floor)


def test_a_removed_version_is_never_given_out_again(user: User, psql: Psql, schema: str) -> None:
    """G2, G3: who decided on the removed event is not told that nothing happened since."""
    user.store("order-1", 3)
    remove(psql, schema, 3, floor=3)
    owned = user.own("shipping", "order-1")
    assert owned.head == 3
    assert user.keep(owned.fence, 3).checkpoint == 3

    result = user.store("order-1").results[0]

    assert (result.first_version, result.first_global_position) == (4, 4)


def test_each_deletion_has_a_higher_number(user: User, psql: Psql, schema: str) -> None:
    """G13: by which a process notices that what it holds in memory was deleted."""
    user.store("order-1", 3)
    listener = user.storage.head_listener()
    numbers = [listener.wait(5).deletion_no]
    for position in (2, 3):
        remove(psql, schema, position, floor=3)
        numbers.append(listener.wait(0.01).deletion_no)
    listener.close()
    assert numbers == [0, 1, 2]
