"""Whom an announcement goes to: other processes that listen, and nobody else."""

from __future__ import annotations

import time

from eventstore.ports.announcing import Announced
from eventstore.storages.postgres.statements import channel_of
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User
from tests.eventstore.postgres.conftest import Psql
from tests.support.waiting import PATIENCE


def announce_events(user: User) -> Announced:
    return user.announcer.announce(events=True, subscriptions=(), deadline=soon())


def test_where_nobody_else_listens_events_are_not_announced(user: User, other: User) -> None:
    """G22: not to oneself, and not to somebody who is in no hurry."""
    assert announce_events(user) is Announced.UNHEARD
    ours, theirs = user.storage.head_listener(), other.storage.head_listener()
    ours.wait(PATIENCE)
    theirs.wait(5, prompt=False)
    assert announce_events(user) is Announced.UNHEARD

    theirs.wait(PATIENCE)

    assert announce_events(user) is Announced.SENT
    ours.close()
    theirs.close()


def test_nobody_is_woken_by_what_he_announces_himself(user: User, other: User) -> None:
    """G22, G27: others are; a subscription is announced whoever listens."""
    ours, theirs = user.storage.head_listener(), other.storage.head_listener()
    ours.wait(PATIENCE)
    theirs.wait(PATIENCE)

    assert user.announcer.announce(events=False, subscriptions=[7, 8], deadline=soon()) is (
        Announced.SENT
    )

    assert theirs.wait(PATIENCE).touched == {7, 8}
    assert ours.wait(0.05).touched == frozenset()
    ours.close()
    theirs.close()


def test_who_is_in_no_hurry_is_not_woken_by_what_others_are_told(
    user: User, psql: Psql, schema: str
) -> None:
    """G22: a runtime without subscriptions looks now and then."""
    listener = user.storage.head_listener()
    listener.wait(5, prompt=False)
    psql("SELECT pg_notify(%s, 'e')", channel_of(schema))
    started = time.monotonic()

    listener.wait(0.3, prompt=False)

    assert time.monotonic() - started >= 0.3
    listener.close()
