"""Stop actors and wait until they ended, but not for ever."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pykka

from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import Ref, Stop

__all__ = ["stop_and_wait"]


def stop_and_wait(
    actors: Mapping[str, Ref],
    *,
    deadline: float,
    wait_until: float,
    reason: BaseException | None = None,
) -> list[str]:
    """Tell all of *actors* to end until *deadline*, and wait for them until *wait_until*.

    Args:
        actors: By what people call them.
        deadline: Until when they may wait for acknowledgements.
        wait_until: Until when to wait for them.
        reason: Why, if nobody asked for it.

    Returns:
        The names of those that have not ended.
    """
    replies: dict[str, pykka.ThreadingFuture[None]] = {}
    for name, actor in actors.items():
        reply = pykka.ThreadingFuture[None]()
        if try_tell(actor, Stop(deadline, reply, reason)):
            replies[name] = reply
    return [name for name, reply in replies.items() if not _answered(reply, wait_until)]


def _answered(reply: pykka.ThreadingFuture[None], until: float) -> bool:
    try:
        reply.get(timeout=max(0.0, until - time.monotonic()))
    except pykka.Timeout:
        return False
    return True
