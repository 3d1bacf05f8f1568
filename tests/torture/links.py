"""Links under torture: a writer that makes them, what it was told, and whether that is stored."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from eventstore import (
    EventNotFoundError,
    EventStore,
    EventStoreError,
    ExpectedVersion,
    OutcomeUnknownError,
    StorageUnavailableError,
)
from tests.torture.journal import Entry, Journal
from tests.torture.programs import Stopping

__all__ = ["LINKED", "RUINS", "Link", "Linker", "broken_links", "broken_ruins", "links"]

LINKED = "linked"
"""The stream that events are linked to."""

RUINS = "ruins"
"""The stream that events are linked to that may be deleted for good."""

_SHARE = 0.2
"""Probability that the events of an append are linked."""
_TIMEOUTS = [0.3, 1.0, 15.0]
_TRIES = 30


class Linker:
    """Links what its process appended, and notes every try and its result."""

    def __init__(self, store: EventStore, journal: Journal, rng: random.Random) -> None:
        self._store = store
        self._journal = journal
        self._rng = rng

    def link_some(self, stream: str, ids: Sequence[str], stopping: Stopping) -> None:
        """Link events that surely are stored and were not linked before, or leave them."""
        if ids and self._rng.random() < _SHARE:
            self._link(stream, ids, stopping)

    def _link(self, stream: str, ids: Sequence[str], stopping: Stopping) -> None:
        link, events = uuid4().hex, [UUID(event_id) for event_id in ids]
        self._journal.note("linking", link=link, stream=stream, ids=list(ids))
        for _ in range(_TRIES):
            if stopping.is_set():
                return
            timeout = self._rng.choice(_TIMEOUTS)
            try:
                result = self._store.link_to_stream(
                    stream, ExpectedVersion.ANY, events, timeout=timeout
                )
            except (OutcomeUnknownError, StorageUnavailableError):
                continue
            except EventNotFoundError as error:
                if stream != RUINS:
                    self._journal.note("not linked", link=link, error=repr(error))
                return
            except EventStoreError as error:
                self._journal.note("not linked", link=link, error=repr(error))
                return
            self._journal.note("linked", link=link, first=result.first_version)
            return


@dataclass(slots=True)
class Link:
    """A link, and what its writer was told. Without an answer it may be stored."""

    ids: Sequence[str]
    stream_id: str = LINKED
    first_version: int | None = None
    linked_at: float | None = None
    errors: list[str] = field(default_factory=list)


def links(journal: Iterable[Entry]) -> list[Link]:
    """Return the links of one writer."""
    found: dict[str, Link] = {}
    for entry in journal:
        match entry["what"]:
            case "linking":
                found[entry["link"]] = Link(entry["ids"], entry["stream"])
            case "linked":
                link = found[entry["link"]]
                link.first_version, link.linked_at = entry["first"], entry["at"]
            case "not linked":
                found[entry["link"]].errors.append(entry["error"])
    return list(found.values())


def broken_links(told: Iterable[Link], stored: Sequence[tuple[int, str]]) -> Iterator[str]:
    """Yield what is wrong with the linked stream, whose versions and ids are *stored*."""
    told = [link for link in told if link.stream_id == LINKED]
    if [version for version, _ in stored] != list(range(1, len(stored) + 1)):
        yield "the versions of the linked stream have holes"
    places = {event_id: version for version, event_id in stored}
    if strangers := places.keys() - {event_id for link in told for event_id in link.ids}:
        yield f"nobody linked {sorted(strangers)[:3]}"
    for link in told:
        yield from link.errors
        found = [places.get(event_id) for event_id in link.ids]
        first = found[0] if link.first_version is None else link.first_version
        is_missing = link.first_version is None and found == [None] * len(found)
        if not is_missing and (first is None or found != [*range(first, first + len(found))]):
            yield f"stored at {found}: {link}"


def broken_ruins(told: Iterable[Link], stored: Sequence[tuple[int, str | None]]) -> Iterator[str]:
    """Yield what is wrong with the stream whose links go with their events.

    Args:
        told: The links.
        stored: Versions and ids in that stream; without an id there is no such event.
    """
    given: dict[int, str] = {}
    for link in (link for link in told if link.stream_id == RUINS):
        yield from link.errors
        if link.first_version is None:
            continue
        for version, event_id in enumerate(link.ids, start=link.first_version):
            if given.setdefault(version, event_id) != event_id:
                yield f"version {version} was given out twice: {link}"
    for version, found in stored:
        if found is None:
            yield f"the event that is linked at version {version} is gone"
        elif given.get(version, found) != found:
            yield f"another event is linked at version {version}: {found}"
