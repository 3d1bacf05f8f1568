"""What every actor of a store has in common: an inbox, a supervisor, an end that is reported."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, TypeVar

import pykka

from eventstore.model.log import get_logger
from eventstore_actors.kernel.messages import ChildFailed, ChildStopped, ChildUp, Ref, Stop

__all__ = ["SupervisedActor", "answer", "current_actor", "refuse", "try_tell"]

_T = TypeVar("_T")


def answer(reply: pykka.ThreadingFuture[_T], value: _T) -> None:
    """Let whoever waits for *reply* have *value*."""
    with suppress(queue.Full):
        reply.set(value)


def refuse(reply: pykka.ThreadingFuture[Any], error: BaseException) -> None:
    """Raise *error* in whoever waits for *reply*."""
    with suppress(queue.Full):
        reply.set_exception((type(error), error, error.__traceback__))


def current_actor() -> pykka.Actor | None:
    """Return the actor whose method this thread runs, at whatever depth; None: no actor's."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - documented, only not portable
    found: pykka.Actor | None = None
    while frame is not None:
        names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
        owner = frame.f_locals.get(names[0]) if names else None
        if isinstance(owner, pykka.Actor):
            # The outermost one runs the thread; what it calls may be methods of others.
            found = owner
        frame = frame.f_back
    return found


log = get_logger()


def try_tell(ref: Ref | None, message: object) -> bool:
    """Tell *ref* something, if it lives.

    Returns:
        False if nobody is there to hear it. True is no promise: it may stop before it reads.
    """
    if ref is None:
        return False
    try:
        ref.tell(message)
    except pykka.ActorDeadError:
        return False
    return True


class SupervisedActor(pykka.ThreadingActor):
    """An actor that tells its supervisor when it works, crashed or ended.

    Its life: `setup`, then `receive` for every message, then `teardown`. An error in one of them,
    even a `SystemExit`, crashes this actor alone: pykka would stop every actor of the process.
    A `Stop` calls `stopping`, which ends the actor at once unless it is overridden; `finish` ends
    it from any of its methods. Whoever sent a `Stop` is answered after the teardown.
    """

    use_daemon_thread = True

    def __init__(self, role: str, supervisor: Ref | None) -> None:
        """Create it.

        Args:
            role: What it is, for people; its thread is named ``eventstore-<role>``.
            supervisor: Who is told of its life; None if nobody.
        """
        super().__init__()
        self.role = role
        self.supervisor = supervisor
        self.crash: BaseException | None = None
        """What it crashed with; for `undelivered`."""
        self.stop_reason: BaseException | None = None
        """Why its supervisor stops it, if nobody asked for it; for `stopping`."""
        self._stop_replies: list[pykka.ThreadingFuture[None]] = []
        self._ended = False

    @staticmethod
    def _create_actor_inbox() -> queue.SimpleQueue[Any]:
        # Three times the messages per second of pykka's queue.Queue.
        return queue.SimpleQueue()

    # ── for the children ─────────────────────────────────────────────────────────────────────

    def setup(self) -> None:
        """Prepare, in the actor's own thread, before the first message."""

    def receive(self, message: Any) -> None:
        """Handle one message; an error crashes the actor."""
        raise NotImplementedError

    def stopping(self, deadline: float) -> None:  # noqa: ARG002 - for those who override it
        """Begin to end; call `finish` when done, at the latest at *deadline*."""
        self.finish()

    def teardown(self, error: BaseException | None) -> None:
        """Release everything; *error* is the crash, or None at an orderly end.

        Nobody reaches the actor any more; `is_alive` is False already.
        """

    def undelivered(self, message: Any) -> None:
        """Take note of a message that was still in the inbox at the end: answer its reply."""

    def finish(self, error: BaseException | None = None) -> None:
        """End now, in order, from one of the actor's own methods.

        Args:
            error: Why, if nobody asked for it; not a crash, so it is not restarted.
        """
        self._end(None, error)

    # ── for pykka ────────────────────────────────────────────────────────────────────────────

    def on_start(self) -> None:
        threading.current_thread().name = f"eventstore-{self.role}"
        try:
            self.setup()
        except BaseException as error:  # noqa: BLE001 - reported, and ends this actor alone
            self._end(error)
        if not self._ended:
            try_tell(self.supervisor, ChildUp(self.actor_urn))

    def on_receive(self, message: Any) -> None:
        try:
            if isinstance(message, Stop):
                self._stop_replies.append(message.reply)
                self.stop_reason = message.reason
                self.stopping(message.deadline)
            else:
                self.receive(message)
        except BaseException as error:  # noqa: BLE001 - reported, and ends this actor alone
            self._end(error)

    def on_stop(self) -> None:
        self._end(None)

    def _end(self, crash: BaseException | None, reason: BaseException | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        self.crash = crash
        # First of all, so that nobody is heard by a dead actor, and a caller sees it is gone.
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()
        self._tear_down(crash)
        urn = self.actor_urn
        report = ChildStopped(urn, reason) if crash is None else ChildFailed(urn, crash)
        try_tell(self.supervisor, report)
        for reply in self._stop_replies:
            reply.set(None)

    def _tear_down(self, crash: BaseException | None) -> None:
        self._guarded(self.teardown, crash)
        for message in self._left_in_inbox():
            self._guarded(self._take_note, message)

    def _guarded(self, step: Callable[[Any], None], argument: Any) -> None:
        try:
            step(argument)
        except BaseException as error:
            log.exception("could not clean up", actor=self.role, error=repr(error))

    def _take_note(self, message: Any) -> None:
        if isinstance(message, Stop):
            self._stop_replies.append(message.reply)
        else:
            self.undelivered(message)

    def _left_in_inbox(self) -> list[Any]:
        """Take what was told and not read; what was asked stays, pykka answers that itself."""
        envelopes = []
        while not self.actor_inbox.empty():
            envelopes.append(self.actor_inbox.get())
        for envelope in envelopes:
            if envelope.reply_to is not None:
                self.actor_inbox.put(envelope)
        return [envelope.message for envelope in envelopes if envelope.reply_to is None]
