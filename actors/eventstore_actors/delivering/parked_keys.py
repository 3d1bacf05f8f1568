"""What a subscription has parked: which keys are held up, and which are to be delivered again."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence

from eventstore.model.caught_error import CaughtError
from eventstore.model.subscription import SubscriptionOptions
from eventstore.ports.parking import (
    Choice,
    Most,
    ParkedKey,
    ParkedPlace,
    Parking,
    ParkingOutcome,
    Why,
)
from eventstore.ports.stored_events import StoredEvent
from eventstore_actors.delivering.end_of_subscription import EndOfSubscription
from eventstore_actors.delivering.parcels import Parcel
from eventstore_actors.delivering.parked_room import ParkedRoom
from eventstore_actors.delivering.read_request import Read
from eventstore_actors.delivering.run_state import Replay, Run
from eventstore_actors.kernel.lane import LANE
from eventstore_actors.state import subscription_errors as reasons
from eventstore_actors.state.context import Context
from eventstore_actors.state.seat import Seat

__all__ = ["ParkedKeys", "place_of", "why_of"]

_SHARE = 20
"""Times as long as a look at the keys took, until the next one that nobody asked for."""

_FOLLOWS = Why("it follows a parked event of its stream")


class ParkedKeys:
    """The parked keys of one subscription; used by its actor alone.

    Every method that asks the storage raises `StorageUnavailableError` if it cannot be reached.
    """

    def __init__(self, context: Context, seat: Seat) -> None:
        self._storage = context.storage
        self._config = context.config
        self._handle = seat.handle
        self._options: SubscriptionOptions = seat.options
        options = seat.options
        self._room = ParkedRoom(Most(events=options.max_parked, of_key=options.max_parked_per_key))
        self._keys = set[str]()
        self._look_at = 0.0
        """When to look again, though nobody says that they were changed."""
        self.is_known = False
        """They were read since the run began, and since somebody changed them."""
        self.held = set[str]()
        """Keys whose later events are parked without being handled."""
        self.marked = deque[ParkedKey]()
        """Keys of which events are to be delivered again. Those with the oldest one come first."""
        self._ahead = dict[str, list[StoredEvent]]()
        """The first events of the next keys, which were read with those of one before."""

    @property
    def keeps_order(self) -> bool:
        """Whether the later events of a parked key are parked, too."""
        return self._options.keep_order

    def forget(self) -> None:
        """Have the keys read again: a run begins, or somebody may have changed them."""
        self.is_known = False
        self._ahead.clear()

    def forget_ahead(self) -> None:
        """Read again what was read ahead: some of it was deleted."""
        self._ahead.clear()

    def look_again(self) -> None:
        """Have the keys read again if there are any, and some time has passed."""
        if self._keys and time.monotonic() >= self._look_at:
            self.is_known = False

    @property
    def check_interval(self) -> float:
        """Seconds after which `look_again` is due: nobody may have said that they were changed."""
        return self._config.poll_interval if self._keys else math.inf

    def touched(self) -> bool:
        """Have the keys read again if there are any; return whether there are."""
        self.is_known = self.is_known and not self._keys
        return bool(self._keys)

    def read(self, run: Run) -> None:
        """Read which keys are parked.

        Raises:
            EndOfSubscription: They are, and nothing of them would ever be delivered again.
        """
        asked_at = time.monotonic()
        found = self._storage.parked_keys(run.subscription_id, self._deadline())
        if found and self._options.transactional:
            # What a transaction handles again could not be removed in it.
            events = sum(each.events for each in found)
            raise EndOfSubscription(reasons.parked_before(self._handle, events))
        now, config = time.monotonic(), self._config
        pause = min(_SHARE * (now - asked_at), config.lease)
        self._look_at = now + max(pause, config.poll_interval)
        self._keys = {each.key for each in found}
        self._room.found(found)
        self.held.clear()
        if self._options.keep_order:
            self.held.update(self._keys)
        self.marked = deque(each for each in found if _is_due(each, run.replay))
        self._ahead.clear()
        self.is_known = True

    def park(self, run: Run, event: ParkedPlace, why: Why) -> bool:
        """Park an event that failed, and move the checkpoint to it.

        Returns:
            False if the subscription is no longer owned.

        Raises:
            EndOfSubscription: So many are parked that no other may be.
        """
        outcome = self._park(run, [event], event.position, why, follows=False)
        if outcome is ParkingOutcome.DONE:
            self._keys.add(event.key)
            if self._options.keep_order:
                self.held.add(event.key)
        return outcome is ParkingOutcome.DONE

    def park_followers(self, run: Run, parcels: Sequence[Parcel]) -> bool:
        """Park events that come after parked ones of their streams; return whether that is done.

        Raises:
            EndOfSubscription: So many are parked that no other may be.
        """
        events = [place_of(parcel) for parcel in parcels]
        # They may be parked before what is in flight is acknowledged.
        is_first = not run.delivery.in_flight
        checkpoint = events[-1].position if is_first else run.delivery.checkpoint
        outcome = self._park(run, events, checkpoint, _FOLLOWS, follows=True)
        if outcome is ParkingOutcome.NOT_PARKED:
            self.read(run)
        return outcome is ParkingOutcome.DONE

    def remove_delivered(self, run: Run) -> None:
        """Remove what was delivered again."""
        if not run.delivered:
            return
        left = self._storage.unpark(run.fence, run.delivered, run.ended, self._deadline())
        for key in () if left is None else run.delivered.keys() - left:
            self._keys.discard(key)
            self._room.unparked(key)
            self.held.discard(key)
        run.delivered.clear()
        run.ended.clear()
        run.removed_at = time.monotonic()

    def keep(self, run: Run, event: ParkedPlace, why: Why) -> bool:
        """Leave a key parked, the first event of which failed again; False: it is not owned."""
        return self._storage.keep_parked(run.fence, event, why, self._deadline())

    def skip(self, run: Run, position: int, reason: str) -> bool:
        """Give up an event that was delivered again; False: it is no longer owned."""
        return self._storage.skip_replayed(run.fence, position, reason, self._deadline())

    def mark(self, key: str) -> None:
        """Have the parked events of *key* delivered again."""
        choice = Choice(
            stream_id=self._handle.stream_id,
            subscription_name=self._handle.subscription_name,
            key=key,
            limit=None,
            skip_reason=None,
            dry_run=False,
        )
        self._storage.choose_parked(choice, self._deadline())
        self.forget()

    def page(self, run: Run, key: str, wanted: Read) -> list[StoredEvent]:
        """Read the next events of *key* that are to be delivered again.

        What fits into the page beside them is read of the next keys, so that these need no read.
        """
        if not wanted.after and key in self._ahead:
            return self._ahead.pop(key)
        self.remove_delivered(run)
        keys, page = [key], (wanted.after, wanted.count, wanted.max_bytes)
        expected = self._room.events_of(key)
        for each in self.marked:
            expected += each.events
            if expected > wanted.count or each.key == key:
                break
            keys.append(each.key)
        found = self._storage.read_parked(run.subscription_id, keys, *page, self._deadline())
        self._ahead.clear()
        for event in found:
            self._ahead.setdefault(event.stream_id, []).append(event)
        return self._ahead.pop(key, [])

    def _park(
        self,
        run: Run,
        events: Sequence[ParkedPlace],
        checkpoint: int,
        why: Why,
        *,
        follows: bool,
    ) -> ParkingOutcome:
        options = self._options
        parking = Parking(
            fence=run.fence,
            checkpoint=checkpoint,
            events=events,
            why=why,
            follows=follows,
            most=self._room.bounds_for(event.key for event in events),
        )
        was_known = self.is_known
        # If the answer is lost they may be parked: what comes again is to follow them.
        self.is_known = False
        outcome = self._storage.park(parking, self._deadline())
        self.is_known = was_known
        if outcome is ParkingOutcome.TOO_MANY:
            self._end(f"max_parked={options.max_parked}")
        if outcome is ParkingOutcome.TOO_MANY_OF_KEY:
            self._end(f"max_parked_per_key={options.max_parked_per_key}")
        return outcome

    def _end(self, bound: str) -> None:
        what = f"stopped: it may not park more events, {bound}"
        raise EndOfSubscription(reasons.lost(self._handle, what))

    def _deadline(self) -> float:
        LANE.leave()
        return time.monotonic() + self._config.connect_timeout


def _is_due(key: ParkedKey, replay: Replay | None) -> bool:
    """Return whether events of *key* are to be delivered again, beside those that are now."""
    if key.marked_up_to is None:
        return False
    return replay is None or key.key != replay.key or key.marked_up_to > replay.up_to


def place_of(event: Parcel | StoredEvent) -> ParkedPlace:
    """Return the place of an event, and the key among which it stays in order: its stream."""
    return ParkedPlace(event.stream_id, event.position, event.global_position)


def why_of(error: CaughtError, reason: str, attempts: int) -> Why:
    """Return why an event is parked that failed with *error*."""
    return Why(reason or error.text, error.full_text, max(attempts, 1))
