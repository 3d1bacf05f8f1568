"""Time for the answers of a server on a busy machine."""

from __future__ import annotations

import time

import pytest

__all__ = ["expect_late_answers"]

_MARGIN = 1.0


def expect_late_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let statements wait for a lock, and be tried again, until a second before their deadline.

    The product leaves the answer a quarter of a second at most. An answer that takes longer makes
    the outcome unknown, which is right, and not what a test of lock timeouts is about.
    """

    def lock_wait(deadline: float) -> int:
        return max(1, int(1000 * (deadline - time.monotonic() - _MARGIN)))

    monkeypatch.setattr("eventstore.storages.postgres.append_session.lock_wait", lock_wait)
    monkeypatch.setattr("eventstore.storages.postgres.subscription_rows.lock_wait", lock_wait)
    monkeypatch.setattr("eventstore_actors.appending.attempt.LAST_CHANCE", _MARGIN)
    monkeypatch.setattr("eventstore_actors.appending.caller.LAST_CHANCE", _MARGIN)
    monkeypatch.setattr("eventstore.client.caller_runtime.LAST_CHANCE", _MARGIN)
