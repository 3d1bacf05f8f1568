"""The reports of a service, and a subscriber that reports its messages."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from typing import Any

import pykka

from eventstore import Events, RecordedEvent, Subscribed, SubscriptionLost, SubscriptionLostError

__all__ = ["Receiver", "report", "shown"]

_OUTPUT = threading.Lock()


def report(what: str, **details: Any) -> None:
    """Write one line and flush it, so that a later crash cannot lose the report.

    *at* is the monotonic clock, which all processes of a machine share.
    """
    line = json.dumps({"what": what, "at": time.monotonic(), **details}) + "\n"
    with _OUTPUT:
        sys.stdout.write(line)
        sys.stdout.flush()


def shown(events: Events | list[RecordedEvent]) -> list[list[Any]]:
    return [[e.position, e.stream_id, e.stream_version, str(e.event_id)] for e in events]


class Receiver(pykka.ThreadingActor):
    """Reports its messages, and acknowledges every *ack_every*-th batch; 0: none.

    It works on each batch for *work* seconds.
    """

    def __init__(self, name: str, ack_every: int, work: float) -> None:
        super().__init__()
        self._name = name
        self._ack_every = ack_every
        self._work = work
        self._batches = 0

    def on_receive(self, message: object) -> None:
        match message:
            case Subscribed(subscription):
                report("subscribed", name=self._name, checkpoint=subscription.checkpoint)
            case SubscriptionLost(_, reason):
                report("lost", name=self._name, reason=type(reason).__name__)
            case Events():
                self._receive(message)

    def _receive(self, events: Events) -> None:
        report("delivered", name=self._name, events=shown(events))
        threading.Event().wait(self._work)
        self._batches += 1
        if self._ack_every and self._batches % self._ack_every == 0:
            report("acking", name=self._name, position=events.last_position)
            # One that comes too late would end this actor, and pykka is silent about it.
            with contextlib.suppress(SubscriptionLostError):
                events.subscription.ack(events)
