"""How news travels: heads and touched subscriptions, on the port itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from eventstore.model.config import Config
from eventstore.ports.listening import HeadListener, Heard
from eventstore.ports.ownership import Fence
from eventstore.ports.storage import Storage
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User
from tests.support.waiting import PATIENCE, wait_until


@pytest.fixture(params=["alone", "beside"])
def storage(
    request: pytest.FixtureRequest, config: Config, open_storage: Callable[[], Storage]
) -> Iterator[Storage]:
    """A storage with connections of its own, or one that shares those of another."""
    first = open_storage()
    if request.param == "alone":
        yield first
        return
    with closing(first.beside(config)) as storage:
        storage.open(init=False, deadline=soon())
        yield storage


def hear(
    listener: HeadListener, condition: Callable[[Heard], object], patience: float = 1
) -> Heard:
    """Wait until something is heard that fulfils *condition*, each time at most *patience* long."""
    heard: list[Heard] = []

    def heard_it() -> object:
        heard.append(listener.wait(patience))
        return condition(heard[-1])

    wait_until(heard_it)
    return heard[-1]


def test_a_new_listener_reads_the_head_at_once(user: User, storage: Storage) -> None:
    """NOT-01, REC-01, G23: what was appended before it connected is not missed."""
    user.store("a", 3)
    listener = storage.head_listener()

    heard = listener.wait(PATIENCE)

    assert (heard.head, heard.reconnected) == (3, True)
    listener.close()


def test_an_append_wakes_a_listener_with_the_new_head(listener: HeadListener, other: User) -> None:
    """G23: long before the timeout."""
    started = time.monotonic()
    other.store("a", 2)
    other.announce()

    heard = hear(listener, lambda heard: heard.head == 2, patience=60)

    assert not heard.reconnected
    assert time.monotonic() - started < PATIENCE


def store_and_announce(user: User) -> None:
    user.store("a")
    user.announce()


def test_a_listener_that_waits_already_is_woken(listener: HeadListener, other: User) -> None:
    """G23: the announcement comes while it blocks, long before its timeout."""
    appending = threading.Timer(0.1, store_and_announce, [other])
    started = time.monotonic()
    appending.start()

    heads = [listener.wait(60).head]
    while heads[-1] == 0:
        heads.append(listener.wait(60).head)

    appending.join()
    assert heads[-1] == 1
    assert time.monotonic() - started < PATIENCE


def test_who_is_in_no_hurry_is_woken_by_no_append(storage: Storage, other: User) -> None:
    """G23: a runtime without subscriptions pays for no announcement, and looks now and then."""
    listener = storage.head_listener()
    assert listener.wait(10, prompt=False).reconnected
    store_and_announce(other)
    started = time.monotonic()

    heard = listener.wait(0.3, prompt=False)

    assert time.monotonic() - started >= 0.3
    assert (heard.head, heard.reconnected) == (1, False)
    listener.close()


def test_who_is_in_a_hurry_now_hears_at_once_what_is_there_and_then_of_every_append(
    storage: Storage, other: User
) -> None:
    """G23: nothing falls between looking now and then and listening."""
    listener = storage.head_listener()
    listener.wait(10, prompt=False)
    other.store("a")
    started = time.monotonic()

    heard = listener.wait(60)
    assert (heard.head, heard.reconnected) == (1, True)
    other.store("a", 2)
    other.announce()
    hear(listener, lambda heard: heard.head == 3, patience=60)

    assert time.monotonic() - started < PATIENCE
    listener.close()


def release(user: User, fence: Fence) -> None:
    user.release(fence)
    user.announce(user.info().subscription_id)


def pause(user: User, fence: Fence) -> None:
    user.storage.set_paused("$all", "shipping", paused=True, deadline=soon())


def resume(user: User, fence: Fence) -> None:
    user.storage.set_paused("$all", "shipping", paused=False, deadline=soon())


def reset(user: User, fence: Fence) -> None:
    user.storage.reset_subscription("$all", "shipping", 0, soon())


def delete(user: User, fence: Fence) -> None:
    user.storage.delete_subscription("$all", "shipping", soon())


@pytest.mark.parametrize("touch", [release, pause, resume, reset, delete])
def test_a_touched_subscription_wakes_a_listener(
    listener: HeadListener, other: User, touch: Callable[[User, Fence], None]
) -> None:
    """G20, G27: pauses and releases need not wait for the next poll."""
    claimed = other.own()

    touch(other, claimed.fence)

    heard = hear(listener, lambda heard: heard.touched)
    assert heard.touched == {claimed.subscription_id}


def test_a_renewal_wakes_nobody(listener: HeadListener, other: User) -> None:
    """G22: five hundred leases do not make a storm."""
    fence = other.own().fence
    other.keep(fence)

    heard = listener.wait(0.05)

    assert (heard.head, heard.touched, heard.reconnected) == (0, frozenset(), False)


def test_a_listener_can_be_woken_from_another_thread(listener: HeadListener) -> None:
    """G26: stopping need not wait for a timeout; a wake before the wait counts, too."""
    listener.wake()
    started = time.monotonic()
    heard = listener.wait(60)

    timer = threading.Timer(0.05, listener.wake)
    timer.start()
    listener.wait(60)
    timer.join()

    assert heard.head == 0
    assert time.monotonic() - started < PATIENCE


def test_a_timeout_returns_the_head(listener: HeadListener) -> None:
    """G23: a lost announcement costs a delay, because the head is read then."""
    heard = listener.wait(0.01)

    assert (heard.head, heard.touched, heard.reconnected) == (0, frozenset(), False)


def test_a_listener_reads_what_it_heard_of(listener: HeadListener, other: User) -> None:
    """G22: on its own connection, in global positions, within bytes."""
    other.store("a", 3)
    other.store("b", 2)

    everything = listener.read_all(2, 10, 1_000, soon())
    first = listener.read_all(2, 10, 1, soon())

    assert [e.position for e in everything] == [3, 4, 5]
    assert everything[0] == first[0]
    assert len(first) == 1


def test_a_look_tells_whether_a_known_event_is_still_there(
    listener: HeadListener, other: User
) -> None:
    """G31: every look, in the same read as the head."""
    other.store("a", 2)
    first, second = listener.read_all(0, 10, 1_000, soon())

    assert listener.wait(0.01).holds
    assert listener.wait(0.01, known=(1, first.event_id)).holds
    assert not listener.wait(0.01, known=(1, second.event_id)).holds
    assert not listener.wait(0.01, known=(3, second.event_id)).holds
