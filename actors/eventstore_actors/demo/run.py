"""One run of the demo: an empty store, the story, the check of the result, the next commands."""

from __future__ import annotations

import fcntl
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta, timezone
from pathlib import Path

from eventstore import EventStore, StorageError
from eventstore_actors.demo.delays import Board, delays_of
from eventstore_actors.demo.flights import Flight, airlines
from eventstore_actors.demo.history import Happening
from eventstore_actors.demo.result import TABLE_NAMES, differences, table_rows
from eventstore_actors.demo.screen import Screen
from eventstore_actors.demo.story import Story
from eventstore_actors.demo.subscriber import Tally

__all__ = ["run"]

_NEW_YORK = timezone(timedelta(hours=-5))
"""Winter time, the zone of the first and the last day."""


def run(
    screen: Screen, folder: Path, flights: Sequence[Flight], happenings: Sequence[Happening]
) -> bool:
    """Append *happenings* to a store in *folder*, and check the sums of a subscriber.

    Returns:
        True if the subscriber's sums equal those of *flights*.

    Raises:
        EventStoreError, BrokenPromiseError, SubscriberSilentError: The demo ended early.
    """
    _introduce(screen, flights, happenings)
    state = folder / "delays.json"
    with _alone_in(folder):
        tally = _tell(screen, folder, state, happenings)
        board = Board.load(state)
    screen.heading("Delays per carrier, as the subscriber counted them")
    screen.table(TABLE_NAMES, table_rows(board, airlines()))
    right = _judge(screen, differences(board, delays_of(flights), len(happenings)), board, tally)
    _show_next(screen, folder, happenings)
    return right


def _introduce(screen: Screen, flights: Sequence[Flight], happenings: Sequence[Happening]) -> None:
    first, last = (end(f.scheduled for f in flights).astimezone(_NEW_YORK) for end in (min, max))
    aircraft = len({flight.tail_number for flight in flights if flight.tail_number})
    streams = len({happening.stream_id for happening in happenings})
    screen.heading("Flights that left New York, as events")
    screen.fact(
        "data", f"{len(flights):,} flights, {first.day} {first:%B} to {last.day} {last:%B %Y}"
    )
    screen.fact("events", f"{len(happenings):,}: departed, arrived, cancelled")
    screen.fact("streams", f"{streams:,}: {aircraft:,} aircraft, and flights that never got one")


def _tell(screen: Screen, folder: Path, state: Path, happenings: Sequence[Happening]) -> Tally:
    dsn = f"embedded:{folder}"
    begun = time.monotonic()
    _make_empty(folder, dsn, state)
    with EventStore.connect(dsn) as store:
        screen.fact("store", f"PostgreSQL in {folder}, up in {time.monotonic() - begun:.1f} s")
        story = Story(screen, store, dsn, state, happenings)
        story.tell()
        return story.tally


def _judge(screen: Screen, found: Sequence[str], board: Board, tally: Tally) -> bool:
    """Show whether the result is right, and return it."""
    if found:
        screen.bad("\nNOT EQUAL to the sums straight from the file:")
        for difference in found:
            screen.line(f"  {difference}")
        return False
    screen.good("\nEqual to the sums straight from the file: nothing lost, nothing counted twice.")
    screen.line(
        f"{board.position:,} events were delivered, {tally.again:,} of them a second time"
        f" after the kill,\nto {len(tally.runs)} processes, one after the other."
    )
    return True


def _show_next(screen: Screen, folder: Path, happenings: Sequence[Happening]) -> None:
    aircraft = Counter(h.stream_id for h in happenings if h.flight.tail_number).most_common(1)
    command = _command()
    screen.heading("Look at it: the database stays where it is, and these commands start it again")
    screen.line(f"  export EVENTSTORE_DSN={shlex.quote(f'embedded:{folder}')}")
    screen.line(f"  {command} status")
    screen.line(f"  {command} subscriptions list")
    for stream_id, _count in aircraft:
        screen.line(f"  {command} read {stream_id}")
    screen.line(f"  {command} read '$all' --backward --count 5")
    screen.line(f"  {command} tail --from {max(1, len(happenings) - 9)}")
    screen.heading("Next")
    screen.line("  make demo FLIGHTS=all    the whole year: 336,776 flights, 664,122 events")
    screen.line("  make test                what is promised, tested")
    screen.line("  README.md                a quick start of five minutes")


def _command() -> str:
    """Return the shell command that starts this environment's command line."""
    installed = Path(sys.executable).parent / "eventstore"
    if shutil.which("eventstore") == str(installed):
        return "eventstore"
    here = Path.cwd()
    near = installed.is_relative_to(here)
    return shlex.quote(str(installed.relative_to(here) if near else installed))


def _make_empty(folder: Path, dsn: str, state: Path) -> None:
    """Delete the data of an earlier run."""
    state.unlink(missing_ok=True)
    if not (folder / "pgdata").exists():
        return
    command = [sys.executable, "-m", "eventstore.cli", "--dsn", dsn, "drop", "--yes"]
    done = subprocess.run(  # noqa: S603 - our own module, no shell
        command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise StorageError(f"cannot empty the store in {folder}: {done.stderr.strip()}")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the lock of *folder* while the block runs.

    Raises:
        StorageError: Another demo holds it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "demo.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(
                f"another demo runs in {folder}; choose another folder with --data"
            ) from None
        yield
