"""A process that appends random batches to random streams with random expected versions."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from uuid import uuid4

from eventstore import (
    AppendResult,
    DuplicateEventError,
    EventData,
    EventStore,
    ExpectedVersion,
    OutcomeUnknownError,
    StorageUnavailableError,
    WrongExpectedVersionError,
)
from tests.torture.journal import Journal
from tests.torture.programs import Stopping, arguments, connected, end_on_sigterm

__all__ = ["STREAMS", "Appender", "Group"]

STREAMS = [f"s-{number}" for number in range(6)]

Group = tuple[str, int, list[EventData]]

_THREADS = 3
_MOST_EVENTS = 50
_LONGEST_PAUSE = 0.25
_TIMEOUTS = [0.3, 1.0, 15.0]
_MOST_TRIES = 30
_AGAIN = 0.05
"""Probability of repeating an append whose outcome is certain; that must be a no-op."""


class Appender:
    """Appends, and notes every try and its result."""

    def __init__(self, store: EventStore, journal: Journal, rng: random.Random) -> None:
        self._store = store
        self._journal = journal
        self._rng = rng
        self._believed = dict.fromkeys(STREAMS, 0)

    def append_something(self, stopping: Stopping) -> None:
        """Append to one to three streams at once; most unknown outcomes are retried."""
        streams = self._rng.sample(STREAMS, self._rng.choice([1, 1, 2, 3]))
        groups = [(stream, self._expected(stream), self._events()) for stream in streams]
        if self._rng.random() < 0.05:
            groups.append((f"fresh-{uuid4()}", 0, self._events()))
        tries = self._rng.choice([1, _MOST_TRIES, _MOST_TRIES])
        self.append(groups, tries, stopping)

    def append(self, groups: Sequence[Group], tries: int, stopping: Stopping) -> None:
        """Append the same events up to *tries* times, mostly until the outcome is certain."""
        attempt = uuid4().hex
        ids = {stream: [str(e.event_id) for e in events] for stream, _, events in groups}
        self._journal.note("attempt", attempt=attempt, ids=ids)
        for _ in range(tries):
            certain = self._is_certain(attempt, groups)
            if (certain and self._rng.random() >= _AGAIN) or stopping.is_set():
                return

    def _is_certain(self, attempt: str, groups: Sequence[Group]) -> bool:
        timeout = self._rng.choice(_TIMEOUTS)
        self._journal.note("trying", attempt=attempt, timeout=timeout)
        try:
            results = self._store.append_to_streams(groups, timeout=timeout)
        except WrongExpectedVersionError as error:
            self._believed[error.stream_id] = error.actual
            self._journal.note("refused", attempt=attempt)
        except DuplicateEventError:
            self._journal.note("duplicate", attempt=attempt)
        except OutcomeUnknownError:
            self._journal.note("unknown", attempt=attempt)
            return False
        except StorageUnavailableError:
            self._journal.note("unavailable", attempt=attempt)
            return False
        else:
            self._note_stored(attempt, results)
        return True

    def _note_stored(self, attempt: str, results: list[AppendResult]) -> None:
        places = {r.stream_id: [r.first_version, r.first_global_position] for r in results}
        self._journal.note("stored", attempt=attempt, places=places)
        self._believed.update({r.stream_id: r.last_version for r in results})

    def _expected(self, stream: str) -> int:
        believed = self._believed[stream]
        other = self._rng.randint(0, believed + 1)
        choices = [ExpectedVersion.ANY, believed, ExpectedVersion.STREAM_EXISTS, other]
        return self._rng.choices(choices, weights=[60, 30, 5, 5])[0]

    def _events(self) -> list[EventData]:
        count = int((_MOST_EVENTS + 1) ** self._rng.random())
        return [EventData("Written", {"nth": nth}) for nth in range(count)]


def main() -> None:
    """Append in several threads, so that group commits happen, until SIGTERM."""
    journal, settings, _, seed = arguments()
    stopping = Stopping()
    end_on_sigterm(stopping)
    with connected(settings, journal, stopping) as store:

        def run(number: int) -> None:
            rng = random.Random(f"{seed}-{number}")
            appender = Appender(store, journal, rng)
            while not stopping.wait(rng.uniform(0, _LONGEST_PAUSE)):
                appender.append_something(stopping)

        threads = [threading.Thread(target=run, args=(n,)) for n in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    journal.note("end")


if __name__ == "__main__":
    main()
