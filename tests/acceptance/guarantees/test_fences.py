"""Fences: what another process did to a subscription makes its old owner's acks void."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from psycopg.conninfo import make_conninfo

from eventstore import CallerRuntime, Config, EventData, EventStore, ExpectedVersion
from tests.acceptance.guarantees.conftest import (
    Start,
    installed,
    wait_for_checkpoint,
)
from tests.acceptance.guarantees.test_database_away import frozen_backends
from tests.support.pgserver import TestServer
from tests.support.processes import Service
from tests.support.waiting import wait_until

NAME = "sub"
LONG = 60.0
"""A lease whose end no test waits for."""


def append(store: EventStore, count: int) -> None:
    store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", n) for n in range(count)])


def owned(owner: Service, observer: EventStore) -> None:
    """Let *owner* be delivered ten events and acknowledge the first three."""
    append(observer, 10)
    owner.do("subscribe", name=NAME, ack_every=0)
    owner.wait_delivered(NAME, 10)
    owner.do("ack", name=NAME, position=3).wait("acked")
    wait_for_checkpoint(observer, 3)


@contextmanager
def asleep(owner: Service) -> Iterator[None]:
    """Freeze it for the block; it wakes up with an acknowledgement of everything to give."""
    owner.signal(signal.SIGSTOP)
    try:
        yield
        owner.do("ack", name=NAME, position=10)
    finally:
        owner.signal(signal.SIGCONT)
    owner.wait("lost", reason="SubscriptionLostError")


def test_an_ack_that_reaches_the_database_after_the_takeover_does_not_count() -> None:
    """G16: the fence is in the row; the stale owner cannot be asked any more."""
    with TestServer() as server, ExitStack() as stack:
        settings = {**installed(server.dsn, "fenced"), "lease": 3.0}
        stale, successor = (
            Service({**settings, "dsn": make_conninfo(server.dsn, application_name=name)})
            for name in ("stale", "successor")
        )
        stack.callback(successor.kill9)
        stack.callback(stale.kill9)
        config = Config(**settings)
        observer = stack.enter_context(EventStore.connect(config, runtime=CallerRuntime))
        append(observer, 20)
        stale.ready().do("subscribe", name=NAME, ack_every=0)
        stale.wait_delivered(NAME, 20)
        stale.do("ack", name=NAME, position=5).wait("acked")
        wait_for_checkpoint(observer, 5)

        with frozen_backends(server, "stale"):
            stale.do("ack", name=NAME, position=20).wait("acked", position=20)
            # It is sent soon, to a server process that does not run; nothing shows when.
            threading.Event().wait(0.4)
            stale.signal(signal.SIGSTOP)
            successor.ready().do("subscribe", name=NAME, ack_every=0)
            successor.wait_delivered(NAME, 15)
            successor.do("ack", name=NAME, position=10).wait("acked")
            wait_for_checkpoint(observer, 10)
            epoch = observer.subscription_info("$all", NAME).epoch
        stale.kill9()
        # The server processes do what they were sent, find their client gone, and end.
        wait_until(lambda: not server.backends("stale"))
        info = observer.subscription_info("$all", NAME)
        assert (info.checkpoint, info.epoch) == (10, epoch)
        successor.do("ack", name=NAME, position=15).wait("acked", position=15)
        wait_for_checkpoint(observer, 15)


def test_acks_after_a_reset_by_another_process_do_not_count(
    start: Start, observer: EventStore
) -> None:
    """G14, G16: its lease is still good; it starts again from where the other one said."""
    (owner,) = start(lease=LONG)
    owned(owner, observer)
    with asleep(owner):
        observer.reset_subscription("$all", NAME, 5)
    assert owner.wait("subscribed", count=2)["checkpoint"] == 5
    owner.wait_delivered(NAME, 15)
    assert owner.positions(NAME)[10:] == [6, 7, 8, 9, 10]
    assert observer.subscription_info("$all", NAME).checkpoint == 5


def test_acks_after_a_delete_do_not_count_for_a_new_subscription_of_the_same_name(
    start: Start, observer: EventStore
) -> None:
    """G16: which another process made meanwhile, and runs."""
    owner, successor = start(2, lease=LONG)
    owned(owner, observer)
    with asleep(owner):
        observer.delete_subscription("$all", NAME)
        successor.do("subscribe", name=NAME, ack_every=0)
        successor.wait_delivered(NAME, 10)
        successor.do("ack", name=NAME, position=2).wait("acked")
        wait_for_checkpoint(observer, 2)
    # A witness of time: the next ack of the new one is stored, and nothing went further.
    assert observer.subscription_info("$all", NAME).checkpoint == 2
    successor.do("ack", name=NAME, position=4).wait("acked", position=4)
    wait_for_checkpoint(observer, 4)
    assert not successor.reports("lost")
    assert len(owner.positions(NAME)) == 10
