"""The list of streams, on the port itself."""

from __future__ import annotations

from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User


def test_streams_are_listed_in_byte_order_with_version_and_time(user: User) -> None:
    for stream_id, count in (("b", 1), ("ä", 2), ("a", 3), ("B", 1), ("字", 1), ("𝄞", 1), ("a", 1)):
        user.store(stream_id, count)

    listed = user.storage.streams(None, 100, soon())

    assert [(info.stream_id, info.stream_version) for info in listed] == [
        ("B", 1),
        ("a", 4),
        ("b", 1),
        ("ä", 2),
        ("字", 1),
        ("𝄞", 1),
    ]
    assert listed == [user.storage.stream_info(info.stream_id, soon()) for info in listed]
    assert user.storage.stream_count(soon()) == 6


def test_an_empty_store_has_no_streams(user: User) -> None:
    assert user.storage.streams(None, 10, soon()) == []
    assert user.storage.stream_count(soon()) == 0


def test_pages_go_on_after_the_last_id(user: User) -> None:
    names = [f"s-{number}" for number in range(7)]
    for name in reversed(names):
        user.store(name)

    pages, after = [], None
    while page := user.storage.streams(after, 3, soon()):
        pages.append([info.stream_id for info in page])
        after = page[-1].stream_id

    assert pages == [names[:3], names[3:6], names[6:]]
    assert user.storage.streams("s-", 1, soon())[0].stream_id == "s-0"
    assert user.storage.streams("s-55", 10, soon())[0].stream_id == "s-6"
    assert user.storage.streams("t", 10, soon()) == []
