"""The departure board: a subscriber in its own process, which may be killed at any time."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pykka

from eventstore import (
    Config,
    Events,
    EventStore,
    EventStoreError,
    Subscribed,
    SubscriptionLostError,
)
from eventstore_actors.demo.delays import Board
from eventstore_actors.demo.reports import Counted, Started, send

__all__ = ["LEASE", "NAME", "BoardActor"]

NAME = "delay-board"

LEASE = 2.0
"""Seconds until another process may take over after a crash; short for the sake of the demo."""


class BoardActor(pykka.ThreadingActor):
    """Sums up the delays per carrier, saves the sums, then acknowledges."""

    use_daemon_thread = True

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._board = Board()

    def on_receive(self, message: Any) -> None:
        match message:
            case Subscribed(subscription):
                self._board = Board.load(self._path)
                send(Started(subscription.checkpoint, self._board.position))
            case Events(subscription):
                again = len(message) - sum(map(self._board.add, message))
                self._board.save(self._path)
                # Lost meanwhile, it is delivered again, and is known then.
                with contextlib.suppress(SubscriptionLostError):
                    subscription.ack(message)
                send(Counted(self._board.position, again))
            case _:
                pass


def main(dsn: str, path: str) -> int:
    _end_with_parent()
    board = BoardActor.start(Path(path))
    try:
        with EventStore.connect(Config(dsn, lease=LEASE)) as store:
            store.subscribe_to_all_streams(NAME, board, batch_by="any")
            store.join()
    except EventStoreError as error:
        sys.stderr.write(f"the subscriber's process ended: {error}\n")
        return 1
    finally:
        board.stop()
    return 0


def _end_with_parent() -> None:
    """End in order when standard input closes, however the parent process ended."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
