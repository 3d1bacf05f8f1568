"""Time for the answers of a server on a busy machine."""

from __future__ import annotations

import time

import pytest

__all__ = ["expect_late_answers"]

_WAITING = ("append_session", "caller_transaction", "subscription_rows")
"""Modules of the storage whose statements wait for a lock."""

_TRYING_AGAIN = (
    "eventstore_actors.appending.attempt",
    "eventstore_actors.appending.caller",
    "eventstore.client.caller_runtime",
)


def expect_late_answers(monkeypatch: pytest.MonkeyPatch, margin: float = 1.0) -> None:
    """Let statements wait for a lock, and be tried again, until *margin* before their deadline.

    The product leaves the answer a quarter of a second at most. An answer that takes longer makes
    the outcome unknown, which is right, and not what a test of lock timeouts is about.
    """

    def lock_wait(deadline: float) -> int:
        return max(1, int(1000 * (deadline - time.monotonic() - margin)))

    for module in _WAITING:
        monkeypatch.setattr(f"eventstore.storages.postgres.{module}.lock_wait", lock_wait)
    for module in _TRYING_AGAIN:
        monkeypatch.setattr(f"{module}.LAST_CHANCE", margin)
