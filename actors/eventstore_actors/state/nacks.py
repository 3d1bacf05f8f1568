"""Check what a subscriber refuses: it must be an event of the present delivery run. Pure."""

from __future__ import annotations

from eventstore.model.answers import answer_to
from eventstore.model.caught_error import CaughtError
from eventstore.model.checks import shown
from eventstore.model.deliveries import DeliveryRun
from eventstore.model.events import RecordedEvent
from eventstore_actors.kernel.messages import HandlerFailed
from eventstore_actors.state.ack_check import acknowledged_position

__all__ = ["refusal"]


def refusal(event: object, action: object, reason: object, run: DeliveryRun) -> HandlerFailed:
    """Return what to tell a subscription whose subscriber refuses *event* of *run*.

    Raises:
        UnexpectedAckError: The event was not delivered by this subscription.
        SubscriptionLostError: An earlier run of this subscription delivered it.
        TypeError, ValueError: An argument is invalid; the message names it.
    """
    if not isinstance(event, RecordedEvent):
        raise TypeError(f"event must be a delivered event: {shown(event)}")
    position = acknowledged_position(event, run)
    answer, error = answer_to(action, reason, position)
    return HandlerFailed(run.number, CaughtError.own(error), answer, 1, position)
