"""A lease that was renewed at a time yet to come: the database's clock was set back since."""

from __future__ import annotations

from eventstore.model.subscription import SubscriptionState
from eventstore.ports.ownership import Claimed, Held
from tests.conformance.port.conftest import User
from tests.eventstore.postgres.conftest import Psql

AN_HOUR_AGO = """
UPDATE {}.leases SET renewed_at = renewed_at + interval '1 hour',
                     expires_at = expires_at + interval '1 hour'
"""
"""What setting the clock back by an hour makes of all leases that were written before."""


def test_the_row_shows_no_owner_until_the_next_renewal(user: User, psql: Psql) -> None:
    """F14."""
    owned = user.own(lease=60)
    user.keep(owned.fence)
    psql(AN_HOUR_AGO)

    info = user.info()
    assert (info.owner, info.since, info.state) == (None, None, SubscriptionState.WAITING)

    user.keep(owned.fence)
    info = user.info()
    assert (info.owner, info.state) == ("host:1", SubscriptionState.LIVE)


def test_a_claim_is_refused_and_says_that_the_clock_cannot_tell(
    user: User, other: User, psql: Psql
) -> None:
    """F14, G16: the owner may live; its fence stays good."""
    owned = user.own(lease=60)
    psql(AN_HOUR_AGO)

    doubtful = other.claim()
    assert isinstance(doubtful, Held)
    assert doubtful.clock_set_back

    assert user.keep(owned.fence, lease=60).owned
    certain = other.claim(watched=doubtful.mark)
    assert isinstance(certain, Held)
    assert not certain.clock_set_back


def test_a_mark_that_was_watched_for_a_lease_is_taken_over(
    user: User, other: User, psql: Psql
) -> None:
    """F14, G16, G27: and the row is right again."""
    owned = user.own(lease=60)
    psql(AN_HOUR_AGO)
    held = other.claim()
    assert isinstance(held, Held)

    assert isinstance(other.claim(watched=held.mark), Claimed)

    assert not user.keep(owned.fence).owned
    assert user.info().owner == "host:1"


def test_an_owner_that_claims_again_is_granted_whatever_the_clock_says(
    user: User, psql: Psql
) -> None:
    """F14, G16, G24: its restarted actor goes on at once."""
    owned = user.own(lease=60)
    psql(AN_HOUR_AGO)

    assert user.own(owner=owned.fence.owner).fence == owned.fence
