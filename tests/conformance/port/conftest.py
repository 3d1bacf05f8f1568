"""A storage in use: short ways to say what the tests of the port do all the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import pytest

from eventstore.model.events import ExpectedVersion
from eventstore.model.subscription import SubscriptionState
from eventstore.model.subscription_info import SubscriptionInfo
from eventstore.model.subscription_start import Origin, Start
from eventstore.ports.announcing import AnnounceSession
from eventstore.ports.listening import HeadListener
from eventstore.ports.ownership import (
    Claim,
    Claimed,
    Fence,
    Held,
    Kept,
    LeaseMark,
    Progress,
    StoredProgress,
)
from eventstore.ports.storage import AppendSession, KeeperSession, Storage
from eventstore.ports.stored_events import Append, Committed, EncodedEvent, Outcome, StreamAppend
from tests.conformance.conftest import LEASE, soon
from tests.support.waiting import PATIENCE

ANY = ExpectedVersion.ANY


def event(data: bytes = b"{}", event_id: UUID | None = None) -> EncodedEvent:
    return EncodedEvent(event_id or uuid4(), "Happened", data)


def events(count: int) -> tuple[EncodedEvent, ...]:
    return tuple(event(b'{"event": %d}' % number) for number in range(1, count + 1))


def part(
    stream_id: str, events: tuple[EncodedEvent, ...] = (), expected: int = ANY
) -> StreamAppend:
    return StreamAppend(stream_id, expected, events)


class User:
    """A storage with one session of each kind, as a runtime has them."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.appender: AppendSession = storage.append_session()
        self.keeper: KeeperSession = storage.keeper_session()
        self.announcer: AnnounceSession = storage.announce_session()

    def append_all(self, *appends: Append) -> list[Outcome]:
        """Append in one commit."""
        return self.appender.append(appends, soon())

    def append(self, *parts: StreamAppend) -> Outcome:
        """Append to several streams, as a whole."""
        return self.append_all(parts)[0]

    def store(self, stream_id: str, count: int = 1) -> Committed:
        """Append *count* new events to one stream."""
        outcome = self.append(part(stream_id, events(count)))
        assert isinstance(outcome, Committed)
        return outcome

    def claim(
        self,
        name: str = "shipping",
        stream_id: str = "$all",
        *,
        start: Start = Origin.ORIGIN,
        owner: UUID | None = None,
        lease: float = LEASE,
        watched: LeaseMark | None = None,
        known: int | None = None,
        deadline: float | None = None,
    ) -> Claimed | Held:
        claim = Claim(
            stream_id=stream_id,
            subscription_name=name,
            start=start,
            owner=owner or uuid4(),
            owner_name="host:1",
            lease=lease,
            subscription_id=known,
            watched=watched,
        )
        return self.storage.claim(claim, deadline or soon())

    def own(self, name: str = "shipping", stream_id: str = "$all", **options: object) -> Claimed:
        """Claim what must be free."""
        claimed = self.claim(name, stream_id, **options)  # type: ignore[arg-type]
        assert isinstance(claimed, Claimed)
        return claimed

    def keep(
        self,
        fence: Fence,
        checkpoint: int = 0,
        state: SubscriptionState = SubscriptionState.LIVE,
        *,
        lease: float = LEASE,
        least: int = 0,
    ) -> Kept:
        progress = Progress(fence, checkpoint, state, None, 0, least)
        return self.keeper.keep([progress], lease, soon())[0]

    def release(
        self,
        fence: Fence,
        checkpoint: int = 0,
        state: SubscriptionState = SubscriptionState.WAITING,
    ) -> None:
        self.keeper.release([Progress(fence, checkpoint, state, None, 0)], soon())

    def announce(self, *subscriptions: int) -> None:
        """Wake other processes: for new events, or for these subscriptions."""
        events = not subscriptions
        self.announcer.announce(events=events, subscriptions=subscriptions, deadline=soon())

    def info(self, name: str = "shipping", stream_id: str = "$all") -> SubscriptionInfo:
        return self.storage.subscription_info(stream_id, name, soon())

    def progress(self, name: str = "shipping", stream_id: str = "$all") -> StoredProgress:
        return self.storage.stored_progress(stream_id, name, soon())

    def close(self) -> None:
        self.appender.close()
        self.keeper.close()
        self.announcer.close()


@pytest.fixture
def storage(open_storage: Callable[[], Storage]) -> Storage:
    return open_storage()


@pytest.fixture
def user(storage: Storage) -> Iterator[User]:
    user = User(storage)
    yield user
    user.close()


@pytest.fixture
def other(open_storage: Callable[[], Storage]) -> Iterator[User]:
    """Somebody else who uses the same store."""
    user = User(open_storage())
    yield user
    user.close()


@pytest.fixture
def listener(storage: Storage) -> Iterator[HeadListener]:
    """A listener that is connected and has heard everything so far."""
    listener = storage.head_listener()
    assert listener.wait(PATIENCE).reconnected
    yield listener
    listener.close()
