"""The base class of the actors, and helpers to tell and to answer. Knows no actor in particular."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar

import pykka

from eventstore.model.log import get_logger
from eventstore.model.safe_text import error_text
from eventstore_actors.kernel.inbox import Inbox, NoMessage
from eventstore_actors.kernel.lane import LANE
from eventstore_actors.kernel.messages import (
    Addressee,
    Beat,
    ChildFailed,
    ChildStopped,
    ChildUp,
    Ref,
    Stop,
)
from eventstore_actors.kernel.workers import WORKERS

__all__ = ["SupervisedActor", "answer", "current_actor", "is_answered", "refuse", "try_tell"]

_T = TypeVar("_T")

log = get_logger()


class SupervisedActor(pykka.ThreadingActor):
    """An actor that reports to its supervisor when it is up, when it crashes and when it ends.

    Life cycle: `setup`, `receive` for every message, `teardown`. An error in one of them, even a
    `SystemExit`, crashes this actor alone; plain pykka would stop every actor of the process.
    A `Stop` calls `stopping`, which ends the actor at once unless it is overridden. `finish` ends
    the actor from any of its methods. A `Stop` is answered when nothing is left of it.

    It has a thread only while it has messages: one of `WORKERS`, which may be another one each
    time. So an actor that waits costs nothing but its memory.
    """

    is_one_of_many = False
    """It takes its turns in the `LANE`, and calls `LANE.leave` before what may block."""

    def __init__(self, role: str, supervisor: Ref | None) -> None:
        """Create it.

        Args:
            role: Name for logs; its thread is named ``eventstore-<role>`` meanwhile.
            supervisor: Receives the reports; None: no reports.
        """
        super().__init__()
        self.role = role
        self.supervisor = supervisor
        self.crash: BaseException | None = None
        """The error it crashed with; read by `undelivered`."""
        self.stop_reason: BaseException | None = None
        """The failure that made its supervisor stop it; read by `stopping`. None: a normal stop."""
        self._stop_replies: list[pykka.ThreadingFuture[None]] = []
        self._ended = False
        self._is_set_up = False
        self._is_over = False
        self._process_id = os.getpid()

    @staticmethod
    def _create_actor_inbox() -> Inbox:
        return Inbox()

    def _start_actor_loop(self) -> None:
        WORKERS.actor_started()
        inbox: Inbox = self.actor_inbox  # type: ignore[assignment]
        inbox.woken_by(self._wake)
        inbox.keeps_thread = not self.is_one_of_many
        self._wake()

    def _wake(self) -> None:
        if os.getpid() != self._process_id:
            return  # a child after a fork, where this actor must not run a second time
        (LANE if self.is_one_of_many else WORKERS).run(self._actor_loop)

    def _actor_loop(self) -> None:
        """Handle messages until there is none; from then on the next one calls this again."""
        if self._is_over:
            return
        threading.current_thread().name = f"eventstore-{self.role}"
        try:
            if not self._is_set_up:
                self._is_set_up = True
                self._actor_loop_setup()
            self._actor_loop_running()
        except NoMessage:
            return
        self._is_over = True
        self._actor_loop_teardown()
        WORKERS.actor_ended()
        for reply in self._stop_replies:
            answer(reply, None)

    # ── hooks for subclasses ─────────────────────────────────────────────────────────────────

    def setup(self) -> None:
        """Prepare in a thread of `WORKERS`, before the first message."""

    def receive(self, message: Any) -> None:
        """Handle one message; an error crashes the actor."""
        raise NotImplementedError

    def check_threads(self) -> None:
        """Check that the threads it has started are alive; an error crashes the actor."""

    def stopping(self, deadline: float) -> None:  # noqa: ARG002 - subclasses use it
        """Begin to end; call `finish` by *deadline*."""
        self.finish()

    def teardown(self, error: BaseException | None) -> None:
        """Release all resources.

        The actor already counts as dead: `is_alive` is False and no message reaches it.

        Args:
            error: The crash; None after an orderly end.
        """

    def undelivered(self, message: Any) -> None:
        """Answer the reply of a message that was still in the inbox at the end."""

    def finish(self, error: BaseException | None = None) -> None:
        """End the actor in order; called from one of its own methods.

        Args:
            error: The reason, if the end was not requested. Not a crash, so no restart follows.
        """
        self._end(None, error)

    # ── hooks of pykka ───────────────────────────────────────────────────────────────────────

    def on_start(self) -> None:
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
            elif isinstance(message, Beat):
                self.check_threads()
                message.pulse.turned()
            else:
                self.receive(message)
        except BaseException as error:  # noqa: BLE001 - reported, and ends this actor alone
            self._end(error)

    def on_stop(self) -> None:
        self._end(None)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002 - as pykka calls it
        exception_value: BaseException | None,
        traceback: TracebackType | None,  # noqa: ARG002 - the same
    ) -> None:
        self._end(exception_value)

    def _actor_loop_running(self) -> None:
        """Report also an error between two messages, which pykka lets end the thread in silence."""
        try:
            super()._actor_loop_running()
        except NoMessage:
            raise
        except BaseException as error:  # noqa: BLE001 - reported, and ends this actor alone
            self._end(error)

    def _end(self, crash: BaseException | None, reason: BaseException | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        self.crash = crash
        # First: a message sent during the teardown must be refused, not queued unread.
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()
        self._tear_down(crash)
        urn = self.actor_urn
        report = ChildStopped(urn, reason) if crash is None else ChildFailed(urn, crash)
        try_tell(self.supervisor, report)

    def _tear_down(self, crash: BaseException | None) -> None:
        self._run_cleanup(self.teardown, crash)
        for message in self._drain_inbox():
            self._run_cleanup(self._discard, message)

    def _run_cleanup(self, step: Callable[[Any], None], argument: Any) -> None:
        try:
            step(argument)
        except BaseException as error:
            log.exception("cleanup failed", actor=self.role, error=error_text(error))

    def _discard(self, message: Any) -> None:
        if isinstance(message, Stop):
            self._stop_replies.append(message.reply)
        else:
            self.undelivered(message)

    def _drain_inbox(self) -> list[Any]:
        """Take the unread messages out of the inbox, except asks, which pykka answers itself."""
        envelopes = []
        while not self.actor_inbox.empty():
            envelopes.append(self.actor_inbox.get())
        for envelope in envelopes:
            if envelope.reply_to is not None:
                self.actor_inbox.put(envelope)
        return [envelope.message for envelope in envelopes if envelope.reply_to is None]


def try_tell(ref: Addressee | None, message: object) -> bool:
    """Send *message* to *ref* if that actor is alive.

    Returns:
        False if there is no actor, or a dead one. True does not promise that the message is
        handled: the actor may stop first.
    """
    if ref is None:
        return False
    try:
        ref.tell(message)
    except pykka.ActorDeadError:
        return False
    return True


def answer(reply: pykka.ThreadingFuture[_T], value: _T) -> bool:
    """Set the result of *reply*; return False, and change nothing, if it has one."""
    try:
        reply.set(value)
    except queue.Full:
        return False
    return True


def refuse(reply: pykka.ThreadingFuture[Any], error: BaseException) -> bool:
    """Set *error* as the outcome of *reply*; return False, and change nothing, if it has one."""
    try:
        reply.set_exception((type(error), error, error.__traceback__))
    except queue.Full:
        return False
    return True


def is_answered(reply: pykka.ThreadingFuture[Any]) -> bool:
    """Return whether *reply* has an outcome."""
    try:
        reply.get(timeout=0)
    except pykka.Timeout:
        return False
    except BaseException:  # noqa: BLE001 - that is the outcome
        return True
    return True


def current_actor() -> pykka.Actor | None:
    """Return the actor that runs in this thread, or None.

    Looks through the stack for a method of an actor, because pykka keeps no such record.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - documented, only not portable
    found: pykka.Actor | None = None
    while frame is not None:
        names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
        owner = frame.f_locals.get(names[0]) if names else None
        # Not isinstance: it asks the object for its ``__class__``, and a user's may raise.
        if issubclass(type(owner), pykka.Actor):
            # The outermost one owns the thread; it may call methods of other actors.
            found = owner
        frame = frame.f_back
    return found
