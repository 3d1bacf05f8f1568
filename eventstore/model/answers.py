"""What a handler raises to say what becomes of an event. Pure.

They are instructions and no failures of the store, hence no `EventStoreError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

from eventstore.model.checks import check_choice, check_duration, check_text, shown
from eventstore.model.deliveries import receipt_of
from eventstore.model.events import RecordedEvent
from eventstore.model.subscriber_messages import Events

__all__ = [
    "FAILED",
    "Answer",
    "NackAction",
    "Nacked",
    "Park",
    "RetryAfter",
    "Skip",
    "Stop",
    "Verdict",
    "answer_of",
    "answer_to",
    "check_reason",
]

MOST_REASON = 2_000
"""Most bytes of a reason."""


def check_reason(reason: object) -> str:
    """Return *reason* if it is a text of 1 to 2,000 bytes."""
    return check_text("reason", reason, most_bytes=MOST_REASON)


class _GivingUp(Exception):  # noqa: N818 - an instruction
    """What is to become of one event of the batch."""

    def __init__(self, reason: str, event: RecordedEvent | None = None) -> None:
        self.reason = check_reason(reason)
        self.event = _checked_event(event)
        super().__init__(self.reason)


class Skip(_GivingUp):
    """Have an event never delivered again. It is logged and counted.

    Args:
        reason: Why, for people; 1 to 2,000 bytes of UTF-8.
        event: The event of the batch that is skipped: those before it are acknowledged, those after
            it are delivered. None: the only event of the batch; a larger batch is delivered again,
            at once, in smaller ones, until it is alone.

    Raises:
        TypeError, ValueError: A value is invalid; the message names it.
    """


class Park(_GivingUp):
    """Have an event put aside, until somebody has it delivered again; see `EventStore.parked`.

    Args:
        reason: Why, for people; 1 to 2,000 bytes of UTF-8.
        event: The event of the batch that is parked: those before it are acknowledged, those after
            it are delivered. None: the only event of the batch; a larger batch is delivered again,
            at once, in smaller ones, until it is alone.

    Raises:
        TypeError, ValueError: A value is invalid; the message names it.
    """


class RetryAfter(Exception):  # noqa: N818 - an instruction
    """Have the batch delivered again after a pause. It is no attempt, and the batch stays as it is.

    Args:
        seconds: Length of the pause, 0 to 1,000,000. Nothing else is delivered meanwhile.

    Raises:
        TypeError, ValueError: *seconds* is invalid.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = check_duration("seconds", seconds, least=0)
        super().__init__(f"{self.seconds} s")


class Stop(Exception):  # noqa: N818 - an instruction
    """Have the subscription stop. The batch is delivered again when somebody subscribes.

    Args:
        reason: Why, for people; 1 to 2,000 bytes of UTF-8.

    Raises:
        TypeError, ValueError: *reason* is invalid.
    """

    def __init__(self, reason: str) -> None:
        self.reason = check_reason(reason)
        super().__init__(self.reason)


class Nacked(Exception):  # noqa: N818 - what the subscriber said
    """The error of an event that a subscriber had delivered again by `Subscription.nack`."""


class NackAction(StrEnum):
    """What becomes of an event that a subscriber refuses by `Subscription.nack`."""

    RETRY = "retry"
    SKIP = "skip"
    PARK = "park"
    STOP = "stop"


class Verdict(Enum):
    """What a subscriber says about what it does not acknowledge."""

    FAILED = "failed"
    """Nothing: it raised another error."""
    AGAIN = "again"
    SKIP = "skip"
    PARK = "park"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of a batch that is not acknowledged."""

    verdict: Verdict
    reason: str = ""
    position: int | None = None
    """Position of the event it is about; None: the only event of the batch."""
    seconds: float = 0.0
    """Length of the pause before it is delivered again."""


FAILED = Answer(Verdict.FAILED)


def answer_of(error: BaseException, batch: Events) -> Answer:
    """Return what *error*, which a handler raised for *batch*, says; call it in its thread.

    Raises:
        ValueError: It names an event that is not of the batch.
    """
    if isinstance(error, RetryAfter):
        return Answer(Verdict.AGAIN, seconds=error.seconds)
    if isinstance(error, Stop):
        return Answer(Verdict.STOP, error.reason)
    if isinstance(error, Skip | Park):
        verdict = Verdict.SKIP if isinstance(error, Skip) else Verdict.PARK
        return Answer(verdict, error.reason, _position_in(error.event, batch))
    return FAILED


def answer_to(action: object, reason: object, position: int) -> tuple[Answer, Exception]:
    """Return what a nack of the event at *position* says, and the error that stands for it.

    Raises:
        TypeError, ValueError: *action* or *reason* is invalid; the message names it.
    """
    chosen = check_choice("action", NackAction, action)
    text = check_reason(reason)
    verdict, error = _NACKS[chosen]
    return Answer(verdict, text, position), error(text)


_NACKS: dict[NackAction, tuple[Verdict, type[Exception]]] = {
    NackAction.RETRY: (Verdict.FAILED, Nacked),
    NackAction.SKIP: (Verdict.SKIP, Skip),
    NackAction.PARK: (Verdict.PARK, Park),
    NackAction.STOP: (Verdict.STOP, Stop),
}


def _position_in(event: RecordedEvent | None, batch: Events) -> int | None:
    """Return the position of *event* in what is subscribed to."""
    if event is None:
        return None
    receipt = receipt_of(event)
    if receipt is None or receipt.run is not batch.run or not any(e is event for e in batch.events):
        raise ValueError(f"event must be one of the batch itself: {shown(event)}")
    return receipt.position


def _checked_event(event: object) -> RecordedEvent | None:
    if event is None or isinstance(event, RecordedEvent):
        return event
    raise TypeError(f"event must be an event of the batch: {shown(event)}")
