"""The list of streams, on the port itself."""

from __future__ import annotations

import pytest

from eventstore.model.errors import StreamNotFoundError
from eventstore.model.stream_listing import StreamListing, StreamOrder
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User


def test_streams_are_listed_in_byte_order_with_version_and_time(user: User) -> None:
    for stream_id, count in (("b", 1), ("ä", 2), ("a", 3), ("B", 1), ("字", 1), ("𝄞", 1), ("a", 1)):
        user.store(stream_id, count)

    listed = user.storage.streams(StreamListing(), None, 100, soon())

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
    """PAG-01."""
    assert user.storage.streams(StreamListing(), None, 10, soon()) == []
    assert user.storage.stream_count(soon()) == 0


def test_pages_go_on_after_the_last_id(user: User) -> None:
    names = [f"s-{number}" for number in range(7)]
    for name in reversed(names):
        user.store(name)

    pages, after = [], None
    while page := user.storage.streams(StreamListing(), after, 3, soon()):
        pages.append([info.stream_id for info in page])
        after = page[-1].stream_id

    assert pages == [names[:3], names[3:6], names[6:]]
    assert user.storage.streams(StreamListing(), "s-", 1, soon())[0].stream_id == "s-0"
    assert user.storage.streams(StreamListing(), "s-55", 10, soon())[0].stream_id == "s-6"
    assert user.storage.streams(StreamListing(), "t", 10, soon()) == []


NAMES = ["order-2", "cart-1", "order-1", "ord", "order-10", "Order-1", "border-1", "\U0010ffff"]
"""As they are created."""


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", StreamOrder)
@pytest.mark.parametrize(
    ("prefix", "search"),
    [("", ""), ("order-", ""), ("order-1", ""), ("", "order"), ("o", "-1"), ("\U0010ffff", "")],
)
def test_pages_of_every_listing_hold_what_it_names(
    user: User, order: StreamOrder, descending: bool, prefix: str, search: str
) -> None:
    """PAG-03, PAG-04, PAG-05."""
    for name in NAMES:
        user.store(name)
    listing = StreamListing(prefix=prefix, search=search, order=order, descending=descending)
    named = [name for name in NAMES if name.startswith(prefix) and search in name]
    if order is StreamOrder.STREAM_ID:
        named.sort()
    if descending:
        named.reverse()

    listed: list[str] = []
    after = None
    while page := user.storage.streams(listing, after, 2, soon()):
        assert len(page) <= 2
        listed += [info.stream_id for info in page]
        after = listed[-1]

    assert listed == named


def test_percent_and_underscore_are_letters(user: User) -> None:
    """PAG-04."""
    for name in ("a%b", "a_b", "axb"):
        user.store(name)
    for letter in "%_":
        listing = StreamListing(search=letter)
        assert [one.stream_id for one in user.storage.streams(listing, None, 9, soon())] == [
            f"a{letter}b"
        ]


def test_a_place_in_the_order_of_creation_is_a_stream(user: User) -> None:
    user.store("a")
    listing = StreamListing(order=StreamOrder.CREATION)
    with pytest.raises(StreamNotFoundError, match="'b'"):
        user.storage.streams(listing, "b", 9, soon())
