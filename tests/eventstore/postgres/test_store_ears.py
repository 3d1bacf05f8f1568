"""What a store hears over a session that listens for several: nothing is lost on the way to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from eventstore.storages.postgres.announce_session import OwnSessions
from eventstore.storages.postgres.statements import Channel
from eventstore.storages.postgres.store_ears import StoreEars

CHANNEL = Channel("shop_events")
OWN, FOREIGN = 1, 2


@pytest.fixture
def rings() -> list[None]:
    return []


@pytest.fixture
def ears(rings: list[None]) -> StoreEars:
    """Those of a store that wants announcements, and gets them."""
    ears = StoreEars(CHANNEL, OwnSessions(), lambda: rings.append(None))
    ears.want(prompt=True)
    ears.note(listens=True, hears=True)
    ears.take()
    return ears


def told(payload: str, pid: int = FOREIGN) -> psycopg.Notify:
    return psycopg.Notify(CHANNEL.channel, payload, pid)


def soon() -> float:
    return time.monotonic() + 60


def test_what_was_heard_is_kept_until_it_is_taken(ears: StoreEars) -> None:
    """G23: also what comes between two looks; each hint once."""
    ears.hear(told("s3,4"))
    ears.hear(told("e"))
    hints, _ = ears.take()
    assert (hints.events, hints.touched) == (True, {3, 4})
    assert not ears.take()[0].any()


def test_own_announcements_are_no_news(ears: StoreEars) -> None:
    """G23: those of the connection that announced last; another store has the same process ids."""
    ears._own.announcing = {OWN}
    ears.hear(told("e", OWN))
    assert not ears.take()[0].any()
    ears.hear(told("e", FOREIGN))
    assert ears.take()[0].any()


@pytest.mark.parametrize("hears", [True, False, None])
def test_a_session_that_listens_anew_may_have_missed_something(
    ears: StoreEars, hears: bool | None
) -> None:
    """G20, G23: a pause that was announced meanwhile is looked for, as an event is."""
    ears._own.announcing = {OWN}
    ears.note(listens=False, hears=None)
    assert not ears.hearing
    assert not ears.take()[1]
    ears.note(listens=True, hears=hears)
    assert ears.take()[1]
    # A server that was restarted gives the same process ids to others.
    assert not ears._own.announcing
    assert ears.hearing is bool(hears)


def test_who_waits_is_woken_by_news(ears: StoreEars) -> None:
    """G23: by a hint, by a change of hearing, and by whoever asks."""
    news: list[Callable[[], None]] = [
        lambda: ears.hear(told("e")),
        ears.wake,
        lambda: ears.note(listens=True, hears=False),
    ]
    with ThreadPoolExecutor(1) as thread:
        for tell in news:
            call = thread.submit(ears.wait, soon(), 0.0, deaf=False)
            tell()
            call.result(30)
            ears.take()


def test_it_is_settled_when_it_is_known_whether_announcements_arrive(rings: list[None]) -> None:
    """G23: the first look comes after that, so that none is needed twice."""
    ears = StoreEars(CHANNEL, OwnSessions(), lambda: rings.append(None))
    ears.want(prompt=True)
    assert len(rings) == 1
    with ThreadPoolExecutor(1) as thread:
        call = thread.submit(ears.settle, soon())
        ears.note(listens=False, hears=True)
        assert not call.done()
        ears.note(listens=True, hears=True)
        call.result(30)
    assert ears.hearing
    ears.want(prompt=True)
    assert len(rings) == 1
    deaf = StoreEars(CHANNEL, OwnSessions(), lambda: None)
    deaf.note(listens=False, hears=False)
    deaf.settle(soon())
    assert not deaf.hearing
