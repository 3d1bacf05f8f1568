"""The demo's data and arithmetic, without a store."""

from __future__ import annotations

import gzip
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from eventstore import RecordedEvent
from eventstore_actors.demo.delays import Board, delays_of
from eventstore_actors.demo.flights import SLICE, airlines, days_in_february
from eventstore_actors.demo.history import Happening, Kind, history
from eventstore_actors.demo.result import differences, table_rows

FLIGHTS = days_in_february()
HISTORY = history(FLIGHTS)


def recorded(happening: Happening, position: int) -> RecordedEvent:
    event = happening.event()
    return RecordedEvent(
        event_id=event.event_id,
        event_type=event.event_type,
        stream_id=happening.stream_id,
        stream_version=1,
        global_position=position,
        position=position,
        data=event.data,
        metadata=None,
        causation_id=None,
        correlation_id=None,
        created_at=happening.at,
    )


EVENTS = [recorded(happening, position) for position, happening in enumerate(HISTORY, 1)]


def test_the_slice_is_small_and_holds_a_snowstorm() -> None:
    assert SLICE.stat().st_size < 300_000
    assert len(FLIGHTS) == 4_276
    assert sum(flight.departed is None for flight in FLIGHTS) == 903
    assert gzip.decompress(SLICE.read_bytes()).startswith(b"year,month,day,")


def test_every_event_has_an_id_of_its_own_that_is_the_same_every_time() -> None:
    ids = [happening.event().event_id for happening in HISTORY]
    assert len(set(ids)) == len(ids) == 7_640
    assert ids[0] == HISTORY[0].event().event_id


def test_history_is_in_the_order_of_time_and_nothing_arrives_before_it_departed() -> None:
    assert all(before.at <= after.at for before, after in pairwise(HISTORY))
    departed: set[str] = set()
    for happening in HISTORY:
        if happening.kind is Kind.DEPARTED:
            departed.add(happening.flight.key)
        if happening.kind is Kind.ARRIVED:
            assert happening.flight.key in departed


def test_counting_events_gives_what_the_file_says() -> None:
    board = Board()
    assert all(map(board.add, EVENTS))
    assert differences(board, delays_of(FLIGHTS), len(EVENTS)) == []
    assert len(table_rows(board, airlines())) == 15


def test_an_event_that_comes_again_is_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "delays.json"
    board = Board.load(path)
    for event in EVENTS[:5_000]:
        board.add(event)
    board.save(path)

    # The process is killed; a new one is given everything since an older checkpoint.
    board = Board.load(path)
    assert [event.position for event in EVENTS[4_000:5_100] if board.add(event)] == [
        *range(5_001, 5_101)
    ]
    for event in EVENTS[5_100:]:
        board.add(event)
    assert differences(board, delays_of(FLIGHTS), len(EVENTS)) == []


@pytest.mark.parametrize("lost", [0, 3_000, 7_639])
def test_a_lost_event_is_found(lost: int) -> None:
    board = Board()
    for event in EVENTS[:lost] + EVENTS[lost + 1 :]:
        board.add(event)
    assert differences(board, delays_of(FLIGHTS), len(EVENTS))


def test_a_changed_minute_is_found() -> None:
    [number] = [n for n, flight in enumerate(FLIGHTS) if flight.departure_delay][:1]
    flights = list(FLIGHTS)
    delay = flights[number].departure_delay
    assert delay is not None
    flights[number] = replace(flights[number], departure_delay=delay + 1)
    board = Board()
    for event in EVENTS:
        board.add(event)
    assert len(differences(board, delays_of(flights), len(EVENTS))) == 1


def test_times_are_of_new_york_in_utc() -> None:
    first = FLIGHTS[0]
    assert first.scheduled.utcoffset() == timedelta(0)
    assert HISTORY[0].at.isoformat() == "2013-02-06T09:52:00+00:00"
