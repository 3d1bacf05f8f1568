"""Events that others lose: behind a checkpoint, a lost notification, an open transaction."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from eventstore import EventData, EventStore, ExpectedVersion
from tests.acceptance.guarantees.conftest import Settings, Start, wait_for_checkpoint
from tests.support.plain_sql import Sql
from tests.support.waiting import PATIENCE, wait_until

WAITS_FOR_THE_LOCK = "SELECT FROM pg_locks WHERE NOT granted"


def append(store: EventStore, count: int = 1, stream: str = "s") -> None:
    for number in range(count):
        store.append_to_stream(stream, ExpectedVersion.ANY, [EventData("X", number)])


def test_checkpoints_stored_while_it_is_full_and_while_it_catches_up_skip_nothing(
    observer: EventStore, start: Start
) -> None:
    """G15, G13: live events are announced all the while; then it is killed and starts again."""
    append(observer, 11)
    first, writer = start(2, lease=3.0)
    first.do("subscribe", name="sub", ack_every=0, buffer_size=3, max_batch_size=1)
    assert first.wait_delivered("sub", 3) == [1, 2, 3]
    for position in range(1, 9):
        append(observer)  # announced while it is full
        first.do("ack", name="sub", position=position)
        wait_for_checkpoint(observer, position)
        first.wait_delivered("sub", position + 3)
    writer.do("write", streams=["a", "b"], seed=3, appends=10)
    writer.wait("written")
    first.kill9()

    (second,) = start()
    second.do("subscribe", name="sub", buffer_size=3, max_batch_size=1)
    newest = observer.stream_info("$all").stream_version
    assert first.positions("sub") == list(range(1, 12))
    assert second.wait_delivered("sub", newest - 8) == list(range(9, newest + 1))
    wait_for_checkpoint(observer, newest)


def test_an_event_appended_after_the_listening_backend_was_killed_needs_no_next_append(
    observer: EventStore, start: Start, foreign: Callable[[], Sql], settings: Settings
) -> None:
    """G23: nor a poll; connecting anew is enough."""
    watching = foreign()
    listens = "SELECT pid FROM pg_stat_activity WHERE starts_with(application_name, 'listens')"
    dsn = f"{settings['dsn']} application_name=listens"
    (service,) = start(listen_dsn=dsn, poll_interval=60.0, lease=60.0)
    service.do("subscribe", name="sub")
    append(observer)
    service.wait_delivered("sub", 1)
    for number in range(2, 5):
        [(pid,)] = watching(listens)
        watching("SELECT pg_terminate_backend(%s)", pid)
        wait_until(lambda gone=pid: (gone,) not in watching(listens))  # type: ignore[misc]
        append(observer)
        assert service.wait_delivered("sub", number) == list(range(1, number + 1))
        wait_until(lambda: watching(listens))


def test_an_event_uncommitted_right_behind_the_checkpoint_is_waited_for(
    observer: EventStore, store: EventStore, start: Start, foreign: Callable[[], Sql]
) -> None:
    """G4, G13: whoever appends behind it waits for it, so nobody reads over it."""
    append(observer, 3)
    (service,) = start()
    service.do("subscribe", name="sub")
    service.wait_delivered("sub", 3)
    wait_for_checkpoint(observer, 3)
    holder, watching = foreign(), foreign()
    with ThreadPoolExecutor(1) as threads:
        with holder.transaction():
            holder.append("held", 2)
            behind = threads.submit(append, store)
            wait_until(lambda: watching(WAITS_FOR_THE_LOCK))
            assert not behind.done()
        behind.result(PATIENCE)
    assert service.wait_delivered("sub", 6) == [1, 2, 3, 4, 5, 6]
    assert [stream for _, stream, *_ in service.delivered("sub")[3:]] == ["held", "held", "s"]


def test_transactions_that_stay_open_for_long_neither_hide_nor_delay_an_event(
    observer: EventStore, start: Start, foreign: Callable[[], Sql]
) -> None:
    """G4, G23: with a transaction number, with a snapshot, and with an append rolled back late."""
    (service,) = start()
    service.do("subscribe", name="sub")
    numbered, looking, failing = foreign(), foreign(), foreign()
    looking("BEGIN ISOLATION LEVEL REPEATABLE READ")
    assert looking("SELECT count(*) FROM {}.events") == [(0,)]
    numbered("BEGIN")
    numbered("SELECT pg_current_xact_id()")
    for number in range(1, 11):
        failing("BEGIN")
        failing.append("never")
        failing("ROLLBACK")
        append(observer)
        assert service.wait_delivered("sub", number) == list(range(1, number + 1))
    assert looking("SELECT count(*) FROM {}.events") == [(0,)]
    for each in (numbered, looking):
        each("ROLLBACK")
    wait_for_checkpoint(observer, 10)
