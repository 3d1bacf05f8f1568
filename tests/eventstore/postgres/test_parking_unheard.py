"""Choices among parked events whose answer is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from eventstore.model.config import Config
from eventstore.model.errors import OutcomeUnknownError, SubscriptionNotFoundError
from eventstore.ports.parking import (
    Choice,
    Dropped,
    Most,
    ParkedPlace,
    Parking,
    ParkingOutcome,
    Why,
)
from eventstore.storages.postgres import PostgresStorage
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User
from tests.eventstore.postgres.conftest import Psql
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

SKIP_ONE = Choice(
    stream_id="$all",
    subscription_name="shipping",
    key=None,
    limit=1,
    skip_reason="of no use",
    dry_run=False,
)


@pytest.fixture
def proxy(dsn: str) -> Iterator[Proxy]:
    with Proxy(dsn) as proxy:
        yield proxy


@pytest.fixture
def far(proxy: Proxy, config: Config, user: User) -> Iterator[PostgresStorage]:
    """The store behind the proxy, connected already; three events of it are parked."""
    user.store("order-1", 3)
    parking = Parking(
        fence=user.own().fence,
        checkpoint=3,
        events=[ParkedPlace("order-1", position, position) for position in (1, 2, 3)],
        why=Why("no stock"),
        follows=False,
        most=Most(events=9, of_key=9),
    )
    assert user.storage.park(parking, soon()) is ParkingOutcome.DONE
    behind = PostgresStorage(replace(config, dsn=proxy.dsn))
    behind.open(init=False, deadline=soon())
    assert behind.choose_parked(replace(SKIP_ONE, dry_run=True), soon()) == 1
    yield behind
    behind.close()


def test_a_skip_whose_answer_is_lost_is_not_repeated(
    far: PostgresStorage, proxy: Proxy, psql: Psql
) -> None:
    """G25, G38: it would skip the next event, too."""
    skipped = "SELECT position FROM {}.parked WHERE skipped_at IS NOT NULL"
    proxy.swallow(after_bytes_to_server=1_000_000)
    with ThreadPoolExecutor(1) as thread:
        choosing = thread.submit(far.choose_parked, SKIP_ONE, soon())
        wait_until(lambda: bool(psql(skipped)))
        proxy.pass_on()
        with pytest.raises(OutcomeUnknownError, match="the skip was not answered"):
            choosing.result()
    assert psql(skipped) == [(1,)]


@pytest.mark.parametrize(
    "drop",
    [
        lambda storage, name: storage.reset_subscription("$all", name, 0, soon()),
        lambda storage, name: storage.delete_subscription("$all", name, soon(), drop_parked=True),
    ],
    ids=["reset", "delete"],
)
def test_who_drops_and_hears_no_answer_knows_that_more_may_be_gone(
    far: PostgresStorage, proxy: Proxy, psql: Psql, drop: Callable[[PostgresStorage, str], Dropped]
) -> None:
    """G25, G38: the next attempt finds nothing, and must not say that nothing was there."""
    with pytest.raises(SubscriptionNotFoundError):
        drop(far, "missing")  # so that the statement is prepared
    proxy.swallow(after_bytes_to_server=1_000_000)
    with ThreadPoolExecutor(1) as thread:
        dropping = thread.submit(drop, far, "shipping")
        wait_until(lambda: not psql("SELECT position FROM {}.parked"))
        proxy.pass_on()
        assert dropping.result() == Dropped(is_all=False)
