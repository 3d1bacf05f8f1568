"""Sequences that are behind: logical replication and a restore of data alone do not move them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from eventstore.storages.postgres import PostgresStorage
from tests.conformance.port.conftest import User, events, part
from tests.eventstore.postgres.conftest import Psql

SEQUENCES = (
    "streams_stream_no_seq",
    "subscriptions_subscription_id_seq",
    "positions_position_id_seq",
)
COUNT = 5


@pytest.fixture(params=["at the start", "in the middle"])
def behind(request: pytest.FixtureRequest, user: User, psql: Psql) -> None:
    """Streams and subscriptions whose numbers the sequences will give out again."""
    for number in range(COUNT):
        user.store(f"old-{number}")
        user.own(f"old-{number}")
    for sequence in SEQUENCES:
        if request.param == "at the start":
            psql(f"SELECT setval('{{}}.{sequence}', 1, false)")
        else:
            psql(f"SELECT setval('{{}}.{sequence}', {COUNT - 2})")


@pytest.mark.usefixtures("behind")
def test_new_streams_get_numbers_that_nobody_has(user: User, psql: Psql) -> None:
    """F42, G3, G29: one stream at a time, or many in one commit."""
    user.store("new-1")
    user.append_all(*((part(f"many-{number}", events(1)),) for number in range(2 * COUNT)))
    user.append(*(part(f"parts-{number}", events(1)) for number in range(3)))
    numbers = [number for (number,) in psql("SELECT stream_no FROM {}.streams")]
    assert len(set(numbers)) == len(numbers) == COUNT + 1 + 2 * COUNT + 3
    assert psql("SELECT count(*) FROM {}.events e JOIN {}.streams USING (stream_no)") == [
        (len(numbers),)
    ]


@pytest.mark.usefixtures("behind")
def test_new_subscriptions_get_numbers_that_nobody_has(user: User, psql: Psql) -> None:
    """F42, G16, G29: a number that was used before would be a fence for two."""
    claimed = [user.own(f"new-{number}") for number in range(2 * COUNT)]
    assert len({each.subscription_id for each in claimed}) == 2 * COUNT
    assert min(each.fence.position_id for each in claimed) > COUNT
    assert psql("SELECT count(*) FROM {}.leases") == [(3 * COUNT,)]


@pytest.mark.usefixtures("behind")
def test_processes_that_find_a_sequence_behind_at_once_all_go_on(
    open_storage: Callable[[], PostgresStorage], psql: Psql
) -> None:
    """F42, G29: each draws its own numbers."""
    users = [User(open_storage()) for _ in range(4)]

    def subscribe(place: int) -> None:
        for number in range(3):
            users[place].own(f"process-{place}-{number}")
            users[place].store(f"stream-{place}-{number}")

    with ThreadPoolExecutor(len(users)) as threads:
        list(threads.map(subscribe, range(len(users))))
    for user in users:
        user.close()
    assert psql("SELECT count(*), count(DISTINCT stream_no) FROM {}.streams") == [
        (COUNT + 12, COUNT + 12)
    ]
    assert psql("SELECT count(*) FROM {}.positions") == [(COUNT + 12,)]
