"""A coroutine function as a subscriber: it calls the function on its loop, one batch at a time."""

from __future__ import annotations

import asyncio
import threading
import time

from eventstore.client.coroutine_handler import HANDLED, CoroutineHandler
from eventstore.model.retry import TookTooLongError
from eventstore_actors.delivering.function_subscriber import (
    Call,
    Letter,
    Mailbox,
    failed_letter,
    require_none,
)
from eventstore_actors.delivering.unsettled import Unsettled
from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import HandlerFailed, Ref, SubscriberEnded
from eventstore_actors.state.seat import Seat

__all__ = ["CoroutineSubscriber"]

_LAST_WORDS = 0.2
"""Seconds that a handler gets to end when it is cancelled."""


class CoroutineSubscriber:
    """Calls the handler of a seat with the batches of a mailbox. There is no thread of its own.

    Its subscription's actor calls the methods without an underscore; the others run on the loop.
    """

    def __init__(
        self,
        seat: Seat,
        handler: CoroutineHandler,
        call: Call,
        mailbox: Mailbox,
        subscription: Ref,
    ) -> None:
        self._handle = seat.handle
        self._handler = handler
        self._function = call
        self._mailbox = mailbox
        self._subscription = subscription
        self._failed_run = 0
        self._task: asyncio.Task[None] | None = None
        """Handles the batches; None while there is none."""
        self._is_overdue = False
        self._is_stopping = False
        self._ended = threading.Event()

    def fetch(self) -> bool:
        """Have it look into the mailbox; return False if its loop is closed."""
        return self._handler.calls.call(self._fetch)

    def is_alive(self) -> bool:
        return not (self._ended.is_set() or self._handler.calls.is_closed)

    def interrupt(self) -> None:
        """Cancel the handler if it still runs: it takes too long."""
        self._handler.calls.call(self._interrupt)

    def stop(self, deadline: float) -> bool:
        """Stop; cancel a handler that still runs at *deadline*, on `time.monotonic`.

        Returns:
            False if it swallows that, too.
        """
        if not self._handler.calls.call(self._stop):
            return True
        if self._ended.wait(max(0.0, deadline - time.monotonic())):
            return True
        return not self._handler.calls.call(self._cancel) or self._ended.wait(_LAST_WORDS)

    # ── on the loop ──────────────────────────────────────────────────────────────────────────

    def _fetch(self) -> None:
        if self._task is None and not self._is_stopping:
            self._task = asyncio.ensure_future(self._handle_all())
            self._task.add_done_callback(self._done)

    def _interrupt(self) -> None:
        if self._task is not None:
            self._is_overdue = True
            self._task.cancel()

    def _stop(self) -> None:
        self._is_stopping = True
        if self._task is None:
            self._ended.set()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _handle_all(self) -> None:
        HANDLED.set(self._handle)
        # After a crash the previous subscriber may still be in the handler.
        async with self._handler.free:
            while (letter := self._mailbox.fetch()) is not None:
                if letter.run > self._failed_run:
                    self._answer(letter, await self._call(letter))
        # Nothing is awaited since the mailbox was empty: who fills it finds no task.
        self._task = None

    async def _call(self, letter: Letter) -> HandlerFailed | Unsettled | None:
        """Call the handler; return what to tell the subscription, None if it returned None."""
        self._is_overdue = False
        try:
            # Others have their turn between two batches, also if the handler never waits.
            await asyncio.sleep(0)
            returned: object = await self._function(letter)
            require_none(returned)
        except asyncio.CancelledError as error:
            if not self._is_overdue or self._task is None:
                raise
            self._task.uncancel()
            late = TookTooLongError("the handler took longer than ack_timeout, and was cancelled")
            return failed_letter(letter, late.with_traceback(error.__traceback__))
        except BaseException as error:  # noqa: BLE001 - told to the subscription
            return failed_letter(letter, error)
        return None

    def _answer(self, letter: Letter, failed: HandlerFailed | Unsettled | None) -> None:
        if failed is None:
            self._handle.acknowledge(letter.run, letter.batch.last_position)
        else:
            # The batches after the failed one are redelivered after it, in a new run.
            self._failed_run = letter.run
            try_tell(self._subscription, failed)

    def _done(self, task: asyncio.Task[None]) -> None:
        failed = task.cancelled() or task.exception() is not None
        if failed:
            self._task = None
            # Cancelled by somebody else, for instance by the end of `asyncio.run`.
            try_tell(self._subscription, SubscriberEnded(None))
        if failed or (self._is_stopping and self._task is None):
            self._ended.set()
