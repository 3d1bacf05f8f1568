"""Appends without actors, over a session that follows a script, by a clock of the test."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from eventstore import OutcomeUnknownError, StorageUnavailableError
from eventstore.ports.runtime import LAST_CHANCE
from eventstore.ports.stored_events import StreamAppend

AWAY = StorageUnavailableError("the lock was not free")
LOST = OutcomeUnknownError("the connection was lost")


class Session:
    """Raises *errors* in turn, the last one for ever; notes the time left at each attempt."""

    def __init__(self, errors: list[Exception]) -> None:
        self.now = 0.0
        self.left: list[float] = []
        self._errors = errors

    def append(self, _appends: object, deadline: float) -> Any:
        self.left.append(deadline - self.now)
        # The second one waits for a lock until there is time for little but the answer.
        self.now += 0.5 if len(self.left) == 1 else self.left[-1] - 0.25
        raise self._errors[min(len(self.left), len(self._errors)) - 1]

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False


@pytest.fixture
def appended(monkeypatch: pytest.MonkeyPatch) -> Callable[[Session], object]:
    from eventstore.client import caller_runtime

    def append(session: Session) -> object:
        clock = SimpleNamespace(monotonic=lambda: session.now)
        monkeypatch.setattr(caller_runtime, "time", clock)
        append = (StreamAppend("a", 0, ()),)
        return caller_runtime._appended(session, append, 2.0, session)  # type: ignore[arg-type]

    return append


@pytest.mark.parametrize(("errors", "raised"), [([AWAY], AWAY), ([LOST, AWAY], LOST)])
def test_nothing_is_sent_for_which_no_answer_would_come_in_time(
    appended: Callable[[Session], object], errors: list[Exception], raised: Exception
) -> None:
    """G25, G1: what is known to be not written stays known."""
    session = Session(errors)
    with pytest.raises(type(raised)) as caught:
        appended(session)
    assert caught.value is raised
    assert len(session.left) > 1
    assert min(session.left) > LAST_CHANCE
