"""A process that reads in a burst of threads, and appends when it is told to."""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from eventstore import Config, EventData, EventStore, EventStoreError, ExpectedVersion
from tests.support.waiting import PATIENCE

READERS = 16


def report(what: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"what": what, **fields}) + "\n")
    sys.stdout.flush()


def burst(store: EventStore) -> None:
    """Read in all threads at once, long enough for the pool to grow as far as it can."""
    together = threading.Barrier(READERS)

    def read(_: int) -> None:
        together.wait(PATIENCE)
        for _ in range(30):
            store.read_all_streams_forward(1, 1000)

    with ThreadPoolExecutor(READERS) as threads:
        list(threads.map(read, range(READERS)))


def append(store: EventStore) -> None:
    """Append one event, sooner than idle connections of readers are closed by themselves."""
    event = EventData("Happened", {})
    store.append_to_stream("s", ExpectedVersion.ANY, [event], timeout=5)


def main() -> None:
    """Obey the lines that come in; the end of them closes the store."""
    with EventStore.connect(Config(**json.loads(sys.argv[1]))) as store:
        report("ready")
        for line in sys.stdin:
            command = json.loads(line)["do"]
            try:
                if command == "burst":
                    burst(store)
                else:
                    append(store)
            except EventStoreError as error:
                report("error", text=repr(error))
            else:
                report(command)


if __name__ == "__main__":
    main()
