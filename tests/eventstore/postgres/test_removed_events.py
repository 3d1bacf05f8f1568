"""What a hard delete leaves behind: versions stay used, and every process is told to forget."""

from __future__ import annotations

from eventstore import Config, EventData, Events, EventStore
from eventstore.ports.changes import Deletion
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User
from tests.eventstore.postgres.conftest import Psql
from tests.support.waiting import PATIENCE, wait_until


def remove(psql: Psql, position: int, floor: int) -> None:
    """Remove one event of a stream that stays and had reached *floor*."""
    with psql.connection.transaction():
        psql("SELECT {}.lock_head(1000)")
        psql("SELECT {}.allow_hard_delete()")
        psql(
            "INSERT INTO {}.deletions SELECT 1 + count(*), -%s, 'gone', now(), now()"
            " FROM {}.deletions",
            position,
        )
        psql(
            "INSERT INTO {}.tombstones SELECT %s, %s, max(deletion_no) FROM {}.deletions",
            position,
            position,
        )
        psql("DELETE FROM {}.events WHERE global_position = %s", position)
        psql("UPDATE {}.streams SET version_floor = %s", floor)


def test_a_removed_version_is_never_given_out_again(user: User, psql: Psql) -> None:
    """G2, G3: who decided on the removed event is not told that nothing happened since."""
    user.store("order-1", 3)
    remove(psql, 3, floor=3)
    owned = user.own("shipping", "order-1")
    assert owned.head == 3
    assert user.keep(owned.fence, 3).checkpoint == 3

    result = user.store("order-1").results[0]

    assert (result.first_version, result.first_global_position) == (4, 4)


def test_each_deletion_has_a_higher_number(user: User) -> None:
    """G13: by which a process notices that what it holds in memory was deleted."""
    listener = user.storage.head_listener()
    numbers = [listener.wait(PATIENCE).deletion_no]
    for stream in ("order-1", "order-2"):
        user.store(stream)
        user.storage.delete_stream(Deletion(stream, 1, hard=True), soon())
        numbers.append(listener.wait(0.01).deletion_no)
    listener.close()
    assert numbers == [0, 1, 2]


def test_a_parked_event_that_is_gone_holds_up_its_stream_until_it_is_retried(
    user: User, config: Config, psql: Psql
) -> None:
    """G38: the others of its stream are delivered again."""
    user.store("order-1", 3)
    positions: list[tuple[int, bool]] = []

    def handle(events: Events) -> None:
        positions.extend((event.position, events.replay) for event in events)

    with EventStore.connect(config) as store:
        subscription = store.subscribe_to_all_streams("shipping", handle)
        wait_until(lambda: subscription.checkpoint == 3)
        subscription.unsubscribe()
        psql(
            "INSERT INTO {}.parked SELECT subscription_id, 'order-1', n, n, 'no stock', NULL, 0,"
            " now() FROM {}.subscriptions, unnest('{2, 3, 4}'::bigint[]) n"
        )
        subscription = store.subscribe_to_all_streams("shipping", handle)

        assert store.retry_parked("$all", "shipping") == 3

        wait_until(lambda: store.parked("$all", "shipping") == [])
        assert positions[3:] == [(2, True), (3, True)]
        store.append_to_stream("order-1", 3, [EventData("Happened", 4)])
        wait_until(lambda: subscription.checkpoint == 4)
        assert positions[5:] == [(4, False)]


def test_parked_events_that_are_gone_fill_no_page(user: User, config: Config, psql: Psql) -> None:
    """G38: what comes after them is delivered again, not removed with them."""
    user.store("order-1", 3)
    positions: list[tuple[int, bool]] = []

    def handle(events: Events) -> None:
        positions.extend((event.position, events.replay) for event in events)

    with EventStore.connect(config) as store:
        store.subscribe_to_all_streams("shipping", handle, start_from="current").unsubscribe()
        psql(
            "INSERT INTO {}.parked SELECT subscription_id, 'order-1', n, n + (n = 1)::int * 9,"
            " 'no stock', NULL, 0, now() FROM {}.subscriptions, generate_series(1, 3) n"
        )
        store.subscribe_to_all_streams("shipping", handle, buffer_size=1)

        assert store.retry_parked("$all", "shipping") == 3

        wait_until(lambda: store.parked("$all", "shipping") == [])
        assert positions == [(2, True), (3, True)]
