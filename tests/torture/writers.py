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
    StreamDeletedError,
    WrongExpectedVersionError,
)
from tests.torture.deleter import Deleter
from tests.torture.deletions import is_doomed
from tests.torture.journal import Journal
from tests.torture.links import LINKED, RUINS, Linker
from tests.torture.programs import Stopping, arguments, connected, end_on_sigterm
from tests.torture.snapshots import Snapshooter

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
_DELETIONS = 0.2
"""Probability of an act that has to do with deletions."""


class Appender:
    """Appends, and notes every try and its result."""

    def __init__(self, store: EventStore, journal: Journal, rng: random.Random) -> None:
        self._store = store
        self._journal = journal
        self._rng = rng
        self._believed = dict.fromkeys(STREAMS, 0)
        self._stored: str | None = None
        """The attempt that surely is stored, if it was the last one."""
        self._linker = Linker(store, journal, rng)
        self._snapshooter = Snapshooter(store, journal, rng)

    def append_something(self, stopping: Stopping) -> None:
        """Append to one to three streams at once; most unknown outcomes are retried."""
        streams = self._rng.sample(STREAMS, self._rng.choice([1, 1, 2, 3]))
        groups = [(stream, self._expected(stream), self._events()) for stream in streams]
        if self._rng.random() < 0.05:
            groups.append((f"fresh-{uuid4()}", 0, self._events()))
        tries = self._rng.choice([1, _MOST_TRIES, _MOST_TRIES])
        self.append(groups, tries, stopping)

    def append(self, groups: Sequence[Group], tries: int, stopping: Stopping) -> bool:
        """Append the same events up to *tries* times, mostly until the outcome is certain.

        Returns:
            Whether they surely are stored.
        """
        attempt = uuid4().hex
        ids = {stream: [str(e.event_id) for e in events] for stream, _, events in groups}
        self._journal.note("attempt", attempt=attempt, ids=ids)
        for _ in range(tries):
            certain = self._is_certain(attempt, groups)
            if stopping.is_set() or (certain and not self._tries_again(groups)):
                break
        if self._stored != attempt:
            return False
        stream = groups[0][0]
        target = RUINS if is_doomed(stream) else LINKED
        self._linker.link_some(
            target, [i for of_stream in ids.values() for i in of_stream], stopping
        )
        if stream in STREAMS and ids[stream]:
            self._snapshooter.snapshot_some(stream, self._believed[stream], ids[stream])
        return True

    def _tries_again(self, groups: Sequence[Group]) -> bool:
        # What is deleted for good by then would be stored once more.
        return not is_doomed(groups[0][0]) and self._rng.random() < _AGAIN

    def _is_certain(self, attempt: str, groups: Sequence[Group]) -> bool:
        timeout = self._rng.choice(_TIMEOUTS)
        self._journal.note("trying", attempt=attempt, timeout=timeout)
        try:
            results = self._store.append_to_streams(groups, timeout=timeout)
        except WrongExpectedVersionError as error:
            self._believed[error.stream_id] = error.actual
            self._journal.note("refused", attempt=attempt)
        except StreamDeletedError:
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
        self._stored = attempt
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
            deleter = Deleter(store, appender.append, journal, rng)
            while not stopping.wait(rng.uniform(0, _LONGEST_PAUSE)):
                if rng.random() < _DELETIONS:
                    deleter.do_something(stopping)
                else:
                    appender.append_something(stopping)

        threads = [threading.Thread(target=run, args=(n,)) for n in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    journal.note("end")


if __name__ == "__main__":
    main()
